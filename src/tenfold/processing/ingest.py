"""The way in: check rows, append them to the log; from when they were known follows from their arrival there."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, SchemaError, Unavailable
from tenfold.processing.batches import Marks, declared, encode, marks, to_table
from tenfold.processing.conform import Reject, complaint, conform
from tenfold.processing.frame import Frame
from tenfold.processing.quarantine import Aside, Quarantine
from tenfold.sources.base import Append, Batch, Log
from tenfold.sources.declare import Events
from tenfold.sources.turn import Locked

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_BATCH, TEXT_PER_BATCH = 65_536, 16_000_000
"""Rows of a batch, and characters of their texts when they are several, at most: who reads it has all of it in memory.

To become smaller, never larger: a call that is repeated could not be told from another one.
"""
LAST = "last"
"""The last of several batches of a call has a key with this too: no more rows belong to it."""
LONGEST = 200_000_000
"""Characters of a row, which are up to four bytes each: SQLite takes a batch of less than a billion bytes."""
PATIENCE = 0.05
"""Seconds that calls wait for those among them with rows that do not fit: longer than a commit of this process takes."""
Item = TypeVar("Item")
Made = TypeVar("Made")
Fits = Callable[[Events], object]


class Call(NamedTuple):
    """Rows for a source, under a key or none."""

    source: Events
    rows: Any
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the rows given: stored in the log, or set aside with reasons."""

    source: str
    stored: int
    rejected: int
    message: str


def ingest(
    source: Events,
    data: Any,
    *,
    log: Log,
    quarantine: Quarantine,
    clock: Clock,
    history: bool = False,
    key: str | None = None,
    fits: Fits = lambda _: None,
) -> Ingested:
    """Check rows and append those that fit to the log; returns when they are durable.

    Rows that do not fit are kept first, then the others are appended in parts: after a crash in between nothing that
    was acknowledged is lost, and the same call again, with its key, completes it. Without a key rows may then be in the
    log twice; equal record ids count once.

    Parameters
    ----------
    history
        True for a load of what is long known: records count as known from their declared time. False for what
        happens now: they count as known from their arrival when that is later.
    key
        Makes the call idempotent: the same key again stores nothing, counts nothing twice and answers the same.
    fits
        Is given the source first, and raises when it is declared otherwise than what is stored of it.

    Raises
    ------
    Conflict
        When rows were stored under this key and they are others: the first call counts. A key under which nothing
        could be stored may be used again.
    SchemaError
        When a table as a whole does not fit, or a row is longer than a batch may be; nothing is stored then.
    """
    call = Call(source, data, key)
    fits(source)
    checked = _check(call, log, clock, history=history)
    if checked.rejects:
        quarantine.add(checked.aside)
    for append in checked.appends():
        held = log.append(append.topic, append.data, append.count, key=append.key)
        checked.must_hold(append, held, log)
    return checked.told


def ingest_all(
    calls: Sequence[Call],
    *,
    log: Log,
    quarantine: Quarantine,
    clock: Clock,
    wait: float | None = None,
    fits: Fits = lambda _: None,
) -> list[Ingested | Exception]:
    """Do what `ingest` does for each call, with one append for all of them, and return what each returned or raised.

    None of them costs another one anything.

    Parameters
    ----------
    wait
        Seconds after which other writers are waited for no more. Then nothing of the calls is stored, but rows that do not
        fit may be kept already, which the error says. Without, a call with such rows is not stored and gets `Locked` when
        others write to where these are kept, so that no other call waits for that; those of the log are waited for.
    fits
        As `ingest` takes it.
    """
    until = None if wait is None else clock.elapsed() + int(wait * 1e6)

    def checked(call: Call) -> _Checked:
        fits(call.source)
        return _check(call, log, clock)

    found = [_tried(partial(checked, call)) for call in calls]
    bad = [place for place, one in enumerate(found) if isinstance(one, _Checked) and one.rejects]
    kept = _together(partial(_set_aside, quarantine, clock, until), [found[place] for place in bad])
    for place, error in zip(bad, kept, strict=True):
        if error is not None:
            found[place] = error
    appends = [
        (place, one, append)
        for place, one in enumerate(found)
        if isinstance(one, _Checked)
        for append in one.appends()
    ]
    store = log.append_all if until is None else partial(_store, log, clock, until)
    held = _together(store, [append for *_, append in appends])
    for (place, one, append), batch in zip(appends, held, strict=True):
        try:
            one.must_hold(append, batch, log)
        except Locked as error:
            found[place] = _only_aside(calls[place]) if place in bad else error
        except Exception as error:  # noqa: BLE001 - the caller is told, whatever it is
            found[place] = error
    return [one.told if isinstance(one, _Checked) else one for one in found]


