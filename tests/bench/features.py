"""Transforms and fits features, compared with a scan, MLlib, Polars and scikit-learn; by number of rows and of features.

The rows have six text columns with 10 to 1,000,000 distinct values; the spec hashes each of them and three crosses into 2^18 buckets.
"""

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from common import Record, arguments, drop, embedded, machine, run_cases, show, timed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DISTINCT = {"c10": 10, "c100": 100, "c1k": 1_000, "c10k": 10_000, "c100k": 100_000, "c1m": 1_000_000}
BUCKETS = 2**18
BATCH = 50_000
WARM = 3  # runs before the warm ones, in which the JVM compiles
Cases = dict[str, Callable[[], object]]


def write_rows(spark: "SparkSession", rows: int, path: Path) -> "DataFrame":
    """Six text columns whose values are drawn by hash, one in fifty NULL, and two number columns."""
    from pyspark.sql import functions as F

    def text_column(name: str, distinct: int) -> Any:
        h = F.xxhash64(F.lit(name), "id")
        return F.when(h % 50 != 0, F.concat(F.lit(name + "_"), F.pmod(F.shiftright(h, 8), F.lit(distinct)).cast("string"))).alias(
            name
        )

    numbers = [(F.xxhash64(F.lit(n), "id") / 2**50).alias(n) for n in ("n1", "n2")]
    frame = spark.range(rows).select(*(text_column(n, d) for n, d in DISTINCT.items()), *numbers)
    frame.write.mode("overwrite").parquet(str(path))
    return spark.read.parquet(str(path))


def hashed_features() -> dict[str, Any]:
    """Nine features."""
    crosses = [("c10", "c1m"), ("c100", "c10k"), ("c1k", "c100k")]
    single = {c: {"hashed": {"input_col": c, "num_buckets": BUCKETS}} for c in DISTINCT}
    return single | {f"{a}_{b}": {"crossed": {"input_cols": [a, b], "num_buckets": BUCKETS}} for a, b in crosses}


def mixed_features() -> dict[str, Any]:
    """Twenty features of most kinds."""
    features: dict[str, Any] = {f"hash_{c}": {"hashed": {"input_col": c, "num_buckets": BUCKETS}} for c in DISTINCT}
    features |= {f"one_{c}": {"one_hot": {"input_col": c, "min_frequency": 10, "max_categories": 1000}} for c in DISTINCT}
    features |= {"cross": {"crossed": {"input_cols": ["c10", "c1m"], "num_buckets": BUCKETS}}}
    features |= {"tokens": {"text": {"input_col": "c100", "length": 4, "max_tokens": 1000}}}
    for n in ("n1", "n2"):
        features[f"{n}_standard"] = {"numeric": {"input_col": n, "scale": "standard"}}
        features[f"{n}_robust"] = {"numeric": {"input_col": n, "scale": "robust"}}
        features[f"{n}_range"] = {"bucketized": {"input_col": n, "num_buckets": 20}}
    return features


def wide_features(features: int) -> dict[str, Any]:
    """Hashed features of the six columns, each with its own salt."""
    columns = list(DISTINCT)
    return {f"f{i}": {"hashed": {"input_col": columns[i % len(columns)], "num_buckets": BUCKETS}} for i in range(features)}


def fit_spec(frame: "DataFrame", features: dict[str, Any]) -> Any:
    """The fitted spec."""
    from keyfold.features.kinds import Feature
    from keyfold.features.spec import Spec

    return Spec.fit(frame, {name: Feature.model_validate(f) for name, f in features.items()})


def hashed_spec() -> Any:
    """The nine features, which need no fit."""
    from keyfold.features.fitting import FeatureStatistics
    from keyfold.features.kinds import Feature
    from keyfold.features.spec import FittedFeature, Spec

    kinds = {name: Feature.model_validate(f).kind for name, f in hashed_features().items()}
    fitted = {name: FittedFeature(kind, kind.fit(name, FeatureStatistics([], []))) for name, kind in kinds.items()}
    return Spec(dict.fromkeys(DISTINCT, "string"), fitted)


def embedded_cases(path: Path) -> Cases:
    """The embedded engine, and Polars' own hashes of the same columns and crosses, both from the files."""
    import polars as pl

    spec, files = hashed_spec(), f"{path}/*.parquet"
    crosses = [cross.split("_") for cross in hashed_features() if cross not in DISTINCT]
    hashes = [pl.col(c).hash() % BUCKETS for c in DISTINCT]
    hashes += [(pl.struct(pair).hash() % BUCKETS).alias("_".join(pair)) for pair in crosses]

    def scan() -> None:
        drop(embedded(str(path)).select(DISTINCT))

    return {
        "scan": scan,
        "keyfold, embedded: 6 hashed, 3 crossed": lambda: drop(spec.transform(embedded(str(path)))),
        "Polars: 6 hashed, 3 crossed": lambda: pl.scan_parquet(files).select(hashes).collect(),
    }


def noop(frame: "DataFrame") -> None:
    """Computes all rows and drops them."""
    frame.write.format("noop").mode("overwrite").save()


