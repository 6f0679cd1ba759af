"""What a version of several classes must beat, whatever its classes are called and whoever else knows of more of them."""

from datetime import UTC, datetime, timedelta

import pytest
from lightgbm import LGBMClassifier

from tenfold import (
    Entity,
    Events,
    FeatureView,
    Label,
    Model,
    Platform,
    Project,
    Release,
    VirtualClock,
    col,
    count,
)
from tests.unit.every_estimator import LIGHT

START = datetime(2024, 5, 1, tzinfo=UTC)
HOURS = 30 * 24
SHOPS = "abc"
MAJORITY = {"log_loss": pytest.approx(1.0986, abs=1e-3), "accuracy": pytest.approx(1 / 3, abs=0.05)}
SURE = {"log_loss": pytest.approx(0.0, abs=1e-9), "accuracy": 1.0}
RIGHT = {"majority": MAJORITY, "persistence": SURE, "seasonal naive": SURE}


class Film:
    film: str
    shop: str
    length: float
    at: datetime


class Rating:
    film: str
    stars: int
    word: str
    at: datetime


films = Events("films", Film, time="at", id="film", lateness="60d")
ratings = Events("ratings", Rating, time="at", id="film")
of_shop = FeatureView(
    "of_shop", entity=Entity("shop", key="shop"), source=films, features={"films_1d": count(window="1d")}
)
film = FeatureView("film", source=films, features={"length": col("length")})


def declared(label, **how):
    outcome = Label(ratings, on="film", value=col(label), horizon="1d")
    made = LGBMClassifier(**LIGHT)
    return Model(
        "film",
        spine=films,
        label=outcome,
        features=[film, of_shop],
        estimator=made,
        **{"test_window": "5d"} | how,
    )


def named(classes):
    """Return which field holds such classes."""
    return "word" if isinstance(classes[0], str) else "stars"


def add(app, classes, first=0, newest=None):
    """Append thirty days: the films of a shop all get its class, the last ones before now `newest` where that is given."""
    sent, rated = [], []
    for hour in range(first, first + HOURS):
        at, shop = START + timedelta(hours=hour), hour % len(SHOPS)
        found = newest if newest is not None and hour >= first + HOURS - 6 else classes[shop]
        sent.append({"film": f"f{hour}", "shop": SHOPS[shop], "length": float(hour % 9), "at": at})
        given = {"stars": 0, "word": ""} | {named(classes): found}
        rated.append({"film": f"f{hour}", **given, "at": at + timedelta(minutes=5)})
    app.ingest("films", sent, history=True)
    app.ingest("ratings", rated, history=True)
    app.process()


def opened(home, model):
    clock = VirtualClock(START + timedelta(hours=HOURS))
    return Project("cinema", releases=[Release(model)]).open(Platform(home=home, clock=clock))


def judged(app, model):
    """Return the classes of a new version, and what it must beat."""
    version = app.train(model)
    manifest = app.versions.package(model, version.number).manifest
    return manifest.classes, manifest.evaluation["baselines"]


@pytest.mark.parametrize(
    "classes", [(1, 2, 3), (0, 30, 90), (-7, 2, 10), ("b", "c", "d"), (3, 2, 1)], ids=str
)
def test_classes_of_any_names_are_judged_by_what_happened_last(tmp_path, classes):
    model = declared(named(classes))
    with opened(tmp_path, model) as app:
        add(app, classes)
        assert judged(app, model) == (sorted(classes), RIGHT)


@pytest.mark.parametrize(
    ("classes", "newest"),
    [(("b", "d", "f"), "a"), (("b", "d", "f"), "c"), (("b", "d", "f"), "g"), ((1, 2, 3), 0), ((1, 3, 5), 4)],
    ids=str,
)
def test_a_class_that_only_immature_rows_have_is_no_hindrance(tmp_path, classes, newest):
    model = declared(named(classes))
    with opened(tmp_path, model) as app:
        add(app, classes, newest=newest)
        assert judged(app, model) == (sorted(classes), RIGHT)


@pytest.mark.parametrize(
    ("before", "after"), [(("a", "b", "c"), ("b", "c", "d")), ((1, 2, 3), (2, 3, 4))], ids=str
)
@pytest.mark.parametrize("has_champion", [True, False])
def test_a_class_that_only_rows_before_the_window_have_is_no_hindrance(tmp_path, before, after, has_champion):
    model = declared(named(before), train_window="20d")
    with opened(tmp_path, model) as app:
        add(app, before)
        if has_champion:
            app.promote(model, app.train(model).number)
        app.clock.set(START + timedelta(hours=2 * HOURS))
        add(app, after, first=HOURS)
        classes, found = judged(app, model)
    champion = found.pop("champion (version 1)", None)
    assert (classes, found, champion is not None) == (list(after), RIGHT, has_champion)
