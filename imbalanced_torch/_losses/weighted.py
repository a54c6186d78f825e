"""What the net minimises: from logits, class codes and weights to a number, and from logits to probabilities."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, nll_loss

from imbalanced_torch._fast.hooks import call_is_hooked
from imbalanced_torch._losses.logits import every_logit, log_odds
from imbalanced_torch._losses.row_losses import LOSSES, RowLoss
from imbalanced_torch._parameters.names import check_keywords
from imbalanced_torch._parameters.values import accepted_by, choose, listed

_TWO_WAYS = (
    "A criterion must be a class that returns one loss per row under reduction='none', and must either be of the "
    "(B)CE-with-logits family or declare probabilities(logits)."
)
_FIXED = {
    "weight": "the estimator weights the loss itself. Use class_weight.",
    "pos_weight": "the estimator weights the loss itself. Use class_weight.",
    "reduction": "the estimator weights the loss itself. Use class_weight and sample_weight.",
    "ignore_index": "every row has a class. Give the rows to leave out a sample_weight of 0.",
}


def _mean(losses: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return losses.mean() if weights is None else (weights * losses).mean()


def _binary_cross_entropy(f: torch.Tensor, codes: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Return the mean over rows, as `_mean` does, in one call."""
    return binary_cross_entropy_with_logits(f, codes.to(f.dtype), weights)


