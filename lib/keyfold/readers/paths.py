"""The files of a source, hidden files, and columns from the names of folders."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from keyfold.errors import DataError, suggestion

NULL = "__HIVE_DEFAULT_PARTITION__"


def local_path(path: str) -> str | None:
    """The path in the local file system; None for a remote one such as s3a://…."""
    path = re.sub("^file:/+", "/", path)
    return None if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", path) else path


def local_files(path: str) -> list[str] | None:
    """The files of a source, in order; None if it is not in the local file system.

    Hidden files and folders are left out, as in Spark. DataError for a broken link and for an unreadable folder.
    """
    if (here := local_path(path)) is None:
        return None
    files: list[Path] = []
    above = re.split(r"[*?\[]", here, maxsplit=1)[0].rpartition("/")[0] or "." if glob.has_magic(here) else None
    for start in sorted(glob.glob(here)):
        if above is not None and is_hidden(os.path.relpath(start, above)):
            continue
        below = sorted(_files_below(Path(start))) if Path(start).is_dir() else [Path(start)]
        if broken := next((file for file in below if file.is_symlink() and not file.exists()), None):
            raise DataError(f"data.source: `{broken}` is a link to `{broken.readlink()}`, which does not exist")
        files += [file for file in below if file.is_file()]
    return [*map(str, files)]


def _files_below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All files below a folder but hidden ones. Links are followed, but not back into a folder `above`."""
    here = os.path.realpath(folder)
    try:
        entries = [*folder.iterdir()] if here not in above else []
    except PermissionError as error:
        raise DataError(f"data.source: the folder `{folder}` cannot be read: permission denied") from error
    for path in entries:
        if not is_hidden(path.name):
            yield from _files_below(path, above | {here}) if path.is_dir() else [path]


def is_hidden(below: str) -> bool:
    """Whether a relative path is hidden: a name begins with `.`, or with `_` and is not a partition such as `_a=1`."""
    return any(name[0] == "." or (name[0] == "_" and "=" not in name) for name in PurePosixPath(below).parts if name)


def partition_columns(source: str, files: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """Per file, the columns from folders such as `site=01` below the source, as text; DataError if files have different columns."""
    partitions = {file: _partition(source, file) for file in files}
    first = next(iter(partitions.values()), {})
    for file, values in partitions.items():
        if [*values] != [*first]:
            names = [f"`{'/'.join(v)}`" if v else "no such folder" for v in (first, values)]
            raise DataError(f"data.source: {files[0]} is below folders of {names[0]}, and {file} below {names[1]}")
    return partitions


def _partition(source: str, file: str) -> dict[str, str | None]:
    here = local_path(source)
    roots = [*map(os.path.abspath, [*glob.glob(here), here])] if here else [source.rstrip("/")]
    root = next((r for r in roots if file.startswith(r.rstrip("/") + "/")), None)
    folders = file[len(root.rstrip("/")) + 1 :].split("/")[:-1] if root else []
    pairs = [folder.partition("=") for folder in folders if "=" in folder]
    return {_unescaped(name): None if value == NULL else _unescaped(value) for name, _, value in pairs}


def _unescaped(part: str) -> str:
    """Decodes percent escapes of a folder's name; DataError if they are not UTF-8."""
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError as error:
        raise DataError(f"data.source: `{part}` in a folder's name has escapes that are not UTF-8; rename the folder") from error


def require_files(path: str) -> None:
    """DataError if a local source has no files."""
    here = local_path(path)
    if here is None or local_files(path):
        return
    if Path(here).is_dir():
        raise DataError(f"data.source: the folder `{path}` has no files")
    near = suggestion(Path(here).name, [p.name for p in Path(here).parent.glob("*")])
    raise DataError(f"data.source: there is no file `{path}` (seen from {Path.cwd()}){near}")
