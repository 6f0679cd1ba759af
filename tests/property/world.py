"""A running project in memory, and the four drivers that compute its features."""

from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pytest

from tenfold.core.clock import VirtualClock
from tenfold.core.times import FOREVER, to_us
from tenfold.features.state.chunks import SIZES, Sizes
from tenfold.processing.batches import read_frame
from tenfold.processing.frame import column
from tenfold.processing.ingest import ingest
from tenfold.serving.answer.asking import Asking
from tenfold.serving.answer.predictions import ONLINE, TOPIC, PredictionLog, read
from tenfold.serving.answer.route import Route
from tenfold.serving.answer.service import Loaded, Service
from tenfold.serving.seen.counters import Counters
from tenfold.sources.base import Log
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store import materialize, offline
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.online import lookup
from tenfold.training.dataset import Dataset
from tenfold.training.vector import assemble, encode, keys_of
from tests.property.shop import (
    CATEGORIES,
    MAKE,
    PACKAGE,
    SOURCES,
    START,
    model,
    of_these_hours,
    order_row,
    orders,
)


class OneVersion:
    """Version 1 is in production."""

    def production(self, _):
        return Loaded(1, PACKAGE)


class NoRollouts:
    """All traffic goes to the version in production."""

    def __init__(self, clock):
        self.clock, self.routes = clock, self

    def look(self, name):
        return Route(name, None)

    def asking(self, model):
        return Asking(model, OneVersion(), Counters(None, self.clock), self.clock)

    def answered(self, *_):
        pass

    answered_many = shadow_batch = answered


@dataclass
class World:
    """A running project in memory, on a clock of history."""

    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START))
    log: Log | None = None
    store: MemoryOnlineStore = field(default_factory=MemoryOnlineStore)
    lake: MemoryLake = field(default_factory=MemoryLake)
    asked: list = field(default_factory=list)
    looked_up: list = field(default_factory=list)
    divided: Sizes = SIZES

    def __post_init__(self):
        self.log = self.log or MemoryLog(self.clock)
        self.states = StateSink(self.log, self.store, model.stored, sizes=self.divided)
        self.sink = LakeSink(self.log, self.lake, [*SOURCES, TOPIC])
        self.service = Service(
            model,
            store=self.store,
            log=self.log,
            versions=OneVersion(),
            predictions=PredictionLog(self.log),
            traffic=NoRollouts(self.clock),
        )

    def play(self, history):
        """Run a generated history: what arrives, what is asked, and when the worker folds what is new."""
        for kind, gap, given in history:
            now = self.clock.now() + gap
            self.clock.set(now)
            if kind == "predict":
                self.ask(order_row(of_these_hours(given, now), now))
            elif kind == "fold":
                self.states.advance()
            else:
                self.arrive(kind, [MAKE[kind](of_these_hours(raw, now), now) for raw in given])
        self.fold()
        self.sink.flush()
        return self

    def arrive(self, source, rows):
        # Nothing is rejected here.
        ingest(SOURCES[source], rows, log=self.log, quarantine=None, clock=self.clock)

    def ask(self, row):
        if row["units"] <= 0:
            return  # not a row of the spine
        mark = self.service.mark().at
        self.fold()
        answer = self.service.predict(row, at=mark, key=f"p{len(self.asked)}")
        self.asked.append((row, moment := to_us(answer["as_of"])))
        keys = {name: item.plain()[-1] for name, item in keys_of(model, self.spine).items()}
        self.looked_up.append(lookup(self.store, model.stored, keys, moment).features)

    def fold(self):
        while self.states.behind():
            self.states.advance()

    @property
    def at(self):
        return np.array([at for _, at in self.asked], dtype=np.int64)

    @property
    def spine(self):
        rows = [
            row
            | {"at": to_us(row["at"]), "placed": to_us(row["placed"])}
            | {"price": None if row["price"] is None else round(Decimal(str(row["price"])) * 100)}
            for row, _ in self.asked
        ]
        return {name: column(item.type, [row[name] for row in rows]) for name, item in orders.fields.items()}

    def served(self):
        """Return what the service answered, from the lake."""
        return read(self.lake, model.name, ONLINE, 0, FOREVER // 4)

    def history(self):
        return offline.History(self.lake)

    def dataset(self):
        return Dataset(model, self.history())

    # The four drivers, each a matrix of (prediction, feature)

    def by_request(self):
        return self.served().features

    def by_stream(self):
        return np.vstack(
            [
                matrix(
                    {
                        name: {key: item.take(np.array([0])) for key, item in found.items()}
                        for name, found in each.items()
                    },
                    self.spine_row(place),
                    self.at[place : place + 1],
                )
                for place, each in enumerate(self.looked_up)
            ]
        )

    def spine_row(self, place):
        return {name: item.take(np.array([place])) for name, item in self.spine.items()}

    def by_lake(self):
        history = self.history()
        return matrix(
            {view.name: history.features(view, self.keys(view), self.at) for view in model.stored},
            self.spine,
            self.at,
        )

    def by_log(self):
        frames = {
            name: read_frame(source, self.log.read(name, 0, limit=10_000))
            for name, source in SOURCES.items()
            if name in self.log.ends().offsets
        }
        empty = {name: self.history().frame(source) for name, source in SOURCES.items() if name not in frames}
        frames |= empty
        stored = {
            view.name: offline.features(view, frames[view.source.root.name], self.keys(view), self.at)
            for view in model.stored
        }
        return matrix(stored, self.spine, self.at)

    def keys(self, view):
        keys = keys_of(model, self.spine)
        return [keys[name] for name in view.entity.keys]

    def all_drivers(self):
        return {
            "request": self.by_request(),
            "stream": self.by_stream(),
            "lake": self.by_lake(),
            "log": self.by_log(),
        }


def matrix(stored, spine, at):
    return encode(assemble(model, spine, stored, at), CATEGORIES)


def mismatches(one, two):
    """Return the features that differ in any bit; null equals null."""
    differ = (one.view(np.int64) != two.view(np.int64)) & ~(np.isnan(one) & np.isnan(two))
    return [name for name, some in zip(model.columns, differ.any(axis=0), strict=True) if some]


def folded(views, log, sizes, store=None, divided=SIZES):
    """Return a store with the states of views after a log was folded, a few batches at a time and then the rest."""
    store = store or MemoryOnlineStore()
    sink = StateSink(log, store, views, sizes=divided)
    with pytest.MonkeyPatch.context() as patch:
        for size in sizes:
            patch.setattr(materialize, "BATCHES", size)
            sink.advance()
    while sink.behind():
        sink.advance()
    return store
