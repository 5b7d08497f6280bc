"""The home folder: tables, reports and MLflow's database."""

import os
from pathlib import Path


def home() -> Path:
    """The home folder: $KEYFOLD_HOME, or .keyfold in the current folder."""
    return Path(os.environ.get("KEYFOLD_HOME", ".keyfold")).absolute()
