"""What is read of the states of a view for many queries at once, worked out before: windows, columns, totals, families."""

from collections.abc import Sequence

import numpy as np

from tenfold.core.windows import Window
from tenfold.features.kernel.compute import Aggregate
from tenfold.features.state import layout
from tenfold.features.state.families import Extremes, Family, Picks, Ranges, Sums
from tenfold.features.state.joined import Joined, leading
from tenfold.features.state.layout import WORD
from tenfold.features.state.shapes import states_of
from tenfold.features.view import FeatureView, aggregate_type


class Planned:
    """The look-ups of a view's aggregates in many states.

    Attributes
    ----------
    families
        What computes the aggregates, each with their places.
    """

    def __init__(self, view: FeatureView) -> None:
        self._made, self._items = states_of(view), view.plan.aggregates
        self._types = [spec.type for spec in view.plan.inputs]
        names = [
            (place, name)
            for place, need in enumerate(self._made.needs)
            for name in ("values", "member", "used", *need.totals, *need.extremes)
        ]
        self._columns = {column: at for at, column in enumerate(names)}
        self._units: dict[int, np.ndarray] = {}
        self._windows: dict[tuple[Window, int], int] = {}
        self._reads: dict[tuple[int, int], int] = {}
        self.families: list[tuple[Sequence[int], Family]] = [
            (places, self._family(places)) for places in self._alike()
        ]
        self._timed = [at for (window, _), at in self._windows.items() if window.kind == "time"]
        older = [window.offset + window.size for window, _ in self._windows if window.kind == "time"]
        self._older = np.array(older, dtype=np.int64)[:, None]
        self._window = np.array([window for window, _ in self._reads], dtype=np.int64)
        self._column = np.array([column for _, column in self._reads], dtype=np.int64)

    def ranges(self, joined: Joined, visible: np.ndarray, at: np.ndarray) -> Ranges:
        """Return what each window of each query holds of the visible records."""
        units = self._units_of(joined.header[layout.KIND], joined.count)
        ends = {
            offset: joined.before(visible, at - offset) if offset else visible
            for offset in dict.fromkeys(window.offset for window, _ in self._windows)
        }
        hi = np.array([ends[window.offset] for window, _ in self._windows])
        lo = np.zeros_like(hi)
        if self._timed:
            lo[self._timed] = joined.before(hi[self._timed], at - self._older + 1)
        for (window, member), place in self._windows.items():
            if window.kind == "rows":
                lo[place] = _last_rows(joined, units[member], hi[place], window.size)
        words, gone = units[-2], units[-1]
        behind = joined.first + words * joined.count + gone * joined.header[layout.GONE]
        return Ranges(joined, lo, hi, units, behind * WORD, self._totals(joined, lo, hi, units))

    def _totals(self, joined: Joined, lo: np.ndarray, hi: np.ndarray, units: np.ndarray) -> np.ndarray:
        """Return the totals of all reads: what is counted from the first record of a range on, less what is behind it."""
        if not len(self._window):
            return lo
        unit, window = units[self._column], self._window
        column = joined.column(unit)
        found = joined.words.take(column + np.minimum(lo, joined.count - 1)[window])
        if (hi < joined.count).any():
            found -= joined.behind(column, hi[window])
        if (unit < 0).any():  # every record counts one
            found = np.where(unit < 0, (hi - lo)[window], found)
        return found * (lo < hi)[window]

    def _units_of(self, kinds: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Return where the columns of states lie: shape (columns + 2, n), or (columns + 2, 1) where all are alike."""
        distinct = set(kinds[count > 0].tolist()) or {0}  # of what is empty nothing is read
        if len(distinct) == 1:
            return self._unit(distinct.pop())[:, None]
        listed = sorted(distinct)
        place = np.searchsorted(listed, kinds)
        return np.stack([self._unit(kind) for kind in [*listed, listed[0]]], axis=1)[:, place]

    def _unit(self, kind: int) -> np.ndarray:
        if kind not in self._units:
            shape = self._made.shape(kind)
            found = [
                getattr(shape.inputs[place], name)
                if name in ("values", "member", "used")
                else shape.inputs[place].totals[name]
                for place, name in self._columns
            ]
            self._units[kind] = np.array([*found, shape.words, shape.gone], dtype=np.int64)
        return self._units[kind]

    def _alike(self) -> list[list[int]]:
        """Return the places of aggregates by what computes them."""
        found: dict[tuple[str, str], list[int]] = {}
        for place, item in enumerate(self._items):
            kind = self._types[item.input]
            if item.fn == "count":
                key = ("count", "")
            elif item.fn in layout.SUMS:
                key = (item.fn, "float" if kind == "float" else "int")
            elif item.fn in ("min", "max"):
                key = (item.fn, aggregate_type(item.fn, kind))
            else:
                key = ("pick", kind)
            found.setdefault(key, []).append(place)
        return list(found.values())

    def _family(self, places: Sequence[int]) -> Family:
        items = [self._items[place] for place in places]
        fn, kind = items[0].fn, self._types[items[0].input]
        if fn == "count":
            return Sums("count", self._total(items, "member"), [], [])
        if fn in layout.SUMS:
            names = ("high", "low") if kind == "float" else ("whole",)
            squares = layout.SQUARES if fn in layout.SPREADS else ()
            return Sums(
                fn,
                self._total(items, "used"),
                [self._total(items, name) for name in names],
                [self._total(items, name) for name in squares],
            )
        windows = [self._place(item) for item in items]
        if fn in ("min", "max"):
            columns = self._each(items, fn), self._each(items, "values"), self._each(items, "used")
            kind = aggregate_type(fn, kind)
            return Extremes(fn, kind, np.array(windows), columns, self._total(items, "used"))
        ways = [
            (item.fn == "first", window, 0 if item.fn == "first" else item.n or 0)
            for item, window in zip(items, windows, strict=True)
        ]
        picked = list(dict.fromkeys(ways))
        columns = self._each(items, "member"), self._each(items, "used"), self._each(items, "values")
        texts = [self._texts_before(item.input) for item in items]
        return Picks(kind, picked, np.array([picked.index(way) for way in ways]), columns, texts)

    def _each(self, items: Sequence[Aggregate], name: str) -> np.ndarray:
        """Return the column of that name of each aggregate."""
        return np.array([self._columns[item.input, name] for item in items])

    def _total(self, items: Sequence[Aggregate], name: str) -> np.ndarray:
        """Return the place of each aggregate's total of that name among all totals."""
        pairs = [(self._place(item), self._columns[item.input, name]) for item in items]
        return np.array([self._reads.setdefault(pair, len(self._reads)) for pair in pairs])

    def _place(self, item: Aggregate) -> int:
        """Return the place of an aggregate's window; of the last n rows there is one for each input."""
        member = self._columns[item.input, "member"] if item.window.kind == "rows" else -1
        return self._windows.setdefault((item.window, member), len(self._windows))

    def _texts_before(self, place: int) -> list[int]:
        """Return the columns of values of the text inputs before one."""
        return [
            self._columns[one, "values"]
            for one, need in enumerate(self._made.needs[:place])
            if need.type == "str" and need.values
        ]


def _last_rows(joined: Joined, member: np.ndarray, hi: np.ndarray, size: int) -> np.ndarray:
    """Return where the last records before `hi` that take part begin, so many of them."""
    plain = np.maximum(hi - size, 0)
    if not (member >= 0).any():
        return plain
    column = joined.column(member)
    most = joined.behind(column, hi) + size
    return np.where(member < 0, plain, leading(column, hi, lambda at: joined.words[at] > most))
