"""Streams of rows that lie on many processes: which of its own each draws, so that the law is that of all rows.

A strategy is shown the class counts of all rows, n_c, and says the share s_c of each class. A row of class c of process
p, which has n_cp of them, must then come with probability s_c / n_c, wherever it lies. So p draws class c with
probability s_c n_cp / n_c over Z_p, the sum of these over the classes, and what it draws counts Z_p times the number of
processes: the expected gradient is that of one process on all rows.
"""

from __future__ import annotations

from math import ceil

import numpy as np
import torch

from imbalanced_torch._remedies.row_streams import (
    Cycle,
    Draws,
    DrawsInTurn,
    EqualBatches,
    Natural,
    Passes,
    RowsByClass,
    RowStream,
)

#: Rows of passes, or of batches, that are made at once, about.
_AT_ONCE = 4096


class AllRows(RowsByClass):
    """To a strategy, the rows of all processes: their counts, and positions of those that are here.

    Parameters
    ----------
    own : RowsByClass
        The rows of this process.
    counts : int array of shape (K,)
        Rows of each class on all processes.
    size : int
        Processes.
    counts_here : int array of shape (K,)
        Those of this process that take part: none where `own` are rows that it has in place of others.
    """

    def __init__(self, own: RowsByClass, counts: np.ndarray, size: int, counts_here: np.ndarray) -> None:
        self.own = own
        self.counts_here = counts_here
        self.codes = own.codes
        self.counts = counts
        self.starts = own.starts
        self.generator = own.generator
        self.size = size

    def __len__(self) -> int:
        return int(self.counts.sum())

    @property
    def order(self) -> torch.Tensor:  # type: ignore[override]
        """Positions of the rows that are here, sorted by class."""
        return self.own.order

    def of(self, code: int) -> torch.Tensor:
        """Return the rows of a class that are here."""
        return self.own.of(code)

    @property
    def parts(self) -> np.ndarray:
        """The part of each class that is here, shape (K,)."""
        return np.divide(self.counts_here, self.counts, out=np.zeros(len(self.counts)), where=self.counts > 0)


class SharedStream(RowStream):
    """The part that one process has in a stream: `length` and `shares` are those of all processes.

    Parameters
    ----------
    own : RowStream
        What this process takes.
    length, shares, batch_size
        Of the stream over all rows; the batch is that of one process.
    weight : float
        What a row that comes here counts.
    """

    def __init__(
        self, own: RowStream, length: int, shares: np.ndarray, weight: float, batch_size: int | None = None
    ) -> None:
        self.own = own
        self.length = length
        self.shares = shares
        self.weight = weight
        self.batch_size = batch_size

    def take(self, n: int) -> torch.Tensor:
        return self.own.take(n)


def natural(rows: AllRows) -> RowStream:
    """Return this process's part of the rows as they are."""
    n_own, n = int(rows.counts_here.sum()), len(rows)
    return SharedStream(Natural(rows.own), n, rows.counts / n, rows.size * n_own / n)


def shared(stream: RowStream, rows: AllRows, strategy: object) -> RowStream:
    """Return this process's part of a stream that a strategy has made of all rows.

    Parameters
    ----------
    stream : RowStream
    rows : AllRows
    strategy : object
        For messages.
    """
    rates = stream.shares * rows.parts
    here, length, batch = float(rates.sum()), stream.length, None
    if isinstance(stream, EqualBatches):
        batch = stream.per_class * int((rows.counts > 0).sum())
        length = ceil(len(rows) / (batch * rows.size)) * batch * rows.size
    if type(stream) not in (Draws, DrawsInTurn, Passes, EqualBatches):
        raise TypeError(
            f"sampling={strategy!r} gives a stream of the type {type(stream).__name__}, and it is not known how the "
            "processes of a group share that. In a process group give one of Draws, DrawsInTurn, Passes and "
            "EqualBatches, whose class counts are those of all rows."
        )
    if not here:  # a process that has none of the rows that are drawn takes part with what it has
        own: RowStream = Natural(rows.own)
    elif isinstance(stream, Passes):
        own = PartsOfPasses(stream.quotas * rows.parts, rows.own)
    elif batch is not None:
        own = AlikeBatches(rates / here, batch, rows.own)
    else:
        own = type(stream)(rates / here, rows.own)  # type: ignore[call-arg]
    return SharedStream(own, length, stream.shares, rows.size * here, batch)


