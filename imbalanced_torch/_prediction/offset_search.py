"""The search for one offset a class that gives the best score on held-out rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from imbalanced_torch._data.checks import encode
from imbalanced_torch._prediction.label_scores import PROXIES, Counts, LabelScore, Metric, metric_of

#: Rounds over the classes; each takes the best offset of a class with those of the others fixed.
_MAX_ROUNDS = 10
#: The same where each score is a call of the scorer, which takes a thousand times as long.
_MAX_ROUNDS_OF_CALLS = 3
#: Such a search goes ahead with every fifth candidate, and those around the best of them.
_STRIDE = 5
#: What counts as a better score: more than the rounding of sums in another order.
_BETTER = 1e-12


class HeldOut(ClassifierMixin, BaseEstimator):
    """The held-out rows of one fold; to a scorer, a classifier that predicts them with the offsets under test."""

    def __init__(
        self, log_proba: np.ndarray, X: Any, y: np.ndarray, classes: np.ndarray, scorer: Any, params: dict[str, Any]
    ) -> None:
        self.log_proba = log_proba
        self.X, self.y, self.scorer, self.params = X, y, scorer, params
        self.classes_ = classes
        self.codes = encode(y, classes, "the estimator's classes_")
        weights = params.get("sample_weight")
        self.weights = None if weights is None else np.asarray(weights, dtype=float)
        #: The scorer's function of labels, if that is all it is.
        self.metric: Metric | None = metric_of(scorer) if set(params) <= {"sample_weight"} else None

    def score_with(self, offsets: np.ndarray) -> float:
        """Return the score of the labels that these offsets choose."""
        codes = (self.log_proba + offsets).argmax(axis=1)
        n_classes = len(self.classes_)
        if self.metric is None:
            self.predicted = self.classes_[codes]
            return self.scorer(self, self.X, self.y, **self.params)
        if not self.metric.counts_rows or len(codes) <= n_classes**2:
            return self.metric(self.y, self.classes_[codes], self.weights)
        # One row for all of the same label and prediction, which is the same to a metric and shorter.
        pairs = self.codes * n_classes + codes
        there = np.flatnonzero(np.bincount(pairs, minlength=n_classes**2))
        weights = np.bincount(pairs, self.weights, minlength=n_classes**2)[there]
        return self.metric(self.classes_[there // n_classes], self.classes_[there % n_classes], weights)

    def predict(self, X: Any) -> np.ndarray:
        return self.predicted

    def predict_proba(self, X: Any) -> np.ndarray:
        raise ValueError("scoring must look at predicted labels, which offsets change; it looks at predict_proba.")

    decision_function = predict_proba


def log_of(proba: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(proba, np.finfo(np.float64).tiny))


def mean_score(folds: Iterable[HeldOut], offsets: np.ndarray) -> float:
    return float(np.mean([fold.score_with(offsets) for fold in folds]))


class _Rows:
    """The held-out rows of all folds together, and the offsets at which they turn to a class."""

    def __init__(self, folds: list[HeldOut]) -> None:
        self.folds = folds
        self.log_proba = np.concatenate([fold.log_proba for fold in folds])
        self.codes = np.concatenate([fold.codes for fold in folds])

    def starts(self) -> list[np.ndarray]:
        """Return offsets that are best for accuracy, and that are best for balanced accuracy."""
        n_classes = self.log_proba.shape[1]
        shares = np.bincount(self.codes, minlength=n_classes) / len(self.codes)
        start = -np.log(np.maximum(shares, 1 / len(self.codes)))
        return [np.zeros(n_classes), start - start[0]]

    def turns(self, code: int, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the offset of a class beyond which each row is called so, and the class it is called below that."""
        values = self.log_proba + offsets
        values[:, code] = -np.inf
        others = values.argmax(axis=1)
        return values[np.arange(len(values)), others] - self.log_proba[:, code], others


class _Score(Protocol):
    """The mean score over folds: of offsets, and of candidates for the offset of one class."""

    max_rounds: int

    def of(self, offsets: np.ndarray) -> float: ...

    def of_each(
        self, code: int, offsets: np.ndarray, candidates: np.ndarray, turns: np.ndarray, others: np.ndarray
    ) -> np.ndarray: ...


