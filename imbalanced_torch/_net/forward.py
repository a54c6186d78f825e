"""From rows to the module's logits, in evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from imbalanced_torch._data.rows import Rows
from imbalanced_torch._net.loading import CHUNK, moved
from imbalanced_torch._net.module import unpack_logits


def direct_logits(net: Any, rows: Rows, fast: Any, forward: Callable[..., Any] | None = None) -> torch.Tensor:
    """Return what the net's `forward` would, without skorch's loop and a loader.

    Parameters
    ----------
    net : ImbalancedNet
    rows : Rows
    fast : module or None
        The fast path, where it is there.
    forward : callable, default=None
        What gives logits of rows, in place of the module.
    """
    module, device, n = net.module_, torch.device("cpu" if net.device is None else net.device), len(rows)
    if module.training:
        module.eval()
    forward = module if forward is None else forward
    chunk = rows.at_once(getattr(module, "rows_at_once", CHUNK))
    take = rows.inputs if fast is not None and fast.leaves_inputs_alone(module) else rows.own_inputs
    logits: Any = None
    with torch.no_grad():
        for start in range(0, n, chunk):
            X = take(slice(start, min(start + chunk, n)))
            X = X if device.type == "cpu" else moved(X, device)
            output = forward(**X) if isinstance(X, dict) else forward(X)
            part = unpack_logits(output)
            del X, output  # before there is another
            if n <= chunk:
                return part.cpu()
            if logits is None:  # one for all: many small arrays would fragment the heap
                logits = part.new_empty((n, *part.shape[1:]), device="cpu")
            logits[start : start + chunk] = part
    return logits


def checked_logits(
    net: Any, rows: Rows, estimator: str, allow_nan: bool, forward: Callable[[Rows], torch.Tensor]
) -> torch.Tensor:
    """Return finite logits for rows, where the criterion is; raise ValueError with the reason if there are none.

    Parameters
    ----------
    net : ImbalancedNet
    rows : Rows
    estimator : str
        The estimator's name, for messages.
    allow_nan : bool
        Whether rows may hold NaN.
    forward : callable
        The net's method that gives logits of rows.
    """
    try:
        logits = forward(rows)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        shape = None if rows.collate is not None else net.row_shape_  # a collate function takes rows of any shape
        other = rows.other_than(shape)
        if other is None:
            raise
        raise ValueError(
            f"X has rows of shape {other}, but {estimator} was fitted on rows of shape {shape}."
        ) from error
    if not math.isfinite(logits.sum().item()) and not torch.isfinite(logits).all():
        bad = ~torch.isfinite(logits)
        if not allow_nan and (fault := rows.not_finite()):
            raise ValueError(fault)
        raise ValueError(
            f"the module returns nan or infinite logits for {int(bad.reshape(len(bad), -1).any(dim=1).sum())} of "
            f"{len(bad)} rows; X may be far out of the range of training."
        )
    return logits.to(net.criterion_.class_weight.device)
