"""What only a server can do to us: restart, be away, lose the answer to a commit, see what a trigger does not."""

import hashlib
import re
import sys
from contextlib import ExitStack, closing, suppress

import pytest

from tenfold.adapters.postgres.address import parts
from tenfold.adapters.postgres.database import GLANCE, IDLE
from tenfold.automation import audit
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.core.errors import DefinitionError, SchemaError, Unavailable
from tenfold.core.times import UNITS
from tenfold.platform import LAYOUT, SCHEMA
from tenfold.serving.door import tokens
from tenfold.serving.door.gate import Gate
from tenfold.sources import database_contract as contract
from tests import states

psycopg = pytest.importorskip("psycopg", reason='psycopg is not installed: pip install "tenfold[postgres]"')

TABLES = contract.TABLES


@pytest.fixture
def own(postgres):
    """The server, to be ended in a test and started again."""
    yield postgres
    if not postgres.is_running:
        postgres.start()


@pytest.fixture
def fresh(postgres):
    return states.fresh(postgres.url)


def names(database):
    return [row["name"] for row in database.query(contract.NAMES)]


def test_work_goes_on_after_a_restart_and_is_refused_while_the_server_is_away(own):
    database = states.opened(states.fresh(own.url), TABLES)
    changes = database.changes()
    database.execute(contract.ADD, "a", 0, None)
    assert changes.since_last()
    own.stop()
    for ask in (
        lambda: names(database),
        lambda: database.execute(contract.ADD, "b", 0, None),
        changes.since_last,
    ):
        with pytest.raises(
            Unavailable, match=r"does not answer: .* Nothing was changed; it is safe to retry"
        ):
            ask()
    own.start()
    assert names(database) == ["a"]
    database.execute(contract.ADD, "b", 0, None)
    assert changes.since_last()
    database.close()


@pytest.mark.skipif(sys.platform != "linux", reason="which processes the server has is read from /proc")
def test_a_server_that_hangs_is_waited_for_once_and_found_again(own):
    database = states.state(states.fresh(f"{own.url}&connect_timeout=2"))
    database._patience = 0.5  # before anything is connected: each connection keeps its own
    database.prepare(TABLES)
    changes = database.changes()
    assert changes.since_last()
    own.freeze()
    try:
        for ask in (lambda: names(database), lambda: database.execute(contract.ADD, "a", 0, None)):
            with pytest.raises(
                Unavailable, match=r"does not answer: .* Nothing was changed; it is safe to retry"
            ):
                ask()
        began = SystemClock().elapsed()
        for _ in range(100):
            with pytest.raises(Unavailable, match="does not answer: it said nothing for 2 s"):
                changes.since_last()
        assert SystemClock().elapsed() - began < 2 * GLANCE * UNITS["s"], "each of them waited"
    finally:
        own.thaw()
    assert eventually(changes.since_last) is False, "nothing was written"
    database.execute(contract.ADD, "b", 0, None)
    assert (changes.since_last(), names(database)) == (True, ["b"])
    database.close()


def test_a_table_that_is_locked_for_long_is_waited_for_once_by_who_looks_at_what_changed(fresh):
    database = states.opened(fresh, TABLES)
    changes = database.changes()
    database.execute(contract.ADD, "a", 0, None)
    address, schema = fresh.split("#")
    with psycopg.connect(address) as other:
        other.execute(f"LOCK TABLE {schema}.item IN ACCESS EXCLUSIVE MODE")
        began = SystemClock().elapsed()
        for _ in range(100):
            with pytest.raises(Unavailable, match="was locked by another writer for 1000 ms"):
                changes.query(contract.NAMES)
        assert SystemClock().elapsed() - began < 2 * GLANCE * UNITS["s"], "each of them waited"
    assert [row["name"] for row in eventually(lambda: changes.query(contract.NAMES))] == ["a"]
    database.close()


def test_a_commit_in_place_of_one_that_a_failover_lost_is_seen(fresh):
    with closing(states.opened(fresh, TABLES)) as database, closing(database.changes()) as changes:
        database.execute(contract.ADD, "a", 0, None)
        assert changes.since_last()
        with database._connection() as session:  # the standby that was promoted did not have it
            session.several("DELETE FROM item; UPDATE tenfold_state SET commits = commits - 1")
        database.execute(contract.ADD, "b", 0, None)
        assert [changes.since_last(), changes.since_last()] == [True, False]


