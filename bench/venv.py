"""An environment of its own for a peer: it needs other versions than ours."""

import subprocess
import sys
from collections.abc import Sequence

from bench.harness import Bench

FEAST = ("feast[duckdb]==0.67.*",)  # 560 MB
MLFLOW = ("mlflow-skinny==3.17.2", "sqlalchemy", "alembic", "pandas")


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


def feast(bench: Bench) -> str | None:
    """Return the interpreter of Feast's environment, made when missing; None, with `bench.no_feast`, when it cannot be."""
    if bench.no_feast:
        return None
    found, bench.no_feast = python(bench, "feast", FEAST)
    return found


def mlflow(bench: Bench) -> str | None:
    """Return the interpreter of MLflow's environment, made when missing; None, with `bench.no_mlflow`, when it cannot be."""
    if bench.no_mlflow:
        return None
    found, bench.no_mlflow = python(bench, "mlflow", MLFLOW)
    return found
