"""Bridged schemas: rows of older layouts and of the current one as one table of one schema.

A bridge looks at one row at a time and is pure Catalyst. What an older layout lacks is NULL in the table; what stands in for it
is fitted on new rows of the train fold, and put in where rows are learnt from and scored (see `keyfold.dataset.imputation`).
"""

import datetime as dt
import decimal
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from keyfold.conf.columns import Columns, column_types, declared_columns, is_own, known_type
from keyfold.core import hashing
from keyfold.core.names import BRIDGED
from keyfold.core.section import Section
from keyfold.core.types import DAYS, HASHED, NUMBERS, SqlValue, family_of
from keyfold.errors import duplicates, suggestion

if TYPE_CHECKING:
    from keyfold.conf.data import Data

Fill = Literal["mean", "most_frequent", "distribution", "null"]
Scalar = bool | int | float | str
_WAYS = ("renamed", "cast", "constant", "derived", "mapped", "missing")
_FITTING: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "bigint": (int,),
    "double": (int, float),
    "decimal": (int, float, str),
}


def checked_columns(columns: Columns) -> Columns:
    """The columns, if their types are known (ValueError)."""
    for name, said in columns.items():
        try:
            known_type(said if isinstance(said, str) else said.type)
        except ValueError as error:
            raise ValueError(f"`{name}` {error}") from None
        if is_own(name):
            raise ValueError(f"`{name}` is a name that keyfold itself gives; write {{<name>: {{from: {name}, type: …}}}}")
    by_origin: dict[str, str] = {}
    for name, column in declared_columns(columns).items():
        if (other := by_origin.setdefault(column.name, name)) != name:
            raise ValueError(f"`{other}` and `{name}` are both from `{column.name}`")
    return columns


class ColumnBridge(Section):
    """How an older layout gives a column of the current schema: in one way, or `mapped` and, where that has no value, `missing`."""

    renamed: str | None = Field(None, description="an older column, brought to the current type without loss")
    cast: str | None = Field(None, description="the same, of a column whose type alone is another")
    constant: Scalar | None = None
    derived: dict[Literal["digest", "join", "coalesce", "seconds", "date"], list[str]] | None = Field(
        None, description="a function of older columns"
    )
    mapped: str | None = Field(None, description="an older column, whose values `values` translates")
    values: dict[str, Scalar] = Field(default_factory=dict, description="older value: current value")
    missing: Fill | None = Field(None, description="what stands in when rows are learnt from or scored")

    @field_validator("missing", mode="before")
    @classmethod
    def _nothing_is_null(cls, missing: Any) -> Any:
        return "null" if missing is None else missing

    @model_validator(mode="after")
    def _one_way(self) -> "ColumnBridge":
        ways = [way for way in _WAYS if getattr(self, way) is not None]
        if len(ways) != 1 and ways != ["mapped", "missing"]:
            raise ValueError(f"must name one way of {', '.join(_WAYS)} (got {' and '.join(ways) or 'none'})")
        if bool(self.values) != bool(self.mapped):
            raise ValueError("`mapped` names a column, and `values` says what becomes of its values: give both, or neither")
        if self.derived is not None and len(self.derived) != 1:
            raise ValueError(f"derived names one function (got {len(self.derived)})")
        return self

    @property
    def takes(self) -> list[str]:
        """The older columns."""
        named = [c for c in (self.renamed, self.cast, self.mapped) if c is not None]
        return named or [c for columns in (self.derived or {}).values() for c in columns]

    def told(self) -> str:
        """In words, for the lineage."""
        stands = f"missing: {self.missing}" if self.missing else ""
        if self.mapped is not None:
            rest = f"; else {stands}" if stands else ""
            return f"`{self.mapped}` by a map of {len(self.values)} values{rest}"
        if self.derived:
            return ", ".join(f"{function} of {', '.join(columns)}" for function, columns in self.derived.items())
        return stands or (f"constant {self.constant}" if self.constant is not None else f"`{self.renamed or self.cast}`")


