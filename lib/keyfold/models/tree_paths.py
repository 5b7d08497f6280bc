"""Shapley values of trees by the leaves' paths: exact, with a conf's features as players, whatever the number of their columns.

The value of a set of features is the mean of a tree where the others are unknown: at a split on one of these, both sides count by the
share of the training rows that took them. (This is the definition of path-dependent TreeSHAP.) For one leaf it is a product over the
features on its path, whose Shapley value is an integral of a polynomial, so Gauss-Legendre quadrature is exact.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.core.arrays import Bools, Doubles

MAX_LEAVES = 100_000  # of all trees; more would take too long
_TABLES = 2**23  # numbers of all tables of leaves
_CELLS = 2**24  # of a block of rows


class Leaf(NamedTuple):
    """A leaf: its value, the players on its path, the shares of the training rows that their splits let through (players), its splits.

    steps: for each split the player's place among `players`, the node, and whether the path goes left.
    """

    value: float
    players: list[int]
    shares: Doubles
    steps: list[tuple[int, int, bool]]


class Split(NamedTuple):
    """The splits of a tree by node: column (-1 for a leaf), threshold, whether missing values go left, and categories that go left."""

    column: npt.NDArray[np.int64]
    threshold: Doubles
    missing_left: Bools
    categories: dict[int, Bools]  # by node

    def left(self, columns: npt.NDArray[Any], places: npt.NDArray[np.intp]) -> Bools:
        """Whether rows go left at each node (nodes, n); `columns`: (k, n), of which `places` gives each column's row."""
        goes = np.zeros((len(self.column), columns.shape[1]), bool)
        for node in np.flatnonzero(self.column >= 0).tolist():
            values = columns[places[self.column[node]]]
            missing = np.isnan(values)
            if node in self.categories:
                known = np.where(missing, 0, values).astype(np.intp)
                goes[node] = self.categories[node][known]
            else:
                goes[node] = values <= self.threshold[node]
            goes[node][missing] = self.missing_left[node]
        return goes


class Tree(NamedTuple):
    """A tree as its splits and its leaves."""

    split: Split
    leaves: list[Leaf]


