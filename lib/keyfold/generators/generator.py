"""Base of the generators: tables drawn block by block, each from its own random stream, so that partitions change no row."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from keyfold.core.arrays import Int64s
from keyfold.core.section import Section
from keyfold.generators.drawing import ColumnArrays, as_arrow, random_stream, schema_of, sparse_ids

if TYPE_CHECKING:
    from keyfold.engine.engine import Engine
    from keyfold.engine.frame import Frame


def _checked_day(day: str) -> str:
    date.fromisoformat(day)
    return day


Day = Annotated[str, Field(pattern=r"^[1-9]\d{3}-\d\d-\d\d$"), AfterValidator(_checked_day)]


class Generator(Section):
    """A generated table; a subclass draws its blocks."""

    seed: int = Field(0, ge=0, lt=2**63, description="Random seed; the same seed gives the same rows.")

    types: ClassVar[Mapping[str, str]]  # Spark types by column
    size: ClassVar[int] = 1_000  # number of entities per block
    layouts: ClassVar[Mapping[str, Sequence[str]]] = {}  # columns by layout, for `data.versions`

    @property
    def things(self) -> int:
        """Number of entities to draw, such as customers; an entity has any number of rows."""
        raise NotImplementedError

    def block(self, number: int, size: int) -> pa.RecordBatch:
        """The rows of the first `size` things of block `number`."""
        raise NotImplementedError

    def frame(self, engine: "Engine", tasks: int | None = None) -> "Frame":
        """The table with the columns of `types`; the same rows for any number of tasks (default: as many as run at once)."""
        blocks, n = -(-self.things // self.size), tasks or engine.tasks
        parts = [range(blocks * i // n, blocks * (i + 1) // n) for i in range(n)]
        schema = schema_of(self.types)
        return engine.map_tasks(partial(_draw_blocks, self), parts, {field.name: field.type for field in schema})

    def layout(self, engine: "Engine", name: str) -> "Frame":
        """The rows of one layout, with its columns."""
        raise NotImplementedError


def _draw_blocks(generator: Generator, numbers: Sequence[int]) -> Iterator[pa.RecordBatch]:
    for number in numbers:
        yield generator.block(number, min(generator.size, generator.things - number * generator.size))


class EventLog(Generator):
    """One row per event. The outcomes of the last day, `end`, are unknown (NULL)."""

    rows: int = Field(200_000, ge=1, le=2**50, description="Number of rows.")
    days: int = Field(28, ge=2, le=10_000, description="Number of days, up to the end.")
    end: Day = Field("2026-10-31", examples=["2026-10-31"], description="Last day; its outcomes are unknown (NULL).")

    outcome: ClassVar[str]  # the column that is unknown on the last day

    @property
    def outcomes(self) -> Sequence[str]:
        """The columns that are unknown on the last day."""
        return [self.outcome]

    @property
    def things(self) -> int:
        """The number of rows."""
        return self.rows

    def columns(self, rng: np.random.Generator, ids: Int64s, day: NDArray[np.datetime64]) -> ColumnArrays:
        """The columns of a block, from the id and the day of each row."""
        raise NotImplementedError

    def block(self, number: int, size: int) -> pa.RecordBatch:
        """The first `size` rows of a block."""
        rng, n = random_stream(self.seed, number), self.size
        ago = rng.integers(0, self.days, n)
        columns = self.columns(rng, sparse_ids(number * n + 1 + np.arange(n)), np.datetime64(self.end, "D") - ago)
        cut = {name: values[:size] for name, values in columns.items()}
        return as_arrow(schema_of(self.types), cut, dict.fromkeys(self.outcomes, ago[:size] == 0))
