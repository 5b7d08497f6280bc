"""Finds files that are snapshots of the same keys, such as one for each month: `members_2026-09.csv`, `members_2026-10.csv`."""

import re
from pathlib import Path

import numpy as np

from keyfold.conf import file_period
from keyfold.errors import KeyfoldError
from keyfold.profiling.file_profile import FileProfile, profile_files
from keyfold.profiling.key_counts import KeyCounts

ENOUGH = 0.1  # share of the rows of a file that have a key of another file
_SIBLING_BYTES = 5_000_000  # bytes of a sibling file that are read


def name_pattern(path: str) -> str:
    """Glob pattern of the files whose names differ from this one in the date only."""
    at = Path(path)
    return str(at.with_name(file_period.DATED.sub("*", at.name)))


def sibling_files(path: str) -> list[str]:
    """The other files of the folder whose names differ from this one in the date only."""
    at = Path(path)
    if not file_period.DATED.search(at.name) or not at.is_file():
        return []
    return sorted(
        str(p) for p in at.parent.iterdir() if p.name != at.name and p.is_file() and name_pattern(str(p)) == name_pattern(path)
    )


def period_pattern(profile: FileProfile, keys: KeyCounts, path: str, encoding: str) -> tuple[str, list[str]] | None:
    """If files share keys: the pattern of their periods (empty if their names have none), and the files."""
    if not keys.key:
        return None
    files = profile.files
    if len(files) > 1:
        across = keys.repeated() - keys.repeated_in_files()
        if across < ENOUGH * profile.rows:
            return None
    else:
        others = sibling_files(path)
        if not others or _share(keys, others[0], encoding) < ENOUGH:
            return None
        files = [*files, *others]
    proposal = file_period.propose_period(
        re.sub(r"^.*/", "", file) if len({Path(f).parent for f in files}) == 1 else file for file in files
    )
    return proposal.pattern if proposal else "", files


def _share(keys: KeyCounts, other: str, encoding: str) -> float:
    """Share of the rows of the other file that have a key of this one."""
    others = KeyCounts(keys.key, None, keys.label)
    try:
        profile_files(other, encoding, others, _SIBLING_BYTES)
    except KeyfoldError:
        return 0.0
    hashes = others.hashes()
    return float(np.isin(hashes, keys.hashes()).mean()) if len(hashes) else 0.0
