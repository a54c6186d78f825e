"""Endless streams of training rows, and the batches of an epoch: the next `length` rows of one.

`Natural` streams the rows as they are, `Draws` a class at random, then a row of it (`DrawsInTurn`: its next row),
`Passes` so many rows of each class, then again, `EqualBatches` so many rows of each class in every batch. `Blend`,
for a schedule, takes from one of them and the first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from math import ceil

import numpy as np
import torch
from torch.utils.data import BatchSampler

from imbalanced_torch._data.rows import class_counts

#: Rows that are counted, or sorted by class, at once.
_AT_ONCE = 1 << 20
#: So few that to look for each by itself is faster than to sort.
_FEW_CLASSES = 8
#: Rows that an epoch takes from its stream at once, about.
_TAKEN_AT_ONCE = 1 << 17


def _shuffled(rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return rows.index_select(0, torch.randperm(len(rows), generator=generator, dtype=position_dtype(len(rows))))


def _numpy_generator(generator: torch.Generator) -> np.random.Generator:
    seed = torch.randint(np.iinfo(np.int64).max, (), generator=generator)
    return np.random.Generator(np.random.SFC64(int(seed)))


def _joined(parts: list[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """Return the parts in one, without a copy where there is one; of none, nothing."""
    return parts[0] if len(parts) == 1 else torch.cat([torch.empty(0, dtype=dtype), *parts])


class Cycle:
    """Rows in shuffled order without end: every row once before any comes again, shuffled anew each time round.

    Parameters
    ----------
    rows : tensor of shape (m,)
        Positions of rows.
    generator : torch.Generator
        Shuffles them.
    """

    def __init__(self, rows: torch.Tensor, generator: torch.Generator) -> None:
        self.rows = rows
        self.generator = generator
        self.left = rows[:0]

    def take(self, n: int) -> torch.Tensor:
        """Return the next n rows; up to len(rows) of them never hold a row twice.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        tensor of shape (n,)
            Rows, in the dtype that they have.
        """
        parts = []
        while n > 0:
            if not len(self.left):
                self.left = self._rounds(n // len(self.rows))
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
        return _joined(parts, self.rows.dtype)

    def take_by(self, n: int, times: int) -> torch.Tensor:
        """Return n rows so many times; none of these takes holds a row twice.

        Parameters
        ----------
        n : int
            How many in a take, at most len(rows).
        times : int
            How many takes.

        Returns
        -------
        tensor of shape (times, n)
            What `take(n)` would return one after the other.
        """
        if n == len(self.rows) and not len(self.left):
            return self._rounds(times, most=None).view(times, n)
        parts, left = [], times
        while left > 0:
            # As many as do not go over the end of a round at once.
            together = min(left, max(1, len(self.left) // max(1, n)))
            parts.append(self.take(together * n))
            left -= together
        return _joined(parts, self.rows.dtype).view(times, n)

    def _rounds(self, times: int, most: int | None = _TAKEN_AT_ONCE) -> torch.Tensor:
        """Return rounds of all rows, each shuffled: at least one, and together no more than `most` rows, about."""
        n = len(self.rows)
        times = times if most is None else min(times, most // n)
        if times < 2:
            return _shuffled(self.rows, self.generator)
        order = torch.rand(times, n, generator=self.generator, dtype=torch.float64).argsort(dim=1)
        return self.rows[order].flatten()


class RowsByClass:
    """Row positions sorted by class: `order[starts[c] : starts[c] + counts[c]]` are the rows of class c.

    Parameters
    ----------
    codes : array of shape (n,)
        Class codes of the training rows.
    n_classes : int
        How many classes there are, with rows or without.
    generator : torch.Generator
        What the streams over these rows draw from.
    """

    def __init__(self, codes: np.ndarray, n_classes: int, generator: torch.Generator) -> None:
        self.codes = codes
        self.counts = class_counts(codes, n_classes)
        self.starts = np.cumsum(self.counts) - self.counts
        self.generator = generator

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def order(self) -> torch.Tensor:
        """Positions sorted by class: int32 where that can count the rows, else int64."""
        # They are sorted in parts, so that nothing else is as large.
        order = torch.empty(len(self), dtype=position_dtype(len(self)))
        places, ends = order.numpy(), self.starts.copy()
        for start in range(0, len(self), _AT_ONCE):
            part = self.codes[start : start + _AT_ONCE]
            if len(ends) <= _FEW_CLASSES:
                by_class = [np.flatnonzero(part == code) for code in range(len(ends))]
            else:
                counts = np.bincount(part, minlength=len(ends))
                by_class = np.split(np.argsort(part, kind="stable"), np.cumsum(counts)[:-1])
            for code, found in enumerate(by_class):
                found += start
                places[ends[code] : ends[code] + len(found)] = found
                ends[code] += len(found)
        return order

    def of(self, code: int) -> torch.Tensor:
        """Return the rows of a class.

        Parameters
        ----------
        code : int
            The class.

        Returns
        -------
        tensor of shape (n_c,)
            Positions, in ascending order.
        """
        return self.order[self.starts[code] : self.starts[code] + self.counts[code]]

    def cycles(self) -> list[Cycle]:
        """Return an endless cycle through the rows of each class.

        Returns
        -------
        list of Cycle
            In the order of codes; one without rows is empty.
        """
        return [Cycle(self.of(code), self.generator) for code in range(len(self.counts))]


def position_dtype(n: int) -> torch.dtype:
    """Return the smallest dtype for positions of n rows: half the memory, and half the way to it, up to 2^31 rows."""
    return torch.int32 if n <= np.iinfo(np.int32).max else torch.int64


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
    weight : float
        What a row of the stream counts: 1 but where processes of a group have unequal parts in it.
    """

    length: int
    shares: np.ndarray
    batch_size: int | None = None
    weight: float = 1.0

    @abstractmethod
    def take(self, n: int) -> torch.Tensor:
        """Return the positions of the next n rows.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        tensor of shape (n,)
            Positions, as int32 or int64.
        """