class DeltaVersions(Section):
    """Rows that were appended to a Delta table while it had one layout."""

    path: str
    versions: list[int] = Field(min_length=1, max_length=2, description="the first and the last version; one: from there on")


class LayoutVersion(Section):
    """One layout of the table: its name in the rows, where it is found, and what becomes of its columns."""

    name: str = Field(pattern=r"^[\w.-]+$", examples=["2020"])
    files: list[str] = Field(default_factory=list, description="patterns, in the folder that data.source names")
    delta: DeltaVersions | None = None
    columns: dict[str, str] = Field(default_factory=dict, description="the layout's columns; of the last one, data.columns")
    columns_from: dict[str, ColumnBridge] = Field(
        default_factory=dict, description="by current column; the others keep name and type"
    )
    weight: float = Field(1.0, gt=0, description="of its rows in training")

    _known_types = field_validator("columns")(checked_columns)

    @property
    def types(self) -> dict[str, str]:
        """Spark's types of the columns."""
        return column_types(self.columns)


class BridgeFunction(NamedTuple):
    """What `derived` may name: the families it takes, how many columns (0: any), the type it gives (None: its first column's)."""

    families: tuple[str, ...]
    columns: int
    type: str | None
    make: "Callable[[str, list[str], list[str]], str]"


def _digest(name: str, columns: list[str], types: list[str]) -> str:
    hashes = [SqlValue(c, family_of(t)).hash for c, t in zip(columns, types, strict=True)]
    halves = (hashing.sql_feature_hash(f"bridge:{name}:{half}", hashes) for half in (0, 1))
    known = " OR ".join(f"{c} IS NOT NULL" for c in columns)
    return f"CASE WHEN {known} THEN lower(concat({', '.join(f'''lpad(hex({h}), 16, '0')''' for h in halves)})) END"


BRIDGE_FUNCTIONS: dict[str, BridgeFunction] = {
    "digest": BridgeFunction(HASHED, 0, "string", _digest),
    "join": BridgeFunction(HASHED, 0, "string", lambda _, c, __: f"nullif(concat_ws(' ', {', '.join(c)}), '')"),
    "coalesce": BridgeFunction((*HASHED, "double"), 0, None, lambda _, c, __: f"coalesce({', '.join(c)})"),
    "seconds": BridgeFunction(DAYS, 2, "bigint", lambda _, c, __: f"timestampdiff(SECOND, {c[0]}, {c[1]})"),
    "date": BridgeFunction(DAYS, 1, "date", lambda _, c, __: f"CAST({c[0]} AS DATE)"),
}


# --- the conf ---


def check_versions(data: "Data") -> None:
    """That the versions fit the current schema (ValueError with every fault)."""
    if found := list(dict.fromkeys(_faults(data))):
        raise ValueError("\n  data: ".join(found))


def _faults(data: "Data") -> Iterator[str]:
    *older, last = data.versions
    if not data.columns:
        yield "versions need `columns`, every column of the current schema with its type"
        return
    names = [version.name for version in data.versions]
    yield from (f"versions: the name `{name}` stands twice" for name in duplicates(names))
    for name in (name for name, said in data.columns.items() if not isinstance(said, str)):
        yield f"columns.{name}: `from` is not for a source of versions; where an older layout has another name, {{renamed: …}} says so"
    yield from (
        f"columns: keyfold itself makes `{c}`; rename yours" for c in data.columns if c == BRIDGED or c.startswith("keyfold_")
    )
    if last.columns or last.columns_from or last.weight != 1:
        yield f"versions: `{last.name}` is the last, and so the current schema: it has no columns, columns_from or weight of its own"
    for number, version in enumerate(data.versions):
        yield from (f"versions.{number}{fault}" for fault in _place_faults(data, version))
    for number, version in enumerate(older):
        yield from (f"versions.{number}.columns_from: {fault}" for fault in _column_faults(data, version))


