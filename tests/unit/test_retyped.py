"""A field that is declared with another type than it was stored with, or that may not be missing any more."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tenfold import (
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
from tenfold.cli.watch import _wrong
from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.processing.batches import read_frame, to_tables
from tenfold.processing.ingest import Call, Ingested, ingest
from tenfold.sources.lake import DeltaLake
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.base import SINK
from tenfold.store.fits import Fits
from tenfold.store.materialize import LakeSink
from tests.examples.line import Line

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CLOCK = VirtualClock(NOW)
VALUES = {int: 1, float: 1.5, str: "yes", bool: True}
CHANGES = [
    (int, float, "int", "float"),
    (float, int, "float", "int"),
    (bool, str, "bool", "str"),
    (int, str, "int", "str"),
    (str, int, "str", "int"),
    (str, datetime, "str", "datetime"),
]


def orders(kind=None, name="orders", **more):
    fields = {"order_id": str, "at": datetime} | ({} if kind is None else {"x": kind}) | more
    schema = type("Order", (), {"__annotations__": fields})
    return Events(name, schema, time="at", id="order_id")


def row(number, **values):
    return {"order_id": f"o{number}", "at": NOW - timedelta(hours=2)} | values


def rows(size, kind):
    return [row(number, x=VALUES[kind]) for number in range(size)]


def store(log, source, given):
    return ingest(source, given, log=log, quarantine=None, clock=CLOCK).stored


def retyped(before, now, name="orders"):
    return (
        f'source "{name}": field "x" was stored as {before} and is declared as {now} now. A field never changes its type: '
        f"declare it as {before} again, and what comes as {now} as a new field under another name, with `| None`; or load "
        "the history again into a new home."
    )


def mixed(found, wanted, name="orders"):
    return (
        f'source "{name}": the log holds records whose field "x" is {found}, not {wanted}. A field never changes its type: '
        f"declare it as {found} if no record has it as {wanted}. If the log holds both, load the history again into a new "
        f"home, where what comes as {found} has another name."
    )


def without(name):
    return (
        f'source "orders" has rows that were stored without the field "{name}": declare it `| None`, or load the history '
        "again into a new home."
    )


def told(work, kind=DefinitionError):
    with pytest.raises(kind) as error:
        work()
    return str(error.value)


@pytest.mark.parametrize("size", [3, 100])
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize(("before", "now", "was", "is_"), CHANGES)
def test_another_type_than_is_stored_is_refused(before, now, was, is_, moved, size):
    log, lake = MemoryLog(CLOCK), MemoryLake()
    fits = Fits(log, lake)
    fits.check(orders(now))  # nothing is stored yet
    store(log, orders(before), rows(size, before))
    if moved:
        LakeSink(log, lake, ["orders"]).flush()
    assert told(lambda: fits.check(orders(now))) == retyped(was, is_)
    fits.check(orders(before))
    fits.check(orders(before | None, y=int | None))
    fits.check(orders())


def test_what_is_in_the_log_alone_counts_as_what_is_in_the_lake():
    log, lake = MemoryLog(CLOCK), MemoryLake()
    store(log, orders(int), rows(3, int))
    LakeSink(log, lake, ["orders"]).flush()
    store(log, orders(int, y=int | None), [row(4, x=1, y=2)])
    store(log, orders(int), rows(70, int))
    store(log, orders(int), rows(2, int))
    store(log, orders(int, z=int | None), [row(4, x=1, z=2)])
    for name in "yz":  # among the first that wait, and among the last
        said = told(lambda: Fits(log, lake).check(orders(int, **{name: float | None})))  # noqa: B023
        assert said == retyped("int", "float").replace('"x"', f'"{name}"')
    # an older tenfold stored another type behind the lake: what the lake holds is what counts
    store(log, orders(str), rows(1, str))
    Fits(log, lake).check(orders(int))
    assert told(lambda: Fits(log, lake).check(orders(str))) == retyped("int", "str")


@pytest.mark.parametrize("moved", [False, True])
def test_a_field_that_records_lack_may_not_be_required(moved):
    log, lake = MemoryLog(CLOCK), MemoryLake()
    store(log, orders(int | None), [row(0, x=1), row(1, x=None)])
    if moved:
        LakeSink(log, lake, ["orders"]).flush()
        store(log, orders(int | None), [row(2, x=1)])
    assert told(lambda: Fits(log, lake).check(orders(int))) == without("x")
    assert told(lambda: Fits(log, lake).check(orders(int | None, y=int))) == without("y")
    Fits(log, lake).check(orders(int | None, y=int | None))


def test_a_field_that_no_record_lacks_may_become_required():
    log, lake = MemoryLog(CLOCK), MemoryLake()
    store(log, orders(int | None), [row(0, x=1), row(1, x=2)])
    LakeSink(log, lake, ["orders"]).flush()
    store(log, orders(int | None), [row(2, x=3)])
    Fits(log, lake).check(orders(int))


def project(kind):
    """Return a project in which one source has a field of a kind, and another one stays as it is."""
    spine = orders(kind)
    view = FeatureView(
        "own", entity=Entity("order", key="order_id"), source=spine, features={"n": count(window="1d")}
    )
    label = Label(orders(int, "other"), on="order_id", value=col("x") > 0, horizon="1h")
    return Project(
        "changed",
        releases=[Release(Model("late", spine=spine, features=[view], label=label, estimator=Line()))],
    )


@pytest.fixture
def home(tmp_path):
    with opened(tmp_path, int) as app:
        app.ingest("orders", rows(3, int))
        app.process()
    return tmp_path


def opened(home, kind):
    return project(kind).open(Platform(home=home, clock=CLOCK))


def test_a_project_stores_and_reads_nothing_under_another_type(home):
    with opened(home, float) as app:
        before = app.log.ends()
        for refused in (
            lambda: app.ingest("orders", rows(1, float)),
            app.process,
            app.worker,
            app.asgi,
            lambda: app.train("late"),
            lambda: app.batch("late", 0, NOW),
        ):
            assert told(refused) == retyped("int", "float")
        assert app.log.ends() == before
        assert _wrong(app) == [retyped("int", "float")]
        calls = [Call(orders(float), rows(1, float)), Call(orders(int, "other"), rows(2, int))]
        wrong, fine = app._ingest_all(calls)
        assert (str(wrong), fine) == (retyped("int", "float"), Ingested("other", 2, 0, ""))
    with opened(home, int) as app:
        assert app.ingest("orders", rows(1, int)).stored == 1
        assert app.process() == 1
        assert {name: app.lake.read(name).num_rows for name in app.project.sources} == {
            "orders": 4,
            "other": 2,
        }


def test_columns_of_rows_that_came_in_pieces_are_known_too(tmp_path):
    lake, pieces = (
        DeltaLake(tmp_path),
        [pa.table({"a": [1, 2], "b": [1, None]}), pa.table({"a": [3], "b": [4]})],
    )
    lake.append("t", iter(pieces), writer="w", upto=3)
    assert [item.nullable for item in lake.columns("t")] == [False, True]
    for file in tmp_path.glob("t/*.parquet"):
        file.write_bytes(b"")
    assert [item.nullable for item in lake.columns("t")] == [False, False]  # who reads rows is told


def poisoned(home):
    """Store a record of another type, as older versions did, and one of another source."""
    with opened(home, str) as app:
        store(app.log, orders(str), rows(1, str))
        store(app.log, orders(int, "other"), rows(2, int))


def test_one_source_that_does_not_fit_its_table_keeps_no_other_from_the_lake(home):
    poisoned(home)
    with opened(home, int) as app:
        assert told(app.process, SchemaError) == mixed("str", "int")
        assert [app.lake.position(name, SINK) for name in ("orders", "other")] == [3, 2]
        store(app.log, orders(int, "other"), rows(2, int))
        assert told(lambda: app.worker(seconds=0).run(lambda: False), SchemaError) == mixed("str", "int")
        assert app.lake.position("other", SINK) == 4


@pytest.mark.parametrize("size", [3, 100])
def test_a_log_of_two_types_says_so_however_it_is_read(size):
    log, lake = MemoryLog(CLOCK), MemoryLake()
    for kind in (int, str):
        store(log, orders(kind), rows(size, kind))
    first, last = log.read("orders", 0)
    assert told(lambda: read_frame(orders(str), [first]), SchemaError) == mixed("int", "str")
    assert told(lambda: read_frame(orders(int), [first, last]), SchemaError) == mixed("str", "int")
    assert told(lambda: to_tables([first, last]), SchemaError) == mixed("str", "int")
    assert told(LakeSink(log, lake, ["orders"]).flush, SchemaError) == mixed("str", "int")
