"""Windows over 5,000 series, compared with an exchange and sort, Spark's window functions, pandas, Polars and DuckDB.

The windows are lag, mean and deviation of five rows, and mean and deviation of seven days. Then one more day is computed from the states
of the days before; and, without Spark, a mean of 90 days over one row per minute, by tiles and frame by frame.
"""

import importlib.util
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from common import Record, arguments, machine, run_cases

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SERIES = 5_000
FEATURES = {
    "before": {"over": "1 row", "take": "lag"},
    "mean_5": {"over": "5 rows", "take": "mean"}, "std_5": {"over": "5 rows", "take": "std"},
    "mean_7d": {"over": "7 days", "take": "mean"}, "std_7d": {"over": "7 days", "take": "std"},
}  # fmt: skip
SQL = """SELECT *, lag(x) OVER w AS before, avg(x) OVER r AS mean_5, stddev_samp(x) OVER r AS std_5,
avg(x) OVER d AS mean_7d, stddev_samp(x) OVER d AS std_7d FROM {table}
WINDOW w AS (PARTITION BY k ORDER BY {at}), r AS (PARTITION BY k ORDER BY {at} ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING),
d AS (PARTITION BY k ORDER BY {at} RANGE BETWEEN {week} PRECEDING AND {least} PRECEDING)"""


def noop(frame: "DataFrame") -> None:
    """Computes all rows and drops them."""
    frame.write.format("noop").mode("overwrite").save()


def peers(path: str, only: set[str]) -> dict[str, Callable[[], object]]:
    """The same windows in installed packages without Spark; each case also reads the files."""

    def pandas() -> None:
        import pandas as pd

        rows = pd.read_parquet(path).sort_values(["k", "at"])
        x = rows.groupby("k").x
        rows["before"] = x.shift(1)
        past = x.rolling(5, min_periods=1, closed="left")
        rows["mean_5"], rows["std_5"] = past.mean().to_numpy(), past.std().to_numpy()
        week = rows.groupby("k").rolling("7D", on="at", closed="left").x
        rows["mean_7d"], rows["std_7d"] = week.mean().to_numpy(), week.std().to_numpy()

    def polars() -> None:
        import polars as pl

        x, week = pl.col("x"), {"by": "at", "window_size": "7d", "closed": "left"}
        five = {"window_size": 5, "min_samples": 1}
        columns = [
            x.shift(1).alias("before"), x.shift(1).rolling_mean(**five).alias("mean_5"), x.shift(1).rolling_std(**five).alias("std_5"),
            x.rolling_mean_by(**week).alias("mean_7d"), x.rolling_std_by(**week).alias("std_7d"),
        ]  # fmt: skip
        pl.scan_parquet(f"{path}/*.parquet").sort("k", "at").with_columns(e.over("k") for e in columns).collect()

    def duckdb() -> None:
        import duckdb

        week = {"week": "INTERVAL 7 DAY", "least": "INTERVAL 1 MICROSECOND"}
        duckdb.sql(SQL.format(table=f"'{path}/*.parquet'", at='"at"', **week)).to_arrow_table()

    cases: dict[str, Callable[[], object]] = {"pandas": pandas, "Polars": polars, "DuckDB": duckdb}
    return {name: call for name, call in cases.items() if name in only and importlib.util.find_spec(name.lower())}


def tiled(minutes: int, repeats: int) -> list[Record]:
    """A mean of 90 days over one series, in batches of the size that Spark sends."""
    import numpy as np
    import pyarrow as pa

    from keyfold.conf.use_case import parse_conf
    from keyfold.windows.series import window_batches

    times = pa.array(np.arange(minutes) * 60_000_000).cast(pa.timestamp("us", "UTC"))
    rows = pa.table({"k": pa.array(np.zeros(minutes, np.int64)), "at": times, "x": np.random.default_rng(0).random(minutes)})

    def case(**tile: str) -> Callable[[], None]:
        window = {"windowed": {"input_col": "x", "over": "90 days", "take": "mean", **tile}}
        series = parse_conf({"name": "bench", "data": {"key": ["k", "at"], "time": "at"}, "features": {"w": window}}).windows
        assert series is not None
        return lambda: [None for _ in window_batches(series, rows.to_batches(20_000))] and None

    cases = {"by hours": case(tile="hour"), "by days": case(tile="day"), "frame by frame": case()}
    return run_cases(f"90 days over {minutes:,} minutes", cases, peer="by hours", repeats=repeats, rows=minutes, warmup=0)


