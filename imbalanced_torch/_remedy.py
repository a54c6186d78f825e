"""What one fit does about imbalance: the batches of each epoch and the weights in its loss, from its training rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from imbalanced_torch._class_weight import class_weights, resolve_class_weight
from imbalanced_torch._prior import Exposure, shown
from imbalanced_torch._sampling import resolve_sampling
from imbalanced_torch._streams import Batches, Mixture, Natural, RowsByClass, RowStream, class_counts, epoch_length


class CombinedRemedyWarning(UserWarning):
    """Class weights that the user gave as numbers and sampling multiply: the net is corrected by both."""


@dataclass(frozen=True)
class Stage:
    """What the net learns from at one strength of the remedies; arrays have shape (K,)."""

    exposure: Exposure
    #: Of mean 1 over what the loss sees.
    class_weight: np.ndarray
    #: Rows of each class that are sampled, weighted by sample weight.
    class_counts: np.ndarray
    #: What brings sample weights to mean 1 over what the loss sees.
    weight_scale: float

    @property
    def effective_prior(self) -> np.ndarray:
        return self.exposure.effective_prior(self.class_weight)

    @property
    def start_prior(self) -> np.ndarray | None:
        """The effective prior with half a row more of each class; None where it is not known."""
        if np.isnan(self.effective_prior).any():
            return None
        counts = self.exposure.population.sum() * self.effective_prior + 0.5
        return counts / counts.sum()


class Remedy:
    """`class_weight` and `sampling`, resolved against the rows of one fit: batches, and what the loss makes of them.

    Parameters
    ----------
    class_weight, sampling, epoch_size
        The hyperparameters.
    codes : int array of shape (n,)
        Classes of the training rows.
    sample_weight : float array of shape (n,) or None
    classes : array of shape (K,)
        The labels.
    batch_size : int
        -1 takes all rows of an epoch in one batch.
    known : bool
        Whether the rows come as `sampling` says; a sampler of the user's makes the sampled and effective prior unknown.
    scheduled : bool
        Whether the strength will change.
    before : Exposure or None
        What earlier calls of `partial_fit` have shown the net.
    """

    def __init__(
        self,
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
        scheduled: bool,
        generator: torch.Generator,
        before: Exposure | None,
    ) -> None:
        self.classes = classes
        self.epoch_size = epoch_size
        self.known = known
        self.before = before
        self.n_rows = len(codes)
        self.in_one_batch = batch_size == -1
        batch_size = self.n_rows if self.in_one_batch else batch_size
        rows = RowsByClass(codes, len(classes), generator)
        strategy = resolve_sampling(sampling, classes)
        self.stream: RowStream = Natural(rows)
        if strategy is not None:
            full = strategy.stream(rows, batch_size)
            self.stream = Mixture(self.stream, full, generator) if scheduled else full
        self.batches = Batches(
            self.stream.take,
            epoch_length(epoch_size, self.stream, self.n_rows),
            batch_size=self.stream.batch_size or batch_size,
            drop_last=drop_last,
        )
        self.row_counts = rows.counts
        weighted = sample_weight is not None
        self.weight_sums = class_counts(codes, len(classes), sample_weight) if weighted else rows.counts.astype(float)
        self.weighting = resolve_class_weight(class_weight, classes)
        stage = self.at(1.0)
        if (
            (before is None or before.n_classes_come < 2)
            and self.weighting.costs
            and strategy is not None
            and np.ptp(stage.class_weight) > 0
        ):
            _warn_combined(sampling, classes, stage.exposure.class_prior, stage.effective_prior)

    def at(self, strength: float) -> Stage:
        """Set the strength of the coming epochs, 0 to 1, and return what the net then learns from."""
        if isinstance(self.stream, Mixture):
            self.stream.strength = strength
            self.batches.length = epoch_length(self.epoch_size, self.stream, self.n_rows)
        if self.in_one_batch and self.stream.batch_size is None:
            self.batches.batch_size = self.batches.length
        exposure = self._exposure()
        counts = exposure.counts_seen
        weights = class_weights(self.weighting, exposure.population, counts, self.classes)
        weights = (1 - strength) + strength * weights  # both have mean 1 over what the loss sees
        if not self.known:
            unknown = np.full(len(self.classes), np.nan)
            exposure = replace(exposure, drawn=unknown, seen=unknown)
        return Stage(exposure, weights, counts, weight_scale=exposure.n_rows / counts.sum())

    def _exposure(self) -> Exposure:
        exposure = Exposure.of(self.row_counts, self.weight_sums, self.stream.shares, self.batches.length)
        return exposure if self.before is None else self.before + exposure


def _warn_combined(sampling: Any, classes: np.ndarray, prior: np.ndarray, effective: np.ndarray) -> None:
    warnings.warn(
        f"class_weight gives numbers and sampling={sampling!r} changes the class shares too, so both act: the net "
        f"learns under the prior {shown(effective, classes)}, and the data have {shown(prior, classes)}. Use one of "
        'them, or a word such as class_weight="balanced", which takes sampling into account.',
        CombinedRemedyWarning,
        stacklevel=5,  # the caller of `fit`
    )
