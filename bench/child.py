"""Runs one function in this process and prints what it returned, with the peak of memory: `python -m bench.child M:F ARGS`."""

import importlib
import json
import resource
import sys
from typing import Any


def main(function: str, given: str) -> None:
    module, _, name = function.partition(":")
    found = getattr(importlib.import_module(module), name)(**json.loads(given))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps(found | {"peak": peak}))


def touch(gigabytes: float) -> dict[str, Any]:
    """Fill memory and give it back."""
    import numpy as np

    np.empty(int(gigabytes * 125e6)).fill(1.0)
    return {"seconds": 0.0}


if __name__ == "__main__":
    main(*sys.argv[1:])
