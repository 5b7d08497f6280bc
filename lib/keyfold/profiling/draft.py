"""Input of a drafted conf: the options of `init`, the profile of the files, and values derived from both."""

import re
import unicodedata
from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.release import MIN_TEST_ROWS
from keyfold.conf.table_names import PREDICTED
from keyfold.core.arrays import Bools, Doubles
from keyfold.core.hashing import value_hash
from keyfold.evaluation import label_leakage
from keyfold.labels.classes import MAX_CLASSES
from keyfold.models.positive_class import guess_positive
from keyfold.profiling import snapshots
from keyfold.profiling.column_profile import OTHER, ColumnProfile
from keyfold.profiling.file_profile import FileProfile
from keyfold.profiling.key_counts import PERIODS, KeyCounts
from keyfold.profiling.yaml_text import yaml_scalar
from keyfold.readers.rows import NUMBERED

QUARANTINE = 0.1  # the default of data.max_quarantine
FEW_SERIES = 200  # fewer keys leave folds by hash too small
NUMBER_TYPES = ("bigint", "double")
TIME_TYPES = ("date", "timestamp")
MANY_NUMBERS = 20  # fewer different ones are rather scores
TINY = 20  # fewer rows are alike by chance
WITHIN = 0.995  # share of the rows with a column that must also have the other
_SAFE = r"[\w-]+"

Lines = list[str]


@dataclass
class Draft:
    """Options of `init` and the profile of the files."""

    path: str
    key: list[str]  # empty for the key `content`
    label: ColumnProfile
    time: ColumnProfile | None
    profile: FileProfile
    keys: KeyCounts
    encoding: str = "utf-8"

    def name(self, column: str) -> str:
        """Name of a column in the table, as YAML."""
        return yaml_scalar(self.names.get(column, column))

    @cached_property
    def names(self) -> dict[str, str]:
        """New names for columns whose names not every reader of Delta supports."""
        return _safe_names(self.profile, self.key)

    @cached_property
    def snapshots(self) -> tuple[str, list[str]] | None:
        """If files repeat each other's keys: the pattern of their periods, and the files."""
        return None if self.time else snapshots.period_pattern(self.profile, self.keys, self.path, self.encoding)

    @cached_property
    def few_series(self) -> bool:
        """Whether rows have a time and there are too few series for folds by key."""
        return self.time is not None and self.keys.series() < FEW_SERIES

    @cached_property
    def kind(self) -> Literal["binary", "classes", "number"]:
        """What the label is: two classes, more of them, or a number."""
        label = self.label
        if label.type == "string" and not label.sign and 2 < len(label.distinct) <= min(MAX_CLASSES, label.present / 2):
            return "classes"
        whole = label.type != "double" or all(float(n).is_integer() for n in label.numbers.plain(label.distinct).to_pylist())
        return "binary" if len(label.classes()) == 2 and whole else "number"

    @property
    def classifies(self) -> bool:
        """Whether the label is a class rather than a number."""
        return self.kind != "number"

    @cached_property
    def skewed(self) -> bool:
        """Whether the label has many different numbers, all above 0, whose logarithm is much less skewed."""
        numbers = self._target.y[np.isfinite(self._target.y)]
        if self.classifies or len(self.label.distinct) < MANY_NUMBERS or len(numbers) < TINY:
            return False
        least = pc.min(self.label.numbers.plain(self.label.distinct).cast(pa.float64())).as_py()
        return least > 0 and _skewness(numbers) > max(1.0, 2 * abs(_skewness(np.log(numbers))))

    @cached_property
    def positive(self) -> tuple[str, str] | None:
        """The class to predict and the reason; None for numeric codes, which do not show it."""
        counts = self.label.classes()
        values = {yaml_label(self.label, text) if self.label.type in NUMBER_TYPES else text: text for text in counts}
        if guess := guess_positive([*values]):
            return values[guess[0]], guess[1]
        if self.label.type in NUMBER_TYPES:
            return None
        return min(counts, key=lambda text: (counts[text], text)), "it is the rarer class, and neither name means yes"

    @cached_property
    def repeated(self) -> tuple[str, int]:
        """The period with the fewest rows of a repeated key, the longest one of several, and the count of those rows."""
        if not self.key:
            return "month" if self.time else "all", 0
        if not self.time:
            return "all", self.keys.repeated_in_files() if self.snapshots else self.keys.repeated()
        times = self.keys.times(self.time)
        counts = {period: self.keys.repeated(np.array([t[:n] for t in times], object)) for period, n in PERIODS.items()}
        return min(reversed(counts.items()), key=lambda pair: pair[1])

    @property
    def refused(self) -> bool:
        """Whether `ingest` would refuse the files for bad lines, missing keys and repeated keys."""
        bad = self.profile.bad.total()
        keyless = self.repeated[1] + self.keys.missing if self.key else 0
        return bad + keyless > QUARANTINE * (self.profile.rows + bad)

    @property
    def _least_rows(self) -> int:
        """Rows with a label, or rows of the rarer one of two classes."""
        return min(self.label.classes().values()) if self.kind == "binary" else self.label.present

    @property
    def test_share(self) -> float:
        """Share of the test fold: 0.1, or more if the fold would have too few rows."""
        return min(0.3, max(0.1, ceil(20 * 2 * MIN_TEST_ROWS / max(self._least_rows, 1)) / 20))

    @property
    def few_rows(self) -> bool:
        """Whether the test fold may have too few rows, or rows of a class, to promote a model."""
        return self._least_rows * self.test_share < 1.5 * MIN_TEST_ROWS

    @property
    def runs(self) -> bool:
        """Whether the drafted conf runs unchanged."""
        undecided = self.kind == "binary" and not self.positive
        return not (self.refused or undecided or self.few_rows or self.profile.header or self.profile.other)

    @cached_property
    def suspects(self) -> dict[str, str]:
        """Reasons why columns may leak the label, by column."""
        values = {name: self._values(column) for name, column in self._columns()}
        suspects = {name: why for name, column in values.items() if (why := label_leakage.leakage_reason(column, self._target))}
        for name, column in self._columns():
            if name not in suspects and column.type == "string" and column.words > column.present:
                texts = self.profile.sample.column(name).cast(pa.string()).filter(pa.array(self._labelled)).to_pylist()
                if why := label_leakage.reason_in_words(texts, self._target):
                    suspects[name] = why
        present = {name: ~column.missing for name, column in values.items() if column.missing.any()}
        for name in present.keys() - suspects.keys():
            others = suspects.keys() & present.keys()
            if within := [n for n in others if present[name].any() and present[n][present[name]].mean() > WITHIN]:
                suspects[name] = f"it is present only where {self.name(min(within))} is, which reveals the label"
        return suspects

    @cached_property
    def twins(self) -> dict[str, str]:
        """Columns that equal an earlier one in every row of the sample, and that one."""
        first: dict[bytes, str] = {}
        twins = {}
        for name, column in self._columns():
            values = self.profile.sample.column(name).cast(pa.string())
            other = first.setdefault(value_hash(values).tobytes(), name)
            if other != name and len(values) >= TINY and len(column.distinct) > 1:
                twins[name] = other
        return twins

    def together(self, names: list[str]) -> tuple[float, list[str]]:
        """ROC AUC of these columns together (0.5 if the label is a number), and the columns, the strongest first."""
        return label_leakage.combined_leakage(
            {name: self._values(column) for name, column in self._columns() if name in names}, self._target
        )

    def _columns(self) -> list[tuple[str, ColumnProfile]]:
        excluded = {*self.key, self.label.name, *([self.time.name] if self.time else [])}
        return [(n, c) for n, c in self.profile.columns.items() if n not in excluded and c.type != OTHER and c.present]

    @cached_property
    def _labelled(self) -> Bools:
        return np.asarray(self.profile.sample.column(self.label.name).is_valid().to_numpy(zero_copy_only=False), np.bool_)

    @cached_property
    def _target(self) -> label_leakage.LabelValues:
        values = self._values(self.label)
        if not self.classifies:
            return label_leakage.LabelValues(values.as_doubles(), classes=False)
        codes = values.as_doubles()
        one = codes.max(initial=0)
        if self.kind == "classes":  # the most frequent one against the others
            one = np.bincount(codes.astype(np.int64)).argmax() if len(codes) else one
        return label_leakage.LabelValues((codes == one).astype(np.float64), classes=True)

    def _values(self, column: ColumnProfile) -> label_leakage.ColumnValues:
        """Values of a column in the labelled rows of the sample."""
        values = self.profile.sample.column(column.name)
        if column.type in (*NUMBER_TYPES, *TIME_TYPES):
            return label_leakage.ColumnValues(column.numeric(values)[self._labelled])
        texts = values.cast(pa.string())
        if column.type == "boolean":
            texts = pc.ascii_lower(pc.ascii_trim_whitespace(texts))
        codes = pc.fill_null(texts.dictionary_encode().indices, -1)
        return label_leakage.ColumnValues(None, np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)[self._labelled])


