"""Ensembles: models that combine the numbers of their members. Members are fitted as tasks, and saved in folders of their own.

scikit-learn's own ensembles draw rows by their place and split them without their groups. Here a row's draws depend on the hash of its
key, and members of a stack predict rows of groups that they were not fitted on. So an ensemble does not depend on the order of the rows.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Doubles
from keyfold.engine.parallel import with_one_thread
from keyfold.errors import DataError, KeyfoldError
from keyfold.features.kinds.numeric import Numeric
from keyfold.features.spec import FeatureArrays, FittedFeature, Spec
from keyfold.labels import Label, Multilabel, Number
from keyfold.models.examples import Examples
from keyfold.models.prior import Corrected, PriorCorrection

if TYPE_CHECKING:
    from keyfold.models.section import Bag, ModelConf, Stack, Vote

RunTasks = Callable[[Callable[[Any, Any], Any], Any, Sequence[Any]], list[Any]]
"""Runs `function(shared, task)` for each task, each on one thread: the results in the order of the tasks."""
CERTAIN = 1e-6  # probabilities are kept so far from 0 and 1 where their logarithm is taken


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


class Ensemble(Corrected):
    """Fitted members by name, and what combines their numbers: weights with the sum 1 (members), or a model of them."""

    def __init__(self, spec: Spec, members: Mapping[str, Fitted], weights: Doubles, meta: Fitted | None = None) -> None:
        self.spec, self.members, self.weights, self.meta = spec, dict(members), weights, meta

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that scoring needs besides those of keyfold."""
        return tuple(dict.fromkeys(name for member in self.members.values() for name in member.packages))

    @property
    def facts(self) -> dict[str, Any]:
        """The members and their weights, as JSON."""
        facts = {"members": {name: member.facts for name, member in self.members.items()}, "weights": self.weights.tolist()}
        return facts | ({"meta": self.meta.facts} if self.meta else {})

    def uncorrected_numbers(self, arrays: FeatureArrays, label: Label) -> Doubles:
        """Predicted numbers of n rows: (n,), or (n, k) for a label of k numbers."""
        return self.combined([member.numbers(arrays, label) for member in self.members.values()], label)

    def combined(self, numbers: Sequence[Doubles], label: Label) -> Doubles:
        """The numbers of the ensemble, by those of its members. A row's depend on no other row."""
        if self.meta:
            return self.meta.numbers(self.meta.spec.arrow(_meta_table(self.members, numbers, label)), label)
        first, *others = (weight * _as_learnt(label, one) for weight, one in zip(self.weights, numbers, strict=True))
        total = sum(others, first)
        return label.inverted(total) if isinstance(label, Number) else total.clip(0, 1)

    def save(self, folder: Path) -> None:
        """Writes the members into folders of their own."""
        for name, member in self.members.items():
            _save(member, folder / "members" / name)
        if self.meta:
            _save(self.meta, folder / "meta")
            (folder / "meta" / "spec.json").write_text(self.meta.spec.to_json(), "utf-8")

    @classmethod
    def load(cls, folder: Path, spec: Spec, facts: Mapping[str, Any], load: "Load") -> "Ensemble":
        """Reads a saved ensemble; `load` reads a member."""
        members = {name: load(folder / "members" / name, spec, one) for name, one in facts["members"].items()}
        meta = None
        if "meta" in facts:
            meta = load(folder / "meta", Spec.from_json((folder / "meta" / "spec.json").read_text("utf-8")), facts["meta"])
        return cls(spec, members, np.array(facts["weights"], np.float64), meta)


Load = Callable[[Path, Spec, Mapping[str, Any]], Fitted]


def _save(member: Fitted, folder: Path) -> None:
    folder.mkdir(parents=True)
    member.save(folder)


# --- fitting ---


class MemberFit(NamedTuple):
    """The fit of one member: on a draw of the rows (`share`), or on all rows, or without one of the parts, whose numbers it returns."""

    name: str
    model: "ModelConf"
    seed: int
    member: int = 0
    share: float | None = None
    held_out: int | None = None
    parts: int = 1


class _Shared(NamedTuple):
    spec: Spec
    rows: Examples


def fit_bag(bag: "Bag", spec: Spec, rows: Examples, seed: int, run: RunTasks) -> Ensemble:
    """Fits members on draws of the rows."""
    width = len(str(bag.members))
    fits = [MemberFit(f"member_{m + 1:0{width}}", bag.of, (seed + m) % 2**32, m, bag.share) for m in range(bag.members)]
    return Ensemble(spec, _fit_members(spec, rows, fits, run), np.full(bag.members, 1 / bag.members))


def fit_vote(vote: "Vote", spec: Spec, rows: Examples, seed: int, run: RunTasks) -> Ensemble:
    """Fits members on all rows, and weighs them."""
    members = _fit_members(spec, rows, [MemberFit(name, model, seed) for name, model in vote.members.items()], run)
    if vote.weights == "tuned":
        weights = _tuned_weights(members, rows.validation)
    else:
        given = dict.fromkeys(members, 1.0) if vote.weights == "equal" else vote.weights
        weights = np.array([given[name] for name in members])
    return Ensemble(spec, members, weights / weights.sum())


