"""The trees of a booster as arrays: many rows go through them a few times faster than one by one, to the same bits.

LightGBM takes a row through all trees and waits for each comparison. Here eight rows go through a tree side by side
(`forest_loops.py`, compiled by numba). What is compared, and the order in which leaves are added, are LightGBM's own, so that
the scores are equal; what is not known here is left to the booster.
"""

import logging
import math
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

import numpy as np

from tenfold.features.kernel.twin.choice import allowed, compiled, compiled_beside

logger = logging.getLogger(__name__)

LOOPS = "tenfold.training.formats.forest_loops"
BOUNDS = 100_000, 20_000_000, 100_000_000
"""From how many rows times trees on: when the loops are loaded, when they were compiled before, when they have to be."""
WARM = 150
"""From how many trees on the loops are loaded for rows that are few at a time, before there are any."""
SAME = ("regression", "regression_l1", "huber", "quantile")
"""Objectives whose score is the sum of the leaves."""
CATEGORICAL, LEFT = 1, 2
NEVER, ZERO, IS_NAN = 0, 4, 8
"""Bits of a node's `decision_type`: whether it is a set of codes, where what is missing goes, and what counts as missing."""
PROBES = 256
"""Rows whose scores are compared before the loops are used."""
LARGEST = sys.float_info.max
"""Stands for infinity where NaN is larger than that."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees whose nodes follow each other, the two children of a node side by side; a leaf is its own child.

    Attributes
    ----------
    feature : (n_nodes,) uint32
        Which value of a row is compared; of 2 * width values, as NaN is small in the first half and large in the second.
    bound : (n_nodes,) float64
        What is larger goes to the second child.
    child : (n_nodes,) uint32
    leaf : (n_nodes,) float64
    root, depth : (n_trees,) uint32
    """

    width: int
    feature: np.ndarray
    bound: np.ndarray
    child: np.ndarray
    leaf: np.ndarray
    root: np.ndarray
    depth: np.ndarray
    sigmoid: float | None

    @staticmethod
    def of(text: str) -> "Forest | None":
        """Return the trees of a booster's text; None when they do something that is not known here."""
        head, *parts = text.split("\nTree=")
        given = _lines(head)
        sigmoid = _sigmoid(given.get("objective", ""))
        if given.get("num_tree_per_iteration") != "1" or sigmoid == 0 or "average_output" in head.split("\n"):
            return None
        nodes = _Nodes(int(given["max_feature_idx"]) + 1)
        known = all(nodes.add(_lines(part)) for part in parts)
        return nodes.forest(sigmoid) if known and parts else None

    def loops(self, rows: np.ndarray, asked: int) -> Any:
        """Return the loops that score rows, None where the booster is the better way; `asked` says how many rows there were so far."""
        if rows.dtype != np.float64 or rows.shape[1] != self.width or not rows.flags.c_contiguous:
            return None
        return compiled(LOOPS, "walk", asked * len(self.root), BOUNDS)

    def probes(self) -> np.ndarray:
        """Return rows of values at the bounds and beside them, missing and infinite: (PROBES, width) float64."""
        made, rows = np.random.default_rng(0), np.empty((PROBES, self.width))
        for place in range(self.width):
            own = self.bound[(self.feature % self.width == place) & (self.bound < LARGEST)]
            values = np.concatenate([own, np.nextafter(own, np.inf), [0.0, LARGEST, np.inf, -np.inf]])
            rows[:, place] = np.where(made.random(PROBES) < 0.2, np.nan, made.choice(values, PROBES))
        return rows

    def scores(self, rows: np.ndarray, loops: Any) -> np.ndarray:
        """Return the scores of rows that lie in memory as the loops read them."""
        out = np.zeros(len(rows))
        loops.walk(rows, self.feature, self.bound, self.child, self.leaf, self.root, self.depth, out)
        if self.sigmoid is not None:
            loops.link(self.sigmoid, out)
        return out


