"""A first conf for a file: what `init` writes after a look at it. Every choice has its reason beside it."""

import re
import unicodedata
from pathlib import Path

import yaml

from keyfold.columns import ENOUGH, OTHER, Column, Keys
from keyfold.errors import ConfError, DataError, nearest
from keyfold.peek import LIMIT, Seen, see

FEW = 50  # different texts that still get a column each
MAX_BUCKETS = 1 << 18
WORDS = 4  # so many on average are a sentence, not a name
NUMBERS = ("bigint", "double")

Lines = list[str]


def conf_for(
    path: str,
    key: list[str],
    label: str,
    name: str | None = None,
    time: str | None = None,
    encoding: str = "utf-8",
) -> str:
    """A commented YAML conf for the CSV, TSV, JSON-lines or Parquet file at `path`, of which 200 MB at most are read.

    ConfError for options that do not fit (no such file, column or encoding), DataError for a file that cannot be
    read, has no rows, repeats a column name, or leaves nothing to predict or to learn from.
    """
    name = _checked_name(path, name)
    keys = Keys(key, time)
    seen = see(path, encoding, keys.add)
    _check_columns(path, seen, key, label, time)
    parts = [
        _head(path, seen),
        [f"name: {name}", "data:", f"  source: {quoted(path)}"],
        _columns(seen, key),
        _csv_options(seen),
        _zone(seen),
        _keys(seen, keys),
        _label(seen.columns[label]),
        ["split:", "  share: {train: 0.8, validation: 0.1, test: 0.1}  # by hash of the key: a row never changes its fold"],
        _features(seen, {**dict.fromkeys(key, "the key"), label: "the label"} | ({time: "the time"} if time else {})),
        _model(seen.columns[label]),
        _slices(seen, {*key, label, time}),
    ]
    return "".join(line + "\n" for part in parts for line in part)


def quoted(text: str) -> str:
    """Text as a YAML scalar that any YAML reader takes for just this text."""
    plain = re.fullmatch("(?![yYnN]$)[A-Za-z][A-Za-z0-9_]*", text) and isinstance(yaml.safe_load(text), str)
    return text if plain else yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf")).strip()


def snake(text: str) -> str:
    """A column's name in ASCII snake case: `TotalCharges` is total_charges, `Größe (m²)` grosse_m2; may be empty."""
    ascii_ = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ascii_)
    return re.sub(r"^(?=\d)", "_", re.sub("[^a-z0-9]+", "_", split.lower()).strip("_"))


def _checked_name(path: str, name: str | None) -> str:
    found = snake(name or Path(path).name.split(".")[0]).lstrip("_") or "mine"
    found = found if found[0].isalpha() else f"t_{found}"
    if name and not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ConfError(f"--name must be letters, digits and _, a letter first (got `{name}`; `{found}` would do)")
    return name or found


def _check_columns(path: str, seen: Seen, key: list[str], label: str, time: str | None) -> None:
    options = [("--key", name) for name in key] + [("--label", label)] + ([("--time", time)] if time else [])
    for option, name in options:
        if name not in seen.columns:
            raise ConfError(f"{option}: {path} has no column `{name}`{nearest(name, seen.columns)}")
    if twice := {name for _, name in options if [n for _, n in options].count(name) > 1}:
        raise ConfError(f"the column `{min(twice)}` cannot be two of key, label and time")
    if time and (kind := seen.columns[time].type) not in ("date", "timestamp"):
        raise ConfError(f"--time: the column `{time}` must hold dates or timestamps, such as 2026-10-31 (got {kind})")
    if bad := [name for name in key if seen.columns[name].type == OTHER]:
        raise ConfError(f"--key: the column `{bad[0]}` is {OTHER}; a key is text, a whole number or a date")


def _head(path: str, seen: Seen) -> Lines:
    lines = [f"# Made by `init` from a look at {quoted(path)}: {seen.rows:,} rows, {len(seen.columns)} columns."]
    if seen.cut:
        lines += [f"# Only the first {LIMIT // 10**6} MB were read: all that is said here is of those {seen.rows:,} rows."]
    if seen.bad:
        lines += [f"# Warning: {seen.bad:,} lines are not rows of these columns; they will be quarantined."]
    return [*lines, "# It runs as it is. Read it, then change what you know better."]


