"""Keyed batch scoring: one row for every key of the period, scored or quarantined with its reason, in one commit."""

import json
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.table_names import PREDICTED, SCORED, key_name_fault
from keyfold.core.names import FOLD, PERIOD
from keyfold.dataset import imputation, labelled_rows
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.table_versions import TableVersion
from keyfold.errors import DataError
from keyfold.feature_store import table
from keyfold.models import predictor
from keyfold.models.parity import OTHER_BITS
from keyfold.reporting import page
from keyfold.runtime.periods import in_period, latest_period, period_of
from keyfold.scoring.actions import check_actions, write_actions
from keyfold.scoring.key_check import COPIES, KeyCheck, check_keys
from keyfold.scoring.outcomes import Outcomes, committed_outcomes
from keyfold.scoring.page_sections import outcome_sections
from keyfold.split import strata
from keyfold.split.folds import Folds
from keyfold.tracking import model_folder, registry, tags
from keyfold.tracking.registry import CHAMPION, Registered
from keyfold.tracking.scoring_runs import log_scoring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keyfold.conf.use_case import Conf
    from keyfold.runtime.account import Job
    from keyfold.runtime.run import Run

ROWS_PER_FILE = 1_000_000  # rows
# Types of key columns whose minimum and maximum each file records.
_INDEXED = ("bigint", "int", "string", "date", "timestamp", "decimal")


class ScoringInput(NamedTuple):
    """Input of a scoring: the rows of a period of one version of the table, one version of the model, and the folds."""

    version: Registered
    pinned: TableVersion
    period: str
    rows: Frame
    folds: Folds


def score(run: "Run", version: Registered | None = None, *, strict: bool = False) -> None:
    """Scores every key of the period in one commit; does nothing if the same rows were scored before.

    version: the version of the model to score with; None uses `score.model` or else the champion.
    strict: raise DataError if the releases of packages differ from those of the training.
    Raises DataError if there is no model or no row, or if more rows than `score.max_quarantine` cannot be scored; PromiseError if files
    of the model were changed.
    """
    with run.job("score") as job:
        for kind in ("predictions", *(f"action {name}" for name in run.conf.score.actions)):
            run.used(kind).claim()
        table.update_feature_table(run)
        task = _scoring_input(run, version or registry.find_version(run.conf.score.model or _champion(run.conf)))
        _describe(run, job, task)
        _refuse_reserved_names(run.conf.data.key)
        with run.predictions.lock(task.period, run.say):
            keys = _check_keys(run, job, task)
            limit = run.conf.score.max_quarantine
            outcomes = run.once(
                job,
                lambda: committed_outcomes(run.predictions, job.run_id, task.period, keys.keys, keys.read, limit),
                lambda: _score(run, job, task, keys, strict=strict),
                lambda _: f"period {task.period} was scored before by {task.version}; nothing new was committed",
                lambda outcomes: outcomes.counts,
            )
            if job.status != "done before":
                job.mlflow_run = log_scoring(run.conf.name, task.version, task.period, job.run_id, outcomes.counts)
            job.sections += outcome_sections(run.predictions, task.period, outcomes)
            if run.conf.score.actions:
                job.sections.append(write_actions(run, job.run_id, task.period, outcomes))


def _champion(conf: "Conf") -> str:
    return f"models:/{(conf.train and conf.train.register_as) or conf.name}@{CHAMPION}"


def _scoring_input(run: "Run", version: Registered) -> ScoringInput:
    _refuse_other_views(run, version)
    pinned, rows = labelled_rows.pinned_table(run)
    rows = imputation.impute_scoring_rows(run, version, rows)
    period = run.period or latest_period(run.conf.data, rows, run.featured.name)
    folds = strata.with_strata(run, labelled_rows.folds_of(run), pinned)
    return ScoringInput(version, pinned, period, in_period(run.conf.data, rows, period), folds)


def _describe(run: "Run", job: "Job", task: ScoringInput) -> None:
    """Sets the job's inputs and identity, and the facts and verdict on its page."""
    version = task.version
    job.inputs = {run.featured.name: task.pinned, "model": str(version)}
    job.run_id = run.identity("score", rows=task.pinned, model=version.pin, period=task.period, folds=task.folds.identity)
    job.model = version
    job.facts["scored period"] = task.period
    job.verdict = run.verdict or page.Verdict.of(f"scored by {version}", registry.test_metrics(version))


