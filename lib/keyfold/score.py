"""Keyed batch scoring: one row for every key of the period, scored or quarantined with its reason, in one commit."""

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from keyfold import answers, examples, feature_table, registry, report, standins, strata
from keyfold.aside import quarantine
from keyfold.errors import DataError
from keyfold.ingest import PERIOD, period_of
from keyfold.models import Model, label_type
from keyfold.registry import CHAMPION, Registered
from keyfold.section import Section
from keyfold.split import FOLD, Folds
from keyfold.sql import col
from keyfold.tables import Version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.run import Job, Run

RESULT = (
    "period", "status", "reason", "fold", "prediction", "probability", "model", "model_version", "spec_digest",
    "run_id", "scored_at",
)  # fmt: skip


class Score(Section):
    """Where predictions go, and whose they are."""

    into: str | None = Field(
        None, pattern=r"^\w+(\.\w+){1,2}$", examples=["ml.churn_scores"], description="default: <name>.predictions"
    )
    model: str | None = Field(
        None, pattern=r"^models:/[^/@]+(@[\w-]+|/\d+)$", examples=["models:/churn@champion", "models:/churn/3"],
        description="default: the champion of the conf's name",
    )  # fmt: skip


def score(run: "Run", version: Registered | None = None) -> None:
    """Answers every key of the period, unless just that was done (DataError, PromiseError)."""
    from pyspark.sql import functions as F

    conf = run.conf
    with run.job("score") as job:
        feature_table.ready(run)
        version = version or registry.find(conf.score.model or f"models:/{_name(run)}@{CHAMPION}")
        _refuse_other_views(run, version)
        pinned, rows = examples.pinned(run)
        rows = standins.served(run, version, rows)
        period = run.period or _latest(run, rows)
        folds = strata.ready(run, examples.folds(run), pinned)
        job.inputs = {run.featured.name: pinned, "model": str(version)}
        sections = {"key": conf.data.key, "into": run.predictions.name, "split": folds.identity}
        job.run_id = run.identity("score", sections, rows=pinned, model=[version.name, version.version], period=period)
        run.facts |= {"scored period": period, "model that answers": str(version)}
        with run.step("check") as step:
            rows = rows.where(period_of(run.conf.data, rows) == period).drop(PERIOD).withColumn(PERIOD, F.lit(period))
            sound, refused, keys = _checked(run, job, rows, pinned)
            step.rows = job.counts["read"]
        if not keys:
            raise DataError(f"table `{run.featured.name}` has no row with a key in period {period}{_periods(run)}")
        if _done(run, job.run_id, period, keys):
            job.status = "done before"
            run.say(f"period {period} was scored before by {version}; nothing new was committed")
        else:
            _score(run, job, version, folds, sound, refused, period, keys)
        _account(run, job, period)


def _refuse_other_views(run: "Run", version: Registered) -> None:
    learnt, now = json.loads(version.tags.get("keyfold.views", "{}")), feature_table.digests(run)
    for name in {*learnt, *now}:
        if learnt.get(name) != now.get(name):
            raise DataError(
                f"{version} learnt from view `{name}` as definition {learnt.get(name, 'none')} makes it, and the view is now of "
                f"definition {now.get(name, 'none')}; train again, or bring the former definition back"
            )


def _name(run: "Run") -> str:
    return (run.conf.train and run.conf.train.register_as) or run.conf.name


def _latest(run: "Run", rows: "DataFrame") -> str:
    from pyspark.sql import functions as F

    found = rows.select(F.max(period_of(run.conf.data, rows))).collect()[0][0]
    if found is None:
        raise DataError(f"table `{run.featured.name}` is empty: there is nothing to score")
    return str(found)


def _periods(run: "Run") -> str:
    rows = run.featured.read()
    found = rows.select(period_of(run.conf.data, rows).alias(PERIOD)).distinct().sort(PERIOD, ascending=False).take(6)
    return f" (periods there: {', '.join(str(row[0]) for row in found)})"


def _checked(run: "Run", job: "Job", rows: "DataFrame", pinned: Version) -> "tuple[DataFrame, DataFrame | None, int]":
    """The rows with a key of their own, one row for each repeated key, and the number of keys."""
    from pyspark.sql import functions as F

    key = run.conf.data.key
    if taken := sorted(set(key) & set(RESULT)):
        raise DataError(f"data.key: `{taken[0]}` is the name of a column of every prediction table; rename it at ingest")
    if run.featured.unique(key, pinned.version):
        job.counts["read"] = read = rows.count()
        return rows, None, read
    named = rows.where(_all_there(key))
    repeated = named.groupBy(*map(col, key)).agg(F.count("*").alias("keyfold_n")).where("keyfold_n > 1").persist()
    bad, copies = repeated.agg(F.count("*"), F.coalesce(F.sum("keyfold_n"), F.lit(0))).collect()[0]
    read = rows.count()
    without = read - named.count()
    job.counts = {"read": read}
    if without:
        missing = rows.where(~_all_there(key)).withColumn("keyfold_reason", F.lit("the key is NULL"))
        aside = missing
    if bad:
        copied = named.join(repeated, key, "left_semi").withColumn(
            "keyfold_reason", F.lit("the key stands more than once in the period")
        )
        aside = missing.unionByName(copied) if without else copied
    if without or bad:
        quarantine(run, job.run_id, aside, without + copies)
        run.say(
            f"{without + copies:,} rows went to `{run.quarantine.name}`: {without:,} without a key, {copies:,} of {bad:,} repeated keys"
        )
    if not bad:
        return named, None, read - without
    return named.join(repeated, key, "left_anti"), repeated, read - without - copies + bad


