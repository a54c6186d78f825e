"""Who is compared in strength.py: everyone at its defaults, from a raw table to probabilities, on one thread.

Each function takes the table and returns an estimator that takes it raw: rivals that read categories get them in the
form that they document, the others get the encoder of the examples.
"""

import pandas as pd
import torch
from imblearn.ensemble import BalancedRandomForestClassifier, EasyEnsembleClassifier
from public_sets import make_encoder
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn

from imbalanced_torch import ImbalancedNetClassifier


def _categories(X):
    return X.select_dtypes(exclude="number").columns.tolist()


class AsCategories(TransformerMixin, BaseEstimator):
    """Give columns of strings pandas' category type, with the levels of the training rows; other levels become NaN."""

    def fit(self, X, y=None):
        """Learn the levels."""
        self.dtypes_ = {name: pd.CategoricalDtype(sorted(X[name].dropna().unique())) for name in _categories(X)}
        return self

    def transform(self, X):
        """Return a table with columns of categories."""
        known = {name: X[name].where(X[name].isin(dtype.categories)) for name, dtype in self.dtypes_.items()}
        return X.assign(**known).astype(self.dtypes_)


class MissingAsLevel(TransformerMixin, BaseEstimator):
    """Write "missing" for strings that are missing, as CatBoost wants it."""

    def fit(self, X, y=None):
        """Learn which columns have strings."""
        self.names_ = _categories(X)
        return self

    def transform(self, X):
        """Return a table without missing strings."""
        return X.assign(**{name: X[name].astype(object).fillna("missing") for name in self.names_})


class SkorchMLP(ClassifierMixin, BaseEstimator):
    """The net that skorch's users write: 128-128, AdamW, a fifth held out, the best of the epochs kept."""

    def fit(self, X, y):
        """Train on rows that are encoded."""
        X, self.classes_ = self._dense(X), sorted(set(y))
        torch.manual_seed(0)
        layers = [nn.Linear(X.shape[1], 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
        self.net_ = NeuralNetClassifier(
            nn.Sequential(*layers, nn.Linear(128, len(self.classes_))),
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.AdamW,
            lr=1e-3,
            batch_size=128,
            max_epochs=200,
            train_split=ValidSplit(0.2, stratified=True, random_state=0),
            callbacks=[EarlyStopping(patience=10, load_best=True, sink=lambda text: None)],
            verbose=0,
        ).fit(X, y.astype("int64"))
        return self

    def predict_proba(self, X):
        """Return probabilities."""
        return self.net_.predict_proba(self._dense(X))

    @staticmethod
    def _dense(X):
        return (X.toarray() if hasattr(X, "toarray") else X).astype("float32")


def _catboost(X, **parameters):
    from catboost import CatBoostClassifier

    settings = {"random_seed": 0, "thread_count": 1, "verbose": 0, "allow_writing_files": False, **parameters}
    return make_pipeline(MissingAsLevel(), CatBoostClassifier(cat_features=_categories(X), **settings))


def _lightgbm(X):
    from lightgbm import LGBMClassifier

    return make_pipeline(AsCategories(), LGBMClassifier(random_state=0, n_jobs=1, verbose=-1))


def _xgboost(X):
    from xgboost import XGBClassifier

    return make_pipeline(AsCategories(), XGBClassifier(enable_categorical=True, random_state=0, n_jobs=1))


def _boosting(X):
    return make_pipeline(
        AsCategories(), HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    )


def _encoded(estimator):
    return lambda X: make_pipeline(make_encoder(), estimator)


OURS = "ours"
RIVALS = {
    OURS: lambda X: ImbalancedNetClassifier(random_state=0),
    "CatBoost": _catboost,
    "CatBoost 300": lambda X: _catboost(X, iterations=300),
    "LightGBM": _lightgbm,
    "XGBoost": _xgboost,
    "HistGradientBoosting": _boosting,
    "RandomForest": _encoded(RandomForestClassifier(random_state=0)),
    "BalancedRandomForest": _encoded(BalancedRandomForestClassifier(random_state=0)),
    "EasyEnsemble": _encoded(EasyEnsembleClassifier(random_state=0)),
    "LogisticRegression": _encoded(LogisticRegression()),
    "LogisticRegression balanced": _encoded(LogisticRegression(class_weight="balanced")),
    "MLPClassifier": _encoded(MLPClassifier(random_state=0)),
    "skorch MLP": _encoded(SkorchMLP()),
}
#: These learn from balanced classes: argmax is their balanced decision, and dividing by the prior would do it twice.
BALANCED = {"BalancedRandomForest", "EasyEnsemble", "LogisticRegression balanced"}
FIVE = [OURS, "CatBoost 300", "LightGBM", "skorch MLP", "BalancedRandomForest"]
