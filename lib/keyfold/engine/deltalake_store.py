"""Reads and writes Delta tables in folders: DuckDB reads the files that deltalake lists, deltalake writes."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from keyfold.engine.arrow_types import type_name
from keyfold.engine.commits import Commit
from keyfold.engine.embedded_frame import Database, EmbeddedFrame
from keyfold.engine.frame import Frame
from keyfold.engine.local_rows import local_rows
from keyfold.engine.partition_files import write_in_order
from keyfold.engine.store import Operation, Snapshot, Store, VersionMissingError, Write, odd_column_names
from keyfold.errors import DataError

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow import dataset

# Features of tables. deltalake adds `variantType` to tables with features when it sets a property, whatever their columns are.
_READABLE = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "variantType"}
_WRITABLE = {*_READABLE, "appendOnly", "invariants", "checkConstraints"}
_WIDENED = {"tinyint": {"smallint", "int", "bigint"}, "smallint": {"int", "bigint"}, "int": {"bigint"}}
_ROW_GROUP = 131_072  # rows; each open file holds as many in memory
_FILE = 64 << 20  # bytes, about


class DeltalakeStore(Store):
    """A Delta table in a folder."""

    path: Path

    def __init__(self, database: Database, name: str, path: Path) -> None:
        super().__init__(name, path)
        self.database = database

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The latest version, or another one."""
        table = self._open(version)
        self._refuse_features(table, "reader", _READABLE)
        rows = EmbeddedFrame(self.database, local_rows(_dataset(table, self.path)))
        return Snapshot(
            rows,
            lambda: [f"file:{_file(self.path, action)}" for action in _actions(table)],
            lambda: json.loads(table.schema().to_json()),
        )

    def _open(self, version: int | None = None) -> "DeltaTable":
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        try:
            return DeltaTable(str(self.path), version=version)
        except DeltaError as error:
            if version is None:
                raise
            raise VersionMissingError from error

    def history(self, limit: int | None = None) -> list[Commit]:
        """The commits of Delta's log, newest first."""
        return [
            Commit.of(
                entry["version"], datetime.fromtimestamp(entry["timestamp"] / 1000, UTC), entry["operation"],
                entry.get("userMetadata"), entry.get("operationMetrics") or {},
            )
            for entry in self._open().history(limit)
        ]  # fmt: skip

    def operations(self) -> list[Operation]:
        """What the commits of Delta's log did, newest first."""
        entries = self._open().history()
        return [Operation(e["version"], e["operation"], (e.get("operationParameters") or {}).get("mode")) for e in entries]

    def appended(self, first: int, last: int) -> Frame:
        """The rows of the data files that some versions added."""
        table = self._open(last)
        self._refuse_features(table, "reader", _READABLE)
        before = {action["path"] for action in _actions(self._open(first - 1))} if first else set()
        return EmbeddedFrame(self.database, local_rows(_dataset(table, self.path, before)))

    def table_id(self, created: Iterable[Commit]) -> str:
        """The table's id."""
        return str(self._open().metadata().id)

    def properties(self) -> dict[str, str]:
        """The table's properties."""
        return dict(self._open().metadata().configuration)

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Sets properties in one commit."""
        table = self._open()
        self._refuse_features(table, "writer", _WRITABLE)
        table.alter.set_table_properties(dict(properties), raise_if_not_exists=False)

    def write(self, frame: Frame, write: Write) -> None:
        """Writes rows in one commit; creates the table if it does not exist."""
        from deltalake import CommitProperties, write_deltalake

        assert isinstance(frame, EmbeddedFrame)
        rows = _Rows(frame, self._schema_of(frame, write))
        if write.rows_per_file:
            write_in_order(self.path, rows.reader(), rows.schema, write)
            return
        options: dict[str, Any] = {"mode": "overwrite" if write.replaced or write.new_columns else "append"}
        if not self.exists():
            options |= {"configuration": dict(write.properties), "partition_by": write.partition}
        elif write.new_columns:
            options |= {"schema_mode": "overwrite", "partition_by": write.partition}
        elif write.replaced:
            options["predicate"] = _is_one_of(*write.replaced)
        try:
            write_deltalake(
                str(self.path), rows.reader(), **options, target_file_size=_FILE, writer_properties=_writer_properties(write, rows.schema),
                commit_properties=CommitProperties(custom_metadata={"userMetadata": write.metadata}),
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001  (raised again)
            raise rows.raised or error from None

    def _schema_of(self, frame: EmbeddedFrame, write: Write) -> pa.Schema:
        """The columns to write (DataError if the table cannot have them)."""
        if not self.exists() or write.new_columns:
            if odd := odd_column_names(frame.columns):
                raise DataError(
                    f"table `{self.name}`: column `{odd[0]}` needs Delta's column mapping, which the embedded engine cannot write; "
                    "give it another name (`from`), or write `engine: spark`"
                )
            return frame.schema
        table = self._open()
        self._refuse_features(table, "writer", _WRITABLE)
        schema = pa.schema(table.schema().to_arrow())
        for field in frame.schema:
            self._refuse_misfit(field, schema)
        return schema

    def _refuse_misfit(self, field: pa.Field, schema: pa.Schema) -> None:
        if field.name not in schema.names:
            raise DataError(f"table `{self.name}` has no column `{field.name}`, which the new rows have")
        new, there = type_name(field.type), type_name(schema.field(field.name).type)
        if new not in (there, "void") and there not in _WIDENED.get(new, ()):
            raise DataError(f"table `{self.name}`: column `{field.name}` is {there}, and {new} in the new rows")

    def _refuse_features(self, table: "DeltaTable", kind: str, supported: set[str]) -> None:
        if features := _features(table, kind, supported):
            raise DataError(
                f"table `{self.name}` has a feature of Delta that needs Spark ({', '.join(features)}); write `engine: spark`"
            )


def features_for_spark(path: Path, *, writes: bool) -> list[str]:
    """The features of the Delta table in a folder that need Spark, to write it or to read it."""
    from deltalake import DeltaTable

    table = DeltaTable(str(path))
    return _features(table, "writer", _WRITABLE) if writes else _features(table, "reader", _READABLE)


def _features(table: "DeltaTable", kind: str, supported: set[str]) -> list[str]:
    features = {*(getattr(table.protocol(), f"{kind}_features") or ())} - supported
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        features |= {"columnMapping"}
    return sorted(features)


class _Rows:
    """Streams the rows of a frame with the columns of a table; `raised` is the error that stopped the stream."""

    def __init__(self, frame: EmbeddedFrame, schema: pa.Schema) -> None:
        self.frame, self.schema = frame, schema
        self.raised: BaseException | None = None

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self.frame.batches():
                yield pa.RecordBatch.from_arrays([_column(batch, field) for field in self.schema], schema=self.schema)
        except Exception as error:
            self.raised = error
            raise


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    there = field.name in batch.schema.names
    cells = batch.column(field.name).cast(field.type) if there else pa.nulls(batch.num_rows, field.type)
    if cells.null_count and not field.nullable:
        raise DataError(f"column `{field.name}` of the new rows holds NULL, and the table allows none")
    return cells


def _dataset(table: "DeltaTable", path: Path, without: Collection[str] = ()) -> "dataset.Dataset":
    """The rows of a table; Arrow reads only the files and columns that a query needs."""
    from pyarrow import dataset, fs

    schema = pa.schema(table.schema().to_arrow())
    file_format = dataset.ParquetFileFormat(read_options={"coerce_int96_timestamp_unit": "us"})
    local = fs.LocalFileSystem()
    fragments = [
        file_format.make_fragment(str(_file(path, action)), local, partition_expression=_of_partition(action, schema))
        for action in _actions(table)
        if action["path"] not in without
    ]
    return dataset.FileSystemDataset(fragments, schema, file_format, local)


def _file(folder: Path, action: Mapping[str, Any]) -> Path:
    return folder / unquote(action["path"].removeprefix("file://").removeprefix("file:"))


def _actions(table: "DeltaTable") -> list[dict[str, Any]]:
    actions = pa.table(table.get_add_actions())
    names = [name for name in ("path", "partition") if name in actions.column_names]
    return actions.select(names).to_pylist()


def _of_partition(action: Mapping[str, Any], schema: pa.Schema) -> "dataset.Expression":
    from pyarrow import dataset

    known = dataset.scalar(True)
    for name, value in (action.get("partition") or {}).items():
        field = dataset.field(name)
        known &= field.is_null() if value is None else field == pa.scalar(value, schema.field(name).type)
    return known


def _is_one_of(column: str, values: Iterable[str]) -> str:
    texts = ", ".join("'{}'".format(value.replace("'", "''")) for value in values)
    return '"{}" IN ({})'.format(column.replace('"', '""'), texts)


def _writer_properties(write: Write, schema: pa.Schema) -> Any:
    from deltalake import ColumnProperties, WriterProperties

    maps = any(pa.types.is_map(type_) for type_ in schema.types)
    # Minima and maxima of texts take time, and so do dictionaries of the numbers in maps. Columns within others have no name here.
    indexed = {name: ColumnProperties(statistics_enabled="CHUNK") for name in write.indexed}
    others = ColumnProperties(statistics_enabled="NONE") if write.indexed else None
    if maps:
        bounded = {*(write.indexed or schema.names)}
        indexed = {name: ColumnProperties(True, "CHUNK" if name in bounded else "NONE") for name in schema.names}
        others = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    return WriterProperties(
        compression="SNAPPY", max_row_group_size=_ROW_GROUP, default_column_properties=others, column_properties=indexed or None
    )
