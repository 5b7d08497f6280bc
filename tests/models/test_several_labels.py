"""Estimators of several labels: what each label alone would learn, saved without pickle, with the same bits in any batch."""

import warnings
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain

from keyfold.errors import DataError
from keyfold.features.kind import FeatureOutput
from keyfold.labels import Binary, Multilabel
from keyfold.models import blocks
from keyfold.models.examples import Examples
from keyfold.models.sklearn import Estimator, Sklearn

ROWS, WIDTH, NUMBERS = 400, 40, 3
OUTS = {"words": FeatureOutput("int", WIDTH, None), "x": FeatureOutput("double", length=NUMBERS)}
DENSE = {"x": OUTS["x"]}
RNG = np.random.default_rng(5)
WORDS = [RNG.integers(2, WIDTH, RNG.integers(0, 9)).tolist() for _ in range(ROWS)]
ARRAYS = {"words": pa.array(WORDS, pa.list_(pa.int32())), "x": RNG.normal(size=(ROWS, NUMBERS))}
Y = np.stack([[word in row for row in WORDS] for word in (5, 9, 20)] + [ARRAYS["x"][:, 0] > 0.4], axis=1) ^ (
    RNG.random((ROWS, 4)) < 0.05
)
Y = np.column_stack([Y, np.ones(ROWS, bool), np.zeros(ROWS, bool)])
LABEL = Multilabel("string", tuple("abcdef"), (0.5,) * 6)
LINEAR = ("LogisticRegression", "SGDClassifier", "RidgeClassifier", "Perceptron")
EACH = ("naive_bayes.MultinomialNB", "ensemble.HistGradientBoostingClassifier", "ensemble.AdaBoostClassifier")
ALL = ("tree.DecisionTreeClassifier", "ensemble.RandomForestClassifier", "neural_network.MLPClassifier")
NAMES = (*(f"linear_model.{name}" for name in LINEAR), "svm.LinearSVC", *EACH, *ALL)
ALONE = [(name, {}) for name in NAMES[: -len(ALL)]]
ALONE += [("linear_model.SGDClassifier", {"loss": loss}) for loss in ("log_loss", "modified_huber")]
PARAMS = {
    "RandomForestClassifier": {"n_estimators": 5},
    "AdaBoostClassifier": {"n_estimators": 3},
    "MLPClassifier": {"max_iter": 5},
}


def outs_of(name):
    return DENSE if "Hist" in name else OUTS


def of(name, places=slice(None)):
    arrays = ARRAYS if "Hist" not in name else {"x": ARRAYS["x"]}
    if name == "naive_bayes.MultinomialNB":
        arrays = arrays | {"x": abs(arrays["x"])}
    return {n: a.take(pa.array(np.arange(ROWS)[places])) if isinstance(a, pa.Array) else a[places] for n, a in arrays.items()}


def fit(name, y=Y, weight=None, **options):
    short = name.split(".")[-1]
    conf = Sklearn(estimator=f"sklearn.{name}", params=PARAMS.get(short, {}), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return conf.fit(SimpleNamespace(outs=outs_of(name)), Examples(of(name), y, weight, LABEL, None), 3)


def saved(estimator, folder):
    estimator.save(folder)
    return Estimator.load(folder, estimator.spec, sparse=estimator.sparse)


@pytest.mark.parametrize("name", NAMES)
def test_each_row_has_the_same_bits_in_any_batch_after_loading(name, tmp_path):
    estimator = fit(name)
    loaded = saved(estimator, tmp_path)
    whole = estimator.numbers(of(name), LABEL)
    assert whole.shape == (ROWS, 6) and ((whole >= 0) & (whole <= 1)).all()
    assert np.array_equal(whole, loaded.numbers(of(name), LABEL))
    some = RNG.permutation(ROWS)[:40]
    assert np.array_equal(whole[some], loaded.numbers(of(name, some), LABEL))
    assert all(np.array_equal(whole[[i]], loaded.numbers(of(name, [i]), LABEL)) for i in some[:5])
    assert loaded.numbers(of(name, slice(0)), LABEL).shape == (0, 6)


@pytest.mark.parametrize("name", [name for name in NAMES if "MLP" not in name])
def test_a_label_that_all_rows_have_or_none_is_constant(name):
    numbers = fit(name).numbers(of(name), LABEL)
    if name == "linear_model.RidgeClassifier":
        assert (numbers[:, 4] > 0.5).all() and (numbers[:, 5] < 0.5).all()
    else:
        assert (numbers[:, 4] == 1).all() and (numbers[:, 5] == 0).all()


@pytest.mark.parametrize(("name", "params"), ALONE)
def test_a_label_is_learnt_as_if_it_were_alone(name, params):
    short = name.split(".")[-1]
    conf = Sklearn(estimator=f"sklearn.{name}", params=PARAMS.get(short, params))
    spec, weight = SimpleNamespace(outs=outs_of(name)), RNG.random(ROWS) + 0.5
    with warnings.catch_warnings(), blocks.one_thread():
        warnings.simplefilter("ignore")
        together = conf.fit(spec, Examples(of(name), sparse.csr_array(Y), weight, LABEL, None), 3).numbers(of(name), LABEL)
        for code in range(4):
            alone = conf.fit(spec, Examples(of(name), Y[:, code], weight, None, None), 3)
            expected = alone.numbers(of(name), Binary("boolean", True, False))
            np.testing.assert_allclose(together[:, code], expected, rtol=1e-9, atol=1e-12)


def test_a_product_of_linear_coefficients_needs_no_copy(tmp_path):
    loaded = saved(fit("linear_model.LogisticRegression"), tmp_path)
    transposed = loaded.estimator.coef_.T
    assert transposed.flags.c_contiguous and transposed.shape == (WIDTH + NUMBERS, 6)


def test_the_model_does_not_depend_on_the_number_of_threads():
    import joblib

    together = fit("linear_model.LogisticRegression").estimator.coef_
    with joblib.parallel_config("sequential"):
        assert np.array_equal(together, fit("linear_model.LogisticRegression").estimator.coef_)


def test_a_chain_is_that_of_scikit_learn(tmp_path):
    y = Y[:, :4]
    label = Multilabel("string", tuple("abcd"), (0.5,) * 4)
    estimator = fit("linear_model.LogisticRegression", y, chain=True)
    rows = estimator.matrix(of(""))
    expected = ClassifierChain(LogisticRegression(random_state=3), order="random", random_state=3).fit(rows, y)
    np.testing.assert_allclose(estimator.numbers(of(""), label), expected.predict_proba(rows), rtol=1e-9)
    loaded = saved(estimator, tmp_path)
    some = RNG.permutation(ROWS)[:30]
    assert np.array_equal(estimator.numbers(of(""), label)[some], loaded.numbers(of("", some), label))


def test_a_chain_of_estimators_without_probabilities_has_those_of_its_scores():
    label = Multilabel("string", tuple("abcd"), (0.5,) * 4)
    numbers = fit("svm.LinearSVC", Y[:, :4], chain=True).numbers(of(""), label)
    assert ((numbers > 0) & (numbers < 1)).all() and ((numbers > 0.5) == Y[:, :4]).mean() > 0.9


def test_a_chain_refuses_labels_of_all_rows_or_none():
    with pytest.raises(DataError, match=r"2 of 6 labels are those of all training rows or of none"):
        fit("linear_model.LogisticRegression", chain=True)
