"""The bytes of one key's state: a header of eight int64, then columns of 8-byte words, so that `memoryview` can read them.

A state holds the records of a key, sorted by (event, id), as far back as any window reaches. Those that a later version
replaced stand behind the others. Beside the values stand suffix totals, the sum from a record to the last one, so that a
count or a sum of a window is one look-up, or two. All of it is a function of the set of records alone.

    header | event known offset ids | per input: values, totals | replaced records: event known offset until ids,
    per input: values, marks | per text input: UTF-8
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.features.kernel.compute import Aggregate
from tenfold.features.kernel.moments import UNITS
from tenfold.features.view import FeatureView, InputSpec

VERSION = 3
HEADER = 8
"""Words of the header."""
COUNT, GONE, KIND, ARRIVAL, SETTLED, FLAGS, PAST = range(1, 8)
"""Places in the header: records, replaced records, what columns there are, newest arrival, the moment from which on all
records are visible and no replaced one is, marks, and when the newest of the records happened that are no longer here."""
ORDERED, SAFE, DIVIDED = 1, 2, 4
"""Marks: records became known in their order and none was replaced; no sum of them can overflow; the records are in chunks,
and this is their directory."""
WORD = 8
SUMS, SPREADS = ("sum", "mean", "var", "std"), ("var", "std")
SQUARES = tuple(f"square{place}" for place in range(len(UNITS)))
WIDTH = 0xFFFF
"""The bits of a kind that say how many words an id has."""
MOST_INPUTS = 20
"""Inputs beyond these have all their columns in every state."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a state keeps of one input.

    Attributes
    ----------
    values
        Whether values are needed, not only how many records take part.
    totals
        The parts whose suffix totals are kept: "high" and "low" of a float, "whole" of an integer.
    extremes
        "min", "max": the extremes from a record to the last one.
    """

    type: str
    values: bool
    totals: tuple[str, ...]
    extremes: tuple[str, ...]


def needs_of(view: FeatureView) -> tuple[Needs, ...]:
    """Return what a state of a view keeps of each of its inputs."""
    plan = view.plan
    return tuple(
        _needs(spec, [item for item in plan.aggregates if item.input == place])
        for place, spec in enumerate(plan.inputs)
    )


def _needs(spec: InputSpec, used: Sequence[Aggregate]) -> Needs:
    fns = {item.fn for item in used}
    totals: tuple[str, ...] = ()
    if fns & set(SUMS):
        totals = ("high", "low") if spec.type == "float" else ("whole",)
    if fns & set(SPREADS):
        totals += SQUARES
    extremes = tuple(fn for fn in ("min", "max") if fn in fns)
    return Needs(spec.type, fns != {"count"}, totals, extremes)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the columns of one input begin, in words per record from the header on; -1 where there is none.

    Without `member` all records take part; without `used` all that take part have a value.
    """

    values: int
    member: int
    used: int
    totals: dict[str, int]


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a state of one kind."""

    width: int
    inputs: tuple[Places, ...]
    words: int
    gone: int
    """Words per record, and per replaced record."""


EVENT, KNOWN, OFFSET, IDS = range(4)
"""Words per record before the columns that every state has; ids take several, a column for each word."""
UNTIL, GONE_IDS = 3, 4
"""The same of replaced records."""


def mark(place: int) -> int:
    """Return the lowest of the two bits of a kind for an input: all records take part, all those have a value."""
    return 16 + 2 * place


def shape_of(needs: tuple[Needs, ...], kind: int) -> Shape:
    """Return the columns of a state of some kind: a width of ids, and per input two marks."""
    width = kind & WIDTH
    at, inputs = IDS + width, []
    for place, need in enumerate(needs):
        marks = kind >> mark(place) & 3 if place < MOST_INPUTS else 0
        names = ["values"] if need.values else []
        names += [] if marks & 1 else ["member"]
        names += [] if marks & 2 or not need.values else ["used"]
        names += [*need.totals, *need.extremes]
        found = {name: at + word for word, name in enumerate(names)}
        at += len(names)
        values, member = found.pop("values", -1), found.pop("member", -1)
        inputs.append(Places(values, member, found.pop("used", member), found))
    gone = GONE_IDS + width + sum(2 if need.values else 1 for need in needs)
    return Shape(width, tuple(inputs), at, gone)
