"""How a version of several classes does with each of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenfold.training.metrics_classes import most_probable

Document = dict[str, Any]


def by_class(
    classes: Sequence[str | int], learned: np.ndarray, y: np.ndarray, prediction: np.ndarray
) -> list[Document]:
    """Return per class its rows, how many of these are found, how often it is right when it is named, and what it is taken for.

    Parameters
    ----------
    learned, y : (n,) float64
        Labels of the rows to learn from and of the test rows, as places in `classes`.
    prediction : (n_rows, n_classes) float64
        Of the test rows.

    Returns
    -------
    list of dict
        One per class. `recall` is None for a class without test rows, `precision` for one that is never the most probable;
        `taken_for` holds a pair (class, rows) per class that its test rows were taken for instead, the most frequent first.

    Examples
    --------
    >>> found = by_class(
    ...     ["ok", "lost"], np.zeros(4), np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    ... )
    >>> found[1]
    {'class': 'lost', 'learned': 0, 'rows': 2, 'recall': 0.5, 'precision': 1.0, 'taken_for': [['ok', 1]]}
    """
    k = len(classes)
    true, named = y.astype(np.int64), most_probable(prediction).astype(np.int64)
    known, rows, times = (_counts(places, k) for places in (learned.astype(np.int64), true, named))
    hits = _counts(true[true == named], k)
    wrong: list[list[Any]] = [[] for _ in classes]
    pairs, how_many = np.unique(true * k + named, return_counts=True)
    for place in np.argsort(-how_many, kind="stable"):
        one, other = divmod(int(pairs[place]), k)
        if one != other:
            wrong[one].append([classes[other], int(how_many[place])])
    return [
        {
            "class": name,
            "learned": known[place],
            "rows": rows[place],
            "recall": _share(hits[place], rows[place]),
            "precision": _share(hits[place], times[place]),
            "taken_for": wrong[place],
        }
        for place, name in enumerate(classes)
    ]


def _counts(places: np.ndarray, k: int) -> list[int]:
    found: list[int] = np.bincount(places, minlength=k).tolist()
    return found


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
