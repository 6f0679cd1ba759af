"""Processes that send to one place have their turn after each part, and what it refused is told in a few words."""

import threading

import pytest

from tenfold.automation.deliver import follow
from tenfold.automation.sinks import Refused
from tenfold.core.clock import SystemClock
from tenfold.core.errors import Unavailable
from tenfold.sources.locked import alone, in_turn
from tests.unit.delivering import Place, names
from tests.unit.test_deliver_pauses import Hasty


class Visited:
    """Takes a row at a time, slowly, and each time another one is answered: something is always left to send."""

    most, every = 1, 0.0

    def __init__(self, place):
        self.place, self.taken, self.why = place, [], None

    def put(self, part):
        if self.why is not None:
            raise self.why
        self.place.clock.sleep(0.05)
        self.place.answer(f"later {len(self.taken)}")
        self.taken += [(part.late, name) for name in part.rows.column("prediction_id").to_pylist()]


def test_what_was_refused_is_sent_again_beside_a_process_that_always_has_more_to_send(place):
    sink = Visited(place)
    delivery, other = place.delivery(), place.delivery()
    delivery.sink = other.sink = sink
    place.answer(*names(0, 8))
    sink.why = Refused("no.")
    assert delivery.send() == 0
    sink.why = None
    place.answer("new")
    done, told = threading.Event(), []
    follower = threading.Thread(
        target=follow, args=([delivery], SystemClock(), done.is_set), kwargs={"tell": told.append}
    )
    follower.start()
    try:
        assert other.send(again=True) >= 8
    finally:
        done.set()
        follower.join()
    assert (told, other.waiting().refused) == ([], {})
    late = [place for place, (again, _) in enumerate(sink.taken) if again]
    assert [sink.taken[place][1] for place in late] == names(0, 8)
    assert late[-1] - late[0] > 8, "what is new stood still meanwhile"
    news = [name for again, name in sink.taken if not again]
    assert news == ["new", *(f"later {number}" for number in range(len(news) - 1))]


def test_who_lets_go_comes_behind_who_waits(tmp_path):
    rule = tmp_path / "lock", "counting", SystemClock(), 60
    order = []

    def count():
        with in_turn(*rule):
            order.append("other")

    with in_turn(*rule):
        other = threading.Thread(target=count)
        other.start()
        while not _is_held(tmp_path / "lock.door"):
            SystemClock().sleep(0.001)
    with in_turn(*rule):
        order.append("again")
    other.join()
    assert order == ["other", "again"]


def _is_held(path):
    try:
        with alone(path, "looking"):
            return False
    except Unavailable:
        return True


def test_two_processes_do_not_send_at_once(tmp_path):
    place = Place(tmp_path, Hasty(0))
    place.answer("a")
    delivery = place.delivery()
    assert delivery.send() == 1
    place.answer("b")
    (path,) = place.folder.glob("sink-*.lock")
    with alone(path, "delivering"):
        with pytest.raises(Unavailable, match="another process is delivering to topic:decisions"):
            delivery.send()
        assert 30 <= place.clock.waited / 1e6 < 31
        stops = iter([False, False, True])
        assert delivery.send(stopped=lambda: next(stops)) == 0
    assert place.topic() == ["a"]
    assert delivery.send() == 1
    place.close()


def test_what_was_refused_in_many_words_is_told_in_a_few(place):
    sink, delivery = Visited(place), place.delivery()
    delivery.sink = sink
    for number, why in enumerate(
        [*(f"x:/y answered 403: request {number}." for number in range(5)), *"abcd"]
    ):
        place.answer(f"p{number}")
        sink.why = Refused(why)
        assert delivery.send() == 0
        place.clock.set(number)
    assert delivery.waiting().refused == {
        "x:/y answered 403, lastly: request 4.": 5,
        "a": 1,
        "b": 1,
        "other reasons.": 2,
    }
