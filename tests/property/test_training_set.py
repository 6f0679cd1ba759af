"""Training sets against a slow reading of the rules, and: nothing known later ever changes a row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold import Label, Model, col
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import to_us
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.materialize import LakeSink
from tenfold.store.offline import History
from tenfold.training.dataset import Dataset, outcomes
from tests.property import reference
from tests.property.reference_row import meaning
from tests.property.shop import (
    HOUR,
    MINUTE,
    SOURCES,
    START,
    by_card,
    by_corner,
    login,
    login_row,
    model,
    of_logins,
    order,
    order_row,
    request,
    sold,
    to_datetime,
)
from tests.property.tried import tried

LEAD, HORIZON = 30 * MINUTE, 2 * HOUR
AHEAD = Model(
    "ahead",
    spine=sold,
    lead="30m",
    features=[by_corner, by_card, of_logins, request],
    label=model.label,
    estimator=model.estimator,
)

# Generated histories: (arrival, source, raw row), each record known from its arrival or later -----------

planned = order | st.fixed_dictionaries(
    {
        "order_id": st.sampled_from([f"o{number}" for number in range(8)]),
        "amount": st.none() | st.sampled_from([0.5, 2.0]),
        "units": st.integers(0, 2),
        "late": st.sampled_from([0, -1, -MINUTE, -30 * MINUTE, -30 * MINUTE - 1, -HOUR, -2 * HOUR, HOUR]),
    }
)
outcome = st.fixed_dictionaries(
    {
        "order_id": st.sampled_from([f"o{number}" for number in range(8)]),
        "late": st.sampled_from([True, False, None]),
        "cancelled": st.sampled_from([False, False, True]),
        "back": st.sampled_from([0, 1, HOUR, -HOUR]),
    }
)
arrivals = st.sampled_from([0, 1, MINUTE, HOUR // 2, HOUR, 2 * HOUR, 2 * HOUR + 1, 3 * HOUR, 5 * HOUR])
histories = st.lists(
    st.one_of(
        st.tuples(arrivals, st.just("orders"), planned),
        st.tuples(arrivals, st.just("logins"), login),
        st.tuples(arrivals, st.just("outcomes"), outcome),
    ),
    min_size=1,
    max_size=30,
)


def outcome_row(raw, now):
    plain = {name: raw[name] for name in ("order_id", "late", "cancelled")}
    return plain | {"at": to_datetime(now - raw["back"])}


MAKE = {"orders": order_row, "logins": login_row, "outcomes": outcome_row}


def lake_of(history):
    """Return a lake that holds a history; records arrive in the order of their arrival times."""
    clock = VirtualClock(START)
    log, lake = MemoryLog(clock), MemoryLake()
    for arrival, source, raw in sorted(history, key=lambda item: item[0]):
        clock.set(START + arrival)
        row = MAKE[source](raw, clock.now())
        ingest(SOURCES[source], [row], log=log, quarantine=None, clock=clock)
    LakeSink(log, lake, [name for name in SOURCES if name in log.ends().offsets]).flush()
    return lake


def records_of(lake, source):
    """Return a source's records as plain dicts, as the reference reads them."""
    if lake.version(source.name) < 0:
        return []
    rows = lake.read(source.name).to_pylist()
    return [
        row
        | {
            "id": "|".join(str(row[name]) for name in source.ids),
            "event": to_us(row[source.time]),
            "known": row[KNOWN],
            "offset": row["_offset"],
        }
        for row in rows
    ]


# The rules, read slowly -----------------------------------------------------------------------------


def spine_rows(records, lead):
    """Return (at, record) for every version that was the newest one known before its own prediction time.

    Without a lead the record is the question itself, asked as it happens: its first version in the log.
    """
    if not lead:
        first = {}
        for record in sorted(records, key=lambda record: record["offset"]):
            first.setdefault(record["id"], record)
        asked = [(record["event"], record) for record in first.values() if record["units"] > 0]
        return sorted(asked, key=lambda pair: (pair[0], pair[1]["id"].encode()))
    found = []
    for record in records:
        at = record["event"] - lead
        known = [other for other in records if other["id"] == record["id"] and other["known"] < at]
        newest = max(known, key=lambda other: (other["known"], other["offset"]), default=None)
        if newest is record and record["units"] > 0:
            found.append((at, record))
    return sorted(found, key=lambda pair: (pair[0], pair[1]["id"].encode()))


def outcome_of(records, order_id, at, now):
    """Return (value, known from) of the last outcome in [at, at + horizon] that is known before now."""
    kept = [
        record
        for record in newest_versions(records, now)
        if record["order_id"] == order_id
        and not record["cancelled"]
        and at <= record["event"] <= at + HORIZON
    ]
    last = max(kept, key=lambda record: (record["event"], record["id"].encode()), default=None)
    return None if last is None or last["late"] is None else (float(last["late"]), last["known"])


def newest_versions(records, now):
    newest = {}
    for record in sorted(records, key=lambda record: (record["known"], record["offset"])):
        if record["known"] < now:
            newest[record["id"]] = record
    return newest.values()


