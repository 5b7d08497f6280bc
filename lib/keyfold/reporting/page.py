"""The page that each run leaves behind: one HTML file with its pictures inside, which needs no network."""

import re
from collections.abc import Mapping, Sequence, Sized
from importlib import resources
from math import isnan
from numbers import Integral, Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from keyfold.dataset.collisions import TARGET, Collisions
from keyfold.dataset.leakage_gates import Gate
from keyfold.evaluation import curves
from keyfold.evaluation.metrics import Metric, Slice
from keyfold.evaluation.metrics import figure as figures
from keyfold.reporting import charts
from keyfold.reporting.charts import Upright, figure

if TYPE_CHECKING:
    from keyfold.training.search import Trial

__all__ = [
    "Section", "Verdict", "ablations", "collisions", "evaluation", "features", "figure", "folds", "gates", "ingested", "metrics", "page", "parameter",
    "reconciliation", "scores", "slices", "steps", "table", "tuning",
]  # fmt: skip

NONE = "–"
_MANY, _BEST = 100, 20
_NAMES = {
    "roc_auc": "ROC AUC ↑", "pr_auc": "PR AUC ↑", "lift_top_decile": "Top-decile lift ↑", "log_loss": "Log loss ↓",
    "brier": "Brier score ↓", "rmse": "RMSE ↓", "mae": "MAE ↓", "r2": "R² ↑",
}  # fmt: skip
_DRIFT = (
    (0.25, "the scores have drifted (0.25 or more)"),
    (0.1, "the scores have moved (0.1 or more)"),
    (0.0, "hardly any drift (below 0.1)"),
)
_STATES = {"complete": "complete", "pruned": "ended early", "fail": "failed"}
_COLLISIONS = (
    "Rows of the train fold with a value. Collisions: distinct values less occupied buckets; expected: of so many values thrown at "
    f"random. Last column: num_buckets with which {TARGET:.0%} of the values would share a bucket."
)
_LOUDEST = "The two most frequent values of the buckets in which most rows are not of the most frequent value."
_ARROWS = "In brackets the 95% bootstrap interval. ↑ higher is better, ↓ lower is better."


class Section(NamedTuple):
    """A part of the page. `title` is text, `html` goes into the page as it is."""

    title: str
    html: str


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
        return f"{self.outcome}: test {_NAMES.get(self.shown, self.shown).rstrip(' ↑↓')} {self.told(self.shown)}"

    def told(self, name: str) -> str:
        """A metric, its interval, and the champion's before."""
        champion = f", champion before {figures(self.before[name])}" if name in self.before else ""
        return f"{self.metrics[name]}{champion}"

    @property
    def facts(self) -> dict[str, object]:
        """Each metric by its name, for the head of the page."""
        return {f"test {_NAMES.get(name, name)}": self.told(name) for name in self.metrics}


def page(title: str, facts: Mapping[str, object], sections: Sequence[Section], *, lead: str = "") -> str:
    """The whole page as HTML. Title, lead and facts are text and get escaped; sections follow in their order."""
    from jinja2 import Environment

    source = resources.files("keyfold").joinpath("report.html.j2").read_text("utf-8")
    shown = {name: _text(value) for name, value in facts.items()}
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    return template.render(title=title, lead=lead, facts=shown, sections=sections)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> str:
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


def reconciliation(counts: Mapping[str, int], reasons: Mapping[str, int], *, title: str = "Reconciliation") -> Section:
    """The first of `counts` is the whole, the others are its parts; `reasons` tells why rows were quarantined."""
    (whole, total), *parts = counts.items()
    missing = total - sum(count for _, count in parts)
    equation = " + ".join(f"{count:,} {name}" for name, count in parts)
    verdict = "✓ every row has one outcome" if not missing else f"✗ {missing:,} rows are unaccounted for"
    said = _note(f"{total:,} {whole} = {equation}", verdict, bad=bool(missing))
    shares = [(name, count, _percent(count, total)) for name, count in counts.items()]
    colours = [charts.MUTED] + [charts.ORANGE if name == "quarantined" else charts.BLUE for name, _ in parts]
    draw = charts.bars(
        list(counts), list(counts.values()), [f"{c:,}" for c in counts.values()],
        title=f"What became of the rows {whole}", x="rows", colours=colours,
    )  # fmt: skip
    shown = figure(draw, caption=f"{whole}: {total:,} rows, and what became of them.", width=500, height=_height(counts))
    why = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    quarantine = table(["reason", "rows"], why, caption="Why rows were quarantined") if why else ""
    return Section(title, said + _beside(table(["rows", "count", "share"], shares), shown) + quarantine)


