"""A network's training by parts: files to batches without Spark, two ranks compared with two independent processes, and the loop on a GPU.

26 columns of indices and 13 of numbers. Needs `./spark-submit.sh setup horovod`.
"""

import itertools
import json
import multiprocessing
import subprocess
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common import arguments, machine, records, run_cases, show
from keyfold.features.kind import FeatureOutput
from keyfold.features.matrix import Layout
from keyfold.models.torch import STREAMS
from keyfold.training.streams import Reader, StreamPlan, row_groups

INDICES, NUMBERS, BUCKETS = 26, 13, 1000
OUTS = {f"i{n}": FeatureOutput("int", BUCKETS) for n in range(INDICES)} | {
    f"x{n}": FeatureOutput("double") for n in range(NUMBERS)
}
BATCH = 3072
BATCHES = (3072, 24_576)
NETWORKS: dict[str, Any] = {
    "small": {"wide_deep": {"embedding": 8, "hidden": [64, 32]}},
    "large": {"wide_deep": {"embedding": 64, "hidden": [2048, 1024, 512]}},
}
CONF = {
    "network": {"wide_deep": {"embedding": 8, "hidden": [64, 32]}},
    "loop": {"epochs": 9, "batch_size": BATCH, "checkpoint_steps": 100},
}
# The last release of Petastorm needs an interface that PyArrow had until its release 14.
PETASTORM = ["petastorm==0.13.1", "pyarrow==12.0.1", "numpy<2", "pandas<2.2", "setuptools<80"]
IN_PETASTORM = f"""
import sys, time
import numpy as np
from petastorm import make_batch_reader
rng, results = np.random.default_rng(0), sys.stdout
sys.stdout = sys.stderr  # Petastorm prints messages
for line in sys.stdin:
    start = time.perf_counter()
    with make_batch_reader(f"file://{{sys.argv[1]}}", workers_count=1, num_epochs=1) as reader:
        for group in reader if line.strip() == "read" else ():
            pass
        for group in reader if line.strip() == "stack" else ():
            order = rng.permutation(len(group.keyfold_label))
            np.stack([getattr(group, f"i{{n}}") for n in range({INDICES})], axis=1)[order]
            np.stack([getattr(group, f"x{{n}}").astype(np.float32) for n in range({NUMBERS})], axis=1)[order]
            group.keyfold_label.astype(np.float32)[order]
    print(time.perf_counter() - start, file=results, flush=True)
"""


