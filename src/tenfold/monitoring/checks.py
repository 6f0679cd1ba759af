"""Statements about a version that are true, false or undecided: gates before a release, monitors after it."""

import math
import re
from dataclasses import dataclass
from typing import Any

from tenfold.core.errors import DefinitionError, NotFound, suggest
from tenfold.core.times import duration
from tenfold.training.metrics import METRICS

ACTIONS = ("alert", "retrain")
NO_CHAMPION = "there is no champion to compare with"
_TEXTS = {
    "not_worse": "not worse than the champion by {bound:g}, nor in a slice",
    "latency": "99 % of single rows within {ms:g} ms",
    "size": "files of at most {mb:g} MB",
    "beats_baselines": "better than every baseline",
    "no_skew": "what was served is what is trained on, bit by bit",
}
"""The statements that are not about one metric; only a gate can judge them."""
_SIZE = re.compile(r"([1-9][0-9]*)(kB|MB|GB)")
_BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


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
        if self.kind in _TEXTS:
            return _TEXTS[self.kind].format(bound=self.bound, ms=self.bound / 1000, mb=self.bound / 1e6)
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


def not_worse(*, by: float = 0.005) -> Check:
    """Return the check that a candidate is shown not to be worse than the champion, and in no slice shown to be.

    On the same test rows, paired: the 95 % bound of how much larger the candidate's mean loss is (squared error of
    probabilities; of numbers a share of the champion's mean loss, by the first metric) must be below `by`. A slice of
    `Model(slices=...)` fails when it is shown to be worse by more than that, with Holm's correction for their number; those
    that are too small to judge are named.
    """
    if not by > 0:
        raise DefinitionError(
            f"by={by:g} leaves no margin, and no number of rows could show that. Write by=0.005."
        )
    return Check("not_worse", "", by)


def latency(budget: str) -> Check:
    """Return the check that 99 % of single rows are scored within a budget such as "20ms", and stay so in shadow and canary."""
    return Check("latency", "", duration(budget, name="budget"))


def size(limit: str) -> Check:
    """Return the check that the files of a version are not larger than a limit such as "50MB".

    Examples
    --------
    >>> from tenfold import checks
    >>> checks.size("50MB").text
    'files of at most 50 MB'
    """
    match = _SIZE.fullmatch(limit)
    if match is None:
        raise DefinitionError(
            f'limit="{limit}" is not a size. Write a whole number and kB, MB or GB, such as "50MB".'
        )
    return Check("size", "", int(match[1]) * _BYTES[match[2]])


def beats_baselines() -> Check:
    """Return the check that a candidate is better than every baseline of its evaluation, by the model's first metric."""
    return Check("beats_baselines", "", 0.0)


def no_skew() -> Check:
    """Return the check that the features served online in the test period and since are, bit by bit, those of the lake."""
    return Check("no_skew", "", 0.0)


def _check(kind: str, metric: str, bound: float, window: str | None, then: str) -> Check:
    if metric not in METRICS:
        raise NotFound("metric", metric, METRICS)
    if then not in ACTIONS:
        raise DefinitionError(f'then="{then}" is not an action.{suggest(then, ACTIONS)}')
    return Check(kind, metric, bound, None if window is None else duration(window, name="window"), then)


def judge(
    check: Check, value: float | None, champion: float | None = None, *, alone: str = NO_CHAMPION
) -> Verdict:
    """Return the verdict of a check on a metric's value, and on the champion's of the same rows; `alone` says why there is none."""
    if value is None or math.isnan(value):
        missing = " of both outcomes" if METRICS[check.metric].needs == "score" else ""
        return Verdict(check.text, None, None, f"{check.metric} cannot be computed: no matured rows{missing}")
    metric = METRICS[check.metric]
    if check.kind == "beats_champion":
        if champion is None:
            return Verdict(check.text, True, value, f"{check.metric} {value:.4f}; {alone}")
        gain = metric.gain(champion, value)
        why = f"{check.metric} {value:.4f} against the champion's {champion:.4f}: gain {gain:+.4f}, needed {check.bound:+g}"
        return Verdict(check.text, gain >= check.bound, value, why)
    far = value if metric.target is None else abs(value - metric.target)
    passed = far >= check.bound if check.kind == "at_least" else far <= check.bound
    away = "" if metric.target is None else f" from {metric.target:g}"
    why = f"{check.metric} {value:.4f}, {check.kind.replace('_', ' ')} {check.bound:g}{away} needed"
    return Verdict(check.text, passed, value, why)
