"""Formats of sources, by the names of their files."""

from pathlib import Path

from keyfold.readers.opening import plain_name
from keyfold.readers.paths import local_files, local_path

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def format_of(path: str) -> str:
    """csv, json, parquet, delta or images, by name; that of a local folder by its first file."""
    if (Path(local_path(path) or path) / "_delta_log").is_dir():
        return "delta"
    name = plain_name(_first_of(path))
    if name.endswith((".json", ".jsonl", ".ndjson")):
        return "json"
    if name.endswith(IMAGES):
        return "images"
    return "parquet" if name.endswith(".parquet") else "csv"


def default_delimiter(path: str) -> str:
    """The tab of a .tsv file, else a comma."""
    return "\t" if plain_name(_first_of(path)).endswith((".tsv", ".tab")) else ","


def _first_of(path: str) -> str:
    """The first file of a local folder; any other source itself."""
    return next(iter(local_files(path) or ()), path) if Path(local_path(path) or path).is_dir() else path
