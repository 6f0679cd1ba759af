"""The windows of some queries, record by record: what an aggregate means, for those that no shortcut serves."""

from collections.abc import Iterator

import numpy as np

from tenfold.core.windows import Window
from tenfold.features.kernel.ranges import INTERVALS, Loose, Ranges

PAIRS = 2_000_000
"""How many (query, record) pairs are held at once."""


class Listed:
    """Rows that take part, by query, in the total order.

    Attributes
    ----------
    query : (k,) int64
        Positions of the queries.
    rows : (p,) int64
        The rows of all of them, one query after the other.
    edges : (k + 1,) int64
        Where the rows of each query begin.
    """

    def __init__(self, query: np.ndarray, rows: np.ndarray, edges: np.ndarray) -> None:
        self.query, self.rows, self.edges = query, rows, edges

    @property
    def owner(self) -> np.ndarray:
        """Per row the place of its query."""
        return np.repeat(np.arange(len(self.query)), np.diff(self.edges))

    def keep(self, mask: np.ndarray) -> "Listed":
        """Return only the rows of a mask, shape (p,)."""
        counts = np.concatenate([[0], np.cumsum(mask)])
        return Listed(self.query, self.rows[mask], counts[self.edges])

    def newest(self, n: int) -> "Listed":
        """Return the last n rows of each query."""
        return self.keep(np.arange(len(self.rows)) >= self.edges[1:][self.owner] - n)

    def session(self, event: np.ndarray, moment: np.ndarray, size: int) -> "Listed":
        """Return the rows since the last pause longer than `size`, if there is none since."""
        owner = self.owner
        times = event[self.rows]
        next_ = np.append(times[1:], 0)
        last = np.append(owner[1:] != owner[:-1], True) if len(owner) else np.zeros(0, dtype=np.bool_)
        next_[last] = moment[owner[last]]
        broken = np.flatnonzero(next_ - times > size)
        edge = np.zeros(len(self.query), dtype=np.int64)
        np.maximum.at(edge, owner[broken], broken + 1)  # what comes behind the last pause
        return self.keep(np.arange(len(self.rows)) >= edge[owner])

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of int64 values per query."""
        sums = np.concatenate([[0], np.cumsum(values[self.rows])])
        return sums[self.edges[1:]] - sums[self.edges[:-1]]

    def extreme(self, values: np.ndarray, pick: np.ufunc, blank: float) -> np.ndarray:
        """Return the least or greatest value per query, `blank` where there is none."""
        result = np.full(len(self.query), blank, dtype=values.dtype)
        some = np.flatnonzero(np.diff(self.edges))
        if len(some):
            result[some] = pick.reduceat(values[self.rows], self.edges[:-1][some])
        return result

    def nth(self, n: int) -> np.ndarray:
        """Return the row n before the last one per query, or with -1 the first one; -1 where there is none."""
        place = self.edges[:-1] if n < 0 else self.edges[1:] - 1 - n
        found = (place >= self.edges[:-1]) & (place < self.edges[1:])
        return np.where(found, self.rows[np.where(found, place, 0)] if len(self.rows) else -1, -1)

    def unique(self, codes: np.ndarray) -> np.ndarray:
        """Return how many different codes there are per query."""
        owner, _, _ = self._counted(codes)
        return np.bincount(owner, minlength=len(self.query))

    def ranked(self, codes: np.ndarray, ranks: np.ndarray, n: int) -> np.ndarray:
        """Return per query a row with the n-th most frequent code, ties by its rank; -1 where there is none."""
        owner, row, count = self._counted(codes)
        order = np.lexsort((ranks[row], -count, owner))
        edges = np.searchsorted(owner[order], np.arange(len(self.query) + 1))
        place = edges[:-1] + n
        found = place < edges[1:]
        return np.where(found, row[order[np.where(found, place, 0)]] if len(row) else -1, -1)

    def _counted(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return per query and code: the query's place, one row, and how many rows."""
        width = int(codes.max(initial=0)) + 1
        both = self.owner * width + codes[self.rows]
        distinct, first, count = np.unique(both, return_index=True, return_counts=True)
        return distinct // width, self.rows[first], count


def listed(
    ranges: Ranges, window: Window, member: np.ndarray, query: np.ndarray, own: "OwnRows"
) -> Iterator[Listed]:
    """Yield the rows that take part in a window for queries at positions `query`, in pieces of bounded size."""
    loose = ranges.loose(window)
    if window.kind in INTERVALS:
        lo, hi = ranges.interval(window)
    else:
        lo, hi = ranges.interval(Window("all", offset=window.offset))
    load = hi[query] - lo[query] + 2
    load += _overlaps(loose, query)
    for piece in _pieces(query, load):
        rows = _rows(ranges, loose, lo, hi, piece, own)
        found = rows.keep(member[rows.rows])
        if window.kind == "rows":
            found = found.newest(window.size)
        elif window.kind == "session":
            found = found.session(own.event, (ranges.at - window.offset)[piece], window.size)
        yield found


class OwnRows:
    """The rows that are asked for, numbered behind the records, and which record each stands in for.

    `event` are the event times of records and own rows, one after the other.
    """

    def __init__(self, records: int, event: np.ndarray, earlier: np.ndarray | None) -> None:
        self.records, self.event, self.earlier = records, event, earlier


def _overlaps(loose: Loose, query: np.ndarray) -> np.ndarray:
    change = np.zeros(len(query) + 1, dtype=np.int64)
    np.add.at(change, np.searchsorted(query, loose.first), 1)
    np.subtract.at(change, np.searchsorted(query, loose.behind), 1)
    return np.cumsum(change)[:-1]


def _pieces(query: np.ndarray, load: np.ndarray) -> Iterator[np.ndarray]:
    if len(query):
        number = np.cumsum(load) // PAIRS
        yield from np.split(query, np.flatnonzero(np.diff(number)) + 1)


def _rows(
    ranges: Ranges, loose: Loose, lo: np.ndarray, hi: np.ndarray, query: np.ndarray, own: OwnRows
) -> Listed:
    """Return all rows that queries see, own rows last, without the versions they stand in for."""
    length = hi[query] - lo[query]
    owner, place = _spread(lo[query], length)
    owners, rows = [owner], [ranges.place(place)]
    if len(loose.rows):
        first, behind = np.searchsorted(query, loose.first), np.searchsorted(query, loose.behind)
        mine, places = _spread(first, behind - first)
        owners.append(places)
        rows.append(loose.rows[mine])
    if own.earlier is not None:
        owners.append(np.arange(len(query)))
        rows.append(own.records + query)
    owner, row = np.concatenate(owners), np.concatenate(rows)
    if own.earlier is not None:
        keep = row != own.earlier[query][owner]
        owner, row = owner[keep], row[keep]
    order = np.lexsort((row, owner)) if len(owners) > 1 else slice(None)
    edges = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(query)))])
    return Listed(query, row[order], edges)


def _spread(first: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for ranges given by first and length, the number of the range and the position of all they contain."""
    owner = np.repeat(np.arange(len(first)), length)
    begin = np.cumsum(length) - length
    return owner, np.arange(len(owner)) - begin[owner] + first[owner]
