"""Target encoding: values for scoring and out-of-fold values of training rows, against independent arithmetic."""

import random
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import TargetEncoder

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import LABEL, PART
from keyfold.core.types import ARROW
from keyfold.dataset.fit_features import fit_features
from keyfold.dataset.labelled_rows import FOLD, labelled_rows
from keyfold.engine.columns import col, lit
from keyfold.errors import ConfError, DataError
from keyfold.features import fitting
from keyfold.features.certificate import Certificate
from keyfold.features.fit_plan import FitPlan
from keyfold.features.fitting import Target
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec
from keyfold.runtime.run import Run
from keyfold.tracking import registry
from keyfold.training.job import train

TARGET = Target("y", "part")
PARTS = st.integers(0, 999_999)
CELLS = {
    "string": ["", " ", "=", "1 1", "a\nb", "a\0b", "é", "👩‍👩‍👧", "a", "b"],
    "bigint": [0, -1, 42, 2**63 - 1, -(2**63), 2**53 + 1],
    "decimal": [Decimal(d) for d in ("0", "1.50", "-0.000000000000000001", "100")],
    "boolean": [False, True],
}


def feature(**conf):
    return {"f": Feature.model_validate({"target_encoded": {"input_col": "c", **conf}})}


def table(rows, family="string"):
    """Rows of (value, label, part)."""
    columns = zip(*rows, strict=True)
    types = {"c": ARROW[family], "y": pa.bool_(), "part": pa.int64()}
    return pa.table({name: pa.array(cells, types[name]) for name, cells in zip(types, columns, strict=True)})


def fitted(rows, family="string", **conf):
    return Spec.fit(table(rows, family), feature(**conf), TARGET)


def values(spec, rows, family="string"):
    return spec.arrow(table(rows, family))["f"].tolist()


def encoded(value, rows, smoothing):
    """The value of a category, of rows: in doubles and in the order that is documented; and exactly."""
    labels, positives = [y for v, y, _ in rows if v is not None and v == value], sum(y for _, y, _ in rows)
    if not labels:
        return positives / len(rows), Fraction(positives, len(rows))
    double = (sum(labels) + smoothing * (positives / len(rows))) / (len(labels) + smoothing)
    return double, (sum(labels) + Fraction(smoothing) * Fraction(positives, len(rows))) / (len(labels) + Fraction(smoothing))


def oracle(queried, rows, smoothing, folds):
    """For each row that is queried, the value of the rows of other parts; of all rows for one without a part."""
    return [
        encoded(value, [row for row in rows if part is None or row[2] % folds != part % folds], smoothing)
        for value, _, part in queried
    ]


def drawn_rows(family, part=PARTS):
    """Rows of at least two parts, whatever `folds` is up to 7."""
    row = st.tuples(st.one_of(st.none(), st.sampled_from(CELLS[family])), st.booleans(), part)
    ends = st.tuples(st.sampled_from(CELLS[family]), st.booleans(), st.sampled_from([0, 420])), st.just((None, True, 1))
    return st.tuples(st.lists(row, max_size=30), *ends).map(lambda drawn: [*drawn[0], *drawn[1:]])


# --- values ---


@settings(max_examples=40)
@given(
    case=st.sampled_from(list(CELLS)).flatmap(lambda family: st.tuples(st.just(family), drawn_rows(family))),
    smoothing=st.sampled_from([0.0, 0.1, 1.0, 10.0, 1e-9, 1e12]),
    folds=st.sampled_from([2, 5, 7]),
)
def test_both_forms_follow_from_the_counts(case, smoothing, folds):
    family, rows = case
    spec = fitted(rows, family, smoothing=smoothing, folds=folds)
    spec = Spec.from_json(spec.to_json())
    queried = rows + [(value, True, part) for value in [*CELLS[family], None] for part in (None, 3)]
    for form, parts in ((spec, False), (spec.out_of_fold("part"), True)):
        wanted = oracle([(v, y, part if parts else None) for v, y, part in queried], rows, smoothing, folds)
        result = form.arrow(table(queried, family))["f"]
        assert result.dtype == np.float64
        assert result.tolist() == [double for double, _ in wanted]
        assert result.tolist() == pytest.approx([float(exact) for _, exact in wanted], rel=1e-14)


