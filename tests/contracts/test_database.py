"""Every database that can keep the state of a project passes every check, and a wrong one fails those of its fault."""

import os
import sqlite3
from contextlib import suppress

import pytest

from tenfold.core.errors import Unavailable
from tenfold.sources import database_contract as contract
from tenfold.sources.sqlite import SQLiteDatabase
from tests import states


@pytest.fixture
def make(address):
    """Open the database at one place; all are closed at the end."""
    opened = []

    def open_one(schema, **how):
        opened.append(states.opened(address, schema, **how))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
def test_database(check, make):
    check(make)


class Hasty(SQLiteDatabase):
    """Takes the write lock with the first change, not at the beginning."""

    def _begin(self, connection):
        connection.execute("BEGIN")


class Generous(SQLiteDatabase):
    """Keeps what was written before an error."""

    def _roll_back(self, connection):
        if connection.in_transaction:
            connection.execute("COMMIT")


class Lax(SQLiteDatabase):
    def _open(self):
        connection = super()._open()
        connection.execute("PRAGMA foreign_keys=OFF")
        return connection


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (Hasty, "writers_take_turns"),
        (Generous, "a_transaction_is_whole"),
        (Generous, "a_statement_that_fails_fails_the_transaction"),
        (Lax, "foreign_keys_hold"),
    ],
)
def test_a_wrong_database_fails(kind, check, tmp_path):
    (run,) = (found for found in contract.checks() if found.__name__ == check)
    with pytest.raises((AssertionError, Unavailable, sqlite3.Error)):
        run(lambda schema, **how: kind(tmp_path / "a.db", schema, **how))


def test_a_forked_process_has_connections_of_its_own(make):
    database = make(contract.TABLES)
    database.execute(contract.ADD, "parent", 0, None)
    child = os.fork()
    if not child:
        with suppress(BaseException):
            database.execute(contract.ADD, "child", 0, None)
            database.close()
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    database.execute(contract.ADD, "parent again", 0, None)
    assert [row["name"] for row in database.query(contract.NAMES)] == ["child", "parent", "parent again"]
