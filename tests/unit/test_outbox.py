"""Mirrors are sent everything, once, however a process or a mirror dies; nothing waits for one."""

import itertools
import threading
from contextlib import suppress

import pytest

from tenfold import Platform
from tenfold.automation.memory import MemoryMirror
from tenfold.automation.outbox import FIRST_PAUSE, LONGEST_PAUSE, TRIES, Outbox, follow
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import SchemaError, Unavailable
from tenfold.registry.versions import Stage
from tenfold.sources.locked import alone
from tests.examples import tiny


class Died(BaseException):
    """The process is gone: nothing handles it."""


class Dying:
    """A mirror that ends everything at one call, before or after the mirror behind it was reached."""

    def __init__(self, mirror, at, error, *, after):
        self.name, self.calls = mirror.name, 0
        self._mirror, self._at, self._error, self._after = mirror, at, error, after

    def _call(self, what, *given):
        self.calls += 1
        now = self.calls == self._at
        if now and not self._after:
            raise self._error
        found = getattr(self._mirror, what)(*given)
        if now:
            raise self._error
        return found

    def positions(self, origin, models):
        return self._call("positions", origin, models)

    def run(self, copy):
        self._call("run", copy)

    def version(self, copy):
        self._call("version", copy)

    def stages(self, copy):
        self._call("stages", copy)

    def settle(self, origin, runs):
        self._call("settle", origin, runs)


@pytest.fixture
def mirror():
    return MemoryMirror()


@pytest.fixture
def app(tmp_path, mirror):
    with tiny.project.open(Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT), mirrors=[mirror])) as app:
        yield app


def work(app):
    """Leave runs of every status, two versions and their moves."""
    with app.track("deeper", params={"depth": 9}) as run:
        run.log("loss", 0.5)
        run.log("loss", float("nan"))
        run.attach("a/note.txt", "look")
    with suppress(ZeroDivisionError), app.track("broken"):
        1 / 0  # noqa: B018 - the run has to fail
    under_way = app.track("still at it")
    for number in (1, 2):
        version(app)
        move(app, number, Stage.STAGING)
        move(app, number, Stage.PRODUCTION)
    return under_way


def version(app, model="late_order"):
    with app.track("fit", model="late_order") as run:
        run.log("roc_auc", 0.75)
    name = f"{model}/{run.id}"
    digest = app.blobs.put(name, {"model.bin": b"1", "manifest.json": b"{}"})
    info = {"metrics": {"roc_auc": 0.75}, "rows": 9, "period": ""}
    return app.registry.register(model, run_id=run.id, digest=digest, artefact=name, info=info)


def move(app, number, stage, model="late_order"):
    app.registry.move(model, number, stage, by="ann", why="good", evidence={})


def statuses(mirror):
    return {key.split("/")[1]: run.status for key, run in mirror.shown().runs.items()}


def test_shows_everything_once(app, mirror):
    work(app)
    assert app.elsewhere.outboxes[0].behind().runs == 5
    assert app.elsewhere.send() == 5 + 2 + 1
    assert statuses(mirror) == {
        "r0001": "done",
        "r0002": "failed",
        "r0003": "running",
        "r0004": "done",
        "r0005": "done",
    }
    shown = mirror.shown()
    first = next(run for key, run in shown.runs.items() if "/r0001/" in key)
    assert first.files == {
        "files/a/note.txt",
        "tenfold/run.html",
        "tenfold/uncommitted.diff",
    } or first.files == {
        "files/a/note.txt",
        "tenfold/run.html",
    }
    assert repr(first.metrics) == "{'loss': [(0, 0.5), (1, nan)]}"
    assert {place[1]: item.stage for place, item in shown.versions.items()} == {
        1: "archived",
        2: "production",
    }
    assert shown.champions == {"late_order": 2}
    assert not app.elsewhere.outboxes[0].behind()
    assert app.elsewhere.send() == 0


def test_a_run_that_ends_later_is_sent_when_it_ends(app, mirror):
    under_way = work(app)
    app.elsewhere.send()
    with under_way:
        under_way.log("loss", 0.1)
    assert app.elsewhere.outboxes[0].behind().runs == 1
    assert app.elsewhere.send() == 1
    assert statuses(mirror)["r0003"] == "done"


