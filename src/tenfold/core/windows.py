"""Aggregates over the records of a key, and the windows they may be over."""

from dataclasses import dataclass
from typing import Any, Protocol, Self, TypedDict, Unpack

from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.times import DAY, UNITS, duration, time_zone

AGGREGATES = (
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "var",
    "std",
    "first",
    "last",
    "lag",
    "n_unique",
    "mode",
    "decayed_sum",
    "approx_n_unique",
    "approx_quantile",
)
MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Window:
    """Which of the records known before t an aggregate is over; instants and durations in microseconds.

    Attributes
    ----------
    kind
        "all": every record. "time": events in (t - size, t). "days": events since the local midnight that begins the
        size-th last day, today counted, in `zone`. "rows": the last `size` records that take part. "session": the
        records that take part since the last pause longer than `size`; none when the pause lasts at t.
    offset
        How far back: t - offset stands for t, except that a record still counts from when it was known.
    include_self
        The row that is asked for counts too, as the newest record.
    """

    kind: str = "all"
    size: int = 0
    zone: str = ""
    offset: int = 0
    include_self: bool = False

    @property
    def reach(self) -> int | None:
        """How much older than t a record may be and still count; None when there is no limit."""
        if self.kind == "time":
            return self.size + self.offset
        if self.kind == "days":
            return self.size * DAY + DAY + self.offset  # a local day may have 25 hours, and zones move
        return None

    @property
    def text(self) -> str:
        """The window as it reads in an expression, "" when it is all there is."""
        size = str(self.size) if self.kind in ("rows", "days") else _span(self.size)
        name = {"all": "", "time": f"window={size}", "days": f"days={size}"}
        parts = [name.get(self.kind, f"{self.kind}={size}")]
        parts += [
            f"zone={self.zone!r}" if self.zone else "",
            f"offset={_span(self.offset)}" if self.offset else "",
        ]
        parts.append("include_self" if self.include_self else "")
        return ", ".join(part for part in parts if part)


class Over(TypedDict, total=False):
    """What an aggregate is over; with none of `window`, `rows` and `session`, over all that is known.

    Attributes
    ----------
    window
        A trailing time window such as "3h"; with `zone`, whole local days such as "7d", today included.
    rows
        The last so many records that take part.
    session
        The current session: records without a longer pause than this, such as "30m".
    zone
        The time zone whose days count.
    offset
        Shifts the window back.
    include_self
        Also count the row that is asked for.
    where
        Which records take part.
    """

    window: str | None
    rows: int | None
    session: str | None
    zone: str | None
    offset: str | None
    include_self: bool
    where: Any


def window_of(fn: str, over: Over) -> Window:
    """Return the window that keyword arguments describe.

    Raises
    ------
    DefinitionError
        When they do not name one window.

    Examples
    --------
    >>> window_of("sum", {"window": "7d", "offset": "1d"}).text
    'window=604800s, offset=86400s'
    """
    for name in over:
        if name not in Over.__annotations__:
            raise DefinitionError(f'{fn} takes no "{name}".{suggest(name, Over.__annotations__)}')
    given = [name for name in ("window", "rows", "session") if over.get(name) is not None]
    if len(given) > 1:
        raise DefinitionError(f"{fn} is over {' and '.join(given)}. Give one of them.")
    zone, back, own = over.get("zone"), over.get("offset"), over.get("include_self", False)
    if type(own) is not bool:
        raise DefinitionError(f"{fn}: include_self={own!r} is neither True nor False.")
    if zone is not None and over.get("window") is None:
        raise DefinitionError(
            f'{fn}: zone="{zone}" says whose days count. Give a window of days, such as window="7d".'
        )
    offset = 0 if back is None else duration(back, name="offset")
    kind, size = _extent(fn, over)
    return Window(kind, size, "" if zone is None else time_zone(zone), offset, own)


def _extent(fn: str, over: Over) -> tuple[str, int]:
    window, rows, session = over.get("window"), over.get("rows"), over.get("session")
    if session is not None:
        return "session", duration(session, name="session")
    if rows is not None:
        if type(rows) is not int or not 0 < rows <= MOST_ROWS:
            raise DefinitionError(f"{fn}: rows={rows!r} is not a whole number from 1 to {MOST_ROWS:,}.")
        return "rows", rows
    if window is None:
        return "all", 0
    size = duration(window, name="window")
    if over.get("zone") is None:
        return "time", size
    if size % DAY:
        raise DefinitionError(
            f'{fn}: window="{window}" with a zone is not whole days. Write for example window="7d".'
        )
    return "days", size // DAY


