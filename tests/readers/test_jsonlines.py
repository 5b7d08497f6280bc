"""Lines of JSON: read all at once as they are read one by one."""

import json

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keyfold.readers.jsonlines import _object, json_rows
from keyfold.readers.text_form import TextForm

NAMES = ("a", "Größe", 'q"', "b")
KEYS = st.sampled_from([*NAMES, "A", "größe", "B", "c", "C", "", "id"])
TEXTS = st.text(st.sampled_from('ab"\\/\n\t\x7fé😀{}[]:, 0'), max_size=6)
NUMBERS = st.sampled_from(
    ["0", "-0", "7", "1e3", "1E+5", "1.50", "123456789012345678901234567890", "01", "1.", ".5", "-", "NaN", "nul"]
)
LITERALS = st.one_of(NUMBERS, st.sampled_from(["true", "false", "null"]))


@st.composite
def written(draw, depth=3):
    """A value as text, most of the time valid JSON."""
    kind = draw(st.sampled_from(["text", "literal", "object", "array"] if depth else ["text", "literal"]))
    if kind == "text":
        return json.dumps(draw(TEXTS), ensure_ascii=draw(st.booleans()))
    if kind == "literal":
        return draw(LITERALS)
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
    if kind == "array":
        return f"[{comma.join(draw(st.lists(written(depth - 1), max_size=3)))}]"
    return draw(objects(comma, colon, depth - 1))


@st.composite
def objects(draw, comma=",", colon=":", depth=2):
    keys = [json.dumps(key, ensure_ascii=draw(st.booleans())) for key in draw(st.lists(KEYS, max_size=4))]
    return "{" + comma.join(f"{key}{colon}{draw(written(depth))}" for key in keys) + "}"


@st.composite
def lines(draw):
    text = draw(objects(*draw(st.sampled_from([(",", ":"), (", ", ": "), ("  ,", ":\t")]))))
    if draw(st.integers(0, 3)) == 0:
        at, more = (
            draw(st.integers(0, len(text))),
            draw(st.sampled_from([*'{}[]",:\\ 0e-.\x01ntu', "null", "[]", "{}", '""', "\\ud800"])),
        )
        text = text[:at] + more + text[at + draw(st.integers(0, 1)) :]
    return text + draw(st.sampled_from(["\n", "\r\n", " \n", ""]))


@given(st.lists(lines(), max_size=6))
@example(['{"a":[1]2}', "{[1]:2}", '{"a":-[1]}', '{"a":[].5}', '{"a":tru[]}', "[]", "null", '{"a":{}"b":1}', '{"a":1}{"a":2}'])
@example(
    ['{"a":"\\ud83d\\ude00"}', '{"a":"\\ud83d"}', '{"a":"\\ude00\\ud83d"}', '{"\\u0061":1}', '{"a":1,"\\u0061":2}', '{"a":"\\x"}']
)
@example(
    [
        "{}",
        '{"a":' + "[" * 20 + "]" * 20 + "}",
        '{"a":[1, {"a":"x]"}] ,"b":"{"}',
        '{"a":"\\\\","b":"\\\\\\""}',
        '{"":{"a":[]},"a":1}',
    ]
)
@settings(max_examples=150, deadline=None)
def test_lines_are_read_at_once_as_they_are_one_by_one(texts):
    rows, odd = json_rows(pa.array([text.encode() for text in texts], pa.large_binary()), TextForm("json", NAMES))
    alone = [_object(text.encode(), TextForm("json", NAMES)) for text in texts]
    assert odd == {i: value for i, value in enumerate(alone) if isinstance(value, str)}
    assert [tuple(row.values()) for row in rows.to_pylist()] == [value for value in alone if not isinstance(value, str)]
