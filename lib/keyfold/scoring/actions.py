"""Lists of keys to act on, chosen by probability, as tables and as CSV files for a spreadsheet."""

import csv
import unicodedata
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.score import ONE_PROBABILITY, Action, no_class
from keyfold.core import sql
from keyfold.engine.columns import col, lit
from keyfold.engine.frame import Computed
from keyfold.engine.home import home
from keyfold.errors import ConfError, suggestion
from keyfold.scoring.outcomes import Outcomes
from keyfold.scoring.page_sections import actions_section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keyfold.engine.frame import Frame
    from keyfold.engine.tables import Table
    from keyfold.labels import Label
    from keyfold.reporting.page import PageSection
    from keyfold.runtime.run import Run

FORMULA = ("=", "+", "-", "@")
PROBABILITIES = "probabilities"


def write_actions(run: "Run", run_id: str, period: str, outcomes: Outcomes) -> "PageSection":
    """Writes each action's keys to the table `<schema>.<action>` and to a CSV file in the folder of the page; returns the section for the page."""
    cells = []
    for name, action in run.conf.score.actions.items():
        chosen, mean = _choose(run, name, action, period, outcomes)
        _write_table(run, run.used(f"action {name}"), chosen, period, run_id)
        file = home() / "reports" / run_id / f"{name}.csv"
        write_csv(chosen, file)
        probabilities = chosen["probability"].to_pylist()
        lift = sum(probabilities) / len(probabilities) / mean if probabilities and mean else None
        cells.append((name, str(action), chosen.num_rows, min(probabilities, default=None), lift, str(file)))
    return actions_section(cells)


def _write_table(run: "Run", table: "Table", chosen: pa.Table, period: str, run_id: str) -> None:
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


def _choose(run: "Run", name: str, action: Action, period: str, outcomes: Outcomes) -> tuple[pa.Table, float]:
    """The keys of an action, and the mean probability of all scored keys."""
    key, probability = run.conf.data.key, col("probability")
    columns, mean = [*key, "period", "prediction", "probability", "model_version"], outcomes.mean
    rows = run.predictions.frame().where(col("period") == lit(period))
    if (PROBABILITIES in rows.columns) != (action.of is not None):  # its model was not checked if the rows were scored before
        raise ConfError(no_class(name) if action.of is None else f"score.actions.{name}.of {ONE_PROBABILITY}")
    if action.of is not None:
        kept = [column for column in columns if column != "probability"]
        rows = rows.select([*kept, PROBABILITIES]).compute(_probability_of(action.of), kept)
        mean = rows.group([], mean=probability.mean()).rows()[0]["mean"]
        if mean is None and outcomes.counts["scored"]:
            raise ConfError(f"score.actions.{name}.of: the model knows no class `{action.of}`")
    rows = rows.where(~probability.is_null())
    rows = rows if action.over is None else rows.where(probability > lit(action.over))
    # Equal probabilities are ordered by key, so that the same predictions always give the same keys.
    rows = rows.select(columns).sort(["probability", *key], descending=["probability"])
    return rows.head(action.most(outcomes.counts["scored"])).to_arrow(), mean


def _probability_of(name: str) -> Computed:
    """The probability of a class, in place of that of the predicted one; NULL if the model does not know it."""
    expression = f"try_element_at({PROBABILITIES}, {sql.text_literal(name)})"
    return Computed({"probability": pa.float64()}, partial(_look_up, name), [expression])


def _look_up(name: str, batch: pa.RecordBatch) -> list[pa.Array]:
    return [pc.map_lookup(batch[PROBABILITIES], name, "first")]


def write_csv(rows: pa.Table, file: Path) -> None:
    """Writes a CSV file without formulas: text that a spreadsheet would run, or that starts with an apostrophe, gets an apostrophe before it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as out:
        lines = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)  # some locales separate cells by `;`
        lines.writerow(map(_escape, rows.column_names))
        for batch in rows.to_batches():
            lines.writerows(map(_escape, row.values()) for row in batch.to_pylist())


def _escape(cell: Any) -> Any:
    cell = ", ".join(cell) if isinstance(cell, list) else cell  # several labels
    return f"'{cell}" if isinstance(cell, str) and (cell[:1] == "'" or _is_formula(cell)) else cell


def _is_formula(text: str) -> bool:
    """Whether text starts with a formula sign, full-width ones included, after blanks and invisible characters, or with a tab or line break."""
    first = next((at for at, char in enumerate(text) if unicodedata.category(char)[0] not in "ZCM"), len(text))
    return text[:1] in ("\t", "\r", "\n") or unicodedata.normalize("NFKC", text[first : first + 1]).startswith(FORMULA)


def check_actions(actions: "Mapping[str, Action]", label: "Label | None") -> None:
    """ConfError unless the model gives the probability of one class, or of several, one of which each action names."""
    for name, action in actions.items():
        if label is None or not label.has_classes:
            raise ConfError(
                "score.actions choose by the probability of one class, and this model predicts a number; leave them out"
            )
        if label.gives_probability:
            if action.of is not None:
                raise ConfError(f"score.actions.{name}.of {ONE_PROBABILITY}")
            continue
        names = label.names  # type: ignore[attr-defined]
        if action.of is None:
            raise ConfError(no_class(name))
        if action.of not in names:
            raise ConfError(f"score.actions.{name}.of: the model knows no class `{action.of}`{suggestion(action.of, names)}")
