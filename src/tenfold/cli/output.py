"""Answers on stdout, as text for people or one JSON document; everything else on stderr."""

import math
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from tenfold.core.times import iso
from tenfold.ui.markup import DASH

if TYPE_CHECKING:
    from rich.console import Console


WIDTH = 112
"""Characters of a line of text."""


def answer(document: Mapping[str, Any], draw: "Callable[[Console], object]", *, as_json: bool) -> None:
    """Print an answer: the document as JSON, NaN as null, or what `draw` makes of it."""
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(document)))
        return
    from tenfold.ui.terminal import console

    draw(console())


def line(text: str) -> "Callable[[Console], object]":
    """Return what prints one line that is never wrapped or cut."""
    return lambda _: click.echo(text)


def reasons(head: str, why: str) -> str:
    """Return what was decided and why; more than a line says has lines of its own, one or more for each reason.

    Examples
    --------
    >>> print(reasons("undone by ann", "errors"))
    undone by ann: errors
    >>> print(
    ...     reasons("promoted by loop", "roc_auc 0.8; not worse (mean loss 0.2; on 120 rows); " + 40 * "so ")
    ... )
    promoted by loop:
        roc_auc 0.8
        not worse (mean loss 0.2; on 120 rows)
        so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so so
          so so so so
    """
    if len(head) + len(why) < WIDTH:
        return f"{head}: {why}"
    parts: list[str] = []
    for part in why.split("; "):
        if parts and parts[-1].count("(") > parts[-1].count(")"):  # what stands in brackets is one
            parts[-1] += f"; {part}"
        else:
            parts.append(part)
    made = [textwrap.fill(part, WIDTH, initial_indent=4 * " ", subsequent_indent=6 * " ") for part in parts]
    return "\n".join([f"{head}:", *made])


def tell(text: str) -> None:
    """Say something that is not the answer."""
    click.echo(text, err=True)


def minute(us: int | None) -> str:
    """Return an instant for a table.

    Examples
    --------
    >>> minute(0)
    '1970-01-01 00:00'
    """
    return "" if us is None else iso(us)[:16].replace("T", " ")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "row"), plural(2_000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def numbers(metrics: Mapping[str, float | None]) -> str:
    """Return metrics for a table; one that could not be computed is a dash, one that is not finite what it is.

    Examples
    --------
    >>> numbers({"roc_auc": 0.75})
    'roc_auc 0.7500'
    >>> numbers({"roc_auc": None}) == f"roc_auc {DASH}"
    True
    """
    return ", ".join(f"{name} {_number(value)}" for name, value in metrics.items())


def _number(value: float | None) -> str:
    if value is None or math.isfinite(value):
        return DASH if value is None else f"{value:.4f}"
    return "NaN" if math.isnan(value) else f"{value:+}"
