"""Digests of any value, the same in every process: of data and of hyperparameters, functions and objects among them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import random
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from scipy import sparse

from imbalanced_torch._persistence.files import digest as digest_of_tensors

#: Bytes of an array that are in memory at once: it may be mapped from a file, or a view that is not in one piece.
_AT_ONCE = 1 << 24
#: Streams of random numbers, which a fit draws from: where they are says nothing of what was asked for.
_STREAMS = (torch.Generator, np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)


def fingerprint(value: Any) -> str:
    """Return a digest of a value, by what it holds and not by where it is in memory."""
    return _Digests().of(value)


class _Digests:
    """Digests of values inside each other, each object's found once."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[Any, str]] = {}  # by id; the object is held, so that the id stays its own
        self.open: list[int] = []

    def of(self, value: Any) -> str:
        """Return the digest of a value."""
        if id(value) in self.found:
            return self.found[id(value)][1]
        if id(value) in self.open:  # it holds itself
            return f"{len(self.open) - self.open.index(id(value))} above"
        self.open.append(id(value))
        sha = hashlib.sha256()
        for piece in self._pieces(value):
            sha.update(piece.encode() if isinstance(piece, str) else piece)
            sha.update(b"\0")
        self.open.pop()
        self.found[id(value)] = value, sha.hexdigest()
        return sha.hexdigest()

    def _pieces(self, value: Any) -> Iterator[Any]:
        if isinstance(value, np.generic) and value.dtype.kind in "biufSU":
            value = value.item()
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            yield f"{type(value).__name__} {value!r}"
        elif isinstance(value, np.ndarray):
            yield from self._of_array(value)
        elif sparse.issparse(value):
            rows = value.tocsr()
            yield f"csr {rows.shape}"
            for part in (rows.data, rows.indices, rows.indptr):  # ints of either size say the same
                yield from self._of_array(part if part is rows.data else part.astype(np.int64))
        elif isinstance(value, torch.Tensor):
            yield f"tensor {value.requires_grad} {digest_of_tensors(value)}"
        elif isinstance(value, _STREAMS):
            yield type(value).__qualname__
        elif isinstance(value, Mapping) and type(value).__module__ in ("builtins", "collections"):
            yield from sorted(f"{self.of(key)}: {self.of(own)}" for key, own in value.items())
        elif isinstance(value, list | tuple | set | frozenset):
            parts = [self.of(part) for part in value]
            yield from [type(value).__qualname__, *(parts if isinstance(value, list | tuple) else sorted(parts))]
        else:
            yield from self._of_object(value)

    def _of_array(self, values: np.ndarray) -> Iterator[Any]:
        yield f"array {values.dtype.str} {values.shape}"
        if values.dtype.hasobject:
            yield self.of(values.tolist())
            return
        rows = max(1, _AT_ONCE // max(1, values.nbytes // max(1, len(values)))) if values.ndim else 1
        parts = [values] if values.ndim == 0 else (values[i : i + rows] for i in range(0, len(values), rows))
        for part in parts:
            yield np.ascontiguousarray(part).reshape(-1).view(np.uint8)

    def _of_object(self, value: Any) -> Iterator[Any]:
        """Give the pieces of a function, a class or any object: what a copy of it would be made of."""
        yield f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, types.CodeType):
            yield value.co_code
            yield from map(self.of, (value.co_names, value.co_varnames, value.co_consts))
        elif isinstance(value, functools.partial):
            yield from map(self.of, (value.func, value.args, value.keywords))
        elif isinstance(value, types.FunctionType):
            with suppress(ValueError):  # a variable that has no value yet
                yield self.of(inspect.getclosurevars(value).nonlocals)
            yield f"{value.__module__}.{value.__qualname__}"
            yield from map(self.of, (value.__code__, value.__defaults__, value.__kwdefaults__))
        elif inspect.isroutine(value) or isinstance(value, type):
            yield f"{getattr(value, '__module__', '')}.{value.__qualname__}"
            yield self.of(getattr(value, "__self__", None) if isinstance(value, types.MethodType) else None)
        else:
            try:
                made = value.__reduce_ex__(4)
            except Exception:  # what can't be copied, such as an open file, is known by its type alone
                return
            if isinstance(made, str):
                yield made
                return
            make, arguments, state, items, pairs = (*made, None, None, None)[:5]
            yield from map(self.of, (make, arguments, state, list(items or ()), dict(pairs or ())))
