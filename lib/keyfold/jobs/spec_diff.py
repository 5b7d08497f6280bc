"""Compares the features of two specs on the rows of a table, bit for bit, in one pass."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from keyfold.core.hashing import PARTS
from keyfold.core.types import HASHED, family_of
from keyfold.dataset.fit_features import SPECS
from keyfold.engine.columns import col
from keyfold.engine.frame import Frame
from keyfold.engine.hashes import row_place
from keyfold.engine.tables import Tables
from keyfold.errors import DataError, suggestion
from keyfold.features.certificate import bits_differ
from keyfold.features.kind import Array
from keyfold.features.spec import Spec
from keyfold.tracking import registry

_PLACE = "keyfold_place"
_PLAIN = (*HASHED, "double", "binary")
_TYPES = {"feature": pa.int32(), "rows": pa.int64(), "changed": pa.int64()} | dict.fromkeys(
    ("inputs", "before", "after"), pa.string()
)


class Difference(NamedTuple):
    """Difference of one feature: numbers of compared and of changed rows, and the inputs and both values of one changed row."""

    feature: str
    rows: int
    changed: int
    inputs: str
    before: str
    after: str


def find_spec(tables: Tables, name: str) -> Spec:
    """The spec in a file, of a model version (`models:/name@champion`), or with a digest or a beginning of one (DataError)."""
    if name.startswith("models:/"):
        with tempfile.TemporaryDirectory() as folder:
            return Spec.from_json(
                (registry.fetch_model(registry.find_version(name), Path(folder)) / "spec.json").read_text("utf-8")
            )
    if Path(name).is_file():
        return Spec.from_json(Path(name).read_text("utf-8"))
    table = tables.table(SPECS)
    rows = table.frame().select(["digest", "spec"]).distinct().rows() if table.exists() else []
    specs = {row["digest"]: row["spec"] for row in rows if row["digest"].startswith(name)}
    if len(specs) != 1:
        digests = [row["digest"] for row in rows]
        fault = (
            f"{len(specs)} specs begin with `{name}`: {', '.join(sorted(specs)[:5])}" if specs else f"there is no spec `{name}`"
        )
        raise DataError(f"{fault}; give a file, models:/…, or a digest of {SPECS}{suggestion(name, digests)}")
    return Spec.from_json(specs.popitem()[1])


def sample_rows(rows: Frame, limit: int) -> Frame:
    """About `limit` rows, chosen by a hash of their plain columns: the same rows always give the same sample."""
    count = rows.count()
    if count <= limit:
        return rows
    plain = [name for name, type_ in rows.types.items() if family_of(type_) in _PLAIN]
    return rows.compute(row_place(_PLACE, plain)).where(col(_PLACE) < PARTS * limit // count).drop(_PLACE)


def compare_specs(rows: Frame, a: Spec, b: Spec) -> list[Difference]:
    """One difference for each feature that both specs have (DataError for rows that either spec refuses)."""
    names = [name for name in a.features if name in b.features]
    columns = list(dict.fromkeys([*a.inputs, *b.inputs]))
    for spec in (a, b):
        spec.transform(rows)
    if not names:
        return []
    function = partial(_differences, a.to_json(), b.to_json(), names)
    by_task = rows.select(columns).map_batches(function, _TYPES).rows()
    return [_total(name, [row for row in by_task if row["feature"] == i]) for i, name in enumerate(names)]


def _total(name: str, parts: Sequence[Mapping[str, Any]]) -> Difference:
    inputs, before, after = min(((p["inputs"], p["before"], p["after"]) for p in parts if p["changed"]), default=("", "", ""))
    return Difference(name, sum(p["rows"] for p in parts), sum(p["changed"] for p in parts), inputs, before, after)


def describe_differences(differences: Sequence[Difference], a: Spec, b: Spec) -> str:
    """The differences as text, one line per changed feature, the most frequent first."""
    changed = sorted((d for d in differences if d.changed), key=lambda d: -d.changed)
    rows = differences[0].rows if differences else 0
    lines = [f"{d.feature}: {d.changed:,} of {rows:,} rows ({d.changed / rows:.2%}){_width(d.feature, a, b)}; such as {d.inputs}: "
             f"{d.before} → {d.after}" for d in changed]  # fmt: skip
    for spec, other, which in ((a, b, "A"), (b, a, "B")):
        if only := [name for name in spec.features if name not in other.features]:
            lines.append(f"only in {which}: {', '.join(only)}")
    equal = len(differences) - len(changed)
    return "\n".join([*lines, f"{equal} of {len(differences)} features that both have are equal on all {rows:,} rows"])


def _width(name: str, a: Spec, b: Spec) -> str:
    before, after = (spec.outs[name].columns for spec in (a, b))
    return f", {before:,} → {after:,} columns" if before != after else ""


def _differences(a: str, b: str, names: list[str], incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows of `_TYPES`: one for each batch and feature."""
    specs = Spec.from_json(a), Spec.from_json(b)
    for batch in incoming:
        before, after = (spec.arrow(batch) for spec in specs)
        cells = [_cells(i, batch, specs[0], name, before[name], after[name]) for i, name in enumerate(names)]
        yield pa.RecordBatch.from_pylist(cells, pa.schema(_TYPES))


def _cells(i: int, batch: pa.RecordBatch, spec: Spec, name: str, before: Array, after: Array) -> dict[str, Any]:
    changed = np.flatnonzero(bits_differ(before, after))
    cells = {"feature": i, "rows": batch.num_rows, "changed": len(changed)}
    if not len(changed):
        return cells
    row = int(changed[0])
    values = batch.select(spec.columns_of(name)).slice(row, 1).to_pylist()[0]
    inputs = json.dumps(values, ensure_ascii=False, default=str)
    return cells | {"inputs": inputs, "before": _cell_text(before, row), "after": _cell_text(after, row)}


def _cell_text(array: Array, row: int) -> str:
    return str(array[row].as_py() if isinstance(array, pa.Array) else array[row].tolist())
