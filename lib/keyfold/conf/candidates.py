"""What the candidates of `train.models` are chosen by."""

from collections.abc import Sequence

from keyfold.conf.split import Split
from keyfold.conf.train import Train
from keyfold.conf.tune import metric_faults
from keyfold.errors import ConfError


def check_candidates(train: Train | None, split: Split, kinds: Sequence[str]) -> None:
    """Raises ConfError, which lists all faults, unless candidates can be chosen by their metric on held-out rows.

    kinds: those that the label of a classifier may have.
    """
    if train is None or not train.models:
        return
    faults = [*metric_faults("train.choose_by", train.choose_by, train.model, kinds)]
    if split.lacks_validation and not split.folds:
        faults.append(
            f"train.models are chosen on the validation fold, and {split.lacks_validation}; give it rows, or set split.folds"
        )
    if faults:
        raise ConfError("; ".join(faults))
