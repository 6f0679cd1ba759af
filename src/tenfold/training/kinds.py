"""What a model predicts, told from the type of its label and from its estimator."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tenfold.core.errors import DefinitionError
from tenfold.training.metrics import METRICS
from tenfold.training.metrics_classes import OF_CLASSES

Kind = Literal["binary", "multiclass", "regression", "ranking"]

RANKERS = ("LGBMRanker", "XGBRanker")
NEEDS: Mapping[Kind, Sequence[str]] = {
    "binary": ("score", "value", "classes"),
    "multiclass": ("classes",),
    "regression": ("value",),
    "ranking": ("ranking",),
}
"""What the metrics of a kind may need."""
DEFAULT_METRICS: Mapping[Kind, tuple[str, ...]] = {
    "binary": ("roc_auc",),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("mean_absolute_error",),
    "ranking": ("ndcg@10",),
}


def kind_of(estimator: Any, label: str, metrics: Sequence[str] = ()) -> Kind:
    """Return the kind of a model.

    Parameters
    ----------
    estimator
        Its estimator; None for one whose versions are made elsewhere.
    label
        The type of its label: "bool", "int", "float" or "str".
    metrics
        Its metrics; those of a score for true and false say that a number is 0 or 1.

    Examples
    --------
    >>> kind_of(None, "str"), kind_of(None, "float"), kind_of(None, "int", ["roc_auc"])
    ('multiclass', 'regression', 'binary')
    """
    if is_ranker(estimator) or any(METRICS[name].needs == "ranking" for name in metrics):
        return "ranking"
    if label == "str":
        return "multiclass"
    scores = [name for name in metrics if METRICS[name].needs == "score" and name not in OF_CLASSES]
    if label == "bool" or scores:
        return "binary"
    if not is_classifier(estimator):
        return "regression"
    return "multiclass" if label == "int" else "binary"


def check_kind(where: str, kind: Kind, estimator: Any, label: str, groups: str | None) -> None:
    """Refuse an estimator that cannot learn a label."""
    name = type(estimator).__name__
    if kind == "multiclass" and estimator is not None and not is_classifier(estimator):
        raise DefinitionError(
            f"{where}: the label is a text, one of several classes, but estimator {name} gives numbers. Use a classifier."
        )
    if kind == "ranking" and (groups is None or label == "str"):
        missing = "the label is a text. Use a number: the larger, the better." if groups else GROUPS
        raise DefinitionError(f"{where}: estimator {name} orders the rows of a group, but {missing}")


GROUPS = 'there are no groups. Say which field of the spine they are: groups="query_id".'


def check_metric(where: str, kind: Kind, metric: str) -> None:
    """Refuse a metric that does not fit a kind; says which do."""
    fit = [name for name, item in METRICS.items() if item.needs in NEEDS[kind]]
    fit += OF_CLASSES if kind == "multiclass" else ()
    if metric not in fit:
        raise DefinitionError(
            f'{where}: metric "{metric}" does not fit a model that is {kind}. Use {", ".join(fit)}.'
        )


def is_ranker(estimator: Any) -> bool:
    """Return whether an estimator learns the order of the rows of a group."""
    return any(kind.__name__ in RANKERS for kind in type(estimator).__mro__)


def is_classifier(estimator: Any) -> bool:
    """Return whether an estimator gives classes, by scikit-learn's tags or because it has probabilities."""
    tags = getattr(estimator, "__sklearn_tags__", None)
    if tags is not None:
        return tags().estimator_type == "classifier"
    return hasattr(estimator, "predict_proba")
