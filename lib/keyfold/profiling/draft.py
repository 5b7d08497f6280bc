"""What `init` was asked and what it saw, from which the sections of a first conf are written."""

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.release import MIN_TEST_ROWS
from keyfold.conf.table_names import PREDICTED
from keyfold.core.arrays import Bools
from keyfold.core.hashing import value_hash
from keyfold.evaluation import label_leakage as leaks
from keyfold.models.positive_class import guess_positive
from keyfold.profiling import snapshots as periods_of
from keyfold.profiling.column_profile import OTHER, ColumnProfile
from keyfold.profiling.file_profile import NAMELESS, FileProfile
from keyfold.profiling.key_counts import PERIODS, KeyCounts
from keyfold.profiling.yaml_text import yaml_scalar

QUARANTINE = 0.1  # the default of data.max_quarantine
FEW_SERIES = 200  # of so many keys each fold by a hash has too few, or none
NUMBER_TYPES = ("bigint", "double")
TIME_TYPES = ("date", "timestamp")
TINY = 20  # rows of which chance makes much alike
WITHIN = 0.995  # of the rows in which a column is there, that have another, too
_SAFE = r"[\w-]+"

Lines = list[str]


@dataclass
class Draft:
    """What was asked, and what was seen."""

    path: str
    key: list[str]  # empty: the content
    label: ColumnProfile
    time: ColumnProfile | None
    seen: FileProfile
    keys: KeyCounts
    encoding: str = "utf-8"

    def name(self, column: str) -> str:
        """A column's name in the table, as YAML."""
        return yaml_scalar(self.names.get(column, column))

    @cached_property
    def names(self) -> dict[str, str]:
        """Safe names of columns whose own names not every reader of Delta takes."""
        return _safe_names(self.seen, self.key)

    @cached_property
    def snapshots(self) -> tuple[str, list[str]] | None:
        """The pattern of the periods of files that repeat their keys, and those files."""
        return None if self.time else periods_of.period_pattern(self.seen, self.keys, self.path, self.encoding)

    @cached_property
    def few_series(self) -> bool:
        """Whether there is a time, and too few keys without it for folds by key."""
        return self.time is not None and self.keys.series() < FEW_SERIES

    @cached_property
    def classes(self) -> bool:
        """Whether the label has two classes; else it is a number."""
        label = self.label
        whole = label.type != "double" or all(float(n).is_integer() for n in label.numbers.plain(label.distinct).to_pylist())
        return len(label.classes()) == 2 and whole

    @cached_property
    def positive(self) -> tuple[str, str] | None:
        """Of two classes the one to predict, and why it; None where they are codes, which do not say so."""
        counts = self.label.classes()
        values = {yaml_label(self.label, text) if self.label.type in NUMBER_TYPES else text: text for text in counts}
        if said := guess_positive([*values]):
            return values[said[0]], said[1]
        if self.label.type in NUMBER_TYPES:
            return None
        return min(counts, key=lambda text: (counts[text], text)), "it is the rarer one, and neither says yes"

    @cached_property
    def repeated(self) -> tuple[str, int]:
        """The longest period in which the fewest rows have a key that stands more than once, and how many do."""
        if not self.key:
            return "month" if self.time else "all", 0
        if not self.time:
            return "all", self.keys.repeated_in_files() if self.snapshots else self.keys.repeated()
        times = self.keys.times(self.time)
        found = {period: self.keys.repeated(np.array([t[:n] for t in times], object)) for period, n in PERIODS.items()}
        return min(reversed(found.items()), key=lambda pair: pair[1])

    @property
    def refused(self) -> bool:
        """Whether `ingest` would refuse the files for lines that are no rows, and rows without a key of their own."""
        bad = self.seen.bad.total()
        keyless = self.repeated[1] + self.keys.missing if self.key else 0
        return bad + keyless > QUARANTINE * (self.seen.rows + bad)

    @property
    def _least(self) -> int:
        """The rows that have a label, or the rarer class of it."""
        return min(self.label.classes().values()) if self.classes else self.label.present

    @property
    def test_share(self) -> float:
        """The share of the test fold: 0.1, or more where that would leave it few rows."""
        return min(0.3, max(0.1, ceil(20 * 2 * MIN_TEST_ROWS / max(self._least, 1)) / 20))

    @property
    def few_rows(self) -> bool:
        """Whether the test fold may have too few rows, or too few of a class, to promote a model."""
        return self._least * self.test_share < 1.5 * MIN_TEST_ROWS

    @property
    def runs(self) -> bool:
        """Whether a pipeline of the conf runs as it is."""
        undecided = self.classes and not self.positive
        return not (self.refused or undecided or self.few_rows or self.seen.header or self.seen.other)

    @cached_property
    def suspects(self) -> dict[str, str]:
        """Why columns may give the label away, by column."""
        values = {name: self._values(column) for name, column in self._columns()}
        found = {name: why for name, column in values.items() if (why := leaks.leakage_reason(column, self._target))}
        for name, column in self._columns():
            if name not in found and column.type == "string" and column.words > column.present:
                texts = self.seen.sample.column(name).cast(pa.string()).filter(pa.array(self._labelled)).to_pylist()
                if why := leaks.reason_in_words(texts, self._target):
                    found[name] = why
        there = {name: ~column.missing for name, column in values.items() if column.missing.any()}
        for name in there.keys() - found.keys():
            if some := [n for n in found.keys() & there.keys() if there[name].any() and there[n][there[name]].mean() > WITHIN]:
                found[name] = f"it is there only where {self.name(min(some))} is, which tells the label"
        return found

    @cached_property
    def twins(self) -> dict[str, str]:
        """Columns that are the same as one before them in every row of the sample, and that one."""
        first: dict[bytes, str] = {}
        found = {}
        for name, column in self._columns():
            values = self.seen.sample.column(name).cast(pa.string())
            other = first.setdefault(value_hash(values).tobytes(), name)
            if other != name and len(values) >= TINY and len(column.distinct) > 1:
                found[name] = other
        return found

    def together(self, names: list[str]) -> tuple[float, list[str]]:
        """The ROC AUC of these columns together, and those of them that say most."""
        return leaks.combined_leakage(
            {name: self._values(column) for name, column in self._columns() if name in names}, self._target
        )

    def _columns(self) -> list[tuple[str, ColumnProfile]]:
        left = {*self.key, self.label.name, *([self.time.name] if self.time else [])}
        return [(n, c) for n, c in self.seen.columns.items() if n not in left and c.type != OTHER and c.present]

    @cached_property
    def _labelled(self) -> Bools:
        return np.asarray(self.seen.sample.column(self.label.name).is_valid().to_numpy(zero_copy_only=False), np.bool_)

    @cached_property
    def _target(self) -> leaks.LabelValues:
        values = self._values(self.label)
        if not self.classes:
            return leaks.LabelValues(values.known(), classes=False)
        codes = values.known()
        return leaks.LabelValues((codes == codes.max(initial=0)).astype(np.float64), classes=True)

    def _values(self, column: ColumnProfile) -> leaks.ColumnValues:
        """Of the rows of the sample that have a label."""
        values = self.seen.sample.column(column.name)
        if column.type in (*NUMBER_TYPES, *TIME_TYPES):
            return leaks.ColumnValues(column.numeric(values)[self._labelled])
        texts = values.cast(pa.string())
        if column.type == "boolean":
            texts = pc.ascii_lower(pc.ascii_trim_whitespace(texts))
        codes = pc.fill_null(texts.dictionary_encode().indices, -1)
        return leaks.ColumnValues(None, np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)[self._labelled])


