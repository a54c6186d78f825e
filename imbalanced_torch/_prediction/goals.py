"""Decisions by what they are to reach on new rows: a recall, a precision, a share, a score, or a floor that holds.

A goal is settled on rows that the net has not trained on, to one offset a class.
"""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log
from typing import Any

import numpy as np
from scipy.stats import binom
from sklearn import config_context, metrics
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from imbalanced_torch._parameters.sizes import check_share
from imbalanced_torch._parameters.values import did_you_mean, hint_of_codes, labels_of, listed
from imbalanced_torch._prediction.decision import DECISIONS, SCORES, Offsets
from imbalanced_torch._prediction.held_out import Evidence, Steps, interval
from imbalanced_torch._prediction.label_scores import geometric_mean, with_positive
from imbalanced_torch._prediction.offset_search import HeldOut, best_offsets

#: With fewer held-out rows of a class, what is reached on new rows may be far from what is reached on them.
_FEW = 20
_CANDIDATES = 200
#: Sizes at which a floor of the precision is tried.
_SIZES = 20
_LEVELS = ("precision", "recall", "share")
#: What others call them.
_OTHER_NAMES = {
    **dict.fromkeys(("sensitivity", "tpr", "hit_rate"), 'It is called "recall" here.'),
    **dict.fromkeys(("specificity", "tnr"), 'It is the recall of the other class: {"recall": {label: level}}.'),
    **dict.fromkeys(
        ("fpr", "false_positive_rate"), 'It is 1 less the recall of the other class: {"recall": {label: 0.99}}.'
    ),
    **dict.fromkeys(("ppv",), 'It is called "precision" here.'),
    **dict.fromkeys(("top", "budget", "rate", "contamination"), 'A share of all rows is called "share" here.'),
}


class UncertainDecisionWarning(UserWarning):
    """A goal is settled on so few rows that new ones may turn out far otherwise, or to a decision for one class."""


class Goal(ABC):
    """What a decision is to reach; `settle` finds the decision."""

    @abstractmethod
    def settle(self, evidence: Evidence, rarest: int) -> Offsets:
        """Return the offsets that reach the goal on held-out rows; raise ValueError, with numbers, if none do.

        Parameters
        ----------
        evidence : Evidence
        rarest : int
            The class that is meant where none is named.
        """

    def _code(self, label: Any, evidence: Evidence, rarest: int) -> int:
        if label is None:
            return rarest
        return code_of(label, evidence.classes, str(self))


@dataclass(frozen=True)
class LevelGoal(Goal):
    """A recall or precision of at least a level, or a share of rows of at most one."""

    kind: str
    level: float
    label: Any = None

    def __str__(self) -> str:
        inner = self.level if self.label is None else {self.label: self.level}
        return f"decision={ {self.kind: inner}!r}"

    def settle(self, evidence: Evidence, rarest: int) -> Offsets:
        code = self._code(self.label, evidence, rarest)
        steps = Steps(evidence, code)
        if self.kind == "recall":
            _check_there(self, evidence, code)
            step = int(np.argmax(steps.recall >= self.level - 1e-12))
        elif self.kind == "precision":
            step = self._most_precise(steps, evidence.label(code))
        else:
            step = self._within_budget(steps, evidence.label(code))
        offsets = steps.offsets(step, str(self))
        _warn_of_chance(self, evidence, code)
        if self.kind != "share":
            rate, n = steps.rate_of(self.kind, step)
            rows = (
                f"rows of {evidence.label(code)!r}"
                if self.kind == "recall"
                else f"rows called {evidence.label(code)!r}"
            )
            _warn_of_few(self, n, rows, f"its {self.kind} there is {_percent(rate)}, and on new rows may be ", rate)
        return offsets

    def _most_precise(self, steps: Steps, label: Any) -> int:
        enough = np.flatnonzero(steps.precision >= self.level - 1e-12)
        if len(enough):
            return int(enough[-1])
        best = len(steps.precision) - 1 - int(np.argmax(steps.precision[::-1]))
        raise ValueError(
            f"{self} is reached at no threshold: the highest precision of {label!r} on held-out rows is "
            f"{_percent(steps.precision[best])}, where {_percent(steps.share[best])} of the rows are called so and its "
            f"recall is {_percent(steps.recall[best])}. Choose a lower one."
        )

    def _within_budget(self, steps: Steps, label: Any) -> int:
        within = np.flatnonzero(steps.share <= self.level + 1e-12)
        if len(within):
            return int(within[-1])
        raise ValueError(
            f"{self} can't be kept: the rows that are likeliest {label!r} share one score, and are "
            f"{_percent(steps.share[0])} of the {steps.called[-1]} held-out rows. Choose a larger share."
        )


