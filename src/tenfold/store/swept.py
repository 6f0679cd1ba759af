"""Many queries answered in the order asked, by the kernel's compiled twin: nothing is sorted by key and put back."""

from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from tenfold.core.times import FOREVER
from tenfold.features.kernel.inputs import Input
from tenfold.features.kernel.twin.choice import loops
from tenfold.features.kernel.twin.stream import Laid, lay
from tenfold.features.kernel.twin.sweep import Plan, Stream, Sweep, sweepable, unsafe
from tenfold.features.records import by_time, inputs_of, outputs
from tenfold.features.view import FeatureView
from tenfold.processing.conform import KNOWN
from tenfold.processing.frame import Column
from tenfold.sources.declare import Events
from tenfold.store.pieces import WORKERS, Answers, ByKey, by_key, gather, reads

MOST = 2**31 - 1
"""Fewer records than this have places of 32 bits."""
BLOCK = 1 << 15
"""How many queries are answered at a time: few enough that what is computed of them stays in the cache."""
SPARSE = 16
"""With fewer queries than a part of the records, only those of the keys that are asked about are looked at."""
LEFT = 0.5
"""Where a larger part of the queries would be left over, all are."""

Queries = tuple[Sequence[Column], np.ndarray, np.ndarray]
"""Keys, moments, and the place of each query among all."""


def sweep(view: FeatureView, have: ByKey, queries: Queries, out: Answers) -> Queries | None:
    """Put the features of queries where these are and return those left over; None when all are answered.

    Left over are all queries where the twin is not worth it or does not know an aggregate, and those of keys with
    corrections or with more than surely sums exactly.
    """
    wanted, size, asked = view.plan.aggregates, len(have.keys.codes), len(queries[1])
    if not asked or asked * SPARSE < size or size >= MOST or not sweepable(wanted):
        return queries
    compiled = loops(size + asked)
    if compiled is None:
        return queries
    if by_time(have.past.event, None) is not None:
        have = by_key(view, have.past.sorted())
    refused = _refused(have)
    code = have.keys.of(queries[0])
    code[(code < 0) | (code >= have.keys.size)] = have.keys.size
    if refused.any() and np.count_nonzero(refused[code]) > asked * LEFT:
        return queries
    with ThreadPoolExecutor(WORKERS) as pool:
        types = {} if out.columns else view.plan.types
        blanks = pool.map(out.blank, types.values())
        laid = _laid(view, have, pool)
        counts = np.zeros(len(refused), dtype=np.int64)
        compiled.count(np.ascontiguousarray(have.keys.codes), counts)  # what has no key is counted last
        refused[:-1] |= unsafe(laid, wanted, counts[:-1])
        rows = np.flatnonzero(refused[code]) if refused.any() else np.zeros(0, dtype=np.int64)
        code[rows] = have.keys.size
        stream = Stream(_keys(have, refused), have.past.event, _start(have), len(refused) + 1, laid)
        plan = Plan(compiled, stream, wanted, pool)
        out.columns |= zip(types, blanks, strict=True)
        _answer(view, plan, code, queries, out, pool)
    if not len(rows):
        return None
    out.again(queries[2][rows])
    return [gather(item, rows) for item in queries[0]], queries[1][rows], queries[2][rows]


def _start(have: ByKey) -> np.ndarray:
    """Return from behind which moment each record is known and has happened."""
    event, known = have.past.event, have.past.frame[KNOWN].values
    return np.maximum(event, known) if (known > event).any() else event


def _refused(have: ByKey) -> np.ndarray:
    """Return which keys are not swept because a record of theirs was corrected; the last one is nobody's."""
    refused = np.zeros(have.keys.size + 1, dtype=np.bool_)
    if have.past.ended is not None:
        refused[have.keys.codes[have.past.ended < FOREVER]] = True
    refused[-1] = False
    return refused


def _keys(have: ByKey, refused: np.ndarray) -> np.ndarray:
    """Return the key of each record, one behind all others for those that do not count."""
    code = have.keys.codes
    if refused.any() or (code < 0).any():
        code = np.where((code < 0) | refused[code], len(refused), code)
    return np.ascontiguousarray(code)


def _laid(view: FeatureView, have: ByKey, pool: Executor) -> dict[int, Laid]:
    frame, names = have.past.frame, reads(view)

    def read(rows: slice) -> tuple[Input, ...]:
        part = {
            name: Column(frame[name].type, frame[name].values[rows], frame[name].valid[rows])
            for name in names
        }
        return inputs_of(view, part, len(have.past.event[rows]))[1]

    direct = {}
    if isinstance(view.source, Events) and view.source.deleted is None:
        every = np.ones(len(have.past.event), dtype=np.bool_)
        for place, spec in enumerate(view.plan.inputs):
            if spec.value.fn == "col" and spec.where is None:
                direct[place] = Input(spec.name, frame[spec.value.args[0]], every)
    return lay(read, direct, len(have.past.event), view.plan.aggregates, pool)


def _answer(
    view: FeatureView, plan: Plan, code: np.ndarray, queries: Queries, out: Answers, pool: Executor
) -> None:
    """Answer ranges of the queries, in the order of time, side by side."""
    _, at, place = queries
    order = by_time(at, None)
    straight = order is None and len(place) == out.rows and bool((place[1:] > place[:-1]).all())

    def run(edges: tuple[int, int]) -> None:
        sweep = None
        for begin in range(*edges, BLOCK):
            rows: Any = slice(begin, min(begin + BLOCK, edges[1]))
            mine = rows if order is None else order[rows]
            moments = at[mine]
            sweep = sweep or Sweep(plan, int(moments[0]))
            out.put(mine if straight else place[mine], outputs(view, sweep.ask(code[mine], moments), moments))

    list(pool.map(run, pairwise(_edges(plan, at, order))))


def _edges(plan: Plan, at: np.ndarray, order: np.ndarray | None) -> list[int]:
    """Return where ranges of the queries begin and end that take about as long as each other.

    A query costs what a record costs that enters or leaves. A range begins with the records its windows hold then.
    """

    def passed(query: int) -> int:
        return query + 2 * plan.before(moment(query))

    def moment(query: int) -> int:
        return int(at[query if order is None else order[query]])

    last = len(at) - 1
    first, again = plan.held(moment(0)), plan.held(moment(last // 2))
    begin = passed(0) + again - 2 * first  # as long as its windows fill up, hardly any record leaves
    part = (passed(last) - begin + again * (WORKERS - 1)) // WORKERS
    wanted = [begin + part * place - again * (place - 1) for place in range(1, WORKERS)]
    return sorted([0, *(bisect_left(range(last), goal, key=passed) for goal in wanted), len(at)])
