"""Few rows are scored by LightGBM's C interface: the bits of its own `predict`, in any thread, and its errors."""

from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pytest

from tenfold.training.formats.lightgbm import LightGBM

OBJECTIVES = ("binary", "regression", "multiclass", "lambdarank")


def engine(objective):
    made = np.random.default_rng(3)
    X = made.normal(size=(400, 5)).round(2)
    X[made.random(X.shape) < 0.1] = np.nan
    y = made.integers(0, 3 if objective == "multiclass" else 2, 400)
    given = {"objective": objective, "num_class": 3 if objective == "multiclass" else 1, "verbosity": -1}
    group = [20] * 20 if objective == "lambdarank" else None
    booster = lightgbm.train(given, lightgbm.Dataset(X, y, group=group), 20)
    text = booster.model_to_string()
    return LightGBM(text), lightgbm.Booster(model_str=text), X


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_few_rows_have_the_bits_of_many(objective):
    few, own, X = engine(objective)
    whole = own.predict(X)
    for count in (1, 2, 25, 400):
        found = few.predict(X[:count])
        assert found.shape == whole[:count].shape
        assert np.array_equal(found.view(np.int64), np.ascontiguousarray(whole[:count]).view(np.int64))


@pytest.mark.parametrize("change", [np.asfortranarray, lambda X: X.astype(np.float32), lambda X: X[::2]])
def test_rows_of_another_form_are_left_to_the_library(change):
    few, own, X = engine("binary")
    for count in (1, 30):
        rows = change(X)[:count]
        assert np.array_equal(few.predict(rows), own.predict(rows))


def test_rows_of_another_width_are_refused():
    few, _, X = engine("binary")
    for count in (1, 30):
        with pytest.raises(lightgbm.basic.LightGBMError, match="number of features"):
            few.predict(np.ascontiguousarray(X[:count, :4]))


def test_threads_do_not_disturb_each_other():
    few, own, X = engine("multiclass")
    whole = own.predict(X)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: few.predict(X[place : place + 1])[0], [*range(400)] * 5))
    assert np.array_equal(np.array(found), np.tile(whole, (5, 1)))
