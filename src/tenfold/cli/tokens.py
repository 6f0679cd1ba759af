"""Who may ask over HTTP: tokens create, list, revoke."""

from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.listed import Listed
from tenfold.cli.options import Where, as_json, by, on_project
from tenfold.cli.output import answer, line, minute, tell

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.automation.granting import Granting
    from tenfold.project import App


@click.group(cls=Listed)
def tokens() -> None:
    """Make, list and revoke the tokens with which clients of PROJECT's server ask.

    As soon as there is one, the server answers nobody without. tenfold tokens PROJECT lists.
    """


@tokens.command()
@on_project
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(["predict", "ingest", "admin"]),
    help="What it is for: predictions, events, or all else; may be given several times.",
)
@click.option(
    "--expires", metavar="DURATION", help="How long it is valid, such as 90d; for ever unless given."
)
@click.option(
    "--rate", metavar="RATE", help="How often it may ask, such as 100/s; as the server says unless given."
)
@by
@as_json
def create(
    where: Where,
    name: str,
    *,
    scopes: tuple[str, ...],
    expires: str | None,
    rate: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Make token NAME and print its secret, which is shown this once: only a hash of it is kept."""
    from tenfold.core.times import duration, iso
    from tenfold.serving.door.limits import Rate

    lasts = None if expires is None else duration(expires, name="expires")
    if rate is not None:
        Rate.of(rate)
    with where.open() as app:
        until = None if lasts is None else app.clock.now() + lasts
        secret = _granting(app).create(name, scopes, expires=until, rate=rate, by=by)
    document = {
        "name": name,
        "scopes": list(scopes),
        "expires": None if until is None else iso(until),
        "rate": rate,
        "secret": secret,
    }
    if not as_json:
        tell(f'token "{name}" for {", ".join(scopes)}; keep the secret, it is not shown again:')
    answer(document, line(secret), as_json=as_json)


@tokens.command("list")
@on_project
@as_json
def list_tokens(where: Where, *, as_json: bool) -> None:
    """List the tokens of PROJECT, also those that are not valid any more; their secrets are kept nowhere."""
    from tenfold.core.times import iso

    with where.read() as app:
        found, now = app.tokens.list(), app.clock.now()
    times = ("created", "expires", "revoked", "used")
    document = {
        "tokens": [
            {
                "name": token.name,
                "scopes": list(token.scopes),
                "state": token.state(now),
                "rate": token.rate,
                **{what: None if (at := getattr(token, what)) is None else iso(at) for what in times},
            }
            for token in found
        ]
    }

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        cells: list[list[Any]] = [
            [
                token.name,
                ", ".join(token.scopes),
                token.state(now),
                token.rate or "",
                minute(token.created),
                minute(token.expires),
                minute(token.used),
            ]
            for token in found
        ]
        if not cells:
            click.echo("no tokens: everybody on this machine may ask, and whom a proxy passes on by a --name")
            return
        table(console, "Tokens", ["name", "for", "state", "rate", "made", "expires", "last used"], cells)

    answer(document, draw, as_json=as_json)


@tokens.command()
@on_project
@click.argument("name")
@click.option("--why", default="asked for", help="The reason, for the audit log.")
@click.option(
    "--forget",
    is_flag=True,
    help="Remove it from the list too; with an empty list the server asks for no token.",
)
@by
@as_json
def revoke(where: Where, name: str, *, why: str, forget: bool, by: str, as_json: bool) -> None:
    """Make token NAME invalid, from the next request on."""
    with where.read() as app:
        _granting(app).revoke(name, by=by, why=why, forget=forget)
    done = "forgotten" if forget else "revoked"
    answer({"name": name, "state": done}, line(f'token "{name}" {done}'), as_json=as_json)


def _granting(app: "App") -> "Granting":
    from tenfold.automation.granting import Granting

    return Granting(app.database, app.tokens, app.audit)