def test_both_forms_are_the_same_in_spark_and_in_sql(spark):
    """Of a column of each type, in any partition."""
    draw = random.Random(0)
    cells = {family: pa.array([draw.choice([None, *cells]) for _ in range(60)], ARROW[family]) for family, cells in CELLS.items()}
    rows = pa.table(
        {**cells, "y": [draw.random() < 0.4 for _ in range(60)], "part": [draw.choice([0, 420, 7, 999_999]) for _ in range(60)]}
    )
    features = {f"of {family}": feature(input_col=family, smoothing=0.1)["f"] for family in CELLS}
    spec = Spec.fit(rows, features, TARGET)
    assert Spec.fit(spark.createDataFrame(rows).repartition(4), features, TARGET).digest == spec.digest
    queried = spark.createDataFrame(rows).coalesce(1)
    queried.createOrReplaceTempView("target_encoded")
    for form in (spec, spec.out_of_fold("part")):
        for transformed in (form.transform(queried), spark.sql(form.to_sql("target_encoded"))):
            found = form.arrays(transformed.toArrow())
            assert all(found[name].tobytes() == values.tobytes() for name, values in form.arrow(rows).items())


def test_by_hand():
    rows = [("a", True, 0), ("a", False, 1), ("a", True, 1), ("b", False, 0), (None, True, 1), ("b", False, 1)]
    spec = fitted(rows, smoothing=2, folds=2)
    assert spec.features["f"].state["vocabulary"] == ["a", "b"]
    queried = [(v, True, None) for v in ("a", "b", None, "new")]
    assert values(spec, queried) == [(2 + 2 * 0.5) / 5, (0 + 2 * 0.5) / 4, 0.5, 0.5]
    out_of_fold = spec.out_of_fold("part")
    assert values(out_of_fold, queried) == values(spec, queried)
    first, second = ([(v, True, part) for v in ("a", "b", None, "new")] for part in (0, 1))
    assert values(out_of_fold, first) == [(1 + 2 * 0.5) / 4, (0 + 2 * 0.5) / 3, 0.5, 0.5]
    assert values(out_of_fold, second) == [(1 + 2 * 0.5) / 3, (0 + 2 * 0.5) / 3, 0.5, 0.5]


def test_one_class_and_no_smoothing():
    for label in (True, False):
        rows = [("a", label, 0), ("b", label, 1), (None, label, 2)]
        spec = fitted(rows, smoothing=0)
        assert values(spec, [*rows, ("new", label, 0)]) == [float(label)] * 4
        assert values(spec.out_of_fold("part"), [*rows, ("new", label, 0)]) == [float(label)] * 4


def test_a_column_of_null_alone_has_the_prior():
    rows = [(None, i == 0, i) for i in range(4)]
    spec = fitted(rows)
    assert values(spec, [*rows, ("new", True, 0)]) == [0.25] * 5
    assert values(spec.out_of_fold("part"), rows) == [0.0, 1 / 3, 1 / 3, 1 / 3]


def test_scikit_learn_agrees_where_the_definitions_do():
    """With a number as `smooth` scikit-learn's formula is this one; its gaps are a category, and its folds are those it is given."""
    rng = random.Random(1)
    rows = [(rng.choice("abcdefg"), rng.random() < 0.3, i % 5) for i in range(300)]
    x, y, parts = (np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), (object, int, int), strict=True))
    spec = fitted(rows, smoothing=4)
    encoder = TargetEncoder(smooth=4.0, target_type="binary", cv=PredefinedSplit(parts))
    assert values(spec.out_of_fold("part"), rows) == pytest.approx(encoder.fit_transform(x[:, None], y).ravel(), rel=1e-12)
    queried = [*rows, ("new", True, 0)]
    assert values(spec, queried) == pytest.approx(
        encoder.transform(np.array([[v] for v, _, _ in queried], object)).ravel(), rel=1e-12
    )


# --- several classes ---


def rows_of_classes(n=300, classes=3):
    rng = random.Random(4)
    rows = [(rng.choice(["a", "b", "c=1", None]), rng.randrange(classes), rng.randrange(5)) for _ in range(n)]
    types = {"c": pa.string(), "y": pa.int64(), "part": pa.int64()}
    columns = zip(*rows, strict=True)
    return pa.table({name: pa.array(cells, types[name]) for name, cells in zip(types, columns, strict=True)})


