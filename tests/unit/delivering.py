"""Answers to deliver, and the storage of a home of which processes are opened one after the other."""

import numpy as np

from tenfold.automation.deliver import deliveries
from tenfold.core.clock import VirtualClock
from tenfold.platform import SCHEMA
from tenfold.processing.batches import to_tables
from tenfold.serving.answer.predictions import ONLINE, PredictionLog, Predictions
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.sources.sqlite import SQLiteDatabase


def answers(*ids, model="m", mode=ONLINE):
    n = len(ids)
    return Predictions(
        model, mode, list(ids), [f"row {name}" for name in ids], [f"on {name}" for name in ids],
        np.full(n, 3), np.arange(n) * 1_000_000, np.full(n, 0.75), np.full(n, True), np.ones((n, 2)),
        np.full((n, 1), np.nan), ["{}"] * n, outputs=['{"action":"block"}'] * n, outputs_by=["abc"] * n,
    )  # fmt: skip


class Place:
    """The storage of a home, of which any number of processes can be opened one after the other."""

    def __init__(self, folder, clock=None, database=None):
        self.folder, self.clock = folder, clock or VirtualClock(0)
        self.log, self.lake = MemoryLog(self.clock), MemoryLake()
        self.database = database or SQLiteDatabase(folder / "state.db", SCHEMA)
        self.kept = PredictionLog(self.log)
        self.made = []

    def delivery(self, address="topic:decisions", models=("m",)):
        parts = self.log, self.lake, self.database, self.clock, self.folder
        self.made += deliveries({address: models}, *parts)
        return self.made[-1]

    def close(self):
        for one in self.made:
            getattr(one.sink, "close", bool)()
        self.database.close()

    def answer(self, *ids, **how):
        self.kept.write(answers(*ids, **how), key=f"{how}/{ids}")

    def topic(self, name="decisions"):
        batches = self.log.read(name, 0)
        return to_tables(batches).column("prediction_id").to_pylist() if batches else []

    def table(self, name="decisions"):
        return (
            self.lake.read(name).column("prediction_id").to_pylist() if self.lake.version(name) >= 0 else []
        )


def names(first, behind):
    return [f"p{number}" for number in range(first, behind)]
