"""A state in chunks: its bytes follow from its records alone, and what is read of it is what the reference says, to the bit.

The chunks are tiny here, so that a history of 30 records lies in many.
"""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Entity, Events, FeatureView, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import UNITS, to_datetime, to_us
from tenfold.features.state import layout
from tenfold.features.state.chunks import Directory, Sizes, is_divided
from tenfold.features.state.fold import unpack, unpack_all
from tenfold.features.state.reading import reader_of
from tenfold.features.state.shapes import states_of
from tenfold.processing.batches import read_frame
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLog
from tenfold.store import materialize
from tenfold.store.materialize import StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.online import Lookup, prefix, state_keys
from tests.property import reference
from tests.property.tried import tried
from tests.property.world import folded

START = to_us("2024-05-01T00:00:00+00:00")
HOUR = UNITS["h"]
WHOLE = Sizes(most=10**9)
TINY = [Sizes(most=1, mean=1), Sizes(most=4, mean=3), Sizes(most=9, mean=2)]


class Sale:
    sale_id: str
    shop: int
    price: float | None
    units: int | None
    paid: bool | None
    word: str | None
    at: datetime
    seen: datetime
    gone: bool


given_ = {"time": "at", "id": "sale_id", "known": "seen", "deleted": "gone"}
sales = Events("sales", Sale, **given_, lateness="30h", moves=False)
moved = Events("sales", Sale, **given_)
price, units, paid, word = (col(name) for name in ("price", "units", "paid", "word"))


def every(x, name, **over):
    fns = ("sum", "mean", "var", "std", "min", "max", "first", "last", "n_unique", "mode")
    return {f"{name}_{fn}": getattr(x, fn)(**over) for fn in fns} | {f"{name}_lag": x.lag(2, **over)}


def features(**over):
    return (
        {"count": count(**over)}
        | every(price, "price", **over)
        | every(units, "units", **over)
        | {"paid": paid.sum(**over), "paid_last": paid.last(**over)}
        | {"word": word.last(**over), "first": word.first(**over), "lag": word.lag(1, **over)}
    )


OVERS = {
    "all": {},
    "window": {"window": "3h"},
    "wide": {"window": "40h", "where": units > 0},
    "back": {"window": "9h", "offset": "2h"},
    "rows": {"rows": 3},
    "rows_some": {"rows": 4, "where": units > 1, "offset": "1h"},
    "session": {"session": "1h"},
    "days": {"window": "1d", "zone": "America/New_York"},
}


def views(source):
    shop = Entity("shop", key="shop")
    return [
        FeatureView(f"by_{name}", entity=shop, source=source, features=features(**over))
        for name, over in OVERS.items()
    ]


