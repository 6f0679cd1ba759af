"""Rows through the trees side by side: the booster's scores, to the bit, or the booster itself."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor

from tenfold.features.kernel.twin.choice import SETTING
from tenfold.training.formats.forest import LOOPS, Forest
from tenfold.training.formats.lightgbm import MANY, LightGBM

pytest.importorskip("numba", reason="the loops need numba")
WIDTH = 6
LARGE = 10**12


def learned(estimator, *, missing=True, seed=3):
    """Return the text of a booster that learned from rows of which some values are missing, which says something."""
    made = np.random.default_rng(seed)
    X = np.round(made.normal(size=(3_000, WIDTH)), 1)
    X[:, 4] = np.where(X[:, 4] > 0, X[:, 4], 0.0)
    if missing:
        X[made.random(X.shape) < 0.1] = np.nan
    y = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 4] * X[:, 1]) + made.normal(size=len(X))
    y += 3 * np.isnan(X[:, 2])
    y = y > 0 if isinstance(estimator, LGBMClassifier) else np.abs(y)
    estimator.set_params(n_estimators=25, num_leaves=17, n_jobs=1, verbosity=-1, random_state=1)
    return estimator.fit(X, y).booster_.model_to_string()


def asked(text):
    """Return rows with every kind of value: those of the bounds, between them, missing, infinite, tiny, and both zeros."""
    made, size = np.random.default_rng(5), (1_003, WIDTH)
    near, others = bounds(text), [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1e-35, 2e-35, 1e300]
    near = np.concatenate([near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf), [0.0]])
    return np.where(made.random(size) < 0.3, made.choice(others, size), made.choice(near, size))


def predicted(forest, X):
    """Return the scores of rows, None where they are left to the booster."""
    loops = forest.loops(X, LARGE)
    return None if loops is None else forest.scores(X, loops)


def bounds(text):
    """Return what values are compared with."""
    lines = [line[10:] for line in text.split("\n") if line.startswith("threshold=")]
    return np.array([float(item) for line in lines for item in line.split()])


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize(
    "estimator",
    [
        LGBMClassifier(),
        LGBMClassifier(boosting_type="dart"),
        LGBMClassifier(use_missing=False),
        LGBMRegressor(),
        LGBMRegressor(objective="quantile", alpha=0.9),
        LGBMRegressor(objective="huber"),
        LGBMRegressor(objective="regression_l1"),
        LGBMRegressor(min_child_samples=5_000),
    ],
    ids=lambda item: (
        f"{item.boosting_type}-{item.objective}-{item.min_child_samples}-{len(item.get_params())}"
    ),
)
def test_scores_are_those_of_the_booster_to_the_bit(estimator, missing):
    text = learned(estimator, missing=missing)
    X = asked(text)
    forest, booster = Forest.of(text), LightGBM(text)._booster
    found = predicted(forest, X)
    assert found.tobytes() == booster.predict(X, num_threads=1).tobytes()
    stump = estimator.min_child_samples > 3_000
    assert len(np.unique(found)) > 100 or stump
    decides = missing and not stump and estimator.get_params().get("use_missing", True)
    assert np.isinf(bounds(text)).any() == decides, "somewhere only whether a value is missing decides"
    for count in (1, 7, 8, 33):
        assert predicted(forest, X[:count]).tobytes() == found[:count].tobytes()


@pytest.mark.parametrize(
    "estimator",
    [
        LGBMClassifier(zero_as_missing=True),
        LGBMClassifier(linear_tree=True),
        LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.5),
        LGBMClassifier(objective="cross_entropy"),
        LGBMRegressor(objective="poisson"),
        LGBMRegressor(reg_sqrt=True),
    ],
)
def test_what_is_not_known_is_left_to_the_booster(estimator):
    assert Forest.of(learned(estimator)) is None


def test_a_bound_that_stands_for_infinity_is_left_to_the_booster():
    text = learned(LGBMClassifier())
    assert Forest.of(text) is not None
    assert Forest.of(text.replace(" inf", f" {sys.float_info.max!r}")) is None


def test_sets_of_codes_and_several_classes_are_left_to_the_booster():
    made = np.random.default_rng(1)
    X, y = made.integers(0, 9, (2_000, 2)).astype(float), made.integers(0, 3, 2_000)
    how = {"n_estimators": 3, "verbosity": -1, "n_jobs": 1}
    codes = LGBMClassifier(**how).fit(X, y > 0, categorical_feature=[0])
    several = LGBMClassifier(**how).fit(X, y)
    assert [Forest.of(one.booster_.model_to_string()) for one in (codes, several)] == [None, None]


def test_rows_of_another_layout_are_left_to_the_booster():
    text = learned(LGBMClassifier())
    forest, X = Forest.of(text), np.ones((9, WIDTH))
    assert predicted(forest, X) is not None
    assert predicted(forest, X.astype(np.float32)) is None
    assert predicted(forest, np.asfortranarray(X)) is None
    assert predicted(forest, X[:, :5].copy()) is None


def answers(version, X, count):
    """Return the scores of rows, asked about so many at a time."""
    return np.concatenate([version.predict(X[at : at + count]) for at in range(0, len(X), count)])


@pytest.mark.parametrize("count", [1, 2, 7, 9, 64])
def test_few_rows_at_a_time_have_the_same_scores_before_and_after_their_trees_are_ready(count, monkeypatch):
    importlib.import_module(LOOPS)
    text = learned(LGBMClassifier())
    version, X = LightGBM(text), asked(text)
    want = version._booster.predict(X, num_threads=1)
    monkeypatch.setattr("tenfold.training.formats.forest.BOUNDS", (25 * 500, LARGE, LARGE))
    first = answers(version, X[:499], count)
    assert version._walks._scores is None
    version.predict(X[:count])
    monkeypatch.setattr("tenfold.training.formats.lightgbm._Few.__call__", None)
    version._walks._thread.join()
    assert np.concatenate([first, answers(version, X[499:], count)]).tobytes() == want.tobytes()


def test_a_version_with_many_trees_is_ready_for_few_rows_once_it_is_warm(monkeypatch):
    text = learned(LGBMClassifier())
    version, other, X = LightGBM(text), LightGBM(text), asked(text)
    want = answers(version, X, 7)
    other.warm()
    assert other._walks._scores is None, "25 trees do not repay what is loaded"
    monkeypatch.setattr("tenfold.training.formats.forest.WARM", 25)
    for _ in range(2):
        version.warm()
    monkeypatch.setattr("tenfold.training.formats.lightgbm._Few.__call__", None)
    assert answers(version, X, 7).tobytes() == want.tobytes()


def test_what_is_not_known_stays_with_the_booster_however_many_ask(monkeypatch):
    text = learned(LGBMRegressor(objective="poisson"))
    version, X = LightGBM(text), asked(text)
    monkeypatch.setenv(SETTING, "on")
    assert answers(version, X, 7).tobytes() == version._booster.predict(X, num_threads=1).tobytes()


def test_loops_that_cannot_be_loaded_leave_the_rows_to_the_booster(monkeypatch, caplog):
    def broken(*_):
        raise ImportError("numba is broken")

    text = learned(LGBMClassifier())
    version, X = LightGBM(text), asked(text)
    monkeypatch.setenv(SETTING, "on")
    monkeypatch.setattr("tenfold.training.formats.forest.compiled_beside", broken)
    assert answers(version, X, 7).tobytes() == version._booster.predict(X, num_threads=1).tobytes()
    assert caplog.text.count("could not be loaded") == 1


@pytest.mark.parametrize("count", [7, MANY])
def test_should_a_score_differ_the_booster_goes_on_alone(count, monkeypatch, caplog):
    text = learned(LGBMClassifier())
    monkeypatch.setenv(SETTING, "on")
    monkeypatch.setattr("tenfold.training.formats.forest._right", lambda kind, bound: False)
    version, X = LightGBM(text), np.tile(asked(text), (2, 1))
    assert answers(version, X, count).tobytes() == version._booster.predict(X, num_threads=1).tobytes()
    assert version.predict(X).tobytes() == version._booster.predict(X, num_threads=1).tobytes()
    assert caplog.text.count("give other scores") == 1


def test_a_process_that_others_wait_for_has_the_loops_compiled_by_another_one(tmp_path):
    code = """
import logging, sys
from tenfold.features.kernel.twin.choice import compiled_beside
loops = compiled_beside("tenfold.training.formats.forest_loops", "walk")
print(sum(loops.walk.stats.cache_hits.values()), sum(loops.walk.stats.cache_misses.values()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, SETTING: "auto", "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(tmp_path.rglob("forest_loops.walk-*.nbi")), done.stderr
    assert done.stdout.split() == ["1", "0"], "compiled in the process itself"


def test_a_version_takes_the_loops_where_they_are_worth_it(monkeypatch):
    text = learned(LGBMClassifier())
    X = np.tile(asked(text), (3, 1))
    monkeypatch.setenv(SETTING, "off")
    assert predicted(Forest.of(text), X) is None
    want = LightGBM(text).predict(X)
    monkeypatch.setenv(SETTING, "on")
    version = LightGBM(text)
    assert version.predict(X).tobytes() == want.tobytes()
    monkeypatch.setattr("lightgbm.Booster.predict", None)
    assert version.predict(X).tobytes() == want.tobytes()
    assert version.predict(X[: MANY - 1]).tobytes() == want[: MANY - 1].tobytes()