def _skewness(numbers: Doubles) -> float:
    spread = numbers.std()
    return float((((numbers - numbers.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0


def yaml_label(label: ColumnProfile, text: str) -> str:
    """A value of the label as YAML."""
    if label.type in NUMBER_TYPES:
        return str(int(float(label.numbers.plain(pa.array([text]))[0].as_py())))
    return text.strip().lower() if label.type == "boolean" else yaml_scalar(text)


def snake_case(text: str) -> str:
    """A name in ASCII snake case: `TotalCharges` is total_charges, `Größe (m²)` grosse_m2; may be empty."""
    ascii_ = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ascii_)
    return re.sub(r"^(?=\d)", "_", re.sub("[^a-z0-9]+", "_", split.lower()).strip("_"))


def fresh_name(name: str, taken: Container[str]) -> str:
    """The name, with underscores behind it as long as it is taken (in lower case)."""
    return name if name.casefold() not in taken else fresh_name(f"{name}_", taken)


def key_hint(profile: FileProfile, label: str) -> str:
    """Columns that could be the key, as a clause; or what to do if there is none."""
    unique = [
        c.name for c in profile.columns.values() if c.share == 1 and c.present == profile.rows and c.type not in (OTHER, "double")
    ]
    if named := [name for name in unique if name not in (label, NUMBERED)][:3]:
        return f"{' and '.join(f'`{name}`' for name in named)} {'is' if len(named) == 1 else 'are each'} unique"
    return "no column is unique; `--key A,B` combines several, `--key content` uses a digest of the row"


def is_odd_name(name: str) -> bool:
    """Whether some readers of Delta do not support a column of this name."""
    return re.fullmatch(_SAFE, name) is None


def _safe_names(profile: FileProfile, key: list[str]) -> dict[str, str]:
    """New names for columns of text files whose names are odd, or are keys named like a column of the predictions."""
    taken = {name.casefold() for name in profile.columns}
    names: dict[str, str] = {}
    for place, name in enumerate(profile.columns, 1):
        reserved = name in key and name.casefold() in PREDICTED
        if profile.format == "parquet" or name in profile.partitions or not (is_odd_name(name) or reserved):
            continue
        fresh = snake_case(name).lstrip("_")
        names[name] = fresh_name(fresh if fresh[:1].isalpha() else f"column_{fresh or place}", taken)
        taken.add(names[name].casefold())
    return names
