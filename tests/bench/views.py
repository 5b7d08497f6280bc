"""A million label rows take what stood at their time out of ten million rows of a view: beside the exchange and sort, and Feast's way.

Feast's Spark store joins every label row with all rows of its entity that stood, numbers them, and joins the first back; its query is
written here by hand, for one view with a time of knowledge and a time to live. Bytes are those that Spark wrote for exchanges.
"""

import json
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common import arguments, machine, run_cases

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DAYS, TTL = 100, 30
FEAST = f"""WITH asked AS (SELECT *, concat(CAST(who AS STRING), CAST(at AS STRING)) AS id FROM labels),
distinct_asked AS (SELECT who, at, id FROM asked GROUP BY who, at, id),
stood AS (
    SELECT v.*, a.at, a.id FROM told v JOIN distinct_asked a
    ON v.user = a.who AND v.valid <= a.at AND v.valid >= a.at - INTERVAL {TTL} DAY
),
newest AS (SELECT id, valid, max(known) AS known FROM stood GROUP BY id, valid),
numbered AS (SELECT *, row_number() OVER (PARTITION BY id ORDER BY valid DESC, known DESC) AS n FROM stood JOIN newest USING (id, valid, known)),
last AS (SELECT stood.id, stood.f0, stood.f1, stood.f2, stood.f3 FROM stood JOIN (SELECT * FROM numbered WHERE n = 1) USING (id, valid, known))
SELECT asked.who, asked.at, asked.label, f0, f1, f2, f3 FROM asked LEFT JOIN last USING (id)"""


def noop(frame: "DataFrame") -> None:
    """Computes all rows and drops them."""
    frame.write.format("noop").mode("overwrite").save()


def main() -> None:
    """All cases in one session."""
    parser = arguments(__doc__, rows=10_000_000)
    parser.add_argument(
        "--giant", action="store_true", help="one entity has a third of the rows; Feast's way, which pairs them all, is left out"
    )
    options = parser.parse_args()
    from keyfold.engine import session as keyfold_spark
    from keyfold.feature_store.point_in_time import ViewRows, training_set

    spark = keyfold_spark.session("bench views")
    entities = options.rows // DAYS
    who = f"IF(id % 3 = 0, -1L, id % {entities})" if options.giant else f"id % {entities}"
    with tempfile.TemporaryDirectory() as folder:
        at = f"timestamp_micros((id DIV {entities} * 86400 + pmod(xxhash64(id), 80000)) * 1000000L)"
        told = [f"{who} AS user", f"{at} AS valid", f"{at} AS known", *(f"xxhash64(id, {i}) / 1e18 AS f{i}" for i in range(4))]
        spark.range(options.rows).selectExpr(*told).write.parquet(f"{folder}/told")
        asked = [f"{who} AS who", f"timestamp_micros(pmod(xxhash64(id, 7), {DAYS}L * 86400) * 1000000L) AS at", "id % 2 AS label"]
        spark.range(options.rows // 10).selectExpr(*asked).write.parquet(f"{folder}/asked")
        rows, labels = spark.read.parquet(f"{folder}/told"), spark.read.parquet(f"{folder}/asked")
        rows.createOrReplaceTempView("told")
        labels.createOrReplaceTempView("labels")
        features = {f"f{i}": f"f{i}" for i in range(4)}
        view = ViewRows("usage", rows, {"user": "who"}, "valid", features, known="known", ttl=TTL * 86_400_000_000)
        both = rows.selectExpr("user AS who", "valid AS at", *features).unionByName(labels, allowMissingColumns=True)
        written: dict[str, int] = {}

        def counted(name: str, call: Callable[[], object]) -> Callable[[], object]:
            def work() -> None:
                before = _shuffled(spark)
                call()
                written[name] = _shuffled(spark) - before

            return work

        cases = {
            "exchange and sort": lambda: noop(both.repartition("who").sortWithinPartitions("who", "at")),
            "keyfold": lambda: noop(training_set(labels, [view], "at")),
        }
        if not options.giant:
            cases["Feast's way"] = lambda: noop(spark.sql(FEAST))
        found = run_cases(
            f"{options.rows // 10:,} label rows", {n: counted(n, c) for n, c in cases.items()}, floor="exchange and sort", peer="keyfold",
            repeats=options.repeats, rows=options.rows,
        )  # fmt: skip
        for name, n in written.items():
            print(f"{name:<40} {n / 2**20:>11,.0f} MiB exchanged, {n / written['keyfold']:.2f} × keyfold's")
    if options.json:
        options.json.write_text(json.dumps(machine() | {"whole": found, "exchanged": written}, indent=1) + "\n", "utf-8")


def _shuffled(spark: Any) -> int:
    executors = spark._jsparkSession.sparkContext().statusStore().executorList(True)
    return sum(executors.apply(i).totalShuffleWrite() for i in range(executors.size()))


if __name__ == "__main__":
    main()
