"""The command `keyfold`: the same jobs and options as the scripts, in this Python."""

import ast
import os
import subprocess
import sys
from pkgutil import resolve_name

import pytest

from keyfold.cli import main
from keyfold.cli.conf_jobs import CONF_JOBS
from keyfold.cli.parser import option_names
from keyfold.version import __version__
from places import ROOT


@pytest.fixture
def keyfold(monkeypatch, capsys):
    """Runs the command in this process: exit code (None: it returned), stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["keyfold", *words])
        monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "")  # which the command sets
        code = None
        try:
            main.main()
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


def test_each_script_has_its_job_and_its_summary():
    scripts = {path.stem: path.read_text() for path in (ROOT / "jobs").glob("*.py")}
    assert {name: ast.get_docstring(ast.parse(text)) for name, text in scripts.items()} == {
        name: command.summary for name, command in main.COMMANDS.items()
    }
    assert all(f'run_script("{name}")' in text and text.count("\n") <= 40 for name, text in scripts.items())


def test_each_conf_job_names_a_function():
    assert all(callable(resolve_name(command.run.args[0])) for command in CONF_JOBS.values())


def test_help_lists_each_job_once_under_its_task(keyfold):
    code, out, err = keyfold("--help")
    assert (code, err) == (None, "") and keyfold()[1] == out
    lines = out.splitlines()
    assert all(lines.count(f"  {name:<12}{command.summary}") == 1 for name, command in main.COMMANDS.items())
    assert [line for line in lines if line in main.GROUPS] == list(main.GROUPS)
    assert max(map(len, lines)) <= 130


def test_each_option_of_each_job_has_a_help_text():
    for name, command in main.COMMANDS.items():
        parser = command.parser(f"keyfold {name}")
        assert [action.dest for action in parser._actions if not action.help and action.dest != "action"] == []
        assert {"--help", "--debug"} <= set(option_names(parser))


def test_version(keyfold):
    assert keyfold("--version") == (None, f"keyfold {__version__}\n", "")


@pytest.mark.parametrize(("words", "sentence"), [
    (["scor"], "there is no job `scor` (did you mean `score`?); `keyfold --help` lists them"),
    (["completion", "fish"], "completion needs one of bash, zsh (got fish)"),
    (["score", "c.yaml", "--strickt"], "--strickt is not an option of this job (did you mean `--strict`?); `keyfold score --help` lists them"),
    (["score", "--driver-memory", "4g"], "--driver-memory is an option of spark-submit; put it after `--`: keyfold score … -- --driver-memory …"),
    (["score"], "the following arguments are required: CONF; `keyfold score --help` lists the options"),
    (["score", "nowhere.yaml"], "there is no conf `nowhere.yaml`"),
])  # fmt: skip
def test_a_wrong_command_is_refused_with_a_sentence(keyfold, words, sentence):
    assert keyfold(*words) == (2, "", f"keyfold: {sentence}\n")


def test_a_job_runs_after_its_check_and_success_raises_no_exit(keyfold, monkeypatch, tmp_path):
    called = []
    command = main.COMMANDS["score"]._replace(
        check=lambda options: called.append("check"), run=lambda options: called.append(options.period)
    )
    monkeypatch.setitem(main.COMMANDS, "score", command)
    assert keyfold("score", "c.yaml", "--period", "2026-10", "--", "--driver-memory", "4 g") == (None, "", "")
    assert called == ["check", "2026-10"]
    assert os.environ["PYSPARK_SUBMIT_ARGS"] == "--driver-memory '4 g' pyspark-shell"


def test_an_error_ends_with_its_code(keyfold, tmp_path):
    (tmp_path / "c.yaml").write_text("name: mine\ndata: {source: nowhere.csv, key: [id]}\n")
    code, out, err = keyfold("ingest", str(tmp_path / "c.yaml"))
    assert (code, out) == (3, "") and err.startswith("keyfold: data.source: there is no file `nowhere.csv`")


def test_the_wheel_installs_the_command():
    code = """
import setuptools
setuptools.setup = lambda **options: print(options["entry_points"])
exec(open("setup.py").read())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    (entry,) = ast.literal_eval(done.stdout)["console_scripts"]
    name, _, place = entry.partition("=")
    assert name == "keyfold" and resolve_name(place) is main.main
