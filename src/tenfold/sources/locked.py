"""A lock that the system takes back when its holder dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenfold.core.errors import Unavailable


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Hold a file's lock inside; `Unavailable` at once when another process, or another `alone`, holds it.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "lock"
    >>> with alone(path, "counting"), alone(path, "counting"):
    ...     pass
    Traceback (most recent call last):
    tenfold.core.errors.Unavailable: another process is counting. Wait until it is done.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(f"another process is {doing}. Wait until it is done.") from error
        yield
