"""The test of the tests of the kernel: each of these faults is found by comparing offline features with the reference.

The worlds are those of the first seeds of the long proof. The reference answers once; then a fault is planted, and worlds
are computed until one differs.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tenfold.core.times import DAY, FOREVER
from tenfold.features import records
from tenfold.features.kernel import compute as kernel
from tenfold.features.kernel import decay, limbs, listed, parts, picks, ranges, sums, windowed
from tenfold.processing import derive
from tenfold.processing.frame import Column
from tenfold.store import offline, pieces
from tests.prove import drivers, generate
from tests.prove.checks import SMALL
from tests.prove.choose import Seeded
from tests.prove.compare import differences

SEEDS = range(250, 340)


@cache
def world(seed):
    made = generate.world(Seeded(seed), **SMALL)
    return made, drivers.by_reference(made)


def found():
    """Return the first seed whose world differs from the reference, None when there is none."""
    for seed in SEEDS:
        made, expected = world(seed)
        if differences(expected, drivers.by_offline(made))[0]:
            return seed
    return None


def test_without_a_fault_nothing_differs():
    assert found() is None


# Faults of what the kernel is given -------------------------------------------------------------------


def given(change):
    """Return a fault that changes the arguments (records, group, at, wanted, own) of the kernel."""

    def plant(patch):
        patch.setattr(offline, "aggregate", lambda *args: kernel.aggregate(*change(*args)))

    return plant


def wanted(change):
    """Return a fault that changes each aggregate that is asked for."""
    return given(lambda rows, group, at, items, own: (rows, group, at, [change(item) for item in items], own))


def over(**changes):
    """Return a fault that changes each window."""
    return wanted(lambda item: replace(item, window=replace(item.window, **changes)))


def sized(kind, more):
    """Return a fault that changes the size of each window of a kind."""

    def change(item):
        window = item.window
        return replace(item, window=replace(window, size=window.size + more)) if window.kind == kind else item

    return wanted(change)


def counted(fn, n):
    """Return a fault that changes the parameter of a function."""
    return wanted(lambda item: replace(item, n=n(item.n)) if item.fn == fn else item)


def of_records(change):
    """Return a fault that changes the records."""
    return given(lambda rows, group, at, items, own: (change(rows), group, at, items, own))


def of_own(change):
    """Return a fault that changes the rows asked for."""
    return given(lambda rows, group, at, items, own: (rows, group, at, items, own and change(own)))


def of_inputs(change):
    """Return a fault that changes each input of the records."""
    return of_records(lambda rows: replace(rows, inputs=tuple(change(item) for item in rows.inputs)))


def not_null(item):
    column = item.column
    blank = "" if column.type == "str" else 0
    values = np.where(column.valid, column.values, blank).astype(column.values.dtype)
    return replace(item, column=Column(column.type, values, np.ones(len(values), dtype=np.bool_)))


def everyone(item):
    return replace(item, member=np.ones(len(item.member), dtype=np.bool_))


def in_time(rows):
    return rows.take(rows.known <= rows.event)


GIVEN = {
    "a window one microsecond longer": sized("time", 1),
    "a window one microsecond shorter": sized("time", -1),
    "a day more": sized("days", 1),
    "a row more": sized("rows", 1),
    "a pause one microsecond longer": sized("session", 1),
    "a pause one microsecond shorter": sized("session", -1),
    "offset ignored": over(offset=0),
    "offset one microsecond more": wanted(
        lambda item: replace(item, window=replace(item.window, offset=item.window.offset + 1))
    ),
    "UTC for local": wanted(
        lambda item: replace(item, window=replace(item.window, zone=item.window.zone and "UTC"))
    ),
    "the row itself left out": over(include_self=False),
    "lag one more": counted("lag", lambda n: n + 1),
    "the next rank": counted("mode", lambda n: n + 1),
    "half the half-life": counted("decayed_sum", lambda n: n // 2),
    "known when it happened": of_records(lambda rows: replace(rows, known=rows.event)),
    "known a microsecond early": of_records(lambda rows: replace(rows, known=rows.known - 1)),
    "late rows lost": of_records(in_time),
    "corrections counted beside": of_records(
        lambda rows: replace(rows, until=np.full(len(rows.until), FOREVER))
    ),
    "replaced a microsecond early": of_records(lambda rows: replace(rows, until=rows.until - 1)),
    "where ignored": of_inputs(everyone),
    "nulls as zeros": of_inputs(not_null),
    "where of the row itself ignored": of_own(
        lambda own: replace(own, inputs=tuple(everyone(item) for item in own.inputs))
    ),
    "an older version beside the row itself": of_own(
        lambda own: replace(own, earlier=np.full(len(own.earlier), -1))
    ),
    "asked a microsecond later": given(lambda rows, group, at, items, own: (rows, group, at + 1, items, own)),
}


# Faults of the kernel ---------------------------------------------------------------------------------


def ties_by_arrival(patch):
    patch.setattr(records, "sort_ties", lambda order, tied, named: False)


def ties_backwards(patch):
    truth = records._words
    patch.setattr(records, "_words", lambda ids: [~words for words in truth(ids)])


def newest_by_arrival(patch):
    truth = records.ended
    patch.setattr(pieces, "ended", lambda ids, known, offset: truth(ids, offset, offset))


def deletes_ignored(patch):
    truth = derive.apply

    def apply(source, frame, rows):
        blank = Column("bool", np.zeros(rows, dtype=np.bool_), np.ones(rows, dtype=np.bool_))
        return truth(source, {**frame, "gone": blank}, rows)

    patch.setattr(records, "apply", apply)


def no_summer_time(patch):
    patch.setattr(ranges, "midnight", lambda zone, days: days * DAY - days_of_may(zone))
    patch.setattr(ranges, "day_of", lambda zone, moments: (moments + days_of_may(zone)) // DAY)


def days_of_may(zone):
    return {
        "UTC": 0,
        "Asia/Kolkata": 11,
        "America/New_York": -8,
        "Australia/Lord_Howe": 21,
        "Europe/Berlin": 4,
    }[zone] * (DAY // 48)


def low_limbs_lost(patch):
    truth = limbs.split
    patch.setattr(parts, "split", lambda values: (truth(values)[0], np.zeros(len(values), dtype=np.int64)))


def carry_forgotten(patch):
    mask = (1 << limbs.LOW_BITS) - 1
    patch.setattr(sums, "join", lambda high, low: high / 2.0**20 + (low & mask) / 2.0**63)


def sums_of_floats(patch):
    """Sum as floats do, in the order of the records: the rounding of all before stays in every difference."""

    def joined(windowed_, item):
        if windowed_.parts.type(item.input) != "float":
            return windowed_.total(item, "whole")
        values = np.where(windowed_.parts.used(item.input), windowed_.parts.column(item.input).values, 0.0)
        prefix = np.concatenate([[0.0], np.cumsum(windowed_.ranges.in_order(values[: windowed_.size]))])
        lo, hi = windowed_.bounds(item.input, item.window)
        return prefix[hi] - prefix[lo]

    patch.setattr(sums, "_total", joined)


def population_variance(patch):
    truth = sums.variance
    patch.setattr(
        sums, "variance", lambda count, *more: truth(count, *more) * (count - 1) / np.maximum(count, 1)
    )


def minus_zero_is_less(patch):
    truth = parts.Parts.comparable

    def comparable(self, place, fn):
        values, blank = truth(self, place, fn)
        raw = self.column(place).values
        return np.where(self.used(place) & (raw == 0), raw, values).astype(values.dtype), blank

    patch.setattr(parts.Parts, "comparable", comparable)


def zeros_differ(patch):
    truth = parts.Parts._codes

    def codes(self, place):
        column = self.column(place)
        if column.type != "float":
            return truth(self, place)
        _, found = np.unique(column.values.view(np.int64), return_inverse=True)
        return found, truth(self, place)[1]

    patch.setattr(parts.Parts, "_codes", codes)


def most_frequent_the_largest_first(patch):
    truth = listed.Listed.ranked
    patch.setattr(listed.Listed, "ranked", lambda self, codes, ranks, n: truth(self, codes, -ranks, n))


def nulls_skipped_by_last(patch):
    truth, member = picks._edge, parts.Parts.member

    def edge(windowed_, item, pick):
        mine = windowed_.parts
        mine.member = lambda place: member(mine, place) & mine.column(place).valid
        try:
            return truth(windowed_, item, pick)
        finally:
            del mine.member

    patch.setattr(picks, "_edge", edge)


def loose_records_forgotten(patch):
    patch.setattr(windowed, "add_over", lambda loose, values, result: None)


def loose_extremes_forgotten(patch):
    patch.setattr(picks, "pick_over", lambda loose, values, result, pick: None)


def lists_forgotten(patch):
    patch.setattr(windowed.Windowed, "slow", lambda self, item: np.zeros(0, dtype=np.int64))


def loose_leave_late(patch):
    truth = ranges.Ranges._leave
    patch.setattr(ranges.Ranges, "_leave", lambda self, window, event: truth(self, window, event) + 1)


def half_the_life(patch):
    patch.setattr(decay, "LIFE", 32)


def a_block_lost(patch):
    patch.setattr(decay, "BLOCKS", 4)


def extremes_off_by_one(patch):
    truth = picks.range_extremes
    patch.setattr(
        picks,
        "range_extremes",
        lambda values, bounds, pick, blank: truth(
            values, [(np.minimum(lo + 1, hi), hi) for lo, hi in bounds], pick, blank
        ),
    )


def keys_of_one_part(patch):
    truth = pieces.Keys
    patch.setattr(pieces, "Keys", lambda columns: OnePart(truth, columns))


class OnePart:
    """Keys that look at their first part only."""

    def __init__(self, truth, columns):
        self._keys = truth(columns[:1])
        self.codes, self.size = self._keys.codes, self._keys.size

    def of(self, columns):
        return self._keys.of(columns[:1])


KERNEL = [
    ties_by_arrival,
    ties_backwards,
    newest_by_arrival,
    deletes_ignored,
    no_summer_time,
    low_limbs_lost,
    carry_forgotten,
    sums_of_floats,
    population_variance,
    minus_zero_is_less,
    zeros_differ,
    most_frequent_the_largest_first,
    nulls_skipped_by_last,
    loose_records_forgotten,
    loose_extremes_forgotten,
    lists_forgotten,
    loose_leave_late,
    half_the_life,
    a_block_lost,
    extremes_off_by_one,
    keys_of_one_part,
]
FAULTS = GIVEN | {fault.__name__.replace("_", " "): fault for fault in KERNEL}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault, monkeypatch):
    with monkeypatch.context() as patch:
        FAULTS[fault](patch)
        assert found() is not None
