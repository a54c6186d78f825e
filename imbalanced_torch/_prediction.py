"""What is made of logits: probabilities at a prior, and the scores that choose a label."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from imbalanced_torch._criterion import WeightedCriterion
from imbalanced_torch._decision import Decision, Greatest, Threshold, resolve_decision
from imbalanced_torch._logits import every_logit, log_odds
from imbalanced_torch._prior import correct_prior, correctable, log_ratio, resolve_prior_correction, shown

#: Of the log-odds, for the classes 0 and 1.
_SIGNS = torch.tensor([-1.0, 1.0])


class UncorrectedDecisionWarning(UserWarning):
    """Costs or a threshold read probabilities that are at another prior than the data."""


@dataclass(frozen=True)
class Prediction:
    """`prior_correction` and `decision`, resolved against what a fit found; the priors have shape (K,)."""

    class_prior: np.ndarray
    #: The prior that the net was trained under.
    effective_prior: np.ndarray
    #: The prior that probabilities are carried to; None leaves them at the effective one.
    target: np.ndarray | None
    decision: Decision

    def log_proba(self, criterion: WeightedCriterion, logits: torch.Tensor) -> torch.Tensor:
        """Return log probabilities, shape (n, K), for logits of shape (n,), (n, 1) or (n, K)."""
        return self._at(self.target, criterion.log_proba(logits))

    def proba(self, criterion: WeightedCriterion, logits: torch.Tensor) -> torch.Tensor:
        """Return probabilities, shape (n, K)."""
        if len(self.class_prior) == 2 and criterion.logits_are_log_odds:  # two sigmoids take a fifth of a softmax
            odds = log_odds(logits)
            if self.target is not None:
                ratio = log_ratio(self.effective_prior, self.target)
                odds = odds + (ratio[1] - ratio[0])
            return torch.outer(odds, _SIGNS.to(odds)).sigmoid_()
        return self.log_proba(criterion, logits).exp()

    def scores(self, criterion: WeightedCriterion, logits: torch.Tensor) -> torch.Tensor:
        """Return a score for each class, shape (n, K), the greatest of which wins."""
        if isinstance(self.decision, Threshold):
            return self.decision.scores(self.log_proba(criterion, logits), self.proba(criterion, logits))
        if self.decision.reads == "logits":
            values = every_logit(logits)
        elif self.decision.reads == "probabilities":
            values = self.log_proba(criterion, logits)
        else:
            values = self._at(self._equal, criterion.log_proba(logits))
        return self.decision.scores(values)

    def corrected_to_data(self, log_proba: torch.Tensor) -> torch.Tensor:
        """Carry log probabilities from the effective prior to that of the data."""
        return self._at(self.class_prior, log_proba)

    def correctable_to_data(self, criterion: WeightedCriterion) -> bool:
        """Whether log probabilities are known well enough for that."""
        return criterion.exact and correctable(self.effective_prior, self.class_prior)

    @property
    def _equal(self) -> np.ndarray:
        """Equal shares of the classes that have come."""
        return (self.class_prior > 0) / (self.class_prior > 0).sum()

    def _at(self, prior: np.ndarray | None, log_proba: torch.Tensor) -> torch.Tensor:
        return log_proba if prior is None else correct_prior(log_proba, self.effective_prior, prior)


def resolve_prediction(
    prior_correction: Any,
    decision: Any,
    criterion: WeightedCriterion,
    class_prior: np.ndarray,
    effective_prior: np.ndarray,
    classes: np.ndarray,
) -> Prediction:
    """Resolve the hyperparameters; raise where they need a correction of the prior that does not exist."""
    target = resolve_prior_correction(prior_correction, class_prior, classes)
    prediction = Prediction(class_prior, effective_prior, target, resolve_decision(decision, classes))
    if target is not None:
        _check_correctable("prior_correction", prior_correction, criterion, effective_prior, target, classes)
    if prediction.decision.reads == "likelihoods":
        _check_correctable("decision", decision, criterion, effective_prior, prediction._equal, classes)
    return prediction


def _check_correctable(
    name: str, value: Any, criterion: WeightedCriterion, trained: np.ndarray, target: np.ndarray, classes: np.ndarray
) -> None:
    if not criterion.exact:
        raise ValueError(
            f"{name}={value!r} needs a criterion whose logits give exact probabilities; "
            f"{type(criterion.criterion).__name__} has none. Declare probabilities(logits) on it, or leave {name} at "
            "its default."
        )
    if np.isnan(trained).any():
        raise ValueError(
            f"{name}={value!r} needs the prior that the net was trained under, and a sampler of your own leaves it "
            f"unknown. Use sampling, or leave {name} at its default."
        )
    if not correctable(trained, target):
        never = classes[(trained == 0) & (target > 0)].tolist()
        raise ValueError(
            f"{name}={value!r} needs every class to have had a share in training; the classes {never} had none (a "
            "class_weight of 0, or no row yet in partial_fit)."
        )


def uncorrected(prediction: Prediction | None) -> bool:
    """Whether costs or a threshold read probabilities that are known to be at another prior than the data's."""
    if prediction is None or isinstance(prediction.decision, Greatest) or prediction.target is not None:
        return False
    if np.isnan(prediction.effective_prior).any():
        return False
    return not np.allclose(prediction.effective_prior, prediction.class_prior, rtol=1e-3, atol=0)


def warn_uncorrected(
    prediction: Prediction, decision: Any, criterion: WeightedCriterion, classes: np.ndarray, stacklevel: int
) -> None:
    """Warn that they do, with the numbers."""
    remedy = "Set prior_correction=True, or leave" if prediction.correctable_to_data(criterion) else "Leave"
    warnings.warn(
        f"decision={decision!r} reads probabilities at the prior of the training, "
        f"{shown(prediction.effective_prior, classes)}; the data have {shown(prediction.class_prior, classes)}. "
        f"{remedy} class_weight and sampling at None.",
        UncorrectedDecisionWarning,
        stacklevel=stacklevel + 1,
    )
