"""Completion in bash, as a shell asks for it; the script for zsh names the same jobs and options."""

import subprocess

import pytest

from keyfold.cli.completion import completion_script
from keyfold.cli.main import COMMANDS

SCRIPT = completion_script("bash", COMMANDS)


def completed(*words, folder):
    """What bash offers for the last of the words after `keyfold`."""
    line = " ".join(f"'{word}'" for word in ("keyfold", *words))
    code = f'{SCRIPT}\nCOMP_WORDS=({line})\nCOMP_CWORD={len(words)}\n_keyfold\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.split()


def test_bash_completes_jobs_options_and_files(tmp_path):
    (tmp_path / "churn.yaml").write_text("")
    assert completed("sc", folder=tmp_path) == ["score", "schema"][::-1]
    assert completed("", folder=tmp_path) == [*COMMANDS, "completion"]
    assert completed("score", "--", folder=tmp_path) == ["--help", "--debug", "--set", "--period", "--engine", "--strict"]
    assert completed("score", "--st", folder=tmp_path) == ["--strict"]
    assert completed("spec", "diff", "--", folder=tmp_path) == ["--help", "--debug", "--rows", "--on"]
    assert completed("score", "ch", folder=tmp_path) == ["churn.yaml"]


@pytest.mark.parametrize("name", COMMANDS)
def test_zsh_has_a_description_for_each_job(name):
    script = completion_script("zsh", COMMANDS)
    summary = COMMANDS[name].summary.replace("'", "'\\''")
    assert f"      '{name}:{summary}'\n" in script and f"      {name}) options=(--help --debug" in script