def test_notes_and_tags_reach_runs_that_were_shown(app, mirror):
    work(app)
    app.elsewhere.send()
    app.runs.note("r0001", "look again")
    app.runs.tag("r0001", "team", "red")
    app.runs.tag("r0002", "team", "blue")
    assert app.elsewhere.outboxes[0].behind().notes == 2
    app.elsewhere.send()
    app.runs.tag("r0002", "team", "green")
    app.elsewhere.send()
    assert app.elsewhere.send() == 0
    tags = {key.split("/")[1]: run.tags for key, run in mirror.shown().runs.items()}
    assert (tags["r0001"], tags["r0002"]) == ({"team": "red"}, {"team": "green"})


@pytest.mark.parametrize("error", [Died, Unavailable], ids=["the process dies", "the mirror is away"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_death_at_every_call_leaves_no_trace(app, error, after):
    work(app)
    whole = MemoryMirror("whole")
    outbox = app.elsewhere.outboxes[0]
    counted = Dying(whole, 0, error, after=after)
    Outbox(app.database, app.clock, outbox.copies, counted, app.platform.home).send()
    for at in range(1, counted.calls + 1):
        mirror = MemoryMirror(f"dies at {at}")
        dying = Dying(mirror, at, error("gone"), after=after)
        with pytest.raises(error):
            Outbox(app.database, app.clock, outbox.copies, dying, app.platform.home).send()
        again = Outbox(app.database, app.clock, outbox.copies, mirror, app.platform.home)
        again.send()
        assert repr(mirror.shown()) == repr(whole.shown())
        assert not again.behind()


def test_a_mirror_that_was_emptied_is_shown_everything_again(app, mirror):
    work(app)
    app.elsewhere.send()
    before = repr(mirror.shown())
    for kept in (mirror._runs, mirror._versions, mirror._events, mirror._owners, mirror._settled):
        kept.clear()
    app.elsewhere.send()
    assert repr(mirror.shown()) == before


def test_a_mirror_of_which_only_the_stages_are_older_gets_them_again(app, mirror):
    work(app)
    app.elsewhere.send()
    before = repr(mirror.shown())
    home = app.elsewhere.outboxes[0].copies.origin.home
    mirror._events[home, "late_order"] = 2  # as a backup would have it
    mirror._versions.pop(("late_order", 2))
    app.elsewhere.send()
    assert repr(mirror.shown()) == before


def test_what_a_mirror_refuses_does_not_hold_up_the_rest(app, mirror):
    class Choosy(MemoryMirror):
        picky = True

        def run(self, copy):
            if self.picky and copy.run.id == "r0004":
                raise SchemaError("not this one")
            super().run(copy)

    work(app)
    choosy = Choosy("choosy")
    outbox = Outbox(app.database, app.clock, app.elsewhere.outboxes[0].copies, choosy, app.platform.home)
    outbox.send()
    assert outbox.behind().refused == {
        "run r0004": "not this one",
        "version late_order/1": "the run of late_order version 1 is not shown.",
    }
    assert not outbox.behind()
    assert choosy.shown().champions == {"late_order": 2}
    choosy.picky = False
    assert outbox.send(again=True) == 2
    assert outbox.behind().refused == {}
    assert ("late_order", 1) in choosy.shown().versions


def test_what_a_mirror_fails_at_again_and_again_is_left_for_later(app):
    class Ill(MemoryMirror):
        ill = True

        def run(self, copy):
            if self.ill and copy.run.id == "r0002":
                raise Unavailable("status 500.")
            super().run(copy)

    work(app)
    ill = Ill("ill")
    outbox = Outbox(app.database, app.clock, app.elsewhere.outboxes[0].copies, ill, app.platform.home)
    for _ in range(TRIES - 1):
        with pytest.raises(Unavailable):
            outbox.send()
    assert statuses(ill) == {"r0001": "done"}
    outbox.send()
    assert len(statuses(ill)) == 4
    assert outbox.behind().refused == {"run r0002": "tried 5 times, and later again: status 500."}
    outbox.send()
    assert outbox.behind().refused
    ill.ill = False
    assert outbox.send() == 1
    assert statuses(ill)["r0002"] == "failed"
    assert not outbox.behind().refused


def test_one_mirror_that_is_away_does_not_hold_up_another(tmp_path):
    class Away(MemoryMirror):
        def positions(self, origin, models):
            raise Unavailable("nobody there.")

    there = MemoryMirror("there")
    platform = Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT), mirrors=[Away("away"), there])
    with tiny.project.open(platform) as app:
        work(app)
        with pytest.raises(Unavailable, match=r"^away: nobody there\.$"):
            app.elsewhere.send()
        assert len(there.shown().runs) == 5
        assert [bool(outbox.behind()) for outbox in app.elsewhere.outboxes] == [True, False]