class _Checked(NamedTuple):
    """The rows of a call that fit, those that do not, and what it is told when they are stored.

    `ends` says where each part ends that becomes a batch, and `there` how many of these are stored already.
    """

    call: Call
    frame: Frame
    rejects: Sequence[Reject]
    batch: str
    marks: Marks
    told: Ingested
    ends: Sequence[int]
    there: int = 0

    @property
    def aside(self) -> Aside:
        """The rows that are kept aside."""
        return Aside(self.told.source, self.rejects, self.batch)

    def appends(self) -> Iterator[Append]:
        """Yield the parts to append."""
        bounds = list(enumerate(pairwise([0, *self.ends])))
        for part, (start, end) in bounds[self.there :]:
            yield self._append(part, start, end)

    def _append(self, part: int, start: int, end: int) -> Append:
        rows = np.arange(start, end)
        frame = {name: item.take(rows) for name, item in self.frame.items()}
        key: str | Sequence[str] | None = None if self.call.key is None else self._key(part)
        if key and part and end == self.told.stored:
            key = [self._key(part), self._key(LAST)]
        return Append(self.told.source, encode(frame, len(rows), self.marks), len(rows), key)

    def _key(self, part: int | str) -> str:
        return f"{self.call.key}/{part}"

    def _held(self, part: int | str, log: Log) -> Batch | None:
        """Return what the log holds under the key of a part."""
        return next(iter(log.find(self.told.source, [self._key(part)]).values()), None)

    def going_on(self, log: Log) -> "_Checked":
        """Return the call without those of its parts that are stored: where it is repeated it is cut as it was at first."""
        ends, left, full = [0], self.ends, True
        while held := self._held(len(ends) - 1, log):
            end = ends[-1] + held.count
            if end > self.told.stored:
                raise self._other()
            self.must_hold(self._append(len(ends) - 1, ends[-1], end), held, log)
            full = end >= left[0]
            left = [one for one in left if one > end]
            ends.append(end)
        if left and (not full or self._held(LAST, log)):  # the first call had no more rows
            raise self._other()
        return self._replace(ends=[*ends[1:], *left], there=len(ends) - 1)

    def must_hold(self, append: Append, held: Batch | Exception, log: Log) -> None:
        """Raise what went wrong, or Conflict when other rows were first under this key."""
        if isinstance(held, Exception):
            raise held
        if self.call.key is None or held.data is append.data:
            return
        if held.data != append.data and not _same_rows(
            self.call.source, to_table(replace(held, data=append.data, count=append.count)), to_table(held)
        ):
            raise self._other()
        if len(self.ends) == 1 and self._held(1, log):  # there were more of them
            raise self._other()

    def _other(self) -> Conflict:
        return Conflict(
            f'key "{self.call.key}" of source "{self.told.source}" was already used for other rows. Those of the first call '
            "count; give other rows a new key."
        )


