"""Categories by a vocabulary: order, unseen values."""

import pyarrow as pa
import pytest

from every_kind import few, fitted
from keyfold.errors import DataError
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec


def test_unseen_values_have_indices_after_the_vocabulary():
    conf = {"one_hot": {"input_col": "c", "handle_unseen": {"hashed": 5}}}
    spec, _ = fitted([("a",), ("b",), ("a",)], "c string", f=conf)
    result = spec.arrow(pa.table({"c": ["a", "b", None, *map(str, range(100))]}))["f"]
    assert result[:3].tolist() == [2, 3, 0]
    assert set(result[3:]) == {4, 5, 6, 7, 8}
    assert spec.outs["f"].width == 9


def test_an_unseen_value_is_its_own_or_an_error(engine):
    seen, new = (engine.rows([(value,)], "c string") for value in "ab")
    own, error = (
        Spec.fit(seen, {"f": Feature.model_validate({"one_hot": {"input_col": "c", "handle_unseen": h}})})
        for h in ("own", "error")
    )
    assert own.arrow(new.to_arrow())["f"].tolist() == own.transform(new).to_arrow()["f"].to_pylist() == [1]
    with pytest.raises(DataError, match=r"not there at fitting.* b"):
        error.arrow(new.to_arrow())
    with pytest.raises(Exception, match=r"not there at fitting.* b"):
        error.transform(new).rows()


def test_vocabulary_order_is_by_count_then_by_bytes():
    table = few([(c,) for c in ["b", "b", "a", "a", "z", "é", None, "rare"]], "c string")
    spec = Spec.fit(table, {"f": Feature.model_validate({"one_hot": {"input_col": "c", "max_categories": 4}})})
    assert spec.features["f"].state["vocabulary"] == ["a", "b", "rare", "z"]
    assert spec.arrow(table)["f"].tolist() == [3, 3, 2, 2, 5, 1, 0, 4]
