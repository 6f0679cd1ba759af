"""Whether a version fits the declaration that runs: it never meets features it was not trained on."""

from tenfold.core.errors import SchemaError
from tenfold.core.vector import by_vector
from tenfold.training.model import Model
from tenfold.training.package import Package


def check_features(model: Model, package: Package, number: int) -> None:
    """Refuse a version whose features are not, to the letter, the ones declared now."""
    trained, declared = package.manifest.columns, dict(model.columns)
    if package.manifest.kind != model.kind:
        raise SchemaError(
            f"{model.name} version {number} answers as a model that is {package.manifest.kind}, and a model that is "
            f"{model.kind} is declared now. Train again, or run the declaration it was trained with."
        )
    missing, extra = sorted(set(trained) - set(declared)), sorted(set(declared) - set(trained))
    views = {view.name: view.fingerprint for view in model.views}
    changed = sorted(
        name for name, hash_ in package.manifest.views.items() if views.get(name, hash_) != hash_
    )
    if list(trained.items()) == list(declared.items()) and not changed:
        return
    told = [
        f"{word} {', '.join(by_vector(names))}"
        for word, names in (("missing", missing), ("new", extra), ("changed views", changed))
        if names
    ]
    raise SchemaError(
        f"{model.name} version {number} was trained on other features than are declared now: "
        f"{'; '.join(told) or 'another order'}. Train again, or run the declaration it was trained with."
    )
