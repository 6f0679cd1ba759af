"""Rows by key: which key each row has, which rows each key has, and which ids occur more than once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.processing.frame import Column

if TYPE_CHECKING:
    import pyarrow as pa


class _Codes(Protocol):
    """Codes of the values of one column: `size` of them, -1 for null; what the column does not hold has none of its codes."""

    size: int

    def of(self, item: Column) -> np.ndarray:
        """Return the code of each value of a column of the same type."""
        ...


class _Dense:
    """Whole numbers that span no more values than there are rows: the distance from the smallest."""

    def __init__(self, low: int, size: int) -> None:
        self._low, self.size = low, size

    def of(self, item: Column) -> np.ndarray:
        code = item.values - self._low
        held = (
            code.view(np.uint64) < self.size
        ) & item.valid  # unsigned, what is below the smallest is far above
        if not held.all():
            code[~held] = -1
        return code


class _Listed:
    """Any values: the place in order of appearance."""

    def __init__(self, item: Column) -> None:
        self._item = item
        self._values = item.coded[1]
        self.size = len(self._values)

    def of(self, item: Column) -> np.ndarray:
        import pyarrow.compute as pc

        if not len(item):
            return np.zeros(0, dtype=np.int64)  # to look for nothing among all values would still hash them
        places, values = item.coded
        if item is self._item:
            return np.where(item.valid, places.astype(np.int64), -1)
        mine = pc.fill_null(pc.index_in(values, value_set=self._values), -1).to_numpy().astype(np.int64)
        return np.where(item.valid, mine[places], -1) if len(mine) else np.full(len(item), -1)


def _codes(item: Column) -> _Codes:
    if item.type in ("int", "time") and len(item):
        low, high = int(item.values.min()), int(item.values.max())
        if high - low < len(item):
            return _Dense(low, high - low + 1)
    return _Listed(item)


class Keys:
    """The keys that some rows have, as numbers from 0 to `size`; a key with a null part is none and gets -1.

    Examples
    --------
    >>> from tenfold.processing.frame import column
    >>> keys = Keys([column("str", ["a", "b", "a"]), column("int", [1, 1, None])])
    >>> a, b, none = keys.codes.tolist()
    >>> keys.of([column("str", ["b", "b", "c"]), column("int", [1, 2, 1])]).tolist() == [b, -1, -1]
    True
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._parts = [_codes(item) for item in columns]
        self._pairs: list[_Codes] = []
        self.codes = self._parts[0].of(columns[0])
        self.size = self._parts[0].size
        for part, item in zip(self._parts[1:], columns[1:], strict=True):
            both = _pair(self.codes, part.of(item), part.size)
            pairs = _codes(both)
            self._pairs.append(pairs)
            self.codes, self.size = pairs.of(both), pairs.size

    def of(self, columns: Sequence[Column]) -> np.ndarray:
        """Return the code of other keys: the same for an equal key, one that no row has, or -1, for any other."""
        code = self._parts[0].of(columns[0])
        for part, pairs, item in zip(self._parts[1:], self._pairs, columns[1:], strict=True):
            code = pairs.of(_pair(code, part.of(item), part.size))
        return code


def _pair(one: np.ndarray, two: np.ndarray, size: int) -> Column:
    valid = (one >= 0) & (two >= 0)
    return Column("int", np.where(valid, one * size + two, 0), valid)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows by code: those of code c are `order[first[c] : first[c + 1]]`, in the order given."""

    order: np.ndarray
    first: np.ndarray


def by_group(group: np.ndarray) -> np.ndarray:
    """Return the positions of the rows that have a group, sorted by it and otherwise in the order given.

    Examples
    --------
    >>> by_group(np.array([1, 0, -1, 1])).tolist()
    [1, 0, 3]
    """
    largest, width = int(group.max(initial=0)) + 1, len(group).bit_length()
    if largest < 1 << 16:  # small integers are sorted by counting
        small = np.add(group, 1, out=np.empty(len(group), dtype=np.uint16), casting="unsafe")
        order = np.argsort(small, kind="stable")
    elif largest < 1 << (63 - width):  # one number of group and place: numpy sorts numbers fastest
        both = group.astype(np.int64) + 1
        both <<= width
        both |= np.arange(len(group))
        both.sort()
        both &= (1 << width) - 1
        order = both
    else:
        order = np.argsort(group, kind="stable")
    missing = np.count_nonzero(group < 0)
    return order[missing:] if missing else order


def groups(code: np.ndarray, size: int) -> Groups:
    """Return rows by their codes, which are below `size`; rows with a negative one are in no group.

    Examples
    --------
    >>> found = groups(np.array([1, 0, -1, 1]), 3)
    >>> found.order.tolist(), found.first.tolist()
    ([1, 0, 3], [0, 1, 3, 3])
    """
    first = np.zeros(size + 1, dtype=np.int64)
    held = code >= 0
    np.cumsum(np.bincount(code if held.all() else code[held], minlength=size), out=first[1:])
    return Groups(by_group(code), first)


def repeated(columns: Sequence[Column]) -> np.ndarray:
    """Return the positions of the rows whose id another row has too.

    Examples
    --------
    >>> from tenfold.processing.frame import column
    >>> repeated([column("str", ["a", "b", "a"])]).tolist()
    [0, 2]
    """
    code = columns[0].values
    if columns[0].type == "str" or len(columns) > 1:
        if len(columns) == 1 and _ascending(_texts(columns[0])):
            return np.zeros(0, dtype=np.int64)
        joined = _joined(columns)
        code = Keys([_filled(item) for item in columns]).codes if joined is None else joined
    if (code[1:] > code[:-1]).all():
        return np.zeros(0, dtype=np.int64)
    found = np.sort(code)
    again = np.unique(found[1:][found[1:] == found[:-1]])
    return np.flatnonzero(np.isin(code, again)) if len(again) else np.zeros(0, dtype=np.int64)


def _joined(columns: Sequence[Column]) -> np.ndarray | None:
    """Return whole numbers side by side as one number a row; None when that does not fit."""
    code, size = np.zeros(len(columns[0]), dtype=np.int64), 1
    for item in columns:
        if item.type == "str" or not len(item):
            return None
        values = item.values.astype(np.int64)
        low = int(values.min())
        width = int(values.max()) - low + 1
        if size * width >= FOREVER:
            return None
        code, size = code * width + (values - low), size * width
    return code


def _filled(item: Column) -> Column:
    """Return a column as ids read it: null is the blank value. A new one, so that its codes are not kept."""
    values = item.values
    if item.type == "str" and not item.valid.all():
        values = np.where(item.valid, values, "")
    return Column(item.type, values, np.ones(len(item), dtype=np.bool_))


def _texts(item: Column) -> "pa.Array":
    import pyarrow as pa

    return pa.array(item.values, pa.string())


def _ascending(texts: "pa.Array") -> bool:
    import pyarrow.compute as pc

    if len(texts) < 2:
        return True
    return bool(pc.all(pc.less(texts[:-1], texts[1:]), skip_nulls=False).as_py())
