"""A command that lists, and has commands below it: `tenfold runs PROJECT`, `tenfold runs show PROJECT RUN`."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import wrong_usage
from tenfold.cli.output import tell
from tenfold.core.errors import suggest

if TYPE_CHECKING:
    from tenfold.ui.shown import Shown

LIST = "list"


class Listed(click.Group):
    """A group whose first word is a command, or else the project of its `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Add `list` where no command is named; a word that is nearly one is a mistake."""
        first = args[0] if args else ""
        if first not in {*self.commands, *ctx.help_option_names}:
            if difflib.get_close_matches(first, self.commands, n=1) and not Path(first).exists():
                raise click.UsageError(f'no command "{first}".{suggest(first, self.commands)}', ctx)
            args = [LIST, *args]
        return super().parse_args(ctx, args)


page = click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write a page to this file: it needs nothing else, and loads nothing.",
)


def write_page(shown: "Shown", html: Path | None) -> None:
    """Write the page of something shown, when one is asked for, and say where."""
    if html is not None:
        try:
            shown.save(html)
        except OSError as error:
            raise wrong_usage(f'"{html}" cannot be written: {error.strerror}.') from error
        tell(f"wrote {html}")


def cells(pairs: Any) -> list[list[Any]]:
    """Return a mapping as rows of a table, in words."""
    from tenfold.ui.evaluated import shown

    return [[name, shown(value)] for name, value in pairs.items()]
