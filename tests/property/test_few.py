"""Records that are put into states one by one leave the bytes that folding all of them at once leaves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Entity, FeatureView
from tenfold.core.times import FOREVER
from tenfold.features.state import chunks, divided, fresh, layout, splice
from tenfold.features.state.buckets import Buckets
from tenfold.features.state.chunks import SIZES, Sizes
from tenfold.features.state.splice import Columns, Piece
from tenfold.store import few, materialize
from tenfold.store.materialize import StateSink
from tenfold.store.memory import MemoryOnlineStore
from tests.property import test_divided, test_moved, test_state
from tests.property.tried import tried
from tests.prove import drivers, generate
from tests.prove.checks import SMALL
from tests.prove.choose import Drawn

DIVIDED = [SIZES, Sizes(most=12, mean=6), Sizes(most=4, mean=3), Sizes(most=1, mean=1)]


def steps_of(views, log, sizes, steps=(), *, few=None):
    """Yield the bytes of the states after each step of a few batches, and then after each batch.

    With few=0 no record is put into a state by itself.
    """
    store = MemoryOnlineStore()
    sink = StateSink(log, store, views, sizes=sizes)
    steps = iter(steps)
    while sink.behind():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(materialize, "BATCHES", next(steps, 1))
            if few == 0:
                patch.setattr(materialize, "FEW", 0)
                patch.setattr(Buckets, "_with", lambda *_: None)
            sink.advance()
        yield dict(store.items())


def check(views, log, sizes=SIZES, steps=()):
    """Check the bytes of each step, and those of the last one with those of all records at once."""
    found = list(steps_of(views, log, sizes, steps))
    assert found == list(steps_of(views, log, sizes, steps, few=0))
    assert not found or [found[-1]] == list(steps_of(views, log, sizes, [10_000], few=0))


some_steps = st.lists(st.integers(1, 3), max_size=6)


@tried(30)
@given(st.data(), some_steps, st.sampled_from(DIVIDED))
def test_any_view_of_any_history(data, steps, sizes):
    choose = Drawn(data.draw)
    world = generate.world(choose, **SMALL)
    live = drivers.Live(world, choose, states=False)
    live.until(FOREVER)
    check([world.view], live.log, sizes, steps)


@tried(15)
@given(test_state.steps, some_steps, st.sampled_from(DIVIDED))
def test_every_look_up_with_late_and_deleted_records(history, steps, sizes):
    log, _ = test_state.filled(history)
    check(test_state.ALL, log, sizes, steps)


@tried(15)
@given(test_divided.steps, some_steps, st.sampled_from(DIVIDED), st.booleans())
def test_states_that_are_divided(history, steps, sizes, moves):
    source, views = (
        (test_divided.moved, test_divided.MOVING) if moves else (test_divided.sales, test_divided.VIEWS)
    )
    log, _ = test_divided.filled(source, history)
    check(views, log, sizes, steps)


@tried(30)
@given(test_moved.steps, some_steps)
def test_records_that_move(history, steps):
    log, _ = test_moved.filled([(*one[:4], True, one[5]) for one in history])
    check(test_moved.VIEWS, log, steps=steps)


# One history, and faults planted in what puts records into states one by one ------------------------------


def logged(source):
    """Return a log of records one by one: late, tied, deleted, and for some time corrected ones, nulls, and large values."""
    random = np.random.default_rng(11)
    history = []
    for number in range(260):
        calm = number // 60 % 2
        again = random.random() < (0 if calm else 0.1)
        some = {
            "price": float(random.integers(-50, 100)) / 7,
            "units": int(random.integers(-2, 5)),
            "paid": bool(random.integers(2)),
            "word": str(random.choice(["", "up", "Übung"])),
        }
        item = {
            "sale_id": f"s{'x' * (8 * int(random.random() < 0.03))}{number // (1 + again)}0",
            "shop": int(random.random() < 0.2),
            "hours": int(random.choice([0, 0, 0, 0, 1, 2, 20])),
            "gone": bool(random.random() < (0 if calm else 0.05)),
        }
        nulls = {name: None for name in some if random.random() < (0 if calm else 0.05)}
        large = {"price": 2.0**42, "units": 2**34} if number in (20, 21) else {}
        gap = int(random.choice([0, 1, 1, 2])) * test_divided.HOUR // 4
        history.append((gap, [item | some | nulls | large]))
    return test_divided.filled(source, history)[0]


SHOP = Entity("shop", key="shop")
CASES = [
    (
        [FeatureView("short", entity=SHOP, source=source, features=test_divided.features(window="6h"))],
        log,
        sizes,
    )
    for source in (test_divided.sales, test_divided.moved)
    for log in [logged(source)]
    for sizes in (SIZES, Sizes(most=30, mean=20))
]


@pytest.fixture(scope="module")
def truth():
    """Return the bytes of each step, before any fault is planted."""
    return [list(steps_of(*case, few=0)) for case in CASES]


def traced(truth):
    """Return whether the bytes of any step say how records came."""
    return any(
        found != expected
        for case, steps in zip(CASES, truth, strict=True)
        for found, expected in zip(steps_of(*case), steps, strict=True)
    )


def test_how_records_came_leaves_no_trace(truth):
    assert not traced(truth)


def test_more_inputs_than_have_marks():
    inputs = [test_divided.units + number for number in range(layout.MOST_INPUTS + 3)]
    some = {f"some_{number}": one.sum(where=one > number) for number, one in enumerate(inputs)}
    every = {f"last_{number}": one.last(window="6h") for number, one in enumerate(inputs)}
    check([FeatureView("wide", entity=SHOP, source=test_divided.sales, features=every | some)], CASES[0][1])


def test_ordinary_events_are_not_folded(monkeypatch):
    """One newest record after the other, and one late one, of keys that are there."""
    cases = [({"hours": 0}, 1), ({"hours": 1}, 1), ({"hours": 0}, 5)]
    plain = {"price": 1.5, "units": 2, "paid": True, "word": "up", "gone": False, "shop": 0}
    steps = [
        (
            test_divided.HOUR // 60,
            [plain | one | {"sale_id": f"s{number:03}{place}0"} for place in range(many)],
        )
        for number, (one, many) in enumerate(cases * 40)
    ]
    log, _ = test_divided.filled(test_divided.moved, steps)
    monkeypatch.setattr(materialize, "fold", None)
    monkeypatch.setattr(materialize, "fold_divided", None)
    for _ in steps_of(test_divided.MOVING, log, SIZES):
        pass


def totals_grow_behind_too(patch):
    truth = Columns.put

    def put(self, out, held, column, at):
        truth(self, out, held, column, at)
        out[self.sums, at + 1 :] += column[self.sums, None]

    patch.setattr(Columns, "put", put)


def totals_of_a_late_record_are_its_own(patch):
    truth = Columns.put

    def put(self, out, held, column, at):
        truth(self, out, held, column, at)
        out[self.sums, at] = column[self.sums]

    patch.setattr(Columns, "put", put)


def extremes_stay(patch):
    truth = Columns.put

    def put(self, out, held, column, at):
        truth(self, out, held, column, at)
        for _, _, units in self.extremes:
            out[units, :at] = held[units, :at]

    patch.setattr(Columns, "put", put)


def ends_of_texts_stay(patch):
    truth = Columns.put

    def put(self, out, held, column, at):
        truth(self, out, held, column, at)
        out[self.ends, at + 1 :] = held[self.ends, at:]

    patch.setattr(Columns, "put", put)


def extremes_of_nulls(patch):
    patch.setattr(fresh, "comparable", lambda values, *_: values)


def late_records_behind_all(patch):
    patch.setattr(Piece, "place", lambda self, *_: self.count)


def ties_in_front(patch):
    patch.setattr(Piece, "place", lambda self, event, _: int(self.records[0].searchsorted(event)))


def other_versions_are_not_seen(patch):
    patch.setattr(Piece, "holds", lambda *_: False)


def columns_that_are_missing_are_not_missed(patch):
    patch.setattr(Piece, "takes", lambda self, kind: kind & 0xFFFF <= self.kind & 0xFFFF)


def long_ids_are_cut(patch):
    patch.setattr(Piece, "takes", lambda self, kind: not self.kind & ~0xFFFF & ~kind)


def texts_behind_all(patch):
    truth = Piece._with_texts
    patch.setattr(Piece, "_with_texts", lambda self, _, texts: truth(self, self.count, texts))


def never_unsafe(patch):
    patch.setattr(Columns, "safe", lambda *_: True)


def always_ordered(patch):
    patch.setattr(splice, "_ordered", lambda _: True)


def nothing_is_too_old(patch):
    patch.setattr(Piece, "since", lambda self, _: self._state)


def dropped_by_the_event_alone(patch):
    truth = Piece.since

    def since(self, oldest):
        self.records = self.records.copy()
        self.records[1] = self.records[0]
        return truth(self, oldest)

    patch.setattr(Piece, "since", since)


def replaced_ones_stay(patch):
    truth = Piece.since

    def since(self, oldest):
        gone, self.gone = self.gone, 0
        return self._state if gone else truth(self, oldest)

    patch.setattr(Piece, "since", since)


def columns_that_nothing_needs_stay(patch):
    patch.setattr(Columns, "all_needed", lambda *_: True)


def old_texts_stay(patch):
    patch.setattr(Piece, "_last_texts", lambda self, _: self.words[self._texts :])


def past_is_forgotten(patch):
    truth = Piece.put

    def put(self, *given):
        self.head[-1] = 0
        return truth(self, *given)

    patch.setattr(Piece, "put", put)


def too_old_from_the_start(patch):
    patch.setattr(splice, "horizon", lambda *_: chunks.NEVER)


def never_divided(patch):
    truth = divided.spliced
    patch.setattr(divided, "spliced", lambda *given, most: truth(*given, most=10**9))


def begins_no_chunk(patch):
    truth = divided._Folding.put

    def put(self, *given):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(divided, "begins", lambda *_: [False])
            return truth(self, *given)

    patch.setattr(divided._Folding, "put", put)


def versions_in_other_chunks_are_not_looked_for(patch):
    truth = divided._Folding.put

    def put(self, *given):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(self._index, "find", lambda *_: ([], []))
            return truth(self, *given)

    patch.setattr(divided._Folding, "put", put)


def chunks_that_are_too_old_stay(patch):
    truth = divided._Folding.put

    def put(self, *given):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(divided, "horizon", lambda *_: chunks.NEVER)
            return truth(self, *given)

    patch.setattr(divided._Folding, "put", put)


def rows_in_front_of_their_bucket(patch):
    truth = Buckets._with

    def put(_, part, row):
        found = truth(_, part, row)
        return found and found[:8] + row[: found[0]].tobytes() + found[8 + 8 * found[0] :]

    patch.setattr(Buckets, "_with", put)


def buckets_are_not_widened(patch):
    truth = Buckets._with
    patch.setattr(Buckets, "_with", lambda self, part, row: part and truth(self, part, row[: bytes(part)[0]]))


def what_is_in_a_bucket_is_overlooked(patch):
    patch.setattr(Buckets, "_near", lambda *_: [])


def old_arrivals(patch):
    truth = few.put
    patch.setattr(few, "put", lambda *given: truth(*given[:5], 0, given[6]))


FAULTS = [
    totals_grow_behind_too,
    totals_of_a_late_record_are_its_own,
    extremes_stay,
    ends_of_texts_stay,
    extremes_of_nulls,
    late_records_behind_all,
    ties_in_front,
    other_versions_are_not_seen,
    columns_that_are_missing_are_not_missed,
    long_ids_are_cut,
    texts_behind_all,
    never_unsafe,
    always_ordered,
    nothing_is_too_old,
    dropped_by_the_event_alone,
    replaced_ones_stay,
    columns_that_nothing_needs_stay,
    old_texts_stay,
    past_is_forgotten,
    too_old_from_the_start,
    never_divided,
    begins_no_chunk,
    versions_in_other_chunks_are_not_looked_for,
    chunks_that_are_too_old_stay,
    rows_in_front_of_their_bucket,
    buckets_are_not_widened,
    what_is_in_a_bucket_is_overlooked,
    old_arrivals,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_leaves_a_trace(truth, fault, monkeypatch):
    with monkeypatch.context() as patch:
        fault(patch)
        assert traced(truth)
