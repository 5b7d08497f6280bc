"""A row has the same bits by itself, in any batch and at any place of it: of every estimator that can be saved."""

import inspect
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import all_estimators
from threadpoolctl import ThreadpoolController

from keyfold.features.kind import FeatureOutput
from keyfold.labels import Binary, Number
from keyfold.models import blocks
from keyfold.models.examples import Examples
from keyfold.models.sklearn import Estimator, Sklearn

ROWS, LEARNT = 1000, 300
OUTS = {
    "city": FeatureOutput("int", 40), "plan": FeatureOutput("int", 5), "pair": FeatureOutput("int", 200), "age": FeatureOutput("double"), "spent": FeatureOutput("double"),
    "waves": FeatureOutput("double", length=8),
}  # fmt: skip
SPEC = SimpleNamespace(outs=OUTS)
RNG = np.random.default_rng(7)
DRAWN = {
    "city": RNG.integers(0, 40, ROWS).astype(np.int32), "plan": RNG.integers(0, 5, ROWS).astype(np.int32),
    "pair": RNG.integers(0, 200, ROWS).astype(np.int32), "age": RNG.random(ROWS) * 90, "spent": RNG.random(ROWS) * 250,
    "waves": RNG.random((ROWS, 8)) / 3,
}  # fmt: skip
NUMBER = DRAWN["age"] / 30 + DRAWN["plan"] + DRAWN["city"] % 3 + RNG.random(ROWS)
LABEL = np.median(NUMBER) < NUMBER
PARAMS = {"n_estimators": 6, "max_iter": 40, "n_components": 1, "min_categories": 256}
KINDS = {name: kind for kind in ("classifier", "regressor") for name, _ in all_estimators(kind)}
CLASSES = {name: found for name, found in all_estimators() if name in KINDS}
# skops trusts not all that they hold, so `train` refuses them.
UNSAVED = {
    "GaussianProcessClassifier", "GaussianProcessRegressor", "KNeighborsClassifier", "KNeighborsRegressor", "KernelRidge",
    "LabelPropagation", "LabelSpreading", "NuSVC", "NuSVR", "RadiusNeighborsClassifier", "RadiusNeighborsRegressor", "SVC", "SVR",
    "StackingClassifier", "StackingRegressor", "TunedThresholdClassifierCV", "VotingClassifier", "VotingRegressor",
}  # fmt: skip
# These take no label, or no features, of ours; or give no probability.
UNFIT = {
    "ClassifierChain", "IsotonicRegression", "MultiOutputClassifier", "MultiOutputRegressor", "MultiTaskElasticNet",
    "MultiTaskElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV", "OutputCodeClassifier", "RegressorChain",
}  # fmt: skip
DENSE_TOO = {"LogisticRegression", "MLPClassifier", "MLPRegressor", "Ridge", "SGDClassifier", "RandomForestClassifier"}
CASES = [(name, None) for name in sorted({*CLASSES} - UNSAVED - UNFIT)] + [(name, False) for name in sorted(DENSE_TOO)]


def of(arrays, places):
    return {name: values[places] for name, values in arrays.items()}


def fitted(name, sparse, folder):
    """The estimator as `train` makes it, fitted on some of the rows, saved and loaded; over two threads where it can be."""
    from sklearn.linear_model import LogisticRegression, Ridge

    found, classes = CLASSES[name], KINDS[name] == "classifier"
    asked = inspect.signature(found).parameters
    params = {n: value for n, value in PARAMS.items() if n in asked and name != "OrthogonalMatchingPursuitCV"}
    if "estimator" in asked and (name == "SelfTrainingClassifier" or asked["estimator"].default is inspect.Parameter.empty):
        params["estimator"] = LogisticRegression() if classes else Ridge()
    y = (LABEL if classes else NUMBER)[:LEARNT]
    learnt = of(DRAWN, slice(LEARNT))
    with blocks.one_thread():  # else two threads fit 300 rows more slowly
        made = Sklearn(estimator=f"{found.__module__}.{name}", params=params).fit(SPEC, Examples(learnt, y, None, None, None), 3)
        if sparse is not None:
            made.sparse = sparse
            made.estimator.fit(made.matrix(learnt), y)
    if "n_jobs" in asked:
        made.estimator.set_params(n_jobs=2)
    folder.mkdir(exist_ok=True)
    made.save(folder)
    return Estimator.load(folder, SPEC, sparse=made.sparse), classes


