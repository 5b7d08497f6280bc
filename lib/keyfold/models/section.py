"""The section `train.model`: an estimator of scikit-learn, a network, an ensemble of models, or a cascade of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from keyfold.core.section import OneOf, Section, flattened
from keyfold.errors import duplicates, suggestion
from keyfold.features.spec import Spec
from keyfold.models import ensemble
from keyfold.models.cascade_fit import ExitConf, StageInput, StagePlan, check_stage_model, fit_cascade
from keyfold.models.examples import Examples
from keyfold.models.member_checks import check_ensemble_members
from keyfold.models.registered import RegisteredConf
from keyfold.models.rules import RulesLearner
from keyfold.models.sklearn import Sklearn
from keyfold.models.torch import Torch

if TYPE_CHECKING:
    from keyfold.models.cascade import Cascade
    from keyfold.models.ensemble import Ensemble
    from keyfold.models.member_fits import Fitted, Learner, RunTasks

Name = Annotated[str, Field(pattern=r"^[A-Za-z]\w*$", examples=["linear", "trees"])]
MEMBERS = "Members by name: models of any kind but networks."
VOTERS = "Members by name: models of any kind but networks, and registered models of any kind."


class ModelConf(OneOf):
    """The model: {sklearn: {estimator: …, params: …}}, {torch: {network: …}}, {ensemble: {vote: …}} or {cascade: {stages: …}}."""

    sklearn: Sklearn | None = Field(None, description="An estimator of scikit-learn.")
    torch: Torch | None = Field(None, description="A network, trained by torch.")
    ensemble: "EnsembleConf | None" = Field(None, description="A model whose members are models.")
    cascade: "CascadeConf | None" = Field(
        None, exclude_if=lambda cascade: cascade is None, description="Models one after the other, of which each answers for the "
        "rows that it is sure of.",
    )  # fmt: skip
    registered: RegisteredConf | None = Field(
        None, exclude_if=lambda registered: registered is None, description="A registered model, as a member of a vote."
    )

    @property
    def chosen(self) -> "Sklearn | Torch | EnsembleConf | CascadeConf | RegisteredConf":
        """The section of the chosen kind of model."""
        return getattr(self, self.choice)  # type: ignore[no-any-return]

    def fit(self, spec: Spec, rows: Examples, seed: int, run: "RunTasks") -> "Fitted":
        """The fitted model; `run` runs the fits of its parts. `keyfold.training.network` trains networks."""
        learner = self.sklearn or self.ensemble or self.cascade
        assert learner is not None
        return learner.fit(spec, rows, seed, run)

    @property
    def tunes_weights(self) -> bool:
        """Whether an ensemble tunes the weights of members on the validation fold."""
        return self.ensemble is not None and any(one.vote.weights == "tuned" for one in self.ensemble.ensembles if one.vote)

    @property
    def uses_validation(self) -> bool:
        """Whether the validation fold decides about parts of the model while it is fitted."""
        return self.cascade is not None or self.tunes_weights

    @property
    def registered_members(self) -> dict[str, str]:
        """The registered members of a vote: the versions that they name, by member."""
        members = self.ensemble.vote.members if self.ensemble and self.ensemble.vote else {}
        return {name: model.registered.model for name, model in members.items() if model.registered}

    @property
    def draws_rows(self) -> bool:
        """Whether an ensemble has members that are fitted on some of the rows, chosen by their key or their group."""
        return self.ensemble is not None and any(one.bag or one.stack for one in self.ensemble.ensembles)

    @property
    def stacks(self) -> bool:
        """Whether the model has parts that predict some of the rows after a fit on the others."""
        return self.cascade is not None or (self.ensemble is not None and any(one.stack for one in self.ensemble.ensembles))


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

    members: dict[Name, ModelConf] = Field(min_length=2, description=VOTERS)
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
        check_ensemble_members(self.choice, {f"{self.choice}.{path}": model for path, model in self.chosen.models.items()})
        return self

    @property
    def chosen(self) -> Bag | Vote | Stack:
        """The section of the chosen kind of ensemble."""
        return getattr(self, self.choice)  # type: ignore[no-any-return]

    @property
    def classifies(self) -> bool:
        """Whether the model predicts a class."""
        return next(model for model in self.chosen.models.values() if not model.registered).chosen.classifies

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


class StageConf(Section):
    """A stage of a cascade."""

    features: list[str | StageInput] = Field(
        default_factory=list,
        examples=[["words", {"stage": "keywords"}]],
        description="Names of the features that it takes, which are computed for the rows that reach it; former stages as `{stage: name}`. "
        "Required for a model.",
    )
    model: ModelConf | None = Field(None, description="Its model: a scikit-learn classifier or an ensemble of them.")
    rules: dict[str, Annotated[list[str], Field(min_length=1)]] | None = Field(
        None,
        min_length=1,
        exclude_if=lambda rules: rules is None,
        examples=[{"spam": ["prizes"], "ham": ["work", "friends"]}],
        description="In place of a model: features of the kind `found` by class. A row in which one is found is of that class, the first "
        "of several; a row in which none is found goes on.",
    )
    exit: ExitConf | None = Field(None, description="When rows leave. Required, but for the last stage, which decides the rest.")

    @model_validator(mode="after")
    def _has_a_model(self) -> "StageConf":
        if (self.model is None) == (self.rules is None):
            raise ValueError(f"must have either `model` or `rules` (got {'both' if self.rules else 'neither'})")
        if bool(self.features) == bool(self.rules):
            raise ValueError("`rules` name their features; leave out `features`" if self.rules else "features is missing")
        if self.rules and self.exit is None:
            raise ValueError("exit is missing, and rules cannot decide all rows")
        return self

    @property
    def learner(self) -> "Learner":
        """Its model or rules."""
        return RulesLearner(self.rules) if self.rules else self.model  # type: ignore[return-value]

    @property
    def names(self) -> list[str]:
        """The names of its features of the rows."""
        if self.rules:
            return list(dict.fromkeys(name for of in self.rules.values() for name in of))
        return [one for one in self.features if isinstance(one, str)]

    @property
    def feeds(self) -> list[str]:
        """The names of the stages that feed it."""
        return [one.stage for one in self.features if isinstance(one, StageInput)]


class CascadeConf(Section):
    """Models one after the other, of which each answers for the rows that it is sure of."""

    stages: dict[Name, StageConf] = Field(min_length=2, description="The stages by name, in their order: the cheapest first.")
    parts: int = Field(
        5,
        ge=2,
        le=20,
        description="Number of parts of the train fold, cut as the split groups rows. A stage is fitted without a part to decide which of "
        "its rows go on.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "CascadeConf":
        *_, last = names = list(self.stages)
        for place, (name, stage) in enumerate(self.stages.items()):
            path = f"stages.{name}"
            if repeated := duplicates(stage.names) + duplicates(stage.feeds):
                raise ValueError(f"{path}.features has `{repeated[0]}` twice")
            if late := [feed for feed in stage.feeds if feed not in names[:place]]:
                raise ValueError(f"{path}.features: there is no stage `{late[0]}` before it{suggestion(late[0], names[:place])}")
            if (stage.exit is None) != (name == last):
                raise ValueError(
                    f"{path}.exit is missing, and only the last stage decides all rows that reach it"
                    if stage.exit is None
                    else f"{path}.exit must be left out, since the last stage decides all rows that reach it"
                )
            if stage.model:
                check_stage_model(f"{path}.model", stage.model)
        return self

    @property
    def named_classes(self) -> list[str]:
        """The classes that exits and rules name."""
        exits = (stage.exit.precision_at_least for stage in self.stages.values() if stage.exit)
        in_exits = [name for one in exits if isinstance(one, dict) for name in one]
        return in_exits + [name for stage in self.stages.values() for name in stage.rules or ()]

    @property
    def classifies(self) -> bool:
        """Yes: a cascade predicts a class."""
        return True

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters for MLflow."""
        return {"cascade": " → ".join(self.stages), **flattened(self.model_dump(exclude_none=True))}

    def fit(self, spec: Spec, rows: Examples, seed: int, run: "RunTasks") -> "Cascade":
        """The fitted cascade; `run` runs the fits of its stages."""
        plans = [StagePlan(name, one.names, one.feeds, one.learner, one.exit) for name, one in self.stages.items()]
        return fit_cascade(plans, self.parts, spec, rows, seed, run)


ModelConf.model_rebuild()
