"""A world of cards and terminals in which some payments are stolen; who they were is told a week later.

Written from the published description of the simulator of the handbook "Reproducible Machine Learning for Credit Card
Fraud Detection", with switches that change the world from a known day on. The same world and seed give the same bytes.

Fraud, later scenarios overwriting earlier ones:

1. amounts above 220;
2. two terminals a day are compromised: all their payments of 28 days;
3. three cards a day are stolen: a third of their payments of 14 days, at five times the amount;
4. (a switch) stolen cards are tested with many amounts below 2 at terminals anywhere.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tenfold.core.times import DAY, UNITS, to_us

SECOND = UNITS["s"]
SIDE = 100.0
LARGE = 220.0
TERMINALS_A_DAY, TERMINAL_DAYS = 2, 28
CARDS_A_DAY, CARD_DAYS, FACTOR = 3, 14, 5.0
REPORT_DAYS = 7
TESTS_A_CARD = 20
LATEST = 30 * DAY
"""No message is later than this."""


@dataclass(frozen=True)
class Change:
    """A value that holds from a day on; days are counted from 0."""

    day: int
    value: float


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What changes, and from which day; nothing before that day differs from the world without the change."""

    terminals: Change | None = None
    """Terminals compromised a day (scenario 2), instead of 2."""
    factor: Change | None = None
    """What the amounts of stolen cards are multiplied by (scenario 3), instead of 5."""
    testing: Change | None = None
    """Cards a day that are tested with small amounts (scenario 4)."""
    currency: Change | None = None
    """What all amounts are multiplied by: 100 when they come in cents."""
    report_days: Change | None = None
    """Days from a payment to its report, instead of 7."""
    twice: Change | None = None
    """Share of the payments that are sent a second time, within the hour."""
    late: Change | None = None
    """Share of the payments that arrive late: mostly minutes, some days."""
    reused: Change | None = None
    """How many new terminals use the id of another one, somewhere else."""


@dataclass(frozen=True, kw_only=True)
class World:
    """How large the world is, how long it is watched, and what changes in it."""

    customers: int = 5_000
    terminals: int = 10_000
    days: int = 183
    first: str = "2018-04-01"
    radius: float = 5.0
    drift: Drift = Drift()

    @property
    def start(self) -> int:
        """The first midnight in microseconds UTC."""
        return to_us(self.first)


@dataclass(frozen=True)
class Messages:
    """Rows of a source in the order they arrive, and when each does: int64 microseconds UTC, shape (n,)."""

    rows: pa.Table
    known: np.ndarray

    def between(self, start: int, end: int) -> "Messages":
        """Return what arrives in [start, end)."""
        first, behind = np.searchsorted(self.known, [start, end])
        return Messages(self.rows.slice(first, behind - first), self.known[first:behind])


@dataclass(frozen=True)
class Simulated:
    """All payments and their reports, and by tx_id which scenario of fraud each belongs to: 0 for none."""

    transactions: Messages
    reports: Messages
    scenario: np.ndarray


@dataclass
class _Payments:
    """Payments in the making: arrays of shape (n,)."""

    customer: np.ndarray
    terminal: np.ndarray
    day: np.ndarray
    second: np.ndarray
    amount: np.ndarray
    scenario: np.ndarray

    def take(self, rows: np.ndarray) -> "_Payments":
        return _Payments(*(values[rows] for values in vars(self).values()))

    def join(self, other: "_Payments") -> "_Payments":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Payments(*(np.concatenate(pair) for pair in pairs))


def simulate(world: World, chance: np.random.Generator) -> Simulated:
    """Return everything that happens in a world; all randomness comes from `chance`."""
    # One stream per cause, so that a switch does not disturb what it does not change.
    people, terminals, cards, tests, reuse, sending = chance.spawn(6)
    made = _genuine(world, people)
    made.scenario[made.amount > LARGE] = 1
    _compromise_terminals(world, made, terminals)
    _steal_cards(world, made, cards)
    made = _test_cards(world, made, tests)
    _change_currency(world, made)
    _reuse_ids(world, made, reuse)
    at = world.start + made.day * DAY + made.second * SECOND
    order = np.argsort(at, kind="stable")
    return _sent(world, made.take(order), at[order], sending)


# Payments -----------------------------------------------------------------------------------------


def _genuine(world: World, chance: np.random.Generator) -> _Payments:
    """Return payments without fraud, ordered by (customer, day)."""
    home = chance.uniform(0, SIDE, (world.customers, 2))
    place = chance.uniform(0, SIDE, (world.terminals, 2))
    mean = chance.uniform(5, 100, world.customers)
    rate = chance.uniform(0, 4, world.customers)
    reach, edges = _within(home, place, world.radius)
    rate[np.diff(edges) == 0] = 0  # nowhere to pay
    wanted = chance.poisson(np.repeat(rate, world.days))
    spot = np.repeat(np.arange(len(wanted)), wanted)
    second = chance.normal(43_200, 20_000, len(spot)).astype(np.int64)
    inside = (second > 0) & (second < 86_400)
    spot, second = spot[inside], second[inside]
    customer, day = np.divmod(spot, world.days)
    typical = mean[customer]
    amount: np.ndarray = chance.normal(typical, typical / 2)
    again = chance.uniform(0, 2 * typical)
    amount = np.round(np.where(amount < 0, again, amount), 2)
    first, choices = edges[customer], np.diff(edges)[customer]
    terminal = reach[first + (chance.random(len(spot)) * choices).astype(np.int64)]
    return _Payments(customer, terminal, day, second, amount, np.zeros(len(spot), dtype=np.int8))


