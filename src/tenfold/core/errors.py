"""Every error tenfold raises on purpose.

TenfoldError
├── DefinitionError (ValueError)   the author of a declaration must change it
│   ├── UnknownFunction            an expression has no function of that name
│   └── Inexact                    a window holds more than can be summed exactly
├── SchemaError (ValueError)       data does not fit its declaration
│   └── OtherKind                  a version predicts something else than is declared now
├── NotFound (LookupError)         the caller asked for something that does not exist
├── Conflict                       somebody else changed it first; look again and retry
├── Unavailable                    an engine did not answer; nothing was changed, retry
├── GateFailed                     a version was refused; a result, not a fault
└── MissingExtra (ImportError)     a package is missing; the message says what to install
"""

import difflib
from collections.abc import Iterable
from typing import Any

LONGEST = 200
"""Characters of a name that are compared with others: a client may send a million, each of which takes time."""


class TenfoldError(Exception):
    """Parent of every error raised on purpose; the message says what to do."""


class DefinitionError(TenfoldError, ValueError):
    """A declaration is wrong, found where it is written."""


class UnknownFunction(DefinitionError, AttributeError):
    """An expression has no function of that name."""


class Inexact(DefinitionError):
    """Windows hold more than can be summed exactly; `rows` says at which of the questions of a call."""

    def __init__(self, message: str, rows: Any = ()) -> None:
        self.rows = rows
        super().__init__(message)

    def of(self, who: str) -> "Inexact":
        """Return the same, with whose windows they are."""
        return Inexact(f"{who}: {self}", self.rows)


class SchemaError(TenfoldError, ValueError):
    """Data does not fit its declaration; `reasons` counts the reasons."""

    def __init__(self, message: str, reasons: dict[str, int] | None = None) -> None:
        self.reasons = reasons or {}
        super().__init__(message)


class OtherKind(SchemaError):
    """A version was trained to predict something else than its model is declared to predict now."""


class FilesGone(SchemaError):
    """The stored files of a version are gone, here at least."""


class NotFound(TenfoldError, LookupError):
    """A name that is not known, with the nearest one that is, or with `hint`, which says what to do instead.

    Examples
    --------
    >>> print(NotFound("feature", "spend_1hr", ["spend_1h"], within='feature view "card"'))
    no feature "spend_1hr" in feature view "card". Did you mean "spend_1h"? Known: spend_1h.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], *, within: str = "", hint: str = ""
    ) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        where = f" in {within}" if within else ""
        super().__init__(f'no {kind} "{name}"{where}.{hint or suggest(name, self.known)}')


class Conflict(TenfoldError):
    """Somebody else changed it first; nothing was changed here."""


class Unavailable(TenfoldError):
    """An engine did not answer in time; nothing was changed, it is safe to retry."""


class FilesElsewhere(Unavailable):
    """The stored files of a version are gone here, while another home that shares the state has them."""


class DiskFailed(Unavailable):
    """A disk is full, may only be read or has errors; the message says so where something may be stored all the same."""


class GateFailed(TenfoldError):
    """A version was refused by a gate; `results` holds each check's evidence."""

    def __init__(self, message: str, results: list[dict[str, object]] | None = None) -> None:
        self.results = results or []
        super().__init__(message)


class MissingExtra(TenfoldError, ImportError):
    """A package that only this part needs is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs an extra package. Run: pip install "tenfold[{extra}]"')


def suggest(name: str, known: Iterable[str], limit: int = 8) -> str:
    """Return the second half of a "not found" message.

    Examples
    --------
    >>> suggest("amout", ["amount", "country"])
    ' Did you mean "amount"? Known: amount, country.'
    """
    names = sorted(known)
    if not names:
        return " None are defined yet."
    close = difflib.get_close_matches(name[:LONGEST], names, n=1)
    hint = f' Did you mean "{close[0]}"?' if close else ""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{hint} Known: {', '.join(names[:limit])}{more}."
