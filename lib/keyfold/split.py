"""The fold of a row, as a pure function of its key: on [0, 1), test at the bottom, validation at the top, train between.

So adding rows moves none, and a larger test share only takes rows from train.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from keyfold import hashing, sql
from keyfold.section import Section
from keyfold.values import HASHED, SqlValue, family_of, refuse_unless

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FOLDS = ("train", "validation", "test")


class Share(Section):
    """Shares of the folds, which sum to 1."""

    train: float = Field(0.8, gt=0, le=1)
    validation: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Share":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"train, validation and test must sum to 1 (got {self.train + self.validation + self.test:g})")
        return self


class Split(Section):
    """Which columns decide a row's fold."""

    by: list[str] | str = Field([], description="default: the key")
    salt: str | None = Field(None, description="default: the conf's name")
    share: Share = Share()


class Folds:
    """A split, ready: `by` the columns, `salt` the whole salt."""

    def __init__(self, split: Split, key: list[str], name: str) -> None:
        self.by = [split.by] if isinstance(split.by, str) else split.by or key
        self.salt = f"split:{name if split.salt is None else split.salt}"
        self.test = round(split.share.test * hashing.PARTS)
        self.validation = hashing.PARTS - round(split.share.validation * hashing.PARTS)

    def spark(self, frame: "DataFrame") -> "Column":
        """text: the fold of each row of a frame (DataError for a column that cannot be hashed)."""
        from pyspark.sql import functions as F

        part = place(frame, self.by, self.salt)
        return F.when(part < self.test, "test").when(part >= self.validation, "validation").otherwise("train")

    def spark_part(self, frame: "DataFrame") -> "Column":
        """bigint in [0, 1,000,000): the part of a row within its fold; rows that the split keeps together have one."""
        return place(frame, self.by, f"out_of_fold:{self.salt}")

    def numpy(self, hashes: list[hashing.Int64s]) -> npt.NDArray[np.str_]:
        """The same, of the value hashes of the columns."""
        part = hashing.reduce(hashing.feature_hash(self.salt, hashes), hashing.PARTS)
        return np.select([part < self.test, part >= self.validation], ["test", "validation"], "train")


def place(frame: "DataFrame", columns: list[str], salt: str) -> "Column":
    """bigint in [0, 1,000,000), of columns under a salt."""
    return sql.column(hashing.sql_reduce(sql_key_hash(frame, columns, salt), hashing.PARTS))


def key_hash(frame: "DataFrame", columns: list[str], salt: str) -> "Column":
    """bigint: the feature hash of columns (DataError for a type that cannot be hashed)."""
    return sql.column(sql_key_hash(frame, columns, salt))


def sql_key_hash(frame: "DataFrame", columns: list[str], salt: str) -> str:
    """The same, as an SQL expression over the frame."""
    values = []
    for column in columns:
        family = family_of(frame.schema[column].dataType.simpleString())
        refuse_unless(HASHED, family, f"a key or split by `{column}`", "round it, or choose another column")
        values.append(SqlValue(sql.reference(column), family).hash)
    return hashing.sql_feature_hash(salt, values)
