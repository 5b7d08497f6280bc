"""The command `keyfold`, and the entry of the scripts in jobs/."""

import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from keyfold.cli.completion import completion_script
from keyfold.cli.conf_jobs import CONF_JOBS
from keyfold.cli.parser import SCRIPT
from keyfold.cli.runner import run_guarded
from keyfold.cli.tools import TOOLS
from keyfold.engine.spark_setup import submit_options
from keyfold.errors import suggestion

GROUPS = ("Start", "Data", "Features", "Models", "Predictions", "Operations")
COMMANDS = dict(sorted((TOOLS | CONF_JOBS).items(), key=lambda item: GROUPS.index(item[1].group)))
USAGE = """\
usage: keyfold JOB [CONF] [--set path.to.option=value]... [--period P] [-- any spark-submit options]
       keyfold JOB --help                 lists the options of a job
       keyfold completion bash|zsh        prints completion for a shell
       keyfold --version

Batch machine learning from one YAML file, on Spark or in one process.
"""


def main() -> None:
    """Runs `keyfold JOB …` in this Python; exits with the job's code if that is not 0."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(help_text(), end="")
    elif name in ("-V", "--version", "version"):
        from keyfold.version import __version__

        print(f"keyfold {__version__}")
    elif name == "completion":
        _print_completion(words)
    else:
        _run_here(name, words)


def run_script(name: str) -> NoReturn:
    """Runs a job as a script of spark-submit.sh does; its options have been checked by then."""
    options = COMMANDS[name].parser(f"{SCRIPT} {name}").parse_args()
    options.program, options.submit_options = SCRIPT, submit_options()
    run_guarded(lambda: COMMANDS[name].run(options), debug=options.debug, check=lambda: COMMANDS[name].check(options))


def help_text() -> str:
    """The jobs by task, one line each."""
    lines = [USAGE]
    for group in GROUPS:
        jobs = [f"  {name:<12}{command.summary}" for name, command in COMMANDS.items() if command.group == group]
        lines += [group, *jobs, ""]
    return "\n".join(lines)


def _run_here(name: str, words: Sequence[str]) -> None:
    if name not in COMMANDS:
        _refuse(f"there is no job `{name}`{suggestion(name, COMMANDS)}; `keyfold --help` lists them")
    words, of_spark = _split(words)
    if of_spark:
        os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join([*of_spark, "pyspark-shell"])
    options = COMMANDS[name].parser(f"keyfold {name}").parse_args(words)
    options.program, options.submit_options = "keyfold", of_spark

    def work() -> None:
        COMMANDS[name].check(options)
        COMMANDS[name].run(options)

    try:
        run_guarded(work, debug=options.debug)
    except SystemExit as ended:
        if ended.code:  # a wheel task of Databricks treats any SystemExit as a failure
            raise


def _split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The options of the job, and those of spark-submit after `--`."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def _print_completion(words: Sequence[str]) -> None:
    if len(words) != 1 or words[0] not in ("bash", "zsh"):
        _refuse(f"completion needs one of bash, zsh (got {' '.join(words) or 'nothing'})")
    print(completion_script(words[0], COMMANDS), end="")


def _refuse(sentence: str) -> NoReturn:
    print(f"keyfold: {sentence}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
