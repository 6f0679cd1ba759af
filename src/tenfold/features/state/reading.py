"""Features of one key read from its state without arrays: a few look-ups in its bytes per aggregate.

This is the fast way to the same bits. It serves states in which the records visible at t are a range, and aggregates that
are look-ups in such a range; everything else is unpacked and given to the kernel, which says what the values are.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from operator import neg
from typing import Any

import numpy as np

from tenfold.core.expr import AS_OF
from tenfold.core.windows import Window
from tenfold.features.kernel.compute import Aggregate, Own, aggregate
from tenfold.features.records import Rows
from tenfold.features.state import layout
from tenfold.features.state.across import Chunks, Look, look_of, reach_of
from tenfold.features.state.chunks import Get
from tenfold.features.state.fold import unpack
from tenfold.features.state.layout import HEADER, Places
from tenfold.features.state.lookups import Read, Words, look_up
from tenfold.features.state.shapes import States, states_of
from tenfold.features.state.stored import empty
from tenfold.features.state.tally import TALLIED, tallied
from tenfold.features.state.written import Found, Written, compiled
from tenfold.features.view import FeatureView, aggregate_type, slot
from tenfold.processing.compiled import compile_row

FAST = ("count", "sum", "mean", "var", "std", "min", "max", "first", "last", "lag")
KINDS = ("all", "time", "rows")


def no_parts(name: bytes) -> Any:
    """Stand for what gives the parts of a divided state, where there is no such state."""
    raise ValueError(f"a divided state was read without its parts, such as {name!r}.")


class Reader:
    """Reads the features of one view from states of its keys."""

    def __init__(self, view: FeatureView) -> None:
        self.view, self._made = view, states_of(view)
        plan = view.plan
        self._fast = [place for place, item in enumerate(plan.aggregates) if is_fast(item)]
        self._all = range(len(plan.aggregates))
        self._slow = [place for place, item in enumerate(plan.aggregates) if not is_fast(item)]
        self._windows = list(dict.fromkeys(_bounds_key(plan.aggregates[place]) for place in self._fast))
        self._looks = {
            place: (_bounds_key(item), _look(item, self._made))
            for place, item in enumerate(plan.aggregates)
            if is_fast(item, (*FAST, *TALLIED))
        }
        self._shapes: dict[int, _Compiled] = {}
        self._direct = {
            name: int(expr.args[0][1:])
            for name, expr in plan.outputs.items()
            if expr.fn == "col" and expr.args[0] != AS_OF
        }
        self._types = _types(view)
        kinds = {slot(place): kind for place, kind in enumerate(self._types)}
        self._row = compile_row(plan.outputs, kinds | {AS_OF: "time"})
        self._simple = len(self._direct) == len(plan.outputs)
        self._order = list(self._direct.values()) if self._simple else list(self._all)
        self._quick = self._simple and not self._slow

    def __call__(self, state: Any, at: int, own: Rows | None = None, get: Get = no_parts) -> Found:
        """Return the features as of `at`.

        Parameters
        ----------
        state
            The bytes of the state, or a view of them; None where nothing is known of the key.
        own
            The row that is asked for, when the view counts it too.
        get
            Gives the parts of a state that is divided.
        """
        quick = self.quick(state, at)
        if quick is not None:
            return quick
        results, newest = self._aggregates(state, at, own, get)
        if self._simple:
            return Found([results[place] for place in self._order], newest)
        return Found(self._outputs(results, at), newest)

    def quick(self, state: Any, at: int) -> Found | None:
        """Return the features where all records are visible and every feature is a look-up; None where it takes more."""
        if state is None or not self._quick:
            return None
        raw = state if type(state) is memoryview else memoryview(state)
        words = raw.cast("q")
        if not words[layout.FLAGS] & layout.SAFE or at < words[layout.SETTLED]:
            return None
        kind = words[layout.KIND]
        plan = self._shapes.get(kind) or self._compile(kind)
        return plan.ordered(raw, words, at)

    def _aggregates(self, state: Any, at: int, own: Rows | None, get: Get) -> tuple[list[Any], int | None]:
        """Return the value of each aggregate, and the event time of the newest visible record."""
        if state is None:
            return (self._nothing, None) if own is None else self._listed(None, at, self._all, own)
        raw = memoryview(state)
        words = raw.cast("q")
        count, flags = words[layout.COUNT], words[layout.FLAGS]
        if flags & layout.DIVIDED:
            return self._across(Chunks(self._made, state, at, get), own)
        visible = count
        if at < words[layout.SETTLED]:
            visible = _visible(words, count, at) if flags & layout.ORDERED else -1
        if visible < 0 or not flags & layout.SAFE:
            return self._listed(state, at, self._all, own)
        kind = words[layout.KIND]
        plan = self._shapes.get(kind) or self._compile(kind)
        if visible == count:
            found = plan.all_visible(raw, words, at).values
        else:
            given = Words(words, raw.cast("d"), raw, count)
            found = plan.some_visible(given, visible, at, len(self._types))
        if self._slow:
            for place, value in zip(self._slow, self._listed(state, at, self._slow, own)[0], strict=True):
                found[place] = value
        newest = words[HEADER + visible - 1] if visible else words[layout.PAST]
        return found, newest or None

    @cached_property
    def _nothing(self) -> list[Any]:
        """The value of each aggregate for a key that nothing is known of: the same at any moment."""
        return self._listed(None, 0, self._all, None)[0]

    def _across(self, chunks: Chunks, own: Rows | None) -> tuple[list[Any], int | None]:
        """Return the same from a state that is divided."""
        found: list[Any] = [None] * len(self._all)
        slow = [place for place in self._slow if place not in self._looks]
        bounds = {key: chunks.bounds(*key) for key in dict.fromkeys(key for key, _ in self._looks.values())}
        for place, (key, look) in self._looks.items():
            if chunks.fits(self.view.plan.aggregates[place], *bounds[key]):
                found[place] = look(chunks, *bounds[key])
            else:
                slow.append(place)
        if slow:
            rows = chunks.rows(reach_of([self.view.plan.aggregates[place] for place in slow]))
            for place, value in zip(slow, self._kernel(rows, chunks.at, slow, own)[0], strict=True):
                found[place] = value
        return found, chunks.newest

    def _listed(
        self, state: Any, at: int, places: Sequence[int], own: Rows | None
    ) -> tuple[list[Any], int | None]:
        """Return aggregates as the kernel gives them for the unpacked records."""
        rows = empty(self.view) if state is None else unpack(self.view, bytes(state))[0]
        values, newest = self._kernel(rows, at, places, own)
        if newest is None and state is not None:
            newest = memoryview(state).cast("q")[layout.PAST] or None
        return values, newest

    def _kernel(
        self, rows: Rows, at: int, places: Sequence[int], own: Rows | None
    ) -> tuple[list[Any], int | None]:
        """Return aggregates of sorted records, and the event time of the newest visible one."""
        records = rows.records(np.zeros(len(rows.event), dtype=np.int64))
        wanted = [self.view.plan.aggregates[place] for place in places]
        visible = np.flatnonzero((rows.known < at) & (rows.event < at) & (rows.until >= at))
        asked = None
        if own is not None:
            mine = visible[rows.ids[visible] == own.ids[0]]
            asked = Own(own.inputs, np.array([mine[-1] if len(mine) else -1], dtype=np.int64))
        one, moment = np.zeros(1, dtype=np.int64), np.array([at], dtype=np.int64)
        results = aggregate(records, one, moment, wanted, asked)
        newest = int(rows.event[visible[-1]]) if len(visible) else None
        return [item.plain()[0] for item in results], newest

    def _outputs(self, results: Sequence[Any], at: int) -> list[Any]:
        row = {slot(place): value for place, value in enumerate(results)}
        row[AS_OF] = at
        return list(self._row(row))

    def _compile(self, kind: int) -> "_Compiled":
        shape, plan, needs = self._made.shape(kind), self.view.plan, self._made.needs
        bounds = [
            _bounds(window, shape.inputs[place] if place >= 0 else None) for window, place in self._windows
        ]
        reads, sources = [], []
        for place in self._fast:
            item = plan.aggregates[place]
            which, read = self._windows.index(_bounds_key(item)), look_up(item, needs, shape)
            reads.append((place, which, read))

            def called(given: tuple[Any, ...], lo: int, hi: int, read: Read = read) -> Any:
                return read(Words(*given), lo, hi)

            sources.append((which, (item, place, shape.inputs[item.input], needs[item.input], called)))
        windows = [window for window, _ in self._windows]
        ordered, all_visible = (
            compiled(windows, bounds, sources, order) for order in (self._order, self._all)
        )
        self._shapes[kind] = _Compiled(bounds, reads, ordered, all_visible)
        return self._shapes[kind]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What to look up in states of one kind: windows, and per aggregate its place, its window and how it is read."""

    bounds: list[Callable[[memoryview, int, int, int], tuple[int, int]]]
    reads: list[tuple[int, int, Read]]
    ordered: Written
    all_visible: Written

    def some_visible(self, given: Words, visible: int, at: int, size: int) -> list[Any]:
        """Return the results where the first so many records are visible."""
        bounds = [find(given.words, given.rows, visible, at) for find in self.bounds]
        found: list[Any] = [None] * size
        for place, which, read in self.reads:
            found[place] = read(given, *bounds[which])
        return found


