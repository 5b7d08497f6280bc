"""Fits a label of bands on the train fold: the edges, if they are quantiles, and the mean of each band."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from keyfold.conf.label import LabelConf, Quantiles
from keyfold.core import hashing
from keyfold.core.arrays import Doubles, Int64s
from keyfold.core.names import LABEL
from keyfold.engine.columns import col, lit
from keyfold.engine.frame import Frame
from keyfold.engine.hashes import sample_place
from keyfold.errors import DataError
from keyfold.labels import Bands

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.dataset.fit_label import LabelCounts

SAMPLE = 1_000_000  # rows of the train fold that quantiles and means are taken from, at most
INTERVAL = 0.9
_SHARE_AT_LIMIT = 0.01  # of the rows, at least, that have a number at which others are cut off
_TIMES_OTHERS = 5  # how much more frequent it is than other numbers
_PLACE = "keyfold_place"


def fit_bands(
    conf: LabelConf, family: str, train: Frame, data: "Data", counts: "LabelCounts", say: Callable[[str], None]
) -> Bands:
    """The bands of the label in rows of the train fold (DataError if there are too few different numbers, or if a band has no row)."""
    numbers = _numbers(train, data, sum(n for (fold, _), n in counts.items() if fold == "train"))
    bands = bands_of(conf, family, numbers)
    _report_limits(bands, numbers, say)
    return bands


def bands_of(conf: LabelConf, family: str, numbers: Doubles) -> Bands:
    """The bands of numbers in ascending order (n); raises as `fit_bands`."""
    edges = _edges(conf, numbers)
    rows = np.bincount(np.searchsorted(np.array(edges), numbers, side="right"), minlength=len(edges) + 1)
    _check_filled(edges, numbers, rows)
    # The numbers are sorted, so the order of the rows does not matter.
    means = np.add.reduceat(numbers, np.append(0, np.cumsum(rows)[:-1])) / rows
    floor, cap = (_piled_up(numbers, end) for end in (numbers[0], numbers[-1]))
    return Bands(
        family, tuple(edges), float(numbers[0]), float(numbers[-1]), tuple(means.tolist()), conf.take,
        INTERVAL if conf.covered is None else conf.covered, floor=floor / rows[0], cap=cap / rows[-1],
    )  # fmt: skip


def _report_limits(bands: Bands, numbers: Doubles, say: Callable[[str], None]) -> None:
    for open_, end, side, name in (
        (bands.floor, "lowest", "below", bands.names[0]),
        (bands.cap, "highest", "above", bands.names[-1]),
    ):
        if open_:
            limit = getattr(bands, end)
            count = int(np.count_nonzero(numbers == limit))
            say(
                f"{count:,} of {len(numbers):,} numbers of the train fold are the {end} one, {limit:.15g}, which looks like a "
                f"limit: the band `{name}` is open, and true numbers may be {side}"
            )


def _piled_up(numbers: Doubles, end: float) -> int:
    """How many numbers are this end of their range, if they are so many that it seems to be a limit, else 0."""
    count, others = int(np.count_nonzero(numbers == end)), numbers[numbers != end]
    of_other = len(others) / max(1, len(np.unique(others)))
    return count if count >= _SHARE_AT_LIMIT * len(numbers) and count > _TIMES_OTHERS * of_other else 0


def _check_filled(edges: list[float], numbers: Doubles, rows: Int64s) -> None:
    """Raises DataError if a band has no row."""
    if rows.all():
        return
    empty = int(np.argmin(rows))
    above = f"from {edges[empty - 1]:g} to {edges[empty]:g}" if 0 < empty < len(edges) else f"from {edges[-1]:g}"
    where = f"below {edges[0]:g}" if not empty else above
    raise DataError(
        f"label.bands: no row of the train fold is in the band {where} (its numbers are from {numbers[0]:g} to {numbers[-1]:g}); leave out an edge"
    )


def _numbers(train: Frame, data: "Data", rows: int) -> Doubles:
    """The label of the train fold in ascending order, or of a sample by the hash of the key if there are many rows."""
    key = [*data.key, *([data.time] if data.time and data.time not in data.key else [])]
    if rows > SAMPLE:
        place = sample_place(_PLACE, train.types, key, "bands")
        train = train.compute(place).where(col(_PLACE) < lit(round(SAMPLE / rows * hashing.PARTS)))
    numbers = train.select([LABEL]).to_arrow()[LABEL].to_numpy()
    return np.sort(numbers)


def _edges(conf: LabelConf, numbers: Doubles) -> list[float]:
    if not isinstance(conf.bands, Quantiles):
        assert conf.bands is not None
        return conf.bands
    shares = np.arange(1, conf.bands.quantiles) / conf.bands.quantiles
    edges = [edge for edge in np.unique(np.quantile(numbers, shares, method="lower")).tolist() if edge > numbers[0]]
    if not edges:
        raise DataError(
            f"label.bands: `{conf.column}` has too few different numbers for quantiles; name the edges, or predict it as classes"
        )
    return edges
