"""How long something takes, in the process that does it."""

import time
from collections.abc import Callable, Sequence
from typing import Any


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what work returned and how many seconds it took."""
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def spent(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what work returned, how many seconds it took, and how many seconds of a processor: those of all threads."""
    before = time.process_time()
    result, seconds = timed(work)
    return result, {"seconds": seconds, "cpu": time.process_time() - before}


def latencies(work: Callable[[Any], Any], asked: Sequence[Any]) -> dict[str, float]:
    """Return p50 and p99 in microseconds of one call per thing asked; a tenth is done before, unmeasured."""
    for item in asked[: max(1, len(asked) // 10)]:
        work(item)
    clock = time.perf_counter_ns
    took = []
    for item in asked:
        began = clock()
        work(item)
        took.append(clock() - began)
    took.sort()
    return {"p50": took[len(took) // 2] / 1e3, "p99": took[min(len(took) - 1, len(took) * 99 // 100)] / 1e3}
