"""Parquet files of a Delta table whose rows keep their order, which deltalake's own writer does not promise."""

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.engine.store import Write

if TYPE_CHECKING:
    from deltalake.transaction import AddAction


def write_in_order(folder: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, write: Write) -> None:
    """Writes rows that are clustered by the partition, a column of text, in one commit; each file is one row group."""
    from deltalake import CommitProperties, DeltaTable, Schema
    from deltalake.transaction import create_table_with_add_actions

    column = write.partition
    assert column
    new = not DeltaTable.is_deltatable(str(folder))
    files: list[Any] = [_file(folder, column, *part) for part in _parts(batches, column, write.rows_per_file or 0)]
    metrics = {"num_added_files": len(files), "num_added_rows": sum(json.loads(file.stats)["numRecords"] for file in files)}
    commit = CommitProperties(custom_metadata={"userMetadata": write.metadata, "operationMetrics": metrics})
    delta = Schema.from_arrow(schema)
    if new:
        create_table_with_add_actions(
            str(folder), delta, files, partition_by=[column], configuration=dict(write.properties), commit_properties=commit
        )
        return
    mode = "overwrite" if write.replaced or write.new_columns else "append"
    filters: Any = None
    if write.replaced and not write.new_columns:
        filters = [(write.replaced[0], "in", [*write.replaced[1]])]
    DeltaTable(str(folder)).create_write_transaction(files, mode, delta, [column], filters, commit_properties=commit)


def _parts(batches: Iterable[pa.RecordBatch], column: str, most: int) -> Iterator[tuple[str | None, pa.Table]]:
    """Consecutive rows with one value of a column, at most so many at a time: the value, and the other columns."""
    held: list[pa.RecordBatch] = []
    value, rows = None, 0
    for of, run in _runs(batches, column):
        if held and of != value:
            yield value, pa.Table.from_batches(held)
            held, rows = [], 0
        value, rest = of, run
        while rest.num_rows:
            taken = rest.slice(0, most - rows)
            held.append(taken)
            rest, rows = rest.slice(taken.num_rows), rows + taken.num_rows
            if rows == most:
                yield value, pa.Table.from_batches(held)
                held, rows = [], 0
    if held:
        yield value, pa.Table.from_batches(held)


def _runs(batches: Iterable[pa.RecordBatch], column: str) -> Iterator[tuple[str | None, pa.RecordBatch]]:
    for batch in batches:
        runs, others, begin = pc.run_end_encode(batch[column]), batch.drop_columns([column]), 0
        for value, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            yield value, others.slice(begin, end - begin)
            begin = end


def _file(folder: Path, column: str, value: str | None, rows: pa.Table) -> "AddAction":
    from deltalake.transaction import AddAction
    from pyarrow import parquet

    path = Path(quote(f"{column}={value}", safe="= "), f"part-{uuid.uuid4().hex}.parquet")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(rows, folder / path, row_group_size=max(1, rows.num_rows))
    written = parquet.read_metadata(folder / path).num_rows
    size = (folder / path).stat().st_size
    return AddAction(str(path), size, {column: value}, int(time.time() * 1000), True, json.dumps({"numRecords": written}))
