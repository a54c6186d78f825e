"""What one fit does about imbalance: which rows each epoch sees, and what each class weighs in its loss."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from math import ceil
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from imbalanced_torch._data.rows import class_counts
from imbalanced_torch._group.processes import ALONE, Group
from imbalanced_torch._parameters.values import format_prior
from imbalanced_torch._remedies.class_priors import ClassPriors
from imbalanced_torch._remedies.class_weight import ClassWeighting, class_weights, resolve_class_weight
from imbalanced_torch._remedies.row_streams import (
    Batches,
    Blend,
    Natural,
    OwnRows,
    RowsByClass,
    RowStream,
    SideBySide,
    epoch_length,
)
from imbalanced_torch._remedies.sampling import SamplingStrategy, resolve_sampling
from imbalanced_torch._remedies.schedule import Schedule
from imbalanced_torch._remedies.shared_streams import AllRows, natural, shared

#: Share of the way to balance from which a remedy counts as one: weights that describe a population go less far.
_A_REMEDY = 0.25


class CombinedRemedyWarning(UserWarning):
    """Weights that the user gave, by class or by row, and sampling multiply: the net is corrected by both."""


@dataclass(frozen=True)
class Remedies:
    """The hyperparameters that say what a net learns from.

    Parameters
    ----------
    class_weight, sampling
        As the user gave them: what they mean depends on the classes of y.
    schedule : Schedule or None
        None has both at full strength in every epoch.
    epoch_size : int, float or None
        None leaves it to `sampling`, or to the net where members draw rows of their own.
    max_epochs : int
    batch_size : int
        -1 takes all rows of an epoch in one batch.
    drop_last : bool
    draw_is_known : bool
        Whether the rows come as `sampling` says, and not by a sampler of the user's.
    """

    class_weight: Any
    sampling: Any
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
    #: What a row counts beside those of other processes: a number, or one for each member, shape (members, 1).
    row_share: float | torch.Tensor = 1.0


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
    members : list of int arrays, or None
        The rows that each member of an ensemble trains on: each has a stream of the strategy's over its own rows, and
        batches hold positions of shape (members, n). None is one net, which trains on all rows.
    group : Group
        The processes whose rows these are a part of: counts, shares and lengths are those of all, positions and the
        size of a batch those of this one.
    """

    def __init__(
        self,
        remedies: Remedies,
        codes: np.ndarray,
        sample_weight: np.ndarray | None,
        classes: np.ndarray,
        generator: torch.Generator,
        previous: ClassPriors | None = None,
        members: list[np.ndarray] | None = None,
        group: Group = ALONE,
    ) -> None:
        self.remedies = remedies
        self.group = group
        self.classes = classes
        self.previous = previous
        self.generator = generator
        self.n_own = len(codes)
        self.n_rows = group.total(len(codes))
        self.batch_size = ceil(self.n_rows / group.size) if remedies.batch_size == -1 else remedies.batch_size
        self.weighting: ClassWeighting = resolve_class_weight(remedies.class_weight, classes)
        self.row_counts = group.sum(class_counts(codes, len(classes)))
        self.weight_sums = (
            self.row_counts.astype(float)
            if sample_weight is None
            else group.sum(class_counts(codes, len(classes), sample_weight))
        )
        strategy: SamplingStrategy | None = resolve_sampling(remedies.sampling, classes)
        own = [None] if members is None else members
        self.draws = [_Draw(codes, len(classes), generator, strategy, self.batch_size, rows, group) for rows in own]
        self.side_by_side = members is not None
        #: How many rows were taken, one after the other, at which strength: what the streams depend on.
        self.taken: list[tuple[float, int]] = []
        #: At full strength, and in every epoch where there is no schedule.
        self.last = self._at(1.0)

    def epoch(self, i: int) -> Epoch:
        """Return what epoch i, counted from 0, learns from."""
        schedule = self.remedies.schedule
        return self.last if schedule is None else self._at(schedule.strength(i, self.remedies.max_epochs))

    def take_again(self, taken: list[tuple[float, int]]) -> None:
        """Bring the streams to where they stood after rows were taken so."""
        for strength, group in groupby(taken, key=itemgetter(0)):
            take = self._at(strength).batches.take
            for _, n in group:
                take(n)

    def _at(self, strength: float) -> Epoch:
        streams = [draw.at(strength) for draw in self.draws]
        as_they_are = self.row_counts / self.n_rows if self.remedies.sampling is None else None
        stream = SideBySide(streams, as_they_are) if self.side_by_side else streams[0]
        length = epoch_length(self.remedies.epoch_size, stream, self.n_rows)
        in_one_batch = self.remedies.batch_size == -1 and stream.batch_size is None
        own = length if self.group.alone else self._own_length(stream, length, in_one_batch)
        batch_size = own if in_one_batch else stream.batch_size or self.batch_size
        take = partial(_taken, self.taken, strength, stream)
        batches = Batches(take, own, batch_size, self.remedies.drop_last)
        return Epoch(strength, self._priors(stream, length, strength), batches, self._row_share(streams))

    def _own_length(self, stream: RowStream, length: int, in_one_batch: bool) -> int:
        """Return the rows that this process takes in an epoch: as many as each, so that steps are as many."""
        as_they_are = self.remedies.sampling is None and self.remedies.epoch_size is None
        if in_one_batch and as_they_are and not self.side_by_side:
            return self.n_own
        own = ceil(length / self.group.size)
        return own if stream.batch_size is None else ceil(own / stream.batch_size) * stream.batch_size

    def _row_share(self, streams: list[RowStream]) -> float | torch.Tensor:
        weights = [stream.weight for stream in streams]
        if not self.side_by_side or all(weight == 1 for weight in weights):
            return weights[0]
        return torch.tensor(weights, dtype=torch.float64)[:, None]

    def _priors(self, stream: RowStream, length: int, strength: float) -> ClassPriors:
        priors = ClassPriors.of(self.row_counts, self.weight_sums, stream.shares, length, self.remedies.draw_is_known)
        priors = priors if self.previous is None else self.previous + priors
        weights = class_weights(self.weighting, priors.population, priors.counts_seen, self.classes)
        # The plain net's weights are 1; both have mean 1 over what the loss sees.
        return replace(priors, class_weight=(1 - strength) + strength * weights)

    def warn_if_combined(self, stacklevel: int) -> None:
        """Warn if sampling and numbers of the user's, class weights or sample weights, both balance the classes."""
        priors, sampling = self.last.priors, self.remedies.sampling
        if sampling is None or not priors.draw_is_known or (self.previous and self.previous.n_classes_seen > 1):
            return
        if self.weighting.costs and np.ptp(priors.class_weight) > 0:
            why, data = "class_weight gives numbers", priors.class_prior
        elif _both_balance(self.row_counts, priors.class_prior, priors.sampled_prior, priors.effective_prior):
            why, data = "sample_weight balances the classes", self.row_counts / self.row_counts.sum()
        else:
            return
        warnings.warn(
            f"{why} and sampling={sampling!r} changes the class shares too, so both act: the net learns under the "
            f"prior {format_prior(priors.effective_prior, self.classes)}, and the data have "
            f'{format_prior(data, self.classes)}. Use one of them, or a word such as class_weight="balanced", which '
            "takes sampling and sample_weight into account.",
            CombinedRemedyWarning,
            stacklevel=stacklevel + 1,
        )


