"""What a request gets when there is no exact answer is declared: nothing, what the states say as they are, or another model."""

import asyncio
import json
import shutil
from datetime import timedelta

import pytest

from tenfold import Label, Model, Platform, Project, Release, VirtualClock, col
from tenfold.automation.deliver import Delivery
from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.processing.batches import to_table
from tenfold.serving.answer.answering import Answering
from tenfold.serving.answer.groups import Groups
from tenfold.serving.answer.predictions import FALLBACK, ONLINE, STALE, TOPIC, read
from tenfold.serving.answer.quiet import QUIET
from tenfold.serving.rows.degraded import Away, Careful
from tenfold.store.memory import MemoryOnlineStore
from tests.examples import tiny
from tests.unit.ticking import Ticking


def simple_model(**how):
    return Model(
        **{
            "name": "simple",
            "spine": tiny.orders,
            "lead": "1h",
            "features": [tiny.this_order],
            "label": Label(tiny.outcomes, on="order_id", value=col("late") > 0, horizon="1d"),
            "estimator": tiny.ESTIMATOR,
            "test_window": "5d",
        }
        | how
    )


simple = simple_model(outputs={"by": col("score") * 0 + 1})
ruled = tiny.model([tiny.shop_visits, tiny.this_order], outputs={"by": col("score") * 0})


def project(degraded, **how):
    return Project("tiny", releases=[Release(ruled, degraded=degraded, **how), Release(simple)])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("degraded")
    with project("refuse").open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT))) as app:
        tiny.load(app)
        for model in (ruled, simple):
            app.promote(model, app.train(model).number)
    return home


@pytest.fixture
def home(built, tmp_path):
    shutil.copytree(built, tmp_path / "home")
    return tmp_path / "home"


def opened(home, degraded, **how):
    return project(degraded, **how).open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT)))


def ask(app, row, wait=1.0, **more):
    """Ask over HTTP; no worker runs unless the test lets one."""
    return tiny.in_process(app.asgi(wait=wait), "/predict", {"model": "late_order", "row": row, **more})


def send(app, *places):
    """Let visits arrive that no worker has folded."""
    app.ingest("visits", [tiny.visit(f"new {place}") for place in places], key=f"sent {places}")


def away(home):
    """Put something else where the states are; nothing can be opened there."""
    (home / "online").rename(home / "elsewhere")
    (home / "online").write_text("no folder")


def back(home):
    (home / "online").unlink()
    (home / "elsewhere").rename(home / "online")


def modes(app):
    return [
        row["mode"]
        for batch in app.log.read(TOPIC, 0)
        for row in to_table(batch).to_pylist()
        if row["model"] == "late_order"
    ]


def test_refuse_is_what_goes_without_saying(home):
    with opened(home, "refuse") as app:
        send(app, 1)
        status, told = ask(app, tiny.order())
        assert status == 503
        assert 'view "shop_visits" has 228 of 229 records' in told["error"]["message"]
        assert modes(app) == []


def test_states_that_lag_behind_answer_as_they_are_and_say_so(home):
    with opened(home, "stale") as app:
        service = app.service(ruled)
        alone = service.features(tiny.order(), tiny.ASK_AT).values
        send(app, 1, 2)
        app.clock.set(tiny.ASK_AT + 3_000_000)
        status, told = ask(app, tiny.order(), wait=1.0)
        assert (status, told["degraded"]) == (200, "stale")
        assert told["behind"] == {"shop_visits": {"records": 2, "seconds": 3.0}}
        assert told["outputs"] == {"by": 0}
        (row,) = (
            row
            for batch in app.log.read(TOPIC, 0)
            for row in to_table(batch).to_pylist()
            if row["mode"] == STALE
        )
        assert row["features"][0] == alone["shop_visits.visits_1d"]
        # The states stand still: nobody waits for them again, until they move.
        assert service.gives_up(0.0, 60.0)
        assert ask(app, tiny.order(1), wait=60)[1]["degraded"] == "stale"
        app.process()
        send(app, 3)
        assert not service.gives_up(0.0, 60.0)
        app.process()
        status, told = ask(app, tiny.order(2))
        assert (status, "degraded" in told, "behind" in told) == (200, False, False)
        assert modes(app) == [STALE, STALE, ONLINE]


def test_many_rows_are_stale_together_and_a_key_keeps_its_answer(home):
    with opened(home, "stale") as app:
        send(app, 1)
        rows = [tiny.order(place) for place in range(40)]
        _, told = tiny.in_process(app.asgi(wait=1.0), "/predict", {"model": "late_order", "rows": rows})
        assert {one["degraded"] for one in told} == {"stale"}
        assert modes(app) == [STALE] * 40
        service, mark = app.service(ruled), app.log.ends()
        from tenfold.serving.answer.questions import Question

        (first,) = service.answer([Question([tiny.order(50)], "k", alone=True)], mark.at, late=mark)
        app.process()
        assert app.predict(ruled, tiny.order(50), key="k") == json.loads(first)
        assert app.predict(ruled, tiny.order(50), key="other").get("degraded") is None


