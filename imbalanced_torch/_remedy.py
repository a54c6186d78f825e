"""What one fit does about imbalance: the batches of each epoch and the weights in its loss, from its training rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from imbalanced_torch._class_weight import class_weights, resolve_class_weight
from imbalanced_torch._prior import Exposure, shown
from imbalanced_torch._sampling import resolve_sampling
from imbalanced_torch._streams import Batches, Natural, RowsByClass, epoch_length


class CombinedRemedyWarning(UserWarning):
    """Class weights that the user gave as numbers and sampling multiply: the net is corrected by both."""


@dataclass(frozen=True)
class Remedy:
    """`class_weight` and `sampling`, resolved against the rows of one fit."""

    batches: Batches
    exposure: Exposure
    #: Shape (K,), of mean 1 over what the loss sees.
    class_weight: np.ndarray
    #: What brings sample weights to mean 1 over what the loss sees.
    sample_weight_scale: float

    @property
    def effective_prior(self) -> np.ndarray:
        return self.exposure.effective_prior(self.class_weight)


def resolve_remedy(
    class_weight: Any,
    sampling: Any,
    codes: np.ndarray,
    sample_weight: np.ndarray | None,
    classes: np.ndarray,
    *,
    epoch_size: float | None,
    batch_size: int,
    drop_last: bool,
    known: bool,
    generator: torch.Generator,
    before: Exposure | None,
) -> Remedy:
    """Resolve the hyperparameters `class_weight`, `sampling` and `epoch_size` against training rows.

    Parameters
    ----------
    codes : int array of shape (n,)
        Classes of the training rows.
    sample_weight : float array of shape (n,) or None
    classes : array of shape (K,)
        The labels.
    batch_size : int
        -1 takes all rows in one batch.
    known : bool
        Whether the rows come as `sampling` says; a sampler of the user's makes the sampled and effective prior unknown.
    before : Exposure or None
        What earlier calls of `partial_fit` have shown the net.
    """
    n, n_classes = len(codes), len(classes)
    batch_size = n if batch_size == -1 else batch_size
    rows = RowsByClass(codes, n_classes, generator)
    strategy = resolve_sampling(sampling, classes)
    stream = Natural(rows) if strategy is None else strategy.stream(rows, batch_size)
    batches = Batches(
        stream.take,
        epoch_length(epoch_size, stream, n),
        batch_size=stream.batch_size or batch_size,
        drop_last=drop_last,
    )
    weight_sums = np.bincount(codes, weights=sample_weight, minlength=n_classes).astype(float)
    exposure = Exposure.of(rows.counts, weight_sums, stream.shares)
    if before is not None:
        exposure = before + exposure
    weighting = resolve_class_weight(class_weight, classes)
    weights = class_weights(weighting, exposure.population, exposure.seen, classes)
    scale = exposure.drawn.sum() / exposure.seen.sum()
    if not known:
        unknown = np.full(n_classes, np.nan)
        exposure = Exposure(exposure.population, drawn=unknown, seen=unknown)
    remedy = Remedy(batches, exposure, weights, scale)
    if before is None and weighting.costs and strategy is not None and np.ptp(weights) > 0:
        _warn_combined(sampling, classes, exposure.class_prior, remedy.effective_prior)
    return remedy


def _warn_combined(sampling: Any, classes: np.ndarray, prior: np.ndarray, effective: np.ndarray) -> None:
    warnings.warn(
        f"class_weight gives numbers and sampling={sampling!r} changes the class shares too, so both act: the net "
        f"learns under the prior {shown(effective, classes)}, and the data have {shown(prior, classes)}. Use one of "
        'them, or a word such as class_weight="balanced", which takes sampling into account.',
        CombinedRemedyWarning,
        stacklevel=5,  # the caller of `fit`
    )
