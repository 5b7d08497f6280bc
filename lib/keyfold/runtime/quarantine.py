"""Quarantines rows: their period, file and line, the reason, and their raw text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.json_texts import row_jsons, sql_row_json
from keyfold.core.names import FILE, LINE, PERIOD, RAW, REASON
from keyfold.engine.columns import lit
from keyfold.engine.frame import Computed, Frame

if TYPE_CHECKING:
    from keyfold.runtime.run import Run

_COLUMNS = ("run_id", "table", "period", "file", "line", "reason", "raw", "quarantined_at")


def quarantine_rows(run: "Run", run_id: str, rows: Frame, count: int) -> None:
    """Writes `count` rows with REASON to the quarantine table; does nothing if the same run has written them before."""
    if run.quarantine.holds(run_id, run_id, count, "run_id"):
        return
    named = rows.compute(_account(rows.columns), [PERIOD, REASON]).rename({PERIOD: "period", REASON: "reason"})
    at = {"run_id": lit(run_id), "table": lit(run.rows.name), "quarantined_at": lit(datetime.now(UTC))}
    run.quarantine.replace(named.with_columns(at).select(_COLUMNS), "run_id", {run_id: count}, job="quarantine")


def _account(columns: Sequence[str]) -> Computed:
    """The file, the line and the raw text of each row: of the line that was read, or else the JSON of its columns."""
    data = _without_own(columns)
    raw = sql_row_json(data)
    expressions = [
        f"CAST({FILE if FILE in columns else 'NULL'} AS STRING)", f"CAST({LINE if LINE in columns else 'NULL'} AS BIGINT)",
        f"coalesce({RAW}, {raw})" if RAW in columns else raw,
    ]  # fmt: skip
    types = {"file": pa.string(), "line": pa.int64(), "raw": pa.string()}
    return Computed(types, partial(_account_arrays, data), expressions)


def _account_arrays(data: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    names = batch.schema.names
    file = batch[FILE] if FILE in names else pa.nulls(batch.num_rows)
    line = batch[LINE] if LINE in names else pa.nulls(batch.num_rows)
    raw = row_jsons(batch, data)
    return [file.cast(pa.string()), line.cast(pa.int64()), pc.coalesce(batch[RAW], raw) if RAW in names else raw]


def data_columns(rows: Frame) -> list[str]:
    """The columns that are not keyfold's own."""
    return _without_own(rows.columns)


def _without_own(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if not name.startswith("keyfold_")]
