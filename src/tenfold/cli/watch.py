"""How it goes: monitor, skew, status."""

from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.deliver import lines, waiting
from tenfold.cli.options import Where, as_json, model_of, on_project, period, span
from tenfold.cli.output import answer, minute, plural, reasons
from tenfold.cli.releases import decision
from tenfold.cli.rollout import last_decided, missing, standing, stands, to_do

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.project import App


@click.command()
@on_project
@click.argument("model", required=False)
@period(required=False)
@click.option("--window", default="7d", show_default=True, help="How much before END is compared for drift.")
@as_json
def monitor(
    where: Where, model: str | None, *, start: str | None, end: str | None, window: str, as_json: bool
) -> None:
    """Show how served predictions did per week, and which features drift from what Production was trained on.

    Drift is ordered by importance times drift. It is a reason to look, never a reason to retrain by itself.
    """
    from tenfold.core.times import duration, iso
    from tenfold.monitoring.performance import weekly
    from tenfold.monitoring.report import MONDAY, drift

    with where.read() as app:
        chosen = model_of(app, model)
        first, last = span(start, end, until=app.clock.now())
        app.flush()
        weeks = weekly(chosen, app.matured(chosen, first, last), first or MONDAY)
        production = app.versions.production(chosen)
        drifted = drift(app.lake, production, last - duration(window, name="window"), last)
    document = {
        "model": chosen.name,
        "weeks": [
            {
                "start": iso(week.start),
                "rows": week.rows,
                "predicted": week.predicted,
                "happened": week.happened,
                "metrics": week.metrics,
                "no_number": week.no_number,
            }
            for week in weeks
        ],
        "drift": {
            "version": drifted.version,
            "start": iso(drifted.start),
            "end": iso(drifted.end),
            "rows": drifted.rows,
            "features": drifted.features,
        },
    }

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        gaps = any(week.no_number for week in weeks)
        cells = [
            [
                minute(week.start)[:10],
                week.rows,
                *([week.no_number] if gaps else []),
                week.predicted,
                week.happened,
                *(week.metrics[name] for name in chosen.metrics),
            ]
            for week in weeks
        ]
        table(
            console,
            f"{chosen.name} by week",
            ["week of", "rows", *(["no number"] if gaps else []), "predicted", "happened", *chosen.metrics],
            cells,
        )
        features = [
            [row["feature"], row["importance"], row["psi"], row["threshold"], row["verdict"]]
            for row in drifted.features
        ]
        title = f"Drift of {plural(drifted.rows, 'prediction')} by version {drifted.version} since {minute(drifted.start)}"
        click.echo()
        table(console, title, ["feature", "importance", "psi", "threshold", "verdict"], features)

    answer(document, draw, as_json=as_json)


