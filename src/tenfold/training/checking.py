"""Whether the parts of a model fit together: keys, sources, and how it is trained and evaluated."""

from typing import Any

from tenfold.core.errors import DefinitionError, NotFound
from tenfold.processing.derive import Derived
from tenfold.training.kinds import check_kind, check_metric
from tenfold.training.metrics import METRICS

Model = Any
"""A model that is being declared; its own module imports this one."""

CALIBRATIONS = ("isotonic", "sigmoid")


def check_keys(model: Model) -> None:
    """Compare the keys of the spine with those of the views and of the label: they meet by value."""
    wanted = [(key, view.source, f'key of view "{view.name}"') for view in model.stored for key in view.keys]
    if model.label.on not in model.spine.root.fields:
        raise NotFound(
            "field",
            model.label.on,
            model.spine.root.fields,
            within=f'spine "{model.spine.root.name}", on of the label',
        )
    for key, source, role in [*wanted, (model.label.on, model.label.source, "on of the label")]:
        if key not in model.spine.fields:
            raise NotFound("field", key, model.spine.fields, within=f'spine "{model.spine.name}", {role}')
        if key == model.label.on and model.spine.fields[key].nullable:
            raise DefinitionError(
                f'model "{model.name}": "{key}", by which rows meet their labels, may be missing in spine '
                f'"{model.spine.name}". Remove `| None` from the field.'
            )
        mine, other = model.spine.fields[key].type, source.fields[key].type
        if mine != other:
            raise DefinitionError(
                f'model "{model.name}": "{key}" is {mine} in spine "{model.spine.name}" and {other} in source '
                f'"{source.name}", {role}; they would never meet. Declare one type.'
            )


def check_sources(model: Model) -> None:
    """Refuse a spine or a view that cannot be read when a row is predicted."""
    if model.spine.upstream:
        raise DefinitionError(
            f'model "{model.name}": spine "{model.spine.name}" reads features of view "{model.spine.upstream[0].name}". Use its '
            f'source "{model.spine.root.name}" as spine, and read the features in a view without an entity.'
        )
    chain = [model.spine]
    while isinstance(chain[-1], Derived):
        chain.append(chain[-1].source)
    for view in model.views:
        if view.entity is None and view.source not in chain:
            raise DefinitionError(
                f'model "{model.name}": view "{view.name}" has no entity, so it reads the row that is predicted, but its '
                f'source is "{view.source.name}" and the spine is "{model.spine.name}". Declare it over the spine.'
            )

    for view in model.stored:
        if view.plan.includes_self and (view.source.root is not model.spine.root or model.lead is not None):
            raise DefinitionError(
                f'model "{model.name}": view "{view.name}" counts the row that is asked for (include_self), so the rows to '
                f'predict must be those of its source "{view.source.root.name}", without a lead.'
            )


def check_learning(model: Model) -> None:
    """Refuse an estimator, metrics or a threshold that cannot be, or that do not fit what is predicted."""
    where = f'model "{model.name}"'
    for name in ("metrics", "trusted"):
        if isinstance(getattr(model, name), str):
            raise DefinitionError(f"{where}: {name}={getattr(model, name)!r} is not a list of names.")
    for metric in model.metrics:
        if metric not in METRICS:
            raise NotFound("metric", metric, METRICS, within=where)
    if isinstance(model.estimator, type):
        raise DefinitionError(
            f"{where}: estimator {model.estimator.__name__} is a class. Write estimator={model.estimator.__name__}()."
        )
    if model.estimator is not None and not hasattr(model.estimator, "fit"):
        raise DefinitionError(f"{where}: estimator {model.estimator!r} has no fit(X, y).")
    check_kind(where, model.kind, model.estimator, model.label.type, model.groups)
    for metric in model.metrics:
        check_metric(where, model.kind, metric)
    if model.threshold is not None and model.kind != "binary":
        raise DefinitionError(
            f"{where}: threshold={model.threshold} decides between true and false, but the model is {model.kind}. Remove it."
        )


def check_pipeline(model: Model) -> None:
    """Refuse slices, groups, folds and searches that the model cannot have."""
    where = f'model "{model.name}"'
    for name in model.slices:
        if name not in model.columns:
            raise NotFound("feature", name, model.columns, within=f"{where}, slices")
    if model.groups is not None and model.groups not in model.spine.fields:
        raise NotFound(
            "field", model.groups, model.spine.fields, within=f'{where}, groups: spine "{model.spine.name}"'
        )
    if model.calibrate not in (None, *CALIBRATIONS):
        raise NotFound("calibration", str(model.calibrate), CALIBRATIONS, within=where)
    if model.calibrate is not None and model.kind != "binary":
        raise DefinitionError(
            f"{where}: calibrate={model.calibrate!r} corrects probabilities of yes or no, and the label is none. Remove it."
        )
    if model.folds < 0 or (model.tune is not None and model.folds < 1):
        raise DefinitionError(
            f"{where}: folds={model.folds}, but tune=Tune(...) judges parameters on folds before the test period. Add folds=3."
        )
    if model.tune is not None:
        model.tune.check(model.estimator, where)