def ingested(files: Mapping[str, tuple[int, int, int]], notes: Sequence[str]) -> list[Section]:
    """Rows read, kept and quarantined by file (a generator has none), and what else is to be told of them."""
    rows = sorted(((name, *counts) for name, counts in files.items() if name), key=lambda row: (-row[3], row[0]))
    caption = f"{len(rows):,} files" + (f"; the {_MANY} with the most rows quarantined" if len(rows) > _MANY else "")
    told = "".join(_note("Note:", note) for note in notes)
    shown = table(["file", "read", "kept", "quarantined"], rows[:_MANY], caption=caption) if rows else ""
    return [Section("Files", told + shown)] if told or shown else []


def folds(rows: Sequence[tuple[str, int, int | None]], share: Mapping[str, float] | None) -> Section:
    """(fold, rows, positives or None where that is unknown) each, against the shares asked for (0 to 1; None: none were)."""
    total = sum(count for _, count, _ in rows)
    part = [count / max(total, 1) for _, count, _ in rows]
    asked = [share.get(name, 0.0) for name, _, _ in rows] if share else None
    cells = [
        (name, count, _percent(count, total), a, positives, None if positives is None else _percent(positives, count))
        for (name, count, positives), a in zip(rows, [f"{a:.2%}" for a in asked] if asked else [NONE] * len(rows), strict=True)
    ]
    headers = ["fold", "rows", "share", "asked for", "positives", "positive rate"]
    draw = charts.bars(
        [name for name, _, _ in rows], [100 * p for p in part], [f"{p:.1%}" for p in part],
        title="Share of the rows in each fold", x="share of rows (%)", marks=[100 * a for a in asked] if asked else None, marked="asked for",
    )  # fmt: skip
    said = "Observed share of each fold" + ("; a tick marks the share asked for." if asked else ".")
    shown = figure(draw, caption=said, width=500, height=_height(rows))
    return Section("Folds", _beside(table(headers, cells), shown))


def gates(found: Sequence[Gate]) -> Section:
    """What was proven of the folds before training."""
    cells = [(gate.name, "✓" if gate.holds else "✗", gate.seen) for gate in found]
    return Section("What the folds were checked for", table(["gate", "holds", "seen"], cells))


def features(rows: Sequence[Mapping[str, object]]) -> Section:
    """One mapping a feature: `name`, `kind`, `inputs` (text, or several), `width` (columns) and `note`."""
    cells = [(r["name"], r["kind"], _listed(r["inputs"]), r["width"], r.get("note") or "") for r in rows]
    return Section("Features", table(["feature", "kind", "inputs", "width", "note"], cells, caption=f"{len(rows):,} features"))


def collisions(found: Sequence[Collisions]) -> Section:
    """What shares a bucket by feature, most rows first; the picture has the first 20."""
    known = sorted(found, key=lambda c: -c.shared_rows / max(c.rows, 1))
    cells = [
        (c.feature, c.num_buckets, c.values, c.occupied, c.observed, c.expected, _percent(c.shared_rows, c.rows), c.advised())
        for c in known
    ]
    headers = ["feature", "num_buckets", "values", "occupied", "collisions", "expected", "rows that share", f"for {TARGET:.0%}"]
    told = table(headers, cells, caption=_COLLISIONS)
    shown = known[:20]
    part = [100 * c.shared_values / max(c.values, 1) for c in shown]
    draw = charts.bars(
        [c.feature for c in shown], part, [f"{p:.1f}%" for p in part], title="Values that share a bucket",
        x="share of distinct values (%)", marks=[100 * c.expected_share for c in shown], marked="expected by chance",
    )  # fmt: skip
    drawn = figure(
        draw, caption="Share of each feature's values that share a bucket; a tick marks chance.", width=500, height=_height(shown)
    )
    pairs = [(c.feature, *pair) for c in known for pair in c.loudest]
    loudest = table(["feature", "value", "rows", "has the bucket of", "rows"], pairs, caption=_LOUDEST) if pairs else ""
    return Section("Collisions", told + _beside(drawn, loudest))


