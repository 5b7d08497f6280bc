"""Sections of the page about labelled rows: folds, checks, features, imputed columns, collisions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keyfold.core.names import FOLDS
from keyfold.dataset.collisions import TARGET, Collisions
from keyfold.dataset.leakage_gates import Gate
from keyfold.features.kinds import kind_name
from keyfold.labels import Binary
from keyfold.reporting.page import PageSection, bar_figure, html_table, percent, side_by_side
from keyfold.reporting.sections import features_section, folds_section

if TYPE_CHECKING:
    from keyfold.dataset.imputation import Imputation, Imputations
    from keyfold.dataset.labelled_rows import LabelledRows
    from keyfold.features.spec import Spec

_CAPTION = (
    "Rows of the train fold with a value. Collisions: distinct values minus occupied buckets. Expected: the same for values hashed at random. "
    f"Last column: the num_buckets with which {TARGET:.0%} of the values would share a bucket."
)
_WORST_CAPTION = "The two most frequent values of the buckets with the most rows besides those of their most frequent value."


def rows_by_fold_section(rows: "LabelledRows", share: Mapping[str, float] | None) -> PageSection:
    """The labelled rows by fold, with the configured shares."""
    positive = rows.label.positive if isinstance(rows.label, Binary) else None
    cells = [(fold, rows.count_in(fold), None if positive is None else rows.counts.get((fold, positive), 0)) for fold in FOLDS]
    if rest := sum(rows.counts.values()) - sum(rows.count_in(fold) for fold in FOLDS):
        cells.append(("in none", rest, None))
    return folds_section(cells, share)


def spec_section(spec: "Spec") -> PageSection:
    """The features of a spec."""
    return features_section(
        [
            {
                "name": name,
                "kind": kind_name(kind),
                "inputs": ", ".join(map(str, kind.inputs())),
                "width": spec.outs[name].columns,
                "note": kind.note(state),
            }
            for name, (kind, state) in spec.features.items()
        ]
    )


def gates_section(gates: Sequence[Gate]) -> PageSection:
    """The result of each check."""
    cells = [(gate.name, "✓" if gate.holds else "✗", gate.seen) for gate in gates]
    return PageSection("Checks of the folds", html_table(["check", "holds", "seen"], cells), "folds")


def imputations_section(imputations: "Imputations") -> PageSection:
    """The imputed columns with their methods."""
    cells = [(s.column, ", ".join(s.layouts), s.fill, _shown(s)) for s in imputations.of]
    caption = "Fitted on rows of the current layout in the train fold."
    return PageSection(
        "Imputed columns", html_table(["column", "layouts", "method", "values"], cells, caption=caption), "features"
    )


def _shown(imputation: "Imputation") -> str:
    if len(imputation.values) == 1:
        return imputation.values[0]
    parts = np.diff([0, *imputation.cumulative]) / imputation.cumulative[-1]
    first = sorted(zip(-parts, imputation.values, strict=True))[:5]
    return ", ".join(f"{value} {-part:.1%}" for part, value in first) + (" …" if len(parts) > 5 else "")


def collisions_section(collisions: Sequence[Collisions]) -> PageSection:
    """Collisions by feature, the largest share of rows first; the chart shows the first 20."""
    ordered = sorted(collisions, key=lambda c: -c.shared_rows / max(c.rows, 1))
    cells = [
        (c.feature, c.num_buckets, c.values, c.occupied, c.observed, c.expected, percent(c.shared_rows, c.rows), c.advised())
        for c in ordered
    ]
    headers = ["feature", "num_buckets", "values", "occupied", "collisions", "expected", "rows that share", f"for {TARGET:.0%}"]
    table = html_table(headers, cells, caption=_CAPTION)
    shown = ordered[:20]
    part = [100 * c.shared_values / max(c.values, 1) for c in shown]
    chart = bar_figure(
        [c.feature for c in shown], part, [f"{p:.1f}%" for p in part], title="Values that share a bucket",
        x="share of distinct values (%)", marks=[100 * c.expected_share for c in shown], marked="expected by chance",
        caption="Share of each feature's values that share a bucket; a tick marks chance.",
    )  # fmt: skip
    pairs = [(c.feature, *pair) for c in ordered for pair in c.loudest]
    worst = (
        html_table(["feature", "value", "rows", "shares a bucket with", "rows"], pairs, caption=_WORST_CAPTION) if pairs else ""
    )
    return PageSection("Collisions", table + side_by_side(chart, worst), "features")