def _all_there(key: Sequence[str]) -> Any:
    there = col(key[0]).isNotNull()
    for name in key[1:]:
        there = there & col(name).isNotNull()
    return there


def _done(run: "Run", run_id: str, period: str, keys: int) -> bool:
    """Whether the period's own rows are all of this run."""
    if not run.predictions.exists():
        return False
    there = run.predictions.read().where(col("period") == period).groupBy("run_id").count().collect()
    return [(row["run_id"], row["count"]) for row in there] == [(run_id, keys)]


def _score(
    run: "Run", job: "Job", version: Registered, folds: Folds, sound: "DataFrame", refused: "DataFrame | None",
    period: str, keys: int,
) -> None:  # fmt: skip
    from pyspark.sql import functions as F

    with run.step("load"), tempfile.TemporaryDirectory() as folder:
        at = registry.fetch(version, Path(folder))
        model, packed = Model.load(at), answers.packed(at)
    model.spec.transform(sound)  # refuses the whole job where a column is missing or of another type
    with run.step("predict") as step:
        answered = _answered(run, model, version, packed, folds.add(sound, FOLD))
        if refused is not None:
            answered = answered.unionByName(_refusals(folds, refused), allowMissingColumns=True)
        result = answered.withColumns(
            {
                "period": F.lit(period), "model": F.lit(version.name), "model_version": F.lit(int(version.version)),
                "spec_digest": F.lit(model.spec.digest), "run_id": F.lit(job.run_id), "scored_at": F.current_timestamp(),
            }
        ).select(*map(col, [*run.conf.data.key, *RESULT]))  # fmt: skip
        run.predictions.replace(result, "period", {period: keys}, job="score", run_id=job.run_id, model=str(version))
        step.rows = keys


def _answered(run: "Run", model: Model, version: Registered, packed: bytes, rows: "DataFrame") -> "DataFrame":
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import DataType, DoubleType, StringType, StructField, StructType

    key = run.conf.data.key
    names = list(dict.fromkeys([*key, *model.spec.inputs, FOLD]))
    # By number: PySpark's mapInArrow cannot find a column whose name has dots or back-quotes.
    numbered = [col(name).alias(f"_{i}") for i, name in enumerate(names)]
    taken = rows.select(*numbered)
    added: dict[str, DataType] = {"status": StringType(), "reason": StringType(), "fold": StringType()}
    added |= {"prediction": from_arrow_type(label_type(model.label)), "probability": DoubleType()}
    schema = StructType([rows.schema[k] for k in key] + [StructField(name, type_) for name, type_ in added.items()])
    digest = version.tags["keyfold.manifest"]
    return taken.mapInArrow(partial(answers.batches, packed, digest, tuple(key), names), schema)


def _refusals(folds: Folds, repeated: "DataFrame") -> "DataFrame":
    from pyspark.sql import functions as F

    reason = F.concat(F.lit("the key stands "), F.col("keyfold_n").cast("string"), F.lit(" times in the period"))
    said = repeated.withColumns({"status": F.lit("quarantined"), "reason": reason}).drop("keyfold_n")
    known = set(folds.columns) <= set(said.columns)  # of a repeated key nothing but the key is there
    return folds.add(said, "fold") if known else said.withColumn("fold", F.lit(None).cast("string"))


def _account(run: "Run", job: "Job", period: str) -> None:
    """Counts what the table now holds, for the ledger and the report."""
    from pyspark.sql import functions as F

    rows = run.predictions.read().where(col("period") == period)
    bins = F.floor(F.least(col("probability") * 20, F.lit(19.0)))
    found = rows.groupBy("status", "reason", bins.alias("bin")).count().collect()
    of = {status: sum(r["count"] for r in found if r.status == status) for status in ("scored", "quarantined")}
    job.counts |= of
    reasons: dict[str, int] = {}
    for row in found:
        if row.reason is not None:
            reasons[row.reason] = reasons.get(row.reason, 0) + row["count"]
    run.sections.append(report.reconciliation({"read": job.counts["read"], **of}, reasons, title="Rows scored"))
    heights = np.zeros(20, int)
    for row in found:
        if row.bin is not None:
            heights[int(row.bin)] += row["count"]
    if heights.any():
        run.sections.append(report.scores(np.linspace(0, 1, 21), heights))
