"""Shared by all benchmarks: runs cases in turns, so that a busy machine slows all of them alike, and records their times."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.engine.frame import Frame


class Record(TypedDict):
    """Seconds of a case: all runs, their median, and its ratios to the medians of the floor and the peer."""

    case: str
    rows: int
    seconds: list[float]
    median: float
    vs_floor: float | None
    vs_peer: float | None


def arguments(description: str | None, rows: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have; a benchmark may add its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rows", type=int, default=rows, help=f"default {rows:,}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", type=Path, help="also writes the records to this file")
    return parser


def run_cases(
    title: str,
    cases: Mapping[str, Callable[[], object]],
    floor: str | None = None,
    peer: str | None = None,
    repeats: int = 3,
    warmup: int = 1,
    rows: int = 0,
    file: Path | None = None,
) -> list[Record]:
    """Times the cases and prints them; a case that returns a float has timed itself."""
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    for turn in range(-warmup, repeats):
        for case, call in cases.items():
            duration = timed(call)
            if turn >= 0:
                seconds[case].append(duration)
    results = records(seconds, rows, floor, peer)
    show(title, results)
    if file:
        file.write_text(json.dumps({"title": title} | machine() | {"records": results}, indent=1) + "\n", "utf-8")
    return results


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call, or the seconds that it returns."""
    start = time.perf_counter()
    result = call()
    return result if isinstance(result, float) else time.perf_counter() - start


def records(seconds: Mapping[str, list[float]], rows: int, floor: str | None, peer: str | None) -> list[Record]:
    """One record per case."""
    median = {case: statistics.median(runs) for case, runs in seconds.items()}

    def ratio(case: str, other: str | None) -> float | None:
        return median[case] / median[other] if other else None

    return [
        Record(case=case, rows=rows, seconds=runs, median=median[case], vs_floor=ratio(case, floor), vs_peer=ratio(case, peer))
        for case, runs in seconds.items()
    ]


def machine() -> dict[str, int | float | str]:
    """The machine of the measurement."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count() or 1, "memory_gb": round(memory / 2**30, 1), "system": platform.platform(terse=True)}


def show(title: str, results: list[Record]) -> None:
    """Prints a table of the records."""
    print(f"{title}\n{', '.join(f'{name} {value}' for name, value in machine().items())}\n")
    print(f"{'case':<40} {'rows':>11} {'median s':>9} {'vs floor':>9} {'vs peer':>8}   every run")
    for record in results:
        ratios = [f"{ratio:.2f}" if ratio else "" for ratio in (record["vs_floor"], record["vs_peer"])]
        runs = " ".join(f"{run:.2f}" for run in record["seconds"])
        print(f"{record['case']:<40} {record['rows']:>11,} {record['median']:>9.2f} {ratios[0]:>9} {ratios[1]:>8}   {runs}")


def noop(frame: "DataFrame") -> None:
    """Computes all rows on Spark and drops them."""
    frame.write.format("noop").mode("overwrite").save()


def drop(frame: "Frame") -> None:
    """Computes all rows and drops them."""
    from keyfold.engine.embedded_frame import EmbeddedFrame
    from keyfold.engine.spark_frame import data_of

    if isinstance(frame, EmbeddedFrame):
        for _ in frame.batches():
            pass
    else:
        noop(data_of(frame))


def on_spark(path: str) -> "Frame":
    """The rows of Parquet files on Spark."""
    from keyfold.engine.session import session
    from keyfold.engine.spark_frame import SparkFrame

    return SparkFrame(session("bench").read.parquet(path))


def embedded(path: str) -> "Frame":
    """The rows of Parquet files on the embedded engine, which reads those of Delta tables alike."""
    from pyarrow import dataset

    from keyfold.engine import engine
    from keyfold.engine.embedded_frame import EmbeddedFrame, local_rows

    return EmbeddedFrame(engine.embedded().database, local_rows(dataset.dataset(path)))


FRAMES: dict[str, Callable[[str], "Frame"]] = {"spark": on_spark, "embedded": embedded}
