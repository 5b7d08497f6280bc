"""Guesses the positive class of a label whose conf does not name it."""

from typing import Any

# The negative classes by positive class. Codes such as 1 and 2 are left out: either may be positive.
_YES = {
    "yes": ("no",), "y": ("n",), "true": ("false",), "t": ("f",), "1": ("0", "-1"), "positive": ("negative",), "pos": ("neg",),
    "ja": ("nein",), "oui": ("non",), "si": ("no",), "sí": ("no",), "on": ("off",),
}  # fmt: skip


def guess_positive(classes: list[Any]) -> tuple[Any, str] | None:
    """The class of the two that means yes, with the reason as the rest of a sentence; None if it is not clear."""
    for yes, no in (classes, classes[::-1]):
        if _plain(no) in _YES.get(_plain(yes), ()):
            return yes, f"`{yes}` means yes and the other class is `{no}`"
    return None


def _plain(value: Any) -> str:
    text = str(value).strip().casefold()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text
