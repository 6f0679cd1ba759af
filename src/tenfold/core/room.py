"""Room on disk: whether there is any, and taken before it is needed for files that are mapped into memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path

from tenfold.core.errors import Unavailable

FULL = ENOSPC, EDQUOT
"""The numbers of errors that say that there is no room."""
LEAST = 1 << 20
"""Bytes below which a disk is full to who asks why it failed: what did not fit is not on it."""


def is_full(folder: Path) -> bool:
    """Return whether the disk that a folder is on has next to nothing free for this user.

    Examples
    --------
    >>> is_full(Path("/"))
    False
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < LEAST


@contextmanager
def in_room(path: Path) -> Iterator[None]:
    """Raise Unavailable in place of an error inside that says that there is no room for a file or folder.

    Examples
    --------
    >>> with in_room(Path("home")):
    ...     raise OSError(ENOSPC, "No space left on device")
    Traceback (most recent call last):
    tenfold.core.errors.Unavailable: "home" cannot be written: the disk is full. Make room and try again.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise Unavailable(no_room(path)) from error


def no_room(path: object) -> str:
    """Return the sentence that says that there is no room for a file or folder."""
    return f'"{path}" cannot be written: the disk is full. Make room and try again.'


def reserve(file: int, size: int, what: str) -> None:
    """Make a file at least as large, with zeros where it is new, and have room for all of it.

    Whoever writes to a page of a mapped file that the disk has no room for dies of it.

    Raises
    ------
    Unavailable
        When the disk is full.

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
        if error.errno not in FULL:
            raise
        raise Unavailable(f"{what} cannot be made: the disk is full. Make room and try again.") from error
