"""Turns pydantic's errors into sentences: the path, the expected value, the value found, and the nearest valid name."""

import math
import re
import reprlib
from collections.abc import Iterable, Iterator
from datetime import date
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from keyfold.errors import suggestion
from keyfold.secrets import holds_password, is_address, redacted

_WORDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_BOUNDS = {
    "greater_than": "more than {gt}", "greater_than_equal": "{ge} or more", "less_than": "less than {lt}",
    "less_than_equal": "{le} or less", "string_too_short": "text of at least {min_length} character(s)",
    "string_too_long": "text of at most {max_length} character(s)", "too_short": "a list of {min_length} or more",
}  # fmt: skip
_HALF = re.compile(r"[\ud800-\udfff]")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class _Place(NamedTuple):
    """A place in a conf: its path as written in YAML, and the types that its value may have."""

    path: str
    types: list[Any]
    field: FieldInfo | None = None
    tried: Any = None  # the member of a union that the error is about, from pydantic's path


def fault_message(error: Any, model: type[BaseModel]) -> str | None:
    """The sentence for one of `ValidationError.errors()`, or None if another of them is more specific."""
    kind, loc, context = error["type"], error["loc"], error.get("ctx", {})
    place = _place(model, loc)
    got = f"(got {shortened(error['input'])})"
    if kind == "extra_forbidden":
        at = _place(model, loc[:-1])
        return f"{place.path} is not an option{suggestion(str(loc[-1]), _options([at.tried] if at.tried else at.types))}"
    if kind == "invalid_key":
        return f"{_place(model, loc[:-1]).path}: the name {loc[-1]} must be text; quote it"
    if kind == "missing" and not isinstance(loc[-1], int):
        return f"{place.path} is missing"
    if kind == "value_error":
        return f"{place.path}: {context['error']}".removeprefix(": ")
    if kind == "string_pattern_mismatch":
        return f"{place.path} must be like {_like(place.field, context['pattern'])} {got}"
    if kind in _BOUNDS:
        bounds = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in context.items()}
        return f"{place.path} must be {_BOUNDS[kind].format(**bounds)} {got}"
    if loc[-1] == "[key]":
        at = _place(model, loc[:-2])
        keys = _literals([get_args(t)[0] for t in at.types if get_origin(t) is dict])
        must = f"is none of {joined_by_or(keys)}{suggestion(str(loc[-2]), keys)}" if keys else "must be text; quote it"
        return f"{at.path}: the name {shortened(loc[-2])} {must}"
    if place.tried and type(error["input"]) in map(_container, place.types):
        return None
    place = _place(model, loc[:-1]) if kind == "missing" else place
    near = suggestion(str(error["input"]), _literals(place.types)) if isinstance(error["input"], str) else ""
    return f"{place.path} must be {joined_by_or(_named(place.types))} {got}{near}"


def unusable_values(value: Any, path: str = "") -> Iterator[str]:
    """One sentence for each value that no option can have, such as NaN, a password or a date, with its path."""
    here = path or "the conf"
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from unusable_values(name, f"{here}: the name {name!r}") if isinstance(name, str) else ()
            yield from unusable_values(inner, f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from unusable_values(inner, f"{path}.{number}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{here} must be a finite number (got {value})"
    elif isinstance(value, str) and is_address(value) and holds_password(value):
        yield (
            f"{here} must not hold a password (got {redacted(value)}), which would be stored with tables and models; pass it by "
            "spark-submit's options, such as --conf spark.hadoop.fs.s3a.secret.key=…, or by the environment"
        )
    elif isinstance(value, str) and _HALF.search(value):
        yield f"{here} has half a character (a lone surrogate); write it whole (got {value!r})"
    elif isinstance(value, bytes | set | date):
        yield f"{here} must be text, a number, true or false, a list or a mapping (got {shortened(value)}); remove its YAML tag"


def shortened(value: Any) -> str:
    """A value as YAML writes it, shortened."""
    words = {None: "nothing", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else _short.repr(value)


def _place(model: type[BaseModel], loc: tuple[Any, ...]) -> _Place:
    place = _Place("", [model])
    for part in loc:
        place = _step(place, part)
    return place


def _step(place: _Place, part: Any) -> _Place:
    """One step along pydantic's path, whose parts also name members of unions."""
    types = [place.tried] if place.tried else place.types
    if len(types) > 1:
        return place._replace(tried=next((t for t in types if _is_tag(str(part), _tag(t))), None))
    path = f"{place.path}.{part}".removeprefix(".")
    for type_ in types:
        if isinstance(type_, type) and issubclass(type_, BaseModel) and (field := _fields(type_).get(part)):
            return _Place(path, _alternatives(field.annotation), field)
        if get_origin(type_) in (dict, list, tuple):
            return _Place(path, _alternatives(get_args(type_)[-1]))
    return _Place(path, [])


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union without None; for any other type, the type itself."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [inner for arg in get_args(annotation) for inner in _alternatives(arg)]
    return [] if annotation is NoneType else [annotation]


def _tag(type_: Any) -> str:
    """The name of a union's member in pydantic's paths."""
    if type_ is Any:
        return "any"
    if get_origin(type_) is Literal:
        return f"literal[{','.join(map(repr, get_args(type_)))}]"
    if get_origin(type_) in (list, dict, tuple):
        return f"{get_origin(type_).__name__}[{','.join(_tag(a) for a in get_args(type_))}]"
    return getattr(type_, "__name__", str(type_))


def _is_tag(part: str, tag: str) -> bool:
    """Whether a part of a path names a type, with or without its validator."""
    return part == tag or part.endswith(f", {tag}" + "]" * max(1, part.count("function-")))


def _container(type_: Any) -> Any:
    return dict if _options([type_]) else get_origin(type_)


def _named(types: Iterable[Any]) -> list[str]:
    """The types in plain words."""
    names = []
    for type_ in types:
        origin, inner = get_origin(type_), get_args(type_)
        if origin is Literal:
            names += [f"`{value}`" for value in inner]
        elif origin is tuple:
            names.append(f"a list of {len(inner)}")
        elif origin in (list, dict):
            names.append("a list" if origin is list else "a mapping")
        else:
            names.append(_WORDS.get(type_) or f"a mapping with {joined_by_or(f'`{name}`' for name in _required(type_))}")
    return list(dict.fromkeys(names))


def _required(type_: Any) -> list[str]:
    needed = [name for name, field in _fields(type_).items() if field.is_required()]
    return needed or list(_fields(type_))


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields by their name in YAML."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _literals(types: Iterable[Any]) -> list[str]:
    return [str(value) for type_ in types if get_origin(type_) is Literal for value in get_args(type_)]


def _options(types: Iterable[Any]) -> list[str]:
    """The valid names at a place."""
    return [name for t in types if isinstance(t, type) and issubclass(t, BaseModel) for name in _fields(t)]


def _like(field: FieldInfo | None, pattern: str) -> str:
    examples = field.examples if field else None
    return joined_by_or(f"`{example}`" for example in examples) if examples else f"the pattern {pattern}"


def joined_by_or(names: Iterable[str]) -> str:
    """`a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
