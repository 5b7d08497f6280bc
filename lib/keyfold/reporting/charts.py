"""Charts of the page: inline SVG that is small, accessible, and the same bytes for the same data."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keyfold.evaluation.curves import Calibration, Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, INK, MUTED, LINE = "#0072b2", "#d55e00", "#009e73", "#1c2733", "#5d6b7a", "#e4e8ed"
_VARIABLES = {
    BLUE: "blue", ORANGE: "orange", GREEN: "green", INK: "ink", MUTED: "muted", LINE: "line", "#ffffff": "paper",
}  # fmt: skip
MOST_POINTS = 100  # of a series, for hovering

Point = tuple[float, float, str, str]  # pixels from the left and the top of the picture, and the values as text

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "keyfold",
    "svg.fonttype": "none",  # real text: it can be searched, read aloud, and takes the page's font
    "text.parse_math": False,  # a column's name may hold dollar signs
    "text.color": INK,
    "font.size": 12,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 7,
    "ytick.major.pad": 6,
    "axes.labelpad": 6,
    "lines.linewidth": 2.2,
    "legend.frameon": False,
}
_PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
_BASELINE: dict[str, Any] = {"color": MUTED, "linewidth": 1.4, "linestyle": (0, (4, 3))}


def figure_html(draw: Callable[["Axes"], None], *, caption: str, width: int = 480, height: int = 380) -> str:
    """HTML of a figure: what `draw` puts on its axes as inline SVG, the caption below it, and the points for hovering.

    width, height: CSS pixels; a narrow page shrinks the figure.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    out = StringIO()
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own matplotlibrc must not change a report
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        figure.savefig(out, format="svg", metadata={"Date": None})
        series = _series(axes, width, height)
    text = escape(caption)
    points = json_script({"x": axes.get_xlabel(), "y": axes.get_ylabel(), "series": series}) if series else ""
    return f"<figure>{_inline(out.getvalue(), text, width, height)}<figcaption>{text}</figcaption>{points}</figure>"


