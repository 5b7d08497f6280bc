"""Which model version answers: a version becomes `champion` when its test fold clears `promote_if`."""

from collections.abc import Mapping
from typing import NamedTuple

from keyfold.conf.release import HIGHER_IS_BETTER, Bound, Release
from keyfold.evaluation.metrics import Metric, format_number


class Evidence(NamedTuple):
    """What is known of a version on its test fold.

    `few`: the rows of its smallest class, or of all where the label is a number (None: unknown). `gain`: its metrics less those of the
    champion on the same rows (None: there is no other champion); `not_compared`: why there are none.
    """

    metrics: Mapping[str, Metric]
    few: int | None = None
    gain: Mapping[str, Metric] | None = None
    not_compared: str = ""


def unmet_conditions(release: Release, evidence: Evidence) -> list[str]:
    """Why a version is not promoted, a sentence each; none means that it is."""
    return [said for name, bound in release.promote_if.items() for said in _hindrances(name, bound, evidence)]


def _hindrances(name: str, bound: Bound, evidence: Evidence) -> list[str]:
    metric = evidence.metrics.get(name)
    if metric is None:
        return [f"{name} was not measured (measured: {', '.join(evidence.metrics)})"]
    said = []
    if evidence.few is not None and evidence.few < bound.min_rows:
        said.append(f"{too_few(evidence)} to measure {name} on (release.promote_if.{name}.min_rows is {bound.min_rows})")
    if not bound.cleared(metric):
        found = format_number(metric.value, digits=4) + (f" ({metric.low:.4f} – {metric.high:.4f})" if bound.interval else "")
        said.append(f"{name} on the test fold is {found}, and {'its whole interval ' if bound.interval else ''}must be {bound}")
    if bound.better_than and evidence.not_compared:
        said.append(f"{name} cannot be compared with the champion's: {evidence.not_compared}")
    elif bound.better_than and evidence.gain is not None and not _better(name, evidence.gain[name]):
        value, low, high = evidence.gain[name]
        side = "above" if name in HIGHER_IS_BETTER else "below"
        said.append(
            f"{name} less that of the champion on the same test rows is {value:.4f} ({low:.4f} – {high:.4f}), "
            f"and the whole interval must be {side} 0"
        )
    return said


def too_few(evidence: Evidence) -> str:
    """What to say of a test fold with so few rows."""
    rows = "1 row" if evidence.few == 1 else f"{evidence.few or 0} rows"
    return f"the test fold has {rows}{' of a class' if 'roc_auc' in evidence.metrics else ''}, too few"


def _better(name: str, gain: Metric) -> bool:
    return gain.low > 0 if name in HIGHER_IS_BETTER else gain.high < 0
