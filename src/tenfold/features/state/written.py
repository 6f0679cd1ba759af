"""Writes the look-ups of a view as one Python function, for states of which all records are visible.

A suffix total is then one index, so that sixteen windows cost a few microseconds. What has no such short form is called as
`lookups` has it. The text of the function comes from the plan alone, not from data.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tenfold.core.decimals import PLACES
from tenfold.core.windows import Window
from tenfold.features.kernel.compute import Aggregate
from tenfold.features.kernel.limbs import HIGH, LOW, LOW_BITS
from tenfold.features.state.layout import COUNT, HEADER, PAST, Needs, Places

Source = tuple[Aggregate, int, Places, Needs, Any]
"""An aggregate, the place of its result, its columns, and the look-up that is called when there is no short form."""
Written = Callable[[memoryview, memoryview, int], "Found"]


class Found(NamedTuple):
    """The features of a key in their order, and when its newest visible record happened, None if there is none."""

    values: list[Any]
    newest: int | None

    def age(self, at: int) -> int | None:
        """Return how old the newest record is at a moment."""
        return None if self.newest is None else at - self.newest


def compiled(
    windows: Sequence[Window],
    bounds: Sequence[Any],
    reads: Sequence[tuple[int, Source]],
    order: Sequence[int],
) -> Written:
    """Return a function of (state, its words, t) that gives the results at the places in `order`.

    Parameters
    ----------
    windows
        The distinct windows.
    bounds
        What finds the records of each window, for those without a short form.
    reads
        The aggregates, each with the place of its window.
    """
    writer = _Writer(order)
    for place in sorted(
        range(len(windows)), key=lambda place: (windows[place].kind != "all", -windows[place].size)
    ):
        mine = [source for which, source in reads if which == place]
        writer.window(place, windows[place], bounds[place], mine)
    return writer.function()


class _Writer:
    """Writes one window after the other, the longest first: a shorter one begins where the one before it does, or later."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = order
        self._lines: list[str] = []
        self._columns: dict[int, str] = {}
        self._results: set[int] = set()
        self._floats = False
        self._names: dict[str, Any] = {"bisect_right": bisect_right, "new": tuple.__new__, "Found": Found}

    def window(self, place: int, window: Window, find: Any, sources: Sequence[Source]) -> None:
        """Write a window and the aggregates over it."""
        begin, hi = f"i - {HEADER}", "n"
        if window.kind == "time" and not window.offset:
            self._add(1, f"i = bisect_right(w, at - {window.size}, i, e)")
        elif window.kind != "all" or window.offset:
            begin, hi = "lo", "hi"
            self._names[f"find{place}"] = find
            self._add(1, f"lo, hi = find{place}(w, n, n, at)")
        self._add(1, "if i < e:" if hi == "n" else "if lo < hi:")
        known: dict[str, str] = {}
        for run in _runs(sources) if hi == "n" else [[source] for source in sources]:
            names = ", ".join(f"r{source[1]}" for source in run)
            self._add(2, f"{names} = {self._values(run, begin, hi, known)}")
        self._add(1, "else:")
        for item, result, *_ in sources:
            self._results.add(result)
            self._add(2, f"r{result} = {0 if item.fn == 'count' else None}")

    def _values(self, run: Sequence[Source], begin: str, hi: str, known: dict[str, str]) -> str:
        item, result, places, need, read = run[0]
        if len(run) > 1:
            first, last = (self.column(source[2].values) for source in (run[0], run[-1]))
            return f"{self.cells(need)}[e - 1 + {first} : e + {last} : n].tolist()"
        short = _SHORT.get(item.fn) if hi == "n" else None
        found = None if short is None else short(self, item, places, need, known)
        if found is not None:
            return found
        self._names[f"read{result}"], self._floats = read, True
        return f"read{result}((w, f, raw, n), {begin}, {hi})"

    def total(self, unit: int, known: dict[str, str]) -> str:
        """Return the name of a suffix total, written once per window."""
        if unit < 0:
            return self.once("rows", "e - i", known)
        return self.once(f"total{unit}", f"w[i + {self.column(unit)}]", known)

    def column(self, unit: int) -> str:
        """Return the name of how far a column lies behind the first, written once."""
        return self._columns.setdefault(unit, f"c{unit}")

    def cells(self, need: Needs) -> str:
        """Return the name of the words of a state as the type of an input."""
        self._floats |= need.type == "float"
        return "f" if need.type == "float" else "w"

    def once(self, name: str, text: str, known: dict[str, str]) -> str:
        """Return the name of a value, written once per window."""
        if name not in known:
            known[name] = f"v_{name}"
            self._add(2, f"v_{name} = {text}")
        return known[name]

    def _add(self, depth: int, line: str) -> None:
        self._lines.append("    " * depth + line)

    def function(self) -> Written:
        """Return the function that was written."""
        results = ", ".join(f"r{place}" if place in self._results else "None" for place in self._order)
        lines = ["def look_up(raw, w, at):", f"    n, i = w[{COUNT}], {HEADER}", "    e = n + i"]
        lines += [f"    {name} = {unit} * n" for unit, name in self._columns.items()]
        lines += ["    f = raw.cast('d')"] if self._floats else []
        newest = f"w[e - 1] if n else w[{PAST}] or None"
        text = "\n".join([*lines, *self._lines, f"    return new(Found, ([{results}], {newest}))"])
        exec(text, self._names)  # noqa: S102 - the text is made of numbers and names of this module
        found: Written = self._names["look_up"]
        return found


