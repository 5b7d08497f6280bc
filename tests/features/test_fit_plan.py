"""A plan fits the same spec from merged statistics as from all rows."""

from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.features import fitting
from keyfold.features.fit_plan import FitPlan
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec


@settings(max_examples=12)
@given(
    st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e9, 1e9)), st.sampled_from(["a", "b", "c d", None])), min_size=2),
    st.data(),
)
def test_statistics_of_two_parts_add_up_to_those_of_the_whole(embedded, rows, data):
    features = {
        "b": Feature.model_validate({"bucketized": {"input_col": "x", "num_buckets": 5}}),
        "n": Feature.model_validate({"numeric": {"input_col": "x", "scale": "standard"}}),
        "o": Feature.model_validate({"one_hot": {"input_col": "c"}}),
        "t": Feature.model_validate({"text": {"input_col": "c", "max_tokens": 3}}),
    }
    rows = [(1.0, "a"), *rows]
    cut = data.draw(st.integers(1, len(rows) - 1))
    whole, first, second = (embedded.rows(part, "x double, c string") for part in (rows, rows[:cut], rows[cut:]))
    plan = FitPlan.of(whole, features)
    parts = fitting.merge_statistics([plan.measure(first), plan.measure(second)])
    assert plan.spec(parts).digest == plan.spec(plan.measure(whole)).digest == Spec.fit(whole, features).digest