@click.command()
@on_project
@click.argument("model", required=False)
@period(required=False)
@as_json
@click.pass_context
def skew(
    ctx: click.Context, where: Where, model: str | None, *, start: str | None, end: str | None, as_json: bool
) -> None:
    """Recompute every feature value served online and compare its bits; exit code 1 when one differs."""
    from tenfold.core.times import FOREVER

    first, last = span(start, end, until=FOREVER // 4)
    with where.read() as app:
        chosen = model_of(app, model)
        app.flush()
        found = app.skew(chosen, first, last)
    document = {
        "model": chosen.name,
        "rows": found.rows,
        "values": found.cells,
        "mismatches": found.mismatches,
        "features": found.features,
        "left": found.left,
    }

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        served = plural(found.rows, "prediction")
        title = f"{chosen.name}: {found.mismatches:,} of {found.cells:,} values in {served} differ"
        if not found.rows + found.left:
            click.echo(f"{chosen.name}: nothing was served in this period")
        elif found.features:
            table(console, title, ["feature", "mismatches"], list(map(list, found.features.items())))
        else:
            click.echo(title)
        if found.left:
            click.echo(
                f"{plural(found.left, 'more prediction')} by versions that do not fit what is declared now or are damaged, "
                "not compared"
            )

    answer(document, draw, as_json=as_json)
    if found.mismatches:
        ctx.exit(1)


@click.command()
@on_project
@as_json
def status(where: Where, *, as_json: bool) -> None:
    """Show per topic how much is in the log, in online states and in the lake; versions; rollouts; the last decision."""
    from tenfold.core.times import iso

    with where.read() as app:
        topics, wrong = _topics(app), _wrong(app)
        production = {
            release.model.name: app.registry.production(release.model.name)
            for release in app.project.releases
        }
        newest = app.audit.list(limit=1)
        rolling = [
            (seen, last_decided(app, seen.rollout))
            for name in production
            if (seen := app.rollout(name).show(outcomes=False)) is not None
        ]
        places = [waiting(delivery) for delivery in app.deliveries]
        states = {release.model.name: app.schedule(release).state() for release in app.project.releases}
        scored = {name: state for name, state in states.items() if state is not None}
        away = missing(where, app, "worker", "controller")
        stuck = [f"{run.id} ({run.kind}: {run.cause})" for run in app.journal.stuck()]
        document = {
            "project": app.project.name,
            "home": str(where.home),
            "now": iso(app.clock.now()),
            "topics": topics,
            "wrong": wrong,
            "production": {name: None if item is None else item.number for name, item in production.items()},
            "rollouts": {seen.rollout.model: standing(where, seen, last) for seen, last in rolling},
            "last_decision": decision(newest[0]) if newest else None,
            "scored": scored,
            "stuck": stuck,
            "missing": away,
            "deliveries": places,
        }

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        cells = [[item["topic"], item["log"], item["states"], item["lake"]] for item in topics]
        title = f"{document['project']} at {document['home']}, {document['now']}"
        table(console, title, ["topic", "in the log", "in states", "in the lake"], cells)
        for name, item in production.items():
            told = "none" if item is None else f"version {item.number}, from run {item.run_id}"
            click.echo(f"\nProduction of {name}: {told}")
        for seen, last in rolling:
            found = seen.rollout
            beside = f"version {found.candidate} beside version {found.champion}"
            click.echo(f"\nRollout of {found.model}: {beside}, {stands(found)} since {minute(found.since)}")
            if last is not None:
                click.echo(reasons(f"  last decided: {last.decision} by {last.by}", where.named(last.why)))
            if seen.unasked is not None:
                click.echo(f"  the champion cannot be asked: {seen.unasked}")
            click.echo(f"  to do: {where.named(to_do(seen))}")
        for name, state in scored.items():
            until = f"up to {state['until']}" if state["until"] else "nothing yet"
            click.echo(f"Scored of {name}, every {state['every']}: {until}")
        for last in newest:
            if all(last != told for _, told in rolling):
                head = f"Last decision: {minute(last.at)} {last.subject} {last.decision} by {last.by}"
                click.echo(reasons(head, where.named(last.why)))
        idle = [f"Nobody works on durable run {run}; tenfold run goes on with it." for run in stuck]
        for text in (*wrong, *lines(places), *away, *idle):
            click.echo(text)

    answer(document, draw, as_json=as_json)


def _wrong(app: "App") -> list[str]:
    """Return why the log cannot be the one that the rest was made of, or a source not declared as it is, if so."""
    from tenfold.core.errors import DefinitionError
    from tenfold.store.whole import OtherLog

    try:
        app.check_log()
        app.check_declared()
    except (OtherLog, DefinitionError) as error:
        return [str(error)]
    return []


def _topics(app: "App") -> list[dict[str, Any]]:
    """Return the records per topic; `states` is None where no view keeps state of it."""
    from tenfold.serving.answer.predictions import TOPIC
    from tenfold.store.base import SINK
    from tenfold.store.online import group_name

    ends, offsets = app.log.ends().offsets, app.online.offsets()
    reached: dict[str, int] = {}
    for view in app.project.views.values():
        if view.entity is not None:
            topic, offset = view.source.root.name, offsets.get(group_name(view), 0)
            reached[topic] = min(offset, reached.get(topic, offset))
    return [
        {
            "topic": topic,
            "log": ends.get(topic, 0),
            "states": reached.get(topic),
            "lake": app.lake.position(topic, SINK),
        }
        for topic in (*app.project.sources, TOPIC)
    ]
