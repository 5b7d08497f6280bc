"""Actions: how many keys they take, and CSV files without formulas."""

import csv

import pyarrow as pa

from keyfold.scoring.actions import write_csv


def test_a_spreadsheet_sees_no_formula(tmp_path):
    formulas = [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\tx",
        "\rx",
        "\nx",
        "\n=1",
        " =1",
        "\ufeff=1",
        "\u200b+1",
        "\u3000@x",
        "\uff1d1+1",
        "\uff0b1",
        "\uff0d1",
        "\uff20x",
        "'=1",
        "'",
    ]
    plain = ["a=1", "é", "a\n=1", "", " ", "\u200b"]
    write_csv(pa.table({"=k": [*formulas, *plain, None], "n": [-1] * (len(formulas) + len(plain) + 1)}), tmp_path / "a.csv")
    lines = list(csv.reader((tmp_path / "a.csv").open(encoding="utf-8", newline="")))
    assert [line[0] for line in lines] == ["'=k", *(f"'{text}" for text in formulas), *plain, ""]
    assert {line[1] for line in lines[1:]} == {"-1"}
    assert [line[0].removeprefix("'") for line in lines[1:-1]] == [*formulas, *plain], "each value can be had back"
