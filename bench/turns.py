"""Servers that are asked by turns at the same rate, until the machine has given all it can for long enough."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.speed import Speed as Speed

LEAST, MOST, ENOUGH = 5, 15, 10
"""Turns of each, and how many more of them there may be until there were so many calm seconds."""

Measured = Mapping[str, Any]


def by_turns(
    asks: Mapping[str, Callable[[int], Measured]], speed: Speed, *, first: int
) -> dict[str, dict[str, Any]]:
    """Return what `times` says of the turns of each; turns are numbered from `first` on.

    Raises
    ------
    RuntimeError
        When a request failed.
    """
    turns: dict[str, list[Measured]] = {name: [] for name in asks}
    for turn in range(MOST):
        if turn >= LEAST and all(len(calm(found, speed)) >= ENOUGH for found in turns.values()):
            break
        for name, ask in asks.items():
            found = ask(first + turn)
            if found["failed"]:
                raise RuntimeError(f"requests failed: {found['why']}")
            turns[name].append(found)
    return {name: times(found, speed) for name, found in turns.items()}


def calm(turns: Sequence[Measured], speed: Speed) -> list[list[float]]:
    """Return the answers' milliseconds of each second in which nothing was stolen and each processor was at full speed."""
    seconds = [second for turn in turns for second in turn["calm"]]
    full = speed.full((begun, over) for begun, over, _ in seconds)
    return [took for (_, _, took), ok in zip(seconds, full, strict=True) if ok]


def times(turns: Sequence[Measured], speed: Speed) -> dict[str, Any]:
    """Return p50 and p99 of calm seconds, or of the turn in the middle where there were none, and what there was to tell."""
    seconds = calm(turns, speed)
    every = [turn["p99"] or math.inf for turn in turns]
    middle = turns[every.index(sorted(every)[len(every) // 2])]
    told = f"p99 of all {len(turns)} turns {min(every):.1f} to {max(every):.1f} ms, {turns[0]['cpu']:.0f} us of a processor each"
    if not seconds:
        return {
            "half_p50": middle["p50"],
            "half_p99": middle["p99"],
            "told": f"none, so of the turn in the middle; {told}",
        }
    took = sorted(one for second in seconds for one in second)
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    return {"half_p50": p50, "half_p99": p99, "told": f"{len(seconds)} s; {told}"}
