"""Other systems: mirror, which shows runs and versions there, and import, which takes them over from there."""

import threading
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Where, as_json, on_project, on_signals
from tenfold.cli.output import answer, plural, tell
from tenfold.cli.processes import its_turn, ready, supervised

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.automation.outbox import Outbox


@click.command()
@on_project
@click.option("--look", is_flag=True, help="Only say what is behind; send nothing.")
@click.option("--again", is_flag=True, help="Try once more what a mirror refused.")
@click.option("--follow", is_flag=True, help="Go on sending what is new until interrupted.")
@as_json
@supervised
@click.pass_context
def mirror(ctx: click.Context, where: Where, *, look: bool, again: bool, follow: bool, as_json: bool) -> None:
    """Send runs, versions and stages to the mirrors of PROJECT's platform, and say what is still behind.

    Exit code 75 when a mirror does not answer: nothing is lost, and nothing waits for it; 1 when it refused something.
    """
    from tenfold.automation.outbox import follow as keep_sending
    from tenfold.core.errors import DefinitionError

    with where.open() if follow else where.read() as app:
        if not app.elsewhere.outboxes:
            raise DefinitionError(
                f'"{where.target}" names no mirror. Write in it, for example: '
                'platform = Platform(mirrors=[MLflowMirror("http://127.0.0.1:5000")]).'
            )
        if follow:
            stopped = threading.Event()
            with on_signals(stopped.set):
                ready()
                if its_turn(stopped.is_set):
                    names = ", ".join(box.mirror.name for box in app.elsewhere.outboxes)
                    tell(f"showing {app.project.name} in {names}")
                    keep_sending(app.elsewhere.outboxes, app.clock, stopped.is_set, tell=tell)
            return
        found = [_send(outbox, again=again, look=look) for outbox in app.elsewhere.outboxes]
    answer({"mirrors": found}, lambda console: _draw(console, found), as_json=as_json)
    if not look and any(item["problem"] for item in found):
        ctx.exit(75)
    if any(item["refused"] for item in found):
        ctx.exit(1)


def _send(outbox: "Outbox", *, again: bool, look: bool) -> dict[str, Any]:
    from tenfold.core.errors import Unavailable

    sent, problem = 0, ""
    try:
        sent = 0 if look else outbox.send(again=again)
    except Unavailable as error:
        problem = str(error)
    behind = outbox.behind()
    return {
        "mirror": behind.mirror,
        "sent": sent,
        "behind": {
            "runs": behind.runs,
            "versions": behind.versions,
            "models moved": behind.models,
            "runs with notes or tags": behind.notes,
        },
        "refused": behind.refused,
        "problem": problem,
    }


def _draw(console: "Console", found: list[dict[str, Any]]) -> None:
    from tenfold.ui.terminal import table

    cells = [[item["mirror"], item["sent"], *item["behind"].values(), item["problem"]] for item in found]
    names = ["mirror", "sent", *(f"{name} behind" for name in found[0]["behind"]), "problem"]
    table(console, "Mirrors", names, cells)
    refused = [[item["mirror"], what, why] for item in found for what, why in item["refused"].items()]
    if refused:
        click.echo()
        table(console, "Refused", ["mirror", "what", "why"], refused)


@click.command("import")
@on_project
@click.argument("system")
@click.argument("url")
@click.argument("experiments", nargs=-1)
@as_json
def import_(where: Where, system: str, url: str, experiments: tuple[str, ...], *, as_json: bool) -> None:
    """Take over the runs and versions of SYSTEM at URL into PROJECT: of EXPERIMENTS, or of all.

    SYSTEM is the name of an adapter, such as mlflow. What is here already is left alone. Files of models are taken where
    they are in a format that is safe to load; of the others, and of other artefacts, only the names.
    """
    source = _adapter(system).Source(url)
    with where.open() as app:
        taken = app.elsewhere.take(source, experiments)
    document = {"runs": taken.runs, "versions": taken.versions, "known": taken.known, "notes": taken.notes}

    def draw(_: "Console") -> None:
        made = f"{plural(len(taken.runs), 'run')} and {plural(len(taken.versions), 'version')}"
        click.echo(f"took over {made}; {taken.known:,} were here already")
        for note in taken.notes:
            click.echo(f"  {note}")

    answer(document, draw, as_json=as_json)


def _adapter(name: str) -> Any:
    """Import the adapter that the user named; NotFound names the others."""
    import pkgutil
    from importlib import import_module

    from tenfold.core.errors import NotFound

    package = import_module("tenfold.adapters")
    known = [module.name for module in pkgutil.iter_modules(package.__path__)]
    if name not in known:
        raise NotFound("adapter", name, known)
    adapter = import_module(f"tenfold.adapters.{name}")
    if not hasattr(adapter, "Source"):
        raise NotFound("adapter to import from", name, ["mlflow"])
    return adapter
