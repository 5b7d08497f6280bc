"""Exit codes and sentences of jobs and checks."""

import pytest

from keyfold.cli import runner
from keyfold.errors import ConfError, DataError, PromiseError


def fail(error):
    def work():
        raise error

    return work


@pytest.fixture
def ended(capsys):
    """Runs and returns the exit code and what was printed."""

    def ended(work, check=lambda: None, *, debug=False):
        with pytest.raises(SystemExit) as done:
            runner.run_guarded(work, debug=debug, check=check)
        said = capsys.readouterr()
        return done.value.code, said.out + said.err

    return ended


@pytest.mark.parametrize(("error", "code"), [(ConfError("x"), 2), (DataError("x"), 3), (PromiseError("x"), 4)])
def test_each_kind_of_error_has_its_code_and_no_stack_trace(ended, error, code):
    assert ended(fail(error)) == (code, "keyfold: x\n")


def test_other_errors_are_1_and_success_is_0(ended):
    code, err = ended(fail(KeyError("x")))
    assert code == 1 and err.startswith("keyfold: unexpected error: KeyError: ") and "Traceback" not in err
    assert ended(lambda: None) == (0, "")
    assert "Traceback" in ended(fail(ConfError("x")), debug=True)[1]


def test_passwords_are_not_printed(ended):
    for debug in (False, True):
        code, err = ended(fail(RuntimeError("http://me:secret@host failed")), debug=debug)
        assert code == 1 and "host failed" in err and "secret" not in err


def test_a_check_runs_in_place_of_the_work_and_leaves_unknown_errors_to_it(ended, monkeypatch):
    monkeypatch.setattr(runner, "only_check", True)
    monkeypatch.setattr(runner, "hand_over", fail(AssertionError("handed over")))
    work = fail(AssertionError("work"))
    assert ended(work) == ended(work, fail(KeyError("x"))) == (runner.PASSED, "")
    assert ended(work, lambda: "a reason") == (runner.PASSED, "a reason")
    assert ended(work, fail(ConfError("x"))) == (2, "keyfold: x\n")


def test_a_job_that_needs_spark_is_handed_over_after_its_check(ended, monkeypatch):
    def hand_over(reason):
        raise SystemExit(reason)

    monkeypatch.setattr(runner, "hand_over", hand_over)
    work = fail(DataError("work"))
    assert ended(work, lambda: "images") == ("images", "")
    assert ended(work, lambda: None) == (3, "keyfold: work\n")
    assert ended(work, fail(ConfError("x"))) == (2, "keyfold: x\n")
