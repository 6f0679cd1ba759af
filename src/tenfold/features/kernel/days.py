"""Local days: which one an instant falls on, and when it begins."""

from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from tenfold.core.times import DAY, to_us
from tenfold.processing.calendar import offsets

_EPOCH = date(1970, 1, 1).toordinal()


def day_of(zone: str, moments: np.ndarray) -> np.ndarray:
    """Return the local day of instants, that of the last midnight, as days since 1970-01-01: int64, shape (n,).

    That is the local date, except where clocks are set back over midnight: there the new day goes on.
    """
    days = (moments + offsets(zone, moments)) // DAY
    return days + (midnight(zone, days + 1) <= moments)


def midnight(zone: str, days: np.ndarray) -> np.ndarray:
    """Return the instants at which local days begin, in microseconds UTC; the first one where clocks show it twice.

    Examples
    --------
    >>> midnight("America/New_York", np.array([0])).tolist() == [to_us("1970-01-01T05:00:00+00:00")]
    True
    """
    distinct, place = np.unique(days, return_inverse=True)
    begins = np.array([_midnight(zone, day) for day in distinct.tolist()], dtype=np.int64)
    return begins[place]


@lru_cache(maxsize=1 << 16)
def _midnight(zone: str, day: int) -> int:
    local = datetime.combine(date.fromordinal(day + _EPOCH), datetime.min.time(), ZoneInfo(zone))
    return to_us(local.astimezone(UTC))