def metrics(measured: Mapping[str, Mapping[str, Metric]], *, title: str = "Metrics") -> Section:
    """A table of the metrics (rows) of each fold (columns)."""
    names = list(dict.fromkeys(name for of in measured.values() for name in of))
    cells = [(_NAMES.get(name, name), *(of.get(name) for of in measured.values())) for name in names]
    return Section(title, table(["metric", *measured], cells, caption=_ARROWS))


def evaluation(
    measured: Mapping[str, Mapping[str, Metric]], y: ArrayLike, p: ArrayLike, truth: ArrayLike | None = None
) -> Section:
    """The metrics of each fold, and the curves of one.

    y: n booleans or 0/1; p: n probabilities of the positive class; truth: n true probabilities, for synthetic data.
    """
    y = np.asarray(y, float)
    shown = metrics(measured).html
    if y.size == 0 or y.min() == y.max():
        return Section("Evaluation", shown + _note("No curves", "they need rows of both classes"))
    base = float(y.mean())
    known = "" if truth is None else " Squares: the true probability, known because the data are synthetic."
    drawn = [
        (charts.roc(curves.roc_curve(y, p)), "Positives found against negatives taken for positive."),
        (
            charts.precision_recall(curves.pr_curve(y, p), base),
            f"How pure the found rows are, the more of the positives are found. Base rate: {base:.1%}.",
        ),
        (
            charts.calibrated(curves.calibration(y, p, truth=truth)),
            f"Bins of about equally many rows: what was predicted, and what came.{known}",
        ),
        (charts.lift(curves.lift_curve(y, p)), "Positives among the rows with the highest scores, against a random choice."),
    ]
    return Section("Evaluation", shown + _beside(*(figure(draw, caption=caption) for draw, caption in drawn)))


def slices(column: str, found: Mapping[str, Slice]) -> Section:
    """The metrics of each value of a column, as `keyfold.metrics.by_slice` gives them."""
    names = list(dict.fromkeys(name for of in found.values() for name in of.metrics))
    cells = [(value, of.rows, *(of.metrics.get(name) for name in names)) for value, of in found.items()]
    title = f"By {column}"
    told = table([column, "rows", *(_NAMES.get(name, name) for name in names)], cells, caption=_ARROWS)
    known = {value: of.metrics[names[0]] for value, of in found.items() if names and not isnan(of.metrics[names[0]].value)}
    if not known:
        return Section(title, told)
    mean = float(np.average([m.value for m in known.values()], weights=[found[value].rows for value in known]))
    label = _NAMES.get(names[0], names[0]).rstrip(" ↑↓")
    said = f"{label} by {column}", f"{label}, with its 95% interval", f"{label} for each value of {column}."
    return Section(title, told + _intervals(known, mean, f"mean over rows, {figures(mean)}", *said))


def ablations(found: Sequence[tuple[Sequence[str], Mapping[str, tuple[Metric, Metric, Metric]]]]) -> Section:
    """What features gain: (their names, and by metric its value with all features, without these, and the difference)."""
    cells = [(_listed(list(names)), _NAMES.get(n, n), *three) for names, of in found for n, three in of.items()]
    caption = "The same model, trained without some features, on the same rows of the test fold. The difference is that of both "
    caption += f"models on the same draws of rows. {_ARROWS}"
    told = table(["without", "metric", "all features", "without these", "difference"], cells, caption=caption)
    first = next((name for _, of in found for name in of), "")
    gains = {_listed(list(names)): of[first][2] for names, of in found if not isnan(of[first][2].value)}
    label = _NAMES.get(first, first).rstrip(" ↑↓")
    said = f"{label} gained", f"difference of {label}, with its 95% interval", f"How much {label} features add to all others."
    return Section("What features gain", told + (_intervals(gains, 0, "no gain", *said) if gains else ""))


def comparison(version: str, former: str, found: Mapping[str, tuple[Metric, Metric, Metric]]) -> Section:
    """By metric: that of a version, that of the champion before it, and the difference, all on the same rows."""
    cells = [(_NAMES.get(name, name), *three) for name, three in found.items()]
    caption = (
        f"Both models on the same rows of the test fold; the difference is that of both on the same draws of rows. {_ARROWS}"
    )
    return Section("Against the champion", table(["metric", version, former, "difference"], cells, caption=caption))


def identifiers(found: Mapping[str, object]) -> Section:
    """Names for machines, which a person needs to look something up."""
    return Section("Identifiers", table(["", "identifier"], list(found.items())))


