"""Monitors read what was served a part at a time, and say what they would say of all at once."""

from dataclasses import replace

import numpy as np
import pytest

from tenfold.core.times import UNITS, to_us
from tenfold.monitoring import served
from tenfold.monitoring.report import drift
from tenfold.serving.answer.predictions import BATCH, ONLINE, SCORES, TOPIC, read
from tests.examples import tiny
from tests.unit.tiny_home import one_byte, opened, own_copy, two_versions

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


def ask(app, first, rows):
    """Ask about an order of each shop in turn, a second after the other."""
    for place in range(first, first + rows):
        app.clock.set(app.clock.now() + UNITS["s"])
        app.predict(NAME, tiny.order(place, shop="ab"[place % 2], amount=1.0 + place))


def test_skew_is_that_of_all_rows(built, tmp_path, monkeypatch):
    home = own_copy(built, tmp_path)
    with opened(home) as app:
        ask(app, 0, 12)
        app.rollback(NAME)
        ask(app, 12, 13)
        app.flush()
        asked = read(app.lake, NAME, ONLINE, 0, END * 2)
        wrong = replace(asked, id=[f"wrong {name}" for name in asked.id], features=asked.features.copy())
        wrong.features[::2, 1] += 1
        wrong.features[5, :3] = np.nan
        app.predictions.write(wrong, key="wrong")
        app.flush()
    with opened(home) as app:
        whole = app.skew(NAME)
        assert (whole.rows, whole.cells, whole.left) == (50, 200, 0)
        assert len(whole.features) > 1
        monkeypatch.setattr(served, "ROWS", 7)
        app.lake = lake = Counting(app.lake)
        assert app.skew(NAME) == whole
        assert list(app.skew(NAME).features) == list(whole.features)
        assert lake.most <= 7
    one_byte(home / "blobs" / "late_order@r0002")
    with opened(home) as app:
        parts = app.skew(NAME)
        assert (parts.rows, parts.left) == (26, 24)
        monkeypatch.undo()
        assert app.skew(NAME) == parts


class Meanwhile(Counting):
    """A lake of which a part was read before something comes."""

    comes = None

    def read(self, table, **how):
        found = super().read(table, **how)
        if "features" in found.column_names and found.num_rows and self.comes is not None:
            comes, self.comes = self.comes, None
            comes()
        return found


def test_answers_made_from_records_that_come_between_two_parts_are_no_skew(built, tmp_path, monkeypatch):
    monkeypatch.setattr(served, "ROWS", 7)
    with opened(own_copy(built, tmp_path)) as app:
        ask(app, 0, 12)
        app.flush()
        app.lake = lake = Meanwhile(app.lake)
        app.skew(NAME)  # has read the history

        def comes():
            app.ingest("visits", [tiny.visit(place, at=tiny.NOW, minutes=9.0) for place in range(3)])
            ask(app, 20, 3)
            app.flush()

        lake.comes = comes
        found = app.skew(NAME)
        assert (found.rows, found.mismatches, found.left) == (15, 0, 0)
