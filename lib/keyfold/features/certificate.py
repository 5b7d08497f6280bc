"""The parity certificate: adversarial rows with the features that an engine computed. Loading a model checks them in Arrow."""

import datetime as dt
import io
from collections.abc import Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import feather

from keyfold.core.derived import SAMPLES, Derived
from keyfold.core.types import ARROW
from keyfold.engine.engine import Engine
from keyfold.errors import DataError, PromiseError
from keyfold.features.inputs import feature_order, inputs_of
from keyfold.features.kind import Array
from keyfold.features.spec import Spec

_MOMENTS = [
    dt.datetime(*at)  # noqa: DTZ001
    for at in ((1900, 1, 1), (1969, 12, 31, 23, 59, 59, 999_999), (2024, 2, 29, 12), (2026, 3, 29, 1, 30))
]
_VALUES: dict[str, Sequence[Any]] = {
    "string": [
        "",
        " ",
        "a\0b",
        "An ad, two Ads: AN AD!",
        "ΣÀ Ж ß İ",
        "é",
        "e\u0301",
        "👩‍👩‍👧",
        "longer than thirty-two bytes, as text is",
    ],
    "bigint": [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 17],
    "double": [0.0, -0.0, 0.1, 1e-300, -1e300, float("nan"), float("inf"), float("-inf"), 17.5],
    "boolean": [True, False],
    "date": [dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(2024, 2, 29), dt.date(9999, 12, 31)],
    "timestamp": [at.replace(tzinfo=dt.UTC) for at in _MOMENTS],
    "timestamp_ntz": _MOMENTS,
    "decimal": [Decimal(d) for d in ("0", "1.50", "-0.000000000000000001", "12345678901234567890.000000000000000001")],
}
_FILES = "certified_rows.arrow", "certified_features.arrow"


class Certificate(NamedTuple):
    """rows: inputs of a spec. features: one column per feature, as the engine computed it for these rows."""

    rows: pa.Table
    features: pa.Table

    @classmethod
    def issue(cls, engine: Engine, spec: Spec) -> "Certificate":
        """Computes the features of adversarial rows with an engine. Leaves out rows that the spec refuses."""
        rows = adversarial_rows(spec)
        rows = rows.filter(pa.array([_is_accepted(spec, rows.slice(i, 1)) for i in range(rows.num_rows)], pa.bool_()))
        return cls(rows, spec.transform(engine.frame(rows)).to_arrow())

    def save(self, folder: Path) -> None:
        """Writes two files into a folder."""
        for table, name in zip(self, _FILES, strict=True):
            feather.write_feather(table, str(folder / name), compression="uncompressed")

    @classmethod
    def load(cls, folder: Path) -> "Certificate":
        """Reads the files of `save`. Raises OSError or pyarrow.ArrowInvalid if they are missing or damaged."""
        return cls(*(feather.read_table(io.BytesIO((folder / name).read_bytes())) for name in _FILES))

    def check(self, spec: Spec) -> None:
        """Computes the features again in Arrow. If a bit differs, raises PromiseError with the first such feature and row."""
        expected, computed = spec.arrays(self.features), spec.arrow(self.rows)
        for name in feature_order({n: kind for n, (kind, _) in spec.features.items()}):
            different = np.flatnonzero(bits_differ(expected[name], computed[name]))
            if len(different):
                row = int(different[0])
                inputs = self.rows.select(spec.columns_of(name)).slice(row, 1).to_pylist()[0]
                raise PromiseError(
                    f"features.{name} is computed differently here than where it was fitted: row {row} of the certificate, "
                    f"{inputs}, gives {computed[name][row]} and not {expected[name][row]}; score with the environment of the model"
                )


def bits_differ(a: Array, b: Array) -> npt.NDArray[np.bool_]:
    """Booleans of shape (rows,): whether a row of two arrays of the same feature differs in any bit."""
    if isinstance(a, pa.Array):
        return np.array([x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)], bool)
    if a.dtype != b.dtype or a.shape != b.shape:
        return np.ones(len(a), bool)
    bits = (np.ascontiguousarray(x).view(f"u{x.itemsize}").reshape(len(x), -1) for x in (a, b))
    return np.not_equal(*bits).any(axis=1)  # type: ignore[no-any-return]


def adversarial_rows(spec: Spec) -> pa.Table:
    """Rows that combine edge cases of each type, NULL, and values of the spec's vocabularies and boundaries."""
    values = {c: [*_edge_cases(spec, c, family), *_fitted_values(spec, c, family), None] for c, family in spec.inputs.items()}
    rows = max(map(len, values.values()), default=0) + 1
    # Shorter columns repeat, each from another offset, so that values meet in different combinations. The last row is all NULL.
    cells = {c: [column[(i + n) % len(column)] for i in range(rows - 1)] for n, (c, column) in enumerate(values.items())}
    return pa.table({c: pa.array([*cells[c], None], ARROW[family]) for c, family in spec.inputs.items()})


def _edge_cases(spec: Spec, column: str, family: str) -> Sequence[Any]:
    own = (kind.certificate_values(family) for kind, _ in spec.features.values() if column in kind.inputs())
    logs = (c for c in inputs_of(kind for kind, _ in spec.features.values()) if isinstance(c, Derived) and c.log == column)
    more = SAMPLES if family == "double" and any(logs) else []
    return [*next((values for values in own if values is not None), _VALUES.get(family, ())), *more]


def _fitted_values(spec: Spec, column: str, family: str) -> list[Any]:
    states = [state for kind, state in spec.features.values() if kind.inputs()[0] == column]
    key = {"string": "vocabulary", "bigint": "vocabulary", "double": "boundaries"}.get(family, "")
    return list(dict.fromkeys(chain.from_iterable(state.get(key, [])[:4] for state in states)))


def _is_accepted(spec: Spec, row: pa.Table) -> bool:
    try:
        spec.arrow(row)
    except DataError:
        return False
    return True
