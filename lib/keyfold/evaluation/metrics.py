"""The table of metrics: a new metric is an entry of `METRICS` and its function; conf, search, promotion and page follow."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from numpy.typing import ArrayLike

from keyfold.core.arrays import Doubles
from keyfold.evaluation import measures
from keyfold.evaluation.intervals import Metric, bootstrap_intervals
from keyfold.evaluation.measures import Weighted, mean_of
from keyfold.evaluation.row_parts import COSTLY, row_parts
from keyfold.evaluation.sample import Sample, checked_sample
from keyfold.labels import Bands, Binary, Classes, Label, Multilabel, Neutral, Number

NUMBER, BINARY, CLASSES, BANDS, LABELS = (kind.kind for kind in (Number, Binary, Classes, Bands, Multilabel))
Measure = Callable[[Doubles], dict[str, float]]
"""A function of the weights of the rows that returns values by name."""


class MetricKind(NamedTuple):
    """A metric of some kinds of labels.

    measure: its value, NaN if undefined. kinds: of labels. label: its name on the page.
    brief: whether lists of versions and ablations show it, too. interval: whether it is of labels with an interval only.
    neutral: whether it is of labels with a neutral answer only.
    costly: whether it takes so much time that for many rows and classes (`row_parts.COSTLY`) it has no interval.
    bootstrap: whether it has an interval at all.
    """

    measure: Callable[[Weighted], float]
    kinds: tuple[str, ...]
    label: str
    higher_is_better: bool
    brief: bool = True
    interval: bool = False
    neutral: bool = False
    costly: bool = False
    bootstrap: bool = True


_OF_CLASSES = (CLASSES, BANDS)
_ABOUT_ONE_CLASS = (BINARY, CLASSES, BANDS)
_OF_NUMBERS = (NUMBER, BANDS)
METRICS = {
    "roc_auc": MetricKind(measures.roc_auc, (BINARY,), "ROC AUC", higher_is_better=True),
    "pr_auc": MetricKind(measures.average_precision, (BINARY,), "PR AUC", higher_is_better=True, brief=False),
    "lift_top_decile": MetricKind(measures.lift_top_decile, (BINARY,), "Top-decile lift", higher_is_better=True, brief=False),
    "rmse": MetricKind(measures.rmse, _OF_NUMBERS, "RMSE", higher_is_better=False),
    "mae": MetricKind(lambda w: w.mean(abs(w.rows.error)), _OF_NUMBERS, "MAE", higher_is_better=False),
    "r2": MetricKind(measures.r2, _OF_NUMBERS, "R²", higher_is_better=True),
    "crps": MetricKind(mean_of("crps"), (BANDS,), "CRPS", higher_is_better=False),
    "macro_f1": MetricKind(measures.macro_f1, (*_OF_CLASSES, LABELS), "Macro F1", higher_is_better=True),
    "micro_f1": MetricKind(measures.micro_f1, (*_OF_CLASSES, LABELS), "Micro F1", higher_is_better=True),
    "sample_f1": MetricKind(mean_of("f1"), (LABELS,), "Sample F1", higher_is_better=True, brief=False),
    "roc_auc_ovr": MetricKind(
        measures.roc_auc_ovr, _OF_CLASSES, "ROC AUC, one against the rest", higher_is_better=True, brief=False, costly=True
    ),
    "log_loss": MetricKind(mean_of("log_loss"), (*_ABOUT_ONE_CLASS, LABELS), "Log loss", higher_is_better=False),
    "brier": MetricKind(mean_of("squared_error"), (BINARY,), "Brier score", higher_is_better=False, brief=False),
    "accuracy": MetricKind(measures.accuracy, _ABOUT_ONE_CLASS, "Accuracy", higher_is_better=True, brief=False),
    "balanced_accuracy": MetricKind(
        measures.balanced_accuracy, _ABOUT_ONE_CLASS, "Balanced accuracy", higher_is_better=True, brief=False
    ),
    "top_3_accuracy": MetricKind(mean_of("in_top"), _OF_CLASSES, "Top-3 accuracy", higher_is_better=True, brief=False),
    "precision": MetricKind(measures.precision, (BINARY,), "Precision", higher_is_better=True, brief=False),
    "recall": MetricKind(measures.recall, (BINARY,), "Recall", higher_is_better=True, brief=False),
    "f1": MetricKind(measures.f1, (BINARY,), "F1", higher_is_better=True, brief=False),
    "calibration_error": MetricKind(
        measures.calibration_error,
        _ABOUT_ONE_CLASS,
        "Expected calibration error",
        higher_is_better=False,
        brief=False,
        bootstrap=False,  # replicates have larger errors than the rows: each bin's chance deviation counts twice
    ),
    "coverage": MetricKind(mean_of("answered"), (CLASSES,), "Coverage", higher_is_better=True, neutral=True),
    "answered_accuracy": MetricKind(
        measures.answered_accuracy, (CLASSES,), "Accuracy of answered rows", higher_is_better=True, neutral=True
    ),
    "answered_neutral": MetricKind(
        measures.answered_neutral, (CLASSES,), "Neutral among answered rows", higher_is_better=False, brief=False, neutral=True
    ),
    "exact_match": MetricKind(mean_of("correct"), (LABELS,), "Exact match", higher_is_better=True, brief=False),
    "hamming_loss": MetricKind(mean_of("wrong"), (LABELS,), "Hamming loss", higher_is_better=False, brief=False),
    "ranking_precision": MetricKind(
        mean_of("ranking_precision"), (LABELS,), "Label-ranking average precision", higher_is_better=True, brief=False
    ),
    "coverage_error": MetricKind(mean_of("labels_to_cover"), (LABELS,), "Coverage error", higher_is_better=False, brief=False),
    "interval_coverage": MetricKind(
        mean_of("covered"), _OF_NUMBERS, "Interval coverage", higher_is_better=True, brief=False, interval=True
    ),
    "interval_width": MetricKind(
        mean_of("width"), _OF_NUMBERS, "Interval width", higher_is_better=False, brief=False, interval=True
    ),
    "pinball_loss": MetricKind(
        mean_of("pinball_loss"), _OF_NUMBERS, "Pinball loss", higher_is_better=False, brief=False, interval=True
    ),
}
FOR_RARE_CLASSES = ("pr_auc", "brier")
"""The metrics that ways of rebalancing are compared by, if a label has them."""

FOR_DECISIONS = ("f1", "macro_f1", "roc_auc", "log_loss")
"""The metrics that a cascade and its last stage are compared by, if a label has them."""

MAIN = {NUMBER: "r2", BINARY: "roc_auc", CLASSES: "macro_f1", BANDS: "r2", LABELS: "micro_f1"}
"""The metric of a verdict by kind of label, unless the conf names one."""

LOSS = {NUMBER: "rmse", BINARY: "log_loss", CLASSES: "log_loss", BANDS: "log_loss", LABELS: "log_loss"}
"""The metric that selects the best trial by kind of label, unless the conf names one."""

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[*METRICS]


def names_for(kind: str) -> list[str]:
    """The names of the metrics of a kind of label."""
    return [name for name, metric in METRICS.items() if kind in metric.kinds]


def names_of(label: Label) -> list[str]:
    """The names of the metrics of a label: without those of an interval, or of a neutral answer, if it has none."""
    with_interval, with_neutral = bool(getattr(label, "interval", None)), isinstance(label, Neutral)
    of = ((name, METRICS[name]) for name in names_for(label.kind))
    return [name for name, metric in of if (with_interval or not metric.interval) and (with_neutral or not metric.neutral)]


def names_as_numbers(*, distribution: bool, interval: bool) -> list[str]:
    """The names of the metrics by which numbers and bands of numbers can be compared, if both have a distribution or an interval."""
    names = [name for name, metric in METRICS.items() if set(metric.kinds) <= {NUMBER, BANDS}]
    return [n for n in names if (interval or not METRICS[n].interval) and (distribution or NUMBER in METRICS[n].kinds)]


def main_metric(measured: Iterable[str]) -> str:
    """The main metric of the first kind of label that has all the metrics that were measured."""
    names = METRICS.keys() & set(measured)
    return next((main for kind, main in MAIN.items() if names <= set(names_for(kind))), MAIN[NUMBER])


def brief_names(label: Label) -> list[str]:
    """The names of the brief metrics of a label."""
    return [name for name in names_of(label) if is_brief(name)]


def is_brief(name: str) -> bool:
    """Whether lists of versions and ablations show a metric."""
    return name in METRICS and METRICS[name].brief


def metric_label(name: str) -> str:
    """The name of a metric on the page; a name that is not in `METRICS` stays as it is."""
    return METRICS[name].label if name in METRICS else name


def metric_heading(name: str) -> str:
    """The name of a metric on the page with an arrow to the better side."""
    return f"{metric_label(name)} {'↑' if METRICS[name].higher_is_better else '↓'}" if name in METRICS else name


def measure_predictions(
    label: Label, y: ArrayLike, predicted: ArrayLike, *, weight: ArrayLike | None = None, order: ArrayLike | None = None,
    replicates: int = 200, seed: int = 0, names: Sequence[str] | None = None,
) -> dict[str, Metric]:  # fmt: skip
    """The metrics of a kind of label with their intervals, by name; `names`: only these.

    y and predicted, by kind of label:
    number: n finite numbers, and n predicted ones. binary: n booleans or 0/1, and n probabilities of the positive class.
    classes: n codes, -1 for a class that the model does not know, which is an error; and (n, k) probabilities.
    bands: n finite numbers, and (n, k) probabilities of the bands. labels: (n, k) booleans, and (n, k) probabilities.
    weight: n numbers >= 0.
    order: n integers, one per row; with them, the result has the same bits for any order of the rows.
    The AUCs are NaN if a class is missing. Rows with equal p are ranked equally, so ties are not broken by chance.
    Raises ValueError for different lengths, NaN, or values out of range.
    """
    sample = checked_sample(label, y, [predicted], weight, order)
    parts = row_parts(label, sample.y, sample.predicted[0])
    measured = names_of(label) if names is None else names
    return _with_intervals(measured, lambda names: _measure(parts, names), sample, replicates, seed)


def metric_differences(
    label: Label, y: ArrayLike, first: ArrayLike, second: ArrayLike, *, second_label: Label | None = None,
    order: ArrayLike | None = None, replicates: int = 200, names: Sequence[str] | None = None,
) -> dict[str, Metric]:  # fmt: skip
    """Each metric of the first n predictions minus that of the second, with paired bootstrap intervals.

    Each replicate measures both on the same draw of rows, so that rows which are easy or hard for both do not widen the interval.
    y, first, second, names: as in `measure_predictions`; second_label: the label with the thresholds or the interval of the second ones.
    """
    other = second_label or label
    sample = checked_sample(label, y, [first, second], None, order)
    both = [name for name in names_of(label) if name in names_of(other) and (names is None or name in names)]
    one, two = (row_parts(of, sample.y, predicted) for of, predicted in zip((label, other), sample.predicted, strict=True))

    def difference(names: list[str]) -> Measure:
        minuend, subtrahend = _measure(one, names), _measure(two, names)
        return lambda weight: {
            name: value - less for (name, value), less in zip(minuend(weight).items(), subtrahend(weight).values(), strict=True)
        }

    return _with_intervals(both, difference, sample, replicates, 0)


def _measure(parts: Any, names: list[str]) -> Measure:
    """A function that returns the metrics for weights of the rows."""

    def measure(weight: Doubles) -> dict[str, float]:
        weighted = Weighted(parts, weight)
        return {name: METRICS[name].measure(weighted) for name in names}

    return measure


def _with_intervals(
    names: Sequence[str], measure: Callable[[list[str]], Measure], sample: Sample, replicates: int, seed: int
) -> dict[str, Metric]:
    """The values of `measure` for these names, with intervals where the metrics have one."""
    many = sample.predicted[0].size > COSTLY
    alone = [name for name in names if not METRICS[name].bootstrap or (many and METRICS[name].costly)]
    measured = bootstrap_intervals(measure([name for name in names if name not in alone]), sample.weight, replicates, seed)
    measured |= bootstrap_intervals(measure(alone), sample.weight, 0)
    return {name: measured[name] for name in names}
