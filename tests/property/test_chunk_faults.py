"""Faults planted in states in chunks: what is read of them is then wrong, or their bytes tell how the records came."""

import numpy as np
import pytest

from tenfold import Entity, FeatureView
from tenfold.features.state import across, chunks, divided, index
from tenfold.features.state.chunks import Sizes
from tests.property.test_divided import features, long_history, sales
from tests.property.test_planted_faults import HISTORY, measured
from tests.property.world import World, folded

TINY = Sizes(most=3, mean=2)
STEPS = HISTORY[:120]  # enough for each fault to show


def test_states_in_chunks_have_no_fault_of_their_own():
    world = World(divided=TINY).play(STEPS)
    assert sum(b"c\x80" in key for key, _ in world.store.items()) > 50, "the states were hardly divided"
    assert measured(world).mismatches == 0


def other_chunks_versions_stay(patch):
    none = np.zeros(0, dtype=np.int64)
    patch.setattr(index.Index, "find", lambda *_: (none, none))


def chunks_not_yet_visible_count(patch):
    patch.setattr(across.Chunks, "_hide", lambda _: None)


def sums_of_its_own_chunk_twice(patch):
    truth = across.Chunks.behind

    def behind(self, place, name, point):
        if name in ("member", "used") or point == self.end:
            return truth(self, place, name, point)
        return truth(self, place, name, point) + int(self._cells[self._sheet.place[place, name], point[0]])

    patch.setattr(across.Chunks, "behind", behind)


def chunks_between_are_not_compared(patch):
    truth = across.Chunks.extreme

    def extreme(self, item, lo, hi):
        end = (lo[0], self.chunk(lo[0])[0].rows)
        some = self.behind(item.input, "used", lo) > self.behind(item.input, "used", end)
        return truth(self, item, lo, end if some else hi)

    patch.setattr(across.Chunks, "extreme", extreme)


def last_but_one(patch):
    truth = across.Chunks.counted

    def counted(self, place, number):
        return truth(self, place, min(number + 1, self.behind(place, "member", (0, 0))))

    patch.setattr(across.Chunks, "counted", counted)


def window_begins_a_chunk_later(patch):
    truth = across.Chunks.point

    def point(self, bisect, moment):
        place, row = truth(self, bisect, moment)
        return (place + 1, 0) if row > 0 and place + 1 < self.size else (place, row)

    patch.setattr(across.Chunks, "point", point)


def record_in_the_chunk_before(patch):
    truth = chunks.Directory.locate
    patch.setattr(chunks.Directory, "locate", lambda self, *given: np.maximum(truth(self, *given) - 1, 0))


DIVIDED = [
    other_chunks_versions_stay,
    chunks_not_yet_visible_count,
    sums_of_its_own_chunk_twice,
    chunks_between_are_not_compared,
    last_but_one,
    window_begins_a_chunk_later,
    record_in_the_chunk_before,
]


@pytest.mark.parametrize("fault", DIVIDED, ids=lambda fault: fault.__name__)
def test_a_fault_of_states_in_chunks_is_reported(fault, monkeypatch):
    with monkeypatch.context() as patch:
        fault(patch)
        world = World(divided=TINY).play(STEPS)
    assert measured(world).mismatches > 0


# What is read is right, and the bytes are not --------------------------------------------------------

SMALL = Sizes(most=8, mean=4)
VIEW = FeatureView("short", entity=Entity("shop", key="shop"), source=sales, features=features(window="6h"))
LOG = long_history(220)


@pytest.fixture(scope="module")
def truth():
    """Return the bytes of all records at once, before any fault is planted."""
    return dict(folded([VIEW], LOG, [], divided=SMALL).items())


def in_steps():
    return dict(folded([VIEW], LOG, [1] * 220, divided=SMALL).items())


def test_how_records_are_batched_leaves_no_trace(truth):
    assert in_steps() == truth


def chunks_are_not_joined(patch):
    truth = divided._Folding._expire

    def expire(self, arrival):
        before = self._dirty.copy()
        unread = truth(self, arrival)
        self._dirty = before | (self._dirty & (self._held.cells[chunks.START] <= (self._oldest or 0)))
        return unread

    patch.setattr(divided._Folding, "_expire", expire)


def nothing_is_too_old(patch):
    patch.setattr(divided._Folding, "_expire", lambda self, _: np.zeros_like(self._dirty))


def what_is_partly_too_old_is_not_read(patch):
    truth = divided._Folding._expire

    def expire(self, arrival):
        truth(self, arrival)
        return self._held.cells[chunks.START] <= (self._oldest or 0)

    patch.setattr(divided._Folding, "_expire", expire)


def entries_stay(patch):
    truth = index.Index.changed
    patch.setattr(index.Index, "changed", lambda self, new, _: truth(self, new, None))


def divided_by_place(patch):
    patch.setattr(divided, "begins", lambda event, *_: np.arange(len(event)) % 4 == 0)


def width_of_ids_counts(patch):
    truth = chunks.hashed

    def hashed(ids):
        return truth(ids) + np.uint64(ids.dtype.itemsize)

    patch.setattr(divided, "hashed", hashed)
    patch.setattr(index, "hashed", hashed)
    patch.setattr(chunks, "hashed", hashed)


BYTES = [
    chunks_are_not_joined,
    nothing_is_too_old,
    what_is_partly_too_old_is_not_read,
    entries_stay,
    divided_by_place,
    width_of_ids_counts,
]


@pytest.mark.parametrize("fault", BYTES, ids=lambda fault: fault.__name__)
def test_a_trace_of_how_records_came_is_seen(truth, fault, monkeypatch):
    with monkeypatch.context() as patch:
        fault(patch)
        assert in_steps() != truth
