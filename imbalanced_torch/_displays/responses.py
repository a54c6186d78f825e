"""What a display asks of a fitted estimator: labels, probabilities and weights of rows, and which class is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import _check_pos_label_consistency, check_is_fitted

from imbalanced_torch._parameters.values import labels_of, listed
from imbalanced_torch._prediction.prediction import rarest_of


@dataclass(frozen=True)
class Responses:
    """Labels, probabilities of shape (n, K) and weights of rows, and which column is of the class that is meant."""

    y: np.ndarray
    proba: np.ndarray
    weights: np.ndarray
    classes: np.ndarray
    code: int

    @property
    def label(self) -> Any:
        """The class that is meant."""
        return labels_of(self.classes)[self.code]


def classifier_of(estimator: Any) -> Any:
    """Return a fitted estimator, of a Pipeline its last step and of a search its best; raise NotFittedError if none."""
    while hasattr(estimator, "steps") or hasattr(estimator, "best_estimator_"):
        estimator = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator.best_estimator_
    if not hasattr(estimator, "fit") or isinstance(estimator, type):
        raise TypeError(f"estimator must be a fitted classifier; it is {listed(estimator)}.")
    check_is_fitted(estimator)
    return estimator


def fitted_net(estimator: Any, display: str) -> Any:
    """Return the fitted ImbalancedNetClassifier that an estimator is or, as a Pipeline or search, ends in."""
    classifier = classifier_of(estimator)
    if not hasattr(classifier, "class_priors_"):
        raise TypeError(
            f"{display} needs a fitted ImbalancedNetClassifier, or a Pipeline that ends in one; it is "
            f"{type(classifier).__name__}."
        )
    return classifier


def responses_of(estimator: Any, X: Any, y: Any, sample_weight: Any, pos_label: Any) -> Responses:
    """Return what an estimator says of X, or without X of the rows that its fit held out."""
    classifier = classifier_of(estimator)
    if (X is None) != (y is None):
        raise ValueError("X and y must be given together, or neither for the rows that the fit held out.")
    code = _code_of(pos_label, classifier)
    if X is not None:
        y, weights = _checked(y, sample_weight)
        unknown = [label for label in labels_of(np.unique(y)) if label not in labels_of(classifier.classes_)]
        if unknown:
            raise ValueError(
                f"y must have labels that the estimator knows, {listed(classifier.classes_)}; it has {listed(unknown)}."
            )
        proba = np.asarray(estimator.predict_proba(X))
        check_consistent_length(proba, y)
        return Responses(y, proba, weights, classifier.classes_, code)
    if sample_weight is not None:
        raise ValueError("sample_weight belongs to X and y; the rows that the fit held out have weights of their own.")
    if not hasattr(classifier, "held_out_predictions"):
        raise TypeError(f"X and y must be given: {type(classifier).__name__} keeps no rows that its fit held out.")
    y, proba, weights = classifier.held_out_predictions()
    return Responses(y, proba, weights, classifier.classes_, code)


def _code_of(pos_label: Any, classifier: Any) -> int:
    """Return the column of the class that is meant: the rarest where the fit knows it, else as in scikit-learn."""
    labels = labels_of(classifier.classes_)
    if pos_label is not None:
        if pos_label not in labels:
            raise ValueError(f"pos_label must be one of the classes {listed(labels)}; it is {pos_label!r}.")
        return labels.index(pos_label)
    if hasattr(classifier, "class_prior_") and len(classifier.class_prior_) == len(labels):
        return rarest_of(classifier.class_prior_)
    if len(labels) != 2:
        raise ValueError(f"pos_label must be given for more than two classes: one of {listed(labels)}.")
    return 1


def positives_of(y_true: Any, pos_label: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return which labels are of the class that is meant, weights, and its label, by scikit-learn's rules."""
    y, weights = _checked(y_true, sample_weight)
    labels = labels_of(np.unique(y))
    if pos_label is None and len(labels) > 2:
        raise ValueError(f"pos_label must be given for more than two classes: one of {listed(labels)}.")
    if pos_label is not None and pos_label not in labels:
        raise ValueError(f"pos_label must be one of the labels {listed(labels)}; it is {pos_label!r}.")
    pos_label = _check_pos_label_consistency(pos_label, y)
    positive = y == pos_label
    check_both(positive, pos_label)
    return positive, weights, pos_label


def check_both(positive: np.ndarray, pos_label: Any) -> None:
    """Raise where there are rows of one kind only."""
    n = int(positive.sum())
    if n in (0, len(positive)):
        raise ValueError(
            f"y must have rows of {pos_label!r} and of another class; of its {len(positive)} rows {n} are of "
            f"{pos_label!r}."
        )


def probabilities(values: Any, n: int, name: str = "y_prob") -> np.ndarray:
    """Return probabilities of one class, shape (n,)."""
    array = np.asarray(column_or_1d(values), dtype=float)
    if len(array) != n:
        raise ValueError(f"{name} must have a probability for each of the {n} labels; it has {len(array)}.")
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name} must be in [0, 1]; it goes from {array.min():.4g} to {array.max():.4g}.")
    return array


def _checked(y: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray]:
    y = column_or_1d(np.asarray(y))
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(column_or_1d(sample_weight), dtype=float)
    check_consistent_length(y, weights)
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise ValueError("sample_weight must be finite and not negative, and some of it positive.")
    return y, weights / weights.mean()