def _columns(seen: Seen, key: list[str]) -> Lines:
    if seen.format == "parquet":
        return []
    columns = seen.columns.values()
    types = ["string" if c.name in key and c.type == "double" else c.type for c in columns]
    named = (f"    {quoted(c.name)}: {kind}{_missing(c, seen)}" for c, kind in zip(columns, types, strict=True))
    return ["  columns:  # a row with a value that its type does not hold goes to quarantine", *named]


def _missing(column: Column, seen: Seen) -> str:
    return f"  # {seen.rows - column.present:,} missing" if column.present < seen.rows else ""


def _csv_options(seen: Seen) -> Lines:
    options = {"delimiter": quoted(seen.delimiter)} if seen.delimiter != "," else {}
    options |= {"encoding": quoted(seen.encoding)} if seen.encoding != "utf-8" else {}
    options |= {"multi_line": "true"} if seen.multi_line else {}
    said = ", ".join(f"{name}: {value}" for name, value in options.items())
    return [f"  csv: {{{said}}}"] if said and seen.format == "csv" else []


def _zone(seen: Seen) -> Lines:
    wall = [c.name for c in seen.columns.values() if c.type == "timestamp" and c.wall]
    asked = f"{quoted(wall[0])} has times without an offset: put the zone of the clock that wrote them" if wall else ""
    return [f"  zone: UTC  # {asked}"] if asked and seen.format != "parquet" else []


def _keys(seen: Seen, keys: Keys) -> Lines:
    repeated = keys.repeated()
    finest, coarsest = min(repeated, key=lambda p: repeated[p]), [*repeated][-1]
    period = coarsest if repeated[coarsest] == repeated[finest] else finest
    lines = [f"  # Warning: {keys.missing:,} rows have no key; they will be quarantined."] if keys.missing else []
    if repeated[period]:
        within = f" within a {period}" if keys.time else ""
        lines += [f"  # Warning: {repeated[period]:,} keys stand more than once{within}; those rows will be quarantined."]
    if floats := [n for n in keys.key if seen.columns[n].type == "double"]:
        lines += [f"  # {quoted(floats[0])} is no whole number throughout; a key is kept as the text that it is."]
    lines += [f"  key: [{', '.join(map(quoted, keys.key))}]"]
    return lines + ([f"  time: {quoted(keys.time)}", f"  period: {period}"] if keys.time else [])


def _is_classes(label: Column) -> bool:
    whole = label.type != "double" or all(float(number).is_integer() for number in label.counts)
    return len(label.distinct) == 2 and whole


def _label(label: Column) -> Lines:
    kinds = len(label.distinct)
    if kinds < 2:
        only = f"only the value `{label.distinct[0].as_py()}`" if kinds else "no value"
        raise DataError(f"the label `{label.name}` has {only}; there is nothing to tell apart")
    if _is_classes(label):
        return _two_classes(label)
    if label.type not in NUMBERS:
        some = ", ".join(f"`{text:.30}`" for text, _ in label.counts.most_common(3))
        more = f"{kinds:,} different values ({some}, …)"
        raise ConfError(f"--label: `{label.name}` has {more}; a label has two classes or is a number")
    return [f"  label: {quoted(label.name)}  # {kinds:,} different numbers: regression"]


def _two_classes(label: Column) -> Lines:
    counts = label.counts
    yes = [text for text in counts if text.strip().casefold() in ("yes", "true", "1", "1.0", "y", "t")]
    positive = yes[0] if len(yes) == 1 else min(counts, key=lambda text: (counts[text], text))
    why = "the class that says yes" if len(yes) == 1 else "the rarer class"
    value = _value(positive, label.type)
    shares = ", ".join(f"{n:,} {quoted(text)}" for text, n in counts.most_common())
    return [f"  label: {quoted(label.name)}  # {shares}", f"  positive: {value}  # {why}: what probabilities are of"]


