"""The ways to compute the features of a world, each returning one column per feature with a row per question."""

import os
from dataclasses import replace
from unittest.mock import patch
from zlib import crc32

import numpy as np

from tenfold.core.clock import VirtualClock
from tenfold.features.kernel.twin import stream
from tenfold.features.kernel.twin.choice import SETTING
from tenfold.features.state.chunks import SIZES, Sizes
from tenfold.processing.frame import concat, to_arrow
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store import spill, swept
from tenfold.store.many import LookupMany
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.offline import History, features
from tenfold.store.online import lookup
from tests.property import reference
from tests.prove import generate
from tests.prove.compare import columns
from tests.prove.oracle import Frames, Oracle

DIVIDED = (SIZES, Sizes(most=1, mean=1), Sizes(most=8, mean=4))
"""How states are divided: as they are, into the smallest chunks, and into small ones where there are some records."""


def moments(world):
    """Return the moments asked about."""
    return np.array([moment for _, moment, _ in world.queries], dtype=np.int64)


# Oracles ----------------------------------------------------------------------------------------------


def by_reference(world):
    """Return what the reference says; slow."""
    view = world.view
    records = generate.identified(view, world.records)
    asked = [(key, at, generate.identified(view, [own])[0]) for key, at, own in world.queries]
    answers = [reference.features(view, records, key, at, own) for key, at, own in asked]
    return columns(view, {name: [answer[name] for answer in answers] for name in view.features})


def by_sql(world):
    """Return what SQL says, for the features it knows."""
    return _answers(Oracle(world))


def by_frames(world):
    """Return what the window frames of SQL say, for the features they know, of a world in order."""
    return _answers(Frames(world))


def _answers(oracle):
    found = columns(oracle.world.view, oracle.answers()) if oracle.world.queries else {}
    oracle.close()
    return found


# Offline ----------------------------------------------------------------------------------------------


def by_offline(world):
    """Return what a training set would hold."""
    own = generate.frame([own for _, _, own in world.queries])
    return features(world.view, world.frame, world.keys, moments(world), own)


def by_sweep(world, block=16, chunk=7):
    """Return the same as the compiled twin sweeps it, in small blocks; what it does not know comes from numpy."""
    with (
        patch.dict(os.environ, {SETTING: "on"}),
        patch.multiple(swept, BLOCK=block, LEFT=1.0, SPARSE=1 << 40),
        patch.object(stream, "CHUNK", chunk),
    ):
        return by_offline(world)


def shuffled(world, choose, way=by_offline):
    """Return the same from records in another order, with the questions in another order and in several calls."""
    records, places = choose.mixed(world.records), choose.mixed(range(len(world.queries)))
    cuts = sorted(choose.number(0, len(places)) for _ in range(3))
    parts = [places[first:behind] for first, behind in zip([0, *cuts], [*cuts, len(places)], strict=True)]
    answers = [
        way(replace(world, records=records, queries=[world.queries[place] for place in part]))
        for part in parts
        if part
    ]
    back = np.argsort([place for part in parts for place in part])
    return {name: item.take(back) for name, item in joined(answers).items()}


def alone(world, way=by_offline):
    """Return the same with one call for each question, as a request is one."""
    return joined([way(replace(world, queries=[query])) for query in world.queries])


# Online -----------------------------------------------------------------------------------------------