def fit_stack(stack: "Stack", spec: Spec, rows: Examples, seed: int, run: RunTasks) -> Ensemble:
    """Fits members on all rows, and a model of what they predict for parts that they were not fitted on."""
    assert rows.part is not None
    part, present = rows.part % stack.parts, np.unique(rows.part % stack.parts).tolist()
    if len(present) < 2:
        raise DataError(
            f"train.model.ensemble.stack: all {len(part):,} rows are in one of {stack.parts} parts, and members predict a part after a "
            "fit on the others; the split must have more groups"
        )
    whole = [MemberFit(name, model, seed) for name, model in stack.members.items()]
    fits = [*whole, *(fit._replace(held_out=p, parts=stack.parts) for fit in whole for p in present)]
    results = iter(_run_fits(spec, rows, fits, run))
    members = {fit.name: next(results) for fit in whole}
    numbers = []
    for _ in whole:
        of_parts = [(part == p, next(results)) for p in present]
        of_member = np.empty((len(part), *of_parts[0][1].shape[1:]))
        for mask, predicted in of_parts:
            of_member[mask] = predicted
        numbers.append(of_member)
    meta = _fit_meta(stack.meta, _meta_table(members, numbers, rows.label), rows, seed)
    return Ensemble(spec, members, np.full(len(members), 1 / len(members)), meta)


def _fit_members(spec: Spec, rows: Examples, fits: Sequence[MemberFit], run: RunTasks) -> dict[str, Fitted]:
    return dict(zip([fit.name for fit in fits], _run_fits(spec, rows, fits, run), strict=True))


def _run_fits(spec: Spec, rows: Examples, fits: Sequence[MemberFit], run: RunTasks) -> list[Any]:
    """The results of the fits (DataError if one fails)."""
    results = run(_fit_member, _Shared(spec, rows), fits)
    for fit, result in zip(fits, results, strict=True):
        if isinstance(result, str):
            raise DataError(f"train.model.ensemble: member `{fit.name}` cannot be fitted: {result}")
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


# --- combining ---


def _tuned_weights(members: Mapping[str, Fitted], validation: Examples | None) -> Doubles:
    """The convex weights with the lowest log loss, or mean squared error of a number; with four digits."""
    from scipy.optimize import minimize

    if validation is None or not len(validation.order):
        raise DataError(
            "train.model.ensemble.vote.weights: the validation fold has no row to tune weights on; give split.share a validation, or "
            "write `weights: equal`"
        )
    numbers = [member.numbers(validation.arrays, validation.label) for member in members.values()]
    loss = _loss(validation, numbers)
    start = np.full(len(members), 1 / len(members))
    found = minimize(
        loss, start, jac=True, method="SLSQP", bounds=[(0, 1)] * len(start),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}, options={"ftol": 1e-10, "maxiter": 500},
    )  # fmt: skip
    best = min((start, found.x.clip(0, 1)), key=lambda w: loss(w / w.sum())[0])
    return np.round(best / best.sum(), 4)


def _loss(rows: Examples, numbers: Sequence[Doubles]) -> Callable[[Doubles], tuple[float, Doubles]]:
    """The mean loss of weights over some rows, and its gradient (members); it is convex."""
    if not rows.label.has_classes:
        predicted = np.stack([_as_learnt(rows.label, one) for one in numbers], axis=1)
        scale = float(np.var(rows.y)) or 1.0

        def squared(weights: Doubles) -> tuple[float, Doubles]:
            error = predicted @ weights - rows.y
            return float(np.mean(error**2)) / scale, 2 * (predicted * error[:, None]).mean(axis=0) / scale

        return squared
    of_truth = np.stack([_probability_of_truth(rows.label, rows.y, one) for one in numbers], axis=1).clip(CERTAIN)

    def log_loss(weights: Doubles) -> tuple[float, Doubles]:
        mixed = (of_truth @ weights).clip(CERTAIN)
        return float(-np.log(mixed).mean()), -(of_truth / mixed[:, None]).mean(axis=0)

    return log_loss


def _probability_of_truth(label: Label, y: Any, numbers: Doubles) -> Doubles:
    """The predicted probability of what is true, one or more numbers for each row with a known class."""
    if isinstance(label, Multilabel) or label.width == 1:
        has = y.toarray() if isinstance(label, Multilabel) else y
        return np.where(has, numbers, 1 - numbers).reshape(-1)
    known = y >= 0
    return numbers[known, y[known]]  # type: ignore[no-any-return]


def _as_learnt(label: Label, numbers: Doubles) -> Doubles:
    """Probabilities, or numbers in the unit in which they were learnt."""
    return label.transformed(numbers) if isinstance(label, Number) else numbers


def _meta_table(members: Mapping[str, Fitted], numbers: Sequence[Doubles], label: Label) -> pa.Table:
    """The columns that the model of a stack takes: log-odds of each class, or numbers."""
    columns: dict[str, Doubles] = {}
    for name, one in zip(members, numbers, strict=True):
        values = _as_learnt(label, one).reshape(len(one), -1)
        if label.has_classes:
            inside = values.clip(CERTAIN, 1 - CERTAIN)
            values = np.log(inside / (1 - inside))
        columns |= {f"{name}_{k}": values[:, k] for k in range(values.shape[1])} if one.ndim == 2 else {name: values[:, 0]}
    return pa.table(columns)


def _fit_meta(model: "ModelConf", table: pa.Table, rows: Examples, seed: int) -> Fitted:
    """The model of a stack, on standardised columns."""
    features = {
        name: FittedFeature(Numeric(input_col=name, scale="standard"), _standard(table[name].to_numpy()))
        for name in table.column_names
    }
    spec = Spec(dict.fromkeys(table.column_names, "double"), features)
    learn = rows._replace(arrays=spec.arrow(table))
    return with_one_thread(lambda: model.fit(spec, learn, seed, run_in_turn))


def _standard(values: Doubles) -> dict[str, Any]:
    """The state of a standardised number."""
    mean, deviation = float(values.mean()), float(values.std())
    return {"shift": mean, "factor": 1 / deviation if deviation else 0.0, "offset": 0.0, "fill": mean, "bounds": None}
