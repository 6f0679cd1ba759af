"""The search: seeded, pruned between folds, independent of the order in which processes answer."""

import os
import random
import re
import tempfile
import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from errno import ENOSPC
from typing import ClassVar

import pytest
from sklearn.base import BaseEstimator

from tenfold import Tune
from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.training.pool import judges
from tenfold.training.trials import Judged, Subject, is_sendable, on_one_thread, with_params
from tenfold.training.tune import ROUND, best_of, play_round, rounds
from tests.unit.own_trials import Moody, subject_of

TUNE = Tune({"width": (1, 60), "rate": (0.01, 1.0, "log"), "kind": ["a", "b"]}, trials=36, seed=4)
FOLDS = 3


class Formula:
    """Judges by a formula, and answers in an order of its own."""

    def __init__(self, seed, fails=()):
        self._random, self._fails, self._waiting, self.asked = random.Random(seed), fails, [], 0

    def ask(self, params, fold):
        self.asked += 1
        done = Future()
        value = 1 - abs(params["width"] - 20) / 60 - abs(params["rate"] - 0.1) + 0.01 * fold
        error = "it broke" if params["kind"] in self._fails else None
        judged = Judged({"roc_auc": None if error else value}, None, error)
        threading.Timer(self._random.uniform(0, 0.004), done.set_result, [judged]).start()
        return done

    def ready(self, asked):
        return wait(asked, return_when=FIRST_COMPLETED).done

    def close(self):
        return


def search(judging, tune=TUNE, tell=lambda n, at: None):
    done = []
    for place in range(rounds(tune)):
        done += play_round(tune, place, done, "roc_auc", FOLDS, judging, tell)
    return done


def test_who_looks_on_hears_of_every_fold_and_which_it_was():
    heard = []
    search(Formula(1), tell=lambda n, at: heard.append((n, at)))
    assert sum(n for n, _ in heard) == TUNE.trials * FOLDS
    assert (1, f"trial 0, fold 1 of {FOLDS}") in heard
    assert len({at for _, at in heard}) == len(heard)


def test_the_trials_do_not_depend_on_who_answers_first():
    assert search(Formula(1)) == search(Formula(2))


def test_another_seed_tries_something_else():
    other = Tune(TUNE.space, trials=ROUND, seed=5)
    assert [t["params"] for t in search(Formula(1), other)] != [
        t["params"] for t in search(Formula(1))[:ROUND]
    ]


def test_what_is_worse_than_the_median_of_earlier_rounds_is_pruned():
    trials = search(Formula(1))
    assert [trial["number"] for trial in trials] == list(range(36))
    assert all(trial["state"] == "done" for trial in trials[:ROUND])
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert 3 < len(pruned) < 28
    for trial in pruned:
        fold = len(trial["values"]) - 1
        assert fold < FOLDS - 1
        first = trial["number"] - trial["number"] % ROUND
        earlier = sorted(
            sum(other["values"][: fold + 1]) / (fold + 1)
            for other in trials[:first]
            if len(other["values"]) > fold
        )
        assert trial["value"] < earlier[len(earlier) // 2]
    asked = Formula(1)
    search(asked)
    assert asked.asked == sum(len(trial["values"]) for trial in trials) < 36 * FOLDS


def test_the_search_comes_near_the_best():
    best = best_of(search(Formula(1)), "roc_auc")
    assert best["value"] > 0.9
    assert best["value"] == max(t["value"] for t in search(Formula(1)) if t["state"] == "done")


def test_trials_that_fail_are_told_and_the_search_goes_on():
    trials = search(Formula(1, fails=["a"]))
    failed = [trial for trial in trials if trial["state"] == "failed"]
    assert failed
    assert all(trial["error"] == "it broke" and trial["value"] is None for trial in failed)
    assert best_of(trials, "roc_auc")["params"]["kind"] == "b"
    with pytest.raises(DefinitionError, match="none of 36 trials can be judged: it broke"):
        best_of(search(Formula(1, fails=["a", "b"])), "roc_auc")


def test_a_process_that_dies_fails_its_trial_and_another_takes_its_place():
    found = judges(*subject_of(Moody()), 1)
    try:
        answers = [
            found.ask({"mood": mood}, 0).result() for mood in ("fine", "raise", "die", "print", "fine")
        ]
    finally:
        found.close()
    assert answers[1].error == "ValueError: not today"
    assert answers[2].error == "the process that fitted it ended with code -9"
    assert answers[0] == answers[3] == answers[4]
    assert answers[0].metrics["mean_absolute_error"] is not None
    found.close()


def test_rows_that_the_disk_has_no_room_for_are_refused_and_kill_no_search(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(ENOSPC, "no space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", full)
    said = f'the file of rows in "{tmp_path}" cannot be made: the disk is full. Make room and try again.'
    with pytest.raises(Unavailable, match=re.escape(said)):
        judges(*subject_of(Moody()), 1)


class Here(BaseEstimator):
    """An estimator of the main module is fitted in this process."""

    def __init__(self, n_jobs=4):
        self.n_jobs = n_jobs


def test_what_another_process_cannot_import_stays_here(monkeypatch):
    assert is_sendable(Here())
    monkeypatch.setattr(Here, "__module__", "__main__")
    assert not is_sendable(Here())


class Heard(Moody):
    """One of the main script, that says when it is fitted."""

    __module__ = "__main__"
    events: ClassVar = []

    def fit(self, X, y):
        self.events.append("fitted")
        return super().fit(X, y)


def test_what_is_fitted_here_is_told_fold_by_fold_and_not_at_the_end():
    subject, *rows = subject_of(Heard())
    folds = [(slice(0, end), slice(end + 2, 20)) for end in (8, 12)]
    here = judges(replace(subject, folds=folds), *rows, 2)
    tune = Tune({"mood": ["fine", "calm"]}, trials=2, seed=1)
    play_round(tune, 0, [], "mean_absolute_error", 2, here, lambda n, at: Heard.events.append((n, at)))
    told = [(1, f"trial {trial}, fold {fold} of 2") for fold in (1, 2) for trial in (0, 1)]
    assert Heard.events == [event for item in told for event in ("fitted", item)]


def test_every_fit_of_a_search_has_one_thread():
    declared = Here()
    assert on_one_thread(with_params(declared, {"n_jobs": 8})).n_jobs == 1
    assert declared.n_jobs == 4
    assert isinstance(subject_of(Moody())[0], Subject)
