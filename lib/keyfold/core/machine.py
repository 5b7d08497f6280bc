"""What the machine, its container and the control groups of this process let it use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def memory_limit() -> int:
    """Bytes of memory that this process and its children may use."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [group / "memory.max" for group in _groups()] + [group / "memory.limit_in_bytes" for group in _groups("memory")]
    return min([machine, *(int(text) for text in map(_text, limits) if text.isdigit())])


def cores() -> int:
    """The number of processors that this process and its children may use, at least one; a part of a processor counts as one."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [_text(group / "cpu.max") for group in _groups()]  # microseconds in a period, and the period
    shares += [f"{_text(group / 'cpu.cfs_quota_us')} {_text(group / 'cpu.cfs_period_us')}" for group in _groups("cpu")]
    numbers = [[int(word) for word in share.split() if word.isdigit()] for share in shares]  # `max` and -1 are no limits
    return min([own, *(max(1, math.ceil(both[0] / both[1])) for both in numbers if len(both) == 2 and both[1])])


def _groups(controller: str = "") -> Iterator[Path]:
    """The folders of this process's control group and of those above it, of a controller in version 1 or of all in version 2.

    A container may tell the path that its group has on the host, and show the group itself at the root: the root is always among them.
    """
    lines = [line.split(":", 2) for line in _text(_ROOT / "proc/self/cgroup").splitlines()]
    own = [Path(path.strip("/")) for _, controllers, path in lines if controller in controllers.split(",")]
    for group in {Path(), *(above for path in own for above in (path, *path.parents))}:
        yield _ROOT / "sys/fs/cgroup" / controller / group


def _text(file: Path) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
