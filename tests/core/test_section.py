"""A section of which exactly one option is set."""

import pytest
from pydantic import ValidationError

from keyfold.core.section import OneOf


class Shape(OneOf):
    _choices = ("circle", "square", "label")
    _pair = ("square", "label")

    circle: float | None = None
    square: float | None = None
    label: str | None = None
    colour: str = "red"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, r"must name one of circle, square, label \(got none\)"),
        ({"colour": "blue"}, r"must name one of circle, square, label \(got none\)"),
        ({"circle": 1, "square": 2}, r"must name one of circle, square, label \(got circle and square\)"),
        ({"circle": None}, r"circle must have a value \(got nothing\)"),
    ],
)
def test_exactly_one_choice_is_set(options, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Shape.model_validate(options)


def test_a_choice_may_be_false_or_a_pair_and_survives_a_dump():
    for options, choice in (({"circle": 0}, "circle"), ({"square": 1, "label": "x"}, "square")):
        shape = Shape.model_validate(options)
        assert shape.choice == choice
        assert Shape.model_validate(shape.model_dump()) == shape
