"""What users pass, checked: X of any kind, labels and sample weights in; arrays, class codes and errors out."""

from __future__ import annotations

import re
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
from torch.utils.data import DataLoader, Dataset

from imbalanced_torch._data.columns import Columns, is_table
from imbalanced_torch._data.rows import n_rows, row_shape
from imbalanced_torch._data.values import check_format, check_numbers, kind, named, native, readable
from imbalanced_torch._group.processes import ALONE, Group
from imbalanced_torch._parameters.values import listed

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
#: Labels that are turned into codes at once.
_CHUNK = 1 << 20


def check_X(
    estimator: Any, X: Any, *, reset: bool, finite: bool | str, encodes: bool = False, group: Group = ALONE
) -> Any:
    """Return X as an array, CSR matrix, dict of arrays or Dataset; raise if it is not finite or has other columns.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    X : what the user passes
    reset : bool
        Whether to take the columns as they are and store them on the estimator; else they must be those of `fit`.
    finite : bool or "allow-nan"
        Whether values must be finite, NaN aside where that is said.
    encodes : bool
        Whether categories and missing values of a table become numbers here.
    group : Group
        The processes of the fit: their tables have the same columns, and the levels that any of them has.
    """
    if not reset and _is_as_in_fit(estimator, X, finite):
        return X
    if reset:
        for name in ("n_features_in_", "feature_names_in_", "columns_"):
            vars(estimator).pop(name, None)
    columns = getattr(estimator, "columns_", None)
    if is_table(X) and (encodes if reset else columns is not None):
        return _table(estimator, X, reset, finite, group)
    if columns is not None and "category" in columns.kinds:
        raise ValueError(
            f"X must be a table, as in fit, for {type(estimator).__name__} has learned categories by name: "
            f"{listed([n for n, kind in zip(columns.names, columns.kinds, strict=True) if kind == 'category'])}. It is "
            f"of the type {type(X).__name__}."
        )
    if isinstance(X, Dataset | SliceDataset):
        checked = _dataset(X)
    elif isinstance(X, Mapping) and not issparse(X):  # scipy's dok format is a dict too
        checked = _entries(X, finite=bool(finite))
    elif isinstance(X, DataLoader):
        raise TypeError(
            "X must be an array, a table, a dict of arrays or a Dataset; it is a DataLoader. Pass its dataset, and "
            "what it does as batch_size, sampling and iterator_train__*."
        )
    elif hasattr(X, "collect_schema") and not is_table(X):
        raise TypeError(
            f"X must be an array, a table, a dict of arrays or a Dataset; it is a {type(X).__name__}, whose rows are "
            "not computed yet. Pass X.collect()."
        )
    else:
        check = partial(validate_data, estimator)
        finite = True if finite and getattr(X, "ndim", 2) > 2 else finite  # NaN is a missing value in columns
        checked = _numeric("X", check, X, reset=reset, accept_sparse="csr", ensure_all_finite=finite)
    _check_shape(estimator, checked, reset)
    return checked


def _table(estimator: Any, X: Any, reset: bool, finite: bool | str, group: Group) -> np.ndarray:
    """Return the values of a table, its columns found by name."""
    if 0 in X.shape:
        raise ValueError(f"X must have at least one row and one column; it is a table of shape {X.shape}.")
    columns = Columns.merged(group.gathered(Columns.of(X))) if reset else estimator.columns_
    values = columns.values(X)
    if finite and (bad := np.isinf(values).any(axis=0)).any():
        named = [columns.names[j] for j in np.flatnonzero(bad).tolist()]
        raise ValueError(f"X must be finite; there is infinity in {listed(named)}.")
    if reset:
        estimator.columns_ = columns
        estimator.n_features_in_ = len(columns.names)
        estimator.row_shape_ = values.shape[1:]
        if all(isinstance(name, str) for name in columns.names):
            estimator.feature_names_in_ = np.array(columns.names, dtype=object)
    return values


def _dataset(X: Any) -> Any:
    if not hasattr(X, "__len__"):
        raise TypeError(f"X as a Dataset must have a length, to be split and sampled; {type(X).__name__} has none.")
    return X


