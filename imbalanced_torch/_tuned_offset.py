"""Decisions tuned for a score, for any number of classes: one offset a class, on out-of-fold log probabilities."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params, _num_samples, check_is_fitted

from imbalanced_torch._data.checks import check_y
from imbalanced_torch._persistence.pickles import Versioned
from imbalanced_torch._prediction.offset_search import HeldOut, best_offsets, log_of, mean_score


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
        scikit-learn's accuracy, balanced accuracy, precision, recall, F, Jaccard, Matthews and unweighted kappa are
        found from counts, for all candidates at once; any other function is called for each, so that it should be fast,
        and its warnings are its own.
    n_candidates : int, default=100
        Values that are tried for the offset of one class, spread over those at which a label changes.
    cv : int, splitter, iterable of (train, test) or "prefit", default=None
        As in scikit-learn. None takes the out-of-fold probabilities of the fit, where `estimator` is an
        ImbalancedNetClassifier whose members hold out folds, so that it is fitted once; else it is 5 stratified folds.
        "prefit" takes the estimator as it is fitted; the rows given to
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
        X : array, table or CSR matrix
            Rows that `estimator` takes.
        y : array of shape (n,)
            Labels.
        **params
            Metadata such as `sample_weight`, for the estimator, the scorer and the splitter as they request it; needs
            scikit-learn's metadata routing.

        Returns
        -------
        Self
            The classifier, tuned.

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
        self.estimator_: Any = None
        folds = self._out_of_fold(X, y, routed, scorer) or self._held_out(X, y, routed, scorer)

        # The offsets, on them.
        with config_context(assume_finite=True, skip_parameter_validation=True):  # thousands of calls with our input
            self.class_offsets_ = best_offsets(folds, self.classes_, self.n_candidates)
            self.best_score_ = mean_score(folds, self.class_offsets_)
        if not np.isfinite(self.best_score_):
            raise ValueError(f"scoring must give a finite score; {self.scoring!r} gives {self.best_score_}.")
        if self.estimator_ is None:
            self.estimator_ = clone(self.estimator).fit(X, y, **routed.estimator.fit)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def _out_of_fold(self, X: Any, y: np.ndarray, routed: Any, scorer: Any) -> list[HeldOut] | None:
        """Fit on all rows, and return them with their out-of-fold probabilities, where that fit has some."""
        if self.cv is not None or not self.refit or not hasattr(type(self.estimator), "out_of_fold_proba"):
            return None
        self.estimator_ = clone(self.estimator).fit(X, y, **routed.estimator.fit)
        proba = self.estimator_.out_of_fold_proba()
        if proba is None:
            return None
        self.classes_ = self.estimator_.classes_
        params = _check_method_params(X, routed.scorer.score)
        return [HeldOut(log_of(proba), X, y, self.classes_, scorer, params)]

    def _held_out(self, X: Any, y: np.ndarray, routed: Any, scorer: Any) -> list[HeldOut]:
        """Return the held-out rows of each fold, and what an estimator that has not seen them makes of them."""
        if isinstance(self.cv, str):
            check_is_fitted(self.estimator, "classes_")
            splits = [(None, np.arange(_num_samples(X)))]
        else:
            splits = list(check_cv(self.cv, y, classifier=True).split(X, y, **routed.splitter.split))
        if not splits:
            raise ValueError("cv must give at least one split; it gives none.")
        if not self.refit and len(splits) > 1:
            raise ValueError(f"refit=False needs a single split, whose estimator it keeps; cv has {len(splits)}.")
        tasks = [(self.estimator, X, y, train, routed.estimator.fit) for train, _ in splits]
        fitted = _all_fitted(tasks, self.n_jobs)
        self.classes_ = np.unique(y) if self.refit else fitted[0].classes_
        if not self.refit:
            self.estimator_ = fitted[0]
        return [
            HeldOut(
                _log_proba(estimator, _safe_indexing(X, test), self.classes_),
                _safe_indexing(X, test),
                _safe_indexing(y, test),
                self.classes_,
                scorer,
                _check_method_params(X, routed.scorer.score, indices=test),
            )
            for estimator, (_, test) in zip(fitted, splits, strict=True)
        ]

    def _check_parameters(self, params: dict[str, Any]) -> None:
        if isinstance(self.estimator, type) or not hasattr(self.estimator, "predict_proba"):
            raise TypeError(f"estimator must be a classifier with predict_proba; it is {self.estimator!r}.")
        if not _is_int(self.n_candidates):
            raise TypeError(f"n_candidates must be an int of at least 2; it is {self.n_candidates!r}.")
        if self.n_candidates < 2:
            raise ValueError(f"n_candidates must be an int of at least 2; it is {self.n_candidates!r}.")
        if not isinstance(self.refit, bool | np.bool_):
            raise TypeError(f"refit must be True or False; it is {self.refit!r}.")
        if self.n_jobs is not None and not _is_int(self.n_jobs):
            raise TypeError(f"n_jobs must be None or an int other than 0; it is {self.n_jobs!r}.")
        if self.n_jobs == 0:
            raise ValueError("n_jobs must be None or an int other than 0; it is 0.")
        if params and not get_config()["enable_metadata_routing"]:
            raise ValueError(
                f"fit takes {sorted(params)} only with metadata routing: "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        self._check_cv()

    def _check_cv(self) -> None:
        if isinstance(self.cv, bool | np.bool_) or (_is_int(self.cv) and self.cv < 2):
            raise ValueError(f"cv as a number of folds must be an int of at least 2; it is {self.cv!r}.")
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
        """Return the probabilities of `estimator_`, which offsets do not change.

        Parameters
        ----------
        X : array, table or CSR matrix
            Rows that `estimator` takes.

        Returns
        -------
        array of shape (n, K)
            Probabilities, columns in the order of `classes_`.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return log p_c + offset_c.

        `predict` is its sign or argmax, and each class ranks rows as its probability does.

        Parameters
        ----------
        X : array, table or CSR matrix
            Rows that `estimator` takes.

        Returns
        -------
        array of shape (n, K), or (n,) for two classes
            The scores; for two classes that of `classes_[1]` less the other.
        """
        check_is_fitted(self)
        scores = log_of(self.estimator_.predict_proba(X)) + self.class_offsets_
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of the greatest log p_c + offset_c.

        Parameters
        ----------
        X : array, table or CSR matrix
            Rows that `estimator` takes.

        Returns
        -------
        array of shape (n,)
            Labels.
        """
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)]

    def get_metadata_routing(self) -> MetadataRouter:
        """Return where metadata goes: to the estimator's `fit`, the splitter's `split` and the scorer.

        Returns
        -------
        MetadataRouter
            The routing, for scikit-learn.
        """
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


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)


