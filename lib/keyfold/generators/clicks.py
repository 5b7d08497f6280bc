"""A SYNTHETIC log of ads: which user saw which ad for which keyword, and whether it was clicked; nobody in it exists.

Clicks depend on interactions: of user group and ad, and of device and hour. Group, ad, device and hour alone explain little.
`layout` has no effect.
"""

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from keyfold.core.arrays import Doubles, Int64s
from keyfold.generators.drawing import ColumnArrays, chance, crossing, cumulative_shares, draw, random_stream, sparse_ids, texts
from keyfold.generators.generator import EventLog

USERS, ADS, KEYWORDS = 5_000, 100, 500
GROUPS = ["students", "families", "retired", "commuters", "gamers", "gardeners"]
DEVICES = ["desktop", "phone", "tablet"]
CLICKS_LAYOUTS = ["A", "B"]
_KINDS = "best cheap fast green light new old quiet red small smart soft used warm wide wild"
_GOODS = """bag bed bike book boots camera car chair clock coat desk door drill flat fridge game garden guitar hat holiday
insurance jacket jeans kettle lamp laptop loan phone piano plant shoes sofa"""
AD_IDS = [f"ad-{number:03}" for number in range(1, ADS + 1)]
PHRASES = [f"{kind} {thing}" for thing in _GOODS.split() for kind in _KINDS.split()][:KEYWORDS]


class _World(NamedTuple):
    """The population that all seeds sample from."""

    group: Int64s  # of each user
    user: Doubles  # effect on the log-odds of a click
    ad: Doubles
    keyword: Doubles
    pull: Doubles  # groups x ads
    hours: Doubles  # devices x hours


class Clicks(EventLog):
    """Log of ads: one row per impression, with the true probability of a click; the clicks of the last day are unknown."""

    generator: Literal["clicks"] = Field(description="Name of the generator.")

    outcome: ClassVar = "clicked"
    types: ClassVar = {
        "impression_id": "bigint", "shown_at": "timestamp", "user_id": "bigint", "user_group": "string", "ad_id": "string",
        "keyword": "string", "device": "string", "layout": "string", "clicked": "boolean", "true_probability": "double",
    }  # fmt: skip

    def columns(self, rng: np.random.Generator, ids: Int64s, day: NDArray[np.datetime64]) -> ColumnArrays:
        """The columns of a block."""
        world, n = _world(), len(ids)
        hour, user, ad, keyword = (draw(rng, of, n) for of in _SHARES)
        device, layout = draw(rng, cumulative_shares([3, 5, 1]), n), rng.integers(0, 2, n)
        group = world.group[user]
        log_odds = -2.3 + world.user[user] + world.ad[ad] + world.keyword[keyword] + world.pull[group, ad]
        truth = chance(log_odds + world.hours[device, hour])
        return {
            "impression_id": ids,
            "shown_at": day.astype("M8[us]") + (hour * 3_600_000_000 + rng.integers(0, 3_600_000_000, n)),
            "user_id": sparse_ids(user + 1), "user_group": texts(GROUPS, group), "ad_id": texts(AD_IDS, ad),
            "keyword": texts(PHRASES, keyword), "device": texts(DEVICES, device), "layout": texts(CLICKS_LAYOUTS, layout), "clicked": rng.random(n) < truth, "true_probability": truth,
        }  # fmt: skip


_SHARES = [
    cumulative_shares(1.2 - np.cos(2 * np.pi * (np.arange(24) - 4) / 24)),  # peaks at four in the afternoon
    *(cumulative_shares(1 / (np.arange(n) + few)) for n, few in ((USERS, 50), (ADS, 8), (KEYWORDS, 20))),
]


@lru_cache(maxsize=1)
def _world() -> _World:
    rng = random_stream(20_27)
    user, ad, keyword = (strength * rng.standard_normal(n) for n, strength in ((USERS, 0.5), (ADS, 0.4), (KEYWORDS, 0.4)))
    peak = np.array([[10], [17], [22]])
    hours = 0.7 * np.cos(2 * np.pi * (np.arange(24) - peak) / 24)
    return _World(rng.integers(0, len(GROUPS), USERS), user, ad, keyword, crossing(rng, len(GROUPS), ADS, 1.2), hours)
