"""Random histories with what is easy to get wrong: edges of windows, ties, late rows, corrections, clock changes."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from tenfold.core.times import DAY, UNITS, to_us
from tenfold.features.records import ARRIVAL, OFFSET
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import column
from tests.prove import declare

HOUR, MINUTE = UNITS["h"], UNITS["m"]
ANCHORS = [
    to_us(text)
    for text in (
        "2024-05-01T12:00:00+00:00",
        "2024-03-10T05:30:00+00:00",  # New York goes forward at 07:00
        "2024-11-03T04:30:00+00:00",  # New York goes back at 06:00
        "2024-04-06T13:30:00+00:00",  # Lord Howe goes half an hour back at 15:00
        "2024-10-05T14:30:00+00:00",  # Lord Howe goes forward at 15:30
        "2024-02-28T18:20:00+00:00",  # midnight in Kolkata, then a leap day
        "2023-12-31T22:50:00+00:00",
        "1970-12-31T22:50:00+00:00",
    )
]
MOMENTS = [
    *ANCHORS,
    *map(to_us, ("1955-03-03T00:00:00+01:00", "0001-01-01", "9999-12-31T23:59:59.999999+00:00")),
]
WORDS = ("up", "down", "", "Übung", "Z")
UNITS = (0, 1, -1, 5, -50, 1230, 10**8)
NUMBERS = (0.0, -0.0, 0.1, -0.1, 3.25, 0.5, 1e3, 2.0**-30, -1e-9, -7e-13, 5e-324)


@dataclass(frozen=True)
class World:
    """A declaration, its records in the order of the log, and what is asked: (key, moment, the row itself)."""

    view: object
    records: list
    queries: list

    @property
    def frame(self):
        """The records as the columns a source delivers."""
        return frame(self.records)

    @property
    def keys(self):
        """One column per key field, a row per query."""
        return keys(self.view, [key for key, _, _ in self.queries])


def frame(records):
    """Return records as the columns a source delivers."""
    found = {
        name: column(type_, [plain(record[name]) for record in records])
        for name, type_ in declare.TYPES.items()
    }
    for name, field in ((KNOWN, "known"), (OFFSET, "offset"), (ARRIVAL, "arrival")):
        found[name] = column("int", [record[field] for record in records])
    return found


def plain(value):
    """Return a value as columns hold it: a decimal as its units."""
    return int(value * 10 ** -value.as_tuple().exponent) if isinstance(value, Decimal) else value


def keys(view, asked):
    """Return keys as columns."""
    return [
        column(declare.TYPES[name], [key[place] for key in asked]) for place, name in enumerate(view.keys)
    ]


def world(choose, *, most_keys=4, most_rows=12, queries=6, **declared):
    """Return a random world; `declared` is what `declare.view` takes."""
    view = declare.view(choose, **declared)
    edges = edges_of(view)
    drafts = []
    start = choose.of(ANCHORS)
    for number in range(choose.number(1, most_keys)):
        key = any_key(choose, most_keys) if number else ("c0", 1)
        rows = most_rows if choose.often(0.1) else choose.number(0, max(most_rows // 4, 1))
        drafts += of_key(choose, key, start, rows, edges, most_keys)
    records = logged(choose, drafts)
    return World(view, records, [query(choose, view, records, start, edges) for _ in range(queries)])


def edges_of(view):
    """Return the durations at which something falls out of a window."""
    found = {0}
    for expr in view.features.values():
        size = expr.window.size if expr.window.kind in ("time", "session") else 0
        found |= {size, expr.window.offset, size + expr.window.offset}
        if expr.fn == "decayed_sum":
            found.add(64 * expr.n)
    return sorted(found)


def unmoved(made):
    """Return a world whose corrections leave each record with the key it has first in the log."""
    first = {(record["name"], record["place"]): record for record in reversed(made.records)}
    keys_ = {name: {"card": record["card"], "branch": record["branch"]} for name, record in first.items()}
    return replace(made, records=[record | keys_[record["name"], record["place"]] for record in made.records])


def uncorrected(made):
    """Return a world of the first versions of its records, each known when it was."""
    first = {}
    for record in made.records:
        first.setdefault((record["name"], record["place"]), record)
    return replace(made, records=list(first.values()))


def in_order(made):
    """Return a world of the first versions of its records, each known at once, in which each record asks about itself."""
    kept = sorted(uncorrected(made).records, key=lambda record: record["event"])
    records = []
    for offset, record in enumerate(kept):
        at = record["event"]
        records.append(
            record
            | {"known": at, "seen": at, "arrival": at, "offset": offset, "gone": False, "deleted": False}
        )
    asked = [(tuple(record[name] for name in made.view.keys), record["event"], record) for record in records]
    return replace(made, records=records, queries=[query for query in asked if None not in query[0]])


def dense(made, drift, times=1000):
    """Return a world in which as much happens in a window as in so many before; what is late is so by as long.

    Numbers grow by `drift` from one record to the next, so that the greatest or the least is what leaves a window next.
    """
    start = min((record["event"] for record in made.records), default=0)

    def nearer(moment):
        return start + (moment - start) // times

    records = []
    for place, record in enumerate(sorted(made.records, key=lambda record: record["event"])):
        at = nearer(record["event"])
        known = at + record["known"] - record["event"]
        number = None if record["number"] is None else record["number"] + drift * place
        moved = {"event": at, "at": at, "known": known, "seen": known, "arrival": known, "number": number}
        records.append(record | moved)
    records.sort(key=lambda record: record["known"])
    records = [record | {"offset": offset} for offset, record in enumerate(records)]
    asked = [(key, nearer(at), own) for key, at, own in made.queries]
    return replace(made, records=records, queries=asked)


# Records ----------------------------------------------------------------------------------------------


def any_key(choose, most):
    """Return a card, or none, and a branch."""
    return None if choose.often(0.1) else f"c{choose.number(0, most)}", choose.number(1, most)


def of_key(choose, key, start, rows, edges, most_keys):
    """Return the records of one key and their corrections, as drafts: without a place in the log."""
    found = []
    clock = start + choose.of((0, MINUTE, HOUR))
    for _ in range(rows):
        clock += gap(choose, clock, edges)
        draft = values(choose) | {
            "key": key,
            "event": clock,
            "known": clock + late(choose, edges),
            "gone": False,
        }
        draft["again"] = None
        found.append(draft)
        while choose.often(0.15):
            draft = correction(choose, draft, edges, most_keys)
            found.append(draft)
    return found


def gap(choose, clock, edges):
    """Return how long after the last record of a key the next one happens."""
    kind = choose.of(("tie", "edge", "edge", "some", "some", "midnight"))
    if kind == "tie":
        return choose.of((0, 0, 1))
    if kind == "edge":
        return max(choose.of(edges) + choose.of((0, -1, 1)), 0)
    if kind == "some":
        return choose.of((MINUTE, HOUR, 1, 20 * MINUTE, 5 * HOUR, 26 * HOUR))
    return max(next_midnight(clock, choose.of(declare.ZONES)) - clock + choose.of((0, -1, 1)), 0)


def next_midnight(moment, zone):
    """Return the next local midnight after a moment."""
    day = (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).astimezone(ZoneInfo(zone)).date()
    )
    return to_us(datetime.combine(day + timedelta(days=1), datetime.min.time(), tzinfo=ZoneInfo(zone)))


def late(choose, edges):
    """Return how long after it happened a record is known; below 0 for what is announced."""
    if choose.often(0.3):
        return choose.of((1, MINUTE, 2 * HOUR, -1, -HOUR, 3 * DAY, choose.of(edges)))
    return 0


def values(choose):
    """Return the values of a record, edge cases and nulls among them."""
    numbers = choose.of(NUMBERS) if choose.often(0.5) else choose.number(-(2**22), 2**22) / 1024 + 0.1
    wholes = choose.number(-(2**14), 2**14) if choose.often(0.1) else choose.number(-2, 4)
    return {
        "number": None if choose.often(0.15) else numbers,
        "whole": None if choose.often(0.1) else wholes,
        "flag": None if choose.often(0.1) else choose.often(0.5),
        "word": None if choose.often(0.15) else choose.of(WORDS),
        "moment": None if choose.often(0.2) else choose.of(MOMENTS),
        "price": None if choose.often(0.15) else price(choose),
    }


def price(choose):
    """Return a decimal of two places."""
    units = choose.of(UNITS) if choose.often(0.5) else choose.number(-(2**22), 2**22)
    return Decimal(units).scaleb(-2)


def correction(choose, draft, edges, most_keys):
    """Return a later version of a record: other values, another time, deleted, the same again, or of another key."""
    kind = choose.of(("values", "time", "same", "gone", "key"))
    later = max(choose.of((0, 1, MINUTE, 3 * HOUR, choose.of(edges))), 0)
    found = draft | {"known": draft["known"] + later, "again": draft}
    if kind in ("values", "gone"):
        found |= values(choose)
    if kind == "time":
        found["event"] = draft["event"] + choose.of((-1, 1, HOUR, -HOUR, choose.of(edges)))
    if kind == "key":
        found["key"] = any_key(choose, most_keys)
    return found | {"gone": kind == "gone"}


def logged(choose, drafts):
    """Return drafts as records in the order they arrive: as they are known, or in any order, as a load of history may."""
    numbered = [draft | {"number_": place} for place, draft in enumerate(drafts)]
    first = {id(draft): place for place, draft in enumerate(drafts)}
    names = {}
    for place, draft in enumerate(drafts):
        names[place] = place if draft["again"] is None else names[first[id(draft["again"])]]
    loaded = choose.often(0.2)
    ordered = sorted(numbered, key=lambda draft: (0 if loaded else draft["known"], choose.number(0, 99)))
    end = max((draft["known"] for draft in drafts), default=0)
    return [
        record(draft, names[draft["number_"]], offset, end if loaded else draft["known"])
        for offset, draft in enumerate(ordered)
    ]


def record(draft, name, offset, arrival):
    """Return a draft with its ids, its place in the log, and the columns of its source."""
    kept = {
        field: draft[field]
        for field in ("number", "whole", "flag", "word", "moment", "price", "gone", "event", "known")
    }
    card, branch = draft["key"]
    return kept | {
        "name": f"{'rZé支'[name % 4]}{name * 7919 % 1_000_003}",
        "place": name - 3,
        "card": card,
        "branch": branch,
        "at": draft["event"],
        "seen": draft["known"],
        "offset": offset,
        "arrival": arrival,
        "deleted": draft["gone"],
    }


def identified(view, records):
    """Return the records as the reference takes them: with `id`."""
    ids = view.source.root.ids
    return [
        record | {"id": record[ids[0]] if len(ids) == 1 else tuple(record[name] for name in ids)}
        for record in records
    ]


# Questions --------------------------------------------------------------------------------------------


def query(choose, view, records, start, edges):
    """Return a key, a moment at an edge more often than not, and the row that is asked for."""
    if not records or choose.often(0.1):
        card, branch = any_key(choose, 5)
        key = {"card": card, "branch": branch}
        moment = start + choose.of((0, HOUR, DAY))
    else:
        near = choose.of(records)
        key = near
        moment = near[choose.of(("event", "event", "known"))]
        kind = choose.of(("edge", "edge", "now", "midnight", "later"))
        if kind == "edge":
            moment += choose.of(edges) + choose.of((0, -1, 1))
        elif kind == "now":
            moment += choose.of((0, 1))
        elif kind == "midnight":
            moment = next_midnight(moment, choose.of(declare.ZONES)) + choose.of((0, -1, 1))
        else:
            moment += choose.of((HOUR, 3 * DAY, 20 * MINUTE))
    asked = tuple(key[name] for name in view.keys)
    return asked, moment, own(choose, view, records, key, moment)


def own(choose, view, records, key, moment):
    """Return the row that is asked for: new, or a new version of a record that is there."""
    known = values(choose) | {"card": key["card"], "branch": key["branch"], "event": moment, "at": moment}
    known |= {"gone": False, "seen": moment, "known": moment, "offset": len(records), "arrival": moment}
    if records and choose.often(0.2):
        again = choose.of(records)
        return known | {"name": again["name"], "place": again["place"]}
    return known | {"name": "own", "place": -1}
