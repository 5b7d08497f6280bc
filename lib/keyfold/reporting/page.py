"""The page that each run leaves behind: one HTML file with its pictures inside, which needs no network."""

import re
from collections.abc import Mapping, Sequence, Sized
from importlib import resources
from numbers import Integral, Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup

from keyfold.evaluation.metrics import Metric
from keyfold.evaluation.metrics import format_number as figures
from keyfold.reporting import charts
from keyfold.reporting.charts import figure_html

if TYPE_CHECKING:
    pass


NONE = "–"
METRIC_NAMES = {
    "roc_auc": "ROC AUC ↑", "pr_auc": "PR AUC ↑", "lift_top_decile": "Top-decile lift ↑", "log_loss": "Log loss ↓",
    "brier": "Brier score ↓", "rmse": "RMSE ↓", "mae": "MAE ↓", "r2": "R² ↑",
}  # fmt: skip
ARROWS = "In brackets the 95% bootstrap interval. ↑ higher is better, ↓ lower is better."


TOPICS = (
    "verdict", "metrics", "curves", "threshold", "slices", "predictions", "features", "data", "folds", "files", "time",
)  # fmt: skip


class PageSection(NamedTuple):
    """A section of the page: a title (text), trusted HTML, and the topic that places it among the others (see `TOPICS`)."""

    title: str
    html: str
    topic: str = "data"


class Verdict(NamedTuple):
    """What became of a model: `outcome` in words, `why_not` it was not promoted, the test metrics, and the champion's before.

    `shown` is the metric that one line has.
    """

    outcome: str
    why_not: Sequence[str]
    shown: str
    metrics: Mapping[str, Metric]
    before: Mapping[str, float]

    @classmethod
    def of(cls, outcome: str, metrics: Mapping[str, Metric]) -> "Verdict":
        """On a model that was judged before."""
        return cls(outcome, [], "roc_auc" if "roc_auc" in metrics else "r2", metrics, {})

    def __str__(self) -> str:
        if self.shown not in self.metrics:
            return self.outcome
        return f"{self.outcome}: test {METRIC_NAMES.get(self.shown, self.shown).rstrip(' ↑↓')} {self.told(self.shown)}"

    def told(self, name: str) -> str:
        """A metric, its interval, and the champion's before."""
        champion = f", champion before {figures(self.before[name])}" if name in self.before else ""
        return f"{self.metrics[name]}{champion}"

    @property
    def facts(self) -> dict[str, object]:
        """Each metric by its name, for the head of the page."""
        return {f"test {METRIC_NAMES.get(name, name)}": self.told(name) for name in self.metrics}


def render_page(title: str, facts: Mapping[str, object], sections: Sequence[PageSection], *, lead: str = "") -> str:
    """The page as HTML. Title, lead and facts are text and are escaped; sections are ordered by topic, then as given."""
    from jinja2 import Environment

    source = resources.files("keyfold.reporting").joinpath("page.html.j2").read_text("utf-8")
    shown = {name: _text(value) for name, value in facts.items()}
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    return template.render(
        title=title, lead=lead, facts=shown, sections=sorted(sections, key=lambda section: TOPICS.index(section.topic))
    )


def html_table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> str:
    """HTML of a table; one row has one cell a header (ValueError otherwise). Everything is escaped.

    Whole numbers get thousands separators, other numbers four digits, a `Metric` three and its interval; None and
    NaN are a dash.
    """
    if any(len(row) != len(headers) for row in rows):
        raise ValueError(f"The rows of table must have {len(headers)} cells each, one a header.")
    numeric = [all(map(_is_number, cells)) for cells in zip(*rows, strict=True)] or [False] * len(headers)
    side = [Markup(' class="n"') if right else Markup() for right in numeric]
    head = Markup().join(Markup("<th{} scope=col>{}</th>").format(*pair) for pair in zip(side, headers, strict=True))
    body = Markup().join(
        Markup("<tr>{}</tr>").format(
            Markup().join(Markup("<td{}>{}</td>").format(s, _text(cell)) for s, cell in zip(side, row, strict=True))
        )
        for row in rows
    )
    above = Markup("<caption>{}</caption>").format(caption) if caption else ""
    whole = Markup('<div class="scroll"><table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>')
    return str(whole.format(above, head, body))


def _text(value: object) -> str:
    if value is None:
        return NONE
    if isinstance(value, Metric):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    return figures(float(value), digits=4) if isinstance(value, Real) else str(value)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, Real | Metric) and not isinstance(value, bool)) or _is_percent(value)


def _is_percent(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[<>]?\d+\.\d\d%", value) is not None


def percent(part: float, whole: float) -> str | None:
    """Rounded, but never so that a part that is there reads as nothing, or one that lacks something as the whole."""
    if not whole:
        return None
    share = part / whole
    if 0 < share < 5e-5 or 1 - 5e-5 <= share < 1:
        return "<0.01%" if share < 0.5 else ">99.99%"
    return f"{share:.2%}"


def comma_list(value: object) -> str:
    """Several values as one text."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def note_html(strong: str, text: str, *, bad: bool = False) -> str:
    """HTML of a sentence with a strong beginning; `bad` colours it."""
    return str(Markup('<p class="{}"><strong>{}</strong> {}</p>').format("note bad" if bad else "note", strong, text))


def side_by_side(*parts: str) -> str:
    """HTML of parts beside each other."""
    return f'<div class="beside">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def interval_figure(values: Mapping[str, Metric], line: float, label: str, title: str, x: str, caption: str) -> str:
    """HTML of a picture of values with their intervals, beside a line."""
    draw = charts.interval_chart(list(values), list(values.values()), line, label, title, x)
    return figure_html(draw, caption=caption, width=720, height=height(values))


def height(rows: Sized) -> int:
    """The height of a picture with a bar for each row, in pixels."""
    return 110 + 34 * len(rows)
