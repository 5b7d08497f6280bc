"""Rules: what is found in a row decides its class. A rule is right as often as it was in the train fold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keyfold.core.arrays import Doubles, Int64s
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.labels import Label
from keyfold.models.examples import Examples
from keyfold.models.prior import Corrected

NO_RULE = -1


class RulesLearner(NamedTuple):
    """Features by class: a row in which one of them is above 0 is of that class; of several classes, the first."""

    rules: Mapping[str, Sequence[str]]

    def fit(self, spec: Spec, rows: Examples, seed: int = 0, run: object = None) -> "Rules":
        """The rules, with the shares of the classes among the rows to which each applies, as if each class had one row more."""
        rules = {name: list(features) for name, features in self.rules.items()}
        fired, codes = first_rules(rules, rows.arrays), rows.y.astype(np.int64)
        counts = np.ones((len(rules), max(2, rows.label.width)))
        weight = np.ones(len(codes)) if rows.weight is None else rows.weight
        applies = fired != NO_RULE
        np.add.at(counts, (fired[applies], codes[applies]), weight[applies])
        return Rules(spec, rules, counts / counts.sum(axis=1, keepdims=True))


class Rules(Corrected):
    """Fitted rules, and the probabilities of the classes where each applies (rules, classes)."""

    packages: tuple[str, ...] = ()

    def __init__(self, spec: Spec, rules: Mapping[str, list[str]], shares: Doubles) -> None:
        self.spec, self.rules, self.shares = spec, dict(rules), shares

    @property
    def facts(self) -> dict[str, Any]:
        """The rules as JSON."""
        return {"rules": self.rules, "shares": self.shares.tolist()}

    def uncorrected_numbers(self, arrays: FeatureArrays, label: Label) -> Doubles:
        """Predicted numbers of n rows, (n,) or (n, k); NaN where no rule applies."""
        shares = self.shares if label.width > 1 else self.shares[:, 1]
        return np.concatenate([shares, np.full_like(shares[:1], np.nan)])[first_rules(self.rules, arrays)]  # type: ignore[no-any-return]

    def save(self, folder: Path) -> None:
        """Writes nothing: the facts are all."""


def first_rules(rules: Mapping[str, Sequence[str]], arrays: FeatureArrays) -> Int64s:
    """The place of the first rule that applies to each of n rows (n), NO_RULE where none does."""
    n = len(next(iter(arrays.values())))
    fired = np.full(n, NO_RULE, np.int64)
    for place, features in reversed(list(enumerate(rules.values()))):
        for name in features:
            fired[(np.asarray(arrays[name]).reshape(n, -1) > 0).any(axis=1)] = place
    return fired
