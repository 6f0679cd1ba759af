"""What was served, a part at a time: features of as many rows as fit memory."""

from collections.abc import Collection, Iterator

import numpy as np

from tenfold.serving.answer.predictions import BATCH, SCORES, TOPIC, Predictions, read, within
from tenfold.sources.base import Lake

ROWS = 500_000
"""Rows that are read at once."""


def parts(
    lake: Lake, model: str, mode: str, start: int, end: int, *, without: Collection[str] = ()
) -> Iterator[Predictions]:
    """Yield what `read` gives in ranges of its times, about ROWS at once, one part at least; an instant is never divided.

    Of all rows only their times are in memory.
    """
    times = _times(lake, model, mode, start, end)
    if not len(times):
        yield read(lake, model, mode, start, end, without=without)
    place = 0
    while place < len(times):
        behind = place + ROWS
        until = end if behind >= len(times) else max(int(times[behind]), int(times[place]) + 1)
        yield read(lake, model, mode, int(times[place]), until, without=without)
        place = int(np.searchsorted(times, until))


def told(
    lake: Lake, model: str, mode: str, start: int, end: int, *, without: Collection[str] = ()
) -> Iterator[Predictions]:
    """Yield answers in the order in which the first of a row counts: of a batch in parts, of requests as the log has them."""
    if mode == BATCH:
        yield from parts(lake, model, mode, start, end, without=without)
    else:
        yield read(lake, model, mode, start, end, without=without)


def _times(lake: Lake, model: str, mode: str, start: int, end: int) -> np.ndarray:
    where = f"model = '{model}' AND mode = '{mode}' AND {within(start, end)}"
    found = [np.zeros(0, dtype=np.int64)]
    for table in (SCORES, TOPIC):
        if lake.version(table) >= 0:
            at = lake.read(table, columns=["at"], where=where)["at"]
            found.append(at.to_numpy().astype("datetime64[us]").astype(np.int64))
    return np.sort(np.concatenate(found))
