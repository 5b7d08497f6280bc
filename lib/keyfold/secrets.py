"""Passwords, kept out of what is printed, logged or written: `redacted` is called by each error of keyfold, and wherever text leaves a job."""

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "…"
_WORD = r"[^\s\"'<>]"  # of an address, which ends at a blank or a quote
_LONG = "password|passwd|passphrase|secret|token|credential|signature|access_?key|account_?key|api_?key|private_?key"
_NAMES = rf"(?:[\w.-]*(?:{_LONG})|(?:[\w.-]*[_.-])?(?:key|sig|pwd|pass|pw|auth))"
_PATTERNS = (
    # user:password@, up to the last @, for a password may hold one, or a slash
    (re.compile(rf"(\b[a-z][\w+.-]*://)[^\s\"'<>/@:]*:{_WORD}*@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    # token@; in Azure's addresses a container stands there
    (re.compile(r"(\b(?!abfss?:|wasbs?:)[a-z][\w+.-]*://)[^\s\"'<>/@]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(rf"(\b[a-z][\w+.-]*%3a%2f%2f){_WORD}*?%40", re.IGNORECASE), rf"\1{HIDDEN}%40"),
    (re.compile(r"(\bjdbc:oracle:\w+:)[^\s@]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(rf"((?:[?&;#]|%3f|%26|%3b){_NAMES}(?:=|%3d))[^&;\s\"'<>#]+", re.IGNORECASE), rf"\1{HIDDEN}"),
)
_SECRET_VARIABLES = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIALS?|(?:API|ACCESS|STORAGE|ACCOUNT)_KEY)(?:_|$)(?!.*(?:FILE|PATH|DIR)$)",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"(?:true|false|none|null|yes|no|on|off|[\d.,+-]{0,6})", re.IGNORECASE)  # words that stand in any text
_ADDRESS = re.compile(rf"^[a-z][\w+.-]*://[^/@:]*:({_WORD}+)@", re.IGNORECASE)
_WHOLE = re.compile(r"\s*[a-z][\w+.-]*://[^/@:]*:[^/@]*@", re.IGNORECASE)
_SHORT = 4  # letters: a shorter word would be hidden wherever it stands


def redacted(text: str) -> str:
    """The text without the passwords of addresses in it, and without those of the environment."""
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    for word in sorted(set(_of_environment()), key=len, reverse=True):
        text = text.replace(word, HIDDEN)
    return text


def is_address(text: str) -> bool:
    """Whether a text begins as an address does."""
    return re.match(r"\s*(?:jdbc:|[a-z][\w+.-]*(://|%3a%2f%2f))", text, re.IGNORECASE) is not None


def holds_password(address: str) -> bool:
    """Whether an address has a password in it."""
    # All of it is an address, so that blanks and quotes are of the password, too.
    return any(pattern.search(address) for pattern, _ in _PATTERNS) or _WHOLE.match(address) is not None


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        in_address = _ADDRESS.match(value) if name.endswith(("_URI", "_URL")) else None
        secret = _SECRET_VARIABLES.search(name) and not _PLAIN.fullmatch(value) and not os.path.exists(value)  # noqa: PTH110 - takes a text of any length
        word = in_address[1] if in_address else value if secret else ""
        yield from (form for form in (word, unquote(word)) if len(form) >= _SHORT)
