"""Which of two classes is the one that says yes, where nobody named it, and why."""

from typing import Any

# Not codes such as 1 and 2, of which either may be yes.
_YES = {
    "yes": ("no",), "y": ("n",), "true": ("false",), "t": ("f",), "1": ("0", "-1"), "positive": ("negative",), "pos": ("neg",),
    "ja": ("nein",), "oui": ("non",), "si": ("no",), "sí": ("no",), "on": ("off",),
}  # fmt: skip


def guess_positive(classes: list[Any]) -> tuple[Any, str] | None:
    """Of two classes the one that says yes, and the reason as the rest of a sentence; None where neither does."""
    for yes, no in (classes, classes[::-1]):
        if _plain(no) in _YES.get(_plain(yes), ()):
            return yes, f"`{yes}` says yes where the other class is `{no}`"
    return None


def _plain(value: Any) -> str:
    text = str(value).strip().casefold()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text
