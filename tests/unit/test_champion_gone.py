"""A champion whose stored files are gone or damaged: it keeps out no successor, and what is said of it says what to do."""

import re

import pytest

from tenfold import Platform, Project, Release, VirtualClock, checks
from tenfold.automation.control import Tries, _tick
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS
from tests.examples import tiny
from tests.unit.tiny_home import no_folder, one_byte, one_version, own_copy

NAME, DAY = tiny.late_order.name, UNITS["d"]
AGAIN = "tenfold models rebuild PROJECT.py late_order 1 --restore"


def no_file(folder):
    (folder / "model.txt").unlink()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return one_version(tmp_path_factory)


@pytest.fixture(params=[no_folder, no_file, one_byte])
def app(built, tmp_path, request):
    """Open a home whose champion was damaged while nothing ran."""
    home = own_copy(built, tmp_path)
    request.param(home / "blobs" / "late_order@r0001")
    gates = [checks.beats_champion("roc_auc", by=-1.0)]
    release = Release(tiny.late_order, gates=gates, canary=(0.5,), retrain_every="1d")
    clock = VirtualClock(tiny.ASK_AT)
    with Project("tiny", releases=[release]).open(Platform(home=home, clock=clock)) as app:
        yield app


def test_it_keeps_out_no_successor(app):
    number = app.train(NAME).number
    assert app.runs.get(app.registry.get(NAME, number).run_id).params["champion"] == 1
    why = app.promote(NAME, number)
    assert re.match(
        r"roc_auc 1\.0000; not compared; version 1 in production is not asked any more: the files of", why
    )
    assert why.count("compare") == 1
    assert AGAIN in why
    assert app.registry.production(NAME).number == number
    assert app.predict(NAME, tiny.order())["version"] == number


def test_the_loop_replaces_it_by_schedule(app):
    app.clock.set(tiny.ASK_AT + DAY)
    _tick([app.loop()], [], Tries(print))
    assert [item.decision for item in app.audit.list(kind="training")] == []
    assert app.registry.production(NAME).number == 2


def test_a_request_is_told_what_to_do(app):
    with pytest.raises(Unavailable) as told:
        app.predict(NAME, tiny.order())
    assert str(told.value).startswith("the files of late_order version 1 are ")
    assert AGAIN in str(told.value)
    app.rebuild(NAME, 1, restore=True)
    assert app.predict(NAME, tiny.order())["version"] == 1
