"""The job `features`: a spec is fitted once for the same rows, and its sections go to the job's page."""

import pytest

from keyfold.dataset.fit_features import SPECS, fit_features
from keyfold.errors import ConfError
from labelled_table import keep, rows, run_of


def test_a_spec_is_fitted_once_for_the_same_rows(spark, home, capsys):
    keep(spark, rows(spark, 400))
    first, again = run_of(spark, {}), run_of(spark, {})
    spec, labelled = fit_features(first)
    assert fit_features(again)[0].to_json() == spec.to_json()
    (job,), (repeated,) = first.jobs, again.jobs
    assert (job.status, repeated.status) == ("committed", "done before")
    assert repeated.run_id == job.run_id
    assert f"the spec {spec.digest} was fitted before on the same rows" in capsys.readouterr().err
    assert [(row.digest, row.run_id) for row in first.table(SPECS).read().collect()] == [(spec.digest, job.run_id)]
    assert (
        [section.title for section in job.sections] == [section.title for section in repeated.sections] == ["Folds", "Features"]
    )
    assert job.counts == {"read": sum(labelled.counts.values())}


def test_a_conf_without_features_is_refused(spark):
    run = run_of(spark, {})
    run.conf = run.conf.model_copy(update={"features": {}})
    with pytest.raises(ConfError, match="features: the conf names none"):
        fit_features(run)