def _runs(sources: Sequence[Source]) -> list[list[Source]]:
    """Return aggregates that are read with one look: the last values of columns that lie beside each other."""
    runs: list[list[Source]] = []
    for source in sources:
        if runs and _beside(runs[-1][-1], source):
            runs[-1].append(source)
        else:
            runs.append([source])
    return runs


def _beside(one: Source, other: Source) -> bool:
    plain = all(
        item.fn == "last" and places.member < 0 and places.used < 0 and need.type not in ("bool", "str")
        for item, _, places, need, _ in (one, other)
    )
    return (
        plain
        and other[2].values == one[2].values + 1
        and (one[3].type == "float") == (other[3].type == "float")
    )


def _count(writer: _Writer, _item: Aggregate, places: Places, _need: Needs, known: dict[str, str]) -> str:
    return writer.total(places.member, known)


def _whole(writer: _Writer, places: Places, need: Needs, known: dict[str, str]) -> str:
    if need.type != "float":
        return writer.total(places.totals["whole"], known)
    high, low = (writer.total(places.totals[name], known) for name in ("high", "low"))
    text = (
        f"float({high} + ({low} >> {LOW_BITS})) / {HIGH!r} "
        f"+ float({low} & {(1 << LOW_BITS) - 1}) / {HIGH * LOW!r}"
    )
    return writer.once(f"sum{places.totals['high']}", text, known)


def _where_used(writer: _Writer, value: str, places: Places, known: dict[str, str]) -> str:
    """Return a value where any record has one; without a column for that every record has, and here there are some."""
    return value if places.used < 0 else f"{value} if {writer.total(places.used, known)} else None"


def _sum(writer: _Writer, _item: Aggregate, places: Places, need: Needs, known: dict[str, str]) -> str:
    return _where_used(writer, _whole(writer, places, need, known), places, known)


def _mean(writer: _Writer, _item: Aggregate, places: Places, need: Needs, known: dict[str, str]) -> str:
    count = writer.total(places.used, known)
    total = _whole(writer, places, need, known)
    quotient = (
        f"{total} / ({count} * {10 ** PLACES[need.type]})"
        if need.type in PLACES
        else f"float({total}) / {count}"
    )
    return _where_used(writer, quotient, places, known)


def _extreme(writer: _Writer, item: Aggregate, places: Places, need: Needs, known: dict[str, str]) -> str:
    value = f"{writer.cells(need)}[i + {writer.column(places.totals[item.fn])}]"
    return _where_used(writer, value, places, known)


def _last(
    writer: _Writer, _item: Aggregate, places: Places, need: Needs, _known: dict[str, str]
) -> str | None:
    if places.member >= 0 or need.type == "str":
        return None
    at = f"[e - 1 + {writer.column(places.values)}]"
    value = f"{writer.cells(need)}{at}{' == 1' if need.type == 'bool' else ''}"
    return value if places.used < 0 else f"{value} if w[e - 1 + {writer.column(places.used)}] else None"


_SHORT: dict[str, Callable[..., str | None]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "min": _extreme,
    "max": _extreme,
    "last": _last,
}
