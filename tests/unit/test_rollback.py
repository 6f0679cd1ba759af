"""A rollback is verified: what cannot be served is not returned to, nothing changes, and the message says what to do."""

import base64
import hashlib
import sqlite3
from contextlib import closing

import msgspec
import pytest

from tenfold import Project, Release
from tenfold.automation.rollback import roll_back
from tenfold.core.errors import Conflict, GateFailed, NotFound, SchemaError
from tenfold.registry.versions import Stage
from tenfold.sources.blobs import MANIFEST, make_manifest
from tests.examples import tiny
from tests.unit.tiny_home import no_folder, one_byte, opened, own_copy, two_versions

built = pytest.fixture(scope="module")(two_versions)
home = pytest.fixture(own_copy)


def other_scores(folder):
    """Store a version with a golden score that it does not give, registered as if it did."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}
    manifest = msgspec.json.decode(files["manifest.json"])
    scores = bytearray(base64.b64decode(manifest["golden_scores"]))
    scores[0] ^= 1
    manifest["golden_scores"] = base64.b64encode(scores).decode()
    files["manifest.json"] = msgspec.json.encode(manifest)
    (folder / "manifest.json").write_bytes(files["manifest.json"])
    (folder / MANIFEST).write_bytes(make_manifest(files))
    with closing(sqlite3.connect(folder.parents[1] / "state.db", isolation_level=None)) as database:
        database.execute("DROP TRIGGER model_version_fixed")
        digest = hashlib.sha256(make_manifest(files)).hexdigest()
        database.execute("UPDATE model_version SET digest = ? WHERE number = 1", (digest,))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (one_byte, "model.txt has another sha256"),
        (no_folder, 'no blob "late_order/r0001"'),
        (other_scores, "golden rows of model late_order score differently"),
    ],
)
def test_a_version_that_cannot_be_loaded_is_not_returned_to(home, damage, why):
    with opened(home) as app:
        app.versions.production(tiny.late_order)
        damage(home / "blobs" / "late_order@r0001")
        before = app.registry.history("late_order")
        with pytest.raises(GateFailed) as caught:
            app.rollback("late_order", by="ann", why="errors rose")
        assert app.registry.history("late_order") == before
        assert app.registry.production("late_order").number == 2
        decision = app.audit.list("late_order/1", "rollback")[-1]
    told = str(caught.value)
    assert told.startswith(
        "late_order version 1 cannot be served, so nothing was changed: version 2 is still in production. Why: "
    )
    assert why in told
    assert "tenfold models rebuild PROJECT.py late_order 1 --restore" in told
    assert "tenfold promote PROJECT.py late_order NUMBER" in told
    assert (decision.decision, decision.by, decision.why) == ("refused", "ann", told)


def test_a_version_of_other_features_is_not_returned_to(home):
    fewer = Project("tiny", releases=[Release(tiny.model([tiny.this_order]))])
    with (
        opened(home, fewer) as app,
        pytest.raises(GateFailed, match="trained on other features than are declared now"),
    ):
        app.rollback("late_order")


def test_a_version_that_can_be_served_is_returned_to_with_its_audit_row(home):
    with opened(home) as app:
        event = app.rollback("late_order", by="ann", why="errors rose")
        assert (event.version, event.to_stage, event.by) == (1, Stage.PRODUCTION, "ann")
        decision = app.audit.list("late_order/1", "rollback")[-1]
        first, second = (
            {"version": number, "metrics": app.registry.get("late_order", number).info["metrics"]}
            for number in (1, 2)
        )
        assert second["metrics"]
        assert decision.decision == "rolled back"
        assert decision.evidence == {"seq": event.seq, "from": second, "to": first}
        with pytest.raises(NotFound, match=r"no earlier .* rollback PROJECT\.py late_order --to 2\."):
            app.rollback("late_order")


def test_a_rollback_by_mistake_is_taken_back_without_another_training(home):
    with opened(home) as app:
        app.rollback("late_order", by="bob", why="by mistake")
        with pytest.raises(
            Conflict, match=r"comes back with: tenfold rollback PROJECT\.py late_order --to 2\."
        ):
            app.promote("late_order", 2)
        assert app.rollback("late_order", to=2, by="ann", why="that was a mistake").version == 2
        assert app.registry.production("late_order").number == 2
        decision = app.audit.list("late_order/2", "rollback")[-1]
        assert (decision.decision, decision.by, decision.why) == ("rolled back", "ann", "that was a mistake")
        one_byte(home / "blobs" / "late_order@r0001")
        with pytest.raises(GateFailed, match="version 1 cannot be served, so nothing was changed"):
            app.rollback("late_order", to=1)
        assert app.registry.production("late_order").number == 2


def test_what_somebody_promoted_while_files_were_checked_is_not_rolled_back(home):
    with opened(home) as app:
        moved = app.registry.register("late_order", run_id="r3", digest="d", artefact="a", info={}).number

        class Meanwhile(type(app.blobs)):
            def get(self, name):
                for stage in (Stage.STAGING, Stage.PRODUCTION):
                    app.registry.move("late_order", moved, stage, by="bob", why="meanwhile", evidence={})
                return super().get(name)

        blobs = Meanwhile(home / "blobs")
        parts = app.database, app.registry, blobs, app.audit
        with pytest.raises(Conflict):
            roll_back(tiny.late_order, *parts, by="ann", why="errors rose")
        assert app.registry.production("late_order").number == moved
        assert [item.decision for item in app.audit.list(kind="rollback")] == []


def test_a_version_of_other_features_is_not_judged_by_who_promotes_it_from_elsewhere(home):
    fewer = Project("tiny", releases=[Release(tiny.model([tiny.this_order]))])
    with opened(home) as app:
        third = app.train("late_order").number
    with (
        opened(home, fewer) as app,
        pytest.raises(SchemaError, match="or run the declaration it was trained with"),
    ):
        app.promote("late_order", third)
    with opened(home) as app:
        assert app.registry.get("late_order", third).stage == Stage.NONE
        app.promote("late_order", third)
        assert app.registry.production("late_order").number == third
