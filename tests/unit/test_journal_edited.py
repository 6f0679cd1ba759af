"""Code that was edited between the death of a process and the resumption of its run."""

from contextlib import closing

import pytest

from tenfold.automation.journal import SCHEMA, Journal
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict
from tests import states

STEPS = ("train", "gate", "promote")


@pytest.fixture
def journal(address):
    with closing(states.opened(address, SCHEMA)) as database:
        yield Journal(database, VirtualClock(10))


def constant(value):
    return lambda results: value


def interrupted(results):
    raise KeyboardInterrupt


def died_after(journal, run_id, done, steps):
    """Commit the steps named, then die."""
    with pytest.raises(KeyboardInterrupt):
        journal.run(
            run_id, [*steps[: len(done)], *((name, interrupted) for name in STEPS[len(done) :])], owner="me"
        )
    assert list(journal.get(run_id).results) == list(done)


def test_a_committed_step_that_was_edited_is_executed_again_in_a_run_that_supersedes(journal):
    run_id = journal.begin("release", "drift", {"model": "m"})
    died_after(journal, run_id, ["train", "gate"], [(name, constant(name)) for name in STEPS])
    steps = [
        ("train", constant("train")),
        ("gate", lambda results: "edited"),
        ("promote", constant("promote")),
    ]
    results = journal.run(run_id, steps, owner="me")
    assert results == {"input": {"model": "m"}, "train": "train", "gate": "edited", "promote": "promote"}
    old = journal.get(run_id)
    new = journal.get(old.successor)
    assert (old.status, old.error) == ("superseded", 'step "gate" was edited after it was committed')
    assert old.results == {"train": "train", "gate": "gate"}, "what was committed never changes"
    assert (new.status, new.note, new.cause) == ("done", old.error, "drift, after j0001")
    assert journal.begin("release", "drift", {}) == run_id, "one run per cause"
    assert journal.run(run_id, steps, owner="me") == results, "the old name leads to the new run"
    assert journal.unfinished() == []


def test_a_later_step_that_was_edited_is_executed_as_it_is_now_and_that_is_said(journal):
    run_id = journal.begin("release", "drift", {})
    same = [(name, constant(name)) for name in STEPS]
    died_after(journal, run_id, ["train"], same)
    assert journal.run(run_id, same, owner="me")["promote"] == "promote"
    run = journal.get(run_id)
    assert (run.status, run.note) == ("done", "went on with edited code of gate, promote")


@pytest.mark.parametrize(
    "edited",
    [
        [("train", lambda results: "new")],
        [
            (
                "train",
                constant("train"),
            )
        ],
        [("fit", constant("train"))],
    ],
    ids=["code", "declaration", "name"],
)
def test_an_edited_step_can_be_refused(journal, edited):
    run_id = journal.begin("release", "drift", {})
    died_after(journal, run_id, ["train"], [("train", constant("train"))])
    with pytest.raises(Conflict) as error:
        journal.run(run_id, edited, owner="me", declaration="other", edited="fail")
    assert str(error.value) == (
        'run j0001: step "train" was edited after it was committed. Nothing was executed. '
        'Bring back its code, or run it with edited="restart".'
    )
    assert journal.get(run_id).results == {"train": "train"}


def test_an_edited_step_can_be_kept(journal):
    run_id = journal.begin("release", "drift", {})
    died_after(journal, run_id, ["train"], [("train", constant("train"))])
    steps = [("train", lambda results: "new"), ("gate", lambda results: results["train"])]
    assert journal.run(run_id, steps, owner="me", edited="continue")["gate"] == "train"
    assert journal.get(run_id).note == 'step "train" was edited after it was committed; its result was kept'


def test_a_step_may_close_over_what_has_no_value_yet(journal):
    def step(results):
        return later

    run_id = journal.begin("release", "drift", {})
    with pytest.raises(NameError):
        journal.run(run_id, [("a", step)], owner="me")
    later = 1
    assert journal.run(run_id, [("a", step)], owner="me")["a"] == 1
