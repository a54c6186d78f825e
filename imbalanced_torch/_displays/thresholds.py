"""What is reached at each threshold on a probability, and at which of them decisions stand."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from scipy.stats import beta

from imbalanced_torch._displays.responses import Responses
from imbalanced_torch._parameters.values import labels_of, listed
from imbalanced_torch._prediction.decision import expected_costs
from imbalanced_torch._prediction.held_out import boundary

#: Thresholds at most; of more scores, these are taken evenly.
_MOST = 1000


def rates_at(
    positive: np.ndarray, proba: np.ndarray, weights: np.ndarray, confidence: float, prices: np.ndarray | None
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray | None]:
    """Return thresholds, ascending, and at each of them the rates, their intervals and the mean cost.

    `prices` of shape (n, 2) are what it costs not to flag and to flag each row.
    """
    counted = weights > 0
    prices = None if prices is None else prices[counted]
    positive, proba, weights = positive[counted], proba[counted], weights[counted]
    order = np.argsort(-proba, kind="stable")
    # The last rows of each distinct probability, and among those at most so many.
    ends = np.flatnonzero(np.append(np.diff(proba[order]) != 0, True))
    if len(ends) > _MOST:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, _MOST).round().astype(int))]
    ends = ends[::-1]
    w, own = weights[order], positive[order]
    called, hits = np.cumsum(w)[ends], np.cumsum(w * own)[ends]
    squares = np.cumsum(w**2)[ends]
    rates = {"recall": hits / w[own].sum(), "precision": hits / called, "share": called / w.sum()}
    sizes = {
        "recall": w[own].sum() ** 2 / (w[own] ** 2).sum(),
        "precision": called**2 / squares,
        "share": w.sum() ** 2 / (w**2).sum(),
    }
    intervals = {name: intervals_of(rates[name], sizes[name], confidence) for name in rates}
    cost = None
    if prices is not None:
        passed, flagged = w * prices[order].T
        cost = (np.cumsum(flagged)[ends] + passed.sum() - np.cumsum(passed)[ends]) / w.sum()
    return proba[order][ends], rates, intervals, cost


def intervals_of(rate: np.ndarray, n: Any, confidence: float) -> np.ndarray:
    """Return exact intervals of rates (Clopper and Pearson 1934), shape (m, 2)."""
    tail, n = (1 - confidence) / 2, np.broadcast_to(n, rate.shape)
    hits = np.minimum(rate * n, n)
    low = np.where(hits <= 1e-9, 0.0, beta.ppf(tail, np.maximum(hits, 1e-9), n - hits + 1))
    misses = n - hits
    high = np.where(misses <= 1e-9, 1.0, beta.ppf(1 - tail, hits + 1, np.maximum(misses, 1e-9)))
    return np.column_stack([low, high])


def prices_of(costs: Any, found: Responses, X: Any) -> np.ndarray:
    """Return what it costs not to flag each row and to flag it, shape (n, 2)."""
    if len(found.classes) != 2:
        raise ValueError(
            f"costs serve two classes: with {len(found.classes)}, what a row costs that is not flagged depends on the "
            "class that it is called instead."
        )
    if callable(costs) and X is None:
        raise ValueError("costs as a function of (proba, X) need X and y.")
    known = (found.y[:, None] == found.classes).astype(float)  # that the true class is certain
    return expected_costs(costs, known, X, found.classes)[:, [1 - found.code, found.code]]


def as_thresholds(decisions: Any) -> dict[str, float]:
    """Return thresholds by name as the caller gives them."""
    if decisions is None:
        return {}
    numbers = isinstance(decisions, Mapping) and all(
        isinstance(x, Real) and not isinstance(x, bool) for x in decisions.values()
    )
    if not numbers:
        raise TypeError(f"decisions must be a dict from a name to a threshold; it is {listed(decisions)}.")
    return {str(name): float(x) for name, x in decisions.items()}


def positions_of(
    estimator: Any, classifier: Any, found: Responses, X: Any, decisions: Any, names: list[str] | None
) -> dict[str, float]:
    """Return the thresholds of decisions on the probability of the class that is flagged, by name."""
    if decisions is not None and not isinstance(decisions, list | tuple):
        raise TypeError(f"decisions must be a list of values of decision; it is {listed(decisions)}.")
    if names is not None and len(names) != (1 if decisions is None else len(decisions)):
        raise ValueError("decision_names must have a name for each decision.")
    if len(found.classes) != 2:
        if decisions:
            raise ValueError(
                f"decisions are thresholds on one probability for two classes only; y has {len(found.classes)}: "
                f"{listed(found.classes)}."
            )
        return {}
    # A cost function of the estimator's chooses row by row, at no one threshold.
    if decisions == [] or (decisions is None and callable(getattr(classifier, "decision", None))):
        return {}
    if hasattr(classifier, "decision_report") and (decisions is not None or _holds_rows(classifier)):
        report = classifier.decision_report(decisions)
        thresholds = [row["threshold"] if row["label"] == found.label else 1 - row["threshold"] for row in report]
        named = [_name_of(row["decision"], found.classes) for row in report]
    elif decisions is None:
        # What the estimator does with the rows: where its two labels part.
        with np.errstate(divide="ignore"):
            odds = np.log(found.proba[:, found.code]) - np.log(found.proba[:, 1 - found.code])
        finite = np.nan_to_num(odds, posinf=1e3, neginf=-1e3)
        called = np.asarray(estimator.predict(X)) == found.classes[found.code]
        thresholds = [float(1 / (1 + np.exp(-boundary(finite, called))))]
        named = ["predict"]
    else:
        raise TypeError(f"decisions must be None for {type(classifier).__name__}, which has no decision_report.")
    return dict(zip(_distinct(named if names is None else names), thresholds, strict=True))


def _holds_rows(classifier: Any) -> bool:
    try:
        classifier.held_out_predictions()
    except ValueError:
        return False
    return True


def _name_of(decision: Any, classes: np.ndarray) -> str:
    """Return what a decision is called."""
    if isinstance(decision, str):
        return decision
    if isinstance(decision, Real):
        return f"{labels_of(classes)[1]} ≥ {decision:g}"
    if isinstance(decision, np.ndarray | list | tuple):
        return "costs"
    if isinstance(decision, Mapping):
        if any(isinstance(value, Mapping) for value in decision.values()) and set(decision) - {"recall", "precision"}:
            return "costs"
        return ", ".join(f"{key} {value}" for key, value in decision.items())
    if callable(decision):
        return getattr(decision, "__name__", "costs")
    return repr(decision)


def _distinct(names: list[str]) -> list[str]:
    """Return names with a number where there are several of one."""
    seen: dict[str, int] = {}
    result = []
    for name in map(str, names):
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result
