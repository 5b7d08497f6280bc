"""Features of rows that are computed once a model asks for them, of the rows that are left by then."""

from collections.abc import Iterable
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.errors import RowsError
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.models.examples import take_rows


class LazyFeatures:
    """The features of n rows: those that are known, and those that follow from the raw rows.

    A row's bits do not depend on the other rows, so it does not matter of how many rows a feature is computed.
    """

    def __init__(
        self, known: FeatureArrays, spec: Spec | None = None, raw: pa.Table | pa.RecordBatch | None = None, n: int | None = None
    ) -> None:
        self.known, self.spec, self.raw = known, spec, raw
        self.n = len(next(iter(known.values()))) if n is None else n
        self.first, self.places = self.n, np.arange(self.n)

    @classmethod
    def of_rows(cls, spec: Spec, rows: pa.Table | pa.RecordBatch) -> Self:
        """Those of raw rows, none of which is computed yet; raises DataError if a column is missing or of another type."""
        spec.check_rows(rows)
        return cls({}, spec, rows, rows.num_rows)

    def get(self, names: Iterable[str]) -> FeatureArrays:
        """The features of these names. Raises RowsError for rows that a feature refuses."""
        wanted = [*names]
        missing = [name for name in wanted if name not in self.known]
        if missing and self.spec is not None and self.raw is not None:
            try:
                computed = self.spec.only(missing).arrow(self.raw)
            except RowsError as error:
                raise RowsError(str(error), self._of_first_rows(error)) from error
            self.known |= {name: computed[name] for name in missing}
        return {name: self.known[name] for name in wanted}

    def _of_first_rows(self, error: RowsError) -> npt.NDArray[np.bool_]:
        """The rows at fault among those that there were at first."""
        at_fault = np.zeros(self.first, bool)
        at_fault[self.places] = error.rows
        return at_fault

    def take(self, places: npt.NDArray[np.intp]) -> "LazyFeatures":
        """Those of the rows at these places."""
        if len(places) == self.n:
            return self
        raw = None if self.raw is None else self.raw.take(pa.array(places))
        left = LazyFeatures(take_rows(self.known, places), self.spec, raw, len(places))
        left.first, left.places = self.first, self.places[places]
        return left
