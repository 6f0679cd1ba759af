"""What is searched when a model is tuned: parameters of its estimator and their ranges."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenfold.core.errors import DefinitionError, NotFound
from tenfold.core.spelled import spelled

Range = tuple[float, float] | tuple[float, float, str] | list[Any]


@spelled
@dataclass(frozen=True, eq=False)
class Tune:
    """A search over parameters of the estimator, judged on the model's folds by its first metric.

    The same seed and data give the same trials and the same best one, however many processes fit them.

    Parameters
    ----------
    space
        From parameter name, `step__name` inside a Pipeline, to a range: `(low, high)`, both ends included and whole
        numbers when both are; `(low, high, "log")` for orders of magnitude; or a list of choices.
    trials
        How many settings to try.
    seed
        Of the search.

    Examples
    --------
    >>> from tenfold import Tune
    >>> Tune(
    ...     {"num_leaves": (7, 63), "learning_rate": (0.01, 0.3, "log"), "subsample": [0.5, 1.0]}, trials=20
    ... ).trials
    20
    """

    space: Mapping[str, Range]
    trials: int = field(default=40, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if not self.space or not isinstance(self.space, Mapping):
            raise DefinitionError('Tune(...) names no parameter. Write Tune({"num_leaves": (7, 63)}).')
        if self.trials < 1 or self.seed < 0:
            raise DefinitionError(
                f"Tune(trials={self.trials}, seed={self.seed}): at least one trial, and a seed of 0 or more."
            )
        for name, given in self.space.items():
            _check(name, given)

    @property
    def text(self) -> list[Any]:
        """All of it as JSON values, for a fingerprint and to be read."""
        return [
            {name: [type(given).__name__, *map(repr, given)] for name, given in self.space.items()},
            self.trials,
            self.seed,
        ]

    def check(self, estimator: Any, where: str) -> None:
        """Refuse parameters that an estimator does not have; NotFound names the nearest."""
        if not hasattr(estimator, "get_params"):
            raise DefinitionError(
                f"{where}: estimator {type(estimator).__name__} has no get_params() and set_params(), so it cannot be tuned."
            )
        known = estimator.get_params(deep=True)
        for name in self.space:
            if name not in known and not _takes_any(estimator):
                raise NotFound(
                    "parameter", name, known, within=f"{where}, estimator {type(estimator).__name__}"
                )


def _takes_any(estimator: Any) -> bool:
    """Return whether parameters it does not list are passed on to a library, as those of boosters are."""
    return type(estimator).__module__.startswith(("lightgbm", "xgboost"))


def _check(name: str, given: Any) -> None:
    wrong = DefinitionError(
        f'Tune: "{name}" has the range {given!r}. Write (low, high), (low, high, "log") or a list of choices.'
    )
    if isinstance(given, list):
        if not given or any(not isinstance(item, (bool, int, float, str, type(None))) for item in given):
            raise wrong
        return
    if not isinstance(given, tuple) or len(given) not in (2, 3) or given[2:] not in ((), ("log",)):
        raise wrong
    if any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in given[:2]):
        raise wrong
    low, high = float(given[0]), float(given[1])
    if not low < high or (len(given) == 3 and low <= 0):
        raise wrong
