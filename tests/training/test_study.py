"""The study of a search: a killed search resumes, and no two jobs run the same trials."""

import json
import sys
from types import SimpleNamespace

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError
from keyfold.training.job import train
from tuning import TPE, formula, raw_conf, search


def test_without_the_package_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfError, match=r"train.tune needs the package optuna: ./spark-submit.sh setup tune installs it"):
        train(SimpleNamespace(conf=parse_conf(raw_conf(TPE)), engine=None))


def by_place(tuned):
    return [(t.place, t.params, t.value, t.state) for t in sorted(tuned.trials)]


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("torn", [b"", b'{"op_code": 6, "tri', b"\x00\x00\n"])
@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_a_killed_search_resumes_and_has_the_same_result(home, kind, parallel, torn):
    tune = TPE | {"search": kind, "trials": 15, "parallel": parallel}
    _, whole = search(tune, formula, "whole")
    counted = []

    def dies(models, observe):
        if len(counted) >= 9:
            raise KeyboardInterrupt
        counted.extend(models)
        return formula(models)

    with pytest.raises(KeyboardInterrupt):
        search(tune, dies, "killed")
    with (home / "tuning/killed/journal").open("ab") as journal:
        journal.write(torn)
    (home / "tuning/killed/journal.lock").symlink_to(home / "nowhere")
    again = []
    messages, tuned = search(tune, lambda models, observe: again.extend(models) or formula(models), "killed")
    assert messages[0] == "9 of 15 trials were done before" and len(again) == 6
    assert by_place(tuned) == by_place(whole) and tuned.model == whole.model
    lines = json_lines(home / "tuning/killed/journal")
    assert not [t for t in lines if t["op_code"] == 6 and t["state"] == 3], "running trials are resumed"
    assert sum(t["op_code"] == 4 for t in lines) == 15
    assert search(tune, None, "killed")[1] == tuned, "no trial runs again"


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_jobs_do_not_run_the_same_trials(home):
    def twice(models, observe):
        with pytest.raises(DataError, match="another job runs these trials now"):
            search(TPE | {"trials": 1}, formula)
        return formula(models)

    assert len(search(TPE | {"trials": 1}, twice)[1].trials) == 1
