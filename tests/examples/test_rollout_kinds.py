"""Both versions of a rollout are compared by the losses of their kind, on rows that both scored."""

import json
from datetime import timedelta

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor

from tenfold import col
from tenfold.automation.webhook import documents
from tenfold.core.times import DAY, to_us
from tenfold.processing.batches import to_table
from tenfold.serving.answer.predictions import BATCH, SCORES, SHADOW, TOPIC, read
from tenfold.training.losses import losses
from tests.examples import parcels
from tests.examples.bare import in_process

QUIET = {"n_jobs": 1, "verbosity": -1, "random_state": 1, "min_child_samples": 5}
START, END = to_us(parcels.NOW) - 6 * DAY, to_us(parcels.NOW) - DAY
"""The test period of what is trained now: no version learned from it."""
SQUARED = "root_mean_squared_error"
CASES = {
    "late": (LGBMClassifier, {}, "brier"),
    "state": (LGBMClassifier, {}, "accuracy"),
    "minutes": (LGBMRegressor, {}, "mean_absolute_error"),
    "late minutes": (LGBMRegressor, {"metrics": ["pinball@0.9"]}, "pinball@0.9"),
    "squared minutes": (LGBMRegressor, {"metrics": [SQUARED]}, SQUARED),
    "stars": (LGBMRanker, {"groups": "route", "metrics": ["ndcg@10"]}, "ndcg@10"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["shadow", "canary"])
def test_pairs_are_what_the_metrics_of_what_was_served_say(case, way, tmp_path):
    label, (estimator, more, metric) = case.split()[-1], CASES[case]
    declared = [parcels.model(estimator(n_estimators=trees, **QUIET), label, **more) for trees in (3, 30)]
    release = {"shadow": "7d"} if way == "shadow" else {"canary": (0.5,)}
    with parcels.opened(tmp_path, declared[0], **release) as app:
        for model in declared:
            app.promote(declared[0], app.train(model).number)
        rollout = app.rollouts.newest("parcel")
        assert (rollout.phase, rollout.candidate) == (way, 2)
        told = app.score(declared[0], START, END)
        assert set(told.version.tolist()) == ({1} if way == "shadow" else {1, 2})
        app.flush()
        aside = read(app.lake, "parcel", SHADOW, 0, 2**60)
        assert sorted(aside.id) == sorted(told.id)
        found = app.rollout().outcomes(rollout)
        served = app.matured(declared[0], START, END)
        assert found.candidate.mean() < found.champion.mean(), "30 trees know more than 3"
        if label != "stars":
            assert len(found) == len(served.y) == len(told)
        if way == "shadow" and label != "state":
            value = served.metrics([metric])[metric]
            mine = found.champion.mean()
            if label == "stars":
                mine = 1 - mine
            assert value == pytest.approx(mine**0.5 if metric == SQUARED else mine)
        assert found.largest == {"minutes": None, "state": 2.0}.get(label, 1.0)


def test_a_loss_of_several_classes_is_the_sum_of_squares():
    said = np.array([[0.5, 0.3, 0.2], [0.0, 0.0, 1.0]])
    assert losses("multiclass", "log_loss", np.array([0.0, 0.0]), said, None) == pytest.approx([0.38, 2.0])


@pytest.mark.parametrize(
    ("metric", "loss"),
    {
        "pinball@0.9": [1.8, 0.1],
        "root_mean_squared_error": [4, 1],
        "mean_absolute_error": [2, 1],
        "median_absolute_error": [2, 1],
    }.items(),
)
def test_a_loss_of_a_number_is_what_the_first_metric_means(metric, loss):
    found = losses("regression", metric, np.array([3.0, 1.0]), np.array([1.0, 2.0]), None)
    assert found == pytest.approx(loss)
    by_chance = losses("binary", metric, np.array([1.0]), np.array([0.5]), None)
    assert by_chance.tolist() == [0.25]


def test_what_batch_scoring_told_is_not_mixed_with_what_was_kept(tmp_path):
    declared = parcels.model(LGBMClassifier(n_estimators=3, **QUIET))
    with parcels.opened(tmp_path, declared, shadow="7d") as app:
        for _ in range(2):
            app.promote(declared, app.train(declared).number)
        again = [app.score(declared, START, END) for _ in range(2)]
        app.flush()
        assert set(again[1].version.tolist()) == {1}
        assert len(read(app.lake, "parcel", BATCH, 0, 2**60)) == len(again[0])
        assert len(app.matured(declared, START, END).y) == len(again[0])


PLACES = ["topic:decisions", "table:decisions"]
RULES = {
    "lost": col("probability.lost"),
    "action": (col("probability.lost") < 0.5).then("send", "ask a person"),
    "state": col("prediction"),
}
TENSORS = {
    "parcel_id": "BYTES",
    "shop": "BYTES",
    "route": "INT64",
    "weight": "FP64",
    "items": "INT64",
    "gift": "BOOL",
    "at": "BYTES",
}


@pytest.fixture
def fewer_classes(tmp_path):
    """A model and its project, with a candidate that knows a class more than the champion."""
    declared = parcels.model(LGBMClassifier(n_estimators=10, **QUIET), "state", outputs=RULES)
    given, early = parcels.history(), parcels.START + timedelta(days=11)
    for arrival in given["arrivals"]:
        if arrival["state"] == "lost" and arrival["at"] < early.isoformat():
            arrival["state"] = "fine"
    with parcels.opened(tmp_path, declared, given, canary=(0.5,), bake="1h", to=PLACES) as app:
        app.promote(declared, app.train(declared, as_of=early).number, as_of=early)
        app.promote(declared, app.train(declared).number)
        yield declared, app


def test_a_version_that_knows_fewer_classes_says_the_same_alone_and_together(fewer_classes):
    declared, app = fewer_classes
    rows = [parcels.row(place, shop=f"s{place}") for place in range(8)]
    api = app.asgi()
    alone = [parcels.ask(app, {"row": row}) for row in rows]
    again = [row | {"parcel_id": f"again-{place}"} for place, row in enumerate(rows)]
    together = in_process(api, "/predict", {"rows": again})[1]
    parts = ("version", "prediction", "probabilities", "outputs")
    assert [[one[name] for name in parts] for one in together] == [
        [one[name] for name in parts] for one in alone
    ]
    assert {one["version"]: list(one["probabilities"]) for one in alone} == {
        1: ["broken", "fine"],
        2: ["broken", "fine", "lost"],
    }
    assert {one["outputs"]["action"] for one in alone if one["version"] == 1} == {"ask a person"}
    tensors = [
        {"name": name, "datatype": kind, "shape": [8], "data": [row[name] for row in rows]}
        for name, kind in TENSORS.items()
    ]
    answer = in_process(api, "/v2/models/parcel/infer", {"inputs": tensors})[1]
    found = {item["name"]: item for item in answer["outputs"]}
    assert found["classes"]["data"] == ["broken", "fine", "lost"]
    assert found["probabilities"]["shape"] == [8, 3]
    assert found["probabilities"]["data"] == [
        one["probabilities"].get(name, 0.0) for one in alone for name in found["classes"]["data"]
    ]
    told = app.score(declared, START, END)
    ruled = list(zip(told.version.tolist(), map(json.loads, told.outputs), strict=True))
    assert {rule["lost"] is None for version, rule in ruled if version == 1} == {True}
    assert {rule["lost"] is None for version, rule in ruled if version == 2} == {False}
    lost = told.probabilities[:, told.classes.index("lost")]
    assert set(lost[told.version == 1].tolist()) == {0.0}


def test_what_is_stored_and_sent_of_a_row_names_the_classes_of_its_version_whoever_is_asked_with_it(
    fewer_classes,
):
    declared, app = fewer_classes
    for place in range(4):
        parcels.ask(app, {"row": parcels.row(place, shop=f"s{place}")})
    rows = [parcels.row(f"again-{place}", shop=f"s{place}") for place in range(8)]
    told = parcels.ask(app, {"rows": rows})
    app.score(declared, START, START + DAY)
    known = {1: ["broken", "fine"], 2: ["broken", "fine", "lost"]}
    assert {one["version"]: sorted(one["probabilities"]) for one in told} == known
    for delivery in app.deliveries:
        delivery.send()
    app.flush()
    sent = [row for batch in app.log.read("decisions", 0) for row in to_table(batch).to_pylist()]
    stored = app.lake.read(SCORES).to_pylist() + app.lake.read(TOPIC).to_pylist()
    for rows in (sent, app.lake.read("decisions").to_pylist(), stored):
        assert {row["version"]: sorted(row["classes"]) for row in rows} == known
        assert all(row["classes"] == known[row["version"]] for row in rows)
        assert all(len(row["classes"]) == len(row["probabilities"]) for row in rows)
    by_id = {
        row["prediction_id"]: dict(zip(row["classes"], row["probabilities"], strict=True)) for row in sent
    }
    assert [by_id[one["prediction_id"]] for one in told] == [one["probabilities"] for one in told]
    posted = documents(app.lake.read("decisions"))
    assert {one["version"]: sorted(one["probabilities"]) for one in posted} == known
