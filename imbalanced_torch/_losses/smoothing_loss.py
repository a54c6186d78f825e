"""Cross-entropy against smoothed labels."""

from __future__ import annotations

import torch

from imbalanced_torch._losses.logits import finite, log_softmax
from imbalanced_torch._losses.row_loss import LossByClass, number_of_at_least_0


class LabelSmoothingLoss(LossByClass):
    """Cross-entropy against (1 - smoothing) * true class + smoothing / K.

    A row's weight multiplies its whole loss, unlike in torch's CrossEntropyLoss(weight, label_smoothing), which weights
    the smoothed parts by the classes that they stand for; so `probabilities` undoes the smoothing under any weights.

    Parameters
    ----------
    smoothing : float in [0, 1), default=0.1
        0 is cross-entropy.
    reduction : "mean", "sum" or "none", default="mean"
        What is made of the losses of a batch; "none" returns one for each row.

    Raises
    ------
    ValueError
        If a parameter is not what it must be.

    Notes
    -----
    The loss is -sum_c t_c log q_c, q being the softmax of the logits, t_y = 1 - smoothing + smoothing / K and t_c =
    smoothing / K for the others. `probabilities` is (q_c - smoothing / K) / (1 - smoothing), at least 1e-6, made to sum
    to 1.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna. Rethinking the Inception Architecture for Computer Vision. CVPR 2016.

    Examples
    --------
    >>> LabelSmoothingLoss(0.2).probabilities(torch.tensor([[0.9, 0.1]]).log())  # (.9 - .1) / .8
    tensor([[1.0000e+00, 1.0000e-06]])
    """

    def __init__(self, smoothing: float = 0.1, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.smoothing = number_of_at_least_0("smoothing", smoothing)
        if smoothing >= 1:
            raise ValueError(f"smoothing must be in [0, 1); it is {smoothing!r}.")

    def class_losses(self, logits: torch.Tensor) -> torch.Tensor:
        log_q = log_softmax(logits)
        every = self.smoothing / logits.shape[1] * log_q  # before the sum, which might be beyond the dtype
        return finite(-(1 - self.smoothing) * log_q - every.sum(dim=1, keepdim=True))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        if not self.smoothing:
            return logits
        p = (torch.softmax(logits, dim=1) - self.smoothing / logits.shape[1]) / (1 - self.smoothing)
        return p.clamp_min(1e-6).log()

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        return ((1 - self.smoothing) * log_prior.exp() + self.smoothing / len(log_prior)).log()