def _check_keys(run: "Run", job: "Job", task: ScoringInput) -> KeyCheck:
    with run.step("check") as step:
        keys = check_keys(run, job, task.rows, task.pinned, task.period)
        step.rows = job.counts["read"] = keys.read
    if not keys.keys:
        raise DataError(f"table `{run.featured.name}` has no row with a key in period {task.period}{_known_periods(run)}")
    return keys


def _refuse_other_views(run: "Run", version: Registered) -> None:
    trained, current = json.loads(version.tags.get(tags.VIEWS, "{}")), table.view_digests(run)
    for name in {*trained, *current}:
        if trained.get(name) != current.get(name) and tags.MANIFEST in version.tags:
            raise DataError(
                f"{version} was trained on definition {trained.get(name, 'none')} of view `{name}`, whose definition is now "
                f"{current.get(name, 'none')}; train again, or restore the former definition"
            )


def _refuse_reserved_names(key: list[str]) -> None:
    if same := [name for name in key if name.casefold() in PREDICTED]:
        raise DataError(key_name_fault(same[0], "predictions"))


def _known_periods(run: "Run") -> str:
    rows = run.featured.frame()
    periods = rows.compute(period_of(run.conf.data, rows.types), []).distinct().sort([PERIOD], descending=[PERIOD]).head(6).rows()
    return f" (its periods: {', '.join(str(row[PERIOD]) for row in periods)})"


def _score(run: "Run", job: "Job", task: ScoringInput, keys: KeyCheck, *, strict: bool) -> Outcomes:
    model, packed = _load_model(run, task.version, strict=strict)
    check_actions(run.conf.score.actions, model.label)
    _refuse_other_columns(run, task.version, model)
    model.check_columns(keys.unique)  # fails the whole job if a column is missing or has another type
    Outcomes(keys.read, {"scored": keys.read - keys.refused}).check(run.conf.score.max_quarantine, run.quarantine.name)
    with run.step("predict") as step:
        outcomes = _commit(run, job.run_id, _predict(run, job.run_id, model, packed, task, keys), model.columns, task, keys)
        step.rows = keys.keys
    run.jobs[-1].facts["rows a second"] = round(keys.keys / step.seconds)
    return outcomes


def _refuse_other_columns(run: "Run", version: Registered, model: predictor.Predictor) -> None:
    """DataError if the predictions table has answers of another kind of label, or with reasons if the new ones have none."""
    if not run.predictions.exists():
        return
    there = [name for name in run.predictions.frame().columns if name not in (*run.conf.data.key, *SCORED[0], *SCORED[1])]
    if set(there) != set(model.answer_types):
        raise DataError(
            f"{version} answers with the columns {', '.join(model.answer_types)}, and table `{run.predictions.name}` has "
            f"{', '.join(there)}, of a model with another kind of label or other `score.reasons`; name another table in score.into"
        )


def _load_model(run: "Run", version: Registered, *, strict: bool) -> tuple[predictor.Predictor, bytes]:
    """The model, and its folder as bytes for the workers."""
    with run.step("load"), tempfile.TemporaryDirectory() as folder:
        path = registry.fetch_model(version, Path(folder), run.conf.score.trust)
        if model_folder.is_from_0_1(version.tags):
            run.say(f"{version} {model_folder.ONLY_OWN}")
        model, packed = predictor.load_predictor(path).with_reasons(run.conf.score.reasons or 0), predictor.pack_folder(path)
        if (parity := model.parity).differ:
            run.say(f"{version}: {OTHER_BITS} ({parity})")
            run.jobs[-1].facts["predictions that differ here"] = str(parity)
        if message := _compare_environments(version, model_folder.package_differences(path), strict=strict):
            run.say(message[0])
            run.jobs[-1].facts["packages that differ"] = message[1]
    return model, packed


