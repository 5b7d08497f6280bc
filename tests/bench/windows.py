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

from common import FRAMES, Record, arguments, drop, embedded, machine, noop, on_spark, run_cases

if TYPE_CHECKING:
    from keyfold.engine.frame import Frame
    from keyfold.windows.series import SeriesDefinition

SERIES = 5_000
FILE = 500_000  # rows
FEATURES = {
    "before": {"over": "1 row", "take": "lag"},
    "mean_5": {"over": "5 rows", "take": "mean"}, "std_5": {"over": "5 rows", "take": "std"},
    "mean_7d": {"over": "7 days", "take": "mean"}, "std_7d": {"over": "7 days", "take": "std"},
}  # fmt: skip
SQL = """SELECT *, lag(x) OVER w AS before, avg(x) OVER r AS mean_5, stddev_samp(x) OVER r AS std_5,
avg(x) OVER d AS mean_7d, stddev_samp(x) OVER d AS std_7d FROM {table}
WINDOW w AS (PARTITION BY k ORDER BY {at}), r AS (PARTITION BY k ORDER BY {at} ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING),
d AS (PARTITION BY k ORDER BY {at} RANGE BETWEEN {week} PRECEDING AND {least} PRECEDING)"""


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


def write_rows(folder: Path, rows: int) -> None:
    """Writes rows of all series, a day after the other, to several Parquet files."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, start in enumerate(range(0, rows, FILE)):
        ids = np.arange(start, min(start + FILE, rows))
        at = (ids // SERIES * 86_400 + rng.integers(0, 80_000, len(ids))) * 1_000_000
        columns = {
            "k": pa.array(ids % SERIES),
            "at": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "x": rng.normal(size=len(ids)),
        }
        parquet.write_table(pa.table(columns), folder / f"{number}.parquet")


def series_of_conf() -> "SeriesDefinition":
    """The windows of this benchmark."""
    from keyfold.conf.use_case import parse_conf

    features = {name: {"windowed": {"input_col": "x"} | window} for name, window in FEATURES.items()}
    series = parse_conf({"name": "bench", "data": {"key": ["k", "at"], "time": "at"}, "features": features}).windows
    assert series is not None
    return series


def spark_cases(path: str, *, by_hand: bool) -> dict[str, Callable[[], object]]:
    """The windows on Spark, the exchange and sort that they need, and Spark's own window functions."""
    from keyfold.engine.session import session

    spark = session("bench windows")
    rows = spark.read.parquet(path)

    def windows_by_hand() -> None:
        rows.selectExpr("*", "unix_micros(at) AS micros").createOrReplaceTempView("long")
        noop(spark.sql(SQL.format(table="long", at="micros", week=7 * 86_400_000_000, least=1)))

    cases: dict[str, Callable[[], object]] = {
        "exchange and sort": lambda: noop(rows.repartition("k").sortWithinPartitions("k", "at")),
        "keyfold, Spark": lambda: windows(on_spark(path)),
    }
    return cases | ({"Spark by hand": windows_by_hand} if by_hand else {})


def windows(rows: "Frame", states: "Frame | None" = None) -> None:
    """Computes all windows and drops them."""
    from keyfold.feature_store.window_columns import BATCH, add_windows

    with rows.batches_by_rows(BATCH):
        drop(add_windows(series_of_conf(), rows, states))


def next_day(engine: str, path: str, rows: int, repeats: int) -> list[Record]:
    """All days, and one more day from the states of the days before."""
    import pyarrow.parquet as pq
    from pyarrow import compute as pc

    from keyfold.feature_store.window_columns import add_windows, latest_states

    table = pq.read_table(path)
    later = pc.greater_equal(table["at"].cast("int64"), (rows // SERIES - 1) * 86_400_000_000)
    folder = Path(path).parent
    parts = {"before": table.filter(pc.invert(later)), "day": table.filter(later)}
    for name, part in parts.items():
        (folder / name).mkdir(exist_ok=True)
        pq.write_table(part, folder / name / "0.parquet")
    frame = FRAMES[engine]
    (folder / "states").mkdir(exist_ok=True)
    states = latest_states(add_windows(series_of_conf(), frame(str(folder / "before"))), series_of_conf())
    pq.write_table(states.to_arrow(), folder / "states" / "0.parquet")
    cases = {
        "all days": lambda: windows(frame(path)),
        "the day": lambda: windows(frame(str(folder / "day")), frame(str(folder / "states"))),
    }
    title = f"{engine}: one more day, {parts['day'].num_rows:,} rows"
    return run_cases(title, cases, floor="all days", repeats=repeats, rows=rows)


def main() -> None:
    """Runs all cases in turns."""
    parser = arguments(__doc__, rows=5_000_000)
    parser.add_argument("--minutes", type=int, default=200_000, help="length of the series for tiles; 0: none")
    parser.add_argument("--engines", nargs="+", default=["spark", "embedded"], choices=["spark", "embedded"])
    parser.add_argument("--only", nargs="*", default=["Spark", "pandas", "Polars", "DuckDB"], metavar="PEER")
    options = parser.parse_args()
    tiles = tiled(options.minutes, options.repeats) if options.minutes else []
    if not options.rows:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        write_rows(path, options.rows)
        cases = spark_cases(str(path), by_hand="Spark" in options.only) if "spark" in options.engines else {}
        if "embedded" in options.engines:
            cases["keyfold, embedded"] = lambda: windows(embedded(str(path)))
        cases |= peers(str(path), {*options.only})
        peer = "Polars" if "Polars" in cases else None
        whole = run_cases("All windows", cases, peer=peer, repeats=options.repeats, rows=options.rows)
        days = {engine: next_day(engine, str(path), options.rows, options.repeats) for engine in options.engines}
    if options.json:
        options.json.write_text(json.dumps(machine() | {"whole": whole, "day": days, "tiles": tiles}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
