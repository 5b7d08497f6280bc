"""A use case as one YAML file: read, overridden, checked in one pass; every error with its path."""

from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, Iterator, Sequence, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator

from keyfold import yaml
from keyfold.digests import digest
from keyfold.errors import ConfError, nearest
from keyfold.features import Feature
from keyfold.ingest import Data
from keyfold.release import Release
from keyfold.score import Score
from keyfold.section import Section
from keyfold.spec import in_order
from keyfold.split import Split
from keyfold.training import Report, Train


class Conf(Section):
    """One use case. Sections stand in the order in which data flows; each is one module's own model."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="names tables, salts and the model")
    data: Data
    split: Split = Split()
    features: dict[str, Feature] = Field(default_factory=dict)
    train: Train | None = None
    score: Score = Score()
    release: Release = Release()
    report: Report = Report()

    @model_validator(mode="after")
    def _fits_together(self) -> "Conf":
        try:
            in_order({name: feature.kind for name, feature in self.features.items()})
        except ConfError as error:
            raise ValueError(str(error)) from error
        return self

    @cached_property
    def digest(self) -> str:
        """Of the whole conf, as hexadecimal text."""
        return digest(self.model_dump(mode="json", exclude_defaults=True))


def load(path: str | Path, overrides: Sequence[str] = ()) -> Conf:
    """The conf at `path`, with `path.to.option=value` overrides (ConfError with every fault at once)."""
    return check(_overridden(yaml.read(path), overrides), str(path))


def check(raw: Any, where: str = "the conf") -> Conf:
    """The conf that a mapping stands for (ConfError with every fault at once)."""
    if not isinstance(raw, dict):
        raise ConfError(f"{where} must be a mapping with `name:` and `data:` (got {raw!r:.60})")
    try:
        return Conf.model_validate(raw)
    except ValidationError as error:
        lines = dict.fromkeys(_sentence(e) for e in error.errors())
        raise ConfError("\n".join([f"{where} has {len(lines)} fault(s):", *(f"  {line}" for line in lines)])) from None


def _overridden(raw: Any, overrides: Sequence[str]) -> Any:
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals or not path:
            raise ConfError(f"--set takes path.to.option=value (got `{override}`)")
        at = raw
        *parents, last = path.split(".")
        for part in parents:
            if not isinstance(at.get(part), dict):
                at[part] = {}
            at = at[part]
        at[last] = yaml.parse(value, f"--set {path}")
    return raw


def _sentence(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    got = f"(got {error['input']!r:.80})"
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return f"{path} is not an option{nearest(str(error['loc'][-1]), _options(error['loc'][:-1]))}"
        case "missing":
            return f"{path} is missing"
        case "value_error":
            return f"{path + ': ' if path else ''}{context['error']}"
        case "greater_than_equal":
            return f"{path} must be {context['ge']} or more {got}"
        case "less_than_equal":
            return f"{path} must be {context['le']} or less {got}"
        case "literal_error":
            return f"{path} must be {context['expected']} {got}{nearest(str(error['input']), context['expected'].split(chr(39)))}"
    return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]} {got}"


def _options(path: tuple[Any, ...]) -> list[str]:
    """The right names at a path of the conf."""
    at: list[Any] = [Conf]
    for part in path:
        at = [inner for kind in at for inner in _inside(kind, part)]
    return [name for kind in at for name in _fields(kind)]


def _fields(kind: Any) -> list[str]:
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _inside(kind: Any, part: Any) -> Iterator[Any]:
    if part in _fields(kind):
        yield from _plain(kind.model_fields[part].annotation)
    elif get_origin(kind) is dict:
        yield from _plain(get_args(kind)[1])
    elif isinstance(kind, type) and kind.__name__ == part:
        yield kind


def _plain(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for inner in get_args(annotation):
            yield from _plain(inner)
    else:
        yield annotation
