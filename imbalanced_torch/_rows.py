"""Rows of X of any kind, as tensors: one row or a batch of them, with their class codes and weights."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import Dataset, default_collate

from imbalanced_torch._remedy import Remedy
from imbalanced_torch._schedule import Schedule

#: Codes, or codes and sample weights where the user gave weights.
Target = torch.Tensor | tuple[torch.Tensor, torch.Tensor]


class Rows(Dataset[Any]):
    """Rows of X without a copy of X: an index says which, and each batch is gathered and converted when asked for.

    Parameters
    ----------
    X : array of shape (n, ...), CSR matrix, dict of arrays or torch Dataset
    index : int array or None
        Positions in X of these rows; None for all.
    codes : int array or None
        Class codes of these rows; None for prediction.
    sample_weight : float array or None
    dtype : torch.dtype or None
        What values become; None leaves them as they are.
    """

    def __init__(
        self,
        X: Any,
        index: np.ndarray | None = None,
        codes: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.X = X
        self.index = index
        self.codes = codes
        self.sample_weight = sample_weight
        self.dtype = dtype
        #: What multiplies the sample weights.
        self.weight_scale = 1.0
        #: X, codes and sample weights on a GPU, where they stay.
        self.resident: tuple[torch.Tensor, ...] | None = None

    def __len__(self) -> int:
        return n_rows(self.X) if self.index is None else len(self.index)

    def __getitem__(self, position: Any) -> tuple[Any, Target]:
        """Return X and target of one row."""
        X, target = self.batch([int(position)])
        return _only(X), _only(target)

    def batch(self, positions: Any) -> tuple[Any, Target]:
        """Return X and targets of several rows."""
        places = torch.as_tensor(positions)
        if self.resident is not None:
            places = places.to(self.resident[0].device)
            X, codes, *weights = (values.index_select(0, places) for values in self.resident)
            return X, (codes, self.weight_scale * weights[0]) if weights else codes
        X = self._inputs(places)
        if self._codes is None:
            return X, torch.zeros(len(places), dtype=torch.int64)
        codes = self._codes.index_select(0, places).long()
        if self.sample_weight is None:
            return X, codes
        floating = self.dtype if self.dtype is not None and self.dtype.is_floating_point else torch.float32
        weights = self.weight_scale * self.sample_weight[places.numpy()]
        return X, (codes, torch.as_tensor(weights, dtype=floating))

    __getitems__ = batch  # what data loaders ask for, where it is there

    def inputs(self, part: slice) -> Any:
        """Return X of consecutive rows, without a copy where X is an array of the right dtype."""
        if self.index is None and isinstance(self.X, np.ndarray):
            return self._tensor(self.X[part]) if self._view is None else self._cast(self._view[part])
        return self._inputs(torch.arange(*part.indices(len(self))))

    def stay_on(self, device: torch.device) -> None:
        """Move X, codes and weights to a GPU, to stay, if X is an array that takes at most half of what is free."""
        if self.resident is None and self._view is not None and self._codes is not None:
            dtype = self.dtype or self._view.dtype
            if self._view.numel() * dtype.itemsize <= torch.cuda.mem_get_info(device)[0] / 2:
                X = self._view.to(device, dtype)
                X = X if self._index is None else X.index_select(0, self._index.to(device))
                weights = [] if self.sample_weight is None else [torch.as_tensor(self.sample_weight).to(X)]
                self.resident = (X, self._codes.to(device).long(), *weights)

    # Views as tensors, made once, without a copy

    @cached_property
    def _view(self) -> torch.Tensor | None:
        """X, where it is an array of a type that torch gathers rows of."""
        if not isinstance(self.X, np.ndarray) or self.X.dtype not in _GATHERED:  # of this machine's byte order
            return None
        try:
            if self.X.flags.writeable:
                return torch.from_numpy(self.X)
            with warnings.catch_warnings():  # torch warns of read-only memory, in which nothing is written
                warnings.simplefilter("ignore")
                return torch.from_numpy(self.X)
        except ValueError:  # negative strides
            return None

    @cached_property
    def _codes(self) -> torch.Tensor | None:
        return None if self.codes is None else torch.from_numpy(self.codes)

    @cached_property
    def _index(self) -> torch.Tensor | None:
        return None if self.index is None else torch.from_numpy(self.index)

    def _inputs(self, places: torch.Tensor) -> Any:
        places = places if self._index is None else self._index.index_select(0, places)
        return (
            self._cast(self._view.index_select(0, places)) if self._view is not None else self._gather(self.X, places)
        )

    def part(self, positions: np.ndarray) -> Rows:
        """Return some of these rows."""
        return Rows(self.X, *self.select(positions), self.dtype)

    def select(self, positions: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """Return index, codes and sample weights of some of these rows; None takes all."""
        if positions is None:
            return self.index, self.codes, self.sample_weight
        return (
            positions if self.index is None else self.index[positions],
            None if self.codes is None else self.codes[positions],
            None if self.sample_weight is None else self.sample_weight[positions],
        )

    def _gather(self, X: Any, places: torch.Tensor) -> Any:
        if isinstance(X, Mapping):
            return {key: self._gather(values, places) for key, values in X.items()}
        if isinstance(X, np.ndarray):
            return self._tensor(X.take(places.numpy(), axis=0))
        if sparse.issparse(X):
            return self._tensor(X[places.numpy()].toarray())
        # A torch Dataset: its rows may be (x, y); y came beside it.
        return self._cast(default_collate([_x_of(X[place]) for place in places.tolist()]))

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        if self.dtype is not None:  # in numpy, which knows types and byte orders that torch does not
            values = values.astype(_NUMPY[self.dtype], copy=False)
        return torch.as_tensor(values if values.flags.writeable else values.copy())  # torch warns of read-only memory

    def _cast(self, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {key: self._cast(value) for key, value in values.items()}
        return values if self.dtype is None or values.dtype == self.dtype else values.to(self.dtype)


def _only(values: Any) -> Any:
    """Return the only row of a batch."""
    if isinstance(values, Mapping):
        return {key: _only(value) for key, value in values.items()}
    return tuple(map(_only, values)) if isinstance(values, tuple) else values[0]


class OneByOne(Dataset[Any]):
    """Rows without their batches: for loaders that collate rows themselves."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: Any) -> tuple[Any, Target]:
        try:
            index = operator.index(position)
        except (TypeError, RuntimeError):
            index = -1
        if not 0 <= index < len(self.rows):
            raise ValueError(
                f"a sampler in iterator_train or iterator_valid must give positions of rows, ints from 0 to "
                f"{len(self.rows) - 1}; it gives {position!r}."
            )
        return self.rows[index]