def _place_faults(data: "Data", version: LayoutVersion) -> Iterator[str]:
    if data.source is None or isinstance(data.source, str):
        if bool(version.files) == bool(version.delta) or (version.files and not data.source):
            yield " must have `files`, in the folder that data.source names, or `delta`, and not both"
    elif version.files or version.delta or version.name not in data.source.layouts:
        there = ", ".join(data.source.layouts) or "none"
        yield f".name must be a layout of the generator ({there}), without files or delta (got {version.name})"


def _column_faults(data: "Data", version: LayoutVersion) -> Iterator[str]:
    for name, way in version.columns_from.items():
        if name not in data.columns:
            yield f"the current schema has no column `{name}`{suggestion(name, data.columns)}"
            continue
        lost = [c for c in way.takes if c not in version.columns]
        yield from (f"`{name}` takes `{c}`, which `{version.name}` has not{suggestion(c, version.columns)}" for c in lost)
        if not lost:
            yield from _way_faults(data, version, name, way)
    for name, type_ in data.types.items():
        if name not in version.columns_from and version.types.get(name) != type_:
            near = suggestion(name, [c for c in version.columns if c not in data.columns])
            had = (
                f"{{cast: {name}}}, for it is {version.types[name]}" if name in version.columns else f"renamed, or missing{near}"
            )
            yield f"`{version.name}` must say what `{name}` ({type_}) comes from: {had}"


def _way_faults(data: "Data", version: LayoutVersion, name: str, way: ColumnBridge) -> Iterator[str]:
    wanted = data.types[name]
    time = data.time if data.period != "all" else None
    needed: dict[str, list[str | None]] = {"a key": [*data.key], "the label": [data.label], "the time": [time]}
    for what, names in needed.items():
        if name in names and way.missing and not (what == "the label" and way.missing == "null"):
            yield f"`{name}` is {what}, for which nothing can stand in"
    if way.missing == "mean" and family_of(wanted) not in ("bigint", "double", "decimal"):
        yield f"`{name}` is {wanted}, which has no mean; choose most_frequent or distribution"
    for value in [*way.values.values(), *([] if way.constant is None else [way.constant])]:
        kinds = _FITTING.get(family_of(wanted), (str,))
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or not _holds(wanted, value):
            yield f"`{name}` is {wanted}, and {value!r} is not"
    types, had = [version.types[c] for c in way.takes], None
    if way.derived:
        function = BRIDGE_FUNCTIONS[next(iter(way.derived))]
        odd = [c for c, t in zip(way.takes, types, strict=True) if family_of(t) not in function.families]
        if odd or len(types) != (function.columns or max(1, len(types))) or (function.type is None and len(set(types)) > 1):
            many = function.columns or "one or more"
            same = ", all of one type" if function.type is None else ""
            yield f"`{name}`: {next(iter(way.derived))} takes {many} columns of {', '.join(function.families)}{same}"
            return
        had = function.type or types[0]
    elif way.mapped is None and types:
        had = types[0]
    if had and not can_cast(had, wanted):
        yield f"`{name}` is {wanted}, to which {had} cannot be brought; derive it, or map it"


def _holds(wanted: str, value: Scalar) -> bool:
    """Whether a constant of the conf is a value of the type."""
    family = family_of(wanted)
    try:
        if wanted == "date":
            dt.date.fromisoformat(str(value))
        elif family in ("timestamp", "timestamp_ntz"):
            return dt.datetime.fromisoformat(str(value)).tzinfo is None or wanted == "timestamp"
        elif family == "bigint":
            return abs(int(value)) < 2 ** (31 if wanted == "int" else 63)
        elif family == "decimal":
            digits, scale = (int(n) for n in re.findall(r"\d+", wanted))
            number = decimal.Decimal(str(value))
            return round(number, scale) == number and abs(number) < 10 ** (digits - scale)
    except (ValueError, decimal.InvalidOperation, TypeError):
        return False
    return True


def can_cast(had: str, wanted: str) -> bool:
    """Whether a bridge can bring one type to the other, row by row where it may lose something."""
    groups: list[tuple[str, ...]] = [NUMBERS, DAYS]
    a, b = family_of(had), family_of(wanted)
    return "string" in (a, b) or a == b or any(a in group and b in group for group in groups)
