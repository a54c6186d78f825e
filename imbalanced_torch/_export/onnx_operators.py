"""How operators of torch become those of ONNX, where torch's exporter knows no way or one that loses digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

#: The version of ONNX's operators that graphs are made of: the lowest that torch's exporter writes.
OPSET = 18
_INT32, _INT64 = 6, 7  # in onnx.TensorProto


def translations() -> dict[Any, Callable[..., Any]]:
    """Return what torch.onnx.export takes as `custom_translation_table`."""
    aten = torch.ops.aten
    return {
        aten.log1p.default: _log1p,
        aten.log_sigmoid.default: _log_sigmoid,
        aten.logsumexp.default: _logsumexp,
        aten.searchsorted.Tensor: _searchsorted,
    }


def _op() -> Any:
    """Return the operators, of a package that is there where someone exports."""
    from onnxscript import opset18

    return opset18


def _number(value: float, like: Any) -> Any:
    """Return a number of the type that an argument has."""
    from onnxscript import ir

    return _op().Constant(value=ir.tensor(np.array(value, like.dtype.numpy())))


def _searchsorted(
    sequences: Any,
    values: Any,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    """Return the places of values of shape (..., n) in ascending sequences of shape (..., m), by bisection.

    That of NaN is 0 here and m in torch.
    """
    op, n_axes = _op(), len(sequences.shape)
    if sorter is not None or n_axes != len(values.shape):
        raise NotImplementedError("searchsorted is exported for a sequence for each row of values, without a sorter.")
    reaches = op.LessOrEqual if right or side == "right" else op.Less
    length = int(sequences.shape[-1])
    steps = [1 << power for power in reversed(range(length.bit_length()))]
    # With infinities at the end, no step leads out of range.
    pads = [0] * (2 * n_axes - 1) + [2 * steps[0] - 1 - length]
    longer = op.Pad(sequences, pads, _number(math.inf, like=sequences))
    place = op.Cast(op.ConstantOfShape(op.Shape(values)), to=_INT64)
    for step in steps:
        passed = reaches(op.GatherElements(longer, op.Add(place, step - 1), axis=n_axes - 1), values)
        place = op.Where(passed, op.Add(place, step), place)
    place = op.Min(place, op.Constant(value_int=length))
    return op.Cast(place, to=_INT32) if out_int32 else place


def _log1p(x: Any) -> Any:
    """Return log(1 + x) with all digits of a small x: what 1 + x has rounded off is divided out (Kahan)."""
    op, one, zero = _op(), _number(1.0, like=x), _number(0.0, like=x)
    above = op.Add(x, one)
    kept = op.Sub(above, one)
    exact = op.Mul(op.Log(above), op.Div(x, kept))
    return op.Where(op.Equal(kept, zero), x, op.Where(op.IsInf(above), above, exact))


def _log_sigmoid(x: Any) -> Any:
    """Return log sigmoid(x), finite where the sigmoid is 0 to the last digit: min(x, 0) - log(1 + exp(-|x|))."""
    op, zero = _op(), _number(0.0, like=x)
    share = op.Exp(op.Neg(op.Abs(x)))
    share.dtype = x.dtype
    return op.Sub(op.Min(x, zero), _log1p(share))


def _logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    """Return log sum exp with the greatest value taken out before: ONNX does not ask that of its own operator."""
    op, zero = _op(), _number(0.0, like=x)
    top = op.ReduceMax(x, dim, keepdims=True)
    top = op.Where(op.IsInf(top), zero, top)
    total = op.Add(op.Log(op.ReduceSum(op.Exp(op.Sub(x, top)), dim, keepdims=True)), top)
    return total if keepdim else op.Squeeze(total, dim)
