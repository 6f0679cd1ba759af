"""Writes the look-ups of a view as one Python function, for states of which all records are visible.

A suffix total is then one index, so that sixteen windows cost a few microseconds. What has no such short form is called as
`lookups` has it. The text of the function comes from the plan alone, not from data.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from tenfold.core.decimals import PLACES
from tenfold.core.windows import Window
from tenfold.features.kernel.compute import Aggregate
from tenfold.features.kernel.limbs import HIGH, LOW, LOW_BITS
from tenfold.features.state.layout import HEADER, Needs, Places

Source = tuple[Aggregate, int, Places, Needs, Any]
"""An aggregate, the place of its result, its columns, and the look-up that is called when there is no short form."""


def compiled(
    windows: Sequence[Window],
    bounds: Sequence[Any],
    reads: Sequence[tuple[int, Source]],
    order: Sequence[int],
) -> Callable[[Any, Any, Any, int, int], list[Any]]:
    """Return a function of (words, floats, state, records, t) that gives the results at the places in `order`.

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
    for place, window in enumerate(windows):
        mine = [source for which, source in reads if which == place]
        writer.window(place, window, bounds[place], mine)
    return writer.function()


class _Writer:
    def __init__(self, order: Sequence[int]) -> None:
        self._order = order
        self._lines: list[str] = []
        self._names: dict[str, Any] = {"bisect_right": bisect_right}

    def window(self, place: int, window: Window, find: Any, sources: Sequence[Source]) -> None:
        """Write a window and the aggregates over it."""
        hi = "n"
        if window.kind == "time" and not window.offset:
            self._add(1, f"lo = bisect_right(w, at - {window.size}, {HEADER}, {HEADER} + n) - {HEADER}")
        elif window.kind == "all" and not window.offset:
            self._add(1, "lo = 0")
        else:
            hi = "hi"
            self._names[f"find{place}"] = find
            self._add(1, f"lo, hi = find{place}(w, n, n, at)")
        self._add(1, f"if lo < {hi}:")
        self._add(2, f"i = lo + {HEADER}")
        known: dict[str, str] = {}
        for source in sources:
            self._add(2, f"r{source[1]} = {self._value(source, hi, known)}")
        self._add(1, "else:")
        for item, result, *_ in sources:
            self._add(2, f"r{result} = {0 if item.fn == 'count' else None}")

    def _value(self, source: Source, hi: str, known: dict[str, str]) -> str:
        item, result, places, need, read = source
        short = _SHORT.get(item.fn) if hi == "n" else None
        found = None if short is None else short(self, item, places, need, known)
        if found is not None:
            return found
        self._names[f"read{result}"] = read
        return f"read{result}((w, f, raw, n), lo, {hi})"

    def total(self, unit: int, known: dict[str, str]) -> str:
        """Return the name of a suffix total, written once per window."""
        if unit < 0:
            return self.once("rows", "n - lo", known)
        return self.once(f"total{unit}", f"w[i + {unit} * n]", known)

    def once(self, name: str, text: str, known: dict[str, str]) -> str:
        """Return the name of a value, written once per window."""
        if name not in known:
            known[name] = f"v_{name}"
            self._add(2, f"v_{name} = {text}")
        return known[name]

    def _add(self, depth: int, line: str) -> None:
        self._lines.append("    " * depth + line)

    def function(self) -> Callable[[Any, Any, Any, int, int], list[Any]]:
        """Return the function that was written."""
        given = {
            result for result in set(self._order) if any(f" r{result} = " in line for line in self._lines)
        }
        results = ", ".join(f"r{place}" if place in given else "None" for place in self._order)
        text = "\n".join(["def look_up(w, f, raw, n, at):", *self._lines, f"    return [{results}]"])
        exec(text, self._names)  # noqa: S102 - the text is made of numbers and names of this module
        found: Callable[[Any, Any, Any, int, int], list[Any]] = self._names["look_up"]
        return found


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


def _sum(writer: _Writer, _item: Aggregate, places: Places, need: Needs, known: dict[str, str]) -> str:
    count = writer.total(places.used, known)
    return f"{_whole(writer, places, need, known)} if {count} else None"


def _mean(writer: _Writer, _item: Aggregate, places: Places, need: Needs, known: dict[str, str]) -> str:
    count = writer.total(places.used, known)
    total = _whole(writer, places, need, known)
    quotient = (
        f"{total} / ({count} * {10 ** PLACES[need.type]})"
        if need.type in PLACES
        else f"float({total}) / {count}"
    )
    return f"{quotient} if {count} else None"


def _extreme(writer: _Writer, item: Aggregate, places: Places, need: Needs, known: dict[str, str]) -> str:
    count, cells = writer.total(places.used, known), "f" if need.type == "float" else "w"
    return f"{cells}[i + {places.totals[item.fn]} * n] if {count} else None"


def _last(
    _writer: _Writer, _item: Aggregate, places: Places, need: Needs, _known: dict[str, str]
) -> str | None:
    if places.member >= 0 or need.type == "str":
        return None
    at = f"[{HEADER - 1} + {places.values + 1} * n]"
    value = {"float": f"f{at}", "bool": f"w{at} == 1"}.get(need.type, f"w{at}")
    return value if places.used < 0 else f"{value} if w[{HEADER - 1} + {places.used + 1} * n] else None"


_SHORT: dict[str, Callable[..., str | None]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "min": _extreme,
    "max": _extreme,
    "last": _last,
}
