"""Digests of values, files and folders, equal on every machine."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """The first 16 bytes of the SHA-256 of a JSON-like value, as 32 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, leave: Collection[str] = ()) -> str:
    """A digest of the relative path and the SHA-256 of each file in a folder; files and folders named in `leave` are left out."""
    files: dict[str, str] = {}
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        name = relative.as_posix().encode("utf-8", "backslashreplace").decode()  # a name may hold any bytes
        if path.is_symlink():
            files[name] = f"-> {path.readlink()}"
        elif not path.is_dir() and not {*relative.parts} & {*leave}:
            files[name] = file_digest(path)
    return digest(files)
