"""SYNTHETIC mail: senders, subjects, texts and attachments, of which a quarter are spam; nobody wrote it.

Each mail is of a sort, and the sort decides what it is like: four sorts are wanted, four are spam. Some spam gives itself away by a word,
some by its sender, some only by its text, and some only by the text of its attachment. All parts of a mail are drawn independently of each
other for its sort, so the true probability of spam follows from them by Bayes' theorem.
"""

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from keyfold.core.arrays import Doubles, Int64s
from keyfold.generators.drawing import ColumnArrays, cumulative_shares, draw, joined_texts, random_stream, texts
from keyfold.generators.generator import EventLog

SORTS = ["colleague", "family", "newsletter", "receipt", "prize", "pills", "phishing", "malware"]
SHARES = np.array([0.32, 0.13, 0.18, 0.12, 0.08, 0.06, 0.06, 0.05])
SPAM = np.arange(len(SORTS)) >= 4
DOMAINS = [
    "corp.example", "post.example", "freemail.example", "letters.example", "shop.example", "bank.example", "winners.example",
    "cheap-pills.example", "secure-login.example", "files.example",
]  # fmt: skip
FROM = np.array([  # shares of the domains, by sort
    [80, 6, 8, 1, 0, 1, 0, 0, 0, 4], [2, 38, 58, 1, 0, 0, 0, 0, 0, 1], [8, 3, 4, 70, 10, 4, 0, 0, 0, 1],
    [2, 2, 2, 6, 70, 16, 0, 0, 0, 2], [1, 4, 34, 4, 2, 0, 53, 1, 1, 0], [0, 4, 38, 3, 3, 0, 2, 49, 1, 0],
    [4, 3, 14, 2, 10, 12, 1, 0, 53, 1], [16, 8, 30, 1, 8, 3, 1, 0, 1, 32],
])  # fmt: skip
KNOWN = np.array([0.9, 0.92, 0.6, 0.55, 0.02, 0.02, 0.04, 0.05])  # share of senders in the address book
NIGHT = np.array([0.05, 0.1, 0.15, 0.12, 0.4, 0.45, 0.3, 0.35])  # share of mails before six in the morning
FILES = ["", "report.pdf", "notes.docx", "figures.xlsx", "photo.jpg", "invoice.pdf", "archive.zip", "invoice.docm"]
ATTACHED = np.array([  # shares of the files, by sort
    [70, 9, 9, 8, 1, 2, 1, 0], [82, 1, 1, 0, 15, 0, 1, 0], [94, 4, 0, 0, 1, 1, 0, 0], [55, 1, 0, 0, 0, 44, 0, 0],
    [93, 2, 0, 0, 4, 1, 0, 0], [95, 1, 0, 0, 4, 0, 0, 0], [80, 2, 1, 0, 0, 14, 2, 1], [2, 16, 14, 10, 1, 30, 12, 15],
])  # fmt: skip
OWN = {  # words of each sort
    "colleague": "meeting project agenda draft review budget deadline minutes team schedule contract figures slides", "family":
    "dinner kids grandma weekend holiday birthday photos garden home love school cake", "newsletter": "issue readers unsubscribe article "
    "week editors events tickets offers sale season stories", "receipt": "order delivered invoice paid total item tracking shipped "
    "account customer returns thanks", "prize": "winner claim prize lottery cash congratulations bonus urgent guaranteed selected free "
    "reward", "pills": "pills pharmacy discount weight cheap doctor prescription herbal offer miracle loss cure", "phishing":
    "verify password suspended account login security bank confirm update expire unusual click", "malware": "attached invoice document "
    "enable open payment overdue copy file statement remittance scan",
}  # fmt: skip
STRENGTH = np.array([0.03, 0.03, 0.04, 0.05, 0.06, 0.05, 0.035, 0.015])  # share of a text's words that are its sort's own
FILLERS, FILE_WORDS, MACROS, MACRO = 1_500, 1_500, 12, 0.12
SYLLABLES = [a + b for a in "bdfgklmnprstv" for b in "aeiou"]


class _World(NamedTuple):
    """Words of texts and of files, and the shares of each by sort, with their logarithms (sorts, words)."""

    words: list[str]
    shares: Doubles
    in_files: Doubles


