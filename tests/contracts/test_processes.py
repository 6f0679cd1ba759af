"""Real processes on one place: nothing is lost, nothing is stored twice, kill -9 leaves whole transactions."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice

import pytest

from tenfold.core.clock import SystemClock
from tenfold.sources.lake import DeltaLake
from tenfold.sources.log import SQLiteLog
from tenfold.store.base import read
from tenfold.store.lmdb import LMDBOnlineStore

APPEND_TO_LOG = """
import sys
from pathlib import Path
from tenfold.core.clock import SystemClock
from tenfold.sources.log import SQLiteLog
log, name = SQLiteLog(Path(sys.argv[1]), SystemClock()), sys.argv[2]
for number in range(int(sys.argv[3])):
    batch = log.append("payments", f"{name}-{number}".encode(), 1 + number % 3, key=f"{name}-{number}")
    print(batch.base, batch.data.decode(), flush=True)
"""
APPEND_SLOWLY = """
import sys
from pathlib import Path
from tenfold.core.clock import SystemClock
from tenfold.sources.log import SQLiteLog
class Slow(SystemClock):
    def now(self):
        found = super().now()
        print("asked", flush=True)
        sys.stdin.readline()
        return found
print(SQLiteLog(Path(sys.argv[1]), Slow()).append("payments", b"", 1).arrival)
"""
WRITE_STATES = """
import sys
from pathlib import Path
from tenfold.store.lmdb import LMDBOnlineStore
store = LMDBOnlineStore(Path(sys.argv[1]), map_size=2**26)
for number in range(1, 10**9):
    store.write({b"card:%d" % key: b"%d" % number for key in range(20)}, {"payments": number})
    print(number, flush=True)
"""
READ_STATES = """
import sys
from pathlib import Path
from tenfold.store.base import read
from tenfold.store.lmdb import LMDBOnlineStore
store = LMDBOnlineStore(Path(sys.argv[1]), map_size=2**26)
seen = set()
while len(seen) < 5:
    states = read(store, [b"card:%d" % key for key in range(20)])
    assert len(set(states)) == 1, states
    seen.add(states[0])
store.close()
"""
APPEND_TO_LAKE = """
import sys
from pathlib import Path
import pyarrow as pa
from tenfold.core.clock import SystemClock
from tenfold.sources.lake import DeltaLake
lake, writer, steps = DeltaLake(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
won = [lake.append("payments", pa.table({"_offset": [upto]}), writer=writer, upto=upto) for upto in range(1, steps + 1)]
print(sum(won))
"""


@pytest.fixture
def start():
    """Start a Python process; whatever still runs at the end is killed."""
    processes = []

    def run(code, *arguments):
        command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def finish(process):
    """Wait for a process that must succeed and return its lines."""
    out, err = process.communicate()
    assert err == ""
    assert process.returncode == 0
    return out.splitlines()


def kill_after(process, lines, seconds):
    """Kill -9 some time after some acknowledgements and return all complete ones, also those on their way.

    The moment varies, because a kill right after an acknowledgement always meets the next write in the same phase.
    """
    acknowledged = list(islice(process.stdout, lines))
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    process.kill()
    acknowledged += [line for line in process.stdout if line.endswith("\n")]
    process.wait()
    return [line.rstrip("\n") for line in acknowledged]


def stored(log):
    return [f"{batch.base} {batch.data.decode()}" for batch in log.read("payments", 0, limit=10_000)]


def test_two_processes_append_to_one_log(tmp_path, start):
    path = tmp_path / "log.db"
    processes = [start(APPEND_TO_LOG, path, name, 150) for name in ("a", "b")]
    acknowledged = [line for process in processes for line in finish(process)]
    log = SQLiteLog(path, SystemClock())
    assert sorted(stored(log)) == sorted(acknowledged)
    assert len(acknowledged) == 300
    batches = log.read("payments", 0, limit=1_000)
    assert [batch.base for batch in batches[1:]] == [batch.end for batch in batches[:-1]]
    assert [batch.arrival for batch in batches] == sorted(batch.arrival for batch in batches)
    assert log.ends().offsets == {"payments": batches[-1].end}
    log.close()


def test_ends_wait_for_an_append_of_another_process(tmp_path, start):
    path = tmp_path / "log.db"
    log = SQLiteLog(path, SystemClock())
    process = start(APPEND_SLOWLY, path)
    process.stdout.readline()
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(log.ends)
        wait([asking], timeout=0.2)  # one that does not wait for the append has answered by then
        (arrival,) = process.communicate("go on\n")[0].split()
        assert asking.result().offsets == {"payments": 1}
        assert asking.result().at >= int(arrival)
    log.close()


@pytest.mark.crash
@pytest.mark.parametrize(("lines", "seconds"), [(1, 0.0), (60, 0.0007), (30, 0.0031), (10, 0.0113)])
def test_a_killed_append_loses_nothing_acknowledged(tmp_path, start, lines, seconds):
    path = tmp_path / "log.db"
    acknowledged = kill_after(start(APPEND_TO_LOG, path, "a", 10**9), lines, seconds)
    log = SQLiteLog(path, SystemClock())
    found = stored(log)
    assert found[: len(acknowledged)] == acknowledged
    # At most the batch whose acknowledgement was being written.
    assert len(found) - len(acknowledged) in (0, 1)
    batches = log.read("payments", 0, limit=10_000)
    assert log.ends().offsets == {"payments": batches[-1].end}
    again = log.append("payments", b"other", 9, key="a-0")
    assert again == batches[0]
    log.close()


@pytest.mark.crash
@pytest.mark.parametrize("seconds", [n * 0.0017 for n in range(8)])
def test_a_killed_writer_leaves_states_and_offsets_equal(tmp_path, start, seconds):
    acknowledged = kill_after(start(WRITE_STATES, tmp_path), 5, seconds)
    store = LMDBOnlineStore(tmp_path, map_size=2**26)
    states = {int(state) for _, state in store.items()}
    assert states == {store.offsets()["payments"]}
    assert states.pop() - int(acknowledged[-1]) in (0, 1)
    store.write({b"card:0": b"after"}, {"payments": 10**9})
    assert read(store, [b"card:0"]) == [b"after"]
    store.close()


def test_readers_in_other_processes_see_whole_writes(tmp_path, start):
    writer = start(WRITE_STATES, tmp_path)
    writer.stdout.readline()
    readers = [start(READ_STATES, tmp_path) for _ in range(2)]
    # The writer goes on while its pipe has room, and afterwards because this loop empties it.
    while any(reader.poll() is None for reader in readers):
        writer.stdout.readline()
    assert [finish(reader) for reader in readers] == [[], []]


@pytest.mark.parametrize("writers", [("w", "w", "w"), ("a", "b", "c")])
def test_processes_create_a_table_and_append_at_once(tmp_path, start, writers):
    steps = 5
    processes = [start(APPEND_TO_LAKE, tmp_path, writer, steps) for writer in writers]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    won = [int(finish(process)[0]) for process in processes]
    distinct = len(set(writers))
    assert sum(won) == steps * distinct
    found = DeltaLake(tmp_path).read("payments")["_offset"].to_pylist()
    assert found == sorted(list(range(1, steps + 1)) * distinct)
    assert [entry.name for entry in tmp_path.iterdir()] == ["payments"]
