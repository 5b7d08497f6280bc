"""Quarantines rows: their period, file and line, the reason, and their raw text."""

from typing import TYPE_CHECKING

from keyfold.core.names import FILE, LINE, PERIOD, RAW, REASON
from keyfold.core.sql import col
from keyfold.engine import functions as F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.runtime.run import Run


def quarantine_rows(run: "Run", run_id: str, rows: "DataFrame", count: int) -> None:
    """Writes `count` rows with REASON to the quarantine table; does nothing if the same run has written them before."""
    if run.quarantine.holds(run_id, run_id, count, "run_id"):
        return
    raw = F.to_json(F.struct(*map(col, data_columns(rows))), {"ignoreNullFields": "false"})
    raw = F.coalesce(col(RAW), raw) if RAW in rows.columns else raw
    file = col(FILE) if FILE in rows.columns else F.lit(None)
    line = col(LINE) if LINE in rows.columns else F.lit(None)
    quarantined = rows.select(
        F.lit(run_id).alias("run_id"), F.lit(run.rows.name).alias("table"), col(PERIOD).alias("period"),
        file.cast("string").alias("file"), line.cast("bigint").alias("line"), col(REASON).alias("reason"),
        raw.alias("raw"), F.current_timestamp().alias("quarantined_at"),
    )  # fmt: skip
    run.quarantine.replace(quarantined, "run_id", {run_id: count}, job="quarantine")


def data_columns(rows: "DataFrame") -> list[str]:
    """The columns that are not keyfold's own."""
    return [c for c in rows.columns if not c.startswith("keyfold_")]
