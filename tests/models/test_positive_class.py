"""The class that says yes is guessed with a reason, or not at all."""

import pytest

from keyfold.models.positive_class import guess_positive


@pytest.mark.parametrize(
    ("classes", "yes"),
    [
        ([False, True], True), ([0, 1], 1), ([1, -1], 1), ([0.0, 1.0], 1.0), (["no", "yes"], "yes"), (["Yes", "No"], "Yes"),
        (["0", "1"], "1"), ([" N", "Y "], "Y "), (["false", "true"], "true"), (["nein", "ja"], "ja"),
        ([1, 2], None), (["1", "2"], None), (["ham", "spam"], None), ([1, 3], None), (["yes", "maybe"], None), ([0, 2], None), (["a", "y"], None),
    ],
)  # fmt: skip
def test_the_class_that_says_yes(classes, yes):
    for both in (classes, classes[::-1]):
        found = guess_positive(both)
        assert (found and found[0]) == yes
        if found:
            no = next(c for c in classes if c != yes)
            assert found[1] == f"`{yes}` means yes and the other class is `{no}`"
