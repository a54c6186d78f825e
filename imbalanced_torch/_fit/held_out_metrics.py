"""Scores of the rows that are held out, after each epoch: for the history, for those who watch, and to stop on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer
from skorch.callbacks import Callback

from imbalanced_torch._parameters.values import did_you_mean, labels_of, listed
from imbalanced_torch._prediction.label_scores import with_positive

#: What `scoring="imbalance"` records beside the recall of each class.
_OF_IMBALANCE = ("balanced_accuracy", "average_precision")


class SeenRows(ClassifierMixin, BaseEstimator):
    """To a scorer, a classifier that has predicted the held-out rows already."""

    def __init__(self, classes: np.ndarray, prediction: Any, logits: torch.Tensor) -> None:
        self.classes_ = classes
        self.prediction = prediction
        self.logits = logits

    @cached_property
    def log_proba(self) -> np.ndarray:
        """Log probabilities at the prior of the data, shape (n, K)."""
        return self.prediction.at_data_prior(self.logits).double().cpu().numpy()

    def predict(self, X: Any) -> np.ndarray:
        return self.classes_[self.prediction.scores(self.logits).argmax(dim=1).cpu().numpy()]

    def predict_proba(self, X: Any) -> np.ndarray:
        proba = np.exp(self.log_proba)
        return proba / proba.sum(axis=1, keepdims=True)

    def decision_function(self, X: Any) -> np.ndarray:
        return self.log_proba[:, 1] - self.log_proba[:, 0] if len(self.classes_) == 2 else self.log_proba


class HeldOutScore:
    """A scorer of scikit-learn's, for logits of held-out rows.

    Probabilities are at the prior of the data, labels those that the `decision` chooses.

    Parameters
    ----------
    name : str
    scorer : callable
        scorer(estimator, X, y), or with a sample_weight beside.
    classes : array of shape (K,)
    """

    def __init__(self, name: str, scorer: Callable[..., float], classes: np.ndarray) -> None:
        self.name = name
        self.scorer = scorer
        self.classes = classes

    def of(self, prediction: Any, logits: torch.Tensor, codes: np.ndarray, weights: np.ndarray | None) -> float:
        """Return the score; NaN where it is not defined.

        Parameters
        ----------
        prediction : Prediction
        logits : tensor of shape (n, n_outputs)
        codes : int array of shape (n,)
        weights : array of shape (n,) or None
        """
        seen = SeenRows(self.classes, prediction, logits.to(prediction.criterion.class_weight.device))
        positions, y = np.arange(len(codes))[:, None], self.classes[codes]
        if weights is None or np.ptp(weights) <= 1e-9:
            return float(self.scorer(seen, positions, y))
        return float(self.scorer(seen, positions, y, sample_weight=weights))

    def check_finite(self, values: list[float]) -> None:
        """Raise ValueError where a score that training is to stop on is not defined."""
        if not np.isfinite(values).all():
            raise ValueError(
                f"early_stopping={self.name!r} must give finite scores of held-out rows; it gives {values}."
            )


def resolve_score(parameter: str, value: Any, classes: np.ndarray, rarest: int) -> HeldOutScore:
    """Turn the name of a scorer, or a scorer, into one of held-out rows; the rarest of two classes is positive."""
    if isinstance(value, str):
        if value not in get_scorer_names():
            raise ValueError(
                f"{parameter} must name scorers of scikit-learn, such as 'average_precision'; it is {value!r}."
                f"{did_you_mean(value, get_scorer_names())}"
            )
        name, scorer = value, get_scorer(value)
    elif callable(value) and not isinstance(value, type):
        function = getattr(value, "_score_func", value)
        name, scorer = getattr(function, "__name__", type(value).__name__), value
    else:
        raise TypeError(
            f"{parameter} must be scorers of scikit-learn, by name or from make_scorer; it is {listed(value)}."
        )
    return HeldOutScore(name, with_positive(scorer, classes[rarest] if len(classes) == 2 else None), classes)


def resolve_scoring(scoring: Any, classes: np.ndarray, rarest: int) -> list[HeldOutScore]:
    """Turn the hyperparameter into scores: None, "imbalance", a scorer, a list of these, or a dict of named ones."""
    if scoring is None:
        return []
    if isinstance(scoring, Mapping):
        found = []
        for name, value in scoring.items():
            if not isinstance(name, str):
                raise TypeError(f"scoring as a dict must have names as keys; it has {name!r}.")
            found.append(HeldOutScore(name, resolve_score("scoring", value, classes, rarest).scorer, classes))
        return found
    found = []
    for value in scoring if isinstance(scoring, list | tuple | set) else [scoring]:
        if isinstance(value, str) and value == "imbalance":
            found += [resolve_score("scoring", name, classes, rarest) for name in _OF_IMBALANCE]
            found += [_recall_of(label, classes) for label in labels_of(classes)]
        else:
            found.append(resolve_score("scoring", value, classes, rarest))
    return found


def _recall_of(label: Any, classes: np.ndarray) -> HeldOutScore:
    return HeldOutScore(f"recall_{label}", make_scorer(_recall, label=label), classes)


def _recall(y: np.ndarray, predicted: np.ndarray, *, label: Any, sample_weight: np.ndarray | None = None) -> float:
    own = y == label
    weights = np.ones(len(y)) if sample_weight is None else sample_weight
    return float(weights[own & (predicted == label)].sum() / weights[own].sum()) if own.any() else float("nan")


class HeldOutMetrics(Callback):
    """Record scores of the held-out rows of each epoch in the history, as `valid_NAME`.

    Parameters
    ----------
    scores : list of HeldOutScore
    """

    only_watches = True

    def __init__(self, scores: list[HeldOutScore]) -> None:
        self.scores = scores

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        for score in self.scores:
            net.history.record(f"valid_{score.name}", net.score_held_out(score))
