"""Which rows are held out to stop on: a stratified share, or what the user's `train_split` says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Subset

from imbalanced_torch._data.rows import Rows, class_counts
from imbalanced_torch._group.processes import ALONE, Group
from imbalanced_torch._parameters.names import blamed_on


def stratified_split(
    codes: np.ndarray, fraction: float, rng: np.random.RandomState, group: Group = ALONE, n_classes: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions to train on and to hold out. A class too rare to split stays in training.

    Of the rows that the processes of a group have, as many are held out as if they were one's.
    """
    held_out = np.zeros(len(codes), dtype=bool)
    quotas = {} if group.alone else dict(enumerate(_quotas(class_counts(codes, n_classes), fraction, group).tolist()))
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        n = quotas.get(int(code), min(round(fraction * len(rows)), len(rows) - 1))
        held_out[rng.permutation(rows)[:n]] = True
    if held_out.all():  # of a small shard
        held_out[rng.randint(len(codes))] = False
    if not group.total(int(held_out.sum())):
        raise ValueError(
            f"validation_fraction={fraction} of {group.total(len(codes))} rows leaves none to validate on; raise it, "
            "or set early_stopping=False."
        )
    return _positions_of(~held_out), _positions_of(held_out)


def _quotas(counts: np.ndarray, fraction: float, group: Group) -> np.ndarray:
    """Return how many rows of each class a process holds out, shape (K,): its part of what all hold out."""
    n, before = group.sum(counts), group.before(counts)
    upto, after = (np.minimum(np.round(fraction * c), np.maximum(n - 1, 0)) for c in (before, before + counts))
    return (after - upto).astype(int)


def _positions_of(chosen: np.ndarray) -> np.ndarray:
    return np.flatnonzero(chosen).astype(np.int32 if len(chosen) <= np.iinfo(np.int32).max else np.int64)


def split_by_callable(
    train_split: Any, rows: Rows, y: np.ndarray, make_rows: Callable[[Any, Any], Rows]
) -> tuple[np.ndarray, Rows | None]:
    """Return positions to train on, and the rows to validate on, from a skorch `train_split`.

    Parameters
    ----------
    train_split : tuple or callable
        X and labels to hold out. Or takes a dataset and its labels; returns two datasets as skorch's ValidSplit and
        `predefined_split` do.
    rows : Rows
    y : array of shape (n,)
        The labels of `rows`.
    make_rows : callable
        Makes rows from X and labels that are not part of `rows`.
    """
    if isinstance(train_split, tuple):
        try:
            return np.arange(len(rows)), make_rows(*train_split)
        except (TypeError, ValueError) as error:
            raise type(error)(f"train_split must hold X and y like those of fit; they are not: {error}") from error
    with blamed_on("train_split", {"train_split": train_split}, "the held-out part"):
        parts = train_split(rows, y)
    if not isinstance(parts, tuple | list) or len(parts) != 2:
        raise TypeError(
            "train_split must return two datasets, to train on and to validate on (or None); it returns "
            f"{type(parts).__name__}."
        )
    train, valid = parts
    positions = _positions(train, rows)
    if positions is None:
        raise TypeError(
            "train_split must return a part of the dataset it is given (a torch Subset of it, or all of it) to "
            f"train on; it returns {type(train).__name__}."
        )
    if valid is None:
        return positions, None
    held_out = _positions(valid, rows)
    if held_out is not None:
        return positions, rows.part(held_out) if len(held_out) else None
    if hasattr(valid, "X") and hasattr(valid, "y"):
        return positions, make_rows(valid.X, valid.y)
    return positions, make_rows(valid, np.array([valid[i][1] for i in range(len(valid))]))


def _positions(part: Dataset[Any], rows: Rows) -> np.ndarray | None:
    """Return the positions of a part of `rows`, or None if it is no part of them."""
    if part is rows:
        return np.arange(len(rows))
    if isinstance(part, Subset):
        outer = _positions(part.dataset, rows)
        return None if outer is None else outer[np.asarray(part.indices, dtype=np.intp)]
    return None
