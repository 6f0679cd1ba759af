"""Every embedded storage engine passes every check, and a wrong one fails the checks that name its fault."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import cache

import pyarrow.parquet as pq
import pytest

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError, SchemaError, Unavailable
from tenfold.sources import blobs_contract as blobs
from tenfold.sources import contract as sources
from tenfold.sources import lake_contract as lakes
from tenfold.sources.base import Ends
from tenfold.sources.blobs import DirectoryBlobs
from tenfold.sources.lake import DeltaLake
from tenfold.sources.lake_parts import MOST_SMALL
from tenfold.sources.log import SQLiteLog
from tenfold.sources.memory import MemoryBlobs, MemoryLake, MemoryLog
from tenfold.store import contract as stores
from tenfold.store.lmdb import LMDBOnlineStore
from tenfold.store.memory import MemoryOnlineStore


def always(thing):
    """A memory engine's place is the object itself."""
    return lambda: thing


LOGS = {
    "memory": lambda path: cache(MemoryLog),
    "sqlite": lambda path: lambda clock: SQLiteLog(path / "log.db", clock),
}
LAKES = {
    "memory": lambda path: always(MemoryLake()),
    "delta": lambda path: lambda: DeltaLake(path / "a lake é *?#"),
}
BLOBS = {
    "memory": lambda path: always(MemoryBlobs()),
    "directory": lambda path: lambda: DirectoryBlobs(path / "blobs"),
}
STORES = {
    "memory": lambda path: always(MemoryOnlineStore()),
    "lmdb": lambda path: lambda: LMDBOnlineStore(path / "online", map_size=2**30),
}


@pytest.fixture
def opened() -> Iterator[Callable]:
    """Wrap a factory so that everything it opens is closed at the end."""
    things = []

    def remember(make):
        def make_and_remember(*values):
            things.append(make(*values))
            return things[-1]

        return make_and_remember

    yield remember
    for thing in things:
        getattr(thing, "close", lambda: None)()


def name(check):
    return check.__name__


@pytest.mark.parametrize("check", sources.log_checks(), ids=name)
@pytest.mark.parametrize("engine", LOGS)
def test_log(engine, check, tmp_path, opened):
    check(opened(LOGS[engine](tmp_path)))


@pytest.mark.parametrize("check", lakes.checks(), ids=name)
@pytest.mark.parametrize("engine", LAKES)
def test_lake(engine, check, tmp_path):
    check(LAKES[engine](tmp_path))


@pytest.mark.parametrize("check", blobs.blob_checks(), ids=name)
@pytest.mark.parametrize("engine", BLOBS)
def test_blobs(engine, check, tmp_path):
    check(BLOBS[engine](tmp_path))


@pytest.mark.parametrize("check", stores.checks(), ids=name)
@pytest.mark.parametrize("engine", STORES)
def test_online_store(engine, check, tmp_path, opened):
    check(opened(STORES[engine](tmp_path)))


OLD_ENDS = 'CREATE TABLE ends (topic TEXT PRIMARY KEY, "end" INTEGER NOT NULL) WITHOUT ROWID'


def test_a_log_of_an_earlier_version_is_refused_at_every_opening(tmp_path):
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.execute(OLD_ENDS)
    for _ in range(2):
        with pytest.raises(SchemaError) as error:
            SQLiteLog(tmp_path / "log.db", VirtualClock(0))
        assert str(error.value) == (
            f'the home at "{tmp_path}" was made by an earlier version of tenfold. '
            "Make a new home and load the history again."
        )


class ForgetsKeys(MemoryLog):
    def _append(self, given):
        return super()._append(replace(given, key=None))


class StoresWhatFitsFirst(MemoryLog):
    def append_all(self, appends, *, still=None):
        each = (super(StoresWhatFitsFirst, self).append_all([one], still=still) for one in appends)
        return [batch for some in each for batch in some]


class EndsAtOnce(MemoryLog):
    def ends(self):
        return Ends(
            self._moment(), {topic: held[-1].end for topic, held in list(self._batches.items()) if held}
        )


class ExpectsAnything(MemoryLog):
    def append_all(self, appends, *, still=None):
        return super().append_all(appends, still=still and Ends(0, {}))


class ReadsMore(MemoryLog):
    def read(self, topic, after, *, size=0, **limits):
        return super().read(topic, after, **limits)


class FollowsTheClock(MemoryLog):
    def _moment(self):
        return self._clock.now()


class MovesBack(MemoryOnlineStore):
    def write(self, states, offsets, *, after=None):
        written = super().write(states, {}, after=after)
        self._offsets.update(offsets)
        return written


class LetsLateWritersWin(MemoryOnlineStore):
    def write(self, states, offsets, *, after=None):
        return super().write(states, offsets)


class WritesTwice(MemoryLake):
    def append(self, table, rows, *, writer, upto, after=None, **how):
        if upto <= self.position(table, writer):
            self._positions.pop((table, writer), None)
        return super().append(table, rows, writer=writer, upto=upto, after=after, **how)


