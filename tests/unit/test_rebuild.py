"""A version made again: the same bytes, put back where they were lost, or the difference explained."""

import base64
import json
import shutil
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from lightgbm import LGBMClassifier

from tenfold import Model, Project, Release
from tenfold.core.errors import GateFailed
from tenfold.sources.blobs import MANIFEST
from tests.examples import tiny
from tests.unit.tiny_home import no_folder, one_byte, opened, own_copy, two_versions

built = pytest.fixture(scope="module")(two_versions)
home = pytest.fixture(own_copy)


def rebuilt(app, number=1, **options):
    return app.rebuild("late_order", number, **options)


def test_the_same_bytes(home):
    with opened(home) as app:
        found = rebuilt(app)
    assert (found["same"], found["stored"], found["restored"], found["why"]) == (True, "whole", False, [])


@pytest.mark.parametrize("damage", [one_byte, no_folder])
def test_lost_files_are_put_back_so_that_a_rollback_can_return_to_them(home, damage):
    with opened(home) as app:
        damage(home / "blobs" / "late_order@r0001")
        found = rebuilt(app)
        assert (found["same"], found["restored"]) == (True, False)
        assert "late_order/r0001" in found["stored"]
        with pytest.raises(GateFailed, match="cannot be served"):
            app.rollback("late_order")
        found = rebuilt(app, restore=True)
        assert (found["same"], found["restored"], found["stored"]) == (True, True, "whole")
        assert app.rollback("late_order").version == 1


def test_another_declaration_is_explained_and_not_trained(home):
    model = tiny.model([tiny.this_order])
    changed = Project("tiny", releases=[Release(model)])
    with opened(home, changed) as app:
        found = rebuilt(app)
        runs = len(app.runs.list())
    assert found["same"] is False
    assert found["declaration"]["removed"] == ["shop_visits.visits_1d", "shop_visits.minutes_1d"]
    (why,) = found["why"]
    assert "features that are gone shop_visits.visits_1d, shop_visits.minutes_1d" in why
    assert "check out its commit" in why
    assert runs == 2


def test_another_setting_is_named(home):
    fields = {
        name: getattr(tiny.late_order, name) for name in ("spine", "lead", "features", "label", "test_window")
    }
    estimator = LGBMClassifier(**tiny.late_order.estimator.get_params() | {"n_estimators": 6})
    other = Model("late_order", **fields | {"test_window": "3d"}, estimator=estimator)
    with opened(home, Project("tiny", releases=[Release(other)])) as app:
        (why,) = rebuilt(app)["why"]
    assert f"settings n_estimators 5 (now 6), test_window {tiny.late_order.test_window} (now 3d)" in why


def test_another_threshold_is_another_declaration(home):
    other = replace(tiny.late_order, threshold=0.9)
    with opened(home, Project("tiny", releases=[Release(other)])) as app:
        (why,) = rebuilt(app)["why"]
    assert "settings threshold 0.5 (now 0.9)" in why
    assert replace(tiny.late_order, threshold=0.5).fingerprint == tiny.late_order.fingerprint


def test_other_bytes_are_explained_file_by_file_and_by_score(home):
    """The registry holds a version that an older numpy made, to other scores."""
    folder = home / "blobs" / "late_order@r0001"
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}
    files["model.txt"] += b"\n"
    manifest = msgspec.json.decode(files["manifest.json"])
    scores = np.frombuffer(base64.b64decode(manifest["golden_scores"])).copy()
    scores[3] += 0.25
    manifest["golden_scores"] = base64.b64encode(scores.tobytes()).decode()
    manifest["metrics"] = {"roc_auc": 0.5}
    files["manifest.json"] = msgspec.json.encode(manifest)
    with opened(home) as app:
        run = app.runs.get("r0001")
        before = run.environment | {"libraries": run.environment["libraries"] | {"numpy": "1.26.4"}}
        app.database.execute("DROP TRIGGER run_finished")
        code = json.dumps(run.code | {"git": "0" * 40})
        app.database.execute(
            "UPDATE run SET environment = ?, code = ? WHERE id = 'r0001'", json.dumps(before), code
        )
        now = app.trainer.code["git"]
        app.database.execute("DROP TRIGGER model_version_fixed")
        digest = app.blobs.put("late_order/other", files)
        app.database.execute(
            "UPDATE model_version SET artefact = 'late_order/other', digest = ? WHERE number = 1", digest
        )
        found = rebuilt(app, restore=True)
        assert app.blobs.get("late_order/other") == files, (
            "nothing is put back where the bytes are not the same"
        )
    assert (found["same"], found["restored"], found["stored"]) == (False, False, "whole")
    assert {item["name"]: item["same"] for item in found["files"]} == {
        "manifest.json": False,
        "model.txt": False,
    }
    assert found["environment"] == [
        {"name": "numpy", "then": "1.26.4", "now": np.__version__},
        {"name": "the commit", "then": "0" * 40, "now": now},
    ]
    assert found["metrics"][0]["then"] == 0.5
    assert (found["scores"]["values"], found["scores"]["differ"]) == (len(scores), 1)
    assert found["scores"]["largest"] == pytest.approx(0.25)
    assert found["why"] == [
        f"numpy was 1.26.4 and is {np.__version__} now.",
        f"the commit was {'0' * 40} and is {now} now.",
        "These files differ: manifest.json, model.txt; of the manifest: golden_scores, metrics.",
        f"Of {len(scores)} scores of golden rows 1 differ, by 0.25 at most and {0.25 / len(scores):.3g} on average.",
    ]


def test_tables_that_are_gone_are_named(home):
    shutil.rmtree(home / "lake" / "visits")
    with opened(home) as app:
        found = rebuilt(app)
    assert found["same"] is False
    assert "visits" in found["why"][0]
