"""Rows in, and what became of them: ingest, process, rejects, features."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.options import Where, as_json, model_of, on_project
from tenfold.cli.output import answer, line, minute, tell

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.training.model import Model


@click.command()
@on_project
@click.argument("source")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--history", is_flag=True, help="The rows are long known: each from its declared time.")
@click.option("--key", help="The same key again stores nothing.")
@as_json
def ingest(where: Where, source: str, file: Path, *, history: bool, key: str | None, as_json: bool) -> None:
    """Check the rows of a .parquet, .csv, .json or .ndjson FILE and append those that fit to SOURCE.

    The rows that do not fit are set aside with the reason: tenfold rejects PROJECT SOURCE.
    """
    with where.open() as app:
        done = app.ingest(source, file, history=history, key=key)
    if done.message:
        tell(done.message)
    document = {"source": done.source, "stored": done.stored, "rejected": done.rejected}
    text = f"{done.source}: {done.stored:,} rows stored, {done.rejected:,} set aside"
    answer(document, line(text), as_json=as_json)


@click.command()
@on_project
@as_json
def process(where: Where, *, as_json: bool) -> None:
    """Fold everything in the log into online states and lake tables, once; `tenfold worker` keeps doing it."""
    with where.open() as app:
        records = app.process()
    answer({"records": records}, line(f"{records:,} records processed"), as_json=as_json)


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
            tell(f"and {len(counts) - limit} more reasons; see --limit")
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
    from tenfold.core.times import iso, to_us

    with where.read() as app:
        moment = app.clock.now() if at is None else to_us(at)
        app.process()
        found = _online(model_of(app, model), app.online, read_row(row_json), moment)
    document = {"model": model, "as_of": iso(moment), **found}

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        ages = found["ages_s"]
        cells = [[name, value, ages.get(name.partition(".")[0])] for name, value in found["features"].items()]
        table(console, f"{model} as of {iso(moment)}", ["feature", "value", "age (s)"], cells)

    answer(document, draw, as_json=as_json)


def _online(model: "Model", store: Any, row: Any, at: int) -> dict[str, Any]:
    import numpy as np

    from tenfold.core.errors import SchemaError
    from tenfold.processing.conform import Misfit, convert
    from tenfold.processing.frame import column
    from tenfold.store.online import lookup
    from tenfold.training.vector import assemble

    fields = model.spine.root.fields
    try:
        values = convert(fields, row)
    except Misfit as misfit:
        raise SchemaError(f'the row does not fit source "{model.spine.root.name}": {misfit}') from misfit
    found = lookup(store, model.stored, values, at)
    spine = {name: column(fields[name].type, [value]) for name, value in values.items()}
    columns = assemble(model, spine, found.features, np.array([at], dtype=np.int64))
    return {
        "features": {name: item.plain()[0] for name, item in columns.items()},
        "ages_s": {name: None if age is None else age / 1e6 for name, age in found.ages.items()},
    }


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
        raise SchemaError(f'the row is not JSON: {error}. Write it like {{"field": "value"}}.') from error


def _json(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
