"""Fits of models that are parts of another model: tasks that run at once, on all rows, on draws of them or out of fold."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from keyfold.core.arrays import Doubles
from keyfold.engine.parallel import with_one_thread
from keyfold.errors import DataError, KeyfoldError
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.labels import Label
from keyfold.models.examples import Examples
from keyfold.models.prior import PriorCorrection

RunTasks = Callable[[Callable[[Any, Any], Any], Any, Sequence[Any]], list[Any]]
"""Runs `function(shared, task)` for each task, each on one thread: the results in the order of the tasks."""


class Fitted(Protocol):
    """A fitted model."""

    spec: Spec
    prior: PriorCorrection | None

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that scoring needs besides those of keyfold."""

    @property
    def facts(self) -> dict[str, Any]:
        """What `load_fitted` needs besides the files, as JSON."""

    def numbers(self, arrays: FeatureArrays, label: Label) -> Doubles:
        """Predicted numbers of n rows: (n,), or (n, k) for a label of k numbers."""

    def uncorrected_numbers(self, arrays: FeatureArrays, label: Label) -> Doubles:
        """The numbers for the shares of the classes in training."""

    def save(self, folder: Path) -> None:
        """Writes the model into a folder."""


Load = Callable[[Path, Spec, Mapping[str, Any]], Fitted]
"""Reads a saved model by its facts."""


class Learner(Protocol):
    """A section of the conf that can be fitted."""

    def fit(self, spec: Spec, rows: Examples, seed: int, run: RunTasks) -> Fitted:
        """The fitted model; `run` runs the fits of its parts."""


class MemberFit(NamedTuple):
    """The fit of one member: on a draw of the rows (`share`), or on all rows, or without one of the parts, whose numbers it returns."""

    name: str
    model: Learner
    seed: int
    member: int = 0
    share: float | None = None
    held_out: int | None = None
    parts: int = 1


class _Shared(NamedTuple):
    spec: Spec
    rows: Examples


def fit_out_of_fold(
    what: str, models: Mapping[str, Learner], parts: int, spec: Spec, rows: Examples, seed: int, run: RunTasks
) -> tuple[dict[str, Fitted], list[Doubles]]:
    """Members that are fitted on all rows, and what each predicts for the rows of each part after a fit on the others.

    what: the option and what its models are, for a DataError if all rows are in one part, or if a model cannot be fitted.
    """
    assert rows.part is not None
    part, present = rows.part % parts, np.unique(rows.part % parts).tolist()
    if len(present) < 2:
        raise DataError(
            f"{what.partition(':')[0]}: all {len(part):,} rows are in one of {parts} parts, and a model predicts a part after a fit on the others; "
            "the split must have more groups"
        )
    whole = [MemberFit(name, model, seed) for name, model in models.items()]
    fits = [*whole, *(fit._replace(held_out=p, parts=parts) for fit in whole for p in present)]
    results = iter(run_fits(what, spec, rows, fits, run))
    members = {fit.name: next(results) for fit in whole}
    numbers = []
    for _ in whole:
        of_parts = [(part == p, next(results)) for p in present]
        of_member = np.empty((len(part), *of_parts[0][1].shape[1:]))
        for mask, predicted in of_parts:
            of_member[mask] = predicted
        numbers.append(of_member)
    return members, numbers


def run_fits(what: str, spec: Spec, rows: Examples, fits: Sequence[MemberFit], run: RunTasks) -> list[Any]:
    """The results of the fits; DataError, which says `what` they are of, if one fails."""
    results = run(_fit_member, _Shared(spec, rows), fits)
    for fit, result in zip(fits, results, strict=True):
        if isinstance(result, str):
            raise DataError(f"{what} `{fit.name}` cannot be fitted: {result}")
    return results


def _fit_member(shared: _Shared, fit: MemberFit) -> "Fitted | Doubles | str":
    """The fitted member, its numbers of the part that is held out, or why it cannot be fitted. A function, since tasks are pickled."""
    spec, rows = shared
    out = None if fit.held_out is None or rows.part is None else rows.part % fit.parts == fit.held_out
    learn = rows if out is None else rows.filter(~out)
    learn = learn if fit.share is None else learn.drawn(fit.member, fit.share)
    if lacking := _lacking_class(learn, rows):
        return f"{len(learn.order):,} of {len(rows.order):,} rows are its own, and {lacking}; train on more rows, or on fewer classes"
    try:
        member = fit.model.fit(spec, learn, fit.seed, run_in_turn)
        return member if out is None else member.numbers(rows.filter(out).arrays, rows.label)
    except (KeyfoldError, ValueError, TypeError, ArithmeticError) as error:
        return " ".join(str(error).split())


def _lacking_class(learn: Examples, rows: Examples) -> str:
    """The rest of a sentence if the rows to learn lack a class of two; empty if they do not."""
    if not len(learn.order):
        return "that is none"
    one_class = rows.label.has_classes and rows.y.ndim == 1 and rows.label.width == 1 and len(np.unique(learn.y)) < 2
    return "all have one class" if one_class else ""


def run_in_turn(function: Callable[[Any, Any], Any], shared: Any, tasks: Sequence[Any]) -> list[Any]:
    """Runs tasks one after the other in this process, each on one thread."""
    return [with_one_thread(partial(function, shared, task)) for task in tasks]
