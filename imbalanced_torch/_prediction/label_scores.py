"""Scores of predicted labels from counts alone, for many predictions of the same rows at once.

A score such as balanced accuracy or F1 needs no more than how many rows each class has, how many are called so, and how
many of these rightly. scikit-learn's functions take about a millisecond to find that out; a search asks thousands of
times.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import metrics


@dataclass(frozen=True)
class Counts:
    """Rows by class, for m predictions of the same rows; a row counts as much as it weighs."""

    #: Shape (K,): that have the class.
    true: np.ndarray
    #: Shape (m, K): that are called so.
    called: np.ndarray
    #: Shape (m, K): that are called so rightly.
    hits: np.ndarray
    #: Shape (m, K), bool: whether any row, of whatever weight, has the class or is called so.
    present: np.ndarray


#: From counts to scores, shape (m,).
LabelScore = Callable[[Counts], np.ndarray]


def _accuracy(counts: Counts, normalize: bool = True) -> np.ndarray:
    right = counts.hits.sum(axis=1)
    return right / counts.true.sum() if normalize else right


def _error(counts: Counts, normalize: bool = True) -> np.ndarray:
    return 1 - _accuracy(counts) if normalize else counts.true.sum() - _accuracy(counts, normalize=False)


def _balanced_accuracy(counts: Counts, adjusted: bool = False) -> np.ndarray:
    there = counts.true > 0
    score = (counts.hits[:, there] / counts.true[there]).mean(axis=1)
    chance = 1 / there.sum()
    return (score - chance) / (1 - chance) if adjusted else score


def _matthews(counts: Counts) -> np.ndarray:
    n, right = counts.true.sum(), counts.hits.sum(axis=1)
    covariance = right * n - counts.called @ counts.true
    spread = (n**2 - (counts.called**2).sum(axis=1)) * (n**2 - counts.true @ counts.true)
    return np.where(spread > 1e-12 * n**4, covariance / np.sqrt(np.maximum(spread, 1e-300)), 0.0)


def _kappa(counts: Counts) -> np.ndarray:
    n = counts.true.sum()
    wrong, expected = n - counts.hits.sum(axis=1), n - counts.called @ counts.true / n
    return np.where(expected > 1e-12 * n, 1 - wrong / np.maximum(expected, 1e-300), np.nan)


#: Numerator and denominator of the score of a class, of hits, rows called so and rows that are; beta is that of F.
_RATIOS: dict[Any, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    metrics.precision_score: lambda hits, called, true, beta: (hits, called),
    metrics.recall_score: lambda hits, called, true, beta: (hits, true),
    metrics.jaccard_score: lambda hits, called, true, beta: (hits, called + true - hits),
    metrics.f1_score: lambda hits, called, true, beta: (2 * hits, called + true),
    metrics.fbeta_score: lambda hits, called, true, beta: ((1 + beta**2) * hits, called + beta**2 * true),
}


@dataclass(frozen=True)
class _Averaged:
    """A ratio of counts for each class, and their average."""

    ratio: Callable[..., tuple[np.ndarray, np.ndarray]]
    average: str
    beta: float
    zero_division: float
    #: The classes that are averaged; None takes those that are present.
    codes: list[int] | None

    def __call__(self, counts: Counts) -> np.ndarray:
        true = np.broadcast_to(counts.true, counts.hits.shape)
        every = [counts.hits, counts.called, true]
        chosen = counts.present
        if self.codes is not None:
            every = [count[:, self.codes] for count in every]
            chosen = np.ones(every[0].shape, dtype=bool)
        if self.average == "micro":
            every = [np.where(chosen, count, 0).sum(axis=1, keepdims=True) for count in every]
            chosen = np.ones(every[0].shape, dtype=bool)
        above, below = self.ratio(*every, self.beta)
        values = np.divide(above, below, out=np.full(above.shape, float(self.zero_division)), where=below > 0)
        chosen = chosen & ~np.isnan(values)
        weights = np.where(chosen, every[2] if self.average == "weighted" else 1.0, 0.0)
        weights = np.where(weights.any(axis=1, keepdims=True), weights, chosen)
        total = weights.sum(axis=1)
        summed = (weights * np.where(chosen, values, 0)).sum(axis=1)
        return np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)


def _averaged(function: Any, classes: np.ndarray, **given: Any) -> LabelScore | None:
    average, labels = given.get("average", "binary"), given.get("labels")
    zero_division, beta = given.get("zero_division", "warn"), given.get("beta", 1.0)
    codes = None
    if average == "binary":
        if len(classes) != 2 or labels is not None:
            return None
        labels = [given.get("pos_label", 1)]
    elif average not in ("micro", "macro", "weighted"):
        return None
    if not np.isfinite(beta):
        return None
    if labels is not None:
        codes = [classes.tolist().index(label) for label in labels if label in classes.tolist()]
        if len(codes) != len(labels) or not codes:
            return None
    return _Averaged(_RATIOS[function], average, beta, 0.0 if zero_division == "warn" else zero_division, codes)


def geometric_mean(y: np.ndarray, predicted: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the geometric mean of the recalls of the classes that are there (Kubat and Matwin 1997)."""
    weights = np.ones(len(y)) if sample_weight is None else sample_weight
    labels = np.unique(y[weights > 0])
    recalls = [np.average(predicted[y == label] == label, weights=weights[y == label]) for label in labels]
    return float(np.prod(np.power(recalls, 1 / len(labels))))


