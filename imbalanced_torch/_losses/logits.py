"""Logits of every shape that modules return: (n,) or (n, 1) is one logit for two classes, (n, K) one for each class."""

from __future__ import annotations

import torch
from torch.nn.functional import pad


def to_class_logits(logits: torch.Tensor) -> torch.Tensor:
    """Return one logit per class, shape (n, K): one logit f is the two logits (0, f)."""
    if logits.ndim == 2 and logits.shape[1] > 1:
        return logits
    return pad(logits.reshape(-1, 1), (1, 0))


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """Return the logit of class 1 against class 0, shape (n,), for two classes; finite for all finite logits."""
    if logits.ndim == 2 and logits.shape[1] == 2:
        return finite(logits[:, 1] - logits[:, 0])
    return logits.reshape(-1)


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Return the log softmax over classes; the dtype's lowest number where it would be lower than any."""
    return torch.log_softmax(logits, dim=1).clamp_min(torch.finfo(logits.dtype).min)


def below_greatest(logits: torch.Tensor) -> torch.Tensor:
    """Return logits less the greatest of their row: the same softmax, and room to scale and to add."""
    return finite(logits - logits.detach().amax(dim=1, keepdim=True))


def finite(values: torch.Tensor) -> torch.Tensor:
    """Return the values, or the greatest or lowest number of their dtype where they are beyond it; nan stays."""
    limits = torch.finfo(values.dtype)
    return values.clamp(limits.min, limits.max)


def at_least_single(logits: torch.Tensor) -> torch.Tensor:
    """Return logits in single precision, or in the higher one that they have: half of it is too coarse for a loss."""
    return logits.float() if logits.is_floating_point() and logits.dtype.itemsize < 4 else logits
