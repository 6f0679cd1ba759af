"""From errors to one line on stderr, or with `--json` one JSON object there, and an exit code.

0 done; 1 a gate or a check says no; 2 wrong usage or declaration; 3 not found; 5 conflict; 75 try again later;
101 a defect; 130 interrupted.
"""

import json
import os
import shlex
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tenfold.core.errors import Conflict, GateFailed, NotFound, TenfoldError, Unavailable
from tenfold.core.room import no_room, trouble_of
from tenfold.ui.markup import clean

USAGE, DEFECT, INTERRUPTED = 2, 101, 130
_CODES = {GateFailed: 1, NotFound: 3, Conflict: 5, Unavailable: 75}


@dataclass(slots=True)
class Settings:
    """What holds for the whole invocation."""

    verbose: bool = False
    project: str | None = None


def named(text: str, project: str | None) -> str:
    """Return a text whose commands name the project that was asked about, so that they can be typed as they are.

    Examples
    --------
    >>> named("See: tenfold rollout show PROJECT.py late.", "shop/project.py")
    'See: tenfold rollout show shop/project.py late.'
    >>> named("tenfold status PROJECT.py", "my shop.py")
    "tenfold status 'my shop.py'"
    """
    return text if project is None else text.replace("PROJECT.py", shlex.quote(project))


def report(
    error: Exception, *, verbose: bool = False, project: str | None = None, as_json: bool = False
) -> int:
    """Print an error on stderr and return the exit code.

    Examples
    --------
    >>> report(Unavailable("the store does not answer."))
    75
    """
    if as_json:
        code, document = _document(error, verbose=verbose, project=project)
        click.echo(document, err=True)
        return code
    if isinstance(error, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return USAGE
    if verbose and not isinstance(error, click.ClickException):
        click.echo("".join(traceback.format_exception(error)), err=True)
    code, message = told(error)
    text = "\n".join([f"error: {message}", *_notes(error)])
    click.echo(clean(named(text, project)), err=True)
    return code


def _document(error: Exception, *, verbose: bool, project: str | None) -> tuple[int, str]:
    """Return the exit code and the JSON object of an error, on one line."""
    if isinstance(error, click.Abort):
        code, message = INTERRUPTED, "interrupted"
    else:
        code, message = told(error)
    found = {"type": type(error).__name__, "message": named("\n".join([message, *_notes(error)]), project)}
    if verbose and not isinstance(error, click.ClickException):
        found["traceback"] = "".join(traceback.format_exception(error))
    return code, json.dumps({"error": found})


def told(error: Exception) -> tuple[int, str]:
    """Return the exit code of an error, and what it says."""
    if isinstance(error, click.ClickException):
        return USAGE, error.format_message()
    if isinstance(error, TenfoldError):
        return next((code for kind, code in _CODES.items() if isinstance(error, kind)), USAGE), str(error)
    if isinstance(error, OSError) and (trouble := trouble_of(error)):
        return _CODES[Unavailable], no_room(error.filename or "a file", trouble)
    if isinstance(error, PermissionError) and error.filename is not None:
        return USAGE, (
            f'this user may not write "{error.filename}", which belongs to {_owner(error.filename)}. Be that user, have all of the home '
            "given to this one (chown -R), or choose another home: --home PATH."
        )
    return DEFECT, f"internal error, {type(error).__name__}: {error}. Run it again with -v to see where."


def _owner(name: str) -> str:
    """Return the user that a file belongs to, or the nearest folder above it that may be seen; a number where he has no name here."""
    place = Path(name).absolute()
    found = next(
        one for one in (place, *place.parents) if os.path.exists(one)
    )  # False where it may not be asked
    try:
        return found.owner()
    except KeyError:  # as in a container
        return f"user {found.stat().st_uid}"


def _notes(error: Exception) -> list[str]:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return [f"help:  {error.ctx.command_path} --help"]
    return list(getattr(error, "__notes__", []))


def _set(ctx: click.Context, _: click.Parameter, value: Any) -> None:
    if value:
        ctx.obj.verbose = True


verbose = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, callback=_set, help="Show where an error came from."
)
"""The option every command takes."""
