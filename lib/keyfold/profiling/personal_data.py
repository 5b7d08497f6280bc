"""Finds columns that identify people, such as names, addresses and telephone numbers: a model would memorize the people."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.profiling.column_profile import ColumnProfile

BIRTH = "a date of birth"
_BY_NAME = {
    "a name": "first_?name|last_?name|full_?name|middle_?name|given_?name|family_?name|surname|forename|maiden_?name|vorname|nachname|"
    "customer_?name|client_?name|patient_?name|employee_?name|person_?name|user_?name",
    "an e-mail address": "e_?mail(_?address)?",
    "a telephone number": "(tele)?phone(_?(number|no))?|mobile(_?(number|no))?|telefon(nummer)?|handy(nummer)?|fax",
    "a postal address": "(street_?|home_?|postal_?|mailing_?|billing_?|shipping_?)?address(_?line)?(_?\\d)?|street(_?name)?|anschrift|"
    "adresse|strasse|addr",
    "a number of a person": "ssn|social_?security(_?(number|no))?|passport(_?(number|no))?|iban|tax_?id|national_?id",
    BIRTH: "dob|birth_?date|date_?of_?birth|birthday|geburtsdatum|geburtstag",
}
_PERHAPS_NAME = "name|names|first|last|middle|person|owner|holder"
_CONTENT = {
    "an e-mail address": r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$",
    "an IP address": r"^(\d{1,3}\.){3}\d{1,3}$",
    "a postal address": r"(?i)^(\d+[a-z]? .*\b(street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|way|place|pl)\b\.?"
    r".*|.*(stra(ß|ss)e|str\.|weg|platz|gasse) \d+ ?[a-z]?)$",
}
_NAME = r"^\p{L}[\p{L}'\x{2019}.-]*([ ,]+[\p{L}'\x{2019}.-]+){0,3}$"
_MOST = 0.9  # share of the values
FEW = 10  # a column with at most so many distinct values is a category, whatever its name


def personal_reason(column: ColumnProfile, snake: str) -> str | None:
    """Why a column may identify people, as a clause; None if it does not. `snake`: its name in snake case."""
    what = _by_name(column, snake) or _by_content(column)
    return f"it looks like {what}; a model that memorizes people does not generalize" if what else None


def _by_name(column: ColumnProfile, snake: str) -> str | None:
    if len(column.distinct) <= FEW:
        return None
    for what, names in _BY_NAME.items():
        if re.fullmatch(f"(.*_)?({names})", snake) and (column.type in ("string", "bigint") or "birth" in what):
            return what
    if re.fullmatch(_PERHAPS_NAME, snake) and column.type == "string" and _share(column.distinct, _NAME) > _MOST:
        return "a name"
    return None


def _by_content(column: ColumnProfile) -> str | None:
    if column.type != "string" or len(column.distinct) <= FEW:
        return None
    return next((what for what, pattern in _CONTENT.items() if _share(column.distinct, pattern) > _MOST), None)


def _share(texts: pa.Array, pattern: str) -> float:
    return float(pc.mean(pc.match_substring_regex(pc.utf8_trim_whitespace(texts), pattern)).as_py() or 0)