def _geometric_mean(counts: Counts) -> np.ndarray:
    there = counts.true > 0
    return np.prod(np.power(counts.hits[:, there] / counts.true[there], 1 / there.sum()), axis=1)


#: scikit-learn's function -> ours, and the parameters that ours takes.
_OTHERS: dict[Any, tuple[Callable[..., np.ndarray], tuple[str, ...]]] = {
    metrics.accuracy_score: (_accuracy, ("normalize",)),
    metrics.zero_one_loss: (_error, ("normalize",)),
    metrics.hamming_loss: (_error, ()),
    metrics.balanced_accuracy_score: (_balanced_accuracy, ("adjusted",)),
    metrics.matthews_corrcoef: (_matthews, ()),
    metrics.cohen_kappa_score: (_kappa, ()),
    geometric_mean: (_geometric_mean, ()),
}


#: Scores whose best offsets are a good beginning in the search for those of another: balanced accuracy and macro F1.
PROXIES: tuple[LabelScore, ...] = (
    _balanced_accuracy,
    _Averaged(_RATIOS[metrics.f1_score], "macro", beta=1.0, zero_division=0.0, codes=None),
)


@dataclass(frozen=True)
class Metric:
    """A scorer's function of labels, its sign and its parameters."""

    function: Callable[..., float]
    sign: float
    parameters: dict[str, Any]

    def from_counts(self, classes: np.ndarray) -> LabelScore | None:
        """Return the same score as a function of counts, or None where it is none or not known to be one."""
        given = {name: value for name, value in self.parameters.items() if value is not None}
        if self.function in _RATIOS:
            score = _averaged(self.function, classes, **given)
        elif self.function in _OTHERS and given.keys() <= set(_OTHERS[self.function][1]):
            score = _bound(_OTHERS[self.function][0], given)
        else:
            score = None
        return score if score is None or self.sign == 1 else _bound(_signed, {"score": score, "sign": self.sign})

    def __call__(self, y: np.ndarray, predicted: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        """Return the score by scikit-learn's own function, and let no class without a row warn."""
        parameters = dict(self.parameters)
        if sample_weight is not None:
            parameters["sample_weight"] = sample_weight
        function: Any = self.function
        if self._accepts("zero_division") and parameters.get("zero_division", "warn") == "warn":
            parameters["zero_division"] = 0.0
        if parameters.get("average", "binary") != "binary":
            parameters.pop("pos_label", None)
        if function is metrics.balanced_accuracy_score:  # warns where labels are predicted that y lacks
            function = _recall_of_those_there
        return self.sign * function(y, predicted, **parameters)

    @property
    def counts_rows(self) -> bool:
        """Whether rows of one label and prediction may be given as one row with their number as its weight."""
        module = str(getattr(self.function, "__module__", ""))
        return module.startswith("sklearn.metrics._classification") and self._accepts("sample_weight")

    def _accepts(self, name: str) -> bool:
        try:
            return name in inspect.signature(self.function).parameters
        except (TypeError, ValueError):  # nothing is known about it
            return False


def _bound(function: Callable[..., np.ndarray], parameters: dict[str, Any]) -> LabelScore:
    return lambda counts: function(counts, **parameters)


def _signed(counts: Counts, score: LabelScore, sign: float) -> np.ndarray:
    return sign * score(counts)


def _recall_of_those_there(
    y: np.ndarray, predicted: np.ndarray, sample_weight: np.ndarray | None = None, adjusted: bool = False
) -> float:
    """Return the balanced accuracy."""
    labels = np.unique(y if sample_weight is None else y[sample_weight > 0])
    score = metrics.recall_score(
        y, predicted, labels=labels, average="macro", sample_weight=sample_weight, zero_division=0.0
    )
    return (score - 1 / len(labels)) / (1 - 1 / len(labels)) if adjusted else score


def metric_of(scorer: Any) -> Metric | None:
    """Return the function of labels behind a scorer of scikit-learn's, or None where it is no such scorer."""
    if type(scorer).__name__ == "_PassthroughScorer":  # the classifier's own score
        return Metric(metrics.accuracy_score, 1, {})
    names = ("_score_func", "_sign", "_kwargs")
    if getattr(scorer, "_response_method", None) != "predict" or not all(hasattr(scorer, name) for name in names):
        return None
    function, sign, parameters = (getattr(scorer, name) for name in names)
    if type(scorer).__module__ != "sklearn.metrics._scorer" or "sample_weight" in parameters:
        return None
    return Metric(function, sign, dict(parameters))


def with_positive(scorer: Any, positive: Any) -> Any:
    """Count `positive` as the positive class in a scikit-learn scorer of two classes that names none."""
    score, kwargs = getattr(scorer, "_score_func", None), getattr(scorer, "_kwargs", {})
    if score is None or "pos_label" in kwargs or "pos_label" not in inspect.signature(score).parameters:
        return scorer
    if positive is None or kwargs.get("average", "binary") != "binary":
        return scorer
    scorer = copy.copy(scorer)
    scorer._kwargs = {**kwargs, "pos_label": positive}
    return scorer
