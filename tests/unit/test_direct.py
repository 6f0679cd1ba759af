"""Learned preprocessing without data frames: the bits of scikit-learn, or it is left to scikit-learn."""

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from tenfold.core.errors import SchemaError
from tenfold.training.formats.base import Context
from tenfold.training.formats.direct import Unfit, direct
from tenfold.training.formats.rowwise import Rowwise
from tenfold.training.table import Table

COLUMNS = {"v.a": "float", "v.shop": "str", "v.b": "int", "v.word": "str", "v.flag": "bool"}
CATEGORIES = {"v.shop": ["", "ann", "bob", "cy"], "v.word": ["up", "Übung"]}
KEEP = OneHotEncoder(handle_unknown="ignore", sparse_output=False)

KNOWN = {
    "scaled": (StandardScaler(), ["v.a", "v.b"]),
    "only centred": (StandardScaler(with_std=False), ["v.a"]),
    "only scaled": (StandardScaler(with_mean=False), ["v.b", "v.a"]),
    "a constant": (StandardScaler(), ["v.flag"]),
    "to a range": (MinMaxScaler((-1, 2)), ["v.a", "v.b"]),
    "by the largest": (MaxAbsScaler(), ["v.a"]),
    "by quantiles": (RobustScaler(), ["v.a", "v.b"]),
    "filled and scaled": (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["v.a", "v.b"]),
    "filled with a number": (SimpleImputer(strategy="constant", fill_value=-1.5), ["v.a"]),
    "encoded": (KEEP, ["v.shop", "v.word"]),
    "encoded, sparse": (OneHotEncoder(handle_unknown="ignore"), ["v.word"]),
    "numbers encoded": (KEEP, ["v.b", "v.flag"]),
    "unknown is an error, and there is none": (OneHotEncoder(), ["v.shop"]),
    "filled and encoded": (
        make_pipeline(SimpleImputer(strategy="most_frequent"), KEEP),
        ["v.shop", "v.word"],
    ),
    "filled with a new text": (
        make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), KEEP),
        ["v.word", "v.shop"],
    ),
    "as numbers": (
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
        ["v.shop", "v.b"],
    ),
    "as they are": ("passthrough", ["v.b", "v.flag"]),
    "left out": ("drop", ["v.shop"]),
}
LEFT = {
    "one is dropped": (OneHotEncoder(drop="first"), ["v.shop"]),
    "rare ones together": (OneHotEncoder(min_frequency=3), ["v.shop"]),
    "in 32 bits": (OneHotEncoder(dtype=np.float32), ["v.shop"]),
    "with an indicator": (SimpleImputer(add_indicator=True), ["v.a"]),
    "in bins": (
        make_pipeline(SimpleImputer(), KBinsDiscretizer(2, quantile_method="averaged_inverted_cdf")),
        ["v.b"],
    ),
    "cut off": (MinMaxScaler(clip=True), ["v.a"]),
    "a function": (FunctionTransformer(np.abs), ["v.a"]),
}


def rows(count, seed=0):
    """Return rows as `encode` makes them, a fifth of them null."""
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            rng.normal(size=count) * 1e3,
            rng.integers(0, 4, count),
            rng.integers(-2, 3, count),
            rng.integers(0, 2, count),
            np.ones(count),
        ]
    )
    X[:, :4][rng.random((count, 4)) < 0.2] = np.nan
    return X


def learned(step, columns):
    """Return a fitted transformer of one step, beside a column that passes through."""
    X = rows(80)
    return make_column_transformer((step, columns), ("passthrough", ["v.b"])).fit(
        Table(COLUMNS, CATEGORIES)(X)
    )


def bits(found):
    found = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    return found.dtype, np.ascontiguousarray(found, dtype=np.float64).view(np.int64).tolist()


@pytest.mark.parametrize("case", KNOWN)
@pytest.mark.parametrize("count", [1, 2, 300])
def test_the_bits_are_those_of_scikit_learn(case, count):
    fitted, X = learned(*KNOWN[case]), rows(count, seed=count)
    run = direct(fitted, COLUMNS, CATEGORIES)
    assert run is not None
    wanted = fitted.transform(Table(COLUMNS, CATEGORIES)(X))
    assert bits(run(X)) == bits(wanted)


@pytest.mark.parametrize("case", LEFT)
def test_what_is_not_known_is_left_to_scikit_learn(case):
    assert direct(learned(*LEFT[case]), COLUMNS, CATEGORIES) is None


def test_text_that_reaches_the_estimator_is_left_to_scikit_learn():
    run = direct(learned("passthrough", ["v.shop"]), COLUMNS, CATEGORIES)
    with pytest.raises(Unfit):
        run(rows(2))


class Echo:
    """An estimator that gives the sum of what it gets."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.asarray(X.sum(axis=1)).ravel()


def test_an_unknown_category_is_an_error_that_names_it_where_the_encoder_says_so():
    X = rows(40)
    X[:, 1] = 1.0
    pipe = make_pipeline(make_column_transformer((OneHotEncoder(), ["v.shop"])), Echo())
    pipe.fit(Table(COLUMNS, CATEGORIES)(X), None)
    score = Rowwise(pipe, Context("regression", COLUMNS, CATEGORIES))
    assert score(X[:3]).tolist() == [1, 1, 1]
    X[1, 1] = 2.0
    with pytest.raises(SchemaError, match=r"refuses a row: Found unknown categories \['bob'\]"):
        score(X[:3])


def test_should_a_bit_differ_scikit_learn_goes_on_alone():
    X = rows(80)
    pipe = make_pipeline(
        make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), ["v.a"])), Echo()
    )
    pipe.fit(Table(COLUMNS, CATEGORIES)(X), None)
    score = Rowwise(pipe, Context("regression", COLUMNS, CATEGORIES))
    wanted = score(X).tolist()
    other = Rowwise(pipe, Context("regression", COLUMNS, CATEGORIES))
    right = other._prepare._direct
    other._prepare._direct = lambda rows: np.nextafter(right(rows), np.inf)
    assert other(X).tolist() == wanted
    assert other._prepare._direct is None
