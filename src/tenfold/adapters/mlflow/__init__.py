"""MLflow: runs and versions shown in its UI and to its clients, and taken over from it (extra `mlflow`)."""

from tenfold.adapters.mlflow.mirror import MLflowMirror as MLflowMirror
from tenfold.adapters.mlflow.source import MLflowSource as MLflowSource
from tenfold.adapters.mlflow.source import MLflowSource as Source

__all__ = ["MLflowMirror", "MLflowSource", "Source"]