class TrainingRows(Rows):
    """The rows that the net learns from, in the batches that it learns them in, and the rows held out."""

    remedy: Remedy
    schedule: Schedule | None = None
    validation: Rows | None = None


def codes_and_weights(target: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Split a batch's target into class codes and sample weights, None where there are none."""
    return (target[0], target[1]) if isinstance(target, tuple | list) else (target, None)


def n_rows(X: Any) -> int:
    """Return the number of rows of X of any kind."""
    if isinstance(X, Mapping):
        return n_rows(next(iter(X.values())))
    return X.shape[0] if sparse.issparse(X) else len(X)


_GATHERED = tuple(map(np.dtype, ("f4", "f8", "f2", "i8", "i4", "i2", "i1", "u1", "?")))
_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16, torch.int64: np.int64}


def _x_of(row: Any) -> Any:
    return row[0] if isinstance(row, tuple | list) else row


def _is_array(X: Any) -> bool:
    return isinstance(X, np.ndarray) or sparse.issparse(X)


def row_shape(X: Any) -> Any:
    """Return the shape of one row: a tuple, a dict of them for a dict, None for a Dataset."""
    if isinstance(X, Mapping):
        return {key: row_shape(values) for key, values in X.items()}
    return tuple(X.shape[1:]) if _is_array(X) else None


def resolve_dtype(dtype: Any, X: Any, device: str | torch.device | None) -> torch.dtype | None:
    """Turn the hyperparameter into the dtype that values of X become; None leaves them as they are.

    "auto": float64 stays, ints and bools become float64, except on devices that are slow at it or lack it (float32);
    float32 stays; float16 becomes float32.
    """
    if dtype is None:
        return None
    if isinstance(dtype, str) and dtype == "auto":
        doubles = device is None or torch.device(device).type not in ("cuda", "mps")  # None: accelerate decides
        single = {torch.float32, torch.float16, torch.bfloat16}
        return torch.float64 if doubles and not all(found in single for found in _dtypes(X)) else torch.float32
    if isinstance(dtype, torch.dtype):
        found = dtype
    else:
        try:
            found = torch.from_numpy(np.empty(0, dtype=dtype)).dtype
        except (TypeError, ValueError, OverflowError):
            found = torch.bool
    accepted = [known for known in _NUMPY if known != torch.float16]  # in which Adam's epsilon is 0
    if found not in accepted:
        raise ValueError(f'dtype must be "auto", None or one of {[str(known) for known in accepted]}; it is {dtype!r}.')
    return found


def _dtypes(X: Any) -> list[torch.dtype]:
    if isinstance(X, Mapping):
        return [dtype for values in X.values() for dtype in _dtypes(values)]
    if _is_array(X):
        kinds = {np.dtype(np.float32): torch.float32, np.dtype(np.float16): torch.float16}
        return [kinds.get(np.dtype(X.dtype).newbyteorder("="), torch.float64)]
    row = Rows(X)[0][0]
    return [value.dtype for value in (row.values() if isinstance(row, Mapping) else [row])]
