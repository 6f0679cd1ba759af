"""What the releases of a project add up to: sources and views by name, and look-ups that name the nearest."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.automation.release import Release
from tenfold.automation.sinks import same_name, shown
from tenfold.core.errors import DefinitionError, NotFound
from tenfold.core.spelled import spelled
from tenfold.features.view import FeatureView, with_upstream
from tenfold.processing.derive import Derived, Source
from tenfold.serving.answer.predictions import SCORES, TOPIC
from tenfold.sources.declare import Events, check_kind, check_name
from tenfold.training.model import Model

TAKEN = (TOPIC, SCORES)
"""Names of topics and tables that tenfold writes itself."""


@spelled
@dataclass(frozen=True, eq=False)
class Declared:
    """A name and the releases of a project; sources, views and models follow from them.

    Raises
    ------
    DefinitionError
        When two different things have one name.
    """

    name: str
    releases: Sequence[Release] = field(kw_only=True)
    sources: dict[str, Events] = field(init=False, repr=False)
    views: dict[str, FeatureView] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_name("project", self.name)
        for release in self.releases:
            check_kind(
                f'project "{self.name}": releases', release, Release, "Write releases=[Release(model)]."
            )
        sources, views = collect(self.releases)
        object.__setattr__(self, "sources", sources)
        object.__setattr__(self, "views", views)

    def source(self, source: Source | str) -> Events:
        """Return a source by name; NotFound names the nearest, DefinitionError the source that a derived one reads."""
        return find_source(source, self.sources, self.releases)

    def release(self, model: Model | str | None = None) -> Release:
        """Return the release of a model; without one, the only release there is.

        Raises
        ------
        NotFound
            When there is no such model; names the nearest.
        DefinitionError
            When none is named and there is not exactly one.
        """
        return find_release(model, self.name, self.releases)


def collect(releases: Sequence[Release]) -> tuple[dict[str, Events], dict[str, FeatureView]]:
    """Return all sources whose records are read, and all views, by name.

    Raises
    ------
    DefinitionError
        When two different things have one name.
    """
    sources: dict[str, Events] = {}
    views: dict[str, FeatureView] = {}
    names = [release.model.name for release in releases]
    for name in names:
        if names.count(name) > 1:
            raise DefinitionError(
                f'there are several releases of model "{name}". Remove all but one, or rename its model.'
            )
    for model in (release.model for release in releases):
        read = list(with_upstream(model.views))
        for view in read:
            _add("feature view", views, view.name, view)
        roots = (model.spine.root, model.label.source.root, *(view.source.root for view in read))
        for root in roots:
            _add("source", sources, root.name, root)
    for name, holder in ((TOPIC, "the prediction log"), (SCORES, "what batch scoring answers")):
        if name in sources:
            raise DefinitionError(f'source name "{name}" is taken by {holder}. Rename the source.')
    _check_sinks(releases, sources)
    _check_fallbacks(releases)
    return sources, views


def sinks(releases: Sequence[Release]) -> dict[str, list[str]]:
    """Return the addresses that answers go to, each with the names of the models whose answers those are."""
    found: dict[str, list[str]] = {}
    for release in releases:
        for address in release.to:
            found.setdefault(address, []).append(release.model.name)
    return found


def _check_sinks(releases: Sequence[Release], sources: dict[str, Events]) -> None:
    seen: dict[str, str] = {}
    for address, models in sinks(releases).items():
        if seen.setdefault(shown(address), address) != address:
            raise DefinitionError(
                f'release of "{models[0]}": to="{shown(address)}" is named twice, with different queries. Remove one.'
            )
        name = same_name(address)
        if name in sources or name in TAKEN:
            holder = f'source "{name}"' if name in sources else "tenfold itself"
            raise DefinitionError(
                f'release of "{models[0]}": to="{address}" would be mixed with the rows of {holder}. Choose another name, for '
                f'example "{address}_decided".'
            )


def _check_fallbacks(releases: Sequence[Release]) -> None:
    models = [release.model for release in releases]
    for other in (release.degraded for release in releases):
        if isinstance(other, Model) and not any(other is model for model in models):
            raise DefinitionError(
                f'model "{other.name}" is to answer in degraded mode, and has no release that trains it. Add Release({other.name}).'
            )


def find_source(source: Source | str, sources: dict[str, Events], releases: Sequence[Release]) -> Events:
    """Return a source by name; NotFound names the nearest, DefinitionError the source that a derived one reads."""
    name = source if isinstance(source, str) else source.name
    root = None if isinstance(source, Events) else _derived(releases).get(name)
    if root is not None and (name not in sources or isinstance(source, Derived)):
        raise DefinitionError(
            f'source "{name}" is computed from source "{root}" and holds no rows of its own. Use "{root}".'
        )
    found: Events = _get("source", sources, name)
    return found


def find_release(model: Model | str | None, project: str, releases: Sequence[Release]) -> Release:
    """Return the release of a model; without one, the only release there is."""
    known = {release.model.name: release for release in releases}
    if model is None and len(known) != 1:
        names = f"Name one of {', '.join(sorted(known))}." if known else "Add a Release."
        raise DefinitionError(f'project "{project}" has {len(known)} models. {names}')
    name = model.name if isinstance(model, Model) else model or next(iter(known))
    found: Release = _get("model", known, name)
    return found


def _derived(releases: Sequence[Release]) -> dict[str, str]:
    """Return the source that is read, by the name of each source computed from it."""
    found: dict[str, str] = {}
    for model in (release.model for release in releases):
        for source in (model.spine, model.label.source, *(view.source for view in model.views)):
            while isinstance(source, Derived):
                found[source.name] = source.root.name
                source = source.source
    return found


def _add(kind: str, known: dict[str, Any], name: str, item: Any) -> None:
    if known.setdefault(name, item) is not item:
        raise DefinitionError(f'two {kind}s are named "{name}". Rename one.')


def _get(kind: str, known: dict[str, Any], name: str) -> Any:
    if name not in known:
        raise NotFound(kind, name, known)
    return known[name]
