"""What a place refused goes to it once more, all but the rows that are to blame, whenever the process dies."""

import shutil
from itertools import count

from tests.unit.delivering import Place, names
from tests.unit.downstream import Downstream
from tests.unit.test_deliver import Died, Dying, dying


def test_one_bad_row_costs_no_other_its_second_delivery(place, downstream):
    place.answer(*names(0, 30))
    place.answer("other", model="another")
    place.answer(*names(30, 40))
    downstream.statuses, downstream.bad = [401], {"p17", "p30"}
    assert place.delivery(downstream.url).send() == 0
    place.answer("later")
    assert place.delivery(downstream.url).send(again=True) == 38 + 1
    assert downstream.ids() == [*(name for name in names(0, 40) if name not in downstream.bad), "later"]
    assert place.delivery(downstream.url).waiting().refused == {
        f"{downstream.url} answered 422: no thanks.": 2
    }
    assert place.delivery(downstream.url).send(again=True) == 0
    downstream.bad = set()
    assert place.delivery(downstream.url).send(again=True) == 2
    assert place.delivery(downstream.url).waiting().refused == {}


def test_death_at_any_point_of_sending_again_loses_nothing(tmp_path):
    for at in count(1):
        folder = tmp_path / str(at)
        folder.mkdir()
        place, server = Place(folder), Downstream().start()
        place.answer(*names(0, 3))
        place.answer(*names(3, 7))
        server.statuses, server.bad = [401], {"p4"}
        place.delivery(server.url).send()
        try:
            dying(place, server.url, Dying(at)).send(again=True)
        except Died:
            dead = True
        else:
            dead = False
        place.delivery(server.url).send(again=True)
        server.stop()
        parts = dict(server.posts)
        assert all(parts[name] == rows for name, rows in server.posts), "the same name, other rows"
        assert sorted(row["prediction_id"] for rows in parts.values() for row in rows) == sorted(
            {*names(0, 7)} - server.bad
        ), at
        assert sum(place.delivery(server.url).waiting().refused.values()) == 1
        place.close()
        shutil.rmtree(folder)
        if not dead:
            assert at > 8
            break
