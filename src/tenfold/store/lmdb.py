"""The embedded online store: one LMDB environment."""

import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from tenfold.core.errors import DiskFailed, Unavailable
from tenfold.core.room import FULL, TROUBLES, Trouble, is_full, no_room
from tenfold.store.base import Damaged, Get, Moved, Used
from tenfold.store.memory import check_keys

LONGEST = 511  # LMDB's limit for a key, in bytes
HEAD = LONGEST - hashlib.sha256().digest_size
OFFSET = struct.Struct("<q")
LENGTH = struct.Struct("<I")
DAMAGE = (
    lmdb.InvalidParameterError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.PanicError,
    lmdb.BadTxnError,
    lmdb.MapResizedError,
)
"""What LMDB raises where its file does not hold what it wrote."""


class LMDBOnlineStore:
    """An `OnlineStore` in one directory: memory-mapped reads without locks, durable writes.

    `write` returns when states and offsets are on disk, in one transaction. Writers of all processes wait for each
    other; readers never wait and see one committed whole. LMDB allows one open environment per directory and
    process, so threads share one object; a second one raises Unavailable. When the directory is moved or removed
    meanwhile, `write` and `offsets` raise `Moved`: other processes would use another one at its place.

    LMDB's keys have at most 511 bytes. A key of 511 bytes or more is stored as its first 479 bytes and its sha256, with
    the whole key beside the state: `items` yields it unchanged, but keys that agree in those 479 bytes come in the
    order of their hashes.

    Parameters
    ----------
    path : Path
        The directory; made when missing.
    map_size : int
        Upper limit of the file in bytes. The file is sparse: it takes the space of what it holds.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> store = LMDBOnlineStore(Path(mkdtemp()))
    >>> store.write({b"card:1": b"state"}, {"payments": 5})
    True
    >>> store.use([b"card:1", b"card:2"], lambda states, _: [state and bytes(state) for state in states])
    [b'state', None]
    >>> store.offsets()
    {'payments': 5}
    >>> store.close()
    """

    def __init__(self, path: Path, *, map_size: int = 2**36) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._failed: Trouble | None = None
        try:
            self._env = lmdb.open(str(path), map_size=map_size, max_dbs=2, max_readers=512)
        except DAMAGE as error:
            raise self._damaged(error) from error
        except lmdb.Error as error:
            self._tell(error)
            raise Unavailable(
                f'online store "{path}" cannot be opened: {error} A process may open it once; share that object.'
            ) from error
        self._env.reader_check()
        self._file = path / "data.mdb"
        self._opened = os.stat(self._file)
        with self._reading():
            self._states = self._env.open_db(b"states")
            self._offsets = self._env.open_db(b"offsets")

    def use(self, keys: Sequence[bytes], work: Callable[[list[Any], Get], Used]) -> Used:
        short = True
        for key in keys:
            if not 0 < len(key) < LONGEST:
                short = False
                check_keys(keys)
        try:
            transaction = self._env.begin(self._states, None, False, True)  # `with` costs as much again
        except DAMAGE as error:
            raise self._damaged(error) from error
        try:

            def get(key: bytes) -> Any:
                return _state(key, transaction.get(_stored(key)))

            return work(list(map(transaction.get if short else get, keys)), get)
        except DAMAGE as error:
            raise self._damaged(error) from error
        finally:
            transaction.abort()

    def write(
        self,
        states: Mapping[bytes, bytes | None],
        offsets: Mapping[str, int | None],
        *,
        after: Mapping[str, int] | None = None,
    ) -> bool:
        check_keys(states)
        self._check_there()
        try:
            with self._reading(), self._env.begin(write=True) as transaction:
                if any(self._offset(transaction, name) != end for name, end in (after or {}).items()):
                    return False
                self._write(transaction, states, offsets)
                return True
        except lmdb.MapFullError as error:
            raise Unavailable(
                f'online store "{self._path}" is full. Nothing was written; open it with a larger map_size.'
            ) from error
        except lmdb.Error as error:
            self._tell(error)
            raise

    def offsets(self) -> dict[str, int]:
        self._check_there()
        try:
            with self._env.begin(db=self._offsets) as transaction:
                return {name.decode(): OFFSET.unpack(end)[0] for name, end in transaction.cursor()}
        except DAMAGE as error:
            raise self._damaged(error) from error

    def items(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        # Everything is read inside one transaction, so it must end before `close`.
        start = prefix[:HEAD]
        with (
            self._reading(),
            self._env.begin(db=self._states) as transaction,
            transaction.cursor() as cursor,
        ):
            cursor.set_range(start)
            for stored, value in cursor:
                if not stored.startswith(start):
                    return
                if len(stored) < LONGEST and len(prefix) <= HEAD:
                    yield stored, value
                    continue
                key = _key(stored, value)
                if key.startswith(prefix):
                    yield key, value[_extra(key) :]

    def close(self) -> None:
        self._env.close()

    def _tell(self, error: lmdb.Error) -> None:
        found = (trouble for number, trouble in TROUBLES.items() if os.strerror(number) in str(error))
        trouble = FULL if is_full(self._path) else next(found, None)
        if trouble is not None:
            self._failed = trouble
            raise DiskFailed(no_room(self._path, trouble)) from error

    def _damaged(self, error: lmdb.Error) -> Unavailable:
        if self._failed is not None and isinstance(error, lmdb.PanicError):
            return DiskFailed(
                f'online store "{self._path}" cannot be used any more by this process, since {self._failed.why}. '
                f"What it held before is whole. {self._failed.fix} This process has to be started again."
            )
        return Damaged(
            f'online store "{self._path}" is damaged: {error}. End all processes, remove that folder and start them again: '
            "it is made anew from the log."
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise self._damaged(error) from error

    def _check_there(self) -> None:
        try:
            there = os.path.samestat(os.stat(self._file), self._opened)
        except FileNotFoundError:
            there = False
        if not there:
            raise Moved(
                f'online store "{self._path}" was moved or removed while this process had it open. Start it again: '
                "what is not at that place any more is made anew from the log."
            )

    def _write(
        self,
        transaction: lmdb.Transaction,
        states: Mapping[bytes, bytes | None],
        offsets: Mapping[str, int | None],
    ) -> None:
        short: list[tuple[bytes, bytes]] = []
        delete = transaction.delete
        for key, state in states.items():
            if state is None:
                delete(_stored(key), b"", self._states)
            elif len(key) < LONGEST:
                short.append((key, state))
            else:
                transaction.put(_stored(key), _value(key, state), db=self._states)
        short.sort()  # neighbours share pages
        with transaction.cursor(db=self._states) as cursor:
            cursor.putmulti(short)
        for name, end in offsets.items():
            if end is None:
                transaction.delete(name.encode(), db=self._offsets)
            else:
                newest = max(end, self._offset(transaction, name))
                transaction.put(name.encode(), OFFSET.pack(newest), db=self._offsets)

    def _offset(self, transaction: lmdb.Transaction, name: str) -> int:
        held = transaction.get(name.encode(), db=self._offsets)
        return 0 if held is None else int(OFFSET.unpack(held)[0])


def _stored(key: bytes) -> bytes:
    return key if len(key) < LONGEST else key[:HEAD] + hashlib.sha256(key).digest()


def _extra(key: bytes) -> int:
    """Return how many bytes stand before the state in the value of a key."""
    return 0 if len(key) < LONGEST else LENGTH.size + len(key)


def _value(key: bytes, state: bytes) -> bytes:
    return state if len(key) < LONGEST else LENGTH.pack(len(key)) + key + state


def _state(key: bytes, value: Any) -> Any:
    return value if value is None or len(key) < LONGEST else value[_extra(key) :]


def _key(stored: bytes, value: bytes) -> bytes:
    if len(stored) < LONGEST:
        return stored
    length = LENGTH.unpack_from(value)[0]
    return value[LENGTH.size : LENGTH.size + length]
