"""The options of CSV files: those that contradict each other are refused."""

import pytest
from pydantic import ValidationError

from keyfold.readers.csv_options import CsvOptions, canonical_encoding
from keyfold.readers.text_form import TextForm


def test_the_conf_decides_before_the_name_of_the_file():
    assert TextForm(default_delimiter="\t").delimiter == "\t"
    assert TextForm(csv=CsvOptions(delimiter=";"), default_delimiter="\t").delimiter == ";"


def test_readers_take_the_name_of_an_encoding_that_python_gives_it():
    assert TextForm(csv=CsvOptions(encoding="latin1")).encoding == "iso8859-1"


@pytest.mark.parametrize(("options", "sentence"), [
    ({"delimiter": '"'}, "delimiter, quote and escape must differ"),
    ({"escape": '"'}, "delimiter, quote and escape must differ"),
    ({"quote": "", "escape": "\\"}, "escape needs a `quote`"),
    ({"delimiter": "\\;", "escape": "\\"}, "escape needs a `quote`, and must differ from the delimiter"),
    ({"decimal": ",", "thousands": ","}, "decimal and thousands must differ"),
    ({"delimiter": "§"}, "must consist of ASCII characters"),
    ({"delimiter": "\n"}, "must consist of ASCII characters other than line breaks"),
    ({"encoding": "utf-9"}, "must be an encoding that Python knows"),
])  # fmt: skip
def test_what_contradicts_itself_is_refused(options, sentence):
    with pytest.raises(ValidationError, match=sentence):
        CsvOptions.model_validate(options)


@pytest.mark.parametrize(
    "options", [{"quote": ""}, {"quote": "", "delimiter": '"'}, {"escape": "\\"}, {"decimal": ",", "thousands": "."}]
)
def test_dialects_that_files_have(options):
    assert CsvOptions.model_validate(options).model_dump(exclude_unset=True) == options


def test_bytes_and_escapes_are_no_encodings_of_text():
    assert canonical_encoding("latin1") == "iso-8859-1" and canonical_encoding("UTF8") == "utf-8"
    for name in ("base64", "unicode_escape", "raw_unicode_escape", "utf-7", "undefined", "idna"):
        with pytest.raises(ValueError, match=f"got `{name}`"):
            canonical_encoding(name)
