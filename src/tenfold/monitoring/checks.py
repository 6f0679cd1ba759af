"""Statements about a version that are true, false or undecided: gates before a release, monitors after it."""

import math
from dataclasses import dataclass
from typing import Any

from tenfold.core.errors import DefinitionError, NotFound, suggest
from tenfold.core.times import duration
from tenfold.training.metrics import METRICS

ACTIONS = ("alert", "retrain")


@dataclass(frozen=True, slots=True)
class Check:
    """A statement about a metric; make it with `checks.at_least` and its siblings.

    `window` (microseconds) is how much of the newest matured predictions a monitor looks at; `then` is what follows
    when it is false.
    """

    kind: str
    metric: str
    bound: float
    window: int | None = None
    then: str = "alert"

    @property
    def text(self) -> str:
        """The statement as it reads."""
        if self.kind == "beats_champion":
            return f"{self.metric} beats the champion by {self.bound:g}"
        return f"{self.metric} {self.kind.replace('_', ' ')} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a check: passed is None when there was nothing to judge by."""

    check: str
    passed: bool | None
    value: float | None
    why: str

    def evidence(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {"check": self.check, "passed": self.passed, "value": self.value, "why": self.why}


def at_least(metric: str, bound: float, *, window: str | None = None, then: str = "alert") -> Check:
    """Return the check that a metric is not below a bound.

    Examples
    --------
    >>> from tenfold import checks
    >>> checks.at_least("roc_auc", 0.7).text
    'roc_auc at least 0.7'
    """
    return _check("at_least", metric, bound, window, then)


def at_most(metric: str, bound: float, *, window: str | None = None, then: str = "alert") -> Check:
    """Return the check that a metric is not above a bound; for a signed one, how far it is from its best value."""
    return _check("at_most", metric, bound, window, then)


def beats_champion(metric: str, *, by: float = 0.0) -> Check:
    """Return the check that a candidate is better than the version in Production on the same rows.

    `by` is the least gain in the metric's better direction; a negative one allows to be that much worse.
    """
    return _check("beats_champion", metric, by, None, "alert")


def _check(kind: str, metric: str, bound: float, window: str | None, then: str) -> Check:
    if metric not in METRICS:
        raise NotFound("metric", metric, METRICS)
    if then not in ACTIONS:
        raise DefinitionError(f'then="{then}" is not an action.{suggest(then, ACTIONS)}')
    return Check(kind, metric, bound, None if window is None else duration(window, name="window"), then)


def judge(check: Check, value: float | None, champion: float | None = None) -> Verdict:
    """Return the verdict of a check on a metric's value, and on the champion's value of the same rows."""
    if value is None or math.isnan(value):
        return Verdict(
            check.text, None, None, f"{check.metric} cannot be computed: no matured rows of both outcomes"
        )
    metric = METRICS[check.metric]
    if check.kind == "beats_champion":
        if champion is None:
            return Verdict(check.text, True, value, f"{check.metric} {value:.4f}; there is no champion yet")
        gain = metric.gain(champion, value)
        why = f"{check.metric} {value:.4f} against the champion's {champion:.4f}: gain {gain:+.4f}, needed {check.bound:+g}"
        return Verdict(check.text, gain >= check.bound, value, why)
    far = value if metric.target is None else abs(value - metric.target)
    passed = far >= check.bound if check.kind == "at_least" else far <= check.bound
    away = "" if metric.target is None else f" from {metric.target:g}"
    why = f"{check.metric} {value:.4f}, {check.kind.replace('_', ' ')} {check.bound:g}{away} needed"
    return Verdict(check.text, passed, value, why)
