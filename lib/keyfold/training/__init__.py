"""From labelled rows to a registered model: the train fold to the driver as Arrow, fitted, measured, logged."""

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from keyfold import feature_table, gates, hashing, metrics, registry, release, report, standins, yaml
from keyfold.certificate import Certificate
from keyfold.digests import canonical
from keyfold.errors import ConfError, DataError, nearest
from keyfold.examples import LABEL, NUMBER, PART, Examples, features
from keyfold.metrics import Metric
from keyfold.models import Label, Model, ModelConf
from keyfold.models.sklearn import Estimator
from keyfold.models.torch import Network
from keyfold.registry import Registered
from keyfold.section import Section
from keyfold.spec import Arrays, Spec
from keyfold.split import FOLD, FOLDS, key_hash, place
from keyfold.sql import col
from keyfold.standins import WEIGHT
from keyfold.training import distributed, start, trials, trying, tuning
from keyfold.training.ablation import ablated
from keyfold.training.streams import ORDER
from keyfold.training.trials import Tuned
from keyfold.training.tuning import Tune
from keyfold.values import text_of

if TYPE_CHECKING:
    from keyfold.run import Job, Run
    from keyfold.training.loop import Told

ONE = 3_072  # rows that are learnt alone, to see whether they can be
BAG = 16  # cells that a bag is taken to have


class Train(Section):
    """What is trained, and how."""

    model: ModelConf
    tune: Tune | None = Field(None, description="parameters of the model that trials choose")
    class_weight: Literal["balanced"] | dict[str, float] | None = None
    seed: int = 0
    ranks: int = Field(1, ge=1, description="processes that train a network together, each a Spark task: 1, 2, 3, 4, 6 or 12")
    interface: str | None = Field(None, description="the network interface of the ranks; default: one that all hosts have")
    overfit: bool = Field(False, description="a network learns all rows by heart, down to the floor: where they are all there is")
    tensorboard: bool = Field(False, description="write a network's losses and parameters by epoch for TensorBoard, too")
    memory_share: float = Field(0.25, gt=0, le=1, description="of the machine's memory, that the rows may take on the driver")
    register_as: str | None = Field(None, description="the registered model's name; default: the conf's name")

    @property
    def identifying(self) -> dict[str, Any]:
        """What a model's identity takes of it: not how many processes train together, and no `tune` where there is none."""
        found = self.model_dump(mode="json", exclude={"ranks", "interface", "tensorboard", *(() if self.tune else ("tune",))})
        if self.tune and self.model.torch:  # trials over several ranks are not ended early
            found["tune"]["early"] = self.ranks == 1
        if self.tune and self.tune.search != "tpe":  # points that are known before are tried alike, however many at once
            del found["tune"]["parallel"]
        return found


class Report(Section):
    """What the page shows besides."""

    slices: list[str] = Field(default_factory=list, description="columns by whose values the metrics are told apart")
    truth: str | None = Field(None, description="a column with the known probability, as made-up data has it")
    without: list[Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=list, description="features to leave out, together, to see what they gain: the model is trained once more"
    )
    collisions: bool = Field(True, description="count which hashed values share a bucket, in two passes over the train fold")


class Set(NamedTuple):
    """Rows on the driver, in an order that does not depend on the cluster."""

    table: pa.Table
    spec: Spec

    def fold(self, name: str) -> "Set":
        """The rows of a fold."""
        return Set(self.table.filter(pa.compute.equal(self.table[FOLD], name)), self.spec)

    @property
    def arrays(self) -> Arrays:
        """The features."""
        return self.spec.arrays(self.table)

    @property
    def y(self) -> npt.NDArray[Any]:
        """The label: booleans for a class, else doubles."""
        return self.table[LABEL].to_numpy()

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """What identifies a row."""
        return self.table[ORDER].to_numpy()


