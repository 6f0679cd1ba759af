"""Where answers go downstream: a topic of the log, a table of the lake, or somebody else's address."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from tenfold.core.errors import DefinitionError, SchemaError, Unavailable, suggest
from tenfold.features.records import OFFSET
from tenfold.processing.batches import to_bytes, to_table
from tenfold.serving.connections import LOCAL
from tenfold.sources.base import Batch, Lake, Log
from tenfold.sources.declare import LONGEST

if TYPE_CHECKING:
    import pyarrow as pa

PLACE = "place"
"""The column of a topic that says where in the prediction log an answer stands."""
LOOK = 0.2
"""Seconds between two looks where a look costs little."""
WRITER = "deliver"
"""The name under which a table remembers how far it is."""
_NAME = re.compile("[a-z][a-z0-9_]*")
_KINDS = ("topic:", "table:", "https://")
_EXAMPLES = 'Write "topic:decisions", "table:decisions" or "https://host/path".'


class Refused(SchemaError):
    """A sink will never take these rows; `each` says that it may be one of them that it does not take."""

    def __init__(self, message: str, *, each: bool = False) -> None:
        super().__init__(message)
        self.each = each


class NotNow(Unavailable):
    """A sink does not take anything now, and said after how many seconds it may be asked again."""

    def __init__(self, message: str, after: float) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True)
class Part:
    """Answers to deliver together: rows, and the name they have however often they are sent.

    `upto` is the offset after the last of them; a part that comes again has the same rows. One that is `late` was set aside,
    and others were delivered meanwhile.
    """

    rows: "pa.Table"
    id: str
    upto: int
    late: bool = False


class Sink(Protocol):
    """A place downstream. `put` may be called again with a part that was taken, after a crash or a lost answer.

    Raises
    ------
    Unavailable
        When it does not answer: the part is sent again later, and nothing overtakes it.
    Refused
        When it will never take the part: it is set aside, and the others are not held up.
    """

    @property
    def most(self) -> int:
        """How many rows a part may have."""
        ...

    @property
    def every(self) -> float:
        """Seconds between two looks whether there is something new."""
        ...

    def put(self, part: Part) -> None:
        """Take a part; durable when it returns."""
        ...

    def close(self) -> None:
        """Release what is held; may be called twice."""
        ...


class TopicSink:
    """A topic of the log, in which each answer stands once, by the key of its id and its place in the prediction log.

    A row of a batch that was scored again is another answer under the same id.
    """

    most, every = 5_000, LOOK

    def __init__(self, log: Log, topic: str) -> None:
        self._log, self._topic = log, topic

    def put(self, part: Part) -> None:
        import pyarrow as pa

        names = [PLACE if name == OFFSET else name for name in part.rows.column_names]
        rows = part.rows.rename_columns(names).combine_chunks()  # it has an offset of its own there
        keys = _keys(rows)
        while keys:
            data = to_bytes(rows)
            held = self._log.append(self._topic, data, rows.num_rows, key=keys)
            if held.data == data:
                return
            missing = _missing(held, keys)
            rows, keys = rows.take(pa.array(missing, pa.int64())), [keys[place] for place in missing]

    def close(self) -> None:
        """Do nothing: the log is not its own."""


def _keys(rows: "pa.Table") -> list[str]:
    columns = (rows.column(name).to_pylist() for name in ("model", "mode", "prediction_id", PLACE))
    return ["/".join(map(str, values)) for values in zip(*columns, strict=True)]


def _missing(held: Batch, keys: Sequence[str]) -> list[int]:
    """Return the places of the keys that a batch of the topic does not hold."""
    stored = set(_keys(to_table(held)))
    return [place for place, key in enumerate(keys) if key not in stored]


class TableSink:
    """A table of the lake, which each part enters once: its commit says up to where."""

    most, every = 20_000, 10.0  # each part is a version of the table, for ever

    def __init__(self, lake: Lake, table: str, home: str = "") -> None:
        self._lake, self._table = lake, table
        # how far a table is, is a place in the log of a home
        self._writer = f"{WRITER}/{home}" if home else WRITER

    def put(self, part: Part) -> None:
        writer = f"{WRITER}/{part.id}" if part.late else self._writer
        self._lake.append(self._table, part.rows, writer=writer, upto=part.upto)

    def close(self) -> None:
        """Do nothing: the lake is not its own."""


def shown(address: str) -> str:
    """Return an address without what may be a secret in it; by this, its cursor is kept.

    Examples
    --------
    >>> shown("https://bank.example/hook?key=5"), shown("topic:decisions")
    ('https://bank.example/hook', 'topic:decisions')
    """
    return address.partition("?")[0]


def told(address: object) -> str:
    """Return what somebody gave for an address as errors tell it, without what may be secret in it.

    Examples
    --------
    >>> told("https://ann:5@bank.example/hook?key=5"), told(5)
    ('https://bank.example/hook', '5')
    """
    return re.sub("//.*@", "//", shown(one_line(str(address))))


def one_line(text: str) -> str:
    r"""Return what can be printed of a text, on one line: somebody else's may clear a screen, or read backwards.

    Examples
    --------
    >>> one_line("\x1b[2Jno\r\nthanks\u202e ")
    '[2Jno thanks'
    """
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def check_address(address: object, where: str) -> None:
    """Refuse what is no address of a sink.

    Examples
    --------
    >>> check_address("tpic:decisions", "release")
    Traceback (most recent call last):
    tenfold.core.errors.DefinitionError: release: to="tpic:decisions" is no place to deliver to. Did you mean "topic:"? ...
    """
    what = f'{where}: to="{told(address)}"'
    if not isinstance(address, str) or not address.isprintable() or " " in address:
        raise DefinitionError(f"{what} is not an address. {_EXAMPLES}")
    kind, _, rest = address.partition(":")
    if kind in ("topic", "table"):
        if not _NAME.fullmatch(rest):
            raise DefinitionError(
                f"{what}: the name is not lower-case letters, digits and underscores. {_EXAMPLES}"
            )
        if kind == "table" and len(rest) > LONGEST:
            raise DefinitionError(
                f"{what}: the name has {len(rest)} characters, and files are named after it. Use at most {LONGEST}."
            )
    elif kind in ("http", "https"):
        _check_url(address, where, what)
    else:
        raise DefinitionError(f"{what} is no place to deliver to.{suggest(f'{kind}:', _KINDS)} {_EXAMPLES}")


def _check_url(address: str, where: str, what: str) -> None:
    try:
        url = urlsplit(address)
        host, _ = url.hostname or "", url.port
        host.encode("idna")
    except ValueError:  # what it says may hold a password
        raise DefinitionError(
            f"{what} is not an address: no host, or no port, is written like that. {_EXAMPLES}"
        ) from None
    if not host or url.fragment or not address.isascii():
        raise DefinitionError(f"{what} is not an address of a service. {_EXAMPLES}")
    if url.username is not None or url.password is not None:
        raise DefinitionError(
            f"{where}: to has a password in its address. Set it in the environment as {token_name(host)}; it "
            'is sent as "Authorization: Bearer ...".'
        )
    if url.scheme == "http" and host not in LOCAL:
        raise DefinitionError(f"{what} would be sent in the clear. Write https:// for another machine.")


def token_name(host: str) -> str:
    """Return the variable of the environment that holds the token for a host.

    Examples
    --------
    >>> token_name("hooks.bank.example")
    'TENFOLD_TOKEN_HOOKS_BANK_EXAMPLE'
    """
    return "TENFOLD_TOKEN_" + re.sub("[^A-Z0-9]", "_", host.upper())


def same_name(address: str) -> str:
    """Return the name within tenfold that an address takes, empty for another service."""
    kind, _, name = address.partition(":")
    return name if kind in ("topic", "table") else ""
