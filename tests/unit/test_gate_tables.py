"""A gate's verdict can be made again from its evidence: it names the tables that were read, whatever comes meanwhile."""

from dataclasses import replace

import pytest

from tenfold import Project, Release, checks
from tenfold.core.times import to_us
from tenfold.store.offline import History
from tenfold.training.dataset import Dataset
from tests.examples import bare, tiny
from tests.unit.tiny_home import one_version, opened, own_copy

NAME = tiny.late_order.name


@pytest.fixture
def home(tmp_path_factory, tmp_path):
    return own_copy(one_version(tmp_path_factory), tmp_path)


def test_the_tables_of_the_evidence_are_those_that_were_judged_on(home):
    released = Project("tiny", releases=[Release(tiny.late_order, gates=[checks.no_skew()])])
    with opened(home, released) as app:
        loop, number = app.loop(), app.train(NAME).number
        given = []

        def dataset():
            given.append(app.dataset(tiny.late_order))
            return given[-1]

        def meanwhile(start):
            """Do what a worker does while versions are compared."""
            late = [{"order_id": f"o-{place}", "late": 0.0, "at": bare.NOW} for place in range(150, 228)]
            app.ingest("outcomes", late, history=True)
            app.flush()
            return app.skew(NAME, start)

        replace(loop, dataset=dataset, skew=meanwhile).promote(number, by="ann")
        on = app.audit.list(f"{NAME}/{number}", "gate")[-1].evidence["on"]
        assert on["tables"]["outcomes"] < app.lake.version("outcomes")
        start, end = map(to_us, on["rows"])
        again = Dataset(tiny.late_order, History(app.lake, on["tables"]))
        rows = again.training_set(to_us(on["known"]), start=start, end=end)
        judged = given[1].training_set(to_us(on["known"]), start=start, end=end)
        assert rows.digest == judged.digest
