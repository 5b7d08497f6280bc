"""The whole pipeline, from a CSV file of customer-months to committed predictions, by keyfold and (`--peers`) by hand.

`--job ingest` stops at the table of the rows; by hand that is a read and a Delta write by Polars. Every case is a new process with an
empty state folder. The peers do the same work; `peers/` lists what they leave out. `--engines` names the engines of keyfold to run. Memory
is the proportional set size (PSS) of all processes of a case, sampled twice a second from /proc, so it is measured on Linux only.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from common import arguments, machine

ROOT = Path(__file__).resolve().parents[2]
CONF, PEERS = ROOT / "conf" / "churn.yaml", Path(__file__).parent / "peers"
MEMORY = "4g"  # of Spark's driver


class Measured(NamedTuple):
    """One run of a case: seconds, memory in GB by kind of process, the ROC AUC on its test fold, and seconds by step."""

    seconds: float
    memory: Mapping[str, float]
    roc_auc: float
    steps: Mapping[str, float]


def write_csv(rows: int, file: Path) -> int:
    """Writes about `rows` customer-months; returns their exact number."""
    import pyarrow as pa
    from pyarrow import csv

    from keyfold.generators.telecom import TELECOM_BLOCK, Telecom

    source, written, number = Telecom(generator="telecom", customers=2**40), 0, 0
    with csv.CSVWriter(file, source.block(0, 1).schema) as writer:
        while written < rows:
            block = source.block(number, TELECOM_BLOCK)
            writer.write_table(pa.Table.from_batches([block]))
            written, number = written + block.num_rows, number + 1
    return written


def write_conf(source: Path, file: Path) -> None:
    """The example conf with the CSV file as its source."""
    import yaml

    from keyfold.generators.telecom import Telecom

    conf = yaml.safe_load(CONF.read_text("utf-8"))
    conf["data"] |= {"source": str(source), "columns": dict(Telecom.types)}
    file.write_text(yaml.safe_dump(conf), "utf-8")


def commands(job: str, engines: Sequence[str], conf: Path, csv: Path, *, peers: bool) -> dict[str, list[str]]:
    """The command of each case; `{folder}` stands for its state folder."""
    spark = [str(ROOT / "spark-submit.sh"), job, str(conf), "--", "--driver-memory", MEMORY]
    embedded = [sys.executable, "-m", "keyfold.cli.main", job, str(conf), "--set", "engine=embedded"]
    cases = {f"keyfold, {engine}": embedded if engine == "embedded" else spark for engine in engines}
    if peers and job == "ingest":
        cases["Polars by hand"] = [sys.executable, str(PEERS / "polars_ingest.py"), str(csv), "{folder}"]
    elif peers:
        cases["Polars by hand"] = [sys.executable, str(PEERS / "polars_by_hand.py"), str(csv), "{folder}"]
        cases["PySpark by hand"] = [*spark_submit(), str(PEERS / "pyspark_by_hand.py"), str(csv), "{folder}"]
    return cases


def spark_submit() -> list[str]:
    """spark-submit with Delta, as its documentation says, and the memory that keyfold gets."""
    from keyfold.engine.session import delta_package

    jars = Path(sys.prefix, "delta-jars")
    delta = ["--jars", ",".join(jars.read_text("utf-8").split())] if jars.is_file() else ["--packages", delta_package()]
    settings = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.shuffle.partitions": str(os.cpu_count()), "spark.log.level": "ERROR",
    }  # fmt: skip
    options = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    submit = str(Path(sys.executable).parent / "spark-submit")
    return [submit, "--master", f"local[{os.cpu_count()}]", "--driver-memory", MEMORY, *delta, *options]


def run_case(command: Sequence[str], folder: Path) -> Measured:
    """Runs a case in a fresh folder; exits if it fails."""
    folder.mkdir(parents=True)
    output = folder.parent / f"{folder.name}.log"
    start = time.time()
    with output.open("w") as log:
        environment = os.environ | {"KEYFOLD_HOME": str(folder), "PYSPARK_PYTHON": sys.executable}
        words = [word.replace("{folder}", str(folder)) for word in command]
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        memory = watch_memory(process)
    seconds, text = time.time() - start, output.read_text("utf-8")
    if process.returncode:
        sys.exit(f"{words[0]} failed:\n{text}")
    roc_auc = re.search(r"roc_auc[^0-9]*([0-9.]+)|ROC AUC[^0-9]*([0-9.]+)", text)
    steps = {f"{job} {step}": float(duration) for job, step, duration in re.findall(r"(?m)^(\w+) +(\w+) .*? ([0-9.]+) s$", text)}
    return Measured(seconds, memory, float(next(filter(None, roc_auc.groups()))) if roc_auc else float("nan"), steps)


def watch_memory(process: "subprocess.Popen[bytes]") -> dict[str, float]:
    """Waits for a process; returns the peak memory in GB of it and its children, by kind and in total."""
    peak: dict[str, float] = {}
    while process.poll() is None:
        current = memory_of(process_tree(process.pid))
        peak = {kind: max(peak.get(kind, 0.0), current.get(kind, 0.0)) for kind in peak | current}
        time.sleep(0.5)
    return peak


def process_tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in read(children).split():
            yield from process_tree(int(child))


def memory_of(pids: Iterable[int]) -> dict[str, float]:
    """PSS in GB by kind of process."""
    sizes = {"all": 0.0}
    for pid in pids:
        kind = "JVM" if read(Path(f"/proc/{pid}/comm")).strip() == "java" else "Python"
        pages = [line.split()[1] for line in read(Path(f"/proc/{pid}/smaps_rollup")).splitlines() if line.startswith("Pss:")]
        size = sum(map(int, pages)) / 2**20
        sizes |= {kind: sizes.get(kind, 0.0) + size, "all": sizes["all"] + size}
    return sizes


def read(path: Path) -> str:
    """The text of a file; empty if it is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def show(job: str, runs: Mapping[str, Sequence[Measured]], rows: int) -> None:
    """Prints a table of the cases, and the seconds of keyfold's steps."""
    result = "a table" if job == "ingest" else "committed predictions"
    print(f"{rows:,} rows, CSV to {result}\n{', '.join(f'{k} {v}' for k, v in machine().items())}\n")
    medians = {case: statistics.median(run.seconds for run in measured) for case, measured in runs.items()}
    peers = [case for case in medians if "by hand" in case]
    print(
        f"{'case':<20} {'median s':>9} {'peak GB':>8} {'ROC AUC':>8}  "
        + "  ".join(f"of {peer}" for peer in peers)
        + "  every run"
    )
    for case, measured in runs.items():
        ratios = "  ".join(f"{medians[case] / medians[peer]:>{len(peer) + 3}.2f}" for peer in peers)
        every, peak = " ".join(f"{run.seconds:.1f}" for run in measured), max(run.memory["all"] for run in measured)
        print(f"{case:<20} {medians[case]:>9.1f} {peak:>8.2f} {measured[-1].roc_auc:>8.4f}  {ratios}  {every}")
    for case, measured in runs.items():
        if measured[-1].steps:
            print(f"\n{case}: " + ", ".join(f"{step} {seconds:.1f}" for step, seconds in measured[-1].steps.items()))


def main() -> None:
    """Runs the cases in turns."""
    parser = arguments(__doc__, rows=1_000_000)
    parser.add_argument("--job", choices=["pipeline", "ingest"], default="pipeline")
    parser.add_argument("--peers", action="store_true", help="also run the same work by hand, with Polars and with PySpark")
    parser.add_argument("--engines", nargs="*", default=["spark"], help="keyfold's engines (default: spark)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        csv, conf = Path(folder, "churn.csv"), Path(folder, "churn.yaml")
        rows = write_csv(options.rows, csv)
        write_conf(csv, conf)
        cases = commands(options.job, options.engines, conf, csv, peers=options.peers)
        runs: dict[str, list[Measured]] = {case: [] for case in cases}
        for turn in range(options.repeats):
            for number, (case, command) in enumerate(cases.items()):
                runs[case].append(run_case(command, Path(folder, f"{turn}-{number}")))
        show(options.job, runs, rows)
    if options.json:
        results = machine() | {
            "rows": rows,
            "runs": {case: [run._asdict() for run in measured] for case, measured in runs.items()},
        }
        options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
