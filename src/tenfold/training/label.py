"""Labels: the outcome of a row that is predicted."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from tenfold.core.errors import DefinitionError, NotFound
from tenfold.core.expr import NUMERIC, Expr, count, need
from tenfold.core.fingerprint import fingerprint
from tenfold.core.infer import infer
from tenfold.core.spelled import spelled
from tenfold.core.times import duration
from tenfold.core.windows import Window
from tenfold.features.view import Entity, FeatureView
from tenfold.processing.derive import Source
from tenfold.sources.declare import SOURCES, check_kind

LABELS = (*NUMERIC, "str")
"""The types of a label; a text is a class."""


@spelled
@dataclass(frozen=True, eq=False)
class Label:
    """The outcome of a row, looking ahead: an event that happens within `horizon` of the prediction.

    Parameters
    ----------
    source
        The events that hold the outcome.
    on
        The field, in the spine and in `source`, by which they meet.
    value
        The outcome: an expression over the last event within the horizon, aggregates over all of them such as
        `col("units").sum().fill_null(0)`, or `exists()`: whether there is one. A text is one of several classes.
    horizon
        How long after the prediction the outcome may come. A row is mature, and may be learned from, when its
        horizon has passed; before that, early outcomes would bias it.

    Examples
    --------
    >>> from datetime import datetime
    >>> from tenfold import Events, Label, col
    >>> class Departure:
    ...     flight_id: str
    ...     delay: float
    ...     at: datetime
    >>> departures = Events("departures", Departure, time="at", id="flight_id")
    >>> Label(departures, on="flight_id", value=col("delay") > 15, horizon="1d").horizon
    '1d'
    """

    source: Source
    on: str = field(kw_only=True)
    value: Expr = field(kw_only=True)
    horizon: str = field(kw_only=True)
    view: FeatureView = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_kind("label: source", self.source, Source, SOURCES)
        duration(self.horizon, name="horizon")
        if self.on not in self.source.fields:
            raise NotFound(
                "field", str(self.on), self.source.fields, within=f'label source "{self.source.name}"'
            )
        if self.source.upstream:
            raise DefinitionError(
                f'{self._where} reads features of view "{self.source.upstream[0].name}". A label is made of its own events.'
            )
        entity = Entity("label", key=self.on)
        view = FeatureView("label", entity=entity, source=self.source, features={"value": self._outcome()})
        if self._type(view) not in LABELS:
            raise DefinitionError(
                f"{self._where}: value={self.value.text} is a {self._type(view)}, not a number, a condition or a text."
            )
        object.__setattr__(self, "view", view)

    def _outcome(self) -> Expr:
        """Return the value as aggregates over the events within the horizon."""
        need(self.value, self._where)
        value = _counted(self.value)
        if not value.aggregates():
            infer(value, {name: item.type for name, item in self.source.fields.items()}, self._where)
            return value.last()
        for node in value.aggregates():
            if node.window != Window():
                raise DefinitionError(
                    f"{self._where}: {node.text} names a window, but the aggregates of a label are over its horizon. "
                    "Leave the window out."
                )
        return value

    @staticmethod
    def _type(view: FeatureView) -> str:
        return view.plan.types["value"]

    @property
    def type(self) -> str:
        """The type of the outcome: "bool", "int", "float" or "str"."""
        return self._type(self.view)

    @property
    def _where(self) -> str:
        return f'label of source "{self.source.name}"'

    @property
    def horizon_us(self) -> int:
        """The horizon in microseconds."""
        return duration(self.horizon)

    @property
    def takes_us(self) -> int:
        """How long after the prediction its outcome is known for sure: the horizon and the source's delay."""
        return self.horizon_us + self.source.root.delay_us

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that changes a label."""
        return fingerprint(self.view.fingerprint, self.value.text, self.horizon)


def _counted(value: Expr) -> Expr:
    """Return an expression with each `exists()` as a count of events."""
    if value.fn == "exists":
        return count() > 0
    return replace(value, args=tuple(_counted(arg) if isinstance(arg, Expr) else arg for arg in value.args))
