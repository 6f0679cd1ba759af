"""What is told of each class of a model of several: as scikit-learn computes it, in the manifest, on the card and on a terminal."""

from datetime import timedelta

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from tenfold.cli.models import _draw_card
from tenfold.cli.options import Where
from tenfold.training.classes import by_class
from tenfold.ui.card import card
from tenfold.ui.documents import version_document
from tenfold.ui.evaluated import MOST_CLASSES, class_rows, classes
from tenfold.ui.terminal import console
from tests.examples import parcels
from tests.unit.every_estimator import LIGHT

NAMES = ["a", "b", "c", "d", "never"]


def test_classes_are_counted_as_scikit_learn_does():
    rng = np.random.default_rng(5)
    learned, y = rng.integers(0, 4, 300).astype(float), rng.integers(0, 3, 200).astype(float)
    p = rng.dirichlet(np.ones(5), 200)
    p[:, 4] = 0.0
    named = p.argmax(axis=1)
    found = by_class(NAMES, learned, y, p)
    table = confusion_matrix(y, named, labels=range(5))
    recall = recall_score(y, named, labels=range(5), average=None, zero_division=np.nan)
    precision = precision_score(y, named, labels=range(5), average=None, zero_division=np.nan)
    for place, item in enumerate(found):
        assert item["class"] == NAMES[place]
        assert (item["learned"], item["rows"]) == ((learned == place).sum(), (y == place).sum())
        for mine, theirs in ((item["recall"], recall[place]), (item["precision"], precision[place])):
            assert (mine is None) == np.isnan(theirs)
            assert mine is None or mine == pytest.approx(theirs)
        others = {NAMES[other]: n for other, n in enumerate(table[place]) if n and other != place}
        assert dict(map(tuple, item["taken_for"])) == others
        assert [n for _, n in item["taken_for"]] == sorted(others.values(), reverse=True)
    assert found[4] == {
        "class": "never",
        "learned": 0,
        "rows": 0,
        "recall": None,
        "precision": None,
        "taken_for": [],
    }


def test_a_card_lists_the_classes(tmp_path, capsys):
    model = parcels.model(LGBMClassifier(**LIGHT), "state")
    with parcels.opened(tmp_path, model) as app:
        document = version_document(app.kept, "parcel", app.train(model).number)
    assert document["classes"] == ["broken", "fine", "lost"]
    found = document["evaluation"]["classes"]
    assert [item["class"] for item in found] == document["classes"]
    assert sum(item["rows"] for item in found) == document["evaluation"]["rows"]["test"]
    assert sum(item["learned"] for item in found) == document["evaluation"]["rows"]["train"]
    page = card(document)
    assert "One of 3 classes: <b>broken, fine, lost</b>" in page
    _draw_card(console(), Where("shop.py", tmp_path, None), document)
    told = capsys.readouterr().out
    assert "broken, fine, lost" in told
    for name, *_, others in class_rows(found):
        assert f'<th scope="row">{name}</th>' in page
        assert others in page
        assert others in told


def test_of_many_classes_those_of_most_rows_are_shown():
    many = MOST_CLASSES + 5
    y = np.repeat(np.arange(many), np.arange(1, many + 1)).astype(float)
    found = by_class(list(range(many)), y, y, np.full((len(y), many), 1 / many))
    rows = class_rows(found)
    assert [row[0] for row in rows] == [str(place) for place in range(many - 1, 4, -1)]
    section = classes({"classes": found})
    assert section.note.startswith("the 30 of most rows of 35; ")
    assert classes({"classes": None}) is None


def test_a_class_that_only_the_champion_knows_is_no_hindrance(tmp_path):
    rows = parcels.history()
    early = (parcels.START + timedelta(days=9)).isoformat()
    for arrival in rows["arrivals"]:
        if arrival["state"] == "lost" and arrival["at"] > early:
            arrival["state"] = "fine"
    model = parcels.model(LGBMClassifier(**LIGHT), "state", train_window="9d", test_window="3d")
    with parcels.opened(tmp_path, model, rows) as app:
        first = app.train(model, as_of=early)
        app.promote(model, first.number, as_of=early)
        second = app.train(model)
        assert app.rebuild(model, second.number)["same"]
        old, new = (app.versions.package(model, version.number).manifest for version in (first, second))
    assert (old.classes, new.classes) == (["broken", "fine", "lost"], ["broken", "fine"])
    assert new.evaluation["baselines"]["champion (version 1)"]["log_loss"] > 0
    assert 'no row to learn from and no row to test on is of class "lost"' in new.evaluation["warnings"]
