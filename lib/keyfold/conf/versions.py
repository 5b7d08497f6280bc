"""The section `data.versions`: older layouts of the table and how their columns become columns of the current schema.

A bridge transforms one row at a time. A column that an older layout lacks is NULL in the table; its imputation
is fitted on rows of the current layout in the train fold, and applied in training and scoring (`keyfold.dataset.imputation`).
"""

import datetime as dt
import decimal
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from keyfold.conf.columns import Columns, column_types, declared_columns, is_own, known_type
from keyfold.core.names import BRIDGED
from keyfold.core.section import OneOf, Section
from keyfold.core.types import DAYS, HASHED, NUMBERS, family_of
from keyfold.errors import duplicates, suggestion

if TYPE_CHECKING:
    from keyfold.conf.data import Data

Fill = Literal["mean", "most_frequent", "distribution", "null"]
Scalar = bool | int | float | str
_CONSTANTS: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "bigint": (int,),
    "double": (int, float),
    "decimal": (int, float, str),
}


def checked_columns(columns: Columns) -> Columns:
    """The columns; raises ValueError for an unknown type, a reserved name, or two columns from one."""
    for name, column in columns.items():
        try:
            known_type(column if isinstance(column, str) else column.type)
        except ValueError as error:
            raise ValueError(f"`{name}` {error}") from None
        if is_own(name):
            raise ValueError(f"the name `{name}` is reserved for keyfold; write {{<name>: {{from: {name}, type: …}}}}")
    by_origin: dict[str, str] = {}
    for name, declared in declared_columns(columns).items():
        if (other := by_origin.setdefault(declared.name, name)) != name:
            raise ValueError(f"`{other}` and `{name}` are both from `{declared.name}`")
    return columns


class ColumnBridge(OneOf):
    """How a column of the current schema is computed from an older layout: by one rule, or by `mapped` with `missing` for other values."""

    _choices = ("renamed", "cast", "constant", "derived", "mapped", "missing")
    _pair = ("mapped", "missing")

    renamed: str | None = Field(None, description="An older column under another name; cast to the current type without loss.")
    cast: str | None = Field(None, description="An older column of another type; cast to the current type without loss.")
    constant: Scalar | None = Field(None, description="One value for all rows.")
    derived: dict[Literal["digest", "join", "coalesce", "seconds", "date"], list[str]] | None = Field(
        None,
        examples=[{"join": ["first_name", "last_name"]}],
        description="A function of older columns. digest: a hash of their values; join: their texts, separated by spaces; "
        "coalesce: the first that is not NULL; seconds: from the first time to the second; date: the date of a time.",
    )
    mapped: str | None = Field(None, description="An older column, translated by `values`.")
    values: dict[str, Scalar] = Field(
        default_factory=dict, examples=[{"C": "cash", "D": "debit"}], description="Current value by older value, for `mapped`."
    )
    missing: Fill | None = Field(
        None,
        description="The layout lacks the column. It is imputed in training and scoring: by the mean, the most frequent value, a draw "
        "from the distribution, or NULL.",
    )

    @field_validator("missing", mode="before")
    @classmethod
    def _null_as_text(cls, missing: Any) -> Any:
        return "null" if missing is None else missing

    @model_validator(mode="after")
    def _rule_is_complete(self) -> "ColumnBridge":
        if bool(self.values) != bool(self.mapped):
            raise ValueError("`mapped` names a column and `values` translates its values; give both, or neither")
        if self.derived is not None and len(self.derived) != 1:
            raise ValueError(f"derived names one function (got {len(self.derived)})")
        return self

    @property
    def takes(self) -> list[str]:
        """The older columns that the rule takes."""
        named = [c for c in (self.renamed, self.cast, self.mapped) if c is not None]
        return named or [c for columns in (self.derived or {}).values() for c in columns]

    def describe(self) -> str:
        """The rule in words, for the lineage."""
        missing = f"missing: {self.missing}" if self.missing else ""
        if self.mapped is not None:
            rest = f"; else {missing}" if missing else ""
            return f"`{self.mapped}` by a map of {len(self.values)} values{rest}"
        if self.derived:
            return ", ".join(f"{function} of {', '.join(columns)}" for function, columns in self.derived.items())
        return missing or (f"constant {self.constant}" if self.constant is not None else f"`{self.renamed or self.cast}`")


