"""Rate of the positive class per category, smoothed towards the rate of all rows; of more than two classes, the rate of each.

    value = (positives + smoothing * prior) / (rows + smoothing)        prior = all positives / all rows

Both are doubles, computed in this order from exact counts of the train fold. These values are for scoring.

A training row would see its own label in them, so training uses out-of-fold values: the train fold is cut into `folds` parts
(rows that the split keeps together are in one part), and a row of part p has the value and the prior of all other parts. Labels
of part p therefore never influence training values of part p.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from keyfold.core import sql, vocabulary
from keyfold.core.arrays import single_chunk
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.digests import canonical_json
from keyfold.core.types import HASHED, ArrowValue, SqlValue
from keyfold.errors import DataError
from keyfold.features.fitting import BatchValues, CountedExpression, FeatureStatistics, FitInput, Target
from keyfold.features.kind import Array, FeatureOutput, Kind, State, fit_vocabulary

_CELL = r"(?s)^(?P<part>\d+) (?P<code>\d+)(?P<value>=.*)?$"
_MAX_FOLDS = 100


class TargetEncoded(Kind):
    """The rate of the positive class per category, smoothed, and out of fold for training rows; of more classes, the rate of each.

    Output: one number in [0, 1]; float64 of shape (rows,). Of k > 2 classes, k numbers; float64 of shape (rows, k).
    NULL: the prior, which is the rate of all rows.
    Unseen values: the prior.
    Errors: ConfError if the label is not of 2 to 10 classes; DataError for a column of floats, or if all rows are in one part.
    """

    takes: ClassVar = HASHED
    learns_label: ClassVar = True

    input_col: str = Field(description="name of a column of categories", examples=["city"])
    smoothing: float = Field(
        10.0,
        ge=0,
        allow_inf_nan=False,
        description="weight of the prior, in rows: larger values move rare categories to the prior",
    )
    folds: int = Field(
        5, ge=2, le=_MAX_FOLDS, description="number of parts of the train fold; a training row has the value of the other parts"
    )

    def counted_expressions(self, values: Sequence[FitInput], target: Target | None) -> list[CountedExpression]:
        """Part, class and category of each row, as one text: `3 1=Oslo`, or `3 1` for NULL."""
        assert target is not None
        part = f"CAST(pmod({target.part}, {self.folds}) AS STRING)"
        code = f"IF({target.positive}, ' 1', ' 0')" if target.classes == 2 else f"concat(' ', CAST({target.positive} AS STRING))"
        value = f"coalesce(concat('=', CAST({values[0].sql.canonical} AS STRING)), '')"
        columns, kernel = (
            [target.positive, target.part, *raw_columns(values[0].of)],
            partial(_cell_texts, target, self.folds, values[0].of),
        )
        return [CountedExpression(f"concat({part}, {code}, {value})", columns, kernel)]

    def fit(self, name: str, statistics: FeatureStatistics) -> State:
        """Keeps the vocabulary as `one_hot` does, the values with the prior at the end, and the counts by class, part and category."""
        (table,) = statistics.counts
        cells = pc.extract_regex(table["value"], _CELL).combine_chunks()
        part, code, value = (cells.field(key) for key in ("part", "code", "value"))
        value = pc.if_else(pc.equal(value, ""), None, pc.utf8_slice_codeunits(value, 1))
        amount = table["amount"]
        sums = pa.table({"value": value, "amount": amount}).group_by("value").aggregate([("amount", "sum")])
        categories = sums.rename_columns(["value", "amount"]).filter(pc.is_valid(sums["value"]))
        words = fit_vocabulary(name, self.input_col, statistics.inputs[0]["family"], categories)
        place = pc.index_in(value, pa.array(map(str, words), pa.string())).fill_null(len(words))
        counts = np.zeros((max(2, _int64(code).max(initial=0) + 1), self.folds, len(words) + 1), np.int64)
        np.add.at(counts, tuple(map(_int64, (code, part, place))), _int64(amount))
        if not _others(counts).sum(axis=(0, 2)).all():
            raise DataError(
                f"features.{name}: all rows of the train fold are in one of {self.folds} parts, and a part takes its values from the "
                "others; increase `folds`, or split by columns with more values"
            )
        return {"vocabulary": words, "values": self._values(counts.sum(axis=1)).tolist(), "counts": counts.tolist()}

    def _values(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """float64 of shape (…, categories + 1), of counts of shape (2, …, categories + 1). The last entry, of NULL, is the prior.

        Of k > 2 classes, (…, categories + 1, k).
        """
        rows = counts.sum(axis=0)
        return self._rates(counts[1], rows) if len(counts) == 2 else np.stack([self._rates(of, rows) for of in counts], axis=-1)

    def _rates(self, positives: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        prior = positives.sum(axis=-1, keepdims=True) / rows.sum(axis=-1, keepdims=True)
        values = np.broadcast_to(prior, rows.shape).copy()
        np.divide(positives + self.smoothing * prior, rows + self.smoothing, out=values, where=rows > 0)
        values[..., -1:] = prior
        return values

    def output(self, state: State) -> FeatureOutput:
        """One number, or one for each of more than two classes."""
        classes = len(state["counts"]) if "counts" in state else 2
        return FeatureOutput("double") if classes == 2 else FeatureOutput("double", length=classes)

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """double, or array<double>"""
        return _sql_get(np.array(state["values"]), self._sql_place(values[0], state))

    def _sql_place(self, value: SqlValue, state: State) -> str:
        prior = len(state["vocabulary"])
        return f"CASE WHEN {value.null} THEN {prior} ELSE coalesce({vocabulary.sql_lookup(value.hash, state['vocabulary'])}, {prior}) END"

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """float64 of shape (rows,) or (rows, classes)"""
        return np.array(state["values"])[self._place(values[0], state)]

    def _place(self, value: ArrowValue, state: State) -> npt.NDArray[np.int64]:
        places = vocabulary.lookup(value.hash, state["vocabulary"])
        return np.where(value.null | (places < 0), len(state["vocabulary"]), places)

    def out_of_fold(self, part: str) -> Kind:
        """The kind for training rows."""
        return _OutOfFold(**self.model_dump(), part=part)

    def note(self, state: State) -> str:
        """The prior, and the values of the most frequent categories."""
        if len(state["counts"]) > 2:
            return "priors " + ", ".join(f"{prior:.3g}" for prior in state["values"][-1])
        shown = [f"{word} {value:.3g}" for word, value in zip(state["vocabulary"][:6], state["values"], strict=False)]
        more = " …" if len(state["vocabulary"]) > len(shown) else ""
        return f"prior {state['values'][-1]:.3g}; {', '.join(shown)}{more}"


def _cell_texts(target: Target, folds: int, of: str | Derived, values: BatchValues) -> pa.Array:
    """`<part> <code of the class>=<value>`, without `=<value>` for NULL; NULL for a row without a part."""
    part = single_chunk(values.rows[target.part]).cast(pa.int64())
    parts = pa.array(part.fill_null(0).to_numpy() % folds, mask=part.is_null().to_numpy(zero_copy_only=False)).cast(pa.string())
    label = single_chunk(values.rows[target.positive])
    if target.classes == 2:
        classes = pc.if_else(label.fill_null(False), " 1", " 0")
    else:
        classes = pc.binary_join_element_wise("", label.cast(pa.string()), " ")
    texts = values[of].canonical.cast(pa.string())
    known = pc.if_else(texts.is_null(), "", pc.binary_join_element_wise("=", texts.fill_null(""), ""))
    return pc.binary_join_element_wise(parts, classes, known, "")


class _OutOfFold(TargetEncoded):
    """Out-of-fold values of rows with a part; rows without one have the value for scoring."""

    part: str = Field(description="name of the column of parts")

    def inputs(self) -> Sequence[str]:
        """The column, and the column of parts."""
        return [self.input_col, self.part]

    def _tables(self, state: State) -> npt.NDArray[np.float64]:
        """float64 of shape (1 + folds, categories + 1) or (…, classes): the values for scoring, then those of each part."""
        return np.concatenate([np.array(state["values"])[None], self._values(_others(np.array(state["counts"])))])

    def sql(self, values: Sequence[SqlValue], state: State) -> str:
        """double, or array<double>"""
        value, part = values
        tables = self._tables(state)
        row = f"CAST(coalesce(pmod({part.column}, {self.folds}) + 1, 0) AS INT)"
        return _sql_get(tables.reshape(-1, *tables.shape[2:]), f"{row} * {tables.shape[1]} + {self._sql_place(value, state)}")

    def arrow(self, values: Sequence[ArrowValue], state: State) -> Array:
        """float64 of shape (rows,) or (rows, classes)"""
        value, part = values
        row = np.where(part.null, 0, _int64(part.array.fill_null(0)) % self.folds + 1)
        return self._tables(state)[row, self._place(value, state)]


def _others(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each part, the counts of all other parts."""
    return counts.sum(axis=1, keepdims=True) - counts  # type: ignore[no-any-return]


def _sql_get(values: npt.NDArray[np.float64], place: str) -> str:
    """The number, or the array of numbers, at a place of the values."""
    numbers = f"from_json({sql.text_literal(canonical_json(values.ravel().tolist()))}, 'array<double>')"
    if values.ndim == 1:
        return f"get({numbers}, {place})"
    return f"slice({numbers}, ({place}) * {values.shape[1]} + 1, {values.shape[1]})"


def _int64(array: Any) -> npt.NDArray[np.int64]:
    return array.cast(pa.int64()).to_numpy()  # type: ignore[no-any-return]
