"""The section `data` of a drafted conf: columns, key and time."""

from pathlib import Path

from keyfold.profiling import snapshots, value_formats
from keyfold.profiling.column_profile import ColumnProfile
from keyfold.profiling.draft import QUARANTINE, Draft, Lines, is_odd_name, key_hint
from keyfold.profiling.file_profile import FileProfile
from keyfold.profiling.yaml_text import yaml_scalar

_MAPPING = "Such a name requires column mapping in Delta: Polars does not read such tables, and delta-rs reads NULL."


def data_lines(draft: Draft) -> Lines:
    """The lines of the section."""
    lines = ["data:", f"  source: {yaml_scalar(draft.path)}", *_columns(draft), *_csv_options(draft.profile), *_zone(draft)]
    return [*lines, *_keys(draft), *_period(draft)]


def _columns(draft: Draft) -> Lines:
    profile = draft.profile
    if profile.format == "parquet":
        return _parquet_notes(profile)
    lines = ["  columns:  # rows with a value that does not fit its type are quarantined"]
    for column in profile.columns.values():
        folder = "from the names of folders" if column.name in profile.partitions else ""
        notes = "; ".join(filter(None, (folder, _reserved(draft, column), _missing(column, profile), _swapped(column))))
        lines.append(f"    {_declared(draft, column)}{f'  # {notes}' if notes else ''}")
    for odd, safe in [(odd, safe) for odd, safe in draft.names.items() if is_odd_name(odd)][:1]:
        lines += [
            f"  # To keep a name such as {yaml_scalar(odd)}, write `{yaml_scalar(odd)}: {_type(draft, profile.columns[odd])}` in place of its line with {safe}.",
            f"  # {_MAPPING}",
        ]
    return lines


def _parquet_notes(profile: FileProfile) -> Lines:
    lines = [
        f"  # {yaml_scalar(c.name)} has nanoseconds: they become microseconds, and a row that would lose digits is quarantined."
        for c in profile.columns.values()
        if c.nanoseconds
    ]
    odd = [name for name in profile.columns if is_odd_name(name)]
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


def _reserved(draft: Draft, column: ColumnProfile) -> str:
    reserved = column.name in draft.names and not is_odd_name(column.name)
    return f"renamed: the table of predictions has its own column {column.name.casefold()}" if reserved else ""


def _missing(column: ColumnProfile, profile: FileProfile) -> str:
    return f"{profile.rows - column.present:,} missing" if column.present < profile.rows else ""


def _swapped(column: ColumnProfile) -> str:
    form = column.date_form
    other = value_formats.swapped_format(form, column.dates) if form else None
    return f"or {other}: these dates fit both" if other else ""


def _csv_options(profile: FileProfile) -> Lines:
    numbers = {"decimal": profile.numbers.decimal, "thousands": profile.numbers.thousands}
    options = profile.csv.model_copy(update=numbers).model_dump(exclude_defaults=True)
    listed = ", ".join(f"{name}: {_yaml(value)}" for name, value in options.items())
    note = f"  # {', '.join(map(yaml_scalar, profile.csv.null_values))} is read as missing" if profile.csv.null_values else ""
    return [f"  csv: {{{listed}}}{note}"] if listed and profile.format == "csv" else []


def _yaml(value: object) -> str:
    """An option's value as YAML: a text, a list of texts, or true or false."""
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_scalar, value))}]"
    return str(value).lower() if isinstance(value, bool) else yaml_scalar(str(value))


def _zone(draft: Draft) -> Lines:
    profile = draft.profile
    without_offset = [c.name for c in profile.columns.values() if c.type == "timestamp" and (c.wall or c.date_form)]
    note = (
        f"{draft.name(without_offset[0])} has times without an offset: set the zone of the clock that wrote them"
        if without_offset
        else ""
    )
    return [f"  zone: UTC  # {note}"] if note and profile.format != "parquet" else []


def _keys(draft: Draft) -> Lines:
    profile, keys = draft.profile, draft.keys
    refused = (
        [f"  # `ingest` will refuse the files: it would quarantine more rows than data.max_quarantine, {QUARANTINE}, allows."]
        if draft.refused
        else []
    )
    if not draft.key:
        return [*refused, "  key: content  # the digest of a row's values, and its number among identical rows"]
    lines = [f"  # Warning: {keys.missing:,} rows have no key; they will be quarantined."] if keys.missing else []
    period, repeated = draft.repeated
    within = f" within a {period}" if draft.time else " within a file" if draft.snapshots else ""
    if repeated:
        lines += [f"  # Warning: {repeated:,} rows share their key with another row{within}; they will be quarantined."]
    lines += refused
    if repeated:
        lines += [f"  # For another key: {key_hint(profile, draft.label.name)}."]
    if floats := [n for n in draft.key if profile.columns[n].type == "double"]:
        lines += [f"  # {yaml_scalar(floats[0])} has fractions; as a key it is kept as text."]
    return [*lines, f"  key: [{', '.join(map(draft.name, draft.key))}]"]


def _period(draft: Draft) -> Lines:
    if draft.time:
        return [f"  time: {draft.name(draft.time.name)}", f"  period: {draft.repeated[0]}"]
    if not draft.snapshots:
        return []
    pattern, files = draft.snapshots
    shown = ", ".join(yaml_scalar(Path(file).name) for file in files[:3])
    lines = [f"  # Warning: keys repeat across files ({shown}): they look like snapshots, one for each period."]
    if not pattern:
        return [*lines, "  # Set `time` and `period`; otherwise those rows count as duplicates and are quarantined."]
    if len(draft.profile.files) == 1:
        lines += [f"  # To ingest all of them, write `source: {yaml_scalar(snapshots.name_pattern(draft.path))}`."]
    return [*lines, f"  period: {{from: file, pattern: {yaml_scalar(pattern)}}}"]
