"""Sources as the user declares them: Events (things that happened) and Table (things that are)."""

import re
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from tenfold.core.decimals import DIGITS, PLACES, decimal_type
from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.expr import Expr
from tenfold.core.fingerprint import fingerprint
from tenfold.core.infer import infer
from tenfold.core.spelled import spelled
from tenfold.core.times import UNITS, duration

SOURCES = "Give the Events, the Table or the Derived itself."
"""What to write where something else than a source was given."""
LONGEST = 100
"""Characters of a name that is part of the names of files: with what stands around it, that is less than the 200 of a blob."""
_FILED = ("source", "model")
_NAME = re.compile("[a-z][a-z0-9_]*")
_ODD = re.compile(r"[ :\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
"""What cannot be in the name of a field: small batches of the log write `name:type name:type`, in UTF-8."""
_TYPES = {int: "int", float: "float", bool: "bool", str: "str", datetime: "time"}


@dataclass(frozen=True, slots=True)
class Field:
    """One column: its type ("int", "float", "bool", "str", "time" or "decimal(2)") and whether it may be missing."""

    type: str
    nullable: bool


def fields_of(schema: type, source: str) -> dict[str, Field]:
    """Return the fields of an annotated class: plain, dataclass, msgspec or pydantic alike."""
    if not isinstance(schema, type):
        raise DefinitionError(
            f'source "{source}": the schema {schema!r} is not a class. Write a class with lines such as `amount: float`.'
        )
    try:
        hints = typing.get_type_hints(schema, include_extras=True)
    except NameError as error:
        raise DefinitionError(
            f'source "{source}": the schema {schema.__name__} names a type that cannot be found ({error}). '
            "Define the schema at the top level of its module."
        ) from error
    fields = {
        name: _field(source, name, hint)
        for name, hint in hints.items()
        if not name.startswith("_") and typing.get_origin(hint) is not typing.ClassVar
    }
    if not fields:
        raise DefinitionError(
            f'source "{source}": the schema {schema.__name__} has no annotated fields. '
            "Write a class with lines such as `amount: float`."
        )
    for name in fields:
        _check_field(source, name)
    if len({name.lower() for name in fields}) < len(fields):
        raise DefinitionError(
            f'source "{source}": two fields of {schema.__name__} differ only in capitals, which SQL does not tell apart. '
            "Rename one."
        )
    return fields


def _check_field(source: str, name: str) -> None:
    if name != (better := field_name(name)):
        raise DefinitionError(
            f'source "{source}": the field name {name!r} is empty or has a space, a colon or a control character. '
            f'Rename the field, for example to "{better}".'
        )


def field_name(name: str) -> str:
    """Return the nearest name that a field may have, the same one where it may have that.

    Examples
    --------
    >>> field_name("größe.m-2"), field_name("card no"), field_name(" a:b ")
    ('größe.m-2', 'card_no', 'a_b')
    """
    return _ODD.sub(" ", name).strip(" ").replace(" ", "_") or "field"


def _field(source: str, name: str, hint: object) -> Field:
    hint, places = _bare(hint)
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    found = [_bare(option) for option in options if option is not type(None)]
    kind = found[0][0]
    if len(found) == 1 and kind is Decimal:
        return Field(_decimal(source, name, places or found[0][1]), len(found) < len(options))
    if len(found) != 1 or kind not in _TYPES:
        raise DefinitionError(
            f'source "{source}": field "{name}" has type {hint}, which is not one of int, float, bool, str, '
            "datetime, Annotated[Decimal, 2], each optionally with `| None`."
        )
    return Field(_TYPES[kind], len(found) < len(options))


def _bare(hint: object) -> tuple[object, tuple[object, ...]]:
    """Return what is annotated, and with what."""
    if typing.get_origin(hint) is typing.Annotated:
        bare, *extras = typing.get_args(hint)
        return bare, tuple(extras)
    return hint, ()


def _decimal(source: str, name: str, extras: tuple[object, ...]) -> str:
    """Return the type of a decimal field: the whole number among its annotations says how many places it has."""
    places = [item for item in extras if type(item) is int]
    if len(places) != 1 or decimal_type(places[0]) not in PLACES:
        raise DefinitionError(
            f'source "{source}": field "{name}" is a Decimal, whose places are not declared. Say how many of its {DIGITS} '
            f"digits stand behind the point, for example `{name}: Annotated[Decimal, 2]`."
        )
    return decimal_type(places[0])


@spelled
@dataclass(frozen=True, eq=False)
class Events:
    """Things that happened, append-only: a file, a table or a stream alike.

    Parameters
    ----------
    name
        Up to 100 lower-case letters, digits and underscores; the log topic and the lake table have this name.
    schema
        An annotated class whose names have no spaces and colons; types int, float, bool, str, datetime (with time zone),
        `Annotated[Decimal, 2]` (18 digits, 2 of them behind the point), each optionally `| None`.
    time
        The field that says when it happened.
    id
        The field, or fields, that identify a record: equal ids count once, a later version corrects an earlier one.
    known
        The field that says from when a record was known; default is the event time plus `delay`.
    delay
        How long after the event time a record becomes known, for example "1h".
    lateness
        How long after it happened, and after `delay`, a row may arrive: later ones are set aside with a reason. Without
        it a row counts however late it comes.
    deleted
        A bool field: a version in which it is true removes the record, as a change feed does.
    moves
        Whether a later version of a record may have other values in the fields that are keys of views. States follow it, for
        a write more per record and view; False spares that where a record never changes its keys.
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
    lateness: str | None = field(default=None, kw_only=True)
    deleted: str | None = field(default=None, kw_only=True)
    moves: bool = field(default=True, kw_only=True)
    valid: Mapping[str, Expr] = field(default_factory=dict, kw_only=True)
    fields: Mapping[str, Field] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name("source", self.name)
        fields = fields_of(self.schema, self.name)
        object.__setattr__(self, "fields", fields)
        self._check_time("time", self.time)
        if self.known is not None:
            self._check_time("known", self.known)
        self._check_ids()
        self._check_valid()
        self._check_deleted()
        if self.lateness is not None:
            duration(self.lateness, name="lateness")
        if self.delay is not None:
            duration(self.delay, name="delay")
        if self.delay is not None and self.known is not None:
            raise DefinitionError(
                f'source "{self.name}": known="{self.known}" and delay="{self.delay}" both say when a record was known. '
                "Remove one."
            )

    @property
    def ids(self) -> tuple[str, ...]:
        """The fields that identify a record."""
        return (self.id,) if isinstance(self.id, str) else tuple(self.id)

    @property
    def timed(self) -> tuple[str, ...]:
        """The fields that say when a record happened, and was known."""
        return (self.time,) if self.known is None else (self.time, self.known)

    @property
    def delay_us(self) -> int:
        """The declared delay in microseconds."""
        return 0 if self.delay is None else duration(self.delay)

    @property
    def lateness_us(self) -> int | None:
        """The declared lateness in microseconds, None when a row may come however late."""
        return None if self.lateness is None else duration(self.lateness)

    @property
    def look_back_us(self) -> int:
        """How long before its newest arrival a key's state still answers: the lateness, an hour when there is none."""
        return UNITS["h"] if self.lateness_us is None else self.lateness_us

    @property
    def upstream(self) -> tuple[()]:
        """The feature views it reads: none."""
        return ()

    @property
    def root(self) -> "Events":
        """The source whose records are read: itself."""
        return self

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that changes what a record means."""
        types_ = {name: [kind.type, kind.nullable] for name, kind in self.fields.items()}
        valid = {reason: condition.text for reason, condition in self.valid.items()}
        rules = [self.known, self.delay, self.lateness, self.deleted, self.moves]
        return fingerprint(self.name, types_, self.time, self.ids, *rules, valid)

    def meaning(self, fields: Collection[str]) -> str:
        """Return a hash of everything that changes what a record means to who reads some of its fields.

        Which rows are stored, `valid` and `lateness`, is not in it: a record that is stored means the same.
        """
        read = {*fields, *self.timed, *self.ids, *([] if self.deleted is None else [self.deleted])}
        types_ = {name: [kind.type, kind.nullable] for name, kind in self.fields.items() if name in read}
        return fingerprint(
            self.name, types_, self.time, self.ids, self.known, self.delay, self.deleted, self.moves
        )

    def _check_time(self, role: str, name: str) -> None:
        self._need(role, name)
        if self.fields[name].type != "time":
            raise DefinitionError(
                f'source "{self.name}": {role}="{name}" is a {self.fields[name].type}, not a datetime.'
            )

    def _check_ids(self) -> None:
        if not self.ids:
            raise DefinitionError(
                f'source "{self.name}": id=() identifies no record. Name at least one field.'
            )
        for name in self.ids:
            self._need("id", name)
            kind = self.fields[name].type
            if kind == "float" or kind in PLACES:
                raise DefinitionError(
                    f'source "{self.name}": id="{name}" is a {kind}, which identifies nothing. Use an int or a str.'
                )

    def _check_valid(self) -> None:
        instead = 'Write conditions by the reason to give, such as valid={"amount > 0": col("amount") > 0}.'
        check_kind(f'source "{self.name}": valid', self.valid, Mapping, instead)
        types_ = {name: item.type for name, item in self.fields.items()}
        for reason, condition in self.valid.items():
            where = f'source "{self.name}": valid["{reason}"]'
            if infer(condition, types_, where) != "bool":
                raise DefinitionError(f"{where} is {condition.text}, which is not a condition.")

    def _check_deleted(self) -> None:
        if self.deleted is None:
            return
        self._need("deleted", self.deleted)
        if self.fields[self.deleted].type != "bool":
            raise DefinitionError(
                f'source "{self.name}": deleted="{self.deleted}" is a {self.fields[self.deleted].type}, not a bool.'
            )

    def _need(self, role: str, name: str) -> None:
        if name not in self.fields:
            raise DefinitionError(
                f'source "{self.name}": {role} reads "{name}", which is not a field of {self.schema.__name__}.'
                f"{suggest(str(name), self.fields)}"
            )
        if self.fields[name].nullable:
            raise DefinitionError(
                f'source "{self.name}": {role}="{name}" may be missing. Remove `| None` from the field: '
                "rows without it are set aside."
            )


@spelled
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


def check_kind(where: str, value: object, kinds: Any, instead: str) -> None:
    """Raise DefinitionError unless a value is of a kind; `instead` says what to write."""
    if not isinstance(value, kinds):
        plain = value is None or isinstance(value, (str, int, float))
        shown = (
            value.text if isinstance(value, Expr) else repr(value) if plain else f"a {type(value).__name__}"
        )
        raise DefinitionError(f"{where} is {shown[:80]}. {instead}")


def check_name(kind: str, name: str) -> None:
    """Raise DefinitionError unless a name is lower-case letters, digits and underscores, and fits in those of files."""
    if not _NAME.fullmatch(str(name)):
        raise DefinitionError(
            f'{kind} name "{name}" is not lower-case letters, digits and underscores, for example "late_departures".'
        )
    if kind in _FILED and len(name) > LONGEST:
        raise DefinitionError(
            f'{kind} name "{name[:20]}…" has {len(name)} characters, and files are named after it. Use at most {LONGEST}, for '
            'example "late_departures".'
        )
