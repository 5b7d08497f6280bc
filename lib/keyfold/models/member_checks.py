"""What models that are trained together must have in common, and which of them may be registered ones."""

from collections.abc import Mapping
from typing import Any, Protocol

from keyfold.errors import ConfError

TRAINED = "a registered model is trained already; it may be a member of `ensemble: {vote: …}`"
_NOT_IN = {
    "stack": "a stack asks its members about rows that they were not fitted on, and a registered model may have been fitted on them",
    "bag": "a bag fits its members on draws of the rows, and a registered model is fitted already",
}


class Conf(Protocol):
    """The section of a model (`keyfold.models.section.ModelConf`), whose kinds are None but for the chosen one."""

    @property
    def torch(self) -> Any:
        """A network."""

    @property
    def ensemble(self) -> Any:
        """An ensemble."""

    @property
    def cascade(self) -> Any:
        """A cascade."""

    @property
    def registered(self) -> Any:
        """A registered model."""

    @property
    def chosen(self) -> Any:
        """The section of the chosen kind."""


def check_members(models: Mapping[str, Conf], together: str) -> None:
    """Raises ValueError unless the models, by their path, are neither networks nor cascades and predict the same; `together` names them in the sentence."""
    for path, model in models.items():
        if model.torch:
            raise ValueError(
                f"{path} must be a scikit-learn model or an ensemble of them; a network is trained by itself, and may vote once it is "
                "registered"
            )
        if model.cascade:
            raise ValueError(f"{path} must be a scikit-learn model or an ensemble of them; a cascade decides by itself")
        if model.registered:
            raise ValueError(f"{path}: {TRAINED}")
    try:
        classify = {path: model.chosen.classifies for path, model in models.items()}
    except ConfError as error:
        raise ValueError(str(error)) from error
    first, *others = classify
    for other in others:
        if classify[other] != classify[first]:
            kinds = {True: "classes", False: "numbers"}
            raise ValueError(
                f"{together} must predict the same: {first} predicts {kinds[classify[first]]}, {other} {kinds[classify[other]]}"
            )


def check_ensemble_members(kind: str, models: Mapping[str, Conf]) -> None:
    """Raises ValueError as `check_members`, and for registered models but among the members of the outermost `vote`."""
    for path, model in models.items():
        if model.registered and kind != "vote":
            raise ValueError(f"{path} must be a model that is fitted here: {_NOT_IN[kind]}; take `vote`")
        if model.ensemble and any(inner.registered for one in model.ensemble.ensembles for inner in one.chosen.models.values()):
            raise ValueError(f"{path}: registered models must be members of the outermost ensemble, which must be a `vote`")
    fitted = {path: model for path, model in models.items() if not model.registered}
    if not fitted:
        raise ValueError("vote.members must have one that is fitted here; all of them are registered models")
    check_members(fitted, "the models of an ensemble")
