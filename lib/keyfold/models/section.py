"""The section `train.model`: an estimator of scikit-learn, a network, or an ensemble of models."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from keyfold.core.section import OneOf, Section
from keyfold.errors import ConfError
from keyfold.features.spec import Spec
from keyfold.models import ensemble
from keyfold.models.examples import Examples
from keyfold.models.sklearn import Sklearn
from keyfold.models.torch import Torch

if TYPE_CHECKING:
    from keyfold.models.ensemble import Ensemble, Fitted, RunTasks

Name = Annotated[str, Field(pattern=r"^[A-Za-z]\w*$", examples=["linear", "trees"])]
MEMBERS = "Members by name: models of any kind but networks."


class ModelConf(OneOf):
    """The model: {sklearn: {estimator: …, params: …}}, {torch: {network: …}} or {ensemble: {vote: …}}."""

    sklearn: Sklearn | None = Field(None, description="An estimator of scikit-learn.")
    torch: Torch | None = Field(None, description="A network, trained by torch.")
    ensemble: "EnsembleConf | None" = Field(None, description="A model whose members are models.")

    @property
    def chosen(self) -> "Sklearn | Torch | EnsembleConf":
        """The section of the chosen kind of model."""
        return getattr(self, self.choice)  # type: ignore[no-any-return]

    def fit(self, spec: Spec, rows: Examples, seed: int, run: "RunTasks") -> "Fitted":
        """The fitted estimator or ensemble; `run` runs the fits of members. `keyfold.training.network` trains networks."""
        learner = self.sklearn or self.ensemble
        assert learner is not None
        return learner.fit(spec, rows, seed, run)

    @property
    def tunes_weights(self) -> bool:
        """Whether an ensemble tunes the weights of members on the validation fold."""
        return self.ensemble is not None and any(one.vote.weights == "tuned" for one in self.ensemble.ensembles if one.vote)

    @property
    def draws_rows(self) -> bool:
        """Whether an ensemble has members that are fitted on some of the rows, chosen by their key or their group."""
        return self.ensemble is not None and any(one.bag or one.stack for one in self.ensemble.ensembles)

    @property
    def stacks(self) -> bool:
        """Whether an ensemble has members that predict parts of the rows after a fit on the others."""
        return self.ensemble is not None and any(one.stack for one in self.ensemble.ensembles)


class Bag(Section):
    """Bagging: models of one kind, each fitted on its own draw of the rows, by the hash of the key. It predicts their mean."""

    of: ModelConf = Field(description="The kind of model.")
    members: int = Field(20, ge=2, le=1000, description="Number of members.")
    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Mean number of times that a member has a row; each number is drawn from a Poisson distribution.",
    )

    @property
    def models(self) -> dict[str, ModelConf]:
        """The models, by their path below the section."""
        return {"of": self.of}

    def fit(self, spec: Spec, rows: Examples, seed: int, run: "RunTasks") -> "Ensemble":
        """The fitted ensemble."""
        return ensemble.fit_bag(self, spec, rows, seed, run)


class Vote(Section):
    """Voting: the weighted mean of what the members predict."""

    members: dict[Name, ModelConf] = Field(min_length=2, description=MEMBERS)
    weights: Literal["equal", "tuned"] | dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        "equal",
        examples=["tuned", {"linear": 1, "trees": 3}],
        description="Weights of the members. tuned: those with the lowest log loss, or squared error of a number, on the validation fold.",
    )

    @model_validator(mode="after")
    def _weighs_members(self) -> "Vote":
        if isinstance(self.weights, dict):
            if self.weights.keys() != self.members.keys():
                raise ValueError(f"weights must name the members {', '.join(self.members)} (got {', '.join(self.weights)})")
            if not any(self.weights.values()):
                raise ValueError("weights must have one above 0")
        return self

    @property
    def models(self) -> dict[str, ModelConf]:
        """The models, by their path below the section."""
        return {f"members.{name}": model for name, model in self.members.items()}

    def fit(self, spec: Spec, rows: Examples, seed: int, run: "RunTasks") -> "Ensemble":
        """The fitted ensemble."""
        return ensemble.fit_vote(self, spec, rows, seed, run)


class Stack(Section):
    """Stacking: a model whose features are what the members predict for rows that they were not fitted on."""

    members: dict[Name, ModelConf] = Field(min_length=2, description=MEMBERS)
    meta: ModelConf = Field(description="The model that combines them. Its features are their log-odds, or numbers.")
    parts: int = Field(
        5,
        ge=2,
        le=20,
        description="Number of parts of the rows, cut as the split groups them. Members predict each part after a fit on the others.",
    )

    @property
    def models(self) -> dict[str, ModelConf]:
        """The models, by their path below the section."""
        return {f"members.{name}": model for name, model in self.members.items()} | {"meta": self.meta}

    def fit(self, spec: Spec, rows: Examples, seed: int, run: "RunTasks") -> "Ensemble":
        """The fitted ensemble."""
        return ensemble.fit_stack(self, spec, rows, seed, run)


class EnsembleConf(OneOf):
    """A model whose members are models: {bag: …}, {vote: …} or {stack: …}."""

    bag: Bag | None = Field(None, description="Models of one kind, each fitted on its own draw of the rows.")
    vote: Vote | None = Field(None, description="The weighted mean of several models.")
    stack: Stack | None = Field(None, description="A model that combines several models.")

    @model_validator(mode="after")
    def _fits_together(self) -> "EnsembleConf":
        models = {f"{self.choice}.{path}": model for path, model in self.chosen.models.items()}
        for path, model in models.items():
            if model.torch:
                raise ValueError(f"{path} must be a scikit-learn model or an ensemble of them; a network is trained by itself")
        try:
            classify = {path: model.chosen.classifies for path, model in models.items()}
        except ConfError as error:
            raise ValueError(str(error)) from error
        first, *others = classify
        for other in others:
            if classify[other] != classify[first]:
                kinds = {True: "classes", False: "numbers"}
                raise ValueError(
                    f"the models of an ensemble must predict the same: {first} predicts {kinds[classify[first]]}, "
                    f"{other} {kinds[classify[other]]}"
                )
        return self

    @property
    def chosen(self) -> Bag | Vote | Stack:
        """The section of the chosen kind of ensemble."""
        return getattr(self, self.choice)  # type: ignore[no-any-return]

    @property
    def classifies(self) -> bool:
        """Whether the model predicts a class."""
        return next(iter(self.chosen.models.values())).chosen.classifies

    @property
    def ensembles(self) -> "Iterator[EnsembleConf]":
        """The ensemble, and those among its members."""
        yield self
        for model in self.chosen.models.values():
            if model.ensemble:
                yield from model.ensemble.ensembles

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters for MLflow."""
        return {"ensemble": self.choice, **flattened(self.model_dump(exclude_none=True))}

    def fit(self, spec: Spec, rows: Examples, seed: int, run: "RunTasks") -> "Ensemble":
        """The fitted ensemble; `run` runs the fits of its members."""
        return self.chosen.fit(spec, rows, seed, run)


def flattened(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested mappings as one, by path."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{path}{name}.") if isinstance(value, dict) and value else {f"{path}{name}": value}
    return flat


ModelConf.model_rebuild()
