"""Declared columns: types, formats, names and time zones."""

import pytest

from keyfold.conf.columns import (
    RenamedColumn,
    check_folders,
    check_names,
    checked_zone,
    declared_columns,
    has_offset,
    known_type,
    origins,
)
from keyfold.errors import DataError


@pytest.mark.parametrize(
    "text", ["bigint", "decimal(10,2)", "date(dd.MM.yyyy)", "timestamp(dd/MM/yyyy 'at' HH:mm XXX)", "date(yyyy年M月d日)"]
)
def test_known_types_are_returned(text):
    assert known_type(text) == text


@pytest.mark.parametrize(("text", "sentence"), [
    ("strng", r"which is none of string, .*did you mean `string`"),
    ("decimal(10)", "which is none of"),
    ("date(MM.yyyy)", r"whose format must be like date\(dd.MM.yyyy\)$"),
    ("timestamp(dd.MM.yyyy Q)", r"must be like timestamp\(dd.MM.yyyy HH:mm:ss\)$"),
    ("timestamp_ntz(dd.MM.yyyy XXX)", r"\(an offset is for `timestamp` alone\)"),
])  # fmt: skip
def test_other_types_are_refused(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        known_type(text)


def test_a_declared_column_has_its_type_its_format_and_its_name_in_the_files():
    columns = {"day": RenamedColumn.model_validate({"from": "Datum", "type": "date(dd.MM.yyyy)"}), "id": "bigint"}
    declared = declared_columns(columns)
    assert declared["day"] == ("date", "dd.MM.yyyy", "Datum", "date(dd.MM.yyyy)")
    assert declared["id"] == ("bigint", None, "id", "bigint")
    assert origins(declared) == {"Datum": "day"}


def test_names_may_be_neither_reserved_nor_equal():
    declared = declared_columns({"day": RenamedColumn.model_validate({"from": "Datum", "type": "date"})})
    check_names("a.csv", ["Datum", "id"], declared)
    with pytest.raises(DataError, match=r"a.csv: the column name `Keyfold_x` is reserved for keyfold; rename it"):
        check_names("a.csv", ["Keyfold_x"], declared)
    with pytest.raises(DataError, match=r"data.columns.day is from `Datum`, but a.csv also has a column `day`"):
        check_names("a.csv", ["Datum", "DAY"], declared)
    check_folders("a.csv", ["id"], ["site"])
    with pytest.raises(DataError, match=r"a.csv has a column `Site`, and so do the names of its folders"):
        check_folders("a.csv", ["Site"], ["site"])


def test_zones_are_names_or_offsets():
    assert [checked_zone(zone) for zone in (None, "Europe/Berlin", "+02:00")] == [None, "Europe/Berlin", "+02:00"]
    with pytest.raises(ValueError, match=r"\(got `Europe/Berlyn`\) \(did you mean `Europe/Berlin`\?\)"):
        checked_zone("Europe/Berlyn")


def test_letters_in_quotes_are_no_offset():
    assert has_offset("HH:mm X") and not has_offset("HH:mm 'Z'")