class _Rates:
    """Whole numbers, again and again, whose mean is any number: rounded so that sums are never off by one."""

    def __init__(self, rates: np.ndarray, random: np.random.Generator) -> None:
        self.rates = rates
        # From anywhere, so that each number comes with the right probability.
        self.sums = random.random(len(rates))

    def next(self, times: int = 1) -> np.ndarray:
        before = np.floor(self.sums)
        self.sums = self.sums + times * self.rates
        counts = np.floor(self.sums) - before
        self.sums -= np.floor(self.sums)
        return counts.astype(np.int64)


class PartsOfPasses(RowStream):
    """Shuffled passes of on average `quotas[c]` rows of class c: a process's part of passes over all rows.

    Of the rows of a class as large a part comes in a pass as of those on other processes: in turn where that is not
    all, else each at least once.

    Parameters
    ----------
    quotas : float array of shape (K,)
    rows : RowsByClass
        The rows of this process.
    """

    def __init__(self, quotas: np.ndarray, rows: RowsByClass) -> None:
        self.rows = rows
        self.shares = quotas / quotas.sum()
        self.length = ceil(quotas.sum())
        self.cycles = rows.cycles()
        self.random = np.random.default_rng(int(torch.randint(2**62, (), generator=rows.generator)))
        self.passes = max(1, ceil(_AT_ONCE / quotas.sum()))
        self.quotas = _Rates(quotas, self.random)
        self.left = rows.order[:0]

    def take(self, n: int) -> torch.Tensor:
        parts = [self.left]
        n_there = len(self.left)
        while n_there < n:
            parts.append(self._next())
            n_there += len(parts[-1])
        drawn = torch.cat(parts)
        self.left = drawn[n:]
        return drawn[:n]

    def _next(self) -> torch.Tensor:
        parts = [self.rows.order[:0]]
        for cycle, quota in zip(self.cycles, self.quotas.next(self.passes).tolist(), strict=True):
            whole = min(quota, self.passes * len(cycle.rows))
            parts.append(_in_turn(cycle, whole))
            if quota > whole:
                again = torch.randint(len(cycle.rows), (quota - whole,), generator=self.rows.generator)
                parts.append(cycle.rows.index_select(0, again))
        rows = torch.cat(parts)
        self.random.shuffle(rows.numpy())
        return rows


class AlikeBatches(RowStream):
    """Batches that all have the same class shares, to one row, each class cycled in shuffled order.

    Parameters
    ----------
    shares : array of shape (K,)
    batch : int
        Rows in a batch.
    rows : RowsByClass
        The rows of this process.
    """

    def __init__(self, shares: np.ndarray, batch: int, rows: RowsByClass) -> None:
        self.shares = shares
        self.batch = self.batch_size = self.length = batch
        self.cycles = rows.cycles()
        self.random = np.random.default_rng(int(torch.randint(2**62, (), generator=rows.generator)))
        bounds = np.append(0.0, np.cumsum(shares)) * batch
        bounds[-1] = batch
        #: What the first classes have in a batch together.
        self.bounds = np.where(np.abs(bounds - bounds.round()) < 1e-9, bounds.round(), bounds)
        self.left = rows.order[:0]

    def take(self, n: int) -> torch.Tensor:
        parts, n_there = [self.left], len(self.left)
        while n_there < n:
            # One offset for all bounds: each class has its share on average, and the batch its size.
            counts = np.diff(np.floor(self.bounds + self.random.random())).astype(int)
            taken = [_in_turn(cycle, count) for cycle, count in zip(self.cycles, counts.tolist(), strict=True)]
            parts.append(torch.cat(taken))
            n_there += self.batch
        drawn = torch.cat(parts)
        self.left = drawn[n:]
        return drawn[:n]


def _in_turn(cycle: Cycle, n: int) -> torch.Tensor:
    return cycle.take(n) if n else cycle.rows[:0]
