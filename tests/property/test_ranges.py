"""Rows read range by range have the features that all rows together have, to the bit, whatever was corrected and moved."""

import itertools
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Derived, Entity, Events, FeatureView, Label, Model, Platform, Project, Release, col, count
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Unavailable
from tenfold.core.times import to_us
from tenfold.sources.memory import MemoryBlobs, MemoryLake, MemoryLog
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.offline import History
from tenfold.store.ranged import Again, Span, Within
from tenfold.training.ranges import Ranges, spans
from tests.examples.tiny import ESTIMATOR
from tests.property.tried import tried

START = datetime(2024, 5, 1, tzinfo=UTC)
HOUR = 3_600_000_000


class Sale:
    sale: int
    card: str
    amount: float
    note: str | None
    at: datetime
    known: datetime


class Login:
    login: int
    card: str
    paid: bool
    at: datetime


sales = Events("sales", Sale, time="at", id="sale", known="known")
logins = Events("logins", Login, time="at", id="login")
card = Entity("card", key="card")
of_sales = FeatureView(
    "of_sales",
    entity=card,
    source=sales,
    features={
        "n": count(window="5h"),
        "sum": col("amount").sum(window="2h"),
        "last": col("note").last(window="7h"),
    },
)
of_logins = FeatureView(
    "of_logins",
    entity=card,
    source=Derived("paid_logins", source=logins, where=col("paid")),
    features={"n": count(window="9h")},
)
for_ever = FeatureView("for_ever", entity=card, source=logins, features={"n": count()})
this = FeatureView("this", source=sales, features={"amount": col("amount"), "note": col("note")})


def model(lead, *more):
    return Model(
        "sold",
        spine=sales,
        lead=lead,
        features=[of_sales, of_logins, this, *more],
        label=Label(sales, on="sale", value=col("amount") > 1, horizon="1d"),
        estimator=ESTIMATOR,
    )


MODELS = [model(None), model("3h"), model("3h", for_ever)]
whole_numbers = st.integers
sale = st.tuples(
    whole_numbers(0, 12),
    st.sampled_from("ab"),
    whole_numbers(0, 3),
    st.sampled_from(["x", None]),
    whole_numbers(0, 40),
    whole_numbers(-6, 4),
)
login = st.tuples(whole_numbers(0, 9), st.sampled_from("ab"), st.booleans(), whole_numbers(0, 40))


def opened(declared, sold, seen):
    clock = VirtualClock(START + timedelta(days=9))
    made = {
        "log": MemoryLog(clock),
        "lake": MemoryLake(),
        "blobs": MemoryBlobs(),
        "online": MemoryOnlineStore(),
    }
    app = Project("shop", releases=[Release(declared)])
    hours = lambda number: START + timedelta(hours=number)  # noqa: E731
    rows = {
        "sales": [
            {
                "sale": name,
                "card": key,
                "amount": float(amount),
                "note": note,
                "at": hours(at),
                "known": hours(at + before),
            }
            for name, key, amount, note, at, before in sold
        ],
        "logins": [
            {"login": name, "card": key, "paid": paid, "at": hours(at)} for name, key, paid, at in seen
        ],
    }
    return app, made, clock, rows


@pytest.mark.parametrize("declared", MODELS)
@tried(25)
@given(
    sold=st.lists(sale, min_size=1, max_size=40), seen=st.lists(login, max_size=20), at_once=st.integers(1, 6)
)
def test_ranges_say_what_all_rows_say(declared, sold, seen, at_once, tmp_path_factory):
    project, made, clock, rows = opened(declared, sold, seen)
    with project.open(Platform(home=tmp_path_factory.mktemp("home"), clock=clock, **made)) as app:
        for name, given_rows in rows.items():
            for row in given_rows:
                app.ingest(name, [row], history=True)
        app.flush()
        start, end = to_us(START) - 9 * HOUR, to_us(START) + 60 * HOUR
        dataset = app.dataset(declared)
        history = History(app.lake)
        read = Ranges(declared, history, lambda: dataset, rows=at_once)
        read.times(start, end)
        kept = {}
        for first in range(start, end, 23 * HOUR):
            for part, begin, until in read.read(first, min(first + 23 * HOUR, end)):
                for row in part.select(begin, until).tolist():
                    features = [item.plain()[row] for item in part.columns.values()]
                    assert kept.setdefault((part.ids[row], int(part.at[row])), features) is features, (
                        "given twice"
                    )
        mine = dataset.select(start, end)
        expected = {
            (dataset.ids[row], int(dataset.at[row])): [item.plain()[row] for item in dataset.columns.values()]
            for row in mine.tolist()
        }
        assert kept == expected


def test_a_source_without_limit_is_read_whole_and_others_only_in_their_range():
    found = spans(MODELS[1], 100 * HOUR, 101 * HOUR)
    assert found["sales"] == Span(93 * HOUR, 101 * HOUR, frozenset({"sale", "card", "amount", "note", "at"}))
    assert found["logins"] == Span(91 * HOUR, 101 * HOUR, frozenset({"login", "card", "paid", "at"}))
    assert "logins" not in spans(MODELS[2], 100 * HOUR, 101 * HOUR)


def test_memory_is_that_of_a_range(tmp_path, monkeypatch):
    """What is read at once does not grow with the table: only the ids are looked through, in ranges of offsets."""
    monkeypatch.setattr("tenfold.store.ranged.ROWS_READ", 100)
    project, made, clock, rows = opened(MODELS[0], [(n, "a", 1, "x", n, 0) for n in range(600)], [])
    most = []
    with project.open(Platform(home=tmp_path, clock=clock, **made)) as app:
        app.ingest("sales", rows["sales"], history=True)
        app.flush()
        lake_read = app.lake.read

        def counted(*given, **how):
            table = lake_read(*given, **how)
            most.append(table.num_rows)
            return table

        app.lake.read = counted
        read = Ranges(MODELS[0], History(app.lake), lambda: None, rows=50)
        again = Again(app.lake)
        within = Within(History(app.lake), again, {"sales": Span(to_us(START), to_us(START) + 10 * HOUR)})
        assert len(within.past(sales).event) == 10
        assert max(most) == 100
        most.clear()
        assert len(read.times(to_us(START), to_us(START) + 600 * HOUR)) == 600
        most.clear()
        seen = sum(len(part.at) for part, _, _ in read.read(to_us(START), to_us(START) + 600 * HOUR))
        assert seen == 600
        assert max(most) == 100


def test_the_next_rows_are_made_while_others_are_asked_about(tmp_path):
    """Each range once, all but the first by a thread, and what one of them raises is told when it is its turn."""
    project, made, clock, rows = opened(MODELS[0], [(n, "a", 1, "x", n, 0) for n in range(100)], [])
    by = []
    with project.open(Platform(home=tmp_path, clock=clock, **made)) as app:
        app.ingest("sales", rows["sales"], history=True)
        app.flush()
        start, end = to_us(START), to_us(START) + 100 * HOUR
        with closing(Ranges(MODELS[0], History(app.lake), lambda: None, rows=30)) as read:
            make = read._dataset

            def noted(first, until):
                by.append(threading.current_thread() is threading.main_thread())
                if until == end:
                    raise Unavailable("the lake is away.")
                return make(first, until)

            read._dataset = noted
            read.times(start, end)
            parts = read.read(start, end)
            seen = [len(part.select(first, until)) for part, first, until in itertools.islice(parts, 3)]
            assert seen == [30, 30, 30]
            with pytest.raises(Unavailable, match="is away"):
                next(parts)
    assert by == [True, False, False, False]