def test_each_class_has_a_number_which_is_that_of_two_classes_and_that_of_scikit_learn():
    rows = rows_of_classes()
    spec = Spec.from_json(Spec.fit(rows, feature(smoothing=4), Target("y", "part", 3)).to_json())
    x = np.array([[str(value)] for value in rows["c"].to_pylist()], object)
    encoder = TargetEncoder(smooth=4.0, target_type="multiclass", cv=PredefinedSplit(rows["part"].to_numpy()))
    out_of_fold = encoder.fit_transform(x, rows["y"].to_numpy())
    serving = encoder.transform(x)
    for form, theirs in ((spec, serving), (spec.out_of_fold("part"), out_of_fold)):
        found = form.arrow(rows)["f"]
        assert found.shape == (300, 3) and found.sum(axis=1) == pytest.approx(1)
        known = np.array([value is not None for value in rows["c"].to_pylist()])  # theirs takes a gap for a category
        assert found[known] == pytest.approx(theirs[known], rel=1e-12)
        for code in range(3):
            alone = rows.set_column(1, "y", pc.equal(rows["y"], code))
            of_two = Spec.fit(alone, feature(smoothing=4), TARGET)
            of_two = of_two if form is spec else of_two.out_of_fold("part")
            assert of_two.arrow(alone)["f"].tolist() == found[:, code].tolist()
    assert spec.outs["f"].length == 3 and "priors 0." in spec.features["f"].kind.note(spec.features["f"].state)


def test_numbers_of_classes_are_the_same_in_spark_and_in_sql(spark):
    rows, target = rows_of_classes(), Target("y", "part", 3)
    spec = Spec.fit(rows, feature(smoothing=0.1), target)
    assert Spec.fit(spark.createDataFrame(rows).repartition(4), feature(smoothing=0.1), target).digest == spec.digest
    queried = spark.createDataFrame(rows).coalesce(1)
    queried.createOrReplaceTempView("target_encoded")
    for form in (spec, spec.out_of_fold("part")):
        for transformed in (form.transform(queried), spark.sql(form.to_sql("target_encoded"))):
            assert form.arrays(transformed.toArrow())["f"].tobytes() == form.arrow(rows)["f"].tobytes()


# --- no label teaches its own row ---


@settings(max_examples=25)
@given(rows=drawn_rows("string", st.integers(0, 4)), part=st.integers(0, 1), flips=st.integers(1, 2**32 - 1))
def test_labels_of_a_part_move_no_training_value_of_the_part(rows, part, flips):
    changed = [(v, y != (p % 5 == part and bool(flips >> i & 1)), p) for i, (v, y, p) in enumerate(rows)]
    before, after = (fitted(labels, smoothing=1).out_of_fold("part") for labels in (rows, changed))
    own = [row for row in rows if row[2] % 5 == part]
    assert values(before, own) == values(after, own)
    if sum(y for _, y, _ in rows) != sum(y for _, y, _ in changed):
        others = [(None, True, p) for p in range(5) if p != part]
        assert values(before, others) != values(after, others), "and they do move the others"


def test_noise_of_many_categories_does_not_look_predictive():
    rng = random.Random(2)
    rows = [(f"c{rng.randrange(1500)}", rng.random() < 0.3, rng.randrange(1_000_000)) for _ in range(6000)]
    spec = fitted(rows, smoothing=1)
    labels = [y for _, y, _ in rows]
    assert roc_auc_score(labels, values(spec, rows)) > 0.75
    assert roc_auc_score(labels, values(spec.out_of_fold("part"), rows)) == pytest.approx(0.5, abs=0.03)


def test_a_predictive_category_stays_predictive():
    rng = random.Random(3)
    chances = {f"c{i}": rng.choice([0.05, 0.6]) for i in range(100)}
    rows = [(c, rng.random() < chances[c], rng.randrange(1_000_000)) for c in rng.choices(list(chances), k=6000)]
    result = values(fitted(rows).out_of_fold("part"), rows)
    labels = [y for _, y, _ in rows]
    assert roc_auc_score(labels, result) > roc_auc_score(labels, [chances[c] for c, _, _ in rows]) - 0.02 > 0.75


