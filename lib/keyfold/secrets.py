"""Redaction of passwords in messages, logs and pages. Each error of keyfold and all text that leaves a job passes `redacted`."""

import html
import json
import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

HIDDEN = "…"
_WORD = r"[^\s\"'<>]"  # a character of an address, which ends at a blank or a quote
_LONG = "password|passwd|passphrase|secret|token|credential|signature|access_?key|account_?key|api_?key|private_?key"
_NAMES = rf"(?:[\w.-]{{0,60}}(?:{_LONG})|(?:[\w.-]{{0,60}}[_.-])?(?:key|sig|pwd|pass|pw|auth))"
# Repetitions before a fixed word are bounded, so that long texts stay fast.
_OPTIONS = r"(?:password|passwd|passphrase|(?<![a-z])pwd|(?:secret|account|access|api|private)[_.-]?key|client[_.-]?secret)"
_OF_ADDRESSES = (
    # user:password@, up to the last @: a password may hold @ and slashes
    (re.compile(rf"(\b[a-z][\w+.-]{{0,40}}://)[^\s\"'<>/@:]*:{_WORD}*@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    # token@; in Azure's addresses this part is a container
    (re.compile(r"(\b(?!abfss?:|wasbs?:)[a-z][\w+.-]{0,40}://)[^\s\"'<>/@]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(rf"(\b[a-z][\w+.-]{{0,40}}%3a%2f%2f){_WORD}*?%40", re.IGNORECASE), rf"\1{HIDDEN}%40"),
    (re.compile(r"(\bjdbc:oracle:\w+:)[^\s@]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(rf"((?:[?&;#]|%3f|%26|%3b){_NAMES}(?:=|%3d))[^&;\s\"'<>#]+", re.IGNORECASE), rf"\1{HIDDEN}"),
)
_OF_TEXT = (
    # an option or a header, as drivers and HTTP clients quote them
    (re.compile(rf"({_OPTIONS}(?:\.[\w.-]{{1,99}})?\s?=\s?[\"']?)[^\s\"'&;,)<>]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(rf"({_OPTIONS}[\"']\s?:\s?[\"'])[^\"']+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(r"(\bauthorization[\"']?\s?[:=]\s?[\"']?(?:basic|bearer|digest|token|negotiate) )[^\s\"',<>]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(\bbearer )[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
)
_SECRET_VARIABLES = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|(?:API|ACCESS|STORAGE|ACCOUNT|PRIVATE|ENCRYPTION|SIGNING)_?KEY"
    r"|_(?:PWD|PASS|PW|PAT|SAS))(?:_|$)(?!.*(?:FILE|PATH|DIR)$)",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"(?:true|false|none|null|yes|no|on|off|[\d.,+-]{0,6})", re.IGNORECASE)  # words that occur in any text
_ADDRESS = re.compile(rf"^[a-z][\w+.-]{{0,40}}://[^/@:]*:({_WORD}+)@", re.IGNORECASE)
_WHOLE = re.compile(r"\s*[a-z][\w+.-]{0,40}://[^/@:]*:[^/@]*@", re.IGNORECASE)
_IN_OPTIONS = re.compile(rf"{_OPTIONS}(?:\.[\w.-]{{1,99}})?=([^;,\s]+)", re.IGNORECASE)
_registered: set[str] = set()
_SHORT = 4  # letters; shorter words are not redacted, because they occur in any text


def redacted(text: str) -> str:
    """The text without the passwords in its addresses and options, and without those of the environment."""
    for pattern, shown in _OF_ADDRESSES + _OF_TEXT:
        text = pattern.sub(shown, text)
    for word in sorted({form for form in _hidden() if len(form) >= _SHORT}, key=len, reverse=True):
        text = text.replace(word, HIDDEN)
    return text


def is_address(text: str) -> bool:
    """Whether a text begins like an address."""
    return re.match(r"\s*(?:jdbc:|[a-z][\w+.-]{0,40}(://|%3a%2f%2f))", text, re.IGNORECASE) is not None


def holds_password(address: str) -> bool:
    """Whether an address holds a password."""
    # The whole text is an address, so blanks and quotes may belong to the password.
    return any(pattern.search(address) for pattern, _ in _OF_ADDRESSES) or _WHOLE.match(address) is not None


def hide(words: Iterable[str]) -> None:
    """Registers more passwords to redact, such as those in a session's settings."""
    _registered.update(word for word in words if _may_be(word))


def _hidden() -> Iterator[str]:
    """Each known password in the forms that it takes in addresses, JSON, Python's quotes and HTML."""
    for word in {*_of_environment(), *_registered}:
        for form in (word, unquote(word)):
            yield from (form, quote(form), quote(form, safe=""), json.dumps(form)[1:-1], repr(form)[1:-1], html.escape(form))
            yield html.escape(form).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")  # as Jinja writes them


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        in_address = _ADDRESS.match(value) if name.endswith(("_URI", "_URL", "_DSN")) else None
        secret = _SECRET_VARIABLES.search(name) and _may_be(value)
        if in_address:
            yield in_address[1]
        elif secret:
            yield value
        elif option := _IN_OPTIONS.search(value):  # AccountKey=…; of a connection string
            yield option[1]


def _may_be(word: str) -> bool:
    return not _PLAIN.fullmatch(word) and not os.path.exists(word)  # noqa: PTH110 - takes a text of any length
