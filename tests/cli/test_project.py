"""A project folder: its conf is valid, and a folder with files is left alone."""

import pytest
import yaml

from keyfold.cli import preflight
from keyfold.cli.project import write_project
from keyfold.conf.use_case import load_conf
from keyfold.errors import ConfError


def test_a_project_has_a_valid_conf_and_a_ci_file_that_runs_it(tmp_path):
    paths = write_project(tmp_path / "My Shop-2")
    assert [str(path.relative_to(tmp_path / "My Shop-2")) for path in paths] == [
        "conf/my_shop_2.yaml", "requirements.txt", ".github/workflows/keyfold.yml", ".gitignore", "README.md",
    ]  # fmt: skip
    conf = load_conf(paths[0])
    assert conf.name == "my_shop_2"
    preflight.check_inputs(conf, reads_source=True)
    steps = yaml.safe_load(paths[2].read_text())["jobs"]["pipeline"]["steps"]
    assert steps[-1] == {"run": "keyfold pipeline conf/my_shop_2.yaml --set data.source.customers=2000"}
    load_conf(paths[0], ["data.source.customers=2000"])
    assert "keyfold pipeline conf/my_shop_2.yaml" in paths[4].read_text()


def test_only_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    write_project(tmp_path / "empty", "mine")
    for path in (tmp_path / "empty", tmp_path / "empty/README.md"):
        with pytest.raises(ConfError, match="exists and is not an empty folder"):
            write_project(path)
    with pytest.raises(ConfError, match=r"--name must be letters, digits and _, a letter first .got `1x`."):
        write_project(tmp_path / "new", "1x")
    assert not (tmp_path / "new").exists()
