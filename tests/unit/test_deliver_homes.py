"""Several homes share a state, each with a log of its own: what one has sent downstream keeps nothing of another's back."""

import shutil

import pytest

from tenfold.automation.deliver import Waiting
from tenfold.automation.homes import own_id
from tenfold.automation.outbox import home_id
from tenfold.automation.sinks import Refused
from tenfold.core.errors import Unavailable
from tests.unit.delivering import Place, names


@pytest.fixture
def other(place, tmp_path):
    """Give another home on the state of `place`."""
    (tmp_path / "other").mkdir()
    found = Place(tmp_path / "other", database=place.database)
    yield found
    found.close()


def restarted(place):
    """Return the same home with an empty log."""
    return Place(place.folder, database=place.database)


def before_homes(place):
    """Leave the state as it was before homes were told apart."""
    place.database.execute("DELETE FROM first_home")
    (place.folder / "id").unlink()


@pytest.mark.parametrize("kind", ["topic", "table", "webhook"])
def test_each_sends_all_of_its_own_answers(place, other, downstream, kind):
    address = downstream.url if kind == "webhook" else f"{kind}:decisions"
    place.answer(*names(0, 20))
    assert place.delivery(address).send() == 20
    other.answer(*names(100, 105))
    assert other.delivery(address).waiting().answers == 5
    assert other.delivery(address).send() == 5
    other.answer(*names(105, 125))
    assert other.delivery(address).send() == 20
    place.answer(*names(20, 23))
    assert place.delivery(address).send() == 3
    if kind == "webhook":
        assert sorted(downstream.ids()) == sorted([*names(0, 23), *names(100, 125)])
        assert len({name for name, _ in downstream.posts}) == 4
    else:
        read = Place.topic if kind == "topic" else Place.table
        assert (read(place), read(other)) == (names(0, 23), names(100, 125))


def test_a_table_that_they_share_takes_the_answers_of_both(place, other):
    other.lake = place.lake
    place.answer(*names(0, 5))
    other.answer(*names(5, 7))
    assert [home.delivery("table:decisions").send() for home in (place, other)] == [5, 2]
    assert sorted(place.table()) == names(0, 7)


def test_parts_at_the_same_places_have_different_names(place, other, downstream):
    for home in (place, other):
        home.answer("a")
        home.delivery(downstream.url).send()
    assert [name.partition("-")[0] for name, _ in downstream.posts] == [
        home_id(place.database),
        own_id(other.folder),
    ]


def test_what_was_refused_is_sent_again_by_the_home_whose_answer_it_is(place, other, downstream):
    for home, name in ((place, "a"), (other, "b")):
        home.answer(name)
        downstream.statuses = [403]
        home.delivery(downstream.url).send()
        assert sum(home.delivery(downstream.url).waiting().refused.values()) == 1
    assert other.delivery(downstream.url).send(again=True) == 1
    assert downstream.ids()[-1] == "b"
    assert sum(place.delivery(downstream.url).waiting().refused.values()) == 1


def test_a_copy_of_a_home_goes_on_where_it_stood(place, tmp_path):
    place.answer("a")
    place.delivery().send()
    shutil.copytree(place.folder, tmp_path / "copy")
    copy = Place(tmp_path / "copy")
    copy.log = place.log
    assert copy.delivery().waiting().answers == 0
    copy.close()


# What was kept before homes were told apart ------------------------------------------------------------


class Lost:
    """Takes nothing and breaks off."""

    most = 10

    def __init__(self):
        self.ids = []

    def put(self, part):
        self.ids.append(part.id)
        raise Unavailable("away.")


def test_the_home_goes_on_with_its_cursors_and_the_name_of_the_part_under_way(place):
    place.answer(*names(0, 3))
    place.delivery().send()
    place.answer(*names(3, 5))
    sink = Lost()
    for turn in range(2):
        if turn:
            before_homes(place)
        delivery = place.delivery()
        delivery.sink = sink
        with pytest.raises(Unavailable, match="away"):
            delivery.send()
    assert len(sink.ids) == 2
    assert len(set(sink.ids)) == 1
    assert place.delivery().send() == 2


@pytest.mark.parametrize("had_sent", [False, True])
def test_a_home_that_never_sent_or_has_a_shorter_log_takes_over_no_cursor(place, other, had_sent):
    place.answer(*names(0, 5))
    place.delivery().send()
    before_homes(place)
    other.answer(*names(10, 12 if had_sent else 20))
    if had_sent:
        (lock,) = place.folder.glob("sink-*.lock")
        shutil.copy(lock, other.folder)
    assert other.delivery().waiting().answers == (2 if had_sent else 10)
    assert place.delivery().waiting().answers == 0


# Another log --------------------------------------------------------------------------------------------


def test_a_log_that_ends_before_what_was_sent_is_told_and_nothing_is_sent(place):
    place.answer(*names(0, 5))
    place.delivery().send()
    back = restarted(place)
    back.answer("new")
    found = back.delivery().waiting()
    assert found == Waiting("topic:decisions", 0, {}, found.problem)
    assert found.problem.startswith(
        "topic:decisions was sent answers of another log, up to place 5; this one ends at 1. It was removed, or put back "
        "from an older copy. Nothing was sent. Put the newer log back. If it is lost, end all processes, remove "
        f'"{place.folder}/id" and start them again'
    )
    for asked in (back.delivery().send, back.delivery().skip):
        with pytest.raises(Unavailable, match="of another log"):
            asked()
    (place.folder / "id").unlink()
    assert restarted(place).delivery().waiting().problem == ""
    assert back.delivery().send() == 1
    assert back.topic() == ["new"]


def test_so_is_one_that_has_grown_since(place):
    place.answer(*names(0, 5))
    place.delivery().send()
    back = restarted(place)
    back.answer(*names(10, 20))
    assert "up to place 5; this one ends at 10" in back.delivery().waiting().problem


def test_what_was_refused_does_not_hide_it(place):
    class Never:
        most = 10

        def put(self, part):
            raise Refused("never.")

    place.answer("a", "b")
    delivery = place.delivery()
    delivery.sink = Never()
    delivery.send()
    found = restarted(place).delivery().waiting()
    assert (found.refused, "of another log" in found.problem) == ({"never.": 2}, True)
