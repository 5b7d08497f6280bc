"""The section `features` of a drafted conf: a feature for each useful column, and why the others are left out."""

import re
from collections.abc import Container, Mapping

import numpy as np
import pyarrow.compute as pc

from keyfold.errors import DataError
from keyfold.evaluation import label_leakage
from keyfold.profiling import personal_data
from keyfold.profiling.column_profile import ENOUGH_VALUES, OTHER, ColumnProfile
from keyfold.profiling.draft import FEW_SERIES, NUMBER_TYPES, TIME_TYPES, TINY, Draft, Lines, fresh_name, snake_case
from keyfold.profiling.file_profile import FileProfile
from keyfold.profiling.yaml_text import yaml_scalar
from keyfold.readers.rows import NUMBERED

FEW_VALUES = 100  # distinct texts that are one-hot encoded at most
MOST_BUCKETS = 1 << 18
WORDS = 3  # on average, at least, in a column of sentences
MANY = 1_000  # rows
_CODES = r"(.*_)?(id|code|zip|zip_?code|plz|postcode|postal_?code)"
UNFIT = "no recurring part of its dates varies, such as the weekday"
_HOUR, _DAY = 3_600, 86_400
WEEKS, YEAR = 14, 366  # days after which weekdays and months recur


def why_not(draft: Draft, column: ColumnProfile) -> str | None:
    """Reason to leave a column out, as a clause; None if it becomes a feature."""
    return (
        _taken(draft, column)
        or _uninformative(column, draft.profile)
        or personal_data.personal_reason(column, snake_case(column.name))
        or _identifier(column)
        or draft.suspects.get(column.name)
        or _twin(draft, column)
        or _unfit(column)
    )


def _taken(draft: Draft, column: ColumnProfile) -> str | None:
    if column is draft.label:
        return "it is the label"
    if column is draft.time:
        return None if _parts(column) else "it is the time"
    few = draft.few_series and 1 < len(column.distinct) < FEW_SERIES  # each series has rows in each fold
    return "it is the key" if column.name in draft.key and not few else None


def _uninformative(column: ColumnProfile, profile: FileProfile) -> str | None:
    if column.type == OTHER:
        return f"it is {OTHER}"
    if not column.present:
        return "every value is missing"
    if len(column.distinct) == 1 and column.present == profile.rows:
        return f"it is {yaml_scalar(column.distinct[0].as_py())} in every row"
    return "it has no name and numbers the rows" if column.name == NUMBERED else None


def _identifier(column: ColumnProfile) -> str | None:
    # Amounts may differ in every row by chance; row numbers are dense.
    whole = column.type == "bigint" and column.share == 1 and column.present > 1
    dense = column.present >= TINY and column.type == "bigint" and column.span() < 2 * column.present
    if whole and (column.present >= MANY or dense or _is_code(column)):
        return "it is a different whole number in every row, as identifiers are"
    different = len(column.distinct)
    many = column.present >= TINY and column.share > 0.9 and (column.share == 1 or different > FEW_VALUES)
    if column.type == "string" and many and not holds_sentences(column) and not column.sign:
        return f"{'every' if column.share == 1 else 'nearly every'} row has a different value, as with identifiers"
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
    return f"its numbers carry the sign `{column.sign}` and are read as text: remove it in the file to make them numbers"


def kind_of_feature(column: ColumnProfile) -> str:
    """The kind of feature that suits a column, for a linear model and for trees."""
    if column.type in TIME_TYPES:
        return "date_parts"
    if column.type in NUMBER_TYPES and not (column.type == "bigint" and _is_code(column)):
        return "numeric"
    if column.type == "string" and holds_sentences(column):
        return "text"
    return "one_hot" if len(column.distinct) <= FEW_VALUES else "hashed"


def feature_line(column: ColumnProfile, profile: FileProfile, name: str) -> str:
    """Feature of a column, as YAML with its reason; `name`: name of the column in the table."""
    different, source = len(column.distinct), f"input_col: {yaml_scalar(name)}"
    many = f"over {ENOUGH_VALUES:,}" if different > ENOUGH_VALUES else f"{different:,}"
    gaps, kind = profile.rows - column.present, kind_of_feature(column)
    if kind == "date_parts":
        return f"{{date_parts: {{{source}, {_date_parts(column)}}}}}  # {_range(column)}"
    if kind == "numeric":
        fill, note = (", missing: mean", f"{gaps:,} missing") if gaps else ("", f"{many} different numbers")
        return f"{{numeric: {{{source}, scale: standard{fill}}}}}  # {note}"
    if kind == "text":
        rare = ", min_frequency: 3" if profile.rows >= MANY else ""
        words = f"text of {column.words / column.present:.0f} words on average"
        return f"{{text: {{{source}, max_tokens: 5000{rare}}}}}  # {words}: the count of each word"
    if kind == "one_hot":
        return one_hot_line(column, profile, name)
    buckets = min(1 << (4 * different - 1).bit_length(), MOST_BUCKETS)
    why = f"{many} different values: too many for a column each{_numeric_hint(column)}"
    return f"{{hashed: {{{source}, num_buckets: {buckets}}}}}  # {why}"


