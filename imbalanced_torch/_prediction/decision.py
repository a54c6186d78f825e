"""How a label is chosen: from log probabilities to a score for each class, the greatest of which wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch

from imbalanced_torch._parameters.values import by_label, hint_of_codes, labels_of, listed, lookup, pass_instead

#: What a decision looks at: the module's own logits, the probabilities that `predict_proba` returns, or these divided
#: by the class prior, which is the same as making all classes equally frequent; or probabilities at the prior of the
#: data, where these are known.
ScoreInput = Literal["logits", "probabilities", "prior_scaled", "data_prior"]


@dataclass(frozen=True)
class Greatest:
    """The class with the greatest value."""

    reads: ScoreInput

    def scores(self, log_values: torch.Tensor) -> torch.Tensor:
        """Return scores of shape (n, K)."""
        return log_values


@dataclass(frozen=True)
class Threshold:
    """One of two classes where its probability is at least the threshold."""

    code: int
    threshold: float
    reads: ScoreInput = "probabilities"

    def scores(self, log_values: torch.Tensor, proba: torch.Tensor | None = None) -> torch.Tensor:
        """Return the log-odds of the class less those of the threshold, and 0 for the other; shape (n, 2).

        `proba` are the probabilities to the last bit, as users see them.
        """
        proba = log_values.exp() if proba is None else proba
        own, other = log_values[:, self.code], log_values[:, 1 - self.code]
        above = own - other - (np.log(self.threshold) - np.log1p(-self.threshold))
        # Rounding must not decide at the threshold itself, where thresholds of a ROC curve stand.
        tiny = torch.finfo(above.dtype).tiny
        above = torch.where(proba[:, self.code] >= self.threshold, above.clamp_min(tiny), above.clamp_max(-tiny))
        scores = torch.zeros_like(log_values)
        scores[:, self.code] = above
        return scores


@dataclass(frozen=True)
class LeastCost:
    """The class that costs least in expectation."""

    #: Shape (K, K): what it costs more to predict k than c where c is true stands in row c, column k.
    costs: np.ndarray
    reads: ScoreInput = "probabilities"

    def scores(self, log_values: torch.Tensor) -> torch.Tensor:
        """Return minus the expected costs of each prediction, shape (n, K)."""
        log_values = log_values.cpu().double()  # costs may differ by less than single precision holds
        if len(self.costs) == 2:
            false_alarm, miss = self.costs[0, 1], self.costs[1, 0]
            if false_alarm > 0 and miss > 0:  # the same decision as log-odds, which keep their precision far out
                return log_values + torch.from_numpy(np.log([false_alarm, miss]))
        return -(log_values.exp() @ torch.from_numpy(self.costs))


@dataclass(frozen=True)
class Offsets:
    """The class with the greatest log probability plus offset: what a goal is settled to."""

    #: Shape (K,), in nats.
    offsets: np.ndarray
    reads: ScoreInput = "data_prior"

    def scores(self, log_values: torch.Tensor) -> torch.Tensor:
        """Return log probabilities plus offsets, shape (n, K)."""
        return log_values.cpu().double() + torch.from_numpy(self.offsets)


@dataclass(frozen=True)
class RowCosts:
    """The class that costs least in expectation, by costs that differ by row and that a function of the user's says."""

    function: Callable[[np.ndarray, Any], Any]
    reads: ScoreInput = "probabilities"

    def scores(self, log_values: torch.Tensor) -> torch.Tensor:
        """Raise: what is asked for here has no X."""
        raise ValueError(
            "decision as a function cost(proba, X) needs X, which the estimator's predict has; the net, graphs and "
            "reports do not. Set another decision for these."
        )


@dataclass(frozen=True)
class Unreached:
    """A goal that no threshold reaches: to choose a label raises, all else goes on."""

    message: str
    reads: ScoreInput = "data_prior"

    def scores(self, log_values: torch.Tensor) -> torch.Tensor:
        """Raise with the reason."""
        raise ValueError(self.message)


Decision = Greatest | Threshold | LeastCost | Offsets | RowCosts | Unreached

DECISIONS: dict[str, Decision] = {
    "trained": Greatest("logits"),
    "argmax": Greatest("probabilities"),
    "balanced": Greatest("prior_scaled"),
}

#: Words for goals: scores that have other names in scikit-learn, or none, or mean another class there.
SCORES = ("f1", "gmean", "mcc")
# Words that are used elsewhere for one of ours.
_ALIASES = {"default": "trained", "logits": "trained", "map": "argmax", "auto": "trained", "prior": "balanced"}
_CHOICES = (
    f"one of the words {sorted(DECISIONS)}, a threshold in (0, 1) for two classes (a number, or {{label: number}}), "
    "costs: a (K, K) array, true classes in rows, a nested dict {true: {predicted: cost}} or a function of (proba, X), "
    "or a goal: {'recall': 0.8}, {'precision': 0.9}, {'share': 0.01}, RecallFloor(...), PrecisionFloor(...), 'f1', "
    "'mcc', 'gmean' or a scorer of scikit-learn"
)


