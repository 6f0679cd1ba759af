"""The compiled twin = numpy, to the bit; faults planted in it are found; and which of the two is taken."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Entity, FeatureView, col, count
from tenfold.core.errors import DefinitionError
from tenfold.core.times import UNITS, to_us
from tenfold.features.kernel.twin import choice, stream, sweep
from tenfold.store import offline, swept
from tests.property.tried import tried
from tests.prove import checks, declare, drivers, generate
from tests.prove.choose import Drawn, Seeded
from tests.prove.compare import differences

pytest.importorskip("numba", reason="the twin is compiled by numba, which is not installed")

SMALL, CROWDED = range(40), range(40, 46)
"""Seeds of small worlds, and of some in which a window holds many records."""
START = to_us("2024-05-01")


@st.composite
def worlds(draw):
    choose = Drawn(draw)
    return checks.shaped(choose, generate.world(choose, **checks.SWEPT))


@tried(100)
@given(worlds(), st.sampled_from(range(len(checks.BLOCKS))))
def test_the_twin_is_numpy(world, seed):
    assert checks.failing("swept", world, seed)[0] == []


@pytest.mark.parametrize("seed", range(6))
def test_the_twin_is_numpy_on_keys_with_many_records(seed):
    assert checks.failing("swept", checks.crowded(Seeded(seed), most_rows=4000, queries=3000), seed)[0] == []


# Faults -----------------------------------------------------------------------------------------------


@cache
def world(seed):
    choose = Seeded(seed)
    if seed in CROWDED:
        made = checks.crowded(choose, most_rows=4000, queries=300)
    else:
        made = checks.shaped(choose, generate.world(choose, **checks.SMALL | checks.SWEPT))
    return made, drivers.by_offline(made)


def found():
    """Return the first seed whose world differs from numpy, None when there is none."""
    for seed in (*SMALL, *CROWDED):
        made, expected = world(seed)
        if made.queries and differences(expected, drivers.by_sweep(made))[0]:
            return seed
    return None


def test_without_a_fault_nothing_differs():
    assert found() is None


def with_loops(**changed):
    """Return a fault that changes what the compiled loops are called with."""

    class Changed:
        def __init__(self, loops):
            self._loops = loops

        def __getattr__(self, name):
            truth = getattr(self._loops, name)
            if name not in changed:
                return truth
            return lambda *given: truth(*changed[name](*given))

    def plant(patch):
        truth = swept.loops
        patch.setattr(swept, "loops", lambda rows: (made := truth(rows)) and Changed(made))

    return plant


def leaves_late(key, event, reach, *rest):
    return key, event, reach + 1, *rest


def leaves_late_of_late(order, turn, spot, turns, behind, key, event, reach, *rest):
    return order, turn, spot, turns, behind, key, event, reach + 1, *rest


def enters_early(times, back, *rest):
    return times, back - 1, *rest


def never_entered(order, turn, *rest):
    return order, np.full_like(turn, len(turn)), *rest


def greatest_of_those_to_come(order, turn, spot, turns, *rest):
    return order, turn, spot, np.zeros_like(turns), *rest


def greatest_of_the_first_alone(order, turn, spot, turns, behind, *rest):
    return order, turn, spot, turns, np.minimum(behind, 1), *rest


def bounds_of_nothing(order, spot, key, values, tops, *rest):
    return order, spot, key, values, np.zeros_like(tops), *rest


def corrections_swept(patch):
    truth = swept._refused
    patch.setattr(swept, "_refused", lambda have: np.zeros_like(truth(have)))


def known_at_once(patch):
    patch.setattr(swept, "_start", lambda have: have.past.event)


def order_ignored(patch):
    patch.setattr(swept, "by_time", lambda event, group: None)


def second_range_begins_empty(patch):
    truth = sweep.Sweep._begin

    def begin(self, window, moment):
        place = truth(self, window, moment)
        return place if window.kind == "all" else np.maximum(place, [self._come[window.offset][0], 0])

    patch.setattr(sweep.Sweep, "_begin", begin)


def guesses_unchecked(patch):
    truth = stream._copied
    patch.setattr(
        stream, "_copied", lambda read, size, made, ones, pool: truth(read, size, made, set(), pool)
    )


def least_as_greatest(patch):
    patch.setattr(stream, "ordered", lambda values, fn: values.view(np.int64))


def missing_keys_swept(patch):
    truth = swept._keys
    patch.setattr(swept, "_keys", lambda have, refused: np.maximum(truth(have, refused) - 1, 0))


def left_over_stay_null(patch):
    patch.setattr(offline.Answers, "again", lambda self, rows: None)


FAULTS = {
    "leaves a microsecond late": with_loops(sweep=leaves_late),
    "leaves late among late ones": with_loops(sweep_late=leaves_late_of_late),
    "enters a microsecond early": with_loops(reached=enters_early),
    "what had entered does not leave": with_loops(sweep_late=never_entered),
    "the greatest of those to come": with_loops(sweep_late=greatest_of_those_to_come),
    "the greatest of the first alone": with_loops(sweep_late=greatest_of_the_first_alone),
    "bounds of nothing": with_loops(enter=bounds_of_nothing),
} | {
    fault.__name__.replace("_", " "): fault
    for fault in (
        corrections_swept,
        known_at_once,
        order_ignored,
        second_range_begins_empty,
        guesses_unchecked,
        least_as_greatest,
        missing_keys_swept,
        left_over_stay_null,
    )
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault, monkeypatch):
    with monkeypatch.context() as patch:
        FAULTS[fault](patch)
        try:
            seed = found()
        except (IndexError, ValueError):
            seed = "it breaks"
        assert seed is not None


# Which way --------------------------------------------------------------------------------------------


def ask(rows, **exprs):
    """Return which queries are left over when each of a few records asks about itself."""
    view = FeatureView(
        "view", entity=Entity("key", key="branch"), source=declare.events(Seeded(1)), features=exprs
    )
    blank = dict.fromkeys(("number", "whole", "flag", "word", "moment", "price"))
    records = [
        generate.record(
            blank | {"key": ("c0", 1), "event": at, "known": at, "gone": False, "number": value},
            place,
            place,
            at,
        )
        for place, (at, value) in enumerate(rows)
    ]
    world = generate.World(view, records, [((1,), record["event"], record) for record in records])
    have = offline.by_key(view, offline.past(view.source.root, world.frame))
    at = drivers.moments(world)
    return swept.sweep(view, have, (world.keys, at, np.arange(len(at))), offline.Answers(len(at))), world


@pytest.mark.parametrize("seed", range(2))
def test_memory_that_nobody_may_write_to_is_read(seed, monkeypatch):
    """The columns of a table that was read lie in such memory."""
    (made, expected), frame = world(seed), generate.frame

    def sealed(records):
        found = frame(records)
        for item in found.values():
            item.values.setflags(write=False)
            item.valid.setflags(write=False)
        return found

    monkeypatch.setattr(generate, "frame", sealed)
    assert not differences(expected, drivers.by_sweep(made))[0]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_written_where_there_is_no_value_does_not_matter(seed, monkeypatch):
    """What was read or computed may have left anything there."""
    (made, expected), frame = world(seed), generate.frame

    def marred(records):
        found = frame(records)
        number = found["number"]
        found["number"] = replace(number, values=np.where(number.valid, number.values, np.nan))
        return found

    monkeypatch.setattr(generate, "frame", marred)
    assert not differences(expected, drivers.by_sweep(made))[0]


ROWS = [(START + place * UNITS["m"], 1.5) for place in range(10)]


def test_a_few_rows_are_for_numpy(monkeypatch):
    monkeypatch.delenv(choice.SETTING, raising=False)
    assert len(ask(ROWS, f=count(window="1h"))[0][1]) == len(ROWS)


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv(choice.SETTING, "on")
    assert ask(ROWS, f=count(window="1h"), g=col("number").max(window="1h"))[0] is None
    monkeypatch.setenv(choice.SETTING, "off")
    assert len(ask(ROWS, f=count(window="1h"))[0][1]) == len(ROWS)


def test_a_setting_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv(choice.SETTING, "of")
    with pytest.raises(DefinitionError, match=r'TENFOLD_NUMBA="of" .* Did you mean "off"\?'):
        ask(ROWS, f=count(window="1h"))


@pytest.mark.parametrize(
    "expr",
    [col("number").last(), count(window="1d", zone="Europe/Berlin"), count(window="1h", include_self=True)],
)
def test_what_the_twin_does_not_know_is_for_numpy(expr, monkeypatch):
    monkeypatch.setenv(choice.SETTING, "on")
    assert len(ask(ROWS, f=count(window="1h"), g=expr)[0][1]) == len(ROWS)


def test_what_may_not_sum_exactly_is_left_to_who_looks_closer(monkeypatch):
    monkeypatch.setenv(choice.SETTING, "on")
    rest, world = ask([(at, 2.0**42) for at, _ in ROWS], f=col("number").sum())
    assert len(rest[1]) == len(ROWS)
    with pytest.raises(DefinitionError, match="cannot be summed"):
        drivers.by_sweep(world)


def test_it_is_compiled_for_many_rows_only(monkeypatch, tmp_path):
    monkeypatch.setenv(choice.SETTING, "auto")
    monkeypatch.delitem(choice.sys.modules, choice.LOOPS, raising=False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert choice.least() == choice.NEW
    assert choice.loops(choice.NEW - 1) is None
    (tmp_path / "loops.sweep-1.py311.nbi").touch()
    assert choice.least() == choice.KEPT
