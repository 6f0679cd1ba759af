"""Runs one function in this process and prints what it returned, with the peak of memory: `python -m bench.child M:F ARGS`."""

import importlib
import json
import resource
import sys
from typing import Any


def main(function: str, given: str) -> None:
    print(json.dumps(called(function, json.loads(given))))


def called(function: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return what a function returned, with the peak of this process's memory in GB."""
    module, _, name = function.partition(":")
    found: dict[str, Any] = getattr(importlib.import_module(module), name)(**given)
    return found | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def touch(gigabytes: float) -> dict[str, Any]:
    """Fill memory and give it back."""
    import numpy as np

    np.empty(int(gigabytes * 125e6)).fill(1.0)
    return {"seconds": 0.0}


if __name__ == "__main__":
    main(*sys.argv[1:])
