"""Spill folders: a process has its own while it lives; what killed processes left is removed; a full disk is told, and costs no row."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from keyfold.cli.error_messages import as_keyfold_error
from keyfold.engine import engine as engines
from keyfold.engine.columns import col, lit
from keyfold.engine.engine import EmbeddedEngine
from keyfold.engine.spill import SpillFolder, spill_parent
from keyfold.engine.tables import Tables
from keyfold.errors import DataError

SPILLS = """
import sys, time
from pathlib import Path
from keyfold.engine.spill import SpillFolder

folder = SpillFolder(Path(sys.argv[1]))
(folder.path / "rows").write_bytes(b"rows")
print(folder.path, flush=True)
sys.stdin.readline()
"""


def spilling(parent):
    """A process with a spill folder, and that folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, "-c", SPILLS, str(parent)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def test_folders_of_killed_processes_are_removed_and_those_of_others_stay(tmp_path):
    (killed, left), (living, used) = spilling(tmp_path), spilling(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (tmp_path / "keyfold-of-a-user").mkdir()
    assert (left / "rows").exists() and used.parent == left.parent == tmp_path
    own = SpillFolder(tmp_path)
    assert {*tmp_path.iterdir()} == {own.path, used, tmp_path / "keyfold-of-a-user"}
    assert (used / "rows").exists()
    living.communicate("end\n")
    path = own.path
    del own
    assert not path.exists() and not used.exists()


def test_the_variable_precedes_the_state_folder_and_that_the_one_of_the_system(tmp_path, monkeypatch):
    monkeypatch.delenv("KEYFOLD_SPILL", raising=False)
    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "system"))
    assert spill_parent() == tmp_path / "system"
    (tmp_path / "state").mkdir()
    assert spill_parent() == tmp_path / "state" / "spill"
    monkeypatch.setenv("KEYFOLD_SPILL", str(tmp_path / "named"))
    engine = EmbeddedEngine()
    assert engine.database.spill.path.parent == tmp_path / "named"


@pytest.fixture(params=["full", "without a disk"])
def small(request, tmp_path, monkeypatch):
    """An engine with 24 MB of memory and a spill folder with room for little, or for nothing."""
    monkeypatch.setattr(engines, "memory_limit", lambda: 40 << 20)
    monkeypatch.setenv("KEYFOLD_SPILL", str(tmp_path))
    engine = EmbeddedEngine()
    engine.database.cursor().execute(f"SET GLOBAL max_temp_directory_size = '{8 if request.param == 'full' else 0} MB'")
    return engine


def test_rows_that_do_not_fit_on_the_disk_leave_the_table_as_it_was(small, tmp_path):
    table = Tables(small, tmp_path).table("a.b")
    rows = small.frame(pa.table({"period": ["1", "2"], "n": [1, 2]}))
    table.replace(rows, "period", {"1": 1, "2": 1})
    many = pa.table({"n": np.random.default_rng(1).integers(0, 2**62, 3_000_000)})
    large = small.frame(many).sort(["n"]).with_columns({"period": lit("1")})
    with pytest.raises(Exception) as raised:
        table.replace(large, "period", {"1": many.num_rows})
    known = as_keyfold_error(raised.value)
    assert isinstance(known, DataError), raised.value
    assert str(known).startswith("sorts and joins need more room than the disk has")
    assert table.frame().where(col("period") == lit("1")).rows() == [{"period": "1", "n": 1}]
    assert [commit.version for commit in table.history()] == [0]
