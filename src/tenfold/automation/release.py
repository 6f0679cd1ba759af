"""Releases: how versions of a model get into Production, are watched, and are replaced."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tenfold.core.errors import DefinitionError
from tenfold.core.times import duration
from tenfold.monitoring.checks import Check
from tenfold.training.kinds import check_metric
from tenfold.training.model import Model


@dataclass(frozen=True, eq=False)
class Release:
    """A model with the rules by which its versions come and go.

    Parameters
    ----------
    gates
        Checks a candidate must pass before it is promoted; judged on the newest mature rows.
    monitors
        Checks of what was served, once outcomes are known; `then="retrain"` starts a retraining when one is false.
    retrain_every
        The longest time between two trainings, for example "30d".
    cooldown
        The shortest time between two trainings that a monitor starts.

    Examples
    --------
    >>> from tenfold import checks
    >>> checks.at_least("roc_auc", 0.74, window="7d", then="retrain").then
    'retrain'
    """

    model: Model
    gates: Sequence[Check] = field(default=(), kw_only=True)
    monitors: Sequence[Check] = field(default=(), kw_only=True)
    retrain_every: str | None = field(default=None, kw_only=True)
    cooldown: str = field(default="14d", kw_only=True)

    def __post_init__(self) -> None:
        for text, name in ((self.retrain_every, "retrain_every"), (self.cooldown, "cooldown")):
            if text is not None:
                duration(text, name=name)
        for check in (*self.gates, *self.monitors):
            check_metric(f'release of "{self.model.name}"', self.model.kind, check.metric)
        for check in self.monitors:
            if check.kind == "beats_champion":
                raise DefinitionError(
                    f'release of "{self.model.name}": "{check.text}" is a gate; there is nothing to beat later.'
                )
            if check.window is None:
                raise DefinitionError(
                    f'release of "{self.model.name}": monitor "{check.text}" does not say over how long. '
                    'Add for example window="7d".'
                )

    @property
    def every_us(self) -> int | None:
        """The longest time between two trainings in microseconds."""
        return None if self.retrain_every is None else duration(self.retrain_every)

    @property
    def cooldown_us(self) -> int:
        """The cool-down in microseconds."""
        return duration(self.cooldown)
