"""Versions: models (list, show, register, rebuild)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.listed import Listed, cells, page, write_page
from tenfold.cli.options import Where, as_json, known_model, known_models, model_of, on_project, wrong_usage
from tenfold.cli.output import answer, line, minute, numbers

if TYPE_CHECKING:
    from rich.console import Console


MOST_FEATURES = 10


@click.group(cls=Listed)
def models() -> None:
    """List the versions of PROJECT, show one as a model card, register one from elsewhere, or make one again.

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
        shown = show_version(app.kept, known_model(app, model), number, where.named("PROJECT.py"))
    write_page(shown, html)
    document = shown.document
    answer(plain(document), lambda console: _draw_card(console, where, document), as_json=as_json)


def _draw_card(console: "Console", where: Where, document: dict[str, Any]) -> None:
    from tenfold.ui.card import judged_by_gates, named, stage
    from tenfold.ui.evaluated import CLASSES, class_rows
    from tenfold.ui.markup import number
    from tenfold.ui.terminal import table

    evaluation, run = document["evaluation"], document["run_of"]
    told = {
        "stage": stage(document["stage"]),
        "predicts": document.get("label"),
        "classes": named(document.get("classes") or []),
        "period": document["period"],
        "rows learned from": document.get("rows"),
        "rows tested on": evaluation.get("rows", {}).get("test"),
        "tables": ", ".join(f"{name} {version}" for name, version in document["tables"].items()),
        "features": len(document["features"]),
        "commit": f"{run['code'].get('git', '')}{' and changes' if run['diff'] else ''}",
        "made with": ", ".join(
            f"{name} {version}" for name, version in (document.get("libraries") or {}).items()
        ),
        "make it again": document["rebuild"] or "no: it was trained elsewhere",
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
    names = list(evaluation.get("metrics") or {})
    slices = [
        [
            f"{item['feature']} = {item['value']}",
            item["rows"],
            "few rows" if item.get("small") else _interval(item["metrics"].get(names[0]) or {}),
            *(number(value["value"]) for value in item["metrics"].values()),
        ]
        for item in evaluation.get("slices") or []
    ]
    goes_by = [
        [item["name"], item["type"], item["importance"], item["definition"]]
        for item in _most_important(document)
    ]
    judged = judged_by_gates(document)
    gates = [
        [
            one["check"],
            {True: "passed", False: "failed", None: "undecided"}[one["passed"]],
            where.named(one["why"]),
        ]
        for decided in judged[-1:]
        for one in decided["evidence"]["results"]
    ]
    later = [
        [minute_of(item["at"]), item["decision"], item["by"], where.named(item["why"])]
        for item in document["gates"]
        if item["kind"] == "rollout"
    ]
    moves = [
        [minute_of(e["at"]), f"{e['from']} to {e['to']}", e["by"], where.named(e["why"])]
        for e in document["history"]
    ]
    parts = [
        ("Metrics on the test rows", ["metric", "value", "95 % interval", *baselines], measured),
        ("Classes", CLASSES, class_rows(evaluation.get("classes") or [])),
        ("Slices", ["slice", "rows", f"95 % of {names[0]}" if names else "", *names], slices),
        (
            f"Features that matter most, of {len(document['features'])}",
            ["feature", "type", "importance", "what it is"],
            goes_by,
        ),
        ("Gates", ["gate", "verdict", "why"], gates),
        ("Rollout", ["at", "decision", "by", "why"], later),
        ("History", ["at", "move", "by", "why"], moves),
    ]
    for title, columns, lines in parts:
        if lines:
            click.echo()
            table(console, title, columns, lines)


def _most_important(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the features that a version goes by most, by their share."""
    known = [item for item in document["features"] if item["importance"]]
    return sorted(known, key=lambda item: -item["importance"])[:MOST_FEATURES]


def _interval(item: dict[str, Any]) -> str:
    from tenfold.ui.markup import number

    return "" if item.get("low") is None else f"{number(item['low'])} to {number(item['high'])}"


def minute_of(text: str) -> str:
    """Return an instant of a document for a table."""
    return text[:16].replace("T", " ")


@models.command()
@on_project
@click.argument("model")
@click.argument("what")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="[THEIRS=]OURS",
    help="Which feature of MODEL a column of WHAT is; once for each, or without THEIRS all in its order.",
)
@click.option(
    "--as-of", metavar="TIME", help="Measure as of this moment; needed when the data ended long ago."
)
@click.option(
    "--trained-until", metavar="TIME", help="It learned from rows before this instant: a gate asks for it."
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="What its probabilities stand for, in its order, where it does not say so.",
)
@as_json
def register(
    where: Where,
    model: str,
    what: str,
    *,
    columns: tuple[str, ...],
    as_of: str | None,
    trained_until: str | None,
    classes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Register WHAT was trained elsewhere as a version of MODEL, measured on the newest mature rows.

    WHAT is a file (.onnx, .txt of LightGBM, .ubj of XGBoost, .skops), or a version that tenfold import took over, such as
    risk/3. Its columns must be the features of MODEL. It passes the same gates as any other: see tenfold promote.
    """
    told = _columns(columns)
    with where.open() as app:
        chosen = model_of(app, model)
        app.flush()
        version = app.register(
            chosen,
            what,
            columns=told,
            as_of=as_of,
            trained_until=trained_until,
            classes=list(map(_label, classes)) or None,
        )
    document = {
        "model": version.model,
        "version": version.number,
        "run": version.run_id,
        "what": what,
        "metrics": version.info["metrics"],
    }
    text = f"{version.model} version {version.number} ({version.run_id}), from {what}: {numbers(version.info['metrics'])}"
    answer(document, line(text), as_json=as_json)


def _columns(given: tuple[str, ...]) -> dict[str, str] | list[str] | None:
    """Return --column as a list in the order of the file, or by the names in it."""
    named = [item.split("=", 1) for item in given if "=" in item]
    if named and len(named) < len(given):
        raise wrong_usage(
            "give --column THEIRS=OURS for each column, or --column OURS for all of them in order."
        )
    return dict(named) or list(given) or None


def _label(text: str) -> str | int:
    """Return a class as labels hold it: a whole number where it is one."""
    return int(text) if text.lstrip("-").isdecimal() else text


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
