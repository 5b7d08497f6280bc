"""Lists of keys to act on, chosen by probability, as tables and as CSV files for a spreadsheet."""

import csv
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.conf.score import Action
from keyfold.core.sql import col
from keyfold.engine import functions as F
from keyfold.engine.home import home
from keyfold.errors import ConfError
from keyfold.scoring.outcomes import Outcomes
from keyfold.scoring.page_sections import actions_section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from keyfold.engine.tables import Table
    from keyfold.reporting.page import PageSection
    from keyfold.runtime.run import Run

FORMULA = ("=", "+", "-", "@")


def write_actions(run: "Run", run_id: str, period: str, outcomes: Outcomes) -> "PageSection":
    """Writes each action's keys to the table `<schema>.<action>` and to a CSV file in the folder of the page; returns the section for the page."""
    cells = []
    for name, action in run.conf.score.actions.items():
        chosen = _choose(run, action, period, outcomes.counts["scored"])
        _write_table(run, run.used(f"action {name}"), chosen, period, run_id)
        file = home() / "reports" / run_id / f"{name}.csv"
        write_csv(chosen, file)
        probabilities = chosen["probability"].to_pylist()
        lift = sum(probabilities) / len(probabilities) / outcomes.mean if probabilities and outcomes.mean else None
        cells.append((name, str(action), chosen.num_rows, min(probabilities, default=None), lift, str(file)))
    return actions_section(cells)


def _write_table(run: "Run", table: "Table", chosen: "pa.Table", period: str, run_id: str) -> None:
    frame = run.spark.createDataFrame(chosen) if chosen.num_rows else _predictions(run, period).limit(0)
    frame = frame.select(*map(col, chosen.column_names)).withColumn("run_id", F.lit(run_id))
    if not _has_rows(table, frame, period, run.conf.data.key):
        table.replace(frame.coalesce(1), "period", {period: chosen.num_rows}, job="action", run_id=run_id)


def _has_rows(table: "Table", frame: "DataFrame", period: str, key: "Sequence[str]") -> bool:
    """Whether the table's rows of the period are those of `frame`."""
    if not table.exists() or table.read().columns != frame.columns:
        return False
    order = [(name, "ascending") for name in key]
    stored = table.read().where(col("period") == period).toArrow().sort_by(order)
    wanted = frame.toArrow().sort_by(order)
    # By column: tables also differ if only one of them says that a column may be NULL.
    return all(a.equals(b) for a, b in zip(stored.columns, wanted.columns, strict=True))


def _predictions(run: "Run", period: str) -> "DataFrame":
    rows = run.predictions.read().where(col("period") == period)
    return rows.select(*map(col, [*run.conf.data.key, "period", "prediction", "probability", "model_version"]))


def _choose(run: "Run", action: Action, period: str, scored: int) -> "pa.Table":
    rows = _predictions(run, period).where(col("probability").isNotNull())
    rows = rows if action.over is None else rows.where(col("probability") > F.lit(action.over))
    # Equal probabilities are ordered by key, so that the same predictions always give the same keys.
    return rows.sort(col("probability").desc(), *map(col, run.conf.data.key)).limit(action.most(scored)).toArrow()


def write_csv(rows: "pa.Table", file: Path) -> None:
    """Writes a CSV file without formulas: text that a spreadsheet would run, or that starts with an apostrophe, gets an apostrophe before it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)  # some locales separate cells by `;`
        lines.writerow(map(_escape, rows.column_names))
        for batch in rows.to_batches():
            lines.writerows(map(_escape, row.values()) for row in batch.to_pylist())


def _escape(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and (cell[:1] == "'" or _is_formula(cell)) else cell


def _is_formula(text: str) -> bool:
    """Whether text starts with a formula sign, full-width ones included, after blanks and invisible characters, or with a tab or line break."""
    first = next((at for at, char in enumerate(text) if unicodedata.category(char)[0] not in "ZCM"), len(text))
    return text[:1] in ("\t", "\r", "\n") or unicodedata.normalize("NFKC", text[first : first + 1]).startswith(FORMULA)


def check_actions(actions: "Mapping[str, Action]", *, classes: bool) -> None:
    """ConfError if there are actions and the model gives no probability."""
    if actions and not classes:
        raise ConfError("score.actions choose by probability, and this model predicts a number; leave them out")
