"""The long proof: random declarations and histories, computed in different ways and compared to the bit.

    python -m tests.prove [--cells 100_000_000] [--seed 1] [--only] [--workers 2] [--out build/prove.json]

A cell is one feature value of one question, computed twice and compared. Seeds are run from `--seed` on until there are
enough cells, or with `--only` just that one. The result is written to `--out`; a difference is shown in a small form and
makes the exit code 1.
"""

import argparse
import itertools
import json
import os
import sys
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from tenfold.core.clock import SystemClock
from tenfold.ui.terminal import Progress, console, table
from tests.prove.checks import CHECKS, prove
from tests.prove.smallest import report

WALL = SystemClock()
SHOWN = 3
"""Failures that are made small and shown; all are counted."""


def main(arguments=None):
    """Run the proof and return the exit code."""
    options = _options(arguments)
    started = WALL.elapsed()
    by, failures, seeds, stopped = Counter(), [], 0, False
    try:
        with Progress(WALL) as progress:
            step = progress.step("compare cells", total=options.cells)
            for cells, failed in _results(options):
                seeds += 1
                by.update(cells)
                step.advance(sum(cells.values()), f"{len(failures)} differences")
                failures += failed
                if by.total() >= options.cells or len(failures) >= SHOWN:
                    break
    except KeyboardInterrupt:  # what was compared until then is a result too
        stopped = True
    found = {
        "cells": by.total(),
        "mismatches": sum(failure.cells for failure in failures),
        "seconds": round((WALL.elapsed() - started) / 1e6, 1),
        "seed": options.seed,
        "seeds": seeds,
        "by": dict(by),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    _show(found)
    for failure in failures[:SHOWN]:
        sys.stderr.write(report(failure) + "\n")
    return 1 if failures else 130 if stopped else 0


def _results(options):
    """Yield what the seeds give, in any order; never more are under way than there is work for."""
    seeds = itertools.count(options.seed)
    if options.only or options.workers == 1:
        yield from map(prove, [options.seed] if options.only else seeds)
        return
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(prove, next(seeds)) for _ in range(4 * options.workers)}
        while True:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            waiting |= {pool.submit(prove, next(seeds)) for _ in done}
            yield from (future.result() for future in done)


def _show(found):
    rows = [
        (name, " ".join(CHECKS[name].__doc__.split()), cells) for name, cells in sorted(found["by"].items())
    ]
    rows.append(("all", f"{found['mismatches']} mismatches in {found['seconds']} s", found["cells"]))
    table(console(), "cells compared to the bit", ["check", "what is equal", "cells"], rows)


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description="Compare features to the bit.")
    parser.add_argument(
        "--cells", type=lambda text: int(float(text)), default=10**8, help="how many cells, at least"
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--only", action="store_true", help="run the one seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--out", type=Path, default=Path("build/prove.json"), help="where the result is written"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