class Natural(RowStream):
    """The rows as they are, shuffled."""

    def __init__(self, rows: RowsByClass) -> None:
        self.cycle = Cycle(torch.arange(len(rows), dtype=position_dtype(len(rows))), rows.generator)
        self.length = len(rows)
        self.shares = rows.counts / rows.counts.sum()

    def take(self, n: int) -> torch.Tensor:
        return self.cycle.take(n)


class Draws(RowStream):
    """Independent draws of a class by `shares`, each followed by one of its rows with equal probability.

    n independent draws of a class are a multinomial count of each class, in random order.

    Parameters
    ----------
    shares : array of shape (K,)
        Probability of each class.
    rows : RowsByClass
        The training rows.
    """

    #: Draws made at once: few enough to stay in the processor's cache, enough for many classes.
    CHUNK = 1 << 15

    def __init__(self, shares: np.ndarray, rows: RowsByClass) -> None:
        self.rows = rows
        self.length = len(rows)
        self.shares = shares
        self.random = _numpy_generator(rows.generator)

    def take(self, n: int) -> torch.Tensor:
        drawn = torch.empty(n, dtype=self.rows.order.dtype)
        for part in torch.split(drawn, self.CHUNK):
            self._fill(part.numpy(), self.random.multinomial(len(part), self.shares))
        return drawn

    def _fill(self, chunk: np.ndarray, counts: np.ndarray) -> None:
        """Fill an array with so many rows of each class, in random order."""
        places = self.random.integers(np.repeat(self.rows.counts, counts))
        places += np.repeat(self.rows.starts, counts)
        self.rows.order.numpy().take(places, out=chunk, mode="clip")
        self.random.shuffle(chunk)


