"""Entities and feature views: what the user declares, compiled once into what the kernel computes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import NoneType
from typing import Any

from tenfold.core.decimals import PLACES
from tenfold.core.errors import DefinitionError, NotFound, suggest
from tenfold.core.expr import AS_OF, NUMERIC, Expr, count, feature, need
from tenfold.core.fingerprint import fingerprint
from tenfold.core.infer import infer
from tenfold.core.spelled import spelled
from tenfold.core.times import duration
from tenfold.core.vector import Vector, by_vector
from tenfold.core.windows import Window
from tenfold.features.kernel.decay import LIFE
from tenfold.features.kernel.inputs import Aggregate
from tenfold.processing.derive import Source, read_by
from tenfold.sources.declare import SOURCES, check_kind, check_name

_ANY_TYPE = ("count", "first", "last", "lag", "n_unique", "mode", "approx_n_unique")
_OF_FLOATS = ("decayed_sum", "approx_quantile")
"""Aggregates of which a decimal is the nearest float; all others are of its exact units."""


@spelled
@dataclass(frozen=True)
class Entity:
    """What features describe, and the field or fields that identify it.

    Examples
    --------
    >>> from tenfold import Entity
    >>> Entity("route", key=("origin", "dest")).keys
    ('origin', 'dest')
    """

    name: str
    key: str | tuple[str, ...] = field(kw_only=True)

    def __post_init__(self) -> None:
        check_name("entity", self.name)
        if not self.keys or len(set(self.keys)) < len(self.keys):
            raise DefinitionError(
                f'entity "{self.name}": key={self.key!r} does not name one or more different fields.'
            )

    @property
    def keys(self) -> tuple[str, ...]:
        """The key fields in order."""
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A column to aggregate: an expression over the source, and which records take part."""

    name: str
    value: Expr
    where: Expr | None
    type: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A view compiled: inputs, aggregates over them, and the features as expressions over the aggregates.

    Aggregate i is the column named by `slot(i)` in `outputs`.
    """

    inputs: tuple[InputSpec, ...]
    aggregates: tuple[Aggregate, ...]
    outputs: Mapping[str, Expr]
    types: Mapping[str, str]

    @property
    def longest(self) -> int:
        """The longest window in microseconds, 0 when there is none."""
        return max((item.window.reach or 0 for item in self.aggregates), default=0)

    @property
    def reach(self) -> int | None:
        """How much older than t a record may be and still count, in microseconds; None when there is no limit."""
        reaches = [item.window.reach for item in self.aggregates]
        return None if None in reaches else max((reach for reach in reaches if reach is not None), default=0)

    @property
    def includes_self(self) -> bool:
        """Whether the row that is asked for counts."""
        return any(item.window.include_self for item in self.aggregates)


@spelled
@dataclass(frozen=True, eq=False)
class FeatureView:
    """A group of features of one entity from one source; without an entity, features of the row being predicted.

    Parameters
    ----------
    source
        Events, a Table or a Derived source. For a view without entity: the source whose rows are predicted.
    features
        Expressions by name. With an entity each contains an aggregate such as `col("x").mean(window="1h")`; without,
        columns of the row and features of other views, `view["name"]`. A vector named "title" becomes the features
        "title[0]", "title[1]" and so on, together `view.vector("title")`.
    ttl
        How long a key is answered for: as of t all features are null when nothing known of it is younger, such as "7d".

    A feature as of t is a function of records known strictly before t.

    Raises
    ------
    DefinitionError
        When an expression does not fit the source.

    Examples
    --------
    >>> from datetime import datetime
    >>> from tenfold import Entity, Events, FeatureView, col, count
    >>> class Payment:
    ...     payment_id: str
    ...     card_id: str
    ...     amount: float
    ...     at: datetime
    >>> payments = Events("payments", Payment, time="at", id="payment_id")
    >>> card = FeatureView(
    ...     "card",
    ...     entity=Entity("card", key="card_id"),
    ...     source=payments,
    ...     features={"payments_1h": count(window="1h"), "spend_1d": col("amount").sum(window="1d")},
    ... )
    >>> card["spend_1d"].text
    "card['spend_1d']"
    >>> card["spend_1w"]
    Traceback (most recent call last):
    tenfold.core.errors.NotFound: no feature "spend_1w" in feature view "card". Did you mean "spend_1d"? Known: payments_1h, spend_1d.
    """

    name: str
    source: Source = field(kw_only=True)
    features: Mapping[str, Any] = field(kw_only=True)
    entity: Entity | None = field(default=None, kw_only=True)
    ttl: str | None = field(default=None, kw_only=True)
    plan: Plan = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name("feature view", self.name)
        self._check_kinds()
        if not self.features:
            raise DefinitionError(f'feature view "{self.name}" has no features.')
        for name in self.features:
            check_name("feature", name)
        object.__setattr__(self, "features", _expanded(self.features))
        for name, expr in self.features.items():
            need(expr, self._where(name))
        if self.source.upstream and any(
            node.window and node.window.include_self
            for expr in self.features.values()
            for node in expr.aggregates()
        ):
            raise DefinitionError(
                f'feature view "{self.name}" counts the row that is asked for (include_self), and its source reads features of '
                f'view "{self.source.upstream[0].name}". Do one of the two.'
            )
        if self.ttl is not None:
            duration(self.ttl, name="ttl")
        if self.ttl is not None and self.entity is None:
            raise DefinitionError(
                f'feature view "{self.name}" has a ttl and no entity: what it computes is as old as the row. Remove ttl.'
            )
        plan = self._stored_plan() if self.entity is not None else self._request_plan()
        object.__setattr__(self, "plan", plan)

    def _check_kinds(self) -> None:
        where = f'feature view "{self.name}"'
        check_kind(f"{where}: source", self.source, Source, SOURCES)
        entity = 'Write for example entity=Entity("card", key="card").'
        check_kind(f"{where}: entity", self.entity, (Entity, NoneType), entity)
        by_name = 'Write expressions by name, such as features={"spent": col("amount").sum()}.'
        check_kind(f"{where}: features", self.features, Mapping, by_name)

    def __getitem__(self, name: str) -> Expr:
        if name not in self.features:
            known = by_vector(self.features)
            many = (
                f' It is a vector: write vector("{name}"), or "{name}[0]" for one number.'
                if name in known
                else ""
            )
            raise NotFound("feature", name, known, within=f'feature view "{self.name}"', hint=many)
        return feature(self, name)

    def vector(self, name: str) -> Vector[Expr]:
        """Return a reference to a feature that is a vector, to use it as a whole; NotFound names the nearest."""
        known = {base: names for base, names in by_vector(self.features).items() if names != [base]}
        if name not in known:
            raise NotFound("vector", name, known, within=f'feature view "{self.name}"')
        return Vector(feature(self, one) for one in known[name])

    def __iter__(self) -> Iterator[Expr]:
        return iter([feature(self, name) for name in self.features])

    @property
    def keys(self) -> tuple[str, ...]:
        """The key fields of its entity; none for a view of the row itself."""
        return () if self.entity is None else self.entity.keys

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that changes a value of this view."""
        texts = {name: expr.text for name, expr in self.features.items()}
        # by its lateness a state keeps what an older request may ask for
        return fingerprint(*self._meaning(*self.features.values()), self.source.root.lateness, texts)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """By feature a hash of everything that changes its values, whatever becomes of the others of the view."""
        return {name: fingerprint(*self._meaning(expr), expr.text) for name, expr in self.features.items()}

    def _meaning(self, *exprs: Expr) -> tuple[object, ...]:
        """Return what beside their texts changes the values of expressions: what the fields that they read mean."""
        read, others = read_by(exprs)
        keys = None if self.entity is None else self.entity.keys
        return self.name, self.source.meaning({*read, *self.keys}), keys, self.ttl, others

    def _types(self) -> dict[str, str]:
        return {name: item.type for name, item in self.source.fields.items()}

    def _stored_plan(self) -> Plan:
        assert self.entity is not None  # noqa: S101 - for the type checker; the caller has looked
        types = self._types()
        for key in self.entity.keys:
            self._check_key(self.entity, key, types)
        compiler = _Compiler(self.name, types)
        outputs = {name: compiler.output(name, self._fresh(expr)) for name, expr in self.features.items()}
        slots = dict(compiler.types) | {AS_OF: "time"}
        result = {name: infer(expr, slots, self._where(name)) for name, expr in outputs.items()}
        return Plan(tuple(compiler.inputs), tuple(compiler.aggregates), outputs, result)

    def _fresh(self, expr: Expr) -> Expr:
        """Return a feature that is null when nothing known of its key is younger than `ttl`."""
        if self.ttl is None or not expr.aggregates():
            return expr
        return (count(window=self.ttl) > 0).then(expr)

    def _check_key(self, entity: Entity, key: str, types: Mapping[str, str]) -> None:
        where = f'feature view "{self.name}": key "{key}" of entity "{entity.name}"'
        if key not in types:
            raise DefinitionError(
                f'{where} is not a field of source "{self.source.name}".{suggest(key, types)}'
            )
        if types[key] == "float":
            raise DefinitionError(
                f"{where} is a float, and floats that look equal may differ. Use an int or a str."
            )
        if types[key] in PLACES:
            raise DefinitionError(
                f"{where} is a {types[key]}, which measures and does not name. Use an int or a str."
            )

    def _request_plan(self) -> Plan:
        for name, expr in self.features.items():
            if expr.aggregates():
                raise DefinitionError(
                    f'feature "{self.name}.{name}" aggregates over events, but the view has no entity to group by. '
                    "Add entity=..., or move it to a view that has one."
                )
            for used in sorted(expr.columns()):
                if used not in self.source.fields:
                    raise DefinitionError(
                        f'feature "{self.name}.{name}" reads column "{used}", which is not a field of source '
                        f'"{self.source.name}".{suggest(used, self.source.fields)}'
                    )
        return Plan((), (), dict(self.features), {})

    def _where(self, name: str) -> str:
        return f'feature "{self.name}.{name}"'


