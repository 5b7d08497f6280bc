"""Scoring beside what it is made of and beside other ways: the same scan, the same models, the same columns written.

`floor` is the scan to `noop`. The parts in memory run in as many processes as there are cores, on Arrow batches of 20,000 rows.
The peer is MLflow's spark_udf of the plain scikit-learn model. Images are made by keyfold and by a bare Pillow loop.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from common import arguments, run_cases

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from keyfold.runtime.run import Run

NAMES = [f"x{i}" for i in range(6)]
MODELS: dict[str, dict[str, object]] = {
    "light": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "heavy": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "params": {"max_iter": 100}},
}
BATCH = 20_000
OUTCOME = ("status", "reason", "fold", "prediction", "probability")


def conf(model: str, into: str) -> Any:
    """A use case of six numbers."""
    from keyfold.conf.use_case import parse_conf

    return parse_conf(
        {
            "name": "bench",
            "data": {"table": "bench.rows", "key": ["id"], "time": "seen", "period": "month", "label": "y", "positive": True},
            "features": {name: {"numeric": {"input_col": name, "scale": "standard"}} for name in NAMES},
            "train": {"model": {"sklearn": MODELS[model]}, "register_as": model},
            "score": {"into": into},
        }
    )


def rows(spark: "SparkSession", month: int, many: int, *, labelled: bool) -> "DataFrame":
    """Six normal numbers and a key."""
    numbers = [f"randn({month * 10 + i}) {name}" for i, name in enumerate(NAMES)]
    made = spark.range(0, many, 1, 8).selectExpr("id", f"timestamp'2026-0{month}-01' seen", *numbers)
    return made.selectExpr("*", "x0 + x1 * x2 + rand(5) > 0.5 y" if labelled else "cast(null as boolean) y")


def batches(table: pa.Table) -> list[pa.RecordBatch]:
    """As Spark hands them to Python."""
    return table.to_batches(max_chunksize=BATCH)


def work(of: Callable[[Any, list[Any]], None], with_: object, some: list[Any], gate: Any, done: Any) -> None:
    """In a process: ready, wait, work, tell; one thread."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        of(with_, some[:1])
        gate.wait()
        of(with_, some)
        done.wait()


def in_processes(of: Callable[[Any, list[Any]], None], with_: object, many: list[Any]) -> Callable[[], float]:
    """Seconds until as many processes as cores have each done its part; they have it all, and have tried, before the clock starts."""

    def timed() -> float:
        # Spawned: a process that was forked after OpenMP had run would hang in it.
        cores, fresh = os.cpu_count() or 1, multiprocessing.get_context("spawn")
        gate, done = fresh.Barrier(cores + 1), fresh.Barrier(cores + 1)
        workers = [fresh.Process(target=work, args=(of, with_, many[part::cores], gate, done)) for part in range(cores)]
        for worker in workers:
            worker.start()
        gate.wait()
        start = time.perf_counter()
        done.wait()
        took = time.perf_counter() - start
        for worker in workers:
            worker.join()
        return took

    return timed


def features(spec: Any, some: list[pa.RecordBatch]) -> None:
    """The spec's Arrow form."""
    for batch in some:
        spec.arrow(batch)


def bare(estimator: Any, some: list[Any]) -> None:
    """The estimator alone, on its matrices."""
    for matrix in some:
        estimator.predict_proba(matrix)


