"""What a version must beat: answers that need no model, on the same rows, from what was known at each prediction."""

import numpy as np

from tenfold.core.times import UNITS
from tenfold.training.material import Material, spaced
from tenfold.training.model import Model

HOUR, WEEK = UNITS["h"], UNITS["w"]
AFTER_ROWS = 20_000
"""How often an outcome follows the last one is counted on this many rows of the training period, evenly spaced."""


def simple_answers(model: Model, material: Material, columns: int = 1) -> dict[str, np.ndarray]:
    """Return the predictions of each baseline for the test period, shaped as the model's own.

    "majority" ("mean" of numbers) says of every row what was usual in the training period. "persistence" repeats what happened last, of
    what was known by then, to the same series: the rows with the same `groups`, else with the same key of the first
    stored view. "seasonal naive" repeats what happened last in the same hour of the week. Of conditions and classes,
    both give how often each outcome followed the last one in the training period, not the outcome itself.

    Parameters
    ----------
    columns
        How many classes there are; 1 for scores and values.
    """
    test, fitted = material.test(), material.fit()
    rows, y = material.rows, material.y  # classes as places among those of the columns
    usual = _shares(y[fitted], columns) if columns > 1 else np.array(y[fitted].mean())
    assert rows.places is not None  # noqa: S101 - they come from a dataset
    series = material.dataset.codes(_series(model))[rows.places]
    hour = (rows.at // HOUR) % (WEEK // HOUR)
    is_value = model.kind in ("regression", "ranking")
    answers = {
        "mean" if is_value else "majority": np.broadcast_to(
            usual, (test.stop - test.start, *usual.shape)
        ).copy()
    }
    for name, by in (("persistence", series), ("seasonal naive", series * (WEEK // HOUR) + hour)):
        by = np.where(series < 0, -1, by)
        asked = np.r_[spaced(material, fitted, AFTER_ROWS), np.arange(test.start, test.stop)]
        last = newest_known(by, rows.at, y, model.label.takes_us, asked)
        answers[name] = _told(last, y[asked], test.stop - test.start, usual, columns, is_value=is_value)
    return answers


def newest_known(
    series: np.ndarray, at: np.ndarray, y: np.ndarray, takes: int, asked: np.ndarray
) -> np.ndarray:
    """Return for each row asked about the label of the newest row of its series that was known by then, NaN for none.

    Parameters
    ----------
    series : (n_rows,) int64
        -1 for a row of no series.
    at : (n_rows,) int64 microseconds UTC, ascending
    takes
        How long after a row its label is known, in microseconds.
    asked : (m,) int64
        Positions of rows.

    Examples
    --------
    >>> at, y = np.array([0, 1, 2, 9]), np.array([5.0, 6.0, 7.0, 8.0])
    >>> newest_known(np.array([0, 1, 0, 0]), at, y, 1, np.arange(4))
    array([nan, nan,  5.,  7.])
    """
    size = len(at) + 1
    place = np.sort(series * size + np.arange(len(at)))  # by series, and by time within it
    order = place % size
    known = np.searchsorted(
        at, at[asked] - takes, side="left"
    )  # rows before this one have a known label by then
    newest = np.searchsorted(place, series[asked] * size + known, side="left") - 1
    found = order[np.maximum(newest, 0)]
    good = (newest >= 0) & (series[found] == series[asked]) & (series[asked] >= 0)
    return np.where(good, y[found], np.nan)


def _told(
    last: np.ndarray, y: np.ndarray, tested: int, usual: np.ndarray, columns: int, *, is_value: bool
) -> np.ndarray:
    """Return what the last outcome says of the rows to test, which are the last ones; what is usual where there is none."""
    before, now = last[:-tested], last[-tested:]
    if is_value:
        return np.where(np.isnan(now), usual, now)
    answer = np.broadcast_to(usual, (tested, *usual.shape)).copy()
    for outcome in np.unique(now[~np.isnan(now)]):
        after = y[:-tested][before == outcome]
        if len(after):
            answer[now == outcome] = _shares(after, columns) if columns > 1 else after.mean()
    return answer


def _shares(y: np.ndarray, columns: int) -> np.ndarray:
    counts = np.bincount(y.astype(np.int64), minlength=columns)
    return counts / counts.sum()


def _series(model: Model) -> list[str]:
    """Return the fields whose values name the series a row belongs to; none when all rows are one."""
    if model.groups is not None and model.kind != "ranking":
        return [model.groups]
    return list(model.stored[0].keys) if model.stored else []
