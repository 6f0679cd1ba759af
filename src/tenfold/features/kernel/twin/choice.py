"""Which way many queries go: through numpy alone, or through the compiled twin. The results are the same to the bit.

The twin needs numba (`pip install "tenfold[numba]"`) and is taken when it is sure to be faster, the time to load or compile it
included. The environment says otherwise: TENFOLD_NUMBA=off never takes it, TENFOLD_NUMBA=on takes it for any number of rows.
"""

import os
import subprocess
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
ROOT = Path(__file__).parents[3]
"""The folder of the package."""


def loops(rows: int) -> Any:
    """Return the compiled loops when so many rows, of records and queries, go through them; None otherwise."""
    return compiled(LOOPS, "sweep", rows, (LOADED, KEPT, NEW))


def compiled(module: str, main: str, work: int, bounds: tuple[int, int, int]) -> Any:
    """Return a module of compiled loops when there is enough to do for it; None otherwise.

    Parameters
    ----------
    main
        A function of it: where that was compiled and kept, so were the others.
    bounds
        From how much work on it is faster: when it is loaded, when it was compiled and kept, when it has to be compiled.
    """
    setting = allowed(module)
    if setting == "off" or (setting == "auto" and work < least(module, main, bounds)):
        return None
    return import_module(module)


def compiled_beside(module: str, main: str) -> Any:
    """Return a module of compiled loops for a process that others wait for; None where there are none.

    To load what is kept on the disk takes tenths of a second, to compile it seconds in which no other thread gets far: that
    is left to another process, and where nothing can be kept there are none.
    """
    if allowed(module) == "off":
        return None
    if module not in sys.modules and not _kept(module, main):
        code = f"import os; os.nice(10); import {module}"
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)  # noqa: S603
    return import_module(module) if module in sys.modules or _kept(module, main) else None


def allowed(module: str) -> str:
    """Return what the environment says of compiled loops, one of the settings: "off" too where there is no numba.

    Raises
    ------
    DefinitionError
        When it is no setting.
    MissingExtra
        When they are always to be taken, and numba is not there.
    """
    setting = os.environ.get(SETTING) or "auto"
    if setting not in SETTINGS:
        raise DefinitionError(f'{SETTING}="{setting}" in the environment.{suggest(setting, SETTINGS)}')
    there = module in sys.modules or find_spec("numba") is not None
    if setting == "on" and not there:
        raise MissingExtra(f"{SETTING}=on", "numba")
    return setting if there else "off"


def least(
    module: str = LOOPS, main: str = "sweep", bounds: tuple[int, int, int] = (LOADED, KEPT, NEW)
) -> int:
    """Return from how much work on compiled loops are faster in this process.

    Examples
    --------
    >>> least() in (LOADED, KEPT, NEW)
    True
    """
    loaded, kept, new = bounds
    if module in sys.modules:
        return loaded
    return kept if _kept(module, main) else new


def _kept(module: str, main: str) -> bool:
    """Return whether the loops of this version were compiled before: numba keeps them by one of these folders."""
    source = Path(ROOT, *module.split(".")[1:]).with_suffix(".py")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"
    folders = [source.parent / "__pycache__", cache]
    if os.environ.get("NUMBA_CACHE_DIR"):
        folders = [Path(os.environ["NUMBA_CACHE_DIR"])]
    names = f"{source.stem}.{main}-*.nbi"
    made = [file.stat().st_mtime for folder in folders for file in folder.rglob(names)]
    return max(made, default=0.0) > source.stat().st_mtime
