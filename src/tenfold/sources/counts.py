"""How often something happened, counted in memory and added to a table now and then."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping

from tenfold.sources.database import Database

Place = tuple[str | int, ...]
"""The values of the columns before the count."""


class Counts:
    """Counts of one process, added to those of all by `flush`; a process that dies takes what it did not flush with it.

    Parameters
    ----------
    add
        The statement that adds a count to a place: its values are those of the place, and the count.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from tenfold.sources.sqlite import SQLiteDatabase
    >>> schema = "CREATE TABLE IF NOT EXISTS seen (what TEXT PRIMARY KEY, n INTEGER NOT NULL)"
    >>> add = "INSERT INTO seen (what, n) VALUES (?, ?) ON CONFLICT (what) DO UPDATE SET n = seen.n + excluded.n"
    >>> with TemporaryDirectory() as folder:
    ...     database = SQLiteDatabase(Path(folder) / "state.db", schema)
    ...     counts = Counts(database, add)
    ...     for _ in range(2):
    ...         counts.add({("a",): 2, ("b",): 1}.items())
    ...         counts.flush()
    ...     found = [tuple(row) for row in database.query("SELECT * FROM seen")]
    ...     database.close()
    >>> found
    [('a', 4), ('b', 2)]
    """

    def __init__(self, database: Database, add: str) -> None:
        self._database, self._sql = database, add
        self._counts: Counter[Place] = Counter()
        self._lock, self._flushing = threading.Lock(), threading.Lock()

    def add(self, counts: Iterable[tuple[Place, int]]) -> None:
        """Count how often something happened at each of some places."""
        with self._lock:
            for place, n in counts:
                self._counts[place] += n

    def flush(self) -> None:
        """Add what was counted to the database; when that fails it is kept for the next time."""
        with self._flushing:  # so that whoever returns from here finds everything stored
            with self._lock:
                held, self._counts = self._counts, Counter()
            try:
                self._store(held)
            except BaseException:
                with self._lock:
                    self._counts.update(held)
                raise

    def _store(self, held: Mapping[Place, int]) -> None:
        if held:
            with self._database.transaction() as tx:
                tx.executemany(self._sql, [(*place, n) for place, n in held.items()])
