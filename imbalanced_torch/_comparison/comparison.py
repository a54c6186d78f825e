"""Strategies against imbalance, compared in one cross-validation that scikit-learn runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold, StratifiedKFold, check_cv
from sklearn.utils import check_random_state

from imbalanced_torch._classifier import ImbalancedNetClassifier
from imbalanced_torch._comparison import finding
from imbalanced_torch._comparison.paired_tests import PairedTests, paired_tests
from imbalanced_torch._comparison.scores import Score, resolve_scores
from imbalanced_torch._comparison.strategies import Strategy, net_of, resolve_strategies, shown
from imbalanced_torch._data.checks import check_y
from imbalanced_torch._parameters.values import equal_values, labels_of, listed
from imbalanced_torch._persistence.files import write
from imbalanced_torch._prediction.prediction import rarest_of

_FOLDS, _REPEATS = 5, 2


class StrategyComparison:
    """What `compare_strategies` has found.

    Parameters
    ----------
    strategies : list
        The strategies that were compared.
    scores : list
        The scores.
    cv_results : dict
        What the search has returned.
    test_share : float
        Test rows of a fold by its training rows.
    rows : dict
        What the rows are: `n_rows`, `n_columns` and `classes`, a dict from a label to its rows.
    estimator : estimator, default=None
        What was compared; None is the default net.
    random_state : int, RandomState instance or None, default=None
        What seeded the folds and the nets.

    Attributes
    ----------
    finding : str
        One sentence with numbers. A difference is called one only where it is beyond noise.
    recommended : str
        Name of the strategy to take: the plain net with a decision, unless another one is better beyond noise in one
        score and worse beyond noise in none.
    code : str
        The line of code that makes an estimator of it.
    table : DataFrame
        Strategies in rows; for each score `mean` and `std` over the folds, and against the reference of that score the
        mean `difference` in a fold, its interval at 95 % (`low`, `high`) and `p_value`. Needs pandas.
    references : dict of str
        By the name of the score, the strategy that others are compared with.
    cv_results : dict
        `cv_results_` of the search, for StrategyComparisonDisplay.
    best_estimator_ : estimator
        The recommended one, fitted on all rows.

    Notes
    -----
    Folds share training rows, so that the p-values and intervals are those of the corrected resampled t-test (Nadeau
    and Bengio, Machine Learning 52, 2003). The p-values of a score hold for all remedies together (Holm 1979); those of
    plain nets, and all intervals, are for each by itself. A difference of p < .05 counts as beyond noise.
    """

    best_estimator_: Any

    def __init__(
        self,
        strategies: list[Strategy],
        scores: list[Score],
        cv_results: Mapping[str, Any],
        test_share: float,
        rows: dict[str, Any],
        *,
        estimator: Any = None,
        random_state: Any = None,
    ) -> None:
        self.strategies = strategies
        self.scores = scores
        self.cv_results = cv_results
        self.test_share = test_share
        self.rows = rows
        self.estimator = estimator
        self.random_state = random_state

    @cached_property
    def by_fold(self) -> list[np.ndarray]:
        """The scores of each strategy in each fold, shape (n_strategies, n_folds), score by score."""
        n = sum(name.startswith("split") and name.endswith(f"_test_{self.scores[0].name}") for name in self.cv_results)
        return [
            np.column_stack([self.cv_results[f"split{i}_test_{score.name}"] for i in range(n)]) for score in self.scores
        ]

    @cached_property
    def tests(self) -> list[PairedTests]:
        """The differences from the references, score by score."""
        remedies = np.array([not strategy.is_plain for strategy in self.strategies])
        pairs = zip(self.scores, self.by_fold, strict=True)
        return [paired_tests(own, self._reference(score), self.test_share, remedies) for score, own in pairs]

    def _reference(self, score: Score) -> int:
        return finding.reference_of(score, self.strategies)

    @property
    def references(self) -> dict[str, str]:
        """By the name of the score, the strategy that others are compared with."""
        return {score.name: self.strategies[self._reference(score)].name for score in self.scores}

    @property
    def finding(self) -> str:
        """What has been found, in one sentence."""
        return finding.sentence(self.scores, self.strategies, self.tests, self.by_fold[0].shape[1])

    @property
    def position(self) -> int:
        """Which strategy to take."""
        return finding.choose(self.scores, self.strategies, self.tests)

    @property
    def chosen(self) -> Strategy:
        """The strategy to take."""
        return self.strategies[self.position]

    @property
    def recommended(self) -> str:
        """Name of the strategy to take."""
        return self.chosen.name

    @property
    def code(self) -> str:
        """The line of code that makes an estimator of the recommended strategy."""
        net = ImbalancedNetClassifier() if self.estimator is None else self.estimator
        present, candidate = net.get_params(), self.chosen.candidate
        new = {name: value for name, value in candidate.items() if not equal_values(present.get(name), value)}
        if not isinstance(net, ImbalancedNetClassifier):
            return f"estimator.set_params({shown(new)})" if new else "estimator"
        defaults = ImbalancedNetClassifier().get_params()
        given = {**net.get_params(deep=False), **candidate}
        if net.random_state is None and isinstance(self.random_state, Integral):
            given["random_state"] = self.random_state
        order = [*inspect.signature(ImbalancedNetClassifier).parameters]
        changed = {
            name: given[name]
            for name in sorted(given, key=lambda name: order.index(name) if name in order else len(order))
            if not (name in defaults and equal_values(defaults[name], given[name]))
        }
        return f"{type(net).__name__}({shown(changed)})"

    @cached_property
    def table(self) -> Any:
        """Means, spread and tests, strategies in rows."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "StrategyComparison.table needs pandas, which is not installed. Run: "
                'pip install "imbalanced-torch[report]".'
            ) from error
        columns: dict[tuple[str, str], np.ndarray] = {}
        for score, own, test in zip(self.scores, self.by_fold, self.tests, strict=True):
            found = {"mean": own.mean(axis=1), "std": own.std(axis=1, ddof=1), "difference": test.difference}
            found |= {"low": test.low, "high": test.high, "p_value": test.p_value}
            columns |= {(score.name, name): values for name, values in found.items()}
        return pd.DataFrame(columns, index=pd.Index([own.name for own in self.strategies], name="strategy"))

    def to_html(self, path: Any = None) -> str:
        """Return the comparison as one HTML page that needs no network, and write it to a file.

        Parameters
        ----------
        path : str or os.PathLike, default=None
            The file, which is replaced if it is there; None writes none.

        Returns
        -------
        str
            The page.

        Raises
        ------
        ImportError
            If Jinja2 or matplotlib is missing: pip install "imbalanced-torch[report]".
        """
        from imbalanced_torch._comparison.page import page_of

        page = page_of(self)
        if path is not None:
            write({"path": path}, lambda _: page.encode())
        return page

    def __repr__(self) -> str:
        names = ", ".join(score.name for score in self.scores)
        return (
            f"<StrategyComparison of {len(self.strategies)} strategies by {names}>\n{self.finding}\n"
            f"Recommended: {self.code}"
        )


