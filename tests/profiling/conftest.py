"""Files for tests of `init`."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from drafts import Draw, Write, drawn


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes, name: str = "mine.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """The text and the conf for a table, which the conf's own check accepts."""

    def draw(table: pd.DataFrame | str, name: str = "mine.csv", **options: Any) -> tuple[str, dict[str, Any]]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(table if isinstance(table, str) else table.to_csv(index=False))
        return drawn(str(path), **options)

    return draw
