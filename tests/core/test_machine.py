"""What a process may use of the machine."""

import os

import pytest

from keyfold.core import machine


def wrote(folder, groups, files):
    texts = {"proc/self/cgroup": groups} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, None),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {"memory.max": "8000000\n"}, 8_000_000),  # a container
        ("0::/a/b\n", {"a/memory.max": "7000000\n", "a/b/memory.max": "max\n"}, 7_000_000),  # a part of a limited whole
        ("4:memory:/\n0::/\n", {"memory/memory.limit_in_bytes": "6000000"}, 6_000_000),
        ("4:cpu,memory:/a:b/c\n", {"memory/a:b/c/memory.limit_in_bytes": "5000000", "a:b/c/memory.max": "1"}, 5_000_000),
        ("4:memory:/docker/1\n", {"memory/memory.limit_in_bytes": "4000000"}, 4_000_000),  # the host's path, in a container
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": str(2**63), "memory/b/memory.limit_in_bytes": "1"}, None),
    ],
)
def test_memory_is_that_of_the_machine_or_of_its_control_groups(tmp_path, monkeypatch, groups, files, expected):
    monkeypatch.setattr(machine, "_ROOT", tmp_path)
    of_machine = machine.memory_limit()
    assert of_machine > 10**8
    wrote(tmp_path, groups, files)
    assert machine.memory_limit() == (expected or of_machine)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # one and a half
        ("0::/\n", {"cpu.max": "5000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 64),  # more than there are
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "200000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 2),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 64),
        ("4:memory:/a\n", {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 64),
    ],
)
def test_processors_are_those_that_a_quota_allows(tmp_path, monkeypatch, groups, files, expected):
    monkeypatch.setattr(machine, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    wrote(tmp_path, groups, files)
    assert machine.cores() == expected