@lru_cache(maxsize=1_000)
def reader_of(view: FeatureView) -> Reader:
    """Return what reads the states of a view."""
    return Reader(view)


def is_fast(item: Aggregate, fns: Sequence[str] = FAST) -> bool:
    """Return whether an aggregate is a look-up in a range of records."""
    return item.fn in fns and item.window.kind in KINDS and not item.window.include_self


def _look(item: Aggregate, made: States) -> Look:
    """Return what an aggregate is of a divided state."""
    return partial(tallied, item) if item.fn in TALLIED else look_of(item, made)


def _types(view: FeatureView) -> list[str]:
    inputs = view.plan.inputs
    return [aggregate_type(item.fn, inputs[item.input].type) for item in view.plan.aggregates]


def _bounds_key(item: Aggregate) -> tuple[Window, int]:
    """Return what decides the range of an aggregate: for the last n rows also which records take part."""
    return item.window, item.input if item.window.kind == "rows" else -1


def _visible(words: memoryview, count: int, at: int) -> int:
    """Return how many records of a state in order are visible at `at`."""
    known = HEADER + count

    def start(place: int) -> int:
        event, seen = words[HEADER + place], words[known + place]
        return 1 + (max(seen, event))

    return bisect_right(range(count), at, key=start)


def _bounds(window: Window, places: Places | None) -> Callable[[memoryview, int, int, int], tuple[int, int]]:
    """Return what finds the records [lo, hi) of a window among the visible ones."""
    size, offset = window.size, window.offset

    def end(words: memoryview, visible: int, at: int) -> int:
        if not offset:
            return visible
        return bisect_left(words, at - offset, HEADER, HEADER + visible) - HEADER

    if window.kind == "time":
        older = offset + size

        def within(words: memoryview, _count: int, visible: int, at: int) -> tuple[int, int]:
            hi = end(words, visible, at) if offset else visible
            return bisect_right(words, at - older, HEADER, HEADER + hi) - HEADER, hi

        return within
    if window.kind == "all":
        return lambda words, _count, visible, at: (0, end(words, visible, at))
    member = -1 if places is None else places.member

    def last(words: memoryview, count: int, visible: int, at: int) -> tuple[int, int]:
        hi = end(words, visible, at)
        if member < 0:
            return max(0, hi - size), hi
        first = HEADER + member * count
        behind = words[first + hi] if hi < count else 0
        return bisect_left(words, -(behind + size), first, first + hi, key=neg) - first, hi

    return last