def resolve_decision(decision: Any, classes: np.ndarray) -> Decision:
    """Turn the hyperparameter into a rule that chooses one of `classes`."""
    if isinstance(decision, np.ndarray) and decision.ndim == 0:
        decision = decision.item()
    if isinstance(decision, str):
        return lookup("decision", decision, {**DECISIONS, **dict.fromkeys(SCORES)}, _ALIASES)  # type: ignore[return-value]
    if callable(decision) and not isinstance(decision, type):
        return RowCosts(decision)
    if isinstance(decision, Real) and not isinstance(decision, bool | np.bool_):
        return _threshold(decision, 1, classes)
    if isinstance(decision, Mapping) and any(isinstance(value, Mapping) for value in decision.values()):
        return _least_cost(_cost_matrix(decision, classes), classes)
    if isinstance(decision, Mapping):
        codes = [code for code, label in enumerate(labels_of(classes)) if label in list(decision)]
        if len(decision) != 1 or not codes:
            raise ValueError(
                "decision as a dict must be the threshold of one class, {label: number}, or costs, {true: {predicted: "
                f"cost}}}}; it is {listed(decision)}. The classes are {listed(classes)}."
                f"{hint_of_codes(decision, classes)}"
            )
        return _threshold(next(iter(decision.values())), codes[0], classes)
    if isinstance(decision, Sequence | np.ndarray):
        return _least_cost(decision, classes)
    raise TypeError(f"decision must be {_CHOICES}; it is {listed(decision)}.{pass_instead(decision)}")


def _threshold(threshold: Any, code: int, classes: np.ndarray) -> Decision:
    labels = classes.tolist()
    if len(labels) != 2:
        raise ValueError(
            f"decision as a threshold serves two classes; y has {len(labels)}: {listed(labels)}. Pass costs, "
            '"balanced", or tune an offset for each class with TunedOffsetClassifierCV.'
        )
    if isinstance(threshold, np.ndarray) and threshold.ndim == 0:
        threshold = threshold.item()
    number = isinstance(threshold, Real) and not isinstance(threshold, bool | np.bool_)
    if not number or not 0 < threshold < 1:
        raise ValueError(f"decision as a threshold must be in (0, 1); it is {threshold!r}.")
    return Threshold(code, float(threshold))


def _least_cost(costs: Any, classes: np.ndarray) -> Decision:
    labels = classes.tolist()
    try:
        matrix = np.asarray(costs, dtype=float)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"decision as costs must hold numbers, as many in each row; it is {listed(costs)}.") from None
    if matrix.shape != (len(labels), len(labels)):
        raise ValueError(
            "decision as costs must have a row for each true and a column for each predicted class of "
            f"{listed(labels)}, shape {(len(labels), len(labels))}; it has shape {matrix.shape}. Where a fold may lack "
            "a class, pass a nested dict {true: {predicted: cost}}."
        )
    if not np.isfinite(matrix).all():
        raise ValueError(f"decision as costs must be finite; it is {listed(matrix.tolist())}.")
    if np.abs(matrix).max() > 1e300:  # room for differences and sums; the scale changes no decision
        matrix = matrix * 2.0**-30
    more = matrix - np.diag(matrix)[:, None]  # nor does the level of a row
    if not (more > 0).any():
        raise ValueError(
            "decision as costs must have a mistake that costs more than the right answer in its row (gains are "
            f"negative); it is {listed(matrix.tolist())}."
        )
    return LeastCost(more)


def _cost_matrix(costs: Mapping[Any, Any], classes: np.ndarray) -> list[list[Any]]:
    """Return the costs of a nested dict as a matrix. Right answers cost 0 unless an entry says otherwise."""
    labels = labels_of(classes)
    rows = by_label("decision", costs, classes, missing=[{}] * len(labels))
    matrix = []
    for label, row in zip(labels, rows, strict=True):
        if not isinstance(row, Mapping):
            raise TypeError(
                f"decision as costs must be a nested dict {{true: {{predicted: cost}}}}; for {label!r} it is "
                f"{listed(row)}."
            )
        row = row if label in row or label in list(row) else {label: 0.0, **row}
        matrix.append(by_label(f"decision[{label!r}]", row, classes, missing=[None] * len(labels)))
    without = [(labels[c], labels[k]) for c, row in enumerate(matrix) for k, cost in enumerate(row) if cost is None]
    if without:
        raise ValueError(
            "decision as costs must have a cost for every mistake (true, predicted); it has none for "
            f"{listed(without)}."
        )
    return matrix


# Costs that differ by row


def expected_costs(costs: Any, proba: np.ndarray, X: Any, classes: np.ndarray) -> np.ndarray:
    """Return what each prediction is expected to cost in each row, shape (n, K).

    Parameters
    ----------
    costs : callable, mapping or array
        A function of (proba, X) that returns expected costs, shape (n, K), or costs, shape (n, K, K); a nested dict
        {true: {predicted: cost}} whose entries are numbers or arrays of shape (n,); or an array of shape (K, K) or
        (n, K, K), true classes before predicted ones.
    proba : array of shape (n, K)
    X : the rows, as the user has them
    classes : array of shape (K,)
    """
    n, n_classes = proba.shape
    given = costs(proba, X) if callable(costs) else costs
    try:
        if isinstance(given, Mapping):
            matrix = [[np.broadcast_to(np.asarray(x, float), n) for x in row] for row in _cost_matrix(given, classes)]
            values = np.moveaxis(np.array(matrix), 2, 0)
        else:
            values = np.asarray(given, dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(given, Mapping) and "decision" in str(error):
            raise
        raise TypeError(f"costs must hold numbers, one for all rows or one for each of {n}: {error}.") from error
    expected = callable(costs) and values.shape == (n, n_classes)
    if not expected and values.shape not in ((n_classes, n_classes), (n, n_classes, n_classes)):
        also = f", or of expected costs, shape {(n, n_classes)}" if callable(costs) else ""
        raise ValueError(
            f"costs must have shape {(n, n_classes, n_classes)}, true classes before predicted ones of "
            f"{listed(classes)}, or {(n_classes, n_classes)}{also}; they have shape {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"costs must be finite; they are not in {int((~np.isfinite(values)).sum())} places.")
    if expected:
        return values
    return np.einsum("nc,ck->nk" if values.ndim == 2 else "nc,nck->nk", proba, values)
