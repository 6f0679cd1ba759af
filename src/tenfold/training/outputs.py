"""Outputs as they are declared with a model: rules and checks written over a row, its features and what the model says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.expr import AS_OF, Expr, need
from tenfold.core.fingerprint import fingerprint
from tenfold.core.infer import infer
from tenfold.sources.declare import check_name

Model = Any
"""A model that is being declared; its own module imports this one."""

PROBABILITY = "probability."
"""What the name of a column begins with that holds the probability of one of several classes."""
SAID = ("score", "decision", "version", "prediction")
"""What the model says of a row, as columns."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Checked outputs of a model.

    Attributes
    ----------
    exprs
        Over columns: the fields of the spine, features as "view.name", what the model says, and the outputs before it.
    types
        The type of each output.
    reads
        The columns that are read, without outputs, with their types.
    by
        A short hash of all rules, empty when there are none; it changes when one of them does, and no version with it.
    """

    exprs: Mapping[str, Expr]
    types: Mapping[str, str]
    reads: Mapping[str, str]
    by: str


def outputs_of(model: Model) -> Outputs:
    """Return the outputs of a model; DefinitionError when one has a name that is taken or reads what is not there."""
    if not isinstance(model.outputs, Mapping):
        raise DefinitionError(
            f'model "{model.name}": outputs={model.outputs!r} is not a dict. Write outputs={{"large": col("score") > 0.5}}.'
        )
    fields = {name: item.type for name, item in model.spine.fields.items()}
    known = fields | model.columns | _said(model) | {AS_OF: "time"}
    exprs: dict[str, Expr] = {}
    types: dict[str, str] = {}
    reads: dict[str, str] = {}
    for name, declared in model.outputs.items():
        where = f'model "{model.name}": output "{name}"'
        _check_name(name, fields, where)
        need(declared, where)
        expr = _over_columns(declared, model, where)
        read = expr.columns() | ({AS_OF} if any(node.fn == "age" for node in expr.walk()) else set())
        _check_read(read, fields, model, where)
        if model.kind == "multiclass":
            known |= dict.fromkeys((column for column in read if column.startswith(PROBABILITY)), "float")
        types[name] = infer(expr, known | types, where)
        reads |= {column: known[column] for column in sorted(read) if column not in exprs}
        exprs[name] = expr
    texts = [[name, expr.text] for name, expr in exprs.items()]
    return Outputs(exprs, types, reads, fingerprint(texts)[:8] if exprs else "")


def _said(model: Model) -> dict[str, str]:
    """Return the types of what a model says of a row."""
    found = {"score": "float", "version": "int"}
    if model.kind == "multiclass":
        found["prediction"] = model.label.type
    return found if model.threshold is None else found | {"decision": "bool"}


def _check_name(name: str, fields: Mapping[str, str], where: str) -> None:
    check_name("output", name)
    if name in fields:
        raise DefinitionError(
            f'{where} has the name of a field of the spine. Give it another name, for example "{name}_shown".'
        )
    if name in SAID:
        raise DefinitionError(
            f'{where} has the name of what the model says. Give it another name, for example "final_{name}".'
        )


def _check_read(read: set[str], fields: Mapping[str, str], model: Model, where: str) -> None:
    for name in sorted(read & set(SAID)):
        if name in fields:
            raise DefinitionError(
                f'{where} reads "{name}", which is both a field of the spine and what the model says. Rename the field in the '
                f'schema of source "{model.spine.root.name}", for example to "row_{name}".'
            )
    if "decision" in read and model.threshold is None:
        raise DefinitionError(
            f'{where} reads "decision", but a model that is {model.kind} decides nothing. Compare col("score").'
        )
    if "prediction" in read and model.kind != "multiclass":
        instead = 'col("decision")' if model.threshold is not None else 'col("score")'
        raise DefinitionError(
            f'{where} reads "prediction", which is there for several classes. Write {instead}.'
        )


def _over_columns(expr: Expr, model: Model, where: str) -> Expr:
    """Return an expression with features as the columns that hold them."""
    names: dict[str, str] = {}
    for node in expr.walk():
        if node.fn != "feature":
            continue
        view, name, known = node.args[2], f"{node.args[0]}.{node.args[1]}", model.columns
        if name not in known or view not in model.views:
            raise DefinitionError(
                f'{where} reads "{name}", which is not a feature of the model.{suggest(name, known)} '
                "An output reads what the model was given; add it to features."
            )
        names[node.text] = name
    return expr.replace_leaves(names) if names else expr
