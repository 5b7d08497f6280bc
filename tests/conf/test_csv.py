"""The dialect of CSV files."""

import pytest

from keyfold.conf.csv import CsvOptions

OTHER = {
    "delimiter": ";", "encoding": "windows-1252", "quote": "'", "escape": "\\", "multi_line": True, "null_values": ["NA"],
    "decimal": ",", "thousands": "'",
}  # fmt: skip


def test_another_value_is_known_for_each_option():
    assert OTHER.keys() == CsvOptions.model_fields.keys()


@pytest.mark.parametrize("option", OTHER)
def test_each_option_reaches_the_readers_or_the_casts(option):
    default, other = CsvOptions(), CsvOptions(**{option: OTHER[option]})
    assert (default.form(), default.text_format()) != (other.form(), other.text_format())


def test_the_conf_decides_before_the_name_of_the_file():
    assert CsvOptions().form("\t").delimiter == "\t"
    assert CsvOptions(delimiter=";").form("\t").delimiter == ";"
