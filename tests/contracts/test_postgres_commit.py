"""A commit on Postgres whose answer is lost: what became of it, told by its mark."""

import socket
import threading
from contextlib import closing, suppress

import pytest

from tenfold.core.errors import Unavailable
from tenfold.sources import database_contract as contract
from tests import states

pytest.importorskip("psycopg", reason='psycopg is not installed: pip install "tenfold[postgres]"')

from tenfold.adapters.postgres.database import RECENT

TABLES = contract.TABLES
PATIENCE = 30
"""Seconds."""


class Between:
    """Stands between a client and the server; cuts one connection at the commit: before it, or before its answer."""

    def __init__(self, server):
        self.cut, self.server = None, server
        self.meanwhile, self.over = lambda: None, threading.Event()
        self.over.set()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://tenfold@127.0.0.1:{self.listening.getsockname()[1]}/postgres?sslmode=disable&gssencmode=disable"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_once(self, where, meanwhile=lambda: None):
        """Cut the next commit, and let nobody connect again before `meanwhile` is done, as a pooler does."""
        self.cut, self.meanwhile = where, meanwhile

    def close(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                assert self.over.wait(PATIENCE)
                server = socket.socket(socket.AF_UNIX)
                server.connect(f"{self.server.folder}/.s.PGSQL.5432")
                threading.Thread(target=self._there, args=(client, server), daemon=True).start()
                threading.Thread(target=self._back, args=(client, server), daemon=True).start()

    def _there(self, client, server):
        with suppress(OSError):
            while data := client.recv(65_536):
                if b"COMMIT" in data and self.cut == "before":
                    self._cut()
                    break
                server.sendall(data)
        self._end(client, server)

    def _back(self, client, server):
        with suppress(OSError):
            while data := server.recv(65_536):
                if b"COMMIT\0" in data and self.cut == "after":
                    self._cut()
                    break
                client.sendall(data)
        self._end(client, server)

    def _cut(self):
        self.cut = None
        self.over.clear()
        threading.Thread(target=self._wait).start()

    def _wait(self):
        try:
            self.meanwhile()
        finally:
            self.over.set()

    def _end(self, *sockets):
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def between(postgres):
    """What stands before the server; it is running afterwards, whatever a test does to it."""
    between = Between(postgres)
    yield between
    with suppress(OSError):
        between.close()
    if not postgres.is_running:
        postgres.start()


@pytest.fixture
def opened(between):
    """The same schema twice: by way of what is between, and directly."""
    direct = states.fresh(between.server.url)
    with (
        closing(states.opened(direct, TABLES)) as other,
        closing(states.opened(f"{between.url}#{direct[-33:]}", TABLES)) as mine,
    ):
        yield mine, other


def names(database):
    return [row["name"] for row in database.query(contract.NAMES)]


def test_a_commit_whose_answer_is_lost_is_told_as_what_became_of_it(between, opened):
    mine, _ = opened
    between.cut_once("after")
    mine.execute(contract.ADD, "stored", 0, None)
    assert between.cut is None, "the answer was not lost"
    between.cut_once("before")
    with pytest.raises(Unavailable, match="Nothing was changed; it is safe to retry"):
        mine.execute(contract.ADD, "lost", 0, None)
    assert names(mine) == ["stored"]
    between.cut_once("after")

    def vanish():
        with mine.transaction() as tx:
            tx.execute(contract.ADD, ("unknown", 0, None))
            between.close()

    with pytest.raises(
        Unavailable, match=r"it is not known whether that was stored\. Look before you do it again"
    ):
        vanish()


def test_a_commit_that_a_crash_took_is_not_taken_for_the_one_that_has_its_number_now(between, opened):
    mine, other = opened

    def crash():
        between.server.kill()
        between.server.start()
        other.execute(contract.ADD, "another", 0, None)

    between.cut_once("before", crash)
    with pytest.raises(Unavailable, match="Nothing was changed; it is safe to retry"):
        mine.execute(contract.ADD, "mine", 0, None)
    assert names(other) == ["another"]


def test_what_others_commit_meanwhile_hides_no_commit(between, opened):
    mine, other = opened

    def write():
        for place in range(5):
            other.execute(contract.ADD, f"another {place}", 0, None)

    between.cut_once("after", write)
    mine.execute(contract.ADD, "mine", 0, None)
    assert names(mine) == [*(f"another {place}" for place in range(5)), "mine"]


@pytest.mark.parametrize("where", ["before", "after"])
def test_after_too_many_commits_of_others_it_is_not_known(between, opened, where):
    mine, other = opened

    def write():
        other.execute("UPDATE tenfold_state SET commits = commits + ?", RECENT - 2)
        other.execute(contract.ADD, "another", 0, None)

    between.cut_once(where, write)
    with pytest.raises(Unavailable, match="it is not known whether that was stored"):
        mine.execute(contract.ADD, "mine", 0, None)
    assert ("mine" in names(other)) == (where == "after")


def test_a_schema_that_was_made_before_there_were_marks_gets_them(postgres):
    address = states.fresh(postgres.url)
    with closing(states.opened(address, TABLES)) as before:
        before.execute(contract.ADD, "a", 0, None)
        with before._connection() as session:
            session.several("ALTER TABLE tenfold_state DROP COLUMN marks")
    with closing(states.opened(address, TABLES)) as database:
        database.execute(contract.ADD, "b", 0, None)
        assert names(database) == ["a", "b"]
        assert database.query("SELECT cardinality(marks) AS n FROM tenfold_state")[0]["n"] == 1
