"""What to do about predictions: the keys to act on, chosen by probability, as a table and as a file for a spreadsheet."""

import csv
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.conf.score import Action
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.engine.home import home
from keyfold.reporting import page

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from keyfold.engine.tables import Table
    from keyfold.runtime.run import Run

FORMULA = ("=", "+", "-", "@")


def write_actions(run: "Run", run_id: str, period: str, scored: int, mean: float) -> None:
    """Writes each action's keys into `<schema>.<action>` and into a CSV file beside the report; `mean` is that of all probabilities."""
    told = []
    for name, action in run.conf.score.actions.items():
        chosen = _chosen(run, action, period, scored)
        table = run.used(f"action {name}")
        frame = run.spark.createDataFrame(chosen) if chosen.num_rows else _rows(run, period).limit(0)
        frame = frame.select(*map(col, chosen.column_names)).withColumn("run_id", F.lit(run_id))
        if not _is_there(run, table, frame, period):
            table.replace(frame.coalesce(1), "period", {period: chosen.num_rows}, job="action", run_id=run_id)
        file = home() / "reports" / run_id / f"{name}.csv"
        write_csv(chosen, file)
        inside = chosen["probability"].to_pylist()
        lift = sum(inside) / len(inside) / mean if inside and mean else None
        told.append((name, str(action), chosen.num_rows, min(inside, default=None), lift, str(file)))
    headers = ["action", "keys", "number", "lowest probability", "expected lift", "file"]
    caption = "Expected lift: the mean probability of the keys chosen, beside that of all that were scored."
    run.sections.append(page.PageSection("Actions", page.html_table(headers, told, caption=caption), "predictions"))


def _is_there(run: "Run", table: "Table", frame: "DataFrame", period: str) -> bool:
    """Whether the table has just these rows of the period."""
    if not table.exists() or table.read().columns != frame.columns:
        return False
    order = [(name, "ascending") for name in run.conf.data.key]
    there = table.read().where(col("period") == period).toArrow().sort_by(order)
    wanted = frame.toArrow().sort_by(order)
    # By column: tables are unequal, too, where one says that a column may be NULL and the other does not.
    return all(a.equals(b) for a, b in zip(there.columns, wanted.columns, strict=True))


def _rows(run: "Run", period: str) -> "DataFrame":
    rows = run.predictions.read().where(col("period") == period)
    return rows.select(*map(col, [*run.conf.data.key, "period", "prediction", "probability", "model_version"]))


def _chosen(run: "Run", action: Action, period: str, scored: int) -> "pa.Table":
    rows = _rows(run, period).where(col("probability").isNotNull())
    rows = rows if action.over is None else rows.where(col("probability") > F.lit(action.over))
    # Equal probabilities by key, so that the same predictions always choose the same keys.
    return rows.sort(col("probability").desc(), *map(col, run.conf.data.key)).limit(action.most(scored)).toArrow()


def write_csv(rows: "pa.Table", file: Path) -> None:
    """With an apostrophe before text that a spreadsheet would take for a formula, or that has one; a reader takes off the first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)  # a locale may take `;` between cells
        lines.writerow(map(_plain, rows.column_names))
        for batch in rows.to_batches():
            lines.writerows(map(_plain, row.values()) for row in batch.to_pylist())


def _plain(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and (cell[:1] == "'" or _is_formula(cell)) else cell


def _is_formula(text: str) -> bool:
    """Whether it begins with a sign of a formula, also a full-width one, after blanks and signs that cannot be seen, or with such a break."""
    seen = next((at for at, sign in enumerate(text) if unicodedata.category(sign)[0] not in "ZCM"), len(text))
    return text[:1] in ("\t", "\r", "\n") or unicodedata.normalize("NFKC", text[seen : seen + 1]).startswith(FORMULA)


def check_actions(actions: "Mapping[str, Action]", classes: bool) -> None:
    """ConfError where there is no probability to choose by."""
    from keyfold.errors import ConfError

    if actions and not classes:
        raise ConfError("score.actions choose by probability, and this model predicts a number; leave them out")