def main() -> None:
    """Runs all cases in one session."""
    parser = arguments(__doc__, rows=5_000_000)
    parser.add_argument("--minutes", type=int, default=200_000, help="length of the series for tiles; 0: none")
    parser.add_argument("--only", nargs="*", default=["Spark", "pandas", "Polars", "DuckDB"], metavar="PEER")
    options = parser.parse_args()
    tiles = tiled(options.minutes, options.repeats) if options.minutes else []
    if not options.rows:
        return
    from keyfold.conf.use_case import parse_conf
    from keyfold.engine import session as keyfold_spark
    from keyfold.engine.session import temporary_settings
    from keyfold.feature_store.window_columns import KERNEL_SETTINGS, add_windows, latest_states

    features = {name: {"windowed": {"input_col": "x"} | window} for name, window in FEATURES.items()}
    series = parse_conf({"name": "bench", "data": {"key": ["k", "at"], "time": "at"}, "features": features}).windows
    assert series is not None
    spark = keyfold_spark.session("bench windows")
    with tempfile.TemporaryDirectory() as folder:
        path, settings = str(Path(folder, "rows")), {"repeats": options.repeats, "rows": options.rows}
        hours = f"CAST(id DIV {SERIES} * 86400 + pmod(xxhash64(id), 80000) AS BIGINT)"
        columns = ["id % 5000 AS k", f"timestamp_micros({hours} * 1000000L) AS at", "xxhash64(id) / 1e18 AS x"]
        spark.range(options.rows).selectExpr(*columns).write.parquet(path)
        rows = spark.read.parquet(path)

        def kernel() -> None:
            with temporary_settings(spark, KERNEL_SETTINGS):
                noop(add_windows(series, rows))

        def by_hand() -> None:
            rows.createOrReplaceTempView("rows")
            long = rows.selectExpr("*", "unix_micros(at) AS micros")
            long.createOrReplaceTempView("long")
            noop(spark.sql(SQL.format(table="long", at="micros", week=7 * 86_400_000_000, least=1)))

        cases: dict[str, Callable[[], object]] = {
            "exchange and sort": lambda: noop(rows.repartition("k").sortWithinPartitions("k", "at")),
            "keyfold": kernel,
        }
        cases |= {"Spark by hand": by_hand} if "Spark" in options.only else {}
        whole = run_cases(
            "All windows", cases | peers(path, set(options.only)), floor="exchange and sort", peer="keyfold", **settings
        )

        last = options.rows // SERIES - 1
        before, day = (rows.where(f"at {sign} timestamp_seconds({last} * 86400)") for sign in ("<", ">="))
        with temporary_settings(spark, KERNEL_SETTINGS):
            table = add_windows(series, before).selectExpr("*", "'all' AS keyfold_period")
            latest_states(table, series).write.parquet(f"{folder}/states")
        states = spark.read.parquet(f"{folder}/states")
        day.write.parquet(f"{folder}/day")
        day = spark.read.parquet(f"{folder}/day")

        def next_day() -> None:
            with temporary_settings(spark, KERNEL_SETTINGS):
                noop(add_windows(series, day, states))

        next_day_results = run_cases(
            f"One more day, {day.count():,} rows", {"all days": kernel, "the day": next_day}, floor="all days", **settings
        )
    if options.json:
        options.json.write_text(
            json.dumps(machine() | {"whole": whole, "day": next_day_results, "tiles": tiles}, indent=1) + "\n", "utf-8"
        )


if __name__ == "__main__":
    main()
