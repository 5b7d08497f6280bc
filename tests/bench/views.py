"""Joins a million label rows point in time with ten million rows of a view, compared with an exchange and sort, and with Feast's query.

Feast's Spark store joins every label row with all valid rows of its entity, numbers them, and joins the first one back. The query is
written by hand here, for one view with a creation time and a time to live. Bytes are those that Spark wrote for exchanges.
"""

import json
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common import arguments, machine, run_cases

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DAYS, TTL = 100, 30
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


def noop(frame: "DataFrame") -> None:
    """Computes all rows and drops them."""
    frame.write.format("noop").mode("overwrite").save()


def main() -> None:
    """Runs all cases in one session."""
    parser = arguments(__doc__, rows=10_000_000)
    parser.add_argument(
        "--giant", action="store_true", help="one entity has a third of the rows; leaves out Feast's query, which pairs them all"
    )
    options = parser.parse_args()
    from keyfold.engine import session as keyfold_spark
    from keyfold.feature_store.point_in_time import ViewRows, training_set

    spark = keyfold_spark.session("bench views")
    entities = options.rows // DAYS
    who = f"IF(id % 3 = 0, -1L, id % {entities})" if options.giant else f"id % {entities}"
    with tempfile.TemporaryDirectory() as folder:
        at = f"timestamp_micros((id DIV {entities} * 86400 + pmod(xxhash64(id), 80000)) * 1000000L)"
        view_columns = [
            f"{who} AS user",
            f"{at} AS valid",
            f"{at} AS known",
            *(f"xxhash64(id, {i}) / 1e18 AS f{i}" for i in range(4)),
        ]
        spark.range(options.rows).selectExpr(*view_columns).write.parquet(f"{folder}/view")
        label_columns = [
            f"{who} AS who",
            f"timestamp_micros(pmod(xxhash64(id, 7), {DAYS}L * 86400) * 1000000L) AS at",
            "id % 2 AS label",
        ]
        spark.range(options.rows // 10).selectExpr(*label_columns).write.parquet(f"{folder}/labels")
        rows, labels = spark.read.parquet(f"{folder}/view"), spark.read.parquet(f"{folder}/labels")
        rows.createOrReplaceTempView("view_rows")
        labels.createOrReplaceTempView("labels")
        features = {f"f{i}": f"f{i}" for i in range(4)}
        view = ViewRows("usage", rows, {"user": "who"}, "valid", features, known="known", ttl=TTL * 86_400_000_000)
        both = rows.selectExpr("user AS who", "valid AS at", *features).unionByName(labels, allowMissingColumns=True)
        exchanged: dict[str, int] = {}

        def count_bytes(name: str, call: Callable[[], object]) -> Callable[[], object]:
            def run() -> None:
                before = _exchanged_bytes(spark)
                call()
                exchanged[name] = _exchanged_bytes(spark) - before

            return run

        cases = {
            "exchange and sort": lambda: noop(both.repartition("who").sortWithinPartitions("who", "at")),
            "keyfold": lambda: noop(training_set(labels, [view], "at")),
        }
        if not options.giant:
            cases["Feast's query"] = lambda: noop(spark.sql(FEAST))
        results = run_cases(
            f"{options.rows // 10:,} label rows", {n: count_bytes(n, c) for n, c in cases.items()}, floor="exchange and sort", peer="keyfold",
            repeats=options.repeats, rows=options.rows,
        )  # fmt: skip
        for name, n in exchanged.items():
            print(f"{name:<40} {n / 2**20:>11,.0f} MiB exchanged, {n / exchanged['keyfold']:.2f} × keyfold's")
    if options.json:
        options.json.write_text(json.dumps(machine() | {"whole": results, "exchanged": exchanged}, indent=1) + "\n", "utf-8")


def _exchanged_bytes(spark: Any) -> int:
    executors = spark._jsparkSession.sparkContext().statusStore().executorList(True)
    return sum(executors.apply(i).totalShuffleWrite() for i in range(executors.size()))


if __name__ == "__main__":
    main()