class _CalledScore:
    """The score by calling the scorer: any function whatever."""

    max_rounds = _MAX_ROUNDS_OF_CALLS

    def __init__(self, rows: _Rows, stride: int = 1) -> None:
        #: Every how manieth candidate is tried, and then those around the best of these.
        self.folds, self.stride = rows.folds, stride

    def of(self, offsets: np.ndarray) -> float:
        return mean_score(self.folds, offsets)

    def of_each(
        self, code: int, offsets: np.ndarray, candidates: np.ndarray, turns: np.ndarray, others: np.ndarray
    ) -> np.ndarray:
        scores = np.full(len(candidates), np.nan)

        def score(positions: Iterable[int]) -> None:
            for i in positions:
                if np.isnan(scores[i]):
                    scores[i] = self.of(_moved(offsets, code, candidates[i]))

        score(range(0, len(candidates), self.stride))
        if not np.isnan(scores).all():
            best = int(np.nanargmax(scores))
            score(range(max(best - self.stride + 1, 0), min(best + self.stride, len(candidates))))
        return scores


class _CountedScore:
    """The score from counts of rows by class, which are sums over the rows that have turned: all candidates at once."""

    max_rounds = _MAX_ROUNDS

    def __init__(self, rows: _Rows, score: LabelScore) -> None:
        self.rows, self.score = rows, score
        self.n_folds, self.n_classes = len(rows.folds), len(rows.folds[0].classes_)
        self.fold = np.repeat(np.arange(self.n_folds), [len(fold.codes) for fold in rows.folds])
        weighted = any(fold.weights is not None for fold in rows.folds)
        self.weights = np.concatenate([fold.weights for fold in rows.folds]) if weighted else None
        own = self.fold * self.n_classes + rows.codes
        size = self.n_folds * self.n_classes
        self.n_true = np.bincount(own, minlength=size).reshape(self.n_folds, self.n_classes)
        self.true = np.bincount(own, self.weights, minlength=size).reshape(self.n_folds, self.n_classes)

    def of(self, offsets: np.ndarray) -> float:
        codes = (self.rows.log_proba + offsets).argmax(axis=1)
        return float(self._scores(0, np.ones(len(codes), dtype=np.intp), codes, 1)[0])

    def of_each(
        self, code: int, offsets: np.ndarray, candidates: np.ndarray, turns: np.ndarray, others: np.ndarray
    ) -> np.ndarray:
        return self._scores(code, np.searchsorted(candidates, turns, side="right"), others, len(candidates))

    def _scores(self, code: int, since: np.ndarray, others: np.ndarray, m: int) -> np.ndarray:
        """Return the mean scores of m predictions: row i is `code` from the prediction since[i] on, others[i] before.

        Shape (m,).
        """
        n_called, n_hits = self._tally(code, since, others, m, None)
        called, hits = n_called, n_hits
        if self.weights is not None:  # sums of fractions do not come back to 0
            called, hits = self._tally(code, since, others, m, self.weights)
            called, hits = np.where(n_called > 0, called, 0), np.where(n_hits > 0, hits, 0)
        folds = zip(self.true, self.n_true, n_called, called, hits, strict=True)
        scores = [self.score(Counts(true, was, right, (n_true > 0) | (n > 0))) for true, n_true, n, was, right in folds]
        return np.mean(scores, axis=0)

    def _tally(
        self, code: int, since: np.ndarray, others: np.ndarray, m: int, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return how many rows each prediction calls each class, and how many rightly; shape (folds, m, K) each."""
        shape = (self.n_folds, m + 1, self.n_classes)
        rows = np.ones(len(since)) if weights is None else weights
        codes = self.rows.codes

        def summed(come: np.ndarray, go: np.ndarray) -> np.ndarray:
            """Sum rows that are called `others` first, of which those in `go` leave and those in `come` join `code`."""
            first = np.ravel_multi_index((self.fold[go], 0, others[go]), shape)
            leave = np.ravel_multi_index((self.fold[go], since[go], others[go]), shape)
            join = np.ravel_multi_index((self.fold[come], since[come], code), shape)
            change = np.bincount(
                np.concatenate([first, leave, join]),
                np.concatenate([rows[go], -rows[go], rows[come]]),
                minlength=int(np.prod(shape)),
            )
            return change.reshape(shape).cumsum(axis=1)[:, :m]

        every = np.ones(len(since), dtype=bool)
        return summed(every, every), summed(codes == code, codes == others)


def best_offsets(folds: list[HeldOut], classes: np.ndarray, n_candidates: int) -> np.ndarray:
    """Return the offsets of the best mean score that the search finds, the first of them 0."""
    rows = _Rows(folds)
    starts = rows.starts()
    called = _CalledScore(rows)
    values = [called.of(start) for start in starts]
    metric = folds[0].metric
    from_counts = None if metric is None else metric.from_counts(classes)
    if from_counts is not None:
        counted = _CountedScore(rows, from_counts)
        if np.allclose([counted.of(start) for start in starts], values, rtol=0, atol=1e-9, equal_nan=True):
            return max((_ascend(rows, counted, start, n_candidates) for start in starts), key=itemgetter(0))[1]
    best = starts[_argmax(values)]
    if len(classes) == 2:
        return _ascend(rows, called, best, n_candidates)[1]
    # Calls are slow: a search among few candidates leads the way, from there and from where other scores are best.
    proxies = [_ascend(rows, _CountedScore(rows, one), start, n_candidates)[1] for one in PROXIES for start in starts]
    proxy = proxies[_argmax([called.of(offsets) for offsets in proxies])]
    few = _CalledScore(rows, _STRIDE)
    _, best = max((_ascend(rows, few, start, n_candidates) for start in (best, proxy)), key=itemgetter(0))
    return _ascend(rows, called, best, n_candidates)[1]


def _argmax(values: Sequence[float]) -> int:
    return int(np.argmax(np.nan_to_num(values, nan=-np.inf)))


def _ascend(rows: _Rows, score: _Score, offsets: np.ndarray, n_candidates: int) -> tuple[float, np.ndarray]:
    """Return the best score, and the offsets, found by changing one at a time from those given."""
    best = score.of(offsets)
    moving = [1] if len(offsets) == 2 else range(len(offsets))
    still = 0  # classes in a row for which nothing better was found
    for code in islice(cycle(moving), score.max_rounds * len(moving)):
        turns, others = rows.turns(code, offsets)
        candidates = _between(turns, rows.codes == code, n_candidates)
        scores = score.of_each(code, offsets, candidates, turns, others)
        still += 1
        # Where probabilities are tied, the labels of `predict` may be others than the turns say: see what it gives.
        for i in np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:3]:
            moved = _moved(offsets, code, candidates[i])
            if not scores[i] > best + _BETTER:
                break
            found = score.of(moved)
            if found > best + _BETTER:
                best, offsets, still = found, moved, 0
                break
        if still == len(moving):
            break
    return best, offsets


def _moved(offsets: np.ndarray, code: int, candidate: float) -> np.ndarray:
    """Return offsets with another one for a class, as `predict` will add them."""
    moved = offsets.copy()
    moved[code] = candidate
    return moved - moved[0]


def _between(turns: np.ndarray, own: np.ndarray, n: int) -> np.ndarray:
    """Return at most n + 2 offsets to try for a class, between those at which some row's label turns and beyond them.

    Half of them are spread over the rows of the class itself, which are few where it is rare.
    """
    steps = np.unique(turns.round(12))
    between = np.r_[steps[0] - 1, (steps[:-1] + steps[1:]) / 2, steps[-1] + 1]
    if len(between) <= n + 2:
        return between
    share = np.linspace(0, 1, n // 2)
    spread = np.r_[np.quantile(turns, share), np.quantile(turns[own] if own.any() else turns, share)]
    return between[np.unique(np.r_[0, np.searchsorted(between, spread).clip(max=len(between) - 1), len(between) - 1])]
