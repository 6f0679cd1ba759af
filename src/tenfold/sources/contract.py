"""What every log must pass, as plain functions; those of blobs and lakes are in `blobs_contract.py` and `lake_contract.py`.

Each check takes `make`, which opens the implementation at one place, a log with the clock given: the first call finds it
empty, a later call finds what was stored there. A check raises AssertionError when the implementation breaks its promise.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

from tenfold.core.clock import Clock, SystemClock, VirtualClock
from tenfold.core.errors import SchemaError
from tenfold.sources.base import Append, Batch, Ends, Log
from tenfold.sources.turn import Overtaken

MakeLog = Callable[[Clock], Log]
Result = TypeVar("Result")
Values = ParamSpec("Values")
THREADS = 4
NOW = 1_000_000
PAUSE, PATIENCE = 0.2, 30.0
"""Seconds."""


def log_checks() -> list[Callable[[MakeLog], None]]:
    """Return the checks of a `Log`."""
    return [
        log_reads_back,
        log_starts_empty,
        log_offsets_have_no_gaps,
        log_limits_whole_batches,
        log_limits_bytes,
        log_key_is_stored_once,
        log_key_belongs_to_a_topic,
        log_several_keys_are_stored_all_or_not_at_all,
        log_appends_several_in_their_order,
        log_appends_several_or_none,
        log_several_at_once_are_stored_once_by_key,
        log_topics_are_apart,
        log_keeps_any_text_and_bytes,
        log_keeps_a_large_batch,
        log_refuses_an_empty_batch,
        log_threads_append_at_once,
        log_threads_append_one_key_once,
        log_stamps_arrivals,
        log_arrivals_never_decrease,
        log_ends_wait_for_a_slow_append,
        log_ends_hold_while_threads_append,
        log_stores_nothing_when_it_ends_elsewhere_than_is_expected,
        log_is_the_same_for_those_in_a_hurry,
        log_is_as_before_when_it_was_checked_or_settled,
        log_closes_twice,
        log_reopens,
    ]


def log_reads_back(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    stored = log.append("payments", b"data", 3, key="k")
    assert stored == Batch("payments", 0, 3, NOW, stored.stamp, b"data")
    assert log.read("payments", 0) == [stored]
    assert log.find("payments", ["k"]) == {"k": stored}
    assert log.ends() == Ends(NOW, {"payments": 3})


def log_starts_empty(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    assert log.ends().offsets == {}
    assert log.read("payments", 0) == []
    assert log.find("payments", ["k"]) == {}


def log_offsets_have_no_gaps(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    stored = [_append(log, "payments", count) for count in (3, 1, 5)]
    assert [batch.base for batch in stored] == [0, 3, 4]
    assert log.read("payments", 0) == stored
    assert log.read("payments", 3) == stored[1:]
    assert log.read("payments", 9) == []
    assert log.ends().offsets == {"payments": 9}


def log_limits_whole_batches(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    stored = [_append(log, "payments", 10) for _ in range(5)]
    assert log.read("payments", 0, limit=2) == stored[:2]
    assert log.read("payments", stored[1].end, limit=2) == stored[2:4]
    assert log.read("payments", stored[1].end, rows=stored[2].count + 1) == stored[2:4]
    assert log.read("payments", stored[1].end, rows=stored[2].count) == stored[2:3]
    assert log.read("payments", stored[1].end, limit=1, rows=100) == stored[2:3]


def log_limits_bytes(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    stored = [_append(log, "payments", size) for size in (10, 20, 30, 40)]
    for size, found in ((1, 1), (10, 1), (11, 2), (60, 3), (61, 4), (1_000, 4)):
        assert log.read("payments", 0, size=size) == stored[:found]
    assert log.read("payments", stored[0].end, size=21) == stored[1:3]
    assert log.read("payments", stored[0].end, size=1_000, limit=2) == stored[1:3]
    assert log.read("payments", stored[0].end, size=1_000, rows=20) == stored[1:2]
    stored.append(_append(log, "payments", 1))  # what was not read to its end holds nothing up
    assert log.read("payments", stored[2].end, size=1_000) == stored[3:]


def log_key_is_stored_once(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    first = log.append("payments", b"one", 2, key="k")
    assert log.append("payments", b"two", 7, key="k") == first
    assert log.read("payments", 0) == [first]
    assert log.ends().offsets == {"payments": 2}


def log_key_belongs_to_a_topic(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    first = log.append("payments", b"one", 2, key="k")
    second = log.append("labels", b"two", 3, key="k")
    assert (log.find("payments", ["k"]), log.find("labels", ["k"])) == ({"k": first}, {"k": second})
    assert log.find("payments", ["other"]) == {}


def log_several_keys_are_stored_all_or_not_at_all(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    first = log.append("answers", b"one", 2, key=["a", "b"])
    assert log.append("answers", b"two", 2, key=["c", "b"]) == first
    assert log.append("answers", b"two", 1, key="a") == first
    assert log.find("answers", ["c"]) == {}
    second = log.append("answers", b"two", 2, key=["c", "c"])
    assert log.find("answers", ["a", "x", "c", "b"]) == {"a": first, "b": first, "c": second}
    assert log.find("answers", []) == {}
    assert log.append("answers", b"three", 2, key=["x", "c", "a"]) == second
    assert log.read("answers", 0) == [first, second]


def log_appends_several_in_their_order(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    first = _append(log, "payments", 2)
    several = [("payments", 3), ("labels", 1), *[("payments", 1)] * 600]
    stored = log.append_all(
        [Append(topic, b"%d" % place, count) for place, (topic, count) in enumerate(several)]
    )
    assert [(batch.topic, batch.count) for batch in stored] == several
    assert [batch.data for batch in stored] == [b"%d" % place for place in range(len(several))]
    assert {batch.arrival for batch in stored} == {NOW}
    payments = [first, *(batch for batch in stored if batch.topic == "payments")]
    assert log.read("payments", 0, limit=1_000) == payments
    assert [batch.base for batch in payments[1:]] == [batch.end for batch in payments[:-1]]
    assert log.read("labels", 0) == [stored[1]]
    assert log.ends().offsets == {"payments": 605, "labels": 1}
    assert log.append_all([]) == []


def log_appends_several_or_none(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    message = refused(
        SchemaError, log.append_all, [Append("payments", b"a", 1, "k"), Append("labels", b"", 0)]
    )
    assert '"labels"' in message
    assert log.ends().offsets == {}
    assert log.find("payments", ["k"]) == {}


def log_several_at_once_are_stored_once_by_key(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    held, other = log.append_all([Append("payments", b"one", 2, "k"), Append("labels", b"two", 1, "k")])
    again = log.append_all(
        [
            Append("payments", b"new", 1, ["a", "b"]),
            Append("payments", b"again", 5, "k"),
            Append("payments", b"other", 1, ["c", "b"]),
            Append("payments", b"last", 1, "c"),
        ]
    )
    assert again[1:3] == [held, again[0]]
    assert log.read("payments", 0) == [held, again[0], again[3]]
    assert [batch.base for batch in log.read("payments", 0)] == [0, 2, 3]
    assert log.find("payments", ["c"]) == {"c": again[3]}
    assert log.read("labels", 0) == [other]


def log_topics_are_apart(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    stored = {topic: [_append(log, topic, 2), _append(log, topic, 2)] for topic in ("a", "b")}
    assert {topic: log.read(topic, 0) for topic in stored} == stored
    assert log.ends().offsets == {"a": 4, "b": 4}


def log_keeps_any_text_and_bytes(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    stored = log.append("Zahlung é 支払い", bytes(range(256)), 1, key="clé 'x' \U0001f600")
    assert log.read("Zahlung é 支払い", 0) == [stored]
    assert log.find("Zahlung é 支払い", ["clé 'x' \U0001f600"]) == {"clé 'x' \U0001f600": stored}
    assert stored.data == bytes(range(256))


def log_keeps_a_large_batch(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    stored = log.append("payments", b"\x00\x01" * 4_000_000, 1_000_000)
    assert log.read("payments", 0) == [stored]
    assert log.ends().offsets == {"payments": 1_000_000}


def log_refuses_an_empty_batch(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    message = refused(SchemaError, log.append, "payments", b"", 0)
    assert '"payments"' in message
    assert log.ends().offsets == {}


def log_threads_append_at_once(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    stored = together(lambda place: [_append(log, "payments", place + 1) for _ in range(25)])
    expected = sorted((batch for batches in stored for batch in batches), key=lambda batch: batch.base)
    found = log.read("payments", 0, limit=1_000)
    assert found == expected
    assert [batch.base for batch in found[1:]] == [batch.end for batch in found[:-1]]


def log_threads_append_one_key_once(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    stored = together(lambda place: log.append("payments", b"%d" % place, 1, key="k"))
    assert set(stored) == {stored[0]}
    assert log.read("payments", 0) == [stored[0]]


def log_stamps_arrivals(make: MakeLog) -> None:
    clock = VirtualClock(NOW)
    log = make(clock)
    before = clock.elapsed()
    first = log.append("payments", b"one", 1, key="k")
    assert before <= first.stamp <= clock.elapsed()
    clock.set(NOW + 5)
    assert log.append("payments", b"one", 1, key="k") == first
    second = _append(log, "labels", 1)
    assert (first.arrival, second.arrival) == (NOW, NOW + 5)
    assert log.ends() == Ends(NOW + 5, {"payments": 1, "labels": 1})


def log_arrivals_never_decrease(make: MakeLog) -> None:
    clock = _SetBack(NOW)
    log = make(clock)
    _append(log, "payments", 1)
    clock.set(NOW - 5)
    assert log.ends() == Ends(NOW, {"payments": 1})
    assert [_append(log, topic, 1).arrival for topic in ("payments", "labels")] == [NOW, NOW]
    log.close()
    again = make(clock)
    assert [_append(again, topic, 1).arrival for topic in ("labels", "new")] == [NOW, NOW]
    assert again.ends().at == NOW


def log_ends_wait_for_a_slow_append(make: MakeLog) -> None:
    clock = _Slow(NOW)
    log = make(clock)
    with ThreadPoolExecutor(2) as pool:
        appending = pool.submit(_append, log, "payments", 1)
        assert clock.asked.wait(PATIENCE), "append did not ask the clock"
        clock.set(NOW + 5)
        asking = pool.submit(log.ends)
        wait([asking], timeout=PAUSE)  # one that does not wait for the append has answered by then
        clock.goes_on.set()
        _check_ends([asking.result()], [appending.result()])


def log_ends_hold_while_threads_append(make: MakeLog) -> None:
    log = make(SystemClock())

    def work(place: int) -> tuple[list[Ends], list[Batch]]:
        if place % 2:
            return [log.ends() for _ in range(200)], []
        return [], [_append(log, topic, 1) for topic in ("payments", "labels") * 20]

    done = together(work)
    batches = [batch for _, some in done for batch in some]
    _check_ends([ends for some, _ in done for ends in some], batches)
    _check_ends([log.ends()], batches)


def log_stores_nothing_when_it_ends_elsewhere_than_is_expected(make: MakeLog) -> None:
    log = make(clock := VirtualClock(NOW))
    _append(log, "payments", 2)
    expected = Ends(NOW, {"payments": 2, "labels": 0})
    clock.set(NOW + 1)
    (stored,) = log.append_all([Append("predictions", b"one", 1, "k")], still=expected)
    assert log.append_all([Append("predictions", b"two", 1, "k")], still=expected) == [stored]
    ahead = Ends(NOW + 2, {"payments": 2})
    other = [Append("predictions", b"three", 1, "l")]
    for wrong in (Ends(NOW, {"payments": 1}), Ends(NOW, {"payments": 2, "labels": 1}), ahead):
        refused(Overtaken, log.append_all, other, still=wrong)
    _append(log, "labels", 1)
    refused(Overtaken, log.append_all, other, still=expected)
    assert log.read("predictions", 0) == [stored]
    assert log.find("predictions", ["l"]) == {}
    assert log.append_all(other, still=log.ends())[0].base == 1


def log_is_the_same_for_those_in_a_hurry(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    first = _append(log, "payments", 2)
    prompt = log.prompt()
    second = prompt.append("payments", b"two", 1, key="k")
    assert log.read("payments", 0) == prompt.read("payments", 0) == [first, second]
    assert log.append("payments", b"other", 1, key="k") == second
    assert prompt.find("payments", ["k"]) == {"k": second}
    assert log.ends() == prompt.ends() == Ends(NOW, {"payments": 3})
    log.close()


def log_is_as_before_when_it_was_checked_or_settled(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    log.check()
    first = _append(log, "payments", 2)
    log.check()
    log.settle()
    assert log.read("payments", 0) == [first]
    assert log.ends() == Ends(NOW, {"payments": 2})
    assert _append(log, "payments", 1).base == 2
    log.close()
    log.settle()


def log_closes_twice(make: MakeLog) -> None:
    log = make(VirtualClock(NOW))
    log.close()
    log.close()


def log_reopens(make: MakeLog) -> None:
    clock = VirtualClock(NOW)
    log = make(clock)
    stored = log.append("payments", b"one", 2, key="k")
    log.close()
    again = make(clock)
    assert again.read("payments", 0) == [stored]
    assert again.append("payments", b"two", 2, key="k") == stored
    assert _append(again, "payments", 1).base == 2


def _append(log: Log, topic: str, count: int) -> Batch:
    return log.append(topic, b"x" * count, count)


def _check_ends(found: Sequence[Ends], batches: Sequence[Batch]) -> None:
    for ends in found:
        for batch in batches:
            inside = batch.end <= ends.offsets.get(batch.topic, 0)
            assert inside or batch.arrival >= ends.at, f"{batch} is behind {ends}"


class _SetBack(VirtualClock):
    """A clock that somebody sets back."""

    def set(self, now: int) -> None:
        self._now = now


class _Slow(VirtualClock):
    """A clock whose first reading takes until it may go on."""

    def __init__(self, now: int) -> None:
        super().__init__(now)
        self.asked, self.goes_on = threading.Event(), threading.Event()

    def now(self) -> int:
        found = super().now()
        if not self.asked.is_set():
            self.asked.set()
            self.goes_on.wait(PATIENCE)
        return found


def together(work: Callable[[int], Result]) -> list[Result]:
    """Return the results of `work(0)`, `work(1)`, ... that threads start at the same moment."""
    gate = threading.Barrier(THREADS)

    def start(place: int) -> Result:
        gate.wait()
        return work(place)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(start, range(THREADS)))


def refused(
    kind: type[Exception], work: Callable[Values, object], *values: Values.args, **named: Values.kwargs
) -> str:
    """Return the message of the error that `work` must raise."""
    try:
        work(*values, **named)
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} was not raised")