def train(run: "Run") -> Registered:
    """Trains and registers, or finds the version that the same conf and rows gave; promotes it where it clears the bar."""
    conf = run.conf
    if conf.train is None:
        raise ConfError("train: the conf has no such section, so there is nothing to train")
    distributed.check(run)
    if conf.train.tune:
        tuning.optuna_or_sentence()
    spec, found = features(run)
    name = conf.train.register_as or conf.name
    with run.job("train") as job:
        sections: dict[str, Any] = {
            "train": conf.train.identifying,
            "positive": conf.data.model_dump(mode="json")["positive"],
        }
        if (network := conf.train.model.torch) and network.start:  # what it is, whatever it is called
            run.begins = start.found(network.start)
            sections["train"]["model"]["torch"]["start"] |= {"model": None, "file": None, "digest": run.begins.digest}
        sections |= {"without": conf.report.without} if conf.report.without else {}
        sections |= standins.identity(conf.data, found.stand_ins)
        job.run_id = run.identity(
            "train", sections, rows=found.version, spec=spec.digest, split=found.folds.identity, before=run.period
        )
        job.inputs = {run.featured.name: found.version, "spec": spec.digest}
        version = registry.known(name, job.run_id)
        if version:
            job.status = "done before"
            run.say(f"{version} was trained before from the same conf and rows")
        else:
            version = _train(run, job, spec, found, name)
        job.counts = {"read": sum(found.counts.values())}
        run.facts |= {"model": str(version), "MLflow run": version.mlflow_run_id}
    return version


def _train(run: "Run", job: "Job", spec: Spec, found: Examples, name: str) -> Registered:
    conf = run.conf
    assert conf.train is not None
    with run.step("gates") as step:
        proven = gates.check(run, found)
        run.sections.append(report.gates(proven))
        step.rows = sum(found.counts.values())
    with run.step("collect") as step:
        rows, sampled = _collected(run, spec, found)
        step.rows = rows.table.num_rows
    learnt, weights, train, tuned = rows.fold("train"), _class_weights(conf.train, found), conf.train, None
    if conf.train.tune:
        tuned = _tuned(run, job.run_id, rows, spec, found, weights)
        train = conf.train.model_copy(update={"model": tuned.model})
    estimator: Estimator | Network
    weight = None
    course: list[Told] = []
    if train.model.sklearn is None:
        estimator, course = distributed.trained(run, job.run_id, spec, found, *prepared(run, found), train.model.torch)
    else:
        with run.step("fit") as step:
            step.rows = learnt.table.num_rows
            weight = _weighed(learnt, weights)
            estimator = train.model.sklearn.fit(spec, learnt.arrays, learnt.y, weight, train.seed)
    model = Model(spec, estimator, found.label, Certificate.issued(run.spark, spec))
    with run.step("evaluate") as step:
        measured = {fold: measure(model, part) for fold in ("validation", "test") if (part := rows.fold(fold)).table.num_rows}
        if conf.split.folds:
            measured["cross_validated"] = _cross_validated(train, rows, found.label, conf.split.folds, weights)
        step.rows = sum(rows.fold(fold).table.num_rows for fold in measured)
        run.sections += _sections(run, model, rows.fold("test"), measured)
    if conf.report.without and "test" in measured:
        measured |= _ablated(run, train, model, rows, weight, measured["test"])
    with run.step("register"):
        params = {
            **train.model.chosen.said,
            "rows": found.of("train") if train.model.torch else learnt.table.num_rows,
        }
        tags = {
            "keyfold.run_id": job.run_id, "keyfold.name": conf.name, "keyfold.rows": str(list(found.version)),
            "keyfold.table": run.featured.name, "keyfold.conf_digest": conf.digest, "keyfold.seed": str(conf.train.seed),
            "keyfold.sampled": f"{sampled:g}", **{f"keyfold.{k}": str(v.value) for k, v in measured.get("test", {}).items()},
        }  # fmt: skip
        files = {
            "spec.json": spec.to_json(),
            "conf.yaml": yaml.dump(conf),
            "environment.json": canonical(registry.environment(model)),
        }
        if run.begins:
            tags["keyfold.start"] = f"{run.begins.name}, {run.begins.digest}"
        if found.stand_ins:
            files[standins.FILE] = found.stand_ins.to_json()
            tags["keyfold.bridge"] = found.stand_ins.digest
        if conf.data.views:
            tags["keyfold.views"] = canonical(feature_table.digests(run))
        if tuned:
            tags["keyfold.tuned"] = canonical(tuned.trials[0].params)
        files["gates.json"] = canonical([gate._asdict() for gate in proven])
        steps = {said.step: {"loss": said.loss, "validation_loss": said.validation} for said in course}
        return registry.register(conf.name, name, model, measured, params, tags, files, steps, tuned)


