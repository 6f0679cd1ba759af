"""Two runs side by side: the rows first, then only what changed."""

import json
import math
from copy import deepcopy
from pathlib import Path

import pytest

from tenfold.tracking.compare import compare
from tenfold.ui.documents import gain

EVALUATION = json.loads((Path(__file__).parent / "evaluation.json").read_text())


def side(name="r1"):
    """Return a run as `documents.run_document` tells it, with a real evaluation."""
    return {
        "name": name,
        "params": {
            "trees": 9,
            "rate": 0.1,
            "odd": math.nan,
            "train": [0, 10],
            "test": [11, 12],
            "journal": name,
        },
        "samples": {"train": {"rows": 5, "digest": "d", "labels": "l"}, "test": {"rows": 2}},
        "data": {"orders": 3},
        "code": {"git": "1a", "declaration": "x"},
        "environment": {"python": "3.11.7", "libraries": {"numpy": "2.4", "lightgbm": "4.7"}},
        "features": [{"name": "a", "type": "int"}, {"name": "b", "type": "str", "definition": "last(x)"}],
        "metrics": {name: item["value"] for name, item in EVALUATION["metrics"].items()} | {"odd": math.nan},
        "evaluation": deepcopy(EVALUATION),
    }


def compared(**changed):
    return compare(side(), side("r2") | changed, gain)


CHANGES = ("metrics", "params", "data", "code", "environment", "slices")


def test_the_same_run_twice_has_no_changes():
    found = compared()
    assert found["rows"]["same"] is True
    assert [found[name] for name in CHANGES] == [[]] * len(CHANGES)
    assert found["features"] == {"added": [], "removed": [], "retyped": [], "redefined": []}


@pytest.mark.parametrize(
    ("changed", "same", "part", "why"),
    [
        ({"samples": {"train": {"rows": 6, "digest": "e"}}}, False, "train", "another number of rows"),
        (
            {"samples": {"train": {"rows": 5, "digest": "e", "labels": "l"}}},
            False,
            "train",
            "the same labels, other features",
        ),
        (
            {"samples": {"train": {"rows": 5, "digest": "e", "labels": "m"}}},
            False,
            "train",
            "other rows, features or labels",
        ),
        ({"data": {"orders": 4}}, None, "test", "the same period of other versions of the tables"),
        ({"params": side()["params"] | {"test": [11, 13]}}, False, "test", "other periods"),
        ({"params": {}, "samples": {}}, None, "train", "one of them did not record its rows"),
    ],
)
def test_whether_rows_and_labels_are_the_same(changed, same, part, why):
    rows = compared(**changed)["rows"]
    assert rows["same"] is same
    assert (rows[part]["same"], rows[part]["why"]) == (same, why)


def test_only_what_changed_is_told():
    found = compared(
        params=side()["params"] | {"trees": 50, "depth": 3},
        data={"orders": 4, "cards": 1},
        code={"git": "2b", "declaration": "x", "dirty": "ff"},
        environment={"python": "3.11.7", "libraries": {"numpy": "2.5", "xgboost": "3.2"}},
        features=[
            {"name": "b", "type": "int", "definition": "sum(x)"},
            {"name": "c", "type": "int", "definition": "count(1)"},
        ],
    )
    assert found["params"] == [{"name": "trees", "a": 9, "b": 50}, {"name": "depth", "a": None, "b": 3}]
    assert found["data"] == [{"name": "orders", "a": 3, "b": 4}, {"name": "cards", "a": None, "b": 1}]
    assert [item["name"] for item in found["code"]] == ["git", "dirty"]
    assert found["environment"] == [{"name": "numpy", "a": "2.4", "b": "2.5"}]
    assert found["features"] == {
        "added": ["c"],
        "removed": ["a"],
        "retyped": ["b"],
        "redefined": ["b"],
    }


def test_metrics_say_which_is_better_and_whether_it_is_more_than_chance():
    values = side()["metrics"]
    other = deepcopy(EVALUATION)
    other["metrics"]["roc_auc"] = {"value": 0.9, "low": 0.89, "high": 0.91}
    other["metrics"]["log_loss"]["value"] = values["log_loss"] + 0.001
    changed = {"roc_auc": 0.9, "log_loss": values["log_loss"] + 0.001, "lift": math.inf, "odd": 1.0}
    found = {item["name"]: item for item in compared(metrics=values | changed, evaluation=other)["metrics"]}
    assert set(found) == set(changed)
    assert (found["roc_auc"]["better"], found["roc_auc"]["apart"]) == ("r2", True)
    assert (found["log_loss"]["better"], found["log_loss"]["apart"]) == ("r1", False)
    for name in ("lift", "odd"):
        assert (found[name]["difference"], found[name]["better"]) == (None, None)


def test_of_rows_that_were_learned_from_nothing_is_better():
    one, other = (
        side() | {"metrics": {"train.roc_auc": 0.8}},
        side("r2") | {"metrics": {"train.roc_auc": 0.9}},
    )
    (found,) = compare(one, other, gain)["metrics"]
    assert found["better"] is None
    assert found["difference"] == pytest.approx(0.1)


def test_slices_moved_when_their_intervals_lie_apart():
    other = deepcopy(EVALUATION)
    moved = next(item for item in other["slices"] if not item["small"])
    moved["metrics"]["roc_auc"] = {"value": 0.95, "low": 0.94, "high": 0.96}
    nearly = next(item for item in other["slices"] if not item["small"] and item is not moved)
    nearly["metrics"]["roc_auc"]["value"] += 0.001
    small = next(item for item in other["slices"] if item["small"])
    small["metrics"]["roc_auc"] = {"value": 0.01, "low": 0.0, "high": 0.02}
    (found,) = compared(evaluation=other)["slices"]
    assert (found["feature"], found["value"], found["metric"]) == ("trip.carrier", moved["value"], "roc_auc")
    assert (found["b"], found["better"]) == (0.95, "r2")
