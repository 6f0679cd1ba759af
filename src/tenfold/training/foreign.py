"""Models that were trained elsewhere: what their files take, which of the declared columns that is, and what scores them."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.core.errors import DefinitionError, SchemaError, TenfoldError, suggest
from tenfold.training.formats import engine_from, engine_of, lightgbm, onnx, pickled, skops, xgboost
from tenfold.training.formats.base import Context, Scorer
from tenfold.training.formats.ordered import Ordered, renamed
from tenfold.training.model import Model
from tenfold.training.table import names_columns, parts

FILES = {
    ".onnx": onnx.FILE,
    ".txt": lightgbm.FILE,
    ".lgb": lightgbm.FILE,
    ".ubj": xgboost.FILE,
    ".skops": skops.FILE,
    ".pickle": pickled.FILE,
    ".pkl": pickled.FILE,
}
"""What a file is called here, by how its name ends there."""
BOOSTERS = {lightgbm.FILE: lightgbm.LightGBM.format, xgboost.FILE: xgboost.XGBoost.format}
Columns = Mapping[str, str] | Sequence[str]
"""The model's columns in the order of a file, or by what they are called in it."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A model from elsewhere, opened.

    Attributes
    ----------
    what
        An engine, an estimator of scikit-learn's kind, or the bytes of a graph.
    names
        What its columns are called, in its order; empty when it does not say.
    texts
        The known values of its text columns, in its order, where it holds them.
    """

    file: str
    what: Any
    names: Sequence[str] = ()
    texts: Sequence[Sequence[str]] = ()

    @property
    def classes(self) -> list[Any]:
        """What its probabilities stand for, where it says so."""
        found = getattr(self.what, "classes_", None)
        return [] if found is None else np.asarray(found).tolist()

    def categories(self, model: Model, inputs: Mapping[str, str]) -> dict[str, list[str]]:
        """Return the values of text columns that codes stand for; nothing where it takes text as it is.

        Raises
        ------
        DefinitionError
            When it takes codes, and not those of the model's text columns.
        """
        names = inputs.values() if inputs else model.columns
        texts = [name for name in names if model.columns[name] == "str"]
        as_text = self.file == onnx.FILE or (
            self.file not in BOOSTERS and names_columns(self.what, model.columns)
        )
        if as_text or not (texts or self.texts):
            return {}
        if texts and not self.texts:
            older = "; XGBoost writes that from 3.1 on" if self.file == xgboost.FILE else ""
            raise DefinitionError(
                f"{self.file} takes codes for text and does not hold which values they stand for{older}. The text of model "
                f'"{model.name}": {", ".join(texts)}. Fit it again on a data frame whose columns of text are categories, and '
                f"register that file; or train it here: tenfold train PROJECT.py {model.name}"
            )
        if len(texts) != len(self.texts) or not all(
            isinstance(v, str) for known in self.texts for v in known
        ):
            raise DefinitionError(
                f'{self.file} knows the values of {len(self.texts)} columns of text, and model "{model.name}" has '
                f"{len(texts)}: {', '.join(texts) or 'none'}. Declare numbers in their place, or train it here."
            )
        return dict(zip(texts, map(list, self.texts), strict=True))

    def engine(self, context: Context, inputs: Mapping[str, str]) -> Scorer:
        """Return what scores rows of the model's columns; `inputs` is empty where the file takes just these.

        Raises
        ------
        DefinitionError
            When it is no graph that fits, or no format takes the estimator.
        """
        within = renamed(context, inputs) if inputs else context
        if self.file == onnx.FILE:
            made: Scorer = onnx.Onnx.checked(self.what, within)
        elif self.file in BOOSTERS:
            made = self.what
        else:
            _check_true(self, context)
            made = engine_of(_nameless(self.what, context), within)
        return Ordered(made, inputs, list(context.columns)) if inputs else made


def opened(file: str, data: bytes, model: Model) -> Foreign:
    """Return what is in a file; `file` is one of the values of `FILES`.

    Raises
    ------
    SchemaError
        When it cannot be read, or holds what `Model.trusted` does not name; nothing was made of it then.
    """
    if file == onnx.FILE:
        return Foreign(file, data)
    context = Context(model.kind, model.columns, {})
    if file in BOOSTERS:
        engine: Any = engine_from(BOOSTERS[file], {file: data}, context)
        return Foreign(file, engine, engine.names, engine.texts)
    try:
        if file == skops.FILE:
            estimator = skops.opened(data, model.trusted, skops.HARMLESS - skops.UNCHECKED)
        else:
            estimator = pickled.opened(data, model.trusted)
        return _of_estimator(file, estimator, context)
    except TenfoldError:
        raise
    except Exception as error:  # what is in it may fail in any way
        raise SchemaError(f"{file} cannot be read: {type(error).__name__}: {str(error)[:300]}") from error


def inputs_of(
    foreign: Foreign, model: Model, given: Columns | None, signature: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Return which of the model's columns each input of a file is, in its order; nothing when they are just these.

    Parameters
    ----------
    given
        What the user says of them.
    signature
        Names and types of the inputs, as they were recorded beside the file.

    Raises
    ------
    DefinitionError
        When they are not the model's columns, or nobody says which they are.
    """
    ours = list(model.columns)
    names = list(foreign.names) or [name for name, _ in signature]
    if given is not None and not isinstance(given, Mapping):
        found = dict(zip(names if len(names) == len(given) else given, given, strict=True))
    elif names or given:
        told = dict(given or {})
        found = {name: told.pop(name, _plain(name, ours)) for name in names or [*told]}
        if told:
            name = next(iter(told))
            raise DefinitionError(f'{foreign.file} has no column "{name}".{suggest(name, names)}')
    elif foreign.file == onnx.FILE:
        return {}
    else:
        raise DefinitionError(
            f"{foreign.file} does not say what its columns are called. Say which they are, in its order: "
            f"columns={ours!r}."
        )
    _check(foreign, model, found)
    _check_types(foreign, model, found, dict(signature))
    return {} if list(found.items()) == [(name, name) for name in ours] else found


