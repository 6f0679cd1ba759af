"""A pooler between that gives each transaction another session, as PgBouncer does with `pool_mode = transaction`."""

import re
import socket
import struct
import threading
from contextlib import closing, suppress

import pytest

from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.sources import database_contract as contract
from tests import states

pytest.importorskip("psycopg", reason='psycopg is not installed: pip install "tenfold[postgres]"')

TABLES = contract.TABLES
MANY = 3
"""Sessions of the pooler, by turns."""


class Pooler:
    """Gives each transaction the next of its sessions, whoever asks."""

    def __init__(self, server, sessions):
        self._free, self._server = threading.Condition(), server
        self._sessions, self._many = [_session(server) for _ in range(sessions)], sessions
        self.listening = socket.create_server(("127.0.0.1", 0))
        port = self.listening.getsockname()[1]
        self.url = f"postgresql://tenfold@127.0.0.1:{port}/postgres?sslmode=disable&gssencmode=disable"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        with self._free:
            assert self._free.wait_for(lambda: len(self._sessions) == self._many, 30)
        for session in self._sessions:
            session.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with suppress(OSError), client:
            _exactly(client, struct.unpack("!i", _exactly(client, 4))[0] - 4)
            client.sendall(
                b"R\0\0\0\x08\0\0\0\0S\0\0\0\x19client_encoding\0UTF8\0K\0\0\0\x0c\0\0\0\0\0\0\0\0Z\0\0\0\x05I"
            )
            while (asked := _message(client))[:1] != b"X":
                session = self._taken()
                try:
                    while not self._passed(client, session, asked):
                        asked = _message(client)
                except OSError:  # the client left a transaction open
                    session.close()
                    session = _session(self._server)
                    raise
                finally:
                    self._give_back(session)

    def _passed(self, client, session, asked):
        """Pass on one message, and return whether no transaction is open then."""
        session.sendall(asked)
        if asked[:1] not in b"QS":
            return False
        while (told := _message(session))[:1] != b"Z":
            client.sendall(told)
        client.sendall(told)
        return told[5:] == b"I"

    def _taken(self):
        with self._free:
            assert self._free.wait_for(lambda: self._sessions, 30)
            return self._sessions.pop(0)

    def _give_back(self, session):
        with self._free:
            self._sessions.append(session)
            self._free.notify_all()


def _session(server):
    """Return a connection to the server that is ready."""
    found = socket.socket(socket.AF_UNIX)
    found.connect(f"{server.folder}/.s.PGSQL.5432")
    said = struct.pack("!i", 196_608) + b"user\0tenfold\0database\0postgres\0client_encoding\0UTF8\0\0"
    found.sendall(struct.pack("!i", len(said) + 4) + said)
    while _message(found)[:1] != b"Z":
        pass
    return found


def _message(there):
    head = _exactly(there, 5)
    return head + _exactly(there, struct.unpack("!i", head[1:])[0] - 4)


def _exactly(there, size):
    found = b""
    while len(found) < size:
        more = there.recv(size - len(found))
        if not more:
            raise OSError("it was closed")
        found += more
    return found


@pytest.fixture
def pooled(postgres):
    made = []

    def pooled(sessions):
        made.append(Pooler(postgres, sessions))
        return made[-1]

    yield pooled
    for one in made:
        one.close()


REFUSED = r"is behind a pooler that gives each transaction another session.*PgBouncer: pool_mode = session"


@pytest.mark.parametrize("sessions", [1, MANY])
def test_a_pooler_that_keeps_no_session_is_refused_before_anything_is_made(pooled, postgres, sessions):
    address = states.fresh(pooled(sessions).url)
    with pytest.raises(DefinitionError, match=REFUSED):
        states.opened(address, TABLES)
    with closing(states.opened(states.fresh(postgres.url), TABLES)) as other:
        assert not other.query("SELECT 1 FROM pg_namespace WHERE nspname = ?", address[-33:])


def test_what_a_pooler_would_write_elsewhere_is_refused(pooled, postgres):
    """One that kept sessions when the project was opened: its mode was changed, or it was busy."""
    name = states.fresh("")
    with closing(states.opened(f"{postgres.url}{name}", TABLES)) as direct:
        late = states.state(f"{pooled(MANY).url}{name}")
        with closing(late):
            for _ in range(MANY):
                with pytest.raises(Unavailable, match=rf"{REFUSED}.* Nothing was changed\.$"):
                    late.execute(contract.ADD, "a", 0, None)
                assert not late._idle, "who keeps it is refused even when the pooler is mended"
        assert direct.query(contract.NAMES) == []


def test_a_statement_that_was_prepared_in_another_session_is_told_as_the_same(pooled, postgres):
    name = states.fresh("")
    with (
        closing(states.opened(f"{postgres.url}{name}", TABLES)),
        closing(states.state(f"{pooled(MANY).url}{name}")) as late,
    ):
        told = []
        for _ in range(4 * MANY):
            try:
                late.query("SELECT 1")
            except Unavailable as error:
                told.append(str(error))
                assert not late._idle, "it was kept"
        assert told
        assert all(re.search(REFUSED, text) for text in told), told
