"""A sync that failed behind what everybody can see already: who finds that there does not take it for stored."""

from datetime import timedelta
from errno import EIO
from functools import partial

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from tenfold import Platform, VirtualClock
from tenfold.automation.homes import own_id
from tenfold.core.errors import Unavailable
from tenfold.core.times import UNITS, to_us
from tenfold.serving.answer.predictions import SCORES
from tenfold.sources.blobs import DirectoryBlobs
from tenfold.sources.lake import DeltaLake
from tenfold.sources.lake_tables import checkpoint
from tenfold.training.parts import Parts
from tests.examples import tiny
from tests.failing import OPEN, SYNC, TO_WRITE, failing

FORMS = [pytest.param(lambda rows: rows, id="table"), pytest.param(lambda rows: iter([rows]), id="pieces")]
COMMITTED = (OPEN, EIO, TO_WRITE)
"""What fails behind a commit alone: it is there, and is opened to be forced to disk."""


def append(lake, upto, form=lambda rows: rows, **how):
    rows = pa.table({"_offset": [upto], **{name: [1] for name in how.pop("more", ())}})
    return lambda: lake.append("t", form(rows), writer="w", upto=upto, **how)


def fails(work, *, calls=SYNC, number=EIO, which=None):
    error = failing(calls, work, number, which)
    assert isinstance(error, OSError | Unavailable), error
    assert "Input/output error" in str(error) or "has errors" in str(error)


def fails_behind(work):
    calls, number, which = COMMITTED
    fails(work, calls=calls, number=number, which=which)


def offsets(lake):
    return lake.read("t")["_offset"].to_pylist()


@pytest.mark.parametrize("form", FORMS)
def test_rows_that_could_not_be_synced_are_not_committed_but_written_anew(form, tmp_path):
    lake = DeltaLake(tmp_path)
    append(lake, 1)()
    before = {file.name for file in tmp_path.glob("t/*.parquet")}
    fails(append(lake, 2, form))
    assert (lake.position("t", "w"), offsets(lake)) == (1, [1])
    assert {file.name for file in tmp_path.glob("t/*.parquet")} == before
    assert append(lake, 2, form)()
    assert offsets(DeltaLake(tmp_path)) == [1, 2]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("again", [False, True], ids=["same process", "another process"])
def test_a_commit_that_could_not_be_synced_is_written_again_before_it_counts(form, again, tmp_path):
    lake = DeltaLake(tmp_path)
    append(lake, 1)()
    append(lake, 2, form)()
    fails_behind(append(lake, 3, form))
    assert lake.position("t", "w") == 3
    lake = DeltaLake(tmp_path) if again else lake
    commit = max(tmp_path.glob("t/_delta_log/*.json"))
    text, before = commit.read_bytes(), commit.stat()
    for upto in (3, 4):  # neither counts what stands, nor comes behind it
        fails(append(lake, upto, form))
        fails_behind(append(lake, upto, form))
    assert lake.version("t") == 2
    assert append(lake, 3, form)() is False
    after = commit.stat()
    assert after.st_ctime_ns > before.st_ctime_ns
    assert (commit.read_bytes(), after.st_mtime_ns) == (text, before.st_mtime_ns)
    assert append(lake, 4, form)()
    assert offsets(DeltaLake(tmp_path)) == [1, 2, 3, 4]


def test_a_table_whose_first_rows_could_not_be_synced_is_not_there(tmp_path):
    lake = DeltaLake(tmp_path)
    fails(append(lake, 1))
    assert (lake.position("t", "w"), list(tmp_path.iterdir())) == (0, [])
    assert append(lake, 1)()


def test_a_table_that_was_found_is_synced_with_its_name(tmp_path):
    append(DeltaLake(tmp_path), 1)()
    found = DeltaLake(tmp_path)
    fails(append(found, 1))
    assert append(found, 1)() is False


def test_a_column_that_could_not_be_synced_is_written_again_before_rows_of_it(tmp_path):
    lake = DeltaLake(tmp_path)
    append(lake, 1)()
    fails_behind(append(lake, 2, more=["y"]))
    assert (lake.version("t"), lake.position("t", "w")) == (1, 1)
    fails_behind(append(lake, 2, more=["y"]))
    assert lake.version("t") == 1
    assert append(lake, 2, more=["y"])()
    assert DeltaLake(tmp_path).read("t", columns=["y"])["y"].to_pylist() == [None, 1]


def test_who_has_all_on_disk_writes_nothing_twice(tmp_path):
    lake = DeltaLake(tmp_path)
    for upto in range(1, 25):
        append(lake, upto)()
    assert failing(SYNC, append(lake, 24)) is False


def test_commits_that_another_engine_cleared_away_behind_a_checkpoint_are_not_missed(tmp_path):
    lake, log = DeltaLake(tmp_path), tmp_path / "t/_delta_log"
    for upto in range(1, 25):
        append(lake, upto)()
    newest = max(log.glob("*.checkpoint.parquet"))
    for commit in log.glob("*.json"):
        if commit.name[:20] < newest.name[:20]:
            commit.unlink()
    assert append(DeltaLake(tmp_path), 25)()
    assert offsets(DeltaLake(tmp_path)) == list(range(1, 26))


def test_a_checkpoint_that_could_not_be_synced_is_taken_away(tmp_path, caplog):
    lake, log = DeltaLake(tmp_path), tmp_path / "t/_delta_log"
    for upto in range(1, 25):
        append(lake, upto)()
    delta = DeltaTable(tmp_path / "t")
    before = sorted(log.glob("*.checkpoint.parquet"))
    failing(SYNC, lambda: checkpoint(tmp_path / "t", delta, 19))
    assert "got no checkpoint at version 23" in caplog.text
    assert (sorted(log.glob("*.checkpoint.parquet")), (log / "_last_checkpoint").exists()) == (before, False)
    assert offsets(DeltaLake(tmp_path)) == list(range(1, 25))


def test_answers_of_a_batch_that_could_not_be_synced_are_written_again_before_its_run_is_done(tmp_path):
    tiny.build(tmp_path)
    with tiny.project.open(Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT))) as app:
        first = to_us(tiny.START + timedelta(days=10))
        score = partial(app.batch, tiny.late_order.name, first, first + UNITS["d"])
        app.batch(tiny.late_order.name, first + UNITS["d"], first + 2 * UNITS["d"])
        before = app.lake.version(SCORES)
        for _ in range(2):
            fails_behind(score)
            assert app.lake.version(SCORES) == before + 1
        assert score().rows == 12


def test_a_blob_that_is_there_is_synced_before_it_counts(tmp_path):
    blobs, files = DirectoryBlobs(tmp_path), {"model": b"tree"}
    digest = blobs.put("fraud/1", files)
    fails(lambda: blobs.put("fraud/1", files))
    assert blobs.put("fraud/1", files) == digest


def test_a_part_that_is_there_is_synced_before_its_step_counts(tmp_path):
    def make():
        return {"rows": b"1"}

    Parts(DirectoryBlobs(tmp_path), "run").make("rows", make)
    found = Parts(DirectoryBlobs(tmp_path), "run")
    fails(lambda: found.make("rows", make))
    assert found.make("rows", make) == {"rows": b"1"}


def test_a_home_whose_name_could_not_be_synced_has_none_yet(tmp_path):
    fails(lambda: own_id(tmp_path))
    fails(lambda: own_id(tmp_path))
    assert own_id(tmp_path) == own_id(tmp_path)
