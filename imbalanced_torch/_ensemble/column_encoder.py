"""From the columns of a table to the inputs of a net: smooth values, ranks, levels; learned from training rows.

What was learned is in buffers, so that it goes wherever the module goes: devices, files, pickles, exports.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn.functional import pad

from imbalanced_torch._group.processes import ALONE, Group

#: Bins of all columns together, and the points on which ranks are learned.
_ALL_BINS, _GRID = 256, 257
#: Rows of a level to be one, and of those that quantiles are learned from.
_LEVEL_ROWS, _QUANTILE_ROWS = 3, 20_000
#: Buffers that need all digits of a column's values.
_DOUBLE = ("center", "scale", "grid", "ranks")
#: Where a scaled value is as good as infinite.
_FAR = 1e4
#: Of the interquartile range of a normal distribution, by its standard deviation.
_IQR = 1.349


class ColumnEncoder(nn.Module):
    """Encode columns of numbers and of category codes, missing values (NaN) among them.

    Encoding has two steps. `encode` gives for each row a few numbers to keep: a smooth value of each number, its rank
    if it has bins, and the place of each category's level. `expand` makes of these, batch by batch, the inputs of two
    nets: without bins and with them.

    A number x becomes z / sqrt(1 + (z / 3)^2), z being (x - median) / (interquartile range / 1.349), so that no value
    is beyond 3; one of two values becomes 0 or 1. Bins are a piecewise linear encoding (Gorishniy et al. 2022) of its
    rank. A missing number is 0, with a column that says so where training rows had some. A category is one-hot; a level
    needs three rows, and rarer and unseen ones share a column.

    Parameters
    ----------
    n_features : int
        Columns, taken for numbers of median 0 and scale 1 until `fit` has seen rows.

    References
    ----------
    Gorishniy, Rubachev, Babenko: On embeddings for numerical features in tabular deep learning (2022).
    """

    numbers: torch.Tensor
    categories: torch.Tensor
    center: torch.Tensor
    scale: torch.Tensor
    is_binary: torch.Tensor
    with_missing: torch.Tensor
    binned: torch.Tensor
    grid: torch.Tensor
    ranks: torch.Tensor
    bin_slope: torch.Tensor
    bin_offset: torch.Tensor
    first_code: torch.Tensor
    place_of_code: torch.Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.set_buffer("numbers", np.arange(n_features))
        self.set_buffer("categories", np.arange(0))
        self.set_buffer("center", np.zeros(n_features))
        self.set_buffer("scale", np.ones(n_features))
        self.set_buffer("is_binary", np.zeros(n_features, dtype=bool))
        self.set_buffer("with_missing", np.arange(0))  # places among the numbers
        self.set_buffer("binned", np.arange(0))  # places among the numbers
        self.set_buffer("grid", np.zeros((0, 2)))  # ascending values, and the ranks of these
        self.set_buffer("ranks", np.zeros((0, 2)))
        self.set_buffer("bin_slope", np.zeros((0, 0), dtype=np.float32))
        self.set_buffer("bin_offset", np.zeros((0, 0), dtype=np.float32))
        self.set_buffer("first_code", np.arange(0))  # of each category in `place_of_code`
        self.set_buffer("place_of_code", np.arange(0))  # from levels, then unseen, then missing, to a one-hot column
        self.n_one_hot = 0

    def set_buffer(self, name: str, values: np.ndarray) -> None:
        """Set a buffer, in memory of torch's own: torch.export.save fails on an empty array of numpy's."""
        self.register_buffer(name, torch.from_numpy(values).clone(memory_format=torch.contiguous_format))

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Move as modules do, but stay in double precision where the device has it: a median needs all its digits."""
        double = {name: buffer for name, buffer in self._buffers.items() if name in _DOUBLE and buffer is not None}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in double.items():
            moved = self._buffers[name]
            if moved is not None and moved.dtype != buffer.dtype and moved.device.type != "mps":
                self._buffers[name] = buffer.to(moved.device)
        return self

    # Sizes

    @property
    def n_encoded(self) -> int:
        """Numbers that `encode` returns for a row."""
        return len(self.numbers) + len(self.binned) + len(self.categories)

    @property
    def n_inputs(self) -> tuple[int, int]:
        """Inputs of a net without bins, and of one with them."""
        plain = len(self.numbers) + len(self.with_missing) + self.n_one_hot
        return plain, plain + self.bin_slope.numel()

    # Learning

    def fit(
        self,
        X: Any,
        n_levels: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        n_bins: int = 12,
        seed: int = 0,
        group: Group = ALONE,
    ) -> Self:
        """Learn medians, scales, ranks and levels.

        Parameters
        ----------
        X : array of shape (n, d) or CSR matrix
            Numbers, and codes of levels where `n_levels` says so: -1 for an unseen one. NaN is missing.
        n_levels : int array of shape (d,) or None
            Levels of each category; 0 for a number. None: all are numbers.
        sample_weight : array of shape (n,) or None
        n_bins : int
            Bins of a number at most; 0 for none.
        seed : int
            Of the rows that quantiles are learned from, where there are many.
        group : Group
            The processes whose rows these are a part of. Up to 20,000 rows in all are looked at as they are; of more,
            each process passes as large a part of its own on.
        """
        if sparse.issparse(X):
            return self._fit_sparse(X, group)
        n_levels = np.zeros(X.shape[1], dtype=int) if n_levels is None else n_levels
        self.set_buffer("numbers", np.flatnonzero(n_levels == 0))
        self.set_buffer("categories", np.flatnonzero(n_levels > 0))
        self._fit_levels(X, n_levels, group)
        if not group.alone:
            X, sample_weight = _rows_of_all(X, sample_weight, seed, group)
        self._fit_numbers(X, sample_weight, n_bins, seed, group)
        return self

    def _fit_numbers(
        self, X: np.ndarray, sample_weight: np.ndarray | None, n_bins: int, seed: int, group: Group
    ) -> None:
        some = slice(None)
        if group.alone and len(X) > _QUANTILE_ROWS:
            some = np.random.RandomState(seed).choice(len(X), _QUANTILE_ROWS, replace=False)  # type: ignore[assignment]
        weights = np.ones(len(X)) if sample_weight is None else sample_weight
        found = [_Number(X[:, j], some, weights) for j in self.numbers.tolist()]
        self.set_buffer("center", np.array([number.center for number in found]))
        self.set_buffer("scale", np.array([number.scale for number in found]))
        self.set_buffer("is_binary", np.array([number.is_binary for number in found], dtype=bool))
        self.set_buffer("with_missing", np.flatnonzero([number.has_missing for number in found]))
        binned = [place for place, number in enumerate(found) if not number.is_binary]
        n_bins = min(n_bins, _ALL_BINS // max(1, len(binned)))
        binned = binned if n_bins > 1 else []
        self.set_buffer("binned", np.array(binned, dtype=int))
        bins = [found[place].bins(n_bins) for place in binned]
        length = max((len(values) for values, _, _ in bins), default=2)
        self.set_buffer("grid", _padded([values for values, _, _ in bins], length))
        self.set_buffer("ranks", _padded([ranks for _, ranks, _ in bins], length))
        slope, offset = np.zeros((len(bins), n_bins)), np.zeros((len(bins), n_bins))
        for i, (_, _, edges) in enumerate(bins):
            width = np.diff(edges)
            slope[i, : len(width)] = 1 / width
            offset[i, : len(width)] = -edges[:-1] / width - 0.5
        self.set_buffer("bin_slope", slope.astype(np.float32))
        self.set_buffer("bin_offset", offset.astype(np.float32))

    def _fit_levels(self, X: np.ndarray, n_levels: np.ndarray, group: Group) -> None:
        first: list[int] = []
        places: list[np.ndarray] = []
        n_one_hot = 0
        for j in self.categories.tolist():
            first.append(sum(map(len, places)))
            counts = group.sum(np.bincount(_codes(X[:, j], n_levels[j]), minlength=n_levels[j] + 2))
            frequent = counts >= _LEVEL_ROWS
            frequent[n_levels[j]] = False  # unseen ones
            place = np.full(len(counts), n_one_hot)  # shared by what is rare
            place[frequent] += 1 + np.arange(frequent.sum())
            places.append(place)
            n_one_hot += 1 + int(frequent.sum())
        self.set_buffer("first_code", np.array(first, dtype=int))
        self.set_buffer("place_of_code", np.concatenate([np.arange(0), *places]))
        self.n_one_hot = n_one_hot

    def _fit_sparse(self, X: Any, group: Group) -> Self:
        """Scale by the largest absolute value alone, as MaxAbsScaler does: 0 stays 0, and there are no bins."""
        self.__init__(X.shape[1])  # type: ignore[misc]
        largest = group.largest(np.asarray(abs(X).max(axis=0).todense(), dtype=float).ravel())
        self.set_buffer("scale", np.where(largest > 0, largest, 1.0) / 2)
        return self

    # Encoding

    def encode(self, X: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return what is kept of rows: (n, n_encoded) for rows of shape (n, d). NaN stays NaN in numbers."""
        every = len(self.categories) == 0
        numbers = X if every else X[:, self.numbers]
        z = (numbers.to(self.center.dtype) - self.center) / self.scale
        smooth = z.clamp(-_FAR, _FAR)
        smooth = smooth / (1 + (smooth / 3).square()).sqrt()
        parts = [torch.where(self.is_binary, z.clamp(-1, 2), smooth).to(dtype)]
        if len(self.binned):
            parts.append(self._ranks(numbers[:, self.binned]).to(dtype))
        if not every:
            parts.append(self._places(X[:, self.categories]).to(dtype))
        return torch.cat(parts, dim=1)

    def _ranks(self, values: torch.Tensor) -> torch.Tensor:
        """Return ranks of shape (n, c), linear between the points of the grid and constant beyond; NaN stays."""
        values = values.to(self.grid.dtype).t().contiguous()
        above = torch.searchsorted(self.grid, values).clamp_(1, self.grid.shape[1] - 1)
        low, high = self.grid.gather(1, above - 1), self.grid.gather(1, above)
        first, last = self.ranks.gather(1, above - 1), self.ranks.gather(1, above)
        share = ((values - low) / (high - low)).clamp_(0, 1)  # where both are infinite, the rank does not change
        return torch.where(values >= high, last, first + share * (last - first)).t()

    def _places(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the one-hot column of each category's level, shape (n, number of categories)."""
        ends = torch.cat([self.first_code[1:], self.first_code.new_tensor([len(self.place_of_code)])])
        unseen = ends - self.first_code - 2
        known = torch.where((codes >= 0) & (codes < unseen), codes.nan_to_num().long(), unseen)
        return self.place_of_code[self.first_code + torch.where(codes.isnan(), unseen + 1, known)]

    def expand(self, encoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs of a net without bins and of one with them, of shape (..., n_inputs), of encoded rows."""
        n, n_binned, n_categories = len(self.numbers), len(self.binned), len(self.categories)
        numbers, ranks, places = torch.split(encoded, [n, n_binned, n_categories], dim=-1)
        parts = [numbers.nan_to_num()]
        if len(self.with_missing):
            parts.append(numbers[..., self.with_missing].isnan().to(encoded.dtype))
        if n_categories:
            one_hot = encoded.new_zeros(*encoded.shape[:-1], self.n_one_hot)
            parts.append(one_hot.scatter_(-1, places.long(), 1.0))
        plain = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        if not n_binned:
            return plain, plain
        slope, offset = self.bin_slope.to(encoded.dtype), self.bin_offset.to(encoded.dtype)
        bins = torch.addcmul(offset, ranks[..., None], slope).clamp_(-0.5, 0.5).flatten(-2)
        return plain, torch.cat([plain, bins.nan_to_num_()], dim=-1)

    def forward(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs of a net without bins and of one with them, for rows of shape (n, d)."""
        return self.expand(self.encode(X, X.dtype))

    # What is in files beside the buffers' values

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        """Take buffers of other shapes too: columns of other data have other levels and grids."""
        for name, there in self.named_buffers(recurse=False):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                self.register_buffer(name, saved.detach().to(there.device, copy=True))
        places = state_dict.get(prefix + "place_of_code", self.place_of_code)
        self.n_one_hot = 1 + int(places.max()) if len(places) else 0
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class _Number:
    """What is learned of one column of numbers, weighted; `some` are the rows that quantiles are learned from."""

    def __init__(self, column: np.ndarray, some: Any, weights: np.ndarray) -> None:
        missing = np.isnan(column)
        self.has_missing = bool(missing.any())
        values, weights = column[some], weights[some]
        values, weights = values[~missing[some]].astype(float), weights[~missing[some]]
        if not isinstance(some, slice) and not missing.all():  # where the outermost rows may not be among them
            values = np.append(values, [np.nanmin(column), np.nanmax(column)])
            weights = np.append(weights, [0.0, 0.0])
        self.values, inverse = np.unique(values, return_inverse=True)
        mass = np.bincount(inverse, weights, minlength=len(self.values))
        self.is_binary = len(self.values) <= 2
        self.center, self.scale = 0.0, 1.0
        if not len(self.values):
            return
        low, high = self.values[0], self.values[-1]
        if self.is_binary:
            with np.errstate(over="ignore"):  # of the largest floats, the scale is then the largest
                self.center, self.scale = low, min(high - low, np.finfo(float).max) or 1.0
            return
        share = np.cumsum(mass) / mass.sum()
        self.ranks = share - mass / (2 * mass.sum())
        quarter, self.center, three = self.values[np.searchsorted(share, [0.25, 0.5, 0.75]).clip(max=len(share) - 1)]
        spread, span = three / _IQR - quarter / _IQR, high / 4 - low / 4
        self.scale = spread if spread > 1e-9 * span else span

    def bins(self, n_bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return points of the column, their ranks, and the edges of at most `n_bins` bins of these."""
        values, ranks = self.values, self.ranks
        if len(values) <= n_bins + 1:  # each value by itself
            ranks = np.arange(len(values), dtype=float)
            return values, ranks, ranks
        if len(values) > _GRID:
            wanted = np.interp(np.linspace(ranks[0], ranks[-1], _GRID), ranks, np.arange(len(values)))
            kept = np.unique(np.round(wanted).astype(int))
            values, ranks = values[kept], ranks[kept]
        return values, ranks, np.linspace(ranks[0], ranks[-1], n_bins + 1)


def _rows_of_all(
    X: np.ndarray, sample_weight: np.ndarray | None, seed: int, group: Group
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of all processes, and weights by which they stand for all; the outermost come last, of no weight.

    The last row is NaN where a column has a missing value anywhere.
    """
    n = group.total(len(X))
    weights = np.ones(len(X)) if sample_weight is None else sample_weight.astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns that are missing altogether
        outer = np.array(
            [[np.nanmin(column), np.nanmax(column), np.isnan(column).any()] for column in X.T], dtype=float
        )
    some = np.arange(len(X))
    if n > _QUANTILE_ROWS:
        n_own = max(1, round(_QUANTILE_ROWS * len(X) / n))
        some = np.random.RandomState(group.own(seed)).choice(len(X), n_own, replace=False)
        weights = weights * len(X) / n_own
    rows, weights = group.joined(X[some]), group.joined(weights[some])
    low, high, missing = np.where(np.isnan(outer), [np.inf, -np.inf, 0], outer).T
    low, high = -group.largest(-low), group.largest(high)
    low, high = (np.where(np.isinf(end), np.nan, end) for end in (low, high))  # missing on all processes
    missing = np.where(group.largest(missing), np.nan, low)
    return np.vstack([rows, low, high, missing]), np.append(weights, np.zeros(3))


def _padded(rows: list[np.ndarray], length: int) -> np.ndarray:
    """Return rows of one length, the last value repeated."""
    if not rows:
        return np.zeros((0, length))
    return np.stack([pad(torch.from_numpy(row)[None], (0, length - len(row)), "replicate")[0].numpy() for row in rows])


def _codes(column: np.ndarray, n_levels: int) -> np.ndarray:
    """Return the codes of levels, then n_levels for unseen and n_levels + 1 for missing ones."""
    codes = np.where(column < 0, n_levels, column)
    return np.where(np.isnan(codes), n_levels + 1, codes).astype(int)
