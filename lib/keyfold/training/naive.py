"""The naive model of a training: it answers the same for each row, by the rows of the train fold."""

from keyfold.core.arrays import Doubles
from keyfold.core.names import WEIGHT
from keyfold.evaluation import metrics
from keyfold.evaluation.baselines import naive_predictions
from keyfold.evaluation.intervals import Metric
from keyfold.labels import Label, Multilabel
from keyfold.training.arrays import ArrayRows

NAIVE = "test_naive"  # its metrics on the test fold, in MLflow and on the page


def naive_numbers(rows: ArrayRows) -> Doubles | None:
    """What the naive model predicts for the rows of the test fold; None if no row of the train fold was collected, as for a network."""
    learn, test = rows.fold("train"), rows.fold("test")
    if not learn.table.num_rows:
        return None
    weight = learn.table[WEIGHT].to_numpy() if WEIGHT in learn.table.column_names else None
    y = learn.y if isinstance(learn.label, Multilabel) else learn.truth
    return naive_predictions(learn.label, y, test.table.num_rows, weight=weight)


def measure_naive(label: Label, rows: ArrayRows) -> dict[str, Metric]:
    """Brief metrics of the naive model on the test fold, without intervals; none if no row of the train fold was collected.

    label: that of the model, whose thresholds decide for the naive one, too.
    """
    numbers, test = naive_numbers(rows), rows.fold("test")
    if numbers is None:
        return {}
    names = metrics.brief_names(label)
    return metrics.measure_predictions(label, test.truth, numbers, order=test.order, replicates=0, names=names)
