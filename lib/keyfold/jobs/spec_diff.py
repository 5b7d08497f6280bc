"""Which features two specs compute otherwise on the rows of a table, and how often: every row, bit for bit, in one pass."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from keyfold.core.sql import col, column, quote_identifier
from keyfold.dataset.fit_features import SPECS
from keyfold.engine.arrow import map_batches
from keyfold.engine.tables import Tables
from keyfold.errors import DataError, suggestion
from keyfold.features.certificate import bits_differ
from keyfold.features.kind import Array
from keyfold.features.spec import Spec
from keyfold.tracking import registry

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_SHARES = 1 << 20
_SCHEMA = "feature int, rows bigint, changed bigint, inputs string, before string, after string"


class Difference(NamedTuple):
    """Of one feature the `rows` that were compared, the `changed` ones, and of one of these its inputs and both values."""

    feature: str
    rows: int
    changed: int
    inputs: str
    before: str
    after: str


def find_spec(tables: Tables, named: str) -> Spec:
    """The spec of a file, of a model version (`models:/name@champion`), or of a digest or its beginning (DataError)."""
    if named.startswith("models:/"):
        with tempfile.TemporaryDirectory() as folder:
            return Spec.from_json(
                (registry.fetch_model(registry.find_version(named), Path(folder)) / "spec.json").read_text("utf-8")
            )
    if Path(named).is_file():
        return Spec.from_json(Path(named).read_text("utf-8"))
    table = tables.table(SPECS)
    rows = table.read().select("digest", "spec").distinct().collect() if table.exists() else []
    specs = {row.digest: row.spec for row in rows if row.digest.startswith(named)}
    if len(specs) != 1:
        digests = [row.digest for row in rows]
        what = (
            f"{len(specs)} specs begin with `{named}`: {', '.join(sorted(specs)[:5])}" if specs else f"there is no spec `{named}`"
        )
        raise DataError(f"{what}; give a file, models:/…, or a digest of {SPECS}{suggestion(named, digests)}")
    return Spec.from_json(specs.popitem()[1])


def sample_rows(rows: "DataFrame", most: int) -> "DataFrame":
    """About `most` rows at most, always the same ones of the same rows: chosen by a hash of all their columns."""
    there = rows.count()
    if there <= most:
        return rows
    texts = (f"CAST({quote_identifier(c)} AS STRING)" for c in rows.columns)
    return rows.where(column(f"pmod(xxhash64({', '.join(texts)}), {_SHARES}) < {_SHARES * most // there}"))


def compare_specs(rows: "DataFrame", a: Spec, b: Spec) -> list[Difference]:
    """The features that both specs have (DataError for rows that either refuses)."""
    names = [name for name in a.features if name in b.features]
    columns = list(dict.fromkeys([*a.inputs, *b.inputs]))
    for spec in (a, b):
        spec.transform(rows)
    if not names:
        return []
    work = partial(_differences, a.to_json(), b.to_json(), names)
    by_task = map_batches(rows.select(*map(col, columns)), work, _SCHEMA).collect()
    return [_whole(name, [row for row in by_task if row.feature == i]) for i, name in enumerate(names)]


def _whole(name: str, parts: Sequence[Any]) -> Difference:
    inputs, before, after = min(((p.inputs, p.before, p.after) for p in parts if p.changed), default=("", "", ""))
    return Difference(name, sum(p.rows for p in parts), sum(p.changed for p in parts), inputs, before, after)


def describe_differences(found: Sequence[Difference], a: Spec, b: Spec) -> str:
    """The differences as lines for a person, the most frequent ones first."""
    changed = sorted((d for d in found if d.changed), key=lambda d: -d.changed)
    rows = found[0].rows if found else 0
    lines = [f"{d.feature}: {d.changed:,} of {rows:,} rows ({d.changed / rows:.2%}){_width(d.feature, a, b)}; such as {d.inputs}: "
             f"{d.before} → {d.after}" for d in changed]  # fmt: skip
    for spec, other, which in ((a, b, "A"), (b, a, "B")):
        if only := [name for name in spec.features if name not in other.features]:
            lines.append(f"only in {which}: {', '.join(only)}")
    equal = len(found) - len(changed)
    return "\n".join([*lines, f"{equal} of {len(found)} features that both have are equal on all {rows:,} rows"])


def _width(name: str, a: Spec, b: Spec) -> str:
    before, after = (spec.outs[name].columns for spec in (a, b))
    return f", {before:,} → {after:,} columns" if before != after else ""


def _differences(a: str, b: str, names: list[str], incoming: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """On a worker: what `_SCHEMA` says, by batch and feature."""
    specs = Spec.from_json(a), Spec.from_json(b)
    for batch in incoming:
        before, after = (spec.arrow(batch) for spec in specs)
        cells = [_cells(i, batch, specs[0], name, before[name], after[name]) for i, name in enumerate(names)]
        yield pa.RecordBatch.from_pylist(cells, pa.schema(_FIELDS))


_FIELDS = {"feature": pa.int32(), "rows": pa.int64(), "changed": pa.int64()} | dict.fromkeys(
    ("inputs", "before", "after"), pa.string()
)


def _cells(i: int, batch: pa.RecordBatch, spec: Spec, name: str, before: Array, after: Array) -> dict[str, Any]:
    other = np.flatnonzero(bits_differ(before, after))
    cells = {"feature": i, "rows": batch.num_rows, "changed": len(other)}
    if not len(other):
        return cells
    row = int(other[0])
    taken = batch.select(spec.columns_of(name)).slice(row, 1).to_pylist()[0]
    inputs = json.dumps(taken, ensure_ascii=False, default=str)
    return cells | {"inputs": inputs, "before": _shown(before, row), "after": _shown(after, row)}


def _shown(array: Array, row: int) -> str:
    return str(array[row].as_py() if isinstance(array, pa.Array) else array[row].tolist())
