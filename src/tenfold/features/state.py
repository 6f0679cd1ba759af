"""State of one key of one view: its records as far back as any window reaches, as bytes.

State, not values: a window is evaluated at the moment of the request by the kernel itself. The bytes are a function of
the set of records alone; how they were batched, or in which order they arrived, leaves no trace.
"""

import msgspec
import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel import Input, aggregate
from tenfold.features.records import Rows, in_order, outputs, versions
from tenfold.features.view import FeatureView
from tenfold.processing.frame import DTYPES, Column, concat

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_NOTHING = np.zeros(0, dtype=np.int64)


def advance(view: FeatureView, state: bytes | None, new: Rows, arrival: int) -> bytes:
    """Return the state after more records of its key, the newest of which arrived at `arrival`.

    Adding the same records again changes nothing.
    """
    rows = new
    if state is not None:
        old, before = unpack(view, state)
        rows, arrival = _join(old, new), max(before, arrival)
    rows = versions(rows)
    rows = rows.take(in_order(rows))
    return pack(rows.take(_needed(view, rows, arrival)), arrival)


def read(view: FeatureView, state: bytes | None, at: int) -> tuple[dict[str, Column], int | None]:
    """Return the features of one key as of `at`, one row each, and the event time of its newest known record."""
    rows = empty(view) if state is None else unpack(view, state)[0]
    records = rows.records(np.zeros(len(rows.event), dtype=np.int64))
    moment = np.array([at], dtype=np.int64)
    results = aggregate(records, np.zeros(1, dtype=np.int64), moment, view.plan.aggregates)
    seen = rows.event[(rows.known < at) & (rows.event < at)]
    return outputs(view, results, moment), int(seen[-1]) if len(seen) else None


def _needed(view: FeatureView, rows: Rows, arrival: int) -> np.ndarray:
    """Return which sorted rows a window, or a last value, may still reach.

    Measured from the newest arrival of the key: no request precedes it, and an event announced for tomorrow does not
    push out today's. So the outcome depends on the records and not on the clock.
    """
    source = view.source.root
    settled = arrival - source.look_back_us - source.delay_us
    keep = rows.event >= settled - view.plan.longest
    if view.plan.endless:
        keep[:] = True
    for place in view.plan.lifelong:
        older = np.flatnonzero(rows.inputs[place].member & (rows.event < settled) & (rows.until >= settled))
        final = np.flatnonzero((rows.known[older] < settled) & (rows.until[older] == FOREVER))
        keep[older[final[-1] if len(final) else 0 :]] = True
    return keep


def pack(rows: Rows, arrival: int) -> bytes:
    """Return rows, and the newest arrival among all that were ever added, as canonical bytes."""
    width = int(np.char.str_len(rows.ids).max()) if len(rows.ids) else 1
    parts: list[object] = [len(rows.event), max(width, 1), arrival]
    parts += [array.tobytes() for array in (rows.event, rows.known, rows.until, rows.offset)]
    parts.append(rows.ids.astype(f"S{max(width, 1)}").tobytes())
    for item in rows.inputs:
        values = item.column.values
        parts.append(values.tolist() if item.column.type == "str" else values.tobytes())
        parts += [item.column.valid.tobytes(), item.member.tobytes()]
    return _encode(parts)


def unpack(view: FeatureView, state: bytes) -> tuple[Rows, int]:
    """Return the rows of a state and the newest arrival."""
    count, width, arrival, *parts = _decode(state)
    event, known, until, offset = (np.frombuffer(part, dtype=np.int64) for part in parts[:4])
    ids = np.frombuffer(parts[4], dtype=f"S{width}")
    inputs = []
    for place, spec in enumerate(view.plan.inputs):
        values, valid, member = parts[5 + 3 * place : 8 + 3 * place]
        column = Column(spec.type, _values(values, spec.type, count), np.frombuffer(valid, dtype=np.bool_))
        inputs.append(Input(spec.name, column, np.frombuffer(member, dtype=np.bool_)))
    return Rows(event, known, until, offset, ids, tuple(inputs)), arrival


def _values(stored: object, type_: str, count: int) -> np.ndarray:
    if type_ == "str":
        values = np.empty(count, dtype=object)
        values[:] = stored
        return values
    return np.frombuffer(stored, dtype=DTYPES[type_])  # type: ignore[call-overload]


def empty(view: FeatureView) -> Rows:
    """Return the rows of a key nothing is known of."""
    inputs = tuple(
        Input(
            spec.name,
            Column(spec.type, np.zeros(0, dtype=DTYPES[spec.type]), np.zeros(0, dtype=np.bool_)),
            np.zeros(0, dtype=np.bool_),
        )
        for spec in view.plan.inputs
    )
    return Rows(_NOTHING, _NOTHING, _NOTHING, _NOTHING, np.zeros(0, dtype="S1"), inputs)


def _join(old: Rows, new: Rows) -> Rows:
    arrays = {
        name: np.concatenate([getattr(old, name), getattr(new, name)])
        for name in ("event", "known", "until", "offset", "ids")
    }
    inputs = tuple(_join_input(one, two) for one, two in zip(old.inputs, new.inputs, strict=True))
    return Rows(**arrays, inputs=inputs)


def _join_input(old: Input, new: Input) -> Input:
    return Input(old.name, concat([old.column, new.column]), np.concatenate([old.member, new.member]))
