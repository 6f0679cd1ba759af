"""A complete production ML system, declared once in Python.

The one rule: a feature as of t is a function of records known strictly before t; a label is a function of events in
[t, t + horizon]. Backfill, stream, request, training set and replay are that same function run somewhere else.
"""

from tenfold.core.expr import col, count
from tenfold.features.view import Entity, FeatureView
from tenfold.processing.derive import Derived
from tenfold.sources.declare import Events, Table

__all__ = ["Derived", "Entity", "Events", "FeatureView", "Table", "col", "count"]