def _entries(X: Mapping[Any, Any], finite: bool) -> dict[Any, np.ndarray]:
    """Return the entries of a dict as arrays of one length."""
    if not X:
        raise ValueError("X is an empty dict; it must hold an array for each argument of the module's forward.")
    checked = {key: _entry(f"X[{key!r}]", values, finite) for key, values in X.items()}
    lengths = {key: len(values) for key, values in checked.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the arrays in X must have as many rows as each other; they have {lengths}.")
    return checked


def _check_shape(estimator: Any, checked: Any, reset: bool) -> None:
    """Raise for no rows, or rows of no values or of another shape than in `fit`."""
    if n_rows(checked) == 0:
        raise ValueError("X must have at least one row; it has none.")
    for name, shape in named(row_shape(checked)).items():
        if shape is not None and 0 in shape:
            raise ValueError(f"{name} must have at least one value in each row; its rows are of shape {shape}.")
    if reset:
        estimator.row_shape_ = row_shape(checked)
    elif None not in (row_shape(checked), estimator.row_shape_) and row_shape(checked) != estimator.row_shape_:
        raise ValueError(
            f"X has rows of shape {row_shape(checked)}, but {type(estimator).__name__} was fitted on rows of shape "
            f"{estimator.row_shape_}."
        )


def _is_as_in_fit(estimator: Any, X: Any, finite: bool | str) -> bool:
    """Whether X is an array that passes every check: what scikit-learn's take for one row is more than a small net."""
    return (
        type(X) is np.ndarray
        and X.dtype in _FLOATS
        and X.ndim > 1
        and X.shape[1:] == estimator.row_shape_
        and len(X) > 0
        and not hasattr(estimator, "feature_names_in_")
        and (finite is False or bool(np.isfinite(_sum(X))) or (finite == "allow-nan" and not np.isinf(X).any()))
    )


def _sum(X: np.ndarray) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        try:
            return torch.from_numpy(X).sum().item() if X.flags.carray else X.sum()
        except ValueError:  # strides that torch does not take
            return X.sum()


def _entry(name: str, values: Any, finite: Any) -> np.ndarray:
    """Return one entry of a dict as an array."""
    values = readable(name, values)
    if np.ndim(values) == 0:
        raise ValueError(
            f"{name} must hold a value for each row; it is one value. A dict of one row has lists of length 1."
        )
    return _numeric(name, check_array, values, ensure_2d=False, ensure_all_finite=finite, input_name=name)


def _numeric(name: str, check: Callable[..., Any], values: Any, **kwargs: Any) -> Any:
    """Return what scikit-learn's check makes of the values, as numbers."""
    values = readable(name, values)
    check_numbers(name, values, words=True)
    if isinstance(values, np.ndarray) and values.dtype.kind == "O":
        _check_ints(name, values)
    try:
        with np.errstate(invalid="ignore"):  # scikit-learn sums the largest numbers to see whether all are finite
            checked = check(values, allow_nd=True, **kwargs)
        if checked.dtype.kind == "O":  # a table of mixed types, which scikit-learn lets through
            checked = check_array(
                checked, dtype=np.float64, allow_nd=True, ensure_all_finite=kwargs["ensure_all_finite"]
            )
    except (ValueError, TypeError, OverflowError) as error:
        text = str(error)
        if "convert string" in text or "arrays of bytes/strings" in text:
            raise ValueError(
                f"{name} must hold numbers: {text.rstrip('.')}. Encode categories first, for example with a "
                "ColumnTransformer and OneHotEncoder in a Pipeline."
            ) from error
        if "does not accept missing values" in text:  # scikit-learn's, which goes on about estimators of its own
            first = text.partition("\n")[0].rstrip(".")
            raise ValueError(
                f"{first}. Impute them, for example with SimpleImputer in a Pipeline, or declare allow_nan = True on "
                "the module, or on the function that makes it, if it takes them."
            ) from error
        if re.search(rf"\b{re.escape(name)}", text) or "feature names" in text:
            raise
        kinds = ValueError if isinstance(error, OverflowError) else type(error)
        raise kinds(f"{name} must be an array of numbers: {text}") from error
    if issparse(checked):
        check_format(name, checked)
    return checked


def _check_ints(name: str, values: np.ndarray) -> None:
    large = next((v for v in values.flat if isinstance(v, int) and not -(2**63) <= v < 2**64), None)
    if large is not None:
        raise ValueError(
            f"{name} must hold ints of at most 64 bits, or floats; it holds one of {len(str(abs(large)))} digits."
        )


def check_y(estimator: Any, y: Any, X: Any) -> np.ndarray:
    """Return the labels as an array, shape (n,)."""
    if y is None:
        beside = " Labels in the rows of a Dataset are not read: pass them as y too." if row_shape(X) is None else ""
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.{beside}")
    if not (type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iub"):  # whole numbers are labels as they are
        y = _readable_labels("y", y)
        if np.ndim(y) > 2:
            raise ValueError(f"y must be a 1-d array of labels; it has shape {np.shape(y)}.")
        y = _labels("y", column_or_1d(y, warn=True))
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
    if len(y) != n_rows(X):
        raise ValueError(
            "y must have one label for each row of X; found input variables with inconsistent numbers of samples: "
            f"{[n_rows(X), len(y)]}."
        )
    return y


def check_classes(classes: Any) -> np.ndarray:
    """Return the labels that there will be, sorted, shape (K,)."""
    labels = np.asarray(_readable_labels("classes", classes))
    if labels.ndim != 1:
        raise ValueError(f"classes must be a 1-d array of labels; it has shape {labels.shape}.")
    labels = np.unique(_labels("classes", labels, "place"))
    assert_all_finite(labels, input_name="classes")
    if len(labels) < 2:
        raise ValueError(f"classes must have at least two labels to tell apart; it has {labels.tolist()}.")
    return labels


def _readable_labels(name: str, values: Any) -> Any:
    """Return labels of any kind as an array or a table; raise where they are nothing of the kind."""
    if isinstance(values, list | tuple) and len({isinstance(value, str) for value in values}) > 1:
        values = np.array([*values, None], dtype=object)[:-1]  # numpy would make strings of all
    values = readable(name, values)
    content = "bytes" if getattr(getattr(values, "dtype", None), "kind", None) == "S" else kind(values)
    if content in ("complex numbers", "records", "bytes"):
        note = " Complex data not supported." if content == "complex numbers" else ""  # scikit-learn's words
        raise ValueError(f"{name} must hold labels: strings, ints, bools or dates. It holds {content}.{note}")
    return values


def _labels(name: str, labels: np.ndarray, place: str = "row") -> np.ndarray:
    """Return labels of one type that can be sorted; raise if one is missing."""
    missing = _missing(labels)
    if missing.any():
        raise ValueError(
            f"{name} must have a label in every {place}; it is missing in {missing.sum()} of {len(labels)} {place}s, "
            f"the first of them {place} {missing.argmax()}."
        )
    if labels.dtype.kind != "O":
        return labels
    types = set(map(type, labels))
    if all(issubclass(one, str) for one in types):
        return labels
    if all(issubclass(one, bool | int | float | np.number | np.bool_) for one in types):
        numbers = np.array(labels.tolist())
        if numbers.dtype.kind in "iufb":
            return numbers
        raise ValueError(f"{name} must hold ints of at most 64 bits as labels; the largest is {max(labels)}.")
    raise ValueError(
        f"{name} must hold labels of one type: strings, ints, bools or numpy's dates. It holds objects of the types "
        f"{sorted(one.__name__ for one in types)}."
    )


def check_sample_weight(sample_weight: Any, n: int, group: Group = ALONE) -> np.ndarray | None:
    """Return the weights as a float array of shape (n,), or None."""
    if sample_weight is None:
        return None
    weights = readable("sample_weight", sample_weight)
    check_numbers("sample_weight", weights)
    weights = np.full(n, weights) if np.ndim(weights) == 0 else weights
    weights = _numeric(
        "sample_weight",
        check_array,
        weights,
        ensure_2d=False,
        dtype=[np.float64, np.float32],
        ensure_all_finite=True,
        input_name="sample_weight",
    )
    if weights.shape != (n,):
        raise ValueError(
            f"sample_weight must have shape ({n},), one weight for each row; it has shape {weights.shape}."
        )
    if (weights < 0).any():
        raise ValueError(f"sample_weight must not be negative; row {(weights < 0).argmax()} has {weights.min()}.")
    if not weights.any():
        raise ValueError("sample_weight must be positive in some row; all weights are zero.")
    return _summable(weights, group)


def _summable(weights: np.ndarray, group: Group) -> np.ndarray:
    """Return weights, or a power of two times as much, so that neither their sum nor their mean leaves the range."""
    largest, most = group.largest(weights.max()), np.sqrt(np.finfo(weights.dtype).max)
    if not 1 / most <= largest <= most:
        weights = np.ldexp(weights, -int(np.frexp(largest)[1]))
    return native(weights)


def encode(y: np.ndarray, classes: np.ndarray, source: str) -> np.ndarray:
    """Return the codes of labels, in few bytes; raise for a label that is not in `classes`, which `source` gave."""
    few = [dtype for dtype in (np.uint8, np.int16, np.int32) if len(classes) - 1 <= np.iinfo(dtype).max]
    codes = np.empty(len(y), dtype=few[0])
    for start in range(0, len(y), _CHUNK):
        part = y[start : start + _CHUNK]
        try:
            found = np.minimum(np.searchsorted(classes, part), len(classes) - 1)
            unknown = classes[found] != part
        except TypeError:  # labels of another type, which do not compare
            unknown = np.ones(len(part), dtype=bool)
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
    if y.dtype.kind in "mM":
        return np.isnat(y)
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
