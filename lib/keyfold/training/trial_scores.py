"""How a trial is measured: the model with its parameters is trained, and answers rows that it did not learn from."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.conf.tune import ClassMetric
from keyfold.core.digests import digest
from keyfold.core.names import FOLD, NUMBER
from keyfold.errors import ConfError, DataError
from keyfold.evaluation import metrics
from keyfold.models.model import ModelConf
from keyfold.training import network as distributed
from keyfold.training.search import Heard, TrialScore

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import SparkSession

    from keyfold.dataset.labelled_rows import LabelledRows
    from keyfold.features.spec import Spec
    from keyfold.models.sklearn import Estimator
    from keyfold.models.torch import Network
    from keyfold.runtime.run import Run
    from keyfold.training.arrays import ArrayRows


class EstimatorTrials(NamedTuple):
    """What trials of an estimator take: rows outside test, their weights, and masks of what is learnt and what is held out."""

    rows: "ArrayRows"
    weight: npt.NDArray[np.float64] | None
    parts: list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]
    seed: int
    metric: str

    @classmethod
    def of(
        cls, rows: "ArrayRows", weight: npt.NDArray[np.float64] | None, folds: int | None, seed: int, metric: str
    ) -> "EstimatorTrials":
        """Over the parts to cross-validate, or with the validation fold held out (DataError: that is empty)."""
        named = rows.table[FOLD].to_numpy(zero_copy_only=False)
        parts = [(named == "train", named == "validation")]
        if folds:
            number = rows.table[f"keyfold_extra:{NUMBER}"].to_numpy()
            parts = [(number != k, number == k) for k in range(folds)]
        parts = [(learnt, held) for learnt, held in parts if held.any()]
        if not parts:
            raise no_held_out_rows()
        return cls(rows, weight, parts, seed, metric)

    def one(self, model: ModelConf) -> float | str:
        """The metric, the mean over the parts; or why the estimator does not take these parameters."""
        try:
            return _defined(float(np.mean([self._held(model, *part) for part in self.parts])))
        except (ValueError, TypeError, ArithmeticError) as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())}"

    def _held(self, model: ModelConf, learnt: npt.NDArray[np.bool_], held: npt.NDArray[np.bool_]) -> float:
        assert model.sklearn is not None
        rows, out = (self.rows._replace(table=self.rows.table.filter(pa.array(mask))) for mask in (learnt, held))
        weight = None if self.weight is None else self.weight[learnt]
        return _value(model.sklearn.fit(rows.spec, rows.arrays, rows.y, weight, self.seed), out, self.metric)

    @contextmanager
    def over(self, spark: "SparkSession", parallel: int) -> Iterator[TrialScore]:
        """The score of several at once: each in a Spark task with one thread, to which the rows come once."""
        if parallel == 1:
            yield lambda models, _: [self.one(model) for model in models]
            return
        shared = spark.sparkContext.broadcast(self)
        try:
            yield lambda models, _: _in_tasks(spark, shared, models)
        finally:
            shared.destroy()


def _in_tasks(spark: "SparkSession", shared: "Broadcast[EstimatorTrials]", models: list[ModelConf]) -> list[float | str | None]:
    def alone(model: ModelConf) -> float | str | None:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            return shared.value.one(model)

    return spark.sparkContext.parallelize(models, len(models)).map(alone).collect()


def network_score(
    run: "Run",
    run_id: str,
    spec: "Spec",
    found: "LabelledRows",
    key: list[str],
    weights: tuple[float, float],
    held: "ArrayRows",
    metric: str,
) -> TrialScore:
    """The score of a network on the held-out rows (DataError: there are none); what a killed trial had come to is gone on from."""
    if not held.table.num_rows:
        raise no_held_out_rows()

    def score(models: list[ModelConf], heard: Heard) -> list[float | str | None]:
        from optuna import TrialPruned

        from keyfold.models.torch import Network
        from keyfold.training.checkpoints import Checkpoints

        (conf,) = (model.torch for model in models)
        assert conf is not None
        outcome: float | str | None = None
        name = digest([run_id, conf.model_dump(mode="json")])
        try:
            work = distributed.make_rank_task(run, name, conf, spec, found, key, weights)
            network, _ = distributed.run_training(run, work, heard)
            outcome = _defined(_value(Network(network, spec, conf), held, metric))
        except TrialPruned:
            pass
        except (ConfError, DataError) as error:  # of a loss that is no number, or of what these parameters cannot be
            outcome = str(error)
        Checkpoints(distributed.checkpoint_folder(name)).clear()
        return [outcome]

    return score


def no_held_out_rows() -> DataError:
    """That a trial could not be measured."""
    return DataError(
        "train.tune: the validation fold has no row to measure a trial on; give split.share a validation, or set split.folds"
    )


def _value(made: "Estimator | Network", rows: "ArrayRows", metric: str) -> float:
    classes, arrays = metric in get_args(ClassMetric), rows.arrays
    of, said = (
        (metrics.classification_metrics, made.probability(arrays))
        if classes
        else (metrics.regression_metrics, made.value(arrays))
    )
    return of(rows.y, said, order=rows.order, replicates=0)[metric].value


def _defined(value: float) -> float | str:
    return value if math.isfinite(value) else "the metric is undefined on these rows"
