"""Which feature `init` proposes for a column, or why it proposes none."""

import re
from collections.abc import Container, Mapping

import numpy as np
import pyarrow.compute as pc

from keyfold.errors import DataError
from keyfold.evaluation import label_leakage
from keyfold.profiling import personal_data
from keyfold.profiling.column_profile import ENOUGH_VALUES, OTHER, ColumnProfile
from keyfold.profiling.draft import FEW_SERIES, NUMBER_TYPES, TIME_TYPES, TINY, Draft, Lines, snake_case
from keyfold.profiling.file_profile import NAMELESS, FileProfile
from keyfold.profiling.yaml_text import yaml_scalar

FEW_VALUES = 100  # different texts that still get a column each
MOST_BUCKETS = 1 << 18
WORDS = 3  # so many on average are a sentence, not a name
MANY = 1_000  # rows
_CODES = r"(.*_)?(id|code|zip|zip_?code|plz|postcode|postal_?code)"
UNFIT = "its dates differ in no part that comes again, such as the weekday"
_HOUR, _DAY = 3_600, 86_400
WEEKS, YEAR = 14, 366  # days after which weekdays and months come again


def why_not(draft: Draft, column: ColumnProfile) -> str | None:
    """Why a column is no feature, as the rest of a sentence."""
    return (
        _taken(draft, column)
        or _says_nothing(column, draft.seen)
        or personal_data.personal_reason(column, snake_case(column.name))
        or _identifier(column)
        or draft.suspects.get(column.name)
        or _twin(draft, column)
        or _unfit(column)
    )


def _taken(draft: Draft, column: ColumnProfile) -> str | None:
    if column is draft.label:
        return "the label"
    if column is draft.time:
        return None if _parts(column) else "the time"
    few = draft.few_series and 1 < len(column.distinct) < FEW_SERIES  # series that are in each fold
    return "the key" if column.name in draft.key and not few else None


def _says_nothing(column: ColumnProfile, seen: FileProfile) -> str | None:
    if column.type == OTHER:
        return f"it is {OTHER}"
    if not column.present:
        return "every value is missing"
    if len(column.distinct) == 1 and column.present == seen.rows:
        return f"it is {yaml_scalar(column.distinct[0].as_py())} in every row"
    return "it has no name, and is the number of the row" if column.name == NAMELESS else None


def _identifier(column: ColumnProfile) -> str | None:
    # Amounts can be different in every row by chance; row numbers are dense, and chance does not reach far.
    whole = column.type == "bigint" and column.share == 1 and column.present > 1
    dense = column.present >= TINY and column.type == "bigint" and column.span() < 2 * column.present
    if whole and (column.present >= MANY or dense or _is_code(column)):
        return "it is another whole number in every row, as an identifier is"
    different = len(column.distinct)
    many = column.present >= TINY and column.share > 0.9 and (column.share == 1 or different > FEW_VALUES)
    if column.type == "string" and many and not holds_sentences(column) and not column.sign:
        return f"{'each' if column.share == 1 else 'nearly each'} row has another value, as an identifier has"
    return None


def _twin(draft: Draft, column: ColumnProfile) -> str | None:
    other = draft.twins.get(column.name)
    return f"it is the same as {draft.name(other)} in every row" if other else None


def _unfit(column: ColumnProfile) -> str | None:
    if column.type in TIME_TYPES and not _parts(column):
        return UNFIT
    if column.type == "string" and column.sign and len(column.distinct) > FEW_VALUES:
        return _signed(column)
    return None


def _signed(column: ColumnProfile) -> str:
    return f"its numbers have `{column.sign}` beside them and so are text: remove it in the file to make them numbers"


def feature_line(column: ColumnProfile, seen: FileProfile, name: str) -> str:
    """A column's feature, as YAML with its reason; `name`: the column's in the table."""
    different, source = len(column.distinct), f"input_col: {yaml_scalar(name)}"
    many = f"over {ENOUGH_VALUES:,}" if different > ENOUGH_VALUES else f"{different:,}"
    gaps = seen.rows - column.present
    if column.type in TIME_TYPES:
        return f"{{date_parts: {{{source}, {_date_parts(column)}}}}}  # {_range(column)}"
    if column.type in NUMBER_TYPES and not (column.type == "bigint" and _is_code(column)):
        fill, note = (", missing: mean", f"{gaps:,} missing") if gaps else ("", f"{many} different numbers")
        return f"{{numeric: {{{source}, scale: standard{fill}}}}}  # {note}"
    if column.type == "string" and holds_sentences(column):
        rare = ", min_frequency: 3" if seen.rows >= MANY else ""
        words = f"text of {column.words / column.present:.0f} words on average"
        return f"{{text: {{{source}, max_tokens: 5000{rare}}}}}  # {words}: how often each word stands in it"
    if different <= FEW_VALUES:
        return one_hot_line(column, seen, name)
    buckets = min(1 << (4 * different - 1).bit_length(), MOST_BUCKETS)
    why = f"{many} different values: too many for a column each{_hint(column)}"
    return f"{{hashed: {{{source}, num_buckets: {buckets}}}}}  # {why}"


def one_hot_line(column: ColumnProfile, seen: FileProfile, name: str) -> str:
    """A feature of categories, as YAML with its reason."""
    rare = ", min_frequency: 10" if seen.rows >= MANY else ""
    return f"{{one_hot: {{input_col: {yaml_scalar(name)}{rare}}}}}  # {len(column.distinct):,} different values{_hint(column)}"


