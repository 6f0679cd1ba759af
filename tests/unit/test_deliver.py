"""Every answer goes downstream, in order and none twice by its id, however processes and places die; nothing waits for it."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tenfold import Platform, Project, Release
from tenfold.automation.deliver import Delivery, deliveries, follow
from tenfold.automation.sinks import Part, Refused, TableSink, TopicSink
from tenfold.automation.webhook import Webhook, documents
from tenfold.cli import cli
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.platform import SCHEMA
from tenfold.processing.batches import to_tables
from tenfold.serving.predictions import BATCH, ONLINE, SHADOW, PredictionLog, Predictions
from tenfold.sources.lake import DeltaLake
from tenfold.sources.locked import alone
from tenfold.sources.log import SQLiteLog
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.sources.sqlite import SQLiteDatabase
from tests.examples import tiny
from tests.unit.downstream import Downstream


def answers(*ids, model="m", mode=ONLINE):
    n = len(ids)
    return Predictions(
        model, mode, list(ids), [f"row {name}" for name in ids], [f"on {name}" for name in ids],
        np.full(n, 3), np.arange(n) * 1_000_000, np.full(n, 0.75), np.full(n, True), np.ones((n, 2)),
        np.full((n, 1), np.nan), ["{}"] * n, outputs=['{"action":"block"}'] * n, outputs_by=["abc"] * n,
    )  # fmt: skip


class Place:
    """The storage of a home, of which any number of processes can be opened one after the other."""

    def __init__(self, folder, clock=None):
        self.folder, self.clock = folder, clock or VirtualClock(0)
        self.log, self.lake = MemoryLog(self.clock), MemoryLake()
        self.database = SQLiteDatabase(folder / "state.db", SCHEMA)
        self.kept = PredictionLog(self.log)
        self.made = []

    def delivery(self, address="topic:decisions", models=("m",)):
        parts = self.log, self.lake, self.database, self.clock, self.folder
        self.made += deliveries({address: models}, *parts)
        return self.made[-1]

    def close(self):
        for one in self.made:
            getattr(one.sink, "close", bool)()
        self.database.close()

    def answer(self, *ids, **how):
        self.kept.write(answers(*ids, **how), key=f"{how}/{ids}")

    def topic(self, name="decisions"):
        batches = self.log.read(name, 0)
        return to_tables(batches).column("prediction_id").to_pylist() if batches else []

    def table(self, name="decisions"):
        return (
            self.lake.read(name).column("prediction_id").to_pylist() if self.lake.version(name) >= 0 else []
        )


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path)
    yield found
    found.close()


@pytest.fixture
def downstream():
    server = Downstream().start()
    yield server
    server.released.set()
    server.stop()


def names(first, behind):
    return [f"p{number}" for number in range(first, behind)]


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


def test_a_place_that_is_new_may_begin_now(place):
    place.answer("a")
    place.delivery().skip()
    place.answer("b")
    assert place.delivery().send() == 1
    assert place.topic() == ["b"]


def test_two_processes_do_not_send_at_once(place):
    place.answer("a")
    delivery = place.delivery()
    lock = next(iter([delivery]))
    assert lock.send() == 1
    (path,) = place.folder.glob("sink-*.lock")
    with alone(path, "delivering"), pytest.raises(Unavailable, match="another process is delivering"):
        delivery.send()


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
        super()._move(*given)
        self.sink.point()


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
    downstream.statuses = ["hang"]
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
    import ssl

    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
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
    assert "Next try in 1 s." in told[0]
    away.stop()
    place.close()


# Declared -----------------------------------------------------------------------------------------------

WRONG = [
    ("topic:decisions", r'is not a list. Write to=."topic:decisions".'),
    (["decisions"], "is no place to deliver to"),
    (["tpic:decisions"], 'Did you mean "topic:"'),
    (["topic:Decisions"], "not lower-case letters"),
    (["table:../x"], "not lower-case letters"),
    (["ftp://host/x"], "is no place to deliver to"),
    (["https://"], "is not an address"),
    (["https://host/a b"], "is not an address"),
    (["https://host:99999/"], "is not an address"),
    (["https://host/#part"], "is not an address"),
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


# Processes ----------------------------------------------------------------------------------------------

PROJECT = """
from tenfold import Project, Release
from tests.examples.tiny import late_order