class Trees(NamedTuple):
    """The trees of an estimator, whose raw prediction is a constant plus the sum of the leaves that a row reaches."""

    estimator: Any
    trees: list[Tree]
    columns: npt.NDArray[np.intp]  # those of the matrix that the trees use
    places: npt.NDArray[np.intp]  # of each column among these
    tables: list[list[Doubles | None]]
    players: int

    @classmethod
    def of(cls, estimator: Any, owners: Sequence[int]) -> "Trees | None":
        """The trees of an estimator of scikit-learn, None if it has none; `owners`: the player of each column of its matrix."""
        columns = _columns_of_nodes(estimator, len(owners))
        raw = [_of_histograms(*one) for one in _histogram_trees(estimator)] or [
            _of_nodes(*one) for one in _plain_trees(estimator)
        ]
        leaves = sum(int((split.column < 0).sum()) for split, *_ in raw)
        if not raw or leaves > MAX_LEAVES:
            return None
        player = np.asarray(owners)[columns]
        trees = [Tree(split, _leaves(split, children, value, cover, player)) for split, children, value, cover in raw]
        used = np.unique(np.concatenate([split.column[split.column >= 0] for split, *_ in raw])).astype(np.intp)
        places = np.zeros(len(columns), np.intp)
        places[used] = np.arange(len(used))
        return cls(estimator, trees, used, places, _tables(trees), max(owners) + 1)

    def contributions(self, rows: Any) -> Doubles:
        """What each player adds for n rows of the estimator's matrix (n, players). A row's bits depend on no other row."""
        size = max(1, _CELLS // (len(self.columns) + max(len(tree.split.column) for tree in self.trees)))
        parts = [self._block(rows[start : start + size]) for start in range(0, rows.shape[0], size)]
        return np.concatenate([np.empty((0, self.players)), *parts])

    def _block(self, rows: Any) -> Doubles:
        columns = _used_columns(self.estimator, rows, self.columns)
        total = np.zeros((self.players, rows.shape[0]))
        for tree, tables in zip(self.trees, self.tables, strict=True):
            left = tree.split.left(columns, self.places)
            for leaf, table in zip(tree.leaves, tables, strict=True):
                _add_leaf(total, leaf, table, left)
        return total.T


def shapley_values(shares: Doubles, follows: Bools) -> Doubles:
    """Shapley values of games of d players: the product of `follows` over a set's players and of `shares` over the others.

    shares: (leaves, d). follows: (rows, d). Returns (leaves, rows, d).
    """
    points, weights = np.polynomial.legendre.leggauss(-(-shares.shape[1] // 2))
    total = np.zeros((len(shares), *follows.shape))
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        mixed = shares[:, None, :] * (1 - point) + follows[None] * point
        total += weight * _products_of_others(mixed)
    return total * (follows[None] - shares[:, None, :])


def _products_of_others(factors: Doubles) -> Doubles:
    """For each factor of the last axis the product of the others."""
    ones = np.ones((*factors.shape[:-1], 1))
    before = np.multiply.accumulate(np.concatenate([ones, factors[..., :-1]], axis=-1), axis=-1)
    after = np.multiply.accumulate(np.concatenate([ones, factors[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    return before * after  # type: ignore[no-any-return]


def _add_leaf(total: Doubles, leaf: Leaf, table: Doubles | None, left: Bools) -> None:
    """Adds a leaf's contributions to (players, n)."""
    follows = np.ones((len(leaf.players), left.shape[1]), bool)
    for place, node, goes_left in leaf.steps:
        follows[place] &= left[node] if goes_left else ~left[node]
    if table is None:
        values = shapley_values(leaf.shares[None], follows.T)[0].T
    else:
        code = np.zeros(left.shape[1], np.intp)
        for place, one in enumerate(follows):
            code |= one.astype(np.intp) << place
        values = table[:, code]
    for player, value in zip(leaf.players, values, strict=True):
        total[player] += leaf.value * value


def _tables(trees: list[Tree]) -> list[list[Doubles | None]]:
    """For each leaf its Shapley values for every combination of players whose splits a row follows (d, 2^d), as far as memory allows."""
    leaves = [leaf for tree in trees for leaf in tree.leaves]
    players = np.array([len(leaf.players) for leaf in leaves])
    tables, room = dict[int, Doubles](), _TABLES
    for d in np.unique(players).tolist():
        places = np.flatnonzero(players == d).tolist()
        if (room := room - len(places) * d * 2**d) < 0:
            break
        codes = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
        values = shapley_values(np.stack([leaves[place].shares for place in places]), codes.astype(bool))
        tables |= {place: np.ascontiguousarray(table.T) for place, table in zip(places, values, strict=True)}
    found = iter(range(len(leaves)))
    return [[tables.get(next(found)) for _ in tree.leaves] for tree in trees]


# --- the trees of scikit-learn ---

Children = npt.NDArray[np.int64]  # (nodes, 2)
Raw = tuple[Split, Children, Doubles, Doubles]  # with the value and the cover of each node


def _leaves(split: Split, children: Children, value: Doubles, cover: Doubles, player: npt.NDArray[np.int64]) -> list[Leaf]:
    leaves, stack = [], [(0, list[tuple[int, bool]]())]
    while stack:
        node, path = stack.pop()
        if split.column[node] >= 0:
            stack += [(int(children[node, side]), [*path, (node, side == 0)]) for side in (1, 0)]
        elif path:
            owners = [int(player[split.column[at]]) for at, _ in path]
            players = list(dict.fromkeys(owners))
            shares, steps = np.ones(len(players)), []
            for owner, (at, left) in zip(owners, path, strict=True):
                place = players.index(owner)
                shares[place] *= cover[children[at, 0 if left else 1]] / cover[at]
                steps.append((place, at, left))
            leaves.append(Leaf(float(value[node]), players, shares, steps))
    return leaves


def _plain_trees(estimator: Any) -> list[tuple[Any, float]]:
    """The trees of a tree, a forest or gradient boosting, and the factor of their values."""
    module = type(estimator).__module__.removeprefix("sklearn.")
    if module.startswith("tree."):
        return [(estimator.tree_, 1.0)]
    if module == "ensemble._forest" and hasattr(estimator, "estimators_"):
        return [(one.tree_, 1 / len(estimator.estimators_)) for one in estimator.estimators_]
    if module == "ensemble._gb":
        return [(one.tree_, estimator.learning_rate) for one in estimator.estimators_.ravel()]
    return []


def _of_nodes(tree: Any, factor: float) -> Raw:
    split = Split(tree.feature.astype(np.int64), tree.threshold, tree.missing_go_to_left.astype(bool), {})
    # The share of the positive class, or the number.
    return (
        split,
        np.stack([tree.children_left, tree.children_right], axis=1),
        tree.value[:, 0, -1] * factor,
        tree.weighted_n_node_samples,
    )


def _histogram_trees(estimator: Any) -> list[tuple[Any, Any]]:
    """The nodes of the trees of histogram gradient boosting, and the categories of their splits."""
    predictors = getattr(estimator, "_predictors", None) or []
    return [(one.nodes, one.raw_left_cat_bitsets) for of_iteration in predictors for one in of_iteration]


def _of_histograms(nodes: Any, bitsets: Any) -> Raw:
    leaf = nodes["is_leaf"].astype(bool)
    categories = {
        node: np.unpackbits(
            np.ascontiguousarray(bitsets[nodes["bitset_idx"][node]], "<u4").view(np.uint8), bitorder="little"
        ).astype(bool)
        for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist()
    }
    column = np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64)
    split = Split(column, nodes["num_threshold"], nodes["missing_go_to_left"].astype(bool), categories)
    children = np.stack([nodes["left"], nodes["right"]], axis=1).astype(np.int64)
    return split, children, nodes["value"].astype(np.float64), nodes["count"].astype(np.float64)


def _columns_of_nodes(estimator: Any, columns: int) -> npt.NDArray[np.intp]:
    """The matrix's column of each column that nodes name: histogram gradient boosting moves categories to the front."""
    categorical = getattr(estimator, "is_categorical_", None)
    return np.arange(columns) if categorical is None else np.argsort(~categorical, kind="stable")


def _used_columns(estimator: Any, rows: Any, columns: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """The columns that nodes name, as they compare them (columns, n)."""
    if hasattr(estimator, "_preprocess_X"):
        return np.ascontiguousarray(estimator._preprocess_X(rows, reset=False)[:, columns].T)
    chosen = rows[:, columns]
    return np.ascontiguousarray((chosen.toarray() if hasattr(chosen, "toarray") else chosen).T, np.float32)
