"""Answers go to an address over real HTTP: what passes is tried again, what is refused is set aside and told."""

import ssl
import threading

import pytest

from tenfold.automation.deliver import follow
from tenfold.automation.webhook import Webhook
from tenfold.core.clock import SystemClock
from tenfold.core.errors import DefinitionError, Unavailable
from tests.unit.delivering import Place, names
from tests.unit.downstream import Downstream, certified


@pytest.mark.parametrize("status", [500, 503, 429, 408, "lost"])
def test_what_passes_is_tried_again_with_the_same_rows_under_the_same_name(place, downstream, status):
    place.answer("a", "b")
    downstream.statuses = [status]
    with pytest.raises(Unavailable, match=r"no answer|answered"):
        place.delivery(downstream.url).send()
    assert place.delivery(downstream.url).waiting().answers == 2
    place.answer("c")
    assert place.delivery(downstream.url).send() == 3
    first, second = (header["idempotency-key"] for header in downstream.headers[:2])
    assert first == second
    assert len(dict(downstream.posts)) == 2
    assert list(dict.fromkeys(downstream.ids())) == ["a", "b", "c"]


def test_a_place_that_is_slow_or_away_is_tried_again(place, downstream):
    place.answer("a")
    delivery = place.delivery(downstream.url)
    delivery.sink = Webhook(downstream.url, timeout=0.3)
    downstream.statuses = ["hang", "drip"]
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"no answer from http://127.0.0.1:\d+/hook: timed out"):
            delivery.send()
    downstream.stop()
    with pytest.raises(Unavailable, match="refused"):
        delivery.send()
    downstream.start()
    assert delivery.send() == 1
    downstream.stop()  # the connection that was left open is gone
    downstream.start()
    place.answer("b")
    assert delivery.send() == 1
    assert downstream.ids() == ["a", "b"]


@pytest.mark.parametrize("status", [401, 404, 301])
def test_what_is_refused_as_a_whole_is_set_aside_and_can_be_sent_again(place, downstream, status):
    place.answer(*names(0, 3))
    downstream.statuses = [status]
    assert place.delivery(downstream.url).send() == 0
    place.answer("later")
    assert place.delivery(downstream.url).send() == 1
    waiting = place.delivery(downstream.url).waiting()
    ((why, rows),) = waiting.refused.items()
    assert (waiting.answers, rows) == (0, 3)
    assert why.startswith(f"{downstream.url} answered {status}: no thanks")
    downstream.statuses = [403]
    assert place.delivery(downstream.url).send(again=True) == 0
    assert "answered 403" in next(iter(place.delivery(downstream.url).waiting().refused))
    assert place.delivery(downstream.url).send(again=True) == 3
    assert place.delivery(downstream.url).waiting().refused == {}
    assert sorted(downstream.ids()) == ["later", *names(0, 3)]
    assert all(header["path"] == "/hook" for header in downstream.headers)


def test_one_bad_row_costs_no_other_its_delivery(place, downstream):
    place.answer(*names(0, 40))
    downstream.bad = {"p0", "p17", "p39"}
    assert place.delivery(downstream.url).send() == 37
    assert downstream.ids() == [name for name in names(0, 40) if name not in downstream.bad]
    assert sum(place.delivery(downstream.url).waiting().refused.values()) == 3
    downstream.bad = set()
    assert place.delivery(downstream.url).send(again=True) == 3


def test_the_token_of_a_host_comes_from_the_environment_and_is_never_told(place, downstream, monkeypatch):
    monkeypatch.setenv("TENFOLD_TOKEN_127_0_0_1", "secret-5")
    place.answer("a")
    downstream.statuses = [401]
    delivery = place.delivery(f"{downstream.url}?key=hidden")
    delivery.send()
    assert downstream.headers[0]["authorization"] == "Bearer secret-5"
    assert downstream.headers[0]["path"] == "/hook?key=hidden"
    assert "secret" not in repr(delivery.waiting())
    assert "hidden" not in repr(delivery.waiting())
    monkeypatch.setenv("TENFOLD_TOKEN_127_0_0_1", "a\nb")
    with pytest.raises(DefinitionError, match="characters that no header can"):
        delivery.send(again=True)


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(place, tmp_path):
    context, cert = certified(tmp_path)
    server = Downstream().start(context)
    address = f"https://localhost:{server.port}/hook"
    place.answer("a")
    delivery = place.delivery(address)
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        delivery.send()
    delivery.sink = Webhook(address, trust=ssl.create_default_context(cafile=str(cert)))
    assert delivery.send() == 1
    delivery.sink.close()
    server.stop()


def test_what_is_answered_later_follows_and_a_place_that_is_away_holds_up_no_other(tmp_path, downstream):
    place = Place(tmp_path, SystemClock())
    away, told, stop = Downstream().start(), [], threading.Event()
    away.stop()
    found = [place.delivery(address) for address in (away.url, downstream.url)]
    thread = threading.Thread(
        target=follow, args=(found, place.clock, stop.is_set), kwargs={"tell": told.append}
    )
    place.answer("a")
    thread.start()
    assert downstream.wait_for(1)
    while not told:
        place.clock.sleep(0.01)
    place.answer("b")
    assert downstream.wait_for(2)
    away.start()
    assert away.wait_for(2)
    stop.set()
    thread.join()
    assert away.ids() == downstream.ids() == ["a", "b"]
    assert told[0].startswith(f"no answer from {away.url}: ")
    assert told[0].endswith(" Next try in 1 s.")
    assert told[0].count(away.url) == 1
    away.stop()
    place.close()