def yaml_label(label: ColumnProfile, text: str) -> str:
    """The YAML scalar of a label's value."""
    if label.type in NUMBER_TYPES:
        return str(int(float(label.numbers.plain(pa.array([text]))[0].as_py())))
    return text.strip().lower() if label.type == "boolean" else yaml_scalar(text)


def snake_case(text: str) -> str:
    """A column's name in ASCII snake case: `TotalCharges` is total_charges, `Größe (m²)` grosse_m2; may be empty."""
    ascii_ = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ascii_)
    return re.sub(r"^(?=\d)", "_", re.sub("[^a-z0-9]+", "_", split.lower()).strip("_"))


def key_hint(seen: FileProfile, label: str) -> str:
    """The columns that alone could be the key, as a clause; or what to do where none could."""
    whole = [c.name for c in seen.columns.values() if c.share == 1 and c.present == seen.rows and c.type not in (OTHER, "double")]
    if found := [name for name in whole if name not in (label, NAMELESS)][:3]:
        return f"{' and '.join(f'`{name}`' for name in found)} {'has' if len(found) == 1 else 'each have'} another value in every row"
    return "no column has another value in every row; `--key A,B` takes several, `--key content` names rows by what is in them"


def is_odd_name(name: str) -> bool:
    """Whether not every reader of Delta takes a column of this name."""
    return re.fullmatch(_SAFE, name) is None


def _safe_names(seen: FileProfile, key: list[str]) -> dict[str, str]:
    """Safe names for the columns of text files whose own names have blanks or other marks, or are those of columns beside the key."""
    taken = {name.casefold() for name in seen.columns}
    found: dict[str, str] = {}
    for place, name in enumerate(seen.columns, 1):
        beside = name in key and name.casefold() in PREDICTED
        if seen.format == "parquet" or name in seen.partitions or not (is_odd_name(name) or beside):
            continue
        fresh = snake_case(name).lstrip("_")
        fresh = fresh if fresh[:1].isalpha() else f"column_{fresh or place}"
        while fresh.casefold() in taken:
            fresh += "_"
        taken.add(fresh.casefold())
        found[name] = fresh
    return found
