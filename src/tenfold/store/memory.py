"""Online state that lives as long as its object."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from tenfold.core.errors import SchemaError
from tenfold.store.base import Get, Used


class MemoryOnlineStore:
    """An `OnlineStore` in memory, for the threads of one process.

    Examples
    --------
    >>> store = MemoryOnlineStore()
    >>> store.write({b"card:1": b"state"}, {"payments": 5})
    True
    >>> store.use([b"card:1", b"card:2"], lambda states, _: states)
    [b'state', None]
    >>> store.offsets()
    {'payments': 5}
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._states: dict[bytes, bytes] = {}
        self._offsets: dict[str, int] = {}

    def use(self, keys: Sequence[bytes], work: Callable[[list[Any], Get], Used]) -> Used:
        check_keys(keys)
        with self._lock:
            return work([self._states.get(key) for key in keys], self._states.get)

    def write(
        self,
        states: Mapping[bytes, bytes | None],
        offsets: Mapping[str, int | None],
        *,
        after: Mapping[str, int] | None = None,
    ) -> bool:
        check_keys(states)
        # Copies are made before anything changes: a mapping that fails half-way changes nothing.
        new, moved = dict(states), dict(offsets)
        with self._lock:
            if any(self._offsets.get(name, 0) != end for name, end in (after or {}).items()):
                return False
            self._states.update({key: state for key, state in new.items() if state is not None})
            for key in [key for key, state in new.items() if state is None]:
                self._states.pop(key, None)
            for name, end in moved.items():
                if end is None:
                    self._offsets.pop(name, None)
                else:
                    self._offsets[name] = max(end, self._offsets.get(name, end))
        return True

    def offsets(self) -> dict[str, int]:
        with self._lock:
            return dict(self._offsets)

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        with self._lock:
            found = sorted(item for item in self._states.items() if item[0].startswith(prefix))
        return iter(found)

    def close(self) -> None:
        """Release nothing: the states live as long as the object."""


def check_keys(keys: Collection[bytes]) -> None:
    """Refuse an empty key: it names nothing.

    Examples
    --------
    >>> check_keys([b""])
    Traceback (most recent call last):
    tenfold.core.errors.SchemaError: a key of the online store is empty. Build it from the view's name and ...
    """
    if b"" in keys:
        raise SchemaError(
            "a key of the online store is empty. Build it from the view's name and the entity's key values."
        )
