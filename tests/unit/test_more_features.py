"""A declaration that has more features than a version was trained on: it is asked as before, beside one trained on all."""

import shutil

import numpy as np
import pytest

from tenfold import Entity, FeatureView, Platform, Project, Release, VirtualClock, checks, col, count
from tenfold.core.errors import GateFailed, Unavailable
from tenfold.registry.versions import Stage
from tenfold.serving.answer.predictions import ONLINE, SHADOW, read
from tests.examples import bare
from tests.examples.line import Line

SHOP = Entity("shop", key="shop")
FAR = 2**60


def visits(hours="1d"):
    """Return the view of visits with a feature more, and its old ones over other hours if wanted."""
    return FeatureView(
        "shop_visits",
        entity=SHOP,
        source=bare.visits,
        features={
            "longest_7d": col("minutes").max(window="7d"),
            "visits_1d": count(window=hours),
            "minutes_1d": col("minutes").mean(window="1d"),
        },
    )


def asked_for(seen):
    """Return the view of an order with a feature that reads another view, and a text."""
    return FeatureView(
        "this_order",
        source=bare.orders,
        features={
            "shop": col("shop"),
            "per_visit": col("amount") / seen["minutes_1d"],
            "amount": col("amount"),
            "hour": col("due").hour(),
        },
    )


SEEN = visits()
MORE = bare.model([asked_for(SEEN), SEEN], Line())
OTHER = bare.model([bare.this_order, visits("2d")], Line())
ROLLING = {"gates": [checks.beats_champion("roc_auc", by=-1.0), checks.no_skew()], "canary": (0.5,)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("more") / "home"
    bare.build(home)
    return home


@pytest.fixture
def opened(built, tmp_path):
    """Return a function that opens a copy of the built home under a declaration, with its states."""
    shutil.copytree(built, tmp_path / "home")
    apps = []

    def opened(model, **release):
        while apps:
            apps.pop().close()
        project = Project("tiny", releases=[Release(model, **release)])
        apps.append(project.open(Platform(home=tmp_path / "home", clock=VirtualClock(bare.ASK_AT))))
        apps[0].process()
        return apps[0]

    yield opened
    for app in apps:
        app.close()


def orders(first, rows=40):
    return [
        bare.order(first + place, shop=f"s{place}" if place % 2 else "a", amount=1.0 + place)
        for place in range(rows)
    ]


def scores(app, rows):
    answers = [app.predict("late_order", row) for row in rows]
    return [(answer["version"], answer["score"]) for answer in answers]


def test_a_version_is_asked_for_its_own_features_in_its_own_order(opened):
    before = scores(opened(bare.late_order), orders(0))
    app = opened(MORE)
    assert scores(app, orders(100)) == before
    assert [one["score"] for one in app.predict_many(MORE, orders(200, 90))][:40] == [s for _, s in before]
    app.flush()
    served = read(app.lake, "late_order", ONLINE, 0, FAR)
    assert served.features.shape == (40 + 40 + 90, len(bare.late_order.columns))
    found = app.skew(MORE)
    assert (found.rows, found.cells, found.mismatches, found.left) == (170, 170 * 4, 0, 0)


def test_both_are_asked_in_a_rollout_each_for_its_own_features(opened):
    opened(bare.late_order).predict("late_order", bare.order(-1))
    app = opened(MORE, **ROLLING)
    number = app.train(MORE).number
    app.promote(MORE, number)
    assert app.rollout().show().rollout.candidate == number
    told = dict(zip(range(60), scores(app, orders(0, 60)), strict=True))
    together = app.predict_many(MORE, orders(100, 60))
    assert [(one["version"], one["score"]) for one in together] == list(told.values())
    assert {version for version, _ in told.values()} == {1, number}
    app.traffic.settle()
    app.flush()
    aside, served = (read(app.lake, "late_order", mode, 0, FAR) for mode in (SHADOW, ONLINE))
    assert len(aside) == 120
    wide = served.features[served.version == number]
    assert wide.shape[1] == len(MORE.columns)
    assert np.isfinite(wide[:, -2]).all(), "the visits of a day, the last but one"
    assert np.isnan(served.features[served.version == 1][:, len(bare.late_order.columns) :]).all()
    found = app.skew(MORE)
    assert (found.rows, found.mismatches, found.left) == (121, 0, 0)
    rows = dict(zip(*np.unique(served.version, return_counts=True), strict=True))
    assert found.cells == rows[1] * 4 + rows[number] * len(MORE.columns)


def test_a_view_in_front_throws_nobody_out_of_an_open_canary(opened):
    app = opened(bare.late_order, **ROLLING)
    app.promote("late_order", app.train("late_order").number)
    before = [version for version, _ in scores(app, orders(0, 60))]
    assert {*before} == {1, 2}
    of_order = FeatureView(
        "of_order",
        entity=Entity("order", key="order_id"),
        source=bare.orders,
        features={"orders_1d": count(window="1d")},
    )
    front = bare.model([of_order, *bare.late_order.views], Line())
    assert [version for version, _ in scores(opened(front, **ROLLING), orders(100, 60))] == before
    opened(front).database.execute(
        "DELETE FROM rollout_sticky"
    )  # of a home whose rollout began before they were kept
    assert [version for version, _ in scores(opened(front, **ROLLING), orders(200, 60))] != before


def test_the_way_back_to_fewer_features_is_open(opened):
    before = scores(opened(bare.late_order), orders(0, 5))
    app = opened(MORE)
    app.promote(MORE, app.train(MORE).number)
    assert {version for version, _ in scores(app, orders(10, 5))} == {2}
    app.rollback(MORE, why="a test")
    assert scores(app, orders(20, 5)) == before


def test_a_champion_of_fewer_features_is_compared_on_the_same_rows(opened):
    app = opened(MORE, gates=[checks.beats_champion("roc_auc", by=0.9)])
    version = app.train(MORE)
    with pytest.raises(GateFailed, match=r"roc_auc .* champion"):
        app.promote(MORE, version.number)
    assert app.registry.get("late_order", version.number).stage == Stage.ARCHIVED
    (told,) = app.audit.list(f"late_order/{version.number}", "gate")[-1].evidence["results"]
    assert told["value"] is not None


def test_a_feature_under_its_old_name_is_not_taken_for_it(opened):
    app = opened(OTHER)
    with pytest.raises(
        Unavailable, match=r"declared now: changed shop_visits\.visits_1d; new shop_visits\.longest_7d\."
    ):
        app.predict(OTHER, bare.order())


def test_a_feature_that_reads_another_one_changes_with_it(opened):
    app = opened(MORE)
    app.promote(MORE, app.train(MORE).number)
    longer = FeatureView(
        "shop_visits",
        entity=SHOP,
        source=bare.visits,
        features=SEEN.features | {"minutes_1d": col("minutes").mean(window="2d")},
    )
    changed = bare.model([asked_for(longer), longer], Line())
    with pytest.raises(
        Unavailable, match=r"declared now: changed shop_visits\.minutes_1d, this_order\.per_visit\."
    ):
        opened(changed).predict(changed, bare.order())


def test_what_was_answered_by_versions_that_do_not_fit_is_left_out_of_skew(opened):
    app = opened(bare.late_order)
    scores(app, orders(0, 3))
    app.flush()
    app = opened(OTHER, gates=[checks.no_skew()])
    found = app.skew(OTHER)
    assert (found.rows, found.cells, found.left) == (0, 0, 3)
    told = app.promote(OTHER, app.train(OTHER).number)
    assert "; 3 rows of versions that do not fit what is declared now were not compared" in told
    assert app.registry.production("late_order").number == 2