@contextmanager
def petastorm(folder: Path, data: Path) -> Iterator[dict[str, Callable[[], float]]]:
    """Petastorm's batch reader, in an environment of its own in the folder, which is created on first use."""
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PETASTORM], check=True)
        (folder / "installed").touch()
    command = [str(python), "-c", IN_PETASTORM, str(data)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin and process.stdout

        def time_epoch(mode: str) -> float:
            print(mode, file=process.stdin, flush=True)
            return float(process.stdout.readline())

        yield {"Petastorm, row groups": lambda: time_epoch("read"), "Petastorm, shuffled, stacked": lambda: time_epoch("stack")}
        process.stdin.close()


def write_files(folder: Path, rows: int) -> list[str]:
    """Writes one Parquet file per stream; returns their paths."""
    rng, paths = np.random.default_rng(0), []
    for stream in range(STREAMS):
        n = rows // STREAMS
        table = {f"i{i}": rng.integers(0, BUCKETS, n, np.int32) for i in range(INDICES)} | {
            f"x{i}": rng.normal(size=n) for i in range(NUMBERS)
        }
        table |= {"keyfold_label": rng.random(n) < 0.2, "keyfold_order": rng.integers(-(2**63), 2**63 - 1, n)}
        paths.append(str(folder / f"{stream}.parquet"))
        pq.write_table(pa.table(table), paths[-1], row_group_size=-(-n // 4))
    return paths


def plan(paths: list[str], batch: int) -> StreamPlan:
    """A plan in which each file is a stream."""
    return StreamPlan([row_groups([path]) for path in paths], Layout.of(OUTS), 0, batch // STREAMS)


def data_path(paths: list[str], rows: int, repeats: int, peers: dict[str, Callable[[], float]]) -> list[Any]:
    """Reads rows from files into arrays for torch."""
    import torch

    reader = Reader(plan(paths, BATCH), 0, 1)  # one for all epochs, as in training
    epochs = itertools.count()

    def keyfold_reader() -> None:
        for batch in reader.batches(next(epochs)):
            torch.from_numpy(batch.rows.indices), torch.from_numpy(batch.rows.numbers)

    def scan() -> None:
        for path in paths:
            file = pq.ParquetFile(path)
            for i in range(file.num_row_groups):
                file.read_row_group(i, use_threads=False)

    def stacked() -> None:
        rng = np.random.default_rng(0)
        for path in paths:
            file = pq.ParquetFile(path)
            for i in range(file.num_row_groups):
                table = file.read_row_group(i, use_threads=False)
                order = rng.permutation(table.num_rows)
                np.stack([table[f"i{n}"].to_numpy() for n in range(INDICES)], axis=1)[order]
                np.stack([table[f"x{n}"].to_numpy().astype(np.float32) for n in range(NUMBERS)], axis=1)[order]
                table["keyfold_label"].to_numpy().astype(np.float32)[order]

    class Rows(torch.utils.data.Dataset):  # type: ignore[misc,type-arg]
        def __init__(self) -> None:
            table = pq.read_table(paths[0])
            self.indices = np.stack([table[f"i{n}"].to_numpy() for n in range(INDICES)], axis=1)
            self.numbers = np.stack([table[f"x{n}"].to_numpy().astype(np.float32) for n in range(NUMBERS)], axis=1)

        def __len__(self) -> int:
            return len(self.indices)

        def __getitem__(self, i: int) -> Any:
            return self.indices[i], self.numbers[i]

    def loader() -> float:
        start = time.perf_counter()
        for _ in torch.utils.data.DataLoader(Rows(), batch_size=BATCH, shuffle=True):
            pass
        return (time.perf_counter() - start) * STREAMS  # of one stream

    cases: dict[str, Callable[[], object]] = {
        "files read": scan, "files read, shuffled, stacked": stacked, "keyfold": keyfold_reader, "torch DataLoader (of 1/12, times 12)": loader, **peers,
    }  # fmt: skip
    return run_cases(
        "From files to batches, one process", cases, "files read", "files read, shuffled, stacked", repeats, rows=rows
    )


def train_alone(paths: list[str], batch: int, folder: str, ready: Any, results: Any) -> None:
    """Trains in one process, on half of the rows in batches of half the size."""
    import torch

    from keyfold.training.collectives import SingleProcess

    torch.set_num_threads(1)
    marks: list[float] = []
    task = _task(paths * 2, batch // 2, folder)  # half the files, each of them two streams
    task = task._replace(data=task.data._replace(train=task.data.train._replace(streams=_halves(paths))))
    ready.wait()
    task.run(SingleProcess(), lambda _: marks.append(time.time()))
    results.put(marks)


def _halves(paths: list[str]) -> list[Any]:
    """Twelve streams of the row groups of six files."""
    return [part for path in paths for whole in [row_groups([path])] for part in (whole[::2], whole[1::2])]


def _task(paths: list[str], batch: int, folder: str) -> Any:
    from keyfold.models.torch import Torch
    from keyfold.training.loop import TrainingData
    from keyfold.training.rank_task import RankTask

    no_rows: list[list[Any]] = [[] for _ in range(STREAMS)]
    conf = Torch.model_validate(CONF | {"loop": CONF["loop"] | {"batch_size": batch}})
    return RankTask(conf, TrainingData(plan(paths, batch), StreamPlan(no_rows, Layout.of(OUTS), 0, 1)), Path(folder), {})


def _epochs(marks: list[float], together: int = 1) -> list[float]:
    """Seconds of the epochs after the first, which loads libraries. Means of `together` epochs, since the driver polls three times a second."""
    return [(b - a) / together for a, b in itertools.pairwise(marks[::together])]


def two_ranks(paths: list[str], rows: int, folder: Path) -> list[Any]:
    """Times an epoch of two ranks and of two processes alone, in batches of both sizes."""
    from keyfold.conf.use_case import parse_conf
    from keyfold.engine import session as keyfold_spark
    from keyfold.runtime.run import Run

    run = Run(parse_conf({"name": "bench", "data": {"key": ["k"]}}), keyfold_spark.session("bench training"))
    return [record for batch in BATCHES for record in _two_ranks(run, paths, rows, batch, folder)]


def _two_ranks(run: Any, paths: list[str], rows: int, batch: int, folder: Path) -> list[Any]:
    from keyfold.training import horovod_launch

    context = multiprocessing.get_context("spawn")
    ready, results = context.Event(), context.Queue()
    halves = [paths[: STREAMS // 2], paths[STREAMS // 2 :]]
    processes = [
        context.Process(target=train_alone, args=(half, batch, str(folder / f"alone-{batch}-{i}"), ready, results))
        for i, half in enumerate(halves)
    ]
    for process in processes:
        process.start()
    time.sleep(15)  # for their imports
    ready.set()
    marks = [results.get() for _ in processes]
    for process in processes:
        process.join()
    alone = [max(pair) for pair in zip(*(_epochs(m, 4) for m in marks), strict=True)]
    ends: list[float] = []
    start = time.time()
    task = _task(paths, batch, str(folder / f"ranks-{batch}"))
    horovod_launch.run_ranks(run, 2, None, task.folder, task.run_as_rank, lambda _: ends.append(time.time()))
    print(f"two ranks: from the start to the end of the first epoch {ends[0] - start:.1f} s\n")
    table = records({"two processes alone": alone, "two ranks": _epochs(ends, 4)}, rows, "two processes alone", None)
    show(f"An epoch in batches of {batch:,}, two processes with a thread each", table)
    return table


def on_gpu(paths: list[str], rows: int, folder: Path, repeats: int) -> list[Any]:
    """The seconds of an epoch of one process, from files and from batches that are there already."""
    import torch

    from keyfold.training.checkpoints import Checkpoints
    from keyfold.training.collectives import SingleProcess
    from keyfold.training.loop import Training

    tables: list[Any] = []
    for name, network in NETWORKS.items():
        batches: list[Any] = []
        seconds: dict[str, list[float]] = {}
        on_cpu = [("cpu", False)] if name == "small" else []  # the large network takes minutes on a CPU
        for device, mixed in (*on_cpu, ("cuda", False), ("cuda", True)):
            for case in ("files", "memory"):
                loop = CONF["loop"] | {"epochs": repeats + 1, "mixed_precision": mixed, "checkpoint_steps": 10**6}
                conf = _task(paths, BATCH, "").conf.model_validate({"network": network, "loop": loop})
                module = conf.build(plan(paths, BATCH).layout, 0).to(device)
                training = Training(module, conf.loop, _task(paths, BATCH, "").data, SingleProcess())
                if case == "memory":
                    batches = batches or list(training._steps())
                    training._steps = batches.__iter__  # type: ignore[method-assign, assignment]
                marks: list[float] = []
                checkpoints = Checkpoints(folder / f"{name}-{device}-{mixed}-{case}")
                training.run(checkpoints, lambda _, marks=marks: marks.append(time.time()))  # type: ignore[misc]
                seconds[f"{name}, {device}{' bfloat16' if mixed else ''}, {case}"] = _epochs(marks)
        table = records(seconds, rows, f"{name}, cuda, memory", None)
        show(f"An epoch, one process, {torch.cuda.get_device_name()}", table)
        tables += table
    return tables


def main() -> None:
    """Runs the parts that are named by --parts (default: all)."""
    parser = arguments(__doc__, rows=1_200_000)
    parser.add_argument("--parts", nargs="+", default=["data", "ranks", "gpu"], choices=["data", "ranks", "gpu"])
    parser.add_argument(
        "--petastorm", metavar="FOLDER", type=Path, help="also measure Petastorm, which is installed into this folder once"
    )
    options = parser.parse_args()
    import torch

    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder)
        paths = write_files(temporary, options.rows)
        results: dict[str, Any] = {}
        if "data" in options.parts:
            with petastorm(options.petastorm.absolute(), temporary) if options.petastorm else nullcontext({}) as peers:
                results["data"] = data_path(paths, options.rows, options.repeats, peers)
        if "ranks" in options.parts:
            results["ranks"] = two_ranks(paths, options.rows, temporary)
        if "gpu" in options.parts and torch.cuda.is_available():
            results["gpu"] = on_gpu(paths, options.rows, temporary, options.repeats)
    if options.json:
        options.json.write_text(json.dumps(machine() | results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
