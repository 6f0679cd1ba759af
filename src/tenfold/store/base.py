"""What an online store must do; its checks are in `contract.py`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from tenfold.core.errors import Unavailable

Used = TypeVar("Used")
Get = Callable[[bytes], Any]
"""Gives the state of a key, None where there is none."""
SINK = "log"
"""The name under which the lake remembers how much of a topic it holds."""


class Moved(Unavailable):
    """What is open is not what is found at its place any more; who opens it again there finds that."""


class Damaged(Unavailable):
    """What is stored cannot be read any more; it is to be removed, and is made anew."""


class OnlineStore(Protocol):
    """State per key, with the offset it stands for.

    `write` is one transaction: after kill -9 either all states and all offsets are there or none. One writer at a
    time (a second one waits), any number of readers in any process, who see a committed whole.
    """

    def use(self, keys: Sequence[bytes], work: Callable[[list[Any], Get], Used]) -> Used:
        """Return what a function makes of the state of each key, None where there is none, all from one snapshot.

        It gets bytes or views of the store's own memory, which are valid only until it returns; and a function that gives the
        state of one more key from the same snapshot, until then.
        """
        ...

    def write(
        self,
        states: Mapping[bytes, bytes | None],
        offsets: Mapping[str, int | None],
        *,
        after: Mapping[str, int] | None = None,
    ) -> bool:
        """Store states and offsets in one durable transaction; None removes a state or an offset, which otherwise never moves back.

        With `after`, nothing is written and False is returned when one of these offsets (0: none yet) is no longer
        what it says: another writer was first, and states made from older ones must not replace its states.
        """
        ...

    def offsets(self) -> dict[str, int]:
        """Return the offsets committed with the states."""
        ...

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, state) in key order."""
        ...

    def close(self) -> None:
        """Release what is held; may be called twice."""
        ...


def read(store: OnlineStore, keys: Sequence[bytes]) -> list[bytes | None]:
    """Return the state of each key as bytes, None where there is none, all from one snapshot."""
    return store.use(keys, lambda states, _: [None if state is None else bytes(state) for state in states])
