"""Broken quoting: which lines are bad, and where records begin again."""

from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.text_form import TextForm
from reading import rows_and_reasons


def test_backslashes_are_broken_quoting_unless_the_conf_says_what_they_are(tmp_path):
    notes = [
        r'1,"said \"yes\""',
        r'2,"said \"yes, please\""',
        r'3,"C:\dir\"',
        r'4,"the 5\" pipe"',
        '5,"a ""doubled"" one"',
        r"6,C:\dir",
    ]
    content = "\n".join(["id,note", *notes, ""])
    rows, bad = rows_and_reasons(tmp_path / "a.csv", content, TextForm())
    assert rows == [(4, "3", "C:\\dir\\"), (6, "5", 'a "doubled" one'), (7, "6", r"C:\dir")]
    after = "text after a closing quote"
    assert bad == {2: after, 3: after, 5: after}
    rows, bad = rows_and_reasons(tmp_path / "a.csv", content, TextForm(csv=CsvOptions(escape="\\")))
    wanted = ['said "yes"', 'said "yes, please"', 'the 5" pipe', 'a "doubled" one', r"C:\dir"]
    assert [row[-1] for row in rows] == wanted
    assert bad == {4: "a quote is not closed"}


def test_a_quote_swallows_no_lines(tmp_path):
    lines = [
        "id\ttext",
        '6\t"Stopped working ',
        "7\tlove it",
        '8\t"It performs well"',
        "9\tgood",
        '10\t"two\nlines"',
        '11\t"open',
        "12\tx",
    ]
    rows, bad = rows_and_reasons(tmp_path / "a.tsv", "\n".join(lines), TextForm(csv=CsvOptions(delimiter="\t", multi_line=True)))
    assert rows == [(5, "9", "good"), (6, "10", "two\nlines")]
    follows = "the line follows a bad line and may be part of its quoted text"
    assert bad == {
        2: "text after a closing quote", 3: follows, 4: follows, 8: "a quote is not closed",
        9: "the line is in quotes that open in line 8 and are not closed",
    }  # fmt: skip