def test_a_damaged_version_is_shown_without_files_and_says_so(app, mirror, tmp_path):
    work(app)
    for blob in (tmp_path / "blobs").glob("late_order@*"):
        (blob / "model.bin").write_bytes(b"2")
    copy = app.elsewhere.outboxes[0].copies.version("late_order", 1)
    assert copy.files == {}
    assert "model.bin has another sha256" in copy.problem
    app.elsewhere.send()
    assert mirror.shown().champions == {"late_order": 2}


def test_two_homes_have_two_ids_and_one_home_keeps_its_own(app, tmp_path):
    with tiny.project.open(Platform(home=tmp_path, mirrors=[MemoryMirror()])) as again:
        assert again.elsewhere.outboxes[0].copies.origin == app.elsewhere.outboxes[0].copies.origin
    with tiny.project.open(Platform(home=tmp_path / "other", mirrors=[MemoryMirror()])) as other:
        assert other.elsewhere.outboxes[0].copies.origin.home != app.elsewhere.outboxes[0].copies.origin.home


def test_one_process_sends_at_a_time(app, mirror):
    work(app)
    outbox = app.elsewhere.outboxes[0]
    inside, leave = threading.Event(), threading.Event()

    class Slow(MemoryMirror):
        def positions(self, origin, models):
            inside.set()
            leave.wait(10)
            return super().positions(origin, models)

    slow = Outbox(app.database, app.clock, outbox.copies, Slow("memory"), app.platform.home)
    sending = threading.Thread(target=slow.send)
    sending.start()
    inside.wait(10)
    with pytest.raises(Unavailable, match="another process is sending to memory"):
        outbox.send()
    leave.set()
    sending.join()
    outbox.send()


def test_the_lock_of_a_mirror_is_its_own(app, tmp_path):
    with alone(tmp_path / "a", "x"), alone(tmp_path / "b", "x"):
        pass


class Ticking(VirtualClock):
    """A clock whose seconds pass when somebody sleeps."""

    def __init__(self):
        super().__init__(0)
        self.at = 0

    def elapsed(self):
        return self.at

    def sleep(self, seconds):
        self.at += int(seconds * 1e6)


def test_following_backs_off_and_comes_back(app, mirror):
    clock, lines, tried = Ticking(), [], []

    class Away(MemoryMirror):
        def positions(self, origin, models):
            tried.append(clock.at)
            if clock.at < 300e6:
                raise Unavailable("nobody there.")
            return super().positions(origin, models)

    work(app)
    away = Away("away")
    outboxes = [
        Outbox(app.database, app.clock, app.elsewhere.outboxes[0].copies, one, app.platform.home)
        for one in (away, mirror)
    ]
    follow(outboxes, clock, lambda: clock.at > 400e6, tell=lines.append)
    pauses = [(b - a) / 1e6 for a, b in itertools.pairwise(tried)]
    assert pauses[:3] == pytest.approx([FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE], abs=0.1)
    assert max(pauses) == pytest.approx(LONGEST_PAUSE, abs=0.1)
    assert lines[0].startswith("away: nobody there. Next try in 1 s.")
    assert lines[1] == "memory: sent 8"  # nobody waits for the one that is away
    assert lines[-1] == "away: sent 8"
    assert repr(away.shown()) == repr(mirror.shown())
