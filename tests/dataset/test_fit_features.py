"""The job `features`: a spec is fitted once for the same rows, and its sections go to the job's page."""

import pytest

from keyfold.dataset.fit_features import SPECS, fit_features
from keyfold.dataset.leakage_gates import check_gates
from keyfold.errors import ConfError
from labelled_table import keep, run_of, table


def test_a_spec_is_fitted_once_for_the_same_rows(engine, home, capsys):
    keep(engine, table(400))
    first, again = run_of(engine, {}), run_of(engine, {})
    spec, labelled = fit_features(first)
    assert fit_features(again)[0].to_json() == spec.to_json()
    (job,), (repeated,) = first.jobs, again.jobs
    assert (job.status, repeated.status) == ("committed", "done before")
    assert repeated.run_id == job.run_id
    assert f"the spec {spec.digest} was fitted before on the same rows" in capsys.readouterr().err
    assert [(row["digest"], row["run_id"]) for row in first.table(SPECS).frame().rows()] == [(spec.digest, job.run_id)]
    assert (
        [section.title for section in job.sections] == [section.title for section in repeated.sections] == ["Folds", "Features"]
    )
    assert job.counts == {"read": sum(labelled.counts.values())}


def test_engines_fit_the_same_spec_and_gates_say_the_same(spark_engine, embedded, tmp_path, made_state, monkeypatch):
    split = {"by": "person", "stratified": True}
    features = {
        "x": {"numeric": {"input_col": "x", "scale": "standard"}}, "c": {"hashed": {"input_col": "c", "num_buckets": 16}},
        "rate": {"target_encoded": {"input_col": "c"}},
    }  # fmt: skip
    found = []
    for engine in (spark_engine, embedded):
        monkeypatch.setenv("KEYFOLD_HOME", str(made_state(tmp_path / engine.name)))
        keep(engine, table(2000))
        run = run_of(engine, split, features=features)
        spec, rows = fit_features(run)
        sections = [section for section in run.jobs[0].sections if section.title == "Collisions"]
        found.append((spec.to_json(), rows.counts, rows.periods, rows.folds.strata.thresholds, sections, check_gates(run, rows)))
    assert found[0] == found[1]
    assert found[0][1]["train", "yes"] > 100


def test_a_conf_without_features_is_refused(embedded, home):
    run = run_of(embedded, {})
    run.conf = run.conf.model_copy(update={"features": {}})
    with pytest.raises(ConfError, match="features: the conf names none"):
        fit_features(run)
