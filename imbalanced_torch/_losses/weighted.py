"""What the net minimises: from logits, class codes and weights to a number, and from logits to probabilities."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter
from reprlib import Repr
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from imbalanced_torch._losses.focal_losses import AsymmetricLoss, FocalLoss
from imbalanced_torch._losses.logits import log_odds, log_softmax, to_class_logits
from imbalanced_torch._losses.margin_losses import LDAMLoss, LogitAdjustedLoss, VSLoss
from imbalanced_torch._losses.row_loss import RowLoss
from imbalanced_torch._losses.smoothing_loss import LabelSmoothingLoss
from imbalanced_torch._parameters.names import check_keywords
from imbalanced_torch._parameters.values import accepted_by, listed, lookup

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


def weighted_mean(losses: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Return sum(w_i l_i) / batch size, a scalar."""
    return losses.mean() if weights is None else (weights * losses).mean()


def _binary_cross_entropy(f: torch.Tensor, codes: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Return the mean over rows, as `weighted_mean` does, in one call."""
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
    parameters : mapping, default={}
        What the user set of the criterion's, for messages.
    """

    class_weight: torch.Tensor
    criterion: Any
    #: For pickles of versions that did not have them.
    counts_given = equal = False

    def __init__(
        self, criterion: nn.Module, n_classes: int, counts_given: bool = False, parameters: Mapping[str, Any] = {}
    ) -> None:
        super().__init__()
        self.criterion = criterion
        #: What messages call it.
        self.described = " ".join([f"criterion {type(criterion).__name__}", *_with(parameters)])
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
        logits = self.to_criterion_input(logits)
        as_float = logits.ndim == 1 and not isinstance(self.criterion, RowLoss)
        return self.criterion(logits, codes.to(logits.dtype) if as_float else codes)

    def forward(
        self, logits: torch.Tensor, codes: torch.Tensor, sample_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the batch's loss, a scalar."""
        weights = self.row_weights(logits, codes, sample_weight)
        if type(self.criterion) is nn.BCEWithLogitsLoss:
            return _binary_cross_entropy(log_odds(logits), codes, weights)
        return weighted_mean(self.row_losses(logits, codes), weights)

    def row_weights(
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
            return log_softmax(to_class_logits(logits))
        proba = declared(self.to_criterion_input(logits))
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
        start = self.criterion.start_logits(log_prior) if isinstance(self.criterion, RowLoss) else log_prior
        limits = torch.finfo(torch.float32)  # in which the net may be
        return start.clamp(limits.min, limits.max)

    @property
    def has_probabilities(self) -> bool:
        """Whether `log_proba` gives any."""
        return self.exact or not hasattr(self.criterion, "exact")

    @property
    def exact(self) -> bool:
        """Whether `log_proba` is known to give the probabilities that minimise the loss."""
        if hasattr(self.criterion, "exact"):
            return bool(self.criterion.exact)
        return hasattr(self.criterion, "probabilities") or self.is_cross_entropy

    @property
    def is_cross_entropy(self) -> bool:
        plain = type(self.criterion) in (nn.BCEWithLogitsLoss, nn.CrossEntropyLoss)
        return plain and getattr(self.criterion, "label_smoothing", 0) == 0

    def to_criterion_input(self, logits: torch.Tensor) -> torch.Tensor:
        """Bring logits to the form that the criterion takes: one logit f is the two logits (0, f)."""
        if isinstance(self.criterion, nn.CrossEntropyLoss):
            return to_class_logits(logits)
        if isinstance(self.criterion, nn.BCEWithLogitsLoss):
            return log_odds(logits)
        return log_odds(logits) if logits.ndim == 1 or logits.shape[1] == 1 else logits


LOSSES: dict[str, type[RowLoss]] = {
    "asymmetric": AsymmetricLoss,
    "focal": FocalLoss,
    "label_smoothing": LabelSmoothingLoss,
    "ldam": LDAMLoss,
    "logit_adjusted": LogitAdjustedLoss,
    "vs": VSLoss,
}

# Words that are used elsewhere for one of ours.
_ALIASES = {
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
    _check_not_fixed(parameters)
    if criterion is None:
        criterion = nn.BCEWithLogitsLoss if n_classes == 2 else nn.CrossEntropyLoss
    if isinstance(criterion, str):
        criterion = lookup("criterion", criterion, LOSSES, _ALIASES)
    counts_given = True
    if _makes_criteria(criterion):
        per_row, counts_given = _made(criterion, n_classes, parameters)
    elif isinstance(criterion, nn.Module):
        if parameters:
            raise ValueError(
                "criterion is an instance, whose parameters are set already; pass its class "
                f"{type(criterion).__name__} to set {sorted(parameters)}."
            )
        per_row = copy.deepcopy(criterion)
    else:
        raise _no_criterion(criterion)
    if isinstance(per_row, RowLoss) and per_row.class_counts is None:
        counts_given = False
        if "class_counts" in accepted_by(type(per_row)):
            per_row.class_counts = torch.ones(n_classes, dtype=torch.float64)  # until they are known
    if hasattr(per_row, "reduction"):
        per_row.reduction = "none"  # type: ignore[assignment]
    _check_serves(per_row, n_classes)
    return WeightedCriterion(per_row, n_classes, counts_given, parameters)


def _check_not_fixed(parameters: Mapping[str, Any]) -> None:
    for name in parameters:
        if name in _FIXED:
            raise ValueError(f"criterion__{name} can't be set: {_FIXED[name]}")


def _check_serves(per_row: nn.Module, n_classes: int) -> None:
    """Raise if a criterion weights classes itself, ignores one, or does not say how to get to probabilities."""
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


def _makes_criteria(criterion: Any) -> bool:
    """Whether it is a criterion class, a partial of one, or a function that needs nothing but class counts."""
    if isinstance(criterion, type):
        return issubclass(criterion, nn.Module)
    if isinstance(criterion, nn.Module) or not callable(criterion):
        return False
    if isinstance(criterion, partial) and isinstance(criterion.func, type):
        return issubclass(criterion.func, nn.Module)
    try:
        needed = [name for name, p in accepted_by(criterion).items() if p.default is p.empty and p.kind not in _ANY]
    except (TypeError, ValueError):  # nothing is known about it
        return False
    return set(needed) <= {"class_counts", "reduction"}


_ANY = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def _made(maker: Callable[..., Any], n_classes: int, parameters: Mapping[str, Any]) -> tuple[nn.Module, bool]:
    """Return a criterion of one loss per row, and whether its class counts, if any, are the user's."""
    check_keywords("criterion", maker, parameters)
    accepted = accepted_by(maker)
    theirs = {**getattr(maker, "keywords", {}), **parameters}
    ours: dict[str, Any] = {"reduction": "none"} if "reduction" in accepted else {}
    if "class_counts" in accepted and theirs.get("class_counts") is None:
        ours["class_counts"] = np.ones(n_classes)  # until they are known
    try:
        criterion = maker(**{**parameters, **ours})
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        if not parameters:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            " ".join([f"criterion {_name_of(maker)} can't be made", *_with(parameters)]) + f": {error}"
        ) from error
    if not isinstance(criterion, nn.Module):
        raise _no_criterion(maker)
    if not isinstance(maker, type | partial):
        criterion = copy.deepcopy(criterion)  # a function may return the same criterion each time
    filled = "class_counts" in ours or (isinstance(maker, type) and "class_counts" not in parameters)
    return criterion, not filled


def _no_criterion(criterion: Any) -> TypeError:
    return TypeError(
        f"criterion must be None, one of the words {sorted(LOSSES)} or a torch criterion class; it is "
        f"{criterion!r}. {_TWO_WAYS}"
    )


def _name_of(maker: Any) -> str:
    return getattr(getattr(maker, "func", maker), "__name__", repr(maker))


def _with(parameters: Mapping[str, Any]) -> list[str]:
    """Return a part of a sentence about the user's parameters, if there are any."""
    short = Repr()
    short.maxother = short.maxstring = 80
    each = ", ".join(f"criterion__{name}={short.repr(value)}" for name, value in parameters.items())
    return [f"with {each}"] if each else []


def check_row_losses(criterion: WeightedCriterion, logits: torch.Tensor, codes: torch.Tensor) -> None:
    """Raise unless the criterion gives one loss, and one probability for each class, per row of these logits."""
    name, form = criterion.described, tuple(criterion.to_criterion_input(logits).shape)
    _check_finite_logits(logits)
    try:
        losses = criterion.row_losses(logits, codes)
    except (IndexError, RuntimeError, ValueError, TypeError) as error:
        raise ValueError(
            f"{name} can't take logits of shape {form} and targets of shape {tuple(codes.shape)}: {error}"
        ) from error
    if not isinstance(losses, torch.Tensor):
        raise TypeError(f"{name} must return a tensor of one loss per row; it returns a {type(losses).__name__}.")
    if losses.shape != codes.shape:
        raise ValueError(f"{name} returns a loss of shape {tuple(losses.shape)} for {len(codes)} rows. {_TWO_WAYS}")
    _check_finite_losses(criterion, logits)
    if criterion.has_probabilities:  # else it says so itself where its probabilities are asked for
        _check_probabilities(criterion, logits, len(codes))


def _check_finite_logits(logits: torch.Tensor) -> None:
    bad = ~torch.isfinite(logits).reshape(len(logits), -1).all(dim=1)
    if bad.any():
        raise ValueError(
            f"the module returns nan or infinite logits for {int(bad.sum())} of {len(bad)} rows before any training. X "
            "may hold values that are too large for its dtype, or nan that the module does not take; or the module "
            "starts with weights that are not finite."
        )


def _check_finite_losses(criterion: WeightedCriterion, logits: torch.Tensor) -> None:
    """Raise if the loss of one of the classes, or its gradient, is so great that no batch could be summed."""
    n_classes = len(criterion.class_weight)
    codes = torch.linspace(0, n_classes - 1, min(n_classes, 100), device=logits.device).long()
    rows = logits[:1].detach().expand(len(codes), *logits.shape[1:]).clone().requires_grad_()
    with torch.enable_grad():
        losses = criterion.row_losses(rows, codes)
    gradient = torch.autograd.grad(losses.sum(), rows, allow_unused=True)[0] if losses.requires_grad else None
    limit = torch.finfo(losses.dtype).max / 2**20
    if not all(bool((values.abs() <= limit).all()) for values in (losses, gradient) if values is not None):
        raise ValueError(
            f"{criterion.described} must give losses and gradients whose sums over a batch are finite; before any "
            f"training the losses of the classes are {_short(losses)}, and their gradients {_short(gradient)}."
        )


def _short(values: torch.Tensor | None) -> str:
    if values is None:
        return "missing"
    return str([float(f"{value:.4g}") for value in values.detach().flatten()[:6].tolist()])


def _check_probabilities(criterion: WeightedCriterion, logits: torch.Tensor, n: int) -> None:
    n_classes = len(criterion.class_weight)
    cause = None
    try:
        log_proba = criterion.log_proba(logits)
        fits = log_proba.shape == (n, n_classes) and bool(
            torch.allclose(log_proba.exp().sum(dim=1), torch.ones(()).to(log_proba), atol=1e-3)
        )
        given = f"shape {tuple(log_proba.shape)}, {listed(log_proba.exp().tolist())}"
    except (AttributeError, TypeError, RuntimeError, IndexError) as error:
        fits, given, cause = False, f"{type(error).__name__}: {error}", error
    if not fits:
        raise ValueError(
            f"probabilities(logits) of {criterion.described} must return a tensor of probabilities: of code 1, shape "
            f"(n,), or of every class, shape (n, {n_classes}), in rows that sum to 1; for n = {n} it gives {given}."
        ) from cause
