"""Reads the records of many states at once, as columns."""

from collections.abc import Sequence

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel.compute import Input
from tenfold.features.records import Rows
from tenfold.features.state import layout
from tenfold.features.state.layout import HEADER, WORD, Needs
from tenfold.features.state.shapes import Spread, States
from tenfold.features.view import FeatureView
from tenfold.processing.frame import DTYPES, Column

_NOTHING = np.zeros(0, dtype=np.int64)


class Stored:
    """Reads the records of several states."""

    def __init__(self, made: States, states: Sequence[bytes]) -> None:
        self.made, self.buffer = made, b"".join(states)
        self.words = np.frombuffer(self.buffer, dtype=np.int64)
        lengths = np.array([len(state) for state in states], dtype=np.int64) // WORD
        start = np.cumsum(lengths) - lengths
        header = self.words[start[:, None] + np.arange(HEADER)]
        self.count, self.gone = header[:, layout.COUNT], header[:, layout.GONE]
        self.arrival, self.past = header[:, layout.ARRIVAL], header[:, layout.PAST]
        self.shapes = made.shapes(header[:, layout.KIND])
        first = start + HEADER
        behind = first + self.shapes.words * self.count
        self._here, self._behind = Spread(first, self.count), Spread(behind, self.gone)
        self._text = (behind + self.shapes.gone * self.gone) * WORD

    def rows(self) -> tuple[np.ndarray, Rows]:
        """Return the number of the state of each row, and the rows."""
        keys = np.arange(len(self.count))
        if not self._behind.rows:
            return self._here.each(keys), self._main()
        here, behind = self._main(), self._replaced()
        return np.concatenate([self._here.each(keys), self._behind.each(keys)]), join(here, behind)

    def _main(self) -> Rows:
        spread, inputs = self._here, []
        for place, (need, spec) in enumerate(zip(self.made.needs, self.made.view.plan.inputs, strict=True)):
            one = self.shapes.inputs[place]
            member = self._marks(one.member)
            used = member if (one.used == one.member).all() else self._marks(one.used)
            values = self._values(spread, need, one.values)
            inputs.append(Input(spec.name, Column(need.type, values, used), member))
        event, known, offset = (
            self.words[spread.at(unit)] for unit in (layout.EVENT, layout.KNOWN, layout.OFFSET)
        )
        until = np.full(spread.rows, FOREVER, dtype=np.int64)
        return Rows(event, known, until, offset, self._ids(spread, layout.IDS), tuple(inputs))

    def _replaced(self) -> Rows:
        spread, inputs = self._behind, []
        unit = layout.GONE_IDS + self.shapes.width
        for need, spec in zip(self.made.needs, self.made.view.plan.inputs, strict=True):
            values = self._values(spread, need, unit if need.values else unit * 0 - 1)
            unit = unit + need.values
            marks = self.words[spread.at(unit)]
            unit = unit + 1
            used, member = (marks & 2).astype(np.bool_), (marks & 1).astype(np.bool_)
            inputs.append(Input(spec.name, Column(need.type, values, used), member))
        event, known, offset, until = (
            self.words[spread.at(unit)] for unit in (layout.EVENT, layout.KNOWN, layout.OFFSET, layout.UNTIL)
        )
        return Rows(event, known, until, offset, self._ids(spread, layout.GONE_IDS), tuple(inputs))

    def _marks(self, unit: np.ndarray) -> np.ndarray:
        """Return which rows are counted in suffix totals, where there are any; all where there are none."""
        marks = np.ones(self._here.rows, dtype=np.bool_)
        some = self._here.each(unit >= 0)
        if some.any():
            totals = self.words[self._here.at(np.maximum(unit, 0))]
            after = np.append(totals[1:], 0)
            after[self._here.end[self.count > 0] - 1] = 0
            marks[some] = (totals != after)[some]
        return marks

    def _ids(self, spread: Spread, unit: int) -> np.ndarray:
        width = self.shapes.width
        ids = np.zeros((spread.rows, int(width.max(initial=1))), dtype=np.int64)
        for place in range(ids.shape[1]):
            words = self.words[spread.at(unit + np.minimum(place, width - 1))]
            wide = width > place
            ids[:, place] = words if wide.all() else words * spread.each(wide)
        return ids.view(f"S{ids.shape[1] * WORD}").reshape(-1)

    def _values(self, spread: Spread, need: Needs, unit: np.ndarray) -> np.ndarray:
        dtype = DTYPES[need.type]
        if not need.values:
            return np.full(spread.rows, b"" if need.type == "str" else 0, dtype=dtype)
        stored = self.words[spread.at(unit)]
        if need.type == "str":
            return self._texts(spread, stored)
        return stored.view(np.float64) if need.type == "float" else stored.astype(dtype, copy=False)

    def _texts(self, spread: Spread, ends: np.ndarray) -> np.ndarray:
        begins = np.zeros(len(ends), dtype=np.int64)
        begins[1:] = ends[:-1]
        begins[spread.end[:-1][spread.size[1:] > 0]] = 0
        origin = spread.each(self._text)
        texts = np.empty(len(ends), dtype=object)
        texts[:] = [
            self.buffer[begin:end]
            for begin, end in zip((origin + begins).tolist(), (origin + ends).tolist(), strict=True)
        ]
        some = spread.size > 0
        self._text[some] += ends[spread.end[some] - 1]
        return texts


