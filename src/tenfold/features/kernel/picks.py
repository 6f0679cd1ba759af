"""Aggregates that pick: the least and greatest value, the first, last and most frequent, and how many there are."""

from dataclasses import replace

import numpy as np

from tenfold.features.kernel.decimals import exact_type
from tenfold.features.kernel.inputs import Aggregate
from tenfold.features.kernel.ranges import INTERVALS, pick_over, range_extremes
from tenfold.features.kernel.windowed import Windowed
from tenfold.processing.frame import Column


def extreme(windowed: Windowed, item: Aggregate) -> Column:
    """Return the least or greatest value, null when there is none."""
    pick = np.minimum if item.fn == "min" else np.maximum
    values, blank = windowed.parts.comparable(item.input, item.fn)
    result = _over_ranges(windowed, item, values, pick, blank)
    if item.window.kind in INTERVALS:
        used = windowed.parts.used(item.input)[: windowed.size]
        pick_over(windowed.ranges.loose(item.window).only(used), values, result, pick)
    if item.window.include_self:
        result = pick(result, values[windowed.size :])
    result = windowed.by_list(
        item, result, lambda rows: rows.extreme(values, pick, blank), windowed.slow(item)
    )
    valid, all_ = windowed.some(item)
    shown = result if all_ else np.where(valid, result, 0)
    return Column(exact_type(windowed.parts.type(item.input)), shown, valid)


def _over_ranges(
    windowed: Windowed, item: Aggregate, values: np.ndarray, pick: np.ufunc, blank: float
) -> np.ndarray:
    """Return the least or greatest value of each range; all windows of an input share one sparse table."""
    key = (item.input, item.fn)
    if key not in windowed.extremes:
        windows = list(dict.fromkeys(one.window for one in windowed.wanted if (one.input, one.fn) == key))
        bounds = [windowed.bounds(item.input, window) for window in windows]
        found = range_extremes(windowed.ranges.in_order(values[: windowed.size]), bounds, pick, blank)
        windowed.extremes[key] = dict(zip(windows, found, strict=True))
    return windowed.extremes[key][item.window]


def first(windowed: Windowed, item: Aggregate) -> Column:
    """Return the value of the first record that takes part."""
    return _edge(windowed, item, np.minimum)


def last(windowed: Windowed, item: Aggregate) -> Column:
    """Return the value of the last record that takes part."""
    return _edge(windowed, item, np.maximum)


def _edge(windowed: Windowed, item: Aggregate, pick: np.ufunc) -> Column:
    if not windowed.parts.all_ones(item.input, "member"):
        return _values(windowed, item, _edges(windowed, item, pick))
    # Where all rows take part, it is the same row for all inputs.
    key = (item.fn, item.window)
    if key not in windowed.edges:
        windowed.edges[key] = _edges(windowed, item, pick)
    return _values(windowed, item, windowed.edges[key])


def _edges(windowed: Windowed, item: Aggregate, pick: np.ufunc) -> np.ndarray:
    """Return per query the first or last row that takes part, -1 where there is none."""
    lo, hi = windowed.bounds(item.input, item.window)
    member = windowed.parts.member(item.input)[: windowed.size]
    none = windowed.size + len(lo) if pick is np.minimum else -1
    if windowed.parts.all_ones(item.input, "member"):
        place = lo if pick is np.minimum else hi - 1
        best = np.where(hi > lo, _placed(windowed, place), none)
    else:
        members = np.flatnonzero(windowed.ranges.in_order(member))
        place = members.searchsorted(lo) if pick is np.minimum else members.searchsorted(hi) - 1
        best = _rows_at(windowed, members, place, lo, hi, none)
    if item.window.kind in INTERVALS:
        loose = windowed.ranges.loose(item.window).only(member)
        pick_over(loose, np.arange(windowed.size), best, pick)
    own = windowed.joins(item.input, item.window)
    if own is not None:
        best = np.where(own, pick(best, windowed.here), best)
    best = np.where(best == none, -1, best)
    which = 0 if pick is np.maximum else -1
    return windowed.by_list(item, best, lambda rows: rows.nth(which), windowed.slow(item))


def _placed(windowed: Windowed, positions: np.ndarray) -> np.ndarray:
    """Return the rows of positions among the records in order; any where there is no such position."""
    if not windowed.ranges.count:
        return np.zeros(len(positions), dtype=np.int64)
    return windowed.ranges.place(np.clip(positions, 0, windowed.ranges.count - 1))


