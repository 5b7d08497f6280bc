import pytest

from keyfold.core.packages import installed_release, require_package
from keyfold.errors import ConfError


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    require_package("train.tune", "numpy", "tune installs it")
    with pytest.raises(ConfError, match=r"^train.tune needs the package nopackage: ./spark-submit.sh setup tune installs it$"):
        require_package("train.tune", "nopackage", "tune installs it")


def test_the_release_of_a_missing_package_is_none():
    assert installed_release("numpy").startswith("2.")
    assert installed_release("nopackage") is None
