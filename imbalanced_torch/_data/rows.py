"""Rows of X of any kind, as tensors: one row or a batch of them, with their class codes and weights."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import Dataset, Subset, default_collate

from imbalanced_torch._data.values import check_range, dense, named, native, readable

#: Bytes of rows that are made dense, or converted, at once.
_CHUNK_BYTES = 64 << 20
#: Rows that are counted at once.
_AT_ONCE = 1 << 20
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
    collate : callable or None
        A collate function of the user's, from a list of rows (x, code) to a batch: rows of a Dataset reach it as the
        Dataset gives them.

    Attributes
    ----------
    X, y
        X of these very rows as the user gave it, and their class codes, as in skorch's Dataset.
    """

    def __init__(
        self,
        X: Any,
        index: np.ndarray | None = None,
        codes: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        dtype: torch.dtype | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self.source = X
        self.collate = None if collate is None else Collate(collate)
        self.index = index
        self.codes = codes
        self.sample_weight = sample_weight
        self.dtype = dtype
        #: X, codes and sample weights on a GPU, where they stay.
        self.resident: tuple[torch.Tensor, ...] | None = None

    def __len__(self) -> int:
        return n_rows(self.source) if self.index is None else len(self.index)

    @property
    def X(self) -> Any:
        """X of these rows, as the user gave it."""
        return self.source if self.index is None else _taken(self.source, self.index)

    @property
    def y(self) -> np.ndarray | None:
        """Class codes of these rows."""
        return None if self.codes is None else self.codes.astype(np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of X of these rows, where X is one array or matrix."""
        shape = row_shape(self.source)
        if not isinstance(shape, tuple):
            raise AttributeError(f"rows of a {type(self.source).__name__} have no one shape")
        return (len(self), *shape)

    def __getitem__(self, position: Any) -> tuple[Any, Target]:
        """Return X and target of one row."""
        if self.collate is not None and row_shape(self.source) is None:
            place = int(position) if self.index is None else int(self.index[position])
            return _x_of(_row_of(self.source, place), place), _unbatch(self._target(torch.tensor([int(position)])))
        X, target = self.batch([int(position)])
        return _unbatch(X), _unbatch(target)

    def first_batch(self) -> tuple[Any, torch.Tensor]:
        """Return X and codes of two rows, or of one where there is no other, as training will see them."""
        positions = range(min(2, len(self)))
        X, target = self.batch(positions) if self.collate is None else self.collate([self[i] for i in positions])
        return X, codes_and_weights(target)[0]

    def batch(self, positions: Any) -> tuple[Any, Target]:
        """Return X and targets of several rows."""
        places = torch.as_tensor(positions)
        if self.resident is not None:
            places = places.to(self.resident[0].device)
            X, codes, *weights = (values.index_select(0, places) for values in self.resident)
            return X, (codes, weights[0]) if weights else codes
        return self._inputs(places), self._target(places)

    def _target(self, places: torch.Tensor) -> Target:
        if self._codes is None:
            return torch.zeros(len(places), dtype=torch.int64)
        codes = self._codes.index_select(0, places).long()
        if self.sample_weight is None:
            return codes
        floating = self.dtype if self.dtype is not None and self.dtype.is_floating_point else torch.float32
        return codes, torch.as_tensor(self.sample_weight[places.numpy()], dtype=floating)

    __getitems__ = batch  # what data loaders ask for, where it is there

    def inputs(self, part: slice) -> Any:
        """Return X of consecutive rows, without a copy where X is an array of the right dtype that torch can take."""
        if self.index is None and isinstance(self.source, np.ndarray):
            writeable = self._view is not None and self.source.flags.writeable
            return self._cast(self._view[part]) if writeable else self._tensor(self.source[part])  # type: ignore[index]
        return self._inputs(torch.arange(*part.indices(len(self))))

    def own_inputs(self, part: slice) -> Any:
        """Return X of consecutive rows in memory of its own, for modules that may write into their input."""
        return self._inputs(torch.arange(*part.indices(len(self))))

    def at_once(self, most: int) -> int:
        """Return how many rows to gather at once: `most`, or as many as take the memory that is kept for them."""
        if len(self) == 1:
            return most
        shapes = [shape for shape in named(row_shape(self.source)).values() if shape is not None]
        size = 8 if self.dtype is None else self.dtype.itemsize
        return max(1, min(most, _CHUNK_BYTES // (size * max(1, sum(map(math.prod, shapes))))))

    def not_finite(self) -> str:
        """Return which row of a Dataset has values that are not finite, as a sentence; nothing where none has."""
        for at, X in self._one_by_one():
            for name, values in named(X).items():
                bad = values[~torch.isfinite(values)]
                if len(bad):
                    row = at if self.index is None else int(self.index[at])
                    dtype = str(values.dtype).removeprefix("torch.")
                    return f"{name} must be finite in {dtype}; row {row} of the Dataset holds {bad[0].item()}."
        return ""

    def other_than(self, shape: Any) -> Any:
        """Return the shape of the first row of a Dataset that has another than this; None if there is no such row."""
        shapes = (shape_of_rows(X) for _, X in self._one_by_one())
        return next((found for found in shapes if shape is not None and found != shape), None)

    def _one_by_one(self) -> Iterator[tuple[int, Any]]:
        """Give the rows of a Dataset, to find one at fault; others were checked when they came in."""
        if row_shape(self.source) is None:
            with suppress(Exception):  # of the Dataset's own: the fault that is known already is told
                for at in range(len(self)):
                    yield at, self.inputs(slice(at, at + 1))

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
        """X, where it is an array of a type that torch gathers rows of; to be read alone, as X may be read-only."""
        if (
            not isinstance(self.source, np.ndarray) or self.source.dtype not in _GATHERED
        ):  # of this machine's byte order
            return None
        if not self.source.flags.aligned:
            return None
        try:
            if self.source.flags.writeable:
                return torch.from_numpy(self.source)
            with warnings.catch_warnings():  # torch warns of read-only memory, in which nothing is written
                warnings.simplefilter("ignore")
                return torch.from_numpy(self.source)
        except ValueError:  # strides that are negative, or no multiple of the size of a value
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
            self._cast(self._view.index_select(0, places))
            if self._view is not None
            else self._gather(self.source, places)
        )

    def converted(self, dtype: torch.dtype | None) -> Rows:
        """Return these rows, whose values become of another dtype."""
        return self._like(dtype=dtype)

    def weighing_one(self, mean: float | None = None) -> Rows:
        """Return these rows with sample weights of mean 1, or divided by the mean of more rows than these."""
        weights = self.sample_weight
        if weights is None:
            return self
        return self._like(sample_weight=weights / (weights.mean() if mean is None else mean))

    def _like(self, **other: Any) -> Rows:
        collate = None if self.collate is None else self.collate.function
        own = {name: getattr(self, name) for name in ("index", "codes", "sample_weight", "dtype")}
        return Rows(self.source, **{**own, "collate": collate, **other})

    def part(self, positions: np.ndarray) -> Rows:
        """Return some of these rows."""
        return self._like(
            index=positions if self.index is None else self.index[positions],
            codes=None if self.codes is None else self.codes[positions],
            sample_weight=None if self.sample_weight is None else self.sample_weight[positions],
        )

    def _gather(self, X: Any, places: torch.Tensor) -> Any:
        if isinstance(X, Mapping):
            return {key: self._gather(values, places) for key, values in X.items()}
        if isinstance(X, np.ndarray):
            return self._tensor(X.take(places.numpy(), axis=0))
        if sparse.issparse(X):
            rows = X[places.numpy()]  # a type of fewer bytes is taken on before there are many
            return self._tensor((rows if self.dtype is None else rows.astype(_NUMPY[self.dtype])).toarray())
        # A torch Dataset: its rows may be (x, y); y came beside it.
        return self._cast(_collated([_x_of(_row_of(X, place), place) for place in places.tolist()], places.tolist()))

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        """Return an array as a tensor, in memory of its own unless torch can take the array's as it is."""
        return torch.from_numpy(native(values if self.dtype is None else values.astype(_NUMPY[self.dtype], copy=False)))

    def _cast(self, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {key: self._cast(value) for key, value in values.items()}
        return values if self.dtype is None or values.dtype == self.dtype else values.to(self.dtype)


@dataclass
class Collate:
    """A collate function of the user's, whose StopIteration would end an epoch without a word."""

    function: Callable[[list[Any]], Any]

    def __call__(self, rows: list[Any]) -> Any:
        """Return the batch."""
        try:
            return self.function(rows)
        except StopIteration as error:
            raise RuntimeError("the collate function raises StopIteration; it must return a batch.") from error


def _unbatch(values: Any) -> Any:
    """Return the only row of a batch."""
    if isinstance(values, Mapping):
        return {key: _unbatch(value) for key, value in values.items()}
    return tuple(map(_unbatch, values)) if isinstance(values, tuple) else values[0]


class RowDataset(Dataset[Any]):
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


def codes_and_weights(target: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Split a batch's target into class codes and sample weights, None where there are none.

    A collate function of the user's may make floats of codes, and one tensor, shape (n, 2), of pairs.
    """
    if isinstance(target, tuple | list):
        codes, weights = target
    else:
        codes, weights = target.unbind(1) if target.ndim == 2 and target.shape[1] == 2 else (target, None)
    return (codes.long() if codes.is_floating_point() else codes), weights


def class_counts(codes: np.ndarray, n_classes: int, sample_weight: np.ndarray | None = None) -> np.ndarray:
    """Return the rows of each class, or the sum of their weights, shape (K,); in parts, for bincount widens codes."""
    counts = np.zeros(n_classes, dtype=np.int64 if sample_weight is None else np.float64)
    for start in range(0, len(codes), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        counts += np.bincount(codes[part], None if sample_weight is None else sample_weight[part], n_classes)
    return counts


def n_rows(X: Any) -> int:
    """Return the number of rows of X of any kind."""
    if isinstance(X, Mapping):
        return n_rows(next(iter(X.values())))
    return X.shape[0] if sparse.issparse(X) else len(X)


_GATHERED = tuple(map(np.dtype, ("f4", "f8", "f2", "i8", "i4", "i2", "i1", "u1", "?")))
_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16, torch.int64: np.int64}


def _taken(X: Any, index: np.ndarray) -> Any:
    """Return rows of X of any kind, a torch Subset of a Dataset."""
    if isinstance(X, Mapping):
        return {key: _taken(values, index) for key, values in X.items()}
    return X[index] if _is_array(X) else Subset(X, index.tolist())


def _row_of(X: Any, place: int) -> Any:
    """Return a row of a Dataset."""
    try:
        return X[place]
    except StopIteration as error:  # which would end the epoch without a word
        raise RuntimeError(
            f"X as a Dataset of length {len(X)} must have a row for each index below that; row {place} raises "
            "StopIteration."
        ) from error


def _x_of(row: Any, place: int) -> Any:
    """Return X of a Dataset's row."""
    if isinstance(row, tuple | list):
        if not row:
            raise ValueError(f"X as a Dataset must have rows x or (x, y); row {place} is empty.")
        row = row[0]
    if isinstance(row, dict):
        return {key: _of_row(f"X[{key!r}] of row {place}", value) for key, value in row.items()}
    return _of_row(f"X of row {place}", row)


def _of_row(name: str, values: Any) -> Any:
    return native(readable(name, values)) if isinstance(values, np.ndarray) else values


def _collated(rows: list[Any], places: list[int]) -> Any:
    """Return rows of a Dataset as a tensor or a dict of tensors, out of any graph."""
    must = "X as a Dataset must have rows of numbers in arrays of one shape, or in dicts of such arrays"
    instead = "Set iterator_train__collate_fn and iterator_valid__collate_fn to make batches of other rows."
    try:
        batch = default_collate(rows)
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        first, *others = [_outline(row) for row in rows]
        other = next((f", and row {at} {row}" for at, row in zip(places[1:], others, strict=True) if row != first), "")
        raise ValueError(f"{must}; row {places[0]} {first}{other or f': {error}'}. {instead}") from error
    for name, values in named(batch).items():
        if not isinstance(values, torch.Tensor):
            raise TypeError(f"{must}; row {places[0]} {_outline(rows[0])}. {instead}")
        if 0 in dense(name, values).shape[1:]:
            shape = tuple(values.shape[1:])
            raise ValueError(f"{name} must have at least one value in each row; its rows are of shape {shape}.")
    return (
        {key: dense("X", values) for key, values in batch.items()} if isinstance(batch, Mapping) else dense("X", batch)
    )


def _outline(row: Any) -> str:
    """Return what a row is, in a few words."""
    if isinstance(row, Mapping):
        return "is a dict in which " + ", ".join(f"{key!r} {_outline(value)}" for key, value in row.items())
    return f"has shape {tuple(row.shape)}" if getattr(row, "shape", ()) else f"is a {type(row).__name__}"


def _is_array(X: Any) -> bool:
    return isinstance(X, np.ndarray) or sparse.issparse(X)


def is_matrix(X: Any) -> bool:
    """Whether X has rows and columns and nothing else: a 2-d array or a CSR matrix."""
    return _is_array(X) and X.ndim == 2


def row_shape(X: Any) -> Any:
    """Return the shape of one row: a tuple, a dict of them for a dict, None for a Dataset."""
    if isinstance(X, Mapping):
        return {key: row_shape(values) for key, values in X.items()}
    return tuple(X.shape[1:]) if _is_array(X) else None


def shape_of_rows(batch: Any) -> Any:
    """Return the shape of one row of a batch: a tuple, or a dict of them."""
    if isinstance(batch, Mapping):
        return {key: shape_of_rows(values) for key, values in batch.items()}
    return tuple(getattr(batch, "shape", ())[1:])


def resolve_dtype(dtype: Any, rows: Rows, device: str | torch.device | None) -> torch.dtype | None:
    """Turn the hyperparameter into the dtype that values of X become; None leaves them as they are.

    "auto": float64 stays, ints and bools become float64, except on devices that are slow at it or lack it (float32);
    float32 stays; float16 becomes float32. What a collate function of the user's makes of a Dataset stays as it is, and
    the module follows its floats.
    """
    if dtype is None:
        return None
    if isinstance(dtype, str) and dtype == "auto":
        doubles = device is None or torch.device(device).type not in ("cuda", "mps")  # None: accelerate decides
        X = rows.source
        if rows.collate is not None and row_shape(X) is None:
            floats = {values.dtype for values in _tensors(rows.first_batch()[0]) if values.is_floating_point()}
            return None if not floats else torch.float64 if doubles and torch.float64 in floats else torch.float32
        single = {torch.float32, torch.float16, torch.bfloat16}
        return torch.float64 if doubles and not all(found in single for found in _dtypes(X)) else torch.float32
    if isinstance(dtype, torch.dtype):
        found = dtype
    else:
        try:
            of_numpy = np.dtype(dtype)
            # torch 2.6 divides by the size of a word of no letters.
            found = torch.from_numpy(np.empty(0, of_numpy)).dtype if of_numpy.kind in "biuf" else torch.bool
        except (TypeError, ValueError, OverflowError):
            found = torch.bool
    accepted = [known for known in _NUMPY if known != torch.float16]  # in which Adam's epsilon is 0
    if found not in accepted:
        raise ValueError(f'dtype must be "auto", None or one of {[str(known) for known in accepted]}; it is {dtype!r}.')
    return found


def _tensors(batch: Any) -> list[torch.Tensor]:
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else [batch]
    return [part for part in parts if isinstance(part, torch.Tensor)]


def _dtypes(X: Any) -> list[torch.dtype]:
    if isinstance(X, Mapping):
        return [dtype for values in X.values() for dtype in _dtypes(values)]
    if _is_array(X):
        kinds = {np.dtype(np.float32): torch.float32, np.dtype(np.float16): torch.float16}
        return [kinds.get(np.dtype(X.dtype).newbyteorder("="), torch.float64)]
    try:
        row = Rows(X)[0][0]
    except (ValueError, TypeError):  # rows that the user's own loader makes batches of
        return []
    return [value.dtype for value in (row.values() if isinstance(row, Mapping) else [row])]


def ints_in(X: Any) -> list[str]:
    """Return the names of what holds ints: X, or entries of a dict."""
    try:
        row = Rows(X)[0][0]
    except (ValueError, TypeError):  # rows that the user's own loader makes batches of
        return []
    return [n for n, value in named(row).items() if not (value.is_floating_point() or value.dtype == torch.bool)]


def check_fits(X: Any, dtype: torch.dtype | None, columns: Any = None) -> None:
    """Raise if X, an array or a dict of arrays, has values that become infinite or others in `dtype`."""
    if dtype is None or (isinstance(X, np.ndarray) and X.dtype == _NUMPY[dtype]):
        return
    if row_shape(X) is not None:
        for name, values in named(X).items():
            check_range(name, values, np.dtype(_NUMPY[dtype]), columns)