def _log_proba(estimator: Any, X: Any, classes: np.ndarray) -> np.ndarray:
    """Return log probabilities of shape (n, K) by an estimator that may have seen fewer classes."""
    proba = np.zeros((_num_samples(X), len(classes)))
    proba[:, np.searchsorted(classes, estimator.classes_)] = estimator.predict_proba(X)
    return log_of(proba)


def _fitted(estimator: Any, X: Any, y: np.ndarray, train: np.ndarray | None, params: Any) -> Any:
    if train is None:
        return estimator
    params = _check_method_params(X, params, indices=train)
    return clone(estimator).fit(_safe_indexing(X, train), _safe_indexing(y, train), **params)


def _fitted_under(config: dict[str, Any], *task: Any) -> Any:
    with config_context(**config):
        return _fitted(*task)


def _all_fitted(tasks: list[Any], n_jobs: int | None) -> list[Any]:
    """Return the estimators of all folds.

    scikit-learn's Parallel sets the warning filters of the process around each task, which threads share.
    """
    if joblib.effective_n_jobs(n_jobs) == 1:
        return [_fitted(*task) for task in tasks]
    if getattr(get_active_backend()[0], "uses_threads", False):
        config = get_config()
        return joblib.Parallel(n_jobs=n_jobs)(joblib.delayed(_fitted_under)(config, *task) for task in tasks)
    return Parallel(n_jobs=n_jobs)(delayed(_fitted)(*task) for task in tasks)
