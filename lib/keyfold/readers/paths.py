"""Where files are: those of a source, what a folder hides, and the columns that the names of folders give."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from keyfold.errors import DataError, suggestion

NULL = "__HIVE_DEFAULT_PARTITION__"


def local_path(path: str) -> str | None:
    """The path in the local file system; None for one that is elsewhere, as s3a://… is."""
    path = re.sub("^file:/+", "/", path)
    return None if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", path) else path


def local_files(path: str) -> list[str] | None:
    """The files of a source, in order; None where they are not in the local file system.

    What lies below a folder under a name that begins with `_` or `.` is not read, as in Spark. DataError for a link to nothing, and for
    a folder that may not be read.
    """
    if (here := local_path(path)) is None:
        return None
    found: list[Path] = []
    above = re.split(r"[*?\[]", here, maxsplit=1)[0].rpartition("/")[0] or "." if glob.has_magic(here) else None
    for start in sorted(glob.glob(here)):
        if above is not None and is_hidden(os.path.relpath(start, above)):
            continue
        some = sorted(_below(Path(start))) if Path(start).is_dir() else [Path(start)]
        if dangling := next((file for file in some if file.is_symlink() and not file.exists()), None):
            raise DataError(f"data.source: `{dangling}` is a link to `{dangling.readlink()}`, which is not there")
        found += [file for file in some if file.is_file()]
    return [*map(str, found)]


def _below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """What lies below a folder, but for what is hidden; links are followed, once around where they lead back to a folder above."""
    here = os.path.realpath(folder)
    try:
        there = [*folder.iterdir()] if here not in above else []
    except PermissionError as error:
        raise DataError(f"data.source: the folder `{folder}` may not be read") from error
    for path in there:
        if not is_hidden(path.name):
            yield from _below(path, above | {here}) if path.is_dir() else [path]


def is_hidden(below: str) -> bool:
    """Whether a path below a folder is of a file that is not read: `_a=1` is a partition, `_a` is hidden."""
    return any(name[0] == "." or (name[0] == "_" and "=" not in name) for name in PurePosixPath(below).parts if name)


def partition_columns(source: str, files: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """By file the columns that folders below the source name, as `site=01` does: text (DataError where files differ in them)."""
    found = {file: _partition(source, file) for file in files}
    first = next(iter(found.values()), {})
    for file, values in found.items():
        if [*values] != [*first]:
            names = [f"`{'/'.join(v)}`" if v else "no such folder" for v in (first, values)]
            raise DataError(f"data.source: {files[0]} is below folders of {names[0]}, and {file} below {names[1]}")
    return found


def _partition(source: str, file: str) -> dict[str, str | None]:
    here = local_path(source)
    roots = [*map(os.path.abspath, [*glob.glob(here), here])] if here else [source.rstrip("/")]
    root = next((r for r in roots if file.startswith(r.rstrip("/") + "/")), None)
    folders = file[len(root.rstrip("/")) + 1 :].split("/")[:-1] if root else []
    pairs = [folder.partition("=") for folder in folders if "=" in folder]
    return {_unescaped(name): None if value == NULL else _unescaped(value) for name, _, value in pairs}


def _unescaped(part: str) -> str:
    """A part of a folder's name as text (DataError where its escapes are none)."""
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError as error:
        raise DataError(f"data.source: `{part}` in a folder's name has escapes that are not UTF-8; rename the folder") from error


def refuse_escapes(files: Sequence[str]) -> None:
    """DataError where a folder names a column with escaped letters, each byte of which Spark takes for a letter."""
    for file in files:
        if odd := next((p for p in PurePosixPath(file).parts if "=" in p and re.search("%[89A-Fa-f][0-9A-Fa-f]", p)), None):
            raise DataError(f"{file}: Spark reads `{odd}` otherwise than it is meant; rename the folder to `{_unescaped(odd)}`")


def check_there(path: str) -> None:
    """DataError where a local source holds no file."""
    here = local_path(path)
    if here is None or local_files(path):
        return
    if Path(here).is_dir():
        raise DataError(f"data.source: the folder `{path}` holds no file")
    near = suggestion(Path(here).name, [p.name for p in Path(here).parent.glob("*")])
    raise DataError(f"data.source: there is no file `{path}` (seen from {Path.cwd()}){near}")
