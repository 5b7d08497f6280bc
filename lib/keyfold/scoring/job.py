"""Keyed batch scoring: one row for every key of the period, scored or quarantined with its reason, in one commit."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.conf.table_names import PREDICTED, key_name_fault
from keyfold.core.names import FOLD, PERIOD
from keyfold.core.sql import col
from keyfold.dataset import imputation, labelled_rows
from keyfold.engine import functions as F
from keyfold.engine.arrow import map_batches
from keyfold.engine.session import arrow_batch_settings, parallel_tasks, temporary_settings
from keyfold.errors import DataError
from keyfold.feature_store import table
from keyfold.models import predictor
from keyfold.models.parity import OTHER_BITS
from keyfold.reporting import page
from keyfold.runtime.periods import in_period, period_of
from keyfold.scoring.actions import check_actions, write_actions
from keyfold.scoring.key_check import COPIES, KeyCheck, check_keys
from keyfold.scoring.outcomes import Outcomes, committed_outcomes
from keyfold.split import strata
from keyfold.split.folds import Folds
from keyfold.tracking import model_folder, registry
from keyfold.tracking.registry import CHAMPION, Registered

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.runtime.run import Job, Run

ROWS_PER_FILE = 1_000_000  # rows


def score(run: "Run", version: Registered | None = None, *, strict: bool = False) -> None:
    """Answers every key of the period, unless just that was done (DataError, PromiseError).

    With `strict`, packages of other releases than those that the model was trained with refuse the job.
    """
    conf = run.conf
    with run.job("score") as job:
        for kind in ("predictions", *(f"action {name}" for name in conf.score.actions)):
            run.used(kind).claim()
        table.update_feature_table(run)
        version = version or registry.find_version(conf.score.model or f"models:/{_name(run)}@{CHAMPION}")
        _refuse_other_views(run, version)
        pinned, rows = labelled_rows.pinned_table(run)
        rows = imputation.impute_scoring_rows(run, version, rows)
        period = run.period or _latest(run, rows)
        folds = strata.with_strata(run, labelled_rows.folds_of(run), pinned)
        job.inputs = {run.featured.name: pinned, "model": str(version)}
        job.run_id = run.identity("score", rows=pinned, model=version.pin, period=period, folds=folds.identity)
        job.model = version
        run.facts["scored period"] = period
        run.verdict = run.verdict or page.Verdict.of(f"{version} answers", registry.test_metrics(version))
        _refuse_taken_names(run)
        with run.predictions.lock(period, run.say):
            with run.step("check") as step:
                rows = rows.where(in_period(conf.data, rows, period)).drop(PERIOD).withColumn(PERIOD, F.lit(period))
                found = check_keys(run, job, rows, pinned, period)
                step.rows = job.counts["read"] = found.read
            if not found.keys:
                raise DataError(f"table `{run.featured.name}` has no row with a key in period {period}{_periods(run)}")
            outcome = run.once(
                job,
                lambda: committed_outcomes(run, job.run_id, period, found),
                lambda: _score(run, job, version, folds, found, period, strict=strict),
                lambda _: f"period {period} was scored before by {version}; nothing new was committed",
                lambda outcome: outcome.told(run),
            )
            if conf.score.actions:
                write_actions(run, job.run_id, period, outcome.counts["scored"], outcome.mean)


def _refuse_other_views(run: "Run", version: Registered) -> None:
    learnt, now = json.loads(version.tags.get("keyfold.views", "{}")), table.view_digests(run)
    for name in {*learnt, *now}:
        if learnt.get(name) != now.get(name) and "keyfold.manifest" in version.tags:
            raise DataError(
                f"{version} learnt from view `{name}` as definition {learnt.get(name, 'none')} makes it, and the view is now of "
                f"definition {now.get(name, 'none')}; train again, or bring the former definition back"
            )


def _refuse_taken_names(run: "Run") -> None:
    if same := [name for name in run.conf.data.key if name.casefold() in PREDICTED]:
        raise DataError(key_name_fault(same[0], "predictions"))


def _name(run: "Run") -> str:
    return (run.conf.train and run.conf.train.register_as) or run.conf.name


def _latest(run: "Run", rows: "DataFrame") -> str:
    found = rows.select(F.max(period_of(run.conf.data, rows))).collect()[0][0]
    if found is None:
        raise DataError(f"table `{run.featured.name}` is empty: there is nothing to score")
    return str(found)


def _periods(run: "Run") -> str:
    rows = run.featured.read()
    found = rows.select(period_of(run.conf.data, rows).alias(PERIOD)).distinct().sort(PERIOD, ascending=False).take(6)
    return f" (periods there: {', '.join(str(row[0]) for row in found)})"


def _score(
    run: "Run", job: "Job", version: Registered, folds: Folds, found: KeyCheck, period: str, *, strict: bool
) -> Outcomes:  # fmt: skip
    with run.step("load"), tempfile.TemporaryDirectory() as folder:
        at = registry.fetch_model(version, Path(folder), run.conf.score.trust)
        if model_folder.is_from_0_1(version.tags):
            run.say(f"{version} {model_folder.ONLY_OWN}")
        model, packed = predictor.load_predictor(at), predictor.pack_folder(at)
        if (parity := model.parity).differ:
            run.say(f"{version}: {OTHER_BITS} ({parity})")
            run.facts["predictions that differ here"] = str(parity)
        _compare_environments(run, version, model_folder.package_differences(at), strict=strict)
    check_actions(run.conf.score.actions, model.scores_classes)
    model.check_columns(found.sound)  # the whole job, where a column is missing or of another type
    Outcomes(found.read, {"scored": found.read - found.refused}).check(run)
    with run.step("predict") as step:
        answered = _answered(
            run, model, predictor.bytes_digest(packed), packed, labelled_rows.with_fold(run, folds, found.sound, FOLD)
        )
        if found.repeated is not None:
            answered = answered.unionByName(_refusals(folds, found.repeated), allowMissingColumns=True)
        result = answered.withColumns(
            {
                "period": F.lit(period), "model": F.lit(version.name), "model_version": F.lit(int(version.version)),
                "spec_digest": F.lit(model.digest), "run_id": F.lit(job.run_id), "scored_at": F.current_timestamp(),
            }
        ).select(*map(col, [*run.conf.data.key, *PREDICTED]))  # fmt: skip
        # As many files as there are tasks at once, and not as many as the table had.
        result = result.coalesce(max(parallel_tasks(run.spark), -(-found.keys // ROWS_PER_FILE)))
        told: dict[str, Any] = {"counts": {"read": found.read, "refused": found.refused}} | (
            {"proven": found.proof} if found.proof else {}
        )
        now: list[Outcomes] = []

        def check() -> None:
            now[:] = [Outcomes.of(run, found.read, period)]
            now[0].check(run)

        keys = {period: found.keys}
        ordered = ("bigint", "int", "string", "date", "timestamp", "decimal")
        indexed = [c for c in run.conf.data.key if result.schema[c].dataType.simpleString().split("(")[0] in ordered]
        with temporary_settings(run.spark, arrow_batch_settings(found.sound.schema, [*run.conf.data.key, *model.columns])):
            run.predictions.replace(
                result, "period", keys, indexed=[*indexed, "probability"], check=check, recorded=True, job="score",
                run_id=job.run_id, model=str(version), **told,
            )  # fmt: skip
        step.rows = found.keys
    run.facts |= {"rows a second": round(found.keys / step.seconds)}
    return now[0]


def _compare_environments(run: "Run", version: Registered, differences: list[str], *, strict: bool) -> None:
    if differences and strict:
        raise DataError(f"the packages here are not those of {version}: {'; '.join(differences)} (--strict)")
    if differences:
        run.say(f"the packages here are not those of {version}: {'; '.join(differences)}")
        run.facts["packages that differ"] = "; ".join(differences)


def _answered(run: "Run", model: predictor.Predictor, digest: str, packed: bytes, rows: "DataFrame") -> "DataFrame":
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import DataType, DoubleType, StringType, StructField, StructType

    key = run.conf.data.key
    names = list(dict.fromkeys([*key, *model.columns, FOLD]))
    added: dict[str, DataType] = {"status": StringType(), "reason": StringType(), "fold": StringType()}
    added |= {"prediction": from_arrow_type(model.prediction_type), "probability": DoubleType()}
    schema = StructType([rows.schema[k] for k in key] + [StructField(name, type_) for name, type_ in added.items()])
    return map_batches(rows.select(*map(col, names)), partial(predictor.predict_batches, packed, digest, tuple(key)), schema)


def _refusals(folds: Folds, repeated: "DataFrame") -> "DataFrame":
    reason = F.concat(F.lit("the key stands "), F.col(COPIES).cast("string"), F.lit(" times in the period"))
    said: Any = repeated.withColumns({"status": F.lit("quarantined"), "reason": reason}).drop(COPIES)
    known = set(folds.columns) <= set(said.columns)  # of a repeated key nothing but the key is there
    return folds.add(said, "fold") if known else said.withColumn("fold", F.lit(None).cast("string"))
