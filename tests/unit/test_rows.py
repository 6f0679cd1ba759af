"""Training sets: what their report says, and taking them elsewhere."""

from datetime import UTC, datetime

import numpy as np
import pytest

from tenfold.core.errors import NotFound, SchemaError
from tenfold.processing.frame import column
from tenfold.sources.memory import MemoryLake
from tenfold.store.offline import History
from tenfold.training.dataset import Dataset
from tenfold.training.leaks import report
from tenfold.training.rows import TrainingSet
from tests.property.shop import model

Y = np.array([0.0, 1.0] * 50)
AT = np.arange(100, dtype=np.int64)
NOISE = np.random.default_rng(5).normal(size=100)


def found(type_, values, y=Y):
    return report({"f": column(type_, values)}, y, AT[: len(y)], {}, {}, {})


def test_a_feature_that_is_the_label_is_named():
    said = found("float", Y.tolist())
    assert said.leaks == ["f equals it"]
    assert "look like the label: f equals it" in str(said)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("float", (Y * 3 + NOISE / 100).tolist()),
        ("float", (-Y * 3 + NOISE / 100).tolist()),
        ("int", [7 if label else None for label in Y]),
        ("bool", [not label for label in Y]),
        ("str", ["late" if label else "in time" for label in Y]),
    ],
    ids=["ranked", "ranked the other way", "null when false", "negated", "text"],
)
def test_a_feature_that_ranks_the_label_alone_is_named(type_, values):
    said = found(type_, values)
    assert said.features["f"].auc == 1.0
    assert said.leaks == ["f ranks it with an AUC of 1"]


@pytest.mark.parametrize(
    ("type_", "values", "auc"),
    [
        ("float", [1.0] * 100, 0.5),
        ("float", [None] * 100, 0.5),
        ("str", [f"id-{place}" for place in range(100)], 0.5),
        ("str", [None] * 100, np.nan),
    ],
    ids=["constant", "all null", "a text per row", "no text"],
)
def test_what_says_nothing_is_no_leak(type_, values, auc):
    said = found(type_, values)
    assert said.leaks == []
    assert said.features["f"].auc == pytest.approx(auc, nan_ok=True)


def test_a_label_of_numbers_is_not_ranked():
    said = found("float", NOISE.tolist(), np.arange(100) / 10)
    assert (np.isnan(said.features["f"].auc), said.leaks) == (True, [])
    assert found("float", (np.arange(100) / 10).tolist(), np.arange(100) / 10).leaks == ["f equals it"]


def test_ages_are_told_per_view():
    ages = np.array([np.nan, 1e6, 2e6, 90e6])
    said = report(
        {}, Y[:4], AT[:4], {"no label event": 3}, {"orders": 2}, {"card": ages, "new": ages * np.nan}
    )
    assert (said.ages["card"].nothing, said.ages["card"].p50_s, said.ages["card"].p99_s) == (0.25, 2.0, 2.0)
    assert (said.ages["new"].nothing, np.isnan(said.ages["new"].p50_s)) == (1.0, True)
    text = str(said)
    assert "left out: no label event 3" in text
    assert "tables: orders version 2" in text


def rows():
    columns = {"v.x": column("int", [1, None]), "v.word": column("str", ["up", None])}
    at = np.array([5, 6], dtype=np.int64)
    ids = np.array([b"a", "Ü".encode()])
    return TrainingSet(
        columns, np.array([0.0, 1.0]), at, ids, {}, {}, ["v"], lambda: np.array([[5e6], [7e6]])
    )


def test_a_training_set_goes_elsewhere_with_its_nulls():
    table = rows().to_arrow()
    assert table.to_pylist()[1] == {
        "id": "Ü",
        "at": datetime(1970, 1, 1, 0, 0, 0, 6, tzinfo=UTC),
        "v.x": None,
        "v.word": None,
        "label": 1.0,
    }
    assert rows().to_polars()["v.x"].to_list() == [1, None]
    assert rows().to_pandas()["v.word"].isna().tolist() == [False, True]


def test_rows_that_are_taken_keep_their_ages():
    assert rows().take(np.array([1])).report.ages["v"].p50_s == 7.0
    assert rows().between(0, 6).report.ages["v"].p50_s == 5.0


def test_a_name_that_is_not_there_gets_the_nearest():
    with pytest.raises(NotFound, match=r'no feature "v.word2" in the training set. Did you mean "v.word"\?'):
        rows()["v.word2"]


def test_rows_that_do_not_fit_the_spine_are_refused():
    with pytest.raises(SchemaError, match=r'1 of 1 rows do not fit source "orders". Row 0: '):
        Dataset(model, History(MemoryLake())).of([{"order_id": "o1"}])
