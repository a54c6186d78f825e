"""Which member holds out which training row: every row is held out by one, and trains all others."""

from __future__ import annotations

import numpy as np

from imbalanced_torch._data.rows import class_counts
from imbalanced_torch._group.processes import ALONE, Group

#: So few rows that they are one batch, and that a row and its copies are told to be one.
FEW = 64


def deal(codes: np.ndarray, n_folds: int, seed: int, X: np.ndarray | None = None, group: Group = ALONE) -> np.ndarray:
    """Return the fold of each row, 0 to n_folds - 1: classes are dealt one after the other, so that folds are alike.

    Parameters
    ----------
    codes : int array of shape (n,)
    n_folds : int
    seed : int
    X : array of shape (n, d) or None
        Of few rows: those that are equal, their class included, go to one fold, whatever their order, so that a row of
        weight 2 is the same as two rows.
    group : Group
        The processes whose rows these are a part of: they are dealt as if they were one's, each to its own folds.
    """
    random = np.random.RandomState(seed)
    if X is not None:
        _, rows = np.unique(np.column_stack([codes, X]), axis=0, return_inverse=True)
        rows = rows.ravel()  # numpy 2.0.0 gives it two dimensions
        first = np.unique(rows, return_index=True)[1]
        return deal(codes[first], n_folds, seed)[rows]
    folds = np.empty(len(codes), dtype=np.uint8 if n_folds <= 256 else np.int32)
    counts = class_counts(codes, int(group.largest(codes.max())) + 1)
    first = np.cumsum(group.sum(counts)) - group.sum(counts) + group.before(counts)
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        folds[random.permutation(rows)] = (first[code] + np.arange(len(rows))) % n_folds
    return folds
