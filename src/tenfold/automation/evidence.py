"""Evidence that may be looked at after every label: tests whose error holds however often and whenever one looks.

`betting` is exact for bounded values (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
JRSS B 2024, section 4: one-sided capital processes, here a mixture of four constant bets); `interval` is asymptotic, for unbounded ones (Waudby-Smith,
Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of
Statistics 2024, theorem 2.2 with the Gaussian mixture boundary).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenfold.core.errors import DefinitionError

Floats = NDArray[np.float64]
BETS = np.geomspace(0.1, 0.6, 4)
"""Shares of the largest bet that cannot lose more than there is: small ones find small differences, large ones soon."""
EXPECTED = 1_000
"""The number of values at which the interval is tightest."""
FIRST, RESTS = 200, 30
"""How many values there are, and how many their variance rests on, before a bound that holds for many says anything."""

ROUNDING = 1e-9
"""The share of their size by which values differ that are the same but for how they were computed."""


def betting(values: ArrayLike, low: float, high: float, mean: float) -> Floats:
    """Return after each value how much evidence there is that the values' mean is greater than `mean`.

    When it is not, for each value and whatever those before it were, the chance that the evidence ever reaches 1 / alpha
    is at most alpha, whatever the distribution (Ville's inequality). Values that share their cause can break the premise.

    Parameters
    ----------
    values : (n,) float64
        In the order they became known.
    low, high
        Bounds of every value; DefinitionError when one lies outside.

    Returns
    -------
    (n,) float64
        The wealth of gamblers who began with 1 together and could not have won on average; at most 1e300. The last one
        does not depend on the order of the values.

    Examples
    --------
    >>> worse = np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 100)
    >>> bool(betting(worse, -1, 1, mean=0)[-1] > 20), bool(betting(-worse, -1, 1, mean=0).max() > 20)
    (True, False)
    """
    given = np.asarray(values, dtype=np.float64)
    if not (low < mean < high) or not np.all((given >= low) & (given <= high)):
        raise DefinitionError(
            f"evidence about a mean of {mean:g} needs values within [{low:g}, {high:g}]; these are within "
            f"[{given.min(initial=np.inf):g}, {given.max(initial=-np.inf):g}]."
        )
    x, m = (given - low) / (high - low), (mean - low) / (high - low)
    wealth = np.cumsum(np.log1p(np.outer(x - m, BETS / m)), axis=0)
    most = wealth.max(axis=1, keepdims=True)
    return np.exp(np.minimum(most[:, 0] + np.log(np.exp(wealth - most).mean(axis=1)), math.log(1e300)))


def counted(events: int, trials: int, most: float) -> float:
    """Return how much evidence there is that a share is greater than `most`, from how often something happened.

    As of `betting`, the chance that it ever reaches 1 / alpha when the share is not greater is at most alpha. The bets are
    on shares from twice `most` to all: small differences of rare events need bets that lose little while nothing happens.

    Examples
    --------
    >>> (
    ...     counted(0, 10_000, most=0.001) < 1,
    ...     counted(10, 1_000, most=0.001) > 200,
    ...     counted(2, 2, most=0.001) > 200,
    ... )
    (True, True, True)
    """
    shares = np.geomspace(min(2 * most, 0.9), 0.99, 12)
    wealth = events * np.log(shares / most) + (trials - events) * np.log((1 - shares) / (1 - most))
    top = float(wealth.max())
    return math.exp(min(top + math.log(float(np.exp(wealth - top).mean())), math.log(1e300)))


def interval(values: ArrayLike, alpha: float) -> tuple[Floats, Floats]:
    """Return after each value the bounds of the mean; both hold at all times together with a chance of about 1 - alpha.

    NaN until there are FIRST values whose variance rests on RESTS of them: values that are mostly the same, and seldom
    something else, have a small variance until the first of those is among them.

    Examples
    --------
    >>> low, high = interval(np.random.default_rng(1).normal(3, 1, 1000), alpha=0.05)
    >>> bool(low[-1] < 3 < high[-1]), round(float(high[-1] - low[-1]), 2)
    (True, 0.19)
    """
    x = np.asarray(values, dtype=np.float64)
    n = np.arange(1, len(x) + 1)
    mean = np.cumsum(x) / n
    square = np.maximum(np.cumsum(x**2) / n - mean**2, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.where((n >= FIRST) & (rests_on(x) >= RESTS), np.sqrt(square * n / (n - 1)), np.nan)
    tuned = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha)) + 1) / EXPECTED
    scaled = n * tuned + 1
    width = deviation * np.sqrt(2 * scaled / (n**2 * tuned) * np.log(np.sqrt(scaled) / alpha))
    return mean - width, mean + width


def rests_on(values: ArrayLike) -> Floats:
    """Return after each value on how many of them their variance rests.

    That is n / kurtosis: for n values of a normal distribution n / 3, where one in a hundred is far from all others n / 100,
    and 0 while all are the same.

    Examples
    --------
    >>> rests_on([0.0, 0.0, 2.0, 0.0, 2.0, 2.0])[[1, 2, 5]].round(2).tolist()
    [0.0, 2.0, 6.0]
    """
    given = np.asarray(values, dtype=np.float64)
    n = np.arange(1.0, len(given) + 1)
    x = given - given[:1]
    one, two, three, four = (np.cumsum(x**power) / n for power in (1, 2, 3, 4))
    variance = two - one**2
    fourth = four - 4 * one * three + 6 * one**2 * two - 3 * one**4
    differ = variance > ROUNDING**2 * np.cumsum(given**2) / n
    return n * np.divide(variance**2, fourth, out=np.zeros(len(x)), where=differ & (fourth > 0))


def error_of(values: ArrayLike, largest: float | None = None) -> float:
    """Return the standard error of the mean of two values or more; larger where their variance rests on few of them.

    It is 0 where all are 0, as of versions that are the same. Where all are another number, what comes seldom has not come
    yet: it is counted as if it were among them once, as far from 0 as `largest`, and without such a bound it is infinite.

    Examples
    --------
    >>> round(error_of([-1.0, 1.0] * 50), 6), round(error_of([0.0] * 99 + [1.0]), 6)
    (0.100504, 0.054225)
    >>> error_of([0.0, 0.0]), error_of([2.0, 2.0]), round(error_of([0.5] * 100, largest=1.0), 6)
    (0.0, inf, 0.054772)
    """
    given = np.asarray(values, dtype=np.float64)
    rests, n = rests_on(given)[-1], len(given)
    if not given.any():
        return 0.0
    if not rests:
        return math.inf if largest is None else math.sqrt(RESTS) * largest / n
    return float(given.std(ddof=1)) / math.sqrt(n) * math.sqrt(max(1.0, RESTS / rests))
