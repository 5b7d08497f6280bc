"""Fitting does not depend on the order or layout of rows, and its numbers are right."""

import decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from hard_numbers import numbers
from keyfold.core import exact_sums
from keyfold.engine.spark_frame import SparkFrame
from keyfold.features import fitting
from keyfold.features.measuring import measure_statistics


@settings(max_examples=3)
@given(st.lists(numbers, min_size=1, max_size=3), st.data())
def test_statistics_are_those_of_fractions_in_any_layout(spark, embedded, parts, data):
    """By both engines, of doubles, of integers and of decimals; and those of parts add up."""
    rows = [
        (x, int(x) if abs(x) < 2**63 else None, decimal.Decimal(repr(x % 1e6)).quantize(decimal.Decimal("0.0001")))
        for part in parts
        for x in part
    ]
    schema = "x double, i bigint, d decimal(20,4)"
    families = {"x": "double", "i": "bigint", "d": "decimal"}
    values = {c: c for c in families}
    cut = data.draw(st.integers(0, len(rows)))
    frames = [SparkFrame(spark.createDataFrame(data.draw(st.permutations(rows)), schema).repartition(2))]
    frames += [embedded.rows(part, schema) for part in (rows, rows[:cut], rows[cut:])]
    first, other, *result = (measure_statistics(frame, families, values, []) for frame in frames)
    for table in (first, other, fitting.merge_statistics(result)):
        for n, column in enumerate(values):
            xs = [Fraction(float(row[n])) for row in rows if row[n] is not None]
            stats = fitting.Statistics(table).numbers(column)
            if xs:
                mean = sum(xs) / len(xs)
                assert stats["mean"] == float(mean)
                assert stats["deviation"] == exact_sums.rounded_sqrt(sum((x - mean) ** 2 for x in xs) / len(xs))
                assert (stats["count"], stats["min"], stats["max"]) == (len(xs), min(xs), max(xs))
                assert stats["varies"] == (len({row[n] for row in rows} - {None}) > 1)
