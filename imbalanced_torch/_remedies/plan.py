"""What one fit does about imbalance, epoch by epoch: which rows each epoch sees and what each class weighs in its loss."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from imbalanced_torch._remedies.class_priors import ClassPriors
from imbalanced_torch._remedies.class_weight import ClassWeighting, class_weights
from imbalanced_torch._remedies.row_streams import (
    Batches,
    Blend,
    Natural,
    RowsByClass,
    RowStream,
    class_counts,
    epoch_length,
)
from imbalanced_torch._remedies.sampling import SamplingStrategy
from imbalanced_torch._remedies.schedule import Schedule


@dataclass(frozen=True)
class Remedies:
    """The hyperparameters that say what a net learns from, resolved.

    Parameters
    ----------
    weighting : ClassWeighting
    strategy : SamplingStrategy or None
        None takes the rows as they are.
    schedule : Schedule or None
        None has both at full strength in every epoch.
    epoch_size : int, float or None
    max_epochs : int
    batch_size : int
        -1 takes all rows of an epoch in one batch.
    drop_last : bool
    draw_is_known : bool
        Whether the rows come as `strategy` says, and not by a sampler of the user's.
    """

    weighting: ClassWeighting
    strategy: SamplingStrategy | None
    schedule: Schedule | None
    epoch_size: float | None
    max_epochs: int
    batch_size: int
    drop_last: bool
    draw_is_known: bool


@dataclass(frozen=True)
class Epoch:
    """What the net learns from in one epoch."""

    #: Of the remedies, 0 (the plain net) to 1.
    strength: float
    priors: ClassPriors
    #: Positions of the training rows; each iteration takes the next ones.
    batches: Batches

    @property
    def class_counts(self) -> np.ndarray:
        """Rows of each class that are sampled, weighted by sample weight, shape (K,)."""
        return self.priors.counts_seen


class TrainingPlan:
    """The epochs of one fit, from its training rows alone; `plan.epoch(i)` is what epoch i learns from.

    Parameters
    ----------
    remedies : Remedies
    codes : int array of shape (n,)
        Classes of the training rows.
    sample_weight : float array of shape (n,) or None
    classes : array of shape (K,)
        The labels.
    generator : torch.Generator
        What rows are drawn with.
    previous : ClassPriors or None
        What earlier calls of `partial_fit` have shown the net.
    """

    def __init__(
        self,
        remedies: Remedies,
        codes: np.ndarray,
        sample_weight: np.ndarray | None,
        classes: np.ndarray,
        generator: torch.Generator,
        previous: ClassPriors | None = None,
    ) -> None:
        self.remedies = remedies
        self.classes = classes
        self.previous = previous
        self.generator = generator
        self.batch_size = len(codes) if remedies.batch_size == -1 else remedies.batch_size
        rows = RowsByClass(codes, len(classes), generator)
        self.plain: RowStream = Natural(rows)
        strategy = remedies.strategy
        self.full = self.plain if strategy is None else strategy.stream(rows, self.batch_size)
        self.row_counts = rows.counts
        weighted = sample_weight is not None
        self.weight_sums = class_counts(codes, len(classes), sample_weight) if weighted else rows.counts.astype(float)
        #: At full strength, and in every epoch where there is no schedule.
        self.last = self._at(1.0)

    def epoch(self, i: int) -> Epoch:
        """Return what epoch i, counted from 0, learns from."""
        schedule = self.remedies.schedule
        return self.last if schedule is None else self._at(schedule.strength(i, self.remedies.max_epochs))

    def _at(self, strength: float) -> Epoch:
        stream = self.full if strength == 1 else Blend(self.plain, self.full, strength, self.generator)
        length = epoch_length(self.remedies.epoch_size, stream, len(self.row_counts) and int(self.row_counts.sum()))
        in_one_batch = self.remedies.batch_size == -1 and stream.batch_size is None
        batch_size = length if in_one_batch else stream.batch_size or self.batch_size
        batches = Batches(stream.take, length, batch_size, self.remedies.drop_last)
        return Epoch(strength, self._priors(stream, length, strength), batches)

    def _priors(self, stream: RowStream, length: int, strength: float) -> ClassPriors:
        priors = ClassPriors.of(
            self.row_counts, self.weight_sums, stream.shares, length, self.remedies.draw_is_known
        )
        priors = priors if self.previous is None else self.previous + priors
        weights = class_weights(self.remedies.weighting, priors.population, priors.counts_seen, self.classes)
        # The plain net's weights are 1; both have mean 1 over what the loss sees.
        return replace(priors, class_weight=(1 - strength) + strength * weights)
