"""Training and what it left behind: train, runs (list, show, note, compare)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.listed import Listed, cells, page, write_page
from tenfold.cli.options import Where, as_json, by, model_of, on_project, wrong_usage
from tenfold.cli.output import answer, line, minute, numbers
from tenfold.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tenfold.project import App
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


@click.group(cls=Listed)
def runs() -> None:
    """List the runs of PROJECT, show one, or compare two.

    tenfold runs PROJECT [MODEL] lists; see tenfold runs list --help.
    """


@runs.command("list")
@on_project
@click.argument("model", required=False)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Most runs to show.")
@click.option("--best", metavar="METRIC", help="The best by this metric, instead of the newest.")
@click.option(
    "--reads", metavar="TABLE[@VERSION]", help="Those that read this table: where a mistake in it went."
)
@as_json
def list_runs(
    where: Where, model: str | None, *, limit: int, best: str | None, reads: str | None, as_json: bool
) -> None:
    """List the newest runs, of MODEL or of all; with --best those that did best, with --reads those of a table."""
    from tenfold.ui.documents import plain, run_line

    if (best is not None) + (reads is not None) + (reads is not None and model is not None) > 1:
        raise wrong_usage(
            "--best, --reads and MODEL with --reads ask for different things. Give one of them."
        )
    with where.read() as app:
        app.runs.settle()
        if model is not None and not app.runs.list(model, 1):
            model_of(app, model)
        if reads is not None:
            found = _readers(app, reads, limit)
        else:
            found = app.runs.list(model, limit) if best is None else _best(app, best, limit, model)

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        rows = [
            [
                run.id,
                run.subject,
                run.status,
                minute(run.started),
                _what(run),
                numbers(run.metrics) or run.error or "",
            ]
            for run in found
        ]
        title = "Runs, newest first" if best is None else f"Runs, best {best} first"
        table(console, title, ["run", "model", "status", "started", "what", "result"], rows)

    answer(plain({"runs": [run_line(run) for run in found]}), draw, as_json=as_json)


def _readers(app: "App", reads: str, limit: int) -> "Sequence[Run]":
    name, _, version = reads.partition("@")
    source = app.project.source(name).name
    if version and not version.isdecimal():
        raise wrong_usage(f'"{version}" is no version of a table. Write for example --reads {name}@3.')
    return app.runs.readers(source, int(version) if version else None, limit)


def _best(app: "App", metric: str, limit: int, model: str | None) -> "Sequence[Run]":
    """Return the best runs by a metric: of one of their own, the highest are the best."""
    from tenfold.training.metrics import METRICS

    known = METRICS.get(metric)
    lowest = known is not None and not known.greater_is_better
    found = app.runs.best(metric, limit, subject=model, lowest=lowest)
    measured = {name for run in app.runs.list(model) for name in run.metrics}
    if not found and metric not in measured:
        raise NotFound("metric", metric, sorted(measured), within="these runs")
    return found


@runs.command()
@on_project
@click.argument("run")
@page
@as_json
def show(where: Where, run: str, *, html: Path | None, as_json: bool) -> None:
    """Show everything that is known of RUN, an id such as r0012 or a version such as fraud/3."""
    from tenfold.ui.documents import plain, run_of
    from tenfold.ui.shown import show_run

    with where.read() as app:
        shown = show_run(app.kept, run_of(app.kept, run))
    write_page(shown, html)
    answer(plain(shown.document), lambda console: _draw_run(console, shown.document), as_json=as_json)


def _draw_run(console: "Console", document: dict[str, Any]) -> None:
    from tenfold.ui.documents import settings
    from tenfold.ui.terminal import table

    told = {
        name: document[name] for name in ("title", "status", "started", "seconds", "error") if document[name]
    }
    versions = {f"version {item['version']}": item["stage"] for item in document["versions"]}
    rows = {f"rows, {name}": item.get("rows") for name, item in document["samples"].items()}
    table(
        console,
        f"Run {document['run']} of {document['model']}",
        ["", ""],
        cells({**told, **versions, **rows}),
    )
    ranges = document["evaluation"].get("metrics", {})
    metrics = [[name, value, _ends(ranges.get(name))] for name, value in cells(document["metrics"])]
    parts = [
        ("Metrics", ["metric", "value", "95 % interval"], metrics),
        ("Parameters", ["parameter", "value"], cells(settings(document))),
        ("Tables", ["table", "version"], cells(document["data"])),
        ("Code", ["", ""], cells(document["code"])),
        (
            "Environment",
            ["", ""],
            cells({k: v for k, v in document["environment"].items() if k != "libraries"}),
        ),
        ("Curves", ["metric", "steps", "last"], _last(document["curves"])),
        ("Files", ["file", "bytes"], [[item["name"], item["bytes"]] for item in document["files"]]),
        (
            "Notes",
            ["at", "by", "note"],
            [[item["at"], item["by"], item["text"]] for item in document["notes"]],
        ),
    ]
    for title, columns, lines in parts:
        if lines:
            click.echo()
            table(console, title, columns, lines)


def _last(curves: dict[str, list[dict[str, Any]]]) -> list[list[Any]]:
    from tenfold.ui.evaluated import shown

    return [[name, len(points), shown(points[-1]["value"])] for name, points in curves.items()]


def _ends(item: dict[str, Any] | None) -> str:
    from tenfold.ui.markup import number

    return "" if not item or item.get("low") is None else f"{number(item['low'])} to {number(item['high'])}"


@runs.command()
@on_project
@click.argument("run")
@click.argument("text")
@by
@as_json
def note(where: Where, run: str, text: str, *, by: str, as_json: bool) -> None:
    """Write a note on RUN, finished or not; it stays. RUN is an id such as r0012 or a version such as fraud/3."""
    from tenfold.ui.documents import run_of

    with where.read() as app:
        run = run_of(app.kept, run)
        app.runs.note(run, text, by=by)
    answer({"run": run, "by": by, "note": text}, line(f"noted on run {run}"), as_json=as_json)


@runs.command()
@on_project
@click.argument("a")
@click.argument("b")
@page
@as_json
def compare(where: Where, a: str, b: str, *, html: Path | None, as_json: bool) -> None:
    """Say whether runs A and B saw the same rows and labels, then only what changed from A to B.

    Each is an id such as r0012, or a version such as fraud/3.
    """
    from tenfold.ui.documents import plain
    from tenfold.ui.shown import show_comparison

    with where.read() as app:
        shown = show_comparison(app.kept, a, b)
    write_page(shown, html)
    answer(plain(shown.document), lambda console: _draw_comparison(console, shown.document), as_json=as_json)


def _draw_comparison(console: "Console", document: dict[str, Any]) -> None:
    from tenfold.ui.compare_page import CHANGES, PARTS, SAME, chance
    from tenfold.ui.terminal import table

    sides = [document["a"], document["b"]]
    rows = document["rows"]
    lines = [
        [part, PARTS[rows[part]["same"]][0], rows[part]["why"], rows[part]["a"], rows[part]["b"]]
        for part in ("train", "test")
    ]
    table(console, f"{' and '.join(sides)}: {SAME[rows['same']][0]}", ["rows", "", "by", *sides], lines)
    measured = [
        [item["name"], item["a"], item["b"], item["difference"], f"{item['better'] or ''}{chance(item)}"]
        for item in document["metrics"]
    ]
    moved = [
        [f"{item['feature']} = {item['value']}", item["metric"], item["a"], item["b"], item["better"] or ""]
        for item in document["slices"]
    ]
    parts = [
        ("Metrics", ["metric", *sides, "difference", "better"], measured),
        ("Slices that moved", ["slice", "metric", *sides, "better"], moved),
        *(_changes(name, document[part], sides) for name, part in CHANGES),
        (
            "Features",
            ["", ""],
            [[name, ", ".join(names)] for name, names in document["features"].items() if names],
        ),
    ]
    for title, columns, found in parts:
        if found:
            click.echo()
            table(console, title, columns, found)
    same = [title.lower() for title, _, found in parts if not found]
    if same:
        click.echo(f"\nnot changed: {', '.join(same)}")


def _changes(
    name: str, items: list[dict[str, Any]], sides: list[str]
) -> tuple[str, list[str], list[list[Any]]]:
    from tenfold.ui.evaluated import shown

    return name, ["", *sides], [[item["name"], shown(item["a"]), shown(item["b"])] for item in items]


def _what(run: "Run") -> str:
    return run.title or str(run.params.get("period", ""))
