"""Ensembles: models that combine the numbers of their members. Members are fitted as tasks, and saved in folders of their own.

scikit-learn's own ensembles draw rows by their place and split them without their groups. Here a row's draws depend on the hash of its
key, and members of a stack predict rows of groups that they were not fitted on. So an ensemble does not depend on the order of the rows.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Doubles
from keyfold.engine.parallel import with_one_thread
from keyfold.errors import DataError
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.labels import Label, Multilabel, Number
from keyfold.models.examples import Examples
from keyfold.models.log_odds import CERTAIN, as_learnt, log_odds_table, standardised
from keyfold.models.member_fits import Fitted, Load, MemberFit, RunTasks, fit_out_of_fold, run_fits, run_in_turn
from keyfold.models.prior import Corrected
from keyfold.models.registered import own_spec, registered_members

if TYPE_CHECKING:
    from keyfold.models.section import Bag, ModelConf, Stack, Vote

_MEMBER = "train.model.ensemble: member"


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
            return self.meta.numbers(self.meta.spec.arrow(log_odds_table(self.members, numbers, label)), label)
        first, *others = (weight * as_learnt(label, one) for weight, one in zip(self.weights, numbers, strict=True))
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
        own = own_spec(spec, [name for name, one in facts["members"].items() if "registered" in one])
        members = {name: load(folder / "members" / name, own, one) for name, one in facts["members"].items()}
        meta = None
        if "meta" in facts:
            meta = load(folder / "meta", Spec.from_json((folder / "meta" / "spec.json").read_text("utf-8")), facts["meta"])
        return cls(spec, members, np.array(facts["weights"], np.float64), meta)


def _save(member: Fitted, folder: Path) -> None:
    folder.mkdir(parents=True)
    member.save(folder)


# --- fitting ---


def fit_bag(bag: "Bag", spec: Spec, rows: Examples, seed: int, run: RunTasks) -> Ensemble:
    """Fits members on draws of the rows."""
    width = len(str(bag.members))
    fits = [MemberFit(f"member_{m + 1:0{width}}", bag.of, (seed + m) % 2**32, m, bag.share) for m in range(bag.members)]
    return Ensemble(spec, _fit_members(spec, rows, fits, run), np.full(bag.members, 1 / bag.members))


def fit_vote(vote: "Vote", spec: Spec, rows: Examples, seed: int, run: RunTasks) -> Ensemble:
    """Fits members on all rows, but those that are registered, and weighs them."""
    registered = registered_members(spec) if any(model.registered for model in vote.members.values()) else {}
    own = own_spec(spec, registered)
    learn = rows._replace(arrays={name: rows.arrays[name] for name in own.features}) if registered else rows
    fits = [MemberFit(name, model, seed) for name, model in vote.members.items() if not model.registered]
    fitted = _fit_members(own, learn, fits, run)
    members = {name: registered[name] if model.registered else fitted[name] for name, model in vote.members.items()}
    if vote.weights == "tuned":
        weights = _tuned_weights(members, rows.validation)
    else:
        given = dict.fromkeys(members, 1.0) if vote.weights == "equal" else vote.weights
        weights = np.array([given[name] for name in members])
    return Ensemble(spec, members, weights / weights.sum())


def fit_stack(stack: "Stack", spec: Spec, rows: Examples, seed: int, run: RunTasks) -> Ensemble:
    """Fits members on all rows, and a model of what they predict for parts that they were not fitted on."""
    members, numbers = fit_out_of_fold(_MEMBER, stack.members, stack.parts, spec, rows, seed, run)
    meta = _fit_meta(stack.meta, log_odds_table(members, numbers, rows.label), rows, seed)
    return Ensemble(spec, members, np.full(len(members), 1 / len(members)), meta)


def _fit_members(spec: Spec, rows: Examples, fits: Sequence[MemberFit], run: RunTasks) -> dict[str, Fitted]:
    return dict(zip([fit.name for fit in fits], run_fits(_MEMBER, spec, rows, fits, run), strict=True))


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
        predicted = np.stack([as_learnt(rows.label, one) for one in numbers], axis=1)
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


def _fit_meta(model: "ModelConf", table: pa.Table, rows: Examples, seed: int) -> Fitted:
    """The model of a stack, on standardised columns."""
    spec = Spec(dict.fromkeys(table.column_names, "double"), standardised(table))
    learn = rows._replace(arrays=spec.arrow(table))
    return with_one_thread(lambda: model.fit(spec, learn, seed, run_in_turn))
