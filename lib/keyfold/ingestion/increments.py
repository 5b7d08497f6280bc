"""Which files of a source were ingested before, and which periods of which files are to be read again.

Each commit remembers every file by path, size and digest, with the rows that it brought by period. A period is read whole, from all
files that have rows of it: only so can keys be compared. Rows of other periods stay as they are.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.core.digests import digest, file_digest
from keyfold.core.names import FILE, PERIOD, RUN
from keyfold.engine.commits import Commit, CommitLog
from keyfold.errors import DataError, PromiseError
from keyfold.ingestion import sources
from keyfold.ingestion.source_rows import source_file
from keyfold.readers import paths

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

    from keyfold.engine.tables import Table

# A file's rows by period, kept and quarantined; rows without a period stand under "".
Periods = dict[str, list[int]]


@dataclass
class SourceMemory:
    """What the last commit of the same source, read in the same way, says of its files and periods."""

    run_id: str = ""
    commit: Mapping[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    periods: dict[str, list[Any]] = field(default_factory=dict)  # the run that wrote it, and its rows


@dataclass
class IngestPlan:
    """`now`: the files as they are; `fresh`: those to read whole; `again`: periods to read from all files."""

    now: dict[str, dict[str, Any]]
    memory: SourceMemory
    fresh: list[str]
    changed: list[str]
    again: set[str]
    unknown: set[str] = field(default_factory=set)  # periods that have rows of a commit of which nothing is known
    altered: set[str] = field(default_factory=set)  # periods whose rows others changed, or may have

    @property
    def done(self) -> bool:
        """Whether nothing is to be read."""
        return not self.fresh and not self.again

    def others(self) -> list[str]:
        """Files that were ingested before and have rows of a period that is read again."""
        return [f for f in self.now if f not in self.fresh and _has(self.memory.files[f], self.again)]

    def widen(self, periods: Iterable[str]) -> None:
        """The fresh files have rows of these periods (DataError where a file that is gone had some of them, too)."""
        former = (p for f in self.changed for p in self.memory.files[f]["periods"])
        self.again |= {p for p in [*periods, *former] if p in self.memory.periods}
        for name in self.gone():
            if both := sorted(p for p in self.again if _has(self.memory.files[name], {p})):
                why = ", whose rows others changed or may have changed in the table," if both[0] in self.altered else ""
                raise DataError(
                    f"data.source: period {both[0]}{why} is to be read again, and `{name}`, which has rows of it, is gone; "
                    "put it back, or choose another data.table"
                )

    def gone(self) -> list[str]:
        """Files that are no longer there, under this name or another."""
        renamed = Counter(file["digest"] for name, file in self.now.items() if name not in self.memory.files)
        found = []
        for name, file in self.memory.files.items():
            if name not in self.now:
                renamed[file["digest"]] -= 1
                found += [name] if renamed[file["digest"]] < 0 else []
        return found

    def after(self, counts: Mapping[str, Periods], kept: Mapping[str, int], run_id: str) -> dict[str, Any]:
        """What is to be remembered once these rows are committed."""
        if strange := counts.keys() - self.now.keys():
            raise PromiseError(f"rows came of `{min(strange)}`, which is no file of the source; please report this")
        files = {name: self.memory.files[name] for name in self.gone()}
        for name, file in self.now.items():
            former = {} if name in self.fresh else self.memory.files[name]["periods"]
            stays = {p: n for p, n in former.items() if p not in self.again}
            files[name] = file | {"periods": stays | counts.get(name, {})}
        periods = self.memory.periods | {p: [run_id, n] for p, n in kept.items()}
        return {"files": files, "periods": {p: v for p, v in periods.items() if any(_has(f, {p}) for f in files.values())}}


def plan_ingest(now: dict[str, dict[str, Any]], table: "Table", reading: str, source: str) -> IngestPlan:
    """What is to be read, of a source (a digest) that is read in this way (a digest)."""
    log = table.log() if table.exists() else CommitLog([])
    commits = ingest_commits(log)
    there = _there(table) if commits or not log.complete else {}
    unknown = set() if log.complete else _unknown(there, {c.metadata["run_id"] for c in commits})
    last = next((c for c in commits if c.metadata.get("source") == source), None)
    if last and last.metadata["reading"] != reading:
        # What the source gave in the former reading may have other periods now.
        former = _memory(table.memory(last))
        again = former.periods.keys() - _lost(there, former.periods)
        _refuse_gone(IngestPlan(now, former, [], [], former.periods.keys() & there.keys()))
        return IngestPlan(now, SourceMemory(), [*now], [], again, unknown)
    memory = next((_memory(table.memory(c)) for c in commits if c.metadata["reading"] == reading), SourceMemory())
    changed = [f for f in now if f in memory.files and memory.files[f]["digest"] != now[f]["digest"]]
    fresh = [f for f in now if f not in memory.files or f in changed]
    altered = table.changed_by_others(PERIOD, memory.periods) if memory.periods else set()
    return IngestPlan(now, memory, fresh, changed, _lost(there, memory.periods) | altered, unknown, altered)


def ingest_commits(log: CommitLog) -> list[Commit]:
    """The commits of `ingest`, newest first, but for those that were undone."""
    undone = {c.metadata["undone"] for c in log if "undone" in c.metadata}
    return [c for c in log if "reading" in c.metadata and c.version not in undone]


def _refuse_gone(plan: IngestPlan) -> None:
    """DataError where all is to be read again, and a file that had rows is no longer there."""
    for name in plan.gone():
        if _has(plan.memory.files[name], plan.again):
            raise DataError(
                f"data.source: the conf reads the source in another way than before, so all of it is to be read again, and `{name}` is "
                "gone; put it back, take the change of the conf back, or choose another data.table"
            )


def _memory(told: Mapping[str, Any]) -> SourceMemory:
    return SourceMemory(told["run_id"], told, told["files"], told["periods"])


def counts_by_file(counted: "Iterable[Row]") -> dict[str, Periods]:
    """Of the counted rows, those kept and those quarantined, by file and period."""
    found: dict[str, Periods] = {}
    for row in counted:
        pair = found.setdefault(row[FILE], {}).setdefault(row[PERIOD] or "", [0, 0])
        pair[row.keyfold_reason is not None] += row.n
    return found


def sum_counts(periods: Periods) -> tuple[int, int, int]:
    """Rows read, kept and quarantined."""
    kept, quarantined = (sum(pair[i] for pair in periods.values()) for i in (0, 1))
    return kept + quarantined, kept, quarantined


def _has(file: Mapping[str, Any], periods: set[str]) -> bool:
    return any(p in periods and p for p in file["periods"])


def files_now(spark: "SparkSession", source: Any) -> dict[str, dict[str, Any]]:
    """The files of a source as they are, by name: their size and digest."""
    if not isinstance(source, str):
        return {"": {"size": 0, "digest": digest(source.model_dump(mode="json"))}}
    if sources.format_of(source) == "delta":
        from keyfold.engine.tables import Table

        version = Table(spark, source, Path(source).absolute()).version()
        return {source: {"size": 0, "digest": digest(list(version))}}
    if (local := paths.local_files(source)) is not None:
        names = map(os.path.abspath, local)
        return {file: {"size": Path(file).stat().st_size, "digest": file_digest(file)} for file in names}
    # Elsewhere the bytes are not fetched for their digest: size and time of change stand for them.
    there = spark.read.format("binaryFile").load(source)
    listed = there.select(source_file(there).alias("file"), "length", "modificationTime").collect()
    return {row.file: {"size": row.length, "digest": digest([row.length, str(row.modificationTime)])} for row in listed}


def _there(table: "Table") -> dict[str, list[list[Any]]]:
    """By period the runs whose rows are there, and how many of each."""
    there: dict[str, list[list[Any]]] = {}
    rows = table.read()
    if PERIOD in rows.columns and RUN in rows.columns:
        for period, run_id, n in rows.groupBy(PERIOD, RUN).count().collect():
            there.setdefault(period, []).append([run_id, n])
    return there


def _lost(there: Mapping[str, list[list[Any]]], periods: Mapping[str, Sequence[Any]]) -> set[str]:
    """Periods whose rows are no longer just those that were committed."""
    return {p for p, expected in periods.items() if there.get(p, []) != ([list(expected)] if expected[1] else [])}


def _unknown(there: Mapping[str, list[list[Any]]], known: set[str]) -> set[str]:
    return {p for p, runs in there.items() if any(run_id not in known for run_id, _ in runs)}