# --- fitting ---


@settings(max_examples=20)
@given(drawn_rows("string"), st.data())
def test_statistics_add_up_and_no_layout_matters(embedded, rows, data):
    cut = data.draw(st.integers(1, len(rows) - 1))
    whole, first, second = (embedded.frame(table(part)) for part in (rows, rows[:cut], rows[cut:]))
    plan = FitPlan.of(whole, feature(), TARGET)
    digest = plan.spec(plan.measure(whole)).digest
    assert plan.spec(fitting.merge_statistics([plan.measure(second), plan.measure(first)])).digest == digest
    assert fitted(data.draw(st.permutations(rows))).digest == digest


def test_the_certificate_holds_the_values_for_scoring(engine):
    spec = fitted([(c, i % 3 == 0, i) for i, c in enumerate("abcab" * 9)])
    certificate = Certificate.issue(engine, spec)
    assert certificate.rows.column_names == ["c"]
    assert {"a", "b", "c", None} <= set(certificate.rows["c"].to_pylist())
    certificate.check(Spec.from_json(spec.to_json()))


# --- in a use case ---


def use_case(engine, rows, **sections):
    """A run over a table of `id`, `g`, `c` and `y`."""
    raw = {
        "name": "t",
        "label": "y",
        "data": {"key": ["id"]},
        "split": {"by": "g", "share": {"train": 0.7, "validation": 0.0, "test": 0.3}},
        "features": {"c": {"target_encoded": {"input_col": "c", "smoothing": 1}}, "x": {"numeric": {"input_col": "x"}}},
        "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 100.0}}}},
    }
    run = Run(parse_conf(raw | sections), engine)
    write_deltalake(run.rows.path, rows, mode="overwrite")
    return run


IDS = np.arange(6000)
CATEGORIES = [f"c{n}" for n in np.random.default_rng(7).integers(0, 1024, 6000)]