def _is_code(column: ColumnProfile) -> bool:
    return bool(re.fullmatch(_CODES, snake_case(column.name)))


def holds_sentences(column: ColumnProfile) -> bool:
    """Whether a column holds sentences rather than names."""
    different = len(column.distinct)
    return column.words >= WORDS * column.present and (different > FEW_VALUES or (different > 1 and column.share > 0.5))


def _hint(column: ColumnProfile) -> str:
    if column.sign:
        return f"; {_signed(column)}"
    words = ", ".join(map(yaml_scalar, column.strays()))
    return f"; numbers but for {words}: leave such cells empty to make it numeric" if words else ""


def _parts(column: ColumnProfile) -> list[str]:
    """The parts of its dates that differ, and come again within the time that they span."""
    seconds = column.numeric(column.distinct) * (_DAY if column.type == "date" else 1)
    days = np.unique(seconds // _DAY)
    span = np.ptp(seconds) / _DAY
    parts = {
        "hour": column.type == "timestamp" and np.ptp(seconds % _DAY) >= _HOUR,
        "day_of_week": span >= WEEKS and np.ptp(days % 7) > 0,
        "month": span >= YEAR,
    }
    return [part for part, differs in parts.items() if differs]


def _date_parts(column: ColumnProfile) -> str:
    parts = _parts(column)
    return f"parts: [{', '.join(parts)}]{', cyclic: true' if len(parts) > 1 else ''}"


def _range(column: ColumnProfile) -> str:
    low_high = pc.min_max(column.iso(column.distinct)).as_py()
    return f"{low_high['min'][:10]} to {low_high['max'][:10]}"


def feature_lines(draft: Draft) -> Lines:
    """The lines of the section `features`: those that are proposed, and why the other columns are left out."""
    columns = draft.seen.columns.values()
    out = {column.name: why for column in columns if (why := why_not(draft, column))}
    names: dict[str, ColumnProfile] = {}
    for place, column in enumerate(columns, 1):
        if column.name not in out:
            names[_fresh(snake_case(column.name) or f"column_{place}", names)] = column
    between, used = _between(draft, out, names)
    lines = (
        [f"  {yaml_scalar(name)}: {_made(draft, column)}" for name, column in names.items()] + between + _windows(draft, names)
    )
    left = [f"{draft.name(name)} is left out: {why}." for name, why in out.items() if name not in used]
    if not lines:
        raise DataError("\n".join(["no column is left to learn from:", *left]))
    if any(draft.suspects.get(name) == why for name, why in out.items()):
        left += ["Where a column that tells the label is known before it: add it here, and its name to `split: {allow: […]}`."]
    return ["features:", *_together(draft, names), *lines, *(f"  # {line}" for line in left)]


def _between(draft: Draft, out: Mapping[str, str], taken: Container[str]) -> tuple[Lines, list[str]]:
    """The days from dates until the row's time or, where rows have none, between dates; and the columns that they take."""
    fit = [c for c in draft.seen.columns.values() if c.type in TIME_TYPES and c is not draft.time]
    fit = [c for c in fit if out.get(c.name, UNFIT) == UNFIT or (draft.time and personal_data.BIRTH in out[c.name])]
    lines = []
    for column in fit if draft.time else fit[1:]:
        since = draft.time or fit[0]
        name = f"{snake_case(column.name) or 'date'}_{'age' if draft.time else f'after_{snake_case(since.name)}'}"
        source = (
            f"age: {draft.name(column.name)}"
            if draft.time
            else f"difference: [{draft.name(column.name)}, {draft.name(since.name)}]"
        )
        said = f"days from {draft.name(column.name)} until {draft.name(since.name)}"
        said = said if draft.time else f"days from {draft.name(since.name)} until {draft.name(column.name)}"
        lines.append(f"  {_fresh(name, taken)}: {{numeric: {{input_col: {{{source}}}, scale: standard}}}}  # {said}")
    return lines, [c.name for c in fit] if lines else []


def _fresh(name: str, taken: Container[str]) -> str:
    return name if name not in taken else _fresh(f"{name}_", taken)


def _made(draft: Draft, column: ColumnProfile) -> str:
    series = column.name in draft.key and column is not draft.time
    return (one_hot_line if series else feature_line)(column, draft.seen, draft.names.get(column.name, column.name))


def _windows(draft: Draft, taken: Container[str]) -> Lines:
    """What the label, a number, was before in the series of a row."""
    if draft.classes or not draft.few_series or not draft.key:
        return []
    label = draft.label.name
    windows = {
        "before": ("1 row, take: last", "in the row before"),
        "mean_7": ("7 rows, take: mean", "in the mean of 7 rows before"),
    }
    lines = []
    for name, (over, said) in windows.items():
        fresh = f"{snake_case(label) or 'label'}_{name}"
        if fresh not in taken:
            one = "by: [], " if draft.time and draft.key == [draft.time.name] else ""
            source = f"input_col: {draft.name(label)}, {one}over: {over}, scale: standard"
            lines.append(
                f"  {yaml_scalar(fresh)}: {{windowed: {{{source}}}}}  # the label {said} of its series; `lag` where it is known later"
            )
    return lines


def _together(draft: Draft, names: Mapping[str, ColumnProfile]) -> Lines:
    area, first = draft.together([column.name for column in names.values()])
    if area <= label_leakage.SUSPECT_SCORE:
        return []
    said = ", ".join(map(draft.name, first[:3]))
    return [
        f"  # Warning: together these tell the label (ROC AUC {area:.3f} on held-out rows). Are they known before it, such as {said}?"
    ]
