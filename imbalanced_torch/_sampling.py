"""Which rows each epoch sees: from class codes to batches of row positions.

Every strategy is an endless stream of rows, and an epoch takes the next `length` of them. There are three kinds:
`Draws` (a class at random, then a row of it), `Passes` (so many rows of each class, then again) and `BalancedBatches`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, Sampler

from imbalanced_torch._hyperparameters import Parameters, by_label, choose


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
                self.left = self._shuffled(self.rows)
            elif len(self.left) < n < len(self.rows) + 1:
                # The take goes over the end of a round: what is left of the old round goes last in the new one, so
                # that no row comes twice in one take.
                tail = self.left
                fresh = self._shuffled(self.rows[~torch.isin(self.rows, tail)])
                parts.append(torch.cat([tail, fresh[: n - len(tail)]]))
                self.left = torch.cat([fresh[n - len(tail) :], self._shuffled(tail)])
                break
            parts.append(self.left[:n])
            self.left = self.left[n:]
            n -= len(parts[-1])
        return torch.cat(parts) if parts else self.rows[:0]

    def _shuffled(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[torch.randperm(len(rows), generator=self.generator)]


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

    def shuffled(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[torch.randperm(len(rows), generator=self.generator)]


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
        return self.rows.shuffled(torch.cat(parts))


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


class SamplingStrategy(Parameters, ABC):
    """What `sampling` may be: an object that makes a stream of rows. `get_params` and `set_params` serve searches."""

    @abstractmethod
    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        """Return a stream over the training rows of one fit."""


@dataclass
class OverSampling(SamplingStrategy):
    """Raise every class to at least `ratio` times the largest; every row comes at least once in an epoch.

    Parameters
    ----------
    ratio : float in (0, 1], default=1.0
        1.0 makes all classes as large as the largest.

    Raises
    ------
    ValueError
        In `fit`, if ratio is outside (0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> OverSampling(ratio=0.5).quotas(np.array([100, 10]))
    array([100,  50])
    """

    ratio: float = 1.0

    def quotas(self, counts: np.ndarray) -> np.ndarray:
        """Return the rows of each class in one epoch, shape (K,)."""
        return np.maximum(counts, ceil(_ratio(self.ratio) * counts.max() - 1e-9))

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        return Passes(_only_present(self.quotas(rows.counts), rows.counts), rows)


@dataclass
class UnderSampling(SamplingStrategy):
    """Cut every class to at most the smallest divided by `ratio`, without replacement, drawn afresh each epoch.

    Each class goes through its rows in turn, so that over the epochs all are seen.

    Parameters
    ----------
    ratio : float in (0, 1], default=1.0
        1.0 makes all classes as small as the smallest.

    Raises
    ------
    ValueError
        In `fit`, if ratio is outside (0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> UnderSampling(ratio=0.5).quotas(np.array([100, 10]))
    array([20, 10])
    """

    ratio: float = 1.0

    def quotas(self, counts: np.ndarray) -> np.ndarray:
        """Return the rows of each class in one epoch, shape (K,)."""
        return np.minimum(counts, int(counts[counts > 0].min() / _ratio(self.ratio) + 1e-9))

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        return Passes(self.quotas(rows.counts), rows)


@dataclass
class TemperedSampling(SamplingStrategy):
    """Draw as many rows as there are, with replacement, class c with probability proportional to n_c^power.

    Parameters
    ----------
    power : float, default=0.5
        0 makes classes equally likely, as torch's WeightedRandomSampler does with weights 1 / n_c; 1 leaves the
        classes as they are.

    Raises
    ------
    ValueError
        In `fit`, if power is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> TemperedSampling(power=0.5).shares(np.array([900, 100]))
    array([0.75, 0.25])
    """

    power: float = 0.5

    def shares(self, counts: np.ndarray) -> np.ndarray:
        """Return the probability of each class, shape (K,)."""
        if not isinstance(self.power, Real) or not np.isfinite(self.power):
            raise ValueError(f"power must be a finite number; it is {self.power!r}.")
        present = counts > 0
        shares = np.zeros(len(counts))
        # Relative to the largest class, so that no power overflows.
        shares[present] = (counts[present] / counts.max()) ** self.power
        return shares / shares.sum()

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        return Draws(self.shares(rows.counts), rows)


@dataclass
class BalancedBatches(SamplingStrategy):
    """Fill every batch with m = max(1, batch_size // K) rows of each class, each class cycled in shuffled order.

    An epoch has ceil(n / (m K)) full batches.
    """

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        return EqualBatches(rows, batch_size)


@dataclass
class Quotas(SamplingStrategy):
    """So many rows of each class in an epoch, from a callable of the class counts."""

    of_counts: Callable[[np.ndarray], Any]
    classes: np.ndarray

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        given = np.asarray(self.of_counts(rows.counts.copy()))
        labels = self.classes.tolist()
        if given.shape != rows.counts.shape:
            raise ValueError(
                f"sampling must give one count for each of the {len(labels)} classes {labels}; its shape is "
                f"{given.shape}."
            )
        if given.dtype.kind not in "iuf" or not (np.isfinite(given) & (given >= 1) & (given == np.floor(given))).all():
            raise ValueError(
                "sampling must give whole counts of at least 1; it gives "
                f"{dict(zip(labels, given.tolist(), strict=True))}. "
                "Shares are set by OverSampling(ratio=...), UnderSampling(ratio=...) or TemperedSampling(power=...)."
            )
        return Passes(_only_present(given.astype(np.int64), rows.counts), rows)


STRATEGIES: dict[str, SamplingStrategy] = {
    "weighted": TemperedSampling(power=0.0),
    "over": OverSampling(),
    "under": UnderSampling(),
    "batch": BalancedBatches(),
}

# Words that other packages use for one of ours.
_MEANT = {
    "oversample": "over",
    "oversampling": "over",
    "upsample": "over",
    "upsampling": "over",
    "minority": "over",
    "undersample": "under",
    "undersampling": "under",
    "downsample": "under",
    "downsampling": "under",
    "majority": "under",
    "auto": "weighted",
    "balanced": "weighted",
    "random": "weighted",
    "weightedrandomsampler": "weighted",
    "weighted_random": "weighted",
    "batches": "batch",
    "balanced_batches": "batch",
}


def resolve_sampling(sampling: Any, classes: np.ndarray) -> SamplingStrategy | None:
    """Turn the hyperparameter into a strategy; None leaves the rows as they are."""
    if sampling is None or isinstance(sampling, SamplingStrategy):
        return sampling
    if isinstance(sampling, str):
        return choose("sampling", sampling, STRATEGIES, _MEANT)
    if isinstance(sampling, Mapping):

        def counts_by_label(counts: np.ndarray) -> np.ndarray:
            return np.asarray(by_label("sampling", sampling, classes, missing=counts.tolist()))

        return Quotas(counts_by_label, classes)
    choices = (
        f"None, one of the words {sorted(STRATEGIES)}, OverSampling(...), UnderSampling(...), TemperedSampling(...), "
        "BalancedBatches(), a dict from label to count or a callable from counts to counts"
    )
    if isinstance(sampling, Sampler) or (isinstance(sampling, type) and issubclass(sampling, Sampler)):
        raise TypeError(
            f"sampling must be a strategy, not a sampler: a {_name(sampling)} belongs to the rows of one fold, and a "
            "strategy makes one "
            f'for each fit. For WeightedRandomSampler with weights 1 / n_c pass sampling="weighted"; else {choices}.'
        )
    if callable(sampling) and not isinstance(sampling, type):
        return Quotas(sampling, classes)
    raise TypeError(f"sampling must be {choices}; it is {sampling!r}.")


def _name(thing: Any) -> str:
    return (thing if isinstance(thing, type) else type(thing)).__name__


def _ratio(ratio: float) -> float:
    if not isinstance(ratio, Real) or not 0 < ratio <= 1:
        raise ValueError(f"ratio must be in (0, 1]; it is {ratio!r}. 1.0 makes the classes equal.")
    return ratio


def _only_present(quotas: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A class without rows, in a chunk of `partial_fit`, gives none."""
    return np.where(counts > 0, quotas, 0)


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