class DeltaVersions(Section):
    """Rows that were appended to a Delta table while it had one layout."""

    path: str = Field(description="Path of the Delta table.", examples=["/data/orders"])
    versions: list[int] = Field(
        min_length=1,
        max_length=2,
        examples=[[0, 41]],
        description="First and last version; with one number, all versions from there on.",
    )


class LayoutVersion(Section):
    """One layout of the table: its name, its files, and how its columns become those of the current schema."""

    name: str = Field(pattern=r"^[\w.-]+$", examples=["2020"], description="Name of the layout; each row keeps it.")
    files: list[str] = Field(
        default_factory=list, examples=[["2020-*.csv"]], description="Patterns of its files, in the folder `data.source`."
    )
    delta: DeltaVersions | None = Field(None, description="Versions of a Delta table, instead of files.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Types of the layout's columns, all of them. The last layout has those of `data.columns`.",
    )
    columns_from: dict[str, ColumnBridge] = Field(
        default_factory=dict,
        examples=[{"started_at": {"renamed": "starttime"}}],
        description="Rules by column of the current schema; the other columns keep their name and type.",
    )
    weight: float = Field(1.0, gt=0, description="Weight of the layout's rows in training.")

    _known_types = field_validator("columns")(checked_columns)

    @property
    def types(self) -> dict[str, str]:
        """Spark types of the columns."""
        return column_types(self.columns)


class BridgeFunction(NamedTuple):
    """A function of `derived`: the type families it takes, its number of columns (0: any), the type of its result (None: its first column's)."""

    families: tuple[str, ...]
    columns: int
    type: str | None


BRIDGE_FUNCTIONS: dict[str, BridgeFunction] = {
    "digest": BridgeFunction(HASHED, 0, "string"), "join": BridgeFunction(HASHED, 0, "string"),
    "coalesce": BridgeFunction((*HASHED, "double"), 0, None), "seconds": BridgeFunction(DAYS, 2, "bigint"), "date": BridgeFunction(DAYS, 1, "date"),
}  # fmt: skip


# --- the conf ---


def check_versions(data: "Data") -> None:
    """Raises ValueError, which lists all faults, unless the versions fit the current schema."""
    if faults := list(dict.fromkeys(_faults(data))):
        raise ValueError("\n  data: ".join(faults))


def _faults(data: "Data") -> Iterator[str]:
    *older, last = data.versions
    if not data.columns:
        yield "versions need `columns`, every column of the current schema with its type"
        return
    names = [version.name for version in data.versions]
    yield from (f"versions: the name `{name}` appears twice" for name in duplicates(names))
    for name in (name for name, column in data.columns.items() if not isinstance(column, str)):
        yield f"columns.{name}: `from` is not allowed with `versions`; if an older layout has another name, use {{renamed: …}}"
    if BRIDGED in data.columns:
        yield f"columns: the name `{BRIDGED}` is reserved for keyfold; rename the column"
    if last.columns or last.columns_from or last.weight != 1:
        yield f"versions: `{last.name}` is the last and so the current schema; it takes no columns, columns_from or weight"
    for number, version in enumerate(data.versions):
        yield from (f"versions.{number}{fault}" for fault in _place_faults(data, version))
    for number, version in enumerate(older):
        yield from (f"versions.{number}.columns_from: {fault}" for fault in _column_faults(data, version))


def _place_faults(data: "Data", version: LayoutVersion) -> Iterator[str]:
    if data.source is None or isinstance(data.source, str):
        if bool(version.files) == bool(version.delta) or (version.files and not data.source):
            yield " must have either `files`, in the folder data.source, or `delta`"
    elif version.files or version.delta or version.name not in data.source.layouts:
        layouts = ", ".join(data.source.layouts) or "none"
        yield f".name must be a layout of the generator ({layouts}), without files or delta (got {version.name})"


