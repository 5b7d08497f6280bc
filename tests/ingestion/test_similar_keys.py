"""The pattern that finds texts that may be in another form than NFC."""

import re
import sys
import unicodedata
from collections import defaultdict

from keyfold.ingestion.similar_keys import _UNUSUAL

MARKS = "".join(chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] == "M")
# Java's pattern in Python's notation.
PATTERN = re.compile(_UNUSUAL.replace(r"\p{M}", re.escape(MARKS)).replace(r"\x{2f800}-\x{2fa1d}", "\U0002f800-\U0002fa1d"))


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
