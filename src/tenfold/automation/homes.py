"""Which home this is, of those that share a state: offsets are those of one log, so what holds them is kept by home."""

import fcntl
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenfold.automation.outbox import home_id
from tenfold.core.room import in_room
from tenfold.sources.blobs import flush
from tenfold.sources.database import Database

# The first home of a state sends under the id of the state, and its cursors have no id: so did the only one, before others were told apart.
SCHEMA = """
CREATE TABLE IF NOT EXISTS first_home (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL);
"""
CLAIM = "INSERT INTO first_home (one, id) VALUES (1, ?) ON CONFLICT DO NOTHING"
FIRST = "SELECT id FROM first_home"
FILE, LENGTH = "id", 32


@dataclass(frozen=True, slots=True)
class Home:
    """A home as places downstream know it.

    Attributes
    ----------
    id
        With which the names of the parts begin that it sends.
    own
        The same where other homes were there before, "" for the first.
    """

    id: str
    own: str = ""

    def key(self, name: str) -> str:
        """Return by what the cursor of a place is kept.

        Examples
        --------
        >>> Home("5f").key("topic:decisions"), Home("7a", "7a").key("topic:decisions")
        ('topic:decisions', '7a topic:decisions')
        """
        return f"{self.own} {name}" if self.own else name


def own_id(folder: Path) -> str:
    """Return the id that lies in a home, made when it is first asked for, whoever asks.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> len(own_id(folder)), own_id(folder) == own_id(folder)
    (32, True)
    """
    path = folder / FILE
    if path.exists() and len(found := path.read_text()) == LENGTH:
        return found
    with in_room(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with in_room(path), path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        found = file.read()
        if len(found) != LENGTH:  # nobody has made it, or who did died meanwhile
            found = uuid.uuid4().hex
            file.truncate(0)
            file.write(found)
            file.flush()
            try:
                flush(path)
                flush(folder)
            except OSError:
                file.truncate(0)  # or it would count as kept from now on
                raise
    return found


def identify(folder: Path, database: Database, is_heir: Callable[[], bool]) -> Home:
    """Return which home a folder is.

    `is_heir` says whether cursors that were kept before homes were told apart may be those of this one. Where that is not sure it
    is another home, which sends everything once more: better than to leave something out.
    """
    own = own_id(folder)
    if not database.query(FIRST) and is_heir():
        database.execute(CLAIM, own)
    first = database.query(FIRST)
    return Home(home_id(database)) if first and first[0]["id"] == own else Home(own, own)
