"""What becomes of a score: the outputs of a model, for one row or for many as columns, equal to the bit."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from tenfold.core.decimals import PLACES, units_of
from tenfold.core.expr import AS_OF
from tenfold.processing.bring import shown
from tenfold.processing.compiled import compile_row
from tenfold.processing.evaluate import Made, evaluate
from tenfold.processing.frame import Column, Frame, column, types_of
from tenfold.serving.answer.answers import Said
from tenfold.serving.answer.questions import Asks
from tenfold.serving.rows.many import KnownMany, KnownRows
from tenfold.serving.rows.plan import Known, added
from tenfold.training.model import Model
from tenfold.training.outputs import PROBABILITY

_encode = msgspec.json.Encoder().encode
BLOCK = 10_000
"""Rows whose outputs are Python values at once."""


class Deciding:
    """Computes the outputs of a model as JSON texts, empty ones for a model without.

    Attributes
    ----------
    by
        The short hash of the rules.
    """

    def __init__(self, model: Model) -> None:
        rules = model.rules
        self.by, self._rules, self._kinds = rules.by, rules.exprs, rules.types
        self._unlike = [item for item in rules.types.items() if item[1] == "time" or item[1] in PLACES]
        self._label = model.label.type
        derived = added(model.spine)
        before = derived if derived.keys() & rules.reads.keys() else {}
        known = types_of(model.spine.root.fields) | dict(rules.reads)
        types = {name: kind for name, kind in known.items() if name not in before}
        self._row, self._behind = compile_row({**before, **rules.exprs}, types), len(before)
        places = {name: place for place, name in enumerate(model.columns)}
        self._features = [
            (name, places[name], PLACES.get(kind)) for name, kind in rules.reads.items() if name in places
        ]
        own = model.spine.fields.keys() | places.keys() | {AS_OF}
        self._said = [name for name in rules.reads if name not in own]

    def asked(
        self, asks: Asks, known: KnownMany | KnownRows, said: Said, versions: np.ndarray
    ) -> Sequence[str]:
        """Return the outputs of rows that are asked about: one by one where their features are."""
        if isinstance(known, KnownMany):
            return self.many(lambda: asks.frame or {}, asks.at, known.columns, said, versions)
        return [
            self.one(values, one, said.of(place), version) if self.by else ""
            for place, (values, one, version) in enumerate(
                zip(asks.values, known.rows, versions.tolist(), strict=True)
            )
        ]

    def one(self, values: Mapping[str, Any], known: Known, said: Said, version: int) -> str:
        """Return the outputs of a row, whose values are those of the spine's root."""
        if not self._rules:
            return ""
        row = {**values, AS_OF: known.at}
        for name, place, places in self._features:
            value = known.row[place]
            row[name] = value if places is None or value is None else units_of(value, places)
        for name in self._said:
            row[name] = self._value(name, said, version)
        told = dict(zip(self._kinds, self._row(row)[self._behind :], strict=True))
        for name, kind in self._unlike:
            told[name] = shown(told[name], kind)
        return _encode(told).decode()

    def many(
        self,
        rows: Callable[[], Frame],
        at: np.ndarray,
        features: Callable[[], Frame],
        said: Said,
        versions: np.ndarray,
    ) -> list[str]:
        """Return the outputs of n rows.

        Parameters
        ----------
        rows, features
            Give the fields of the spine with what it derives, and the features by name; asked only when they are read.
        at, versions : (n,) int64
            The moment of each row in microseconds UTC, and the version that answered it.
        """
        if not self._rules:
            return [""] * len(at)
        frame = {**rows(), AS_OF: Column("time", at, np.ones(len(at), dtype=np.bool_))}
        if self._features:
            given = features()
            frame |= {name: given[name] for name, _, _ in self._features}
        frame |= {name: self._column(name, said, versions) for name in self._said}
        made: Made = {}
        for name, rule in self._rules.items():
            frame[name] = evaluate(rule, frame, len(at), made)
        names, told = list(self._rules), []
        for first in range(0, len(at), BLOCK):
            cells = [_shown(frame[name].take(slice(first, first + BLOCK))) for name in names]
            told += [_encode(dict(zip(names, row, strict=True))).decode() for row in zip(*cells, strict=True)]
        return told

    def _value(self, name: str, said: Said, version: int) -> Any:
        """Return what the model says of one row."""
        if name == "version":
            return version
        if name == "score":
            score = float(said.score[0])
            return score if math.isfinite(score) else None
        if name == "decision":
            decision = said.decision[0]
            return None if decision is None else bool(decision)
        return self._column(name, said, np.array([version])).plain()[0]

    def _column(self, name: str, said: Said, versions: np.ndarray) -> Column:
        """Return what the model says of rows as a column: what is no number is null."""
        if name == "version":
            return Column("int", versions, np.ones(len(versions), dtype=np.bool_))
        if name == "decision":
            return column("bool", said.decision.tolist())
        if name == "prediction":
            return self._prediction(said)
        if name == "score":
            return _numbers(said.score)
        shares = dict(zip(said.classes, said.probabilities.T, strict=True))
        given = shares.get(name.removeprefix(PROBABILITY))
        return _numbers(np.full(len(versions), np.nan) if given is None else given)

    def _prediction(self, said: Said) -> Column:
        names: Sequence[Any] = said.classes
        if self._label != "str":
            names = [int(name) for name in names]
        chosen = said.shares.argmax(axis=1).tolist()
        fine = np.isfinite(said.score).tolist()
        return column(
            self._label, [names[place] if ok else None for place, ok in zip(chosen, fine, strict=True)]
        )


def _numbers(values: np.ndarray) -> Column:
    fine = np.isfinite(values)
    return Column("float", np.where(fine, values, 0.0), fine)


def _shown(item: Column) -> list[Any]:
    """Return values as they stand in JSON."""
    plain = item.plain()
    if item.type == "time" or item.type in PLACES:
        return [shown(value, item.type) for value in plain]
    return plain
