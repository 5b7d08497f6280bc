"""Fields of CSV records."""

from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.text_form import TextForm
from reading import rows_and_reasons


def test_words_for_null_are_those_without_quotes(tmp_path):
    rows, _ = rows_and_reasons(
        tmp_path / "a.csv", 'a,b\nNA,"NA"\n,""\nNaN,\\N\n', TextForm(csv=CsvOptions(null_values=["NA", "\\N"]))
    )
    assert rows == [(2, None, "NA"), (3, None, ""), (4, "NaN", None)]
