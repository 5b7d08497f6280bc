"""A label that is a number: read from its column, which may be text, and checked in all labelled rows."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.label import AboveThreshold, LabelConf
from keyfold.core import sql
from keyfold.core.names import LABEL
from keyfold.core.texts import value_texts
from keyfold.core.types import ArrowValue, arrow_family, family_of
from keyfold.engine.columns import col, lit
from keyfold.engine.frame import Computed, Frame
from keyfold.errors import ConfError, DataError
from keyfold.labels import Number

NUMBERS = ("bigint", "double", "decimal")
_NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"


def fit_number(conf: LabelConf, family: str) -> Number:
    """The label of a regressor (DataError if the column has another type, ConfError for options of classes)."""
    if isinstance(conf.positive, AboveThreshold):
        raise no_threshold(conf, family, "regressor")
    if family not in NUMBERS and conf.scores is None:
        needs = "bands" if conf.bands else "a regressor"
        hint = "; `label: {as: number}` reads the numbers of its text" if family == "string" else ""
        raise DataError(f"label: `{conf.column}` is {family}, and must be a number for {needs}{hint}")
    return Number(family, None if conf.bands else conf.covered, transform=conf.transform)


def no_threshold(conf: LabelConf, family: str, model: str) -> ConfError:
    """The error for a threshold that makes classes of a number, without a number or a classifier."""
    return ConfError(
        f"label.positive: `above` makes classes of a number, for a classifier (got the label `{conf.column}`, {family}, for a {model})"
    )


def with_number(conf: LabelConf, rows: Frame) -> Frame:
    """Adds the label as a double; NaN for a class that is no number."""
    name = str(conf.column)
    if family_of(rows.types[name]) in NUMBERS and not isinstance(conf.scores, dict):
        expression = f"CAST({sql.column_reference(name)} AS DOUBLE)"
        return rows.compute(Computed({LABEL: pa.float64()}, partial(_as_double, name), [expression]))
    return rows.compute(Computed({LABEL: pa.float64()}, partial(_scored, name, conf.scores)))


class Unfit(NamedTuple):
    """A condition of rows with LABEL that a regressor cannot learn, the reason, and what to do about it."""

    condition: nw.Expr
    option: str
    reason: str
    advice: str


def unfit(conf: LabelConf) -> list[Unfit]:
    """The conditions that the label of no row may meet."""
    no_number = ~col(LABEL).is_finite()
    if conf.scores:
        conditions = [Unfit(no_number, "label.as", "has no number", "give each class its number, as in `as: {low: 1, high: 2}`")]
    else:
        conditions = [Unfit(no_number, "label", "is not a finite number", "correct it")]
    if conf.transform:
        advice = "leave `transform: log` out"
        conditions.append(Unfit(col(LABEL) <= lit(0.0), "label.transform", "is 0 or less and has no logarithm", advice))
    return conditions


def check_fit(conf: LabelConf, rows: Frame, counts: Sequence[int], n: int) -> None:
    """Raises DataError if some of n labelled rows are unfit; counts: how many meet each condition of `unfit`."""
    for (condition, option, reason, advice), count in zip(unfit(conf), counts, strict=True):
        if count:
            name = str(conf.column)
            example = with_number(conf, rows).where(condition).select([name]).head(1).rows()[0][name]
            raise DataError(
                f"{option}: `{name}` {reason} in {count:,} of {n:,} rows, such as {example!r}; {advice}, or make it unknown (NULL)"
            )


def _as_double(name: str, batch: pa.RecordBatch) -> list[pa.Array]:
    family = arrow_family(batch[name].type)
    if family == "double":
        return [batch[name].cast(pa.float64())]
    value = ArrowValue(batch[name], family)
    return [pa.array(value.number, mask=value.null)]


def _scored(name: str, scores: Any, batch: pa.RecordBatch) -> list[pa.Array]:
    """The number of each class; NaN for one that has none, NULL for NULL."""
    texts = value_texts(batch[name])
    if isinstance(scores, dict):
        code = pc.index_in(texts, pa.array([*scores], pa.string()))
        numbers = pa.array([*scores.values()], pa.float64()).take(code)
    else:
        numeric = pc.match_substring_regex(texts, _NUMBER)
        numbers = pc.if_else(numeric, pc.utf8_trim_whitespace(texts), "nan").cast(pa.float64())
    return [pc.if_else(texts.is_null(), None, pc.fill_null(numbers, np.nan))]