def compare_strategies(
    X: Any,
    y: Any,
    estimator: Any = None,
    *,
    strategies: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
) -> StrategyComparison:
    """Compare strategies against imbalance on the same folds, beside the plain net and its moved threshold.

    Weights, samplers and thresholds mostly move the decision point. So a score of labels is compared with the plain net
    whose threshold is moved for that score, which needs no other training, and a score of ranking or probabilities with
    the plain net. All is fitted within the folds, and no score is of training rows.

    Parameters
    ----------
    X : array, table or CSR matrix
        Rows, as in `fit`.
    y : array of shape (n,)
        Labels.
    estimator : ImbalancedNetClassifier or Pipeline, default=None
        What is compared: the classifier, or a Pipeline that ends in one. None is the default net. Where it has remedies
        or a decision of its own, it is compared as it is given, too.
    strategies : dict or list of dict, default=None
        By the name of the strategy, the parameters that it differs in from the plain net, such as {"class_weight":
        "balanced"}; in a Pipeline those of the classifier need no prefix. A list makes names of the parameters. None
        compares two class weights, three samplings and two losses. Where weights or a sampling are set without a
        criterion, `prior_correction` is True unless the estimator or the strategy has another, so that probabilities
        are compared at one prior.
    scoring : str, callable, list of these or dict, default=None
        Scorers of scikit-learn; the rarest class is the positive one of two. None is average precision, balanced
        accuracy and log loss.
    cv : int, splitter or iterable of (train, test), default=None
        The folds. None is 5 stratified folds, twice; an int so many, once. Rows are shuffled.
    n_jobs : int, default=None
        Processes that train.
    random_state : int, RandomState instance or None, default=None
        Seeds the folds, and the nets where the estimator has no `random_state`.

    Returns
    -------
    StrategyComparison
        With a `finding` in one sentence, a `table`, what is `recommended`, and a page, `to_html`.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what it must be, or if a class has fewer rows than folds need.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> X, y = make_classification(300, weights=[0.9], random_state=0)
    >>> found = compare_strategies(X, y, strategies=[{"class_weight": "balanced"}], random_state=0)  # doctest: +SKIP
    >>> found.code  # doctest: +SKIP
    "ImbalancedNetClassifier(decision='balanced', random_state=0)"
    """
    return run_comparison(
        X, y, estimator, strategies=strategies, scoring=scoring, cv=cv, n_jobs=n_jobs, random_state=random_state
    )


