"""Words, their n-grams and lower case."""

from every_kind import fitted
from keyfold.features.kinds.text import LOWER


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
