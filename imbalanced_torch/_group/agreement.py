"""What the processes of a fit must agree on before they train: kinds of data, columns, dtypes and labels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse

from imbalanced_torch._group.processes import Group, same

#: Rows whose bytes say whether two processes hold the same ones; of fewer, two may be alike by chance.
_FIRST_ROWS, _FEWEST_ROWS = 64, 4
#: Kinds of numpy's labels that compare.
_LABELS = {"numbers": "biuf", "strings": "UO", "dates": "M", "durations": "m"}


def agree_on_X(group: Group, X: Any, sample_weight: Any) -> None:
    """Raise the same error on all processes if X is of several kinds, or only some have sample weights."""
    if group.alone:
        return
    same(group, "the kinds of X", _kind_of(X))
    given = "none" if sample_weight is None else "some"
    same(group, "sample weights", given)


def agree_on_values(group: Group, X: Any, columns: Mapping[str, Any]) -> None:
    """Raise the same error on all processes if the checked X has other columns, rows or dtypes on some.

    Parameters
    ----------
    group : Group
    X : array of shape (n, ...), CSR matrix, dict of arrays or Dataset
    columns : mapping
        Fitted attributes that say what X is like.
    """
    if group.alone:
        return
    names = columns.get("feature_names_in_")
    same(group, "the names of the columns of X", None if names is None else [str(name) for name in names])
    same(group, "the shapes of the rows of X", columns.get("row_shape_"))
    if columns.get("columns_") is None:  # a table's are converted
        same(group, "the dtypes of X", _dtypes_of(X))


def agreed_labels(group: Group, labels: np.ndarray) -> np.ndarray:
    """Return the labels that any process has, sorted; raise the same error on all if they do not compare."""
    if group.alone:
        return labels
    kind = next((name for name, letters in _LABELS.items() if labels.dtype.kind in letters), labels.dtype.name)
    same(group, "the kinds of labels in y", kind)
    return np.unique(group.joined(labels))


def warn_of_the_same_rows(group: Group, X: Any, y: np.ndarray) -> None:
    """Warn on all processes if two of them begin with the same rows, as where each has read the whole file."""
    if group.alone:
        return
    found = group.gathered(_digest(X, y))
    for rank, digest in enumerate(found):
        first = found.index(digest)
        if digest is not None and first < rank:
            warnings.warn(
                f"processes {first} and {rank} of the group begin with the same rows. Each must pass rows of its own, "
                f"such as X[{rank}::{group.size}] of data that all of them have read; else a row counts as often as it "
                "is passed.",
                UserWarning,
                stacklevel=5,  # the caller of `fit`
            )
            return


def _kind_of(X: Any) -> str:
    if sparse.issparse(X):
        return "a sparse matrix"
    if isinstance(X, Mapping):
        return f"a dict of {sorted(map(str, X))}"
    if hasattr(type(X), "columns"):
        return "a table"
    return "a Dataset" if hasattr(type(X), "__getitem__") and not hasattr(X, "shape") and _is_dataset(X) else "an array"


def _is_dataset(X: Any) -> bool:
    return not isinstance(X, list | tuple)


def _dtypes_of(X: Any) -> Any:
    if isinstance(X, Mapping):
        return {str(name): str(values.dtype) for name, values in X.items()}
    return str(getattr(X, "dtype", None))


def _digest(X: Any, y: np.ndarray) -> str | None:
    """Return a digest of the first rows; None where there are too few, or X does not tell."""
    first = next(iter(X.values())) if isinstance(X, Mapping) else X
    if len(y) < _FEWEST_ROWS or not (isinstance(first, np.ndarray) or sparse.issparse(first)):
        return None
    rows = first[:_FIRST_ROWS]
    rows = rows.toarray() if sparse.issparse(rows) else rows
    if (rows == rows[:1]).all():  # what is all alike says nothing
        return None
    sha = hashlib.sha256(np.ascontiguousarray(rows).tobytes())
    sha.update(repr(y[:_FIRST_ROWS].tolist()).encode())
    return sha.hexdigest()


def agreed_dtype(group: Group, dtype: torch.dtype | None, is_table: bool) -> torch.dtype | None:
    """Return the dtype that rows become on all processes: of tables the wider one, as of one that has all rows."""
    found = group.gathered(dtype)
    if is_table and len(set(found)) > 1:
        return torch.float64
    same(group, "the dtypes of X", str(dtype))
    return dtype
