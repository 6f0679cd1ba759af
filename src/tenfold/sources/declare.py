"""Sources as the user declares them: Events (things that happened) and Table (things that are)."""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.expr import Expr
from tenfold.core.fingerprint import fingerprint
from tenfold.core.times import duration

_TYPES = {int: "int", float: "float", bool: "bool", str: "str", datetime: "time"}


@dataclass(frozen=True, slots=True)
class Field:
    """One column: its type ("int", "float", "bool", "str" or "time") and whether it may be missing."""

    type: str
    nullable: bool


def fields_of(schema: type, source: str) -> dict[str, Field]:
    """Return the fields of an annotated class: plain, dataclass, msgspec or pydantic alike."""
    try:
        hints = typing.get_type_hints(schema)
    except NameError as error:
        raise DefinitionError(
            f'source "{source}": the schema {schema.__name__} names a type that cannot be found ({error}). '
            "Define the schema at the top level of its module."
        ) from error
    if not hints:
        raise DefinitionError(
            f'source "{source}": the schema {schema.__name__} has no annotated fields. '
            "Write a class with lines such as `amount: float`."
        )
    return {name: _field(source, name, hint) for name, hint in hints.items() if not name.startswith("_")}


def _field(source: str, name: str, hint: object) -> Field:
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    kinds = [option for option in options if option is not type(None)]
    if len(kinds) != 1 or kinds[0] not in _TYPES:
        raise DefinitionError(
            f'source "{source}": field "{name}" has type {hint}, which is not one of int, float, bool, str, '
            "datetime, each optionally with `| None`."
        )
    return Field(_TYPES[kinds[0]], len(kinds) < len(options))


@dataclass(frozen=True, eq=False)
class Events:
    """Things that happened, append-only: a file, a table or a stream alike.

    Parameters
    ----------
    name
        Lower-case letters, digits and underscores; the log topic and the lake table have this name.
    schema
        An annotated class; types int, float, bool, str, datetime (with time zone), each optionally `| None`.
    time
        The field that says when it happened.
    id
        The field, or fields, that identify a record: equal ids count once, a later version corrects an earlier one.
    known
        The field that says from when a record was known; default is the event time plus `delay`.
    delay
        How long after the event time a record becomes known, for example "1h".
    lateness
        How much older than the newest record of its key a record may be and still count online.
    valid
        Conditions every row must meet, by the reason to give when it does not; other rows go to quarantine.

    A record loaded as history counts as known from `known`; one that arrives live, from its arrival if that is later.

    Raises
    ------
    DefinitionError
        When a name is not a field, or the time is not a datetime.

    Examples
    --------
    >>> from datetime import datetime
    >>> from tenfold import Events, col
    >>> class Payment:
    ...     payment_id: str
    ...     card_id: str
    ...     amount: float
    ...     at: datetime
    >>> payments = Events(
    ...     "payments", Payment, time="at", id="payment_id", valid={"amount > 0": col("amount") > 0}
    ... )
    >>> payments.fields["amount"].type
    'float'
    """

    name: str
    schema: type
    time: str = field(kw_only=True)
    id: str | tuple[str, ...] = field(kw_only=True)
    known: str | None = field(default=None, kw_only=True)
    delay: str | None = field(default=None, kw_only=True)
    lateness: str = field(default="1h", kw_only=True)
    valid: Mapping[str, Expr] = field(default_factory=dict, kw_only=True)
    fields: Mapping[str, Field] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name("source", self.name)
        fields = fields_of(self.schema, self.name)
        object.__setattr__(self, "fields", fields)
        for role, name in (("time", self.time), ("known", self.known)):
            if name is not None:
                self._need(role, name)
                if fields[name].type != "time":
                    raise DefinitionError(
                        f'source "{self.name}": {role}="{name}" is a {fields[name].type}, not a datetime.'
                    )
        for name in self.ids:
            self._need("id", name)
        for reason, condition in self.valid.items():
            for name in sorted(condition.columns()):
                self._need(f'valid["{reason}"]', name)
        duration(self.lateness, name="lateness")
        if self.delay is not None:
            duration(self.delay, name="delay")

    @property
    def ids(self) -> tuple[str, ...]:
        """The fields that identify a record."""
        return (self.id,) if isinstance(self.id, str) else tuple(self.id)

    @property
    def delay_us(self) -> int:
        """The declared delay in microseconds."""
        return 0 if self.delay is None else duration(self.delay)

    @property
    def lateness_us(self) -> int:
        """The declared lateness in microseconds."""
        return duration(self.lateness)

    @property
    def root(self) -> "Events":
        """The source whose records are read: itself."""
        return self

    @property
    def fingerprint(self) -> str:
        """A hash of everything that changes what a record means."""
        types_ = {name: [kind.type, kind.nullable] for name, kind in self.fields.items()}
        valid = {reason: condition.text for reason, condition in self.valid.items()}
        return fingerprint(
            self.name, types_, self.time, self.ids, self.known, self.delay, self.lateness, valid
        )

    def _need(self, role: str, name: str) -> None:
        if name not in self.fields:
            raise DefinitionError(
                f'source "{self.name}": {role} reads "{name}", which is not a field of {self.schema.__name__}.'
                f"{suggest(name, self.fields)}"
            )


def Table(  # noqa: N802 - reads as a declaration beside Events
    name: str,
    schema: type,
    *,
    key: str | tuple[str, ...],
    time: str,
    known: str | None = None,
    valid: Mapping[str, Expr] | None = None,
) -> Events:
    """Things that are: one row per key and change, with the instant from which it held; history is kept.

    A table is the events of its changes, identified by (key, time).

    Examples
    --------
    >>> from datetime import datetime
    >>> from tenfold import Table
    >>> class Plane:
    ...     tailnum: str
    ...     seats: int
    ...     since: datetime
    >>> Table("planes", Plane, key="tailnum", time="since").ids
    ('tailnum', 'since')
    """
    keys = (key,) if isinstance(key, str) else tuple(key)
    return Events(name, schema, time=time, id=(*keys, time), known=known, valid=valid or {})


def check_name(kind: str, name: str) -> None:
    """Raise DefinitionError unless a name is lower-case letters, digits and underscores."""
    ok = isinstance(name, str) and name.isascii() and name.isidentifier() and name == name.lower()
    if not ok or name.startswith("_"):
        raise DefinitionError(
            f'{kind} name "{name}" is not lower-case letters, digits and underscores, for example "late_departures".'
        )
