"""scale: ten times the events cost at most eleven times the time and memory, for `windows` from 1 M to 10 M.

Memory is counted above what the process holds before it has any event.
"""

from bench.harness import Bench, Entry, check_equal

FULL = 10_000_000
TIMES = 10
LEAST = 0.001


def main(bench: Bench) -> list[Entry]:
    """Measure both sizes, each in processes of its own, by turns."""
    rows = bench.size(FULL)
    fewer = rows // TIMES
    bench.warm(rows * 800 / 1e9)
    empty = bench.run("bench.windows:ours", rows=10)["peak"]
    sizes = {str(size): ("bench.windows:ours", {"rows": size}) for size in (fewer, rows)}
    small, large = bench.turns(4, sizes).values()
    check_equal("scale", small, bench.run("bench.windows:kernel", rows=fewer), within=1e-9)
    linear, goal = "linear", "11x"
    grown, before = (max(item["peak"] - empty, LEAST) for item in (large, small))
    return [
        Entry("scale/time", large["seconds"] / small["seconds"], "x", rows, linear, TIMES, goal),
        Entry("scale/cpu", large["cpu"] / small["cpu"], "x", rows, linear, TIMES, goal),
        Entry("scale/memory", grown / before, "x", rows, linear, TIMES, goal),
    ]
