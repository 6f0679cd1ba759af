"""Rows in, and what became of them: ingest, process, rejects, features."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Where, as_json, model_of, on_project
from tenfold.cli.output import answer, line, minute, plural, tell

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.project import App
    from tenfold.sources.declare import Events


@click.command()
@on_project
@click.argument("source")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--history", is_flag=True, help="The rows are long known: each from its declared time.")
@click.option("--key", help="The same key again stores nothing.")
@as_json
@click.pass_context
def ingest(
    ctx: click.Context,
    where: Where,
    source: str,
    file: Path,
    *,
    history: bool,
    key: str | None,
    as_json: bool,
) -> None:
    """Check the rows of a .parquet, .csv, .json or .ndjson FILE and append those that fit to SOURCE.

    The rows that do not fit are set aside with the reason: tenfold rejects PROJECT SOURCE. Exit code 1 when that is
    every row.
    """
    with where.open() as app:
        done = app.ingest(source, file, history=history, key=key)
        reasons = _reasons(app.project.source(source), file) if as_json and done.rejected else {}
    if done.message:
        tell(done.message)
    document = {
        "source": done.source,
        "stored": done.stored,
        "rejected": done.rejected,
        "reasons": reasons,
    }
    text = f"{done.source}: {plural(done.stored, 'row')} stored, {done.rejected:,} set aside"
    answer(document, line(text), as_json=as_json)
    if done.rejected and not done.stored:
        ctx.exit(1)


@click.command()
@on_project
@as_json
def process(where: Where, *, as_json: bool) -> None:
    """Fold everything in the log into online states and lake tables, once; `tenfold worker` keeps doing it."""
    with where.open() as app:
        records = app.process()
    answer({"records": records}, line(f"{plural(records, 'record')} processed"), as_json=as_json)


@click.command()
@on_project
@as_json
def retire(where: Where, *, as_json: bool) -> None:
    """Remove the online states of feature views that are no longer declared, or declared otherwise now.

    For when no worker and no server of an older declaration runs any more.
    """
    from tenfold.sources.locked import at_work

    with where.read() as app:
        removed = app.retire()
    for who in at_work(where.home / "running", "worker"):
        tell(
            f"a worker is at work on this home, {who}: if it has an older declaration, it folds the states of that again. "
            "Start it again, and then this command."
        )
    answer({"states": removed}, line(f"{plural(removed, 'state')} removed"), as_json=as_json)


@click.command()
@on_project
@click.argument("source", required=False)
@click.option("--limit", default=20, show_default=True, help="Most reasons, and rows, to show.")
@as_json
def rejects(where: Where, source: str | None, *, limit: int, as_json: bool) -> None:
    """Count the rows that were set aside by reason; with a SOURCE, show the newest of them too."""
    with where.read() as app:
        if source is not None:
            app.project.source(source)
        counts = app.quarantine.counts(source)
        rows = [] if source is None else app.quarantine.rows(source, limit)
    document = {
        "counts": [{"source": item.source, "reason": item.reason, "rows": item.rows} for item in counts],
        "rows": rows,
    }

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        table(
            console,
            "Rows set aside",
            ["source", "reason", "rows"],
            [[item.source, item.reason, item.rows] for item in counts[:limit]],
        )
        if len(counts) > limit:
            tell(f"and {plural(len(counts) - limit, 'more reason')}; see --limit")
        if rows:
            cells = [[minute(row["at"]), row["reason"], _json(row["row"])] for row in rows]
            click.echo()
            table(console, "Newest", ["at", "reason", "row"], cells)

    answer(document, draw, as_json=as_json)


@click.command()
@on_project
@click.argument("model")
@click.argument("row_json")
@click.option("--at", metavar="TIME", help="As of this instant; now when not given.")
@as_json
def features(where: Where, model: str, row_json: str, *, at: str | None, as_json: bool) -> None:
    """Read the features of a row as MODEL gets them online, with the age of each view's newest record.

    ROW_JSON is a row of the model's spine, or - to read it from stdin.
    """
    with where.read() as app:
        found = app.features(model_of(app, model), read_row(row_json), at=at)
    document = {"model": model, **found}

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        ages = found["ages_s"]
        cells = [[name, value, ages.get(name.partition(".")[0])] for name, value in found["features"].items()]
        table(console, f"{model} as of {found['as_of']}", ["feature", "value", "age (s)"], cells)

    answer(document, draw, as_json=as_json)


@click.command()
@on_project
@click.argument("feature")
@click.argument("key")
@click.argument("time", required=False)
@click.option("--limit", default=20, show_default=True, help="Records to show for each aggregate.")
@as_json
def explain(where: Where, feature: str, key: str, time: str | None, *, limit: int, as_json: bool) -> None:
    """Show the very records behind FEATURE (view.name) of KEY as of TIME: each counted, or why not.

    KEY is the value of the key field, or JSON such as {"card": 7, "shop": "a"}. Without TIME: as of now.
    """
    import msgspec

    with where.read() as app:
        found = app.explain(feature, _key(app, feature, key), time, limit=limit)

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        click.echo(f"{found.feature} of {_json(found.key)} as of {found.at} is {_json(found.value)}")
        for part in found.parts:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in part.reasons.items())
            click.echo()
            cells = [[_plain(value) for value in record.values()] for record in part.records]
            title = f"{part.aggregate} = {_json(part.value)}"
            table(console, title, ["id", "event", "known", "value", "status"], cells)
            tell(reasons or "no record of this key")
        if found.note:
            tell(found.note)

    answer(msgspec.to_builtins(found), draw, as_json=as_json)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else _json(value)


def _key(app: "App", feature: str, text: str) -> Any:
    """Return a key as it was typed on the command line: JSON, or the text of a single value."""
    from tenfold.store.explain import find

    view, _ = find(app.project.views, feature)
    if text.startswith(("{", "[")):
        return read_row(text)
    kinds = {view.source.fields[name].type for name in view.keys}
    return int(text) if kinds == {"int"} and text.lstrip("-").isdecimal() else text


def _reasons(source: "Events", file: Path) -> dict[str, int]:
    from tenfold.processing.conform import conform, count_reasons

    return count_reasons(conform(source, file).rejects)


def read_row(text: str) -> Any:
    """Return the JSON of an argument, or of stdin for "-".

    Examples
    --------
    >>> read_row('{"amount": 3}')
    {'amount': 3}
    """
    import msgspec

    from tenfold.core.errors import SchemaError

    raw = sys.stdin.read() if text == "-" else text
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        hint = f" To read a file: - < {text}" if text.endswith(".json") else ""
        raise SchemaError(
            f'the row is not JSON: {error}. Write it like {{"field": "value"}}.{hint}'
        ) from error


def _json(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
