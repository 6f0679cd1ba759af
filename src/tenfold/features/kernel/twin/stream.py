"""Records as the twin takes them: in the order of their events, with what is summed and compared of each input."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from tenfold.features.kernel.inputs import Aggregate, Input
from tenfold.features.kernel.moments import UNITS
from tenfold.features.kernel.parts import Parts

CHUNK = 100_000
GROUP = 3
"""How many sums one pass through the records makes."""
COUNTS, PICKS = ("member", "count"), ("min", "max")
_SQUARES = tuple(f"square{place}" for place in range(len(UNITS)))
_MASK = np.int64(2**63 - 1)

Read = Callable[[slice], tuple[Input, ...]]
"""Gives the inputs of some rows."""


@dataclass(slots=True)
class Laid:
    """One input of all records.

    Attributes
    ----------
    parts
        What is summed: int64 arrays of shape (n, up to GROUP).
    rows
        Of each part in which of these it is, and which of the sums: the first is the number of records, then comes an extreme.
    picks
        What is compared with each of the arrays, "min" or "max".
    values
        And the values, (n,) int64: the greatest of them is looked for.
    largest
        The largest magnitude, and that of the coarse values.
    """

    type: str
    parts: list[np.ndarray]
    rows: dict[str, tuple[int, int]]
    picks: tuple[str, ...] = ()
    values: dict[int, np.ndarray] = field(default_factory=dict)
    largest: tuple[float, float] = (0.0, 0.0)

    @property
    def summed(self) -> bool:
        """Whether more is wanted than the number of records."""
        return bool(self.values) or len(self.parts) > 1 or self.parts[0].shape[1] > 0


def parts_of(fn: str, type_: str) -> tuple[str, ...]:
    """Return the sums that an aggregate of values of a type is made from.

    Examples
    --------
    >>> parts_of("mean", "float")
    ('count', 'high', 'low')
    """
    whole = ("high", "low") if type_ == "float" else ("whole",)
    return {
        "count": ("member",),
        "min": ("count",),
        "max": ("count",),
        "var": ("count", *whole, *_SQUARES),
        "std": ("count", *whole, *_SQUARES),
    }.get(fn, ("count", *whole))


def lay(
    read: Read, direct: Mapping[int, Input], size: int, wanted: Sequence[Aggregate], pool: Executor
) -> dict[int, Laid]:
    """Return the inputs that are wanted of `size` records.

    Parameters
    ----------
    direct
        Inputs that are there already, for all records.
    """
    head = read(slice(0, min(size, CHUNK)))
    needs: dict[int, dict[str, None]] = defaultdict(dict)
    picks: dict[int, dict[str, None]] = defaultdict(dict)
    for item in wanted:
        needs[item.input] |= dict.fromkeys(parts_of(item.fn, head[item.input].column.type))
        picks[item.input] |= {item.fn: None} if item.fn in PICKS else {}
    found: dict[int, Laid] = {}
    for place, parts in needs.items():
        there = _there(direct.get(place), parts, picks[place])
        if there is not None:
            found[place] = there
    rest = {place: head[place].column.type for place in needs if place not in found}
    first = Parts(head, np.zeros(0, dtype=np.int64))
    ones = {
        (place, part)
        for place in rest
        for part in needs[place]
        if part in COUNTS and first.all_ones(place, part)
    }
    for guess in (ones, set()):
        made = {
            place: _blank(type_, size, needs[place], picks[place], place, guess)
            for place, type_ in rest.items()
        }
        if _copied(read, size, made, guess, pool):
            break
    return found | made


def _there(item: Input | None, needs: Mapping[str, None], picks: Mapping[str, None]) -> Laid | None:
    """Return an input of whole numbers that takes no more memory, None when it is none."""
    if item is None or item.column.type != "int" or not {*needs} <= {*COUNTS, "whole"} or "min" in picks:
        return None
    if not (item.member.all() and item.column.valid.all()):
        return None
    values = np.ascontiguousarray(item.column.values)
    rows = {"member": (0, 0), "count": (0, 0), "whole": (0, 2)}
    parts = values.reshape(-1, 1) if "whole" in needs else np.empty((len(values), 0), dtype=np.int64)
    largest = Parts([item], values[:0]).largest(0)
    return Laid("int", [parts], rows, tuple(picks), {0: values} if picks else {}, largest)


def _blank(
    type_: str,
    size: int,
    needs: Mapping[str, None],
    picks: Mapping[str, None],
    place: int,
    ones: Set[tuple[int, str]],
) -> Laid:
    kept = [part for part in needs if (place, part) not in ones]
    groups = max(1, len(picks), -(-len(kept) // GROUP))
    widths = [min(max(len(kept) - GROUP * group, 0), GROUP) for group in range(groups)]
    parts = [np.empty((size, width), dtype=np.int64) for width in widths]
    rows = dict.fromkeys(needs, (0, 0))
    rows |= {part: (at // GROUP, at % GROUP + 2) for at, part in enumerate(kept)}
    values = {group: np.empty(size, dtype=np.int64) for group in range(len(picks))}
    return Laid(type_, parts, rows, tuple(picks), values)


def _copied(
    read: Read, size: int, made: Mapping[int, Laid], ones: Set[tuple[int, str]], pool: Executor
) -> bool:
    """Copy inputs chunk by chunk; return whether the parts that are said to be one in all rows are."""

    def copy(begin: int) -> dict[int, tuple[float, float]] | None:
        rows = slice(begin, min(begin + CHUNK, size))
        parts = Parts(read(rows), np.zeros(0, dtype=np.int64))
        if not all(parts.all_ones(*one) for one in ones):
            return None
        for place, laid in made.items():
            for part, (group, row) in laid.rows.items():
                if row:
                    laid.parts[group][rows, row - 2] = parts.integers(place, part)
            for group, fn in enumerate(laid.picks):
                laid.values[group][rows] = ordered(parts.comparable(place, fn)[0], fn)
        return {place: parts.largest(place) for place, laid in made.items() if laid.type != "str"}

    found = list(pool.map(copy, range(0, size, CHUNK))) if made else []
    for each in found:
        for place, (most, coarse) in (each or {}).items():
            made[place].largest = max(made[place].largest[0], most), max(made[place].largest[1], coarse)
    return None not in found


def ordered(values: np.ndarray, fn: str) -> np.ndarray:
    """Return values as whole numbers that compare as they do, or the other way round for the least one.

    Examples
    --------
    >>> numbers = np.array([-1.5, 0.0, 2.0])
    >>> [int(ordered(numbers, fn).argmax()) for fn in ("max", "min")]
    [2, 0]
    """
    whole = values
    if values.dtype == np.float64:
        bits = values.view(np.int64)
        whole = bits ^ ((bits >> 63) & _MASK)
    return ~whole if fn == "min" else whole


def restored(whole: np.ndarray, fn: str, type_: str) -> np.ndarray:
    """Return the values again."""
    whole = ~whole if fn == "min" else whole
    return (whole ^ ((whole >> 63) & _MASK)).view(np.float64) if type_ == "float" else whole
