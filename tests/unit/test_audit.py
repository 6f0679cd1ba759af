import pytest

from tenfold.automation.audit import SCHEMA, Audit, Decision
from tenfold.core.clock import VirtualClock
from tests import states


@pytest.fixture
def clock():
    return VirtualClock(10)


@pytest.fixture
def database(address):
    database = states.opened(address, SCHEMA)
    yield database
    database.close()


@pytest.fixture
def audit(database, clock):
    return Audit(database, clock)


def record(audit, kind="gate", subject="fraud 8", decision="passed", cause=None, **more):
    return audit.record(
        kind, subject, decision, "auc rose", by="gate auc", evidence={"auc": 0.9}, cause=cause, **more
    )


def test_a_decision_reads_back_as_it_was_written(audit):
    expected = Decision(1, 10, "gate", "fraud 8", "passed", "auc rose", "gate auc", {"auc": 0.9})
    assert record(audit) == expected
    assert audit.list() == [expected]


def test_one_cause_is_one_decision_and_the_first_counts(audit, clock):
    first = record(audit, cause="j0001")
    clock.set(20)
    assert record(audit, cause="j0001", decision="refused") == first
    assert audit.list() == [first]


def test_the_same_cause_may_lead_to_decisions_of_other_kinds_and_subjects(audit):
    record(audit, cause="j0001")
    record(audit, cause="j0001", kind="promote")
    record(audit, cause="j0001", subject="fraud 9")
    record(audit, cause="j0002")
    assert len(audit.list()) == 4


def test_decisions_without_a_cause_are_all_kept(audit):
    assert record(audit).seq < record(audit).seq


def test_list_filters_and_gives_the_newest_oldest_first(audit):
    for kind, subject in [("gate", "a"), ("gate", "b"), ("promote", "a"), ("gate", "a")]:
        record(audit, kind=kind, subject=subject)
    assert [row.seq for row in audit.list()] == [1, 2, 3, 4]
    assert [row.seq for row in audit.list(subject="a")] == [1, 3, 4]
    assert [row.seq for row in audit.list(kind="gate")] == [1, 2, 4]
    assert [row.seq for row in audit.list(subject="a", kind="gate")] == [1, 4]
    assert [row.seq for row in audit.list(limit=2)] == [3, 4]


def test_the_database_refuses_to_change_or_delete_a_decision(audit, database):
    kept = record(audit)
    for statement in ("UPDATE decision SET why = 'other'", "DELETE FROM decision"):
        with pytest.raises(states.refused(), match="append-only"):
            database.execute(statement)
    assert audit.list() == [kept]


def test_a_decision_commits_with_the_transaction_it_is_given(audit, database):
    def lost():
        with database.transaction() as tx:
            record(audit, tx=tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lost()
    assert audit.list() == []
    with database.transaction() as tx:
        record(audit, tx=tx)
    assert len(audit.list()) == 1
