"""Reads YAML 1.2 safely: plain values only, limits on size and aliases, no repeated keys, only true and false as booleans."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import yaml

from keyfold.errors import ConfError, suggestion

MAX_BYTES = 1_000_000
MAX_ALIASES = 100
MAX_DEPTH = 100
MAX_VALUES = 20_000

# libyaml is thirty times as fast; all wheels of PyYAML include it.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]
    """The safe loader with the scalars of YAML 1.2: `Yes` is text, `1e-3` a number, `2026-10` text."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = Counter(self.construct_object(key, deep=True) for key, _ in node.value)
            raise yaml.constructor.ConstructorError(None, None, f"`{keys.most_common(1)[0][0]}` appears twice", node.start_mark)
        return mapping


for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", "~nN\0"),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN)",
        "-+0123456789.",
    ),
):
    _chars = [c if c != "\0" else "" for c in _first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _chars)


def parse_yaml(text: str, where: str = "the text") -> Any:
    """The value of a YAML text; `where` names its place in errors. Raises ConfError if it is not YAML or exceeds a limit."""
    if len(text) > MAX_BYTES:
        raise ConfError(f"{where} has {len(text):,} characters; a conf may have {MAX_BYTES:,} at most")
    try:
        _check_events(text)
        return _bounded(yaml.load(text, _Loader))  # noqa: S506 - a SafeLoader with limits
    except yaml.MarkedYAMLError as error:
        line = f", line {min(error.problem_mark.line, text.rstrip().count(chr(10))) + 1}" if error.problem_mark else ""
        raise ConfError(f"{where}{line} is not YAML: {error.problem or error.context}") from error
    except UnicodeEncodeError as error:
        raise ConfError(f"{where} has half a character (a lone surrogate) at position {error.start}; write it whole") from error
    # All but the first are raised for a tag, such as !!int, on a value that does not fit it.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ConfError(f"{where} is not YAML: {error}") from error
    except RecursionError as error:
        raise ConfError(f"{where} is nested too deep") from error


def _check_events(text: str) -> None:
    """Raises an error for too many events, too deep nesting or too many aliases, before values are built."""
    depth = aliases = 0
    for number, event in enumerate(yaml.parse(text, _Safe)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > MAX_DEPTH:
            raise RecursionError
        if aliases > MAX_ALIASES:
            raise yaml.YAMLError(f"more than {MAX_ALIASES} aliases")
        if number > 3 * MAX_VALUES:  # keys and the ends of lists and mappings are events too
            raise _too_many()


def _bounded(value: Any) -> Any:
    """The value; raises an error if it is too large with its aliases expanded: a few of them can expand to billions of values."""
    pending, visited = [value], 0
    while pending:
        item = pending.pop()
        pending += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        visited += 1
        if visited + len(pending) > MAX_VALUES:
            raise _too_many()
    return value


def _too_many() -> yaml.YAMLError:
    return yaml.YAMLError(f"it has more than {MAX_VALUES:,} values, with its aliases expanded")


def read_yaml(path: str | Path) -> Any:
    """The value of a YAML file; raises ConfError if the file is missing, not YAML, or exceeds a limit."""
    path = Path(path)
    if not path.is_file():
        near = suggestion(path.name, [p.name for p in path.parent.glob("*.y*ml")])
        raise ConfError(f"there is no conf `{path}`{near}")
    if path.stat().st_size > MAX_BYTES:
        raise ConfError(f"{path} has {path.stat().st_size:,} bytes; a conf may have {MAX_BYTES:,} at most")
    try:
        return parse_yaml(path.read_text("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error


def dump_yaml(conf: Any) -> str:
    """A conf (a pydantic model) as YAML text, in its own order, without options that have their default."""
    return yaml.safe_dump(conf.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)


def set_path(raw: Any, path: str, value: Any) -> None:
    """Sets the value at `path.to.option` of nested mappings; creates the mappings on its path, in place of other values."""
    *parents, last = path.split(".")
    for part in parents:
        if not isinstance(raw.get(part), dict):
            raw[part] = {}
        raw = raw[part]
    raw[last] = value
