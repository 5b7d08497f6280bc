"""Scores of trials: a model with the parameters of a trial is trained, and measured on rows that are held out."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from keyfold.conf import messages
from keyfold.core.arrays import Bools
from keyfold.core.digests import digest
from keyfold.core.names import FOLD, NUMBER
from keyfold.engine.engine import Engine
from keyfold.errors import ConfError, DataError
from keyfold.evaluation import metrics
from keyfold.models.member_fits import Fitted
from keyfold.models.section import ModelConf
from keyfold.training.answers import complete_answers
from keyfold.training.arrays import EXTRA, ArrayRows
from keyfold.training.checkpoints import Checkpoints
from keyfold.training.context import TrainingContext
from keyfold.training.fitting import fit_model
from keyfold.training.network import checkpoint_folder, make_rank_task, run_training
from keyfold.training.search import Observer, TrialScore

if TYPE_CHECKING:
    from keyfold.conf.label import LabelConf
    from keyfold.conf.train import Train
    from keyfold.labels import Label
    from keyfold.models.torch import Torch

T = TypeVar("T")
OPTIONS = ("train.tune", "train.tune.metric")


class EstimatorTrials(NamedTuple):
    """Input of the trials of an estimator: rows outside test, sections of the conf, and pairs of masks (n): train on, held out."""

    rows: ArrayRows
    train: "Train"
    parts: list[tuple[Bools, Bools]]
    metric: str
    label: "LabelConf"

    @classmethod
    def of(cls, context: TrainingContext, rows: ArrayRows, metric: str, options: tuple[str, str] = OPTIONS) -> "EstimatorTrials":
        """Cross-validates over the parts of `split.folds`, else holds out the validation fold.

        options: those that name the models and the metric. Raises DataError if the validation fold is empty, or the label has no such metric.
        """
        _check_metric(rows.label, metric, options[1])
        folds, outside_test = context.run.conf.split.folds, rows.outside_test
        fold = outside_test.table[FOLD].to_numpy(zero_copy_only=False)
        parts = [(fold == "train", fold == "validation")]
        if folds:
            number = outside_test.table[EXTRA + NUMBER].to_numpy()
            parts = [(number != k, number == k) for k in range(folds)]
        parts = [(train, held_out) for train, held_out in parts if held_out.any()]
        if not parts:
            raise _no_held_out_rows(options[0])
        return cls(outside_test, context.train, parts, metric, context.label)

    def score(self, model: ModelConf) -> float | str:
        """The mean of the metric over the parts; an error message if the estimator rejects the parameters."""
        return made_or_reason(lambda: _finite(float(np.mean([self._score_part(model, *part) for part in self.parts]))))

    def score_fitted(self, estimator: Fitted) -> float | str:
        """The metric on what the only part holds out, of an estimator that was fitted on the rest of it."""
        ((_, held_out),) = self.parts
        return made_or_reason(lambda: _finite(_score(self.label, estimator, self.rows.filter(held_out), self.metric)))

    def _score_part(self, model: ModelConf, train: Bools, held_out: Bools) -> float:
        learn, measure = (self.rows.filter(mask) for mask in (train, held_out))
        estimator = fit_model(self.train.with_model(model), learn.spec, learn)
        return _score(self.label, estimator, measure, self.metric)

    @contextmanager
    def over(self, engine: Engine, parallel: int) -> Iterator[TrialScore]:
        """Scores several models at once, each in a task of the engine with one thread; the rows are sent once."""
        if parallel == 1:
            yield lambda models, _: [self.score(model) for model in models]
            return
        with engine.map_shared(EstimatorTrials.score, self, parallel) as scores:
            yield lambda models, _: scores(models)


def network_score(context: TrainingContext, validation: ArrayRows, metric: str) -> TrialScore:
    """Scores a network on the validation fold (DataError if it is empty); a killed trial resumes from its checkpoints."""
    _check_metric(validation.label, metric, OPTIONS[1])
    if not validation.table.num_rows:
        raise _no_held_out_rows(OPTIONS[0])

    def score(models: list[ModelConf], observe: Observer) -> list[float | str | None]:
        (conf,) = (model.torch for model in models)
        assert conf is not None
        run_id = digest([context.run_id, conf.model_dump(mode="json")])
        outcome = _score_network(context, conf, run_id, observe, validation, metric)
        Checkpoints(checkpoint_folder(run_id)).clear()
        return [outcome]

    return score


def _score_network(
    context: TrainingContext, conf: "Torch", run_id: str, observe: Observer, validation: ArrayRows, metric: str
) -> float | str | None:
    """The metric; an error message if these parameters cannot be trained; None if the trial was pruned."""
    from optuna import TrialPruned

    from keyfold.models.torch import Network

    try:
        module, _ = run_training(context, make_rank_task(context, conf, run_id), observe)
        network = Network(module, context.spec, conf)
        network.prior = context.network_prior
        return _finite(_score(context.label, network, validation, metric))
    except TrialPruned:
        return None
    except (ConfError, DataError) as error:
        return str(error)


def made_or_reason(make: Callable[[], T]) -> T | str:
    """What `make` returns, or why an estimator rejects its parameters or its rows."""
    try:
        return make()
    except DataError as error:
        return str(error)
    except (ValueError, TypeError, ArithmeticError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _check_metric(label: "Label", metric: str, option: str) -> None:
    if metric not in (names := metrics.names_of(label)):
        raise DataError(f"{option}: this label has no {metric}; choose {messages.joined_by_or(names)}")


def _no_held_out_rows(option: str) -> DataError:
    return DataError(
        f"{option}: the validation fold has no row to measure a model on; give split.share a validation, or set split.folds"
    )


def _score(conf: "LabelConf", model: Fitted, rows: ArrayRows, metric: str) -> float:
    predicted = model.numbers(rows.arrays, rows.label)
    completed = complete_answers(conf, rows.label, rows.truth, predicted)
    predicted = completed.numbers(predicted)
    return metrics.measure_predictions(completed.label, rows.truth, predicted, order=rows.order, replicates=0)[metric].value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise DataError("the metric is undefined on these rows")
    return value
