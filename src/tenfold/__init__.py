"""A complete production ML system, declared once in Python.

The one rule: a feature as of t is a function of records known strictly before t; a label is a function of events in
[t, t + horizon]. Backfill, stream, request, training set and replay are that same function run somewhere else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenfold.automation.release import Release
    from tenfold.core.clock import VirtualClock
    from tenfold.core.expr import col, count, exists
    from tenfold.features.view import Entity, FeatureView
    from tenfold.monitoring import checks
    from tenfold.platform import Platform
    from tenfold.processing.derive import Derived
    from tenfold.processing.from_sql import sql
    from tenfold.project import App, Project
    from tenfold.serving.client import AsyncClient, Client
    from tenfold.sources.declare import Events, Table
    from tenfold.training.label import Label
    from tenfold.training.model import Model
    from tenfold.training.space import Tune

__all__ = [
    "App",
    "AsyncClient",
    "Client",
    "Derived",
    "Entity",
    "Events",
    "FeatureView",
    "Label",
    "Model",
    "Platform",
    "Project",
    "Release",
    "Table",
    "Tune",
    "VirtualClock",
    "checks",
    "col",
    "count",
    "exists",
    "sql",
]

_PLACES = {
    "App": "tenfold.project:App",
    "AsyncClient": "tenfold.serving.client:AsyncClient",
    "Client": "tenfold.serving.client:Client",
    "Derived": "tenfold.processing.derive:Derived",
    "Entity": "tenfold.features.view:Entity",
    "Events": "tenfold.sources.declare:Events",
    "FeatureView": "tenfold.features.view:FeatureView",
    "Label": "tenfold.training.label:Label",
    "Model": "tenfold.training.model:Model",
    "Platform": "tenfold.platform:Platform",
    "Project": "tenfold.project:Project",
    "Release": "tenfold.automation.release:Release",
    "Table": "tenfold.sources.declare:Table",
    "Tune": "tenfold.training.space:Tune",
    "VirtualClock": "tenfold.core.clock:VirtualClock",
    "checks": "tenfold.monitoring.checks:",
    "col": "tenfold.core.expr:col",
    "count": "tenfold.core.expr:count",
    "exists": "tenfold.core.expr:exists",
    "sql": "tenfold.processing.from_sql:sql",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `tenfold --help` needs none of them."""
    from pkgutil import resolve_name

    if name not in _PLACES:
        raise AttributeError(f'module "tenfold" has no attribute "{name}"')
    found = globals()[name] = resolve_name(_PLACES[name])
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
