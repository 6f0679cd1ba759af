"""Who is among the share of a canary: by which fields of a row entities are told apart."""

from collections.abc import Callable, Sequence
from typing import Any

from tenfold.processing.derive import apply
from tenfold.processing.frame import column
from tenfold.training.model import Model


def sticky_fields(model: Model, kept: Sequence[str] = ()) -> Sequence[str]:
    """Return the fields of the spine by which a canary tells entities apart.

    Every row of an entity is answered by the same version. Where a model ranks, that is the field of its groups: scores of
    two versions are in no order. Elsewhere it is the keys of the first view that the spine has, or the ids. Those `kept`
    since a rollout began stay while the spine has them: views that are declared under way throw nobody out of its share.
    """
    if kept and model.spine.fields.keys() >= set(kept):
        return kept
    if model.kind == "ranking":
        return (str(model.groups),)
    fields = model.spine.root.fields
    return next(
        (view.keys for view in model.stored if fields.keys() >= set(view.keys)), tuple(model.spine.root.ids)
    )


def entities(
    model: Model, kept: Sequence[str], field: Callable[[str], Sequence[Any]], count: int
) -> list[str]:
    """Return who each of n rows is about.

    Parameters
    ----------
    kept
        As of `sticky_fields`.
    field
        Gives the values of a field of the source that the spine is made of, for all rows.
    """
    names, root = sticky_fields(model, kept), model.spine.root.fields
    if root.keys() >= set(names):
        each = [field(name) for name in names]
    else:
        frame, _ = apply(
            model.spine, {name: column(item.type, field(name)) for name, item in root.items()}, count
        )
        each = [frame[name].plain() for name in names]
    return ["/".join(map(str, one)) for one in zip(*each, strict=True)]