def json_script(value: object) -> str:
    """HTML of a script element that holds JSON; no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json">{text}</script>'


def _series(axes: "Axes", width: int, height: int) -> list[tuple[str, list[Point]]]:
    """Points by the name of their line, error bars or columns; baselines of two points are left out."""
    from matplotlib.container import BarContainer, ErrorbarContainer

    series: list[tuple[object, Any]] = [(line.get_label(), line.get_xydata()) for line in axes.lines]
    for drawn in axes.containers:
        if isinstance(drawn, ErrorbarContainer) and drawn.has_yerr:
            series.append((drawn.get_label(), drawn.lines[0].get_xydata()))
        elif isinstance(drawn, BarContainer) and drawn.orientation == "vertical":
            series.append((axes.get_title(loc="left"), [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in drawn]))
    named = [(str(name), np.asarray(xy, float)) for name, xy in series if axes.get_ylabel() and not str(name).startswith("_")]
    return [(name, _points(axes, xy, width, height)) for name, xy in named if len(xy) > 2]


def _points(axes: "Axes", xy: NDArray[np.float64], width: int, height: int) -> list[Point]:
    xy = xy[np.isfinite(xy).all(axis=1)]
    xy = xy[np.unique(np.linspace(0, len(xy) - 1, MOST_POINTS).astype(int))] if len(xy) else xy
    places = axes.figure.transFigure.inverted().transform(axes.transData.transform(xy)) * (width, height)
    return [
        (round(left, 1), round(height - bottom, 1), _value(axes.xaxis, x), _value(axes.yaxis, y))
        for (left, bottom), (x, y) in zip(places.tolist(), xy.tolist(), strict=True)
    ]


def _value(axis: "Axis", value: float) -> str:
    if axis.get_major_formatter()(value).endswith("%"):
        return f"{value:.1%}"
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.4g}"


def _inline(svg: str, label: str, width: int, height: int) -> str:
    own = sha256(f"{label}{svg}".encode()).hexdigest()[:8]
    body = re.sub(r"<(metadata|style).*?</\1>", "", svg[svg.index(">", svg.index("<svg")) + 1 :], flags=re.DOTALL)
    # In tags only, never in text: identifiers that are unique on the page, colours that follow its theme.
    body = re.sub(r"<[^>]*>", lambda tag: _themed(re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>k{own}-", tag[0])), body)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" stroke-linejoin="round"'
    return f'<svg {names} {size} role="img" aria-label="{label}">{body}'


def _themed(tag: str) -> str:
    for colour, variable in _VARIABLES.items():  # the colour itself is for a picture outside the page
        tag = tag.replace(f": {colour}", f": var(--{variable}, {colour})")
    return tag


def roc_chart(ax: "Axes", curve: Curve) -> None:
    """Draws true against false positive rate, and the diagonal of chance."""
    ax.plot([0, 1], [0, 1], label="chance", **_BASELINE)
    ax.plot(*curve, color=BLUE, label="model")
    _frame(ax, "ROC curve", "false positive rate", "true positive rate", percent="xy")
    ax.legend(loc="lower right")


def precision_recall_chart(ax: "Axes", curve: Curve, base: float) -> None:
    """Draws precision against recall, and a line at the base rate."""
    ax.axhline(base, label=f"base rate, {base:.1%}", **_BASELINE)
    ax.plot(*curve, color=BLUE, label="model")
    x, y = "recall: share of positives found", "precision: share of positives among rows predicted positive"
    _frame(ax, "Precision and recall", x, y, percent="xy")
    ax.legend(loc="upper right")


def calibration_chart(ax: "Axes", curve: Calibration) -> None:
    """Draws observed against predicted probability with intervals, and the true probability if it is known."""
    top = min(1.0, 1.05 * max(curve.predicted.max(), curve.high.max()))
    ax.plot([0, top], [0, top], label="perfectly calibrated", **_BASELINE)
    if curve.truth is not None:
        ax.plot(curve.predicted, curve.truth, color=GREEN, marker="s", markersize=5, label="true probability")
    spread = [curve.observed - curve.low, curve.high - curve.observed]
    style: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 5, "elinewidth": 1.4, "linestyle": "none"}
    ax.errorbar(curve.predicted, curve.observed, yerr=np.maximum(spread, 0), label="observed, 95% interval", **style)
    _frame(ax, "Calibration", "predicted probability, mean of the bin", "share of positives in the bin", percent="xy")
    ax.set(xlim=(0, top), ylim=(0, top))
    ax.legend(loc="upper left")


def lift_chart(ax: "Axes", curve: Curve) -> None:
    """Draws the lift of the rows with the highest scores, and a line for a random choice."""
    ax.axhline(1, label="random choice", **_BASELINE)
    ax.plot(*curve, color=BLUE, label="model")
    _frame(ax, "Lift", "share of rows taken, highest score first", "positives found, times the base rate", percent="x")
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter("{x:g} ×")
    ax.legend(loc="upper right")


def threshold_chart(ax: "Axes", curves: Mapping[str, Curve], threshold: float) -> None:
    """Draws values by threshold, such as precision and recall, and a line at the chosen threshold."""
    names = {"f1": "F1", "f_beta": "F score", "cost": "mean cost of a row"}
    for (name, curve), colour in zip(curves.items(), (BLUE, ORANGE, GREEN), strict=False):
        ax.plot(*curve, color=colour, label=names.get(name, name.replace("_", " ")))
    ax.axvline(threshold, label=f"chosen, {threshold:.4g}", **_BASELINE)
    _frame(ax, "Threshold", "threshold", names.get(next(iter(curves)), "share of rows"), percent="x")
    ax.legend(loc="best")


def coverage_chart(ax: "Axes", curves: Mapping[str, Curve], own: float) -> None:
    """Draws the accuracy of the answered rows by their share, of one or more models, and a line at the share that the first one answers."""
    for (name, curve), colour in zip(curves.items(), (BLUE, ORANGE, GREEN), strict=False):
        ax.plot(*curve, color=colour, label=name)
    ax.axvline(own, label=f"answered, {own:.1%}", **_BASELINE)
    _frame(ax, "Accuracy and coverage", "share of rows that are answered", "accuracy of the answered rows", percent="xy")
    ax.set_ylim(bottom=max(0.0, min([1.0, *(float(curve.y.min()) for curve in curves.values() if len(curve.y))]) - 0.05))
    ax.legend(loc="best")


def scores_chart(ax: "Axes", edges: ArrayLike, counts: ArrayLike, former: tuple[str, ArrayLike] | None) -> None:
    """Draws counts of probabilities (n) between edges (n + 1), and former ones (name, n) as a line, scaled to the same sum."""
    ends = np.asarray(edges, float)
    ax.bar(ends[:-1], counts, np.diff(ends), align="edge", color=BLUE, edgecolor="white", linewidth=1)
    if former is not None:
        then = np.asarray(former[1], float)
        ax.stairs(then * np.sum(counts) / then.sum(), ends, color=ORANGE, linewidth=1.5, label=former[0])
        ax.legend(loc="upper center")
    _frame(ax, "Predicted probabilities", "predicted probability", "rows")
    ax.set_xlim(ends[0], ends[-1])
    ax.yaxis.set_major_formatter("{x:,.0f}")


def bar_chart(
    ax: "Axes", names: Sequence[str], values: Sequence[float], labels: Sequence[str], *, title: str, x: str,
    colours: Sequence[str] | None = None, marks: Sequence[float] | None = None, marked: str = "",
) -> None:  # fmt: skip
    """Draws one horizontal bar per name, from the top, its label at its end; `marks` are ticks to compare with."""
    places = np.arange(len(names))
    ax.barh(places, values, height=0.62, color=colours or BLUE)
    if marks is not None:
        ax.plot(marks, places, "|", color=INK, markersize=24, markeredgewidth=2, label=marked)
        ax.legend(loc="lower right", markerscale=0.6)
    ends = [max(pair) for pair in zip(values, marks or values, strict=True)]
    for place, end, label in zip(places, ends, labels, strict=True):
        ax.annotate(label, (end, place), (7, 0), textcoords="offset points", va="center")
    _named(ax, names, title, x)
    ax.margins(x=0.2)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter("{x:,.9g}")


def interval_chart(
    ax: "Axes", names: Sequence[str], values: Sequence[tuple[float, float, float]], line: float, label: str, title: str, x: str
) -> None:
    """Draws one value with its interval (value, low, high) per name, from the top, and a line, such as their mean."""
    value, low, high = np.array(values, float).T
    ax.axvline(line, label=label, **_BASELINE)
    spread = np.maximum(np.nan_to_num([value - low, high - value]), 0)
    ax.errorbar(value, np.arange(len(names)), xerr=spread, color=BLUE, marker="o", elinewidth=1.4, linestyle="none")
    _named(ax, names, title, x)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)


class VerticalAxis(NamedTuple):
    """A vertical axis: the position of each line on it, from 0 to 1, and its tick labels by position."""

    name: str
    places: Sequence[float]
    marks: Sequence[tuple[float, str]]


def parallel_chart(ax: "Axes", axes: Sequence[VerticalAxis], title: str, first: str) -> None:
    """Draws parallel coordinates, one line over all axes per position; the first line is highlighted, later ones are paler."""
    lines = np.array([axis.places for axis in axes], float).T
    for rank, line in reversed(list(enumerate(lines))):
        best: dict[str, Any] = {"color": ORANGE, "label": first, "zorder": 3} if not rank else {"color": BLUE, "linewidth": 1.2}
        ax.plot(line, alpha=1 - 0.85 * rank / len(lines), **best)
    for x, axis in enumerate(axes):
        ax.axvline(x, color=MUTED, linewidth=1)
        for y, text in axis.marks:
            ax.annotate(text, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=10, zorder=4, bbox=_PAPER)
    ax.set(title=title, xlim=(-0.1, len(axes) - 0.6), ylim=(-0.05, 1.05), yticks=[])
    ax.set_xticks(range(len(axes)), [axis.name for axis in axes], color=INK)
    ax.grid(visible=False)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)


def _named(ax: "Axes", names: Sequence[str], title: str, x: str) -> None:
    ax.set_yticks(range(len(names)), [n if len(n) <= 32 else f"{n[:31]}…" for n in names], color=INK)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.locator_params(axis="x", nbins=6)
    ax.set(title=title, xlabel=x)


def _frame(ax: "Axes", title: str, x: str, y: str, percent: str = "") -> None:
    ax.set(title=title, xlabel=x, ylabel=y)
    if "x" in percent:
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.set_xlim(0, 1)
    if "y" in percent:
        ax.yaxis.set_major_formatter("{x:.0%}")
        ax.set_ylim(0, 1.02)
