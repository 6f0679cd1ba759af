"""Who ranks in a canary: the rows of a group have scores of one version, however they are asked about."""

from collections import defaultdict

import pytest
from lightgbm import LGBMRanker

from tenfold import Derived, Model, col
from tenfold.core.times import DAY, to_us
from tests.examples import parcels
from tests.examples.bare import in_process

START, END = to_us(parcels.NOW) - 6 * DAY, to_us(parcels.NOW) - DAY
ROUTES, EACH = 12, 5
TOURED = Derived("toured", source=parcels.parcels, added={"tour": col("route") * 10 + 1})


def ranking(trees, spine, groups):
    """Return a model that orders the parcels of a group; its first stored view has another key, the shop."""
    estimator = LGBMRanker(n_estimators=trees, min_child_samples=5, n_jobs=1, verbosity=-1)
    like = parcels.model(estimator, "stars", groups="route")
    given = {"features": like.features, "label": like.label, "test_window": "5d"}
    return Model("parcel", spine=spine, estimator=estimator, groups=groups, **given)


def groups_of(rows, versions):
    """Return by route the versions that answered its rows."""
    found = defaultdict(set)
    for row, version in zip(rows, versions, strict=True):
        found[row["route"]].add(int(version))
    return dict(found)


@pytest.mark.parametrize(("spine", "groups"), [(parcels.parcels, "route"), (TOURED, "tour")])
def test_the_rows_of_a_group_are_ranked_by_one_version_alone_together_and_in_batch(spine, groups, tmp_path):
    declared = [ranking(trees, spine, groups) for trees in (3, 30)]
    with parcels.opened(tmp_path, declared[0], canary=(0.5,)) as app:
        for model in declared:
            app.promote(declared[0], app.train(model).number)
        assert app.rollouts.newest("parcel").phase == "canary"
        model = declared[0]

        def rows(name):
            return [
                parcels.row(
                    place, parcel_id=f"{name}-{place}", route=1_000 + place % ROUTES, shop=f"s{place}"
                )
                for place in range(ROUTES * EACH)
            ]

        alone = groups_of(rows("a"), [app.predict(model, row)["version"] for row in rows("a")])
        few = [answer["version"] for row in rows("f")[:3] for answer in app.predict_many(model, [row])]
        many = groups_of(rows("m"), [answer["version"] for answer in app.predict_many(model, rows("m"))])
        why = [in_process(app.asgi(), "/explain", {"row": row})[1]["version"] for row in rows("e")[:ROUTES]]
        assert {len(versions) for versions in alone.values()} == {1}
        assert set().union(*alone.values()) == {1, 2}
        assert many == alone
        assert groups_of(rows("f")[:3], few) == {route: alone[route] for route in range(1_000, 1_003)}
        assert groups_of(rows("e")[:ROUTES], why) == alone

        known = {row["parcel_id"]: row for row in parcels.history()["parcels"]}
        told = app.score(model, START, END)
        batch = groups_of([known[name] for name in told.row], told.version)
        assert {len(versions) for versions in batch.values()} == {1}
        asked = [known[name] | {"at": parcels.row()["at"], "parcel_id": f"b-{name}"} for name in told.row]
        again = [answer["version"] for answer in app.predict_many(model, asked)]
        assert groups_of(asked, again) == batch
