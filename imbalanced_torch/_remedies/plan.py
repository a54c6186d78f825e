"""What one fit does about imbalance: the batches of each epoch and the weights in its loss, from its training rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from imbalanced_torch._prediction.prior import Exposure, shown
from imbalanced_torch._remedies.class_weight import class_weights, resolve_class_weight
from imbalanced_torch._remedies.row_streams import (
    Batches,
    Mixture,
    Natural,
    RowsByClass,
    RowStream,
    class_counts,
    epoch_length,
)
from imbalanced_torch._remedies.sampling import resolve_sampling


class CombinedRemedyWarning(UserWarning):
    """Weights that the user gave, by class or by row, and sampling multiply: the net is corrected by both."""


#: Share of the way to balance from which a remedy counts as one: weights that describe a population go less far.
_A_REMEDY = 0.25


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
        if before is None or before.n_classes_come < 2:
            self._warn_if_combined(sampling, None if strategy is None else self.at(1.0))

    def _warn_if_combined(self, sampling: Any, stage: Stage | None) -> None:
        """Warn if sampling and numbers of the user's, class weights or sample weights, both balance the classes."""
        if stage is None or not self.known:
            return
        exposure = stage.exposure
        if self.weighting.costs and np.ptp(stage.class_weight) > 0:
            _warn_combined("class_weight gives numbers", sampling, self.classes, exposure.class_prior, stage)
        elif _both_balance(self.row_counts, exposure.class_prior, exposure.sampled_prior, stage.effective_prior):
            rows = self.row_counts / self.row_counts.sum()
            _warn_combined("sample_weight balances the classes", sampling, self.classes, rows, stage)

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


def _both_balance(counts: np.ndarray, weighted: np.ndarray, sampled: np.ndarray, effective: np.ndarray) -> bool:
    """Whether sample weights and sampling each bring classes of these counts nearer to balance, and both go past it.

    All of shape (K,): rows, and the class shares by weight, by sampling, and in the loss.
    """
    there = (counts > 0) & (weighted > 0) & (sampled > 0) & (effective > 0)
    skew = np.log(counts[there])
    skew -= skew.mean()
    if np.ptp(skew) < np.log(1.5):  # too little to balance
        return False

    def still_skewed(shares: np.ndarray) -> float:
        """1 as skewed as the rows, 0 balanced, below 0 skewed the other way."""
        return float(np.log(shares[there]) @ skew / (skew @ skew))

    by_weight, by_sampling = still_skewed(weighted), still_skewed(sampled)
    each = max(by_weight, by_sampling) <= 1 - _A_REMEDY
    return each and still_skewed(effective) < -_A_REMEDY / 2


def _warn_combined(why: str, sampling: Any, classes: np.ndarray, prior: np.ndarray, stage: Stage) -> None:
    warnings.warn(
        f"{why} and sampling={sampling!r} changes the class shares too, so both act: the net learns under the prior "
        f"{shown(stage.effective_prior, classes)}, and the data have {shown(prior, classes)}. Use one of them, or a "
        'word such as class_weight="balanced", which takes sampling and sample_weight into account.',
        CombinedRemedyWarning,
        stacklevel=6,  # the caller of `fit`
    )
