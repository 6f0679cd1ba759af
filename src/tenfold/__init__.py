"""A complete production ML system, declared once in Python.

The one rule: a feature as of t is a function of records known strictly before t; a label is a function of events in
[t, t + horizon]. Backfill, stream, request, training set and replay are that same function run somewhere else.
"""

from tenfold.automation.release import Release
from tenfold.core.expr import col, count
from tenfold.features.view import Entity, FeatureView
from tenfold.monitoring import checks
from tenfold.processing.derive import Derived
from tenfold.project import App, Platform, Project
from tenfold.sources.declare import Events, Table
from tenfold.training.model import Label, Model

__all__ = [
    "App",
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
    "checks",
    "col",
    "count",
]
