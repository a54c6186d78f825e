"""How a label is chosen: from log probabilities to a score for each class, the greatest of which wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch

from imbalanced_torch._hyperparameters import by_label, choose

#: What a decision looks at: the module's own logits, the probabilities that `predict_proba` returns, or these divided
#: by the class prior, which is the same as making all classes equally frequent.
Reads = Literal["logits", "probabilities", "likelihoods"]


@dataclass(frozen=True)
class Greatest:
    """The class with the greatest value, plus an offset for each class."""

    reads: Reads
    #: Shape (K,), added to logits or log probabilities.
    offsets: np.ndarray | None = None

    def scores(self, log_values: torch.Tensor) -> torch.Tensor:
        """Return scores of shape (n, K)."""
        return log_values if self.offsets is None else log_values + torch.as_tensor(self.offsets).to(log_values)


@dataclass(frozen=True)
class LeastCost:
    """The class that costs least in expectation."""

    #: Shape (K, K): what it costs to predict k where c is true stands in row c, column k.
    costs: np.ndarray
    reads: Reads = "probabilities"

    def scores(self, log_values: torch.Tensor) -> torch.Tensor:
        """Return minus the expected costs of each prediction, shape (n, K)."""
        return -(log_values.exp() @ torch.as_tensor(self.costs).to(log_values))


Decision = Greatest | LeastCost

DECISIONS: dict[str, Decision] = {
    "trained": Greatest("logits"),
    "argmax": Greatest("probabilities"),
    "balanced": Greatest("likelihoods"),
}

# Words that are used elsewhere for one of ours.
_MEANT = {"default": "trained", "logits": "trained", "map": "argmax", "auto": "trained", "prior": "balanced"}
_CHOICES = (
    f"one of the words {sorted(DECISIONS)}, a threshold in (0, 1) for two classes (a number, or {{label: number}}), or "
    "costs: a (K, K) array, true classes in rows, or a nested dict {true: {predicted: cost}}"
)


def resolve_decision(decision: Any, classes: np.ndarray) -> Decision:
    """Turn the hyperparameter into a rule that chooses one of `classes`."""
    if isinstance(decision, str):
        return choose("decision", decision, DECISIONS, _MEANT)
    if isinstance(decision, Real) and not isinstance(decision, bool | np.bool_):
        return _threshold(decision, 1, classes)
    if isinstance(decision, Mapping) and any(isinstance(value, Mapping) for value in decision.values()):
        return _least_cost(_cost_matrix(decision, classes), classes)
    if isinstance(decision, Mapping):
        labels = classes.tolist()
        if len(decision) != 1 or next(iter(decision)) not in labels:
            raise ValueError(
                "decision as a threshold must name one class and its threshold, as {label: number}; it is "
                f"{decision!r}. The classes are {labels}."
            )
        ((label, threshold),) = decision.items()
        return _threshold(threshold, labels.index(label), classes)
    if isinstance(decision, Sequence | np.ndarray):
        return _least_cost(decision, classes)
    raise TypeError(f"decision must be {_CHOICES}; it is {decision!r}.")


def _threshold(threshold: Any, code: int, classes: np.ndarray) -> Decision:
    """Choose the class of this code where its probability is above the threshold."""
    labels = classes.tolist()
    if len(labels) != 2:
        raise ValueError(
            f"decision as a threshold serves two classes; y has {len(labels)}: {labels}. Pass costs, "
            '"balanced", or tune an offset for each class with TunedOffsetClassifierCV.'
        )
    number = isinstance(threshold, Real) and not isinstance(threshold, bool | np.bool_)
    if not number or not 0 < threshold < 1:
        raise ValueError(f"decision as a threshold must be in (0, 1); it is {threshold!r}.")
    chosen = np.arange(2) == code
    return Greatest("probabilities", -np.log(np.where(chosen, threshold, 1 - threshold)))


def _least_cost(costs: Any, classes: np.ndarray) -> Decision:
    labels = classes.tolist()
    try:
        matrix = np.asarray(costs, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"decision as costs must hold numbers; it is {costs!r}.") from None
    if matrix.shape != (len(labels), len(labels)):
        raise ValueError(
            f"decision as costs must have a row for each true and a column for each predicted class of {labels}, shape "
            f"{(len(labels), len(labels))}; it has shape {matrix.shape}. Where a fold may lack a class, pass a nested "
            "dict {true: {predicted: cost}}."
        )
    if not np.isfinite(matrix).all():
        raise ValueError(f"decision as costs must be finite; it is {matrix.tolist()}.")
    if not (matrix > 0).any():
        raise ValueError(
            "decision as costs must have a positive cost for some mistake (gains are negative); it is "
            f"{matrix.tolist()}."
        )
    if len(labels) == 2:
        false_alarm, miss = matrix[0, 1] - matrix[0, 0], matrix[1, 0] - matrix[1, 1]
        if false_alarm > 0 and miss > 0:  # then it is a threshold, which keeps its precision far out
            return _threshold(false_alarm / (false_alarm + miss), 1, classes)
    return LeastCost(matrix)


def _cost_matrix(costs: Mapping[Any, Any], classes: np.ndarray) -> list[list[Any]]:
    """Return the costs of a nested dict as a matrix. Right answers cost 0 unless an entry says otherwise."""
    labels = classes.tolist()
    rows = by_label("decision", costs, classes, missing=[{}] * len(labels))
    matrix = []
    for label, row in zip(labels, rows, strict=True):
        if not isinstance(row, Mapping):
            raise TypeError(
                f"decision as costs must be a nested dict {{true: {{predicted: cost}}}}; for {label!r} it is {row!r}."
            )
        matrix.append(by_label(f"decision[{label!r}]", {label: 0.0, **row}, classes, missing=[None] * len(labels)))
    without = [(labels[c], labels[k]) for c, row in enumerate(matrix) for k, cost in enumerate(row) if cost is None]
    if without:
        raise ValueError(
            f"decision as costs must have a cost for every mistake (true, predicted); it has none for {without}."
        )
    return matrix
