"""What torch's exporter does not know, or lets lose digits, made of operators that it writes as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import logsigmoid, pad
from torch.overrides import TorchFunctionMode


class InOperatorsOfONNX(TorchFunctionMode):
    """Calls of torch's functions inside the block are worked by operators that a graph can have."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        instead = _INSTEAD.get(func) if args and _is_float(args[0]) else None
        return (instead or func)(*args, **(kwargs or {}))


def _is_float(values: Any) -> bool:
    return isinstance(values, torch.Tensor) and values.is_floating_point()


def _searchsorted(
    sorted_sequence: torch.Tensor,
    values: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> torch.Tensor:
    """Return the places of values of shape (..., n) in ascending sequences of shape (..., m) or (m,), by bisection."""
    if sorter is not None:
        raise NotImplementedError("searchsorted with a sorter has no form in ONNX.")
    values = torch.as_tensor(values, dtype=sorted_sequence.dtype)
    length = sorted_sequence.shape[-1]
    steps = [1 << power for power in reversed(range(length.bit_length()))]
    # With infinities at the end no step leads out of range.
    sequence = pad(sorted_sequence, (0, sum(steps) - length), value=torch.inf)
    place = torch.zeros_like(values, dtype=torch.int64)
    for step in steps:
        at = place + (step - 1)
        found = sequence[at] if sequence.ndim == 1 else sequence.gather(-1, at)
        stays = found > values if right or side == "right" else found >= values  # not where values are NaN
        place = torch.where(stays, place, place + step)
    place = place.clamp_max(length)
    return place.int() if out_int32 else place


def _bucketize(values: torch.Tensor, boundaries: torch.Tensor, *, out_int32: bool = False, right: bool = False) -> Any:
    return _searchsorted(boundaries, values, out_int32=out_int32, right=right)


# torch 2.6 can't trace its own two of these for any number of rows.


def _addcmul(x: torch.Tensor, one: torch.Tensor, other: torch.Tensor, *, value: float = 1) -> torch.Tensor:
    return x + (one * other if value == 1 else value * one * other)


def _baddbmm(x: torch.Tensor, one: torch.Tensor, other: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    product = one @ other
    return (x if beta == 1 else beta * x) + (product if alpha == 1 else alpha * product)


def _log1p(x: torch.Tensor) -> torch.Tensor:
    """Return log(1 + x) with all digits of a small x: what 1 + x has rounded off is divided out (Kahan)."""
    above = x + 1
    kept = above - 1
    exact = above.log() * (x / kept)
    return torch.where(kept == 0, x, torch.where(above.isinf(), above, exact))


def _logsigmoid(x: torch.Tensor) -> torch.Tensor:
    """Return log sigmoid(x), finite where the sigmoid is 0 to the last digit."""
    return torch.where(x < 0, x, 0.0) - _log1p((-x.abs()).exp())


def _logsumexp(x: torch.Tensor, dim: Any, keepdim: bool = False) -> torch.Tensor:
    """Return log sum exp with the greatest value taken out before: ONNX does not ask that of its own operator."""
    top = x.amax(dim, keepdim=True)
    top = torch.where(top.isinf(), 0.0, top)
    total = (x - top).exp().sum(dim, keepdim=True).log() + top
    return total if keepdim else total.squeeze(dim)


_INSTEAD: dict[Any, Callable[..., torch.Tensor]] = {
    torch.addcmul: _addcmul,
    torch.baddbmm: _baddbmm,
    torch.bucketize: _bucketize,
    torch.log1p: _log1p,
    torch.Tensor.log1p: _log1p,
    logsigmoid: _logsigmoid,
    torch.logsumexp: _logsumexp,
    torch.Tensor.logsumexp: _logsumexp,
    torch.searchsorted: _searchsorted,
}
