"""Puts new records into the bytes of a state one by one: the bytes that `fold` gives, without making all columns again.

The columns of a state are the rows of a matrix, and a record is one more column of it. Totals grow from the first record up to
it, and nothing else changes, as long as no other version of the record is there and the state has all columns that the record
needs. What is too old goes from the front, which no total counts. Where that is not so, `fold` makes the state.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tenfold.features.state import layout
from tenfold.features.state.building import PICK, safe
from tenfold.features.state.fold import horizon
from tenfold.features.state.fresh import Fresh, alike
from tenfold.features.state.layout import GONE_IDS, HEADER, IDS, WORD, Needs, Places
from tenfold.features.state.shapes import States

NOTHING = np.array([layout.VERSION, 0, 0, 0, 0, 1, layout.ORDERED | layout.SAFE, 0], dtype=np.int64)
"""The header of a state without records; what kind it is of, its first record says."""


class Columns:
    """What the columns of states of one kind are: added up from each record to the last, compared so, or added up from the first."""

    def __init__(self, made: States, kind: int) -> None:
        self.shape = made.shape(kind)
        self.summed = [some for some in alike(made.needs, self.shape.inputs) if some.need.totals]
        cells, sums, ends = [], [], []
        extremes: dict[tuple[str, Any], list[int]] = {}
        for need, mine, every in zip(made.needs, self.shape.inputs, made.shape(0).inputs, strict=True):
            for name, unit in _own(mine).items():
                cells.append((unit, _own(every)[name]))
                if name in PICK:
                    extremes.setdefault((name, _dtype(need)), []).append(unit)
                elif name != "values":
                    sums.append(unit)
                elif need.type == "str":
                    ends.append(unit)
        self.cells = np.array([cell for _, cell in sorted(cells)], dtype=np.intp)
        self.sums, self.ends = np.array(sums, dtype=np.intp), np.array(ends, dtype=np.intp)
        self.extremes = [(PICK[name], dtype, np.array(units)) for (name, dtype), units in extremes.items()]
        self.totals = np.concatenate([self.sums, *(units for *_, units in self.extremes)])
        self.ids = slice(IDS, IDS + self.shape.width)
        self.gone_ids = slice(GONE_IDS, GONE_IDS + self.shape.width)
        self.gone_ends = _gone_ends(made.needs, self.gone_ids.stop)

    def of(self, new: Fresh, row: int) -> np.ndarray:
        """Return a record as a column of the matrix, with what it adds to totals."""
        found = np.zeros(self.shape.words, dtype=np.int64)
        found[:IDS] = new.cells[row, :IDS]
        words = new.words[row, : self.shape.width]
        found[IDS : IDS + len(words)] = words
        found[self.ids.stop :] = new.cells[row, self.cells]
        return found

    def put(self, out: np.ndarray, held: np.ndarray, column: np.ndarray, at: int) -> None:
        """Write the columns of some records with one more at some place."""
        out[:, :at], out[:, at], out[:, at + 1 :] = held[:, :at], column, held[:, at:]
        if at < held.shape[1]:
            out[self.totals, at] = held[self.totals, at]
        else:
            out[self.sums, at] = 0
        out[self.sums, : at + 1] += column[self.sums, None]
        for pick, dtype, units in self.extremes:
            cells = out.view(dtype)
            cells[units, : at + 1] = pick(cells[units, : at + 1], column.view(dtype)[units, None])
        if len(self.ends):
            out[self.ends, at] = held[self.ends, at - 1] if at else 0
            out[self.ends, at:] += column[self.ends, None]

    def safe(self, records: np.ndarray) -> bool:
        """Return whether no sum of some records can overflow."""
        return all(
            safe(
                some.need,
                records[some.units["values"]].view(_dtype(some.need)),
                np.where(some.units["used"] < 0, records.shape[1], records[some.units["used"], 0]),
                lambda values: values.max(axis=1),
            ).all()
            for some in self.summed
        )

    def all_needed(self, records: np.ndarray) -> bool:
        """Return whether these records need all these columns."""
        if self.shape.width > 1 and not records[self.ids.stop - 1].any():
            return False
        for places in self.shape.inputs[: layout.MOST_INPUTS]:
            members = records.shape[1] if places.member < 0 else records[places.member, 0]
            if places.member >= 0 and members == records.shape[1]:
                return False
            if places.used not in (-1, places.member) and records[places.used, 0] == members:
                return False
        return True


def _own(places: Places) -> dict[str, int]:
    """Return where an input has columns of its own."""
    used = -1 if places.used == places.member else places.used
    found = {"values": places.values, "member": places.member, "used": used, **places.totals}
    return {name: unit for name, unit in found.items() if unit >= 0}


def _dtype(need: Needs) -> Any:
    return np.float64 if need.type == "float" else np.int64


def _gone_ends(needs: Sequence[Needs], unit: int) -> list[int]:
    """Return where texts end, among the columns of replaced records."""
    found = []
    for need in needs:
        if need.values and need.type == "str":
            found.append(unit)
        unit += 2 if need.values else 1
    return found


@lru_cache(maxsize=10_000)
def columns_of(made: States, kind: int) -> Columns:
    """Return the columns of states of a kind."""
    return Columns(made, kind)


class Piece:
    """A state in one piece, or a chunk, as it lies in memory."""

    def __init__(self, made: States, state: Any, kind: int) -> None:
        self._made, self._state, self.words = made, state, np.frombuffer(state, np.int64)
        self.head: list[int] = self.words[:HEADER].tolist()
        self.count, self.gone = self.head[layout.COUNT], self.head[layout.GONE]
        self.kind = self.head[layout.KIND] if self.count or self.gone else kind
        self.columns = columns_of(made, self.kind)
        shape = self.columns.shape
        self._behind = HEADER + shape.words * self.count
        self._texts = self._behind + shape.gone * self.gone
        self.records = self.words[HEADER : self._behind].reshape(shape.words, self.count)
        self._replaced = self.words[self._behind : self._texts].reshape(shape.gone, self.gone)

    def takes(self, kind: int) -> bool:
        """Return whether it has all columns that a record needs."""
        marks = self.kind & ~layout.WIDTH
        return kind & layout.WIDTH <= self.kind & layout.WIDTH and not marks & ~kind

    def holds(self, name: np.ndarray) -> bool:
        """Return whether it has a version of a record, whose id is given as words."""
        found = (self.records[self.columns.ids] == name[:, None]).all(axis=0).any()
        if not found and self.gone:
            found = (self._replaced[self.columns.gone_ids] == name[:, None]).all(axis=0).any()
        return bool(found)

    def place(self, event: int, name: np.bytes_) -> int:
        """Return the place of a record, by (event, id)."""
        events = self.records[layout.EVENT]
        at = int(events.searchsorted(event))
        if at == self.count or events[at] != event:
            return at
        tied = self.records[self.columns.ids, at : int(events.searchsorted(event, side="right"))]
        names = np.ascontiguousarray(tied.T).view(f"S{WORD * len(tied)}").ravel()
        return at + int(names.searchsorted(name))

    def put(self, new: Fresh, row: int, arrival: int) -> bytes | None:
        """Return it with one more record; None where that changes more."""
        columns, head = self.columns, self.head
        if not self.takes(new.kinds[row]):
            return None
        column = columns.of(new, row)
        if self.holds(column[columns.ids]):
            return None
        at = self.place(new.event[row], new.ids[row])
        rest = self.words[self._behind :]
        if len(columns.ends):
            texts = self._with_texts(at, [texts[row] for texts in new.texts])
            rest = np.concatenate([self._replaced.ravel(), texts])
        end = self._behind + columns.shape.words
        found = np.empty(end + len(rest), dtype=np.int64)
        records = found[HEADER:end].reshape(columns.shape.words, self.count + 1)
        columns.put(records, self.records, column, at)
        found[end:] = rest
        flags = head[layout.FLAGS]
        if flags & layout.ORDERED and not _ordered(records[:, max(at - 1, 0) : at + 2]):
            flags -= layout.ORDERED
        if flags & layout.SAFE and not columns.safe(records):
            flags -= layout.SAFE
        arrival, settled = max(head[layout.ARRIVAL], arrival), max(head[layout.SETTLED], new.start[row])
        past = head[layout.PAST]
        found[:HEADER] = layout.VERSION, self.count + 1, self.gone, self.kind, arrival, settled, flags, past
        return found.tobytes()

    def since(self, oldest: int) -> Any:
        """Return it without the records from before a moment, None where that changes more than what lies in front."""
        last = self.records[: layout.KNOWN + 1].max(axis=0)
        some = int(np.count_nonzero(last < oldest))
        if self.gone or (last[:some] >= oldest).any():
            return None
        if not some:
            return self._state
        head, records = self.head, self.records[:, some:].copy()
        past = max(head[layout.PAST], int(self.records[layout.EVENT, some - 1]))
        if some == self.count:
            found = NOTHING.copy()
            found[layout.ARRIVAL], found[layout.PAST] = head[layout.ARRIVAL], past
            return found
        if not self.columns.all_needed(records):
            return None
        texts = self.words[self._behind :]
        if len(self.columns.ends):
            texts = self._last_texts(some)
            records[self.columns.ends] -= self.records[self.columns.ends, some - 1 : some]
        flags = layout.ORDERED * _ordered(records) + layout.SAFE * self.columns.safe(records)
        settled = max(1, int(last[some:].max()) + 1)
        header = layout.VERSION, self.count - some, 0, self.kind, head[layout.ARRIVAL], settled, flags, past
        return np.concatenate([np.array(header), records.ravel(), texts])

    def _with_texts(self, at: int, more: Sequence[bytes]) -> np.ndarray:
        """Return the texts with those of one more record."""
        raw, begin = memoryview(self._state).cast("B"), self._texts * WORD
        parts, last = [], begin
        for ends, text in zip(self.records[self.columns.ends], more, strict=True):
            cut = begin + int(ends[at - 1]) if at else begin
            parts += [raw[last:cut], text]
            last, begin = cut, begin + int(ends[-1]) if self.count else begin
        begin += int(self._replaced[self.columns.gone_ends, -1].sum()) if self.gone else 0
        return _in_words([*parts, raw[last:begin]])

    def _last_texts(self, first: int) -> np.ndarray:
        """Return the texts of the records from one on, where none was replaced."""
        raw, begin, parts = memoryview(self._state).cast("B"), self._texts * WORD, []
        for ends in self.records[self.columns.ends]:
            parts.append(raw[begin + int(ends[first - 1]) : begin + int(ends[-1])])
            begin += int(ends[-1])
        return _in_words(parts)


def _in_words(texts: Sequence[Any]) -> np.ndarray:
    data = b"".join(texts)
    return np.frombuffer(data + bytes(-len(data) % WORD), np.int64)


def _ordered(records: np.ndarray) -> bool:
    """Return whether records became visible in their order."""
    last = records[: layout.KNOWN + 1].max(axis=0)
    return bool((last[1:] >= last[:-1]).all())


def spliced(
    made: States, state: Any, new: Fresh, rows: Sequence[int], arrival: int, *, most: int
) -> bytes | None:
    """Return a state in one piece with some of the new records, None where `fold` has to make it.

    Parameters
    ----------
    state
        Its bytes, None where there is none yet.
    arrival
        The newest arrival among the records.
    most
        With so many records a state is no longer in one piece.
    """
    found: Any = NOTHING if state is None else state
    if made.reach is not None:
        words = np.frombuffer(found, np.int64)
        before = int(words[layout.ARRIVAL])
        oldest = horizon(made.reach, max(before, arrival))
        if min(new.start[row] for row in rows) <= oldest:
            return None
        if words[layout.COUNT] + words[layout.GONE] and oldest != horizon(made.reach, before):
            found = Piece(made, found, 0).since(oldest)
    for row in rows:
        if found is None:
            break
        piece = Piece(made, found, new.kinds[row])
        found = piece.put(new, row, arrival) if piece.count + piece.gone + 1 < most else None
    kept: bytes | None = found
    return kept
