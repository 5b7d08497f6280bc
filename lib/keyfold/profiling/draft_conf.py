"""Drafts a conf from data files, as `init` writes it; comments give the reason for each choice."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from keyfold.conf.release import MIN_TEST_ROWS
from keyfold.conf.table_names import PREDICTED
from keyfold.errors import ConfError, suggestion
from keyfold.features.matrix import MAX_CATEGORIES
from keyfold.profiling import file_profile
from keyfold.profiling.column_profile import OTHER
from keyfold.profiling.draft import TIME_TYPES, TINY, Draft, Lines, key_hint, snake_case
from keyfold.profiling.draft_data import data_lines
from keyfold.profiling.draft_features import MANY, feature_lines, holds_sentences, kind_of_feature, why_not
from keyfold.profiling.draft_label import label_lines
from keyfold.profiling.file_profile import FileProfile, profile_files
from keyfold.profiling.key_counts import CONTENT_KEY, KeyCounts
from keyfold.profiling.yaml_text import yaml_scalar

MOST_CLASSES = 30  # of a label, for which gradient boosting is a candidate
_LINEAR = {
    True: "{sklearn: {estimator: sklearn.linear_model.LogisticRegression, params: {max_iter: 1000}}}",
    False: "{sklearn: {estimator: sklearn.linear_model.Ridge, params: {alpha: 1.0}}}",
}
_TREES = {True: "sklearn.ensemble.HistGradientBoostingClassifier", False: "sklearn.ensemble.HistGradientBoostingRegressor"}
_GATES = {"binary": "roc_auc: {at_least: 0.6}", "classes": "roc_auc_ovr: {at_least: 0.6}", "number": "r2: {at_least: 0.1}"}


def draft_conf(
    path: str,
    key: list[str] | None,
    label: str,
    name: str | None = None,
    time: str | None = None,
    encoding: str = "utf-8",
) -> str:
    """Commented YAML conf for the CSV, TSV, JSON-lines or Parquet files at `path`, of which at most 200 MB are read.

    Raises ConfError for options that do not fit (no such file, column or encoding), DataError for a file that cannot be
    read, has no rows, or has nothing to predict or to learn from.
    """
    name = _checked_name(path, name)
    keys = KeyCounts(key or [], time, label)
    profile = profile_files(path, encoding, keys)
    _check_columns(path, profile, key, label, time)
    draft = Draft(path, keys.key, profile.columns[label], profile.columns[time] if time else None, profile, keys, encoding)
    parts = [
        _head(draft), [f"name: {name}"], data_lines(draft), label_lines(draft), _split(draft), feature_lines(draft), _model(draft), _slices(draft),
    ]  # fmt: skip
    return "".join(line + "\n" for part in parts for line in part)


def _checked_name(path: str, name: str | None) -> str:
    valid = snake_case(name or Path(re.sub(r"[*?\[].*", "", path).rstrip("/")).name.split(".")[0]).lstrip("_") or "mine"
    valid = valid if valid[0].isalpha() else f"t_{valid}"
    if name and not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ConfError(f"--name must be letters, digits and _, a letter first (got `{name}`; `{valid}` would do)")
    return name or valid


def _check_columns(path: str, profile: FileProfile, key: list[str] | None, label: str, time: str | None) -> None:
    named = [] if key is None or (key == [CONTENT_KEY] and CONTENT_KEY not in profile.columns) else key
    for option, name in [*(("--key", n) for n in named), ("--label", label), *([("--time", time)] if time else [])]:
        if name not in profile.columns:
            hint = suggestion(name, profile.columns) or f"; it has {', '.join(f'`{n:.30}`' for n in [*profile.columns][:8])}"
            raise ConfError(f"{option}: {path} has no column `{name}`{hint}{_without_header(profile)}")
    if repeated := [n for n, times in Counter([*named, label]).items() if times > 1] + [label] * (label == time):
        raise ConfError(f"the column `{repeated[0]}` cannot be two of key, label and time")
    if time and (kind := profile.columns[time].type) not in TIME_TYPES:
        raise ConfError(f"--time: the column `{time}` must hold dates or timestamps, such as 2026-10-31 (got {kind})")
    if bad := [name for name in named if profile.columns[name].type == OTHER]:
        raise ConfError(f"--key: the column `{bad[0]}` is {OTHER}; a key is text, a whole number or a date")
    if taken := [name for name in named if profile.format == "parquet" and name.casefold() in PREDICTED]:
        raise ConfError(f"--key: `{taken[0]}` is a column of the table of predictions; rename it in the files")
    if key is None:
        raise ConfError(f"--key must name the columns that identify a row: {key_hint(profile, label)}")


def _without_header(profile: FileProfile) -> str:
    """Hint for a file whose first line seems to hold values."""
    if profile.format != "csv" or not any(re.fullmatch(r"-?[\d.,:/ -]+|.*\S(\s+\S+){3,}", name) for name in profile.columns):
        return ""
    return "; its first line looks like values: if the header is missing, add a line of names above it"


def _head(draft: Draft) -> Lines:
    profile = draft.profile
    files = f" in {len(profile.files):,} files" if len(profile.files) > 1 else ""
    lines = [f"# Written by `init` from {yaml_scalar(draft.path)}: {profile.rows:,} rows{files}, {len(profile.columns)} columns."]
    if profile.cut:
        lines += [
            f"# Only the first {file_profile.LIMIT // 10**6} MB were read; the comments below describe those {profile.rows:,} rows."
        ]
    if profile.separator:
        lines += [f"# The first line, `sep={profile.csv.delimiter or ','}`, names the delimiter and is not a row."]
    if profile.header:
        fault = "`ingest` refuses the header: a name is missing, repeated, reserved by keyfold, or has a line break"
        lines += [
            f"# Warning: {fault}. This conf expects the line below in its place.",
            f"#   {(profile.csv.delimiter or ',').join(profile.header)}",
        ]
    if profile.other:
        other, first = yaml_scalar(profile.other), yaml_scalar(profile.files[0])
        lines += [
            f"# Warning: {other} has different columns from {first}; `ingest` refuses that: declare each layout in data.versions."
        ]
    if profile.bad:
        reasons = "; ".join(f"{n:,} × {reason}" for reason, n in profile.bad.most_common(3))
        lines += [f"# Warning: {profile.bad.total():,} lines are not rows of these columns; they will be quarantined: {reasons}."]
    verdict = (
        "It runs as it is."
        if draft.runs
        else "It does not run yet: see the comments on what `ingest` refuses or why `train` stops."
    )
    return [*lines, f"# {verdict} Review each choice, and correct it if needed."]


def _split(draft: Draft) -> Lines:
    if draft.few_series and (times := _boundaries(draft)):
        n = draft.keys.series()
        series = f"{n} series are" if n > 1 else "one series is"
        return [
            "split:",
            f"  # {series} too few for folds by key, so folds are by time: test has the last 10 % of the rows.",
            f"  time: {{validation: {yaml_scalar(times[0])}, test: {yaml_scalar(times[1])}}}",
        ]
    test = draft.test_share
    share = f"{{train: {0.9 - test:.2g}, validation: 0.1, test: {test:.2g}}}"
    lines = ["split:", f"  share: {share}  # by hash of the key: a row never changes its fold"]
    if draft.few_rows:
        lines += [
            f"  # Too few rows: `train` does not promote a model if its test fold has fewer than {MIN_TEST_ROWS} rows of a class."
        ]
    if draft.time and draft.time.name in draft.key and len(draft.key) > 1:
        by = ", ".join(draft.name(name) for name in draft.key if name != draft.time.name)
        lines += [f"  by: [{by}]  # all rows of each in one fold"]
    return lines


def _boundaries(draft: Draft) -> tuple[str, str] | None:
    """Start times of the validation and the test fold; None if there are too few different times."""
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
    linear, why = _LINEAR[draft.classifies], _no_trees(draft)
    models = [
        "  models:  # all are trained; the best on the validation fold goes on, and the report compares them",
        f"    linear: {linear}",
        f"    trees: {_trees(draft)}  # gradient boosting",
    ]
    return [
        "train:",
        *([f"  model: {linear}", f"  # Gradient boosting is no candidate: {why}."] if why else models),
        "release:",
        f"  promote_if: {{{_GATES[draft.kind]}}}  # on the test fold; raise it as needed",
    ]


def _trees(draft: Draft) -> str:
    """Gradient boosting by small steps, which stops where rows that it holds back show no gain, if there are enough."""
    enough = draft.profile.rows >= MANY and (draft.kind == "number" or min(draft.label.classes().values()) >= TINY)
    more = ", max_iter: 300, early_stopping: true" if enough else ""
    return f"{{sklearn: {{estimator: {_TREES[draft.classifies]}, params: {{learning_rate: 0.05, max_leaf_nodes: 15{more}}}}}}}"


def _no_trees(draft: Draft) -> str:
    """Why gradient boosting is no candidate, as a clause; empty if it is one."""
    if draft.kind == "classes" and len(draft.label.distinct) > MOST_CLASSES:
        return f"it grows trees for each class, and the label has more than {MOST_CLASSES}"
    columns = [column for column in draft.profile.columns.values() if not why_not(draft, column) and column.name not in draft.key]
    wide = [draft.name(column.name) for column in columns if kind_of_feature(column) in ("text", "hashed")]
    return f"it takes categories of at most {MAX_CATEGORIES} values and no texts, unlike {', '.join(wide[:3])}" if wide else ""


def _slices(draft: Draft) -> Lines:
    texts = [c for c in draft.profile.columns.values() if c.type in ("string", "boolean") and not why_not(draft, c)]
    few = [c.name for c in texts if 2 <= len(c.distinct) <= 10 and c.share <= 0.5 and not holds_sentences(c)]
    return ["report:", f"  slices: [{draft.name(few[0])}]  # metrics for each of its values"] if few else []
