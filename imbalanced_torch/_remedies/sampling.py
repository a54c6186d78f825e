"""Which rows each epoch sees: strategies, each of which makes a stream of the training rows of one fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from torch.utils.data import Sampler

from imbalanced_torch._parameters.foreign_words import resampler
from imbalanced_torch._parameters.values import by_label, listed, lookup, number, pass_instead
from imbalanced_torch._remedies.row_streams import Draws, DrawsInTurn, EqualBatches, Passes, RowsByClass, RowStream


class SamplingStrategy(BaseEstimator, ABC):
    """What `sampling` may be: an object that makes a stream of rows."""

    @abstractmethod
    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        """Return a stream over the training rows of one fit.

        Parameters
        ----------
        rows : RowsByClass
            The training rows.
        batch_size : int
            Rows in a batch, as the estimator has it.

        Returns
        -------
        RowStream
            The rows of all epochs, one after the other.
        """


@dataclass(repr=False)
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
        """Return the rows of each class in one epoch.

        Parameters
        ----------
        counts : array of shape (K,)
            Training rows of each class.

        Returns
        -------
        array of shape (K,)
            Rows, in the order of codes.

        Raises
        ------
        ValueError
            If `ratio` is outside (0, 1].
        """
        return np.maximum(counts, ceil(_ratio(self.ratio) * counts.max() - 1e-9))

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        return Passes(_only_present(self.quotas(rows.counts), rows.counts), rows)


@dataclass(repr=False)
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
        """Return the rows of each class in one epoch.

        Parameters
        ----------
        counts : array of shape (K,)
            Training rows of each class.

        Returns
        -------
        array of shape (K,)
            Rows, in the order of codes.

        Raises
        ------
        ValueError
            If `ratio` is outside (0, 1].
        """
        with np.errstate(over="ignore"):
            most = counts[counts > 0].min() / _ratio(self.ratio)
        return np.minimum(counts, np.floor(most + 1e-9)).astype(np.int64)

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        return Passes(self.quotas(rows.counts), rows)


@dataclass(repr=False)
class TemperedSampling(SamplingStrategy):
    """Draw as many rows as there are, with replacement, class c with probability proportional to n_c^power.

    Parameters
    ----------
    power : float, default=0.5
        0 makes classes equally likely, as torch's WeightedRandomSampler does with weights 1 / n_c; 1 leaves the
        classes as they are.
    replacement : bool, default=True
        Whether the rows of a class are drawn independently too. Else they come in turn, in shuffled order: every row of
        a class once before any comes again, so that epochs vary less.

    Raises
    ------
    ValueError, TypeError
        In `fit`, if power is not finite or replacement is no bool.

    Examples
    --------
    >>> import numpy as np
    >>> TemperedSampling(power=0.5).shares(np.array([900, 100]))
    array([0.75, 0.25])
    """

    power: float = 0.5
    replacement: bool = True

    def shares(self, counts: np.ndarray) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        counts : array of shape (K,)
            Training rows of each class.

        Returns
        -------
        array of shape (K,)
            Probabilities, in the order of codes.

        Raises
        ------
        ValueError
            If `power` is not finite, or n_c^power is beyond all numbers.
        """
        power = number(self.power)
        if power is None or not isfinite(power):
            raise ValueError(f"power must be a finite number; it is {self.power!r}.")
        present = counts > 0
        with np.errstate(over="ignore"):
            exponents = power * np.log(counts[present])
        if not np.isfinite(exponents).all():
            raise ValueError(f"power must be such that n_c^power has a logarithm; it is {self.power!r}.")
        shares = np.zeros(len(counts))
        shares[present] = np.exp(exponents - exponents.max())  # so that no power overflows
        return shares / shares.sum()

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        if not isinstance(self.replacement, bool | np.bool_):
            raise TypeError(f"replacement must be True or False; it is {self.replacement!r}.")
        return (Draws if self.replacement else DrawsInTurn)(self.shares(rows.counts), rows)


@dataclass(repr=False)
class BalancedBatches(SamplingStrategy):
    """Fill every batch with m = max(1, batch_size // K) rows of each class, each class cycled in shuffled order.

    An epoch has ceil(n / (m K)) full batches.
    """

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        return EqualBatches(rows, batch_size)


@dataclass(repr=False)
class Quotas(SamplingStrategy):
    """So many rows of each class in an epoch, from a callable of the class counts."""

    of_counts: Callable[[np.ndarray], Any]
    classes: np.ndarray

    def stream(self, rows: RowsByClass, batch_size: int) -> RowStream:
        given = np.asarray(self.of_counts(rows.counts.copy()))
        if given.shape != rows.counts.shape:
            raise ValueError(
                f"sampling must give one count for each of the {len(self.classes)} classes {listed(self.classes)}; its "
                f"shape is {given.shape}."
            )
        here = given[rows.counts > 0]  # a chunk of `partial_fit` may lack a class
        if here.dtype.kind not in "iuf" or not (np.isfinite(here) & (here >= 1) & (here == np.floor(here))).all():
            raise ValueError(
                "sampling must give whole counts of at least 1; it gives "
                f"{listed(dict(zip(self.classes.tolist(), given.tolist(), strict=True)))}. "
                "Shares are set by OverSampling(ratio=...), UnderSampling(ratio=...) or TemperedSampling(power=...)."
            )
        return Passes(_only_present(given, rows.counts).astype(np.int64), rows)


STRATEGIES: dict[str, SamplingStrategy] = {
    "weighted": TemperedSampling(power=0.0),
    "over": OverSampling(),
    "under": UnderSampling(),
    "batch": BalancedBatches(),
}

# Words that other packages use for one of ours.
_ALIASES = {
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


#: Samplers of imbalanced-learn that make no new rows, and what acts like them in every epoch.
_ACTING_LIKE = {
    "RandomOverSampler": '"over" or OverSampling(ratio=...)',
    "RandomUnderSampler": '"under" or UnderSampling(ratio=...)',
}


def resolve_sampling(sampling: Any, classes: np.ndarray) -> SamplingStrategy | None:
    """Turn the hyperparameter into a strategy; None leaves the rows as they are."""
    if sampling is None or isinstance(sampling, SamplingStrategy):
        return sampling
    if isinstance(sampling, str):
        return lookup("sampling", sampling, STRATEGIES, _ALIASES)
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
    if hasattr(sampling, "fit_resample"):  # imbalanced-learn's samplers
        name = _name(sampling)
        if name in _ACTING_LIKE:
            raise TypeError(f"sampling must be {choices}; for {name} pass {_ACTING_LIKE[name]}.")
        raise TypeError(f"sampling must be {choices}; {name} makes new rows. {resampler(name)}")
    if callable(sampling) and not isinstance(sampling, type):
        return Quotas(sampling, classes)
    raise TypeError(f"sampling must be {choices}; it is {listed(sampling)}.{pass_instead(sampling)}")


def _name(thing: Any) -> str:
    return (thing if isinstance(thing, type) else type(thing)).__name__


def _ratio(ratio: Any) -> float:
    share = number(ratio)
    if share is None or not 0 < share <= 1:
        raise ValueError(f"ratio must be in (0, 1]; it is {ratio!r}. 1.0 makes the classes equal.")
    return share


def _only_present(quotas: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A class without rows, in a chunk of `partial_fit`, gives none."""
    return np.where(counts > 0, quotas, 0)
