"""The loops of the twin, compiled by numba when this module is imported; `choice` decides whether it is.

Records and queries go by in the order of time. Of each window and key there is a row of exact sums, small enough to stay in
the cache for all keys: a record is added to its key's row when it becomes visible and taken off when it is too old, and a
query reads the row of its key. Nothing has to be sorted by key, and results are written in the order asked.

A record that has left is known by its place, as records lie in the order of their events.
"""

import numpy as np
from numba import int32, int64, types

from tenfold.features.kernel.twin.compiling import compiled, inner

BLOCK = 64
"""Of so many values the greatest is kept."""
_LEAST = np.int64(-(2**63))
_ENTERED, _LEFT, _BEGIN = np.int64(1 << 32), np.int64(1 - (1 << 32)), np.int64(0xFFFFFFFF)
_ONE, _TWO, _INTS = int64[::1], int64[:, ::1], int32[::1]
# what is only read may lie in memory that nobody may write to, such as that of a table that was read
_GIVEN, _GIVEN_TWO = (types.Array(int64, size, "C", readonly=True) for size in (1, 2))
_PLACES = types.Array(int32, 1, "C", readonly=True)
_RECORDS = (_GIVEN, _GIVEN, int64, _GIVEN_TWO, _GIVEN, _GIVEN, _GIVEN)
_QUERIES = (_ONE, _GIVEN, _GIVEN, _GIVEN, _TWO, _TWO)


@compiled(_GIVEN, _ONE)
def count(key: np.ndarray, counts: np.ndarray) -> None:
    """Add how many records each key has."""
    for row in range(len(key)):
        counts[key[row]] += 1


@compiled(_GIVEN, _GIVEN, _ONE, _ONE)
def lay(key: np.ndarray, values: np.ndarray, place: np.ndarray, laid: np.ndarray) -> None:
    """Lay values by key; `place` is where the next one of each key comes."""
    for row in range(len(key)):
        to = place[key[row]]
        place[key[row]] = to + 1
        laid[to] = values[row]


@compiled(_GIVEN, _ONE, _INTS)
def spots(key: np.ndarray, place: np.ndarray, found: np.ndarray) -> None:
    """Tell where each record lies when they lie by key; `place` as above."""
    for row in range(len(key)):
        found[row] = place[key[row]]
        place[key[row]] += 1


@inner
def _best(values: np.ndarray, begin: int, behind: int) -> int:
    """Return where the greatest value of [begin, behind) is, the last of them."""
    best = begin
    for place in range(begin + 1, behind):
        if values[place] >= values[best]:
            best = place
    return best


@inner
def _over(values: np.ndarray, tops: np.ndarray, begin: int, behind: int) -> int:
    """Return the same with the greatest of blocks."""
    first, last = (begin + BLOCK - 1) // BLOCK, behind // BLOCK
    if first >= last:
        return _best(values, begin, behind)
    block = _best(tops, first, last)
    best = _best(values, block * BLOCK, block * BLOCK + BLOCK)
    if begin < first * BLOCK:
        other = _best(values, begin, first * BLOCK)
        if values[other] > values[best]:
            best = other
    if last * BLOCK < behind:
        other = _best(values, last * BLOCK, behind)
        if values[other] >= values[best]:
            best = other
    return best


@inner
def _best_entered(
    values: np.ndarray, turns: np.ndarray, begin: int, behind: int, entered: int, best: int
) -> int:
    """Return where the greatest value of [begin, behind) is that has entered, or `best` if that is greater."""
    for place in range(begin, behind):
        if turns[place] < entered and (best < 0 or values[place] >= values[best]):
            best = place
    return best


@inner
def _over_entered(
    values: np.ndarray, turns: np.ndarray, tops: np.ndarray, begin: int, behind: int, entered: int
) -> int:
    """Return the same, with bounds of blocks: no value that has entered is greater; -1 if nothing has."""
    first, last = (begin + BLOCK - 1) // BLOCK, behind // BLOCK
    if first >= last:
        return _best_entered(values, turns, begin, behind, entered, -1)
    best = _best_entered(values, turns, begin, first * BLOCK, entered, -1)
    block = _best(tops, first, last)
    if best < 0 or tops[block] >= values[best]:
        best = _best_entered(values, turns, block * BLOCK, block * BLOCK + BLOCK, entered, best)
    if best < 0 or tops[block] > values[best]:
        for other in range(first, last):
            if best < 0 or tops[other] > values[best]:
                best = _best_entered(values, turns, other * BLOCK, other * BLOCK + BLOCK, entered, best)
    return _best_entered(values, turns, last * BLOCK, behind, entered, best)


