"""Labels with a neutral answer: the class of each row, of votes, of a range of numbers, or of its column, as text."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.label import AboveThreshold, LabelConf
from keyfold.core.names import CLASS
from keyfold.core.texts import value_texts
from keyfold.core.types import ArrowValue, arrow_family, family_of, spark_text
from keyfold.engine.frame import Computed, Frame
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.labels import Classes, Neutral
from keyfold.labels.neutral import NEUTRAL

NUMBERS, CLASSES = ("bigint", "double", "decimal"), ("string", "boolean", "bigint")
_NOT_FINITE = "(not a finite number)"  # the class of such a row, which is refused


def with_class(conf: LabelConf, rows: Frame) -> Frame:
    """The rows with their class as text, in the column CLASS. DataError if a column has a type of which there are no classes."""
    _check_types(conf, rows.types)
    return rows.compute(Computed({CLASS: pa.string()}, partial(_classes, conf)))


def with_majority(conf: LabelConf, rows: Frame, column: str) -> Frame:
    """The rows with the class that most raters name, whether they agree or not; NULL if two classes have as many votes."""
    return rows.compute(Computed({column: pa.string()}, partial(_majority, conf)))


def class_codes(conf: LabelConf, classes: Sequence[str], unknown: int, batch: pa.RecordBatch) -> list[pa.Array]:
    """The code of each row's class, NULL without a label; `unknown` for a class that is not in `classes`."""
    texts = _classes(conf, batch)[0]
    codes = pc.fill_null(pc.index_in(texts, pa.array(classes, pa.string())), unknown)
    return [pc.if_else(texts.is_null(), None, codes).cast(pa.int64())]


def neutral_label(conf: LabelConf, found: Classes) -> Neutral:
    """The label of the classes of the train fold. ConfError if the model would never decline."""
    abstain = conf.neutral.abstain if conf.neutral else None
    answers = [name for name in found.classes if name != NEUTRAL]
    if abstain is None:
        return Neutral("string", (*answers, NEUTRAL))
    if abstain * len(answers) <= 1:
        raise ConfError(
            f"label.neutral.abstain: the most probable of {len(answers)} classes has at least the probability {1 / len(answers):.3g}, so a "
            f"model would never decline below {abstain:g}; take a higher one"
        )
    return Neutral("string", tuple(answers), abstain)


def check_classes(conf: LabelConf, counts: Mapping[tuple[str, Any], int]) -> None:
    """Raises DataError if the classes that were counted cannot be learnt."""
    assert conf.neutral is not None
    train = {name: n for (fold, name), n in counts.items() if fold == "train"}
    answers = sorted({name for _, name in counts} - {NEUTRAL})
    shown, rows = _shown(conf), sum(train.values())
    if unfit := sum(n for (_, name), n in counts.items() if name == _NOT_FINITE):
        raise DataError(
            f"label: {shown} is not a finite number in {unfit:,} of {sum(counts.values()):,} rows; correct it, or make it unknown (NULL)"
        )
    if conf.neutral.abstain is not None:
        if NEUTRAL in {name for _, name in counts}:
            raise DataError(
                f"label.neutral.abstain: {shown} has a class `{NEUTRAL}`, which is what a declined row gets; rename it"
            )
    elif not train.get(NEUTRAL):
        raise DataError(f"label.neutral: none of {rows:,} rows of the train fold is neutral, {_why_none(conf)}")
    if missing := [name for name in _expected(conf, answers) if not train.get(name)]:
        raise DataError(
            f"label.neutral: none of {rows:,} rows of the train fold is `{missing[0]}`, so there is nothing to tell apart"
        )
    if len([name for name in answers if train.get(name)]) < 2:
        only = f"only `{answers[0]}`" if answers else "none"
        raise DataError(
            f"label.neutral: {shown} has {only} as a class besides `{NEUTRAL}` in the train fold, and a model needs two"
        )


def _why_none(conf: LabelConf) -> str:
    neutral = conf.neutral
    assert neutral is not None
    if neutral.between:
        low, high = neutral.between
        return f"since no {_shown(conf)} is from {low:g} to {high:g}; take another range"
    return (
        f"since at least {neutral.agreement:.0%} of the raters agree on each; leave `neutral` out and name one rater as the label"
    )


