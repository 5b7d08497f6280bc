"""What an ensemble cannot be combined with."""

from collections.abc import Iterator, Mapping

from keyfold.conf.rebalance import Rebalance
from keyfold.conf.train import Train
from keyfold.errors import ConfError
from keyfold.models.section import ModelConf

_TUNED = "weights of members are tuned on the validation fold, "
_EQUAL = "; write `weights: equal`, or take a stack"


def check_ensemble(train: Train | None, folds: int | None, ways: Mapping[str, Rebalance], *, neutral: bool) -> None:
    """Raises ConfError, which lists all faults, unless an ensemble can be trained with these parts of the conf.

    folds: split.folds. ways: ways of rebalancing by their options. neutral: whether models learn the class of label.neutral.
    """
    models = train.candidates.items() if train else ()
    if train and (
        faults := [fault for path, model in models for fault in _faults(train, path, model, folds, ways, neutral=neutral)]
    ):
        raise ConfError("; ".join(faults))


def _faults(
    train: Train, path: str, model: ModelConf, folds: int | None, ways: Mapping[str, Rebalance], *, neutral: bool
) -> Iterator[str]:
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
    if model.registered_members:
        member = f"train.{path}.ensemble.vote.members.{next(iter(model.registered_members))}"
        yield from (f"{member}: {why}; leave one of them out" for why in _without_registered(train, folds, ways, neutral=neutral))


def _without_registered(train: Train, folds: int | None, ways: Mapping[str, Rebalance], *, neutral: bool) -> Iterator[str]:
    """Why a registered model cannot be a member."""
    if train.models:
        yield "a registered model has features of its own, which candidates of train.models do not share"
    if folds:
        yield "a registered model may have been fitted on each part that split.folds holds out"
    if ways:
        yield f"a registered model answers for the true shares of the classes, which {next(iter(ways))} changes"
    if neutral:
        yield "a registered model has learnt the class of label.neutral, and the report compares a model without it"
