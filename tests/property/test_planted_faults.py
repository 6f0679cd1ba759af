"""The test of the tests: each of these faults, planted in one driver only, is reported as skew.

A world is played once and its answers are logged. A fault of the offline driver is planted while they are recomputed, a
fault of the online driver while they are given.
"""

from dataclasses import replace

import numpy as np
import pytest

from tenfold.core.times import FOREVER, UNITS
from tenfold.features import records
from tenfold.features.kernel import compute as kernel
from tenfold.features.kernel import parts, sums, windowed
from tenfold.features.state import fold as state
from tenfold.features.state.shapes import States
from tenfold.monitoring.skew import skew
from tenfold.processing import calendar, evaluate
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import Column
from tenfold.store import offline, pieces
from tenfold.store.online import Lookup
from tests.property.shop import HOUR, MINUTE, PACKAGE, WORDS, model
from tests.property.world import World


def history(seed=7, steps=150):
    """Return one long history with ties, late and corrected rows, nulls, and questions on window edges."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(steps):
        gap = int(random.choice([0, 0, 1, MINUTE, HOUR // 2, HOUR]))
        late = int(random.choice([0, 0, 1, MINUTE, HOUR, 2 * HOUR, -1, -MINUTE]))
        amount = None if random.random() < 0.2 else float(random.integers(-1000, 1000)) / 10
        order = {
            "order_id": f"o{random.integers(24)}",
            "amount": amount,
            "units": int(random.integers(-1, 5)),
            "late": late,
        }
        login = {
            "login_id": int(random.integers(40)),
            "card": int(random.integers(1, 3)),
            "word": str(random.choice(WORDS)),
            "paid": bool(random.integers(2)),
            "late": max(late, 0),
            "ahead": 0,
        }
        found += [("orders", gap, [order]), ("logins", 0, [login])]
        if number % 2:
            found.append(("predict", int(random.choice([0, 1, HOUR - 1, HOUR])), order | {"late": 0}))
    return found


HISTORY = history()


@pytest.fixture(scope="module")
def world():
    """Return what the history leaves, before any fault is planted."""
    return World().play(HISTORY)


def measured(world):
    return skew(model, world.dataset, [world.served()], lambda _: PACKAGE.manifest)


def test_without_a_fault_nothing_differs(world):
    found = measured(world)
    assert (found.rows, found.mismatches) == (53, 0)
    assert found.cells == 53 * len(model.columns)


# Faults of the offline driver -------------------------------------------------------------------------


def changed(change):
    """Return the kernel's entry point after a change of its arguments (records, group, at, wanted)."""
    return lambda *given: kernel.aggregate(*change(*given[:4]), *given[4:])


def each(change):
    """Return a change of every aggregate that is wanted."""
    return changed(lambda rows, group, at, wanted: (rows, group, at, [change(item) for item in wanted]))


def windows(change):
    def changed_size(item):
        size = change(item.window.size)
        return replace(item, window=replace(item.window, size=size))

    return each(lambda item: item if item.window.reach is None else changed_size(item))


def closed_window(patch):
    patch.setattr(offline, "aggregate", windows(lambda window: window + 1))


