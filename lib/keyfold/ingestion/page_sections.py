"""The page's sections about an ingest: rows read, files, layouts, lineage."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keyfold.ingestion.bridges import lineage
from keyfold.ingestion.increments import sum_counts
from keyfold.reporting.page import PageSection, html_table
from keyfold.reporting.sections import files_section, reconciliation_section

if TYPE_CHECKING:
    from keyfold.conf.data import Data


def rows_sections(counts: Mapping[str, int], commit: Mapping[str, Any]) -> list[PageSection]:
    """Rows by outcome, and by file with the notes of the commit."""
    reconciled = {name: counts[name] for name in ("read", "kept", "quarantined")}
    by_file = {name: sum_counts(file["periods"]) for name, file in commit["files"].items()}
    return [reconciliation_section(reconciled, commit["reasons"], title="Rows read"), *files_section(by_file, commit["notes"])]


def layouts_section(accepted: Sequence[tuple[str, str, str]]) -> PageSection:
    """Differences of layout that were accepted: file, kind, message."""
    table = html_table(["file", "kind", "difference"], accepted, caption="Differences of layout that were accepted.")
    return PageSection("Layouts", table)


def lineage_section(data: "Data") -> PageSection:
    """Where each column of the table comes from, by layout."""
    return PageSection("Lineage", html_table(*lineage(data), caption="What each column comes from, by layout."))