def lag(windowed: Windowed, item: Aggregate) -> Column:
    """Return the value of the record `item.n` before the last one that takes part."""
    lo, hi = windowed.bounds(item.input, item.window)
    members = np.flatnonzero(windowed.ranges.in_order(windowed.parts.member(item.input)[: windowed.size]))
    own = windowed.joins(item.input, item.window)
    back = item.n if own is None else item.n - own
    best = _rows_at(windowed, members, members.searchsorted(hi) - 1 - back, lo, hi, -1)
    if own is not None and item.n == 0:
        best = np.where(own, windowed.here, best)
    return _values(
        windowed, item, windowed.by_list(item, best, lambda rows: rows.nth(item.n), windowed.slow(item))
    )


def _rows_at(
    windowed: Windowed, members: np.ndarray, place: np.ndarray, lo: np.ndarray, hi: np.ndarray, none: int
) -> np.ndarray:
    """Return the rows of members at places, where they lie in [lo, hi)."""
    if not len(members):
        return np.full(len(place), none, dtype=np.int64)
    found = (place >= 0) & (place < len(members))
    position = members[np.where(found, place, 0)]
    found &= (position >= lo) & (position < hi)
    return np.where(found, windowed.ranges.place(position), none)


def mode(windowed: Windowed, item: Aggregate) -> Column:
    """Return the value whose rank by frequency is `item.n`, ties by value."""
    codes, ranks = windowed.parts.codes(item.input)
    used = windowed.parts.used(item.input)
    everything = np.arange(len(windowed.ranges.at))
    found = windowed.by_list(
        item,
        np.full(len(everything), -1, dtype=np.int64),
        lambda rows: rows.keep(used[rows.rows]).ranked(codes, ranks, item.n),
        everything,
    )
    values = _values(windowed, item, found)
    return (
        values
        if values.type == "str"
        else replace(values, values=values.values + values.values.dtype.type(0))
    )


def _values(windowed: Windowed, item: Aggregate, rows: np.ndarray) -> Column:
    """Return the values of an input at rows; null at -1."""
    column = windowed.parts.column(item.input)
    if not len(column):
        values = np.empty(len(rows), dtype=column.values.dtype)
        values[:] = None if column.type == "str" else 0
        return Column(column.type, values, np.zeros(len(rows), dtype=np.bool_))
    taken = column.take(np.maximum(rows, 0))
    valid = (rows >= 0) & taken.valid
    taken.values[~valid] = None if column.type == "str" else 0
    return Column(column.type, taken.values, valid)


def n_unique(windowed: Windowed, item: Aggregate) -> Column:
    """Return how many different values there are."""
    codes, _ = windowed.parts.codes(item.input)
    used = windowed.parts.used(item.input)
    query = np.arange(len(windowed.ranges.at))
    result = np.zeros(len(query), dtype=np.int64)
    if not item.window.include_self and item.window.kind != "session":
        mine = windowed.ranges.place(np.arange(windowed.ranges.count))
        result = _appearing(codes[mine], used[mine], *windowed.bounds(item.input, item.window))
        query = windowed.slow(item)
    found = windowed.by_list(item, result, lambda rows: rows.keep(used[rows.rows]).unique(codes), query)
    return Column("int", found, np.ones(len(found), dtype=np.bool_))


def _appearing(codes: np.ndarray, used: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """Return how many different codes [lo, hi) holds per query; both edges never go back from query to query.

    (Those of sessions do: a record that comes late may join an old one to the present.)

    A row counts for the queries whose range holds it and no longer holds the row before it with the same code.
    """
    rows = np.flatnonzero(used)
    order = rows[np.argsort(codes[rows], kind="stable")]
    leaves = lo.searchsorted(order, side="right")
    enters = hi.searchsorted(order, side="right")
    again = codes[order][1:] == codes[order][:-1]
    enters[1:] = np.where(again, np.maximum(enters[1:], leaves[:-1]), enters[1:])
    seen = leaves > enters
    change = np.zeros(len(lo) + 1, dtype=np.int64)
    np.add.at(change, enters[seen], 1)
    np.subtract.at(change, leaves[seen], 1)
    return np.cumsum(change)[:-1]
