"""What a feature means, written to be read: one key, one moment, plain Python, exact fractions.

A record is a dict with its fields and `id` (text, a number, or a tuple of them), `event`, `known`, `offset` (its place in
the log) and, if it says so, `deleted`. Instants are microseconds. This is the oracle every driver is compared with; it
shares no code with the kernel but the declarations themselves.

As of the moment `at`, in this order:

1. `counting`: the newest version known before `at` of each record, unless that version deletes the record.
2. `visible`: those that happened before `at - offset`, in the total order (event time, bytes of the id).
3. `part`: those that meet `where`; null does not.
4. `inside`: those in the window.
5. `own`: with include_self the row that is asked for is the newest record, whatever the window says.
6. `FUNCTIONS`: one value of what is left.
"""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import exp2, floor, sqrt
from zoneinfo import ZoneInfo

from datasketches import tdigest_double

from tests.property.reference_row import meaning

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def features(view, records, keys, at, own=None):
    """Return the features of a view for one key at one moment by name; `records` are those of all keys of its root."""
    mine = of_key(view, counting(records, at), keys, records)
    own = None if own is None else derived(view.source, own, records)
    return {name: _meaning(expr, mine, at, own) for name, expr in view.features.items()}


def value(expr, records, at, own=None):
    """Return an expression over aggregates, for the records of one key; None for null."""
    return _meaning(expr, counting(records, at), at, own)


def visible(records, at):
    """Return the records that count at a moment, in the total order."""
    return before(counting(records, at), at)


# 1. Which records count -----------------------------------------------------------------------------


def counting(records, at):
    """Return the newest version known before `at` of every record, but none that deletes it."""
    newest = {}
    for record in sorted(records, key=lambda record: (record["known"], record["offset"])):
        if record["known"] < at:
            newest[record["id"]] = record
    return [record for record in newest.values() if not record.get("deleted", False)]


def of_key(view, seen, keys, records):
    """Return the records of a key, with the columns that a Derived source adds; a null is no key."""
    found = []
    for record in seen:
        row = derived(view.source, record, records)
        if None not in keys and [row[name] for name in view.keys] == list(keys):
            found.append(row)
    return found


def derived(source, record, records=()):
    """Return a record with the columns of a Derived source, and in `kept` whether it meets every `where` of it.

    Features of other views that the source reads are those as of when the record happened, or became known if that was earlier.
    """
    if source.root is source:
        return record | {"kept": True}
    row = derived(source.source, record, records)
    for view in source.upstream:
        keys = [row[name] for name in view.keys]
        found = features(view, records, keys, min(row["event"], row["known"]))
        row |= {(view.name, name): value for name, value in found.items()}
    for name, expr in source.added.items():
        row[name] = meaning(expr, row)
    if source.where is not None:
        row["kept"] = row["kept"] and meaning(source.where, row) is True
    return row


# 2, 3. What takes part --------------------------------------------------------------------------------


def before(records, moment):
    past = [record for record in records if record["event"] < moment]
    return sorted(past, key=lambda record: (record["event"], identity(record["id"])))


def identity(key):
    """Return the bytes of an id: UTF-8 text, numbers as decimals, several joined by the unit separator."""
    parts = key if isinstance(key, tuple) else (key,)
    return b"\x1f".join(str(part).encode() for part in parts)


def takes_part(where, record):
    return record.get("kept", True) and (where is None or meaning(where, record) is True)


# 4. What is in the window -----------------------------------------------------------------------------


def inside(window, part, until):
    """Return the part in a window that ends at `until`."""
    if window.kind == "time":
        return [record for record in part if record["event"] > until - window.size]
    if window.kind == "days":
        since = midnight(window.zone, until, window.size - 1)
        return [record for record in part if record["event"] >= since]
    if window.kind == "rows":
        return part[-window.size :]
    if window.kind == "session":
        return session(window.size, part) if part and until - part[-1]["event"] <= window.size else []
    return part


def session(pause, part):
    """Return the records since the last pause that is longer than `pause`."""
    found = part[-1:]
    for record in reversed(part[:-1]):
        if found[0]["event"] - record["event"] > pause:
            break
        found.insert(0, record)
    return found


def midnight(zone, moment, days):
    """Return when the day began that is `days` days before the local day of a moment.

    That is the local date; only where clocks go back over midnight, the day that has begun goes on.
    """
    today = day(zone, moment)
    if begin(zone, today + timedelta(days=1)) <= moment:
        today += timedelta(days=1)
    return begin(zone, today - timedelta(days=days))


def day(zone, moment):
    """Return the local date of a moment."""
    return (EPOCH + moment * MICROSECOND).astimezone(ZoneInfo(zone)).date()


def begin(zone, date):
    """Return the first instant at which local clocks show midnight; where they skip it, the instant they skip it."""
    return (datetime.combine(date, time(), tzinfo=ZoneInfo(zone)) - EPOCH) // MICROSECOND


# 5. With the row itself -------------------------------------------------------------------------------


def with_self(window, part, until, at, own):
    """Return the window with the row that is asked for as its newest record, at the moment asked for."""
    own["event"] = at
    if window.kind == "rows":
        return [*part, own][-window.size :]
    if window.kind == "session":
        return session(window.size, [*part, own])
    return [*inside(window, part, until), own]


# 6. One value -----------------------------------------------------------------------------------------