project = Project("tiny", releases=[Release(late_order, to=["topic:decisions", "table:decisions", "{url}"])])
"""


def start(folder):
    command = [sys.executable, "-m", "tenfold.cli", "deliver", str(folder / "delivering.py"), "--follow"]
    return subprocess.Popen([*command, "--home", str(folder)], stderr=subprocess.PIPE, text=True)


def test_a_process_that_is_killed_again_and_again_loses_nothing(tmp_path, downstream):
    (tmp_path / "delivering.py").write_text(PROJECT.format(url=downstream.url))
    clock = SystemClock()
    with Project("tiny", releases=[Release(tiny.late_order)]).open(
        Platform(home=tmp_path, clock=clock)
    ) as app:
        kept, sent = app.predictions, 0
        for round_ in range(2):
            process = start(tmp_path)
            for _ in range(15):
                kept.write(answers(*names(sent, sent + 5), model="late_order"), key=str(sent))
                sent += 5
            assert downstream.wait_for(sent - 40 * (round_ < 1))
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stderr.close()
    with Project(
        "tiny", releases=[Release(tiny.late_order, to=["topic:decisions", "table:decisions", downstream.url])]
    ).open(Platform(home=tmp_path, clock=clock)) as app:
        for delivery in app.deliveries:
            delivery.send()
        wanted = names(0, sent)
        assert list(dict.fromkeys(downstream.ids())) == wanted
        assert (
            to_tables(app.log.read("decisions", 0, limit=10_000)).column("prediction_id").to_pylist()
            == wanted
        )
        assert app.lake.read("decisions").column("prediction_id").to_pylist() == wanted
    parts = dict(downstream.posts)
    assert all(parts[name] == rows for name, rows in downstream.posts)


def test_the_storage_on_disk(tmp_path):
    place = Place(tmp_path)
    place.log, place.lake = SQLiteLog(tmp_path / "log.db", place.clock), DeltaLake(tmp_path / "lake")
    place.kept = PredictionLog(place.log)
    place.answer(*names(0, 10))
    for address in ("topic:decisions", "table:decisions"):
        assert place.delivery(address).send() == 10
    assert place.topic() == place.table() == names(0, 10)
    place.log.close()
    place.close()


def call(folder, verb, *args):
    return CliRunner().invoke(cli, [verb, str(folder / "delivering.py"), *args, "--home", str(folder)])


def test_the_command_line_says_what_waits_and_what_was_refused(tmp_path, downstream, monkeypatch):
    (tmp_path / "delivering.py").write_text(PROJECT.format(url=downstream.url))
    monkeypatch.syspath_prepend(tmp_path)
    with Project("tiny", releases=[Release(tiny.late_order)]).open(Platform(home=tmp_path)) as app:
        app.predictions.write(answers("a", "b", model="late_order"), key="k")
    look = call(tmp_path, "deliver", "--look", "--json")
    assert look.exit_code == 0
    assert [item["waiting"] for item in json.loads(look.stdout)["places"]] == [2, 2, 2]
    downstream.statuses = [503, 403]
    away = call(tmp_path, "deliver", "--json")
    assert away.exit_code == 75
    found = json.loads(away.stdout)["places"]
    assert [item["sent"] for item in found] == [2, 2, 0]
    assert "answered 503" in found[2]["problem"]
    refused = call(tmp_path, "deliver", "--to", downstream.url)
    assert refused.exit_code == 1
    assert "2 answers refused" in refused.stdout
    status = call(tmp_path, "status")
    assert "topic:decisions: at most 0 answers wait" in status.stdout
    assert f"{downstream.url}: at most 0 answers wait, 2 answers were refused" in status.stdout
    places = json.loads(call(tmp_path, "status", "--json").stdout)["deliveries"]
    assert list(places[2]["refused"].values()) == [2]
    again = call(tmp_path, "deliver", "--to", downstream.url, "--again", "--json")
    assert (again.exit_code, json.loads(again.stdout)["places"][0]["sent"]) == (0, 2)
    wrong = call(tmp_path, "deliver", "--to", "topic:decision")
    assert wrong.exit_code == 3
    assert 'Did you mean "topic:decisions"' in wrong.stderr


def test_a_project_that_names_no_place_says_so(tmp_path):
    target = str(Path(__file__).parents[1] / "examples/tiny.py")
    tiny.project.open(Platform(home=tmp_path)).close()
    found = CliRunner().invoke(cli, ["deliver", target, "--home", str(tmp_path)])
    assert found.exit_code == 2
    assert 'for example: to=["topic:decisions"]' in found.stderr
