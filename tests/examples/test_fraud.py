"""The fraud example in small: the world, its switches, the features row by row, the protocol, and real processes."""

import json
import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from examples.fraud.data import Change, Drift, World, simulate
from examples.fraud.live import PROJECT, Stopped, moments, prepare
from examples.fraud.project import project, stolen
from examples.fraud.protocol import (
    Periods,
    Rows,
    card_precision,
    first_report,
    judge,
    opened,
    score,
    weeks,
    within_reach,
)
from examples.live import Processes, free_port, play
from tenfold import Platform
from tenfold.core.clock import SharedClock
from tenfold.core.times import DAY, UNITS
from tenfold.serving.answer.answers import Said
from tenfold.serving.answer.outputs import Deciding
from tenfold.serving.answer.predictions import NO_CLASSES
from tenfold.serving.rows.plan import Known

TOWN = World(customers=300, terminals=400, radius=20, days=60)
DAY_OF_CHANGE = 30
CHANGED_AT = TOWN.start + DAY_OF_CHANGE * DAY
SWITCHES = {
    "terminals": 8,
    "factor": 2,
    "testing": 5,
    "currency": 100,
    "report_days": 21,
    "twice": 0.1,
    "late": 0.2,
    "reused": 3,
}


def made(world, seed=0):
    return simulate(world, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def town():
    return made(TOWN)


@pytest.fixture(scope="module")
def changed(town):
    def world(name):
        return replace(TOWN, drift=Drift(**{name: Change(DAY_OF_CHANGE, SWITCHES[name])}))

    return {name: made(world(name)) for name in SWITCHES}


def arrays(messages):
    """Return the columns of messages as arrays, instants in microseconds."""
    rows = messages.rows
    columns = {name: rows[name].to_numpy() for name in rows.column_names if name != "at"}
    return columns | {"at": rows["at"].cast("int64").to_numpy(), "known": messages.known}


# The world ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_world_of_the_handbook_has_as_many_payments_and_frauds():
    found = made(World())
    rows = len(found.scenario)
    assert rows == pytest.approx(1_754_155, rel=0.02)
    counts = np.bincount(found.scenario, minlength=5)
    assert counts[1:4].tolist() == pytest.approx([973, 9_077, 4_631], rel=0.15)
    assert counts[4] == 0
    assert counts[1:].sum() / rows == pytest.approx(0.00837, rel=0.05)


def test_a_seed_says_everything(town):
    again, other = made(TOWN), made(TOWN, seed=1)
    for one, two in ((town.transactions, again.transactions), (town.reports, again.reports)):
        assert one.rows.equals(two.rows)
        assert one.known.tobytes() == two.known.tobytes()
    assert not town.transactions.rows.equals(other.transactions.rows)


def test_people_pay_as_described(town):
    rows = arrays(town.transactions)
    second = (rows["at"] - TOWN.start) // UNITS["s"] % 86_400
    assert len(second) == pytest.approx(300 * 2 * 60 * 0.969, rel=0.1)
    assert second.mean() == pytest.approx(43_200, abs=300)
    assert rows["amount"].min() >= 0
    assert (np.round(rows["amount"], 2) == rows["amount"]).all()
    assert len(np.unique(rows["customer_id"])) > 290
    places = [
        len(set(rows["terminal_id"][rows["customer_id"] == customer].tolist())) for customer in range(300)
    ]
    assert max(places) < 80, "customers pay in reach only"


def test_fraud_is_as_described(town):
    rows, scenario = arrays(town.transactions), town.scenario
    day = (rows["at"] - TOWN.start) // DAY
    assert rows["amount"][scenario == 0].max() <= 220 < rows["amount"][scenario == 1].min()
    for terminal in np.unique(rows["terminal_id"][scenario == 2])[:20]:
        mine = rows["terminal_id"] == terminal
        hit = mine & (scenario == 2)
        first, last = day[hit].min(), day[hit].max()
        if last - first < 28:  # hit once
            assert (scenario[mine & (day >= first) & (day <= last)] >= 2).all()
    cards = np.unique(rows["customer_id"][scenario == 3])
    assert 100 < len(cards) <= 180
    typical = np.median(rows["amount"][scenario == 0])
    assert np.median(rows["amount"][scenario == 3]) > 3 * typical


def test_every_payment_is_reported_a_week_later(town):
    paid, told = arrays(town.transactions), arrays(town.reports)
    assert (told["known"] - told["at"] == 7 * DAY).all()
    assert told["tx_id"].tolist() == paid["tx_id"].tolist() == list(range(len(town.scenario)))
    assert (told["fraud"] == (town.scenario > 0)).all()
    assert (told["terminal_id"] == paid["terminal_id"]).all()


# Its switches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SWITCHES)
def test_nothing_differs_before_the_day_of_the_change_and_something_after(town, changed, name):
    one, two = town, changed[name]
    for before, after in ((one.transactions, two.transactions), (one.reports, two.reports)):
        assert before.between(0, CHANGED_AT).rows.equals(after.between(0, CHANGED_AT).rows)
    week = CHANGED_AT, CHANGED_AT + 14 * DAY
    pairs = ((one.transactions, two.transactions), (one.reports, two.reports))
    assert any(not a.between(*week).rows.equals(b.between(*week).rows) for a, b in pairs)


def test_what_each_switch_does(town, changed):
    def after(name, what="transactions"):
        rows = arrays(getattr(changed[name], what))
        late = rows["at"] >= CHANGED_AT
        return {key: values[late] for key, values in rows.items()}

    base = arrays(town.transactions)
    late = base["at"] >= CHANGED_AT
    more = (changed["terminals"].scenario[late] == 2).sum()
    assert more > 2 * (town.scenario[late] == 2).sum()

    hit = town.scenario[late] == 3
    assert (changed["factor"].scenario == town.scenario).all()
    assert after("factor")["amount"][hit].mean() < 0.6 * base["amount"][late][hit].mean()

    testing = arrays(changed["testing"].transactions)
    tested = changed["testing"].scenario == 4
    assert tested.sum() == 5 * 20 * (60 - DAY_OF_CHANGE)
    assert testing["at"][tested].min() >= CHANGED_AT
    assert testing["amount"][tested].max() < 2
    assert len(set(testing["terminal_id"][tested])) > 350

    assert (after("currency")["amount"] == np.round(base["amount"][late] * 100, 2)).all()

    told = after("report_days", "reports")
    assert (told["known"] - told["at"] == 21 * DAY).all()

    twice = after("twice")["tx_id"]
    assert len(twice) - len(set(twice.tolist())) == pytest.approx(0.1 * late.sum(), rel=0.1)

    arriving = after("late")
    behind = arriving["known"] - arriving["at"]
    assert (behind > 0).mean() == pytest.approx(0.2, rel=0.1)
    assert np.median(behind[behind > 0]) < UNITS["h"] < 5 * DAY < behind.max() <= 30 * DAY
    assert (np.diff(arriving["at"]) < 0).any(), "some arrive out of order"

    moved = after("reused")["terminal_id"] != base["terminal_id"][late]
    pairs = set(zip(base["terminal_id"][late][moved], after("reused")["terminal_id"][moved], strict=True))
    assert 1 <= len(pairs) <= 3


# Features and protocol ----------------------------------------------------------------------------

VILLAGE = World(customers=25, terminals=20, radius=40, days=50, drift=Drift(twice=Change(10, 0.1)))
PERIODS = Periods(
    learn=(TOWN.start + 38 * DAY, TOWN.start + 45 * DAY), test=(TOWN.start + 52 * DAY, TOWN.start + 59 * DAY)
)


def by(rows, key):
    """Return rows, given as lists by column, as one list of dicts per value of a key."""
    found = defaultdict(list)
    for values in zip(*rows.values(), strict=True):
        row = dict(zip(rows, values, strict=True))
        found[row[key]].append(row)
    return found


def reference(messages):
    """Return the fifteen inputs of every payment from the description alone, one payment after the other."""
    paid = {row["tx_id"]: row for row in messages["transactions"].rows.to_pylist()}
    told = {row["tx_id"]: row for row in messages["reports"].rows.to_pylist()}
    columns = {
        name: [row[name] for row in paid.values()] for name in ("tx_id", "customer_id", "amount", "at")
    }
    of_card = by(columns, "customer_id")
    columns = {name: [row[name] for row in told.values()] for name in ("terminal_id", "fraud", "at")}
    of_terminal = by(columns, "terminal_id")
    found = {}
    for row in paid.values():
        values = [row["amount"], float(row["at"].weekday() >= 5), float(row["at"].hour <= 6)]
        spent, reported = [], []
        for days in (1, 7, 30):
            earlier = [
                other["amount"]
                for other in of_card[row["customer_id"]]
                if 0 < (row["at"] - other["at"]).total_seconds() < days * 86_400
            ]
            spent.append([*earlier, row["amount"]])
            reported.append(
                [
                    other["fraud"]
                    for other in of_terminal[row["terminal_id"]]
                    if 7 * 86_400 < (row["at"] - other["at"]).total_seconds() < (7 + days) * 86_400
                ]
            )
        values += [len(part) for part in spent] + [math.fsum(part) / len(part) for part in spent]
        values += [len(part) for part in reported] + [sum(part) / max(len(part), 1) for part in reported]
        found[row["tx_id"]] = values
    return found


def test_features_are_those_of_the_description_on_every_row(tmp_path):
    village = made(VILLAGE)
    parts = {"transactions": village.transactions, "reports": village.reports}
    with opened(stolen, tmp_path / "home", parts, VILLAGE.start + 60 * DAY) as app:
        rows = app.training_set(stolen)
    told = reference(parts)
    assert len(rows) == len(told) == len(village.scenario) < len(village.transactions.known)
    for place, name in enumerate(stolen.columns):
        expected = [told[int(number)][place] for number in rows.ids]
        assert rows.columns[name].numbers().tolist() == expected, name
    assert rows.y.tolist() == [float(village.scenario[int(number)] > 0) for number in rows.ids]


@pytest.fixture(scope="module")
def town_weeks(town, tmp_path_factory):
    home = tmp_path_factory.mktemp("town") / "home"
    with opened(stolen, home, within_reach(town, PERIODS), PERIODS.mature) as app:
        return weeks(app.dataset(stolen), PERIODS)


def test_the_protocol_learns_from_one_week_and_tests_on_cards_not_known_to_be_compromised(town, town_weeks):
    learn, test = town_weeks
    rows = arrays(town.transactions)
    chosen = (rows["at"] >= PERIODS.learn[0]) & (rows["at"] < PERIODS.learn[1])
    assert (len(learn.y), learn.y.sum()) == (chosen.sum(), (town.scenario[chosen] > 0).sum())
    bad = town.scenario > 0
    kept = []
    for place in np.flatnonzero((rows["at"] >= PERIODS.test[0]) & (rows["at"] < PERIODS.test[1])):
        today = rows["at"][place] // DAY * DAY
        known = bad & (rows["at"] >= PERIODS.learn[0]) & (rows["at"] + 7 * DAY < today)
        if not (known & (rows["customer_id"] == rows["customer_id"][place])).any():
            kept.append(place)
    assert test.at.tolist() == rows["at"][kept].tolist()
    assert test.card.tolist() == rows["customer_id"][kept].tolist()


def test_a_model_finds_fraud_by_the_protocol(town_weeks):
    from sklearn.tree import DecisionTreeClassifier

    learn, test = town_weeks
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(learn.X, learn.y)
    figures = judge(test, score(tree, test))
    assert figures["roc_auc"] > 0.6
    assert figures["average_precision"] > 3 * test.y.mean()
    assert 0 < figures["card_precision"] < 1


def test_cards_found_compromised_are_not_looked_at_again():
    days = np.array([0, 0, 0, 0, 1, 1, 1], dtype=np.int64) * DAY
    cards = np.array([1, 1, 2, 3, 1, 2, 3])
    y = np.array([0.0, 1, 0, 1, 1, 0, 1])
    rows = Rows(np.zeros((7, 1)), y, cards, days)
    chances = np.array([0.1, 0.9, 0.8, 0.7, 0.9, 0.5, 0.6])
    assert card_precision(rows, chances, most=2) == 0.5  # cards 1 and 2, then 3 and 2
    assert card_precision(rows, chances, most=1) == 1.0  # card 1, then 3
    assert first_report(rows)[1:].tolist() == [7 * DAY, np.iinfo(np.int64).max, 7 * DAY]


# Live ---------------------------------------------------------------------------------------------

CITY = World(
    customers=600,
    terminals=800,
    radius=15,
    days=62,
    drift=Drift(late=Change(60, 0.2), twice=Change(60, 0.1)),
)
START = CITY.start + 60 * DAY + 11 * UNITS["h"]


def test_payments_are_answered_by_processes_as_history_says(tmp_path):
    city, clock = made(CITY), SharedClock(tmp_path / "clock")
    clock.set(START)
    platform = Platform(home=tmp_path, clock=clock)
    with project.open(platform) as app:
        prepare(app, city, START)
    history = list(moments(city, START, START + UNITS["h"]))
    stopped = Stopped(city.scenario)
    with Processes(PROJECT, tmp_path, tmp_path / "clock", free_port()) as processes:
        played = play(history, processes, clock, row_id="tx_id", heard=stopped.heard)
    assert played.predictions == sum(len(moment.asked) for moment in history) > 50
    sent = [
        row["tx_id"]
        for moment in history
        for name, _, rows in moment.events
        for row in rows
        if name == "transactions"
    ]
    assert len(set(sent)) < len(sent), "some payments arrive twice"
    assert sent != sorted(sent), "and some late"
    assert stopped.rightly + stopped.passed == sum(
        int(city.scenario[row["tx_id"]] > 0) for moment in history for row in moment.asked
    )
    with project.open(platform) as app:
        app.flush()
        found = app.skew(stolen)
    assert (found.rows, found.cells) == (played.predictions, 15 * played.predictions)
    assert found.mismatches == 0, found.features


def test_rules_say_why_a_payment_is_stopped():
    deciding, typical = Deciding(stolen), list(stolen.columns).index("spending.amount_30d")

    def decided(amount, score, mean=200.0):
        known = [None] * len(stolen.columns)
        known[typical] = mean
        answer = Said(np.array([score]), np.array([score >= stolen.threshold]), NO_CLASSES, ())
        row = {"amount": amount}
        return json.loads(deciding.one(row, Known(0, list(stolen.columns), known, (), ()), answer, 1))

    assert decided(220.01, 0.0) == {
        "large": True,
        "risky": False,
        "odd": False,
        "loss": 0.0,
        "action": "block",
    }
    assert decided(220.0, stolen.threshold)["action"] == "block"
    assert decided(220.0, 0.0)["action"] == "pass"
    assert decided(220.0, 0.0, mean=21.9)["action"] == "review"
    assert decided(220.0, 0.0, mean=None)["odd"] is None
