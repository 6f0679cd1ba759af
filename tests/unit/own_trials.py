"""An estimator that another process can import, and that misbehaves when it is told to."""

import os
import signal

import numpy as np
from sklearn.base import BaseEstimator

from tenfold.training.trials import Subject


class Moody(BaseEstimator):
    """Predicts the mean of what it learned from."""

    def __init__(self, mood="fine"):
        self.mood = mood

    def fit(self, X, y):
        if self.mood == "raise":
            raise ValueError("not today")
        if self.mood == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mood == "print":
            os.write(1, b"\x00" * 100)
        self.mean = y.mean()
        return self

    def predict(self, X):
        return np.full(len(X), self.mean)

    def get_state(self):
        return {"mean": np.array([self.mean])}

    @classmethod
    def from_state(cls, state):
        made = cls()
        made.mean = float(state["mean"][0])
        return made


def subject_of(estimator):
    """Return what `judges` takes for twenty rows of one column, on one fold."""
    X, y = np.arange(20.0).reshape(-1, 1), np.arange(20.0)
    subject = Subject(
        name="moody",
        kind="regression",
        columns={"v.x": "float"},
        estimator=estimator,
        metrics=["mean_absolute_error"],
        groups=None,
        trusted=(),
        categories={},
        folds=[(slice(0, 10), slice(12, 20))],
    )
    return subject, X, y, None