def noise(labels=None):
    """Rows whose category says nothing of the label."""
    labels = np.random.default_rng(8).random(6000) < 0.5 if labels is None else labels
    return pa.table({"id": IDS, "g": IDS // 2, "c": CATEGORIES, "x": (IDS % 7).astype(float), "y": labels})


def test_what_the_split_keeps_together_is_in_one_part_of_the_train_fold_alone(engine, home):
    result = labelled_rows(use_case(engine, noise())).rows.select(["g", FOLD, PART]).to_arrow().to_pandas()
    inside = result[result[FOLD] == "train"]
    assert result[result[FOLD] != "train"][PART].isna().all()
    assert (inside.groupby("g")[PART].nunique() == 1).all()
    assert inside[PART].min() < 10_000, "a salt of its own: the fold says nothing of the part"
    assert np.bincount(inside[PART].astype(int) % 5) / len(inside) == pytest.approx([0.2] * 5, abs=0.03)


def test_a_model_is_trained_on_values_out_of_fold_and_tested_on_those_that_serve(engine, home, monkeypatch):
    run = use_case(engine, noise(), report={"without": [["x"]]})
    from keyfold.models.sklearn import Estimator, Sklearn

    seen, queried = {}, []
    fit, numbers = Sklearn.fit, Estimator.numbers
    monkeypatch.setattr(
        Sklearn, "fit", lambda self, spec, rows, *a: seen.setdefault("train", (rows.arrays, rows.y)) and fit(self, spec, rows, *a)
    )
    monkeypatch.setattr(Estimator, "numbers", lambda self, arrays, label: queried.append(arrays) or numbers(self, arrays, label))
    version = train(run)
    spec, result = fit_features(run)
    assert run.jobs[-1].status == "done before"
    rows = result.rows.sort(["id"]).to_arrow()
    out_of_fold, serving = spec.out_of_fold(PART).arrow(rows)["c"], spec.arrow(rows)["c"]
    inside, y = rows[FOLD].to_numpy() == "train", rows[LABEL].to_numpy()
    arrays, labels = seen["train"]
    assert sorted(arrays["c"]) == sorted(out_of_fold[inside])
    measured = next(arrays for arrays in queried if len(arrays["c"]) > 1000)  # the few before are made-up rows
    assert sorted(measured["c"]) == sorted(serving[~inside])
    assert roc_auc_score(labels, arrays["c"]) == pytest.approx(0.5, abs=0.03)
    assert roc_auc_score(y[inside], serving[inside]) > 0.75
    metrics = registry.client().get_run(version.mlflow_run_id).data.metrics
    assert metrics["test_log_loss"] < 0.70, "it does no harm, as it would where a row were to find its own label"
    assert abs(metrics["test_without_x_log_loss_gain"]) < 0.01


def test_labels_of_the_test_fold_are_not_seen_and_the_positive_class_is(engine, home):
    rows = noise(np.where(IDS % 3 == 0, "Yes", "No"))
    run = use_case(engine, rows, label={"column": "y", "positive": "Yes"})
    spec, result = fit_features(run)
    test = {row["g"] for row in result.rows.where(col(FOLD) == lit("test")).rows()}
    changed = noise(np.where(np.isin(IDS // 2, [*test]) | (IDS % 3 == 0), "Yes", "No"))
    again = use_case(engine, changed, label={"column": "y", "positive": "Yes"})
    assert fit_features(again)[0].digest == spec.digest
    other, _ = fit_features(use_case(engine, changed, label={"column": "y", "positive": "No"}))
    assert np.add(other.features["c"].state["values"], spec.features["c"].state["values"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("label", "more", "error", "message"),
    [
        (IDS.astype(float), {"train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LinearRegression"}}}}, ConfError,
         r"^features.c: `target_encoded` learns from a label of 2 to 10 classes, and here the label is not; train a classifier, or use"),
        ([f"k{i % 11}" for i in IDS], {}, ConfError,
         "^features.c: `target_encoded` makes a number for each class, of 10 at most, and this label has 11; use `hashed` or `one_hot`"),
        (IDS % 2 == 0, {"split": {"by": "one", "share": {"train": 1, "validation": 0, "test": 0}}}, DataError,
         r"^features.c: all rows of the train fold are in one of 5 parts.* split by columns with more values"),
    ],
    ids=["number", "classes", "parts"],
)  # fmt: skip
def test_a_label_or_split_that_does_not_fit_is_refused(engine, home, label, more, error, message):
    run = use_case(engine, noise(label).append_column("one", pa.array([1] * 6000)), **more)
    with pytest.raises(error, match=message):
        fit_features(run)


def test_a_label_of_classes_is_learnt_out_of_fold(embedded, home):
    codes = np.random.default_rng(8).integers(0, 3, 6000)
    run = use_case(embedded, noise([f"k{code}" for code in codes]))
    version = train(run)
    spec, result = fit_features(run)
    rows = result.rows.sort(["id"]).to_arrow()
    inside, y = rows[FOLD].to_numpy() == "train", rows[LABEL].to_numpy()
    first = [form.arrow(rows)["c"][inside, 0] for form in (spec.out_of_fold(PART), spec)]
    assert (
        roc_auc_score(y[inside] == 0, first[0]) == pytest.approx(0.5, abs=0.05) and roc_auc_score(y[inside] == 0, first[1]) > 0.7
    )
    metrics = registry.client().get_run(version.mlflow_run_id).data.metrics
    assert metrics["test_log_loss"] == pytest.approx(np.log(3), abs=0.01), "it does no harm"


def test_a_class_that_becomes_a_number_is_refused(engine, home):
    rows = noise(IDS % 2)
    fit_features(use_case(engine, rows))
    with pytest.raises(ConfError, match="here the label is not"):
        fit_features(use_case(engine, rows, train=None))


def test_a_float_is_refused():
    with pytest.raises(DataError, match=r"column `c`.*got double.*hash integers"):
        fitted([(0.5, True, 0), (0.5, True, 1)], "double")


@pytest.mark.parametrize("conf", [{"smoothing": -0.1}, {"smoothing": float("inf")}, {"folds": 1}, {"folds": 101}, {"salt": "s"}])
def test_a_conf_that_cannot_be_is_refused(conf):
    with pytest.raises(ValidationError):
        feature(**conf)
