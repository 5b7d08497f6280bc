"""The pattern that finds texts that may be in another form than NFC."""

import re
import sys
import unicodedata
from collections import defaultdict

from keyfold.core.names import PERIOD
from keyfold.ingestion.similar_keys import _UNUSUAL, UNUSUAL, may_be_denormalised, similar_key_note

MARKS = "".join(chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] == "M")
# Java's and RE2's pattern in Python's notation.
PATTERN = re.compile(re.sub(r"\\x\{(\w+)\}", lambda match: chr(int(match[1], 16)), _UNUSUAL.replace(r"\p{M}", re.escape(MARKS))))


def test_of_different_texts_with_one_normal_form_at_most_one_is_not_found():
    forms = defaultdict(set)
    for text in map(chr, range(sys.maxunicode + 1)):
        decomposed = unicodedata.normalize("NFD", text)
        if decomposed != text:
            normal = unicodedata.normalize("NFC", text)
            forms[normal] |= {text, normal, decomposed}
    assert len(forms) > 10_000
    assert [texts for texts in forms.values() if sum(not PATTERN.search(text) for text in texts) > 1] == []


def test_plain_texts_are_not_found():
    assert not PATTERN.search("Köln straße 007 北京 😀 Σ")


def test_keys_of_one_period_that_are_equal_in_nfc_are_told(engine):
    """Columns of the key may have any name, also those that the library gives."""
    angstroms = ["\u00c5", "A\u030a", "\u212b"]
    cells = [
        *(("p", text, 1) for text in angstroms),
        ("q", angstroms[0], 1),
        ("p", angstroms[0], 2),
        ("p", "x", 3),
        ("q", "\U0002f800", 1),
    ]
    rows = engine.rows(cells, f"{PERIOD} string, n string, keyfold_normal int")
    found = rows.compute(may_be_denormalised(rows.types, ["n", "keyfold_normal"])).rows()
    assert [row["n"] for row in found if row[UNUSUAL]] == [*angstroms[1:], "\U0002f800"]
    assert similar_key_note(rows, ["n", "keyfold_normal"]) == [
        "1 keys differ from another key only in Unicode form, such as 'A\\u030a', 1 in period p; they are kept distinct"
    ]
    assert similar_key_note(rows.head(1), ["n", "keyfold_normal"]) == []
