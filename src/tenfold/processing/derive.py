"""Derived sources: the same cleaning and the same added columns in backfill, stream and replay."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tenfold.core.errors import DefinitionError
from tenfold.core.expr import Expr
from tenfold.core.fingerprint import fingerprint
from tenfold.core.infer import infer
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import Column, Frame
from tenfold.sources.declare import Events, Field, check_name


@dataclass(frozen=True, eq=False)
class Derived:
    """A source computed row by row from another: rows that meet `where`, with the columns `added`.

    Nothing is stored: the same expressions run wherever the source is read.

    Raises
    ------
    DefinitionError
        When an expression reads a column that the source does not have.

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
        types = {name: item.type for name, item in self.source.fields.items()}
        fields = dict(self.source.fields)
        for name, expr in self.added.items():
            check_name("column", name)
            if name in fields:
                raise DefinitionError(
                    f'source "{self.name}": column "{name}" is already a field of source "{self.source.name}". '
                    "Give the new column another name."
                )
            fields[name] = Field(infer(expr, types, f'source "{self.name}": column "{name}"'), nullable=True)
            types[name] = fields[name].type
        if self.where is not None and infer(self.where, types, f'source "{self.name}": where') != "bool":
            raise DefinitionError(f'source "{self.name}": where={self.where.text} is not a condition.')
        object.__setattr__(self, "fields", fields)

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
        return fingerprint(self.name, self.source.fingerprint, added, where)


Source = Events | Derived


def apply(source: Source, frame: Frame, rows: int) -> tuple[dict[str, Column], Column | None]:
    """Return the frame with derived columns, and which rows are records of the source (None: all of them).

    Those are the rows that meet every `where` and do not delete a record. Rows that do not meet it stay in place: a correction may have moved a record out, and that must end the old one.
    """
    if isinstance(source, Events):
        if source.deleted is None:
            return dict(frame), None
        gone = frame[source.deleted]
        return dict(frame), Column("bool", ~gone.values, gone.valid)
    columns, keep = apply(source.source, frame, rows)
    for name, expr in source.added.items():
        columns[name] = evaluate(expr, columns, rows)
    if source.where is None:
        return columns, keep
    mine = evaluate(source.where, columns, rows)
    met = mine.valid & mine.values
    if keep is not None:
        met = met & keep.values
    return columns, Column("bool", met, np.ones(rows, dtype=np.bool_))
