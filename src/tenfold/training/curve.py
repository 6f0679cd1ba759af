"""How a version came to what it does: over its own trees or epochs, else over more and more of the rows it learned from."""

import warnings
from typing import Any

import numpy as np

from tenfold.training.estimators import learn, wide
from tenfold.training.evaluate import finite
from tenfold.training.formats import scorer_of
from tenfold.training.material import Material, count, labels_of, spaced
from tenfold.training.metrics import evaluate
from tenfold.training.model import Model
from tenfold.training.predictor import Predictor

Document = dict[str, Any]

POINTS, SAMPLE = 8, 1_000
"""How many points a curve has, and on how many rows of either kind each is measured."""
EPOCHS = 50
SHARES = (0.1, 0.25, 0.5)
"""Fitted once more on these shares of the rows: together at most as long as the fit itself, wherever that is linear or worse."""
FEWEST, MOST = 200, 20_000
"""With fewer rows a share is too few to learn from; with more the fits may take long. By rows, not by time: the same bytes."""


def learning_curve(model: Model, material: Material, predictor: Predictor, estimator: Any) -> Document:
    """Return the first metric at points of learning, on samples of what was learned from and of the test rows.

    Parameters
    ----------
    estimator
        What can be fitted on fewer rows; None for a version from elsewhere.

    Returns
    -------
    dict
        `{"metric", "of", "at", "train", "test", "rows"}`, or `{"why"}` when there is none. `rows` is how many of either kind
        are measured at most.
    """
    if getattr(predictor, "trees", 0) >= POINTS:
        return _over_trees(model, material, predictor)
    kept = getattr(predictor, "losses", None)
    if kept is not None and len(kept) > 1:
        at = _spread(len(kept), EPOCHS)
        return _curve("its own loss", "epochs", at, [finite(kept[place - 1]) for place in at], [])
    why = _why_not(model, material, estimator)
    return _over_rows(model, material, predictor, estimator) if why is None else {"why": why}


def measured(model: Model, material: Material, picked: np.ndarray, prediction: np.ndarray) -> float:
    """Return the first metric of predictions for some rows; NaN when it cannot be computed."""
    groups, name = material.rows.groups, model.metrics[0]
    return evaluate([name], material.y[picked], prediction, None if groups is None else groups[picked])[name]


def _over_trees(model: Model, material: Material, predictor: Any) -> Document:
    """Return the metric after more and more trees: a sum that ends earlier is that of a smaller model."""
    upto = _spread(predictor.trees, POINTS)
    train, test = (
        [
            finite(measured(model, material, picked, found))
            for found in predictor.staged(material.X[picked], upto)
        ]
        for picked in (spaced(material, rows, SAMPLE) for rows in (material.fit(), material.test()))
    )
    return _curve(model.metrics[0], "trees", upto, train, test)


def _why_not(model: Model, material: Material, estimator: Any) -> str | None:
    rows = count(material.fit())
    if estimator is None:
        return "it was trained elsewhere, so nothing is known of what it makes of fewer rows"
    if model.kind == "ranking":
        return "its estimator keeps no steps, and a share of the rows would cut the groups that it orders"
    if not FEWEST <= rows <= MOST:
        return (
            f"its estimator keeps no steps, and it is fitted on shares of the rows only where there are {FEWEST:,} to "
            f"{MOST:,} of them, not {rows:,}"
        )
    return None


def _over_rows(model: Model, material: Material, predictor: Predictor, estimator: Any) -> Document:
    """Return the metric after learning from more and more rows, evenly spaced in time; the last point is the version itself."""
    every = spaced(material, material.fit(), count(material.fit()))
    tested = spaced(material, material.test(), SAMPLE)
    at: list[int] = []
    train: list[float | None] = []
    test: list[float | None] = []
    for share in (*SHARES, 1.0):
        picked = spaced(material, every, round(share * len(every)))
        own = spaced(material, picked, SAMPLE)
        one = predictor if share == 1.0 else _fitted(model, material, picked, estimator)
        for values, rows in ((train, own), (test, tested)):
            found = None if one is None else measured(model, material, rows, one.predict(material.X[rows]))
            values.append(None if found is None else finite(found))
        at.append(len(picked))
    return _curve(model.metrics[0], "rows learned from", at, train, test)


def _fitted(model: Model, material: Material, picked: np.ndarray, estimator: Any) -> Predictor | None:
    """Return what is learned from some rows; None when that cannot be, as when one outcome does not occur among them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit of all rows has said it
            rows = labels_of(material.rows, picked)
            X = material.X[picked]
            found = learn(model, rows, material.categories, estimator, X=X, engine=scorer_of)
    except Exception:  # noqa: BLE001 - a curve with a gap is no reason to fail a training whose own fit went well
        return None
    return wide(found, material.classes)


def _spread(last: int, most: int) -> list[int]:
    """Return up to `most` whole numbers from 1 to `last`, evenly spaced, `last` among them."""
    found: list[int] = np.unique(np.linspace(0, last, most + 1).astype(np.int64))[1:].tolist()
    return found


def _curve(
    metric: str, of: str, at: list[int], train: list[float | None], test: list[float | None]
) -> Document:
    return {"metric": metric, "of": of, "at": at, "train": train, "test": test, "rows": SAMPLE}
