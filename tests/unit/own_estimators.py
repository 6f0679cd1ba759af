"""Estimators and steps that a project might write itself."""

import os

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Leastsq:
    """A linear model of the columns as they are, null as 0; kept as arrays."""

    def __init__(self, ridge=1.0):
        self.ridge = ridge

    def fit(self, X, y):
        X = np.nan_to_num(X)
        self.mean = X.mean(axis=0)
        X = X - self.mean
        self.weights = np.linalg.solve(X.T @ X + self.ridge * np.eye(X.shape[1]), X.T @ (y - y.mean()))
        self.offset = np.array(y.mean())
        return self

    def predict(self, X):
        return (np.nan_to_num(X) - self.mean) @ self.weights + self.offset

    def get_state(self):
        return {"mean": self.mean, "weights": self.weights, "offset": self.offset}

    @classmethod
    def from_state(cls, state):
        made = cls()
        made.mean, made.weights, made.offset = state["mean"], state["weights"], state["offset"]
        return made


class Texts(Leastsq):
    """One that keeps what is no array of numbers."""

    def get_state(self):
        return {"name": "leastsq"}


class Clip(TransformerMixin, BaseEstimator):
    """A step of one's own: values beyond the learned quantiles are moved to them."""

    def fit(self, X, y=None):
        self.low_, self.high_ = np.nanquantile(np.asarray(X, float), [0.01, 0.99], axis=0)
        return self

    def transform(self, X):
        return np.clip(np.asarray(X, float), self.low_, self.high_)


class Mean:
    """An estimator that no safe format takes."""

    def fit(self, X, y):
        self.mean = float(np.mean(y))
        return self

    def predict(self, X):
        return np.full(len(X), self.mean)


class Centred(Leastsq):
    """One that looks at the other rows when it predicts."""

    def predict(self, X):
        return super().predict(X - np.nanmean(X, axis=0))


class Evil:
    """What runs a command when a pickle of it is opened."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)