@tried(80)
@given(histories, st.sampled_from(["late", "ahead"]), st.integers(0, 10))
def test_a_training_set_is_what_the_rules_say(history, name, hours):
    wanted = {"late": model, "ahead": AHEAD}[name]
    lake, now = lake_of(history), START + hours * HOUR
    dataset = Dataset(wanted, History(lake))
    rows = spine_rows(records_of(lake, SOURCES["orders"]), wanted.lead_us)
    assert [(at, record["id"].encode()) for at, record in rows] == list(
        zip(dataset.at.tolist(), dataset.ids.tolist(), strict=True)
    )
    labels = [outcome_of(records_of(lake, SOURCES["outcomes"]), record["id"], at, now) for at, record in rows]
    found = dataset.outcomes(now)
    assert [
        None if np.isnan(value) else (value, known)
        for value, known in zip(found.values, found.known, strict=True)
    ] == labels
    ready = [place for place, (at, _) in enumerate(rows) if at < now and at + HORIZON <= now]
    chosen = [place for place in ready if labels[place] is not None]
    if not chosen:
        with pytest.raises(DefinitionError, match="no row with a known label"):
            dataset.training_set(now)
        return
    learned = dataset.training_set(now)
    assert learned.at.tolist() == [rows[place][0] for place in chosen]
    assert learned.y.tolist() == [labels[place][0] for place in chosen]
    assert learned.dropped["no label event"] == len(ready) - len(chosen)
    assert learned.dropped["label not mature"] == sum(at < now < at + HORIZON for at, _ in rows)
    assert learned.digest == Dataset(wanted, History(lake)).training_set(now).digest


@tried(80)
@given(histories)
def test_features_are_what_the_reference_says(history):
    lake = lake_of(history)
    dataset = Dataset(AHEAD, History(lake))
    orders, logins = (records_of(lake, SOURCES[name]) for name in ("orders", "logins"))
    vectors = {name: expr for name, expr in of_logins.features.items() if "[" in name}
    for place, (at, row) in enumerate(spine_rows(orders, LEAD)):
        mine = [record for record in orders if record["card"] == row["card"]]
        seen = [record for record in logins if record["card"] == row["card"]]
        assert plain(dataset, "by_card.units_3h", place) == reference.value(
            by_card.features["units_3h"], mine, at
        )
        assert plain(dataset, "of_logins.word", place) == reference.value(
            of_logins.features["word"], seen, at
        )
        known = {("of_logins", name): reference.value(expr, seen, at) for name, expr in vectors.items()}
        for (_, name), value in known.items():
            assert plain(dataset, f"of_logins.{name}", place) == value
        known["by_corner", "sold_1h"] = plain(dataset, "by_corner.sold_1h", place)
        for name, expr in request.features.items():
            if "[" in name:
                assert plain(dataset, f"request.{name}", place) == meaning(expr, row | known)
        corner = [record for record in mine if record["shop"] == row["shop"] is not None]
        sold_here = [record for record in reference.visible(corner, at) if record["units"] > 0]
        assert plain(dataset, "by_corner.sold_1h", place) == sum(
            record["event"] > at - HOUR for record in sold_here
        )


def plain(dataset, name, place):
    return dataset.columns[name].plain()[place]


# No leak --------------------------------------------------------------------------------------------


@tried(80)
@given(histories, histories, st.integers(0, 8), st.sampled_from(["late", "ahead"]))
def test_nothing_known_later_changes_a_row(history, more, hours, name):
    """Whatever arrives from t on: rows predicted up to t, and labels as known at t, stay as they were.

    Without a lead a row that arrives late is a new question, beside the old ones.
    """
    wanted, t = {"late": model, "ahead": AHEAD}[name], hours * HOUR
    before = [item for item in history if item[0] < t]
    after = [(t + arrival, source, raw) for arrival, source, raw in more]
    one, two = (Dataset(wanted, History(lake_of(items))) for items in (before, before + after))
    old, new = rows_until(one, START + t), rows_until(two, START + t)
    assert old.items() <= new.items() if name == "late" else old == new


def rows_until(dataset, t):
    chosen = np.flatnonzero(dataset.at <= t)
    labels = dataset.outcomes(t)
    return {
        (dataset.ids[row].item(), dataset.at[row].item()): (
            repr(labels.values[row]),
            labels.known[row].item(),
            repr({name: item.plain()[row] for name, item in dataset.columns.items()}),
        )
        for row in chosen.tolist()
    }


# Examples that are easy to get wrong ------------------------------------------------------------------


def planned_order(units=1, late=-HOUR, number=0):
    return {"order_id": f"o{number}", "amount": 1.0, "units": units, "late": late}


def told(late=True, cancelled=False, back=0, number=0):
    return {"order_id": f"o{number}", "late": late, "cancelled": cancelled, "back": back}


def dataset_of(*history, wanted=AHEAD):
    return Dataset(wanted, History(lake_of(history)))


