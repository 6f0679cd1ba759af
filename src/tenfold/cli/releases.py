"""Versions coming and going: promote, rollback, audit, replay."""

from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import (
    Where,
    as_json,
    by,
    model_of,
    on_project,
    period,
    span,
    wrong_usage,
)
from tenfold.cli.output import answer, line, minute, plural
from tenfold.core.errors import suggest

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.automation.audit import Decision
    from tenfold.automation.replay import Day
    from tenfold.project import App
    from tenfold.training.model import Model


@click.command()
@on_project
@click.argument("model")
@click.argument("number", type=int)
@click.option("--as-of", metavar="TIME", help="Judge as of this moment; needed when the data ended long ago.")
@by
@as_json
def promote(where: Where, model: str, number: int, *, as_of: str | None, by: str, as_json: bool) -> None:
    """Judge version NUMBER of MODEL by the release's gates; promote it, or say why not with exit code 1.

    Where the release has shadow= or canary=, its rollout begins instead: see tenfold rollout show.
    """
    with where.open() as app:
        chosen = model_of(app, model)
        champion = app.registry.production(chosen.name)
        if champion is not None and champion.number == number:
            why, text = "already in production", f"{model} version {number} is already in production"
        else:
            app.flush()
            why = app.promote(chosen, number, by=by, as_of=as_of)
            text = f"{model} version {number} is in production: {why}"
        stage = app.registry.get(chosen.name, number).stage.value
        begun = app.rollouts.open(chosen.name)
    if begun is not None and begun.candidate == number:
        text = f"{model} version {number} began its rollout in {begun.where}: {why}"
    document = {"model": model, "version": number, "stage": stage, "why": why}
    answer(document, line(text), as_json=as_json)


@click.command()
@on_project
@click.argument("model")
@click.option(
    "--to", type=int, help="Which version, of those that were Production before; unless given, the previous."
)
@click.option("--why", default="asked for", show_default=True, help="The reason; for the audit log.")
@by
@as_json
def rollback(where: Where, model: str, *, to: int | None, why: str, by: str, as_json: bool) -> None:
    """Make the previous Production version of MODEL Production again, or the one that --to names, also a later one."""
    with where.open() as app:
        chosen = model_of(app, model)
        left = app.registry.production(chosen.name)
        event = app.rollback(chosen, to=to, by=by, why=why)
    document = {"model": model, "version": event.version, "stage": "production", "why": why}
    text = f"{model} version {event.version} is in production again: {why}"
    if left is not None:
        text += f"\nversion {left.number} comes back with: tenfold rollback {where.target} {model} --to {left.number}"
    answer(document, line(text), as_json=as_json)


@click.command()
@on_project
@click.option("--subject", help='Only decisions on this, for example "late_departure/3".')
@click.option(
    "--kind",
    help='Only decisions of this kind: "gate", "monitor", "rollback", "rollout", "score", "token" or "training".',
)
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Most decisions to show."
)
@as_json
def audit(where: Where, *, subject: str | None, kind: str | None, limit: int, as_json: bool) -> None:
    """List the newest decisions, oldest of them first: what was decided, by whom or what, and why."""
    from tenfold.automation.audit import KINDS

    if kind not in (None, *KINDS):
        raise wrong_usage(f'no kind of decision "{kind}".{suggest(kind, KINDS)}')
    with where.read() as app:
        found = app.audit.list(subject, kind, limit)

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        cells = [
            [minute(item.at), item.kind, item.subject, item.decision, item.by, where.named(item.why)]
            for item in found
        ]
        table(console, "Decisions", ["at", "kind", "subject", "decision", "by", "why"], cells)

    answer({"decisions": [decision(item) for item in found]}, draw, as_json=as_json)


@click.command()
@on_project
@period(required=True)
@click.option("--model", help="Which model, when there are several.")
@click.option("--yes", is_flag=True, help="Replay in a home that has a version in Production.")
@as_json
def replay(where: Where, *, start: str, end: str, model: str | None, yes: bool, as_json: bool) -> None:
    """Run the history from START to END through scoring, late labels, monitors, retraining, gates and promotion.

    The clock is set to each day in turn. When no version is in Production at START, the first one is trained then.

    What history decides is written into the home as if it had just been decided. A home that has a version in
    Production is therefore refused without --yes: copy it, or name a new one with --home. END cannot be after the
    present.
    """
    from tenfold.core.clock import SharedClock, SystemClock, VirtualClock
    from tenfold.core.times import iso

    first, last = span(start, end, until=0)
    if last > SystemClock().now():
        raise wrong_usage(f"a replay runs history, and its end {iso(last)} is after the present.")
    clock = VirtualClock(first) if where.clock is None else SharedClock(where.clock)
    with where.open(clock=clock) as app:
        chosen = model_of(app, model)
        if not yes and where.clock is None:
            _check_not_live(where, app)
        clock.set(first)
        app.flush()
        _bootstrap(app, chosen, first)
        days = _replayed(app, chosen, first, last)
        production = app.registry.production(chosen.name)
    scored, trainings = sum(day.scored for day in days), [cause for day in days for cause in day.trainings]
    document = {
        "model": chosen.name,
        "days": [{"day": day.text, "scored": day.scored, "trainings": day.trainings} for day in days],
        "scored": scored,
        "production": None if production is None else production.number,
    }
    text = (
        f"{plural(len(days), 'day')}: {plural(scored, 'row')} scored, {plural(len(trainings), 'training')}, "
        f"version {document['production']} in production"
    )
    answer(document, line(text), as_json=as_json)


def _check_not_live(where: Where, app: "App") -> None:
    for release in app.project.releases:
        champion = app.registry.production(release.model.name)
        if champion is not None:
            raise wrong_usage(
                f'"{where.home}" has {champion.model} version {champion.number} in production, and a replay would write '
                "history's decisions there. Copy the home and name the copy, or name a new one: --home PATH. "
                "To replay here all the same, for example to go on with a replay: --yes."
            )


def _bootstrap(app: "App", model: "Model", start: int) -> None:
    from tenfold.core.errors import GateFailed
    from tenfold.core.times import iso

    if app.registry.production(model.name) is not None:
        return
    loop = app.loop(app.project.release(model.name))
    gate = loop.retrain(f"replay/{model.name}/{iso(start)}", "first version of a replay")["gate"]
    if not gate["passed"]:
        raise GateFailed(f"the first version of {model.name} was refused: {gate['why']}", gate["results"])


def _replayed(app: "App", model: "Model", start: int, end: int) -> "list[Day]":
    """Replay all days, with one step of progress per week."""
    from tenfold.core.times import UNITS, iso
    from tenfold.ui.terminal import Progress

    days: list[Day] = []
    with Progress(app.clock) as progress:
        for day in app.replay(start, end, model.name):
            if len(days) % 7 == 0:
                left = -(-(end - day.start) // UNITS["d"])
                step = progress.step(f"week of {iso(day.start)[:10]}", total=min(7, left))
            step.advance()
            days.append(day)
    return days


def decision(item: "Decision") -> dict[str, Any]:
    """Return a decision as JSON values."""
    from tenfold.core.times import iso

    return {
        "at": iso(item.at),
        "kind": item.kind,
        "subject": item.subject,
        "decision": item.decision,
        "by": item.by,
        "why": item.why,
        "evidence": item.evidence,
    }
