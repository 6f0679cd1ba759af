"""Every estimator by name: what is declared, and a version of it fitted once."""

import warnings
from contextlib import contextmanager

import numpy as np
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler
from sklearn.svm import SVC
from xgboost import XGBClassifier, XGBRanker, XGBRegressor

from tenfold.training.fit import fit
from tenfold.training.folds import first_row, newest_split
from tests.examples import parcels
from tests.unit.own_estimators import Clip, Leastsq, Mean

NUMBERS = ["parcel.weight", "parcel.items", "of_shop.heaviest", "of_shop.parcels_1d"]
OWN = ["tests.unit.own_estimators.Clip"]


def prepared(*, scaler=None, encoder=None):
    """Return the usual preprocessing, learned from named columns."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), scaler or StandardScaler())
    return make_column_transformer(
        (numbers, NUMBERS),
        (encoder or OneHotEncoder(handle_unknown="ignore"), ["parcel.shop"]),
        ("passthrough", ["parcel.gift"]),
    )


def pipeline(last, **how):
    return make_pipeline(prepared(**how), last)


LIGHT = {"n_estimators": 12, "min_child_samples": 5, "verbosity": -1, "n_jobs": 1}
XG = {"n_estimators": 8, "n_jobs": 1}
FILLED = make_column_transformer((SimpleImputer(), NUMBERS))

TABLE = {
    "lightgbm": (LGBMClassifier(**LIGHT), "late", {}),
    "lightgbm of texts": (LGBMClassifier(**LIGHT), "state", {}),
    "lightgbm of numbers as classes": (LGBMClassifier(**LIGHT), "stars", {}),
    "lightgbm by other metrics": (
        LGBMClassifier(**LIGHT),
        "late",
        {"metrics": ["log_loss", "brier"]},
    ),
    "lightgbm regressor": (LGBMRegressor(**LIGHT), "minutes", {}),
    "lightgbm ranker": (LGBMRanker(**LIGHT), "stars", {"groups": "route"}),
    "xgboost": (XGBClassifier(**XG), "late", {}),
    "xgboost of texts, with categories": (XGBClassifier(**XG, enable_categorical=True), "state", {}),
    "xgboost regressor": (XGBRegressor(**XG), "minutes", {}),
    "xgboost ranker": (XGBRanker(**XG), "stars", {"groups": "route"}),
    "logistic regression": (pipeline(LogisticRegression()), "late", {}),
    "logistic regression of texts": (pipeline(LogisticRegression(), scaler=RobustScaler()), "state", {}),
    "logistic regression, sparse": (make_pipeline(prepared(), LogisticRegression(C=0.1)), "late", {}),
    "linear regression": (pipeline(LinearRegression()), "minutes", {}),
    "random forest": (pipeline(RandomForestClassifier(8, n_jobs=2)), "late", {}),
    "gradient boosting": (pipeline(GradientBoostingClassifier(n_estimators=5)), "state", {}),
    "histogram boosting": (HistGradientBoostingClassifier(max_iter=5), "late", {}),
    "histogram boosting in a pipeline": (
        pipeline(
            HistGradientBoostingRegressor(max_iter=5),
            encoder=OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        ),
        "minutes",
        {},
    ),
    "lightgbm in a pipeline": (pipeline(LGBMClassifier(**LIGHT)), "late", {}),
    "xgboost in a pipeline": (pipeline(XGBClassifier(**XG)), "state", {}),
    "neighbours": (pipeline(KNeighborsClassifier(5)), "late", {}),
    "a network": (pipeline(MLPClassifier([6], max_iter=200, learning_rate_init=0.01)), "state", {}),
    "support vectors, calibrated": (pipeline(CalibratedClassifierCV(SVC(), ensemble=False)), "late", {}),
    "gradient descent": (pipeline(SGDClassifier(loss="log_loss")), "late", {}),
    "bayes": (make_pipeline(FILLED, GaussianNB()), "late", {}),
    "columns chosen by type": (
        make_pipeline(
            make_column_transformer(
                (
                    make_pipeline(SimpleImputer(), StandardScaler()),
                    make_column_selector(dtype_include=np.number),
                )
            ),
            LogisticRegression(),
        ),
        "late",
        {},
    ),
    "numbers only, no names": (
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
        "late",
        {"features": [parcels.of_shop]},
    ),
    "a step of one's own": (
        make_pipeline(
            make_column_transformer((make_pipeline(SimpleImputer(), Clip()), NUMBERS)), LogisticRegression()
        ),
        "late",
        {"trusted": OWN},
    ),
    "a class of one's own": (Leastsq(), "minutes", {}),
    "a class of one's own, for yes or no": (Leastsq(), "late", {}),
    "a pickle": (Mean(), "minutes", {"trusted": ["pickle"]}),
}


class Fitted:
    """Versions by name, each fitted once, with the rows of an app."""

    def __init__(self, app):
        self.app, self._made = app, {}

    def __call__(self, name):
        """Return the model, its rows and the version."""
        if name not in self._made:
            estimator, label, more = TABLE[name]
            model = parcels.model(estimator, label, **more)
            self._made[name] = (model, self.app.dataset(model), self.fit(model))
        return self._made[name]

    def fit(self, model):
        """Return another version."""
        dataset = self.app.dataset(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # twenty steps of a network do not converge
            return fit(model, dataset, newest_split(model, self.app.clock.now(), first_row(dataset)))


@contextmanager
def opened(home):
    """Yield what fits versions with the rows of a new home."""
    with parcels.opened(home, parcels.model(LGBMClassifier(**LIGHT))) as app:
        yield Fitted(app)