def _check(call: Call, log: Log, clock: Clock, *, history: bool = False) -> _Checked:
    """Split the rows of a call into those that fit and those that do not."""
    source, data, key = call
    judged = 0 if history else _judged(source, log, key, clock)
    conformed = conform(source, data, arrival=judged)
    total = conformed.rows + len(conformed.rejects)
    message = complaint(source.name, total, conformed.rejects) if conformed.rejects else ""
    batch = f"call {clock.now()} {clock.elapsed()}" if key is None else f"key {key}"
    told = Ingested(source.name, conformed.rows, len(conformed.rejects), message)
    marked = Marks(history, 0 if source.lateness is None else judged)
    ends = _ends(source, conformed.frame, conformed.rows)
    checked = _Checked(call, conformed.frame, conformed.rejects, batch, marked, told, ends)
    return checked.going_on(log) if key is not None and len(ends) > 1 else checked


def _ends(source: Events, frame: Frame, rows: int) -> list[int]:
    """Return where the parts of rows end that become a batch each, which follows from the rows alone."""
    texts = [item.values for item in frame.values() if item.type == "str"]
    ends = []
    for start in range(0, rows, ROWS_PER_BATCH):
        end = min(start + ROWS_PER_BATCH, rows)
        some = [values[start:end].tolist() for values in texts]
        if sum(map(_characters, some)) > TEXT_PER_BATCH:
            ends += [start + place for place in _cuts(source, map(_characters, zip(*some, strict=True)))]
        ends.append(end)
    return ends


def _characters(texts: Iterable[str | None]) -> int:
    return sum(map(len, filter(None, texts)))


def _cuts(source: Events, rows: Iterable[int]) -> Iterator[int]:
    """Yield the rows, of which the characters are given, before which a batch ends."""
    taken = 0
    for place, row in enumerate(rows):
        if row > LONGEST:
            raise SchemaError(
                f'a row of source "{source.name}" has texts of {row:,} characters together. A row may have {LONGEST:,}: keep long '
                "ones elsewhere and their names here. Nothing was stored."
            )
        if taken and taken + row > TEXT_PER_BATCH:
            yield place
            taken = 0
        taken += row


def _judged(source: Events, log: Log, key: str | None, clock: Clock) -> int:
    """Return the moment at which lateness is judged: of a call that is repeated, that of the first one."""
    first = [] if key is None or source.lateness is None else [f"{key}/0"]
    held = next(iter(log.find(source.name, first).values()), None)
    return clock.now() if held is None else marks(held).judged


def _set_aside(
    quarantine: Quarantine, clock: Clock, until: int | None, these: Sequence[_Checked]
) -> Sequence[None]:
    wait = PATIENCE if until is None else (until - clock.elapsed()) / 1e6
    quarantine.add(*(one.aside for one in these), wait=wait)
    return [None] * len(these)


def _only_aside(call: Call) -> Unavailable:
    return Unavailable(
        f'source "{call.source.name}" set aside the rows that do not fit, but another writer kept the log, so none of the '
        "others was stored. Send them all again under the same idempotency-key, and each counts once."
    )


def _store(log: Log, clock: Clock, until: int, appends: Sequence[Append]) -> Sequence[Batch]:
    """Append, unless other writers have the log until that moment."""
    while True:
        try:
            return log.prompt().append_all(appends)
        except Locked:
            if clock.elapsed() >= until:
                raise


def _together(
    work: Callable[[Sequence[Item]], Sequence[Made]], items: Sequence[Item]
) -> Sequence[Made | Exception]:
    """Return what is made of items in one commit, or what each fails of."""
    try:
        return work(items) if items else []
    except Exception as error:  # noqa: BLE001 - the callers are told, whatever it is
        if len(items) == 1 or isinstance(error, Unavailable):
            return [error] * len(items)
        # one of them is to blame, and only that one may fail of it
        return [_together(work, [item])[0] for item in items]


def _tried(work: Callable[[], Made]) -> Made | Exception:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - the caller is told, whatever it is
        return error


def _same_rows(source: Events, one: "pa.Table", two: "pa.Table") -> bool:
    """Return whether the declared columns are equal: the same rows count as stored, as history or not."""
    return bool(declared(source, one).equals(declared(source, two)))
