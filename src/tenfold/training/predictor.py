"""What predicts: the protocol of a fitted model, in whatever format it is stored."""

from typing import Protocol

import numpy as np


class Predictor(Protocol):
    """Scores rows; the same bits for one row and for many."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return (n_rows,) float64, or (n_rows, n_classes) for several classes, for X (n_rows, n_features) float64."""
        ...

    def importance(self) -> np.ndarray | None:
        """Return each feature's share, shape (n_features,) float64 summing to 1; None when the estimator does not say."""
        ...

    def files(self) -> dict[str, bytes]:
        """Return the files to store, without a manifest."""
        ...
