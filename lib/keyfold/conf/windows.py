"""The windows of a conf, which have one series and one order."""

from collections.abc import Mapping

from keyfold.conf.data import Data
from keyfold.conf.views import View
from keyfold.core.names import CONTENT, KNOWN
from keyfold.errors import ConfError
from keyfold.features.kinds import Feature
from keyfold.features.kinds.windowed import Windowed
from keyfold.windows.kernel import Window
from keyfold.windows.series import SeriesDefinition


def series_definition(data: Data, features: Mapping[str, Feature], view: View | None = None) -> SeriesDefinition | None:
    """The windows among the features, or None; raises ConfError unless all have one series and one order."""
    kinds = {name: f.kind for name, f in features.items() if isinstance(f.kind, Windowed)}
    if not kinds:
        return None
    if data.time is None:
        raise ConfError(f"features.{next(iter(kinds))}: windows need data.time, the column with the date or time of each row")
    by, order = _series(data, data.time, kinds)
    inputs = list(dict.fromkeys((k.input_col, k.value) for k in kinds.values()))
    windows = [k.window(inputs) for k in kinds.values()]
    if view and view.created:
        frames = dict.fromkeys(w.frame for w in windows)
        windows += [Window(f"{KNOWN}_{i}", f"x{len(inputs)}", "max", frame) for i, frame in enumerate(frames)]
        inputs.append((view.created, None))
    return SeriesDefinition(by, data.time, order[1:], inputs, windows)


def _series(data: Data, time: str, kinds: Mapping[str, Windowed]) -> tuple[list[str], list[str]]:
    """The columns that identify the series, and those that order it."""
    key = [c for c in data.key if c not in (time, CONTENT)]
    series = {name: (key if k.by is None else k.by, k.order_by or [time]) for name, k in kinds.items()}
    (first, (by, order)), *_ = series.items()
    for name, other in series.items():
        if other != (by, order):
            raise ConfError(
                f"features.{name} is by {', '.join(other[0]) or 'nothing'}, ordered by {', '.join(other[1])}, and features.{first} is by "
                f"{', '.join(by) or 'nothing'}, ordered by {', '.join(order)}; all windows of a conf must have one series and one order"
            )
    if not by and kinds[first].by is None:
        raise ConfError(f"features.{first}.by must name the series, since the key does not ([] if the table is one series)")
    if order[0] != time:
        raise ConfError(f"features.{first}.order_by must begin with data.time, `{time}` (got {order[0]})")
    return by, order
