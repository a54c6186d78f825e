"""Endless streams of training rows, and the batches of an epoch: the next `length` rows of one.

There are four streams: `Natural` (the rows as they are), `Draws` (a class at random, then a row of it), `Passes` (so
many rows of each class, then again) and `EqualBatches` (so many rows of each class in every batch). A schedule mixes
one of them with the first: `Mixture`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from math import ceil

import numpy as np
import torch
from torch.utils.data import BatchSampler


def _shuffled(rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return rows[torch.randperm(len(rows), generator=generator)]


class Cycle:
    """Rows in shuffled order without end: every row once before any comes again, shuffled anew each time round."""

    def __init__(self, rows: torch.Tensor, generator: torch.Generator) -> None:
        self.rows = rows
        self.generator = generator
        self.left = rows[:0]

    def take(self, n: int) -> torch.Tensor:
        """Return the next n rows; up to len(rows) of them never hold a row twice."""
        parts = []
        while n > 0:
            if not len(self.left):
                self.left = _shuffled(self.rows, self.generator)
            elif len(self.left) < n <= len(self.rows):
                # The take goes over the end of a round: what is left of the old round goes last in the new one, so
                # that no row comes twice in one take.
                tail = self.left
                fresh = _shuffled(self.rows[~torch.isin(self.rows, tail)], self.generator)
                parts.append(torch.cat([tail, fresh[: n - len(tail)]]))
                self.left = torch.cat([fresh[n - len(tail) :], _shuffled(tail, self.generator)])
                break
            parts.append(self.left[:n])
            self.left = self.left[n:]
            n -= len(parts[-1])
        return torch.cat(parts) if parts else self.rows[:0]


class RowsByClass:
    """Row positions sorted by class: `order[starts[c] : starts[c] + counts[c]]` are the rows of class c."""

    def __init__(self, codes: np.ndarray, n_classes: int, generator: torch.Generator) -> None:
        self.counts = np.bincount(codes, minlength=n_classes)
        self.starts = np.cumsum(self.counts) - self.counts
        self.order = torch.from_numpy(np.argsort(codes, kind="stable"))
        self.generator = generator

    def of(self, code: int) -> torch.Tensor:
        return self.order[self.starts[code] : self.starts[code] + self.counts[code]]

    def cycles(self) -> list[Cycle]:
        return [Cycle(self.of(code), self.generator) for code in range(len(self.counts))]


class RowStream(ABC):
    """An endless stream of training rows.

    Attributes
    ----------
    length : int
        Rows in one epoch, unless `epoch_size` says otherwise.
    shares : array of shape (K,)
        Class shares among the rows.
    batch_size : int or None
        Rows in a batch where the strategy needs its own, else None.
    """

    length: int
    shares: np.ndarray
    batch_size: int | None = None

    @abstractmethod
    def take(self, n: int) -> torch.Tensor:
        """Return the next n rows, an int64 tensor of shape (n,)."""


class Natural(RowStream):
    """The rows as they are, shuffled."""

    def __init__(self, rows: RowsByClass) -> None:
        self.cycle = Cycle(torch.arange(len(rows.order)), rows.generator)
        self.length = len(rows.order)
        self.shares = rows.counts / rows.counts.sum()

    def take(self, n: int) -> torch.Tensor:
        return self.cycle.take(n)


class Draws(RowStream):
    """Independent draws with replacement: a class by `shares`, then one of its rows with equal probability."""

    def __init__(self, shares: np.ndarray, rows: RowsByClass) -> None:
        self.rows = rows
        self.length = len(rows.order)
        self.shares = shares
        self.cumulative = torch.from_numpy(np.cumsum(shares))[:-1]
        self.counts, self.starts = torch.from_numpy(rows.counts), torch.from_numpy(rows.starts)

    def take(self, n: int) -> torch.Tensor:
        uniform = torch.rand(2, n, dtype=torch.float64, generator=self.rows.generator)
        codes = torch.searchsorted(self.cumulative, uniform[0], right=True)
        within = (uniform[1] * self.counts[codes]).long()
        return self.rows.order[self.starts[codes] + within]


class Passes(RowStream):
    """Shuffled passes, each of `quotas[c]` rows of class c.

    Below n_c rows come without replacement and in turn, so that all are seen over the epochs; above it every row
    comes at least once and the others are drawn with replacement.
    """

    def __init__(self, quotas: np.ndarray, rows: RowsByClass) -> None:
        self.rows = rows
        self.quotas = quotas
        self.length = int(quotas.sum())
        self.shares = quotas / quotas.sum()
        self.cycles = rows.cycles()
        self.left = rows.order[:0]

    def take(self, n: int) -> torch.Tensor:
        parts = [self.left]
        while n > sum(map(len, parts)):
            parts.append(self._one_pass())
        drawn = torch.cat(parts)
        self.left = drawn[n:]
        return drawn[:n]

    def _one_pass(self) -> torch.Tensor:
        parts = []
        for cycle, quota in zip(self.cycles, self.quotas.tolist(), strict=True):
            n = len(cycle.rows)
            parts.append(cycle.take(min(quota, n)))
            if quota > n:
                parts.append(cycle.rows[torch.randint(n, (quota - n,), generator=self.rows.generator)])
        return _shuffled(torch.cat(parts), self.rows.generator)


class EqualBatches(RowStream):
    """Batches of m rows of each class, each class cycled in shuffled order."""

    def __init__(self, rows: RowsByClass, batch_size: int) -> None:
        self.rows = rows
        present = np.flatnonzero(rows.counts)
        self.cycles = [cycle for cycle in rows.cycles() if len(cycle.rows)]
        self.per_class = max(1, batch_size // len(present))
        batch = self.per_class * len(present)
        self.batch_size = batch
        self.length = ceil(len(rows.order) / batch) * batch
        self.shares = np.bincount(present, minlength=len(rows.counts)) / len(present)

    def take(self, n: int) -> torch.Tensor:
        batches = ceil(n / (self.per_class * len(self.cycles)))
        classes = [cycle.take(batches * self.per_class).view(batches, self.per_class) for cycle in self.cycles]
        return torch.cat(classes, dim=1).flatten()


class Mixture(RowStream):
    """Each row is the next of one stream or, with probability `strength`, of another."""

    def __init__(self, plain: RowStream, full: RowStream, generator: torch.Generator) -> None:
        self.plain = plain
        self.full = full
        self.generator = generator
        self.batch_size = full.batch_size
        self.strength = 1.0

    @property
    def length(self) -> int:  # type: ignore[override]
        return round((1 - self.strength) * self.plain.length + self.strength * self.full.length)

    @property
    def shares(self) -> np.ndarray:  # type: ignore[override]
        return (1 - self.strength) * self.plain.shares + self.strength * self.full.shares

    def take(self, n: int) -> torch.Tensor:
        if self.strength in (0, 1):
            return (self.full if self.strength else self.plain).take(n)
        full = torch.rand(n, generator=self.generator) < self.strength
        rows = torch.empty(n, dtype=torch.int64)
        rows[full] = self.full.take(int(full.sum()))
        rows[~full] = self.plain.take(n - int(full.sum()))
        return rows


def epoch_length(epoch_size: float | None, stream: RowStream, n_rows: int) -> int:
    """Return the rows in an epoch: `epoch_size` as rows (int) or as a share of the training rows (float)."""
    if epoch_size is None:
        return stream.length
    whole = isinstance(epoch_size, int | np.integer) and not isinstance(epoch_size, bool)
    if not whole and not isinstance(epoch_size, float | np.floating):
        raise TypeError(
            f"epoch_size must be None, an int (rows) or a float (share of the training rows); it is {epoch_size!r}."
        )
    if not (np.isfinite(epoch_size) and epoch_size > 0):
        raise ValueError(
            f"epoch_size must be positive: an int (rows) or a float (share of the training rows); it is {epoch_size!r}."
        )
    length = int(epoch_size) if whole else max(1, round(epoch_size * n_rows))
    if stream.batch_size is not None:  # full batches only
        length = ceil(length / stream.batch_size) * stream.batch_size
    return length


class Batches(BatchSampler):
    """Batches of row positions; each iteration is one epoch. A last batch of one row joins the one before."""

    def __init__(
        self, take: Callable[[int], torch.Tensor], length: int, batch_size: int, drop_last: bool = False
    ) -> None:
        self.take = take
        self.length = length
        self.batch_size = batch_size
        self.drop_last = drop_last
        if drop_last and length < batch_size:
            raise ValueError(f"drop_last leaves no batch: an epoch has {length} rows and a batch {batch_size}.")

    def __iter__(self) -> Iterator[torch.Tensor]:  # type: ignore[override]
        rows = self.take(self.length)
        starts = range(0, self.length, self.batch_size)[: len(self)]
        for i, start in enumerate(starts):
            last = i + 1 == len(starts) and not self.drop_last
            yield rows[start:] if last else rows[start : start + self.batch_size]

    def __len__(self) -> int:
        full, rest = divmod(self.length, self.batch_size)
        alone = rest == 1 and full > 0  # one row breaks batch norm
        return full if self.drop_last or rest == 0 or alone else full + 1