def test_a_candidate_is_not_asked_about_what_is_not_exact(home):
    with opened(home, "stale", shadow="7d") as app:
        number = app.train(ruled).number
        app.promote(ruled, number)
        send(app, 1)
        assert ask(app, tiny.order(1))[1]["degraded"] == "stale"
        app.traffic.settle()
        assert app.traffic.counters.total(ruled.name, number).asked == 0
        app.process()
        assert "degraded" not in ask(app, tiny.order(2))[1]
        app.traffic.settle()
        assert app.traffic.counters.total(ruled.name, number).asked == 1


def test_what_was_not_exact_is_kept_apart_from_skew_and_metrics(home):
    with opened(home, "stale") as app:
        send(app, 1)
        ask(app, tiny.order(1))
        app.process()
        ask(app, tiny.order(2))
        late = [{"order_id": f"new-{place}", "late": 5.0, "at": tiny.NOW.isoformat()} for place in (1, 2)]
        app.ingest("outcomes", late, history=True)
        app.clock.set(tiny.NOW + timedelta(days=3))
        app.flush()
        assert (app.skew(ruled).rows, app.skew(ruled).mismatches) == (1, 0)
        start, end = tiny.ASK_AT - 1, tiny.ASK_AT + 10
        assert app.matured(ruled, start, end).predictions.row == ["new-2"]
        assert app.matured(ruled, start, end, modes=[STALE]).predictions.row == ["new-1"]


def test_another_model_answers_from_the_request_alone_when_the_store_is_away(home):
    away(home)
    with opened(home, simple, to=["topic:decisions"]) as app:
        status, told = ask(app, tiny.order(1), wait=5)
        exact = app.service(simple).predict(tiny.order(1), at=tiny.ASK_AT)
        assert status == 200
        assert (told["model"], told["degraded"], told["answered_by"]) == ("late_order", "fallback", "simple")
        assert (told["version"], told["score"], told["outputs"]) == (1, exact["score"], {"by": 1})
        assert told["ages_s"] == {}
        _, many = tiny.in_process(
            app.asgi(wait=5),
            "/predict",
            {"model": "late_order", "rows": [tiny.order(place) for place in range(30)]},
        )
        assert {one["degraded"] for one in many} == {"fallback"}
        status, _ = tiny.in_process(app.asgi(), "/predict", {"model": "simple", "row": tiny.order(3)})
        assert status == 200, "a model that reads no states does not need them"
        app.flush()
        assert (
            len(read(app.lake, "late_order", FALLBACK, 0, tiny.ASK_AT + 1)) == 30
        )  # the first row is asked once more
        (delivery,) = app.deliveries
        assert isinstance(delivery, Delivery)
        assert delivery.send() == 30
        back(home)
        while "degraded" in (told := ask(app, tiny.order(100 + len(modes(app))), wait=5)[1]):
            app.clock.sleep(0.05)
        assert told["model"] == "late_order"


def test_another_model_answers_when_the_worker_is_away(home):
    with opened(home, simple) as app:
        send(app, 1)
        told = ask(app, tiny.order(1), wait=1.0)[1]
        assert (told["degraded"], told["answered_by"]) == ("fallback", "simple")
        app.process()
        assert "degraded" not in ask(app, tiny.order(2))[1]


def reachable(store):
    try:
        return bool(store.offsets())
    except Away:
        return False


class Looked(Ticking):
    """A clock by which a look at it takes a millisecond, and other time passes as it is told."""

    def elapsed(self):
        self.at += 1_000
        return self.at


def test_a_store_that_comes_back_behind_is_not_taken_for_one_that_was_never_away(home):
    with opened(home, simple) as app:
        send(app, 1)
        away(home)
        answering, clock = Answering(app.service(ruled), wait=5), Looked()
        answering.groups = Groups(answering.service, wait=5, clock=clock)
        while clock.at < 1.5 * QUIET:
            assert asyncio.run(answering.one(tiny.order(1)))["degraded"] == "fallback"
            clock.at += QUIET // 10
        back(home)
        while not reachable(app.states):
            app.clock.sleep(0.05)
        assert asyncio.run(answering.one(tiny.order(2)))["degraded"] == "fallback"
        app.process()
        assert "degraded" not in asyncio.run(answering.one(tiny.order(3)))


@pytest.mark.parametrize("degraded", ["refuse", "stale"])
def test_without_another_model_a_store_that_is_away_is_said_to_be(home, degraded):
    away(home)
    with opened(home, degraded) as app:
        status, told = ask(app, tiny.order())
        assert (status, told["error"]["kind"]) == (503, "Unavailable")
        assert told["error"]["message"].startswith("the online store cannot be used: ")
        assert modes(app) == []
        back(home)
        while (found := ask(app, tiny.order()))[0] != 200:
            app.clock.sleep(0.05)
        assert "degraded" not in found[1]


