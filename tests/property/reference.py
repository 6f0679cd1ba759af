"""What a feature means, written to be read: one key, one moment, plain Python, exact fractions.

A record is a dict with `id`, `event`, `known`, `offset` and its fields. This is the oracle every driver is compared
with; it shares no code with the kernel but the declarations themselves.
"""

from fractions import Fraction


def visible(records, at):
    """Return the newest version known before `at` of every record, in the total order (event, id)."""
    newest = {}
    for record in sorted(records, key=lambda record: (record["known"], record["offset"])):
        if record["known"] < at:
            newest[record["id"]] = record
    past = [record for record in newest.values() if record["event"] < at]
    return sorted(past, key=lambda record: (record["event"], record["id"].encode()))


def value(aggregate, records, at):
    """Return an aggregate over one key's records as of `at`; None for null."""
    window, fn = aggregate.window.reach, aggregate.fn
    inside = [record for record in visible(records, at) if window is None or record["event"] > at - window]
    if aggregate.where is not None:
        inside = [record for record in inside if truth(aggregate.where, record)]
    if fn == "count":
        return len(inside)
    values = [record[aggregate.args[0].args[0]] for record in inside]
    if fn == "last":
        return values[-1] if values else None
    values = [item for item in values if item is not None]
    if not values:
        return None
    if fn in ("min", "max"):
        return min(values) if fn == "min" else max(values)
    total = sum(Fraction(item) for item in values)
    if fn == "sum":
        return int(total) if isinstance(values[0], int) else rounded(total)
    whole = float(int(total)) if isinstance(values[0], int) else rounded(total)
    return whole / len(values)


def rounded(total):
    """Return the float of an exact sum: multiples of 2^-20 and the rest, each rounded once."""
    high = (total * 2**20).__floor__()
    low = total - Fraction(high, 2**20)
    return float(high) / 2.0**20 + float(low)


def truth(condition, record):
    """Return whether `column > constant` holds; null does not."""
    left, right = condition.args
    found = record[left.args[0]]
    return found is not None and found > right.args[0]
