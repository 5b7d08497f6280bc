"""The page of a run: one HTML file that holds its charts and script and needs no network."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence, Sized
from hashlib import sha256
from importlib import resources
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from keyfold.evaluation.intervals import Metric, format_number
from keyfold.evaluation.metrics import main_metric, metric_heading, metric_label
from keyfold.reporting import charts
from keyfold.reporting.charts import figure_html

NONE = "–"
ARROWS = "In brackets the 95% bootstrap interval. ↑ higher is better, ↓ lower is better."


TOPICS = (
    "verdict", "metrics", "curves", "threshold", "slices", "predictions", "features", "data", "folds", "files", "time",
)  # fmt: skip


class PageSection(NamedTuple):
    """Section of the page: title (text), trusted HTML, and the topic that gives its place (see `TOPICS`)."""

    title: str
    html: str
    topic: str = "data"


class Verdict(NamedTuple):
    """Verdict on a model.

    outcome: a clause such as `churn version 3 is the champion`; why_not: the conditions of promotion that it misses;
    shown: the main metric; metrics: on the test fold; before: those of the former champion;
    promoted: None if the model was not judged in this run.
    """

    outcome: str
    why_not: Sequence[str]
    shown: str
    metrics: Mapping[str, Metric]
    before: Mapping[str, float]
    promoted: bool | None = None

    @classmethod
    def of(cls, outcome: str, metrics: Mapping[str, Metric]) -> "Verdict":
        """Verdict on a model that an earlier run judged."""
        return cls(outcome, [], main_metric(metrics), metrics, {})

    def __str__(self) -> str:
        if self.shown not in self.metrics:
            return self.outcome
        return f"{self.outcome}: test {metric_label(self.shown)} {self.compared(self.shown)}"

    def compared(self, name: str) -> str:
        """A metric with its interval, and that of the former champion."""
        champion = f", champion before {format_number(self.before[name])}" if name in self.before else ""
        return f"{self.metrics[name]}{champion}"

    @property
    def facts(self) -> dict[str, object]:
        """Each metric by its name, for the head of the page."""
        return {f"test {metric_heading(name)}": self.compared(name) for name in self.metrics}


def render_page(title: str, facts: Mapping[str, object], sections: Sequence[PageSection], *, lead: str = "") -> str:
    """HTML of the page. Title, lead and facts are escaped as text; sections are ordered by topic, then as given.

    A content security policy lets the browser run the page's own script and no other.
    """
    script = resources.files("keyfold.reporting").joinpath("page.js").read_text("utf-8")
    return render_template(
        "page.html.j2",
        title=title,
        lead=lead,
        facts={name: _text(value) for name, value in facts.items()},
        sections=sorted(sections, key=lambda section: TOPICS.index(section.topic)),
        script=script,
        script_hash=f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}",
    )


def render_template(file: str, **values: object) -> str:
    """HTML of a template of this package; values are escaped unless they are `Markup`."""
    from jinja2 import Environment

    source = resources.files("keyfold.reporting").joinpath(file).read_text("utf-8")
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source).render(values)


def link_html(text: str, address: str) -> Markup:
    """HTML of a link to an http(s) address or to a path that begins with `../`; any other address gives the text alone."""
    if not re.match(r"https?://|\.\./", address):
        return Markup.escape(text)
    return Markup('<a href="{}">{}</a>').format(address, text)


def html_table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> str:
    """HTML of a table; each row has one cell for each header (ValueError otherwise). Text is escaped.

    Whole numbers get thousands separators, other numbers four digits, a `Metric` three and its interval; None and
    NaN are a dash.
    """
    if any(len(row) != len(headers) for row in rows):
        raise ValueError(f"each row of the table must have {len(headers)} cells, one for each header")
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
    if isinstance(value, Markup):
        return value
    if isinstance(value, Metric):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    return format_number(float(value), digits=4) if isinstance(value, Real) else str(value)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, Real | Metric) and not isinstance(value, bool)) or _is_percent(value)


def _is_percent(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[<>]?\d+\.\d\d%", value) is not None


def percent(part: float, whole: float) -> str | None:
    """Share with two decimals; only none of `whole` is 0.00%, and only all of it 100.00%. None if `whole` is 0."""
    if not whole:
        return None
    share = part / whole
    if 0 < share < 5e-5 or 1 - 5e-5 <= share < 1:
        return "<0.01%" if share < 0.5 else ">99.99%"
    return f"{share:.2%}"


def comma_list(value: object) -> str:
    """A list as text."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def note_html(strong: str, text: str, *, bad: bool = False) -> str:
    """HTML of a note with its beginning in bold; `bad` makes it red."""
    return str(Markup('<p class="{}"><strong>{}</strong> {}</p>').format("note bad" if bad else "note", strong, text))


def side_by_side(*parts: str) -> str:
    """HTML of parts in columns, if the screen is wide enough."""
    return f'<div class="beside">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def interval_figure(values: Mapping[str, Metric], line: float, label: str, title: str, x: str, caption: str) -> str:
    """HTML of a chart of values with their intervals, and a reference line."""
    return figure_html(
        lambda ax: charts.interval_chart(ax, list(values), list(values.values()), line, label, title, x),
        caption=caption, width=720, height=_height(values),
    )  # fmt: skip


def bar_figure(names: Sequence[str], values: Sequence[float], labels: Sequence[str], *, caption: str, **options: Any) -> str:
    """HTML of a chart with a bar for each name; `options` are those of `charts.bar_chart`."""
    return figure_html(
        lambda ax: charts.bar_chart(ax, names, values, labels, **options), caption=caption, width=500, height=_height(names)
    )


def _height(rows: Sized) -> int:
    return 110 + 34 * len(rows)