def answers(estimator, classes, places, size):
    label = Binary("boolean", True, False) if classes else Number("double")
    return np.concatenate([estimator.numbers(of(DRAWN, places[i : i + size]), label) for i in range(0, len(places), size)]).view(
        np.uint64
    )


@pytest.mark.parametrize(("name", "sparse"), CASES)
@pytest.mark.filterwarnings("ignore")
def test_a_row_has_the_same_bits_in_every_batch(name, sparse, tmp_path, monkeypatch):
    estimator, classes = fitted(name, sparse, tmp_path)
    every = np.arange(ROWS)
    whole = answers(estimator, classes, every, ROWS)
    monkeypatch.setattr(
        blocks, "ROW_CELLS", 300
    )  # so that these rows are several blocks of an estimator that computes row by row
    for size in (7, 997, ROWS):
        assert (answers(estimator, classes, every, size) == whole).all(), size
    assert (answers(estimator, classes, every[:40], 1) == whole[:40]).all()
    mixed = np.random.default_rng(1).permutation(ROWS)
    assert (answers(estimator, classes, mixed, ROWS) == whole[mixed]).all()
    assert (answers(estimator, classes, np.full(blocks.BLOCK_ROWS, 5), ROWS) == whole[5]).all(), "at every place of a block"


@pytest.mark.filterwarnings("ignore")
def test_no_rows_give_no_predictions(tmp_path):
    estimator, _ = fitted("LogisticRegression", None, tmp_path)
    assert estimator.numbers(of(DRAWN, slice(0)), Binary("boolean", True, False)).shape == (0,)


@given(st.integers(0, 10**7), st.integers(1, 1000), st.integers(1, 10**6))
def test_rows_are_in_blocks_of_one_size_of_which_few_are_padded(rows, width, columns):
    size = blocks.block_size_of_rows(rows, width, columns)
    count = -(-rows // size)
    assert size * count - rows < max(count, 1) and size <= max(rows, 1)
    assert size * width <= max(blocks.ROW_CELLS, columns * width)


def test_threads_predict_at_once_where_no_library_has_threads_of_its_own(tmp_path):
    label = Binary("boolean", True, False)
    estimators = [fitted(name, None, tmp_path / name)[0] for name in ("LogisticRegression", "RandomForestClassifier")]
    done = []
    worker = threading.Thread(target=lambda: done.extend(one.numbers(DRAWN, label) for one in estimators), daemon=True)
    with blocks.one_thread():
        worker.start()
        worker.join(60)
        assert len(done) == 2, "they wait for the lock"
    assert all((one.numbers(DRAWN, label) == numbers).all() for one, numbers in zip(estimators, done, strict=True))


@given(st.lists(st.integers(1, 40_000), max_size=4))
def test_a_block_is_a_power_of_two_and_small_where_rows_are_wide(lengths):
    outs = [FeatureOutput("float", length=n) for n in lengths]
    size = blocks.block_size(outs)
    assert size in {2**n for n in range(9)}
    assert size == blocks.BLOCK_ROWS or 2 * size * sum(lengths) > blocks.BLOCK_CELLS
    assert size == 1 or size * sum(lengths) <= blocks.BLOCK_CELLS


def test_threads_of_one_process_keep_one_thread_each_and_give_back_what_was_there():
    def threads():
        return [found["num_threads"] for found in ThreadpoolController().info()]

    before, inside = threads(), []
    gate = threading.Barrier(3)

    def work():
        gate.wait()
        for _ in range(20):
            with blocks.one_thread():
                inside.append(set(threads()[:2]))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(inside) == 60
    assert all(found == {1} for found in inside)
    assert threads() == before
