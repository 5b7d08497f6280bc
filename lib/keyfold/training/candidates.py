"""The candidates of `train.models`: each is trained on the train fold, and the best on held-out rows is the model."""

import time
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from keyfold.core.arrays import Doubles
from keyfold.errors import DataError
from keyfold.evaluation import metrics
from keyfold.evaluation.intervals import Metric, format_number
from keyfold.labels import Label
from keyfold.models.member_fits import Fitted
from keyfold.models.model import Model
from keyfold.models.section import ModelConf
from keyfold.training.answers import complete_model
from keyfold.training.arrays import ArrayRows
from keyfold.training.context import TrainingContext
from keyfold.training.fitting import fit_model, rows_to_fit, tasks_of
from keyfold.training.naive import NAIVE as MEASURED
from keyfold.training.naive import naive_numbers
from keyfold.training.trial_scores import EstimatorTrials, made_or_reason
from keyfold.training.variant_sections import candidates_section
from keyfold.training.variants import ComparedVariant, FoldMetrics

OPTIONS = ("train.models", "train.choose_by")
NAIVE = "naive (constant)"


class Candidate(NamedTuple):
    """A candidate: the fitted model and the seconds of its fit, its score on held-out rows, or why it has none."""

    name: str
    model: ModelConf
    estimator: Fitted | None
    seconds: float | None
    score: float | None
    failure: str = ""

    def __str__(self) -> str:
        return self.name if self.score is None else f"{self.name} {format_number(self.score, digits=4)}"


class Choice(NamedTuple):
    """The candidates, best first, those without a score last; the metric of their scores, and the fold that it is of."""

    metric: str
    fold: str
    ranked: list[Candidate]

    @property
    def best(self) -> Candidate:
        """The candidate that is the model."""
        return self.ranked[0]

    @property
    def scores(self) -> FoldMetrics:
        """The scores as metrics, under names for MLflow."""
        return {
            f"{self.fold}_candidate_{one.name}": {self.metric: Metric(one.score, float("nan"), float("nan"))}
            for one in self.ranked
            if one.score is not None
        }

    def __str__(self) -> str:
        return f"{metrics.metric_label(self.metric)} of the candidates ({self.fold}): {', '.join(map(str, self.ranked))}"


def choose_candidate(context: TrainingContext, rows: ArrayRows) -> Choice:
    """Trains the candidates one after the other, and ranks them by their score; no row of the test fold takes part.

    Raises DataError if none can be trained and measured, if the validation fold is empty, or if the label has no such metric.
    """
    models, metric = context.train.models or {}, context.train.metric_of_choice
    trials = EstimatorTrials.of(context, rows, metric, OPTIONS)
    candidates = [_train(context, trials, rows, name, model) for name, model in models.items()]
    sign = -1 if metrics.METRICS[metric].higher_is_better else 1
    ranked = sorted(candidates, key=lambda one: (one.score is None, sign * (one.score or 0)))
    choice = Choice(metric, "cross_validated" if context.run.conf.split.folds else "validation", ranked)
    if choice.best.score is None:
        raise DataError(f"train.models: no candidate can be trained: {_reasons(ranked)}")
    context.run.say(f"`{choice.best.name}` is chosen by {metric} ({choice.fold}): {', '.join(map(str, ranked))}")
    return choice


def _train(context: TrainingContext, trials: EstimatorTrials, rows: ArrayRows, name: str, model: ModelConf) -> Candidate:
    """The candidate as it would be trained alone, with the score of its training on the parts of the trials."""
    train, learn = context.train.with_model(model), rows_to_fit(model, rows)
    start = time.perf_counter()
    with context.run.step(f"fit {name}") as step:
        step.rows = learn.table.num_rows
        fitted = made_or_reason(lambda: fit_model(train, context.spec, learn, tasks_of(context.run.engine, learn)))
    seconds = time.perf_counter() - start
    if not isinstance(fitted, str):
        score = trials.score(model) if context.run.conf.split.folds else trials.score_fitted(fitted)
        if not isinstance(score, str):
            return Candidate(name, model, fitted, seconds, score)
    failed = Candidate(name, model, None, None, None, fitted if isinstance(fitted, str) else str(score))
    context.run.say(f"candidate {_reasons([failed])}")
    return failed


def _reasons(candidates: Iterable[Candidate]) -> str:
    return "; ".join(f"`{one.name}`: {one.failure}" for one in candidates)


def compare_candidates(context: TrainingContext, model: Model, choice: Choice, rows: ArrayRows) -> list[ComparedVariant]:
    """The chosen model, the other candidates and the naive model on the test fold, with their differences from the chosen one.

    Each candidate is completed on the validation fold, as the model is; the naive one has the model's thresholds.
    """
    test, validation = rows.fold("test"), rows.fold("validation")
    chosen, naive = model.numbers(test.arrays), naive_numbers(rows)
    compared = [ComparedVariant(choice.best.name, _measure(test, model.label, chosen), {}, {}, choice.best.seconds)]
    for one in choice.ranked[1:]:
        if one.estimator is None:
            compared.append(ComparedVariant(one.name, {}, {}, {}, None, one.failure))
            continue
        alone = made_or_reason(partial(complete_model, context.label, model._replace(estimator=one.estimator), validation))
        if isinstance(alone, str):
            compared.append(ComparedVariant(one.name, {}, {}, {}, None, alone))
            continue
        numbers = alone.numbers(test.arrays)
        difference = _minus(test, alone.label, numbers, model.label, chosen)
        compared.append(ComparedVariant(one.name, _measure(test, alone.label, numbers), difference, {}, one.seconds))
    if naive is not None:
        difference = _minus(test, model.label, naive, model.label, chosen)
        compared.append(ComparedVariant(NAIVE, _measure(test, model.label, naive), difference, {}, None))
    return compared


def _measure(test: ArrayRows, label: Label, numbers: Doubles) -> dict[str, Metric]:
    return metrics.measure_predictions(label, test.truth, numbers, order=test.order, names=metrics.brief_names(label))


def _minus(test: ArrayRows, label: Label, numbers: Doubles, reference: Label, chosen: Doubles) -> dict[str, Metric]:
    return metrics.metric_differences(
        label, test.truth, numbers, chosen, second_label=reference, order=test.order, names=metrics.brief_names(label)
    )


def report_candidates(context: TrainingContext, model: Model, choice: Choice, rows: ArrayRows) -> FoldMetrics:
    """The scores of the candidates, and their metrics on the test fold if it has rows, which the page shows too."""
    context.job.facts["candidates"] = str(choice)
    if not rows.fold("test").table.num_rows:
        return choice.scores
    with context.run.step("compare") as step:
        compared = compare_candidates(context, model, choice, rows)
        step.rows = rows.fold("test").table.num_rows * len(compared)
    context.job.sections.append(candidates_section(choice.metric, {one.name: one.score for one in choice.ranked}, compared))
    names = {one.name: MEASURED if one.name == NAIVE else f"test_candidate_{one.name}" for one in compared}
    return choice.scores | {names[one.name]: one.measured for one in compared if one.metrics}