def gather(made: States, states: Sequence[bytes | None]) -> tuple[np.ndarray, Rows, np.ndarray]:
    """Return the key of each record, the records, and of each key the newest arrival and what is past."""
    before = np.zeros((2, len(states)), dtype=np.int64)
    there = [place for place, state in enumerate(states) if state is not None]
    if not there:
        return _NOTHING, as_stored(empty(made.view)), before
    stored = Stored(made, [state for state in states if state is not None])
    group, rows = stored.rows()
    before[:, there] = stored.arrival, stored.past
    return np.array(there, dtype=np.int64)[group], rows, before


def as_stored(rows: Rows) -> Rows:
    """Return rows as states hold them: ids of whole words, text as bytes, nothing where a record does not take part."""
    inputs = []
    for item in rows.inputs:
        used = item.member & item.column.valid
        values = held(item.column.type, item.column.values, used)
        inputs.append(Input(item.name, Column(item.column.type, values, used), item.member))
    return Rows(rows.event, rows.known, rows.until, rows.offset, whole(rows.ids), tuple(inputs))


def held(type_: str, values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return values as states hold them; `used` says which records have one that takes part."""
    if type_ == "str":
        texts = np.empty(len(values), dtype=object)
        texts[:] = [
            text.encode() if ok else b"" for text, ok in zip(values.tolist(), used.tolist(), strict=True)
        ]
        return texts
    return values if used.all() else np.where(used, values, values.dtype.type(0))


def join(old: Rows, new: Rows) -> Rows:
    """Return rows, then other rows."""
    if not len(old.event):
        return new
    arrays = {
        name: np.concatenate([getattr(old, name), getattr(new, name)])
        for name in ("event", "known", "until", "offset")
    }
    width = max(old.ids.dtype.itemsize, new.ids.dtype.itemsize)
    ids = np.concatenate([old.ids.astype(f"S{width}"), new.ids.astype(f"S{width}")])
    inputs = tuple(_join_input(one, two) for one, two in zip(old.inputs, new.inputs, strict=True))
    return Rows(**arrays, ids=ids, inputs=inputs)


def _join_input(old: Input, new: Input) -> Input:
    one, two = old.column, new.column
    values = np.concatenate([one.values, two.values])
    column = Column(one.type, values, np.concatenate([one.valid, two.valid]))
    return Input(old.name, column, np.concatenate([old.member, new.member]))


def empty(view: FeatureView) -> Rows:
    """Return the rows of a key nothing is known of."""
    inputs = tuple(
        Input(
            spec.name,
            Column(spec.type, np.zeros(0, dtype=DTYPES[spec.type]), np.zeros(0, dtype=np.bool_)),
            np.zeros(0, dtype=np.bool_),
        )
        for spec in view.plan.inputs
    )
    return Rows(_NOTHING, _NOTHING, _NOTHING, _NOTHING, np.zeros(0, dtype="S1"), inputs)


def whole(ids: np.ndarray) -> np.ndarray:
    """Return ids as bytes of whole words."""
    return ids.astype(f"S{max(1, -(-ids.dtype.itemsize // WORD)) * WORD}", copy=False)


def id_words(ids: np.ndarray) -> np.ndarray:
    """Return ids as whole words, one row per id."""
    return np.ascontiguousarray(ids).view(np.int64).reshape(len(ids), ids.dtype.itemsize // WORD)
