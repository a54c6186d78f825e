"""What an array of the user's holds, whoever made it: numbers and labels as numpy has them, or why that cannot be."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse

#: What is not a number, by numpy's letter for the kind of a dtype, and what to do about it.
_KINDS = {
    "M": ("dates", "Turn dates into numbers first, for example with skrub's DatetimeEncoder in a Pipeline."),
    "m": ("durations", "Turn them into numbers first: divide them by a unit such as numpy.timedelta64(1, 's')."),
    "c": ("complex numbers", "Complex data not supported: pass their parts, such as real and imag, as numbers."),
    "V": ("records", "Pass an array of one dtype: numpy.lib.recfunctions.structured_to_unstructured makes one."),
    "U": ("words", "Turn words into numbers first."),
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
                f"are masked. Fill them ({name}.filled(...)), or leave those rows out."
            )
        return np.asarray(values.data)
    if type(values) is np.ndarray or sparse.issparse(values) or hasattr(values, "dtypes"):
        return values
    if isinstance(values, torch.Tensor):
        return _as_numpy(name, values)
    if isinstance(values, list | tuple) and any(isinstance(v, torch.Tensor | np.ma.MaskedArray) for v in values):
        values = [readable(f"{name}[{i}]", value) for i, value in enumerate(values)]
    if isinstance(values, Mapping | set | frozenset | torch.utils.data.DataLoader):
        raise TypeError(f"{name} must be an array; it is a {type(values).__name__}.")
    if isinstance(values, np.matrix) or _is_series(values):
        return values  # scikit-learn knows what to say of the one, and the missing values of the other
    try:
        return np.asarray(values)
    except Exception as error:  # whatever a foreign object raises
        raise ValueError(f"{name} must be an array of one shape and type; it can't be made one: {error}") from error


def native(values: np.ndarray) -> np.ndarray:
    """Return an array in memory that torch can take: writeable, in one piece and in this machine's byte order."""
    if values.dtype.char == "g":  # long double
        return values.astype(np.float64)
    if not values.dtype.isnative:
        return values.astype(values.dtype.newbyteorder("="))
    return values if values.flags.carray else values.copy()


def named(values: Any) -> dict[str, Any]:
    """Return X, or the entries of a dict, by the names that errors give them."""
    return {f"X[{key!r}]": value for key, value in values.items()} if isinstance(values, Mapping) else {"X": values}


def check_range(name: str, values: Any, dtype: np.dtype, columns: Any = None) -> None:
    """Raise if numbers of an array or a sparse matrix do not fit in another dtype."""
    numbers = values.data if sparse.issparse(values) else values
    if not numbers.size or np.can_cast(numbers.dtype, dtype) or numbers.dtype.kind + dtype.kind in ("if", "uf"):
        return
    if _fit([numbers.min(), numbers.max()], dtype).all():
        return
    fit = _fit(numbers, dtype)
    if fit.all():
        return
    numbers = numbers[~fit]
    where = ""
    if values.ndim == 2:
        places = values.tocoo().col[~fit] if sparse.issparse(values) else np.nonzero(~fit)[1]
        found = np.unique(places)
        found = found if columns is None else columns[found]
        where = f" in the columns {found.tolist()[:10]}"
    raise ValueError(
        f"{name} must fit in {dtype}, which dtype makes of it; it holds {numbers.flat[0]!s}{where}. Scale it, for "
        "example with a StandardScaler, or choose another dtype."
    )


def _fit(numbers: Any, dtype: np.dtype) -> np.ndarray:
    """Say which numbers have a value in a dtype; nan and inf have one among floats."""
    numbers = np.asarray(numbers)
    with np.errstate(all="ignore"):
        if dtype.kind == "f":
            return np.isfinite(numbers.astype(dtype)) | ~np.isfinite(numbers)
        limits = np.iinfo(dtype)
        # As floats the largest int is rounded up to a power of two, which does not fit.
        return (numbers >= limits.min) & (numbers <= limits.max if numbers.dtype.kind in "iu" else numbers < limits.max)


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
        what, remedy = "complex", _KINDS["c"][1]
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
    if letter not in _KINDS or (letter == "U" and words):
        return
    content, remedy = _KINDS[letter]
    holds = "it holds" if columns is None else f"the columns {columns} hold"
    raise ValueError(f"{name} must hold numbers; {holds} {content}. {remedy}")


def kind(values: Any) -> str:
    """Return what values hold, in a word, if it is not numbers."""
    return _KINDS.get(_letter(values), ("",))[0]


def _letter(values: Any) -> str:
    letter = getattr(getattr(values, "dtype", None), "kind", None) or np.asarray(values[:0]).dtype.kind  # of polars
    if letter == "O" and not sparse.issparse(values):
        letter = _letter_of_objects(values.ravel() if isinstance(values, np.ndarray) else values)
    return _LETTERS.get(letter, letter)


def _letter_of_objects(values: Iterable[Any]) -> str:
    types = set(map(type, values))
    return next((letter for letter, classes in _CLASSES if any(issubclass(t, classes) for t in types)), "O")


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
