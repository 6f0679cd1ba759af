"""The ways to compute the features of a world, each returning one column per feature with a row per question."""

from collections import defaultdict
from dataclasses import replace

import numpy as np

from tenfold.core.clock import VirtualClock
from tenfold.features.kernel import Own, aggregate
from tenfold.features.records import in_order, key_codes, outputs, rows_of, versions
from tenfold.processing.frame import concat, to_arrow
from tenfold.processing.ingest import ingest
from tenfold.sources.memory import MemoryLog
from tenfold.store import offline as store_offline
from tenfold.store.materialize import StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.online import lookup
from tests.property import reference
from tests.prove import generate
from tests.prove.compare import columns
from tests.prove.oracle import Frames, Oracle


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


def by_kernel(world):
    """Return what the kernel says when it is given the records of all keys at once, sorted here."""
    view = world.view
    keys, rows = rows_of(view, world.frame, len(world.records))
    kept = versions(rows)
    mine = np.isin(rows.offset, kept.offset)
    (group, asked), size = key_codes([[item.take(mine) for item in keys], world.keys])
    asked, at = np.where(asked < 0, size, asked), moments(world)
    order = in_order(kept, group)
    order = order[group[order] >= 0]
    kept, group = kept.take(order), group[order]
    when = np.lexsort((at, asked))
    own = owns(world, kept, group, asked, when)
    results = aggregate(kept.records(group), asked[when], at[when], view.plan.aggregates, own)
    back = np.empty(len(when), dtype=np.int64)
    back[when] = np.arange(len(when))
    return {name: item.take(back) for name, item in outputs(view, results, at[when]).items()}


def owns(world, rows, group, asked, when):
    """Return the rows that are asked for, as the kernel takes them."""
    if not world.view.plan.includes_self:
        return None
    given = [own for _, _, own in world.queries]
    _, own = rows_of(world.view, generate.frame(given), len(given))
    held = defaultdict(list)
    for place, (name, code) in enumerate(zip(rows.ids.tolist(), group.tolist(), strict=True)):
        held[name, code].append(place)
    earlier = np.full(len(given), -1, dtype=np.int64)
    for place, (name, code) in enumerate(zip(own.ids.tolist(), asked.tolist(), strict=True)):
        at = world.queries[place][1]
        seen = [row for row in held[name, code] if rows.known[row] < at <= rows.until[row]]
        earlier[place] = max(seen, default=-1)
    return Own(own.take(when).inputs, earlier[when])


def by_offline(world):
    """Return what a training set would hold."""
    if world.view.plan.includes_self:
        return by_kernel(world)
    return store_offline.features(world.view, world.frame, world.keys, moments(world))


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
    return (
        {name: concat([answer[name] for answer in answers]).take(back) for name in world.view.features}
        if answers
        else {}
    )


def alone(world, way=by_offline):
    """Return the same with one call for each question, as a request is one."""
    answers = [way(replace(world, queries=[query])) for query in world.queries]
    return {name: concat([answer[name] for answer in answers]) for name in world.view.features}


# Online -----------------------------------------------------------------------------------------------


def play(world, choose):
    """Return the questions a running project was asked in the order of time, and its answers from the states.

    Records arrive in batches of any size. A state is read when all that arrived before is folded, never before that.
    The worker dies now and then, and another one goes on.
    """
    source = world.view.source.root
    loaded = len({record["arrival"] for record in world.records}) == 1
    clock = VirtualClock(min((record["arrival"] for record in world.records), default=0))
    log, store = MemoryLog(clock), MemoryOnlineStore()
    sink, asked, answers, done = StateSink(log, store, [world.view]), [], [], 0
    for key, at, own in sorted(world.queries, key=lambda query: query[1]):
        at = max(at, clock.now())
        while done < len(world.records) and world.records[done]["arrival"] <= at:
            batch = batch_of(choose, world.records, done, at)
            clock.set(batch[-1]["arrival"])
            table = to_arrow(
                {name: item for name, item in generate.frame(batch).items() if name in source.fields}
            )
            ingest(source, table, log=log, quarantine=None, clock=clock, history=loaded)
            done += len(batch)
            if choose.often(0.5):
                sink.advance()
            if choose.often(0.1):
                sink = StateSink(log, store, [world.view])
        while sink.behind():
            sink.advance()
        row = dict(zip(world.view.keys, key, strict=True)) | own
        answers.append(lookup(store, [world.view], row, at).features[world.view.name])
        asked.append((key, at, own))
    found = (
        {name: concat([answer[name] for answer in answers]) for name in world.view.features}
        if answers
        else {}
    )
    return replace(world, queries=asked), found


def batch_of(choose, records, first, at):
    """Return the next records that arrive together: some of those with one arrival, or of a few."""
    behind = first + choose.of((1, 1, 2, 5, 50))
    batch = [record for record in records[first:behind] if record["arrival"] <= at]
    return [record for record in batch if record["arrival"] == batch[0]["arrival"]]