def identity(incoming: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What went in."""
    yield from incoming


def same_columns(incoming: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The key and what `score` says of it, all made up."""
    for batch in incoming:
        number, n = batch.column(1), batch.num_rows
        scored, train = (pa.repeat(pa.scalar(text), n) for text in ("scored", "train"))
        said = [scored, pa.nulls(n, pa.string()), train, pc.greater(number, 0.0), number]
        yield pa.RecordBatch.from_arrays([batch.column(0), *said], names=["id", *OUTCOME])


def spark_cases(run: "Run", model: str, folder: Path) -> dict[str, Callable[[], object]]:
    """By case what to run."""
    import mlflow
    from pyspark.sql import functions as F

    from keyfold.engine.session import arrow_batch_settings, temporary_settings
    from keyfold.models import predictor
    from keyfold.models.model import Model
    from keyfold.runtime.run import Run
    from keyfold.scoring.job import score
    from keyfold.tracking import registry

    spark = run.spark
    version = registry.find_version(f"models:/{model}@champion")
    at = registry.fetch_model(version, folder)
    loaded = Model.load(at)
    table = run.rows.read().where("month(seen) = 2").select("id", *NAMES)
    taken = batches(table.toArrow())
    estimator = loaded.estimator.estimator  # type: ignore[union-attr]
    matrices = [loaded.estimator.matrix(loaded.spec.arrow(batch)) for batch in taken]  # type: ignore[union-attr]
    plain = mlflow.sklearn.log_model(
        estimator, name="plain", serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba"
    )
    peer = mlflow.pyfunc.spark_udf(spark, plain.model_uri, result_type="array<double>", env_manager="local")
    packed = predictor.pack_folder(at)
    turn = iter(range(10**6))

    def whole() -> float:
        one = Run(conf(model, f"{model}_{next(turn)}.predictions"), spark, "2026-02")
        start = time.perf_counter()
        score(one, version)
        return time.perf_counter() - start

    def answered() -> "DataFrame":
        from keyfold.scoring import job as module

        with_fold = table.withColumn("keyfold_fold", F.lit("train")).withColumn(module.FOLD, F.lit("train"))
        return stamped(module._apply_model(["id"], loaded, predictor.bytes_digest(packed), packed, with_fold))

    def stamped(said: "DataFrame") -> "DataFrame":
        more = {"period": "2026-02", "model": model, "model_version": 1, "spec_digest": "x" * 32, "run_id": "x" * 32}
        return said.withColumns({name: F.lit(value) for name, value in more.items()}).withColumn(
            "scored_at", F.current_timestamp()
        )

    def written(frame: "DataFrame") -> None:
        with temporary_settings(spark, arrow_batch_settings(table.schema, table.columns)):
            frame.coalesce(8).write.format("delta").partitionBy("period").save(str(folder / f"plain_{next(turn)}"))

    def without_a_model() -> "DataFrame":
        return stamped(table.mapInArrow(same_columns, answered().select("id", *OUTCOME).schema))

    @F.pandas_udf("double")
    def pandas(frames: Iterator[pd.DataFrame]) -> Iterator[pd.Series]:  # type: ignore[type-arg]
        for frame in frames:
            yield pd.Series(estimator.predict_proba(frame.to_numpy())[:, 1])

    def noop(frame: "DataFrame", settings: dict[str, str] | None = None) -> None:
        with temporary_settings(spark, settings or {}):
            frame.write.format("noop").mode("overwrite").save()

    struct = F.struct(*NAMES)
    return {
        "floor: scan": lambda: noop(table),
        "identity mapInArrow": lambda: noop(table.mapInArrow(identity, table.schema)),
        "features in memory": in_processes(features, loaded.spec, taken),
        "bare model in memory": in_processes(bare, estimator, matrices),
        "the same columns without a model, plain Delta write": lambda: written(without_a_model()),
        "answers to noop": lambda: noop(answered(), arrow_batch_settings(table.schema, table.columns)),
        "answers, plain Delta write": lambda: written(answered()),
        "score": whole,
        "iterator pandas_udf to noop": lambda: noop(table.select("id", pandas(struct))),
        "spark_udf to noop": lambda: noop(table.select("id", peer(struct))),
    }


def scoring(spark: "SparkSession", models: list[str], many: int, repeats: int, file: Path | None) -> None:
    """Both models, a table each."""
    from keyfold.runtime.run import Run
    from keyfold.training.job import train
    from keyfold.training.promotion import promote_or_keep

    run = Run(conf("light", "x.predictions"), spark)
    for month, count in ((1, 100_000), (2, many)):
        rows(spark, month, count, labelled=month == 1).write.format("delta").mode("append").save(str(run.rows.path))
    for model in models:
        one = Run(conf(model, "x.predictions"), spark, "2026-02")
        promote_or_keep(one, train(one))
        with tempfile.TemporaryDirectory() as folder:
            cases = spark_cases(one, model, Path(folder))
            found = run_cases(
                f"{model}: {MODELS[model]['estimator']}", cases, "floor: scan", "spark_udf to noop", repeats, rows=many, file=file
            )
        took = {record["case"]: record["median"] for record in found}
        made_of = took["identity mapInArrow"] + took["features in memory"] + took["bare model in memory"]
        print(f"\nscore / (identity + features + model): {took['score'] / made_of:.2f}")
        written = took["the same columns without a model, plain Delta write"]
        written += took["features in memory"] + took["bare model in memory"]
        print(f"score / (the same columns written plainly + features + model): {took['score'] / written:.2f}")
        print(f"score / plain Delta write: {took['score'] / took['answers, plain Delta write']:.2f}")
        print(f"spark_udf / answers to noop: {took['spark_udf to noop'] / took['answers to noop']:.2f}")
        print(f"spark_udf / score: {took['spark_udf to noop'] / took['score']:.2f}\n")


# --- images ---


def pillow(_: None, some: list[tuple[Path, Path]]) -> None:
    """What the conf below asks for, by Pillow alone."""
    from PIL import Image, ImageFilter, ImageOps

    for path, into in some:
        with Image.open(path) as image:
            made = ImageOps.exif_transpose(image).convert("RGB")
        made = ImageOps.fit(made, (256, 256), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(1))
        made.save(into, "JPEG", quality=85)


def photographs(folder: Path, many: int) -> list[Path]:
    """Smooth noise of some megapixels, in ten sizes."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for i in range(many):
        width = 600 + 200 * (i % 10)
        small = Image.fromarray(draw.integers(0, 256, (30, 40, 3), np.uint8))
        small.resize((width, width * 3 // 4), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=90)
    return sorted(folder.glob("*.jpg"))


def pictures(spark: "SparkSession", many: int, repeats: int, file: Path | None) -> None:
    """Images a second."""
    from keyfold.conf.use_case import parse_conf
    from keyfold.jobs.images import make_images
    from keyfold.runtime.run import Run

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        paths = photographs(folder / "in", many)
        copies = [(path, folder / "out" / path.name) for path in paths]
        operations = [{"resize": {"width": 256, "height": 256, "how": "fill"}}, {"filter": {"kind": "blur", "radius": 1}}]
        turn = iter(range(10**6))
        table = Run(parse_conf({"name": "p", "data": {"key": ["id"]}}), spark).rows
        spark.createDataFrame([(i, str(path)) for i, path in enumerate(paths)], "id long, path string").write.format(
            "delta"
        ).save(str(table.path))

        def whole() -> float:
            of = {"input_col": "path", "operations": operations, "folder": str(folder / "made"), "into": f"p_{next(turn)}.images"}
            run = Run(parse_conf({"name": "p", "data": {"key": ["id"]}, "images": of}), spark)
            make_images(run)
            return sum(step.seconds for step in run.jobs[-1].steps)

        cases = {"Pillow loops": in_processes(pillow, None, copies), "images": whole}
        found = run_cases("images of 0.3 to 4 megapixels", cases, "Pillow loops", repeats=repeats, rows=many, file=file)
        for record in found:
            print(f"{record['case']}: {many / record['median']:.1f} images a second")


def main() -> None:
    """The tables."""
    parser = arguments(__doc__, 5_000_000)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--parts", nargs="+", choices=("models", "images"), default=["models", "images"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    given = parser.parse_args()
    os.environ["KEYFOLD_HOME"] = tempfile.mkdtemp()
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--driver-memory 4g pyspark-shell")
    from keyfold.engine.session import session

    spark = session("bench scoring")
    if "models" in given.parts:
        scoring(spark, given.models, given.rows, given.repeats, given.json)
    if "images" in given.parts:
        pictures(spark, given.images, given.repeats, given.json)


if __name__ == "__main__":
    sys.exit(main())