class Walks:
    """The trees of a booster as a forest, where that pays and some rows have the scores that the booster itself gives them."""

    def __init__(self, text: str, trees: int, booster: Callable[[np.ndarray], np.ndarray]) -> None:
        self._text, self._trees, self._booster = text, trees, booster
        self._many = self._few = 0
        self._scores: Callable[[np.ndarray], np.ndarray] | None = None
        self._thread: threading.Thread | None = None

    @cached_property
    def forest(self) -> Forest | None:
        """The trees; None when they do something that is not known."""
        return Forest.of(self._text)

    def many(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the scores; None where the booster is the better way."""
        self._many += len(rows)
        if self.forest is None or (loops := self.forest.loops(rows, self._many)) is None or not self._same:
            return None
        return self.forest.scores(rows, loops)

    def warm(self) -> None:
        """Load what few rows take: before anybody waits, as it takes a second in which no other thread gets far."""
        if self._thread is None and self._trees >= WARM and self._least < math.inf:
            self._begin().join()

    def few(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the scores of rows that lie in memory as the loops read them; None where the booster is the better way."""
        if self._thread is None:
            self._few += len(rows) * self._trees
            if self._few >= self._least and (LOOPS in sys.modules or not self._least):
                self._begin().join(None if not self._least else 0.0)
        return None if self._scores is None else self._scores(rows)

    @cached_property
    def _least(self) -> float:
        """From how many rows times trees on few rows take loops that are loaded."""
        return {"on": 0, "off": math.inf}.get(allowed(LOOPS), BOUNDS[0])

    def _begin(self) -> threading.Thread:
        self._thread = threading.Thread(target=self._make_ready, name="forest", daemon=True)
        self._thread.start()
        return self._thread

    def _make_ready(self) -> None:
        try:
            loops = None if self.forest is None else compiled_beside(LOOPS, "walk")
        except Exception:  # the booster goes on
            logger.exception("the loops for trees could not be loaded")
            return
        if self.forest is not None and loops is not None and self._same:
            self._scores = partial(self.forest.scores, loops=loops)

    @cached_property
    def _same(self) -> bool:
        """Whether some rows have the booster's scores, to the bit; to be asked once the loops are there."""
        if self.forest is None:
            return False
        rows = self.forest.probes()
        same = self.forest.scores(rows, sys.modules[LOOPS]).tobytes() == self._booster(rows).tobytes()
        if not same:
            logger.error("the loops for trees give other scores than LightGBM, which goes on without them")
        return same


class _Nodes:
    """Collects the nodes of trees."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows: list[tuple[int, float, int, float]] = []
        self._roots: list[int] = []
        self._depths: list[int] = []

    def add(self, tree: Mapping[str, str]) -> bool:
        """Add a tree; return False when it is of another kind."""
        inner = _Inner.of(tree, self._width)
        if inner is None:
            return False
        first = len(self._rows)
        order, depths = [0 if inner.features else -1], [0]
        for place, node in enumerate(order):  # which grows while it is gone through: level by level
            if node < 0:
                self._rows.append((0, np.inf, first + place, inner.leaves[~node]))
            else:
                self._rows.append((inner.features[node], inner.bounds[node], first + len(order), 0.0))
                order += inner.children[node]
                depths += [depths[place] + 1] * 2
        self._roots.append(first)
        self._depths.append(depths[-1])
        return True

    def forest(self, sigmoid: float | None) -> Forest:
        """Return the trees as arrays."""
        feature, bound, child, leaf = zip(*self._rows, strict=True)
        return Forest(
            self._width,
            np.array(feature, dtype=np.uint32),
            np.array(bound),
            np.array(child, dtype=np.uint32),
            np.array(leaf),
            np.array(self._roots, dtype=np.uint32),
            np.array(self._depths, dtype=np.uint32),
            sigmoid,
        )


@dataclass(frozen=True, slots=True)
class _Inner:
    """A tree as LightGBM writes it: inner nodes from 0, leaves from -1 down."""

    features: Sequence[int]
    bounds: Sequence[float]
    children: Sequence[tuple[int, int]]
    leaves: Sequence[float]

    @classmethod
    def of(cls, tree: Mapping[str, str], width: int) -> Self | None:
        """Return a tree; None when it compares sets of codes, takes zero as missing or has formulas in its leaves."""
        leaves = [float(text) for text in tree["leaf_value"].split()]
        if tree.get("is_linear", "0") != "0":
            return None
        if len(leaves) == 1:
            return cls([], [], [], leaves)
        kinds = [int(text) for text in tree["decision_type"].split()]
        if any(kind & (CATEGORICAL | ZERO) for kind in kinds):
            return None
        bounds = [float(text) for text in tree["threshold"].split()]
        features = [int(text) for text in tree["split_feature"].split()]
        sides = ([int(text) for text in tree[name].split()] for name in ("left_child", "right_child"))
        right = [_right(*each) for each in zip(kinds, bounds, strict=True)]
        if any(large and bound == LARGEST for large, bound in zip(right, bounds, strict=True)):
            return None  # as infinity is laid there
        bounds = [min(bound, LARGEST) if large else bound for large, bound in zip(right, bounds, strict=True)]
        features = [feature + width * large for feature, large in zip(features, right, strict=True)]
        return cls(features, bounds, list(zip(*sides, strict=True)), leaves)


def _right(kind: int, bound: float) -> bool:
    """Return whether NaN goes right at a node; where it does not count as missing, it is compared as 0."""
    return not kind & LEFT if kind & IS_NAN else bound < 0


def _sigmoid(objective: str) -> float | None:
    """Return the factor by which a sum becomes a probability; None where it stays as it is, 0 where that is not known."""
    name, *given = objective.split(" ")
    told = dict(item.split(":", 1) for item in given if ":" in item)
    if name == "binary" and told.keys() == {"sigmoid"} and len(given) == 1:
        return float(told["sigmoid"])
    return None if name in SAME and not given else 0.0


def _lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