def with_upstream(views: Iterable[FeatureView]) -> Iterator[FeatureView]:
    """Yield the views that the sources of some views read, and then those, each before what reads it."""
    for view in views:
        yield from with_upstream(view.source.upstream)
        yield view


class _Compiler:
    """Collects inputs and aggregates of one view, each distinct one once."""

    def __init__(self, view: str, types: Mapping[str, str]) -> None:
        self._view, self._fields = view, types
        self.inputs: list[InputSpec] = []
        self.aggregates: list[Aggregate] = []
        self.types: dict[str, str] = {}
        self._slots: dict[str, str] = {}
        self._places: dict[tuple[str, str], int] = {}

    def output(self, name: str, expr: Expr) -> Expr:
        where = f'feature "{self._view}.{name}"'
        found = expr.aggregates()
        if not found:
            raise DefinitionError(
                f"{where} has no aggregate, so there is one value per event, not per key. "
                f"Write for example {expr.text}.last()."
            )
        if any(node.fn == "feature" for node in expr.walk()):
            raise DefinitionError(
                f"{where} reads a feature of another view. Move it to a view without an entity."
            )
        for node in found:
            self._slot(node, where)
        result = expr.replace_leaves(self._slots)
        for outside in sorted(result.columns() - set(self.types)):
            raise DefinitionError(
                f'{where} reads column "{outside}" outside of an aggregate, where there is one value per key. '
                f'Write for example col("{outside}").last().'
            )
        return result

    def _slot(self, node: Expr, where: str) -> None:
        text = node.text
        if text in self._slots:
            return
        if node.where is not None and infer(node.where, self._fields, where) != "bool":
            raise DefinitionError(f"{where}: where={node.where.text} is not a condition.")
        kind = infer(node.args[0], self._fields, where)
        if node.fn not in _ANY_TYPE and kind not in NUMERIC:
            raise DefinitionError(f"{where}: {node.fn} needs numbers, and {node.args[0].text} is {kind}.")
        if node.fn in _OF_FLOATS and kind in PLACES:
            node, kind = replace(node, args=(node.args[0].cast("float"),)), "float"
        place = self._input(node, kind)
        name = slot(len(self.aggregates))
        self.aggregates.append(Aggregate(node.fn, place, _limited(node), node.n))
        self._slots[text] = name
        self.types[name] = aggregate_type(node.fn, kind)

    def _input(self, node: Expr, kind: str) -> int:
        value = node.args[0]
        key = (value.text, "" if node.where is None else node.where.text)
        if key not in self._places:
            self._places[key] = len(self.inputs)
            self.inputs.append(InputSpec(f'view "{self._view}", {value.text}', value, node.where, kind))
        return self._places[key]