def _tuned(run: "Run", run_id: str, rows: Set, spec: Spec, found: Examples, weights: tuple[float, float] | None) -> Tuned:
    """The model with the parameters that did best, and the trials, on the page too."""
    conf, train = run.conf, run.conf.train
    assert train is not None
    assert train.tune is not None
    metric = train.tune.measure(train.model)
    with run.step("tune") as step:
        step.rows = rows.table.num_rows
        if train.model.torch:
            score = trying.of_network(run, run_id, spec, found, *prepared(run, found), rows.fold("validation"), metric)
            tuned = trials.tuned(run, train, run_id, score)
        else:
            inside = Set(rows.table.filter(pa.compute.not_equal(rows.table[FOLD], "test")), spec)
            work = trying.Trying.of(inside, _weighed(inside, weights), conf.split.folds, train.seed, metric)
            with work.over(run.spark, train.tune.parallel) as score:
                tuned = trials.tuned(run, train, run_id, score)
    run.sections.append(report.tuning(tuned.metric, tuned.trials, tuned.importance, trials.axes(train.tune, tuned)))
    return tuned


def _ablated(
    run: "Run", train: Train, model: Model, rows: Set, weight: npt.NDArray[np.float64] | None, full: dict[str, Metric]
) -> dict[str, dict[str, Metric]]:
    """What the features of `report.without` gain, on the page and for MLflow."""
    conf, learnt, test = run.conf, rows.fold("train"), rows.fold("test")
    with run.step("without") as step:
        found = [ablated(model, train, learnt, test, weight, names) for names in conf.report.without]
        step.rows = learnt.table.num_rows * len(found)
    run.sections.append(report.ablations([(a.without, {n: (full[n], a.metrics[n], a.gain[n]) for n in a.gain}) for a in found]))
    return {a.name: a.measured for a in found}


def prepared(run: "Run", found: Examples) -> tuple[list[str], tuple[float, float]]:
    """What a network's training needs besides: the columns that identify a row, and the weights of the classes."""
    assert run.conf.train is not None
    return _identifying(run), _class_weights(run.conf.train, found) or (1.0, 1.0)


def one_fit(run: "Run", spec: Spec, found: Examples) -> None:
    """Says how well a scikit-learn model knows the rows that it learnt, some of the train fold; registers nothing."""
    train = run.conf.train
    assert train is not None
    assert train.model.sklearn is not None
    with run.step("fit") as step:
        rows, _ = _collected(run, spec, found)
        some = Set(rows.fold("train").table.slice(0, ONE), spec)
        step.rows = some.table.num_rows
        weight = _weighed(some, _class_weights(train, found))
        model = train.model.sklearn.fit(spec, some.arrays, some.y, weight, train.seed)
    measured = measure(Model(spec, model, found.label, Certificate.issued(run.spark, spec)), some)
    said = ", ".join(f"{name} {metric.value:.4g}" for name, metric in measured.items())
    run.say(f"of {step.rows:,} rows that it learnt itself: {said}")


def decide(run: "Run", version: Registered) -> Registered:
    """The version that is to answer: the new one where it clears `promote_if`, else the champion (DataError: none)."""
    tags = version.tags
    measured = {n: Metric(float(tags[f"keyfold.{n}"]), 0, 0) for n in release.Name.__args__ if f"keyfold.{n}" in tags}  # type: ignore[attr-defined]
    why_not = release.hindrances(run.conf.release, measured)
    if not why_not:
        registry.promote(version)
        run.say(f"{version} is the champion")
        return version
    standing = registry.champion(version.name)
    run.say(f"{version} is not promoted: {'; '.join(why_not)}")
    if standing is None:
        raise DataError(f"{version} is not promoted, and there is no champion to score with: {'; '.join(why_not)}")
    run.say(f"{standing} stays the champion")
    return standing


def measure(model: Model, rows: Set) -> dict[str, Metric]:
    """The metrics of a model on rows."""
    if model.label.classes:
        return metrics.classification(rows.y, model.estimator.probability(rows.arrays), order=rows.order)
    return metrics.regression(rows.y, model.estimator.value(rows.arrays), order=rows.order)


def _collected(run: "Run", spec: Spec, found: Examples) -> tuple[Set, float]:
    """The rows with features on the driver, those of the train fold out of fold; where they would take too much memory, a sample by the key's hash."""
    from pyspark.sql import functions as F

    conf = run.conf
    extra = {c: col(c).cast("string") for c in conf.report.slices} | (
        {conf.report.truth: col(conf.report.truth)} if conf.report.truth else {}
    )
    _check_extra(found, extra)
    order = key_hash(found.rows, _identifying(run), "order")
    # A network reads the train fold from files.
    taken = ("validation", "test") if conf.train and conf.train.model.torch else FOLDS
    share = _share(run, spec, sum(found.of(fold) for fold in taken))
    rows = found.rows.where(col(FOLD).isin(*taken))
    if share < 1:
        rows = rows.where(place(rows, _identifying(run), "sample") < F.lit(round(share * hashing.PARTS)))
        run.say(f"the rows would take too much memory: {share:.1%} of them, chosen by the hash of the key, are used")
    extra |= {NUMBER: col(NUMBER)} if conf.split.folds else {}
    columns = {FOLD: col(FOLD), LABEL: col(LABEL), ORDER: order} | ({WEIGHT: col(WEIGHT)} if found.stand_ins else {})
    columns |= {f"keyfold_extra:{n}": column for n, column in extra.items()}
    table = spec.out_of_fold(PART).transform(rows, [column.alias(name) for name, column in columns.items()]).toArrow()
    return Set(table.sort_by([(ORDER, "ascending")]), spec), share


