"""A candidate on its way to Production: show, approve, pause, resume, undo."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Where, as_json, by, model_of, on_project
from tenfold.cli.output import answer, line, minute

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.automation.rollout import Standing
    from tenfold.registry.rollouts import Rollout


@click.group()
def rollout() -> None:
    """Show a candidate on its way to Production, or decide about it: approve, pause, resume, undo.

    Each takes PROJECT, and MODEL where there are several.
    """


@rollout.command()
@on_project
@click.argument("model", required=False)
@as_json
def show(where: Where, model: str | None, *, as_json: bool) -> None:
    """Show where the newest rollout of MODEL stands, and what the evidence says now."""
    with where.read() as app:
        chosen = model_of(app, model)
        standing, production = app.rollout(chosen).show(), app.registry.production(chosen.name)
        number = None if production is None else production.number
        told = [] if standing is None else _told(standing, number)
        document = {
            "model": chosen.name,
            "production": number,
            "rollout": None if standing is None else _standing(standing),
        }

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        if not told:
            click.echo(f"{chosen.name} has had no rollout yet")
            return
        table(console, f"Rollout of {chosen.name}", ["what", "value"], told)

    answer(document, draw, as_json=as_json)


def _add(name: str, text: str, done: str, follows: str) -> None:
    """Add a command by which a person decides; `follows` says what comes of it."""

    def command(where: Where, model: str | None, *, why: str, by: str, as_json: bool) -> None:
        with where.open() as app:
            rolling = app.rollout(model_of(app, model))
            act: Callable[..., Rollout] = getattr(rolling, name)
            after = act(by=by, why=why)
        stands = "" if after.where == done else f", {after.where}"
        comes = follows.format(target=where.target, model=after.model, champion=after.champion)
        text = f"{after.model} version {after.candidate}: {done}{stands}; {comes}"
        answer({"model": after.model, "rollout": _rollout(after)}, line(text), as_json=as_json)

    command.__doc__ = text
    why = click.option("--why", default="asked for", show_default=True, help="The reason; for the audit log.")
    model = click.argument("model", required=False)
    rollout.command(name)(on_project(model(why(by(as_json(command))))))


_add(
    "approve",
    "Agree to the promotion of the candidate of MODEL.",
    "approved",
    "it is promoted when its steps are over and nothing speaks against it",
)
_add(
    "pause",
    "Let the candidate of MODEL go no further.",
    "paused",
    "it goes no further until: tenfold rollout resume {target} {model}",
)
_add(
    "resume",
    "Let the candidate of MODEL go on; the time of its present step begins again.",
    "resumed",
    "the time of this step begins again",
)
_add(
    "undo",
    "End the rollout of MODEL, or take back its promotion; the champion answers everything.",
    "undone",
    "version {champion} answers everything",
)


def _told(standing: "Standing", production: int | None) -> list[list[str]]:
    """Return the rows of a table; the version in production may be another one than the rollout left, after a rollback."""
    from tenfold.registry.rollouts import DONE

    found, decision = standing.rollout, standing.decision
    notes = [
        *(["paused"] if found.paused else []),
        *([f"approved by {found.approved}"] if found.approved else []),
        *(["held: its time is over and something is missing"] if found.held else []),
    ]
    rows = [
        ["candidate", f"version {found.candidate}"],
        ["champion", f"version {found.champion}"],
        ["in production", "none" if production is None else f"version {production}"],
        ["where", ", ".join(["promoted" if found.phase == DONE else found.where, *notes])],
        ["since", minute(found.since)],
    ]
    if decision is not None:
        rows += [["now", f"{decision.action}: {decision.why}"]]
        rows += [_evidence(name, value) for name, value in decision.evidence.items()]
    return rows


def _evidence(name: str, value: Any) -> list[str]:
    """Return a row about evidence; a bet against the candidate says from which amount on it decides."""
    from tenfold.automation.deciding import ALPHA, FAILS, SLOW, WORSE

    bets = {
        "fails": ("it fails too often", FAILS),
        "slow": ("it is too slow", SLOW),
        "worse": ("it is worse", WORSE),
        "not_worse": ("it is not worse", ALPHA),
    }
    if name not in bets:
        return [name.replace("_", " "), _number(value)]
    told, error = bets[name]
    return [f"evidence that {told}", f"{_number(float(value))}, enough at {1 / error:,.0f}"]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def _rollout(found: "Rollout") -> dict[str, Any]:
    from tenfold.core.times import iso

    return {
        "id": found.id,
        "candidate": found.candidate,
        "champion": found.champion,
        "phase": found.phase,
        "share": found.share,
        "begun": iso(found.begun),
        "since": iso(found.since),
        "paused": found.paused,
        "approved": found.approved,
        "held": found.held,
        "seq": found.seq,
    }


def _standing(standing: "Standing") -> dict[str, Any]:
    decision = standing.decision
    now = (
        None
        if decision is None
        else {"action": decision.action, "why": decision.why, "evidence": dict(decision.evidence)}
    )
    return {**_rollout(standing.rollout), "now": now}
