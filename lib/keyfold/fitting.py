"""What features must know of the training rows: all numbers in one aggregation, all vocabularies in one further pass."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keyfold import exact, hashing
from keyfold.errors import DataError
from keyfold.values import SparkValue

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Wanted = Mapping[str, set[str]]  # statistics by column
NUMBERS = {"count", "extremes", "moments"}


def statistics(frame: "DataFrame", values: Mapping[str, SparkValue], wanted: Wanted) -> dict[str, dict[str, Any]]:
    """By column: count, min, max, mean, deviation, vocabulary (canonical value to count), as far as they are wanted."""
    numbers = {c: values[c] for c, names in wanted.items() if names & NUMBERS}
    words = {c: values[c] for c, names in wanted.items() if "vocabulary" in names}
    found: dict[str, dict[str, Any]] = {column: {} for column in wanted}
    for column, stats in (_numbers(frame, numbers) if numbers else {}).items():
        found[column] |= stats
    for column, counts in (_vocabularies(frame, words) if words else {}).items():
        found[column]["vocabulary"] = counts
    return found


def passes(wanted: Wanted) -> int:
    """How often fitting reads the rows."""
    return bool(any(w & NUMBERS for w in wanted.values())) + any("vocabulary" in w for w in wanted.values())


def _numbers(frame: "DataFrame", values: Mapping[str, SparkValue]) -> dict[str, dict[str, Any]]:
    from pyspark.sql import functions as F

    names = {column: str(i) for i, column in enumerate(values)}
    plain = frame.select(*(value.number.alias(names[c]) for c, value in values.items()))
    limbs: dict[str, tuple[Column, Any]] = {}
    aggregates: dict[str, Column] = {}
    for name in names.values():
        x = F.col(name)
        inside = F.when(F.abs(x) < exact.LIMIT, x)
        limbs |= {f"{name}:x": (inside, exact.SUM), f"{name}:xx": (inside * inside, exact.SQUARES)}
        aggregates |= {f"{name}:count": F.count(x), f"{name}:min": F.min(x), f"{name}:max": F.max(x)}
        aggregates |= exact.sums(f"{name}:x", exact.SUM) | exact.sums(f"{name}:xx", exact.SQUARES)
    row = exact.with_limbs(plain, limbs).agg(*(a.alias(n) for n, a in aggregates.items())).collect()[0].asDict()
    return {column: _decoded(row, name, column) for column, name in names.items()}


def _decoded(row: dict[str, Any], name: str, column: str) -> dict[str, Any]:
    count, low, high = (row[f"{name}:{key}"] for key in ("count", "min", "max"))
    if not count:
        return {"count": 0}
    if max(abs(low), abs(high)) >= exact.LIMIT:
        raise DataError(f"column `{column}` holds {low:g} to {high:g}; numbers must be below 2^62 in size to be fitted")
    mean = exact.total(row, f"{name}:x", exact.SUM) / count
    variance = exact.total(row, f"{name}:xx", exact.SQUARES) / count - mean**2
    deviation = math.sqrt(max(0.0, float(variance))) if high > low else 0.0
    return {"count": count, "min": low, "max": high, "mean": float(mean), "deviation": deviation}


def _vocabularies(frame: "DataFrame", values: Mapping[str, SparkValue]) -> dict[str, dict[str | int, int]]:
    from pyspark.sql import functions as F

    whole = {c for c, v in values.items() if v.family not in ("string", "decimal")}
    cells = [
        F.struct(F.lit(i).alias("i"), hashing.spark_canonical(v.column, v.family).cast("string").alias("value"))
        for i, v in enumerate(values.values())
    ]
    exploded = frame.select(F.inline(F.array(*cells))).where(F.col("value").isNotNull())
    counted = exploded.groupBy("i", "value").count().toArrow()
    found: dict[str, dict[str | int, int]] = {column: {} for column in values}
    columns = list(values)
    for i, value, count in zip(*(counted[name].to_pylist() for name in ("i", "value", "count")), strict=True):
        column = columns[i]
        found[column][int(value) if column in whole else value] = count
    return found
