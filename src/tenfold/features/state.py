"""State of one key of one view: its records as far back as any window reaches, as bytes.

State, not values: a window is evaluated at the moment of the request. The bytes are a function of the set of records
alone; how they were batched, or in which order they arrived, leaves no trace. States of many keys advance together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features import layout
from tenfold.features.kernel import Input, aggregate
from tenfold.features.layout import HEADER, WORD, Needs, Shape, needs_of, shape_of
from tenfold.features.limbs import MAX_COARSE, MAX_ROWS, coarse, split
from tenfold.features.moments import LARGEST as LARGEST_SQUARED
from tenfold.features.moments import MAX_ROWS as MAX_SQUARES
from tenfold.features.moments import square_limbs
from tenfold.features.records import Rows, in_order, outputs, sort_ties
from tenfold.features.view import FeatureView
from tenfold.processing.frame import DTYPES, Column

_NOTHING = np.zeros(0, dtype=np.int64)
TILES = 16
"""A state drops records in steps of a sixteenth of what it reaches back, so that it is seldom cut."""


class States:
    """Makes and reads the states of one view."""

    def __init__(self, view: FeatureView) -> None:
        self.view, self.needs = view, needs_of(view)
        self._shapes: dict[int, Shape] = {}

    def shape(self, kind: int) -> Shape:
        """Return the columns of a state of some kind."""
        if kind not in self._shapes:
            self._shapes[kind] = shape_of(self.needs, kind)
        return self._shapes[kind]

    def shapes(self, kinds: np.ndarray) -> "Shapes":
        """Return the columns of states of several kinds."""
        distinct, place = np.unique(kinds, return_inverse=True)
        return Shapes([self.shape(kind) for kind in distinct.tolist()], place)

    @cached_property
    def reach(self) -> int | None:
        """How much older than the newest arrival a record may be and still count, None when there is no limit."""
        reaches = [item.window.reach for item in self.view.plan.aggregates]
        source = self.view.source.root
        return (
            None
            if any(item is None for item in reaches)
            else max(item for item in reaches if item is not None) + source.look_back_us + source.delay_us
        )


class Shapes:
    """The columns of several states: what `Shape` says of one, as an array with a number per state."""

    def __init__(self, distinct: Sequence[Shape], place: np.ndarray) -> None:
        def each(numbers: Iterable[int]) -> np.ndarray:
            return np.array(list(numbers), dtype=np.int64)[place]

        self.width = each(shape.width for shape in distinct)
        self.words = each(shape.words for shape in distinct)
        self.gone = each(shape.gone for shape in distinct)
        self.inputs = [
            EachPlaces(
                each(one.values for one in places),
                each(one.member for one in places),
                each(one.used for one in places),
                {name: each(one.totals[name] for one in places) for name in places[0].totals},
            )
            for places in zip(*(shape.inputs for shape in distinct), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class EachPlaces:
    """What `Places` says of one state, as arrays with a number per state."""

    values: np.ndarray
    member: np.ndarray
    used: np.ndarray
    totals: dict[str, np.ndarray]


@lru_cache(maxsize=1_000)
def states_of(view: FeatureView) -> States:
    """Return what makes and reads the states of a view."""
    return States(view)


def advance(view: FeatureView, state: bytes | None, new: Rows, arrival: int) -> bytes:
    """Return the state after more records of its key, the newest of which arrived at `arrival`.

    Adding the same records again changes nothing.
    """
    group = np.zeros(len(new.event), dtype=np.int64)
    return fold(view, [state], group, new, np.array([arrival], dtype=np.int64))[0]


def fold(
    view: FeatureView,
    states: Sequence[bytes | None],
    group: np.ndarray,
    new: Rows,
    arrival: np.ndarray,
) -> list[bytes]:
    """Return the states of several keys after more records of each.

    Parameters
    ----------
    states
        The state of each key, None where there is none yet.
    group : (n,) int64
        The place in `states` of each record's key.
    arrival : (len(states),) int64
        The newest arrival among the new records of each key.
    """
    made = states_of(view)
    before, old, stored = _gather(made, states)
    arrival, past = np.maximum(arrival, stored[0]), stored[1]
    rows = _join(old, _as_stored(new))
    group = np.concatenate([before, group])
    until, keep = _versions(group, rows)
    if made.reach is not None:
        step = max(made.reach // TILES, 1)
        horizon = (arrival - made.reach) // step * step
        # By known time too: a version that came lately still ends older ones that arrive again.
        gone = np.flatnonzero(np.maximum(rows.event, rows.known) < horizon[group])
        keep[gone] = False
        np.maximum.at(past, group[gone], rows.event[gone])
    rows = Rows(rows.event, rows.known, until, rows.offset, rows.ids, rows.inputs)
    if not keep.all():
        group, rows = group[keep], rows.take(keep)
    return _Build(made, *_sorted(group, rows), arrival, past).states()


def _versions(group: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return until when each record counts, and which are not delivered again: as `records.versions`, per group."""
    until, keep = rows.until, np.ones(len(group), dtype=np.bool_)
    code = _hash(group, rows.ids)
    ranked = np.sort(code)
    same = ranked[1:] == ranked[:-1]
    if not same.any():
        return until, keep
    some = np.flatnonzero(np.isin(code, ranked[1:][same]))
    order = some[np.lexsort((rows.offset[some], rows.known[some], rows.ids[some], group[some]))]

    def follow(order: np.ndarray) -> np.ndarray:
        return (rows.ids[order][1:] == rows.ids[order][:-1]) & (group[order][1:] == group[order][:-1])

    again = follow(order) & (rows.offset[order][1:] == rows.offset[order][:-1])
    keep[order[1:][again]] = False
    order = order[np.concatenate([[True], ~again])]
    ended = follow(order)
    until = until.copy()
    until[order[:-1][ended]] = np.minimum(until[order[:-1][ended]], rows.known[order[1:][ended]])
    return until, keep