class DrawsInTurn(Draws):
    """Independent draws of a class by `shares`, each followed by its next row in shuffled order.

    Each row of a class so comes as often as the others, to within one: an epoch varies less than with `Draws`.
    """

    def __init__(self, shares: np.ndarray, rows: RowsByClass) -> None:
        super().__init__(shares, rows)
        self.cycles = rows.cycles()

    def _fill(self, chunk: np.ndarray, counts: np.ndarray) -> None:
        codes = np.repeat(np.arange(len(counts), dtype=np.min_scalar_type(len(counts))), counts)
        self.random.shuffle(codes)
        taken = [cycle.take(n) for cycle, n in zip(self.cycles, counts.tolist(), strict=True) if n]
        chunk[np.argsort(codes, kind="stable")] = torch.cat(taken).numpy()


class Passes(RowStream):
    """Shuffled passes, each of `quotas[c]` rows of class c.

    Below n_c rows come without replacement and in turn, so that all are seen over the epochs; above it every row
    comes at least once and the others are drawn with replacement.

    Parameters
    ----------
    quotas : array of int, shape (K,)
        Rows of each class in a pass.
    rows : RowsByClass
        The training rows.
    """

    def __init__(self, quotas: np.ndarray, rows: RowsByClass) -> None:
        self.rows = rows
        self.quotas = quotas
        self.length = int(quotas.sum())
        self.shares = quotas / quotas.sum()
        self.cycles = rows.cycles()
        self.random = _numpy_generator(rows.generator)
        self.left = rows.order[:0]

    def take(self, n: int) -> torch.Tensor:
        parts = []
        while n > 0:
            if not len(self.left):
                self.left = self._passes(max(1, min(-(-n // self.length), _TAKEN_AT_ONCE // self.length)))
            parts.append(self.left[:n])
            self.left = self.left[n:]
            n -= len(parts[-1])
        return _joined(parts, self.left.dtype)

    def _passes(self, times: int) -> torch.Tensor:
        """Return so many passes, one after the other; of one, nothing else of its size is made on the way."""
        rows = torch.empty(times, self.length, dtype=self.rows.order.dtype)
        for cycle, part in zip(self.cycles, torch.split(rows, self.quotas.tolist(), dim=1), strict=True):
            n = min(len(cycle.rows), part.shape[1])
            part[:, :n] = cycle.take_by(n, times)
            for again in torch.split(part[:, n:], _AT_ONCE, dim=1) if part.shape[1] > n else ():
                drawn = torch.randint(n, (again.numel(),), generator=self.rows.generator, dtype=position_dtype(n))
                again.copy_(cycle.rows.index_select(0, drawn).view_as(again))
        if times == 1:
            self.random.shuffle(rows[0].numpy())
        else:
            self.random.permuted(rows.numpy(), axis=1, out=rows.numpy())
        return rows.flatten()


class EqualBatches(RowStream):
    """Batches of m rows of each class, each class cycled in shuffled order."""

    def __init__(self, rows: RowsByClass, batch_size: int) -> None:
        self.rows = rows
        present = np.flatnonzero(rows.counts)
        self.cycles = [cycle for cycle in rows.cycles() if len(cycle.rows)]
        self.per_class = max(1, batch_size // len(present))
        batch = self.per_class * len(present)
        self.batch_size = batch
        self.length = ceil(len(rows) / batch) * batch
        self.shares = np.bincount(present, minlength=len(rows.counts)) / len(present)
        self.left = rows.order[:0]

    def take(self, n: int) -> torch.Tensor:
        batches = ceil((n - len(self.left)) / (self.per_class * len(self.cycles)))
        classes = [cycle.take(batches * self.per_class).view(batches, self.per_class) for cycle in self.cycles]
        drawn = torch.cat([self.left, torch.cat(classes, dim=1).flatten()])
        self.left = drawn[n:]
        return drawn[:n]


class Blend(RowStream):
    """Each row is the next of one stream or, with probability `strength`, of another: an epoch under a schedule."""

    def __init__(self, plain: RowStream, full: RowStream, strength: float, generator: torch.Generator) -> None:
        self.plain = plain
        self.full = full
        self.strength = strength
        self.generator = generator
        self.length = round((1 - strength) * plain.length + strength * full.length)
        self.shares = (1 - strength) * plain.shares + strength * full.shares
        self.batch_size = full.batch_size
        if (plain.weight, full.weight) != (1, 1):  # parts in two streams, one of which may be larger
            self.weight = (1 - strength) * plain.weight + strength * full.weight
            self.strength = strength * full.weight / self.weight

    def take(self, n: int) -> torch.Tensor:
        if self.strength == 0:
            return self.plain.take(n)
        full = torch.rand(n, generator=self.generator) < self.strength
        rows = torch.empty(n, dtype=position_dtype(self.plain.length))
        rows[full] = self.full.take(int(full.sum())).to(rows.dtype)  # a stream of the user's may give other ints
        rows[~full] = self.plain.take(n - int(full.sum())).to(rows.dtype)
        return rows


class OwnRows(RowStream):
    """A stream over some of the training rows, as positions among all of them."""

    def __init__(self, stream: RowStream, own: np.ndarray) -> None:
        self.stream = stream
        self.own = torch.from_numpy(own).to(position_dtype(len(own)))
        self.length = stream.length
        self.shares = stream.shares
        self.batch_size = stream.batch_size
        self.weight = stream.weight

    def take(self, n: int) -> torch.Tensor:
        return self.own.index_select(0, self.stream.take(n))


class SideBySide(RowStream):
    """The streams of several members: positions of shape (members, n).

    The class shares are those of all members together, or of all rows, where members take theirs as they are.
    """

    def __init__(self, streams: list[RowStream], shares: np.ndarray | None) -> None:
        self.streams = streams
        self.length = max(stream.length for stream in streams)
        self.shares = np.mean([stream.shares for stream in streams], axis=0) if shares is None else shares
        # A member that lacks a class has smaller batches by itself.
        self.batch_size = max((s.batch_size for s in streams if s.batch_size is not None), default=None)

    def take(self, n: int) -> torch.Tensor:
        return torch.stack([stream.take(n) for stream in self.streams])


#: Rows in an epoch that would not end.
_MOST_ROWS = 2**53


def epoch_length(epoch_size: float | None, stream: RowStream, n_rows: int) -> int:
    """Return the rows in an epoch: `epoch_size` as rows (int) or as a share of the training rows (float)."""
    if epoch_size is None:
        return stream.length
    whole = isinstance(epoch_size, int | np.integer) and not isinstance(epoch_size, bool)
    if not whole and not isinstance(epoch_size, float | np.floating):
        raise TypeError(
            f"epoch_size must be None, an int (rows) or a float (share of the training rows); it is {epoch_size!r}."
        )
    rows = epoch_size if whole else float(epoch_size) * n_rows
    if not 0 < rows < _MOST_ROWS:  # nan is neither
        raise ValueError(
            f"epoch_size must be positive: an int (rows) or a float (share of the training rows); it is {epoch_size!r}"
            f"{', and so long an epoch would not end' if rows >= _MOST_ROWS else ''}."
        )
    length = int(epoch_size) if whole else max(1, round(rows))
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
        size, n, length = self.batch_size, len(self), self.length
        together = max(1, _TAKEN_AT_ONCE // size)
        for first in range(0, n, together):
            end = min(first + together, n)
            whole = end == n and not self.drop_last
            rows = self.take((length if whole else end * size) - first * size)
            sizes = [size] * (end - first)
            sizes[-1] = rows.shape[-1] - size * (len(sizes) - 1)  # the last of all may have fewer rows, or one more
            yield from torch.split(rows, sizes, dim=-1)

    def __len__(self) -> int:
        full, rest = divmod(self.length, self.batch_size)
        alone = rest == 1 and full > 0  # one row breaks batch norm
        return full if self.drop_last or rest == 0 or alone else full + 1
