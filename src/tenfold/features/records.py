"""From rows of a source to sorted records of a view: keys, order, versions. The same steps offline and online."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.core.expr import AS_OF
from tenfold.core.times import FOREVER
from tenfold.features.kernel.compute import Input, Records
from tenfold.features.view import FeatureView, slot
from tenfold.processing.batches import ARRIVAL as ARRIVAL
from tenfold.processing.batches import OFFSET as OFFSET
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import apply
from tenfold.processing.evaluate import Made, evaluate
from tenfold.processing.frame import Column, Frame

if TYPE_CHECKING:
    import pyarrow as pa

FEW = 64
"""Up to so many rows plain Python is the fastest."""
_BLURRING = np.frombuffer(b"\0\x1b\x1f", dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Rows:
    """A view's records as they arrived, with what orders and identifies them.

    `ids` are UTF-8 bytes of fixed width; `offset` is the place in the log, which decides between two versions that
    became known at the same instant.
    """

    event: np.ndarray
    known: np.ndarray
    until: np.ndarray
    offset: np.ndarray
    ids: np.ndarray
    inputs: tuple[Input, ...]

    def take(self, rows: np.ndarray) -> "Rows":
        """Return the rows at positions, or where a mask is true."""
        inputs = tuple(item.take(rows) for item in self.inputs)
        return Rows(
            self.event[rows], self.known[rows], self.until[rows], self.offset[rows], self.ids[rows], inputs
        )

    def lasting(self) -> "Rows":
        """Return the rows as if no later version of them were known."""
        return replace(self, until=np.full(len(self.event), FOREVER, dtype=np.int64))

    def records(self, group: np.ndarray) -> Records:
        """Return the kernel's form; rows must be sorted by (group, event, id)."""
        return Records(group, self.event, self.known, self.until, self.inputs)


def rows_of(
    view: FeatureView, frame: Frame, rows: int, ids: np.ndarray | None = None
) -> tuple[list[Column], Rows]:
    """Return the key columns and the records of a view, in the order of the frame; `ids` when they are at hand."""
    columns, inputs = inputs_of(view, frame, rows)
    root = view.source.root
    keys = [columns[name] for name in view.keys]
    found = Rows(
        columns[root.time].values,
        columns[KNOWN].values,
        np.full(rows, FOREVER, dtype=np.int64),
        columns[OFFSET].values,
        identities([columns[name] for name in root.ids]) if ids is None else ids,
        inputs,
    )
    return keys, found


def inputs_of(view: FeatureView, frame: Frame, rows: int) -> tuple[dict[str, Column], tuple[Input, ...]]:
    """Return the columns of a view's source for rows of its root, and what the view aggregates of them."""
    columns, keep = apply(view.source, frame, rows)
    member = np.ones(rows, dtype=np.bool_) if keep is None else keep.values
    inputs = []
    made: Made = {}
    for spec in view.plan.inputs:
        part = member
        if spec.where is not None:
            met = evaluate(spec.where, columns, rows, made)
            part = member & met.valid & met.values
        inputs.append(Input(spec.name, evaluate(spec.value, columns, rows, made), part))
    return columns, tuple(inputs)


def identities(columns: Sequence[Column]) -> np.ndarray:
    """Return one fixed-width byte string per row; several fields are joined unambiguously."""
    if len(columns[0]) > FEW and (found := _many_identities(columns)) is not None:
        return found
    texts = [_texts(item) for item in columns]
    joined = texts[0] if len(texts) == 1 else [b"\x1f".join(parts) for parts in zip(*texts, strict=True)]
    return np.array(joined, dtype=np.bytes_) if joined else np.zeros(0, dtype="S1")


def identity(cells: Iterable[tuple[Any, str]]) -> str:
    r"""Return the same as text for one row, given as its values with their types.

    Examples
    --------
    >>> identity([("a\x1fb", "str"), (7, "int"), (None, "str")])
    'a\x1bsb\x1f7\x1f'
    """
    texts = [_plain(value or "") if type_ == "str" else str(int(value or 0)) for value, type_ in cells]
    return texts[0] if len(texts) == 1 else "\x1f".join(texts)


def _texts(item: Column) -> list[bytes]:
    if item.type == "str":
        return [b"" if text is None else _plain(text).encode() for text in item.values.tolist()]
    return [b"%d" % int(value) for value in item.values.tolist()]


