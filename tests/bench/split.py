"""Folds as a column of a scan and as three outputs, compared with `randomSplit`; and the rows that change their fold after a repartition."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import arguments, machine, run_cases

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SHARE = (0.8, 0.1, 0.1)
TIME = {"validation": "2026-07-01", "test": "2026-09-01", "gap": "10 days"}


def noop(frame: "DataFrame") -> None:
    """Computes all rows and drops them."""
    frame.write.format("noop").mode("overwrite").save()


def count_moved(frame: "DataFrame", other: "DataFrame") -> str:
    """How many training rows are no longer in train, from two splits of the same table."""
    lost = frame.select("id").exceptAll(other.select("id")).count()
    return f"{lost:,} of {frame.count():,} training rows moved"


def main() -> None:
    """Runs the benchmarks in one session."""
    options = arguments(__doc__, rows=5_000_000).parse_args()
    from keyfold.conf.split import Split
    from keyfold.core.names import FOLDS
    from keyfold.engine import session as keyfold_spark
    from keyfold.engine.spark_frame import SparkFrame
    from keyfold.split.folds import Folds

    spark = keyfold_spark.session("bench split")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "rows"))
        texts = [f"concat('v', pmod(xxhash64({i}, id), 100000)) AS c{i}" for i in range(4)]
        spark.range(options.rows).selectExpr("id", "date_add(date'2026-01-01', int(id % 365)) AS at", *texts).write.parquet(path)
        rows = spark.read.parquet(path)
        by_hash, by_group, by_time = (
            Folds(Split.model_validate(conf), ["id"], "bench", "at") for conf in ({}, {"by": "c0"}, {"time": TIME})
        )

        def fold(folds: Folds, frame: "DataFrame") -> "DataFrame":
            return folds.add(SparkFrame(frame), "fold").data

        def parts(folds: Folds, frame: "DataFrame") -> "list[DataFrame]":
            with_fold = fold(folds, frame)
            return [with_fold.where(f"fold = '{fold}'").drop("fold") for fold in FOLDS]

        settings: dict[str, Any] = {"repeats": options.repeats, "rows": options.rows}
        column = run_cases(
            "The fold as a column",
            {
                "scan": lambda: noop(rows),
                "scan and a constant text": lambda: noop(rows.selectExpr("*", "'train' AS fold")),
                "scan and fold by key": lambda: noop(fold(by_hash, rows)),
                "scan and fold by a text": lambda: noop(fold(by_group, rows)),
                "scan and fold by time": lambda: noop(fold(by_time, rows)),
            },
            floor="scan",
            **settings,
        )
        outputs = run_cases(
            "Three outputs",
            {
                "keyfold": lambda: [noop(part) for part in parts(by_hash, rows)],
                "randomSplit": lambda: [noop(part) for part in rows.randomSplit(list(SHARE), seed=0)],
            },
            peer="randomSplit",
            **settings,
        )
        other = rows.repartition(7)
        moved = {
            "keyfold": count_moved(parts(by_hash, rows)[0], parts(by_hash, other)[0]),
            "randomSplit": count_moved(rows.randomSplit(list(SHARE), seed=0)[0], other.randomSplit(list(SHARE), seed=0)[0]),
        }
        print("\nThe same rows in 7 partitions:", *(f"{name}: {message}" for name, message in moved.items()), sep="\n  ")
    if options.json:
        options.json.write_text(
            json.dumps(machine() | {"column": column, "outputs": outputs, "moved": moved}, indent=1) + "\n", "utf-8"
        )


if __name__ == "__main__":
    main()