def _column_faults(data: "Data", version: LayoutVersion) -> Iterator[str]:
    for name, bridge in version.columns_from.items():
        if name not in data.columns:
            yield f"the current schema has no column `{name}`{suggestion(name, data.columns)}"
            continue
        absent = [c for c in bridge.takes if c not in version.columns]
        yield from (f"`{name}` takes `{c}`, which `{version.name}` lacks{suggestion(c, version.columns)}" for c in absent)
        if not absent:
            yield from _bridge_faults(data, version, name, bridge)
    for name, type_ in data.types.items():
        if name not in version.columns_from and version.types.get(name) != type_:
            near = suggestion(name, [c for c in version.columns if c not in data.columns])
            rule = (
                f"{{cast: {name}}}, since it is {version.types[name]}"
                if name in version.columns
                else f"renamed, or missing{near}"
            )
            yield f"`{version.name}` needs a rule for `{name}` ({type_}): {rule}"


def _bridge_faults(data: "Data", version: LayoutVersion, name: str, bridge: ColumnBridge) -> Iterator[str]:
    target = data.types[name]
    if bridge.missing:
        yield from _missing_faults(data, name, bridge.missing)
    for value in [*bridge.values.values(), *([] if bridge.constant is None else [bridge.constant])]:
        types: tuple[type, ...] = _CONSTANTS.get(family_of(target), (str,))
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types) or not _holds(target, value):
            yield f"`{name}` is {target}, but {value!r} is not"
    sources = [version.types[c] for c in bridge.takes]
    if bridge.derived:
        function = next(iter(bridge.derived))
        if fault := _function_fault(function, sources):
            yield f"`{name}`: {fault}"
            return
        sources = [BRIDGE_FUNCTIONS[function].type or sources[0]]
    if bridge.mapped is None and sources and not can_cast(sources[0], target):
        yield f"`{name}` is {target}, to which {sources[0]} cannot be cast; use derived, or mapped"


def _missing_faults(data: "Data", name: str, fill: Fill) -> Iterator[str]:
    time = data.time if data.period != "all" else None
    columns: dict[str, list[str | None]] = {"a key": [*data.key], "the time": [time]}
    for noun, names in columns.items():
        if name in names:
            yield f"`{name}` is {noun}, which cannot be imputed"
    if fill == "mean" and family_of(data.types[name]) not in ("bigint", "double", "decimal"):
        yield f"`{name}` is {data.types[name]}, which has no mean; use most_frequent or distribution"


def _function_fault(name: str, types: list[str]) -> str | None:
    function = BRIDGE_FUNCTIONS[name]
    accepted = all(family_of(type_) in function.families for type_ in types)
    alike = function.type is not None or len(set(types)) <= 1
    if accepted and alike and len(types) == (function.columns or max(1, len(types))):
        return None
    same = ", all of one type" if function.type is None else ""
    return f"{name} takes {function.columns or 'one or more'} columns of {', '.join(function.families)}{same}"


def _holds(type_: str, value: Scalar) -> bool:
    """Whether a constant is a value of the type."""
    family = family_of(type_)
    try:
        if type_ == "date":
            dt.date.fromisoformat(str(value))
        elif family in ("timestamp", "timestamp_ntz"):
            return dt.datetime.fromisoformat(str(value)).tzinfo is None or type_ == "timestamp"
        elif family == "bigint":
            return abs(int(value)) < 2 ** (31 if type_ == "int" else 63)
        elif family == "decimal":
            digits, scale = (int(n) for n in re.findall(r"\d+", type_))
            number = decimal.Decimal(str(value))
            return round(number, scale) == number and abs(number) < 10 ** (digits - scale)
    except (ValueError, decimal.InvalidOperation, TypeError):
        return False
    return True


def can_cast(source: str, target: str) -> bool:
    """Whether a bridge can cast one type to the other; a row whose value would change is quarantined."""
    groups: list[tuple[str, ...]] = [NUMBERS, DAYS]
    a, b = family_of(source), family_of(target)
    return "string" in (a, b) or a == b or any(a in group and b in group for group in groups)
