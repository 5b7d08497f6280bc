"""spark-submit.sh, with stubs in place of Java, pip and Spark."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from places import ROOT

SET_UP = (ROOT / ".venv" / "keyfold-stamp").is_file()

JAVA = """#!/bin/sh
echo 'openjdk version "17.0.1" 2024-01-01' >&2
"""
# A Python that logs its commands instead of running them, and passes all others to the real one.
PYTHON = """#!/bin/sh
log() {{ echo "$1" >>"{log}"; case "$1" in "${{STUB_STOP:-nowhere}}"*) sleep 60 ;; esac; }}
case "$*" in
  *"sys.version_info"*) echo "${{STUB_VERSION:-3.11}}" ;;
  *"import venv"*) exit "${{STUB_VENV:-0}}" ;;
  *"-m venv"*) log venv; for folder; do :; done; mkdir -p "$folder/bin" "$folder/lib/python3.11/site-packages/pyspark/bin"
    cp "$0" "$folder/bin/python"; cp "{spark_submit}" "$folder/lib/python3.11/site-packages/pyspark/bin/spark-submit" ;;
  *"-m pip wheel"*) log wheel; for word; do [ "$before" != -w ] || : >"$word/horovod-0.28.1-some.whl"; before="$word"; done ;;
  *"-m pip"*) log "pip $*"; sleep "${{STUB_SECONDS:-0}}"
    printf '%s\n' 'Collecting x' '  Downloading mlflow-3.whl (9.1 MB)' '  Downloading x.whl (9 kB)' 'Installing collected packages: a, b, c' ;;
  *"-m keyfold.cli.preflight --check"*) log check; printf %s "${{STUB_REASON:-}}"; exit "${{STUB_CHECK:-99}}" ;;
  *"-m keyfold.cli.preflight"*) shift 3
    [ -z "${{STUB_RUN:-}}" ] || {{ printf '%s\\n' "$@"; exit "$STUB_RUN"; }}
    script="$1"; shift; exec env KEYFOLD_REASON="${{STUB_REASON:-}}" "$script" --checked "$@" ;;
  *write_delta_jars*) log jars; : >"{jar}"; echo "{jar}" >"$3" ;;
  *) exec "{real}" "$@" ;;
esac
"""
UV = """#!/bin/sh
[ -n "${{STUB_UV:-}}" ] || exit 1
[ "$1" != --version ] || exit 0
echo "uv $*" >>"{log}"; printf '%s\\n' 'Downloading scipy (33.6MiB)' 'Installed 2 packages in 9ms' >&2
exit "${{STUB_FAILS:-0}}"
"""
SPARK_SUBMIT = """#!/bin/sh
case "$SPARK_SUBMIT_OPTS" in
  *ArchiveClassesAtExit*) echo rehearsal >>"{log}"; [ "${{STUB_STOP:-}}" != rehearsal ] || sleep 60; exit "${{STUB_REHEARSAL:-0}}" ;;
