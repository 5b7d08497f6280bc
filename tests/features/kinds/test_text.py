"""Words, their n-grams and lower case."""

import numpy as np
import pyarrow as pa
import pytest

from every_kind import fitted
from keyfold.features.kinds.text import LOWER, Text
from keyfold.features.matrix import sparse_matrix


def test_words_and_their_pairs():
    rows = [("A rose is a ROSE",), ("rose!",), (None,), ("",)]
    bag = {"text": {"input_col": "t", "max_tokens": 100, "ngrams": 2}}
    sequence = {"text": {"input_col": "t", "max_tokens": 2, "length": 3}}
    spec, result = fitted(rows, "t string", bag=bag, sequence=sequence)
    assert spec.features["bag"].state["vocabulary"] == ["rose", "a", "a rose", "is", "is a", "rose is"]
    assert result["bag"].to_pylist() == [[3, 2, 5, 3, 2, 4, 7, 6, 4], [2], [], []]
    assert result["sequence"].tolist() == [[3, 2, 1], [2, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_lower_case_agrees_with_unicode():
    assert {c for c, small in LOWER.items() if c.lower() != small} == set()


def test_weights_are_those_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["a rose is a rose", "a dog is a dog is a dog", "", "dog and rose", None, "unknown to all", "rose and rose"]
    text = {"input_col": "t", "max_tokens": 100, "min_frequency": 2, "weights": "tfidf"}
    spec, result = fitted([(t,) for t in texts], "t string", bag={"text": text})
    words = spec.features["bag"].state["vocabulary"]
    peer = TfidfVectorizer(vocabulary=words, token_pattern=r"\w+").fit([t for t in texts if t is not None])
    found = sparse_matrix({"bag": pa.array(result["bag"])}, spec.outs)
    np.testing.assert_allclose(found[:, 2:].toarray(), peer.transform([t or "" for t in texts]).toarray(), rtol=1e-14)
    assert not found[:, :2].toarray().any()


def test_the_weights_of_a_row_do_not_depend_on_other_rows():
    texts = [" ".join(f"w{(i * j) % 17}" for j in range(i % 9)) for i in range(60)]
    spec, result = fitted(
        [(t,) for t in texts], "t string", bag={"text": {"input_col": "t", "max_tokens": 9, "weights": "tfidf"}}
    )
    bag = pa.array(result["bag"])
    whole = sparse_matrix({"bag": bag}, spec.outs).toarray()
    for i in range(60):
        assert np.array_equal(sparse_matrix({"bag": bag.slice(i, 1)}, spec.outs).toarray()[0], whole[i])


def test_a_spec_without_weights_is_written_as_before_there_were_any():
    spec, _ = fitted([("a",)], "t string", bag={"text": {"input_col": "t", "max_tokens": 9}})
    assert "weights" not in spec.to_json()


@pytest.mark.parametrize("option", [{"num_buckets": 9}, {"max_tokens": 9, "length": 3}])
def test_weights_need_a_bag_of_a_vocabulary(option):
    with pytest.raises(ValueError, match=f"leave out `{[*option][-1]}`"):
        Text(input_col="t", weights="tfidf", **option)