def _within(home: np.ndarray, place: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the terminals in reach, customer by customer, and where those of each customer begin."""
    order = np.argsort(place[:, 0])
    x, y = place[order].T
    first, behind = (np.searchsorted(x, home[:, 0] + side) for side in (-radius, radius))
    found = []
    for (mine_x, mine_y), low, high in zip(home.tolist(), first.tolist(), behind.tolist(), strict=True):
        near = (x[low:high] - mine_x) ** 2 + (y[low:high] - mine_y) ** 2 < radius * radius
        found.append(order[low:high][near])
    return np.concatenate(found), np.concatenate([[0], np.cumsum([len(part) for part in found])])


# Fraud --------------------------------------------------------------------------------------------


def _value(change: Change | None, day: int, before: float) -> float:
    return before if change is None or day < change.day else change.value


def _from(change: Change | None, made: _Payments) -> np.ndarray:
    """Return which payments are made since a change."""
    return np.zeros(len(made.day), dtype=np.bool_) if change is None else made.day >= change.day


def _compromise_terminals(world: World, made: _Payments, chance: np.random.Generator) -> None:
    hit = np.zeros((world.terminals, world.days), dtype=np.bool_)
    for day in range(world.days):
        how_many = int(_value(world.drift.terminals, day, TERMINALS_A_DAY))
        hit[chance.permutation(world.terminals)[:how_many], day : day + TERMINAL_DAYS] = True
    made.scenario[hit[made.terminal, made.day]] = 2


def _steal_cards(world: World, made: _Payments, chance: np.random.Generator) -> None:
    place = made.customer * world.days + made.day
    for day in range(world.days):
        factor = _value(world.drift.factor, day, FACTOR)
        for customer in chance.choice(world.customers, CARDS_A_DAY, replace=False).tolist():
            last = min(day + CARD_DAYS, world.days)
            first, behind = np.searchsorted(
                place, [customer * world.days + day, customer * world.days + last]
            )
            stolen = first + chance.permutation(behind - first)[: (behind - first) // 3]
            made.amount[stolen] = np.round(made.amount[stolen] * factor, 2)
            made.scenario[stolen] = 3


def _test_cards(world: World, made: _Payments, chance: np.random.Generator) -> _Payments:
    """Add scenario 4: a run of small amounts within minutes."""
    change = world.drift.testing
    if change is None:
        return made
    days, cards = max(world.days - change.day, 0), int(change.value)
    customer = chance.integers(world.customers, size=(days, cards))
    begin = chance.integers(86_400 - 3_600, size=(days, cards))
    runs = np.arange(days * cards).repeat(TESTS_A_CARD)
    rows = len(runs)
    extra = _Payments(
        customer.ravel()[runs],
        chance.integers(world.terminals, size=rows),
        change.day + runs // cards,
        begin.ravel()[runs] + chance.integers(1, 3_600, size=rows),
        np.round(chance.uniform(0.01, 1.99, rows), 2),
        np.full(rows, 4, dtype=np.int8),
    )
    return made.join(extra)


def _change_currency(world: World, made: _Payments) -> None:
    change = world.drift.currency
    if change is not None:
        since = _from(change, made)
        made.amount[since] = np.round(made.amount[since] * change.value, 2)


def _reuse_ids(world: World, made: _Payments, chance: np.random.Generator) -> None:
    """Let the payments of some terminals carry the id of another."""
    change = world.drift.reused
    if change is not None:
        new, old = chance.permutation(world.terminals)[: 2 * int(change.value)].reshape(2, -1)
        name = np.arange(world.terminals)
        name[new] = old
        made.terminal = np.where(_from(change, made), name[made.terminal], made.terminal)


# Messages -----------------------------------------------------------------------------------------


def _sent(world: World, made: _Payments, at: np.ndarray, chance: np.random.Generator) -> Simulated:
    """Return payments, ordered by time, as the messages that tell of them."""
    rows = {
        "tx_id": np.arange(len(at)),
        "customer_id": made.customer,
        "terminal_id": made.terminal,
        "amount": made.amount,
        "fraud": made.scenario > 0,
        "at": at,
    }
    payment, known = _delivered(world.drift, made, at, chance)
    days = np.where(_from(world.drift.report_days, made), _days(world.drift), REPORT_DAYS)
    told = at + days * DAY
    order = np.argsort(told, kind="stable")
    return Simulated(
        Messages(_table(rows, ("tx_id", "customer_id", "terminal_id", "amount", "at"), payment), known),
        Messages(_table(rows, ("tx_id", "customer_id", "terminal_id", "fraud", "at"), order), told[order]),
        made.scenario,
    )


def _table(rows: dict[str, np.ndarray], names: tuple[str, ...], order: np.ndarray) -> pa.Table:
    arrays = {name: pa.array(rows[name][order]) for name in names}
    return pa.table(arrays | {"at": arrays["at"].cast(pa.timestamp("us", "UTC"))})


def _days(drift: Drift) -> int:
    return REPORT_DAYS if drift.report_days is None else int(drift.report_days.value)


def _delivered(
    drift: Drift, made: _Payments, at: np.ndarray, chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return which payment each message tells of and when it arrives, in the order of arrival."""
    late, twice = chance.spawn(2)
    known = at.copy()
    if drift.late is not None:
        hit = _from(drift.late, made) & (late.random(len(at)) < drift.late.value)
        delay = 60 * SECOND * (1 + late.pareto(0.8, len(at)))
        known[hit] += np.minimum(delay[hit], LATEST).astype(np.int64)
    payment = np.arange(len(at))
    if drift.twice is not None:
        hit = _from(drift.twice, made) & (twice.random(len(at)) < drift.twice.value)
        again = known[hit] + twice.integers(1, 3_600, int(hit.sum())) * SECOND
        payment, known = np.concatenate([payment, payment[hit]]), np.concatenate([known, again])
    order = np.argsort(known, kind="stable")
    return payment[order], known[order]