def aggregate(node, records, at, own):
    """Return one aggregate over the counting records of one key."""
    window = node.window
    until = at - window.offset
    own = dict(own) if window.include_self and own is not None else None
    if own is not None:
        records = [record for record in records if record["id"] != own["id"]]  # it is the newest version
    part = [record for record in before(records, until) if takes_part(node.where, record)]
    if own is not None and takes_part(node.where, own):
        found = with_self(window, part, until, at, own)
    else:
        found = inside(window, part, until)
    if node.fn == "count":
        return len(found)
    if node.fn == "decayed_sum":
        return decayed_sum(node, found, until, own)
    return FUNCTIONS[node.fn]([meaning(node.args[0], record) for record in found], node.n)


def _meaning(expr, records, at, own):
    return meaning(expr, {}, at, lambda node: aggregate(node, records, at, own))


def some(function):
    """Return a function of the values that are not null, which is null when there is none."""

    def found(values, n):
        values = [
            value + 0 if isinstance(value, (int, float)) else value for value in values if value is not None
        ]
        return function(values) if values else None

    return found


def total(values):
    return sum(values) if isinstance(values[0], (int, Decimal)) else rounded(sum(map(limbs, values)))


def mean(values):
    """Return the mean as a float: of decimals the nearest one."""
    found = total(values)
    if isinstance(found, Decimal):
        return float(Fraction(found) / len(values))
    return float(found) / len(values)


def limbs(number):
    """Return the value a float counts with in a sum: whole 2^-20, and what is left in whole 2^-63, rounded once."""
    scaled = number * 2.0**20
    high = floor(scaled)
    return Fraction(high, 2**20) + Fraction(round((scaled - high) * 2.0**43), 2**63)


def rounded(number):
    """Return the float of an exact sum: multiples of 2^-20 and the rest, each rounded once."""
    high = (number * 2**20).__floor__()
    low = number - Fraction(high, 2**20)
    return float(high) / 2.0**20 + float(low)


def var(values):
    """Return the sample variance from exact sums of the values and of their squares, by one division of floats.

    The kernel has twice the digits of a float for it, not all. Where more than half of them cancel, the last digits may
    differ; histories like that are not generated, and how much they may differ is a test of its own.
    """
    if len(values) < 2:
        return None
    if isinstance(values[0], Decimal):
        return var_of_decimals(values)
    count = len(values)
    total = sum(limbs(value) if isinstance(value, float) else value for value in values)
    squares = count * sum(Fraction(square(float(value)), 2**101) for value in values)
    rest = float(squares - total**2)
    noise = float(squares) * 2.0**-100 + count * count * 2.0**-101
    return rest / (count * (count - 1.0)) if rest > noise else 0.0


def var_of_decimals(values):
    """Return the same of decimals: their units are squared exactly, and the variance of units is divided once.

    Units are taken times 2^-18, which loses nothing, so that they are as small as floats are.
    """
    places = -values[0].as_tuple().exponent
    units = [Fraction(value) * 10**places / 2**18 for value in values]
    squares = len(units) * sum(unit**2 for unit in units)
    rest = float(squares - sum(units) ** 2)
    noise = float(squares) * 2.0**-100 + len(units) ** 2 * 2.0**-101
    found = rest / (len(units) * (len(units) - 1.0)) if rest > noise else 0.0
    return found / (10.0 ** (2 * places) * 2.0**-36)


def square(number):
    """Return the square of a float in whole 2^-101: of its float and of what that lost, each rounded once."""
    number = rounded(limbs(number))  # as exact as it is summed
    main = Fraction(number * number)
    return round(main * 2**101) + round((Fraction(number) ** 2 - main) * 2**101)


def std(values):
    found = var(values)
    return None if found is None else sqrt(found)


def decayed_sum(node, found, until, own):
    """Return the sum in which a value counts half after each half-life, and not at all after 64 of them.

    Time has blocks of 16 half-lives. A value is weighted relative to the end of its block, the weighted values of a block
    are summed exactly, and the sums of the blocks are weighted as of `until`. The row itself counts in full.
    """
    half = node.n
    blocks, count, whole = {}, 0, 0.0
    for record in found:
        number = meaning(node.args[0], record)
        if number is None or (record is not own and record["event"] <= until - 64 * half):
            continue
        count += 1
        if record is own:
            whole = float(number)
            continue
        block = record["event"] // (16 * half)
        weight = exp2((record["event"] - (block + 1) * 16 * half) / half)
        blocks[block] = blocks.get(block, 0) + limbs(float(number) * weight)
    result = 0.0
    for block, exact in sorted(blocks.items()):
        result += rounded(exact) * exp2(((block + 1) * 16 * half - until) / half)
    return result + whole if count else None


def ranked(values, n):
    """Return the n-th most frequent value, equally frequent ones in their own order."""
    found = Counter(value + 0 if isinstance(value, float) else value for value in values if value is not None)
    order = sorted(found, key=lambda value: (-found[value], value))
    return order[n] if n < len(order) else None


def lag(values, n):
    return values[-1 - n] if n < len(values) else None


def about_unique(values, n):
    """Return the estimate of a sketch that holds every value, as it does up to 4,096 of them."""
    return float(len({value for value in values if value is not None}))


def about_quantile(values, q):
    """Return the quantile of a t-digest that is given the values in order."""
    digest = tdigest_double(200)
    for value in sorted(float(value) + 0.0 for value in values if value is not None):
        digest.update(value)
    return None if digest.is_empty() else digest.get_quantile(q)


FUNCTIONS = {
    "sum": some(total),
    "mean": some(mean),
    "min": some(min),
    "max": some(max),
    "var": some(var),
    "std": some(std),
    "first": lambda values, n: values[0] if values else None,
    "last": lambda values, n: values[-1] if values else None,
    "lag": lag,
    "n_unique": lambda values, n: len({value for value in values if value is not None}),
    "mode": ranked,
    "approx_n_unique": about_unique,
    "approx_quantile": about_quantile,
}
