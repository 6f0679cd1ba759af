"""States whose file was damaged: what is said names the folder, which is made anew."""

import shutil

import pytest

from tenfold import VirtualClock
from tenfold.serving.rows.degraded import Away, Careful
from tenfold.sources.memory import MemoryLake
from tenfold.store.base import Damaged, read
from tenfold.store.lmdb import LMDBOnlineStore
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.worker import Worker
from tests.unit.test_log_put_back import CLOCK, sold
from tests.unit.test_worker import VIEW


@pytest.fixture(params=[b"\0", b"\x55", b"\xff"])
def damaged(tmp_path, request):
    """Return an open store with the states of a log, and the log, after its file was overwritten."""
    store, log = LMDBOnlineStore(tmp_path / "online"), sold(3)
    StateSink(log, store, [VIEW]).advance()
    with (tmp_path / "online/data.mdb").open("r+b") as file:
        file.write(request.param * 65_536)
    yield store, log
    store.close()


def says(folder):
    return (
        f'online store "{folder}" is damaged: .*. End all processes, remove that folder and start them again: '
        "it is made anew from the log."
    )


def test_a_worker_says_which_folder_to_remove_and_it_is_made_anew(damaged, tmp_path):
    store, log = damaged
    worker = Worker(StateSink(log, store, [VIEW]), LakeSink(log, MemoryLake(), ["sales"]), CLOCK)
    for refused in (
        lambda: worker.run(lambda: False),
        lambda: store.write({b"key": b"state"}, {}),
        lambda: read(store, [b"key"]),
        lambda: list(store.items()),
    ):
        with pytest.raises(Damaged, match=says(tmp_path / "online")):
            refused()
    store.close()
    with pytest.raises(Damaged, match=says(tmp_path / "online")):
        LMDBOnlineStore(tmp_path / "online")
    shutil.rmtree(tmp_path / "online")
    again = LMDBOnlineStore(tmp_path / "online")
    StateSink(log, again, [VIEW]).advance()
    assert list(again.offsets().values()) == [3]
    again.close()


def test_requests_are_told_too_and_degrade_as_where_a_store_is_away(damaged, tmp_path):
    careful = Careful(lambda: damaged[0], VirtualClock(0))
    for refused in (careful.offsets, lambda: read(careful, [b"key"])):
        with pytest.raises(Away, match=f"cannot be used: {says(tmp_path / 'online')} Nothing was stored"):
            refused()