def _taken(taken: list[tuple[float, int]], strength: float, stream: RowStream, n: int) -> torch.Tensor:
    """Return the next rows of a stream, and note that they were taken."""
    taken.append((strength, n))
    return stream.take(n)


class _Draw:
    """The rows that one net trains on, and the streams of them with and without a strategy."""

    def __init__(
        self,
        codes: np.ndarray,
        n_classes: int,
        generator: torch.Generator,
        strategy: SamplingStrategy | None,
        batch_size: int,
        own: np.ndarray | None,
        group: Group,
    ) -> None:
        self.generator = generator
        rows = RowsByClass(codes if own is None else codes[own], n_classes, generator)
        self.rows = rows
        if not group.alone:
            counts = rows.counts
            if not len(rows):  # of a small shard, whose only row the member holds out
                own, rows = None, RowsByClass(codes, n_classes, generator)
            self.rows = AllRows(rows, group.sum(counts), group.size, counts)
        self.own = own
        self.full: RowStream = self.plain if strategy is None else self._own(self._stream(strategy, batch_size))

    @cached_property
    def plain(self) -> RowStream:
        """The rows as they are; made only where they are taken, for they need an index of their own."""
        return self._own(natural(self.rows) if isinstance(self.rows, AllRows) else Natural(self.rows))

    def _stream(self, strategy: SamplingStrategy, batch_size: int) -> RowStream:
        stream = strategy.stream(self.rows, batch_size)
        return shared(stream, self.rows, strategy) if isinstance(self.rows, AllRows) else stream

    def at(self, strength: float) -> RowStream:
        """Return the stream at a strength of the strategy."""
        return self.full if strength == 1 else Blend(self.plain, self.full, strength, self.generator)

    def _own(self, stream: RowStream) -> RowStream:
        return stream if self.own is None else OwnRows(stream, self.own)


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
