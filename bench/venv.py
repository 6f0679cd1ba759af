"""An environment of its own for a peer: it needs other versions than ours."""

import subprocess
import sys
from collections.abc import Sequence

from bench.harness import Bench


def python(bench: Bench, name: str, needed: Sequence[str]) -> tuple[str | None, str]:
    """Return the interpreter of a peer's environment, made when missing; None, and why, when it cannot be made."""
    folder = bench.build / f"{name}-venv"
    found = folder / "bin" / "python"
    if not (folder / "ready").exists():
        told = ", ".join(needed)
        bench.say(f"installing {told} into {folder} (once)")
        steps = (
            [sys.executable, "-m", "venv", str(folder)],
            [str(found), "-m", "pip", "install", "-q", *needed],
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                return None, f"{told} could not be installed: {done.stderr.strip()[-200:]}"
        (folder / "ready").touch()
    return str(found), ""
