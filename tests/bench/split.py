"""Folds: as one more column of a scan, and as three outputs, beside `randomSplit`; and the rows that a repartition moves."""

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


def moved(frame: "DataFrame", other: "DataFrame") -> str:
    """Of two sides that hold training rows of the same table, how many of the first are not in the second."""
    lost = frame.select("id").exceptAll(other.select("id")).count()
    return f"{lost:,} of {frame.count():,} training rows moved"


def main() -> None:
    """All tables in one session."""
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

        def fold(cut: Folds, frame: "DataFrame") -> "DataFrame":
            return cut.add(SparkFrame(frame), "fold").data

        def parts(cut: Folds, frame: "DataFrame") -> "list[DataFrame]":
            made = fold(cut, frame)
            return [made.where(f"fold = '{fold}'").drop("fold") for fold in FOLDS]

        again: dict[str, Any] = {"repeats": options.repeats, "rows": options.rows}
        one = run_cases(
            "The fold as a column",
            {
                "scan": lambda: noop(rows),
                "scan and a constant text": lambda: noop(rows.selectExpr("*", "'train' AS fold")),
                "scan and fold by key": lambda: noop(fold(by_hash, rows)),
                "scan and fold by a text": lambda: noop(fold(by_group, rows)),
                "scan and fold by time": lambda: noop(fold(by_time, rows)),
            },
            floor="scan",
            **again,
        )
        three = run_cases(
            "Three outputs",
            {
                "keyfold": lambda: [noop(part) for part in parts(by_hash, rows)],
                "randomSplit": lambda: [noop(part) for part in rows.randomSplit(list(SHARE), seed=0)],
            },
            peer="randomSplit",
            **again,
        )
        other = rows.repartition(7)
        found = {
            "keyfold": moved(parts(by_hash, rows)[0], parts(by_hash, other)[0]),
            "randomSplit": moved(rows.randomSplit(list(SHARE), seed=0)[0], other.randomSplit(list(SHARE), seed=0)[0]),
        }
        print("\nThe same rows in 7 partitions:", *(f"{name}: {said}" for name, said in found.items()), sep="\n  ")
    if options.json:
        options.json.write_text(
            json.dumps(machine() | {"column": one, "outputs": three, "moved": found}, indent=1) + "\n", "utf-8"
        )


if __name__ == "__main__":
    main()
