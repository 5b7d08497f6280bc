"""Text as YAML."""

import re

import yaml


def yaml_scalar(text: str) -> str:
    """Text as a YAML scalar that any YAML reader reads as this text."""
    plain = re.fullmatch("(?![yYnN]$)[A-Za-z][A-Za-z0-9_]*", text) and isinstance(yaml.safe_load(text), str)
    return text if plain else yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf")).strip()
