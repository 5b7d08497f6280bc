"""Chooses the engine of a run: Spark where the conf or the surroundings need it, otherwise the embedded one; or as the user says."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from keyfold.conf.table_names import table_use
from keyfold.conf.use_case import EngineName
from keyfold.core.machine import memory_limit
from keyfold.engine import spark_setup
from keyfold.engine.engine import Engine, SparkEngine, embedded
from keyfold.engine.home import home
from keyfold.engine.store import odd_column_names
from keyfold.errors import ConfError, DataError
from keyfold.readers import paths
from keyfold.readers.formats import format_of
from keyfold.runtime.source_columns import kept_columns

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.conf.use_case import Conf

VARIABLE = "KEYFOLD_ENGINE"
_TABLES = "rows", "features", "quarantine", "predictions"


class EngineChoice(NamedTuple):
    """An engine, `spark` or `embedded`, and the reason for it."""

    name: str
    reason: str

    def start(self, app: str, meanwhile: Callable[[], object] = lambda: None) -> Engine:
        """The engine; Spark's session starts here if none is active (ConfError if Spark cannot start).

        `meanwhile` is called before, and may start a thread.
        """
        print(f"{'engine':<9} {self.name}: {self.reason}", file=sys.stderr, flush=True)
        if self.name == "spark":
            spark_setup.require_spark(self.reason)
        meanwhile()
        if self.name == "embedded":
            return embedded()
        from keyfold.engine.session import session

        return SparkEngine(session(app))


def choose_engine(conf: "Conf", option: str | None = None) -> EngineChoice:
    """The engine of a conf: what --engine says, else KEYFOLD_ENGINE, else the conf.

    ConfError if that is `embedded` and the conf has a part that needs Spark.
    """
    asked, who = _asked(conf, option)
    if asked == "spark":
        return EngineChoice(asked, who)
    part = next(parts_for_spark(conf), None)
    if asked == "embedded":
        if part:
            raise ConfError(f"{who}, and the embedded engine has no {part} yet; leave that out, or write `spark`")
        return EngineChoice(asked, who)
    return _choose(part, _large(conf))


def choose_for_tables(names: Iterable[str]) -> EngineChoice:
    """The engine of a tool that only reads tables."""
    return _choose(next(_of_tables(names, writes=False), None))


def _choose(lacking: str | None, more: Iterable[str] = ()) -> EngineChoice:
    reasons = [f"the embedded engine has no {lacking} yet"] if lacking else []
    reason = next(chain(reasons, more, spark_setup.reasons_for_spark()), None)
    return EngineChoice("spark", reason) if reason else EngineChoice("embedded", "nothing here needs Spark")


def _asked(conf: "Conf", option: str | None) -> tuple[str, str]:
    """The engine that the user asks for, and where."""
    given = option or os.environ.get(VARIABLE)
    if not given:
        return conf.engine, f"the conf has `engine: {conf.engine}`"
    place = "--engine" if option else VARIABLE
    if given not in get_args(EngineName):
        raise ConfError(f"{place} must be one of {', '.join(get_args(EngineName))} (got `{given}`)")
    return given, f"{place} is `{given}`"


def parts_for_spark(conf: "Conf") -> Iterator[str]:
    """What the conf needs and the embedded engine lacks."""
    data = conf.data
    if odd := odd_column_names(window.name for window in (conf.windows.windows if conf.windows else ())):
        yield f"column mapping of Delta, which the column name `{odd[0]}` needs (rename the feature)"
    if isinstance(data.source, str):
        yield from _of_source(data, data.source)
    yield from (part for version in data.versions if version.delta for part in _of_delta(version.delta.path))
    network = conf.train is not None and conf.train.model.torch is not None
    written = [*_TABLES, *(["images"] if conf.images else []), *(["examples", "embeddings"] if network else [])]
    yield from _of_tables([table_use(conf, kind).name for kind in written], writes=True)
    yield from _of_tables([view.table for view in data.views if view.table], writes=False)


def _of_source(data: "Data", source: str) -> Iterator[str]:
    try:
        if format_of(source) == "delta":
            yield from _of_delta(source)
        if paths.local_files(source) is None:
            yield f"reader for {source}, which is on no disk of this machine"
        if odd := odd_column_names(kept_columns(data)):
            yield f"column mapping of Delta, which the column name `{odd[0]}` needs (rename it by `from`)"
    except DataError:  # the job that reads the files reports it
        return


def _of_delta(path: str) -> Iterator[str]:
    if (local := paths.local_path(path)) is None:
        yield f"access to {path}, which is on no disk of this machine"
    elif features := _features(Path(local), writes=False):
        yield f"support for {', '.join(features)} of table `{path}`"


def _of_tables(names: Iterable[str], *, writes: bool) -> Iterator[str]:
    """Tables in a catalog, on no disk, or with features of Delta."""
    place = os.environ.get("KEYFOLD_HOME", "")
    if paths.local_path(place) is None:
        yield f"access to {place}, which is on no disk of this machine"
        return
    for name in names:
        if name.count(".") > 1:
            yield f"access to the catalog of table `{name}`"
        elif features := _features(home().joinpath("tables", *name.split(".")), writes=writes):
            yield f"support for {', '.join(features)} of table `{name}`"


def _features(folder: Path, *, writes: bool) -> list[str]:
    if not (folder / "_delta_log").is_dir():
        return []
    from keyfold.engine.deltalake_store import features_for_spark

    return features_for_spark(folder, writes=writes)


def _large(conf: "Conf") -> Iterator[str]:
    source = conf.data.source
    try:
        files = paths.local_files(source) if isinstance(source, str) else None
        size = sum(Path(file).stat().st_size for file in files or ())
    except (DataError, OSError):  # the job that reads the files reports it
        return
    if size > (memory := memory_limit()):  # tests/bench/README.md: what one process reads in how much memory
        yield f"the source has {size / 1e9:,.1f} GB, more than the {memory / 1e9:,.1f} GB of memory here; `--engine embedded` does without Spark"
