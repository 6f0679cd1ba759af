"""What every online store must pass, as plain functions.

Each check takes `make`, which opens the implementation at one place: the first call finds it empty, a call after
`close` finds what was stored there. A check raises AssertionError when the implementation breaks its promise.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tenfold.core.errors import SchemaError
from tenfold.store.base import Get, OnlineStore, read

Make = Callable[[], OnlineStore]
Key = TypeVar("Key")
Value = TypeVar("Value", covariant=True)
THREADS = 4


def checks() -> list[Callable[[Make], None]]:
    """Return the checks of an `OnlineStore`."""
    return [
        reads_back,
        reads_in_the_order_asked,
        starts_empty,
        later_state_replaces,
        none_removes_a_state,
        none_removes_an_offset,
        uses_what_it_reads,
        gives_more_from_the_same_snapshot,
        offset_never_moves_back,
        a_late_writer_writes_nothing,
        states_and_offsets_are_independent,
        items_come_in_key_order,
        items_by_prefix,
        any_bytes_survive,
        long_keys_survive,
        large_write,
        failed_write_applies_nothing,
        empty_keys_are_refused,
        threads_write_at_once,
        threads_advance_one_offset_once,
        readers_see_whole_writes,
        closes_twice,
        reopens,
    ]


def reads_back(make: Make) -> None:
    store = make()
    store.write({b"a": b"1", b"b": b"2"}, {"payments": 5})
    assert read(store, [b"a", b"b"]) == [b"1", b"2"]
    assert store.offsets() == {"payments": 5}


def reads_in_the_order_asked(make: Make) -> None:
    store = make()
    store.write({b"a": b"1", b"b": b"2"}, {})
    assert read(store, [b"b", b"x", b"a", b"b"]) == [b"2", None, b"1", b"2"]
    assert read(store, []) == []


def starts_empty(make: Make) -> None:
    store = make()
    assert read(store, [b"a"]) == [None]
    assert store.offsets() == {}
    assert list(store.items()) == []


def later_state_replaces(make: Make) -> None:
    store = make()
    store.write({b"a": b"a longer state", b"b": b"1"}, {"payments": 1})
    store.write({b"a": b"2"}, {"payments": 2})
    assert read(store, [b"a", b"b"]) == [b"2", b"1"]
    assert store.offsets() == {"payments": 2}


def none_removes_a_state(make: Make) -> None:
    store = make()
    long = b"card:" + b"k" * 600
    store.write({b"a": b"1", b"b": b"2", long: b"3"}, {})
    store.write({b"a": None, b"never": None, long: None}, {"payments": 1})
    assert list(store.items()) == [(b"b", b"2")]
    assert store.offsets() == {"payments": 1}


def none_removes_an_offset(make: Make) -> None:
    store = make()
    store.write({}, {"payments": 9, "labels": 1})
    store.write({}, {"payments": None, "never": None})
    assert store.offsets() == {"labels": 1}
    assert store.write({}, {"payments": 2}, after={"payments": 0})
    assert store.offsets() == {"payments": 2, "labels": 1}


def uses_what_it_reads(make: Make) -> None:
    store = make()
    keys = [b"a", b"none", b"card:" + b"k" * 600]
    store.write({keys[0]: b"12345678", keys[2]: b"3"}, {})
    found = store.use(keys, lambda states, _: [None if state is None else bytes(state) for state in states])
    assert found == [b"12345678", None, b"3"]
    assert store.use([], lambda states, _: len(states)) == 0


def gives_more_from_the_same_snapshot(make: Make) -> None:
    store = make()
    long = b"card:" + b"k" * 600
    store.write({b"a": b"a1", b"b": b"b1", long: b"c1"}, {})

    def both() -> list[bytes | None]:
        def work(states: list[Any], get: Get) -> list[bytes | None]:
            return [bytes(states[0]), *(None if item is None else bytes(item) for item in map(get, more))]

        return store.use([b"a"], work)

    more = [b"b", b"none", long]
    assert both() == [b"a1", b"b1", None, b"c1"]
    done = threading.Event()

    def look() -> int:
        torn = 0
        while not done.is_set():
            first, second, _, third = both()
            torn += len({item[1:] for item in (first, second, third) if item is not None}) != 1
        return torn

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(look)
        try:
            for number in range(50):
                store.write({key: key[:1] + b"%d" % number for key in (b"a", b"b", long)}, {})
        finally:
            done.set()
        assert found.result() == 0


def offset_never_moves_back(make: Make) -> None:
    store = make()
    store.write({}, {"payments": 9, "labels": 2})
    store.write({}, {"payments": 4, "labels": 3})
    assert store.offsets() == {"payments": 9, "labels": 3}


def a_late_writer_writes_nothing(make: Make) -> None:
    store = make()
    assert store.write({b"a": b"1"}, {"payments": 5}, after={"payments": 0})
    assert not store.write(
        {b"a": b"late", b"b": b"late"}, {"payments": 9, "labels": 9}, after={"payments": 0}
    )
    assert store.write({b"a": b"2"}, {"payments": 7}, after={"payments": 5, "labels": 0})
    assert list(store.items()) == [(b"a", b"2")]
    assert store.offsets() == {"payments": 7}


def states_and_offsets_are_independent(make: Make) -> None:
    store = make()
    store.write({b"payments": b"state"}, {"payments": 2**40, "Zahlung é": 0})
    store.write({}, {})
    assert list(store.items()) == [(b"payments", b"state")]
    assert store.offsets() == {"payments": 2**40, "Zahlung é": 0}


def items_come_in_key_order(make: Make) -> None:
    store = make()
    states = {key: key * 2 for key in (b"b", b"\xff", b"a\x00", b"a", b"\x00", b"ab")}
    store.write(states, {})
    assert list(store.items()) == sorted(states.items())


def items_by_prefix(make: Make) -> None:
    store = make()
    store.write(dict.fromkeys((b"a", b"v/1", b"v/2", b"v", b"w/1", b"\xff\xff"), b""), {})
    assert [key for key, _ in store.items(b"v/")] == [b"v/1", b"v/2"]
    assert [key for key, _ in store.items(b"\xff")] == [b"\xff\xff"]
    assert list(store.items(b"x")) == []


def any_bytes_survive(make: Make) -> None:
    store = make()
    states = {bytes([byte]): bytes([byte]) for byte in range(256)} | {"é 支払い".encode(): b""}
    store.write(states, {})
    assert dict(store.items()) == states
    assert read(store, list(states)) == list(states.values())


def long_keys_survive(make: Make) -> None:
    store = make()
    keys = [b"card:" + b"k" * length for length in (470, 473, 474, 475, 505, 506, 507, 2_000)]
    states = {key: b"state %d" % len(key) for key in [*keys, keys[-1] + b"x", b"card:" + b"k" * 1_999 + b"z"]}
    store.write(states, {})
    assert read(store, list(states)) == list(states.values())
    assert dict(store.items(b"card:")) == states
    assert dict(store.items(keys[-1])) == {key: states[key] for key in states if key.startswith(keys[-1])}


def large_write(make: Make) -> None:
    store = make()
    states = {b"card:%06d" % number: b"\x00" * 500 for number in range(20_000)}
    store.write(states, {"payments": 20_000})
    assert sum(1 for _ in store.items(b"card:01")) == 10_000
    assert read(store, [b"card:019999"]) == [b"\x00" * 500]


def failed_write_applies_nothing(make: Make) -> None:
    store = make()
    store.write({b"a": b"old"}, {"payments": 1})
    _must_break(lambda: store.write(_Breaks({b"a": b"new", b"b": b"new"}), {"payments": 2}))
    _must_break(lambda: store.write({b"a": b"new"}, _Breaks({"payments": 2, "labels": 2})))
    assert list(store.items()) == [(b"a", b"old")]
    assert store.offsets() == {"payments": 1}


def empty_keys_are_refused(make: Make) -> None:
    store = make()
    for use in (lambda: store.write({b"": b""}, {"payments": 1}), lambda: read(store, [b""])):
        try:
            use()
        except SchemaError:
            continue
        raise AssertionError("an empty key was accepted")
    assert store.offsets() == {}


def threads_write_at_once(make: Make) -> None:
    store = make()

    def write(place: int) -> None:
        for number in range(10):
            store.write({b"%d/%d" % (place, number): b"x"}, {"payments": place * 10 + number})

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(write, range(THREADS)))
    assert len(list(store.items())) == THREADS * 10
    assert store.offsets() == {"payments": THREADS * 10 - 1}


def threads_advance_one_offset_once(make: Make) -> None:
    store = make()

    def write(place: int) -> list[bool]:
        return [
            store.write({b"a": b"%d" % place}, {"payments": n + 1}, after={"payments": n}) for n in range(10)
        ]

    with ThreadPoolExecutor(THREADS) as pool:
        won = list(pool.map(write, range(THREADS)))
    assert [sum(wins) for wins in zip(*won, strict=True)] == [1] * 10


def readers_see_whole_writes(make: Make) -> None:
    store = make()
    store.write({b"a": b"0", b"b": b"0"}, {})
    done = threading.Event()

    def look() -> int:
        torn = 0
        while not done.is_set():
            first, second = read(store, [b"a", b"b"])
            torn += first != second
        return torn

    with ThreadPoolExecutor(1) as pool:
        torn = pool.submit(look)
        try:
            for number in range(50):
                store.write({b"a": b"%d" % number, b"b": b"%d" % number}, {})
        finally:
            done.set()
        assert torn.result() == 0


def closes_twice(make: Make) -> None:
    store = make()
    store.close()
    store.close()


def reopens(make: Make) -> None:
    store = make()
    store.write({b"a": b"1"}, {"payments": 5})
    store.close()
    again = make()
    assert read(again, [b"a"]) == [b"1"]
    assert again.offsets() == {"payments": 5}
    again.write({b"a": b"2"}, {"payments": 3})
    assert again.offsets() == {"payments": 5}


class _BrokenError(Exception):
    """What `_Breaks` raises."""


class _Breaks(Mapping[Key, Value]):
    """A mapping whose last value cannot be read."""

    def __init__(self, values: dict[Key, Value]) -> None:
        self._values = values

    def __getitem__(self, key: Key) -> Value:
        if key == list(self._values)[-1]:
            raise _BrokenError
        return self._values[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _must_break(work: Callable[[], object]) -> None:
    try:
        work()
    except _BrokenError:
        return
    raise AssertionError("the error of a mapping was swallowed")