def _of_estimator(file: str, estimator: Any, context: Context) -> Foreign:
    """Return an estimator with what it says of its columns; boosters of that kind say more than their class does."""
    for kind in (lightgbm.LightGBM, xgboost.XGBoost):
        engine = kind.of(estimator, context)
        if engine is not None:
            return Foreign(file, estimator, engine.names, engine.texts)
    return Foreign(file, estimator, list(map(str, getattr(estimator, "feature_names_in_", ()))))


def _plain(name: str, ours: Sequence[str]) -> str:
    """Return the column that a name stands for, where it is the same but for "_" in place of "."."""
    return {column.replace(".", "_"): column for column in ours}.get(name, name)


def _check(foreign: Foreign, model: Model, found: Mapping[str, str]) -> None:
    ours = list(model.columns)
    for name, column in found.items():
        if column not in model.columns:
            near = difflib.get_close_matches(column, ours, n=1, cutoff=0.3) or ours[:1]
            raise DefinitionError(
                f'{foreign.file} takes "{name}", which is no column of model "{model.name}".{suggest(column, ours)} If it is '
                f'one of them under another name, say which: columns={{"{name}": "{near[0]}"}}.'
            )
    if len(set(found.values())) < len(found):
        raise DefinitionError(f"{foreign.file}: two of its columns are said to be one: {dict(found)!r}.")
    if lacks := [name for name in ours if name not in found.values()]:
        raise DefinitionError(
            f'{foreign.file} does not take {", ".join(lacks)}, and model "{model.name}" has these columns too. Declare a model '
            "with the features that it takes."
        )


def _check_types(foreign: Foreign, model: Model, found: Mapping[str, str], types: Mapping[str, str]) -> None:
    """Refuse text for numbers, and numbers for text."""
    for name, column in found.items():
        kind = types.get(name)
        if kind is not None and (kind == "string") != (model.columns[column] == "str"):
            raise DefinitionError(
                f'{foreign.file} takes "{name}" as {kind}, and column {column} of model "{model.name}" is a '
                f"{model.columns[column]}. Say which column it is: columns={{...}}."
            )


def _check_true(foreign: Foreign, context: Context) -> None:
    """Refuse a classifier that tells other things apart than true and false."""
    known = foreign.classes
    if context.kind == "binary" and known and set(known) != {0, 1}:
        raise DefinitionError(
            f"{foreign.file} tells {', '.join(map(repr, known))} apart, and the model's label is true or false. Train it on those, "
            "or declare a label with these values."
        )


def _nameless(estimator: Any, context: Context) -> Any:
    """Return an estimator that expects no names where it is given a matrix; it would warn of each."""
    if not names_columns(estimator, context.columns):
        for part in parts(estimator):
            vars(part).pop("feature_names_in_", None)
    return estimator
