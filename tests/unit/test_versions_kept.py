"""How many versions a process keeps in memory: few, however many were trained, and the one in Production always."""

import weakref

import pytest

from tenfold.serving.answer import versions
from tests.examples import tiny
from tests.unit.tiny_home import opened, own_copy, two_versions

built = pytest.fixture(scope="module")(two_versions)
home = pytest.fixture(own_copy)
MODEL = tiny.late_order


def test_those_loaded_last_are_kept_and_the_one_in_production(home, monkeypatch):
    monkeypatch.setattr(versions, "MOST", 2)
    with opened(home) as app:
        numbers = [1, 2, *(app.train(MODEL).number for _ in range(3))]
        assert app.registry.production(MODEL.name).number == 2
        held = {
            number: weakref.ref(app.versions.get(MODEL, number).package.predictor.engine)
            for number in numbers
        }
        assert {number for number, engine in held.items() if engine() is not None} == {2, 4, 5}
        for number in (2, 4, 5):
            assert app.versions.get(MODEL, number).package.predictor.engine is held[number]()
        again = app.versions.get(MODEL, 1).package
        assert again.manifest == app.versions.package(MODEL, 1).manifest
