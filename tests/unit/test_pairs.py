"""Pairs of a rollout: each unit once with its first pair, and many of them in little memory."""

import tracemalloc
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest

from tenfold import Platform, Project, Release, VirtualClock
from tenfold.automation.pairs import first_of_each
from tenfold.core.times import UNITS
from tenfold.serving.answer.predictions import ONLINE, SHADOW, TOPIC, Predictions, to_rows
from tests.examples import tiny
from tests.unit.tiny_home import one_version, own_copy

DAY, NOW, MANY = UNITS["d"], tiny.ASK_AT, 20_000


@pytest.mark.parametrize("seed", range(5))
def test_a_unit_counts_once_with_its_first_pair_in_the_order_of_the_answers(seed):
    rng = np.random.default_rng(seed)
    at = rng.integers(0, 200, 500)
    names = [f"r{number}" for number in rng.integers(0, 300, 500)]
    units = list(zip(at.tolist(), names, range(500), strict=True))
    first = {name: (moment, place) for moment, name, place in sorted(units, key=lambda unit: -unit[0])}
    expected = [place for _, place in sorted(first.values(), key=lambda unit: unit[0])]
    parts = [pa.array(names[:200], pa.string()), pa.array(names[200:], pa.string())]
    assert first_of_each(parts, at).tolist() == expected


def test_a_look_at_many_pairs_takes_little_memory(tmp_path_factory, tmp_path):
    home = own_copy(one_version(tmp_path_factory), tmp_path)
    project = Project("tiny", releases=[Release(tiny.late_order, shadow="30d")])
    with closing(project.open(Platform(home=home, clock=VirtualClock(NOW)))) as app:
        app.promote(tiny.late_order, app.train(tiny.late_order).number)
        rollout = app.rollouts.open(tiny.late_order.name)
        since = NOW - 5 * DAY
        for offset, (number, mode) in enumerate([(1, ONLINE), (2, SHADOW)]):
            rows = told(number, mode, since)
            places = pa.array(np.arange(MANY) + offset * MANY)
            table = rows.append_column("_offset", places).append_column("_arrival", places)
            app.lake.append(TOPIC, table, writer="sink", upto=(offset + 1) * MANY)
        app.rollout().outcomes(rollout)
        tracemalloc.start()
        found = app.rollout().outcomes(rollout)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(found) == MANY
    assert peak < 350 * MANY, f"{peak / MANY:.0f} bytes a pair"


def told(number, mode, since):
    """Return answers of a version, each about a row of its own, that meet the labels of few rows."""
    at = np.full(MANY, since) + np.arange(MANY)
    texts = [[f"{kind}-{place:032}" for place in range(MANY)] for kind in ("id", "row")]
    on = [f"o-{181 + place % 10}" for place in range(MANY)]
    score, none = np.full(MANY, 0.25 * number), np.zeros((MANY, 0))
    how = np.full(MANY, number), at, score, score > 0.5, none, none, [""] * MANY
    return to_rows(Predictions(tiny.late_order.name, mode, *texts, on, *how), [""] * MANY)