class WeightedCriterion(nn.Module):
    """Any criterion of one loss per row, weighted by class and by row: sum(w_i l_i) / batch size.

    Not torch's weighted mean, whose divisor is the batch's own weight: with 1 % positives, balanced weights and batches
    of 32 the rare class then has .21 of the gradient instead of .50.

    Parameters
    ----------
    criterion : torch.nn.Module
        Takes `(f, targets)`, f of shape (n,) and targets 0.0 or 1.0, if the net has one logit, else `(logits, codes)`
        of shapes (n, K) and (n,); returns losses of shape (n,).
    n_classes : int
    counts_given : bool, default=False
        Whether the user has set the criterion's `class_counts`, which training then leaves as they are.
    """

    class_weight: torch.Tensor
    criterion: Any
    #: For pickles of versions that did not have them.
    counts_given = equal = False

    def __init__(self, criterion: nn.Module, n_classes: int, counts_given: bool = False) -> None:
        super().__init__()
        self.criterion = criterion
        self.counts_given = counts_given
        #: Whether every class weighs 1.
        self.equal = True
        self.register_buffer("class_weight", torch.ones(n_classes, dtype=torch.float64))

    def set_classes(self, class_weight: np.ndarray, class_counts: np.ndarray) -> None:
        """Set the weights and, for a criterion that holds `class_counts`, the rows sampled, shape (K,), in place."""
        self.class_weight.copy_(torch.from_numpy(class_weight))
        self._find_equal()
        if isinstance(getattr(self.criterion, "class_counts", None), torch.Tensor) and not self.counts_given:
            self.criterion.class_counts.copy_(torch.from_numpy(class_counts))

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load buffers, and see whether the classes now weigh the same."""
        loaded = super().load_state_dict(*args, **kwargs)
        self._find_equal()
        return loaded

    def _find_equal(self) -> None:
        self.equal = bool((self.class_weight == 1).all())

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Return the losses before weights, shape (n,), for logits of shape (n,), (n, 1) or (n, K)."""
        logits = self.in_form(logits)
        return self.criterion(logits, codes.to(logits.dtype) if logits.ndim == 1 else codes)

    def forward(
        self, logits: torch.Tensor, codes: torch.Tensor, sample_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the batch's loss, a scalar."""
        weights = self._row_weights(logits, codes, sample_weight)
        if type(self.criterion) is nn.BCEWithLogitsLoss:
            return _binary_cross_entropy(log_odds(logits), codes, weights)
        return _mean(self.row_losses(logits, codes), weights)

    def with_gradient(
        self, logits: torch.Tensor, codes: torch.Tensor, sample_weight: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the batch's loss, and its gradient by logits of shape (n, 1) or (n, K)."""
        binary, one = isinstance(self.criterion, nn.BCEWithLogitsLoss), logits.shape[1] == 1
        if not self._is_cross_entropy or binary != one or call_is_hooked(self) or call_is_hooked(self.criterion):
            with torch.enable_grad():
                logits.requires_grad_()
                loss = self(logits, codes, sample_weight)
                loss.backward()
            return loss.detach(), cast(torch.Tensor, logits.grad)
        # In closed form: probabilities less the truth, 1 or 0.
        weights = self._row_weights(logits, codes, sample_weight)
        if binary:
            loss = _binary_cross_entropy(logits[:, 0], codes, weights)
            gradient = torch.sigmoid(logits).sub_(codes[:, None])
        else:
            log_proba = torch.log_softmax(logits, dim=1)
            loss = _mean(nll_loss(log_proba, codes, reduction="none"), weights)
            gradient = log_proba.exp_()
            gradient.scatter_add_(1, codes[:, None], gradient.new_full((len(codes), 1), -1))
        if weights is not None:
            gradient.mul_(weights[:, None])
        return loss, gradient.div_(len(codes))

    def _row_weights(
        self, logits: torch.Tensor, codes: torch.Tensor, sample_weight: torch.Tensor | None
    ) -> torch.Tensor | None:
        weights = None if self.equal else self.class_weight.to(logits.dtype)[codes]
        if sample_weight is None:
            return weights
        sample_weight = sample_weight.to(logits.dtype)
        return sample_weight if weights is None else weights * sample_weight

    def log_proba(self, logits: torch.Tensor) -> torch.Tensor:
        """Return log probabilities at the prior that the net is trained under, shape (n, K)."""
        if hasattr(self.criterion, "log_probabilities"):
            return self.criterion.log_probabilities(logits)
        declared = getattr(self.criterion, "probabilities", None)
        if declared is None:
            return torch.log_softmax(every_logit(logits), dim=1)
        proba = declared(self.in_form(logits))
        if proba.ndim == 1:
            proba = torch.stack([1 - proba, proba], dim=1)
        return torch.log(proba.clamp_min(torch.finfo(proba.dtype).tiny))

    @property
    def logits_are_log_odds(self) -> bool:
        """Whether the logits of two classes differ by the log-odds of their probabilities."""
        return not hasattr(self.criterion, "log_probabilities") and not hasattr(self.criterion, "probabilities")

    def start_logits(self, prior: np.ndarray) -> torch.Tensor:
        """Return logits, shape (K,), that stand for probabilities equal to a prior of shape (K,)."""
        log_prior = torch.from_numpy(np.log(prior))
        return self.criterion.start_logits(log_prior) if isinstance(self.criterion, RowLoss) else log_prior

    @property
    def has_probabilities(self) -> bool:
        """Whether `log_proba` gives any."""
        return self.exact or not hasattr(self.criterion, "exact")

    @property
    def exact(self) -> bool:
        """Whether `log_proba` is known to give the probabilities that minimise the loss."""
        if hasattr(self.criterion, "exact"):
            return bool(self.criterion.exact)
        return hasattr(self.criterion, "probabilities") or self._is_cross_entropy

    @property
    def _is_cross_entropy(self) -> bool:
        plain = type(self.criterion) in (nn.BCEWithLogitsLoss, nn.CrossEntropyLoss)
        return plain and getattr(self.criterion, "label_smoothing", 0) == 0

    def in_form(self, logits: torch.Tensor) -> torch.Tensor:
        """Bring logits to the form that the criterion takes: one logit f is the two logits (0, f)."""
        if isinstance(self.criterion, nn.CrossEntropyLoss):
            return every_logit(logits)
        if isinstance(self.criterion, nn.BCEWithLogitsLoss):
            return log_odds(logits)
        return log_odds(logits) if logits.ndim == 1 or logits.shape[1] == 1 else logits


# Words that are used elsewhere for one of ours.
_MEANT = {
    "balanced_softmax": "logit_adjusted",
    "logit_adjustment": "logit_adjusted",
    "la": "logit_adjusted",
    "focal_loss": "focal",
    "cdt": "vs",
    "vector_scaling": "vs",
    "asl": "asymmetric",
    "smoothing": "label_smoothing",
    "ldam_drw": "ldam",
}


def resolve_criterion(criterion: Any, n_classes: int, parameters: Mapping[str, Any]) -> WeightedCriterion:
    """Turn the hyperparameter into a criterion of one loss per row, and weight it.

    None is binary cross-entropy for two classes and cross-entropy for more, both through logits. A class with a
    parameter `class_counts` is given the rows of each class that are sampled.
    """
    for name in parameters:
        if name in _FIXED:
            raise ValueError(f"criterion__{name} can't be set: {_FIXED[name]}")
    if criterion is None:
        criterion = nn.BCEWithLogitsLoss if n_classes == 2 else nn.CrossEntropyLoss
    if isinstance(criterion, str):
        criterion = choose("criterion", criterion, LOSSES, _MEANT)
    counts_given = "class_counts" in parameters or isinstance(criterion, nn.Module)
    if isinstance(criterion, type) and issubclass(criterion, nn.Module):
        check_keywords("criterion", criterion, parameters)
        maker: Any = criterion
        accepted = accepted_by(maker)
        if "reduction" in accepted:
            parameters = {**parameters, "reduction": "none"}
        if "class_counts" in accepted and not counts_given:
            parameters = {**parameters, "class_counts": np.ones(n_classes)}  # until they are known
        per_row = criterion(**parameters)
    elif isinstance(criterion, nn.Module):
        if parameters:
            raise ValueError(
                "criterion is an instance, whose parameters are set already; pass its class "
                f"{type(criterion).__name__} to set {sorted(parameters)}."
            )
        per_row = copy.deepcopy(criterion)
        if isinstance(per_row, RowLoss) and per_row.class_counts is None:
            counts_given = False
            if "class_counts" in accepted_by(type(per_row)):
                per_row.class_counts = torch.ones(n_classes, dtype=torch.float64)
    else:
        raise TypeError(
            f"criterion must be None, one of the words {sorted(LOSSES)} or a torch criterion class; it is "
            f"{criterion!r}. {_TWO_WAYS}"
        )
    if hasattr(per_row, "reduction"):
        per_row.reduction = "none"  # type: ignore[assignment]
    name = type(per_row).__name__
    if getattr(per_row, "weight", None) is not None or getattr(per_row, "pos_weight", None) is not None:
        raise ValueError(
            f"criterion {name} carries its own class weights. Use class_weight, which also knows about sampling."
        )
    if getattr(per_row, "ignore_index", -1) >= 0:
        raise ValueError(f"criterion {name} ignores a class: {_FIXED['ignore_index']}")
    if isinstance(per_row, nn.BCEWithLogitsLoss) and n_classes > 2:
        raise ValueError(
            f"criterion {name} serves two classes; y has {n_classes}. Use torch.nn.CrossEntropyLoss, or None."
        )
    if not isinstance(per_row, nn.BCEWithLogitsLoss | nn.CrossEntropyLoss) and not hasattr(per_row, "probabilities"):
        raise ValueError(f"criterion {name} does not say how its logits become probabilities. {_TWO_WAYS}")
    return WeightedCriterion(per_row, n_classes, counts_given)


def check_row_losses(criterion: WeightedCriterion, logits: torch.Tensor, codes: torch.Tensor) -> None:
    """Raise unless the criterion gives one loss, and one probability for each class, per row of these logits."""
    name = type(criterion.criterion).__name__
    form = tuple(criterion.in_form(logits).shape)
    try:
        losses = criterion.row_losses(logits, codes)
    except (IndexError, RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"criterion {name} can't take logits of shape {form} and targets of shape {tuple(codes.shape)}: {error}"
        ) from error
    if losses.shape != codes.shape:
        raise ValueError(
            f"criterion {name} returns a loss of shape {tuple(losses.shape)} for {len(codes)} rows. {_TWO_WAYS}"
        )
    if not criterion.has_probabilities:
        return  # it says so itself where its probabilities are asked for
    n_classes = len(criterion.class_weight)
    try:
        log_proba = criterion.log_proba(logits)
        fits = log_proba.shape == (len(codes), n_classes) and bool(
            torch.allclose(log_proba.exp().sum(dim=1), torch.ones(()).to(log_proba), atol=1e-3)
        )
        given = f"shape {tuple(log_proba.shape)}, {listed(log_proba.exp().tolist())}"
    except (AttributeError, TypeError, RuntimeError, IndexError) as error:
        fits, given = False, str(error)
    if not fits:
        raise ValueError(
            f"probabilities(logits) of criterion {name} must return a tensor of probabilities: of code 1, shape (n,), "
            f"or of every class, shape (n, {n_classes}), in rows that sum to 1; for n = {len(codes)} it gives {given}."
        )
