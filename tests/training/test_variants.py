"""Variants of a model are trained and compared on the same rows; one that cannot be trained is kept, with the reason."""

import numpy as np
import pytest

import keyfold as kf
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import FOLD
from keyfold.errors import DataError
from keyfold.evaluation.metrics import METRICS
from keyfold.runtime.run import Run
from keyfold.tracking import registry
from keyfold.training.job import train
from keyfold.training.variants import Variant, compare_variants, logged_name, train_variant
from rare_positives import LABEL, drawn, section

MEASURES = {name: METRICS[name].measure for name in ("pr_auc", "brier")}


@pytest.fixture(scope="module")
def rows():
    drawn_rows, _ = drawn(9_000, 1)
    return drawn_rows._replace(table=drawn_rows.table.append_column(FOLD, [np.repeat(["train", "test"], [6_000, 3_000])]))


def variant(rows, name="none", way=None, **label):
    conf = section(way, {"column": "y", "positive": "yes"} | label)
    return Variant(name, conf.label, conf.train, rows.spec, LABEL)


def compare(reference, others, rows):
    return compare_variants(train_variant(reference, rows), others, rows, lambda _: MEASURES)


def test_differences_are_from_the_reference(rows):
    none, weighted = compare(variant(rows), [variant(rows, "weighted", {"weights": "balanced", "correct": False})], rows)
    assert none.name == "none" and not none.difference and none.seconds > 0
    assert weighted.difference["brier"].value == pytest.approx(weighted.metrics["brier"].value - none.metrics["brier"].value)
    assert weighted.difference["brier"].low > 0, "uncorrected probabilities are worse"
    assert {*weighted.measured} == {"pr_auc", "brier", "pr_auc_difference", "brier_difference"}
    first, again = (train_variant(variant(rows), rows).predicted.numbers for _ in range(2))
    assert (first == again).all()


def test_a_variant_that_cannot_be_trained_has_a_reason(rows):
    wrong = variant(rows, "none left", {"majority": 1e-6})
    compared = compare(variant(rows), [wrong], rows)[1]
    assert "leaves none; take a larger share" in compared.failure and not compared.measured and compared.seconds is None
    with pytest.raises(DataError, match="leaves none"):
        compare(wrong, [], rows)


def test_what_a_variant_needs_of_the_validation_fold_is_fitted_on_it(rows):
    of_validation = rows._replace(
        table=rows.table.set_column(
            rows.table.column_names.index(FOLD), FOLD, [np.repeat(["train", "validation", "test"], 3_000)]
        )
    )
    trained = train_variant(variant(of_validation, threshold={"recall_at_least": 0.9}, calibrate="isotonic"), of_validation)
    numbers = trained.predicted.numbers
    assert len(numbers) == 3_000 and len(np.unique(numbers)) < 100 and trained.predicted.label.threshold < 0.1
    without = train_variant(variant(rows, threshold=0.25), rows)
    assert without.predicted.label.threshold == 0.25, "without such rows nothing is fitted on them"


def test_names_for_mlflow():
    assert logged_name("test_rebalanced", "weights a 2, b 1") == "test_rebalanced_weights a 2_2c_ b 1"
    assert len(logged_name("test", "x" * 300)) < 100


# --- the job ---


def table_of(n=8_000):
    rows, _ = drawn(n, 3)
    labels = [["yes" if positive else "no" for positive in rows.y]]
    return rows.table.select(["a", "b"]).append_column("id", [list(range(n))]).append_column("y", labels)


def raw_conf(rebalance, report=None):
    return section(rebalance).model_dump(mode="json", exclude_defaults=True) | {
        "split": {"share": {"train": 0.5, "validation": 0.1, "test": 0.4}},
        "label": {"column": "y", "positive": "yes"},
        "report": report or {},
    }


@pytest.fixture
def trained(embedded, home):
    def train_it(rebalance, **conf):
        run = Run(parse_conf(raw_conf(rebalance) | conf), embedded)
        if not run.rows.exists():
            run.rows.append(embedded.frame(table_of()))
        return run, train(run)

    return train_it


def test_a_registered_model_corrects_its_probabilities(trained):
    versions = [trained(way)[1] for way in ({"majority": 0.2}, {"majority": 0.2, "correct": False}, None)]
    table = table_of()
    corrected, biased, none = (
        kf.load_model(f"models:/{v.name}/{v.version}").predict(table.to_pandas())["probability"].mean() for v in versions
    )
    assert corrected == pytest.approx(none, rel=0.03)
    assert biased > 2 * none


def test_the_report_compares_the_ways(trained):
    ways = [{"majority": 0.2}, {"minority": 4}, {"weights": "balanced"}, {"smote": {"neighbours": 3000}}]
    run, version = trained(None, report={"rebalance": ways, "precision": 0.3})
    (page,) = (s.html for s in run.sections if s.title == "Rebalancing")
    for name in (
        "none",
        "majority 0.2",
        "minority 4",
        "weights balanced",
        "smote 3000",
        "recall at precision 0.3",
        "probability over rate",
    ):
        assert name in page
    assert "neighbours; take fewer" in page or "needs the package imblearn" in page
    metrics = registry.client().get_run(version.mlflow_run_id).data.metrics
    assert metrics["test_rebalanced_none_brier"] == metrics["test_brier"]
    assert abs(metrics["test_rebalanced_majority 0.2_pr_auc_difference"]) < 0.05
    assert "test_rebalanced_smote 3000_brier" not in metrics


def test_cross_validation_and_trials_balance_their_own_parts(trained):
    split = {"share": {"train": 0.6, "validation": 0, "test": 0.4}, "folds": 3}
    train_it = raw_conf({"weights": "balanced"})["train"] | {"tune": {"search": "grid", "over": {"params.C": [0.1, 1.0]}}}
    losses = []
    for more in ({"train": train_it}, {}):
        run, version = trained(None, split=split, **more)
        losses.append(registry.client().get_run(version.mlflow_run_id).data.metrics["cross_validated_log_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
