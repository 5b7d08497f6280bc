"""The conditions of `release.promote_if`: a version that meets them on its test fold becomes the `champion`."""

from collections.abc import Mapping
from typing import NamedTuple

from keyfold.conf.release import Bound, Release
from keyfold.evaluation.intervals import Metric, format_number
from keyfold.evaluation.metrics import BINARY, MAIN, METRICS


class Evidence(NamedTuple):
    """Measurements of a version on its test fold.

    few: rows of the smaller class, or all rows if the label is a number (None: unknown); gain: metrics minus those of the champion
    on the same rows (None: no other champion); not_compared: why the champion was not measured.
    """

    metrics: Mapping[str, Metric]
    few: int | None = None
    gain: Mapping[str, Metric] | None = None
    not_compared: str = ""


def unmet_conditions(release: Release, evidence: Evidence) -> list[str]:
    """The conditions that a version does not meet, a sentence each."""
    return [sentence for name, bound in release.promote_if.items() for sentence in _unmet(name, bound, evidence)]


def _unmet(name: str, bound: Bound, evidence: Evidence) -> list[str]:
    metric = evidence.metrics.get(name)
    if metric is None:
        return [f"{name} was not measured (measured: {', '.join(evidence.metrics)})"]
    unmet = []
    if evidence.few is not None and evidence.few < bound.min_rows:
        unmet.append(f"{too_few(evidence)} to measure {name} on (release.promote_if.{name}.min_rows is {bound.min_rows})")
    if not bound.cleared(metric):
        value = format_number(metric.value, digits=4) + (f" ({metric.low:.4f} – {metric.high:.4f})" if bound.interval else "")
        unmet.append(f"{name} on the test fold is {value}, and {'its whole interval ' if bound.interval else ''}must be {bound}")
    if bound.better_than and evidence.not_compared:
        unmet.append(f"{name} cannot be compared with the champion's: {evidence.not_compared}")
    elif bound.better_than and evidence.gain is not None and not _better(name, evidence.gain[name]):
        gain, low, high = evidence.gain[name]
        side = "above" if METRICS[name].higher_is_better else "below"
        unmet.append(
            f"{name} minus that of the champion on the same test rows is {gain:.4f} ({low:.4f} – {high:.4f}), "
            f"and the whole interval must be {side} 0"
        )
    return unmet


def too_few(evidence: Evidence) -> str:
    """The beginning of a sentence about a test fold with too few rows."""
    rows = "1 row" if evidence.few == 1 else f"{evidence.few or 0} rows"
    return f"the test fold has {rows}{' of a class' if MAIN[BINARY] in evidence.metrics else ''}, too few"


def _better(name: str, gain: Metric) -> bool:
    return gain.low > 0 if METRICS[name].higher_is_better else gain.high < 0
