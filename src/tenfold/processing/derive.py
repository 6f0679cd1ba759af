"""Derived sources: the same cleaning and the same added columns in backfill, stream and replay."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.expr import Expr, need
from tenfold.core.fingerprint import fingerprint
from tenfold.core.infer import infer
from tenfold.core.spelled import spelled
from tenfold.core.vector import Vector
from tenfold.processing.evaluate import Made, evaluate
from tenfold.processing.frame import Column, Frame
from tenfold.sources.declare import SOURCES, Events, Field, check_kind, check_name


@spelled
@dataclass(frozen=True, eq=False)
class Derived:
    """A source computed row by row from another: rows that meet `where`, with the columns `added`.

    Nothing is stored: the same expressions run wherever the source is read. They may read features of other views,
    `view["name"]`: those of the row's keys, as of when the row happened, or became known if that was earlier. So an aggregate
    over such a column is a chained feature; what becomes known later does not change it.

    Raises
    ------
    DefinitionError
        When an expression reads a column that the source does not have, or a feature whose keys it does not have.

    Examples
    --------
    >>> from datetime import datetime
    >>> from tenfold import Derived, Events, col
    >>> class Order:
    ...     order_id: str
    ...     units: int
    ...     price: float
    ...     at: datetime
    >>> orders = Events("orders", Order, time="at", id="order_id")
    >>> sales = Derived(
    ...     "sales", source=orders, where=col("units") > 0, added={"total": col("units") * col("price")}
    ... )
    >>> sales.fields["total"].type
    'float'
    """

    name: str
    source: "Events | Derived" = field(kw_only=True)
    where: Expr | None = field(default=None, kw_only=True)
    added: Mapping[str, Expr] = field(default_factory=dict, kw_only=True)
    fields: Mapping[str, Field] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name("source", self.name)
        check_kind(f'source "{self.name}": source', self.source, (Events, Derived), SOURCES)
        for name, expr in self.added.items():
            check_name("column", name)
            _check_one(expr, f'source "{self.name}": column "{name}"')
        if self.where is not None:
            need(self.where, f'source "{self.name}": where')
        types = {name: item.type for name, item in self.source.fields.items()} | self._features()
        fields = dict(self.source.fields)
        for name, expr in self.added.items():
            if name in fields:
                raise DefinitionError(
                    f'source "{self.name}": column "{name}" is already a field of source "{self.source.name}". '
                    "Give the new column another name."
                )
            found = infer(_plain(expr), types, f'source "{self.name}": column "{name}"')
            fields[name] = Field(found, nullable=True)
            types[name] = fields[name].type
        if (
            self.where is not None
            and infer(_plain(self.where), types, f'source "{self.name}": where') != "bool"
        ):
            raise DefinitionError(f'source "{self.name}": where={self.where.text} is not a condition.')
        object.__setattr__(self, "fields", fields)

    @cached_property
    def upstream(self) -> tuple[Any, ...]:
        """The feature views it reads, here or in the sources it is made of, each once."""
        parts = [*self.added.values(), *([] if self.where is None else [self.where])]
        mine = [node.args[2] for expr in parts for node in expr.walk() if node.fn == "feature"]
        return tuple({view.name: view for view in (*self.source.upstream, *mine)}.values())

    def _features(self) -> dict[str, str]:
        """Return the types of the features it may read, by column."""
        found: dict[str, str] = {}
        for view in self.upstream:
            where = f'source "{self.name}" reads features of view "{view.name}"'
            if view.entity is None:
                raise DefinitionError(f"{where}, which has no entity. Read columns of the row instead.")
            if view.plan.includes_self:
                raise DefinitionError(
                    f"{where}, which counts the row that is asked for (include_self). Leave that out."
                )
            for key in view.keys:
                mine, other = self.root.fields.get(key), view.source.fields[key]
                if mine is None:
                    raise DefinitionError(
                        f'{where}, but its key "{key}" is not a field of source "{self.root.name}".{suggest(key, self.root.fields)}'
                    )
                if mine.type != other.type:
                    raise DefinitionError(
                        f'{where}, but "{key}" is {mine.type} here and {other.type} there; they would never meet. Declare one type.'
                    )
            found |= {f"{view.name}.{name}": kind for name, kind in view.plan.types.items()}
        return found

    @cached_property
    def computed(self) -> Mapping[str, Expr]:
        """The added columns as expressions over columns; a feature is the column "view.name"."""
        return {name: _plain(expr) for name, expr in self.added.items()}

    @cached_property
    def condition(self) -> Expr | None:
        """`where` over columns."""
        return None if self.where is None else _plain(self.where)

    @property
    def root(self) -> Events:
        """The source whose records are read."""
        return self.source.root

    @property
    def time(self) -> str:
        """The field that says when it happened."""
        return self.root.time

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that changes what a record means."""
        added = {name: expr.text for name, expr in self.added.items()}
        where = None if self.where is None else self.where.text
        upstream = [view.fingerprint for view in self.upstream]
        return fingerprint(self.name, self.source.fingerprint, added, where, *upstream)

    def meaning(self, fields: Collection[str]) -> str:
        """Return a hash of everything that changes what a record means to who reads some of its fields."""
        parts, added = [] if self.where is None else [self.where], {}
        for name, expr in reversed(list(self.added.items())):  # it may read those before it
            if name in fields or name in read_by(parts)[0]:
                added[name] = expr.text
                parts.append(expr)
        read, marks = read_by(parts)
        where = None if self.where is None else self.where.text
        return fingerprint(
            self.name, self.source.meaning({*fields, *read} - added.keys()), added, where, marks
        )


