"""From rows of a source to sorted records of a view: keys, order, versions. The same steps offline and online."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from tenfold.core.expr import AS_OF
from tenfold.core.times import FOREVER
from tenfold.features.kernel import Input, Records
from tenfold.features.view import FeatureView, slot
from tenfold.processing.batches import ARRIVAL as ARRIVAL
from tenfold.processing.batches import OFFSET as OFFSET
from tenfold.processing.conform import KNOWN
from tenfold.processing.derive import apply
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import Column, Frame, joint_codes


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

    def records(self, group: np.ndarray) -> Records:
        """Return the kernel's form; rows must be sorted by (group, event, id)."""
        return Records(group, self.event, self.known, self.until, self.inputs)


def rows_of(
    view: FeatureView, frame: Frame, rows: int, ids: np.ndarray | None = None
) -> tuple[list[Column], Rows]:
    """Return the key columns and the records of a view, in the order of the frame; `ids` when they are at hand."""
    columns, keep = apply(view.source, frame, rows)
    root = view.source.root
    member = np.ones(rows, dtype=np.bool_) if keep is None else keep.values
    inputs = []
    for spec in view.plan.inputs:
        part = member
        if spec.where is not None:
            met = evaluate(spec.where, columns, rows)
            part = member & met.valid & met.values
        inputs.append(Input(spec.name, evaluate(spec.value, columns, rows), part))
    keys = [columns[name] for name in view.keys]
    found = Rows(
        columns[root.time].values,
        columns[KNOWN].values,
        np.full(rows, FOREVER, dtype=np.int64),
        columns[OFFSET].values,
        identities([columns[name] for name in root.ids]) if ids is None else ids,
        tuple(inputs),
    )
    return keys, found


def identities(columns: Sequence[Column]) -> np.ndarray:
    """Return one fixed-width byte string per row; several fields are joined unambiguously."""
    texts = [_texts(item) for item in columns]
    joined = texts[0] if len(texts) == 1 else [b"\x1f".join(parts) for parts in zip(*texts, strict=True)]
    return np.array(joined, dtype=np.bytes_) if joined else np.zeros(0, dtype="S1")


def _texts(item: Column) -> list[bytes]:
    if item.type == "str":
        return [b"" if text is None else _plain(text).encode() for text in item.values.tolist()]
    return [b"%d" % int(value) for value in item.values.tolist()]


def _plain(text: str) -> str:
    """Return text without the characters that would blur where an id ends: NUL and the separator."""
    if text.isprintable():
        return text
    return text.replace("\x1b", "\x1be").replace("\0", "\x1b0").replace("\x1f", "\x1bs")


def pack_key(values: Sequence[object]) -> bytes:
    """Return the canonical bytes of an entity key."""
    return msgspec.msgpack.encode(list(values))


def versions(rows: Rows) -> Rows:
    """Count each record id once: end a version from the moment the next one was known.

    A record that was delivered twice, with the same offset, is kept once. One that was sent twice is two versions of
    the same content; which of them counts makes no difference, and the outcome does not depend on the order of arrival.
    """
    if len(rows.ids) < 2:
        return rows
    order = np.lexsort((rows.offset, rows.known, rows.ids))
    same = rows.ids[order][1:] == rows.ids[order][:-1]
    if not same.any():
        return rows
    again = same & (rows.offset[order][1:] == rows.offset[order][:-1])
    keep = np.ones(len(rows.ids), dtype=np.bool_)
    keep[order[1:][again]] = False
    order = order[np.concatenate([[True], ~again])]
    same = rows.ids[order][1:] == rows.ids[order][:-1]
    until = rows.until.copy()
    ended, by = order[:-1][same], order[1:][same]
    until[ended] = np.minimum(until[ended], rows.known[by])
    return Rows(rows.event, rows.known, until, rows.offset, rows.ids, rows.inputs).take(keep)


def in_order(rows: Rows, group: np.ndarray | None = None) -> np.ndarray:
    """Return the positions that sort rows by (group, event, id, known)."""
    keys = (rows.event,) if group is None else (rows.event, group)
    order = np.lexsort(keys)
    tied = rows.event[order][1:] == rows.event[order][:-1]
    if group is not None:
        tied &= group[order][1:] == group[order][:-1]
    if tied.any():
        _sort_ties(order, tied, rows)
    return order


def _sort_ties(order: np.ndarray, tied: np.ndarray, rows: Rows) -> None:
    """Sort the rows of each run of equal (group, event) by (id, known) in place."""
    run = np.concatenate([[False], tied]) | np.concatenate([tied, [False]])
    places = np.flatnonzero(run)
    number = np.cumsum(np.concatenate([[True], ~tied]))[places]
    chosen = order[places]
    inner = np.lexsort((rows.offset[chosen], rows.known[chosen], rows.ids[chosen], number))
    order[places] = chosen[inner]


def key_codes(parts: Sequence[Sequence[Column]]) -> tuple[list[np.ndarray], int]:
    """Return int64 codes for the keys of several sets of rows, equal keys having equal codes, and how many there are.

    A key with a null part gets -1: it belongs to no entity.
    """
    lengths = [len(columns[0]) for columns in parts]
    valid = np.ones(sum(lengths), dtype=np.bool_)
    code, size = np.zeros(sum(lengths), dtype=np.int64), 1
    for columns in zip(*parts, strict=True):
        valid &= np.concatenate([item.valid for item in columns])
        place, distinct = joint_codes(columns)
        both = Column("int", code * distinct + place, valid)
        code, size = (place, distinct) if size == 1 else joint_codes([both])
    code = np.where(valid, code, -1)
    return np.split(code, np.cumsum(lengths)[:-1]), size


def outputs(view: FeatureView, results: Sequence[Column], at: np.ndarray) -> dict[str, Column]:
    """Return the features of a view from its aggregates as of `at`."""
    frame: dict[str, Column] = {slot(place): item for place, item in enumerate(results)}
    frame[AS_OF] = Column("time", at, np.ones(len(at), dtype=np.bool_))
    return {name: evaluate(expr, frame, len(at)) for name, expr in view.plan.outputs.items()}
