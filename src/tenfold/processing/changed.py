"""Fields whose type is another one now than when records were stored, or that records lack."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tenfold.core.decimals import PLACES
from tenfold.core.errors import DefinitionError
from tenfold.processing.frame import DTYPES, arrow_type
from tenfold.sources.declare import Events

if TYPE_CHECKING:
    import pyarrow as pa


def check_stored(source: Events, stored: "pa.Schema") -> None:
    """Raise DefinitionError unless what is stored of a source has the types it declares, and all that may not be missing.

    Parameters
    ----------
    stored
        The columns of its records, nullable where some of these lack them.
    """
    for name, field in source.fields.items():
        held = stored.field(name) if name in stored.names else None
        if held is not None and held.type != arrow_type(field.type):
            raise DefinitionError(retyped(source.name, name, spelled(held.type), spelled(field.type)))
        if not field.nullable and (held is None or held.nullable):
            raise DefinitionError(without(source.name, name))


def retyped(source: str, field: str, before: str, now: str) -> str:
    """Return what to say of a field that is declared with another type than it is stored with."""
    return (
        f'source "{source}": field "{field}" was stored as {before} and is declared as {now} now. A field never changes its '
        f"type: declare it as {before} again, and what comes as {now} as a new field under another name, with `| None`; or "
        "load the history again into a new home."
    )


def mixed(source: str, field: str, found: str, wanted: str) -> str:
    """Return what to say of a log that holds a field in another type than it is declared with, or than records before have."""
    return (
        f'source "{source}": the log holds records whose field "{field}" is {found}, not {wanted}. A field never changes its '
        f"type: declare it as {found} if no record has it as {wanted}. If the log holds both, load the history again into a new "
        f"home, where what comes as {found} has another name."
    )


def without(source: str, field: str) -> str:
    """Return what to say of a field that may not be missing and that stored records lack."""
    return (
        f'source "{source}" has rows that were stored without the field "{field}": declare it `| None`, '
        "or load the history again into a new home."
    )


def spelled(kind: "str | pa.DataType") -> str:
    """Return a type as it is declared.

    Examples
    --------
    >>> import pyarrow as pa
    >>> spelled("time"), spelled("decimal(2)"), spelled(pa.float64()), spelled(pa.date32())
    ('datetime', 'Annotated[Decimal, 2]', 'float', 'date32[day]')
    """
    name = kind if isinstance(kind, str) else _names().get(kind, str(kind))
    if name in PLACES:
        return f"Annotated[Decimal, {PLACES[name]}]"
    return "datetime" if name == "time" else name


def _names() -> "Mapping[pa.DataType, str]":
    return {arrow_type(name): name for name in DTYPES}
