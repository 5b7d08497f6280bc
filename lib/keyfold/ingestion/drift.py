"""Compares the columns that arrived with those that were declared; each difference gets a verdict, before anything is written.

`accept`: the rows are taken, under the declared names and types. `bridge`: a layout version must map the column; a stub of it is
proposed. `refuse`: the difference is ambiguous or cannot be bridged.
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
    """A column of a file: its name as written, its type if the file gives one, whether it may hold NULL."""

    name: str
    type: str | None = None
    nullable: bool = True


class DriftVerdict(NamedTuple):
    """The verdict on one difference."""

    kind: str
    verdict: Literal["accept", "bridge", "refuse"]
    message: str


class LayoutDrift(NamedTuple):
    """All verdicts, and by declared column its name in the file."""

    verdicts: list[DriftVerdict]
    names: dict[str, str]

    def settled(self, where: str, stub: str) -> "LayoutDrift":
        """Itself, if every difference is accepted (DataError that lists the others, with the stub if a bridge solves them)."""
        open_ = [v for v in self.verdicts if v.verdict != "accept"]
        if not open_:
            return self
        lines = [f"{v.message} ({'refused' if v.verdict == 'refuse' else 'bridge needed'}: {v.kind})" for v in open_]
        paste = "" if any(v.verdict == "refuse" for v in open_) else f"\nPaste this into the conf, and correct it:\n{stub}"
        raise DataError(f"{where} does not have the declared layout, and nothing was written:\n  " + "\n  ".join(lines) + paste)


def compare_layouts(declared: Mapping[str, str], arrived: Sequence[ArrivedColumn], required: Sequence[str] = ()) -> LayoutDrift:
    """Verdicts on the columns that arrived, against declared types by name; `required` columns may not be NULL."""
    plain = [_plain(c.name) for c in arrived]
    names: dict[str, str] = {}
    for name in declared:
        exact = [c.name for c in arrived if c.name == name]
        similar = [c.name for c, p in zip(arrived, plain, strict=True) if p.casefold() == name.casefold()]
        if matches := exact or similar:
            names[name] = matches[0]
    verdicts = [*_odd_names(arrived, plain), *_spelling(declared, arrived, names), *_types(declared, arrived, names, required)]
    return LayoutDrift([*verdicts, *_unmatched(declared, arrived, plain, names)], names)


def _plain(name: str) -> str:
    return name.removeprefix("\ufeff").strip().strip('"').strip()


def _odd_names(arrived: Sequence[ArrivedColumn], plain: Sequence[str]) -> Iterator[DriftVerdict]:
    often = Counter(p.casefold() for p in plain)
    for name in dict.fromkeys(c.name for c, p in zip(arrived, plain, strict=True) if p and often[p.casefold()] > 1):
        yield DriftVerdict("duplicate name", "refuse", f"`{name}` occurs more than once, ignoring case and blanks")
    for number, name in enumerate(plain, 1):
        if not name:
            yield DriftVerdict("no name", "refuse", f"column {number} has no name")
        if name == BRIDGED or is_own(name):
            yield DriftVerdict("reserved name", "refuse", f"`{name}` is reserved for keyfold")


def _spelling(declared: Mapping[str, str], arrived: Sequence[ArrivedColumn], names: Mapping[str, str]) -> Iterator[DriftVerdict]:
    for name, spelled in names.items():
        if spelled.startswith("\ufeff"):
            yield DriftVerdict("byte order mark", "accept", f"a byte order mark precedes `{name}`")
        trimmed = spelled.removeprefix("\ufeff")
        if trimmed != trimmed.strip():
            yield DriftVerdict("blanks around the name", "accept", f"`{name}` has blanks around it")
        if _plain(spelled) != name and _plain(spelled).casefold() == name.casefold():
            yield DriftVerdict("changed case", "accept", f"`{name}` is written `{_plain(spelled)}`")
    order = list(dict.fromkeys(c.name for c in arrived if c.name in names.values()))
    if order != [names[name] for name in declared if name in names]:
        yield DriftVerdict("other order", "accept", "the columns are in another order")


def _types(
    declared: Mapping[str, str], arrived: Sequence[ArrivedColumn], names: Mapping[str, str], required: Sequence[str]
) -> Iterator[DriftVerdict]:
    by_name = {c.name: c for c in reversed(arrived)}
    for name, spelled in names.items():
        column, wanted = by_name[spelled], declared[name]
        if column.type is not None and column.type != wanted:
            yield _type(name, column.type, wanted)
        if column.nullable and name in required and column.type is not None:
            yield DriftVerdict("may be NULL", "accept", f"`{name}` may be NULL now; rows with NULL go to quarantine")


def _type(name: str, arrived: str, wanted: str) -> DriftVerdict:
    message = f"`{name}` is {arrived}, and was {wanted}"
    if arrived.startswith("struct") and wanted.startswith("struct"):
        return DriftVerdict(
            "nested fields", "refuse", f"{message}: fields inside a column are not bridged; split them into columns"
        )
    if arrived.startswith(_NESTED) or wanted.startswith(_NESTED):
        return DriftVerdict("another kind of type", "refuse", f"{message}; split it into columns before the ingest")
    if _is_narrower(arrived, wanted):
        return DriftVerdict("narrower number", "accept", f"{message}, which holds all of it")
    if _is_narrower(wanted, arrived):
        return DriftVerdict("wider number", "bridge", message)
    if can_cast(arrived, wanted):
        return DriftVerdict("another type", "bridge", message)
    return DriftVerdict("another kind of type", "refuse", f"{message}, and neither can be cast to the other")


def _is_narrower(a: str, b: str) -> bool:
    if (x := _digits(a)) and (y := _digits(b)):
        return x[0] - x[1] <= y[0] - y[1] and x[1] <= y[1]
    return any(a in row and b in row and row.index(a) < row.index(b) for row in _WIDER)


def _digits(type_: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"decimal\((\d+),(\d+)\)", type_)
    return (int(match[1]), int(match[2])) if match else None


def _unmatched(
    declared: Mapping[str, str], arrived: Sequence[ArrivedColumn], plain: Sequence[str], names: Mapping[str, str]
) -> Iterator[DriftVerdict]:
    lost = [name for name in declared if name not in names]
    new = [p for c, p in zip(arrived, plain, strict=True) if p and c.name not in names.values()]
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
    """By lost name, the most similar new name; each is used once."""
    left = {re.sub(r"\W|_", "", name.casefold()): name for name in new}
    renamed: dict[str, str] = {}
    for old in lost:
        if match := get_close_matches(re.sub(r"\W|_", "", old.casefold()), left, n=1, cutoff=0.6):
            renamed[old] = left.pop(match[0])
    return renamed


def version_stub(old: Mapping[str, str], new: Mapping[str, str], files: str, key: Sequence[str] = ()) -> str:
    """YAML of the current schema and of the older one with a bridge to it, for the user to correct."""
    types = {name: type_ for name, type_ in new.items() if re.match(TYPES, type_)}
    renamed = {name: lost for lost, name in _renamed([c for c in old if c not in new], [c for c in new if c not in old]).items()}
    bridges: dict[str, dict[str, object]] = {}
    for name, type_ in types.items():
        if name in renamed:
            bridges[name] = {"renamed": renamed[name]}
        elif name not in old:
            number = family_of(type_) in ("bigint", "double", "decimal")
            bridges[name] = (
                {"derived": {"digest": list(old)}} if name in key else {"missing": "mean" if number else "distribution"}
            )
        elif old[name] != type_:
            bridges[name] = {"cast": name}
    older = {"name": "older", "files": [files], "columns": dict(old), "columns_from": bridges}
    newer = {"name": "newer", "files": ["*"]}
    return yaml.safe_dump(
        {"data": {"columns": types, "versions": [older, newer]}}, sort_keys=False, allow_unicode=True, width=120
    )