def mllib_cases(frame: "DataFrame") -> Cases:
    """Transforms the same columns."""
    from pyspark.ml.feature import FeatureHasher, OneHotEncoder, StringIndexer

    text = frame.select(*DISTINCT)
    spec = fit_spec(text, hashed_features())
    single = fit_spec(text, {name: f for name, f in hashed_features().items() if name in DISTINCT})
    hasher = FeatureHasher(inputCols=list(DISTINCT), outputCol="features", numFeatures=BUCKETS)
    indexer = StringIndexer(inputCols=list(DISTINCT), outputCols=[f"{c}_i" for c in DISTINCT], handleInvalid="keep").fit(text)
    encoder = OneHotEncoder(inputCols=[f"{c}_i" for c in DISTINCT], outputCols=[f"{c}_v" for c in DISTINCT])
    encoding = encoder.fit(indexer.transform(text.limit(1000)))
    return {
        "scan": lambda: noop(text),
        "keyfold: 6 hashed, 3 crossed": lambda: noop(spec.transform(text)),
        "keyfold: 6 hashed": lambda: noop(single.transform(text)),
        "MLlib FeatureHasher: 6 hashed": lambda: noop(hasher.transform(text).select("features")),
        "MLlib StringIndexer, OneHotEncoder": lambda: noop(encoding.transform(indexer.transform(text)).select("c10_v", "c1m_v")),
    }


def sklearn_cases(table: pa.Table) -> Cases:
    """The Arrow form on one core, in batches, and scikit-learn's hasher on the same rows as lists of text."""
    from sklearn.feature_extraction import FeatureHasher

    spec, batches = hashed_spec(), table.to_batches(max_chunksize=BATCH)
    values = [[f"{c}={v}" for c, v in row.items() if v is not None] for row in table.to_pylist()]
    hasher = FeatureHasher(BUCKETS, input_type="string")
    return {
        "keyfold, Arrow: 6 hashed, 3 crossed": lambda: [spec.arrow(batch) for batch in batches],
        "scikit-learn FeatureHasher: 6 hashed": lambda: hasher.transform(values),
    }


def by_width(frame: "DataFrame", widths: list[int], repeats: int) -> list[Record]:
    """Times the first run and warm runs of each number of features."""
    results = []
    rows = frame.count()
    for features in widths:
        spec = fit_spec(frame, wide_features(features))
        first = timed(lambda spec=spec: noop(spec.transform(frame)))  # type: ignore[misc]
        for _ in range(WARM):
            noop(spec.transform(frame))
        runs = [timed(lambda spec=spec: noop(spec.transform(frame))) for _ in range(repeats)]  # type: ignore[misc]
        median = statistics.median(runs)
        results.append(
            Record(case=f"{features:,} hashed", rows=rows, seconds=[first, *runs], median=median, vs_floor=None, vs_peer=None)
        )
        print(
            f"{features:,} hashed: {rows * features / median / 1e6:.1f} M values/s warm, first run {first / median:.1f} times as long",
            flush=True,
        )
    return results


def main() -> None:
    """Runs the benchmarks in one session."""
    parser = arguments(__doc__, rows=5_000_000)
    parser.add_argument("--only", nargs="*", default=["mllib", "embedded", "sklearn", "fit", "rows", "wide"], help="which tables")
    options = parser.parse_args()
    from keyfold.engine import session as keyfold_spark

    spark = keyfold_spark.session("bench features")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        frame = write_rows(spark, options.rows, path)
        again: dict[str, Any] = {"repeats": options.repeats, "rows": options.rows}
        if "mllib" in options.only:
            cases = mllib_cases(frame)
            results["mllib"] = run_cases("Transform", cases, floor="scan", peer="MLlib FeatureHasher: 6 hashed", **again)
        if "embedded" in options.only:
            peer = "Polars: 6 hashed, 3 crossed"
            results["embedded"] = run_cases("Embedded", embedded_cases(path), floor="scan", peer=peer, **again)
        if "sklearn" in options.only:
            rows = min(options.rows, 500_000)
            table = pq.read_table(path, columns=list(DISTINCT)).slice(0, rows)
            peer = "scikit-learn FeatureHasher: 6 hashed"
            results["sklearn"] = run_cases("Arrow, one core", sklearn_cases(table), peer=peer, repeats=options.repeats, rows=rows)
        if "fit" in options.only:
            cases = {
                "scan": lambda: noop(frame),
                "keyfold: fit 20 mixed": lambda: fit_spec(frame, mixed_features()),
                "MLlib StringIndexer: fit 6": lambda: _indexed(frame),
            }
            results["fit"] = run_cases("Fit", cases, floor="scan", **again)
        if "rows" in options.only:
            results["rows"] = _by_rows(spark, options.rows, Path(folder), options.repeats)
        if "wide" in options.only:
            narrow = write_rows(spark, min(options.rows, 200_000), Path(folder, "narrow")).select(*DISTINCT).cache()
            narrow.count()
            results["wide"] = by_width(narrow, [10, 50, 200, 1000, 2000], options.repeats)
            show("Wide specs (the first time of each is that of the first run)", results["wide"])
    if options.json:
        options.json.write_text(json.dumps(machine() | results, indent=1) + "\n", "utf-8")


def _indexed(frame: "DataFrame") -> None:
    from pyspark.ml.feature import StringIndexer

    StringIndexer(inputCols=list(DISTINCT), outputCols=[f"{c}_i" for c in DISTINCT]).fit(frame)


def _by_rows(spark: "SparkSession", rows: int, folder: Path, repeats: int) -> list[Record]:
    frames = {n: write_rows(spark, n, folder / str(n)).select(*DISTINCT) for n in (rows // 5, rows, 4 * rows)}
    spec = fit_spec(frames[rows], hashed_features())
    cases: Cases = {f"{n:,} rows": lambda frame=frame: noop(spec.transform(frame)) for n, frame in frames.items()}  # type: ignore[misc]
    return run_cases("By rows", cases, floor=f"{rows:,} rows", repeats=repeats, rows=rows)


if __name__ == "__main__":
    main()