def _expected(conf: LabelConf, answers: Sequence[str]) -> Sequence[str]:
    """The classes that must be there. DataError for others beside those of `positive`."""
    assert conf.neutral is not None
    if conf.neutral.between:
        return _sides(conf.neutral.between)
    if isinstance(conf.positive, AboveThreshold):
        return _above(conf.positive.above)
    if conf.positive is None:
        return ()
    positive = spark_text(conf.positive)
    if len(answers) != 2 or positive not in answers:
        found = ", ".join(answers[:10]) + (" …" if len(answers) > 10 else "")
        raise DataError(
            f"label.positive: `{positive}` must be one of two classes, and {_shown(conf)} has {found}; correct the others, make them "
            f"unknown (NULL), or leave label.positive out{suggestion(positive, answers)}"
        )
    return (positive,)


def _shown(conf: LabelConf) -> str:
    return ", ".join(f"`{name}`" for name in conf.columns_of_rows)


def _check_types(conf: LabelConf, types: dict[str, str]) -> None:
    families = {name: family_of(types[name]) for name in conf.columns_of_rows}
    of_numbers = bool(conf.neutral and conf.neutral.between) or isinstance(conf.positive, AboveThreshold)
    for name, family in families.items():
        if family not in (NUMBERS if of_numbers else CLASSES):
            wanted = "a number" if of_numbers else "text, a boolean or an integer"
            hint = (
                f"; declare its type, as in `data: {{columns: {{{name}: double}}}}`" if of_numbers and family == "string" else ""
            )
            raise DataError(f"label: `{name}` is {family}, and must be {wanted} for its classes{hint}")
    first, *others = families.items()
    if differing := [(name, family) for name, family in others if family != first[1] and not of_numbers]:
        raise DataError(
            f"label.neutral.votes: `{first[0]}` is {first[1]}, and `{differing[0][0]}` is {differing[0][1]}; all raters must name the same classes"
        )


# --- in the tasks ---


def _classes(conf: LabelConf, batch: pa.RecordBatch) -> list[pa.Array]:
    neutral = conf.neutral
    assert neutral is not None
    if neutral.between:
        return [_by_range(neutral.between, batch[str(conf.column)])]
    if not neutral.votes:
        return [_texts(conf, batch[str(conf.column)])]
    winner, votes, _, known = _counted(conf, batch)
    return [pc.if_else(known, pc.if_else(pa.array(votes >= neutral.votes_needed), winner, NEUTRAL), None)]


def _majority(conf: LabelConf, batch: pa.RecordBatch) -> list[pa.Array]:
    winner, _, tied, known = _counted(conf, batch)
    return [pc.if_else(pc.and_(known, pa.array(~tied)), winner, None)]


def _counted(conf: LabelConf, batch: pa.RecordBatch) -> tuple[pa.Array, Any, Any, pa.Array]:
    """Of each row the class with the most votes, their number, whether another has as many, and whether all raters voted."""
    texts = [_texts(conf, batch[name]) for name in conf.raters]
    encoded = pa.concat_arrays(texts).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy().reshape(len(texts), batch.num_rows)
    votes = (codes[:, None, :] == codes[None, :, :]).sum(axis=0)  # for the class of each rater (raters, n)
    first, rows = votes.argmax(axis=0), np.arange(batch.num_rows)
    winner, most = codes[first, rows], votes[first, rows]
    tied = ((votes == most) & (codes != winner)).any(axis=0)
    known = (codes >= 0).all(axis=0)
    return encoded.dictionary.take(pa.array(winner, mask=winner < 0)), most, tied, pa.array(known)


def _texts(conf: LabelConf, values: pa.Array) -> pa.Array:
    """The classes of a column as text; of numbers, whether they are above `label.positive.above`."""
    if not isinstance(conf.positive, AboveThreshold):
        return value_texts(values).cast(pa.string())
    number, (above, other) = _number(values), _above(conf.positive.above)
    texts = np.select([~np.isfinite(number), number > conf.positive.above], [_NOT_FINITE, above], other)
    return pa.array(texts, pa.string(), mask=values.is_null().to_numpy(zero_copy_only=False))


def _by_range(between: Sequence[float], values: pa.Array) -> pa.Array:
    (low, high), number, (below, above) = between, _number(values), _sides(between)
    texts = np.select([~np.isfinite(number), number < low, number > high], [_NOT_FINITE, below, above], NEUTRAL)
    return pa.array(texts, pa.string(), mask=values.is_null().to_numpy(zero_copy_only=False))


def _number(values: pa.Array) -> Any:
    return np.asarray(ArrowValue(values, arrow_family(values.type)).number, np.float64)


def _sides(between: Sequence[float]) -> tuple[str, str]:
    return f"below {between[0]:.15g}", f"above {between[1]:.15g}"


def _above(number: float) -> tuple[str, str]:
    return f"above {number:.15g}", f"not above {number:.15g}"
