"""Decisions tuned for a score, for any number of classes: one offset a class, on out-of-fold log probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import cycle, islice
from numbers import Integral
from operator import itemgetter
from typing import Any, Self

import numpy as np
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params, _num_samples, check_is_fitted, check_scalar

from imbalanced_torch._input import check_y, encode
from imbalanced_torch._pickles import Versioned

#: Rounds over the classes; each takes the best offset of a class with those of the others fixed.
_MAX_ROUNDS = 10


class TunedOffsetClassifierCV(Versioned, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Tune an offset for each class, so that argmax(log p_c + offset_c) has the best score on held-out rows.

    For two classes the offset is a threshold, as scikit-learn's TunedThresholdClassifierCV finds it; this serves more.
    The probabilities that it is tuned on are out of fold: offsets tuned on training rows do not hold on new ones.

    Parameters
    ----------
    estimator : classifier with predict_proba
        An ImbalancedNetClassifier, a Pipeline that ends in one, or any other.
    scoring : str or callable, default="balanced_accuracy"
        What is maximised, as in scikit-learn: a name or a scorer(estimator, X, y), which must look at `predict` only.
    n_candidates : int, default=100
        Values that are tried for the offset of one class, spread over those at which a label changes.
    cv : int, splitter, iterable of (train, test) or "prefit", default=None
        As in scikit-learn; None is 5 stratified folds. "prefit" takes the estimator as it is fitted; the rows given to
        `fit` must then be new to it.
    refit : bool, default=True
        Whether to train the final estimator on all rows. False keeps the one of a single split, or the prefit one.
    n_jobs : int, default=None
        Processes that train on folds.

    Attributes
    ----------
    estimator_ : the classifier that predicts
    class_offsets_ : array of shape (K,)
        In nats, in the order of `classes_`; the first is 0. For two classes the threshold on the probability of
        `classes_[1]` is 1 / (1 + exp(class_offsets_[1])).
    best_score_ : float
        Mean score over the folds' held-out rows.
    classes_ : array of shape (K,)
    n_features_in_, feature_names_in_
        Where `estimator_` has them.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> TunedOffsetClassifierCV(LogisticRegression(max_iter=1000)).fit(X, y).class_offsets_.shape
    (3,)
    """

    def __init__(
        self,
        estimator: Any,
        *,
        scoring: Any = "balanced_accuracy",
        n_candidates: int = 100,
        cv: Any = None,
        refit: bool = True,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.scoring = scoring
        self.n_candidates = n_candidates
        self.cv = cv
        self.refit = refit
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, **params: Any) -> Self:
        """Train the estimator, and tune the offsets on rows that it was not trained on.

        Parameters
        ----------
        X : array, table or CSR matrix that `estimator` takes
        y : array of shape (n,)
        **params
            Metadata such as `sample_weight`, for the estimator, the scorer and the splitter as they request it; needs
            scikit-learn's metadata routing.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or y is not what it must be.
        """
        self._check_parameters(params)
        (X,) = indexable(X)
        y = check_y(self, y, X)
        routed = process_routing(self, "fit", **params)
        scorer = self._scorer()
        if isinstance(self.cv, str):
            check_is_fitted(self.estimator, "classes_")
            splits = [(None, np.arange(_num_samples(X)))]
        else:
            splits = list(check_cv(self.cv, y, classifier=True).split(X, y, **routed.splitter.split))
        if not splits:
            raise ValueError("cv must give at least one split; it gives none.")
        if not self.refit and len(splits) > 1:
            raise ValueError(f"refit=False needs a single split, whose estimator it keeps; cv has {len(splits)}.")

        # Held-out rows of each fold, and what an estimator that has not seen them makes of them.
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fitted)(self.estimator, X, y, train, routed.estimator.fit) for train, _ in splits
        )
        self.classes_ = np.unique(y) if self.refit else fitted[0].classes_
        folds = [
            _HeldOut(
                estimator,
                _safe_indexing(X, test),
                _safe_indexing(y, test),
                self.classes_,
                scorer,
                _check_method_params(X, routed.scorer.score, indices=test),
            )
            for estimator, (_, test) in zip(fitted, splits, strict=True)
        ]

        # The offsets, from those that are best for accuracy or those that are best for balanced accuracy.
        codes = np.concatenate([encode(fold.y, self.classes_, "the estimator's classes_") for fold in folds])
        log_proba = np.concatenate([fold.log_proba for fold in folds])
        shares = np.bincount(codes, minlength=len(self.classes_)) / len(codes)
        starts = [np.zeros(len(self.classes_)), -np.log(np.maximum(shares, 1 / len(codes)))]

        def mean_score(offsets: np.ndarray) -> float:
            return float(np.mean([fold.score_with(offsets) for fold in folds]))

        # Thousands of calls with our input, many of which never predict some class.
        with config_context(assume_finite=True, skip_parameter_validation=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = max(starts, key=mean_score)
            start = start - start[0]
            self.best_score_, self.class_offsets_ = _ascend(mean_score, start, log_proba, codes, self.n_candidates)
        if not np.isfinite(self.best_score_):
            raise ValueError(f"scoring must give a finite score; {self.scoring!r} gives {self.best_score_}.")
        self.estimator_ = clone(self.estimator).fit(X, y, **routed.estimator.fit) if self.refit else fitted[0]
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def _check_parameters(self, params: dict[str, Any]) -> None:
        if not hasattr(self.estimator, "predict_proba"):
            raise TypeError(f"estimator must be a classifier with predict_proba; it is {self.estimator!r}.")
        check_scalar(self.n_candidates, "n_candidates", Integral, min_val=2)
        if params and not get_config()["enable_metadata_routing"]:
            raise ValueError(
                f"fit takes {sorted(params)} only with metadata routing: "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        if isinstance(self.cv, str):
            if self.cv != "prefit":
                raise ValueError(
                    f'cv must be None, an int, a splitter, an iterable of splits or "prefit"; it is {self.cv!r}.'
                )
            if self.refit:
                raise ValueError('cv="prefit" keeps the estimator as it is; set refit=False.')

    def _scorer(self) -> Any:
        if isinstance(self.scoring, list | tuple | set | dict):
            raise ValueError(f"scoring must be one name or callable; it is {self.scoring!r}.")
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        if getattr(scorer, "_response_method", "predict") != "predict":
            raise ValueError(
                f"scoring must look at predicted labels, which offsets change; {self.scoring!r} looks at "
                f"{scorer._response_method}."
            )
        return scorer

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of `estimator_`, which offsets do not change, shape (n, K)."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return log p_c + offset_c, shape (n, K); for two classes that of `classes_[1]` less the other, shape (n,)."""
        check_is_fitted(self)
        scores = _log(self.estimator_.predict_proba(X)) + self.class_offsets_
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of the greatest log p_c + offset_c, shape (n,)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)]

    def get_metadata_routing(self) -> MetadataRouter:
        """Return where metadata goes: to the estimator's `fit`, the splitter's `split` and the scorer."""
        return (
            MetadataRouter(owner=self)
            .add(estimator=self.estimator, method_mapping=MethodMapping().add(callee="fit", caller="fit"))
            .add(splitter=self.cv, method_mapping=MethodMapping().add(callee="split", caller="fit"))
            .add(scorer=self._scorer(), method_mapping=MethodMapping().add(callee="score", caller="fit"))
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def _fitted(estimator: Any, X: Any, y: np.ndarray, train: np.ndarray | None, params: Any) -> Any:
    if train is None:
        return estimator
    params = _check_method_params(X, params, indices=train)
    return clone(estimator).fit(_safe_indexing(X, train), _safe_indexing(y, train), **params)


class _HeldOut(ClassifierMixin, BaseEstimator):
    """The held-out rows of one fold; to a scorer, a classifier that predicts them with the offsets under test."""

    def __init__(
        self, estimator: Any, X: Any, y: np.ndarray, classes: np.ndarray, scorer: Callable[..., float], params: Any
    ) -> None:
        self.X, self.y, self.scorer, self.params = X, y, scorer, params
        self.classes_ = classes
        proba = np.zeros((len(y), len(classes)))  # a fold may lack a class
        proba[:, np.searchsorted(classes, estimator.classes_)] = estimator.predict_proba(X)
        self.log_proba = _log(proba)

    def score_with(self, offsets: np.ndarray) -> float:
        """Return the score of the labels that these offsets choose."""
        self.predicted = self.classes_[(self.log_proba + offsets).argmax(axis=1)]
        return self.scorer(self, self.X, self.y, **self.params)

    def predict(self, X: Any) -> np.ndarray:
        return self.predicted

    def predict_proba(self, X: Any) -> np.ndarray:
        raise ValueError("scoring must look at predicted labels, which offsets change; it looks at predict_proba.")

    decision_function = predict_proba


def _log(proba: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(proba, np.finfo(np.float64).tiny))


def _ascend(
    mean_score: Callable[[np.ndarray], float],
    offsets: np.ndarray,
    log_proba: np.ndarray,
    codes: np.ndarray,
    n_candidates: int,
) -> tuple[float, np.ndarray]:
    """Return the best score, and the offsets, the first of them 0, found by changing one at a time from those given."""
    best = mean_score(offsets)
    moving = [1] if len(offsets) == 2 else range(len(offsets))
    still = 0  # classes in a row for which nothing better was found
    for code in islice(cycle(moving), _MAX_ROUNDS * len(moving)):
        others = np.delete(log_proba + offsets, code, axis=1).max(axis=1)
        candidates = _between(others - log_proba[:, code], codes == code, n_candidates)
        moved = [np.r_[offsets[:code], candidate, offsets[code + 1 :]] for candidate in candidates]
        moved = [one - one[0] for one in moved]  # as `predict` will add them
        score, found = max(((mean_score(one), one) for one in moved), key=itemgetter(0))
        still = 0 if score > best else still + 1
        if score > best:
            best, offsets = score, found
        if still == len(moving):
            break
    return best, offsets


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