def _hash(group: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return a number per row, equal for equal ids of a group and almost never otherwise."""
    code = group.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    words = np.ascontiguousarray(ids).view(np.uint64).reshape(len(ids), -1)
    for place in range(words.shape[1]):
        code = (code ^ words[:, place]) * np.uint64(0xFF51AFD7ED558CCD)
        code ^= code >> np.uint64(32)
    return code


def _sorted(group: np.ndarray, rows: Rows) -> tuple[np.ndarray, Rows]:
    """Return rows by (group, event, id, known)."""
    if len(group) < 2:
        return group, rows
    base = int(rows.event.min())
    span = int(rows.event.max()) - base + 1
    if (int(group.max()) + 1) * span < FOREVER:
        code = group * span + (rows.event - base)
        # The old rows and the new ones are in order, or nearly: this sort merges runs.
        order = np.argsort(code, kind="stable")
        code = code[order]
        tied = code[1:] == code[:-1]
        if tied.any():
            sort_ties(order, tied, lambda some: (rows.ids[some], rows.known[some], rows.offset[some]))
    else:
        order = in_order(rows, group)
    return group[order], rows.take(order)


def _as_stored(rows: Rows) -> Rows:
    """Return rows as states hold them: ids of whole words, text as bytes, nothing where a record does not take part."""
    width = max(1, -(-rows.ids.dtype.itemsize // WORD)) * WORD
    inputs = []
    for item in rows.inputs:
        used = item.member & item.column.valid
        values = item.column.values
        if item.column.type == "str":
            texts = np.empty(len(values), dtype=object)
            texts[:] = [
                text.encode() if ok else b"" for text, ok in zip(values.tolist(), used.tolist(), strict=True)
            ]
            values = texts
        elif not used.all():
            values = np.where(used, values, values.dtype.type(0))
        inputs.append(Input(item.name, Column(item.column.type, values, used), item.member))
    return Rows(rows.event, rows.known, rows.until, rows.offset, rows.ids.astype(f"S{width}"), tuple(inputs))


def _join(old: Rows, new: Rows) -> Rows:
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


# Reading --------------------------------------------------------------------------------------------


class _Spread:
    """Where the rows of several keys lie in one array of words, row i of a column beside row i + 1."""

    def __init__(self, begin: np.ndarray, size: np.ndarray) -> None:
        self.size, self.rows = size, int(size.sum())
        self.end = np.cumsum(size)
        self._begin = np.repeat(begin - (self.end - size), size) + np.arange(self.rows)
        self._run = np.repeat(size, size)

    def at(self, unit: np.ndarray | int) -> np.ndarray:
        """Return the places of a column that begins so many words per row behind the first."""
        return self._begin + self.each(unit) * self._run

    def each(self, of_keys: np.ndarray | int) -> np.ndarray:
        """Return for each row what belongs to its key."""
        return np.repeat(np.broadcast_to(of_keys, self.size.shape), self.size)


class _Stored:
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
        self._here, self._behind = _Spread(first, self.count), _Spread(behind, self.gone)
        self._text = (behind + self.shapes.gone * self.gone) * WORD

    def rows(self) -> tuple[np.ndarray, Rows]:
        """Return the number of the state of each row, and the rows."""
        keys = np.arange(len(self.count))
        here, behind = self._main(), self._replaced()
        return np.concatenate([self._here.each(keys), self._behind.each(keys)]), _join(here, behind)

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

    def _ids(self, spread: _Spread, unit: int) -> np.ndarray:
        width = self.shapes.width
        ids = np.zeros((spread.rows, int(width.max(initial=1))), dtype=np.int64)
        for place in range(ids.shape[1]):
            there = spread.each(width > place)
            ids[there, place] = self.words[spread.at(unit + np.minimum(place, width - 1))[there]]
        return ids.view(f"S{ids.shape[1] * WORD}").reshape(-1)

    def _values(self, spread: _Spread, need: Needs, unit: np.ndarray) -> np.ndarray:
        dtype = DTYPES[need.type]
        if not need.values:
            return np.full(spread.rows, b"" if need.type == "str" else 0, dtype=dtype)
        stored = self.words[spread.at(unit)]
        if need.type == "str":
            return self._texts(spread, stored)
        return stored.view(np.float64) if need.type == "float" else stored.astype(dtype, copy=False)

    def _texts(self, spread: _Spread, ends: np.ndarray) -> np.ndarray:
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


def _gather(made: States, states: Sequence[bytes | None]) -> tuple[np.ndarray, Rows, np.ndarray]:
    """Return the key of each record, the records, and of each key the newest arrival and what is past."""
    before = np.zeros((2, len(states)), dtype=np.int64)
    there = [place for place, state in enumerate(states) if state is not None]
    if not there:
        return _NOTHING, _as_stored(empty(made.view)), before
    stored = _Stored(made, [state for state in states if state is not None])
    group, rows = stored.rows()
    before[:, there] = stored.arrival, stored.past
    return np.array(there, dtype=np.int64)[group], rows, before


def unpack(view: FeatureView, state: bytes) -> tuple[Rows, int]:
    """Return the records of a state, sorted, and the newest arrival."""
    group, rows, before = _gather(states_of(view), [state])
    _, rows = _sorted(group, rows)
    inputs = []
    for item in rows.inputs:
        column = item.column
        if column.type == "str":
            texts = np.empty(len(column), dtype=object)
            texts[:] = [
                text.decode() if ok else None
                for text, ok in zip(column.values.tolist(), column.valid.tolist(), strict=True)
            ]
            column = Column("str", texts, column.valid)
        inputs.append(Input(item.name, column, item.member))
    return Rows(rows.event, rows.known, rows.until, rows.offset, rows.ids, tuple(inputs)), int(before[0, 0])


def read(view: FeatureView, state: bytes | None, at: int) -> tuple[dict[str, Column], int | None]:
    """Return the features of one key as of `at`, one row each, and the event time of its newest visible record."""
    rows = empty(view) if state is None else unpack(view, state)[0]
    records = rows.records(np.zeros(len(rows.event), dtype=np.int64))
    moment = np.array([at], dtype=np.int64)
    results = aggregate(records, np.zeros(1, dtype=np.int64), moment, view.plan.aggregates)
    seen = rows.event[(rows.known < at) & (rows.event < at) & (rows.until >= at)]
    return outputs(view, results, moment), int(seen[-1]) if len(seen) else None


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


# Writing --------------------------------------------------------------------------------------------


class _Group:
    """Rows sorted by group, of which each group is a slice."""

    def __init__(self, group: np.ndarray, groups: int) -> None:
        self.size = np.bincount(group, minlength=groups)
        self.end = np.cumsum(self.size)
        self.begin = self.end - self.size

    def totals(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return per row the sum from it to the last row of its group, and per group the sum."""
        before = np.zeros(len(values) + 1, dtype=np.int64)
        np.cumsum(values, out=before[1:])
        return np.repeat(before[self.end], self.size) - before[:-1], before[self.end] - before[self.begin]

    def most(self, values: np.ndarray) -> np.ndarray:
        """Return per group the greatest value, 0 where it has no row."""
        found = np.zeros(len(self.size), dtype=values.dtype)
        some = self.size > 0
        if some.any():
            found[some] = np.maximum.reduceat(values, self.begin[some])
        return found

    def extremes(self, values: np.ndarray, pick: np.ufunc) -> np.ndarray:
        """Return per row the extreme from it to the last row of its group."""
        found = values[::-1].copy()
        rows = len(values)
        for begin, end in zip(
            (rows - self.end[self.size > 1]).tolist(),
            (rows - self.begin[self.size > 1]).tolist(),
            strict=True,
        ):
            part = found[begin:end]
            pick.accumulate(part, out=part)
        return found[::-1]


class _Build:
    """Turns sorted rows of several keys into their states."""

    def __init__(
        self, made: States, group: np.ndarray, rows: Rows, arrival: np.ndarray, past: np.ndarray
    ) -> None:
        self._made, self._arrival, self._past = made, arrival, past
        ended = rows.until < FOREVER
        self._rows, self._gone_rows = (
            (rows.take(~ended), rows.take(ended)) if ended.any() else (rows, rows.take(ended))
        )
        self._here = _Group(group[~ended], len(arrival))
        self._gone = _Group(group[ended], len(arrival))
        self._safe = np.ones(len(arrival), dtype=np.bool_)
        self._kind = self._widths()

    def states(self) -> list[bytes]:
        """Return the state of each key."""
        inputs = [self._columns(place, need) for place, need in enumerate(self._made.needs)]
        shapes = self._made.shapes(self._kind)
        texts, lengths = self._texts()
        words = HEADER + shapes.words * self._here.size + shapes.gone * self._gone.size + lengths
        start = np.cumsum(words) - words
        out = np.zeros(int(words.sum()), dtype=np.int64)
        out[start[:, None] + np.arange(HEADER)] = self._header()
        self._put_records(out, _Spread(start + HEADER, self._here.size), shapes, inputs)
        behind = start + HEADER + shapes.words * self._here.size
        if len(self._gone_rows.event):
            self._put_replaced(out, _Spread(behind, self._gone.size), shapes)
        if texts:
            _put_texts(out, (behind + shapes.gone * self._gone.size) * WORD, texts)
        data = out.tobytes()
        edges = zip((start * WORD).tolist(), ((start + words) * WORD).tolist(), strict=True)
        return [data[begin:end] for begin, end in edges]

    def _header(self) -> np.ndarray:
        header = np.zeros((len(self._arrival), HEADER), dtype=np.int64)
        header[:, 0] = layout.VERSION
        header[:, layout.COUNT], header[:, layout.GONE] = self._here.size, self._gone.size
        header[:, layout.KIND], header[:, layout.ARRIVAL] = self._kind, self._arrival
        header[:, layout.PAST] = self._past
        header[:, layout.SETTLED], ordered = self._settled()
        header[:, layout.FLAGS] = ordered * layout.ORDERED + self._safe * layout.SAFE
        return header

    def _settled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return from when on all records of a key are visible and no replaced one is, and which keys are in order."""
        rows, here = self._rows, self._here
        start = np.maximum(rows.event, rows.known) + 1
        settled = np.maximum(here.most(start), self._gone.most(self._gone_rows.until) + 1)
        falls = np.zeros(len(start), dtype=np.int64)
        falls[1:] = start[1:] < start[:-1]
        falls[here.begin[here.size > 0]] = 0
        return settled, (here.totals(falls)[1] == 0) & (self._gone.size == 0)

    def _put_records(
        self, out: np.ndarray, spread: _Spread, shapes: Shapes, inputs: list[dict[str, np.ndarray]]
    ) -> None:
        rows = self._rows
        out[spread.at(layout.EVENT)] = rows.event
        out[spread.at(layout.KNOWN)] = rows.known
        out[spread.at(layout.OFFSET)] = rows.offset
        _put_ids(out, spread, shapes.width, layout.IDS, rows.ids)
        for places, columns in zip(shapes.inputs, inputs, strict=True):
            units = places.totals | {"values": places.values, "member": places.member}
            units["used"] = np.where(places.used == places.member, -1, places.used)
            for name, unit in units.items():
                if (unit >= 0).all():
                    out[spread.at(unit)] = columns[name]
                elif (unit >= 0).any():
                    some = spread.each(unit >= 0)
                    out[spread.at(np.maximum(unit, 0))[some]] = columns[name][some]

    def _put_replaced(self, out: np.ndarray, spread: _Spread, shapes: Shapes) -> None:
        rows, unit = self._gone_rows, layout.GONE_IDS + shapes.width
        out[spread.at(layout.EVENT)] = rows.event
        out[spread.at(layout.KNOWN)] = rows.known
        out[spread.at(layout.OFFSET)] = rows.offset
        out[spread.at(layout.UNTIL)] = rows.until
        _put_ids(out, spread, shapes.width, layout.GONE_IDS, rows.ids)
        for item, need in zip(rows.inputs, self._made.needs, strict=True):
            if need.values:
                out[spread.at(unit)] = _words(item.column.values, need, self._gone)
                unit = unit + 1
            out[spread.at(unit)] = item.member + 2 * item.column.valid.astype(np.int64)
            unit = unit + 1

    def _widths(self) -> np.ndarray:
        """Return per key the words of its longest id."""
        most = np.ones(len(self._arrival), dtype=np.int64)
        for rows, group in ((self._rows, self._here), (self._gone_rows, self._gone)):
            if len(rows.event):
                words = _id_words(rows.ids) != 0
                longest = words.shape[1] - np.argmax(words[:, ::-1], axis=1)
                most = np.maximum(most, group.most(longest))
        return most

    def _columns(self, place: int, need: Needs) -> dict[str, np.ndarray]:
        """Return the columns of an input, and note which keys can do without some of them."""
        item, here = self._rows.inputs[place], self._here
        used, member = item.column.valid, item.member
        members, total = here.totals(member)
        counts, filled = here.totals(used)
        if place < layout.MOST_INPUTS:
            marks = (total == here.size) | (filled == total) << 1
            self._kind |= marks.astype(np.int64) << layout.mark(place)
        columns = {"member": members, "used": counts}
        if not need.values:
            return columns
        columns["values"] = values = _words(item.column.values, need, here)
        if need.type == "float":
            values = item.column.values
        if need.totals:
            self._check(values, filled, set(need.totals) >= set(layout.SQUARES))
            parts = split(values) if need.type == "float" else (values,)
            squares = square_limbs(values.astype(np.float64)) if len(need.totals) > len(parts) else ()
            for name, part in zip(need.totals, (*parts, *squares), strict=True):
                columns[name] = here.totals(part)[0]
        for name in need.extremes:
            columns[name] = here.extremes(_comparable(values, used, name), _PICK[name]).view(np.int64)
        return columns

    def _check(self, values: np.ndarray, count: np.ndarray, squared: bool) -> None:
        """Note which keys have so few and so small values that no sum of them can overflow."""
        largest = self._here.most(np.abs(coarse(values))) + 1
        self._safe &= (count < MAX_ROWS) & (count * largest.astype(np.float64) < MAX_COARSE)
        if squared:
            self._safe &= (self._here.most(np.abs(values)) < LARGEST_SQUARED) & (count < MAX_SQUARES)

    def _texts(self) -> tuple[list[tuple[np.ndarray, list[bytes]]], np.ndarray]:
        """Return the texts, each with the key it belongs to, and how many words they take per key.

        Of each text input those of a key's records, then of each those of its replaced ones.
        """
        places = [place for place, need in enumerate(self._made.needs) if need.type == "str" and need.values]
        keys, found = np.arange(len(self._arrival)), []
        lengths = np.zeros(len(keys), dtype=np.int64)
        for rows, group in ((self._rows, self._here), (self._gone_rows, self._gone)):
            for place in places if len(rows.event) else ():
                texts = rows.inputs[place].column.values.tolist()
                found.append((np.repeat(keys, group.size), texts))
                lengths += group.totals(_lengths(texts))[1]
        return found, -(-lengths // WORD)


def _lengths(texts: Sequence[bytes]) -> np.ndarray:
    return np.array([len(text) for text in texts], dtype=np.int64)


def _words(values: np.ndarray, need: Needs, group: _Group) -> np.ndarray:
    """Return values as words: of texts where each ends among those of its key."""
    if need.type == "float":
        return np.ascontiguousarray(values).view(np.int64)
    if need.type != "str":
        return values.astype(np.int64, copy=False)
    ends = np.concatenate([[0], np.cumsum(_lengths(values.tolist()))])
    return ends[1:] - np.repeat(ends[group.begin], group.size)


def _id_words(ids: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(ids).view(np.int64).reshape(len(ids), -1)


def _put_ids(out: np.ndarray, spread: _Spread, width: np.ndarray, unit: int, ids: np.ndarray) -> None:
    words = _id_words(ids)
    for place in range(words.shape[1]):
        there = spread.each(width > place)
        out[spread.at(unit + place)[there]] = words[there, place]


def _put_texts(out: np.ndarray, at: np.ndarray, texts: Sequence[tuple[np.ndarray, list[bytes]]]) -> None:
    """Write texts behind each other from a place, in bytes, of each key."""
    target, at = out.view(np.uint8), at.copy()
    for keys, found in texts:
        lengths = _lengths(found)
        begin = np.cumsum(lengths) - lengths
        first = np.concatenate([[True], keys[1:] != keys[:-1]])
        shift = np.repeat((at[keys] - begin)[first], np.diff(np.append(np.flatnonzero(first), len(keys))))
        data = np.frombuffer(b"".join(found), dtype=np.uint8)
        target[np.repeat(shift, lengths) + np.arange(len(data))] = data
        np.add.at(at, keys, lengths)


_PICK: Mapping[str, np.ufunc] = {"min": np.minimum, "max": np.maximum}


def _comparable(values: np.ndarray, used: np.ndarray, fn: str) -> np.ndarray:
    """Return values to compare, those that do not take part behind all others; -0.0 is 0.0."""
    if values.dtype == np.float64:
        blank = np.inf if fn == "min" else -np.inf
    else:
        blank = np.iinfo(np.int64).max if fn == "min" else np.iinfo(np.int64).min
    return np.where(used, values, values.dtype.type(blank)) + values.dtype.type(0)
