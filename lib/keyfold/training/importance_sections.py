"""The page's section about the importance of features."""

import math

from keyfold.evaluation.metrics import metric_heading, metric_label
from keyfold.reporting.page import PageSection, html_table, interval_figure
from keyfold.training.importance import MeasuredImportance


def importance_section(measured: MeasuredImportance) -> PageSection:
    """What the metric loses without the values of each feature, as a table and a chart."""
    label, shown = metric_label(measured.metric), len(measured.losses)
    most = f"The {shown} most important of {measured.features:,} features" if shown < measured.features else "Features"
    times = "once" if measured.repeats == 1 else f"{measured.repeats} times; the mean"
    caption = (
        f"{most}: what the metric loses on {measured.rows:,} rows of the test fold if rows swap their values of the feature "
        f"({times}). In brackets the 95% bootstrap interval, paired on the same rows. Features that say the same share their importance."
    )
    table = html_table(["feature", f"loss of {metric_heading(measured.metric)}"], [*measured.losses.items()], caption=caption)
    drawn = {name: loss for name, loss in measured.losses.items() if not math.isnan(loss.value)}
    texts = f"{label} lost", f"loss of {label}, with its 95% interval", f"How much {label} the model loses without each feature."
    return PageSection(
        "Importance of features", table + (interval_figure(drawn, 0, "no loss", *texts) if drawn else ""), "features"
    )