class LetsLateAppendsIn(MemoryLake):
    def append(self, table, rows, *, writer, upto, after=None, **how):
        return super().append(table, rows, writer=writer, upto=upto, **how)


class KeepsWhatIsReplaced(MemoryLake):
    def append(self, table, rows, *, instead="", **how):
        return super().append(table, rows, **how)


class ChecksOnce(MemoryLake):
    def append(self, table, rows, *, check=None, **how):
        if check is not None:
            check()
        return super().append(table, rows, **how)


class Overwrites(MemoryBlobs):
    def put(self, name, files):
        if name in self._blobs and all("/" not in file for file in files):
            self.delete(name)
        return super().put(name, files)


def failures(checks, make):
    """The names of the checks that an implementation does not pass."""
    failed = set()
    for check in checks:
        with suppress(AssertionError):
            check(make())
            continue
        failed.add(check.__name__)
    return failed


def test_a_log_that_forgets_keys_fails_the_checks_of_keys():
    assert failures(sources.log_checks(), lambda: cache(ForgetsKeys)) == {
        "log_reads_back",
        "log_key_is_stored_once",
        "log_key_belongs_to_a_topic",
        "log_several_keys_are_stored_all_or_not_at_all",
        "log_several_at_once_are_stored_once_by_key",
        "log_keeps_any_text_and_bytes",
        "log_threads_append_one_key_once",
        "log_stamps_arrivals",
        "log_stores_nothing_when_it_ends_elsewhere_than_is_expected",
        "log_is_the_same_for_those_in_a_hurry",
        "log_reopens",
    }


def test_a_log_that_does_not_look_at_bytes_fails_the_check_of_them():
    assert failures(sources.log_checks(), lambda: cache(ReadsMore)) == {"log_limits_bytes"}


def test_a_log_that_stores_some_of_several_fails_the_check_of_all_or_none():
    assert failures(sources.log_checks(), lambda: cache(StoresWhatFitsFirst)) == {
        "log_appends_several_or_none"
    }


def test_a_log_that_stores_whatever_came_before_fails_the_check_of_what_is_expected():
    assert failures(sources.log_checks(), lambda: cache(ExpectsAnything)) == {
        "log_stores_nothing_when_it_ends_elsewhere_than_is_expected"
    }


def test_a_log_whose_ends_do_not_wait_fails_the_check_of_a_slow_append():
    assert failures(sources.log_checks(), lambda: cache(EndsAtOnce)) >= {"log_ends_wait_for_a_slow_append"}


def test_a_log_that_follows_a_clock_back_fails_the_check_of_order():
    assert failures(sources.log_checks(), lambda: cache(FollowsTheClock)) == {"log_arrivals_never_decrease"}


def test_a_store_that_lets_offsets_move_back_fails_the_checks_of_offsets():
    assert failures(stores.checks(), lambda: always(MovesBack())) >= {"offset_never_moves_back", "reopens"}


def test_a_store_that_lets_late_writers_win_fails_the_checks_of_late_writers():
    assert failures(stores.checks(), lambda: always(LetsLateWritersWin())) >= {"a_late_writer_writes_nothing"}


def test_a_lake_that_lets_late_appends_in_fails_the_check_of_late_writers():
    assert failures(lakes.checks(), lambda: always(LetsLateAppendsIn())) == {"a_late_writer_stores_nothing"}


def test_a_lake_that_writes_twice_fails_the_checks_of_positions():
    assert failures(lakes.checks(), lambda: always(WritesTwice())) == {
        "writer_position_is_stored_once",
        "takes_no_piece_when_it_is_stored",
        "compacts_and_keeps_versions",
        "threads_append_one_position_once",
        "reopens",
    }


def test_a_lake_that_keeps_what_is_replaced_fails_the_checks_of_replacing():
    assert failures(lakes.checks(), lambda: always(KeepsWhatIsReplaced())) == {
        "replaces_rows_in_one_version",
        "a_piece_that_fails_changes_nothing",
        "threads_replace_what_is_theirs",
    }


def test_a_lake_that_checks_once_fails_the_check_of_that():
    failed = failures(lakes.checks(), lambda: always(ChecksOnce()))
    assert failed == {"checks_again_when_another_was_first"}


def test_blobs_that_change_fail_the_checks_of_change():
    assert failures(blobs.blob_checks(), lambda: always(Overwrites())) == {
        "blobs_never_change",
        "blobs_threads_put_at_once",
    }


@pytest.mark.parametrize("change", [lambda file: file.write_bytes(b"other"), lambda file: file.unlink()])
@pytest.mark.parametrize("file", ["model.txt", "@manifest.json"])
def test_a_changed_blob_is_refused(tmp_path, file, change):
    blobs = DirectoryBlobs(tmp_path)
    blobs.put("fraud/3", {"model.txt": b"tree"})
    change(tmp_path / "fraud@3" / file)
    with pytest.raises(
        SchemaError, match=r'blob "fraud/3" is not what was stored: .* put it again from its source'
    ):
        blobs.get("fraud/3")


