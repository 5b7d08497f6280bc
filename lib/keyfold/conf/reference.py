"""The reference of all options, generated from the schema of the conf.

To update it: python -m keyfold.conf.reference > lib/keyfold/conf/REFERENCE.md
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from keyfold.conf.use_case import Conf

_HEAD = """# Options of a conf

Generated from the schema: `python -m keyfold.conf.reference > lib/keyfold/conf/REFERENCE.md`. An option without a default is required.
`<name>` stands for a name that you choose, `[]` for an element of a list.
"""


class Option(NamedTuple):
    """One option of a section: its name, its schema, and whether it is required."""

    name: str
    schema: dict[str, Any]
    required: bool


def sections(schema: dict[str, Any]) -> Iterator[tuple[str, str, list[Option]]]:
    """The path, the description and the options of each section, in the order of the conf; each section once."""
    pending, seen = [("", schema)], set()
    while pending:
        path, section = pending.pop(0)
        required = section.get("required", [])
        options = [Option(name, option, name in required) for name, option in section["properties"].items()]
        yield path, section.get("description", ""), options
        inner = []
        for option in options:
            for suffix, name in _references(option.schema):
                if name not in seen:
                    seen.add(name)
                    inner.append((f"{path}.{option.name}{suffix}".removeprefix("."), schema["$defs"][name]))
        pending = inner + pending


def description(option: dict[str, Any], schema: dict[str, Any]) -> str:
    """The description of an option, or of the section that it holds."""
    reference = option.get("$ref", "").rpartition("/")[2]
    return str(option.get("description") or schema["$defs"].get(reference, {}).get("description", ""))


def render(schema: dict[str, Any]) -> str:
    """The reference as Markdown."""
    lines = [_HEAD]
    for path, text, options in sections(schema):
        rows = [f"| {' | '.join(map(_cell, _row(option, schema)))} |" for option in options]
        lines += [
            f"## {f'`{path}`' if path else 'Top level'}\n",
            _summary(text),
            "| option | type | default | description | example |",
        ]
        lines += ["| --- | --- | --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def _row(option: Option, schema: dict[str, Any]) -> Iterator[str]:
    yield f"`{option.name}`"
    yield _type(option.schema)
    yield "" if option.required or option.schema.get("default") in (None, {}, []) else _default(option.schema)
    yield description(option.schema, schema) + (" **Required.**" if option.required else "")
    yield ", ".join(f"`{_flow(example)}`" for example in option.schema.get("examples", []))


def _default(option: dict[str, Any]) -> str:
    return "as below" if "$ref" in option else f"`{_flow(option['default'])}`"


def _type(option: dict[str, Any]) -> str:
    """The type in words."""
    if "$ref" in option:
        return "mapping"
    if "const" in option or "enum" in option:
        return " or ".join(f"`{_flow(value)}`" for value in option.get("enum", [option.get("const")]))
    if alternatives := option.get("anyOf") or option.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(one) for one in alternatives if one.get("type") != "null"))
    if option.get("type") == "array":
        items = option.get("items") or {}
        return f"list of {_type(items)}" if items else "list"
    if option.get("type") == "object":
        values = option.get("additionalProperties")
        return f"mapping to {_type(values)}" if isinstance(values, dict) else "mapping"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
    return words.get(option.get("type", ""), "any") + _bounds(option)


def _bounds(option: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {option[name]:,}" for name, sign in signs.items() if name in option]
    return f" ({', '.join(bounds)})" if bounds else ""


def _references(option: Any, suffix: str = "") -> Iterator[tuple[str, str]]:
    """The sections within an option, each with the suffix of its path."""
    if "$ref" in option:
        yield suffix, option["$ref"].rpartition("/")[2]
    for one in option.get("anyOf", []):
        yield from _references(one, suffix)
    for one in option.get("oneOf", []):  # alternatives of one option, such as generators
        yield from ((f"{suffix} ({name})", name) for suffix, name in _references(one, suffix))
    if isinstance(option.get("items"), dict):
        yield from _references(option["items"], f"{suffix}[]")
    for values in (option.get("additionalProperties"), *option.get("patternProperties", {}).values()):
        if isinstance(values, dict):
            yield from _references(values, f"{suffix}.<name>")


def _flow(value: Any) -> str:
    """A value as YAML writes it on one line."""
    if isinstance(value, str):
        return value or '""'
    return re.sub(r'(?<=[{\s])"([\w.-]+)": ', r"\1: ", json.dumps(value, ensure_ascii=False))


def _summary(text: str) -> str:
    first = text.partition("\n\n")[0].replace("\n", " ")
    return f"{first}\n" if first else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(render(Conf.model_json_schema()), end="")
