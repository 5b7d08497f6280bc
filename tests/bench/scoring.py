"""Scoring, compared with its parts and with MLflow's spark_udf, on the same rows and models.

The floor is a scan to `noop`. Parts in memory run in one process per core, on Arrow batches of 20,000 rows. The peer is MLflow's spark_udf
of the plain scikit-learn model. Images are converted by keyfold and by Pillow alone.
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
    """A use case with six numeric features."""
    from keyfold.conf.use_case import parse_conf

    return parse_conf(
        {
            "name": "bench",
            "label": {"column": "y", "positive": True},
            "data": {"table": "bench.rows", "key": ["id"], "time": "seen", "period": "month"},
            "features": {name: {"numeric": {"input_col": name, "scale": "standard"}} for name in NAMES},
            "train": {"model": {"sklearn": MODELS[model]}, "register_as": model},
            "score": {"into": into},
        }
    )


def rows(spark: "SparkSession", month: int, count: int, *, labelled: bool) -> "DataFrame":
    """Rows with a key and six normally distributed numbers."""
    numbers = [f"randn({month * 10 + i}) {name}" for i, name in enumerate(NAMES)]
    frame = spark.range(0, count, 1, 8).selectExpr("id", f"timestamp'2026-0{month}-01' seen", *numbers)
    return frame.selectExpr("*", "x0 + x1 * x2 + rand(5) > 0.5 y" if labelled else "cast(null as boolean) y")


def batches(table: pa.Table) -> list[pa.RecordBatch]:
    """Batches of the size that Spark sends to Python."""
    return table.to_batches(max_chunksize=BATCH)


def work(task: Callable[[Any, list[Any]], None], model: object, parts: list[Any], gate: Any, done: Any) -> None:
    """Runs a task in one process and thread: warms up on one part, waits for the others, then does all parts."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        task(model, parts[:1])
        gate.wait()
        task(model, parts)
        done.wait()


def in_processes(task: Callable[[Any, list[Any]], None], model: object, parts: list[Any]) -> Callable[[], float]:
    """Seconds that one process per core takes for its share of the parts; imports and a warm-up come before the clock starts."""

    def timed() -> float:
        # Spawned, because OpenMP hangs in a process that was forked after it had run.
        cores, context = os.cpu_count() or 1, multiprocessing.get_context("spawn")
        gate, done = context.Barrier(cores + 1), context.Barrier(cores + 1)
        workers = [context.Process(target=work, args=(task, model, parts[n::cores], gate, done)) for n in range(cores)]
        for worker in workers:
            worker.start()
        gate.wait()
        start = time.perf_counter()
        done.wait()
        seconds = time.perf_counter() - start
        for worker in workers:
            worker.join()
        return seconds

    return timed


def compute_features(spec: Any, parts: list[pa.RecordBatch]) -> None:
    """Computes the features of batches without Spark."""
    for batch in parts:
        spec.arrow(batch)


def predict_matrices(estimator: Any, parts: list[Any]) -> None:
    """Applies the estimator alone, on feature matrices."""
    for matrix in parts:
        estimator.predict_proba(matrix)


def identity(incoming: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Returns the batches unchanged."""
    yield from incoming


def same_columns(incoming: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The key and the columns that `score` adds, filled with constants."""
    for batch in incoming:
        number, n = batch.column(1), batch.num_rows
        scored, train = (pa.repeat(pa.scalar(text), n) for text in ("scored", "train"))
        outcome = [scored, pa.nulls(n, pa.string()), train, pc.greater(number, 0.0), number]
        yield pa.RecordBatch.from_arrays([batch.column(0), *outcome], names=["id", *OUTCOME])


def spark_cases(run: "Run", model: str, folder: Path) -> dict[str, Callable[[], object]]:
    """The cases by name."""
    import mlflow
    from pyspark.sql import functions as F

    from keyfold.core.names import FOLD
    from keyfold.engine.session import arrow_batch_settings, temporary_settings
    from keyfold.models import predictor
    from keyfold.models.model import Model
    from keyfold.runtime.run import Run
    from keyfold.scoring.job import score
    from keyfold.tracking import registry

    spark = run.spark
    version = registry.find_version(f"models:/{model}@champion")
    model_folder = registry.fetch_model(version, folder)
    loaded = Model.load(model_folder)
    table = run.rows.read().where("month(seen) = 2").select("id", *NAMES)
    tables = batches(table.toArrow())
    estimator = loaded.estimator.estimator  # type: ignore[union-attr]
    matrices = [loaded.estimator.matrix(loaded.spec.arrow(batch)) for batch in tables]  # type: ignore[union-attr]
    plain = mlflow.sklearn.log_model(
        estimator, name="plain", serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba"
    )
    peer = mlflow.pyfunc.spark_udf(spark, plain.model_uri, result_type="array<double>", env_manager="local")
    packed = predictor.pack_folder(model_folder)
    turn = iter(range(10**6))

    def whole() -> float:
        job_run = Run(conf(model, f"{model}_{next(turn)}.predictions"), spark, "2026-02")
        start = time.perf_counter()
        score(job_run, version)
        return time.perf_counter() - start

    def predictions() -> "DataFrame":
        from keyfold.scoring import job

        with_fold = table.withColumn(FOLD, F.lit("train"))
        return add_run_columns(job._apply_model(["id"], loaded, predictor.bytes_digest(packed), packed, with_fold))

    def add_run_columns(frame: "DataFrame") -> "DataFrame":
        constants = {"period": "2026-02", "model": model, "model_version": 1, "spec_digest": "x" * 32, "run_id": "x" * 32}
        return frame.withColumns({name: F.lit(value) for name, value in constants.items()}).withColumn(
            "scored_at", F.current_timestamp()
        )

    def write(frame: "DataFrame") -> None:
        with temporary_settings(spark, arrow_batch_settings(table.schema, table.columns)):
            frame.coalesce(8).write.format("delta").partitionBy("period").save(str(folder / f"plain_{next(turn)}"))

    def constant_columns() -> "DataFrame":
        return add_run_columns(table.mapInArrow(same_columns, predictions().select("id", *OUTCOME).schema))

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
        "features in memory": in_processes(compute_features, loaded.spec, tables),
        "bare model in memory": in_processes(predict_matrices, estimator, matrices),
        "the same columns without a model, plain Delta write": lambda: write(constant_columns()),
        "predictions to noop": lambda: noop(predictions(), arrow_batch_settings(table.schema, table.columns)),
        "predictions, plain Delta write": lambda: write(predictions()),
        "score": whole,
        "iterator pandas_udf to noop": lambda: noop(table.select("id", pandas(struct))),
        "spark_udf to noop": lambda: noop(table.select("id", peer(struct))),
    }