VIEWS, MOVING = views(sales), views(moved)[:3]
record = st.fixed_dictionaries(
    {
        "sale_id": st.integers(0, 19).map(lambda n: "s" * (1 + 7 * (n % 3)) + str(n)),
        "shop": st.sampled_from([0, 0, 0, 1]),
        "price": st.sampled_from([None, 0.1, -0.1, 0.0, -0.0, 1e6, 3.25, 1.1]),
        "units": st.sampled_from([None, 1, 2, 3, -5]),
        "paid": st.sampled_from([None, True, False]),
        "word": st.sampled_from([None, "", "up", "Übung"]),
        "hours": st.sampled_from([0, 0, 0, 1, 2, 4, 20, -3]),
        "gone": st.sampled_from([False, False, False, False, True]),
    }
)
gaps = st.sampled_from([0, 1, HOUR // 2, HOUR, 5 * HOUR, 25 * HOUR])
steps = st.lists(st.tuples(gaps, st.lists(record, min_size=1, max_size=6)), min_size=1, max_size=14)
sizes = st.sampled_from(TINY)
batches = st.lists(st.integers(1, 3), max_size=6)


def filled(source, history):
    """Return a log, and the moment after it; in a source whose records do not move, an id says which key it is of."""
    clock = VirtualClock(START)
    log = MemoryLog(clock)
    for gap, records in history:
        clock.set(clock.now() + gap)
        rows = [row_of(item, clock.now(), moves=source.moves) for item in records]
        ingest(source, rows, log=log, quarantine=None, clock=clock)
    return log, clock.now()


def row_of(item, now, *, moves):
    plain = {name: value for name, value in item.items() if name != "hours"}
    if not moves:
        plain["shop"] = int(item["sale_id"][-1]) % 4 // 3
    return plain | {"at": to_datetime(now - item["hours"] * HOUR), "seen": to_datetime(now)}


def records_of(source, log):
    """Return the records of a log as the reference takes them."""
    frame = read_frame(source, log.read("sales", 0, limit=10_000))
    names = {"at": "event", "_known": "known", "_offset": "offset", "gone": "deleted"}
    columns = {names.get(name, name): item.plain() for name, item in frame.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [row | {"id": row["sale_id"]} for row in rows]


def read(view, store, shop, at):
    return dict(zip(view.features, Lookup([view])(store, {"shop": shop}, at)[0].values, strict=True))


@tried(30)
@given(steps, batches, sizes, st.sampled_from([0, HOUR // 2, 40 * HOUR]), st.booleans())
def test_what_is_read_is_what_the_reference_says(history, batched, divided, later, moves):
    source, some = (moved, MOVING) if moves else (sales, VIEWS)
    log, now = filled(source, history)
    store = folded(some, log, batched, divided=divided)
    records = records_of(source, log)
    for view in some:
        for shop in (0, 1):
            for at in (now + 1 + later, now, now - HOUR):
                truth = reference.features(view, records, [shop], at)
                found = read(view, store, shop, at)
                assert {name: repr(value) for name, value in found.items()} == {
                    name: repr(value) for name, value in truth.items()
                }, (view.name, shop, at - now)


@tried(30)
@given(steps, batches, sizes, st.booleans())
def test_bytes_follow_from_the_records_alone(history, batched, divided, moves):
    source, some = (moved, MOVING) if moves else (sales, [*VIEWS[:3], VIEWS[-1]])
    log, _ = filled(source, history)
    truth = folded(some, log, [], divided=divided)
    store = folded(some, log, batched, divided=divided)
    assert dict(store.items()) == dict(truth.items())
    again = MemoryOnlineStore()
    again.write(dict(truth.items()), {})  # the states, as if no offset had been committed
    assert dict(folded(some, log, batched, again, divided=divided).items()) == dict(truth.items())


@tried(25)
@given(steps, batches, sizes)
def test_chunks_hold_the_records_of_the_state_in_one_piece(history, batched, divided):
    log, _ = filled(sales, history)
    whole = dict(folded(VIEWS, log, [], divided=WHOLE).items())
    store = folded(VIEWS, log, batched, divided=divided)
    for view in VIEWS:
        for key in state_keys(view, [[0], [1]]):
            parts = {name.removeprefix(key): value for name, value in store.items(key)}
            assert (key in whole) == bool(parts)
            if parts:
                assert pieces(view, parts, divided) == described(unpack(view, whole[key])[0])


def pieces(view, parts, divided):
    """Return the records of a state from its parts, after a look at whether they are all there and nothing else is."""
    words = memoryview(parts[b""]).cast("q")
    total = words[layout.COUNT] + words[layout.GONE]
    assert is_divided(parts[b""]) == (total >= divided.most)
    if not is_divided(parts[b""]):
        assert list(parts) == [b""]
        return described(unpack(view, parts[b""])[0])
    held = Directory.read(states_of(view), parts[b""])
    assert (held.total, sorted(held.names())) == (total, held.names())
    assert {name for name in parts if name[:1] == b"c"} == set(held.names())
    return described(unpack_all(view, [parts[name] for name in held.names()])[0])


def described(rows):
    cells = [rows.event, rows.known, rows.until, rows.offset, rows.ids]
    cells += [part for item in rows.inputs for part in (item.member, item.column.valid)]
    values = [item.column.plain() for item in rows.inputs]
    return list(map(repr, zip(*(cell.tolist() for cell in cells), *values, strict=True)))


def long_history(steps):
    """Return a log of many late, corrected and deleted records, most of them of one shop, over some days."""
    random = np.random.default_rng(5)
    clock = VirtualClock(START)
    log = MemoryLog(clock)
    for number in range(steps):
        clock.set(clock.now() + int(random.integers(0, HOUR // 2)))
        items = [
            {
                "sale_id": f"s{'x' * int(random.integers(2) * 9)}{int(random.integers(60)) + number // 20 * 40}0",
                "price": float(random.integers(100)) / 7,
                "units": int(random.integers(-2, 5)),
                "paid": bool(random.integers(2)),
                "word": "up",
                "hours": int(random.choice([0, 0, 0, 2, 20])),
                "gone": bool(random.random() < 0.1),
            }
            for _ in range(4)
        ]
        rows = [row_of(item, clock.now(), moves=False) for item in items]
        ingest(sales, rows, log=log, quarantine=None, clock=clock)
    return log


def test_chunks_come_and_go():
    log, store, divided = long_history(200), MemoryOnlineStore(), Sizes(most=20, mean=10)
    shop = Entity("shop", key="shop")
    view = FeatureView("short", entity=shop, source=sales, features=features(window="6h"))
    sink, most = StateSink(log, store, [view], sizes=divided), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(materialize, "BATCHES", 1)
        while sink.behind():
            sink.advance()
            most = max(most, sum(1 for _ in store.items(prefix(view))))
    assert most > 15, "the state was hardly divided"
    assert dict(store.items()) == dict(folded([view], log, [], divided=divided).items())
    now = log.read("sales", 0, limit=10_000)[-1].arrival
    assert read(view, store, 0, now + 1) == reference.features(view, records_of(sales, log), [0], now + 1)
    later = VirtualClock(now + 1_000 * HOUR)
    new = MemoryLog(later)
    for batch in log.read("sales", 0, limit=10_000):
        new.append("sales", batch.data, batch.count)
    one = dict.fromkeys(("price", "units", "paid", "word")) | {"sale_id": "s0", "hours": 0, "gone": False}
    rows = [row_of(one, later.now(), moves=False)]
    ingest(sales, rows, log=new, quarantine=None, clock=later)
    StateSink(new, store, [view], sizes=divided).advance()
    assert [key for key, _ in store.items()] == state_keys(view, [[0]]), "one record is one piece again"


def test_sums_beyond_a_word_are_those_of_the_window():
    """The state as a whole adds up to more than fits, a window that does not is fine; one that does is refused."""
    clock = VirtualClock(START)
    log, store = MemoryLog(clock), MemoryOnlineStore()
    view = FeatureView(
        "large",
        entity=Entity("shop", key="shop"),
        source=sales,
        features={"sum": price.sum(window="3h"), "var": units.var(window="3h"), "n": count()},
    )
    plain = {"paid": None, "word": None, "hours": 0, "gone": False}
    for number in range(40):
        clock.set(clock.now() + HOUR)
        large = {"price": 2.0**42, "units": 2**34} if number < 30 else {"price": 1.5, "units": 2}
        item = {"sale_id": f"s{number}0"} | plain | large
        rows = [row_of(item, clock.now(), moves=False)]
        ingest(sales, rows, log=log, quarantine=None, clock=clock)
        folded([view], log, [], store, divided=TINY[0])
        if number == 20:
            with pytest.raises(DefinitionError, match="cannot be summed exactly"):
                read(view, store, 0, clock.now() + 1)
    assert read(view, store, 0, clock.now() + 1) == {"sum": 4.5, "var": 0.0, "n": 40}


def test_a_divided_state_is_not_read_without_its_parts():
    one = dict.fromkeys(("price", "units", "paid", "word")) | {"sale_id": "s0", "hours": 0, "gone": False}
    log, now = filled(sales, [(HOUR, [one])])
    store = folded(VIEWS[:1], log, [], divided=TINY[0])
    state = store.use(state_keys(VIEWS[0], [[0]]), lambda states, _: states[0])
    with pytest.raises(ValueError, match="without its parts"):
        reader_of(VIEWS[0])(state, now + 1)
