"""A SYNTHETIC telecom history: one row per customer and month, from joining to leaving; nobody in it exists.

Each block of 1,000 customers is drawn month by month from a counter-based stream, keyed by seed and block number. So rows do not depend
on partitions, more `customers` do not change the rows of others, and more `months` after the same first month only add rows and fill in
the labels of the former last month. (A different number of `months` before the same `end` changes the first month, and so the whole history.)
"""

from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.generators.drawing import (
    ColumnArrays,
    as_arrow,
    chance,
    cumulative_shares,
    draw,
    random_stream,
    schema_of,
    sparse_ids,
    texts,
)
from keyfold.generators.generator import Generator

TELECOM_BLOCK = 1_000
CONTRACTS = ["month-to-month", "one year", "two years"]
PLANS = ["Mini", "Start", "Senior", "Home", "Family", "Business", "Roam", "Max"]
PRICES = np.array([9.99, 14.99, 17.99, 24.99, 39.99, 49.99, 34.99, 59.99])
TELECOM_AGES = ["18-25", "26-35", "36-45", "46-55", "56-65", "66+"]
PAYMENTS = ["direct debit", "credit card", "bank transfer", "cash"]
CITIES = 3_000
_STARTS = "Al Bør Cast Dún Ebr Fal Gøt Hel Isk Jär Kõl Lüt Mar Nov Oss Pál Quin Rö Sant Þor Ul Vär Wen Żel"
_MIDDLES = "a e i o u á ê ö an el or in as und ør ij"
_ENDS = "burg ville stad by mere ton ford grad bad ça ñol sund heim holm wick łów see thal"


class _World(NamedTuple):
    """The population that all seeds sample from."""

    cities: list[str]
    city_cdf: Doubles
    pull: Doubles  # plans x cities: effect on the log-odds of leaving


class _People(NamedTuple):
    """The constant attributes of a block's 1,000 customers."""

    joined: Int64s  # days from the first month's first day; negative for earlier customers
    joins: Int64s  # the month of the history in which they join; 0 for earlier customers
    codes: dict[str, Int64s]
    charge: Doubles
    calls: Doubles
    data: Doubles
    mood: Doubles  # activity in the month before the first
    log_odds: Doubles


class Telecom(Generator):
    """Monthly history of the customers of a telecom company: one row per customer and month, with the true probability of leaving."""

    generator: Literal["telecom"] = Field(description="Name of the generator.")
    customers: int = Field(
        200_000, ge=1, le=2**50, description="Number of customers who ever join; those who join after `end` have no rows."
    )
    months: int = Field(6, ge=2, le=1_200, description="Number of months, up to the end.")
    end: str = Field(
        "2026-10",
        pattern=r"^[1-9]\d{3}-(0[1-9]|1[0-2])$",
        examples=["2026-10"],
        description="Last month; who leaves after it is unknown (NULL).",
    )

    types: ClassVar = {
        "customer_id": "bigint", "month": "date", "tenure_days": "int", "contract": "string", "plan": "string",
        "city": "string", "age_group": "string", "payment_method": "string", "monthly_charge": "double", "calls": "int",
        "data_gb": "double", "support_calls": "int", "complaints": "int", "late_payments": "int", "usage_change": "double",
        "left_next_month": "boolean", "true_probability": "double",
    }  # fmt: skip

    @property
    def things(self) -> int:
        """The number of customers."""
        return self.customers

    def block(self, number: int, size: int) -> pa.RecordBatch:
        """The history of a block's first `size` customers."""
        rng = random_stream(self.seed, number)
        starts = np.datetime64(self.end, "M") - self.months + np.arange(1, self.months + 2)
        people = _people(rng, starts[0])
        history = _history(rng, people, starts)
        who, when = np.nonzero(history.pop("present")[:size])
        columns: ColumnArrays = {name: values[who, when] for name, values in history.items()}
        names = {
            "contract": CONTRACTS,
            "plan": PLANS,
            "age_group": TELECOM_AGES,
            "payment_method": PAYMENTS,
            "city": _world().cities,
        }
        columns |= {name: texts(names[name], codes[who]) for name, codes in people.codes.items()}
        columns |= {
            "customer_id": sparse_ids(number * TELECOM_BLOCK + 1 + np.arange(TELECOM_BLOCK))[who],
            "monthly_charge": people.charge[who], "month": starts[when].astype("datetime64[D]"),
        }  # fmt: skip
        unknown = {name: np.isnan(columns[name]) for name in ("data_gb", "usage_change")}
        return as_arrow(schema_of(self.types), columns, unknown | {"left_next_month": when == self.months - 1})


@lru_cache(maxsize=1)
def _world() -> _World:
    rng = random_stream(20_26)
    pull = 0.65 * rng.standard_normal((len(PLANS), CITIES)) + 0.25 * rng.standard_normal(CITIES)
    return _World(_city_names(rng), cumulative_shares(1 / (np.arange(CITIES) + 8.0)), pull)