Source = Events | Derived


def read_by(exprs: Iterable[Expr]) -> tuple[set[str], dict[str, str]]:
    """Return the fields that expressions read, and the hash of each feature they read, by its text."""
    nodes = [node for expr in exprs for node in expr.walk() if node.fn in ("col", "feature")]
    views = {node.text: (node.args[2], node.args[1]) for node in nodes if node.fn == "feature"}
    fields = {node.args[0] for node in nodes if node.fn == "col"}
    keys = {key for view, _ in views.values() for key in view.keys}
    return fields | keys, {text: view.fingerprints[name] for text, (view, name) in views.items()}


def _check_one(value: object, where: str) -> None:
    """Refuse a vector as a column: nothing is stored, so a name in Python does as well."""
    if isinstance(value, Vector):
        raise DefinitionError(
            f"{where} is a vector of {len(value)} numbers, and a column has one. Keep the vector in a variable and use it "
            "in feature views of the source, such as vector.last(), or add one number of it: vector[0]."
        )
    need(value, where)


def _plain(expr: Expr) -> Expr:
    """Return an expression with features as the columns they are read into."""
    names = {node.text: f"{node.args[0]}.{node.args[1]}" for node in expr.walk() if node.fn == "feature"}
    return expr.replace_leaves(names) if names else expr


def apply(source: Source, frame: Frame, rows: int) -> tuple[dict[str, Column], Column | None]:
    """Return the frame with derived columns, and which rows are records of the source (None: all of them).

    Those are the rows that meet every `where` and do not delete a record. Rows that do not meet it stay in place: a
    correction may have moved a record out, and that must end the old one. The frame holds the features that the source
    reads, as columns "view.name".
    """
    if isinstance(source, Events):
        if source.deleted is None:
            return dict(frame), None
        gone = frame[source.deleted]
        return dict(frame), Column("bool", ~gone.values, gone.valid)
    columns, keep = apply(source.source, frame, rows)
    made: Made = {}
    for name, expr in source.computed.items():
        columns[name] = evaluate(expr, columns, rows, made)
    if source.condition is None:
        return columns, keep
    mine = evaluate(source.condition, columns, rows, made)
    met = mine.valid & mine.values
    if keep is not None:
        met = met & keep.values
    return columns, Column("bool", met, np.ones(rows, dtype=np.bool_))