def one_hot_line(column: ColumnProfile, profile: FileProfile, name: str) -> str:
    """One-hot feature of a column, as YAML with its reason."""
    rare = ", min_frequency: 10" if profile.rows >= MANY else ""
    return f"{{one_hot: {{input_col: {yaml_scalar(name)}{rare}}}}}  # {len(column.distinct):,} different values{_numeric_hint(column)}"


def _is_code(column: ColumnProfile) -> bool:
    return bool(re.fullmatch(_CODES, snake_case(column.name)))


def holds_sentences(column: ColumnProfile) -> bool:
    """Whether a column holds sentences rather than names."""
    different = len(column.distinct)
    return column.words >= WORDS * column.present and (different > FEW_VALUES or (different > 1 and column.share > 0.5))


def _numeric_hint(column: ColumnProfile) -> str:
    if column.sign:
        return f"; {_signed(column)}"
    words = ", ".join(map(yaml_scalar, column.strays()))
    return f"; numbers except {words}: leave those cells empty to make it numeric" if words else ""


def _parts(column: ColumnProfile) -> list[str]:
    """Parts of the dates that vary and recur within the time span of the column."""
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
    """Lines of the section: the features, then a comment for each column that is left out."""
    columns = draft.profile.columns.values()
    left_out = {column.name: why for column in columns if (why := why_not(draft, column))}
    names: dict[str, ColumnProfile] = {}
    for place, column in enumerate(columns, 1):
        if column.name not in left_out:
            names[fresh_name(snake_case(column.name) or f"column_{place}", names)] = column
    between, used = _between(draft, left_out, names)
    lines = (
        [f"  {yaml_scalar(name)}: {_feature(draft, column)}" for name, column in names.items()] + between + _windows(draft, names)
    )
    notes = [f"{draft.name(name)} is left out: {why}." for name, why in left_out.items() if name not in used]
    if not lines:
        raise DataError("\n".join(["no column is left to learn from:", *notes]))
    if any(draft.suspects.get(name) == why for name, why in left_out.items()):
        notes += ["If a column that reveals the label is known before it, add it here, and its name to `split: {allow: […]}`."]
    return ["features:", *_joint_warning(draft, names), *lines, *(f"  # {line}" for line in notes)]


def _between(draft: Draft, left_out: Mapping[str, str], names: Container[str]) -> tuple[Lines, list[str]]:
    """Features of the days between dates, or from dates to the time of the row if it has one, and the columns that they use."""
    dates = [c for c in draft.profile.columns.values() if c.type in TIME_TYPES and c is not draft.time]
    dates = [c for c in dates if left_out.get(c.name, UNFIT) == UNFIT or (draft.time and personal_data.BIRTH in left_out[c.name])]
    lines = []
    for column in dates if draft.time else dates[1:]:
        since = draft.time or dates[0]
        name = f"{snake_case(column.name) or 'date'}_{'age' if draft.time else f'after_{snake_case(since.name)}'}"
        own, other = draft.name(column.name), draft.name(since.name)
        source = f"age: {own}" if draft.time else f"difference: [{own}, {other}]"
        note = f"days from {own} to {other}" if draft.time else f"days from {other} to {own}"
        lines.append(f"  {fresh_name(name, names)}: {{numeric: {{input_col: {{{source}}}, scale: standard}}}}  # {note}")
    return lines, [c.name for c in dates] if lines else []


def _feature(draft: Draft, column: ColumnProfile) -> str:
    series = column.name in draft.key and column is not draft.time
    return (one_hot_line if series else feature_line)(column, draft.profile, draft.names.get(column.name, column.name))


def _windows(draft: Draft, taken: Container[str]) -> Lines:
    """Features of former values of the label, a number, in the series of the row."""
    if draft.classifies or not draft.few_series or not draft.key:
        return []
    label = draft.label.name
    windows = {
        "before": ("1 row, take: last", "the label of the previous row of its series"),
        "mean_7": ("7 rows, take: mean", "the mean label of the 7 previous rows of its series"),
    }
    lines = []
    for name, (over, note) in windows.items():
        fresh = f"{snake_case(label) or 'label'}_{name}"
        if fresh not in taken:
            one = "by: [], " if draft.time and draft.key == [draft.time.name] else ""
            source = f"input_col: {draft.name(label)}, {one}over: {over}, scale: standard"
            lines.append(f"  {yaml_scalar(fresh)}: {{windowed: {{{source}}}}}  # {note}; set `lag` if it is known later")
    return lines


def _joint_warning(draft: Draft, names: Mapping[str, ColumnProfile]) -> Lines:
    area, first = draft.together([column.name for column in names.values()])
    if area <= label_leakage.SUSPECT_SCORE:
        return []
    named = ", ".join(map(draft.name, first[:3]))
    return [
        f"  # Warning: together these reveal the label (ROC AUC {area:.3f} on held-out rows). Are they known before it, such as {named}?"
    ]