def _city_names(rng: np.random.Generator) -> list[str]:
    names = [a + b + c for a in _STARTS.split() for b in _MIDDLES.split() for c in _ENDS.split()]
    return [names[i] for i in rng.permutation(len(names))[:CITIES]]


def _people(rng: np.random.Generator, first: np.datetime64) -> _People:
    joins = np.where(rng.random(TELECOM_BLOCK) < 0.86, 0, rng.geometric(0.3, TELECOM_BLOCK))
    before = -1 - np.minimum(rng.gamma(1.1, 700, TELECOM_BLOCK), 9_000).astype(np.int64)
    day = ((first + joins).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)
    joined = np.where(joins > 0, day + rng.integers(0, 28, TELECOM_BLOCK), before)
    world, codes = _world(), _codes(rng)
    extra = rng.gamma(2.0, 3.0, TELECOM_BLOCK)
    pull = world.pull[codes["plan"], codes["city"]]
    contract = np.array([0.7, -0.7, -1.6])[codes["contract"]]
    noise = 0.35 * rng.standard_normal(TELECOM_BLOCK)
    charge = np.round(PRICES[codes["plan"]] * np.array([1, 0.93, 0.87])[codes["contract"]] + extra, 2)
    calls, data = rng.gamma(3.0, 14.0, TELECOM_BLOCK), 0.3 + rng.gamma(1.6, 5.0, TELECOM_BLOCK) * (PRICES[codes["plan"]] / 30)
    log_odds = -4.95 + contract + pull + 0.06 * (extra - 6) + noise
    return _People(joined, joins, codes, charge, calls, data, 0.3 * rng.standard_normal(TELECOM_BLOCK), log_odds)


def _codes(rng: np.random.Generator) -> dict[str, Int64s]:
    cdfs = {
        "contract": cumulative_shares([0.55, 0.25, 0.2]),
        "plan": cumulative_shares([0.1, 0.2, 0.08, 0.17, 0.17, 0.08, 0.05, 0.15]),
        "city": _world().city_cdf,
        "age_group": cumulative_shares([0.14, 0.22, 0.2, 0.18, 0.14, 0.12]),
        "payment_method": cumulative_shares([0.42, 0.28, 0.2, 0.1]),
    }
    return {name: draw(rng, of, TELECOM_BLOCK) for name, of in cdfs.items()}


def _history(rng: np.random.Generator, people: _People, starts: NDArray[np.datetime64]) -> ColumnArrays:
    """Arrays of 1,000 customers x months; `present`: which of them are rows."""
    days = (starts.astype("datetime64[D]") - starts[0].astype("datetime64[D]")).astype(np.int64)
    left, mood, before = np.zeros(TELECOM_BLOCK, bool), people.mood, people.data * np.exp(people.mood) * _season(starts[0] - 1)
    months = []
    for t, start in enumerate(starts[:-1]):
        mood = 0.6 * mood + 0.25 * rng.standard_normal(TELECOM_BLOCK)
        month, used = _month(rng, people, mood, before, _season(start), days[t + 1] - people.joined, people.joined >= days[t])
        months.append(month | {"present": (people.joins <= t) & ~left})
        before, left = used, left | (months[-1]["present"] & month["left_next_month"])
    return {name: np.stack([month[name] for month in months], axis=1) for name in months[0]}


def _season(month: np.datetime64) -> float:
    """Usage relative to the year's mean; it peaks in December."""
    return 1 + 0.12 * float(np.cos(2 * np.pi * ((month - np.datetime64("2000-12", "M")).astype(int) % 12) / 12))


def _month(
    rng: np.random.Generator, p: _People, mood: Doubles, before: Doubles, season: float, tenure: Int64s, new: Bools
) -> tuple[ColumnArrays, Doubles]:
    """One month of all 1,000 customers, present or not, so that each month has a fixed place in the stream; and their usage."""
    used = p.data * np.exp(mood) * season
    change = np.where(new, np.nan, np.round(used / before - 1, 4))
    complaints = rng.poisson(0.09, TELECOM_BLOCK)
    support = rng.poisson(0.25 + 1.2 * complaints)
    late = rng.poisson(np.array([0.03, 0.06, 0.12, 0.25])[p.codes["payment_method"]])
    drop = np.clip(-np.nan_to_num(change), 0, 1)
    young = np.exp(-np.maximum(tenure, 0) / 250)
    log_odds = p.log_odds + 1.6 * young + 1.5 * np.minimum(complaints, 3) + 5.2 * drop + 0.6 * np.minimum(late, 3)
    truth = chance(log_odds)
    month = {
        "tenure_days": tenure,
        "calls": rng.poisson(p.calls * np.exp(mood / 2) * season),
        "data_gb": np.where(rng.random(TELECOM_BLOCK) < 0.02, np.nan, np.round(used, 3)),
        "support_calls": support,
        "complaints": complaints,
        "late_payments": late,
        "usage_change": change,
        "left_next_month": rng.random(TELECOM_BLOCK) < truth,
        "true_probability": truth,
    }
    return month, used
