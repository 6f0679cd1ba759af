"""Releases: how versions of a model get into Production, are watched, and are replaced."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal

from tenfold.automation.sinks import check_address, shown, told
from tenfold.core.errors import DefinitionError, suggest
from tenfold.core.spelled import spelled
from tenfold.core.times import duration
from tenfold.monitoring.checks import Check
from tenfold.sources.declare import check_kind
from tenfold.training.kinds import check_metric
from tenfold.training.model import Model

_PLURAL = {Check: "checks", Real: "numbers"}


@spelled
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
    shadow
        How long at most a candidate that passed the gates is asked about the same requests as the champion, its answers
        kept and never returned; for example "7d". It goes on as soon as the outcomes show that it is not worse.
    canary
        Shares of the entities, such as (0.05, 0.25, 0.5), that it then answers, each for at least `bake`.
    margin
        How much worse, in mean loss, still counts as not worse: of squared errors of probabilities; for a model of numbers
        a share of the champion's mean loss, by its first metric.
    unit
        A field of the spine, such as "card": rows with the same value count as one outcome of a rollout, their first. For rows of an
        entity that share what favours a version, and seen in many entities: outcomes that count are then fewer.
    approval
        Whether a person must approve before it is promoted.
    to
        Where every answer goes downstream, at least once and in order: "topic:decisions" of the log, "table:decisions" of
        the lake, "https://host/path" of somebody else.
    degraded
        What a request gets when the states are not there in time, or the online store is away: "refuse", "stale" for an answer
        from the states as they are, or a model without stored features, which has a release too and answers from the request
        alone.
    score_every
        How long the partitions are that the controller scores in batch by itself, such as "1d": each once it is over and its
        sources have had the time that they declare (`delay` and `lateness`) to arrive.

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
    shadow: str | None = field(default=None, kw_only=True)
    canary: Sequence[float] = field(default=(), kw_only=True)
    bake: str = field(default="1h", kw_only=True)
    margin: float = field(default=0.005, kw_only=True)
    unit: str | None = field(default=None, kw_only=True)
    approval: bool = field(default=False, kw_only=True)
    to: Sequence[str] = field(default=(), kw_only=True)
    degraded: Model | Literal["refuse", "stale"] = field(default="refuse", kw_only=True)
    score_every: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_kind("release: model", self.model, Model, "Give the Model itself.")
        self._check_kinds()
        for name in ("retrain_every", "cooldown", "shadow", "bake", "score_every"):
            if getattr(self, name) is not None or name in ("cooldown", "bake"):
                duration(getattr(self, name), name=name)
        self._check_rollout()
        self._check_unit()
        self._check_sinks()
        self._check_degraded()
        for check in (*self.gates, *self.monitors):
            if check.metric:
                check_metric(f'release of "{self.model.name}"', self.model.kind, check.metric)
        for check in self.monitors:
            if check.kind not in ("at_least", "at_most"):
                raise DefinitionError(
                    f'release of "{self.model.name}": "{check.text}" is a gate; there is nothing to beat later.'
                )
            if check.window is None:
                raise DefinitionError(
                    f'release of "{self.model.name}": monitor "{check.text}" does not say over how long. '
                    'Add for example window="7d".'
                )

    def _check_kinds(self) -> None:
        """Refuse what is no list of the right things, no number and no yes or no."""
        where = f'release of "{self.model.name}"'
        lists = {
            "gates": (Check, 'Write for example gates=[checks.at_least("roc_auc", 0.74)].'),
            "monitors": (Check, 'Write for example monitors=[checks.at_least("roc_auc", 0.7, window="7d")].'),
            "canary": (Real, "Write for example canary=(0.05, 0.25, 0.5)."),
        }
        for name, (kind, instead) in lists.items():
            given = getattr(self, name)
            if not isinstance(given, (list, tuple)) or not all(isinstance(item, kind) for item in given):
                raise DefinitionError(f"{where}: {name} is not a list of {_PLURAL[kind]}. {instead}")
        check_kind(f"{where}: margin", self.margin, Real, "Write for example margin=0.005.")
        check_kind(f"{where}: approval", self.approval, bool, "Write True or False.")

    def _check_rollout(self) -> None:
        """Refuse steps that are no shares or do not rise, a margin that is none, and an approval of nothing."""
        where = f'release of "{self.model.name}"'
        object.__setattr__(self, "canary", tuple(self.canary))
        steps = list(self.canary)
        if any(not 0 < share < 1 for share in steps) or sorted(set(steps)) != steps:
            raise DefinitionError(
                f"{where}: canary={tuple(steps)} is not a rising list of shares between 0 and 1. "
                "Write for example canary=(0.05, 0.25, 0.5); Production follows by itself."
            )
        if not 0 < self.margin < 1:
            raise DefinitionError(
                f"{where}: margin={self.margin:g} is not between 0 and 1. Without any margin, no number of labels could show "
                "that a candidate is not worse; write for example margin=0.005."
            )
        if self.approval and not self.has_rollout:
            raise DefinitionError(
                f"{where}: approval=True has nothing to wait with: a version that passes the gates is promoted at once. "
                'Add shadow="7d" or canary=(0.1,).'
            )

    def _check_unit(self) -> None:
        """Refuse a unit that rows do not have, or beside groups that are ranked, which are the units there."""
        where, fields = f'release of "{self.model.name}"', self.model.spine.fields
        if self.unit is not None and self.unit not in fields:
            hint = suggest(str(self.unit), fields, len(fields))
            raise DefinitionError(
                f'{where}: unit={self.unit!r} is no field of "{self.model.spine.name}".{hint}'
            )
        if self.unit is not None and self.model.groups is not None:
            raise DefinitionError(
                f'{where}: unit="{self.unit}" says nothing: what is ranked counts by "{self.model.groups}".'
            )

    def _check_sinks(self) -> None:
        where = f'release of "{self.model.name}"'
        if isinstance(self.to, str):
            raise DefinitionError(
                f'{where}: to="{told(self.to)}" is not a list. Write to=["{told(self.to)}"].'
            )
        if not isinstance(self.to, (list, tuple)):
            raise DefinitionError(
                f'{where}: to is not a list of addresses. Write for example to=["topic:decisions"].'
            )
        object.__setattr__(self, "to", tuple(self.to))
        for address in self.to:
            check_address(address, where)
        if len(set(map(shown, self.to))) < len(self.to):
            raise DefinitionError(f"{where}: to={list(map(told, self.to))} names a place twice. Remove one.")

    def _check_degraded(self) -> None:
        where, other = f'release of "{self.model.name}": degraded', self.degraded
        if not isinstance(other, Model):
            if other not in ("refuse", "stale"):
                hint = suggest(str(other), ("refuse", "stale"))
                raise DefinitionError(f"{where}={other!r} is neither a mode nor a model.{hint}")
            return
        if other.stored:
            raise DefinitionError(
                f'{where}: model "{other.name}" reads states too, of view "{other.stored[0].name}". Use a model of features of the '
                "request alone, in views without an entity."
            )
        if (
            other.spine is not self.model.spine
            or other.kind != self.model.kind
            or other.name == self.model.name
        ):
            raise DefinitionError(
                f'{where}: model "{other.name}" cannot answer for "{self.model.name}": it must be another model of the same '
                f"spine and kind ({self.model.kind})."
            )

    def above(self, share: float) -> Sequence[float]:
        """Return the steps of the canary that are still to come after a share: so nobody is thrown out when others are declared."""
        return [step for step in self.canary if step > share]

    @property
    def has_rollout(self) -> bool:
        """Whether a candidate goes through shadow or canary before it is promoted."""
        return self.shadow is not None or bool(self.canary)

    @property
    def budget_us(self) -> int | None:
        """The latency a version may have in microseconds, None when no gate says."""
        found = [int(check.bound) for check in self.gates if check.kind == "latency"]
        return min(found) if found else None

    @property
    def shadow_us(self) -> int:
        """The longest time in shadow in microseconds; 0 without one."""
        return 0 if self.shadow is None else duration(self.shadow)

    @property
    def bake_us(self) -> int:
        """The shortest time of a step of the canary in microseconds."""
        return duration(self.bake)

    @property
    def every_us(self) -> int | None:
        """The longest time between two trainings in microseconds."""
        return None if self.retrain_every is None else duration(self.retrain_every)

    @property
    def cooldown_us(self) -> int:
        """The cool-down in microseconds."""
        return duration(self.cooldown)
