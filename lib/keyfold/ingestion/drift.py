"""What a layout's drift means: each difference between the columns that were declared and those that came gets its verdict.

`accept`: the rows are taken, with the declared names and types. `bridge`: a version of the table's own must say what becomes of
the column, and the stub for it is made. `refuse`: nobody can say what is meant. All before anything is written.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Literal, NamedTuple

import yaml

from keyfold.conf.columns import TYPES, is_own
from keyfold.conf.versions import can_cast
from keyfold.core.names import BRIDGED
from keyfold.core.types import family_of
from keyfold.errors import DataError

_WIDER = [("tinyint", "smallint", "int", "bigint"), ("float", "double")]
_NESTED = ("struct", "array", "map")


class ArrivedColumn(NamedTuple):
    """A column that came: its name as it is written, its type where the file has one, whether it may hold NULL."""

    name: str
    type: str | None = None
    nullable: bool = True


class DriftVerdict(NamedTuple):
    """What is to be done about one difference."""

    kind: str
    verdict: Literal["accept", "bridge", "refuse"]
    said: str


class LayoutDrift(NamedTuple):
    """All verdicts, and by declared column the name under which it came."""

    verdicts: list[DriftVerdict]
    names: dict[str, str]

    def settled(self, where: str, stub: str) -> "LayoutDrift":
        """Itself, if every difference is accepted (DataError with all others, and the stub where a bridge is needed)."""
        bad = [v for v in self.verdicts if v.verdict != "accept"]
        if not bad:
            return self
        lines = [f"{v.said} ({'refused' if v.verdict == 'refuse' else 'bridge needed'}: {v.kind})" for v in bad]
        paste = "" if any(v.verdict == "refuse" for v in bad) else f"\nPaste this into the conf, and correct it:\n{stub}"
        raise DataError(
            f"{where} has another layout than was declared, and nothing was written:\n  " + "\n  ".join(lines) + paste
        )


def compare_layouts(declared: Mapping[str, str], came: Sequence[ArrivedColumn], required: Sequence[str] = ()) -> LayoutDrift:
    """What becomes of the columns that came; `required` are declared ones that may not be NULL."""
    plain = [_plain(c.name) for c in came]
    names: dict[str, str] = {}
    for name in declared:
        exact = [c.name for c in came if c.name == name]
        close = [c.name for c, p in zip(came, plain, strict=True) if p.casefold() == name.casefold()]
        if found := exact or close:
            names[name] = found[0]
    verdicts = [*_odd_names(came, plain), *_written(declared, came, names), *_types(declared, came, names, required)]
    return LayoutDrift([*verdicts, *_unknown(declared, came, plain, names)], names)


def _plain(name: str) -> str:
    return name.removeprefix("\ufeff").strip().strip('"').strip()


def _odd_names(came: Sequence[ArrivedColumn], plain: Sequence[str]) -> Iterator[DriftVerdict]:
    often = Counter(p.casefold() for p in plain)
    for name in dict.fromkeys(c.name for c, p in zip(came, plain, strict=True) if p and often[p.casefold()] > 1):
        yield DriftVerdict(
            "duplicate name", "refuse", f"`{name}` stands more than once, or differs from another by case or blanks alone"
        )
    for number, name in enumerate(plain, 1):
        if not name:
            yield DriftVerdict("no name", "refuse", f"column {number} has no name")
        if name == BRIDGED or is_own(name):
            yield DriftVerdict("reserved name", "refuse", f"`{name}` is a name that keyfold itself gives")


def _written(declared: Mapping[str, str], came: Sequence[ArrivedColumn], names: Mapping[str, str]) -> Iterator[DriftVerdict]:
    for name, as_written in names.items():
        if as_written.startswith("\ufeff"):
            yield DriftVerdict("byte order mark", "accept", f"a byte order mark stands before `{name}`")
        trimmed = as_written.removeprefix("\ufeff")
        if trimmed != trimmed.strip():
            yield DriftVerdict("blanks around the name", "accept", f"blanks stand around `{name}`")
        if _plain(as_written) != name and _plain(as_written).casefold() == name.casefold():
            yield DriftVerdict("changed case", "accept", f"`{name}` is written `{_plain(as_written)}`")
    order = list(dict.fromkeys(c.name for c in came if c.name in names.values()))
    if order != [names[name] for name in declared if name in names]:
        yield DriftVerdict("other order", "accept", "the columns stand in another order")


def _types(
    declared: Mapping[str, str], came: Sequence[ArrivedColumn], names: Mapping[str, str], required: Sequence[str]
) -> Iterator[DriftVerdict]:
    by_name = {c.name: c for c in reversed(came)}
    for name, as_written in names.items():
        column, wanted = by_name[as_written], declared[name]
        if column.type is not None and column.type != wanted:
            yield _type(name, column.type, wanted)
        if column.nullable and name in required and column.type is not None:
            yield DriftVerdict("may be NULL", "accept", f"`{name}` may be NULL now; a row where it is goes to quarantine")


def _type(name: str, came: str, wanted: str) -> DriftVerdict:
    said = f"`{name}` is {came}, and was {wanted}"
    if came.startswith("struct") and wanted.startswith("struct"):
        return DriftVerdict("nested fields", "refuse", f"{said}: fields inside a column are not bridged; make columns of them")
    if came.startswith(_NESTED) or wanted.startswith(_NESTED):
        return DriftVerdict("another kind of type", "refuse", f"{said}; make columns of it before")
    if _narrower(came, wanted):
        return DriftVerdict("narrower number", "accept", f"{said}, which holds all of it")
    if _narrower(wanted, came):
        return DriftVerdict("wider number", "bridge", said)
    if can_cast(came, wanted):
        return DriftVerdict("another type", "bridge", said)
    return DriftVerdict("another kind of type", "refuse", f"{said}, and neither can be brought to the other")


def _narrower(a: str, b: str) -> bool:
    if (x := _digits(a)) and (y := _digits(b)):
        return x[0] - x[1] <= y[0] - y[1] and x[1] <= y[1]
    return any(a in row and b in row and row.index(a) < row.index(b) for row in _WIDER)


def _digits(type_: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"decimal\((\d+),(\d+)\)", type_)
    return (int(found[1]), int(found[2])) if found else None


def _unknown(
    declared: Mapping[str, str], came: Sequence[ArrivedColumn], plain: Sequence[str], names: Mapping[str, str]
) -> Iterator[DriftVerdict]:
    lost = [name for name in declared if name not in names]
    new = [p for c, p in zip(came, plain, strict=True) if p and c.name not in names.values()]
    renamed = _renamed(lost, new)
    for old, name in renamed.items():
        yield DriftVerdict("renamed", "bridge", f"`{old}` is gone, and `{name}` looks like it")
    for name in lost:
        if name not in renamed:
            yield DriftVerdict("lost", "bridge", f"`{name}` is gone")
    for name in dict.fromkeys(new):
        if name not in renamed.values() and sum(p.casefold() == name.casefold() for p in plain) == 1:
            yield DriftVerdict("unexpected", "bridge", f"`{name}` is new")


def _renamed(lost: Sequence[str], new: Sequence[str]) -> dict[str, str]:
    """Of lost names the new ones that look like them, each once."""
    left = {re.sub(r"\W|_", "", name.casefold()): name for name in new}
    found: dict[str, str] = {}
    for old in lost:
        if match := get_close_matches(re.sub(r"\W|_", "", old.casefold()), left, n=1, cutoff=0.6):
            found[old] = left.pop(match[0])
    return found


def version_stub(old: Mapping[str, str], new: Mapping[str, str], files: str, key: Sequence[str] = ()) -> str:
    """YAML: the current schema, and the older one as a version with a bridge to it; to be corrected by who knows the data."""
    types = {name: type_ for name, type_ in new.items() if re.match(TYPES, type_)}
    renamed = {name: gone for gone, name in _renamed([c for c in old if c not in new], [c for c in new if c not in old]).items()}
    ways: dict[str, dict[str, object]] = {}
    for name, type_ in types.items():
        if name in renamed:
            ways[name] = {"renamed": renamed[name]}
        elif name not in old:
            number = family_of(type_) in ("bigint", "double", "decimal")
            ways[name] = {"derived": {"digest": list(old)}} if name in key else {"missing": "mean" if number else "distribution"}
        elif old[name] != type_:
            ways[name] = {"cast": name}
    older = {"name": "older", "files": [files], "columns": dict(old), "columns_from": ways}
    newer = {"name": "newer", "files": ["*"]}
    return yaml.safe_dump(
        {"data": {"columns": types, "versions": [older, newer]}}, sort_keys=False, allow_unicode=True, width=120
    )
