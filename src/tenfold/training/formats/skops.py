"""scikit-learn: skops, which names every type in a file; only harmless and trusted ones are made."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from tenfold.core.errors import DefinitionError, MissingExtra, SchemaError
from tenfold.training.formats.base import Context
from tenfold.training.formats.rowwise import Scored

FILE = "model.skops"
SCHEMA = "schema.json"
MOST_BYTES = 4 * 2**30
"""A file that unpacks to more than this is refused."""

HARMLESS = frozenset(
    {
        "collections.OrderedDict", "numpy.dtype", "numpy.floating", "numpy.integer", "numpy.number",
        "sklearn._loss.loss.HalfBinomialLoss", "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance64", "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.neighbors._ball_tree.BallTree", "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRanker",
        "lightgbm.sklearn.LGBMRegressor",
        "xgboost.core.Booster", "xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRanker",
        "xgboost.sklearn.XGBRegressor",
    }
)  # fmt: skip
"""Types beside those skops trusts that hold numbers and run nothing when they are made."""
UNCHECKED = frozenset(
    {
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
    }
)
"""Those of them whose numbers scikit-learn follows without looking: made on purpose, they end the process that scores."""


class Skops(Scored):
    """A fitted estimator of scikit-learn, with all its learned preprocessing."""

    format: ClassVar[str] = "skops"
    libraries: ClassVar[Sequence[str]] = ("scikit-learn", "skops", "scipy")

    def __init__(self, data: bytes, context: Context) -> None:
        super().__init__(opened(data, context.trusted), context)
        self._data = data

    @classmethod
    def of(cls, fitted: Any, context: Context) -> Self | None:
        if not is_own(fitted):
            return None
        data = packed(fitted)
        if unknown := untrusted(data, context.trusted):
            if "pickle" in context.trusted:
                return None
            raise DefinitionError(
                f"{type(fitted).__name__} holds {', '.join(unknown)}, which is not known to be harmless when it is loaded. If "
                f"it is yours, add Model(..., trusted={unknown!r})."
            )
        return cls(data, context)

    @classmethod
    def load(cls, files: Mapping[str, bytes], context: Context) -> Self:
        return cls(files[FILE], context)

    def files(self) -> dict[str, bytes]:
        return {FILE: self._data}


def is_own(fitted: Any) -> bool:
    """Return whether an estimator is one as scikit-learn's are."""
    return hasattr(fitted, "__sklearn_tags__")


def packed(estimator: Any) -> bytes:
    """Return an estimator as a skops file: the same bytes for the same content."""
    return _settled(_skops().dumps(estimator))


def opened(data: bytes, trusted: Sequence[str], harmless: frozenset[str] = HARMLESS) -> Any:
    """Return the estimator in a skops file; `harmless` is what needs no trust, beside what skops itself says.

    Raises
    ------
    SchemaError
        When it is no skops file, or holds a type that is neither harmless nor trusted; nothing of it is made then.
    """
    if unknown := untrusted(data, trusted, harmless):
        raise SchemaError(
            f"{FILE} holds {', '.join(unknown)}, which is not known to be harmless; nothing was loaded. If you know what it "
            f"is, add Model(..., trusted={unknown!r})."
        )
    return _skops().loads(data, trusted=sorted(harmless | _names(trusted)))


def untrusted(data: bytes, trusted: Sequence[str], harmless: frozenset[str] = HARMLESS) -> list[str]:
    """Return the types in a skops file that are neither harmless nor trusted."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            size = sum(item.file_size for item in file.infolist())
            file.getinfo(SCHEMA)
        if size > MOST_BYTES:
            raise SchemaError(
                f"{FILE} unpacks to {size:,} bytes, more than {MOST_BYTES:,}; nothing was loaded."
            )
        found = _skops().get_untrusted_types(data=data)
    except SchemaError:
        raise
    except Exception as error:  # a file made on purpose may fail in any way
        raise SchemaError(f"{FILE} is not a skops file: {error}. Nothing was loaded.") from error
    return sorted(set(found) - harmless - _names(trusted))


def _names(trusted: Sequence[str]) -> frozenset[str]:
    return frozenset(trusted) - {"pickle"}


def _settled(data: bytes) -> bytes:
    """Return a skops file without what differs from one process to the next: times, and ids that are addresses."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        parts = {item.filename: file.read(item) for item in file.infolist()}
    schema = json.loads(parts.pop(SCHEMA))
    names = dict.fromkeys(parts, "")
    _number(schema, {}, names)
    files = {names[name]: content for name, content in parts.items()}
    files[SCHEMA] = json.dumps(schema, separators=(",", ":")).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _number(node: Any, numbers: dict[Any, int], names: dict[str, str]) -> None:
    """Replace ids and the names of files by numbers in the order they are met."""
    if isinstance(node, list):
        for item in node:
            _number(item, numbers, names)
    elif isinstance(node, dict):
        if isinstance(node.get("__id__"), int):
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        file = node.get("file")
        if isinstance(file, str) and file in names:
            names[file] = names[file] or f"{sum(map(bool, names.values())) + 1}.{file.rpartition('.')[2]}"
            node["file"] = names[file]
        for item in node.values():
            _number(item, numbers, names)


def _skops() -> Any:
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise MissingExtra("a scikit-learn model", "sklearn") from error
    return skops.io
