"""Fits a label of bands on the train fold: the edges, if they are quantiles, and the mean of each band."""

from typing import TYPE_CHECKING

import numpy as np

from keyfold.conf.label import LabelConf, Quantiles
from keyfold.core import hashing
from keyfold.core.arrays import Doubles
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
_PLACE = "keyfold_place"


def fit_bands(conf: LabelConf, family: str, train: Frame, data: "Data", counts: "LabelCounts") -> Bands:
    """The bands of the label in rows of the train fold (DataError if there are too few different numbers, or if a band has no row)."""
    numbers = _numbers(train, data, sum(n for (fold, _), n in counts.items() if fold == "train"))
    edges = _edges(conf, numbers)
    band = np.searchsorted(np.array(edges), numbers, side="right")
    rows = np.bincount(band, minlength=len(edges) + 1)
    ends = [numbers[0], *edges, numbers[-1]]
    if not rows.all():
        empty = int(np.argmin(rows))
        where = (
            f"below {edges[0]:g}"
            if not empty
            else f"from {ends[empty]:g}" + (f" to {ends[empty + 1]:g}" if empty < len(edges) else "")
        )
        raise DataError(
            f"label.bands: no row of the train fold is in the band {where} (its numbers are from {numbers[0]:g} to {numbers[-1]:g}); leave out an edge"
        )
    means = (
        np.add.reduceat(numbers, np.append(0, np.cumsum(rows)[:-1])) / rows
    )  # of sorted numbers, so the order of the rows does not matter
    interval = INTERVAL if conf.interval is None else conf.interval
    return Bands(family, tuple(edges), float(numbers[0]), float(numbers[-1]), tuple(means.tolist()), conf.take, interval)


def _numbers(train: Frame, data: "Data", rows: int) -> Doubles:
    """The label of the train fold in ascending order, or of a sample by the hash of the key if there are many rows."""
    key = [*data.key, *([data.time] if data.time and data.time not in data.key else [])]
    if rows > SAMPLE:
        place = sample_place(_PLACE, train.types, key, "bands")
        train = train.compute(place).where(col(_PLACE) < lit(round(SAMPLE / rows * hashing.PARTS)))
    numbers = train.select([LABEL]).to_arrow()[LABEL].to_numpy()
    if not (finite := np.isfinite(numbers)).all():
        raise DataError(
            f"label.bands: {np.count_nonzero(~finite):,} rows of the train fold have a label that is not a finite number"
        )
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
