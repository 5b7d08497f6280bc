"""Lists of keys to act on, chosen by probability, as tables and as CSV files for a spreadsheet."""

import csv
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.conf.score import Action
from keyfold.engine.columns import col, lit
from keyfold.engine.home import home
from keyfold.errors import ConfError
from keyfold.scoring.outcomes import Outcomes
from keyfold.scoring.page_sections import actions_section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from keyfold.engine.frame import Frame
    from keyfold.engine.tables import Table
    from keyfold.labels import Label
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
    frame = run.engine.frame(chosen).with_columns({"run_id": lit(run_id)})
    if not _has_rows(table, frame, period, run.conf.data.key):
        table.replace(frame, "period", {period: chosen.num_rows}, job="action", run_id=run_id)


def _has_rows(table: "Table", frame: "Frame", period: str, key: "Sequence[str]") -> bool:
    """Whether the table's rows of the period are those of `frame`."""
    if not table.exists() or table.frame().columns != frame.columns:
        return False
    order = [(name, "ascending") for name in key]
    stored = table.frame().where(col("period") == lit(period)).to_arrow().sort_by(order)
    wanted = frame.to_arrow().sort_by(order)
    # By column: tables also differ if only one of them says that a column may be NULL.
    return all(a.equals(b) for a, b in zip(stored.columns, wanted.columns, strict=True))


def _choose(run: "Run", action: Action, period: str, scored: int) -> "pa.Table":
    key, probability = run.conf.data.key, col("probability")
    rows = run.predictions.frame().where(col("period") == lit(period), ~probability.is_null())
    rows = rows if action.over is None else rows.where(probability > lit(action.over))
    rows = rows.select([*key, "period", "prediction", "probability", "model_version"])
    # Equal probabilities are ordered by key, so that the same predictions always give the same keys.
    return rows.sort(["probability", *key], descending=["probability"]).head(action.most(scored)).to_arrow()


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


def check_actions(actions: "Mapping[str, Action]", label: "Label | None") -> None:
    """ConfError if there are actions and the model gives no probability of one class."""
    if actions and not (label and label.gives_probability):
        what = {"labels": "several labels", "classes": "one of several classes"}.get(label.kind if label else "", "a number")
        raise ConfError(f"score.actions choose by the probability of one class, and this model predicts {what}; leave them out")