def seconds_for_minutes(patch):
    patch.setattr(offline, "aggregate", windows(lambda window: window // 60))


def known_now(patch):
    at_once = changed(
        lambda rows, group, at, wanted: (replace(rows, known=rows.known - 1), group, at, wanted)
    )
    patch.setattr(offline, "aggregate", at_once)


def known_when_it_happened(patch):
    truth = offline.History.past

    def past(self, source):
        found = truth(self, source)
        known = Column("int", found.event, found.frame[KNOWN].valid)
        return replace(found, frame={**found.frame, KNOWN: known})

    patch.setattr(offline.History, "past", past)


def late_rows_dropped(patch):
    in_time = changed(
        lambda rows, group, at, wanted: (rows.take(rows.known <= rows.event), group, at, wanted)
    )
    patch.setattr(offline, "aggregate", in_time)


def itself_included(patch):
    patch.setattr(
        offline, "aggregate", changed(lambda rows, group, at, wanted: (rows, group, at + 1, wanted))
    )


def smallest_for_largest(patch):
    patch.setattr(
        offline, "aggregate", each(lambda item: replace(item, fn="min") if item.fn == "max" else item)
    )


def prefix_off_by_one(patch):
    truth = windowed.Windowed.bounds

    def bounds(self, place, window):
        lo, hi = truth(self, place, window)
        return lo, np.maximum(hi - 1, lo)

    patch.setattr(windowed.Windowed, "bounds", bounds)


def carry_forgotten(patch):
    mask = (1 << 43) - 1
    patch.setattr(sums, "join", lambda high, low: high / 2.0**20 + (low & mask) / 2.0**63)


def low_limb_dropped(patch):
    truth = parts.split
    patch.setattr(parts, "split", lambda values: (truth(values)[0], np.zeros(len(values), dtype=np.int64)))


def null_counted(patch):
    truth = parts.Parts._integers
    patch.setattr(
        parts.Parts,
        "_integers",
        lambda self, place, part: truth(self, place, "member" if part == "count" else part),
    )


def ties_by_arrival(patch):
    def by_arrival(event, group, named):
        offset = named(np.arange(len(event)))[2]
        return np.lexsort((-offset, event) if group is None else (-offset, event, group))

    patch.setattr(pieces, "total_order", by_arrival)


def corrections_ignored(patch):
    endless = np.int64(FOREVER)
    patch.setattr(pieces, "ended", lambda ids, *_: (np.full(len(ids), endless), np.ones(len(ids), np.bool_)))


def where_ignored(patch):
    truth = records.apply
    patch.setattr(records, "apply", lambda source, frame, rows: (truth(source, frame, rows)[0], None))


def second_key_ignored(patch):
    class FirstPart(pieces.Keys):
        def __init__(self, columns):
            super().__init__(columns[:1])

        def of(self, columns):
            return super().of(columns[:1])

    patch.setattr(pieces, "Keys", FirstPart)


def utc_for_local(patch):
    patch.setattr(calendar, "offsets", lambda zone, moments: np.zeros(len(moments), dtype=np.int64))


def age_in_seconds(patch):
    truth = evaluate._span
    patch.setattr(evaluate, "_span", lambda late, early, _: truth(late, early, UNITS["s"]))


def missing_is_zero(patch):
    patch.setattr(Column, "numbers", lambda self: self.values.astype(np.float64))


def fill_forgotten(patch):
    patch.setitem(
        evaluate._SPECIAL, "fill_null", lambda item, other: Column("float", item.values * 1.0, item.valid)
    )


def codes_shifted(patch):
    words = {name: ["", *known] for name, known in PACKAGE.manifest.categories.items()}
    patch.setattr(PACKAGE.manifest.__class__, "categories", words)


OFFLINE = [
    closed_window,
    seconds_for_minutes,
    known_now,
    known_when_it_happened,
    late_rows_dropped,
    itself_included,
    smallest_for_largest,
    prefix_off_by_one,
    carry_forgotten,
    low_limb_dropped,
    null_counted,
    ties_by_arrival,
    corrections_ignored,
    where_ignored,
    second_key_ignored,
    utc_for_local,
    age_in_seconds,
    missing_is_zero,
    fill_forgotten,
]


@pytest.mark.parametrize("fault", OFFLINE, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_offline_driver_is_reported(world, fault, monkeypatch):
    with monkeypatch.context() as patch:
        fault(patch)
        assert measured(world).mismatches > 0
    assert measured(world).mismatches == 0, "the fault outlived its test"


# Faults of the online driver --------------------------------------------------------------------------


def retention_too_short(patch):
    patch.setattr(States, "reach", property(lambda _: HOUR))


def last_forgotten(patch):
    truth = States.__dict__["reach"].func
    patch.setattr(States, "reach", property(lambda self: truth(self) or 9 * HOUR))


def looked_up(patch, change):
    """Change what a look-up in the states is asked: a function of each row, its moment, and what is found."""
    truth = Lookup.each

    def each(self, store, rows, at, asked):
        found = truth(self, store, rows, at, asked)
        changed = [change(*one) for one in zip(rows, at, found, strict=True)]
        return truth(self, store, *zip(*changed, strict=True), asked)

    patch.setattr(Lookup, "each", each)


def asked_too_early(patch):
    looked_up(patch, lambda row, at, _: (row, at - MINUTE))


def value_as_of_the_newest_event(patch):
    def stale(row, at, found):
        return row, at - min((one.age(at) for one in found if one.newest is not None), default=0) + 1

    looked_up(patch, stale)


def old_versions_stay(patch):
    truth = state._versions
    patch.setattr(
        state, "_versions", lambda group, *more: (np.full(len(group), FOREVER), truth(group, *more)[1])
    )


def ties_unsorted(patch):
    def newest_first(order, tied, named):
        run = np.cumsum(np.concatenate([[True], ~tied]))
        order[:] = order[np.lexsort((-named(order)[2], run))]

    patch.setattr(state, "sort_ties", newest_first)


def wrong_key(patch):
    looked_up(patch, lambda row, at, _: (row | {"card": 3 - row["card"]}, at))


def worker_behind(patch):
    patch.setattr(World, "fold", lambda self: self.states.advance() if len(self.asked) % 2 else None)


ONLINE = [
    retention_too_short,
    last_forgotten,
    asked_too_early,
    value_as_of_the_newest_event,
    old_versions_stay,
    ties_unsorted,
    wrong_key,
    worker_behind,
]


@pytest.mark.parametrize("fault", ONLINE, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_online_driver_is_reported(fault, monkeypatch):
    with monkeypatch.context() as patch:
        fault(patch)
        world = World().play(HISTORY)
    assert measured(world).mismatches > 0
