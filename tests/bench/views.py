"""Joins a million label rows point in time with ten million rows of a view, on both engines, compared with an exchange and sort, with Feast's query,
and with Polars' as-of join.

Feast's Spark store joins every label row with all valid rows of its entity, numbers them, and joins the first one back. The query is
written by hand here, for one view with a creation time and a time to live. Bytes are those that Spark wrote for exchanges.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import FRAMES, arguments, drop, machine, noop, run_cases

DAYS, TTL = 100, 30
FILE = 1_000_000  # rows
FEATURES = {f"f{i}": f"f{i}" for i in range(4)}
FEAST = f"""WITH entity_rows AS (SELECT *, concat(CAST(who AS STRING), CAST(at AS STRING)) AS id FROM labels),
distinct_rows AS (SELECT who, at, id FROM entity_rows GROUP BY who, at, id),
valid_rows AS (
    SELECT v.*, a.at, a.id FROM view_rows v JOIN distinct_rows a
    ON v.user = a.who AND v.valid <= a.at AND v.valid >= a.at - INTERVAL {TTL} DAY
),
newest AS (SELECT id, valid, max(known) AS known FROM valid_rows GROUP BY id, valid),
numbered AS (SELECT *, row_number() OVER (PARTITION BY id ORDER BY valid DESC, known DESC) AS n FROM valid_rows JOIN newest USING (id, valid, known)),
last AS (SELECT v.id, v.f0, v.f1, v.f2, v.f3 FROM valid_rows v JOIN (SELECT * FROM numbered WHERE n = 1) USING (id, valid, known))
SELECT e.who, e.at, e.label, f0, f1, f2, f3 FROM entity_rows e LEFT JOIN last USING (id)"""


def write_rows(folder: Path, rows: int, *, giant: bool) -> None:
    """Writes rows of a view and a tenth as many label rows, in several Parquet files."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    rng, entities = np.random.default_rng(0), rows // DAYS
    for name in ("view", "labels"):
        (folder / name).mkdir()
    for number, start in enumerate(range(0, rows, FILE)):
        ids = np.arange(start, min(start + FILE, rows))
        who = np.where((ids % 3 == 0) & giant, -1, ids % entities)
        at = pa.array((ids // entities * 86_400 + rng.integers(0, 80_000, len(ids))) * 1_000_000).cast(pa.timestamp("us", "UTC"))
        values = {f"f{i}": rng.normal(size=len(ids)) for i in range(4)}
        parquet.write_table(pa.table({"user": who, "valid": at, "known": at, **values}), folder / "view" / f"{number}.parquet")
        some = ids[: len(ids) // 10]
        asked = pa.array(rng.integers(0, DAYS * 86_400, len(some)) * 1_000_000).cast(pa.timestamp("us", "UTC"))
        labels = {"who": who[: len(some)], "at": asked, "label": some % 2}
        parquet.write_table(pa.table(labels), folder / "labels" / f"{number}.parquet")


def join(engine: str, folder: Path) -> None:
    """Joins all label rows and drops them."""
    from keyfold.feature_store.point_in_time import ViewRows, training_set

    labels, rows = (FRAMES[engine](str(folder / name)) for name in ("labels", "view"))
    view = ViewRows("usage", rows, {"user": "who"}, "valid", FEATURES, known="known", ttl=TTL * 86_400_000_000)
    drop(training_set(labels, [view], "at"))


def polars(folder: Path) -> None:
    """Polars' as-of join, which has one time for each row: it does not ask when a row was known, nor for equal times."""
    import polars as pl

    labels, rows = (pl.scan_parquet(folder / name / "*.parquet") for name in ("labels", "view"))
    joined = labels.sort("at").join_asof(
        rows.sort("valid"), left_on="at", right_on="valid", by_left="who", by_right="user", tolerance=f"{TTL}d"
    )
    joined.collect()


def main() -> None:
    """Runs all cases in turns."""
    parser = arguments(__doc__, rows=10_000_000)
    parser.add_argument(
        "--giant", action="store_true", help="one entity has a third of the rows; leaves out Feast's query, which pairs them all"
    )
    parser.add_argument("--engines", nargs="+", default=["spark", "embedded"], choices=["spark", "embedded"])
    parser.add_argument("--only", nargs="*", default=["Feast", "Polars"], metavar="PEER")
    options = parser.parse_args()
    exchanged: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, options.rows, giant=options.giant)
        cases: dict[str, Callable[[], object]] = {}
        if "spark" in options.engines:
            cases = spark_cases(folder, exchanged, feast="Feast" in options.only and not options.giant)
        if "embedded" in options.engines:
            cases["keyfold, embedded"] = lambda: join("embedded", folder)
        if "Polars" in options.only:
            cases["Polars"] = lambda: polars(folder)
        peer = "keyfold, Spark" if "spark" in options.engines else None
        results = run_cases(f"{options.rows // 10:,} label rows", cases, peer=peer, repeats=options.repeats, rows=options.rows)
    for name, n in exchanged.items():
        print(f"{name:<40} {n / 2**20:>11,.0f} MiB exchanged, {n / exchanged['keyfold, Spark']:.2f} × keyfold's")
    if options.json:
        options.json.write_text(json.dumps(machine() | {"whole": results, "exchanged": exchanged}, indent=1) + "\n", "utf-8")


def spark_cases(folder: Path, exchanged: dict[str, int], *, feast: bool) -> dict[str, Callable[[], object]]:
    """The join on Spark, the exchange and sort that it needs, and Feast's query; `exchanged` gets the bytes of each."""
    from keyfold.engine.session import session

    spark = session("bench views")
    rows, labels = (spark.read.parquet(str(folder / name)) for name in ("view", "labels"))
    rows.createOrReplaceTempView("view_rows")
    labels.createOrReplaceTempView("labels")
    both = rows.selectExpr("user AS who", "valid AS at", *FEATURES).unionByName(labels, allowMissingColumns=True)

    def count_bytes(name: str, call: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            before = _exchanged_bytes(spark)
            call()
            exchanged[name] = _exchanged_bytes(spark) - before

        return run

    cases: dict[str, Callable[[], object]] = {
        "exchange and sort": lambda: noop(both.repartition("who").sortWithinPartitions("who", "at")),
        "keyfold, Spark": lambda: join("spark", folder),
    }
    cases |= {"Feast's query": lambda: noop(spark.sql(FEAST))} if feast else {}
    return {name: count_bytes(name, call) for name, call in cases.items()}


def _exchanged_bytes(spark: Any) -> int:
    executors = spark._jsparkSession.sparkContext().statusStore().executorList(True)
    return sum(executors.apply(i).totalShuffleWrite() for i in range(executors.size()))


if __name__ == "__main__":
    main()