def test_what_a_killed_put_leaves_is_invisible(tmp_path):
    blobs = DirectoryBlobs(tmp_path)
    (tmp_path / ".0123").mkdir()
    (tmp_path / ".0123" / "model.txt").write_bytes(b"half")
    assert blobs.names() == []
    blobs.put("fraud/3", {"model.txt": b"tree"})
    assert blobs.names() == ["fraud/3"]


def test_delta_keeps_its_whole_log_and_leaves_nothing_aside(tmp_path):
    import pyarrow as pa
    from deltalake import DeltaTable

    lake = DeltaLake(tmp_path)
    lake.append("payments", pa.table({"_offset": [0]}), writer="w", upto=1)
    configuration = DeltaTable(tmp_path / "payments").metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    assert [entry.name for entry in tmp_path.iterdir()] == ["payments"]


@pytest.mark.parametrize("folder", ["a[1]", "50%", "a\\b", "a^b", "a|b", "a\tb", "a\x7fb", "a\udcffb"])
def test_delta_refuses_folders_it_cannot_address(tmp_path, folder):
    with pytest.raises(DefinitionError, match="Choose a path in UTF-8 without"):
        DeltaLake(tmp_path / folder)
    assert not list(tmp_path.iterdir())


def test_delta_reads_across_checkpoints(tmp_path):
    import pyarrow as pa

    lake = DeltaLake(tmp_path)
    for number in range(25):
        lake.append("payments", pa.table({"_offset": [number]}), writer="w", upto=number + 1)
    assert len(list((tmp_path / "payments" / "_delta_log").glob("*.checkpoint.parquet"))) == 2
    assert lake.position("payments", "w") == 25
    assert lake.read("payments", version=3)["_offset"].to_pylist() == [0, 1, 2, 3]
    assert lake.read("payments")["_offset"].to_pylist() == list(range(25))


def test_delta_merges_small_files_in_their_order(tmp_path):
    import pyarrow as pa
    from deltalake import DeltaTable

    one, two = DeltaLake(tmp_path), DeltaLake(tmp_path)
    for number in range(MOST_SMALL + 9):
        rows = pa.table({"_offset": [number]})
        (one, two)[number % 2].append("payments", [rows], writer="w", upto=number + 1)
    assert len(DeltaTable(tmp_path / "payments").file_uris()) == 9
    merged = max((tmp_path / "payments").glob("*.parquet"), key=lambda file: pq.read_metadata(file).num_rows)
    assert pq.read_table(merged)["_offset"].to_pylist() == list(range(MOST_SMALL + 1))
    assert one.version("payments") == two.version("payments") == MOST_SMALL + 10


def test_delta_loses_and_repeats_nothing_where_two_lakes_merge_and_append_at_once(tmp_path):
    import pyarrow as pa

    def write(place):
        lake = DeltaLake(tmp_path)
        for number in range(MOST_SMALL + 8):
            rows = pa.table({"_offset": [2 * number + place]})
            assert lake.append("payments", rows, writer=f"w{place}", upto=number + 1)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    assert DeltaLake(tmp_path).read("payments")["_offset"].to_pylist() == list(range(2 * (MOST_SMALL + 8)))


def test_delta_forces_what_it_commits_to_disk(tmp_path, monkeypatch):
    import pyarrow as pa

    forced, fsync = [], os.fsync

    def recorded(descriptor):
        forced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    lake = DeltaLake(tmp_path)
    for number in range(3):
        del forced[:]
        lake.append("payments", [pa.table({"_offset": [number]})], writer="w", upto=number + 1)
        newest = max((tmp_path / "payments").glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)
        assert {str(newest), str(tmp_path / f"payments/_delta_log/{number + 1:020d}.json")} <= set(forced)


def test_a_second_lmdb_store_in_one_process_is_refused(tmp_path):
    store = LMDBOnlineStore(tmp_path, map_size=2**20)
    with pytest.raises(Unavailable, match=r"already open in this process. A process may open it once; share"):
        LMDBOnlineStore(tmp_path, map_size=2**20)
    store.close()
    LMDBOnlineStore(tmp_path, map_size=2**20).close()


def test_a_full_lmdb_store_writes_nothing(tmp_path):
    store = LMDBOnlineStore(tmp_path, map_size=2**20)
    store.write({b"a": b"1"}, {"payments": 1})
    with pytest.raises(Unavailable, match=r"is full. Nothing was written; open it with a larger map_size"):
        store.write({b"b": b"x" * 2**21}, {"payments": 2})
    assert list(store.items()) == [(b"a", b"1")]
    assert store.offsets() == {"payments": 1}
    store.close()
    larger = LMDBOnlineStore(tmp_path, map_size=2**23)
    larger.write({b"b": b"x" * 2**21}, {"payments": 2})
    larger.close()