def test_a_row_that_was_cancelled_before_its_prediction_is_none():
    assert len(dataset_of((0, "orders", planned_order())).at) == 1
    assert (
        len(
            dataset_of(
                (0, "orders", planned_order()), (MINUTE, "orders", planned_order(0, -HOUR + MINUTE))
            ).at
        )
        == 0
    )


def test_a_row_that_was_cancelled_after_its_prediction_stays():
    late = (40 * MINUTE, "orders", planned_order(0, -20 * MINUTE))
    assert len(dataset_of((0, "orders", planned_order()), late).at) == 1


def test_a_row_that_is_moved_after_its_prediction_is_predicted_again():
    moved = (40 * MINUTE, "orders", planned_order(1, -2 * HOUR))
    assert dataset_of((0, "orders", planned_order()), moved).at.tolist() == [
        START + 30 * MINUTE,
        START + 130 * MINUTE,
    ]


def test_a_row_known_at_its_prediction_time_is_too_late_and_counted():
    rows = [
        (0, "orders", planned_order(late=-30 * MINUTE)),
        (0, "orders", planned_order(number=1)),
        (HOUR, "outcomes", told(number=1)),
    ]
    learned = dataset_of(*rows).training_set(START + 6 * HOUR)
    assert learned.ids.tolist() == [b"o1"]
    assert learned.dropped == {"not known at prediction time": 1, "label not mature": 0, "no label event": 0}


def test_the_edges_of_the_horizon_belong_to_it():
    at = START + 30 * MINUTE
    for event, inside in [(at - 1, False), (at, True), (at + HORIZON, True), (at + HORIZON + 1, False)]:
        arrival = 4 * HOUR
        found = dataset_of(
            (0, "orders", planned_order()), (arrival, "outcomes", told(back=START + arrival - event))
        )
        assert np.isnan(found.outcomes(START + 9 * HOUR).values).tolist() == [not inside]


def test_a_label_counts_from_when_it_was_known():
    dataset = dataset_of((0, "orders", planned_order()), (HOUR, "outcomes", told()))
    known = START + HOUR + 10 * MINUTE  # the source is known ten minutes late
    assert np.isnan(dataset.outcomes(known).values).tolist() == [True]
    assert dataset.outcomes(known + 1).values.tolist() == [1.0]
    assert dataset.outcomes(known + 1).known.tolist() == [known]


def test_a_cancelled_outcome_uncovers_none_of_another_key():
    rows = [
        (0, "orders", planned_order()),
        (HOUR, "outcomes", told(False)),
        (2 * HOUR, "outcomes", told(True, cancelled=True, back=HOUR)),
    ]
    assert np.isnan(dataset_of(*rows).outcomes(START + 9 * HOUR).values).tolist() == [True]


def test_a_period_selects_by_prediction_time():
    rows = [(number * HOUR, "orders", planned_order(number=number)) for number in range(4)]
    told_rows = [
        (number * HOUR + HOUR, "outcomes", told(number % 2 == 0, number=number)) for number in range(4)
    ]
    learned = dataset_of(*rows, *told_rows).training_set(
        START + 20 * HOUR, start=START + HOUR, end=START + 3 * HOUR
    )
    assert learned.ids.tolist() == [b"o1", b"o2"]
    assert learned.between(START + 2 * HOUR, START + 9 * HOUR).y.tolist() == [1.0]


def test_the_digest_does_not_depend_on_what_was_left_out():
    rows = [(0, "orders", planned_order()), (HOUR, "outcomes", told())]
    longer = (0, "orders", planned_order(late=HOUR) | {"order_id": "o1000001"})
    one, two = (dataset_of(*items).training_set(START + 9 * HOUR) for items in (rows, [*rows, longer]))
    assert one.digest == two.digest


@pytest.mark.parametrize(("kind", "keys"), [("int", [3, 1, 7, 3]), ("str", ["c", "a", "x", "c"])])
def test_labels_meet_by_value(kind, keys):
    fields = {"key": int if kind == "int" else str, "value": float, "at": "datetime", "id": int}
    history, label = labelled(
        fields,
        [(1, 10.0, 0), (3, 30.0, 1), (3, 31.0, 2)]
        if kind == "int"
        else [("a", 10.0, 0), ("c", 30.0, 1), ("c", 31.0, 2)],
    )
    found = outcomes(label, history, column(kind, keys), np.full(4, START), START + 9 * HOUR)
    assert [None if np.isnan(value) else value for value in found.values] == [31.0, 10.0, None, 31.0]


def labelled(fields, rows):
    from datetime import datetime

    from tenfold import Events

    schema = type("Told", (), {"__annotations__": fields | {"at": datetime}})
    source = Events("told", schema, time="at", id="id")
    log, lake = MemoryLog(VirtualClock(START)), MemoryLake()
    given_rows = [
        {"key": key, "value": value, "at": to_datetime(START + place * MINUTE), "id": place}
        for key, value, place in rows
    ]
    ingest(source, given_rows, log=log, quarantine=None, clock=VirtualClock(START))
    LakeSink(log, lake, ["told"]).flush()
    return History(lake), Label(source, on="key", value=col("value"), horizon="1h")