class Mail(EventLog):
    """Mails: one row per mail, with its sender, subject, text and attachment, and the true probability of spam; that of the last day is unknown."""

    generator: Literal["mail"] = Field(description="Name of the generator.")
    rows: int = Field(20_000, ge=1, le=2**50, description="Number of rows.")

    outcome: ClassVar = "spam"
    types: ClassVar = {
        "mail_id": "bigint", "received_at": "timestamp", "sender": "string", "domain": "string", "known_sender": "boolean",
        "subject": "string", "body": "string", "attachment": "string", "attachment_text": "string", "spam": "boolean",
        "true_probability": "double",
    }  # fmt: skip

    def columns(self, rng: np.random.Generator, ids: Int64s, day: NDArray[np.datetime64]) -> ColumnArrays:
        """The columns of a block."""
        world, n = _world(), len(ids)
        sort = draw(rng, cumulative_shares(SHARES), n)
        domain, file = _drawn(rng, FROM, sort), _drawn(rng, ATTACHED, sort)
        known, night = rng.random(n) < KNOWN[sort], rng.random(n) < NIGHT[sort]
        hour = np.where(night, rng.integers(0, 6, n), rng.integers(6, 24, n))
        subject = _Texts.drawn(rng, world.shares, sort, 3 + rng.poisson(3, n))
        body = _Texts.drawn(rng, world.shares, sort, 25 + rng.poisson(45, n))
        attached = _Texts.drawn(rng, world.in_files, sort, np.where(file > 0, 120 + rng.poisson(120, n), 0))
        odds = np.log(SHARES) + _logs(FROM)[:, domain].T + _logs(ATTACHED)[:, file].T
        odds += np.where(known[:, None], np.log(KNOWN), np.log(1 - KNOWN)) + np.where(
            night[:, None], np.log(NIGHT), np.log(1 - NIGHT)
        )
        odds += subject.log_shares(world.shares) + body.log_shares(world.shares) + attached.log_shares(world.in_files)
        chances = np.exp(odds - odds.max(axis=1, keepdims=True))
        sender = pc.binary_join_element_wise(texts(world.words, rng.integers(0, 400, n)), texts(DOMAINS, domain), "@")
        return {
            "mail_id": ids,
            "received_at": day.astype("M8[us]") + hour * 3_600_000_000 + rng.integers(0, 3_600_000_000, n),
            "sender": sender, "domain": texts(DOMAINS, domain), "known_sender": known,
            "subject": subject.joined(world.words), "body": body.joined(world.words),
            "attachment": pc.if_else(pa.array(file > 0), texts(FILES, file), None),
            "attachment_text": pc.if_else(pa.array(file > 0), attached.joined(world.words), None),
            "spam": SPAM[sort], "true_probability": np.round(chances[:, SPAM].sum(axis=1) / chances.sum(axis=1), 6),
        }  # fmt: skip


class _Texts(NamedTuple):
    """The words of n texts one after the other, and how many each has."""

    words: Int64s
    lengths: Int64s

    @classmethod
    def drawn(cls, rng: np.random.Generator, shares: Doubles, sort: Int64s, lengths: Int64s) -> "_Texts":
        """Words by the shares of each text's sort."""
        of_word = np.repeat(sort, lengths)
        ends = np.cumsum(shares, axis=1) / shares.sum(axis=1, keepdims=True) + np.arange(len(shares))[:, None]
        place = np.searchsorted(ends.reshape(-1), rng.random(len(of_word)) + of_word, "right") - of_word * shares.shape[1]
        return cls(np.minimum(place, shares.shape[1] - 1), lengths)

    def log_shares(self, shares: Doubles) -> Doubles:
        """The logarithm of the chance of each text, by sort (texts, sorts)."""
        sums = np.concatenate([np.zeros((len(shares), 1)), np.cumsum(np.log(shares)[:, self.words], axis=1)], axis=1)
        ends = np.cumsum(self.lengths)
        return (sums[:, ends] - sums[:, ends - self.lengths]).T  # type: ignore[no-any-return]

    def joined(self, words: list[str]) -> pa.Array:
        """The texts."""
        return joined_texts(self.words, self.lengths, words)


def _drawn(rng: np.random.Generator, shares: NDArray[np.int64], sort: Int64s) -> Int64s:
    """A code for each row, by the shares of its sort."""
    ends = np.cumsum(shares, axis=1) / shares.sum(axis=1, keepdims=True)
    return np.minimum((rng.random(len(sort))[:, None] >= ends[sort]).sum(axis=1), shares.shape[1] - 1)  # type: ignore[no-any-return]


def _logs(shares: NDArray[np.int64]) -> Doubles:
    with np.errstate(divide="ignore"):
        return np.log(shares / shares.sum(axis=1, keepdims=True))  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _world() -> _World:
    rng = random_stream(20_33)
    made = ["".join(SYLLABLES[i] for i in three) for three in np.stack(np.unravel_index(rng.permutation(65**3), (65,) * 3), 1)]
    own = list(dict.fromkeys(" ".join(OWN.values()).split()))
    words = [*made[: FILLERS + FILE_WORDS + MACROS], *own]
    shares, in_files = np.full((2, len(SORTS), len(words)), 1e-9)
    shares[:, :FILLERS] = rng.permuted(1 / (10 + np.arange(FILLERS)))
    in_files[:, FILLERS : FILLERS + FILE_WORDS] = 1 / (10 + np.arange(FILE_WORDS))
    shares /= shares.sum(axis=1, keepdims=True)
    in_files /= in_files.sum(axis=1, keepdims=True)
    strays = 0.03 * rng.random(len(own)) ** 3  # how often words occur in mails of other sorts, relative to those of their own
    for sort, (name, strength) in enumerate(zip(SORTS, STRENGTH, strict=True)):
        mine = np.array([word in OWN[name].split() for word in own])
        stray = np.where(mine, 1.0, strays)
        shares[sort] *= 1 - strength
        shares[sort, -len(own) :] += strength * stray / stray.sum()
    macros = slice(FILLERS + FILE_WORDS, FILLERS + FILE_WORDS + MACROS)
    in_files[:, macros] += 0.002 / MACROS
    in_files[SORTS.index("malware"), macros] += MACRO / MACROS
    return _World(words, *(table / table.sum(axis=1, keepdims=True) for table in (shares, in_files)))
