"""Measures the parts that have a goal, each beside a peer: `python -m bench [NAME ...] [--rows N]`.

Progress goes to stderr, the table to stdout, and the figures to build/bench.json.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

from rich.console import Console

from bench.harness import ROOT, Bench, Entry, keep
from bench.table import show

NAMES = (
    "windows",
    "spine",
    "asof",
    "worker",
    "hot",
    "lookup",
    "fresh",
    "serve",
    "steps",
    "tracking",
    "training",
    "batch",
    "scale",
)
EVERYTHING = 10**12


def main(arguments: list[str]) -> list[Entry]:
    """Run the benchmarks named, all without a name, and return what was measured."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(NAMES)}")
    parser.add_argument("--rows", type=int, default=EVERYTHING, help="the most rows of any part")
    parser.add_argument("--no-feast", action="store_true", help="do not install or run Feast")
    parser.add_argument("--no-mlflow", action="store_true", help="do not install or run MLflow")
    parser.add_argument(
        "--no-peers", action="store_true", help="do not install or run MLflow's server and BentoML"
    )
    parser.add_argument(
        "--here", action="store_true", help="all in one process: to see that it runs, not to measure"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.names) - set(NAMES)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    progress = Console(stderr=True)
    bench = Bench(
        given.rows,
        lambda text: progress.print(f"  {text}", style="dim", highlight=False),
        apart=not given.here,
        no_feast="Feast was not asked for" if given.no_feast else "",
        no_mlflow="MLflow was not asked for" if given.no_mlflow else "",
        no_peers="not asked for" if given.no_peers else "",
    )
    entries = []
    for name in given.names or NAMES:
        progress.print(f"[bold]{name}[/bold]")
        found = importlib.import_module(f"bench.{name}").main(bench)
        keep(given.out, found, {name})
        entries += found
    show(entries, f"{os.cpu_count()} cores", Console())
    return entries


if __name__ == "__main__":
    main(sys.argv[1:])
