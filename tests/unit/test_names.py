"""Names that a header of the log or a file cannot hold are refused; what was stored under such a name is read again."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tenfold import (
    Derived,
    Entity,
    Events,
    FeatureView,
    Label,
    Model,
    Platform,
    Project,
    Release,
    VirtualClock,
    col,
    count,
)
from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.sources.declare import LONGEST
from tests.examples import tiny
from tests.unit.declared import by_card, label, payments, view

AT = datetime(2026, 3, 1, tzinfo=UTC)
NOW = int(AT.timestamp() * 1e6)
LONG = "a" * (LONGEST + 1)


def visits(name, type_=str):
    schema = type("Visit", (), {"__annotations__": {"id": str, name: type_, "at": datetime}})
    return Events("visits", schema, time="at", id="id")


def opened(home, name, type_=str):
    source = visits(name, type_)
    view = FeatureView(
        "by_card", entity=Entity("card", key=name), source=source, features={"n": count(window="7d")}
    )
    learned = Model(
        "seen",
        spine=source,
        features=[view],
        label=Label(source, on="id", value=col(name) == "x", horizon="1d"),
        estimator=tiny.ESTIMATOR,
    )
    return Project("names", releases=[Release(learned)]).open(Platform(home=home, clock=VirtualClock(NOW)))


def counted(app, name):
    """Return how many visits the model is told, asked about one a second later."""
    later = AT + timedelta(seconds=1)
    app.clock.set(later)
    return app.features("seen", {"id": "new", name: "x", "at": later})["features"]["by_card.n"]


def stored(header, *rows):
    """Return rows as a version stored them that let a field have any name."""
    return msgspec.msgpack.encode([False, 0, header, *(cell for row in rows for cell in row)])


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("card no", "card_no"),
        ("a:b", "a_b"),
        ("a:float b", "a_float_b"),
        ("a ", "a"),
        (" a", "a"),
        ("", "field"),
        (" ", "field"),
        ("a\tb", "a_b"),
        ("a\nb", "a_b"),
        ("a\0", "a"),
        ("a\x85b", "a_b"),
        ("a\ud800", "a"),
    ],
)
def test_a_field_name_that_a_header_cannot_hold_is_refused(name, better):
    with pytest.raises(DefinitionError) as caught:
        visits(name)
    assert str(caught.value) == (
        f'source "visits": the field name {name!r} is empty or has a space, a colon or a control character. '
        f'Rename the field, for example to "{better}".'
    )
    assert visits(better).fields[better].type == "str"


@pytest.mark.parametrize(
    "name", ["größe", "カード", "顧客\u3000番号", "a.b-c", "it's", '"a"', "a\u200cb", "x" * 300]
)
@pytest.mark.parametrize("rows", [1, 100])
def test_any_other_field_name_goes_through_log_and_lake(tmp_path, name, rows):
    given = [{"id": f"v{place}", name: "x", "at": AT} for place in range(rows)]
    with opened(tmp_path, name) as app:
        app.ingest("visits", given)
        app.process()
        app.flush()
        assert app.lake.read("visits")[name].to_pylist() == ["x"] * rows
        assert counted(app, name) == rows


@pytest.mark.parametrize("name", ["card no", "card:no", " card no "])
def test_what_was_stored_under_such_a_name_is_read_under_the_nearest_one(tmp_path, name):
    better = "card_no"
    with opened(tmp_path, better) as app:
        rows = [("a", "x", NOW - 2, NOW - 2), ("b", "x", NOW - 1, NOW - 1)]
        app.log.append("visits", stored(f"id:str {name}:str at:time _known:int", *rows), 2)
        app.ingest("visits", [{"id": "c", better: "x", "at": AT}])
        app.process()
        app.flush()
        lake = app.lake.read("visits")
        assert (lake["id"].to_pylist(), lake[better].to_pylist()) == (["a", "b", "c"], ["x"] * 3)
        assert counted(app, better) == 3


@pytest.mark.parametrize(
    "header", ["id:str a:float b:float at:time _known:int", "id:str a b:str a:b:float at:time"]
)
def test_columns_that_cannot_be_told_apart_are_an_error_that_says_so(tmp_path, header):
    with opened(tmp_path, "card") as app:
        app.log.append("visits", stored(header, [1] * 4), 1)
        with pytest.raises(SchemaError, match="the log holds rows whose columns cannot be told apart"):
            app.process()


@pytest.mark.parametrize(
    ("kind", "declare"),
    [
        ("source", lambda name: Events(name, payments.schema, time="at", id="payment_id")),
        ("source", lambda name: Derived(name, source=payments)),
        (
            "model",
            lambda name: Model(
                name, spine=payments, features=[by_card], label=label, estimator=tiny.ESTIMATOR
            ),
        ),
    ],
)
def test_a_name_that_is_too_long_for_a_file_is_refused(kind, declare):
    assert declare(LONG[1:]).name == LONG[1:]
    with pytest.raises(DefinitionError) as caught:
        declare(LONG)
    assert str(caught.value) == (
        f'{kind} name "aaaaaaaaaaaaaaaaaaaa…" has 101 characters, and files are named after it. Use at most 100, for '
        'example "late_departures".'
    )


def test_other_names_may_be_longer():
    assert [*view({LONG: count(window="1h")}, name=LONG).features] == [LONG]
