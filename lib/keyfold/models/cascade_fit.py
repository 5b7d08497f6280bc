"""Fits the stages of a cascade, each on the rows that reach it. Rows of the train fold are judged out of fold."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from keyfold.core.arrays import Bools, Doubles
from keyfold.core.section import Section, text_names
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.features.spec import FittedFeature, Spec
from keyfold.labels import Binary, Classes, Label
from keyfold.models.cascade import Cascade, Exit, Stage, decisions, fed_arrays, fed_table, find_exits, is_certain, stage_spec
from keyfold.models.examples import Examples
from keyfold.models.log_odds import standardised
from keyfold.models.member_checks import TRAINED
from keyfold.models.member_fits import Fitted, Learner, MemberFit, RunTasks, fit_out_of_fold, run_fits
from keyfold.models.rules import RulesLearner

Precision = Annotated[float, Field(gt=0, le=1)]
_STAGE = "train.model.cascade: stage"


class StageInput(Section):
    """The log-odds of a former stage as an input."""

    stage: str = Field(description="Name of a former stage.", examples=["keywords"])


class ExitConf(Section):
    """When rows leave a stage with its answer: from a probability on that the validation fold decides for each class."""

    precision_at_least: Precision | dict[str, Precision] = Field(
        examples=[0.995, {"spam": 0.999, "ham": 0.99}],
        description="Share of the rows that leave for a class that must be right. By class: rows never leave for those not named.",
    )
    _class_names = field_validator("precision_at_least", mode="before")(text_names)

    rows_at_least: int = Field(
        30, ge=1, description="Number of rows of the validation fold on which that share must be reached; with fewer, none leave."
    )


class Reaching(NamedTuple):
    """The rows of a fold that reach a stage, and what each former stage predicted for them."""

    rows: Examples
    numbers: Mapping[str, Doubles]

    def examples(self, features: Sequence[str], feeds: Sequence[str], fed: Mapping[str, FittedFeature]) -> Examples:
        """The rows as the model of the stage takes them."""
        arrays = {name: self.rows.arrays[name] for name in features}
        return self.rows._replace(arrays=arrays | fed_arrays(feeds, fed, self.numbers, self.rows.label))

    def rest(self, name: str, predicted: Doubles, leaves: Bools) -> "Reaching":
        """Those that reach the next stage, by what this one predicted, and whether they leave."""
        stay = np.flatnonzero(~leaves)
        numbers = {former: of[stay] for former, of in (dict(self.numbers) | {name: predicted}).items()}
        return Reaching(self.rows.take(stay), numbers)


def check_stage_model(path: str, model: Any) -> None:
    """Raises ValueError if a section `ModelConf` cannot be that of a stage."""
    if model.torch or model.cascade or model.tunes_weights:
        raise ValueError(
            f"{path} must be a scikit-learn model, or an ensemble of them without tuned weights; the validation fold is for exits"
        )
    if model.registered or model.registered_members:
        raise ValueError(f"{path} must be fitted here, on the rows that reach it; {TRAINED} that is no stage")
    try:
        if not model.chosen.classifies:
            raise ValueError(f"{path} must predict a class, and this one predicts a number")
    except ConfError as error:
        raise ValueError(f"{path}: {error}") from error


class StagePlan(NamedTuple):
    """A stage of the conf: its features of the rows, the stages that feed it, its model, and its exit, which the last one has not."""

    name: str
    features: list[str]
    feeds: list[str]
    model: Learner
    exit: ExitConf | None


def fit_cascade(plans: Sequence[StagePlan], parts: int, spec: Spec, rows: Examples, seed: int, run: RunTasks) -> Cascade:
    """Fits the stages one after the other, and finds the exits of each on the validation fold.

    parts: number of parts of the rows, which a stage predicts after a fit on the others, so that it is not sure of rows that it knows.
    Raises DataError if the validation fold has no row, if no row reaches a stage, or if those that do have one class.
    """
    if rows.validation is None or not len(rows.validation.order):
        raise DataError(
            "train.model.cascade: the validation fold has no row to find exits on; give split.share or split.time a validation"
        )
    learn, held, stages = Reaching(rows._replace(validation=None), {}), Reaching(rows.validation, {}), list[Stage]()
    for plan in plans:
        fitted, learn, held = _fit_stage(plan, parts, spec, learn, held, seed, run)
        stages.append(fitted)
    return Cascade(spec, stages)


def _fit_stage(
    plan: StagePlan, parts: int, spec: Spec, learn: Reaching, held: Reaching, seed: int, run: RunTasks
) -> tuple[Stage, Reaching, Reaching]:
    """The fitted stage, and the rows of both folds that reach the next one."""
    (name, features, feeds, model, exit_), label = plan, learn.rows.label
    fed = standardised(fed_table(feeds, learn.numbers, label)) if feeds else {}
    own, examples = stage_spec(spec, features, fed), learn.examples(features, feeds, fed)
    _check_rows(name, examples)
    if exit_ is None:  # the last one
        (last,) = run_fits(_STAGE, own, examples, [MemberFit(name, model, seed)], run)
        return Stage(name, features, feeds, fed, last, []), learn, held
    fitted: Fitted
    if isinstance(model, RulesLearner):  # rules know no row
        fitted = model.fit(own, examples)
        numbers = fitted.numbers(examples.arrays, label)
    else:
        models, (numbers,) = fit_out_of_fold(_STAGE, {name: model}, parts, own, examples, seed, run)
        fitted = models[name]
    predicted = fitted.numbers(held.examples(features, feeds, fed).arrays, label)
    exits = _exits(exit_, held.rows, predicted)
    learn, held = (
        reaching.rest(name, of, is_certain(exits, *decisions(of, label)))
        for reaching, of in ((learn, numbers), (held, predicted))
    )
    for fold, reaching in (("validation", held), ("train", learn)):
        if not len(reaching.rows.order):
            raise DataError(
                f"{_STAGE} `{name}`: every row of the {fold} fold that reaches it leaves there, so the next stage would decide none; ask "
                "for more precision in its exit, or leave out the stages after it"
            )
    return Stage(name, features, feeds, fed, fitted, exits), learn, held


def _exits(conf: ExitConf, rows: Examples, predicted: Doubles) -> list[Exit]:
    codes, probability = decisions(predicted, rows.label)
    demanded = demanded_precision(conf, rows.label)
    return find_exits(rows.y.astype(np.int64), codes, probability, demanded, conf.rows_at_least)


def demanded_precision(conf: ExitConf, label: Label) -> list[float | None]:
    """The precision that the exit of each class needs, in the order of codes; None for a class for which rows never leave."""
    demanded = conf.precision_at_least
    return [demanded.get(name) if isinstance(demanded, dict) else demanded for name in class_names(label)]


def check_classes(named: Iterable[str], label: Label) -> None:
    """Raises ConfError if the label has no classes of which each row has one, or lacks one that exits or rules name."""
    names = class_names(label)
    for name in named:
        if name not in names:
            raise ConfError(
                f"train.model.cascade names the class `{name}`, and the label has {', '.join(names)}{suggestion(name, names)}"
            )


def class_names(label: Label) -> list[str]:
    """The classes as text, in the order of their codes (ConfError for a label without classes of which each row has one)."""
    if isinstance(label, Binary | Classes):
        return label.names
    raise ConfError(
        f"train.model.cascade predicts one of some classes, and the label is of kind {label.kind}; take another model"
    )


def _check_rows(name: str, rows: Examples) -> None:
    """DataError if the rows that reach a stage have one class."""
    if len(present := np.unique(rows.y)) < 2:
        only = f"all are `{class_names(rows.label)[int(present[0])]}`" if len(present) else "that is none"
        raise DataError(
            f"{_STAGE} `{name}`: {len(rows.order):,} rows of the train fold reach it, and {only}; ask for more precision in the exits of "
            "the stages before it, or leave it out"
        )
