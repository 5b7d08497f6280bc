"""Words, values and patterns found in texts."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keyfold.features.kinds import KINDS
from keyfold.features.kinds.text import LOWER, SEPARATORS
from keyfold.features.spec import FittedFeature, Spec


def found(texts, **options):
    kind = KINDS["found"].model_validate({"input_col": "text", **options})
    spec = Spec({"text": "string"}, {"f": FittedFeature(kind, {})})
    return spec.arrow(pa.table({"text": pa.array(texts, pa.string())}))["f"].tolist()


def test_words_are_whole_and_in_any_case():
    texts = ["You WIN!", "win", "twin", "winner", "the win", "Lotto-Win 5", "", None, "wi n"]
    assert found(texts, words=["win"]) == [1, 1, 0, 0, 1, 1, 0, 0, 0]


def test_several_words_signs_and_letters_of_other_alphabets():
    texts = ["Claim Now", "claim  now", "ÜBUNG macht", "übungen", "C++ (new)", "a^b", "Жизнь", "x]y", "a\\b", "a-b"]
    words = ["claim now", "übung", "c++", "a^b", "жизнь", "x]y", "a\\b", "a-b"]
    assert found(texts, words=words) == [1, 0, 1, 0, 1, 1, 1, 1, 1, 1]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=8), st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4))
def test_words_are_found_as_their_definition_says(texts, words):
    def lower(text):
        return text.translate(str.maketrans(LOWER))

    either = "|".join(re.escape(lower(word)) for word in words)
    pattern = re.compile(f"(?:\\A|[{SEPARATORS}])(?:{either})(?:\\Z|[{SEPARATORS}])")
    assert found(texts, words=words) == [float(bool(pattern.search(lower(text)))) for text in texts]


def test_values_are_whole_texts():
    assert found(["a@b.example", "A@b.example", "a@b.example ", None], values=["a@b.example"]) == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("pattern", "text", "count"),
    [
        ("characters", "Zoë 👩", 5), ("words", "Is it 5 o'clock?", 5), ("digits", "07, 1 ½", 3), ("capitals", "Go TO É", 3),
        ("shouted", "FREE and OK and URGENT", 2), ("exclamations", "no! yes!!", 3),
        ("urls", "see HTTP://a.example/x?y and www.b.example, not c.example", 2), ("emails", "to a.b@c.example or @d", 1),
        ("money", "£5, 10€ and $ 7 or 8", 3), ("phones", "08452 810075, +44 (0)20 7946 0123 or 123456", 2),
    ],
)  # fmt: skip
def test_patterns_are_counted(pattern, text, count):
    assert found([text, None], patterns=[pattern]) == [count, 0]


def test_several_patterns_are_several_numbers():
    assert found(["a1!", None], patterns=["digits", "characters"]) == [[1, 3], [0, 0]]


@pytest.mark.parametrize(
    "options", [{}, {"words": ["a"], "values": ["b"]}, {"words": []}, {"words": [""]}, {"patterns": ["(a+)+"]}]
)
def test_one_option_with_something_to_find(options):
    with pytest.raises(ValidationError):
        found(["a"], **options)