def tuning(metric: str, trials: "Sequence[Trial]", importance: Mapping[str, float], axes: Sequence[Upright]) -> Section:
    """Trials, best first, of which `axes` have those with a value of the metric; and each parameter's share of the importance."""
    name = _NAMES.get(metric, metric)
    states = [trial.state.lower() for trial in trials]
    counts = ", ".join(f"{states.count(state)} {word}" for state, word in _STATES.items() if state in states)
    cells = [
        (
            t.place + 1,
            *map(parameter, t.params.values()),
            t.value,
            f"{_STATES[t.state.lower()]}{': ' * bool(t.why)}{t.why[:200]}",
        )
        for t in trials[:_BEST]
    ]
    best = f"; the best {_BEST}" if len(trials) > _BEST else ", best first"
    told = table(["trial", *trials[0].params, name, "state"], cells, caption=f"{len(trials)} trials ({counts}){best}.")
    shares = [(path, _percent(share, 1)) for path, share in importance.items()]
    weighed = (
        table(["parameter", "importance"], shares, caption="Share of the variance of the metric that each explains (fANOVA).")
        if shares
        else ""
    )
    drawn = figure(
        charts.parallel(axes, "Parameters of the trials", f"trial {trials[0].place + 1}, the best"),
        caption=f"One line a trial, over its parameters to its {name.rstrip(' ↑↓')}; strong lines are better.", width=720, height=340,
    )  # fmt: skip
    return Section("Trials", told + _beside(drawn, weighed))


def parameter(value: object) -> str:
    """A value of a model's parameter, numbers with four digits."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def scores(edges: ArrayLike, counts: ArrayLike, former: tuple[str, ArrayLike] | None = None) -> Section:
    """How many rows (counts, n) got a probability between edges (n + 1), beside those of a former period."""
    total = int(np.sum(counts))
    draw = charts.histogram(edges, counts, "Predicted probabilities", "predicted probability", "rows", former)
    shown = figure(draw, caption=f"How {total:,} predicted probabilities are spread.", width=720, height=340)
    if former is None:
        return Section("Scores", shown)
    index = stability(counts, former[1])
    verdict = next(words for least, words in _DRIFT if index >= least)
    return Section(
        "Scores",
        shown + _note(f"Population stability index against {former[0]}: {index:.3f}", verdict, bad=index >= _DRIFT[0][0]),
    )


def stability(counts: ArrayLike, former: ArrayLike) -> float:
    """The population stability index of two histograms over the same bins; half a row is added to each bin."""
    p, q = ((np.asarray(n, float) + 0.5) / (np.sum(n) + 0.5 * np.size(n)) for n in (counts, former))
    return float(np.sum((p - q) * np.log(p / q)))


def steps(rows: Sequence[tuple[str, int | None, float]]) -> Section:
    """(step, rows or None, seconds) each, in the order in which they ran."""
    total = sum(seconds for *_, seconds in rows)
    cells = [
        (name, count, seconds, _percent(seconds, total), count / seconds if count is not None and seconds > 0 else None)
        for name, count, seconds in rows
    ]
    draw = charts.bars(
        [name for name, *_ in rows], [seconds for *_, seconds in rows], [f"{seconds:,.1f} s" for *_, seconds in rows],
        title="Time by step", x="seconds",
    )  # fmt: skip
    shown = figure(draw, caption=f"{total:,.1f} seconds in all.", width=500, height=_height(rows))
    return Section("Time", _beside(table(["step", "rows", "seconds", "share", "rows a second"], cells), shown))


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


def _percent(part: float, whole: float) -> str | None:
    """Rounded, but never so that a part that is there reads as nothing, or one that lacks something as the whole."""
    if not whole:
        return None
    share = part / whole
    if 0 < share < 5e-5 or 1 - 5e-5 <= share < 1:
        return "<0.01%" if share < 0.5 else ">99.99%"
    return f"{share:.2%}"


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _note(strong: str, text: str, *, bad: bool = False) -> str:
    return str(Markup('<p class="{}"><strong>{}</strong> {}</p>').format("note bad" if bad else "note", strong, text))


def _beside(*parts: str) -> str:
    return f'<div class="beside">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def _intervals(values: Mapping[str, Metric], line: float, label: str, title: str, x: str, caption: str) -> str:
    draw = charts.intervals(list(values), list(values.values()), line, label, title, x)
    return figure(draw, caption=caption, width=720, height=_height(values))


def _height(rows: Sized) -> int:
    return 110 + 34 * len(rows)
