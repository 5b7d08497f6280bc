"""Plans an ingest: which files are new or changed, and which periods must be read again from all files.

Each commit records every file with its size, its digest and its rows by period. A period is read whole, from all files that have
rows of it, because keys can be compared only then. Rows of other periods stay as they are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keyfold.core.names import FILE, PERIOD, REASON, RUN
from keyfold.engine.columns import count_rows
from keyfold.engine.commits import Commit, CommitLog
from keyfold.errors import DataError, PromiseError

if TYPE_CHECKING:
    from keyfold.engine.tables import Table
    from keyfold.ingestion.source_files import Files

# A file's kept and quarantined rows by period; rows without a period are under "".
Periods = dict[str, list[int]]


@dataclass
class SourceMemory:
    """Files and periods as recorded by the last commit of the same source with the same reading options."""

    run_id: str = ""
    commit: Mapping[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    periods: dict[str, list[Any]] = field(default_factory=dict)  # the run that wrote the period, and its rows


@dataclass
class IngestPlan:
    """`now`: the current files; `fresh`: those to read whole; `again`: periods to read from all files."""

    now: "Files"
    memory: SourceMemory
    fresh: list[str]
    changed: list[str]
    again: set[str]
    unknown: set[str] = field(default_factory=set)  # periods with rows of a commit that has no record any more
    altered: set[str] = field(default_factory=set)  # periods whose rows were, or may have been, changed by others

    @property
    def done(self) -> bool:
        """Whether there is nothing to read."""
        return not self.fresh and not self.again

    def others(self) -> list[str]:
        """Unchanged files with rows of a period that is read again."""
        return [f for f in self.now if f not in self.fresh and _has_any(self.memory.files[f], self.again)]

    def widen(self, periods: Iterable[str]) -> None:
        """Adds the periods of the fresh files to those to read again (DataError if a missing file has rows of one)."""
        former = (p for f in self.changed for p in self.memory.files[f]["periods"])
        self.again |= {p for p in [*periods, *former] if p in self.memory.periods}
        for name in self.missing():
            if both := sorted(p for p in self.again if _has_any(self.memory.files[name], {p})):
                why = ", whose rows were or may have been changed by others," if both[0] in self.altered else ""
                raise DataError(
                    f"data.source: period {both[0]}{why} must be read again, and `{name}`, which has rows of it, is missing; "
                    "put it back, or choose another data.table"
                )

    def missing(self) -> list[str]:
        """Recorded files that no longer exist under any name."""
        renamed = Counter(file["digest"] for name, file in self.now.items() if name not in self.memory.files)
        missing = []
        for name, file in self.memory.files.items():
            if name not in self.now:
                renamed[file["digest"]] -= 1
                missing += [name] if renamed[file["digest"]] < 0 else []
        return missing

    def after(self, counts: Mapping[str, Periods], kept: Mapping[str, int], run_id: str) -> dict[str, Any]:
        """The metadata `files` and `periods` of the commit of these rows."""
        if strange := counts.keys() - self.now.keys():
            raise PromiseError(f"rows were read from `{min(strange)}`, which is not a file of the source; please report this")
        files = {name: self.memory.files[name] for name in self.missing()}
        for name, file in self.now.items():
            former = {} if name in self.fresh else self.memory.files[name]["periods"]
            unchanged = {p: n for p, n in former.items() if p not in self.again}
            files[name] = file | {"periods": unchanged | counts.get(name, {})}
        periods = self.memory.periods | {p: [run_id, n] for p, n in kept.items()}
        return {"files": files, "periods": {p: v for p, v in periods.items() if any(_has_any(f, {p}) for f in files.values())}}


def plan_ingest(now: "Files", table: "Table", reading: str, source: str) -> IngestPlan:
    """What to read, by digests of the reading options and of the source."""
    log = table.log() if table.exists() else CommitLog([])
    commits = ingest_commits(log)
    present = _runs_by_period(table) if commits or not log.complete else {}
    unknown = set() if log.complete else _unrecorded(present, {c.metadata["run_id"] for c in commits})
    last = next((c for c in commits if c.metadata.get("source") == source), None)
    if last and last.metadata["reading"] != reading:
        # With other options the same rows may fall into other periods.
        former = _memory(table.memory(last))
        again = former.periods.keys() - _altered(present, former.periods)
        _refuse_missing(IngestPlan(now, former, [], [], former.periods.keys() & present.keys()))
        return IngestPlan(now, SourceMemory(), [*now], [], again, unknown)
    memory = next((_memory(table.memory(c)) for c in commits if c.metadata["reading"] == reading), SourceMemory())
    changed = [f for f in now if f in memory.files and memory.files[f]["digest"] != now[f]["digest"]]
    fresh = [f for f in now if f not in memory.files or f in changed]
    by_others = table.changed_by_others(PERIOD, memory.periods) if memory.periods else set()
    return IngestPlan(now, memory, fresh, changed, _altered(present, memory.periods) | by_others, unknown, by_others)


def ingest_commits(log: CommitLog) -> list[Commit]:
    """The commits of `ingest` that were not undone, newest first."""
    undone = {c.metadata["undone"] for c in log if "undone" in c.metadata}
    return [c for c in log if "reading" in c.metadata and c.version not in undone]


def _refuse_missing(plan: IngestPlan) -> None:
    for name in plan.missing():
        if _has_any(plan.memory.files[name], plan.again):
            raise DataError(
                f"data.source: the conf reads the source differently than before, so all of it must be read again, and `{name}` is "
                "missing; put it back, undo the change of the conf, or choose another data.table"
            )


def _memory(metadata: Mapping[str, Any]) -> SourceMemory:
    return SourceMemory(metadata["run_id"], metadata, metadata["files"], metadata["periods"])


def counts_by_file(counted: Iterable[Mapping[str, Any]]) -> dict[str, Periods]:
    """Kept and quarantined rows, by file and period."""
    counts: dict[str, Periods] = {}
    for row in counted:
        pair = counts.setdefault(row[FILE], {}).setdefault(row[PERIOD] or "", [0, 0])
        pair[row[REASON] is not None] += row["n"]
    return counts


def sum_counts(periods: Periods) -> tuple[int, int, int]:
    """Rows read, kept and quarantined."""
    kept, quarantined = (sum(pair[i] for pair in periods.values()) for i in (0, 1))
    return kept + quarantined, kept, quarantined


def _has_any(file: Mapping[str, Any], periods: set[str]) -> bool:
    return any(p in periods and p for p in file["periods"])


def _runs_by_period(table: "Table") -> dict[str, list[list[Any]]]:
    """By period, the runs whose rows are in the table, each with its number of rows."""
    runs: dict[str, list[list[Any]]] = {}
    rows = table.frame()
    if PERIOD in rows.columns and RUN in rows.columns:
        for row in rows.group([PERIOD, RUN], n=count_rows()).rows():
            runs.setdefault(row[PERIOD], []).append([row[RUN], row["n"]])
    return runs


def _altered(present: Mapping[str, list[list[Any]]], periods: Mapping[str, Sequence[Any]]) -> set[str]:
    """Periods whose runs and row numbers are not those that were committed."""
    return {p for p, expected in periods.items() if present.get(p, []) != ([list(expected)] if expected[1] else [])}


def _unrecorded(present: Mapping[str, list[list[Any]]], recorded: set[str]) -> set[str]:
    return {p for p, runs in present.items() if any(run_id not in recorded for run_id, _ in runs)}
