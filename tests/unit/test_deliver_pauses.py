"""How long a place that does not answer is left alone, by a clock that only moves as somebody waits."""

import pytest

from tenfold.automation.deliver import follow
from tenfold.automation.webhook import Webhook
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Unavailable
from tests.unit.delivering import Place, names


class Hasty(VirtualClock):
    """Goes on by what is slept, at once."""

    waited = 0

    def elapsed(self):
        return self.waited

    def sleep(self, seconds):
        self.waited += round(seconds * 1e6)


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path, Hasty(0))
    yield place
    place.close()


class Moody:
    """Takes a part, or not, as it is told; a row each."""

    most, every = 1, 0.2

    def __init__(self, *moods):
        self.moods = list(moods)

    def put(self, part):
        if not self.moods.pop(0):
            raise Unavailable("busy.")


def pauses(place, delivery):
    """Send everything; return the seconds of each pause that was told, and those that passed."""
    told = []
    follow([delivery], place.clock, lambda: not delivery.waiting().answers, tell=told.append)
    seconds = [float(one.rpartition(" Next try in ")[2].removesuffix(" s.")) for one in told]
    return seconds, place.clock.waited / 1e6


def test_the_pause_grows_only_while_nothing_is_taken(place):
    place.answer(*names(0, 5))
    delivery = place.delivery()
    delivery.sink = Moody(0, 0, 0, 1, 0, 1, 1, 0, 0, 1, 1)
    assert pauses(place, delivery) == ([1, 2, 4, 1, 1, 2], 11)


@pytest.mark.parametrize(
    ("said", "waited"),
    [
        ("0", [1, 2]),
        ("7", [7, 7]),
        ("3600", [60, 60]),
        ("tomorrow", [1, 2]),
        ("-5", [1, 2]),
        ("Fri, 01 Mar 2024 00:00:07 GMT", [7, 7]),
        ("Friday, 01-Mar-24 00:00:07 GMT", [7, 7]),
        ("Fri Mar  1 00:00:07 2024", [7, 7]),
        ("Sat, 01 Mar 2025 00:00:00 GMT", [60, 60]),
        ("Thu, 29 Feb 2024 00:00:00 GMT", [1, 2]),
        ("Fri, 31 Feb 2024 00:00:07 GMT", [1, 2]),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_place_that_says_when_to_ask_again_is_left_alone_until_then(
    place, downstream, said, waited, status
):
    place.answer("a")
    downstream.statuses, downstream.retry_after = [status, status], said
    delivery = place.delivery(downstream.url)
    delivery.sink = Webhook(downstream.url, clock=VirtualClock("2024-03-01"))
    assert pauses(place, delivery) == (waited, sum(waited))