def test_who_may_not_pass_as_tokens_cannot_be_read_is_not_told_where_they_are(own, tmp_path):
    database, clock = states.opened(states.fresh(own.url), tokens.SCHEMA), SystemClock()
    known = tokens.Tokens(database, clock)
    gate = Gate.of(database, known, tmp_path, clock, rate=None, always=False)
    assert gate.look() == {}
    own.stop()
    with pytest.raises(Unavailable, match="does not answer"):  # only this machine may ask
        gate.look()
    own.start()
    known.create("shop", ["predict"])
    assert len(gate.look()) == 1
    own.stop()
    with pytest.raises(Unavailable) as told:
        gate.look()
    assert str(told.value) == "tokens cannot be looked up now, so nobody may pass. Try again."
    database.close()


def eventually(ask):
    """Return what `ask` says as soon as it can."""
    until = SystemClock().elapsed() + 30 * UNITS["s"]
    while True:
        try:
            return ask()
        except Unavailable:
            assert SystemClock().elapsed() < until
            SystemClock().sleep(0.02)


def test_a_transaction_that_a_crash_of_the_server_interrupts_changes_nothing(own):
    database = states.opened(states.fresh(own.url), TABLES)
    database.execute(contract.ADD, "a", 0, None)

    def crash():
        with database.transaction() as tx:
            tx.execute(contract.ADD, ("b", 0, None))
            own.kill()
            tx.execute(contract.ADD, ("c", 0, None))

    with pytest.raises(Unavailable, match="does not answer"):
        crash()
    own.start()
    assert names(database) == ["a"]
    database.close()


def test_a_writer_that_does_nothing_within_a_transaction_loses_its_turn(fresh):
    slow, other = states.opened(fresh, TABLES), states.opened(fresh, TABLES)

    def stop():
        with slow.transaction() as tx:
            tx.execute("SET idle_in_transaction_session_timeout TO 20")
            other.execute(contract.ADD, "a", 0, None)
            tx.execute(contract.ADD, ("b", 0, None))

    with pytest.raises(Unavailable, match="idle-in-transaction timeout"):
        stop()
    assert names(slow) == ["a"]
    slow.close()
    other.close()


def test_what_may_not_be_deleted_may_not_be_truncated_or_replaced(fresh):
    database = states.opened(fresh, audit.SCHEMA)
    told = audit.Audit(database, VirtualClock(10))
    first = told.record("gate", "fraud 8", "passed", "auc rose", by="ann", evidence={})
    for forged in ("TRUNCATE decision", "DELETE FROM decision", "UPDATE decision SET \"by\" = 'mallory'"):
        with pytest.raises(states.refused(), match="append-only"):
            database.execute(forged)
    assert told.list() == [first]
    database.close()


def test_connections_that_nobody_needed_for_a_while_are_closed(fresh, monkeypatch):
    name = fresh[-33:]
    with closing(states.opened(f"{fresh[:-34]}&application_name={name}#{name}", TABLES)) as database:

        def count():
            asked = "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = ?"
            return database.query(asked, name)[0]["n"]

        with ExitStack() as held:
            for _ in range(IDLE + 2):
                held.enter_context(database._connection())
        assert len(database._idle) == IDLE
        monkeypatch.setattr("tenfold.adapters.postgres.database.REST", 1)
        count()
        assert len(database._idle) <= 1
        until = SystemClock().elapsed() + 30 * UNITS["s"]
        while count() > 1:  # the server takes a moment to see that one was closed
            assert SystemClock().elapsed() < until


def test_an_error_that_is_swallowed_does_not_look_like_a_commit(fresh):
    database = states.opened(fresh, TABLES)

    def swallow():
        with database.transaction() as tx:
            tx.execute(contract.ADD, ("a", 0, None))
            with suppress(Exception):
                tx.execute(contract.ADD, ("a", 0, None))

    with pytest.raises(RuntimeError, match=r"its error was swallowed\. Nothing was changed"):
        swallow()
    assert names(database) == []
    database.close()


def test_text_that_postgres_cannot_keep_is_refused_in_words(fresh):
    database = states.opened(fresh, TABLES)
    with pytest.raises(SchemaError, match="with the character NUL cannot be kept"):
        database.execute(contract.ADD, "a\0b", 0, None)
    odd = "".join(hashlib.sha256(bytes([place])).hexdigest() for place in range(250))
    with pytest.raises(SchemaError, match="a name is too long"):
        database.execute(contract.ADD, odd, 0, None)
    database.close()


def test_numbers_are_the_same_to_the_bit_where_the_role_shows_fewer_digits(fresh):
    address, schema = fresh.split("#")
    fewer = f"{address}&options=-c%20extra_float_digits%3D0#{schema}"
    with closing(states.opened(fewer, TABLES)) as database:
        database.execute("INSERT INTO item VALUES (?, 0, ?)", "a", 0.1 + 0.2)
        assert database.query("SELECT share FROM item")[0]["share"] == 0.1 + 0.2


