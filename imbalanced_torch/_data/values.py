"""What an array holds, of any kind that users pass: numbers and labels as numpy has them, or why that cannot be."""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse

#: What is not a number, by numpy's letter for the kind of a dtype, and what to do about it in X.
_KINDS = {
    "M": ("dates", " Turn them into numbers first, for example with skrub's DatetimeEncoder in a Pipeline."),
    "m": ("durations", " Turn them into numbers first: divide them by a unit such as numpy.timedelta64(1, 's')."),
    "c": ("complex numbers", " Complex data not supported: pass their parts, such as real and imag."),
    "V": ("records", " Pass an array of one dtype: numpy.lib.recfunctions.structured_to_unstructured makes one."),
    "U": ("words", ""),
    "O": ("objects that are no numbers", ""),
}
_LETTERS = {"S": "U", "T": "U"}  # bytes and numpy's other strings
#: The same for objects, by their classes.
_CLASSES = (
    ("M", (datetime.date, datetime.time, np.datetime64)),
    ("m", (datetime.timedelta, np.timedelta64)),
    ("c", (complex, np.complexfloating)),
    ("U", (str, bytes)),
)


def readable(name: str, values: Any) -> Any:
    """Return the values as a numpy array, a table or a scipy matrix; raise where an object holds none to be read.

    `name` is what errors call the argument.
    """
    if isinstance(values, np.ma.MaskedArray):
        masked = int(np.ma.getmaskarray(values).sum())
        if masked:
            raise ValueError(
                f"{name} must have a value everywhere; it is a masked array, and {masked} of its {values.size} values "
                f"are masked. Fill them with filled(...), or leave those rows out."
            )
        return np.asarray(values.data)
    if isinstance(values, np.ndarray) and values.dtype.kind == "T":
        return np.array(values.tolist())  # scikit-learn does not know numpy's newer strings
    if isinstance(values, np.ndarray) or sparse.issparse(values) or hasattr(values, "dtypes") or _is_series(values):
        return values
    if isinstance(values, torch.Tensor):
        return _as_numpy(name, values)
    if isinstance(values, list | tuple) and any(isinstance(v, torch.Tensor | np.ma.MaskedArray) for v in values):
        values = [readable(f"{name}[{i}]", value) for i, value in enumerate(values)]
    try:
        array = np.asarray(values)
    except Exception as error:  # whatever a foreign object raises
        raise ValueError(f"{name} must be an array of one shape and type; it can't be made one: {error}") from error
    if array.ndim == 0 and array.dtype.kind == "O" and not isinstance(values, numbers.Number):
        raise TypeError(f"{name} must be an array; it is {_a(values)}.")
    return array


def _a(thing: Any) -> str:
    return "None" if thing is None else f"a {type(thing).__name__}"


def native(values: np.ndarray) -> np.ndarray:
    """Return an array in memory that torch can take: writeable, in one piece and in this machine's byte order."""
    if values.dtype.char == "g":  # long double
        return values.astype(np.float64)
    if not values.dtype.isnative:
        return values.astype(values.dtype.newbyteorder("="))
    # An axis of length 1 may have any stride, in one piece or not.
    steps_fit = all(step >= 0 and step % values.itemsize == 0 for step in values.strides)
    return values if values.flags.carray and steps_fit else values.copy()


def named(values: Any) -> dict[str, Any]:
    """Return X, or the entries of a dict, by the names that errors give them."""
    return {f"X[{key!r}]": value for key, value in values.items()} if isinstance(values, Mapping) else {"X": values}


def check_range(name: str, values: Any, dtype: np.dtype, columns: Any = None) -> None:
    """Raise if numbers of an array or a sparse matrix do not fit in another dtype."""
    given = values.data if sparse.issparse(values) else values
    if not given.size or np.can_cast(given.dtype, dtype) or given.dtype.kind + dtype.kind in ("if", "uf"):
        return
    extremes = np.array([given.min(), given.max()])
    if np.isfinite(extremes).all() and _fit(extremes, dtype).all():
        return
    bad = ~_fit(given, dtype)
    if not bad.any():
        return
    where = ""
    if values.ndim == 2:
        found = np.unique(values.indices[bad] if sparse.issparse(values) else np.nonzero(bad)[1])
        where = f" in the columns {(found if columns is None else columns[found]).tolist()}"
    raise ValueError(
        f"{name} must fit in {dtype}, the dtype that it is converted to; it holds {given[bad][0]!s}{where}. Scale it, "
        "for example with a StandardScaler, or choose another dtype."
    )