@dataclass(frozen=True)
class ScoreGoal(Goal):
    """The best score that offsets reach."""

    name: str
    scorer: Any

    def __str__(self) -> str:
        return f"decision={self.name}"

    def settle(self, evidence: Evidence, rarest: int) -> Offsets:
        classes, y = evidence.classes, evidence.classes[evidence.codes]
        scorer = self.scorer
        if scorer == "f1":
            two = len(classes) == 2
            scorer = make_scorer(metrics.f1_score, **({} if two else {"average": "macro"}))
        scorer = with_positive(scorer, classes[rarest] if len(classes) == 2 else None)
        params = {} if evidence.equal else {"sample_weight": evidence.weights}
        positions = np.arange(len(y))[:, None]  # a scorer of labels does not look at X
        fold = HeldOut(evidence.log_proba, positions, y, classes, scorer, params)
        with config_context(assume_finite=True, skip_parameter_validation=True):
            offsets = best_offsets([fold], classes, _CANDIDATES)
            score = fold.score_with(offsets)
        if not np.isfinite(score):
            raise ValueError(f"{self} must give a finite score; it gives {score}.")
        counts = np.bincount(evidence.codes, minlength=len(classes))
        _warn_of_few(
            self, int(counts[rarest]), f"rows of {evidence.label(rarest)!r}", "new rows may turn out otherwise"
        )
        called = np.unique((evidence.log_proba + offsets).argmax(axis=1))
        if len(called) == 1:
            warnings.warn(
                f"{self} is best where every row is called {evidence.label(int(called[0]))!r}: the net does not tell "
                "the classes apart, or the score does not ask it to.",
                UncertainDecisionWarning,
                stacklevel=2,
            )
        return Offsets(offsets)


@dataclass(repr=False)
class Floor(BaseEstimator, Goal):
    """A level that new rows reach with a stated confidence; derived classes say by which test."""

    at_least: float = 0.8
    confidence: float = 0.95
    label: Any = None

    def __str__(self) -> str:
        label = "" if self.label is None else f", label={self.label!r}"
        return f"decision={type(self).__name__}({self.at_least:g}, confidence={self.confidence:g}{label})"

    def settle(self, evidence: Evidence, rarest: int) -> Offsets:
        """Return the offsets that keep the floor.

        Parameters
        ----------
        evidence : Evidence
            Held-out rows.
        rarest : int
            The class that is meant where `label` is None.

        Returns
        -------
        Offsets
            The decision.

        Raises
        ------
        ValueError
            If no threshold keeps the floor, or rows have weights.
        """
        if not evidence.equal:
            raise ValueError(
                f"{self} needs rows that count equally; sample_weight, or a prior_correction to another prior, lets "
                'them count otherwise, and there is no exact bound then. Use {"recall": ...} or {"precision": ...}.'
            )
        code = self._code(self.label, evidence, rarest)
        steps = Steps(evidence, code)
        offsets = steps.offsets(self._step(evidence, code, steps), str(self))
        _warn_of_chance(self, evidence, code)
        return offsets

    @abstractmethod
    def _step(self, evidence: Evidence, code: int, steps: Steps) -> int:
        """Return the step at which the floor is kept; raise ValueError if there is none."""


@dataclass(repr=False)
class RecallFloor(Floor):
    """Call as few rows so as may be, with a recall on new rows of at least `at_least`, at a stated confidence.

    The threshold is an order statistic of the held-out rows of the class: the k-th smallest of n scores leaves a share
    of new rows below it that is distributed as Beta(k, n - k + 1), so that k is the largest for which that share is at
    most 1 - at_least with probability `confidence`. This is Neyman-Pearson classification (Tong, Feng and Li 2018):
    nothing is assumed of the net. Of two classes, a floor for the other one bounds the rate of false alarms.

    Parameters
    ----------
    at_least : float in (0, 1), default=0.8
        The recall.
    confidence : float in (0, 1), default=0.95
        The probability, over the draw of the held-out rows, that the recall on new rows is as high.
    label : label, default=None
        The class; None is the rarest.

    Raises
    ------
    ValueError
        In `predict`, if there are too few held-out rows of the class for any bound, with the number needed; or if rows
        have weights, for which there is no such bound.

    Notes
    -----
    The bound is exact for one net with rows set aside (`early_stopping` or `train_split`), but for the choice of the
    epoch by the same rows. The default net judges each row by the one member that holds it out, and new rows by the
    average of all: where the net has learned something this changes little (docs/goals.md has figures),
    and where it has not, averages spread less, which keeps recalls above .5 on the safe side.

    References
    ----------
    Tong, Feng, Li. Neyman-Pearson classification algorithms and NP receiver operating characteristics. Science Advances
    4 (2018).

    Examples
    --------
    >>> RecallFloor(at_least=0.9, label="fraud")
    RecallFloor(at_least=0.9, label='fraud')
    """

    def _step(self, evidence: Evidence, code: int, steps: Steps) -> int:
        at_least, confidence = self.at_least, self.confidence
        own = np.sort(evidence.margins(code)[evidence.codes == code])
        needed = ceil(log(1 - confidence) / log(at_least) - 1e-9)
        # The greatest k with P(Binomial(n, 1 - at_least) >= k) >= confidence.
        ranks = np.arange(1, len(own) + 1)
        k = int((binom.sf(ranks - 1, len(own), 1 - at_least) >= confidence).sum())
        if k == 0:
            raise ValueError(
                f"{self} needs at least {needed} held-out rows of {evidence.label(code)!r} for any bound; there are "
                f"{len(own)}. Train on more, hold out more, or ask for a lower recall or confidence."
            )
        return steps.step_at(own[k - 1])


