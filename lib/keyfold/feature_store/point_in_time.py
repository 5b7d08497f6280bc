"""The point-in-time join: each label row gets the features that were valid and known at its time, never one from the future.

A row of a view is valid from its time on, for its time to live, and counts only from the time at which it was known. A label row
gets the valid row of the latest time; of several rows of that time, the one that was known last (see `keyfold.engine.as_of`).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple

from keyfold.core.types import DAYS, family_of, require_family
from keyfold.engine.engine import AnyRows, as_given, frame_of
from keyfold.engine.frame import Frame, Joined
from keyfold.errors import DataError, suggestion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class ViewRows(NamedTuple):
    """The rows of a view.

    entity: columns of the label rows by columns of the view; time, known: columns of the view, with the time from which a row is
    valid and the time at which it was known (default: `time`); features: column names in the result by columns of the view;
    ttl: time to live in microseconds; unknown: whether label rows of an entity that the view does not have are an error.
    """

    name: str
    rows: "Frame | DataFrame"
    entity: Mapping[str, str]
    time: str
    features: Mapping[str, str]
    known: str | None = None
    ttl: int | None = None
    unknown: Literal["null", "error"] = "null"

    @property
    def frame(self) -> Frame:
        """The rows as a frame."""
        return frame_of(self.rows)

    @property
    def joined(self) -> Joined:
        """The rows as the engine joins them."""
        return Joined(self.name, self.frame, [*self.entity], self.time, self.known or self.time, self.features, self.ttl)


def training_set(labels: AnyRows, views: Sequence[ViewRows], time: str, say: Callable[[str], None] = lambda _: None) -> AnyRows:
    """The label rows, each exactly once, with the features that were valid and known at their `time`, else NULL.

    On Spark, views of one entity take one exchange and one sort. `say` gets a sentence about label rows whose entity a view does not
    have. Raises DataError for a missing column, a wrong type or a name that is taken, and for such label rows if `unknown` is "error".
    """
    rows = frame_of(labels)
    _check(rows, views, time)
    for entity, group in groupby(sorted(views, key=_entity), key=_entity):
        some = [*group]
        rows, unknown = rows.as_of(entity, time, [view.joined for view in some])
        for view, n in zip(some, unknown, strict=True):
            _report_unknown(view, n, say)
    return as_given(rows, labels)


def _entity(view: ViewRows) -> tuple[str, ...]:
    return tuple(view.entity.values())


def _check(labels: Frame, views: Sequence[ViewRows], time: str) -> None:
    owners = {c.casefold(): "the rows" for c in labels.columns}
    for view in views:
        if type(view.frame) is not type(labels):
            raise DataError(f"view `{view.name}`: its rows and those that take its features are of different engines")
        _check_columns(labels, view, time)
        _check_types(labels, view, time)
        for name in view.features.values():
            if owner := owners.get(name.casefold()):
                raise DataError(f"view `{view.name}`: column `{name}` is one of {owner}, too; rename the feature of the view")
            owners[name.casefold()] = f"view `{view.name}`"


def _check_columns(labels: Frame, view: ViewRows, time: str) -> None:
    needed = [(labels, "the rows have", c) for c in (*view.entity.values(), time)]
    needed += [
        (view.frame, "it has", c) for c in (*view.entity, view.time, *view.features, *([view.known] if view.known else []))
    ]
    for frame, subject, name in needed:
        if name not in frame.columns:
            raise DataError(f"view `{view.name}`: {subject} no column `{name}`{suggestion(name, frame.columns)}")


def _check_types(labels: Frame, view: ViewRows, time: str) -> None:
    for theirs, ours in view.entity.items():
        a, b = family_of(view.frame.types[theirs]), family_of(labels.types[ours])
        if a != b:
            raise DataError(f"view `{view.name}`: its entity `{theirs}` is {a}, and `{ours}` of the rows {b}; cast one of them")
    for frame, name in ((labels, time), (view.frame, view.time), (view.frame, view.known)):
        if name is not None:
            require_family(DAYS, family_of(frame.types[name]), f"view `{view.name}`: time `{name}`", "cast it")


def _report_unknown(view: ViewRows, n: int, say: Callable[[str], None]) -> None:
    if n:
        message = f"{n:,} rows have an entity ({', '.join(view.entity.values())}) that view `{view.name}` does not have"
        if view.unknown == "error":
            raise DataError(f"{message}; it is `unknown: error` in data.views")
        say(message)
