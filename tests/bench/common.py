"""What each benchmark shares: cases run in turns, so that a busy machine slows them alike, and one form of record."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict


class Record(TypedDict):
    """What one case took: every run, their median, and that beside the floor's and the peer's."""

    case: str
    rows: int
    seconds: list[float]
    median: float
    vs_floor: float | None
    vs_peer: float | None


def arguments(about: str | None, rows: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have; a benchmark may add its own."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rows", type=int, default=rows, help=f"default {rows:,}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", type=Path, help="writes the records there too")
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
            took = timed(call)
            if turn >= 0:
                seconds[case].append(took)
    found = records(seconds, rows, floor, peer)
    show(title, found)
    if file:
        file.write_text(json.dumps({"title": title} | machine() | {"records": found}, indent=1) + "\n", "utf-8")
    return found


def timed(call: Callable[[], object]) -> float:
    """The seconds of one call."""
    start = time.perf_counter()
    said = call()
    return said if isinstance(said, float) else time.perf_counter() - start


def records(seconds: Mapping[str, list[float]], rows: int, floor: str | None, peer: str | None) -> list[Record]:
    """One record a case."""
    median = {case: statistics.median(runs) for case, runs in seconds.items()}

    def beside(case: str, other: str | None) -> float | None:
        return median[case] / median[other] if other else None

    return [
        Record(case=case, rows=rows, seconds=runs, median=median[case], vs_floor=beside(case, floor), vs_peer=beside(case, peer))
        for case, runs in seconds.items()
    ]


def machine() -> dict[str, int | float | str]:
    """What the seconds were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count() or 1, "memory_gb": round(memory / 2**30, 1), "system": platform.platform(terse=True)}


def show(title: str, found: list[Record]) -> None:
    """A table on stdout."""
    print(f"{title}\n{', '.join(f'{name} {value}' for name, value in machine().items())}\n")
    print(f"{'case':<40} {'rows':>11} {'median s':>9} {'vs floor':>9} {'vs peer':>8}   every run")
    for record in found:
        beside = [f"{ratio:.2f}" if ratio else "" for ratio in (record["vs_floor"], record["vs_peer"])]
        runs = " ".join(f"{run:.2f}" for run in record["seconds"])
        print(f"{record['case']:<40} {record['rows']:>11,} {record['median']:>9.2f} {beside[0]:>9} {beside[1]:>8}   {runs}")
