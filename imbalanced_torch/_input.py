"""What users pass, checked: X of any kind, labels and sample weights in; arrays, class codes and errors out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data
from skorch.helper import SliceDataset
from torch.utils.data import Dataset

from imbalanced_torch._hyperparameters import listed
from imbalanced_torch._rows import n_rows, row_shape

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
#: Labels that are turned into codes at once.
_CHUNK = 1 << 20


def check_X(estimator: Any, X: Any, *, reset: bool, allow_nan: bool) -> Any:
    """Return X as an array, CSR matrix, dict of arrays or Dataset; raise if it is not finite or has other columns.

    `reset` takes the columns as they are and stores them on the estimator; else they must be those of `fit`.
    """
    if not reset and _is_as_in_fit(estimator, X, allow_nan):
        return X
    finite: Any = "allow-nan" if allow_nan else True
    if reset:
        for name in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(name, None)
    if isinstance(X, Dataset | SliceDataset):
        if not hasattr(X, "__len__"):
            raise TypeError(f"X as a Dataset must have a length, to be split and sampled; {type(X).__name__} has none.")
        checked: Any = X
    elif isinstance(X, Mapping) and not issparse(X):  # scipy's dok format is a dict too
        if not X:
            raise ValueError("X is an empty dict; it must hold an array for each argument of the module's forward.")
        checked = {
            key: _numeric(f"X[{key!r}]", check_array, values, ensure_2d=False, ensure_all_finite=finite)
            for key, values in X.items()
        }
        lengths = {key: len(values) for key, values in checked.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the arrays in X must have as many rows as each other; they have {lengths}.")
    else:
        X = X.detach().cpu() if isinstance(X, torch.Tensor) else X
        check = partial(validate_data, estimator)
        checked = _numeric("X", check, X, reset=reset, accept_sparse="csr", ensure_all_finite=finite)
    if n_rows(checked) == 0:
        raise ValueError("X must have at least one row; it has none.")
    if reset:
        estimator.row_shape_ = row_shape(checked)
    elif None not in (row_shape(checked), estimator.row_shape_) and row_shape(checked) != estimator.row_shape_:
        raise ValueError(
            f"X has rows of shape {row_shape(checked)}, but {type(estimator).__name__} was fitted on rows of shape "
            f"{estimator.row_shape_}."
        )
    return checked


def _is_as_in_fit(estimator: Any, X: Any, allow_nan: bool) -> bool:
    """Whether X is an array that passes every check: what scikit-learn's take for one row is more than a small net."""
    return (
        type(X) is np.ndarray
        and X.dtype in _FLOATS
        and X.ndim > 1
        and X.shape[1:] == estimator.row_shape_
        and len(X) > 0
        and not hasattr(estimator, "feature_names_in_")
        and (allow_nan or bool(np.isfinite(_sum(X))))
    )


def _sum(X: np.ndarray) -> float:
    return torch.from_numpy(X).sum().item() if X.flags.writeable and X.flags.c_contiguous else X.sum()


def _numeric(name: str, check: Callable[..., Any], values: Any, **kwargs: Any) -> Any:
    """Return what scikit-learn's check makes of the values, as numbers."""
    try:
        checked = check(values, allow_nd=True, **kwargs)
        if checked.dtype.kind == "O":  # a table of mixed types, which scikit-learn lets through
            checked = check_array(
                checked, dtype=np.float64, allow_nd=True, ensure_all_finite=kwargs["ensure_all_finite"]
            )
        return checked
    except ValueError as error:
        if "convert string" not in str(error) and "arrays of bytes/strings" not in str(error):
            raise
        raise ValueError(
            f"{name} must hold numbers: {str(error).rstrip('.')}. Encode categories first, for example with a "
            "ColumnTransformer and OneHotEncoder in a Pipeline."
        ) from error


def check_y(estimator: Any, y: Any, X: Any) -> np.ndarray:
    """Return the labels as an array, shape (n,)."""
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    if not (type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iub"):  # whole numbers are labels as they are
        y = _labels(y)
    if len(y) != n_rows(X):
        raise ValueError(
            "y must have one label for each row of X; found input variables with inconsistent numbers of samples: "
            f"{[n_rows(X), len(y)]}."
        )
    return y


def _labels(y: Any) -> np.ndarray:
    """Return labels of any kind as an array; raise if one is missing, or if they are no classes."""
    y = column_or_1d(y, warn=True)
    missing = _missing(y)
    if missing.any():
        raise ValueError(
            f"y must have a label in every row; it is missing in {missing.sum()} of {len(y)} rows, the first of them "
            f"row {missing.argmax()}."
        )
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    return y


def check_sample_weight(sample_weight: Any, n: int) -> np.ndarray | None:
    """Return the weights as a float array of shape (n,), or None."""
    if sample_weight is None:
        return None
    if np.isscalar(sample_weight):
        sample_weight = np.full(n, sample_weight)
    weights = check_array(
        sample_weight, ensure_2d=False, allow_nd=True, dtype=[np.float64, np.float32], input_name="sample_weight"
    )
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight must have shape ({n},), one weight for each row; it has shape {weights.shape}."
        )
    if (weights < 0).any():
        raise ValueError(f"sample_weight must not be negative; row {(weights < 0).argmax()} has {weights.min()}.")
    if not weights.any():
        raise ValueError("sample_weight must be positive in some row; all weights are zero.")
    return weights


def encode(y: np.ndarray, classes: np.ndarray, source: str) -> np.ndarray:
    """Return the codes of labels, in few bytes; raise for a label that is not in `classes`, which `source` gave."""
    few = [dtype for dtype in (np.uint8, np.int16, np.int32) if len(classes) - 1 <= np.iinfo(dtype).max]
    codes = np.empty(len(y), dtype=few[0])
    for start in range(0, len(y), _CHUNK):
        part = y[start : start + _CHUNK]
        found = np.minimum(np.searchsorted(classes, part), len(classes) - 1)
        unknown = classes[found] != part
        if unknown.any():
            raise ValueError(
                f"y has labels that are not in {source}: {listed(np.unique(part[unknown]))}. The classes are "
                f"{listed(classes)}."
            )
        codes[start : start + _CHUNK] = found
    return codes


def _missing(y: np.ndarray) -> np.ndarray:
    if y.dtype.kind == "f":
        return np.isnan(y)
    if y.dtype.kind != "O":
        return np.zeros(len(y), dtype=bool)
    return np.array(
        [
            label is None
            or type(label).__name__ in ("NAType", "NaTType")
            or (isinstance(label, float) and label != label)
            for label in y
        ]
    )