def _many_identities(columns: Sequence[Column]) -> np.ndarray | None:
    """Return the same for many rows at once; None when a text has a character that must be replaced."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = []
    for item in columns:
        text = item.type == "str"
        if text:
            values = pa.array(item.values, pa.string())
        else:
            values = pa.array(item.values.astype(np.int64)).cast(pa.string())
        data = pc.fill_null(values.cast(pa.large_binary()), b"")
        if text and np.isin(_bytes(data)[0], _BLURRING).any():
            return None
        texts.append(data)
    joined = (
        texts[0]
        if len(texts) == 1
        else pc.binary_join_element_wise(*texts, pa.scalar(b"\x1f", pa.large_binary()))
    )
    data, ends = _bytes(joined)
    length = np.diff(ends)
    out = np.zeros((len(length), max(int(length.max()), 1)), dtype=np.uint8)
    out[np.arange(out.shape[1]) < length[:, None]] = data[ends[0] : ends[-1]]
    return out.view(f"S{out.shape[1]}").ravel()


def _bytes(texts: "pa.Array") -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of a large binary array, and where each value begins in them and the last one ends."""
    _, ends, data = texts.buffers()
    ends = np.frombuffer(ends, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.zeros(0, np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)[: ends[-1]], ends


def _plain(text: str) -> str:
    """Return text without the characters that would blur where an id ends: NUL and the separator."""
    if text.isprintable():
        return text
    return text.replace("\x1b", "\x1be").replace("\0", "\x1b0").replace("\x1f", "\x1bs")


def ended(ids: np.ndarray, known: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return from when the next version of each record was known, FOREVER for the newest, and which rows to keep.

    Of rows with equal id and offset one is kept.

    Examples
    --------
    >>> until, keep = ended(np.array([b"a", b"b", b"a"]), np.array([1, 2, 3]), np.arange(3))
    >>> until.tolist() == [3, FOREVER, FOREVER], keep.tolist()
    (True, [True, True, True])
    """
    order = np.lexsort((offset, known, *_words(ids)))
    same = ids[order][1:] == ids[order][:-1]
    again = same & (offset[order][1:] == offset[order][:-1])
    keep = np.ones(len(ids), dtype=np.bool_)
    keep[order[1:][again]] = False
    order = order[keep[order]]
    same = ids[order][1:] == ids[order][:-1]
    until = np.full(len(ids), FOREVER, dtype=np.int64)
    until[order[:-1][same]] = known[order[1:][same]]
    return until, keep


def _words(ids: np.ndarray) -> list[np.ndarray]:
    """Return byte strings as numbers that sort as they do, the first to look at last, as `lexsort` takes keys."""
    width = ids.dtype.itemsize
    padded = np.zeros((len(ids), -(-width // 8) * 8), dtype=np.uint8)
    padded[:, :width] = np.ascontiguousarray(ids).view(np.uint8).reshape(len(ids), width)
    return list(padded.view(">u8").astype(np.uint64).T[::-1])


Named = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Gives the ids, known times and offsets of rows at positions: only rows with equal times need them."""


def in_order(rows: Rows, group: np.ndarray | None = None) -> np.ndarray:
    """Return the positions that sort rows by (group, event, id, known)."""
    order = total_order(
        rows.event, group, lambda chosen: (rows.ids[chosen], rows.known[chosen], rows.offset[chosen])
    )
    return np.arange(len(rows.event)) if order is None else order


def total_order(event: np.ndarray, group: np.ndarray | None, named: Named) -> np.ndarray | None:
    """Return the positions that sort rows by (group, event, id, known, offset); None when they are sorted."""
    order = by_time(event, group)
    times = event if order is None else event[order]
    tied = times[1:] == times[:-1]
    if group is not None:
        of = group if order is None else group[order]
        tied &= of[1:] == of[:-1]
    if tied.any():
        places = np.arange(len(event)) if order is None else order
        if sort_ties(places, tied, named):
            return places
    return order


def by_time(event: np.ndarray, group: np.ndarray | None) -> np.ndarray | None:
    """Return the positions that sort by (group, event), in any order where these are equal; None when they are sorted."""
    back = event[1:] < event[:-1]
    if group is not None:
        back &= group[1:] == group[:-1]
        back |= group[1:] < group[:-1]
    if not back.any():
        return None
    first = int(event.min())
    span = int(event.max()) - first + 1
    if group is None:
        return np.argsort(event)
    if (int(group.max()) + 1) * span < FOREVER and int(group.min()) >= 0:
        return np.argsort(group * span + (event - first))  # numpy sorts one number a row fastest
    return np.lexsort((event, group))


def sort_ties(order: np.ndarray, tied: np.ndarray, named: Named) -> bool:
    """Sort the rows of each run of equal (group, event) by (id, known) in place; return whether that changed anything."""
    run = np.concatenate([[False], tied]) | np.concatenate([tied, [False]])
    places = np.flatnonzero(run)
    number = np.cumsum(np.concatenate([[True], ~tied]))[places]
    chosen = order[places]
    ids, known, offset = named(chosen)
    keys = (offset, known, *_words(ids), number)
    if _ascends(keys):
        return False
    order[places] = chosen[np.lexsort(keys)]
    return True


def _ascends(keys: Sequence[np.ndarray]) -> bool:
    """Return whether rows are sorted already by keys as `lexsort` takes them."""
    undecided = np.ones(max(len(keys[0]) - 1, 0), dtype=np.bool_)
    for key in reversed(keys):
        if (undecided & (key[1:] < key[:-1])).any():
            return False
        undecided &= key[1:] == key[:-1]
    return True


def outputs(view: FeatureView, results: Sequence[Column], at: np.ndarray) -> dict[str, Column]:
    """Return the features of a view from its aggregates as of `at`."""
    frame: dict[str, Column] = {slot(place): item for place, item in enumerate(results)}
    frame[AS_OF] = Column("time", at, np.ones(len(at), dtype=np.bool_))
    made: Made = {}
    return {name: evaluate(expr, frame, len(at), made) for name, expr in view.plan.outputs.items()}
