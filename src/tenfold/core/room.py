"""Room on disk for files that are mapped into memory."""

import os
from errno import ENOSPC

from tenfold.core.errors import Unavailable


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
        if error.errno != ENOSPC:
            raise
        raise Unavailable(f"{what} cannot be made: the disk is full. Make room and try again.") from error
