"""Every answer goes downstream, in order and none twice by its id, however processes and places die; nothing waits for it."""

import json
import shutil
from dataclasses import replace
from itertools import count

import numpy as np
import pyarrow as pa
import pytest

from tenfold import Project, Release
from tenfold.automation.deliver import Delivery, Waiting
from tenfold.automation.sinks import Part, Refused, TableSink, TopicSink
from tenfold.automation.webhook import documents
from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.serving.answer.predictions import BATCH, SHADOW, Predictions
from tests.examples import tiny
from tests.unit.delivering import Place, answers, names
from tests.unit.downstream import Downstream


def test_every_answer_goes_to_a_topic_a_table_and_an_address(place, downstream):
    place.answer("a", "b")
    place.answer("other", model="another")
    place.answer("a", mode=SHADOW)
    place.answer("c", mode=BATCH)
    for address in ("topic:decisions", "table:decisions", downstream.url):
        delivery = place.delivery(address)
        assert delivery.has_more()
        assert delivery.waiting().answers == 5
        assert delivery.send() == 3
        assert not delivery.has_more()
        assert delivery.waiting().answers == delivery.send() == 0
    assert place.topic() == place.table() == downstream.ids() == ["a", "b", "c"]
    (row, *_), last = downstream.posts[0][1], downstream.posts[-1][1][-1]
    assert row == {
        "prediction_id": "a",
        "model": "m",
        "mode": "online",
        "version": 3,
        "row_id": "row a",
        "on": "on a",
        "as_of": "1970-01-01T00:00:00+00:00",
        "score": 0.75,
        "decision": True,
        "outputs": {"action": "block"},
        "outputs_by": "abc",
    }
    assert last["mode"] == "batch"
    stored = place.lake.read("decisions").to_pylist()[1]
    assert {"request", "features", "answer"}.isdisjoint(stored)
    assert json.loads(stored["outputs"]) == {"action": "block"}


