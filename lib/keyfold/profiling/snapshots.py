"""Files that look like snapshots of the same keys, one a month: `members_2026-09.csv`, `members_2026-10.csv`."""

import re
from pathlib import Path

import numpy as np

from keyfold.conf import file_period
from keyfold.errors import KeyfoldError
from keyfold.profiling.file_profile import FileProfile, profile_files
from keyfold.profiling.key_counts import KeyCounts

ENOUGH = 0.1  # of a file's rows, that have a key of another file
_LOOK = 5_000_000  # bytes of a neighbour


def name_pattern(path: str) -> str:
    """The pattern of the file and of those whose names differ in a date alone."""
    at = Path(path)
    return str(at.with_name(file_period.DATED.sub("*", at.name)))


def sibling_files(path: str) -> list[str]:
    """Files beside this one whose names differ in a date alone, without it."""
    at = Path(path)
    if not file_period.DATED.search(at.name) or not at.is_file():
        return []
    return sorted(
        str(p) for p in at.parent.iterdir() if p.name != at.name and p.is_file() and name_pattern(str(p)) == name_pattern(path)
    )


def period_pattern(seen: FileProfile, keys: KeyCounts, path: str, encoding: str) -> tuple[str, list[str]] | None:
    """The pattern of the periods of files whose keys repeat across them (empty where their names give none), and those files."""
    if not keys.key:
        return None
    files = seen.files
    if len(files) > 1:
        across = keys.repeated() - keys.repeated_in_files()
        if across < ENOUGH * seen.rows:
            return None
    else:
        others = sibling_files(path)
        if not others or _share(keys, others[0], encoding) < ENOUGH:
            return None
        files = [*files, *others]
    found = file_period.propose_period(
        re.sub(r"^.*/", "", file) if len({Path(f).parent for f in files}) == 1 else file for file in files
    )
    return found.pattern if found else "", files


def _share(keys: KeyCounts, other: str, encoding: str) -> float:
    """Of the other file's rows, how many have a key of this one."""
    found = KeyCounts(keys.key, None, keys.label)
    try:
        profile_files(other, encoding, found.add, _LOOK)
    except KeyfoldError:
        return 0.0
    hashes = found.hashes()
    return float(np.isin(hashes, keys.hashes()).mean()) if len(hashes) else 0.0
