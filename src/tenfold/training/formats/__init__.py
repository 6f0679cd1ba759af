"""Files of fitted estimators: one module per format, tried in order; none runs code that is in a file."""

from collections.abc import Mapping
from typing import Any

from tenfold.core.errors import DefinitionError, NotFound, SchemaError, TenfoldError
from tenfold.training.formats.base import Context, Engine, Scorer
from tenfold.training.formats.lightgbm import LightGBM
from tenfold.training.formats.onnx import Onnx
from tenfold.training.formats.ordered import Ordered, renamed
from tenfold.training.formats.pickled import Pickled
from tenfold.training.formats.rowwise import Scored
from tenfold.training.formats.skops import Skops, is_own
from tenfold.training.formats.state import State
from tenfold.training.formats.xgboost import XGBoost

FORMATS: dict[str, type[Engine]] = {
    kind.format: kind for kind in (LightGBM, XGBoost, Onnx, State, Skops, Pickled)
}
"""Every format by name; an estimator is stored in the first that takes it."""


def engine_of(fitted: Any, context: Context) -> Engine:
    """Return what stores and scores a fitted estimator.

    Raises
    ------
    DefinitionError
        When no format takes it.
    """
    for kind in FORMATS.values():
        engine = kind.of(fitted, context)
        if engine is not None:
            return engine
    name = type(fitted).__name__
    raise DefinitionError(
        f"{name} cannot be stored in a file that is safe to load. Use an estimator of LightGBM, XGBoost or scikit-learn, give "
        f"{name} get_state() and from_state(), or allow a pickle by name: Model(..., trusted=['pickle'])."
    )


def scorer_of(fitted: Any, context: Context) -> Any:
    """Return what scores a fitted estimator, to the same bits, and is not to be stored: making a file takes longer.

    Raises as `engine_of` does.
    """
    for kind in FORMATS.values():
        engine = Scored(fitted, context) if kind is Skops and is_own(fitted) else kind.of(fitted, context)
        if engine is not None:
            return engine
    return engine_of(fitted, context)  # which says why there is none


def engine_from(
    format_: str, files: Mapping[str, bytes], context: Context, inputs: Mapping[str, str] | None = None
) -> Scorer:
    """Return the engine that files were made of; `inputs` as `Ordered` has them, for a file from elsewhere.

    Raises
    ------
    NotFound
        When there is no such format.
    SchemaError
        When the files are not of their format, or hold what is not trusted.
    """
    if format_ not in FORMATS:
        raise NotFound("format of model files", format_, FORMATS)
    try:
        if inputs:
            within = FORMATS[format_].load(files, renamed(context, inputs))
            return Ordered(within, inputs, list(context.columns))
        return FORMATS[format_].load(files, context)
    except TenfoldError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0][:300]  # below it XGBoost tells where in its own code that was
        raise SchemaError(
            f"{', '.join(sorted(files))}: no {format_} model can be made of them: {type(error).__name__}: {said}"
        ) from error
