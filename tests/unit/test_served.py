"""Monitors read what was served a part at a time, and say what they would say of all at once."""

import numpy as np
import pytest

from tenfold.core.times import UNITS, to_us
from tenfold.monitoring import served
from tenfold.monitoring.report import drift
from tenfold.serving.answer.predictions import BATCH, SCORES, TOPIC, read
from tests.examples import tiny
from tests.unit.tiny_home import opened, own_copy, two_versions

built = pytest.fixture(scope="module")(two_versions)
NAME = tiny.late_order.name
FIRST = to_us(tiny.START) + 10 * UNITS["d"]
END = FIRST + 5 * UNITS["d"]


class Counting:
    """A lake that says how many rows with features were ever read at once."""

    def __init__(self, lake):
        self._lake, self.most = lake, 0

    def read(self, table, **how):
        found = self._lake.read(table, **how)
        if "features" in found.column_names:
            self.most = max(self.most, found.num_rows)
        return found

    def __getattr__(self, name):
        return getattr(self._lake, name)


@pytest.fixture
def app(built, tmp_path):
    with opened(own_copy(built, tmp_path)) as app:
        app.batch(NAME, FIRST, END)
        yield app


def test_features_of_few_rows_are_in_hand_however_many_were_served(app, monkeypatch):
    whole = read(app.lake, NAME, BATCH, FIRST, END)
    monkeypatch.setattr(served, "ROWS", 7)
    lake = Counting(app.lake)
    found = list(served.parts(lake, NAME, BATCH, FIRST, END))
    assert len(whole) == 60
    assert lake.most <= 7 < len(found) + 1
    assert [name for part in found for name in part.id] == list(whole.id)
    assert np.concatenate([part.features for part in found]).tobytes() == whole.features.tobytes()
    (none,) = served.parts(lake, NAME, BATCH, END, END + 1)
    assert len(none) == 0


def test_drift_and_outcomes_are_those_of_all_rows(app, monkeypatch):
    version = app.versions.production(tiny.late_order)
    whole = drift(app.lake, version, FIRST, END), app.matured(NAME, FIRST, END)
    monkeypatch.setattr(served, "ROWS", 7)
    lake = Counting(app.lake)
    parts = drift(lake, version, FIRST, END), app.matured(NAME, FIRST, END)
    assert (lake.most, whole[0].rows) == (7, 60)
    assert repr(parts[0]) == repr(whole[0])
    assert len(whole[1].y) > 7
    assert parts[1].y.tobytes() == whole[1].y.tobytes()
    assert parts[1].predictions.score.tobytes() == whole[1].predictions.score.tobytes()
    assert parts[1].predictions.row == whole[1].predictions.row
    assert parts[1].predictions.features.shape == (len(whole[1].y), 0)


class Noting(Counting):
    """A lake that notes which columns of answers were read."""

    def __init__(self, lake):
        super().__init__(lake)
        self.columns = set()

    def read(self, table, **how):
        if table in (SCORES, TOPIC) and how.get("where") != "false":
            self.columns |= set(how["columns"])
        return super().read(table, **how)


def test_what_was_asked_is_not_read_to_measure_answers(app):
    app.lake = lake = Noting(app.lake)
    assert len(app.matured(NAME, FIRST, END).y) > 7
    assert "score" in lake.columns
    assert lake.columns.isdisjoint({"features", "ages", "request", "answer"})
