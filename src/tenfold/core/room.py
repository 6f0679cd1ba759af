"""Room on disk: why a file cannot be written, and room taken before it is needed for files that are mapped into memory."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from errno import EDQUOT, EIO, ENOSPC, EROFS
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from tenfold.core.errors import DiskFailed

LEAST = 1 << 20
"""Bytes below which a disk is full to who asks why it failed: what did not fit is not on it."""


class Trouble(NamedTuple):
    """What a disk does not do, why, and what is to be done."""

    what: str
    why: str
    fix: str


FULL = Trouble("be written", "the disk is full", "Make room and try again.")
READ_ONLY = Trouble(
    "be written",
    "the disk may only be read",
    "A disk with errors becomes so: see the system's log, make it writable and try again.",
)
BROKEN = Trouble(
    "be read or written", "the disk has errors", "See the system's log, mend the disk and try again."
)
TROUBLES: Mapping[int, Trouble] = {ENOSPC: FULL, EDQUOT: FULL, EROFS: READ_ONLY, EIO: BROKEN}
"""By the numbers of errors."""


def trouble_of(error: OSError) -> Trouble | None:
    """Return what is wrong with the disk, None when it is something else.

    Examples
    --------
    >>> trouble_of(OSError(EROFS, "Read-only file system")).why
    'the disk may only be read'
    """
    return TROUBLES.get(error.errno or 0)


def is_full(folder: Path) -> bool:
    """Return whether the disk that a folder is on has next to nothing free for this user.

    Examples
    --------
    >>> is_full(Path("/"))
    False
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < LEAST


def refused(folder: Path) -> int:
    """Return the number of the error with which the system refuses to have a file made in a folder, 0 when it does not.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> refused(Path(mkdtemp()))
    0
    """
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.errno or 0
    return 0


@contextmanager
def in_room(path: Path) -> Iterator[None]:
    """Raise DiskFailed in place of an error inside that says that the disk does not take a file or folder.

    Examples
    --------
    >>> with in_room(Path("home")):
    ...     raise OSError(ENOSPC, "No space left on device")
    Traceback (most recent call last):
    tenfold.core.errors.DiskFailed: "home" cannot be written: the disk is full. Make room and try again.
    """
    try:
        yield
    except OSError as error:
        trouble = trouble_of(error)
        if trouble is None:
            raise
        raise DiskFailed(no_room(path, trouble)) from error


def no_room(path: object, trouble: Trouble = FULL) -> str:
    """Return the sentence that says why a file or folder cannot be written."""
    return f'"{path}" cannot {trouble.what}: {trouble.why}. {trouble.fix}'


def reserve(file: int, size: int, what: str) -> None:
    """Make a file at least as large, with zeros where it is new, and have room for all of it.

    Whoever writes to a page of a mapped file that the disk has no room for dies of it.

    Raises
    ------
    Unavailable
        When the disk is full, or fails otherwise.

    Examples
    --------
    >>> from tempfile import TemporaryFile
    >>> with TemporaryFile() as file:
    ...     reserve(file.fileno(), 4, "the file of zeros")
    ...     len(file.read())
    4
    """
    if not hasattr(os, "posix_fallocate"):
        os.truncate(file, max(size, os.fstat(file).st_size))
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        trouble = trouble_of(error)
        if trouble is None:
            raise
        raise DiskFailed(f"{what} cannot be made: {trouble.why}. {trouble.fix}") from error
