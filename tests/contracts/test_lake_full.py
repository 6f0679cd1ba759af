"""What was committed to a Delta table stays, whatever fails behind the commit: a checkpoint, a merge, or the answer itself."""

import os
from contextlib import contextmanager
from errno import ENOSPC
from resource import RLIMIT_FSIZE, getrlimit, setrlimit

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from tenfold.core.errors import Unavailable
from tenfold.sources.lake import DeltaLake
from tenfold.sources.lake_parts import MOST_SMALL, Written

PAYLOAD = 250


def rows(place):
    return pa.table({"x": [place], "y": [os.urandom(PAYLOAD).hex()]})


def held(lake):
    return sorted(lake.read("t", columns=["x"])["x"].to_pylist())


@contextmanager
def small_files(limit):
    """Let no file grow beyond some bytes, as on a disk that is nearly full."""
    before = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, before)


def no_checkpoints(path, upto):
    """Put folders where the checkpoints would be."""
    for version in range(upto):
        (path / "_delta_log" / f"{version:020d}.checkpoint.parquet").mkdir()


def append(lake, place, *, pieces=True, instead=""):
    given = iter([rows(place)]) if pieces else rows(place)
    return lake.append("t", given, writer="w", upto=place + 1, instead=instead)


@pytest.mark.parametrize("pieces", [True, False])
def test_a_checkpoint_that_cannot_be_written_takes_nothing_away(pieces, tmp_path, caplog):
    lake = DeltaLake(tmp_path)
    append(lake, 0, pieces=pieces)
    no_checkpoints(tmp_path / "t", 40)
    for place in range(1, 25):
        assert append(lake, place, pieces=pieces)
    assert held(lake) == held(DeltaLake(tmp_path)) == list(range(25))
    said = [record.getMessage().split(":")[0] for record in caplog.records]
    assert said == [f'table "t" got no checkpoint at version {version}' for version in (10, 20)]
    for version in range(40):
        (tmp_path / "t" / "_delta_log" / f"{version:020d}.checkpoint.parquet").rmdir()
    for place in range(25, 32):
        assert append(lake, place, pieces=pieces)
    assert [file.name for file in tmp_path.glob("t/_delta_log/*.checkpoint.parquet")] == [
        f"{30:020d}.checkpoint.parquet"
    ]
    assert held(lake) == held(DeltaLake(tmp_path)) == list(range(32))


def test_what_takes_the_place_of_rows_stays_without_a_checkpoint(tmp_path):
    lake = DeltaLake(tmp_path)
    append(lake, 0)
    no_checkpoints(tmp_path / "t", 40)
    for place in range(1, 25):
        assert append(lake, place, instead="x >= 0")
        assert held(lake) == [place]
    assert held(DeltaLake(tmp_path)) == [24]


def test_a_merge_stays_without_a_checkpoint(tmp_path):
    lake = DeltaLake(tmp_path)
    append(lake, 0)
    no_checkpoints(tmp_path / "t", 200)
    for place in range(1, 9):
        append(lake, place)
    for _ in range(20):  # whichever version a checkpoint would be due at
        lake.compact("t")
        append(lake, int(lake.position("t", "w")))
    assert held(lake) == held(DeltaLake(tmp_path)) == list(range(29))


def test_a_merge_that_there_is_no_room_for_fails_no_append(tmp_path, caplog):
    lake = DeltaLake(tmp_path)
    for place in range(MOST_SMALL):
        append(lake, place, pieces=False)
    with small_files(4_000):  # an append fits, all rows in one file do not
        assert append(lake, MOST_SMALL, pieces=False)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        'the small files of table "t" were not merged'
    ]
    assert append(lake, MOST_SMALL + 1, pieces=False)
    assert held(DeltaLake(tmp_path)) == list(range(MOST_SMALL + 2))
    assert len(DeltaTable(tmp_path / "t").file_uris()) == 1


class Answerless(DeltaTable):
    """A table whose commits stand, while something behind them fails."""

    error: BaseException = OSError("no answer")

    def create_write_transaction(self, *args, **kwargs):
        super().create_write_transaction(*args, **kwargs)
        raise self.error


def written(path):
    """Return a table's folder with a file that was written to it, and the files that are there already."""
    append(DeltaLake(path), 0)
    return Written(path / "t"), set((path / "t").glob("*.parquet"))


def commit(files, table):
    with files:
        files.write([rows(1)])
        files.commit(table, lambda: iter(()), None)


def test_a_commit_that_stands_is_done_though_it_raised(tmp_path):
    files, _ = written(tmp_path)
    commit(files, Answerless(tmp_path / "t"))
    assert held(DeltaLake(tmp_path)) == [0, 1]


def test_a_merge_that_stands_is_done_though_it_raised(tmp_path):
    files, before = written(tmp_path)
    with files:
        files.write([rows(0)])
        files.replace(Answerless(tmp_path / "t"), list(before))
    assert held(DeltaLake(tmp_path)) == [0]


def test_a_commit_that_is_interrupted_keeps_its_files(tmp_path):
    files, _ = written(tmp_path)
    table = Answerless(tmp_path / "t")
    table.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        commit(files, table)
    assert held(DeltaLake(tmp_path)) == [0, 1]


class Refusing(DeltaTable):
    """A table that has no room for a commit."""

    def create_write_transaction(self, *args, **kwargs):
        with small_files(100):
            super().create_write_transaction(*args, **kwargs)


def test_a_commit_that_did_not_come_about_leaves_no_file(tmp_path):
    files, before = written(tmp_path)
    with pytest.raises(OSError, match="File too large"):
        commit(files, Refusing(tmp_path / "t"))
    assert set((tmp_path / "t").glob("*.parquet")) == before
    assert held(DeltaLake(tmp_path)) == [0]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(ENOSPC, "No space left on device"), True),
        (
            DeltaError("Kernel error: Unable to copy data to file: No space left on device (os error 28)"),
            True,
        ),
        (OSError("Error writing bytes to file. Detail: [errno 122] Disk quota exceeded"), True),
        (
            DeltaError(
                'Could not create local directory: t Error: Os { code: 28, kind: StorageFull, message: "No space left on device" }'
            ),
            True,
        ),
        (OSError("Unable to rename file: Is a directory (os error 21)"), False),
        (ValueError("there are 28 of them"), False),
    ],
)
def test_a_table_without_room_is_told_in_a_sentence(tmp_path, error, told):
    def pieces():
        yield rows(0)
        raise error

    full = f'table "{tmp_path / "t"}" cannot grow: the disk is full. Make room and try again.'
    with pytest.raises(Unavailable if told else type(error)) as raised:
        DeltaLake(tmp_path).append("t", pieces(), writer="w", upto=1)
    assert str(raised.value) == (full if told else str(error))
