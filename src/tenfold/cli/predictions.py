"""Answers: predict one row, score many."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from tenfold.cli.data import read_row
from tenfold.cli.options import Where, as_json, by, model_of, on_project, period, span, wrong_usage
from tenfold.cli.output import answer, line, plural

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.project import App
    from tenfold.training.model import Model


@click.command()
@on_project
@click.argument("model")
@click.argument("row_json")
@click.option("--key", help="The same key again gives the answer that was stored first.")
@click.option("--why", is_flag=True, help="Say what each feature adds to the score; nothing is logged then.")
@as_json
def predict(where: Where, model: str, row_json: str, *, key: str | None, why: bool, as_json: bool) -> None:
    """Answer one row as of now, from everything in the log; the answer is logged.

    ROW_JSON is a row of the model's spine, or - to read it from stdin.
    """
    if why and key is not None:
        raise wrong_usage("--why logs nothing, so it takes no --key.")
    with where.read() as app:
        if why:
            found = explained(app, model_of(app, model), read_row(row_json))
            answer(found, draw_why(model, found), as_json=as_json)
            return
        found = app.predict(model_of(app, model), read_row(row_json), key=key)
    text = (
        f"{model} version {found['version']}: {said(found)}, as of {found['as_of']}, "
        f"prediction {found['prediction_id']}"
    )
    answer(found, line(text), as_json=as_json)


def explained(app: "App", model: "Model", row: Any) -> dict[str, Any]:
    """Return the answer of a row as of now, and what each feature adds to it; nothing is logged."""
    from tenfold.serving.http.explaining import Explaining

    service = app.service(model)
    mark = service.mark()
    app.process()
    return Explaining(service)(row, mark.at)


def draw_why(model: str, found: Mapping[str, Any]) -> "Callable[[Console], None]":
    """Return what prints an explanation: the answer, and a line per feature, the largest contribution first."""

    def draw(console: "Console") -> None:
        from tenfold.ui.terminal import table

        title = f"{model} version {found['version']}: {said(found)}, as of {found['as_of']}"
        cells = [
            [item["feature"], item["value"], item["contribution"], item.get("error"), item.get("age_s")]
            for item in [
                {"feature": "(base)", "value": None, "contribution": found["base"]},
                *found["contributions"],
            ]
        ]
        names = ["feature", "value", "adds", "give or take", "age (s)"]
        exact = 0 if found["approximate"] else 1
        table(console, title, names[:3] + names[3 + exact :], [row[:3] + row[3 + exact :] for row in cells])
        line(f"together {found['raw_score']:+.6g}, the {'raw score' if exact else 'score'}")(console)

    return draw


def said(found: Mapping[str, Any]) -> str:
    """Return what an answer says, by the kind of its model.

    Examples
    --------
    >>> said({"score": 0.75, "decision": True, "threshold": 0.5})
    'score 0.7500, decision yes (from 0.5 on)'
    >>> said({"prediction": "lost", "score": 0.75, "probabilities": {"fine": 0.25, "lost": 0.75}})
    'lost with probability 0.7500'
    >>> said({"prediction": 12.5, "score": 12.5})
    'value 12.5'
    >>> said({"prediction": 12.5, "score": 12.5, "outputs": {"action": "block", "odd": None}})
    'value 12.5, action block, odd null'
    >>> said({"score": None, "decision": None, "threshold": 0.5})
    'no number'
    """
    return ", ".join([_answered(found), *_decided(found.get("outputs", {}))])


def _decided(outputs: Mapping[str, Any]) -> Iterator[str]:
    for name, value in outputs.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield f"{name} {text}"


def _answered(found: Mapping[str, Any]) -> str:
    if found["score"] is None:
        return "no number"
    if "decision" in found:
        decided = "yes" if found["decision"] else "no"
        return f"score {found['score']:.4f}, decision {decided} (from {found['threshold']:g} on)"
    if "probabilities" in found:
        return f"{found['prediction']} with probability {found['score']:.4f}"
    return f"value {found['prediction']:.6g}"


@click.command()
@on_project
@click.argument("model", required=False)
@period(required=True)
@click.option(
    "--every", default="1d", show_default=True, help="How long a partition is: each is scored once."
)
@click.option("--again", is_flag=True, help="Replace the answers that are there; the audit log says who did.")
@by
@as_json
def score(
    where: Where, model: str | None, *, start: str, end: str, every: str, again: bool, by: str, as_json: bool
) -> None:
    """Score all rows predicted in the period with the Production version, partition by partition, each once.

    When it is interrupted, the same command goes on at the first partition that is not finished.
    """
    from tenfold.core.clock import SystemClock
    from tenfold.core.times import iso
    from tenfold.ui.terminal import Progress

    first, last = span(start, end, until=0)
    with where.read() as app, Progress(SystemClock()) as progress:
        chosen, now = model_of(app, model), app.clock.now()
        if last > now:
            raise wrong_usage(f"the period is not over: it ends at {iso(last)}, and now is {iso(now)}.")
        app.flush()
        found = app.batch(chosen, first, last, every=every, again=again, by=by, watch=progress)
    document = {
        "model": chosen.name,
        "rows": found.rows,
        "decided_true": found.decided,
        "mean_score": found.mean,
        "no_number": found.no_number,
        "left_out": found.left_out,
        "versions": found.versions,
        "partitions": found.partitions,
    }
    told = f"{plural(found.rows, 'row')} scored"
    told += "" if found.decided is None else f", {found.decided:,} decided true"
    told += f", {found.no_number:,} without a number" if found.no_number else ""
    told += f", {found.left_out:,} left out without features" if found.left_out else ""
    told += f", in {plural(len(found.partitions), 'partition')}"
    text = line(
        f"{chosen.name}: {told if found.rows or found.left_out else 'no row is predicted in this period'}"
    )
    answer(document, text, as_json=as_json)