@compiled(_PLACES, _PLACES, _GIVEN, _GIVEN, _ONE, _ONE, int64, int64)
def enter(
    order: np.ndarray,
    spot: np.ndarray,
    key: np.ndarray,
    values: np.ndarray,
    tops: np.ndarray,
    behind: np.ndarray,
    begin: int,
    end: int,
) -> None:
    """Raise the bounds of blocks, and where each key's records end, for those that enter."""
    for turn in range(begin, end):
        row = np.int64(order[turn])
        to, mine = np.int64(spot[row]), key[row]
        tops[to // BLOCK] = max(tops[to // BLOCK], values[row])
        behind[mine] = max(behind[mine], to + 1)


@compiled(_GIVEN, int64, _GIVEN, _ONE, _ONE)
def reached(times: np.ndarray, back: int, at: np.ndarray, place: np.ndarray, found: np.ndarray) -> None:
    """Count per query how many times lie at least `back` before it, from `place[0]` on; both go up."""
    here, size = place[0], len(times)
    for query in range(len(at)):
        bound = at[query] - back
        while here < size and times[here] <= bound:
            here += 1
        found[query] = here
    place[0] = here


@compiled(*_RECORDS, *_QUERIES)
def sweep(  # noqa: C901, PLR0912, PLR0915 - numba counts references whenever an array is handed on, which takes longer than all else here
    key: np.ndarray,
    event: np.ndarray,
    reach: int,
    parts: np.ndarray,
    values: np.ndarray,
    laid: np.ndarray,
    tops: np.ndarray,
    place: np.ndarray,
    asked: np.ndarray,
    at: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write of each query how many records its key has in the window, their greatest value, and the sums of up to three parts.

    Parameters
    ----------
    reach
        How old a record is when it leaves.
    values, laid, tops
        What is compared: as the records lie, by key, and the greatest of blocks of that; empty when nothing is.
    place
        Which records have entered and left.
    ends
        Up to which record each query sees.
    state
        A row per key: how many records it has in the window and where these begin by key, in one number; where the greatest
        is, and its value; the sums.
    """
    entered, left = place[0], place[1]
    one, two, three = (
        parts.shape[1] > 0,
        parts.shape[1] > 1,
        parts.shape[1] > 2,
    )  # a loop would cost more than they do
    pick = len(values) > 0
    for query in range(len(asked)):
        end = ends[query]
        while entered < end:
            mine = key[entered]
            if one:
                state[mine, 3] += parts[entered, 0]
            if two:
                state[mine, 4] += parts[entered, 1]
                if three:
                    state[mine, 5] += parts[entered, 2]
            if pick and values[entered] >= state[mine, 2]:
                state[mine, 1] = (state[mine, 0] >> 32) + (state[mine, 0] & _BEGIN)
                state[mine, 2] = values[entered]
            state[mine, 0] += _ENTERED
            entered += 1
        bound = at[query] - reach
        while left < entered and event[left] <= bound:
            mine = key[left]
            if one:
                state[mine, 3] -= parts[left, 0]
            if two:
                state[mine, 4] -= parts[left, 1]
                if three:
                    state[mine, 5] -= parts[left, 2]
            state[mine, 0] += _LEFT
            left += 1
        mine = asked[query]
        held, begin = state[mine, 0] >> 32, state[mine, 0] & _BEGIN
        out[0, query] = held
        if pick:
            if state[mine, 1] < begin:
                state[mine, 2] = _LEAST
                if held > 0:
                    best = _over(laid, tops, begin, begin + held)
                    state[mine, 1] = best
                    state[mine, 2] = laid[best]
            out[1, query] = state[mine, 2]
        if one:
            out[2, query] = state[mine, 3]
        if two:
            out[3, query] = state[mine, 4]
            if three:
                out[4, query] = state[mine, 5]
    place[0], place[1] = entered, left


@compiled(*[_PLACES] * 4, _ONE, *_RECORDS, *_QUERIES)
def sweep_late(  # noqa: C901, PLR0912, PLR0915 - as above
    order: np.ndarray,
    turn: np.ndarray,
    spot: np.ndarray,
    turns: np.ndarray,
    behind: np.ndarray,
    key: np.ndarray,
    event: np.ndarray,
    reach: int,
    parts: np.ndarray,
    values: np.ndarray,
    laid: np.ndarray,
    tops: np.ndarray,
    place: np.ndarray,
    asked: np.ndarray,
    at: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    out: np.ndarray,
) -> None:
    """Do the same where records become visible in another order than they happened.

    Of a record that leaves it matters whether it had entered, and of one that enters whether it had left.

    Parameters
    ----------
    order, turn
        The records in the order they enter, and which in that order each is.
    spot, turns
        Where by key each record lies, and which in the order of entering those that lie by key are.
    behind, tops
        Where by key the records of each key end, and the greatest of blocks, of all that have entered and maybe some more.
    """
    entered, left = place[0], place[1]
    one, two, three = parts.shape[1] > 0, parts.shape[1] > 1, parts.shape[1] > 2
    size, pick = len(event), len(values) > 0
    for query in range(len(asked)):
        bound = at[query] - reach
        while left < size and event[left] <= bound:
            mine = key[left]
            if turn[left] < entered:
                if one:
                    state[mine, 3] -= parts[left, 0]
                if two:
                    state[mine, 4] -= parts[left, 1]
                    if three:
                        state[mine, 5] -= parts[left, 2]
                state[mine, 0] -= _ENTERED
            state[mine, 0] += 1
            left += 1
        while entered < ends[query]:
            row = np.int64(order[entered])
            entered += 1
            if row >= left:
                mine = key[row]
                if one:
                    state[mine, 3] += parts[row, 0]
                if two:
                    state[mine, 4] += parts[row, 1]
                    if three:
                        state[mine, 5] += parts[row, 2]
                if pick and values[row] >= state[mine, 2]:
                    state[mine, 1] = spot[row]
                    state[mine, 2] = values[row]
                state[mine, 0] += _ENTERED
        mine = asked[query]
        held, begin = state[mine, 0] >> 32, state[mine, 0] & _BEGIN
        out[0, query] = held
        if pick:
            if held > 0 and state[mine, 1] < begin:
                best = _over_entered(laid, turns, tops, begin, behind[mine], entered)
                state[mine, 1] = best
                state[mine, 2] = laid[best]
            out[1, query] = state[mine, 2]
        if one:
            out[2, query] = state[mine, 3]
        if two:
            out[3, query] = state[mine, 4]
            if three:
                out[4, query] = state[mine, 5]
    place[0], place[1] = entered, left
