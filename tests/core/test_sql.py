"""Names and values in SQL text."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.core import sql

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(texts)
def test_a_name_is_quoted_once(name):
    quoted = sql.quote_identifier(name)
    assert quoted[0] == quoted[-1] == "`" and quoted[1:-1].replace("``", "`") == name
    assert re.fullmatch("(``|[^`])*", quoted[1:-1], re.DOTALL)


def test_a_variable_in_a_name_is_not_read_as_one():
    assert sql.column_reference("a b") == "`a b`"
    assert sql.column_reference("${x}") == "IDENTIFIER(CAST(X'60247b787d60' AS STRING))"


@given(texts)
def test_a_text_has_no_character_that_a_parser_may_change(text):
    literal = sql.text_literal(text)
    if inner := re.fullmatch("'(.*)'", literal, re.DOTALL):
        assert inner[1] == text and not re.search(r"[$'\\\x00-\x1f\x7f-\U0010ffff]", text)
    else:
        assert bytes.fromhex(re.fullmatch(r"CAST\(X'([0-9a-f]*)' AS STRING\)", literal)[1]).decode() == text


@given(texts)
def test_a_property_is_plain_or_escaped(text):
    inner = sql.property_literal(text)[1:-1]
    assert re.fullmatch(r"([A-Za-z0-9 _.,:/-]|\\u[0-9a-f]{4}|\\U[0-9a-f]{8})*", inner)
    assert re.sub(r"\\[uU]([0-9a-f]{8}|[0-9a-f]{4})", lambda escape: chr(int(escape[1], 16)), inner) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_keeps_its_bits(x):
    literal = sql.double_literal(x)
    assert literal.endswith("D") and math.copysign(1, float(literal[:-1])) == math.copysign(1, x) and float(literal[:-1]) == x


@pytest.mark.parametrize(
    ("values", "condition"), [(["a"], "`p` IN ('a')"), (["a", "b'"], "`p` IN ('a', CAST(X'6227' AS STRING))")]
)
def test_a_condition_names_all_values(values, condition):
    assert sql.is_one_of("p", values) == condition
    assert sql.array_expression(["1L", "x"]) == "array(1L, x)" and sql.bigint_literal(-3) == "-3L"
