"""How often somebody may ask: buckets that fill with time, in a file that all server processes of a machine share."""

import mmap
import re
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path
from secrets import randbits

from tenfold.core.clock import Clock
from tenfold.core.errors import DefinitionError
from tenfold.core.room import reserve
from tenfold.core.times import UNITS

SLOTS = 1 << 16
"""Callers that are told apart at a time; who has not asked for a while needs no slot."""
NEAR = 8
"""Slots that are looked at for a caller."""
_RATE = re.compile(r"(\d{1,9})/([smhd])")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so much time: that many at once, and then as fast as the bucket fills again.

    Examples
    --------
    >>> Rate.of("100/s")
    Rate(count=100, period=1000000)
    """

    count: int
    period: int  # microseconds

    @classmethod
    def of(cls, text: str) -> "Rate":
        """Return a rate that is written as "100/s", "6000/m", "10/h" or "1/d"."""
        match = _RATE.fullmatch(text)
        if match is None or not int(match[1]):
            raise DefinitionError(f'"{text[:40]}" is not a rate. Write for example 100/s, 6000/m or 500/h.')
        return cls(int(match[1]), UNITS[match[2]])


class Limits:
    """Buckets by caller. Processes take no lock: two that count the same caller in the same microsecond may count once.

    A bucket is one number: the moment at which it will be full again. It needs no cleaning up, and a caller whose bucket is
    full needs none. So the file has one size, however many callers there are.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from tenfold.core.clock import SystemClock
    >>> limits = Limits(Path(mkdtemp()) / "limits", SystemClock())
    >>> rate = Rate.of("2/d")
    >>> [limits.wait("shop", rate) > 0 for _ in range(3)], limits.wait("other", rate)
    ([False, False, True], 0)
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 8 * (1 + 2 * SLOTS)
        with path.open("a+b") as file:
            reserve(file.fileno(), size, "the file of rates")
            self._map = mmap.mmap(file.fileno(), size)
        self._cells = memoryview(self._map).cast("Q")
        # callers cannot know who shares a slot with whom; processes that start together may each set it, the last one counts
        self._cells[0] = self._cells[0] or randbits(64) | 1

    def wait(self, caller: str, rate: Rate) -> float:
        """Count a request; return 0 when it is within the rate, else after how many seconds to ask again."""
        now = self._clock.elapsed() * 1_000
        period, each = rate.period * 1_000, rate.period * 1_000 // rate.count
        slot = self._slot(caller, now)
        full = max(self._cells[slot + 1], now)
        if full > now + period:  # of another rate, or of before the machine was started
            full = now
        over = full + each - now - period
        if over > 0:
            return over / 1e9
        self._cells[slot + 1] = full + each
        return 0

    def _slot(self, caller: str, now: int) -> int:
        """Return the caller's slot, or one whose bucket is full; where all are taken, the first is shared."""
        key = self._cells[0].to_bytes(8, "little")
        name = int.from_bytes(blake2b(caller.encode(), digest_size=8, key=key).digest(), "little")
        near = [1 + 2 * ((name + step) % SLOTS) for step in range(NEAR)]
        for slot in near:
            if self._cells[slot] == name:
                return slot
        for slot in near:
            if self._cells[slot + 1] <= now:
                self._cells[slot], self._cells[slot + 1] = name, 0
                return slot
        return near[0]


def network(address: str) -> str:
    """Return what counts as one caller: an address, of IPv6 the network of 64 bits that one customer has.

    Examples
    --------
    >>> network("192.0.2.7"), network("2001:db8::1") == network("2001:db8::2")
    ('192.0.2.7', True)
    """
    try:
        found = ip_address(address)
    except ValueError:  # a Unix socket
        return address
    return address if found.version == 4 else f"{int(found) >> 64:x}::/64"