esac
printf '%s\\n' "$@" "SPARK_LOCAL_IP=$SPARK_LOCAL_IP" "PYSPARK_PYTHON=$PYSPARK_PYTHON" "KEYFOLD_HOME=$KEYFOLD_HOME"
"""


class Project:
    """A copy of the files that the script needs, in a folder with a blank in its name."""

    def __init__(self, folder: Path):
        self.root = folder / "a project"
        self.log, self.jar = folder / "log", folder / "delta.jar"
        for name in ("spark-submit.sh", "setup.py", "conf/constraints.txt", "conf/spark-defaults.conf"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        (self.root / "jobs").mkdir()
        (self.root / "jobs" / "score.py").write_text('"""Scores."""\n')
        self.bin = folder / "bin"
        self._program("java", JAVA)
        spark_submit = self._program("spark-submit", SPARK_SUBMIT.format(log=self.log))
        self._program("uv", UV.format(log=self.log))
        stub = PYTHON.format(log=self.log, jar=self.jar, real=sys.executable, spark_submit=spark_submit)
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("SPARK", "PYSPARK", "KEYFOLD", "MASTER"))
        }
        self.environment = inherited | {"JAVA_HOME": str(folder), "KEYFOLD_PYTHON": str(self._program("python", stub))}
        self.environment["PATH"] = f"{self.bin}:{os.environ['PATH']}"

    def _program(self, name: str, text: str) -> Path:
        self.bin.mkdir(exist_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)
        return self.bin / name

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(self.root / "spark-submit.sh"), *words],
            env=self.environment | environment,
            cwd=self.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **environment: str) -> SimpleNamespace:
        process = self.start(*words, **environment)
        out, err = process.communicate(timeout=60)
        return SimpleNamespace(code=process.returncode, out=out, err=err)

    def killed(self, where: str, *words: str) -> None:
        """Starts the script, and kills it with its children once the log contains `where`."""
        process = self.start(*words, STUB_STOP=where)
        deadline = time.monotonic() + 30
        while not (self.log.exists() and where in self.log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)

    @property
    def environment_folder(self) -> Path:
        return (self.root / ".venv").resolve()

    @property
    def folders(self) -> list[Path]:
        return [path for path in self.root.glob(".venv-*") if path.is_dir()]

    def logged(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.split()[0] for line in lines]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_usage_lists_the_jobs_and_sets_nothing_up(project):
    result = project.run("--help")
    assert result.code == 0
    assert "score      Scores." in result.out
    assert project.run().out == project.run("score", "--help").out == result.out
    assert not project.logged()


def test_an_unknown_job_names_the_jobs(project):
    result = project.run("scor")
    assert (result.code, result.out) == (2, "")
    assert "there is no job `scor` (did you mean `score`?); the jobs are: score" in result.err
    assert "there is no job `train`; the jobs" in project.run("train").err
    assert not project.logged()


def test_an_unknown_extra_names_the_extras(project):
    result = project.run("setup", "tourch")
    assert result.code == 2
    assert (
        result.err
        == "keyfold: there is no extra `tourch` (did you mean `torch`?); there are: spark local torch horovod tune imbalance dev\n"
    )
    assert not project.logged()


def test_the_version_is_printed_without_a_set_up(project):
    assert project.run("--version").out == "keyfold 0.2.0\n"
    assert not project.logged()


def test_a_failed_check_starts_no_spark(project):
    (project.root / "c.yaml").write_text("")
    conf = str(project.root / "c.yaml")
    assert project.run("score", conf).code == 0
    for code in (0, 2, 3):
        result = project.run("score", conf, "--period", "x", "--", "--name", "a b", STUB_RUN=str(code))
        words = [f"{project.root}/spark-submit.sh", f"{project.root}/jobs/score.py", conf, "--period", "x", "--", "--name", "a b"]
        assert (result.code, result.out.splitlines(), result.err) == (code, words, "")
    cluster = project.run("score", conf, "--", "--deploy-mode", "cluster", STUB_RUN="2")
    assert cluster.code == 0 and "SPARK_LOCAL_IP" in cluster.out, "the driver may have other files"
    (project.root / "own.py").write_text("")
    assert "SPARK_LOCAL_IP" in project.run(str(project.root / "own.py"), STUB_RUN="2").out, "nor is a user's file checked"


def test_a_job_that_needs_no_spark_needs_no_java(project):
    given = {"STUB_RUN": "0", "JAVA_HOME": "/nowhere"}
    result = project.run("score", "--name", **given)
    assert (result.code, result.out.splitlines()[-2:]) == (0, ["--name", "--"])
    assert "setting up" in result.err and "about a minute" in result.err and "Delta" not in result.err
    log = project.log.read_text()
    assert "pip -m pip install" in log and "--only-binary :all: " in log and log.endswith(" -e .\n"), (
        "from wheels, without extras"
    )
    assert project.logged() == ["venv", "pip"]
    assert (project.run("score", **given).err, project.logged()) == ("", [])
    refused = project.run("score", JAVA_HOME="/nowhere", STUB_REASON="there are images")
    assert (refused.code, refused.out, project.logged()) == (2, "", [])
    assert refused.err.startswith("keyfold: this needs Spark (there are images): Java 17 or 21 is needed to run Spark (")
    assert project.run("score").code == 0
    assert project.logged() == ["pip", "jars", "rehearsal"], "Spark is added once a job needs it"
    assert (project.run("score").err, project.logged()) == ("", [])
    assert project.run("setup", JAVA_HOME="/nowhere").code == 0
    assert project.logged() == []


def test_uv_installs_if_it_is_there(project):
    result = project.run("score", STUB_RUN="0", STUB_UV="yes")
    assert result.code == 0
    assert "keyfold:   downloads scipy (33.6MiB)\nkeyfold:   installs 2 packages in 9ms\n" in result.err
    log = project.log.read_text()
    assert "uv pip install --python" in log and project.logged() == ["venv", "uv"]
    failed = project.run("setup", "tune", STUB_UV="yes", STUB_FAILS="1")
    assert failed.code == 0 and "keyfold:   uv could not install them; pip tries\n" in failed.err
    assert project.logged() == ["uv", "pip"], "uv does not know pip's index"


def test_a_faulty_conf_is_told_before_an_extra_is_installed(project):
    (project.root / "c.yaml").write_text("train: {tune: {search: tpe}}\n")
    project.run("setup")
    project.logged()
    assert project.run("score", str(project.root / "c.yaml"), STUB_CHECK="2").code == 2
    assert project.logged() == ["check"]
    assert project.run("score", str(project.root / "c.yaml"), STUB_RUN="0").code == 0
    assert project.logged() == ["check", "pip"]


def test_a_missing_java_is_told_before_torch_is_installed(project):
    (project.root / "c.yaml").write_text("train: {model: {torch: {}}}\n")
    refused = project.run("score", str(project.root / "c.yaml"), JAVA_HOME="/nowhere", STUB_REASON="there is a network")
    assert (refused.code, refused.out) == (2, "")
    assert "keyfold: this needs Spark (there is a network): Java 17 or 21 is needed to run Spark (" in refused.err
    assert project.logged() == ["venv", "pip", "check"]
    told = project.run("score", str(project.root / "c.yaml"), STUB_CHECK="0", STUB_REASON="usage: …")
    assert (told.code, told.out) == (0, "usage: …\n")


def test_a_missing_conf_is_refused_before_the_set_up(project):
    result = project.run("score", "nowhere.yaml")
    assert (result.code, result.err) == (2, "keyfold: there is no conf `nowhere.yaml`\n")
    assert not project.logged()


@pytest.mark.parametrize(("wrong", "words"), [
    ({"JAVA_HOME": "/nowhere"}, ("Java 17 or 21", "apt-get install openjdk-17", "dnf install java-21", "brew install openjdk@21")),
    ({"STUB_VENV": "1"}, ("Python 3.11 or 3.12", "3.11", "apt-get install python3.11")),
    ({"STUB_VERSION": "3.10"}, ("Python 3.11 or 3.12", "3.10", "apt-get install python3.11", "dnf install python3.12", "brew install python")),
    ({"KEYFOLD_PYTHON": "/nowhere"}, ("Python 3.11 or 3.12", "/nowhere: not found", "KEYFOLD_PYTHON")),
])  # fmt: skip
def test_a_missing_requirement_is_named_with_the_command_that_installs_it(project, wrong, words):
    result = project.run("setup", "spark", **wrong)
    assert (result.code, result.out) == (2, "")
    for word in words:
        assert word in result.err
    assert not project.logged()


def test_an_older_java_is_refused(project):
    (project.bin / "java").write_text(JAVA.replace("17.0.1", "11.0.2"))
    result = project.run("setup", "spark")
    assert result.code == 2
    assert 'openjdk version "11.0.2"' in result.err


def test_set_up_runs_once_and_prints_its_python(project):
    result = project.run("setup", "spark")
    assert (result.code, result.out) == (0, f"{project.root}/.venv/bin/python\n")
    assert "once, with Spark: about 2 minutes" in result.err
    for step in (
        "a Python env",
        "Python packages",
        "  downloads mlflow-3.whl (9.1 MB)",
        "  installs 3 packages",
        "Delta's jars",
        "a class-data archive",
    ):
        assert f"keyfold: {step}" in result.err
    assert project.logged() == ["venv", "pip", "jars", "rehearsal"]
    for extra in ("", "spark", "local"):
        assert project.run("setup", *extra.split()).err == ""
    assert project.logged() == []


def test_two_set_ups_at_once_do_not_conflict(project):
    both = [project.start("setup", "spark", STUB_SECONDS="1") for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    assert project.logged() == ["venv", "pip", "jars", "rehearsal"]


@pytest.mark.parametrize("where", ["venv", "pip", "jars", "rehearsal"])
def test_a_killed_set_up_leaves_the_former_environment(project, where):
    project.killed(where, "setup", "spark")
    assert not (project.root / ".venv").exists()
    project.logged()
    assert project.run("setup", "spark").code == 0
    assert project.logged() == ["venv", "pip", "jars", "rehearsal"]
    former = project.environment_folder
    with (project.root / "setup.py").open("a") as file:
        file.write("\n")
    project.killed(where, "setup", "spark")
    assert project.environment_folder == former
    assert (former / "keyfold-stamp").is_file() and (former / "spark.jsa.for").is_file()
    assert subprocess.run([project.root / ".venv/bin/python", "-c", "print(1)"], capture_output=True, text=True).stdout == "1\n"
    project.logged()
    assert project.run("setup", "spark").code == 0
    assert project.logged() == ["venv", "pip", "jars", "rehearsal"]
    assert project.environment_folder != former
    assert len(project.folders) == 2, "the folder of the killed set-up is removed; a job may still use the former one"


def test_a_killed_set_up_of_an_extra_leaves_the_former_environment(project):
    project.run("setup", "spark")
    former, stamp = project.environment_folder, (project.root / ".venv/keyfold-stamp").read_text()
    packages = former / "lib/python3.11/site-packages"
    for name, files in {"whole-1.dist-info": ["METADATA", "RECORD"], "half-1.dist-info": ["METADATA"]}.items():
        (packages / name).mkdir()
        for file in files:
            (packages / name / file).write_text("")
    project.killed("pip", "setup", "dev")
    assert (project.environment_folder, (former / "keyfold-stamp").read_text()) == (former, stamp)
    project.logged()
    assert project.run("score").code == 0
    assert project.logged() == [], "the former set-up is complete"
    assert project.run("setup", "dev").code == 0
    log = project.log.read_text()
    assert " pytest>=9 " in log and " pyspark[connect]==4.1.4" in log and " -e " not in log, (
        "keyfold itself is not installed again"
    )
    assert (project.environment_folder, project.logged()) == (former, ["pip"])
    assert [path.name for path in packages.glob("*.dist-info")] == ["whole-1.dist-info"], "pip would treat the half as installed"


def test_the_folder_of_an_earlier_release_is_replaced(project):
    (project.root / ".venv/bin").mkdir(parents=True)
    assert project.run("setup", "spark").code == 0
    assert (project.root / ".venv").is_symlink()
    assert project.run("setup", "spark").err == ""


def test_only_steps_with_changed_inputs_run_again(project):
    project.run("setup", "spark")
    project.logged()
    project.run("setup", "dev")
    assert project.logged() == ["pip"], "an extra is added in place"
    project.run("setup", "spark")
    assert project.logged() == [], "and is kept"
    project.jar.unlink()
    project.run("setup", "spark")
    assert project.logged() == ["jars", "rehearsal"], "an emptied cache"
    (project.bin / "java").write_text(JAVA.replace("17.0.1", "21.0.1"))
    project.run("setup", "spark")
    assert project.logged() == ["rehearsal"], "another Java"
    with (project.root / "setup.py").open("a") as file:
        file.write("\n")
    project.run("setup", "spark")
    assert project.logged() == ["venv", "pip", "jars", "rehearsal"], "another release of a package"
    assert (project.root / ".venv" / "keyfold-stamp").read_text().splitlines()[1] == "dev spark", "with all former extras"
    project.run("setup", "spark", STUB_VERSION="3.12")
    assert project.logged() == ["venv", "pip", "jars", "rehearsal"], "another Python"


def test_a_jvm_that_creates_no_archive_is_tried_once(project):
    result = project.run("setup", "spark", STUB_REHEARSAL="1")
    assert result.code == 0
    assert "no class-data archive" in result.err
    assert project.run("score").err == ""
    assert project.logged() == ["venv", "pip", "jars", "rehearsal"]
    assert "SharedArchiveFile" not in (project.root / ".venv" / "java-options").read_text()


def test_a_conf_with_a_network_has_horovod_built_once(project, tmp_path):
    network, plain = (project.root / "conf" / name for name in ("network.yaml", "plain.yaml"))
    network.write_text("train:\n  ranks: 2\n  model:\n    torch: {}\n")
    one = project.root / "conf" / "one.yaml"
    one.write_text("train: {ranks: 1, model: {torch: {}}}\n")
    plain.write_text("# torch: {}\ntrain: {model: {sklearn: {}}}\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    for path in Path("/usr/bin").iterdir():
        if path.name not in ("g++", "cmake", "uv"):
            (tools / path.name).symlink_to(path)
    given = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": str(tools)}
    assert project.run("score", str(plain), **given).code == 0
    assert "wheel" not in project.logged()
    assert project.run("score", str(one), **given).code == 0
    assert (project.root / ".venv" / "keyfold-stamp").read_text().splitlines()[1].split() == ["spark", "torch"]
    assert "wheel" not in project.logged()
    refused = project.run("score", str(network), **given)
    assert (
        refused.code == 2 and "these tools are missing: g++ cmake." in refused.err and "apt-get install g++ cmake" in refused.err
    )
    assert project.logged() == ["check"]
    for name in ("g++", "cmake", "make"):
        (tools / name).unlink(missing_ok=True)
        (tools / name).symlink_to("/bin/true")
    assert project.run("score", str(network), **given).code == 0
    assert project.logged().count("wheel") == 1
    assert project.run("score", str(network), **given).code == 0
    assert project.logged() == []
    (project.root / ".venv").unlink()
    assert project.run("score", str(network), **given).code == 0
    logged = project.logged()
    assert "wheel" not in logged and "pip" in logged
    # Without a build no compiler is needed.
    shutil.rmtree(tmp_path / "cache")
    (tools / "g++").unlink()
    (project.root / ".venv" / "spark.jsa.for").unlink()
    assert project.run("score", str(network), **given).code == 0


def test_a_conf_with_trials_has_optuna_installed(project):
    given = {
        "tuned": "train: {tune: {search: tpe}}\n",
        "both": "train:\n  tune: {}\n  model: {torch: {}}\n",
        "smote": "report: {rebalance: [{smote: {neighbours: 5}}]}\n",
        "plain": "# tune:\nfortune: 1\n",
    }
    installed = ["spark"]
    for name, extras in {"plain": [], "tuned": ["tune"], "both": ["torch"], "smote": ["imbalance"]}.items():
        (project.root / f"{name}.yaml").write_text(given[name])
        assert project.run("score", str(project.root / f"{name}.yaml")).code == 0
        installed += extras
        assert (project.root / ".venv" / "keyfold-stamp").read_text().splitlines()[1].split() == sorted(installed)


def test_a_moved_project_is_set_up_again(project):
    project.run("setup", "spark")
    project.logged()
    project.root = project.root.rename(project.root.with_name("moved"))
    assert project.run("setup", "spark").code == 0
    assert project.logged() == ["venv", "pip", "jars", "rehearsal"]


def test_options_before_the_dashes_go_to_the_job_and_the_others_to_spark_submit(project):
    (project.root.parent / "my conf.yaml").write_text("")
    result = project.run("score", "my conf.yaml", "--set", "a.b=1 2", "--", "--name", "mine")
    lines = result.out.splitlines()
    assert lines[:2] == ["--properties-file", f"{project.root}/conf/spark-defaults.conf"]
    assert lines[2:10] == [
        "--name", "mine", "--jars", str(project.jar), f"{project.root}/jobs/score.py", "my conf.yaml", "--set", "a.b=1 2",
    ]  # fmt: skip
    assert lines[10:] == [
        "SPARK_LOCAL_IP=127.0.0.1",
        f"PYSPARK_PYTHON={project.environment_folder}/bin/python",
        f"KEYFOLD_HOME={project.root}/.keyfold",
    ]


@pytest.mark.parametrize(("options", "present", "absent"), [
    (("--jars", "mine.jar"), "{jar},mine.jar", ""),
    (("--conf", "spark.jars=mine.jar"), "{jar},mine.jar", ""),
    (("--packages", "io.delta:delta-spark_4.1_2.13:4.4.0"), "", "{jar}"),
    (("--properties-file", "their.conf"), "{jar},their.jar", "spark-defaults.conf"),
    (("--master", "yarn"), "SPARK_LOCAL_IP=\n", "127.0.0.1"),
    (("--conf", "spark.master=spark://host:7077"), "SPARK_LOCAL_IP=\n", "127.0.0.1"),
    (("--master=local[4]",), "127.0.0.1", ""),
    (("--master", "yarn", "--deploy-mode", "cluster"), "PYSPARK_PYTHON=\n", ""),
])  # fmt: skip
def test_options_of_spark_submit_win(project, options, present, absent):
    (project.root.parent / "their.conf").write_text("# theirs\nspark.jars   their.jar\n")
    result = project.run("score", "--", *options)
    assert result.code == 0, result.err
    assert present.format(jar=project.jar) in result.out
    assert not absent or absent.format(jar=project.jar) not in result.out


def test_environment_variables_win(project):
    result = project.run("score", SPARK_LOCAL_IP="10.0.0.1", PYSPARK_PYTHON="mine", KEYFOLD_HOME="state")
    assert result.out.splitlines()[-3:] == [
        "SPARK_LOCAL_IP=10.0.0.1",
        "PYSPARK_PYTHON=mine",
        f"KEYFOLD_HOME={project.root.parent}/state",
    ]


def test_a_spark_home_of_another_release_is_not_used(project, tmp_path):
    result = project.run("score", SPARK_HOME=str(tmp_path))
    assert result.code == 0
    assert "not Spark 4.1" in result.err


@pytest.mark.skipif(not SET_UP, reason="needs ./spark-submit.sh setup")
@pytest.mark.parametrize("code", [0, 3])
def test_the_real_spark_submit_keeps_exit_code_and_streams_apart(tmp_path, code):
    job = tmp_path / "job.py"
    job.write_text(f"import sys\nprint('result')\nprint('progress', file=sys.stderr)\nsys.exit({code})\n")
    done = subprocess.run([ROOT / "spark-submit.sh", job], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "result\n")
    assert "progress" in done.stderr
    assert "Exception" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["job.py"]


@pytest.mark.skipif(not SET_UP, reason="needs ./spark-submit.sh setup")
def test_the_real_spark_submit_refuses_a_conflicting_time_zone(tmp_path):
    job = tmp_path / "job.py"
    job.write_text(
        "from keyfold.cli.runner import run_guarded\nfrom keyfold.engine.session import session\nrun_guarded(session, debug=False)\n"
    )
    zone = "spark.sql.session.timeZone=Europe/Paris"
    done = subprocess.run([ROOT / "spark-submit.sh", job, "--", "--conf", zone], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "`spark.sql.session.timeZone` must be UTC, because results depend on it (spark-submit was given Europe/Paris)"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
