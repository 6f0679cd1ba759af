"""What a model's features and its label are, in words: a version says it of itself, whatever becomes of the declaration."""

import re

from tenfold.core.times import UNITS
from tenfold.training.model import Model

_SECONDS = re.compile(r"(?<==)([0-9]+)s\b")


def definitions(model: Model) -> dict[str, str]:
    """Return by column of a model what it is, such as "mean(amount, window=7d) of payments by card"."""
    found: dict[str, str] = {}
    for view in model.views:
        over = "" if view.entity is None else f" of {view.source.name} by {', '.join(view.keys)}"
        found |= {f"{view.name}.{name}": f"{_spans(expr.text)}{over}" for name, expr in view.features.items()}
    return {name: found[name] for name in model.columns}


def label_text(model: Model) -> str:
    """Return what a model predicts, such as "last(late) of delays on flight_id within 24h"."""
    label = model.label
    value = _spans(label.view.features["value"].text)
    return f"{value} of {label.source.name} on {label.on} within {label.horizon}"


def _spans(text: str) -> str:
    """Return an expression with its spans in their largest whole units.

    Examples
    --------
    >>> _spans("sum(late, window=604800s, offset=5400s)")
    'sum(late, window=7d, offset=90m)'
    """
    return _SECONDS.sub(lambda found: _span(int(found[1])), text)


def _span(seconds: int) -> str:
    units = ((name, UNITS[name] // UNITS["s"]) for name in ("d", "h", "m"))
    return next(
        (f"{seconds // size}{name}" for name, size in units if seconds and seconds % size == 0), f"{seconds}s"
    )