def _compare_environments(version: Registered, differences: list[str], *, strict: bool) -> tuple[str, str] | None:
    """A sentence and the differences of the packages; None if there are none. DataError if there are some and `strict` is set."""
    if not differences:
        return None
    sentence = f"packages differ from those that {version} was trained with: {'; '.join(differences)}"
    if strict:
        raise DataError(f"{sentence} (--strict)")
    return sentence, "; ".join(differences)


def _predict(
    run: "Run", run_id: str, model: predictor.Predictor, packed: bytes, task: ScoringInput, keys: KeyCheck
) -> Frame:  # fmt: skip
    """The rows of the predictions table, one per key, which are computed in the write."""
    rows = labelled_rows.with_fold(run, task.folds, keys.unique, FOLD)
    scored = _apply_model(run.conf, model, predictor.bytes_digest(packed), packed, rows)
    if keys.duplicates is not None:
        scored = scored.union(_refused(task.folds, keys.duplicates, _outcome_types(model)))
    constants = {
        "period": pa.scalar(task.period), "model": pa.scalar(task.version.name),
        "model_version": pa.scalar(int(task.version.version), pa.int32()), "spec_digest": pa.scalar(model.digest),
        "run_id": pa.scalar(run_id), "scored_at": pa.scalar(datetime.now(UTC), pa.timestamp("us", "UTC")),
    }  # fmt: skip
    predictions = scored.with_constants(constants).select([*run.conf.data.key, *SCORED[0], *model.answer_types, *SCORED[1]])
    # As many files as parallel tasks, for any number of files of the table.
    return predictions.coalesce(max(run.engine.tasks, -(-keys.keys // ROWS_PER_FILE)))


def _commit(
    run: "Run", run_id: str, predictions: Frame, columns: "Sequence[str]", task: ScoringInput, keys: KeyCheck
) -> Outcomes:  # fmt: skip
    """Replaces the period in one commit. If too many rows have no prediction, restores the former rows and raises DataError."""
    key, committed = run.conf.data.key, list[Outcomes]()
    metadata: dict[str, Any] = {"counts": {"read": keys.read, "refused": keys.refused}}
    metadata |= {"proven": keys.proof} if keys.proof else {}
    types = predictions.types
    indexed = [name for name in key if types[name].split("(")[0] in _INDEXED]

    def check() -> None:
        committed.append(Outcomes.of(run.predictions, task.period, keys.read))
        committed[0].check(run.conf.score.max_quarantine, run.quarantine.name)

    with keys.unique.unmeasured([*key, *columns]):
        run.predictions.replace(
            predictions, "period", {task.period: keys.keys}, indexed=[*indexed, "probability"], check=check, recorded=True,
            job="score", run_id=run_id, model=str(task.version), **metadata,
        )  # fmt: skip
    return committed[0]


def _apply_model(conf: "Conf", model: predictor.Predictor, digest: str, packed: bytes, rows: Frame) -> Frame:
    key = conf.data.key
    names = list(dict.fromkeys([*key, *model.columns, FOLD]))
    kernel = partial(predictor.predict_batches, packed, digest, tuple(key), conf.score.reasons or 0)
    return rows.select(names).map_batches(kernel, rows.arrow_types(key) | _outcome_types(model))


def _outcome_types(model: predictor.Predictor) -> dict[str, pa.DataType]:
    texts = dict.fromkeys(("status", "reason", "fold"), pa.string())
    return texts | model.answer_types


def _refused(folds: Folds, duplicates: Frame, types: "Mapping[str, pa.DataType]") -> Frame:
    """The rows of duplicate keys; their fold is NULL if it depends on columns other than the key."""
    key = [name for name in duplicates.columns if name != COPIES]
    rows = duplicates.compute(Computed(types, partial(_refusals, types)), key)
    return folds.add(rows, "fold") if set(folds.columns) <= set(key) else rows


def _refusals(types: "Mapping[str, pa.DataType]", batch: pa.RecordBatch) -> list[pa.Array]:
    n = batch.num_rows
    reason = pc.binary_join_element_wise("the key occurs ", batch[COPIES].cast(pa.string()), " times in the period", "")
    given = {"status": pa.repeat("quarantined", n), "reason": reason}
    return [given.get(name, pa.nulls(n, type_)) for name, type_ in types.items()]
