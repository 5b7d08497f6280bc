"""Corrects probabilities of a model whose training had other shares of the classes than the rows that it predicts."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from keyfold.core.arrays import Doubles
from keyfold.features.spec import FeatureArrays
from keyfold.labels import Label

_STEPS, _NEAR = 1_000, 1e-6  # of the search for factors


class PriorCorrection(NamedTuple):
    """A factor of the probability of each class, in the order of codes; the products are scaled so that their sum is 1.

    By Bayes' theorem another frequency of a class changes its probability by a factor, whatever the features.
    """

    factors: tuple[float, ...]

    @classmethod
    def matching(cls, numbers: Doubles, shares: Doubles, weight: Doubles | None = None) -> "PriorCorrection":
        """The correction after which probabilities, (n) of the positive class or (n, k), have these means (k); `weight`: of the rows (n).

        A class whose share is 0 keeps its factor. The mean is exact also for a model that does not fit well, where the quotient of
        frequencies is not.
        """
        several = np.stack([1 - numbers, numbers], axis=1) if numbers.ndim == 1 else numbers
        factors = np.ones(len(shares))
        for _ in range(_STEPS):
            means = np.average(cls(tuple(factors)).corrected(several), axis=0, weights=weight)
            ratio = np.where((shares > 0) & (means > 0), shares / np.where(means > 0, means, 1), 1)
            factors *= ratio
            if abs(ratio - 1).max() < _NEAR:
                break
        return cls.from_json((factors / factors.max()).tolist())

    @classmethod
    def from_json(cls, factors: Iterable[float]) -> "PriorCorrection":
        """Reads saved factors (ValueError unless they are positive)."""
        correction = cls(tuple(map(float, factors)))
        if not all(0 < factor < np.inf for factor in correction.factors):
            raise ValueError(f"the factors of a prior correction must be positive (got {correction.factors})")
        return correction

    def corrected(self, numbers: Doubles) -> Doubles:
        """Probabilities for the true shares: of the positive class (n), or of all classes (n, k)."""
        if numbers.ndim == 1:
            negative, positive = self.factors
            raised = numbers * positive
            return raised / (raised + (1 - numbers) * negative)
        raised = numbers * np.array(self.factors)
        return raised / raised.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


class Corrected(ABC):
    """A fitted estimator or network whose probabilities are corrected for the rebalancing of its training, if there was any."""

    prior: PriorCorrection | None = None

    def numbers(self, arrays: FeatureArrays, label: Label) -> Doubles:
        """Predicted numbers of n rows: (n,), or (n, k) for a label of k numbers."""
        numbers = self.uncorrected_numbers(arrays, label)
        return self.prior.corrected(numbers) if self.prior else numbers

    @abstractmethod
    def uncorrected_numbers(self, arrays: FeatureArrays, label: Label) -> Doubles:
        """The numbers as they were learnt, for the shares of the classes in training."""
