"""Turns sorted records of many keys into the bytes of their states, column by column."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel.decimals import most_coarse, most_squared, to_square
from tenfold.features.kernel.limbs import MAX_ROWS, coarse, split
from tenfold.features.kernel.moments import MAX_ROWS as MAX_SQUARES
from tenfold.features.kernel.moments import square_limbs
from tenfold.features.records import Rows
from tenfold.features.state import layout
from tenfold.features.state.layout import HEADER, WORD, Needs
from tenfold.features.state.shapes import Shapes, Spread, States
from tenfold.features.state.stored import id_words

PICK: Mapping[str, np.ufunc] = {"min": np.minimum, "max": np.maximum}


class Group:
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
        if values.dtype == np.int64 and len(values):
            low, groups = int(values.min()), len(self.size)
            span = int(values.max()) - low + 1
            if span * groups < FOREVER:
                # Each group in a range of its own, so that none reaches into the next one.
                number = np.arange(groups) if pick is np.minimum else np.arange(groups)[::-1]
                shift = np.repeat(number * span - low, self.size)
                return pick.accumulate((values + shift)[::-1])[::-1] - shift
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


class Build:
    """Turns sorted rows of several keys into their states."""

    def __init__(
        self, made: States, group: np.ndarray, rows: Rows, arrival: np.ndarray, past: np.ndarray
    ) -> None:
        self._made, self._arrival, self._past = made, arrival, past
        ended = rows.until < FOREVER
        self._rows, self._gone_rows = (
            (rows.take(~ended), rows.take(ended)) if ended.any() else (rows, rows.take(ended))
        )
        self._here = Group(group[~ended], len(arrival))
        self._gone = Group(group[ended], len(arrival))
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
        self._put_records(out, Spread(start + HEADER, self._here.size), shapes, inputs)
        behind = start + HEADER + shapes.words * self._here.size
        if len(self._gone_rows.event):
            self._put_replaced(out, Spread(behind, self._gone.size), shapes)
        if texts:
            _put_texts(out, (behind + shapes.gone * self._gone.size) * WORD, texts)
        data = out.tobytes()
        if len(words) == 1:
            return [data]
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
        self, out: np.ndarray, spread: Spread, shapes: Shapes, inputs: list[dict[str, np.ndarray]]
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

    def _put_replaced(self, out: np.ndarray, spread: Spread, shapes: Shapes) -> None:
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
                words = id_words(rows.ids) != 0
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
            self._safe &= safe(need, values, filled, here.most)
        for name, part in added(need, values):
            columns[name] = here.totals(part)[0]
        for name in need.extremes:
            columns[name] = here.extremes(comparable(values, used, name), PICK[name]).view(np.int64)
        return columns

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


def added(need: Needs, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what each of some values adds to each total."""
    if need.totals:
        parts = split(values) if need.type == "float" else (values,)
        squares = square_limbs(to_square(values, need.type)) if len(need.totals) > len(parts) else ()
        yield from zip(need.totals, (*parts, *squares), strict=True)


def safe(need: Needs, values: np.ndarray, count: Any, most: Callable[[np.ndarray], Any]) -> Any:
    """Return whether values are so few and so small that no sum of them can overflow; `most` gives the greatest of some."""
    found = (count < MAX_ROWS) & (count * (most(np.abs(coarse(values))) + 1.0) < most_coarse(need.type))
    if set(need.totals) >= set(layout.SQUARES):
        found &= (most(np.abs(values)) < most_squared(need.type)) & (count < MAX_SQUARES)
    return found


def comparable(values: np.ndarray, used: np.ndarray, fn: str) -> np.ndarray:
    """Return values to compare, those that do not take part behind all others; -0.0 is 0.0."""
    if values.dtype == np.float64:
        blank = np.inf if fn == "min" else -np.inf
    else:
        blank = np.iinfo(np.int64).max if fn == "min" else np.iinfo(np.int64).min
    return np.where(used, values, values.dtype.type(blank)) + values.dtype.type(0)


def _lengths(texts: Sequence[bytes]) -> np.ndarray:
    return np.array([len(text) for text in texts], dtype=np.int64)


def _words(values: np.ndarray, need: Needs, group: Group) -> np.ndarray:
    """Return values as words: of texts where each ends among those of its key."""
    if need.type == "float":
        return np.ascontiguousarray(values).view(np.int64)
    if need.type != "str":
        return values.astype(np.int64, copy=False)
    ends = np.concatenate([[0], np.cumsum(_lengths(values.tolist()))])
    return ends[1:] - np.repeat(ends[group.begin], group.size)


def _put_ids(out: np.ndarray, spread: Spread, width: np.ndarray, unit: int, ids: np.ndarray) -> None:
    words = id_words(ids)
    for place in range(words.shape[1]):
        wide = width > place
        if wide.all():
            out[spread.at(unit + place)] = words[:, place]
        elif wide.any():  # several keys
            there = spread.each(wide)
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
