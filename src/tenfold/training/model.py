"""Models and labels: what is predicted, for which rows, when, and from what."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

from tenfold.core.errors import DefinitionError
from tenfold.core.expr import AS_OF, Expr
from tenfold.core.fingerprint import fingerprint
from tenfold.core.infer import infer
from tenfold.core.spelled import spelled
from tenfold.core.times import duration
from tenfold.core.vector import Vector
from tenfold.features.view import FeatureView
from tenfold.processing.derive import Source
from tenfold.sources.declare import SOURCES, check_kind, check_name
from tenfold.training.checking import check_keys, check_learning, check_pipeline, check_sources
from tenfold.training.kinds import DEFAULT_METRICS, Kind, kind_of
from tenfold.training.label import Label
from tenfold.training.outputs import Outputs, outputs_of
from tenfold.training.space import Tune

USUAL = 0.5
"""The threshold that goes without saying."""
ADDRESS = re.compile(" at 0x[0-9a-f]+")
"""What a repr says of a function beside its name, another one in every process."""


class Estimator(Protocol):
    """Anything with scikit-learn's `fit`."""

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from X (n_rows, n_features) float64 and y (n_rows,) float64."""
        ...


@spelled
@dataclass(frozen=True, eq=False)
class Model:
    """What is predicted, when, from what, and how it is learned.

    Parameters
    ----------
    spine
        The source whose rows are predicted.
    lead
        How long before a row's event time the prediction is made.
    features
        Feature views, or single features `view["name"]`, in the order the estimator gets them.
    estimator
        An object with scikit-learn's `fit`; it is copied, never changed. Without one, versions come from `App.register`.
    threshold
        Scores from here on are decided as true; 0.5 when not given. Only where the label is true or false.
    metrics
        Names of metrics to report; the first is the one models are compared by. One for the kind when not given.
    train_window
        How much history to learn from; everything when not given.
    test_window
        How much of the newest mature history to keep aside for evaluation.
    tune
        Parameters of the estimator to search, judged on `folds`; none when not given.
    folds
        How many times to learn and test before the test period, each on a `test_window`: see `training/folds.py`.
    calibrate
        "isotonic" or "sigmoid": scores are corrected on a `test_window` of rows held out before the test period.
    slices
        Features by whose values the evaluation is broken down.
    groups
        A field of the spine; rows of one value never lie on both sides of a split; an estimator that ranks orders the rows
        of one value among each other.
    trusted
        What may be loaded from this model's files beside the types that are known to be harmless: names of types, such as
        "shop.features.Clip"; "pickle" allows a pickle, which can run any code.

    outputs
        What becomes of a score, by name: rules and checks over the fields of the spine, `view["name"]` of the features,
        `col("score")`, `col("decision")`, `col("version")`, for several classes `col("prediction")` and
        `col("probability.NAME")`, and the outputs before it. Another rule needs no other version.

    Raises
    ------
    DefinitionError
        When a name, a window or a feature does not fit.
    """

    name: str
    spine: Source = field(kw_only=True)
    features: Sequence[FeatureView | Expr] = field(kw_only=True)
    label: Label = field(kw_only=True)
    estimator: Estimator | None = field(default=None, kw_only=True)
    lead: str | None = field(default=None, kw_only=True)
    threshold: float | None = field(default=None, kw_only=True)
    metrics: Sequence[str] = field(default=(), kw_only=True)
    train_window: str | None = field(default=None, kw_only=True)
    test_window: str = field(default="14d", kw_only=True)
    tune: Tune | None = field(default=None, kw_only=True)
    folds: int = field(default=0, kw_only=True)
    calibrate: Literal["isotonic", "sigmoid"] | None = field(default=None, kw_only=True)
    slices: Sequence[str] = field(default=(), kw_only=True)
    groups: str | None = field(default=None, kw_only=True)
    trusted: Sequence[str] = field(default=(), kw_only=True)
    outputs: Mapping[str, Expr] = field(default_factory=dict, kw_only=True)
    columns: Mapping[str, str] = field(init=False, repr=False)
    views: Sequence[FeatureView] = field(init=False, repr=False)
    rules: Outputs = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name("model", self.name)
        check_kind(f'model "{self.name}": spine', self.spine, Source, SOURCES)
        instead = 'Write for example label=Label(refunds, on="order_id", value=exists(), horizon="30d").'
        check_kind(f'model "{self.name}": label', self.label, Label, instead)
        self._check_times()
        check_learning(self)
        self._settle()
        references = list(_references(self.name, self.features))
        object.__setattr__(self, "views", _views(references))
        check_keys(self)
        check_sources(self)
        types = self._types()
        names = [f"{view.name}.{name}" for view, name in references]
        object.__setattr__(self, "columns", {name: types[name] for name in names})
        check_pipeline(self)
        object.__setattr__(self, "rules", outputs_of(self))

    @cached_property
    def kind(self) -> Kind:
        """What is predicted: "binary", "multiclass", "regression" or "ranking"."""
        return kind_of(self.estimator, self.label.type, self.metrics)

    @property
    def lead_us(self) -> int:
        """The lead in microseconds."""
        return 0 if self.lead is None else duration(self.lead)

    @property
    def test_us(self) -> int:
        """The test window in microseconds."""
        return duration(self.test_window)

    @property
    def train_us(self) -> int | None:
        """The training window in microseconds."""
        return None if self.train_window is None else duration(self.train_window)

    @property
    def stored(self) -> list[FeatureView]:
        """The views whose features are stored per key."""
        return [view for view in self.views if view.entity is not None]

    @cached_property
    def computed(self) -> dict[str, Expr]:
        """The request-time features by column, as expressions over the spine's columns and the stored features."""
        found: dict[str, Expr] = {}
        for view in self.views:
            if view.entity is None:
                names = {node.text: f"{node.args[0]}.{node.args[1]}" for node in nodes(view)}
                found |= {
                    f"{view.name}.{name}": expr.replace_leaves(names) for name, expr in view.features.items()
                }
        return found

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """By column a hash of everything that changes its values."""
        every = {
            f"{view.name}.{name}": mark for view in self.views for name, mark in view.fingerprints.items()
        }
        return {name: every[name] for name in self.columns}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything declared that changes a trained version."""
        views = {view.name: view.fingerprint for view in self.views}
        estimator = [type(self.estimator).__qualname__, _parameters(self.estimator)]
        times = [self.lead, self.train_window, self.test_window]
        tune = None if self.tune is None else self.tune.text
        pipeline = [tune, self.folds, self.calibrate, list(self.slices), self.groups, list(self.metrics)]
        return fingerprint(
            self.name,
            self.spine.fingerprint,
            views,
            list(self.columns),
            self.label.fingerprint,
            estimator,
            times,
            pipeline,
            # what goes without saying is left out, so that versions from before it was part of this still match
            *([] if self.threshold in (None, USUAL) else [self.threshold]),
        )

    def _check_times(self) -> None:
        duration(self.test_window, name="test_window")
        for text, name in ((self.train_window, "train_window"), (self.lead, "lead")):
            if text is not None:
                duration(text, name=name)
        if self.train_us is not None and self.train_us <= self.test_us:
            raise DefinitionError(
                f'model "{self.name}": test_window="{self.test_window}" leaves nothing to fit on, because it is part of '
                f'train_window="{self.train_window}". Make test_window shorter.'
            )

    def _settle(self) -> None:
        """Give the metrics and the threshold that go without saying."""
        object.__setattr__(self, "metrics", tuple(self.metrics) or DEFAULT_METRICS[self.kind])
        if self.threshold is None and self.kind == "binary":
            object.__setattr__(self, "threshold", USUAL)

    def _types(self) -> dict[str, str]:
        types = {
            f"{view.name}.{name}": kind for view in self.stored for name, kind in view.plan.types.items()
        }
        fields = {name: item.type for name, item in self.spine.fields.items()} | {AS_OF: "time"}
        for name, expr in self.computed.items():
            types[name] = infer(expr, fields | types, f'feature "{name}"')
        return types


def nodes(view: FeatureView) -> Iterator[Expr]:
    """Yield the references to features of other views in a view."""
    for expr in view.features.values():
        yield from (node for node in expr.walk() if node.fn == "feature")


def _references(model: str, features: Iterable[object]) -> Iterator[tuple[FeatureView, str]]:
    if isinstance(features, Expr) or not features:
        raise DefinitionError(
            f'model "{model}": features is not a list of at least one feature view or feature.'
        )
    for item in features:
        if isinstance(item, FeatureView):
            yield from ((item, name) for name in item.features)
        elif isinstance(item, Vector):
            yield from _references(model, list(item))
        elif isinstance(item, Expr) and item.fn == "feature":
            yield item.args[2], item.args[1]
        else:
            raise DefinitionError(
                f'model "{model}": features takes feature views and features such as view["name"], not {item!r}.'
            )


def _views(references: Sequence[tuple[FeatureView, str]]) -> list[FeatureView]:
    """Return each view that is used, also by reference, those that are referred to first."""
    found: dict[str, FeatureView] = {}

    def visit(view: FeatureView) -> None:
        for node in nodes(view):
            visit(node.args[2])
        if found.setdefault(view.name, view) is not view:
            raise DefinitionError(f'two feature views are named "{view.name}". Rename one.')

    for view in dict.fromkeys(view for view, _ in references):
        visit(view)
    return list(found.values())


def _parameters(estimator: Estimator | None) -> dict[str, str]:
    if estimator is None:
        return {}
    given = estimator.get_params() if hasattr(estimator, "get_params") else vars(estimator)
    return {name: ADDRESS.sub("", repr(value)) for name, value in sorted(given.items())}