def _fit(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Say which numbers have a value in a dtype; nan and inf have one among floats."""
    with np.errstate(all="ignore"):
        if dtype.kind == "f":
            return np.isfinite(values.astype(dtype)) | ~np.isfinite(values)
        limits = np.iinfo(dtype)
        # As a float the largest int is rounded up to a power of two, which does not fit.
        below = values <= limits.max if values.dtype.kind in "iu" else values < limits.max
        return (values >= limits.min) & below


def dense(name: str, values: torch.Tensor) -> torch.Tensor:
    """Return a tensor of real numbers in memory of its own kind, out of any graph; raise if it is no such thing."""
    if values.is_meta:
        what, remedy = "on the meta device, without values", "Pass one on the CPU or a GPU."
    elif hasattr(values, "get_mask"):
        what, remedy = "masked", f"Pass {name}.to_tensor(value)."
    elif values.is_nested:
        what, remedy = "nested", f"Pad its rows to one length: {name}.to_padded_tensor(0.0)."
    elif values.layout != torch.strided:
        what, remedy = "sparse", f"Pass {name}.to_dense(), or a CSR matrix of scipy's."
    elif values.is_quantized:
        what, remedy = "quantized", f"Pass {name}.dequantize()."
    elif values.is_complex():
        what, remedy = "complex", "Complex data not supported: pass their parts, such as real and imag."
    else:
        return values.detach().resolve_neg()
    raise ValueError(f"{name} must be a dense tensor of real numbers; it is {what}. {remedy}")


def _as_numpy(name: str, values: torch.Tensor) -> np.ndarray:
    values = dense(name, values).cpu()
    if values.is_floating_point() and values.dtype not in (torch.float16, torch.float32, torch.float64):
        values = values.float()  # numpy has no bfloat16
    try:
        return values.numpy()
    except (RuntimeError, TypeError) as error:
        raise TypeError(f"{name} must be a tensor of a type that numpy has; it is {values.dtype}: {error}") from error


def check_numbers(name: str, values: Any, words: bool = False) -> None:
    """Raise if values, which `readable` returned, are not numbers; with `words`, those may be numerals."""
    if sparse.issparse(values):
        check_format(name, values)
    if hasattr(values, "dtypes") and hasattr(values, "columns"):
        if not all(getattr(dtype, "kind", "O") in "biuf" for dtype in values.dtypes):
            columns = [(column, _letter(part)) for column, part in _columns(values)]
            for letter in _KINDS:
                if found := [column for column, kind in columns if kind == letter]:
                    _refuse(name, letter, words, found)
        return
    _refuse(name, _letter(values), words)


def _refuse(name: str, letter: str, words: bool, columns: list[Any] | None = None) -> None:
    if letter not in _KINDS or (letter == "U" and words) or (letter == "O" and columns is None):
        return  # of one object float() itself says what it is
    content, remedy = _KINDS[letter]
    holds = "it holds" if columns is None else f"the columns {columns} hold"
    raise ValueError(f"{name} must hold numbers; {holds} {content}.{remedy if name.startswith('X') else ''}")


def kind(values: Any) -> str:
    """Return what values hold, in a word, if it is not numbers."""
    return _KINDS.get(_letter(values), ("",))[0]


def _letter(values: Any) -> str:
    letter = getattr(getattr(values, "dtype", None), "kind", None) or np.asarray(values[:0]).dtype.kind  # of polars
    if letter == "O" and not sparse.issparse(values):
        letter = _letter_of_objects(values.ravel() if isinstance(values, np.ndarray) else values)
    return _LETTERS.get(letter, letter)


def _letter_of_objects(values: Iterable[Any]) -> str:
    types = {type(value) for value in values if value is not None}
    letter = next((letter for letter, classes in _CLASSES if any(issubclass(t, classes) for t in types)), "f")
    return letter if letter != "f" or all(hasattr(t, "__float__") for t in types) else "O"


def _columns(table: Any) -> Iterable[tuple[Any, Any]]:
    """Return names and columns of a table of pandas or polars."""
    return table.items() if hasattr(table, "items") else ((column.name, column) for column in table.iter_columns())


def _is_series(values: Any) -> bool:
    return hasattr(values, "dtype") and hasattr(values, "to_numpy")


def check_format(name: str, X: Any) -> None:
    """Raise if a sparse matrix has indices outside of its shape, which scipy would follow out of its memory."""
    try:
        if X.format in ("csr", "csc", "bsr"):
            # On an object of our own, as the check leaves changes behind.
            block = {"blocksize": X.blocksize} if X.format == "bsr" else {}
            like = getattr(sparse, f"{X.format}_matrix")
            like((X.data, X.indices, X.indptr), shape=X.shape, copy=False, **block).check_format(full_check=True)
        elif X.format == "coo":
            for size, places in zip(X.shape, (X.row, X.col) if X.ndim == 2 else X.coords, strict=True):
                if len(places) and not 0 <= places.min() <= places.max() < size:
                    raise ValueError(f"its indices go from {places.min()} to {places.max()} where there are {size}")
        elif X.format == "lil":
            for row in X.rows:
                if len(row) and not 0 <= min(row) <= max(row) < X.shape[1]:
                    raise ValueError(f"its indices go from {min(row)} to {max(row)} where there are {X.shape[1]}")
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{name} must be a sparse matrix whose indices lie within its shape: {error}.") from error
