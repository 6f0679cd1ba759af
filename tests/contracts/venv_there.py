"""Environments of their own for servers that tests start, made when missing."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def made(name, *needed):
    """Return the folder of an environment that has packages, or None and why there is none."""
    folder = ROOT / "build" / name
    if not (folder / "ready").exists():
        folder.parent.mkdir(exist_ok=True)
        steps = (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin/python"), "-m", "pip", "install", "-q", *needed],
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                return None, f"{', '.join(needed)} could not be installed: {done.stderr.strip()[-200:]}"
        (folder / "ready").touch()
    return folder, ""