class Live:
    """A running project in memory: records arrive in batches, and a worker folds them into states."""

    def __init__(self, world, choose, *, states=True):
        self.world, self.choose, self.done = world, choose, 0
        self.views = [world.view] if states else []
        self.loaded = len({record["arrival"] for record in world.records}) == 1
        self.clock = VirtualClock(min((record["arrival"] for record in world.records), default=0))
        self.log, self.store = MemoryLog(self.clock), MemoryOnlineStore()
        self.divided = DIVIDED[len(world.view.features) % len(DIVIDED)]
        self.sink = self.worker()

    def worker(self):
        """Return a worker that goes on where the last one died."""
        return StateSink(self.log, self.store, self.views, sizes=self.divided)

    def until(self, at):
        """Let everything arrive that does so up to a moment, and fold it."""
        records = self.world.records
        while self.done < len(records) and records[self.done]["arrival"] <= at:
            batch = batch_of(self.choose, records, self.done, at)
            self.arrive(batch)
            self.done += len(batch)
            if self.choose.often(0.5):
                self.sink.advance()
            if self.choose.often(0.1):
                self.sink = self.worker()
        while self.sink.behind():
            self.sink.advance()

    def arrive(self, batch):
        """Append records to the log."""
        source = self.world.view.source.root
        self.clock.set(batch[-1]["arrival"])
        table = to_arrow(
            {name: item for name, item in generate.frame(batch).items() if name in source.fields}
        )
        ingest(source, table, log=self.log, quarantine=None, clock=self.clock, history=self.loaded)

    def ask(self, key, at, own):
        """Return the features of a key at a moment."""
        row = dict(zip(self.world.view.keys, key, strict=True)) | own
        asked = (generate.frame([own]),) if self.world.view.plan.includes_self else ()
        return lookup(self.store, [self.world.view], row, at, *asked).features[self.world.view.name]

    def ask_many(self, queries):
        """Return the features of several keys, each at its moment."""
        view = self.world.view
        keys = dict(zip(view.keys, generate.keys(view, [key for key, _, _ in queries]), strict=True))
        at = np.array([at for _, at, _ in queries], dtype=np.int64)
        asked = (generate.frame([own for _, _, own in queries]),) if view.plan.includes_self else ()
        return LookupMany([view])(self.store, keys, at, *asked)[0].features.frame()


def play(world, choose):
    """Return the questions a running project was asked in the order of time, and its answers from the states.

    A state is read when all that arrived before is folded, never as of a moment before that.
    """
    live, asked, answers = Live(world, choose), [], []
    for key, at, own in sorted(world.queries, key=lambda query: query[1]):
        at = max(at, live.clock.now())
        live.until(at)
        answers.append(live.ask(key, at, own))
        asked.append((key, at, own))
    return replace(world, queries=asked), joined(answers)


def together(world, choose):
    """Return the same from questions that are asked many at once, of one moment."""
    live, asked, answers = Live(world, choose), [], []
    rest = sorted(world.queries, key=lambda query: query[1])
    while rest:
        size = choose.of((2, 5, 50))
        part, rest = rest[:size], rest[size:]
        at = max(part[-1][1], live.clock.now())
        live.until(at)
        part = [(key, at, own) for key, _, own in part]
        answers.append(live.ask_many(part))
        asked += part
    return replace(world, queries=asked), joined(answers)


def by_lake(world, choose, **memory):
    """Return the same from lake tables; with little `memory` they are divided by keys on disk, in small parts."""
    live, lake = Live(world, choose, states=False), MemoryLake()
    live.until(max((record["arrival"] for record in world.records), default=0))
    LakeSink(live.log, lake, [world.view.source.root.name]).flush()
    history = History(lake, **memory)
    own = generate.frame([own for _, _, own in world.queries])
    with patch.multiple(spill, ROWS_READ=choose.number(5, 50), ROWS_PER_PART=choose.number(5, 50)):
        return history.features(world.view, world.keys, moments(world), own)


def rebalanced(world, choose):
    """Return the same from three projects that share the keys, in any order, as partitions of a log would."""
    asked, answers = [], []
    for mine in choose.mixed(range(3)):
        records = [
            record
            for record in world.records
            if share(tuple(record[name] for name in world.view.keys)) == mine
        ]
        queries = [query for query in world.queries if share(query[0]) == mine]
        part, found = play(replace(world, records=records, queries=queries), choose)
        asked += part.queries
        answers += [found] if part.queries else []
    return replace(world, queries=asked), joined(answers)


def share(key):
    """Return which partition holds a key."""
    return crc32(repr(key).encode()) % 3


def folded(world, choose):
    """Return the states when everything has arrived, as bytes, and the offsets they stand for."""
    live = Live(world, choose)
    live.until(max((record["arrival"] for record in world.records), default=0))
    return dict(live.store.items()), live.store.offsets()


def joined(answers):
    """Return columns of some rows, one set of them after the other."""
    return {name: concat([answer[name] for answer in answers]) for name in answers[0]} if answers else {}


def batch_of(choose, records, first, at):
    """Return the next records that arrive together: some of those with one arrival, or of a few."""
    behind = first + choose.of((1, 1, 2, 5, 50))
    batch = [record for record in records[first:behind] if record["arrival"] <= at]
    return [record for record in batch if record["arrival"] == batch[0]["arrival"]]
