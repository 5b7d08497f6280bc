"""The section `start`: files and registered networks; tensors are tested in tests/horovod."""

import pytest

from keyfold.errors import ConfError, DataError
from keyfold.models.torch import Start
from keyfold.training.warm_start import find_start


def test_a_file_is_pinned_by_its_bytes(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"1")
    first = find_start(Start(file=str(tmp_path / "a.pth")))
    (tmp_path / "a.pth").write_bytes(b"2")
    second = find_start(Start(file=str(tmp_path / "a.pth")))
    assert first.name == second.name == str(tmp_path / "a.pth")
    assert first.digest != second.digest


def test_a_missing_start_is_an_error(home):
    with pytest.raises(ConfError, match=r"start.file: there is no file `none.pth`"):
        find_start(Start(file="none.pth"))
    with pytest.raises(DataError, match="no version of `none` is registered"):
        find_start(Start(model="none"))
