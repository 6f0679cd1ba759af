"""Whether a version fits the declaration that runs: it never meets features it was not trained on."""

from collections.abc import Iterator

import numpy as np

from tenfold.core.errors import OtherKind, SchemaError
from tenfold.core.vector import by_vector
from tenfold.training.model import Model
from tenfold.training.package import Manifest

Places = np.ndarray | None
"""Where features are among others, (n_features,) int64; None when both are the same, in the same order."""


def places(model: Model, manifest: Manifest, number: int) -> Places:
    """Return where the features that a version was trained on are among those declared now.

    It takes these and no others, so what is declared beside them keeps nobody from asking it.

    Raises
    ------
    SchemaError
        When one of them is not declared any more, or on another definition; OtherKind where something else is predicted.
    """
    check_kind(model, manifest, number)
    trained, declared = list(manifest.columns), list(model.columns)
    told = list(_differences(model, manifest))
    if told:
        raise SchemaError(
            f"{model.name} version {number} was trained on other features than are declared now: "
            f"{'; '.join(told)}. Train again, or run the declaration it was trained with."
        )
    return None if trained == declared else np.array([declared.index(name) for name in trained])


def check_kind(model: Model, manifest: Manifest, number: int) -> None:
    """Refuse a version that answers something else than is declared now; that it cannot be loaded then is no fault of its files.

    Raises
    ------
    OtherKind
        When its kind is not the one of the model.
    """
    if manifest.kind != model.kind:
        raise OtherKind(
            f"{model.name} version {number} answers as a model that is {manifest.kind}, and a model that is "
            f"{model.kind} is declared now. Train again, or run the declaration it was trained with."
        )


def _differences(model: Model, manifest: Manifest) -> Iterator[str]:
    """Yield what keeps a version from being asked, and beside that what is new."""
    trained, declared = manifest.columns, model.columns
    missing = [name for name in trained if name not in declared]
    changed = [name for name in trained if name in declared and _is_other(model, manifest, name)]
    views = {view.name: view.fingerprint for view in model.views}
    # a version of before features had fingerprints says what its views were
    of_views = {} if manifest.fingerprints else manifest.views
    other = [name for name, mark in of_views.items() if views.get(name, mark) != mark]
    new = [name for name in declared if name not in trained] if missing or changed or other else []
    said: list[str] = []
    for word, names in (("missing", missing), ("changed", changed), ("changed views", other), ("new", new)):
        left = [
            name for name in by_vector(sorted(names)) if name not in said
        ]  # of a vector, a part may be missing
        said += left
        if left:
            yield f"{word} {', '.join(left)}"


def _is_other(model: Model, manifest: Manifest, name: str) -> bool:
    """Return whether a feature is declared in another way than a version knows it."""
    known = manifest.fingerprints
    return manifest.columns[name] != model.columns[name] or (
        bool(known) and known.get(name) != model.fingerprints[name]
    )
