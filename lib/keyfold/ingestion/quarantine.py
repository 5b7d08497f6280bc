"""Quarantines the rows of an ingest that cannot be kept, and refuses an ingest with too many of them."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from keyfold.conf.file_period import propose_period
from keyfold.core.names import FILE, PERIOD, REASON
from keyfold.engine.columns import col, count_rows, lit
from keyfold.engine.frame import Frame
from keyfold.errors import DataError
from keyfold.ingestion.row_counts import Counted, exceeds_share
from keyfold.ingestion.staging import DUPLICATE_KEY
from keyfold.readers.csv_records import open_quote_line
from keyfold.runtime.quarantine import quarantine_rows

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.runtime.run import Run


def quarantine_staged(run: "Run", run_id: str, staged: Frame, count: int) -> None:
    """Quarantines the `count` staged rows that have a reason."""
    if count:
        quarantine_rows(run, run_id, staged.where(~col(REASON).is_null()), count)


def open_quote_notes(counted: Counted) -> list[str]:
    """A sentence for each file whose last lines are in a quote that is not closed, from row counts by file and reason."""
    lost: Counter[tuple[str, int]] = Counter()
    for row in counted:
        if line := open_quote_line(row[REASON] or ""):
            lost[row[FILE], line] += row["n"]
    return [
        f"{file}: the quote that opens in line {line:,} is not closed, so {n + 1:,} lines, to the end of the file, are quarantined"
        for (file, line), n in sorted(lost.items())
    ]


def refuse_excess(run: "Run", staged: Frame, read: int, reasons: Mapping[str, int]) -> None:
    """DataError if all rows are quarantined, or more than data.max_quarantine of them; the table stays as it is."""
    limit, quarantined = run.conf.data.max_quarantine, sum(reasons.values())
    if quarantined < read and not exceeds_share(quarantined, read, limit):
        return
    every = quarantined == read
    share = "" if every else f" That is {quarantined / read:.1%}, and data.max_quarantine is {limit:.1%}."
    raise DataError(
        f"{'none' if every else f'{quarantined:,}'} of the {read:,} rows {'can' if every else 'cannot'} be kept: "
        f"{listed(reasons)}.{share}{_likely_cause(run.conf.data, staged, reasons)} "
        f"Nothing has changed in `{run.rows.name}`; the rows are in `{run.quarantine.name}`"
    )


def listed(reasons: Mapping[str, int]) -> str:
    """The five most frequent reasons, with their counts."""
    return "; ".join(f"{n:,} × {reason}" for reason, n in sorted(reasons.items(), key=lambda pair: -pair[1])[:5])


def _likely_cause(data: "Data", staged: Frame, reasons: Mapping[str, int]) -> str:
    """Advice about repeated keys, if they are the most frequent reason."""
    if max(reasons, key=lambda reason: reasons[reason]) != DUPLICATE_KEY:
        return ""
    copies = staged.where(col(REASON) == lit(DUPLICATE_KEY))
    spread = copies.group([PERIOD, *data.key], keyfold_files=col(FILE).n_unique(), keyfold_n=count_rows())
    alone = spread.where(col("keyfold_files") > 1, col("keyfold_files") == col("keyfold_n"))
    across_files = alone.group([], n=col("keyfold_n").sum()).rows()[0]["n"] or 0
    if across_files < reasons[DUPLICATE_KEY] / 2:
        return f" Is data.key ({', '.join(data.key)}) the whole key?"
    names = [row[FILE] for row in staged.select([FILE]).distinct().head(1000).rows()]
    proposal = propose_period(names)
    pattern = proposal.pattern if proposal else r"(\d{4}-\d{2})"
    return (
        f" Most of these keys occur in several files, once in each ({min(names)}, {max(names)}): is each file a monthly snapshot? "
        f"Set data.time and data.period, or take the period from the files' names by data.period: {{from: file, pattern: '{pattern}'}}."
    )
