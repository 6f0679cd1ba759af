"""Questions without an answer: a window of theirs holds more than can be summed exactly."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from tenfold.core.errors import Inexact
from tenfold.core.times import iso
from tenfold.features.view import FeatureView
from tenfold.processing.bring import shown


class Refused:
    """Which of so many questions have no answer; `error` says why of one of them, and names its key and moment."""

    def __init__(self, count: int) -> None:
        self.rows = np.zeros(count, dtype=np.bool_)
        self.error: Inexact | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Refused(rows={self.rows!r})"

    def add(self, rows: np.ndarray, error: Inexact) -> None:
        """Refuse the questions at positions, or where a mask is true."""
        with self._lock:
            self.rows[rows] = True
            self.error = self.error or error


def named(view: FeatureView, key: Sequence[Any], at: int) -> str:
    """Return a key of a view and a moment as an error names them; the values as columns hold them."""
    pairs = zip(view.keys, key, strict=True)
    values = [f"{name}={_quoted(shown(value, view.source.fields[name].type))}" for name, value in pairs]
    return f"{', '.join(values)} as of {iso(at)}"


def _quoted(value: Any) -> str:
    return f'"{value[:100]}"' if isinstance(value, str) else "null" if value is None else str(value)