def _value(text: str, kind: str) -> str:
    """The YAML scalar of a label's value."""
    if kind in NUMBERS:
        return str(int(float(text)))
    return text.strip().lower() if kind == "boolean" else quoted(text)


def _features(seen: Seen, taken: dict[str, str]) -> Lines:
    names: set[str] = set()
    lines, out = [], []
    for place, column in enumerate(seen.columns.values()):
        if why := taken.get(column.name) or _why_not(column, seen):
            out.append(f"  # {quoted(column.name)} is left out: {why}.")
            continue
        fresh = snake(column.name) or f"column_{place + 1}"
        while fresh in names:
            fresh += "_"
        names.add(fresh)
        lines.append(f"  {quoted(fresh)}: {_feature(column, seen)}")
    if not lines:
        raise DataError("no column is left to learn from:\n" + "\n".join(line.removeprefix("  # ") for line in out))
    return ["features:", *lines, *out]


def _why_not(column: Column, seen: Seen) -> str | None:
    """Why a column is no feature, as the rest of a sentence."""
    different, kind = len(column.distinct), column.type
    if kind == OTHER:
        return f"it is {OTHER}"
    if not column.present:
        return "every value is missing"
    if different == 1 and column.present == seen.rows:
        return f"it is {quoted(column.distinct[0].as_py())} in every row"
    if kind in ("date", "timestamp"):
        return "a moment as such does not tell much of the next one; derive a number from it, such as an age"
    # Amounts can be different in every row by chance; row numbers are dense, and chance does not reach far.
    if kind == "bigint" and column.share == 1 and (seen.rows >= 1_000 or column.span() < 2 * seen.rows):
        return "it is another whole number in every row, as an identifier is"
    if kind == "string" and different > FEW and column.words >= WORDS * column.present:
        return f"it is free text ({column.words / column.present:.0f} words on average)"
    if kind == "string" and different > 1 and column.share > 0.9 and (column.share == 1 or different > FEW):
        return f"{'each' if column.share == 1 else 'nearly each'} row has another value, as an identifier has"
    return None


def _feature(column: Column, seen: Seen) -> str:
    different = len(column.distinct)
    many = f"over {ENOUGH:,}" if different > ENOUGH else f"{different:,}"
    if column.type in NUMBERS:
        gaps = seen.rows - column.present
        fill, note = (", missing: mean", f"{gaps:,} missing") if gaps else ("", f"{many} different numbers")
        return f"{{numeric: {{input_col: {quoted(column.name)}, scale: standard{fill}}}}}  # {note}"
    if different <= FEW:
        rare = ", min_frequency: 10" if seen.rows >= 1_000 else ""
        return f"{{one_hot: {{input_col: {quoted(column.name)}{rare}}}}}  # {many} different values{_hint(column)}"
    buckets = min(1 << (4 * different - 1).bit_length(), MAX_BUCKETS)
    why = f"{many} different values: too many for a column each{_hint(column)}"
    return f"{{hashed: {{input_col: {quoted(column.name)}, num_buckets: {buckets}}}}}  # {why}"


def _hint(column: Column) -> str:
    words = ", ".join(map(quoted, column.strays()))
    return f"; numbers but for {words}: leave such cells empty to make it numeric" if words else ""


def _model(label: Column) -> Lines:
    if _is_classes(label):
        estimator, params, gate = "sklearn.linear_model.LogisticRegression", "{max_iter: 1000}", "roc_auc: {at_least: 0.6}"
    else:
        estimator, params, gate = "sklearn.linear_model.Ridge", "{alpha: 1.0}", "r2: {at_least: 0.1}"
    return [
        "train:",
        f"  model: {{sklearn: {{estimator: {estimator}, params: {params}}}}}",
        "release:",
        f"  promote_if: {{{gate}}}  # on the test fold; raise it to what you need",
    ]


def _slices(seen: Seen, taken: set[str | None]) -> Lines:
    texts = [c for c in seen.columns.values() if c.type in ("string", "boolean") and c.name not in taken]
    few = [c.name for c in texts if 2 <= len(c.distinct) <= 10]
    return ["report:", f"  slices: [{quoted(few[0])}]  # metrics for each of its values"] if few else []