def test_rows_that_are_not_sent_are_not_all_in_memory(place):
    text, calls = np.random.default_rng(0).bytes(50_000).hex(), 100
    for call in range(calls):
        few = answers(*names(10 * call, 10 * call + 10))
        place.kept.write(replace(few, request=[text] * 10), key=str(call))
    pool = pa.default_memory_pool()
    most = max(pool.max_memory(), pool.bytes_allocated() + 10 * calls * len(text) // 2)
    assert place.delivery().send() == 10 * calls
    assert pool.max_memory() <= most
    assert place.topic() == names(0, 10 * calls)


def test_large_batches_go_in_parts_and_in_order(place, downstream):
    place.answer(*names(0, 250))
    place.answer("x", model="another")
    place.answer(*names(250, 260))
    assert place.delivery(downstream.url).send() == 260
    assert downstream.ids() == names(0, 260)
    assert [len(rows) for _, rows in downstream.posts] == [100, 100, 60]
    assert len({name for name, _ in downstream.posts}) == 3


def test_several_models_share_a_place(place):
    place.answer("a")
    place.answer("a", model="n")
    assert place.delivery(models=("m", "n")).send() == 2
    assert place.topic() == ["a", "a"]


def test_a_part_that_is_of_more_models_when_it_comes_again_has_another_name(place, downstream):
    place.answer("a")
    place.answer("b", model="n")
    downstream.statuses = ["lost"]
    with pytest.raises(Unavailable):
        place.delivery(downstream.url, models=("m",)).send()
    place.delivery(downstream.url, models=("m", "n")).send()
    (one, first), (other, second) = downstream.posts
    assert [[row["prediction_id"] for row in rows] for rows in (first, second)] == [["a"], ["a", "b"]]
    assert one != other


def test_a_place_that_is_new_may_begin_now(place):
    place.answer("a")
    place.delivery().skip()
    place.answer("b")
    assert place.delivery().send() == 1
    assert place.topic() == ["b"]


class Meanwhile:
    """Something is done while a part is under way, which the place then answers."""

    most = 2

    def __init__(self, done, answer=None):
        self.done, self.answer, self.taken = done, answer, []

    def put(self, part):
        done, self.done = self.done, bool
        done()
        if self.answer is not None:
            raise self.answer
        self.taken += part.rows.column("prediction_id").to_pylist()


@pytest.mark.parametrize("answer", [None, Refused("no."), Refused("no.", each=True)], ids=repr)
def test_to_begin_now_holds_although_a_process_is_sending(place, answer):
    place.answer(*names(0, 10))
    delivery = place.delivery()
    delivery.sink = Meanwhile(place.delivery().skip, answer)
    assert delivery.send() == (0 if answer else 2)
    assert place.delivery().waiting() == Waiting("topic:decisions", 0, {})
    place.delivery().skip()
    place.answer("later")
    delivery.sink.answer = None
    assert delivery.send() == 1
    assert delivery.sink.taken == [*(() if answer else names(0, 2)), "later"]


class Died(BaseException):
    """The process is gone: nothing handles it."""


class Dying:
    """Ends everything at one point."""

    def __init__(self, at):
        self.points, self.at = 0, at

    def __call__(self):
        self.points += 1
        if self.points == self.at:
            raise Died


class DyingSink:
    def __init__(self, sink, point):
        self.sink, self.point, self.most = sink, point, 3

    def put(self, part):
        self.point()
        self.sink.put(part)
        self.point()


class DyingDelivery(Delivery):
    """Dies before or after each move of the cursor, and each time something is sent."""

    def _move(self, *given):
        self.sink.point()
        moved = super()._move(*given)
        self.sink.point()
        return moved


def dying(place, address, point):
    one = place.delivery(address)
    parts = one.log, one.database, one.clock, one.home, one.folder
    return DyingDelivery(one.address, one.models, DyingSink(one.sink, point), *parts)


@pytest.mark.parametrize("kind", ["topic", "table", "webhook"])
def test_death_at_any_point_loses_nothing_and_repeats_nothing(tmp_path, kind):
    for at in count(1):
        folder = tmp_path / str(at)
        folder.mkdir()
        place, server = Place(folder), Downstream()
        if kind == "webhook":
            server.start()
        address = server.url if kind == "webhook" else f"{kind}:decisions"
        place.answer(*names(0, 4))
        point = Dying(at)
        try:
            dying(place, address, point).send()
        except Died:
            dead = True
        else:
            dead = False
        place.answer(*names(4, 9))  # what comes before it is started again must not change what is repeated
        dying(place, address, Dying(0)).send()
        if kind == "topic":
            assert place.topic() == names(0, 9), at
        elif kind == "table":
            assert place.table() == names(0, 9), at
        else:
            server.stop()
            parts = dict(server.posts)
            assert all(parts[name] == rows for name, rows in server.posts), "the same name, other rows"
            assert [row["prediction_id"] for rows in parts.values() for row in rows] == names(0, 9), at
        place.close()
        shutil.rmtree(folder)
        if not dead:
            assert at > 8
            break


def test_a_topic_that_has_some_of_the_answers_gets_the_others(place):
    place.answer(*names(0, 4))
    place.delivery().send()
    everything = place.delivery("topic:other")
    sink = TopicSink(place.log, "decisions")

    class Same:
        most = 100

        def put(self, part):
            sink.put(part)

    place.answer(*names(4, 6))
    everything.sink = Same()
    assert everything.send() == 6
    assert place.topic() == names(0, 6)


def test_an_answer_that_took_the_place_of_another_one_goes_too(place):
    place.answer("a", "b", mode=BATCH)
    place.delivery().send()
    place.kept.write(answers("b", mode=BATCH), key="again")
    assert place.delivery().send() == 1
    assert place.topic() == ["a", "b", "b"]


def test_a_table_that_refused_rows_takes_them_later(place):
    place.answer("a")
    delivery, real = place.delivery("table:decisions"), TableSink(place.lake, "decisions")

    class Picky:
        most = 10

        def put(self, part):
            if not part.late and "a" in part.rows.column("prediction_id").to_pylist():
                raise Refused("not this one.")
            real.put(part)

    delivery.sink = Picky()
    delivery.send()
    place.answer("b")
    delivery.send()
    assert place.table() == ["b"]
    assert delivery.send(again=True) == 1
    assert place.table() == ["a", "b"]


def test_answers_of_several_classes_are_told_with_their_probabilities(place):
    one = answers("a")
    several = Predictions(
        *(getattr(one, name) for name in ("model", "mode", "id", "row", "on", "version", "at", "score")),
        np.array([None]), one.features, one.ages, one.request, np.array([[0.75, 0.25]]), ("fine", "lost"),
    )  # fmt: skip
    place.kept.write(several, key="k")
    taken = []

    class Listening:
        most = 5

        def put(self, part: Part):
            taken.extend(documents(part.rows))

    delivery = place.delivery()
    delivery.sink = Listening()
    delivery.send()
    assert taken[0]["probabilities"] == {"fine": 0.75, "lost": 0.25}
    assert (taken[0]["decision"], taken[0]["outputs"]) == (None, {})


# Declared -----------------------------------------------------------------------------------------------

WRONG = [
    ("topic:decisions", r'is not a list. Write to=."topic:decisions".'),
    (["decisions"], "is no place to deliver to"),
    (["tpic:decisions"], 'Did you mean "topic:"'),
    (["topic:Decisions"], "not lower-case letters"),
    (["table:../x"], "not lower-case letters"),
    ([f"table:{'a' * 101}"], "has 101 characters, and files are named after it"),
    (["ftp://host/x"], "is no place to deliver to"),
    (["https://"], "is not an address"),
    (["https://host/a b"], "is not an address"),
    (["https://host:99999/"], "is not an address"),
    (["https://host/#part"], "is not an address"),
    (["https://a..b/x"], "no host, or no port, is written like that"),
    ([f"https://{'a' * 64}.example/x"], "no host, or no port, is written like that"),
    (["https://host:99999/x?key=secret"], "is not an address"),
    (["https://ann:secret@host:99999/"], 'to="https://host:99999/" is not an address'),
    (["https://ann:secret@ho st/"], "is not an address"),
    (["https://[::1/x?key=secret"], "is not an address"),
    (["https://host/x?key=secret#part"], "is not an address"),
    (["http://host.example/x?key=secret"], "in the clear"),
    (["ftp://host/x?key=secret"], "is no place to deliver to"),
    ("https://host/x?key=secret", 'Write to=."https://host/x".'),
    (["https://host/x?key=secret", "https://host/x?key=secret"], "names a place twice"),
    (["http://host.example/x"], "in the clear"),
    (["https://ann:secret@host.example/x"], "Set it in the environment as TENFOLD_TOKEN_HOST_EXAMPLE"),
    ([5], "is not an address"),
    (["topic:a", "topic:a"], "names a place twice"),
]


@pytest.mark.parametrize(("to", "message"), WRONG, ids=str)
def test_what_is_no_place_is_refused_where_it_is_declared(to, message):
    with pytest.raises(DefinitionError, match=message) as error:
        Release(tiny.late_order, to=to)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("address", ["topic:visits", "table:orders", "topic:predictions", "table:scores"])
def test_rows_of_sources_are_not_mixed_with_answers(address):
    with pytest.raises(DefinitionError, match="would be mixed with the rows of"):
        Project("tiny", releases=[Release(tiny.late_order, to=[address])])