def slot(place: int) -> str:
    """Return the column name of an aggregate's result."""
    return f"_{place}"


def aggregate_type(fn: str, kind: str) -> str:
    """Return the type of an aggregate of values of a type."""
    if fn in ("count", "n_unique"):
        return "int"
    if fn in ("sum", "min", "max"):
        return "int" if kind == "bool" else kind
    return kind if fn in ("first", "last", "lag", "mode") else "float"


def _limited(node: Expr) -> Window:
    """Return the window of an aggregate; a decayed sum ends where its values count nothing."""
    window = node.window or Window()
    if node.fn == "decayed_sum" and window.kind in ("all", "time"):
        life = LIFE * node.n
        return replace(window, kind="time", size=min(window.size or life, life))
    return window


def _expanded(features: Mapping[str, Any]) -> dict[str, Expr]:
    """Return features with a list such as `last_n` gives, and a vector, spread over numbered names."""
    found: dict[str, Expr] = {}
    for name, value in features.items():
        for one, expr in _named(name, value):
            if one in found:
                raise DefinitionError(f'two features are named "{one}". Rename "{name}".')
            found[one] = expr
    return found


def _named(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for place, one in enumerate(value, start=1):
            yield from _named(f"{name}_{place}", one)
    elif isinstance(value, Vector):
        for place, item in enumerate(value):
            yield f"{name}[{place}]", item
    else:
        yield name, value
