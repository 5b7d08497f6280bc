"""YAML 1.2 within limits: scalars, and what is refused with its place."""

import pytest

from keyfold.conf import yaml
from keyfold.errors import ConfError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Yes", "Yes"), ("no", "no"), ("on", "on"), ("true", True), ("False", False),
        ("1e-3", 0.001), (".5", 0.5), ("-1.", -1.0), ("12", 12), ("-0", 0), ("1.0", 1.0),
        ("2026-10", "2026-10"), ("2026-10-31", "2026-10-31"), ("12:30:00", "12:30:00"), ("007", "007"), ("0x10", "0x10"),
        ("~", None), ("null", None), ("", None), ('"1"', "1"), ("{a: [1, x]}", {"a": [1, "x"]}),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    parsed = yaml.parse_yaml(text)
    assert parsed == value
    assert type(parsed) is type(value)


BOMB = "a: &a [x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: !!python/object:os.system x", "line 1 is not YAML: could not determine a constructor for the tag"),
        ("a: 1\nb: 2\na: 3", "is not YAML: `a` appears twice"),
        ("a: {b: 1, c: 2, b: 3}", "`b` appears twice"),
        ("a: b: c", "line 1 is not YAML"),
        ("a:\n\t- b", "line 2 is not YAML: found character"),
        ("a\0", "is not YAML: unacceptable character"),
        ("--- a\n--- b", "another document"),
        ("[" * 10_000, "is nested too deep"),
        ("x: &x 1\ny: [" + "*x, " * 101 + "]", "more than 100 aliases"),
        (BOMB, "more than 20,000 values"),
        ("a: &a [*a]", "more than 20,000 values"),
        ("a: !!int x", "is not YAML: invalid literal"),
        ("a: !!bool maybe", "is not YAML"),
        ("9" * 5_000, "is not YAML"),
        ("? [a]\n: 1", "unhashable key"),
        ("a: '" + "x" * 1_000_000 + "'", "a conf may have 1,000,000 at most"),
        (b"name: caf\xe9", "is not UTF-8 (byte 9); save it as UTF-8"),
    ],
)  # fmt: skip
def test_a_text_that_is_not_yaml_is_refused_with_its_place(write, text, sentence):
    path = write(text)
    with pytest.raises(ConfError) as caught:
        yaml.read_yaml(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("text", ["[{}]".format("a, " * 100_000), "{{{}}}".format("".join(f"a{i}: b, " for i in range(50_000)))])
def test_too_many_values_are_refused_before_they_are_built(text, monkeypatch):
    monkeypatch.setattr(yaml, "_Loader", None)
    with pytest.raises(ConfError, match=r"the text is not YAML: it has more than 20,000 values"):
        yaml.parse_yaml(text)


def test_a_missing_conf_names_the_nearest(write):
    path = write("")
    with pytest.raises(ConfError, match=r"there is no conf `.*mime\.yaml` \(did you mean `mine\.yaml`\?\)"):
        yaml.read_yaml(path.with_name("mime.yaml"))