class Aggregates(Protocol):
    """The aggregates of an expression: one value per key, as of the moment asked for."""

    __slots__ = ()

    def _over(self, aggregate: str, over: Over, n: Any = 0) -> Self: ...

    def sum(self, **over: Unpack[Over]) -> Self:
        """Return the exact sum; null when there is no value."""
        return self._over("sum", over)

    def mean(self, **over: Unpack[Over]) -> Self:
        """Return the mean, from the exact sum; null when there is no value."""
        return self._over("mean", over)

    def min(self, **over: Unpack[Over]) -> Self:
        """Return the smallest value; null when there is no value."""
        return self._over("min", over)

    def max(self, **over: Unpack[Over]) -> Self:
        """Return the largest value; null when there is no value."""
        return self._over("max", over)

    def var(self, **over: Unpack[Over]) -> Self:
        """Return the sample variance (divided by n - 1), from exact sums; null for fewer than two values."""
        return self._over("var", over)

    def std(self, **over: Unpack[Over]) -> Self:
        """Return the square root of `var`."""
        return self._over("std", over)

    def first(self, **over: Unpack[Over]) -> Self:
        """Return the value of the earliest record by (event time, id), null values included."""
        return self._over("first", over)

    def last(self, **over: Unpack[Over]) -> Self:
        """Return the value of the latest record by (event time, id), null values included."""
        return self._over("last", over)

    def lag(self, n: int, **over: Unpack[Over]) -> Self:
        """Return the value of the record n before the latest one, null values included; `lag(0)` is `last()`."""
        return self._over("lag", over, _whole("lag", n, 0))

    def last_n(self, n: int, **over: Unpack[Over]) -> list[Self]:
        """Return the values of the latest n records as n features, the latest first: `lag(0)` to `lag(n - 1)`.

        In a view, a list of expressions named "shop" becomes the features "shop_1" to "shop_n".
        """
        return [self._over("lag", over, place) for place in range(_whole("last_n", n, 1))]

    def n_unique(self, **over: Unpack[Over]) -> Self:
        """Return the exact number of different values, nulls not counted."""
        return self._over("n_unique", over)

    def mode(self, **over: Unpack[Over]) -> Self:
        """Return the most frequent value, nulls not counted; of equally frequent ones the smallest."""
        return self._over("mode", over)

    def top_k(self, k: int, **over: Unpack[Over]) -> list[Self]:
        """Return the k most frequent values as k features, the most frequent first, ties by value."""
        return [self._over("mode", over, place) for place in range(_whole("top_k", k, 1))]

    def decayed_sum(self, *, half_life: str, **over: Unpack[Over]) -> Self:
        """Return the sum in which a value counts half after each half-life; null when there is no value.

        Values older than 64 half-lives count nothing.
        """
        return self._over("decayed_sum", over, duration(half_life, name="half_life"))

    def approx_n_unique(self, **over: Unpack[Over]) -> Self:
        """Return about how many different values there are: a theta sketch, within 3.2 % in 19 of 20 cases, exact up to 4,096.

        Needs the extra `sketches`.
        """
        return self._over("approx_n_unique", over)

    def approx_quantile(self, q: float, **over: Unpack[Over]) -> Self:
        """Return about the q-quantile of the values: a t-digest, exact for few values and closest at the ends.

        Needs the extra `sketches`.
        """
        if isinstance(q, bool) or not isinstance(q, (int, float)) or not 0 <= q <= 1:
            raise DefinitionError(f"approx_quantile: q={q!r} is not between 0 and 1.")
        return self._over("approx_quantile", over, float(q))


def _whole(fn: str, n: int, least: int) -> int:
    if type(n) is not int or not least <= n < MOST_ROWS:
        raise DefinitionError(f"{fn}({n!r}): write a whole number from {least} to {MOST_ROWS - 1:,}.")
    return n


def _span(us: int) -> str:
    return f"{us // UNITS['ms']}ms" if us % UNITS["s"] else f"{us // UNITS['s']}s"