@dataclass(repr=False)
class PrecisionFloor(Floor):
    """Call as many rows so as may be, with a precision on new rows of at least `at_least`, at a stated confidence.

    At 20 sizes of the set of rows that are called so, which are chosen without a look at their labels, the precision is
    tested by the exact binomial distribution, each at a 20th of the error (learn then test, Angelopoulos et al. 2021);
    the largest set that passes is taken.

    Parameters
    ----------
    at_least : float in (0, 1), default=0.8
        The precision.
    confidence : float in (0, 1), default=0.95
        The probability, over the draw of the held-out rows, that the precision on new rows is as high.
    label : label, default=None
        The class; None is the rarest.

    Raises
    ------
    ValueError
        In `predict`, if no size passes, with what is reached; or if rows have weights, for which there is no such
        bound.

    Notes
    -----
    As for `RecallFloor`.

    References
    ----------
    Angelopoulos, Bates, Candes, Jordan, Lei. Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control
    (2021).

    Examples
    --------
    >>> PrecisionFloor(at_least=0.9)
    PrecisionFloor(at_least=0.9)
    """

    def _step(self, evidence: Evidence, code: int, steps: Steps) -> int:
        at_least, error = self.at_least, (1 - self.confidence) / _SIZES
        fewest = ceil(log(error) / log(at_least) - 1e-9)  # which pass if all of them are right
        sizes = np.geomspace(min(fewest, steps.called[-1]), steps.called[-1], _SIZES)
        tried = np.unique(np.searchsorted(steps.called, sizes).clip(max=len(steps.called) - 1))
        # P(Binomial(called, at_least) >= hits), were the precision no higher than the floor.
        passed = binom.sf(steps.hits[tried] - 1, steps.called[tried], at_least) <= error
        if not passed.any():
            best = tried[int(np.argmax(steps.precision[tried]))]
            raise ValueError(
                f"{self} can't be kept: the precision of {evidence.label(code)!r} on held-out rows is "
                f"{_percent(steps.precision[best])} in the best of {len(tried)} sets, of {steps.called[best]} rows, "
                f"and at least {fewest} rows, all of them right, are needed for any bound. Ask for a lower precision "
                "or confidence, or hold out more."
            )
        return int(tried[passed][-1])


def _check_there(goal: Goal, evidence: Evidence, code: int) -> None:
    if not (evidence.codes == code).any():
        raise ValueError(f"{goal} needs held-out rows of {evidence.label(code)!r}; there are none.")


def _warn_of_few(goal: Goal, n: int, rows: str, then: str, rate: float | None = None) -> None:
    if n >= _FEW:
        return
    if rate is not None:
        low, high = interval(rate, n, 0.95)
        then += f"{_percent(low)} to {_percent(high)} (95 % of the time)"
    warnings.warn(f"{goal} is settled on {n} held-out {rows}: {then}.", UncertainDecisionWarning, stacklevel=2)


def _warn_of_chance(goal: Goal, evidence: Evidence, code: int) -> None:
    """Warn where members rank rows as chance does: their averages spread less, and are called so less or more often."""
    auc, sd = evidence.auc(code) if evidence.by_members else (1.0, 0.0)
    if auc < 0.5 + 3 * sd:
        warnings.warn(
            f"{goal} is settled on rows by single members, which do not tell {evidence.label(code)!r} apart from "
            f"chance (ROC AUC {auc:.2f}). The average of all spreads less: thresholds above the median will catch "
            "fewer new rows than held-out ones, and those below it more.",
            UncertainDecisionWarning,
            stacklevel=2,
        )


