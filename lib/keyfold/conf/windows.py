"""The windows of a conf: one series in one order."""

from typing import TYPE_CHECKING

from keyfold.core.names import CONTENT, KNOWN
from keyfold.errors import ConfError
from keyfold.features.kinds.windowed import Windowed
from keyfold.windows.kernel import Window
from keyfold.windows.series import Definition

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf


def definition(conf: "Conf") -> Definition | None:
    """The windows of a conf, None where it has none (ConfError where they are not of one series in one order)."""
    kinds = {name: f.kind for name, f in conf.features.items() if isinstance(f.kind, Windowed)}
    if not kinds:
        return None
    time = conf.data.time
    if time is None:
        raise ConfError(f"features.{next(iter(kinds))}: windows need data.time, the column that says when")
    series = [c for c in conf.data.key if c not in (time, CONTENT)]
    found = {name: (series if k.by is None else k.by, k.order_by or [time]) for name, k in kinds.items()}
    (first, (by, order)), *_ = found.items()
    for name, other in found.items():
        if other != (by, order):
            raise ConfError(
                f"features.{name} is by {', '.join(other[0]) or 'nothing'} in the order of {', '.join(other[1])}, and features.{first} by "
                f"{', '.join(by) or 'nothing'} in the order of {', '.join(order)}; the windows of a conf are of one series in one order"
            )
    if not by and kinds[first].by is None:
        raise ConfError(f"features.{first}.by must name the series, since the key does not ([] where the table is one series)")
    if order[0] != time:
        raise ConfError(f"features.{first}.order_by must begin with data.time, `{time}` (got {order[0]})")
    inputs = list(dict.fromkeys((k.input_col, k.value) for k in kinds.values()))
    windows = [k.window(inputs) for k in kinds.values()]
    if conf.view and conf.view.created:
        frames = dict.fromkeys(w.frame for w in windows)
        windows += [Window(f"{KNOWN}_{i}", f"x{len(inputs)}", "max", frame) for i, frame in enumerate(frames)]
        inputs.append((conf.view.created, None))
    return Definition(by, time, order[1:], inputs, windows)
