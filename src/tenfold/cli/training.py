"""Training and what it left behind: train, runs, rebuild."""

from typing import TYPE_CHECKING

import click

from tenfold.cli.options import Where, as_json, model_of, on_project
from tenfold.cli.output import answer, line, minute, numbers

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.tracking.runs import Run


@click.command()
@on_project
@click.argument("model", required=False)
@click.option(
    "--as-of", metavar="TIME", help="Train as if it were this moment; needed when the data ended long ago."
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="How many fit the trials of a search; one per core unless given.",
)
@as_json
def train(
    where: Where, model: str | None, *, as_of: str | None, processes: int | None, as_json: bool
) -> None:
    """Train a version of MODEL on everything in the log that is mature; it is registered, not yet promoted.

    Interrupted, the same command goes on at the first unfinished step.
    """
    from tenfold.ui.terminal import Progress

    with where.open() as app, Progress(app.clock) as progress:
        chosen = model_of(app, model)
        progress.step("read the log")
        app.flush()
        version = app.train(chosen, as_of=as_of, watch=progress, processes=processes)
    metrics = version.info["metrics"]
    document = {
        "model": version.model,
        "version": version.number,
        "run": version.run_id,
        "rows": version.info["rows"],
        "period": version.info["period"],
        "metrics": metrics,
    }
    text = f"{version.model} version {version.number} ({version.run_id}): {numbers(metrics)}"
    answer(document, line(text), as_json=as_json)


@click.command()
@on_project
@click.argument("model", required=False)
@click.option("--limit", default=20, show_default=True, help="Most runs to show.")
@as_json
def runs(where: Where, model: str | None, *, limit: int, as_json: bool) -> None:
    """List the newest runs, of MODEL or of all."""
    from tenfold.core.times import iso

    with where.read() as app:
        if model is not None:
            model_of(app, model)
        found = app.runs.list(model, limit)

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        cells = [
            [
                run.id,
                run.subject,
                run.status,
                minute(run.started),
                _period(run),
                numbers(run.metrics) or run.error or "",
            ]
            for run in found
        ]
        table(console, "Runs, newest first", ["run", "model", "status", "started", "period", "result"], cells)

    document = {
        "runs": [
            {
                "run": run.id,
                "kind": run.kind,
                "model": run.subject,
                "status": run.status,
                "started": iso(run.started),
                "finished": None if run.finished is None else iso(run.finished),
                "metrics": run.metrics,
                "params": run.params,
                "data": run.data,
                "code": run.code,
                "error": run.error,
            }
            for run in found
        ]
    }
    answer(document, draw, as_json=as_json)


@click.command()
@on_project
@click.argument("run")
@as_json
@click.pass_context
def rebuild(ctx: click.Context, where: Where, run: str, *, as_json: bool) -> None:
    """Train RUN again from the table versions it names; exit code 1 unless the files are the same bytes."""
    from tenfold.ui.terminal import Progress

    with where.read() as app, Progress(app.clock) as progress:
        model = model_of(app, app.runs.get(run).subject)
        progress.step(f"train {model.name} again")
        same = app.rebuild(model, run)
    text = f"run {run}: {'the same files, byte by byte' if same else 'the files differ'}"
    answer({"run": run, "model": model.name, "same": same}, line(text), as_json=as_json)
    if not same:
        ctx.exit(1)


def _period(run: "Run") -> str:
    return str(run.params.get("period", ""))
