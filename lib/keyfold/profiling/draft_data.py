"""The section `data` of a first conf: what `init` proposes for the columns, the key, the time and the label."""

from pathlib import Path

from keyfold.errors import ConfError, DataError
from keyfold.profiling import snapshots, value_formats
from keyfold.profiling.column_profile import ColumnProfile
from keyfold.profiling.draft import NUMBER_TYPES, QUARANTINE, Draft, Lines, is_odd_name, key_hint, yaml_label
from keyfold.profiling.file_profile import FileProfile
from keyfold.profiling.value_formats import PLAIN
from keyfold.profiling.yaml_text import yaml_scalar

_MAPPING = "With such a name the Delta tables need column mapping: Polars does not read them, and delta-rs reads NULL."


def data_lines(draft: Draft) -> Lines:
    """The lines of the section."""
    lines = ["data:", f"  source: {yaml_scalar(draft.path)}", *_columns(draft), *_csv_options(draft.seen), *_zone(draft)]
    return [*lines, *_keys(draft), *_period(draft), *_label(draft)]


def _columns(draft: Draft) -> Lines:
    seen = draft.seen
    if seen.format == "parquet":
        return _of_parquet(seen)
    lines = ["  columns:  # a row with a value that its type does not hold goes to quarantine"]
    for column in seen.columns.values():
        folder = "the folders name it" if column.name in seen.partitions else ""
        notes = "; ".join(filter(None, (folder, _beside(draft, column), _missing(column, seen), _order(column))))
        lines.append(f"    {_declared(draft, column)}{f'  # {notes}' if notes else ''}")
    for odd, safe in [(odd, safe) for odd, safe in draft.names.items() if is_odd_name(odd)][:1]:
        lines += [
            f"  # To keep a name such as {yaml_scalar(odd)}, write `{yaml_scalar(odd)}: {_type(draft, seen.columns[odd])}` in place of its line with {safe}.",
            f"  # {_MAPPING}",
        ]
    return lines


def _of_parquet(seen: FileProfile) -> Lines:
    lines = [
        f"  # {yaml_scalar(c.name)} has nanoseconds, of which microseconds are kept."
        for c in seen.columns.values()
        if c.nanoseconds
    ]
    odd = [name for name in seen.columns if is_odd_name(name)]
    return [*lines, f"  # {yaml_scalar(odd[0])} is best renamed in the files. {_MAPPING}"] if odd else lines


def _declared(draft: Draft, column: ColumnProfile) -> str:
    type_ = _type(draft, column)
    if column.name in draft.names:
        return f"{draft.name(column.name)}: {{from: {yaml_scalar(column.name)}, type: {type_}}}"
    return f"{yaml_scalar(column.name)}: {type_}"


def _type(draft: Draft, column: ColumnProfile) -> str:
    if column.name in draft.key and column.type == "double":
        return "string"
    return f"{column.type}({column.date_form})" if column.date_form else column.type


def _beside(draft: Draft, column: ColumnProfile) -> str:
    own = column.name in draft.names and not is_odd_name(column.name)
    return f"the table of predictions has a column {column.name.casefold()} of its own" if own else ""


def _missing(column: ColumnProfile, seen: FileProfile) -> str:
    return f"{seen.rows - column.present:,} missing" if column.present < seen.rows else ""


def _order(column: ColumnProfile) -> str:
    form = column.date_form
    other = value_formats.swapped_format(form, column.dates) if form else None
    return f"or {other}: no date here tells which" if other else ""


def _csv_options(seen: FileProfile) -> Lines:
    options = {"delimiter": yaml_scalar(seen.delimiter)} if seen.delimiter != "," else {}
    options |= {"encoding": yaml_scalar(seen.encoding)} if seen.encoding != "utf-8" else {}
    options |= {"multi_line": "true"} if seen.multi_line else {}
    options |= {"escape": yaml_scalar(seen.escape)} if seen.escape else {}
    options |= {"null_values": f"[{', '.join(map(yaml_scalar, seen.nulls))}]"} if seen.nulls else {}
    options |= {"decimal": yaml_scalar(seen.numbers.decimal)} if seen.numbers.decimal != PLAIN.decimal else {}
    options |= {"thousands": yaml_scalar(seen.numbers.thousands)} if seen.numbers.thousands else {}
    said = ", ".join(f"{name}: {value}" for name, value in options.items())
    why = f"  # {', '.join(map(yaml_scalar, seen.nulls))} is read as missing" if seen.nulls else ""
    return [f"  csv: {{{said}}}{why}"] if said and seen.format == "csv" else []


