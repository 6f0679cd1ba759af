"""Versions coming and going: models, promote, rollback, audit, replay."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.listed import Listed, cells, page, write_page
from tenfold.cli.options import (
    Where,
    as_json,
    by,
    known_model,
    known_models,
    model_of,
    on_project,
    period,
    span,
    wrong_usage,
)
from tenfold.cli.output import answer, line, minute, numbers, plural

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.automation.audit import Decision
    from tenfold.automation.replay import Day
    from tenfold.project import App
    from tenfold.training.model import Model


@click.group(cls=Listed)
def models() -> None:
    """List the versions of PROJECT, show one as a model card, or make one again.

    tenfold models PROJECT [MODEL] lists; see tenfold models list --help.
    """


@models.command("list")
@on_project
@click.argument("model", required=False)
@click.option("--history", is_flag=True, help="Show every move between stages too.")
@as_json
def list_versions(where: Where, model: str | None, *, history: bool, as_json: bool) -> None:
    """List the versions of MODEL, or of all models, with their stages."""
    from tenfold.ui.documents import event_line, version_line

    with where.read() as app:
        names = known_models(app) if model is None else [known_model(app, model)]
        versions = [version for name in names for version in app.registry.versions(name)]
        events = [event for name in names for event in app.registry.history(name)] if history else []
    document: dict[str, Any] = {"versions": [version_line(version) | version.info for version in versions]}
    if history:
        document["history"] = [event_line(event) for event in events]

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        cells = [
            [
                item.model,
                item.number,
                item.stage.value,
                item.run_id,
                minute(item.created),
                numbers(item.info["metrics"]),
            ]
            for item in versions
        ]
        table(console, "Versions", ["model", "version", "stage", "run", "created", "tested"], cells)
        if history:
            moves = [
                [
                    minute(event.at),
                    event.model,
                    event.version,
                    f"{event.from_stage} to {event.to_stage}",
                    event.by,
                    event.why,
                ]
                for event in events
            ]
            click.echo()
            table(console, "History", ["at", "model", "version", "move", "by", "why"], moves)

    answer(document, draw, as_json=as_json)


@models.command()
@on_project
@click.argument("model")
@click.argument("number", type=int)
@page
@as_json
def show(where: Where, model: str, number: int, *, html: Path | None, as_json: bool) -> None:
    """Show the card of version NUMBER of MODEL: data, metrics, slices, gates, history, and how to make it again."""
    from tenfold.ui.documents import plain
    from tenfold.ui.shown import show_version

    with where.read() as app:
        shown = show_version(app.kept, known_model(app, model), number)
    write_page(shown, html)
    answer(plain(shown.document), lambda console: _draw_card(console, shown.document), as_json=as_json)


def _draw_card(console: "Console", document: dict[str, Any]) -> None:
    from tenfold.ui.card import stage
    from tenfold.ui.markup import number
    from tenfold.ui.terminal import table

    evaluation, run = document["evaluation"], document["run_of"]
    told = {
        "stage": stage(document["stage"]),
        "period": document["period"],
        "rows learned from": document.get("rows"),
        "rows tested on": evaluation.get("rows", {}).get("test"),
        "tables": ", ".join(f"{name} {version}" for name, version in document["tables"].items()),
        "features": len(document["features"]),
        "commit": f"{run['code'].get('git', '')}{' and changes' if run['diff'] else ''}",
        "make it again": document["rebuild"],
        "problem": document["problem"],
        "look": "; ".join(evaluation.get("warnings") or []),
    }
    title = f"{document['model']} version {document['version']}, from run {document['run']}"
    table(console, title, ["", ""], cells({name: value for name, value in told.items() if value}))
    baselines = evaluation.get("baselines") or {}
    measured = [
        [name, item["value"], _interval(item), *(values.get(name) for values in baselines.values())]
        for name, item in (evaluation.get("metrics") or {}).items()
    ] or [[name, value, ""] for name, value in document.get("metrics", {}).items()]
    slices = [
        [
            f"{item['feature']} = {item['value']}",
            item["rows"],
            *(number(value["value"]) for value in item["metrics"].values()),
        ]
        for item in evaluation.get("slices") or []
    ]
    names = list(evaluation.get("metrics") or {})
    gates = [
        [one["check"], {True: "passed", False: "failed", None: "undecided"}[one["passed"]], one["why"]]
        for decided in document["gates"][-1:]
        for one in decided["evidence"].get("results") or []
    ]
    moves = [
        [minute_of(e["at"]), f"{e['from']} to {e['to']}", e["by"], e["why"]] for e in document["history"]
    ]
    parts = [
        ("Metrics on the test rows", ["metric", "value", "95 % interval", *baselines], measured),
        ("Slices", ["slice", "rows", *names], slices),
        ("Gates", ["gate", "verdict", "why"], gates),
        ("History", ["at", "move", "by", "why"], moves),
    ]
    for title, columns, lines in parts:
        if lines:
            click.echo()
            table(console, title, columns, lines)


def _interval(item: dict[str, Any]) -> str:
    from tenfold.ui.markup import number

    return "" if item.get("low") is None else f"{number(item['low'])} to {number(item['high'])}"


def minute_of(text: str) -> str:
    """Return an instant of a document for a table."""
    return text[:16].replace("T", " ")


@models.command()
@on_project
@click.argument("model")
@click.argument("number", type=int)
@click.option(
    "--restore",
    is_flag=True,
    help="Put the files back where the stored ones cannot be read, if they are the same.",
)
@as_json
@click.pass_context
def rebuild(
    ctx: click.Context, where: Where, model: str, number: int, *, restore: bool, as_json: bool
) -> None:
    """Train version NUMBER of MODEL again from the table versions it names, and compare.

    The files are the same bytes, or it says what differs and by how much: exit code 1.
    """
    from tenfold.ui.terminal import Progress

    with where.read() as app:
        chosen = model_of(app, model)
        app.registry.get(chosen.name, number)
        with Progress(app.clock) as progress:
            progress.step(f"train {chosen.name} again")
            found = app.rebuild(chosen, number, restore=restore)
    kept = {True: "; its files were put back", False: ""}[found["restored"]]
    if found["same"] and found["stored"] != "whole":
        kept = (
            f"; but the stored files cannot be read (--restore puts these in their place): {found['stored']}"
        )
    told = "the same files, byte by byte" if found["same"] else "the files differ"
    lines = [
        f"{chosen.name} version {number} (run {found['run']}): {told}{kept}",
        *(f"  {why}" for why in found["why"]),
    ]
    answer(found, line("\n".join(lines)), as_json=as_json)
    if not found["same"]:
        ctx.exit(1)


@click.command()
@on_project
@click.argument("model")
@click.argument("number", type=int)
@by
@as_json
def promote(where: Where, model: str, number: int, *, by: str, as_json: bool) -> None:
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
            why = app.promote(chosen, number, by=by)
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
@click.option("--why", default="asked for", show_default=True, help="The reason; for the audit log.")
@by
@as_json
def rollback(where: Where, model: str, *, why: str, by: str, as_json: bool) -> None:
    """Make the previous Production version of MODEL Production again."""
    with where.open() as app:
        event = app.rollback(model_of(app, model), by=by, why=why)
    document = {"model": model, "version": event.version, "stage": "production", "why": why}
    answer(document, line(f"{model} version {event.version} is in production again: {why}"), as_json=as_json)


@click.command()
@on_project
@click.option("--subject", help='Only decisions on this, for example "late_departure/3".')
@click.option("--kind", help='Only decisions of this kind: "gate", "monitor" or "rollback".')
@click.option("--limit", default=20, show_default=True, help="Most decisions to show.")
@as_json
def audit(where: Where, *, subject: str | None, kind: str | None, limit: int, as_json: bool) -> None:
    """List the newest decisions, oldest of them first: what was decided, by whom or what, and why."""
    with where.read() as app:
        found = app.audit.list(subject, kind, limit)

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        cells = [
            [minute(item.at), item.kind, item.subject, item.decision, item.by, item.why] for item in found
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
