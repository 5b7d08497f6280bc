"""Launches processes (ranks) that work together through Horovod: on this machine, or as tasks of Spark."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TextIO

from keyfold.engine.session import parallel_tasks
from keyfold.errors import ConfError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class RankKilledError(RuntimeError):
    """A rank was ended by a signal that nobody here sent."""


class Launcher(ABC):
    """Launches ranks. `one_host`: whether all of them run on this machine."""

    one_host: bool

    @abstractmethod
    def check(self, ranks: int) -> None:
        """Raises ConfError if so many ranks cannot run at once."""

    @abstractmethod
    def on_hosts(self, function: Callable[[], Any], ranks: int) -> list[Any]:
        """What a picklable function returns in this process, and on each other host that ranks may run on."""

    @abstractmethod
    def run(
        self, work: Callable[[], Any], ranks: int, interface: str, settings: Mapping[str, str], output: TextIO
    ) -> Any:  # fmt: skip
        """Runs picklable work on all ranks, and returns the result of rank 0, also a picklable one.

        interface: the network interface of all hosts. settings: Horovod's variables. output: file for what ranks print.
        Raises RuntimeError if a rank fails.
        """


class SparkLauncher(Launcher):
    """Launches ranks as tasks of Spark."""

    def __init__(self, spark: "SparkSession") -> None:
        self._spark = spark
        self._context = spark.sparkContext
        self.one_host = (self._context.master or "").startswith("local")

    def check(self, ranks: int) -> None:
        """Raises ConfError if Spark has too few cores, or may remove executors."""
        conf = self._context.getConf()
        tasks = parallel_tasks(self._spark) if self.one_host else self._context.defaultParallelism
        tasks //= int(conf.get("spark.task.cpus", "1") or 1)
        if tasks < ranks:
            raise ConfError(f"train.ranks is {ranks}, and Spark runs {tasks} tasks at once; take fewer ranks, or more cores")
        if conf.get("spark.dynamicAllocation.enabled", "false") == "true":
            raise ConfError(
                "train.ranks: with spark.dynamicAllocation.enabled Spark may remove the executor of a rank; submit with "
                "--conf spark.dynamicAllocation.enabled=false"
            )

    def on_hosts(self, function: Callable[[], Any], ranks: int) -> list[Any]:
        """The results in this process and in as many tasks as ranks."""
        # A barrier runs all tasks at once, so on all hosts that will have ranks.
        tasks = self._context.parallelize(range(ranks), ranks).barrier()
        return [function(), *tasks.mapPartitions(lambda _: [function()]).collect()]

    def run(
        self, work: Callable[[], Any], ranks: int, interface: str, settings: Mapping[str, str], output: TextIO
    ) -> Any:  # fmt: skip
        """Runs work on all ranks, and returns the result of rank 0."""
        import horovod.spark

        results: list[Any] = horovod.spark.run(
            work, num_proc=ranks, use_gloo=True, nics={interface}, verbose=0, env=dict(settings),
            executable=os.environ.get("PYSPARK_PYTHON", sys.executable),
            stdout=output, stderr=output,
        )  # fmt: skip
        return results[0]


class LocalLauncher(Launcher):
    """Launches ranks as processes of this machine, which end with this one."""

    one_host = True

    def __init__(self, cores: int) -> None:
        self._cores = cores

    def check(self, ranks: int) -> None:
        """Raises ConfError if there are too few cores."""
        if self._cores < ranks:
            raise ConfError(f"train.ranks is {ranks}, and this process may use {self._cores} cores; take fewer ranks")

    def on_hosts(self, function: Callable[[], Any], ranks: int) -> list[Any]:
        """The result in this process."""
        return [function()]

    def run(
        self, work: Callable[[], Any], ranks: int, interface: str, settings: Mapping[str, str], output: TextIO
    ) -> Any:  # fmt: skip
        """Runs work on all ranks, and returns the result of rank 0 (RankKilledError if a rank was killed)."""
        from horovod.runner.common.util.settings import Settings
        from horovod.runner.gloo_run import launch_gloo
        from horovod.runner.util.network import get_driver_ip

        with tempfile.TemporaryDirectory(prefix="keyfold-ranks-") as folder:
            Path(folder, "work").write_bytes(pickle.dumps(work))
            processes = _Processes(output)
            try:
                launch_gloo(
                    [sys.executable, "-m", "keyfold.engine.rank", folder, str(os.getpid())], processes.run,
                    Settings(num_proc=ranks, hosts=f"localhost:{ranks}", verbose=0), [interface],
                    {**settings, "PYTHONPATH": os.pathsep.join(sys.path)}, get_driver_ip([interface]),
                )  # fmt: skip
            except RuntimeError as error:
                raise (processes.killed or error) from None
            return pickle.loads(Path(folder, "result").read_bytes())  # noqa: S301 - a rank wrote it into a private folder


class _Processes:
    """Runs the commands of ranks; `killed` is the error if the first rank that failed was ended by a signal."""

    killed: RankKilledError | None = None
    _failed = False

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def run(self, command: str, slot: Any, events: Sequence[Event]) -> tuple[int, float]:
        """Waits for a rank's command, which is killed on any of the events: the exit code and the time of the end."""
        with subprocess.Popen(["/bin/sh", "-c", f"exec {command}"], stdout=self._output, stderr=self._output) as process:
            while process.poll() is None:
                if any(event.is_set() for event in events):
                    process.kill()
                time.sleep(0.05)
        code = process.returncode
        if code < 0 and not self._failed and not any(event.is_set() for event in events):
            name = signal.Signals(-code).name
            self.killed = RankKilledError(f"rank {slot.rank} was ended by {name}, perhaps because memory ran out")
        self._failed |= code != 0
        return code, time.time()