def _percent(share: float) -> str:
    return f"{share:.3g}"


# From the hyperparameter to a goal


def resolve_goal(decision: Any, classes: np.ndarray) -> Goal | None:
    """Return the goal that the hyperparameter names, or None where it names none."""
    if isinstance(decision, Floor):
        for name in ("at_least", "confidence"):
            check_share(f"{name} of decision={decision!r}", getattr(decision, name), ends="()")
        if decision.label is not None:
            code_of(decision.label, classes, f"decision={decision!r}")
        return decision
    if isinstance(decision, str) and decision not in DECISIONS:
        return _goal_of_word(decision)
    if isinstance(decision, Mapping):
        return _goal_of_dict(decision, classes)
    if callable(decision) and not isinstance(decision, type) and _is_scorer(decision):
        return ScoreGoal(repr(decision), _checked_scorer(decision, repr(decision)))
    return None


def _goal_of_word(word: str) -> Goal | None:
    if word in ("recall", "precision", "share"):
        raise ValueError(f'decision="{word}" needs a level, such as {{"{word}": 0.8}}; alone it is best at an extreme.')
    if word == "f1":
        return ScoreGoal("'f1'", "f1")
    if word in SCORES:
        function = {"mcc": metrics.matthews_corrcoef, "gmean": geometric_mean}[word]
        return ScoreGoal(repr(word), make_scorer(function))
    if word in get_scorer_names():
        return ScoreGoal(repr(word), _checked_scorer(get_scorer(word), repr(word)))
    return None


def _goal_of_dict(decision: Mapping[Any, Any], classes: np.ndarray) -> Goal | None:
    names = list(decision)
    if not names or not all(isinstance(name, str) for name in names) or set(names) & set(labels_of(classes)):
        return None
    if names[0] not in _LEVELS:
        known = f" {_OTHER_NAMES[names[0].lower()]}" if names[0].lower() in _OTHER_NAMES else ""
        hint = known or did_you_mean(names[0], _LEVELS)
        if len(names) == 1 and hint and not isinstance(decision[names[0]], Mapping):
            raise ValueError(f"decision as a goal must be one of {list(_LEVELS)}; it is {names[0]!r}.{hint}")
        return None
    if len(names) > 1:
        raise ValueError(
            f"decision as a goal must be one of {list(_LEVELS)} with its level; it has {listed(names)}. Use one, and "
            "see decision_report for what the others become."
        )
    kind, level, label = names[0], decision[names[0]], None
    if isinstance(level, Mapping):
        if len(level) != 1:
            raise ValueError(f"decision={decision!r} must name one class; it names {len(level)}.")
        ((label, level),) = level.items()
        code_of(label, classes, f"decision={decision!r}")
    value = check_share(f"the level of decision={decision!r}", level, ends="()" if kind == "share" else "(]")
    return LevelGoal(kind, value, label)


def code_of(label: Any, classes: np.ndarray, goal: str) -> int:
    """Return the code of a label; raise ValueError if there is no such class."""
    labels = labels_of(classes)
    if label not in labels:
        raise ValueError(
            f"{goal} names {label!r}, which is no class of y. The classes are {listed(labels)}."
            f"{hint_of_codes({label: 0}, classes)}"
        )
    return labels.index(label)


def _is_scorer(function: Any) -> bool:
    """Whether a function is scorer(estimator, X, y) rather than cost(proba, X)."""
    if hasattr(function, "_score_func"):
        return True
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in places)
    if needed not in (2, 3) and not needed < 2 <= len(places):
        raise TypeError(
            f"decision as a function must be cost(proba, X) or a scorer(estimator, X, y); {function!r} takes {needed} "
            f"argument{'s' * (needed != 1)}."
        )
    return needed == 3


def _checked_scorer(scorer: Any, name: str) -> Any:
    method = getattr(scorer, "_response_method", "predict")
    if method != "predict":
        raise ValueError(
            f"decision={name} must be a score of predicted labels, which a decision changes; this one looks at "
            f"{method}, which none does. For labels there are 'f1', 'mcc', 'gmean', 'balanced_accuracy' and others."
        )
    if getattr(scorer, "_score_func", None) in (metrics.recall_score, metrics.precision_score):
        average = getattr(scorer, "_kwargs", {}).get("average", "binary")
        if average == "binary":
            raise ValueError(
                f'decision={name} needs a level, such as {{"recall": 0.8}}; alone it is best at an extreme.'
            )
    return scorer
