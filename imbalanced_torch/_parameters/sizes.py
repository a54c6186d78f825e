"""Sizes and shares that parameters of modules are: ints of Python, within bounds."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np


def check_size(name: str, size: Any, least: int = 1) -> int:
    """Return a size as an int of Python's: numpy's int8 and the like overflow in torch's sums."""
    if not isinstance(size, Integral) or isinstance(size, bool | np.bool_):
        raise TypeError(f"{name} must be an int; it is {size!r}.")
    if size < least:
        raise ValueError(f"{name} must be at least {least}; it is {size}.")
    return int(size)


def check_sizes(name: str, sizes: Any) -> list[int]:
    """Return sizes as ints of Python's."""
    if isinstance(sizes, str | bytes) or not isinstance(sizes, Iterable):
        raise TypeError(
            f"{name} must be a sequence of ints, one for each hidden layer, such as (64, 64); it is {sizes!r}."
        )
    return [check_size(f"each of {name}", size) for size in sizes]


def check_share(name: str, share: Any, ends: str = "[)") -> float:
    """Return a share as a float; raise unless it is between 0 and 1, which the brackets in `ends` let in."""
    interval = f"{ends[0]}0, 1{ends[1]}"
    if not isinstance(share, Real) or isinstance(share, bool | np.bool_):
        raise TypeError(f"{name} must be a number in {interval}; it is {share!r}.")
    if not (0 < float(share) < 1 or (share == 0 and ends[0] == "[") or (share == 1 and ends[1] == "]")):
        raise ValueError(f"{name} must be in {interval}; it is {share!r}.")
    return float(share)
