"""What is told where Postgres refuses for good: what to change, and not that a retry is safe."""

from contextlib import closing

import pytest

from tenfold.core.errors import DefinitionError, Unavailable
from tenfold.sources import database_contract as contract
from tests import states

pytest.importorskip("psycopg", reason='psycopg is not installed: pip install "tenfold[postgres]"')

TABLES = contract.TABLES


@pytest.fixture(scope="module")
def bob(postgres):
    """The address of the database for somebody who may make nothing in it."""
    with (
        closing(states.opened(states.fresh(postgres.url), TABLES)) as database,
        database._connection() as session,
    ):
        session.several("CREATE ROLE bob LOGIN")
        yield postgres.url.replace("user=tenfold", "user=bob")
        session.several("DROP ROLE bob")


def test_who_may_not_make_the_schema_is_told_what_to_have_typed(bob, postgres):
    with pytest.raises(DefinitionError) as error:
        states.opened(f"{bob}#bank", TABLES)
    assert str(error.value) == (
        f'database "schema bank of postgres at {postgres.folder}:5432" does not let this user do what it must: '
        "permission denied for database postgres. Have its administrator type "
        'CREATE SCHEMA "bank" AUTHORIZATION "bob"; one that is there, with its tables, must belong to this user.'
    )


def test_what_is_told_to_type_helps(bob, postgres):
    with (
        closing(states.opened(states.fresh(postgres.url), TABLES)) as admin,
        admin._connection() as session,
    ):
        session.several('CREATE SCHEMA "bobs" AUTHORIZATION "bob"')
        with closing(states.opened(f"{bob}#bobs", TABLES)) as database:
            database.execute(contract.ADD, "a", 0, None)
        session.several('DROP SCHEMA "bobs" CASCADE')


def test_rights_that_are_taken_away_later_end_nothing_and_are_told(bob, postgres):
    address = states.fresh(postgres.url)
    with (
        closing(states.opened(address, TABLES)) as admin,
        closing(states.state(f"{bob}#{address[-33:]}")) as database,
    ):
        with admin._connection() as session:
            session.several(f"GRANT USAGE ON SCHEMA {address[-33:]} TO bob")
        with pytest.raises(
            Unavailable, match="does not let this user do what it must: permission denied"
        ) as error:
            database.execute(contract.ADD, "a", 0, None)
        assert str(error.value).endswith("Nothing was changed.")
        with admin._connection() as session:
            session.several(f"REVOKE ALL ON SCHEMA {address[-33:]} FROM bob")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("/postgres?", "/nope?", 'is not there: .* Make it, CREATE DATABASE "nope", or change the address'),
        ("user=tenfold", "user=nobody", 'role "nobody" does not exist. Change user and password'),
        (
            "user=",
            "target_session_attrs=x&user=",
            'invalid target_session_attrs value: "x". Change its address',
        ),
        ("user=", "connect_timeout=x&user=", "bad value for connect_timeout: 'x'. Change its address"),
        ("user=", "sslmode=x&user=", 'invalid sslmode value: "x". Change its address'),
        ("user=", "port=1,2&user=", "could not match 2 port numbers to 1 hosts. Change its address"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_as_that(postgres, old, new, says):
    database = states.state(f"{postgres.url.replace(old, new)}#bank")
    with pytest.raises(DefinitionError, match=says):
        database.prepare(TABLES)
    with pytest.raises(Unavailable, match=f"{says}.* Nothing was changed.$"):
        database.query(contract.NAMES)


def test_a_schema_that_was_dropped_is_told_as_lost(postgres):
    with closing(states.opened(states.fresh(postgres.url), TABLES)) as database:
        with database._connection() as session:
            session.several(f"DROP SCHEMA {database._schema} CASCADE")
        for ask in (
            lambda: database.query(contract.NAMES),
            lambda: database.execute(contract.ADD, "a", 0, None),
        ):
            with pytest.raises(Unavailable, match=r"has lost what was in it, or .*: relation .* Put it back"):
                ask()


def test_a_statement_that_the_server_gives_up_is_told_as_that(postgres):
    database = states.opened(
        f"{postgres.url}&options=-c%20statement_timeout%3D50#{states.fresh('')[1:]}", TABLES
    )
    with (
        closing(database),
        pytest.raises(Unavailable, match=r"gave up a statement: .* statement timeout") as error,
    ):
        database.query("SELECT pg_sleep(10)")
    assert 'ALTER ROLE "tenfold" SET statement_timeout = 0' in str(error.value)
    assert "safe to retry" not in str(error.value)


def test_a_server_that_takes_no_changes_is_told_as_that(postgres):
    schema = states.fresh("")
    with closing(states.opened(f"{postgres.url}{schema}", TABLES)):
        read_only = f"{postgres.url}&options=-c%20default_transaction_read_only%3Don{schema}"
        with closing(states.opened(read_only, TABLES)) as database:
            assert database.query(contract.NAMES) == []
            with pytest.raises(
                Unavailable, match=r"it is a standby, or its default_transaction_read_only is on"
            ):
                database.execute(contract.ADD, "a", 0, None)
