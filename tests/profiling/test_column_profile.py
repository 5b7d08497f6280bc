"""Types of columns and words for missing values."""

import pytest

from drafts import Write, look, table


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["1", "-2"], "bigint"),
        (["9223372036854775807", "0"], "bigint"),
        (["9223372036854775808", "0"], "string"),
        (["12345678901234567890123", "1.5"], "string"),
        (["007", "1"], "string"),
        (["+49301234", "1"], "string"),
        (["1", "2.5"], "double"),
        (["1e-3", " .5 "], "double"),
        (["true", "False"], "boolean"),
        (["Yes", "true"], "string"),
        (["2026-02-28", "2024-02-29"], "date"),
        (["2026-02-29", "2024-02-29"], "string"),
        (["2026-10-01 12:00", "2026-10-01T12:00:01.5Z"], "timestamp"),
        (["2026-10-01T12:00Z", "2026-10-01 12:00"], "string"),
        (["2026-10-01 25:00", "2026-10-01 12:00"], "string"),
        (["", " "], "string"),
        (["NA", "1"], "string"),
    ],
)
def test_a_type_holds_every_value_without_loss(write: Write, values: list[str], type_: str) -> None:
    text, conf = look(write(table(v=[*values, *[""] * 18])))
    assert conf["data"]["columns"] == {"id": "string", "y": "string", "x": "bigint", "v": type_}
    missing = 18 + sum(not v.strip() for v in values)
    assert f"    v: {type_}  # {missing} missing\n" in text


def test_words_for_missing_values_are_found(write: Write) -> None:
    text, conf = look(
        write(
            table(
                v=["?", *(str(i % 15) for i in range(19))],
                w=["NA", "2026-01-02", "2026-01-03", "2026-01-04"] * 5,
                t=["none", "a"] * 10,
            )
        )
    )
    assert conf["data"]["csv"] == {"null_values": ["?", "NA"]}
    assert (conf["data"]["columns"]["v"], conf["data"]["columns"]["w"]) == ("bigint", "date")
    assert "    v: bigint  # 1 missing\n" in text and conf["features"]["t"] == {"one_hot": {"input_col": "t"}}
    _, conf = look(write("id,y,x,v\n" + "".join(f'{i},{i % 2},{i % 3},"{"NA" if i % 5 else i}"\n' for i in range(40))))
    assert "csv" not in conf["data"]  # words in quotes are text


def test_words_among_numbers_are_noted(write: Write) -> None:
    text, conf = look(write(table(v=["about 7", *(str(i % 15) for i in range(19))])))
    assert "one_hot" in conf["features"]["v"]
    assert 'numbers except "about 7": leave those cells empty to make it numeric' in text
