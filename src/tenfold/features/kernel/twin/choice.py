"""Which way many queries go: through numpy alone, or through the compiled twin. The results are the same to the bit.

The twin needs numba (`pip install "tenfold[numba]"`) and is taken when it is sure to be faster, the time to load or compile it
included. The environment says otherwise: TENFOLD_NUMBA=off never takes it, TENFOLD_NUMBA=on takes it for any number of rows.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tenfold.core.errors import DefinitionError, MissingExtra, suggest

SETTING = "TENFOLD_NUMBA"
SETTINGS = ("auto", "on", "off")
LOOPS = "tenfold.features.kernel.twin.loops"
LOADED, KEPT, NEW = 100_000, 3_000_000, 20_000_000
"""From how many rows on: when it is loaded, when it was compiled and kept on the disk, and when it has to be compiled."""


def loops(rows: int) -> Any:
    """Return the compiled loops when so many rows, of records and queries, go through them; None otherwise."""
    setting = os.environ.get(SETTING) or "auto"
    if setting not in SETTINGS:
        raise DefinitionError(f'{SETTING}="{setting}" in the environment.{suggest(setting, SETTINGS)}')
    there = LOOPS in sys.modules or find_spec("numba") is not None
    if setting == "on" and not there:
        raise MissingExtra(f"{SETTING}=on", "numba")
    if setting == "off" or not there or (setting == "auto" and rows < least()):
        return None
    return import_module(LOOPS)


def least() -> int:
    """Return from how many rows on the twin is faster in this process.

    Examples
    --------
    >>> least() in (LOADED, KEPT, NEW)
    True
    """
    if LOOPS in sys.modules:
        return LOADED
    return KEPT if _kept() else NEW


def _kept() -> bool:
    """Return whether the loops of this version were compiled before: numba keeps them by one of these folders."""
    source = Path(__file__).parent / "loops.py"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"
    folders = [source.parent / "__pycache__", cache]
    if os.environ.get("NUMBA_CACHE_DIR"):
        folders = [Path(os.environ["NUMBA_CACHE_DIR"])]
    made = [file.stat().st_mtime for folder in folders for file in folder.rglob("loops.sweep-*.nbi")]
    return max(made, default=0.0) > source.stat().st_mtime