def test_in_this_process_the_same_is_answered_when_the_store_is_away(home):
    away(home)
    with opened(home, simple) as app:
        alone = app.predict(ruled, tiny.order(1))
        assert (alone["degraded"], alone["answered_by"]) == ("fallback", "simple")
        many = app.predict_many(ruled, [tiny.order(place) for place in range(2, 40)])
        assert {one["degraded"] for one in many} == {"fallback"}
        assert modes(app) == [FALLBACK] * 39
    for degraded in ("refuse", "stale"):
        with opened(home, degraded) as app, pytest.raises(Unavailable, match="store cannot be used"):
            app.predict(ruled, tiny.order(50))


class Full(MemoryOnlineStore):
    """A store that can be read and, while told so, not written."""

    full = False

    def write(self, states, offsets, *, after=None):
        if self.full:
            raise OSError("no space left")
        return super().write(states, offsets, after=after)


@pytest.mark.parametrize("degraded", ["refuse", "stale", simple])
def test_in_this_process_states_that_cannot_be_written_lag(home, degraded):
    store = Full()
    platform = Platform(home=home, clock=VirtualClock(tiny.ASK_AT), online=store)
    with project(degraded).open(platform) as app:
        assert "degraded" not in app.predict(ruled, tiny.order(0))
        store.full = True
        assert "degraded" not in app.predict(ruled, tiny.order(1)), "nothing has come since"
        send(app, 1)
        if degraded == "refuse":
            with pytest.raises(OSError, match="no space left"):
                app.predict(ruled, tiny.order(2))
        else:
            told = app.predict(ruled, tiny.order(2))
            assert told["degraded"] == (STALE if degraded == "stale" else FALLBACK)
            assert degraded is simple or told["behind"]["shop_visits"]["records"] == 1
        store.full = False
        assert "degraded" not in app.predict(ruled, tiny.order(3))


class Raising(MemoryOnlineStore):
    """A store that fails in the middle of its work, while told to."""

    broken = True

    def use(self, keys, work):
        if self.broken:
            raise OSError("the disk is gone")
        return super().use(keys, work)


@pytest.mark.parametrize("rows", [1, 40])
def test_a_store_that_raises_is_away_too(home, rows):
    store = Raising()
    with project(simple).open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT), online=store)) as app:
        store.broken = False
        app.process()
        store.broken = True
        asked = {"model": "late_order", "rows": [tiny.order(place) for place in range(rows)]}
        status, told = tiny.in_process(app.asgi(), "/predict", asked)
        assert (status, {one["degraded"] for one in told}) == (200, {"fallback"})
        store.broken = False
        asked["rows"][0]["items"] = 3
        assert "degraded" not in app.predict(ruled, tiny.order(99))


def test_a_store_that_was_moved_away_is_opened_again_at_its_place(home):
    with opened(home, simple) as app:
        before = app.predict(ruled, tiny.order(99))
        (home / "online").rename(home / "elsewhere")
        assert (
            app.predict(ruled, tiny.order(98))["degraded"] == "fallback"
        )  # that what is there is empty is found first
        assert "degraded" not in app.predict(ruled, tiny.order(97))
        assert app.predict(ruled, tiny.order(99))["score"] == before["score"]


def test_what_fails_in_the_work_is_not_blamed_on_the_store():
    careful = Careful(MemoryOnlineStore, VirtualClock(0))

    def wrong(states, get):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        careful.use([b"a"], wrong)

    class Partly(MemoryOnlineStore):
        def use(self, keys, work):
            def gone(_):
                raise OSError("gone")

            return work([None], gone)

    with pytest.raises(Away, match="gone"):
        Careful(Partly, VirtualClock(0)).use([b"a"], lambda states, get: get(b"a#1"))

    class Once(MemoryOnlineStore):
        asked = 0

        def use(self, keys, work):
            self.asked += 1
            if self.asked == 1:
                raise OSError("gone")
            return super().use(keys, work)

    assert Careful(Once, VirtualClock(0)).use([b"a"], lambda states, get: states) == [None]
    with pytest.raises(Unavailable):
        Careful(Raising, VirtualClock(0)).use([b"a"], lambda states, get: states)


NUMBERS = Label(tiny.outcomes, on="order_id", value=col("late"), horizon="1d")
WRONG = [
    ({"degraded": "stal"}, 'is neither a mode nor a model. Did you mean "stale"'),
    ({"degraded": ruled}, "reads states too, of view"),
    ({"degraded": simple_model(name="late_order")}, "must be another model"),
    ({"degraded": simple_model(label=NUMBERS, estimator=None)}, "the same spine and kind .binary."),
]


@pytest.mark.parametrize(("how", "message"), WRONG, ids=["mode", "states", "itself", "kind"])
def test_what_cannot_answer_instead_is_refused_where_it_is_declared(how, message):
    with pytest.raises(DefinitionError, match=message):
        Release(ruled, **how)


def test_a_model_that_nobody_trains_cannot_answer_instead():
    with pytest.raises(DefinitionError, match=r"no release that trains it. Add Release.simple."):
        Project("tiny", releases=[Release(ruled, degraded=simple)])
