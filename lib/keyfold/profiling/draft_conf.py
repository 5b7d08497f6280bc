"""A first conf for files: what `init` writes after a look at them. Every choice has its reason beside it."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from keyfold.conf.release import MIN_TEST_ROWS
from keyfold.conf.table_names import PREDICTED
from keyfold.errors import ConfError, suggestion
from keyfold.profiling import draft_data as data
from keyfold.profiling import file_profile
from keyfold.profiling.column_profile import OTHER
from keyfold.profiling.draft import TIME_TYPES, Draft, Lines, key_hint, snake_case
from keyfold.profiling.draft_features import feature_lines, holds_sentences, why_not
from keyfold.profiling.file_profile import FileProfile, profile_files
from keyfold.profiling.key_counts import CONTENT_KEY, KeyCounts
from keyfold.profiling.yaml_text import yaml_scalar


def draft_conf(
    path: str,
    key: list[str] | None,
    label: str,
    name: str | None = None,
    time: str | None = None,
    encoding: str = "utf-8",
) -> str:
    """A commented YAML conf for the CSV, TSV, JSON-lines or Parquet files at `path`, of which 200 MB at most are read.

    ConfError for options that do not fit (no such file, column or encoding), DataError for a file that cannot be
    read, has no rows, or leaves nothing to predict or to learn from.
    """
    name = _checked_name(path, name)
    keys = KeyCounts(key or [], time, label)
    seen = profile_files(path, encoding, keys.add)
    _check_columns(path, seen, key, label, time)
    draft = Draft(path, keys.key, seen.columns[label], seen.columns[time] if time else None, seen, keys, encoding)
    parts = [
        _head(draft), [f"name: {name}"], data.data_lines(draft), _split(draft), feature_lines(draft), _model(draft), _slices(draft),
    ]  # fmt: skip
    return "".join(line + "\n" for part in parts for line in part)


def _checked_name(path: str, name: str | None) -> str:
    found = snake_case(name or Path(re.sub(r"[*?\[].*", "", path).rstrip("/")).name.split(".")[0]).lstrip("_") or "mine"
    found = found if found[0].isalpha() else f"t_{found}"
    if name and not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ConfError(f"--name must be letters, digits and _, a letter first (got `{name}`; `{found}` would do)")
    return name or found


def _check_columns(path: str, seen: FileProfile, key: list[str] | None, label: str, time: str | None) -> None:
    named = [] if key is None or (key == [CONTENT_KEY] and CONTENT_KEY not in seen.columns) else key
    for option, name in [*(("--key", n) for n in named), ("--label", label), *([("--time", time)] if time else [])]:
        if name not in seen.columns:
            near = suggestion(name, seen.columns) or f"; it has {', '.join(f'`{n:.30}`' for n in [*seen.columns][:8])}"
            raise ConfError(f"{option}: {path} has no column `{name}`{near}{_without_header(seen)}")
    if twice := [n for n, times in Counter([*named, label]).items() if times > 1] + [label] * (label == time):
        raise ConfError(f"the column `{twice[0]}` cannot be two of key, label and time")
    if time and (kind := seen.columns[time].type) not in TIME_TYPES:
        raise ConfError(f"--time: the column `{time}` must hold dates or timestamps, such as 2026-10-31 (got {kind})")
    if bad := [name for name in named if seen.columns[name].type == OTHER]:
        raise ConfError(f"--key: the column `{bad[0]}` is {OTHER}; a key is text, a whole number or a date")
    if taken := [name for name in named if seen.format == "parquet" and name.casefold() in PREDICTED]:
        raise ConfError(f"--key: `{taken[0]}` is a column of the table of predictions; rename it in the files")
    if key is None:
        raise ConfError(f"--key must name what tells rows apart: {key_hint(seen, label)}")


def _without_header(seen: FileProfile) -> str:
    """Words for where the first line seems to hold values."""
    if seen.format != "csv" or not any(re.fullmatch(r"-?[\d.,:/ -]+|.*\S(\s+\S+){3,}", name) for name in seen.columns):
        return ""
    return "; its first line looks like values: where there is no header, write a line of names above it"


def _head(draft: Draft) -> Lines:
    seen = draft.seen
    files = f" in {len(seen.files):,} files" if len(seen.files) > 1 else ""
    lines = [
        f"# Made by `init` from a look at {yaml_scalar(draft.path)}: {seen.rows:,} rows{files}, {len(seen.columns)} columns."
    ]
    if seen.cut:
        lines += [
            f"# Only the first {file_profile.LIMIT // 10**6} MB were read: all that is said here is of those {seen.rows:,} rows."
        ]
    if seen.separator:
        lines += [f"# The first line, `sep={seen.delimiter}`, names the delimiter; it is no row."]
    if seen.header:
        what = "`ingest` refuses the header: a name is missing, stands twice, has a line break or is one that keyfold gives"
        lines += [
            f"# Warning: {what}. This conf is for the line below; put it in its place.",
            f"#   {seen.delimiter.join(seen.header)}",
        ]
    if seen.other:
        other, first = yaml_scalar(seen.other), yaml_scalar(seen.files[0])
        lines += [
            f"# Warning: {other} has other columns than {first}; `ingest` refuses that: declare each layout in data.versions."
        ]
    if seen.bad:
        reasons = "; ".join(f"{n:,} × {reason}" for reason, n in seen.bad.most_common(3))
        lines += [f"# Warning: {seen.bad.total():,} lines are not rows of these columns; they will be quarantined: {reasons}."]
    runs = "It runs as it is." if draft.runs else "It does not run yet: see what is said of refusing and stopping."
    return [*lines, f"# {runs} Read it, then change what you know better."]


def _split(draft: Draft) -> Lines:
    if draft.few_series and (at := _boundaries(draft)):
        n = draft.keys.series()
        series = f"{n} series are" if n > 1 else "one series is"
        return [
            "split:",
            f"  # {series} too few for folds by key. Time tells them apart: test has the last 10 % of the rows.",
            f"  time: {{validation: {yaml_scalar(at[0])}, test: {yaml_scalar(at[1])}}}",
        ]
    test = draft.test_share
    share = f"{{train: {0.9 - test:.2g}, validation: 0.1, test: {test:.2g}}}"
    lines = ["split:", f"  share: {share}  # by hash of the key: a row never changes its fold"]
    if draft.few_rows:
        lines += [
            f"  # Too few rows: `train` stops before it promotes a model whose test fold has fewer than {MIN_TEST_ROWS} of a class."
        ]
    if draft.time and draft.time.name in draft.key and len(draft.key) > 1:
        by = ", ".join(draft.name(name) for name in draft.key if name != draft.time.name)
        lines += [f"  by: [{by}]  # all rows of one in one fold"]
    return lines


def _boundaries(draft: Draft) -> tuple[str, str] | None:
    """From when on rows are of the validation and of the test fold; None where there are too few different times."""
    assert draft.time is not None
    times = np.sort(draft.keys.times(draft.time)[draft.keys.labelled()].astype(str))
    if not len(times):
        return None
    for length in (10, 16):
        cut = [time[:length].replace("T", " ") for time in times]
        validation, test = cut[int(0.8 * len(cut))], cut[int(0.9 * len(cut))]
        if cut[0] < validation < test:
            return validation, test
    return None


def _model(draft: Draft) -> Lines:
    if draft.classes:
        estimator, params, gate = "sklearn.linear_model.LogisticRegression", "{max_iter: 1000}", "roc_auc: {at_least: 0.6}"
    else:
        estimator, params, gate = "sklearn.linear_model.Ridge", "{alpha: 1.0}", "r2: {at_least: 0.1}"
    return [
        "train:",
        f"  model: {{sklearn: {{estimator: {estimator}, params: {params}}}}}",
        "release:",
        f"  promote_if: {{{gate}}}  # on the test fold; raise it to what you need",
    ]


def _slices(draft: Draft) -> Lines:
    texts = [c for c in draft.seen.columns.values() if c.type in ("string", "boolean") and not why_not(draft, c)]
    few = [c.name for c in texts if 2 <= len(c.distinct) <= 10 and c.share <= 0.5 and not holds_sentences(c)]
    return ["report:", f"  slices: [{draft.name(few[0])}]  # metrics for each of its values"] if few else []
