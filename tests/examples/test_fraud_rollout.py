"""The example of a release on the clock of history: it undoes the hasty candidate and promotes the sound one."""

import numpy as np
import pytest

from examples.fraud.data import simulate
from examples.fraud.rollout import CITY, played


@pytest.mark.slow
def test_a_hasty_candidate_is_undone_and_a_sound_one_promoted(tmp_path):
    result = played(tmp_path / "home", simulate(CITY, np.random.default_rng(0)))
    done = [(item["version"], item["done"].split(":")[0]) for item in result["told"]]
    assert done == [
        (2, "undone"),
        (3, "to canary at 10%"),
        (3, "to canary at 50%"),
        (3, "promoted"),
    ]
    assert result["production"] == 3
    assert result["days"] < 25
    undone, promoted = (
        next(one["evidence"] for one in result["decisions"] if one["decision"] == decision)
        for decision in ("undone", "promoted")
    )
    assert undone["candidate_loss"] > undone["champion_loss"]
    assert 500 < undone["pairs"] < 3_000
    assert promoted["candidate_loss"] < promoted["champion_loss"]