def _identifying(run: "Run") -> list[str]:
    data = run.conf.data
    return [*data.key, *([data.time] if data.time and data.time not in data.key else [])]


def _check_extra(found: Examples, extra: dict[str, Any]) -> None:
    for name in extra:
        if name not in found.rows.columns:
            raise DataError(f"report: the table has no column `{name}`{nearest(name, found.rows.columns)}")


def _share(run: "Run", spec: Spec, rows: int) -> float:
    # A cell as Arrow, as a column of a sparse matrix, and once more while that is made.
    assert run.conf.train is not None
    needed = rows * sum(out.length or BAG for out in spec.outs.values()) * (8 + 12 + 12)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * run.conf.train.memory_share
    return min(1.0, there / max(1, needed))


def _class_weights(train: Train, found: Examples) -> tuple[float, float] | None:
    """Of the negative and the positive class."""
    label = found.label
    if train.class_weight is None or not label.classes:
        return None
    if train.class_weight == "balanced":
        share = found.counts.get(("train", label.positive), 0) / found.of("train")
        return 0.5 / (1 - share), 0.5 / share
    given = {str(key): value for key, value in train.class_weight.items()}
    negative, positive = (given.get(text_of(value), np.nan) for value in (label.negative, label.positive))
    if np.isnan([negative, positive]).any() or len(given) != 2:
        raise ConfError(
            f"train.class_weight must have the classes {text_of(label.negative)} and {text_of(label.positive)} (got {', '.join(given)})"
        )
    return negative, positive


def _weighed(learnt: Set, weights: tuple[float, float] | None) -> npt.NDArray[np.float64] | None:
    """The weights of classes times those of the rows' layouts, where there are any."""
    weight = None if weights is None else np.where(learnt.y, weights[1], weights[0])
    if WEIGHT not in learnt.table.column_names:
        return weight
    of_rows = learnt.table[WEIGHT].to_numpy()
    return of_rows if weight is None else of_rows * weight


def _sections(run: "Run", model: Model, test: Set, measured: dict[str, dict[str, Metric]]) -> list[report.Section]:
    if not test.table.num_rows or not model.label.classes:
        return [report.metrics(measured)] if measured else []
    p = model.estimator.probability(test.arrays)
    extra = {c.removeprefix("keyfold_extra:"): c for c in test.table.column_names if c.startswith("keyfold_extra:")}
    truth = test.table[extra[run.conf.report.truth]].to_numpy() if run.conf.report.truth else None
    made = [report.evaluation(measured, test.y, p, truth)]
    for name in run.conf.report.slices:
        groups = np.array(test.table[extra[name]].to_pylist(), dtype=object)
        made.append(report.slices(name, metrics.by_slice(test.y, p, groups, order=test.order, replicates=100)))
    return made


def _cross_validated(train: Train, rows: Set, label: Label, folds: int, weights: tuple[float, float] | None) -> dict[str, Metric]:
    """The metrics of rows outside test, each answered by a model that was trained on the other parts."""
    assert train.model.sklearn is not None
    inside = Set(rows.table.filter(pa.compute.not_equal(rows.table[FOLD], "test")), rows.spec)
    number = inside.table[f"keyfold_extra:{NUMBER}"].to_numpy()
    answer = np.full(len(number), np.nan)
    for k in range(folds):
        learnt, held = (Set(inside.table.filter(pa.array(mask)), rows.spec) for mask in (number != k, number == k))
        if held.table.num_rows:
            made = train.model.sklearn.fit(rows.spec, learnt.arrays, learnt.y, _weighed(learnt, weights), train.seed)
            answer[number == k] = made.probability(held.arrays) if label.classes else made.value(held.arrays)
    measure = metrics.classification if label.classes else metrics.regression
    return measure(inside.y, answer, order=inside.order)
