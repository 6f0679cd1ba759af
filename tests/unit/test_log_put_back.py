"""A log that was put back from an older copy, or removed, beside states and a lake that were made of the newer one."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tenfold import Platform, VirtualClock
from tenfold.cli import cli
from tenfold.core.clock import SharedClock
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS
from tenfold.processing.ingest import ingest
from tenfold.serving.answer.marks import Marks
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.base import SINK
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.online import group_name
from tenfold.store.whole import OtherLog
from tenfold.store.worker import Worker
from tests.examples import bare
from tests.unit.sales import AT, sale, sales
from tests.unit.test_worker import VIEW

CLOCK = VirtualClock(AT)
PROJECT = str(Path(bare.__file__))
BACK = "It was removed, or put back from an older copy. Nothing was stored. Put the newer log back. If it is lost, end all "
ANEW = "out of the home and start them again: what is there is made anew from the log as it is."
OF_LAKE = (
    'the log is not the one that the lake was made of: it holds {} records of "{}", the lake {}. '
    f"{BACK}processes, move {{}} {ANEW}"
)


def opened(home, at=bare.ASK_AT):
    return bare.project.open(Platform(home=home, clock=VirtualClock(at)))


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    """Make a home, and beside it a copy of its log, after which visits came and an answer was given."""
    folder = tmp_path_factory.mktemp("newer")
    bare.build(folder / "home")
    shutil.copy(folder / "home/log.db", folder / "log.db")
    with opened(folder / "home") as app:
        app.ingest("visits", [bare.visit(place) for place in range(4)])
        app.predict("late_order", bare.order(1))
        app.process()
    return folder


@pytest.fixture
def put_back(newer, tmp_path):
    """Return the home with the older log."""
    home = tmp_path / "home"
    shutil.copytree(newer / "home", home)
    for path in home.glob("log.db*"):
        path.unlink()
    shutil.copy(newer / "log.db", home / "log.db")
    return home


BY_NAME = OF_LAKE.format(0, "predictions", 1, '"online", "lake/predictions", "lake/visits"')
AHEAD = OF_LAKE.format(228, "visits", 232, '"online", "lake/visits", "lake/predictions"')


def test_nothing_is_made_of_an_older_log_nor_stored_there(put_back):
    with opened(put_back) as app:
        before = app.log.ends()
        for refused in (
            app.process,
            lambda: app.worker().run(lambda: False),
            lambda: app.ingest("visits", [bare.visit("new")]),
            lambda: app.predict("late_order", bare.order(2)),
            lambda: app.features("late_order", bare.order(2)),
            app.flush,
        ):
            with pytest.raises(OtherLog) as error:
                refused()
            assert str(error.value) == AHEAD
        assert app.log.ends() == before


async def why_not_ready(ready):
    await ready.start()
    return await ready.reason()


def test_a_server_says_why_it_answers_nothing(put_back):
    with opened(put_back) as app:
        before, api = app.log.ends(), app.asgi(wait=5)
        for path, content, method in (
            ("/events/visits", [bare.visit("new")], "POST"),
            ("/predict", bare.order(2), "POST"),
            ("/explain", bare.order(2), "POST"),
        ):
            status, told = bare.in_process(api, path, content, method)
            assert (status, told["error"]) == (503, {"kind": "Unavailable", "message": AHEAD}), path
        assert asyncio.run(why_not_ready(api.state.ready)) == AHEAD
        assert app.log.ends() == before


def test_status_and_doctor_say_it(put_back):
    SharedClock(put_back / "clock").set(bare.ASK_AT)

    def asked(*args):
        return CliRunner().invoke(cli, [*args, "--home", str(put_back), "--json"])

    status = asked("status", PROJECT, "--clock", str(put_back / "clock"))
    assert json.loads(status.stdout)["wrong"] == [AHEAD]
    for project, told in (([PROJECT], AHEAD), ([], BY_NAME)):
        doctor = asked("doctor", *project, "--port", "0")
        (item,) = [item for item in json.loads(doctor.stdout)["checks"] if item["check"] == "log"]
        assert (doctor.exit_code, item["ok"]) == (1, False)
        assert f"{item['found']} Nothing was stored. {item['fix']}" == told
    process = CliRunner().invoke(cli, ["process", PROJECT, "--home", str(put_back)])
    assert (process.exit_code, process.stderr) == (75, f"error: {AHEAD}\n")


def test_what_is_said_to_be_done_makes_it_whole_again(put_back, tmp_path):
    for name in ("online", "lake/visits", "lake/predictions"):
        shutil.move(put_back / name, tmp_path / Path(name).name)
    with opened(put_back) as app:
        app.ingest("visits", [bare.visit("new")])
        app.process()
    with opened(put_back, bare.ASK_AT + UNITS["m"]) as app:
        assert app.predict("late_order", bare.order(2))["score"] is not None
        assert app.features("late_order", bare.order(2))["features"]["shop_visits.visits_1d"] == 1
        app.process()
        assert app.lake.read("visits")["_offset"].to_pylist() == list(range(229))
        app.check_log()


def test_a_log_that_was_removed_is_another_one(put_back):
    for path in put_back.glob("log.db*"):
        path.unlink()
    doctor = CliRunner().invoke(cli, ["doctor", "--home", str(put_back), "--port", "0", "--json"])
    (told,) = [item for item in json.loads(doctor.stdout)["checks"] if item["check"] == "log"]
    assert 'it holds 0 records of "orders", the lake 228. It was removed' in told["found"]
    assert not (put_back / "log.db").exists()
    with opened(put_back) as app, pytest.raises(OtherLog, match='it holds 0 records of "'):
        app.ingest("visits", [bare.visit("new")])


def sold(*counts):
    """Return a log of batches of so many sales."""
    log = MemoryLog(CLOCK)
    for place, count in enumerate(counts):
        rows = [sale(10 * place + one, 1) for one in range(count)]
        ingest(sales, rows, log=log, quarantine=None, clock=CLOCK)
    return log


def test_states_and_lake_that_end_within_a_batch_are_of_another_log():
    store, lake = MemoryOnlineStore(), MemoryLake()
    log = sold(3)
    StateSink(log, store, [VIEW]).advance()
    LakeSink(log, lake, ["sales"]).flush()
    says = 'none of its batches of "sales" begins at record 3'
    last, inside = sold(2, 4), sold(2, 2, 1)
    for refused in (
        StateSink(last, store, [VIEW]).behind,
        worker_of(last, store),
        StateSink(inside, store, [VIEW]).advance,
    ):
        told = f'the states of view "shops" were made of: {says}. {BACK}processes, move "online" {ANEW}'
        with pytest.raises(OtherLog, match=told):
            refused()
    for log in (last, inside):
        with pytest.raises(OtherLog, match=f"the lake was made of: {says}"):
            LakeSink(log, lake, ["sales"]).flush()
    assert (store.offsets(), lake.position("sales", SINK)) == ({group_name(VIEW): 3}, 3)


def test_states_alone_that_are_ahead_may_be_made_anew_alone():
    store, other = MemoryOnlineStore(), sold(2)
    StateSink(sold(3), store, [VIEW]).advance()
    for refused in (StateSink(other, store, [VIEW]).behind, worker_of(other, store)):
        with pytest.raises(
            OtherLog, match=f'it holds 2 records of "sales", they 3. {BACK}processes, move "online" {ANEW}'
        ):
            refused()


def worker_of(log, store):
    worker = Worker(StateSink(log, store, [VIEW]), LakeSink(log, MemoryLake(), ["sales"]), CLOCK)
    return lambda: worker.run(lambda: False)


def test_a_log_that_is_exchanged_later_is_found_by_what_was_known_and_states_may_be_ahead_of_a_mark():
    log, store, checked = sold(3), MemoryOnlineStore(), []
    topics = {group_name(VIEW): "sales"}
    marks = Marks(topics, store, log, lambda: checked.append(True))
    mark = marks.now()
    assert not marks.reached(mark)
    ingest(sales, [sale(90, 1)], log=log, quarantine=None, clock=CLOCK)
    StateSink(log, store, [VIEW]).advance()
    assert marks.reached(mark)  # they are ahead of it, and rightly
    assert marks.now().offsets == {"sales": 4}
    assert checked == [True]
    with pytest.raises(OtherLog, match='it holds 2 records of "sales", they 4'):
        marks.of(sold(2)).now()
    shorter, again = marks.of(sold(2)), MemoryOnlineStore()
    shorter._store = again  # as if they had been made anew
    assert shorter.now().offsets == {"sales": 2}


def test_a_log_that_is_removed_under_a_process_takes_nothing_more(put_back):
    with opened(put_back) as app:
        app.log.append("sales", b"", 1)
        (put_back / "log.db").rename(put_back / "elsewhere.db")
        for refused in (lambda: app.log.append("sales", b"", 1), app.log.ends, app.log.prompt().ends):
            with pytest.raises(
                Unavailable, match=r'log\.db" was moved or removed while this process had it open'
            ):
                refused()
        (put_back / "elsewhere.db").rename(put_back / "log.db")
        assert app.log.append("sales", b"", 1).base == 1
