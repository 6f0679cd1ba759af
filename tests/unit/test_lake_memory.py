"""What who writes the lake has in memory once it is written."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from tenfold import Events
from tenfold.core.clock import VirtualClock
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.materialize import LakeSink
from tests.unit.sales import AT, Sale, sale

CALLS, ROWS, SIZE = 20, 500, 4_000
MOST = 10
"""MB that may stay in memory, of 40 that were moved."""


class Noted(Sale):
    note: str


notes = Events("notes", Noted, time="at", id="sale_id")


class Forgetful(MemoryLake):
    """A lake that keeps of an append only where it ended."""

    def append(self, table, rows, **kwargs):
        pieces = [rows] if isinstance(rows, pa.Table) else list(rows)
        return super().append(table, pieces[0].slice(0, 0), **kwargs)


def own():
    """Return the MB that this process has for itself."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1e3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has for itself")
def test_what_was_moved_into_the_lake_does_not_stay_in_memory():
    log, clock = MemoryLog(VirtualClock(AT)), VirtualClock(AT)
    for call in range(CALLS):
        rows = [sale(call * ROWS + place, 1, note=f"{place:{SIZE}}") for place in range(ROWS)]
        ingest(notes, rows, log=log, quarantine=None, clock=clock)
    lake = Forgetful()
    with ThreadPoolExecutor(1) as aside:
        before = own()
        moved = aside.submit(LakeSink(log, lake, ["notes"]).flush, lambda: None).result()
        after = own()
    assert moved == CALLS * ROWS
    assert after - before < MOST
