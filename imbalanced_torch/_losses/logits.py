"""Logits of every shape that modules return: (n,) or (n, 1) is one logit for two classes, (n, K) one for each class."""

from __future__ import annotations

import torch
from torch.nn.functional import pad


def every_logit(logits: torch.Tensor) -> torch.Tensor:
    """Return one logit per class, shape (n, K): one logit f is the two logits (0, f)."""
    if logits.ndim == 2 and logits.shape[1] > 1:
        return logits
    return pad(logits.reshape(-1, 1), (1, 0))


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """Return the logit of class 1 against class 0, shape (n,), for two classes."""
    return logits[:, 1] - logits[:, 0] if logits.ndim == 2 and logits.shape[1] == 2 else logits.reshape(-1)
