"""Measures the statistics of training rows: workers measure Arrow batches, an engine adds up the results."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import exact_sums, quantiles
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.types import ArrowValue
from keyfold.engine.columns import col
from keyfold.engine.frame import Frame
from keyfold.features.fitting import EXTREME, NUMBERS, STATISTICS_SCHEMA, BatchValues, CountedExpression, as_integer, sum_cells

_MEMORY = 1 << 28  # bytes of rows that a worker collects before it counts them


def measure_statistics(
    frame: Frame, families: Mapping[str, str], numbers: Mapping[str, str | Derived], counted: Sequence[CountedExpression]
) -> pa.Table:
    """Measures the rows of a frame in one pass.

    families: the type family of each column that is read. numbers: by name, the columns and derived numbers to compute moments of.
    """
    if not numbers and not counted:
        return STATISTICS_SCHEMA.empty_table()
    counted = [*{c.name: c for c in counted}.values()]
    names = [*(NUMBERS + column for column in numbers), *(c.name for c in counted)]
    columns = dict.fromkeys([*(c for of in numbers.values() for c in raw_columns(of)), *(c for e in counted for c in e.columns)])
    function = partial(_measure, families, [*numbers.values()], counted)
    # Arrow counts texts about ten times as fast as Spark's aggregate, so the engine only adds up the counts of the tasks.
    partial_counts = frame.select(columns).map_batches(function, {"i": pa.int32(), "value": pa.string(), "amount": pa.int64()})
    extremes = col("i").is_in([-1, *(i for i, name in enumerate(names) if name.startswith(EXTREME))])
    with frame.batches_by_rows():
        cells = sum_cells(partial_counts, "i", extremes).to_arrow()
    of = pa.array(names, pa.string()).take(cells["i"].combine_chunks())
    return pa.table([of, *cells.columns[1:]], schema=STATISTICS_SCHEMA)


def _measure(
    families: Mapping[str, str],
    numbers: Sequence[str | Derived],
    counted: Sequence[CountedExpression],
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Yields the statistics of a task's rows; `i` is the number of the statistic."""
    for table in _collect(batches):
        values = BatchValues(table, families)
        for i, of in enumerate(numbers):
            sums = _number_sums(values[of])
            yield _cells(i, pa.array(sums, pa.string()), pa.array(sums.values(), pa.int64()))
        counts: dict[str, tuple[pa.Array, pa.Array]] = {}
        for i, c in enumerate(counted, len(numbers)):
            if c.shortened:
                yield _cells(i, *_shortened_counts(c.kernel(values)))
                continue
            if c.expression not in counts:
                # `group_by` takes 200 times as long for doubles whose last bits are 0.
                distinct, amounts = pc.value_counts(c.kernel(values).drop_null()).flatten()
                counts[c.expression] = _texts(distinct), amounts
            yield _cells(i, *(counts[c.expression] if c.parts is None else _part_counts(*counts[c.expression], c.parts)))


def _shortened_counts(numbers: pa.Array) -> tuple[pa.Array, pa.Array]:
    x = numbers.drop_null().to_numpy()
    if not len(x):
        return pa.array([], pa.string()), pa.array([], pa.int64())
    values, amounts, digits = quantiles.count_numbers(x)
    return pa.array([*map(repr, values.tolist()), "digits"]), pa.array([*amounts, digits], pa.int64())


def _number_sums(value: ArrowValue) -> dict[str, int]:
    there = ~np.isnan(value.number)
    x = value.number[there]
    if not len(x):
        return {}
    sums = {"count": len(x), "min": as_integer(x.min()), "max": as_integer(x.max())} | exact_sums.limb_sums(x)
    if value.family in ("bigint", "decimal") and sums["min"] == sums["max"]:  # different integers may have the same double
        hashes = value.hash[there]
        sums |= {"lowest hash": int(hashes.min()), "highest hash": int(hashes.max())}
    return sums


def _collect(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    collected: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        collected.append(batch)
        size += batch.nbytes
        if size > _MEMORY:
            yield pa.Table.from_batches(collected)
            collected, size = [], 0
    if collected:
        yield pa.Table.from_batches(collected)


def _texts(values: pa.Array) -> pa.Array:
    # Python's repr of a double is the shortest text that gives the same double.
    return pa.array(map(repr, values.to_pylist()), pa.string()) if pa.types.is_float64(values.type) else values.cast(pa.string())


def _part_counts(values: pa.Array, amounts: pa.Array, parts: Callable[[str], Sequence[str]]) -> tuple[pa.Array, pa.Array]:
    parts_of = [parts(text) for text in values.to_pylist()]
    flat = pa.array([part for text_parts in parts_of for part in text_parts], pa.string())
    times = np.repeat(amounts.to_numpy(), [len(text_parts) for text_parts in parts_of])
    counts = pa.table({"value": flat, "amount": times}).group_by("value", use_threads=False).aggregate([("amount", "sum")])
    return counts["value"].combine_chunks(), counts["amount_sum"].combine_chunks()


def _cells(i: int, values: pa.Array, amounts: pa.Array) -> pa.RecordBatch:
    numbers = pa.array(np.full(len(values), i, np.int32))
    return pa.record_batch({"i": numbers, "value": values, "amount": amounts.cast(pa.int64())})
