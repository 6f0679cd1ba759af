"""What a version goes by, and what to look at before it is trusted."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tenfold.training.curve import learning_curve, measured
from tenfold.training.evaluate import Champion, has_seen
from tenfold.training.leaks import FEW_VALUES, SUSPICIOUS, alone, follows, report
from tenfold.training.material import Material, spaced, take
from tenfold.training.metrics import metric_of
from tenfold.training.model import Model
from tenfold.training.predictor import Predictor

Document = dict[str, Any]

SHAP_ROWS = 100
"""A contribution of each feature costs about a millisecond a row, eighty times the prediction."""
SHUFFLED_ROWS = 2_000
LEAK_ROWS = 5_000
MOST_CLASSES = 10
"""Of the most frequent classes it is asked whether a feature tells them alone."""
THE_SAME = 0.9999
"""A correlation of ranks that a number has with itself in other units, and hardly what was known before."""


def explanation(
    model: Model,
    material: Material,
    predictor: Predictor,
    evaluated: Document,
    champion: Champion | None,
    estimator: Any = None,
) -> Document:
    """Return the share of each feature, how it was learned, and warnings; costly parts on evenly spaced rows only.

    Parameters
    ----------
    estimator
        What can be fitted on fewer rows; None for a version from elsewhere.
    """
    shares, kind = _importance(model, material, predictor)
    return {
        "importance": dict(zip(model.columns, shares.tolist(), strict=True)),
        "importance_of": kind,
        "shap": _contributions(model, material, predictor),
        "learning_curve": learning_curve(model, material, predictor, estimator),
        "warnings": list(_warnings(model, material, evaluated, champion)),
    }


def _importance(model: Model, material: Material, predictor: Predictor) -> tuple[np.ndarray, str]:
    """Return shares that sum to 1 and what they are of: what the model says itself, else what shuffling a feature costs."""
    own = predictor.importance()
    if own is not None:
        return own, getattr(predictor, "importance_of", "gain")
    picked = spaced(material, material.test(), SHUFFLED_ROWS)
    X, rng = material.X[picked], np.random.default_rng(0)
    metric = metric_of(model.metrics[0])
    whole = measured(model, material, picked, predictor.predict(X))
    costs = np.zeros(X.shape[1])
    for place in range(X.shape[1]):
        shuffled = X.copy()
        shuffled[:, place] = rng.permutation(shuffled[:, place])
        found = measured(model, material, picked, predictor.predict(shuffled))
        costs[place] = max(0.0, np.nan_to_num(metric.gain(found, whole)))
    return costs / max(costs.sum(), 1e-300), "permutation"


def _contributions(model: Model, material: Material, predictor: Predictor) -> dict[str, float] | None:
    """Return the mean size of each feature's contribution (SHAP) over a sample, where the format gives them cheaply."""
    contributions = getattr(predictor, "contributions", None)
    if contributions is None:
        return None
    found = contributions(material.X[spaced(material, material.test(), SHAP_ROWS)])
    found = np.abs(found[:, :, :-1]).sum(axis=1).mean(axis=0)
    return dict(zip(model.columns, found.tolist(), strict=True))


def _warnings(
    model: Model, material: Material, evaluated: Document, champion: Champion | None
) -> Iterator[str]:
    yield from _leaks(material)
    yield from _leaks_of_kind(model, material)
    yield from _constant(model, material)
    yield from _labels(material, evaluated)
    yield from _metrics(model, evaluated)
    if champion is not None and has_seen(champion, material):
        yield f"version {champion.number}, in Production, learned from rows of the test period, so it is not compared"


def _leaks(material: Material) -> Iterator[str]:
    rows = take(material.rows, spaced(material, material.fit(), LEAK_ROWS))
    found = report(rows.columns, rows.y, rows.at, {}, {}, {})
    for name, item in found.features.items():
        if f"{name} equals it" in found.leaks:
            yield f"feature {name} equals the label: is it known only after the outcome?"
        elif item.auc >= SUSPICIOUS:
            yield f"feature {name} alone has AUC {item.auc:.4g}: is it known only after the outcome?"


def _leaks_of_kind(model: Model, material: Material) -> Iterator[str]:
    """Name features that alone say one of several classes, or the order of the values."""
    picked = spaced(material, material.fit(), LEAK_ROWS)
    rows, y = take(material.rows, picked), material.y[picked]
    count = np.bincount(y.astype(np.int64)) if model.kind == "multiclass" else np.zeros(0)
    often = [
        place for place in np.argsort(-count, kind="stable")[:MOST_CLASSES] if count[place] >= FEW_VALUES
    ]
    for name, item in rows.columns.items():
        for place in often:
            auc = alone(item, (y == place).astype(np.float64))
            if auc >= SUSPICIOUS:
                yield (
                    f'feature {name} alone tells class "{material.classes[place]}" from the others with AUC {auc:.4g}: is it '
                    "known only after the outcome?"
                )
                break
        if model.kind in ("regression", "ranking") and follows(item, y) >= THE_SAME:
            yield f"feature {name} alone orders the rows as the label does: is it known only after the outcome?"


def _constant(model: Model, material: Material) -> Iterator[str]:
    fitted = material.X[material.fit()]
    for name, column in zip(model.columns, fitted.T, strict=True):
        first = column[0]
        if np.isnan(first):
            if np.isnan(column).all():
                yield f"feature {name} is null in every row to learn from"
        elif (column == first).all():
            yield f"feature {name} is {first:g} in every row to learn from"


def _labels(material: Material, evaluated: Mapping[str, Any]) -> Iterator[str]:
    learned, positives = evaluated["rows"]["train"], evaluated["positives"]
    if positives is not None and positives["train"] in (0, learned):
        outcome = "true" if positives["train"] else "false"
        yield f"all {learned:,} rows to learn from are {outcome}: there is nothing to learn to tell apart"
    for item in evaluated["classes"] or ():
        if not item["learned"]:
            tested = f"only {item['rows']:,} rows to test on are" if item["rows"] else "no row to test on is"
            yield f'no row to learn from and {tested} of class "{item["class"]}"'
    missing = material.rows.dropped.get("no label event", 0)
    share = missing / (missing + len(material.rows))
    if share > 0.05:
        yield f"{share:.0%} of the mature rows have no event for their label and were left out: is it missing for a reason?"


def _metrics(model: Model, evaluated: Mapping[str, Any]) -> Iterator[str]:
    for name, item in evaluated["metrics"].items():
        if item["value"] is None:
            yield f"{name} could not be computed on the test period: {_why(model, evaluated)}"
    name = model.metrics[0]
    mine = evaluated["metrics"][name]["value"]
    for baseline, found in evaluated["baselines"].items():
        other = found[name]
        if mine is not None and other is not None and metric_of(name).gain(mine, other) > 0:
            yield f"{baseline} is better on the same rows: {name} {other:.4g}, the version {mine:.4g}"
    for place, fold in enumerate(evaluated["folds"]):
        if fold["note"] is not None:
            yield f"fold {place}: {fold['note']}"


def _why(model: Model, evaluated: Mapping[str, Any]) -> str:
    positives = evaluated["positives"]
    if positives is not None and positives["test"] in (0, evaluated["rows"]["test"]):
        return f"all {evaluated['rows']['test']:,} outcomes are {'true' if positives['test'] else 'false'}"
    return "it is not a finite number there" if model.kind != "ranking" else "no group has a relevant row"
