"""What a batch sends downstream: each row once, in one order, and never a whole partition in memory."""

from dataclasses import replace

import numpy as np
import pytest

from tenfold.core.clock import VirtualClock
from tenfold.processing.batches import to_tables
from tenfold.serving import batch
from tenfold.serving.answer.predictions import BATCH, SCORES, TOPIC, PredictionLog, to_rows
from tenfold.serving.scores import Partition
from tenfold.sources.memory import MemoryLake, MemoryLog
from tests.unit.predicted import predictions

ROWS, PIECE, SAME = 64, 10, 25
PART = Partition("m", 0, 1_000)
AT = np.concatenate([np.arange(20), np.full(SAME, 20), 21 + np.arange(ROWS - 20 - SAME) // 2])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(batch, "PIECE", PIECE)


def scored(order):
    """Return a lake with the rows of a partition, in an order."""
    answers = replace(predictions(*(f"p{place:02}" for place in range(ROWS)), mode=BATCH), at=AT)
    lake = MemoryLake()
    table = to_rows(answers, [""] * ROWS).take(order)
    lake.append(SCORES, [table.slice(0, 30), table.slice(30)], writer=PART.writer, upto=7)
    return lake


def sent(lake, log):
    """Return what was sent, as one comparable value."""
    batch.send(lake, PART, PredictionLog(log), run=7, version=lake.version(SCORES))
    batches = log.read(TOPIC, 0)
    rows = to_tables(batches).to_pylist() if batches else []
    assert all(row["features"] == row["ages"] == [] for row in rows)
    return [(row["at"], row["prediction_id"]) for row in rows]


def test_each_row_is_sent_once_in_one_order_whatever_the_order_in_the_table():
    log = MemoryLog(VirtualClock(0))
    found = sent(scored(np.arange(ROWS)), log)
    assert len(found) == ROWS
    assert found == sorted(set(found))
    shuffled = scored(np.random.default_rng(1).permutation(ROWS))
    assert sent(shuffled, log) == found, "sent again after a crash"
    assert sent(shuffled, MemoryLog(VirtualClock(0))) == found


def test_no_more_rows_are_held_than_a_piece_has_or_happened_at_one_time(monkeypatch):
    lake, held, taken = scored(np.arange(ROWS)), [], MemoryLake.read

    def counted(self, table, *, columns=None, **how):
        found = taken(self, table, columns=columns, **how)
        if columns is None:
            held.append(found.num_rows)
        return found

    monkeypatch.setattr(MemoryLake, "read", counted)
    log = MemoryLog(VirtualClock(0))
    assert len(sent(lake, log)) == sum(held) == ROWS
    assert max(held) < PIECE + SAME
    assert max(piece.count for piece in log.read(TOPIC, 0)) <= PIECE


def test_where_nothing_was_scored_nothing_is_sent():
    assert sent(MemoryLake(), MemoryLog(VirtualClock(0))) == []
    later = MemoryLake()
    later.append(
        SCORES,
        [to_rows(replace(predictions("a", mode=BATCH), at=np.array([5_000])), [""])],
        writer="m/other",
        upto=1,
    )
    assert sent(later, MemoryLog(VirtualClock(0))) == []