def scoring(spark: "SparkSession", models: list[str], count: int, repeats: int, file: Path | None) -> None:
    """Benchmarks each model and prints its ratios."""
    from keyfold.runtime.run import Run
    from keyfold.training.job import train
    from keyfold.training.promotion import promote_or_keep

    run = Run(conf("light", "x.predictions"), spark)
    for month, number in ((1, 100_000), (2, count)):
        rows(spark, month, number, labelled=month == 1).write.format("delta").mode("append").save(str(run.rows.path))
    for model in models:
        training = Run(conf(model, "x.predictions"), spark, "2026-02")
        promote_or_keep(training, train(training))
        with tempfile.TemporaryDirectory() as folder:
            cases = spark_cases(training, model, Path(folder))
            results = run_cases(
                f"{model}: {MODELS[model]['estimator']}",
                cases,
                "floor: scan",
                "spark_udf to noop",
                repeats,
                rows=count,
                file=file,
            )
        seconds = {record["case"]: record["median"] for record in results}
        parts = seconds["identity mapInArrow"] + seconds["features in memory"] + seconds["bare model in memory"]
        print(f"\nscore / (identity + features + model): {seconds['score'] / parts:.2f}")
        plain_write = seconds["the same columns without a model, plain Delta write"]
        plain_write += seconds["features in memory"] + seconds["bare model in memory"]
        print(f"score / (the same columns written plainly + features + model): {seconds['score'] / plain_write:.2f}")
        print(f"score / plain Delta write: {seconds['score'] / seconds['predictions, plain Delta write']:.2f}")
        print(f"spark_udf / predictions to noop: {seconds['spark_udf to noop'] / seconds['predictions to noop']:.2f}")
        print(f"spark_udf / score: {seconds['spark_udf to noop'] / seconds['score']:.2f}\n")


# --- images ---


def convert_by_pillow(_: None, parts: list[tuple[Path, Path]]) -> None:
    """The operations of the conf below by Pillow alone."""
    from PIL import Image, ImageFilter, ImageOps

    for path, into in parts:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        small = ImageOps.fit(upright, (256, 256), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(1))
        small.save(into, "JPEG", quality=85)


def photographs(folder: Path, count: int) -> list[Path]:
    """Smooth noise of some megapixels, in ten sizes."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for i in range(count):
        width = 600 + 200 * (i % 10)
        small = Image.fromarray(draw.integers(0, 256, (30, 40, 3), np.uint8))
        small.resize((width, width * 3 // 4), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=90)
    return sorted(folder.glob("*.jpg"))


def images(spark: "SparkSession", count: int, repeats: int, file: Path | None) -> None:
    """Benchmarks the conversion of images and prints images per second."""
    from keyfold.conf.use_case import parse_conf
    from keyfold.jobs.images import make_images
    from keyfold.runtime.run import Run

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        paths = photographs(folder / "in", count)
        copies = [(path, folder / "out" / path.name) for path in paths]
        operations = [{"resize": {"width": 256, "height": 256, "how": "fill"}}, {"filter": {"kind": "blur", "radius": 1}}]
        turn = iter(range(10**6))
        table = Run(parse_conf({"name": "p", "data": {"key": ["id"]}}), spark).rows
        spark.createDataFrame([(i, str(path)) for i, path in enumerate(paths)], "id long, path string").write.format(
            "delta"
        ).save(str(table.path))

        def whole() -> float:
            section = {
                "input_col": "path",
                "operations": operations,
                "folder": str(folder / "converted"),
                "into": f"p_{next(turn)}.images",
            }
            run = Run(parse_conf({"name": "p", "data": {"key": ["id"]}, "images": section}), spark)
            make_images(run)
            return sum(step.seconds for step in run.jobs[-1].steps)

        cases = {"Pillow loops": in_processes(convert_by_pillow, None, copies), "images": whole}
        results = run_cases("images of 0.3 to 4 megapixels", cases, "Pillow loops", repeats=repeats, rows=count, file=file)
        for record in results:
            print(f"{record['case']}: {count / record['median']:.1f} images per second")


def main() -> None:
    """Runs the selected benchmarks."""
    parser = arguments(__doc__, 5_000_000)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--parts", nargs="+", choices=("models", "images"), default=["models", "images"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options = parser.parse_args()
    os.environ["KEYFOLD_HOME"] = tempfile.mkdtemp()
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", "--driver-memory 4g pyspark-shell")
    from keyfold.engine.session import session

    spark = session("bench scoring")
    if "models" in options.parts:
        scoring(spark, options.models, options.rows, options.repeats, options.json)
    if "images" in options.parts:
        images(spark, options.images, options.repeats, options.json)


if __name__ == "__main__":
    sys.exit(main())
