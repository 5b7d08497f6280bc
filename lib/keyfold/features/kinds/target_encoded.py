"""How often the label is the positive class where a category stands, smoothed toward how often it is so at all.

    value = (positives + smoothing * prior) / (rows + smoothing)        prior = all positives / all rows

in doubles, in this order, from exact counts of the train fold. NULL and unseen values have the prior.

That is the form that serves. A training row would find its own label in it, so it is trained on the out-of-fold form: rows are
cut into `folds` parts, such that what the split keeps together stays together, and a row of part p has the value (and the prior)
of the rows of all other parts. No label of part p can move a training value of part p.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from keyfold.core import sql
from keyfold.core import vocabulary as lookup
from keyfold.core.digests import canonical_json
from keyfold.core.types import HASHED, ArrowValue, SqlValue
from keyfold.errors import DataError
from keyfold.features.fitting import CountedExpression, FeatureStatistics, Target
from keyfold.features.kind import Array, FeatureOutput, Kind, State, fit_vocabulary

_CELL = r"(?s)^(?P<part>\d+) (?P<positive>[01])(?P<value>=.*)?$"
_MAX_FOLDS = 100


class TargetEncoded(Kind):
    """A double in [0, 1]."""

    takes: ClassVar = HASHED
    learns_label: ClassVar = True

    input_col: str
    smoothing: float = Field(
        10.0, ge=0, allow_inf_nan=False, description="so many rows of the prior are added to those of a value"
    )
    folds: int = Field(5, ge=2, le=_MAX_FOLDS, description="parts of the train fold; training rows take the values of the others")

    def counted(self, values: Sequence[SqlValue], target: Target | None) -> list[CountedExpression]:
        """The part, the class and the value of each row, as one text."""
        assert target is not None
        part, positive = f"CAST(pmod({target.part}, {self.folds}) AS STRING)", f"IF({target.positive}, ' 1', ' 0')"
        value = f"coalesce(concat('=', CAST({values[0].canonical} AS STRING)), '')"
        return [CountedExpression(f"concat({part}, {positive}, {value})")]

    def fit(self, name: str, of: FeatureStatistics) -> State:
        """The vocabulary as for `one_hot`, the values with the prior behind them, and the counts of each class, part and value."""
        cells = pc.extract_regex(of.counts[0]["value"], _CELL).combine_chunks()
        part, positive, value = (cells.field(key) for key in ("part", "positive", "value"))
        value = pc.if_else(pc.equal(value, ""), None, pc.utf8_slice_codeunits(value, 1))
        amount = of.counts[0]["amount"]
        sums = pa.table({"value": value, "amount": amount}).group_by("value").aggregate([("amount", "sum")])
        found = sums.rename_columns(["value", "amount"]).filter(pc.is_valid(sums["value"]))
        known = fit_vocabulary(name, self.input_col, of.inputs[0]["family"], found)
        at = pc.index_in(value, pa.array(map(str, known), pa.string())).fill_null(len(known))
        counts = np.zeros((2, self.folds, len(known) + 1), np.int64)
        np.add.at(counts, tuple(map(_int64, (positive, part, at))), _int64(amount))
        if not _others(counts).sum(axis=(0, 2)).all():
            raise DataError(
                f"features.{name}: all rows of the train fold are in one of {self.folds} parts, and a part takes its values from the "
                "others; ask for more `folds`, or split by columns with more values"
            )
        return {"vocabulary": known, "values": self._values(counts.sum(axis=1)).tolist(), "counts": counts.tolist()}

    def _values(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Of counts by class, …, value and NULL: the values, with the prior in the place of NULL."""
        positives, rows = counts[1], counts.sum(axis=0)
        prior = positives.sum(axis=-1, keepdims=True) / rows.sum(axis=-1, keepdims=True)
        values = np.broadcast_to(prior, rows.shape).copy()
        np.divide(positives + self.smoothing * prior, rows + self.smoothing, out=values, where=rows > 0)
        values[..., -1:] = prior
        return values

    def out(self, state: State) -> FeatureOutput:
        """A double."""
        return FeatureOutput("double")

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """double"""
        return _sql_get(state["values"], self._sql_place(values[0], state))

    def _sql_place(self, value: SqlValue, state: State) -> str:
        prior = len(state["vocabulary"])
        return f"CASE WHEN {value.null} THEN {prior} ELSE coalesce({lookup.sql_lookup(value.hash, state['vocabulary'])}, {prior}) END"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """float64"""
        return np.array(state["values"])[self._place(values[0], state)]

    def _place(self, value: ArrowValue, state: State) -> npt.NDArray[np.int64]:
        found = lookup.lookup(value.hash, state["vocabulary"])
        return np.where(value.null | (found < 0), len(state["vocabulary"]), found)

    def out_of_fold(self, part: str) -> Kind:
        """The form of training rows."""
        return _OutOfFold(**self.model_dump(), part=part)

    def note(self, state: State) -> str:
        """The prior, and the values of the most frequent categories."""
        shown = [f"{word} {value:.3g}" for word, value in zip(state["vocabulary"][:6], state["values"], strict=False)]
        more = " …" if len(state["vocabulary"]) > len(shown) else ""
        return f"prior {state['values'][-1]:.3g}; {', '.join(shown)}{more}"


class _OutOfFold(TargetEncoded):
    """The same of rows with a part; those without one have the value that serves."""

    part: str

    def inputs(self) -> Sequence[str]:
        """The column, and that of the part."""
        return [self.input_col, self.part]

    def _tables(self, state: State) -> npt.NDArray[np.float64]:
        """The values that serve, and below them those of each part."""
        return np.vstack([state["values"], self._values(_others(np.array(state["counts"])))])

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """double"""
        value, part = values
        tables = self._tables(state)
        row = f"CAST(coalesce(pmod({part.column}, {self.folds}) + 1, 0) AS INT)"
        return _sql_get(tables.ravel().tolist(), f"{row} * {tables.shape[1]} + {self._sql_place(value, state)}")

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """float64"""
        value, part = values
        row = np.where(part.null, 0, _int64(part.array.fill_null(0)) % self.folds + 1)
        return self._tables(state)[row, self._place(value, state)]


def _others(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each part the counts of all other parts."""
    return counts.sum(axis=1, keepdims=True) - counts  # type: ignore[no-any-return]


def _sql_get(values: Sequence[float], place: str) -> str:
    return f"get(from_json({sql.text_literal(canonical_json(values))}, 'array<double>'), {place})"


def _int64(array: Any) -> npt.NDArray[np.int64]:
    return array.cast(pa.int64()).to_numpy()  # type: ignore[no-any-return]
