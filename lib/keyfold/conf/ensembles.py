"""What an ensemble cannot be combined with."""

from collections.abc import Iterator, Mapping

from keyfold.conf.rebalance import Rebalance
from keyfold.conf.train import Train
from keyfold.errors import ConfError
from keyfold.models.section import ModelConf

_TUNED = "weights of members are tuned on the validation fold, "
_EQUAL = "; write `weights: equal`, or take a stack"


def check_ensemble(train: Train | None, folds: int | None, ways: Mapping[str, Rebalance]) -> None:
    """Raises ConfError, which lists all faults, unless an ensemble can be trained with these parts of the conf.

    folds: split.folds. ways: ways of rebalancing by their options.
    """
    models = train.candidates.items() if train else ()
    if train and (faults := [fault for path, model in models for fault in _faults(train, path, model, folds, ways)]):
        raise ConfError("; ".join(faults))


def _faults(train: Train, path: str, model: ModelConf, folds: int | None, ways: Mapping[str, Rebalance]) -> Iterator[str]:
    tuned = f"train.{path}: {_TUNED}"
    if model.tunes_weights and train.tune:
        yield f"{tuned}and so cannot be part of trials of train.tune{_EQUAL}"
    if model.tunes_weights and train.models:
        yield f"{tuned}on which train.models are chosen{_EQUAL}"
    if model.tunes_weights and folds:
        yield f"{tuned}which is one of the parts that split.folds holds out{_EQUAL}"
    if model.tunes_weights and ways:
        yield f"{tuned}by probabilities, which {next(iter(ways))} changes{_EQUAL}"
    if model.draws_rows and (smote := [path for path, way in ways.items() if way.smote]):
        yield f"{smote[0]}.smote makes rows without a key, by which a bag or a stack chooses rows; take another way"
