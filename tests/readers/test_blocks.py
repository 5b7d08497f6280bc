"""Text files block by block: every line is a row, a bad line with its reason, or blank."""

import pytest

import written
from keyfold.readers.blocks import read_head, read_parts
from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.text_form import TextForm
from reading import rows_and_reasons, seen


def faults_of(file, found):
    """In what the reading differs from the truth."""
    rows, bad, blank = found
    true_rows = [(line.line, line.values) for line in file.lines if line.values is not None]
    wrong = {line.line: line for line in file.lines if line.values is None}
    told = {line.line: line for line in bad}
    if file.spread:  # a fault in quoting may take rows after it along; none is kept that is not true, and no line is lost
        if any("open r" in (value or "") for _, row in rows for value in row):
            return []  # a later quote closes it by chance: that is a row
        return [row for row in rows if row not in true_rows] + [line for line in wrong if line not in told]
    if rows != true_rows:
        return [pair for pair in zip(rows, true_rows, strict=False) if pair[0] != pair[1]] or [len(rows), len(true_rows)]
    if blank != file.blank or told.keys() != wrong.keys():
        return [("blank", blank, file.blank), ("bad", told, wrong)]
    return [
        (told[n], line)
        for n, line in wrong.items()
        if told[n].raw != line.raw or not any(reason in told[n].reason for reason in line.reasons)
    ]


def wrong(kind, seeds):
    found = {}
    for seed in seeds:
        file = written.drawn_file(kind, seed)
        if faults := faults_of(file, seen(file.name, file.form, file.data)):
            found[seed] = faults
    return found


@pytest.mark.parametrize("kind", ["csv", "multi", "json"])
def test_every_line_is_what_was_written(kind):
    assert wrong(kind, range(200)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("csv", 4000), ("multi", 3000), ("json", 3000)])
def test_every_line_of_ten_thousand_files_is_what_was_written(kind, count):
    assert wrong(kind, range(1000, 1000 + count)) == {}


def test_what_stands_before_the_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeffsep=;\r\n\r\nid;größe\r\n1;2,5\r\n".encode())
    head = read_head(str(path), TextForm())
    assert (head.form.names, head.form.delimiter, head.line, head.skipped) == (("id", "größe"), ";", 4, "sep=;")
    assert [part.rows.to_pylist() for part in read_parts(str(path), head)] == [[{"id": "1", "größe": "2,5"}]]
    path.write_text('"id","two\nlines"\n1,2\n')
    assert read_head(str(path), TextForm(csv=CsvOptions(multi_line=True))).form.names == ("id", "two\nlines")


def test_json_lines_of_more_or_less_than_one_object_are_told(tmp_path):
    content = (
        '{"id":1}\n{"id":2}{"id":3}\n{"id":4} {"id":5}\n{"id":6}, {"id":7}\n{"id":8} words\n{"id":9}]\n{"id":10}}\n{"id":11, }\n'
    )
    rows, bad = rows_and_reasons(tmp_path / "a.jsonl", content, TextForm("json", ("id",)))
    assert rows == [(1, "1")]
    assert set(bad.values()) == {
        "the line is not a JSON object: text follows the object",
        "the line is not a JSON object: expecting property name enclosed in double quotes",
    }
    assert [*bad] == [*range(2, 9)]


def test_json_keys_that_differ_by_case_are_found_and_two_of_them_are_told(tmp_path):
    content = '{"id":1,"UserPlan":"a"}\n{"ID":2,"UserPlan":"b"}\n{"id":3,"userplan":"c"}\n{"id":4,"ID":5}\n{"id":6,"x":1,"X":2}\n'
    rows, bad = rows_and_reasons(tmp_path / "a.jsonl", content, TextForm("json", ("id", "UserPlan")))
    assert rows == [(1, "1", "a"), (2, "2", "b"), (3, "3", "c"), (5, "6", None)]
    assert bad == {4: "the key `ID` is repeated, or differs from another key by case alone"}


def test_json_keys_that_stand_twice_are_told_whether_or_not_a_column_reads_them(tmp_path):
    content = '{"id":1,"x":1}\n{"id":2,"x":1,"x":2}\n{"id":3,"x":1,"x":1}\n{"id":4,"x":{"y":1,"y":2}}\n{"id":5,"x":1,"X":2}\n'
    rows, bad = rows_and_reasons(tmp_path / "a.jsonl", content, TextForm("json", ("id",)))
    assert rows == [(1, "1"), (4, "4"), (5, "5")]
    assert bad == dict.fromkeys((2, 3), "the key `x` is repeated, or differs from another key by case alone")
