"""Answers on their way downstream: deliver, which sends them to the places that releases name."""

import threading
import traceback
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.errors import told
from tenfold.cli.options import Where, as_json, on_project, on_signals
from tenfold.cli.output import answer, plural, tell
from tenfold.cli.processes import its_turn, ready, supervised

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.automation.deliver import Delivery
    from tenfold.project import App


@click.command()
@on_project
@click.option("--look", is_flag=True, help="Only say what waits; send nothing.")
@click.option("--again", is_flag=True, help="Send once more what was refused.")
@click.option("--from-now", is_flag=True, help="Leave out what was answered so far; for a place that is new.")
@click.option("--to", "only", help="Only this place; all that releases name unless given.")
@click.option("--follow", is_flag=True, help="Go on sending what is new until interrupted.")
@as_json
@supervised
@click.pass_context
def deliver(
    ctx: click.Context,
    where: Where,
    *,
    look: bool,
    again: bool,
    from_now: bool,
    only: str | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Send answers to the places that the releases of PROJECT name, and say what still waits.

    Exit code 75 when a place does not answer: nothing is lost, and no request waits for it; 1 when it refused something.
    What goes wrong at one place keeps none of the others waiting; the exit code is that of the first.
    """
    from tenfold.automation.deliver import follow as keep_sending

    with where.open() if follow else where.read() as app:
        chosen = _chosen(app, where.target, only)
        if from_now:
            for delivery in chosen:
                delivery.skip()
        if follow:
            stopped = threading.Event()
            with on_signals(stopped.set):
                ready()
                if its_turn(stopped.is_set):
                    tell(f"delivering to {', '.join(delivery.name for delivery in chosen)}")
                    keep_sending(chosen, app.clock, stopped.is_set, tell=tell)
            return
        done = [_send(delivery, again=again, look=look, verbose=ctx.obj.verbose) for delivery in chosen]
    found = [item for item, _ in done]
    answer({"places": found}, lambda console: _draw(console, found), as_json=as_json)
    if code := next((code for _, code in done if code), int(any(item["refused"] for item in found))):
        ctx.exit(code)


def _chosen(app: "App", target: str, only: str | None) -> "list[Delivery]":
    from tenfold.automation import sinks
    from tenfold.core.errors import DefinitionError, NotFound

    known = {delivery.name: delivery for delivery in app.deliveries}
    if not known:
        raise DefinitionError(
            f'no release of "{target}" names a place to deliver to. Write in one, for example: to=["topic:decisions"].'
        )
    if only is None:
        return list(known.values())
    if sinks.shown(only) not in known:
        raise NotFound("place", sinks.told(only), known)
    return [known[sinks.shown(only)]]


def _send(delivery: "Delivery", *, again: bool, look: bool, verbose: bool) -> tuple[dict[str, Any], int]:
    """Return what became of a place, and the exit code: whatever is wrong with it, the others come next."""
    sent, problem, code = 0, "", 0
    try:
        sent = 0 if look else delivery.send(again=again)
    except Exception as error:  # noqa: BLE001 - it is told with the places
        code, problem = told(error)
        if verbose:
            tell("".join(traceback.format_exception(error)))
    found = waiting(delivery)
    return {**found, "sent": sent, "problem": problem or found["problem"]}, code


def waiting(delivery: "Delivery") -> dict[str, Any]:
    """Return what waits for a place, and what it refused, by reason; `problem` says why the first cannot be told."""
    found = delivery.waiting()
    return {
        "to": found.sink,
        "waiting": found.answers,
        "refused": found.refused,
        "problem": found.problem,
    }


def lines(places: list[dict[str, Any]]) -> list[str]:
    """Return what is to be said of places, a line each, which names the place once.

    Examples
    --------
    >>> refused = {"https://a.example/b answered 403.": 5}
    >>> lines([{"to": "https://a.example/b", "waiting": 2, "refused": refused, "problem": ""}])
    ['https://a.example/b: at most 2 answers wait, 5 answers were refused: it answered 403.']
    >>> lines([{"to": "topic:b", "waiting": 1, "refused": {"no.": 1}, "problem": ""}])
    ['topic:b: at most 1 answer waits, 1 answer was refused: no.']
    >>> lines(
    ...     [
    ...         {
    ...             "to": "topic:b",
    ...             "waiting": 0,
    ...             "refused": {},
    ...             "problem": "topic:b was sent answers of another log.",
    ...         }
    ...     ]
    ... )
    ['topic:b was sent answers of another log']
    """
    return [
        ", ".join(
            [
                item["problem"].rstrip(".") or f"{item['to']}: {_waits(item['waiting'])}",
                *(
                    f"{plural(count, 'answer')} {'was' if count == 1 else 'were'} refused: {why.replace(item['to'], 'it', 1)}"
                    for why, count in item["refused"].items()
                ),
            ]
        )
        for item in places
    ]


def _waits(count: int) -> str:
    return f"at most {plural(count, 'answer')} wait{'s' if count == 1 else ''}" if count else "nothing waits"


def _draw(console: "Console", found: list[dict[str, Any]]) -> None:
    from tenfold.ui.terminal import table

    cells = [
        [item["to"], item["sent"], item["waiting"], sum(item["refused"].values()), item["problem"]]
        for item in found
    ]
    table(console, "Answers downstream", ["to", "sent", "waiting", "refused", "problem"], cells)
    for item in found:
        for why, count in item["refused"].items():
            click.echo(f"{plural(count, 'answer')} refused: {why}")
