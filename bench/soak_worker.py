"""A worker that writes the lake every few seconds, for `make soak`: what an hour of commits and merges does to memory shows in minutes."""

import signal
import sys
import threading
from pathlib import Path

from bench.project import project
from tenfold import Platform
from tenfold.core.clock import SharedClock
from tenfold.core.threads import short_turns


def main(home: Path, seconds: float) -> None:
    """Work on a home until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    platform = Platform(home=home, clock=SharedClock(home / "clock"))
    with project.open(platform) as app, short_turns():
        app.worker(seconds=seconds).run(stopped.is_set)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