def test_states_of_projects_lie_apart_in_one_database(postgres):
    first, second = (states.opened(states.fresh(postgres.url), TABLES) for _ in range(2))
    first.execute(contract.ADD, "a", 0, None)
    changes = second.changes()
    changes.since_last()
    first.execute(contract.ADD, "b", 0, None)
    assert (names(first), names(second), changes.since_last()) == (["a", "b"], [], False)
    first.close()
    second.close()


def test_a_state_that_is_whole_is_opened_without_a_change(fresh, postgres):
    states.opened(fresh, SCHEMA, layout=LAYOUT).close()
    again = states.opened(fresh, SCHEMA, layout=LAYOUT)
    found = again.query(
        "SELECT count(*) AS n FROM pg_class WHERE relnamespace = ?::regnamespace", fresh[-33:]
    )
    assert found[0]["n"] > 20
    wrong = states.state(fresh)
    with pytest.raises(SchemaError) as error:
        wrong.prepare(SCHEMA, layout=LAYOUT + 1)
    assert re.fullmatch(
        r"the state in schema t\w+ of postgres at \S+ was made by an earlier version of tenfold\. "
        rf'Name another schema, PostgresDatabase\(\.\.\., schema="t\w+_{LAYOUT + 1}"\), and load the history again\.',
        str(error.value),
    )
    again.close()


SECRET = "postgresql://ann:s3cret@127.0.0.1:9/ml"


def test_nothing_is_connected_before_it_is_needed_and_no_password_is_told():
    database = states.state(f"{SECRET}?connect_timeout=2#fraud")
    assert repr(database) == "PostgresDatabase(schema fraud of ml at 127.0.0.1:9)"
    with pytest.raises(
        Unavailable, match=r'database "schema fraud of ml at 127\.0\.0\.1:9" does not answer'
    ) as error:
        database.prepare("")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "schema", ["Fraud", "fraud; DROP TABLE run", "", "1st", "a" * 64, "pg_shop", "information_schema"]
)
def test_a_schema_that_is_not_a_name_is_refused(schema):
    with pytest.raises(DefinitionError, match=r'is not a name\. Use lower-case letters, digits and "_"'):
        states.state(f"{SECRET}#{schema}")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:s3cret@[::1/ml",
        "host=a s3cret",
        "sqlite:///s3cret",
        "postgresql://ann:a@s3cret@db/ml",
        "postgresql://ann:s3cret/b@db/ml",
        "postgresql://ann:5432/s3cret@db/ml",
        "postgresql://ann:a@b/s3cret@db/ml",
        "postgresql://ann:a@b?sslmode=s3cret@db/ml",
        "postgresql://ann:s3cret",
        "postgres://ann:5432/s3/cret",
        "host=ann:s3cret@db",
        "dbname=postgresql://ann:s3cret@db/ml",
        "port=s3cret",
        "port=123456",
    ],
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(DefinitionError, match='Write "postgresql://user@host:5432/database"') as error:
        states.state(f"{address}#fraud")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("postgresql://ann:a%40b%2Fc@db.example/m%2Fl", "m/l at db.example:5432"),
        ("postgresql://ann:a:b?c@[::1]:9/ml?sslmode=disable", "ml at ::1:9"),
        ("postgresql://ann@a:1,b:2/ml", "ml at a,b:1,2"),
        ("postgresql:///ml?host=/tmp/pg&user=ann%40x", "ml at /tmp/pg:5432"),
        ("host=@abstract dbname=m@l password='://@/'", "m@l at @abstract:5432"),
    ],
)
def test_an_address_that_is_escaped_is_taken(address, place):
    assert repr(states.state(f"{address}#fraud")) == f"PostgresDatabase(schema fraud of {place})"


def test_of_several_servers_the_one_that_takes_changes_is_meant_unless_another_is_named():
    several, one = parts("postgresql://ann@a,b/ml"), parts("postgresql://ann@a/ml")
    assert (several["target_session_attrs"], "target_session_attrs" in one) == ("read-write", False)
    assert parts("postgresql://ann@a,b/ml?target_session_attrs=any")["target_session_attrs"] == "any"


def test_a_trace_tells_only_why_nothing_could_be_opened():
    with pytest.raises(Unavailable) as error:
        states.state(f"{SECRET}?connect_timeout=2#fraud").query(contract.NAMES)
    chain = [error.value]
    while (next_ := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(next_)
    assert not any(isinstance(one, LookupError) for one in chain)