def _zone(draft: Draft) -> Lines:
    seen = draft.seen
    wall = [c.name for c in seen.columns.values() if c.type == "timestamp" and (c.wall or c.date_form)]
    asked = f"{draft.name(wall[0])} has times without an offset: put the zone of the clock that wrote them" if wall else ""
    return [f"  zone: UTC  # {asked}"] if asked and seen.format != "parquet" else []


def _keys(draft: Draft) -> Lines:
    seen, keys = draft.seen, draft.keys
    over = (
        [f"  # More rows than data.max_quarantine, {QUARANTINE}, allows: `ingest` will refuse the files."]
        if draft.refused
        else []
    )
    if not draft.key:
        return [*over, "  key: content  # a row's name is the digest of what is in it, and its number among rows that are alike"]
    lines = [f"  # Warning: {keys.missing:,} rows have no key; they will be quarantined."] if keys.missing else []
    period, repeated = draft.repeated
    within = f" within a {period}" if draft.time else " within a file" if draft.snapshots else ""
    if repeated:
        lines += [f"  # Warning: the key of {repeated:,} rows stands more than once{within}; those rows will be quarantined."]
    lines += over
    if repeated:
        lines += [f"  # For another key: {key_hint(seen, draft.label.name)}."]
    if floats := [n for n in draft.key if seen.columns[n].type == "double"]:
        lines += [f"  # {yaml_scalar(floats[0])} is no whole number throughout; a key is kept as the text that it is."]
    return [*lines, f"  key: [{', '.join(map(draft.name, draft.key))}]"]


def _period(draft: Draft) -> Lines:
    if draft.time:
        return [f"  time: {draft.name(draft.time.name)}", f"  period: {draft.repeated[0]}"]
    if not draft.snapshots:
        return []
    pattern, files = draft.snapshots
    shown = ", ".join(yaml_scalar(Path(file).name) for file in files[:3])
    lines = [f"  # Warning: keys repeat across files ({shown}): they look like snapshots, one a period."]
    if not pattern:
        return [*lines, "  # Set `time` and `period`, or else those rows are taken for repeated ones and quarantined."]
    if len(draft.seen.files) == 1:
        lines += [f"  # To take in all of them, write `source: {yaml_scalar(snapshots.name_pattern(draft.path))}`."]
    return [*lines, f"  period: {{from: file, pattern: {yaml_scalar(pattern)}}}"]


def _label(draft: Draft) -> Lines:
    label, counts = draft.label, draft.label.classes()
    kinds = len(counts) if len(counts) <= 2 else len(label.distinct)
    if kinds < 2:
        only = f"only the value `{next(iter(counts))}`" if kinds else "no value"
        raise DataError(f"the label `{label.name}` has {only}; there is nothing to tell apart")
    if draft.classes:
        return _two_classes(draft)
    if label.type not in NUMBER_TYPES:
        some = ", ".join(f"`{text:.30}`" for text, _ in counts.most_common(3))
        more = f"{kinds:,} different values ({some}, …)"
        sign = f"; its numbers have `{label.sign}` beside them: remove it" if label.sign else ""
        raise ConfError(f"--label: `{label.name}` has {more}; a label has two classes or is a number{sign}")
    return [f"  label: {draft.name(label.name)}  # {kinds:,} different numbers: regression"]


def _two_classes(draft: Draft) -> Lines:
    label, counts = draft.label, draft.label.classes()
    shares = ", ".join(
        f"{n:,} × {text.strip() if label.type in NUMBER_TYPES else yaml_scalar(text)}" for text, n in counts.most_common()
    )
    lines = [f"  label: {draft.name(label.name)}  # {shares}"]
    if draft.positive:
        text, why = draft.positive
        return [*lines, f"  positive: {yaml_label(label, text)}  # probabilities are of this class: {why}"]
    some = " or ".join(f"`positive: {yaml_label(label, text)}`" for text in sorted(counts))
    return [*lines, f"  # Which class is the event? Codes do not say so: write {some}. Without it `train` stops and asks."]