def run_comparison(
    X: Any,
    y: Any,
    estimator: Any = None,
    *,
    strategies: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    after_fit: Callable[[int, int], None] | None = None,
) -> StrategyComparison:
    """As `compare_strategies`, and tell after each fit in this process how many are done, and of how many."""
    given = ImbalancedNetClassifier() if estimator is None else estimator
    net_of(given)  # raises, where clone would say less
    model = clone(given)
    net, prefix = net_of(model)
    y = check_y(net, y, X)
    labels, counts = np.unique(y, return_counts=True)
    seed = _drawn(random_state)
    if net.random_state is None:
        model.set_params(**{f"{prefix}random_state": seed})
    if len(labels) < 2:
        raise ValueError(f"y must have at least two classes to tell apart; it has one class: {listed(labels)}.")
    scores = resolve_scores(scoring, model, labels, labels_of(labels)[rarest_of(counts)])
    compared = resolve_strategies(strategies, model, scores)
    splits = _splits(cv, X, y, counts, labels, seed)
    share = float(np.mean([len(test) / len(train) for train, test in splits]))
    found = {
        "n_rows": len(y),
        "n_columns": _n_columns(X),
        "classes": dict(zip(labels_of(labels), counts.tolist(), strict=True)),
    }

    def comparison(cv_results: Mapping[str, Any]) -> StrategyComparison:
        own = {"estimator": estimator, "random_state": random_state}
        return StrategyComparison(compared, scores, cv_results, share, found, **own)

    def best(cv_results: Mapping[str, Any]) -> int:
        return comparison(cv_results).position

    scorers: dict[str, Any] = {score.name: score.scorer for score in scores}
    if after_fit is not None and joblib.effective_n_jobs(n_jobs) == 1:
        first = scores[0].name
        scorers[first] = _Counted(scorers[first], after_fit, len(compared) * len(splits))
    search = GridSearchCV(
        model,
        [{name: [value] for name, value in strategy.candidate.items()} for strategy in compared],
        scoring=scorers,
        cv=splits,
        n_jobs=n_jobs,
        refit=best,
        error_score="raise",
    ).fit(X, y)
    result = comparison(search.cv_results_)
    result.best_estimator_ = search.best_estimator_
    return result


class _Counted:
    """A scorer that tells how often it has been called."""

    def __init__(self, scorer: Any, tell: Callable[[int, int], None], total: int) -> None:
        self.scorer = scorer
        self.tell = tell
        self.total = total
        self.done = 0

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        score = float(self.scorer(estimator, X, y))
        self.done += 1
        self.tell(self.done, self.total)
        return score


def _drawn(random_state: Any) -> int:
    """Return an int that seeds folds and nets of one comparison."""
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _splits(cv: Any, X: Any, y: np.ndarray, counts: np.ndarray, labels: np.ndarray, seed: int) -> list[Any]:
    """Return the folds, drawn once, so that all strategies have the same."""
    n_folds = _FOLDS if cv is None else cv
    if isinstance(n_folds, Integral) and not isinstance(n_folds, bool):
        if n_folds < 2:
            raise ValueError(f"cv as a number of folds must be an int of at least 2; it is {n_folds}.")
        few = int(np.argmin(counts))
        if counts[few] < n_folds:
            raise ValueError(
                f"y must have at least {n_folds} rows of each class for {n_folds} folds; {labels_of(labels)[few]!r} "
                f"has {counts[few]}. Pass cv=2 or a splitter, or leave the class out."
            )
        if cv is None:
            cv = RepeatedStratifiedKFold(n_splits=_FOLDS, n_repeats=_REPEATS, random_state=seed)
        else:
            cv = StratifiedKFold(int(cv), shuffle=True, random_state=seed)
    splits = list(check_cv(cv, y, classifier=True).split(X, y))
    if len(splits) < 2:
        raise ValueError(f"cv must give at least 2 splits, for a difference to have a spread; it gives {len(splits)}.")
    return splits


def _n_columns(X: Any) -> int | None:
    """Return the columns of a table or of rows that are flat."""
    shape: Any = getattr(X, "shape", ())
    return int(shape[1]) if len(shape) == 2 else None
