"""The whole pipeline by ./spark-submit.sh, step by step; then scoring alone beside its floors, in one session.

The rows are customer-months of the generated company; the driver has 4 GB. Memory is what the processes of the pipeline
hold together, a page that several of them share counted once, looked at twice a second. It is read from /proc, so Linux alone tells it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from common import arguments, machine, records, run_cases, show

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ROOT = Path(__file__).resolve().parents[2]
CONF, MEMORY = ROOT / "conf" / "churn.yaml", "4g"


class Measured(NamedTuple):
    """One run of the pipeline."""

    steps: dict[str, float]
    rows: dict[str, int]
    memory: dict[str, float]


def overrides(rows: int) -> list[str]:
    """So many customers that they have about `rows` months together."""
    from keyfold.conf.use_case import load_conf
    from keyfold.generators.telecom import TELECOM_BLOCK

    source = load_conf(CONF).data.source
    a_customer = sum(source.block(n, TELECOM_BLOCK).num_rows for n in range(20)) / 20 / TELECOM_BLOCK
    return [f"data.source.customers={max(1, round(rows / a_customer))}"]


def pipeline(settings: list[str], home: Path) -> Measured:
    """As a user runs it: the seconds from the shell's start to its end, and in between those that the ledger tells."""
    home.mkdir(parents=True)
    words = [word for setting in settings for word in ("--set", setting)]
    command = [str(ROOT / "spark-submit.sh"), "pipeline", str(CONF), *words, "--", "--driver-memory", MEMORY]
    start = time.time()
    with (home.parent / "said").open("w+") as said:
        process = subprocess.Popen(command, env=os.environ | {"KEYFOLD_HOME": str(home)}, stdout=said, stderr=said)
        memory = watched(process)
        if process.wait():
            said.seek(0)
            sys.exit(f"the pipeline failed:\n{said.read()}")
    return told(home, start, time.time(), memory)


def told(home: Path, start: float, end: float, memory: dict[str, float]) -> Measured:
    """What the ledger knows, between what it does not."""
    from deltalake import DeltaTable

    jobs = DeltaTable(str(home / "tables" / "keyfold" / "runs")).to_pyarrow_table().sort_by("started_at").to_pylist()
    steps = {"whole": end - start, "start-up": jobs[0]["started_at"].timestamp() - start}
    steps |= {f"{job['job']}: {name}": seconds for job in jobs for name, seconds in job["steps"]}
    steps["all else"] = 2 * steps["whole"] - sum(steps.values())
    return Measured(steps, {job["job"]: job["rows_read"] for job in jobs}, memory)


def watched(process: "subprocess.Popen[bytes]") -> dict[str, float]:
    """Waits for a process; the most gigabytes that it and its children held, by kind and in all."""
    most: dict[str, float] = {}
    while process.poll() is None:
        now = held(family(process.pid))
        most = {kind: max(most.get(kind, 0.0), now.get(kind, 0.0)) for kind in most | now}
        time.sleep(0.5)
    return most


def family(pid: int) -> Iterator[int]:
    """A process and all that came of it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in read(children).split():
            yield from family(int(child))


def held(pids: Iterable[int]) -> dict[str, float]:
    """Gigabytes by kind of process, each page shared out among those that share it."""
    found = {"all": 0.0}
    for pid in pids:
        kind = "JVM" if read(Path(f"/proc/{pid}/comm")).strip() == "java" else "Python"
        pages = [line.split()[1] for line in read(Path(f"/proc/{pid}/smaps_rollup")).splitlines() if line.startswith("Pss:")]
        size = sum(map(int, pages)) / 2**20
        found |= {kind: found.get(kind, 0.0) + size, "all": found["all"] + size}
    return found


def read(path: Path) -> str:
    """The text of a file that may be gone by now."""
    try:
        return path.read_text()
    except OSError:
        return ""


def scoring(settings: list[str], home: Path) -> dict[str, Callable[[], object]]:
    """Cases on all months of the table, whose rows are in one partition a month as the pipeline left them."""
    from keyfold.conf.use_case import load_conf
    from keyfold.core.sql import col
    from keyfold.dataset.labelled_rows import folds_of
    from keyfold.engine import session
    from keyfold.models import predictor
    from keyfold.models.model import Model
    from keyfold.runtime.run import Run
    from keyfold.scoring import job as score
    from keyfold.tracking import registry

    os.environ["KEYFOLD_HOME"] = str(home)
    run = Run(load_conf(CONF, settings), session.session("bench pipeline"))
    version = registry.find_version(f"models:/{run.conf.name}@{registry.CHAMPION}")
    folder = registry.fetch_model(version, home.parent / "model")
    model, packed = Model.load(folder), predictor.pack_folder(folder)
    rows = run.rows.read()
    taken = rows.select(*map(col, [*run.conf.data.key, *model.spec.inputs]))
    folded = folds_of(run).add(taken, "fold")
    scored = score._answered(run, model, version, packed, rows)

    def delta(frame: "DataFrame") -> object:
        return frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(str(home.parent / "written"))

    return {
        "scan": lambda: noop(taken),
        "scan, fold": lambda: noop(folded),
        "scan, fold, identity mapInArrow": lambda: noop(folded.mapInArrow(identity, folded.schema)),
        "scan, fold, answer": lambda: noop(scored),
        "scan, Delta write": lambda: delta(taken),
        "scan, fold, answer, Delta write": lambda: delta(scored),
    }


def identity(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """What a Python step costs that does nothing."""
    yield from batches


def noop(frame: "DataFrame") -> None:
    """Computes all rows and drops them."""
    frame.write.format("noop").mode("overwrite").save()


def main() -> None:
    """The pipeline as often as asked for, then the scoring of what its last run left."""
    parser = arguments(__doc__, rows=1_000_000)
    parser.add_argument("--pipelines", type=int, default=1, help="how often the whole pipeline runs (default 1)")
    options = parser.parse_args()
    settings = overrides(options.rows)
    with tempfile.TemporaryDirectory() as folder:
        runs = [pipeline(settings, Path(folder, str(n), "state")) for n in range(options.pipelines)]
        rows = runs[0].rows["ingest"]
        steps = {name: [run.steps[name] for run in runs] for name in runs[0].steps}
        memory = {kind: round(max(run.memory[kind] for run in runs), 2) for kind in runs[0].memory}
        whole = records(steps, rows, None, None)
        show(f"The pipeline within {MEMORY} of driver memory", whole)
        print("most memory in GB at once: " + ", ".join(f"{kind} {size}" for kind, size in memory.items()) + "\n")
        alone = run_cases(
            "Scoring alone, all months",
            scoring(settings, Path(folder, str(options.pipelines - 1), "state")),
            floor="scan",
            peer="scan, fold, identity mapInArrow",
            repeats=options.repeats,
            rows=rows,
        )
    if options.json:
        found = machine() | {"memory": memory, "pipeline": whole, "scoring": alone}
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
