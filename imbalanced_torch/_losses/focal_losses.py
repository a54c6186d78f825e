"""Losses that count rows less that the net is sure of: focal loss, and one with a focus of its own for each side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from imbalanced_torch._losses.logits import finite, log_odds, log_softmax, to_class_logits
from imbalanced_torch._losses.row_loss import (
    FAR,
    LossByClass,
    RowLoss,
    entropy_part,
    first_and_rest,
    joined,
    log1p,
    log_others,
    log_share_and_rest,
    number_of_at_least_0,
    of_true_class,
    power,
    root_of,
    sum_to_1,
    vector_of,
    within_dtype,
)


class FocalLoss(LossByClass):
    """-alpha_y (1 - p_y)^gamma log p_y: rows that the net is sure of count less.

    Parameters
    ----------
    gamma : float >= 0, default=2.0
        0 is cross-entropy.
    alpha : float in (0, 1), array of shape (K,) or None, default=None
        Weights of the classes, which `probabilities` undoes; a float, for two classes, is that of code 1, and 1 - alpha
        that of code 0. `class_weight` is the remedy that knows about sampling.
    reduction : "mean", "sum" or "none", default="mean"
        What is made of the losses of a batch; "none" returns one for each row.

    Raises
    ------
    ValueError
        If a parameter is not what it must be.

    Notes
    -----
    `probabilities` is its inverse: p_c proportional to q_c / (alpha_c phi(q_c)), q being the softmax of the logits and
    phi(q) = (1 - q)^gamma - gamma (1 - q)^(gamma - 1) q log q.

    References
    ----------
    Lin, Goyal, Girshick, He, Dollar. Focal Loss for Dense Object Detection. ICCV 2017. The inverse: Charoenphakdee,
    Vongkulbhisal, Chairatanakul, Sugiyama. On Focal Loss for Class-Posterior Probability Estimation. CVPR 2021.

    Examples
    --------
    >>> loss = FocalLoss(gamma=2.0)(torch.zeros(1, 2), torch.tensor([1]))  # (1 - 1/2)^2 log 2
    >>> round(loss.item(), 4)
    0.1733
    """

    alpha: torch.Tensor | None

    def __init__(self, gamma: float = 2.0, alpha: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.gamma = number_of_at_least_0("gamma", gamma)
        self.one_alpha = isinstance(alpha, float | np.floating)
        each = [1 - alpha, alpha] if self.one_alpha else alpha
        weights = None if each is None else vector_of(each)
        if alpha is not None and (weights is None or not bool((weights > 0).all())):
            raise ValueError(f"alpha must be positive for each class, or a float in (0, 1); it is {alpha!r}.")
        self.register_buffer("alpha", weights)

    def _alpha_of(self, like: torch.Tensor) -> torch.Tensor:
        """Return the weights, shape (K,), positive and finite in the dtype of `like`."""
        alpha: Any = self.alpha
        if len(alpha) != like.shape[1]:
            raise ValueError(
                f"alpha as a float serves two classes; there are {like.shape[1]}. Pass a weight for each class."
                if self.one_alpha
                else f"alpha must have one weight for each of {like.shape[1]} classes; it has {len(alpha)}."
            )
        return finite(alpha.to(like)).clamp_min(torch.finfo(like.dtype).tiny)

    def class_losses(self, logits: torch.Tensor) -> torch.Tensor:
        losses = power(log_others(logits), self.gamma) * -log_softmax(logits)
        return losses if self.alpha is None else finite(self._alpha_of(logits) * losses)

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        log_q, log_rest = log_share_and_rest(logits, codes)
        losses = power(log_rest, self.gamma) * -log_q
        return losses if self.alpha is None else finite(self._alpha_of(logits)[codes] * losses)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        scores = logits
        if self.gamma:
            log_rest = log_others(logits)
            scores = self._log_balance(log_softmax(logits), log_rest, log_rest.amin(dim=1, keepdim=True))
        return scores if self.alpha is None else scores - self._alpha_of(scores).log()

    def _log_balance(self, log_q: torch.Tensor, log_rest: torch.Tensor, base: torch.Tensor | float) -> torch.Tensor:
        """Return log q / phi(q), phi = (1 - q)^g - g (1 - q)^(g - 1) q log q, where 1 - q is counted in e^base."""
        gamma = within_dtype(self.gamma, log_q)
        return finite(log_q - gamma * (log_rest - base) - log1p(gamma * entropy_part(log_q, log_rest)))

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        target = log_prior if self.alpha is None else log_prior + self._alpha_of(log_prior[None]).log()
        if not self.gamma:
            return target
        if len(log_prior) == 2:
            return self._start_of_two(log_prior)

        def balance(odds: torch.Tensor) -> torch.Tensor:
            return self._log_balance(logsigmoid(odds), logsigmoid(-odds), 0.0)

        def others(odds: torch.Tensor) -> torch.Tensor:
            wanted = finite(target[rest] - target[top] + balance(odds))
            bound = torch.full_like(wanted, FAR)
            return logsigmoid(root_of(lambda each: balance(each) - wanted, -3 * bound, bound))

        top, rest = first_and_rest(target)
        return joined(top, rest, *sum_to_1(others, target.new_tensor(FAR)))


class AsymmetricLoss(RowLoss):
    """Focal loss with a focus of its own for each side: rows of other classes that the net is sure of count far less.

    For two classes the rarer is the positive one. For more, the sum over classes of one class against the rest.

    Parameters
    ----------
    class_counts : array of shape (K,), default=None
        Tells which of two classes is the rarer; None takes code 1.
    gamma_positive : float >= 0, default=0.0
        Focus of the positive side.
    gamma_negative : float >= 0, default=4.0
        Focus of the negative side. With both at 0 (and clip at 0), binary cross-entropy.
    clip : float in [0, 1), default=0.0
        Probability by which negatives are shifted down, so that easy ones drop out; 0.05 in the paper. Above 0 many
        probabilities share one least loss, so that none can be told from the logits and `probabilities` raises.
    reduction : "mean", "sum" or "none", default="mean"
        What is made of the losses of a batch; "none" returns one for each row.

    Raises
    ------
    ValueError
        If a parameter is not what it must be.

    Notes
    -----
    With f the log-odds of a class and p = sigmoid(f), the loss is -(1 - p)^gamma_positive log p where the class is the
    true one, and else -s^gamma_negative log(1 - s), s = max(p - clip, 0).

    References
    ----------
    Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor. Asymmetric Loss for Multi-Label Classification.
    ICCV 2021.

    Examples
    --------
    >>> loss = AsymmetricLoss(gamma_negative=1.0)(torch.zeros(1), torch.tensor([0]))  # (1/2) log 2
    >>> round(loss.item(), 4)
    0.3466
    """

    def __init__(
        self,
        class_counts: Any = None,
        gamma_positive: float = 0.0,
        gamma_negative: float = 4.0,
        clip: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(class_counts, reduction)
        self.gamma_positive = number_of_at_least_0("gamma_positive", gamma_positive)
        self.gamma_negative = number_of_at_least_0("gamma_negative", gamma_negative)
        self.clip = number_of_at_least_0("clip", clip)
        if clip >= 1:
            raise ValueError(f"clip must be in [0, 1); it is {clip!r}.")

    @property
    def exact(self) -> bool:
        return self.clip == 0

    def _against_rest(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log-odds of each class that is a positive one, shape (n, positives), and their codes."""
        if logits.shape[1] > 2:
            return logits, torch.arange(logits.shape[1], device=logits.device)
        if self.class_counts is None:
            positive = torch.ones(1, dtype=torch.int64, device=logits.device)
        else:
            counts = self._counts(logits)
            positive = (counts[1:] <= counts[:1]).long()
        return (2 * positive - 1) * log_odds(logits)[:, None], positive

    def _positive(self, f: torch.Tensor) -> torch.Tensor:
        """Return the loss of log-odds f where the class is the true one."""
        losses = -logsigmoid(f)
        return power(logsigmoid(-f), self.gamma_positive) * losses if self.gamma_positive else losses

    def _negative(self, f: torch.Tensor) -> torch.Tensor:
        """Return the loss of log-odds f where another class is the true one."""
        log_p, log_rest = logsigmoid(f), logsigmoid(-f)
        if not self.clip:
            return power(log_p, self.gamma_negative) * -log_rest if self.gamma_negative else -log_rest
        log_clip = np.log(self.clip)
        counts = log_p > log_clip
        shifted = torch.where(counts, log_p.exp() - self.clip, 1.0).clamp_min(torch.finfo(f.dtype).tiny)
        log_kept = torch.logaddexp(log_rest, torch.full_like(f, log_clip))  # log(1 - shifted)
        losses = shifted ** within_dtype(self.gamma_negative, f) * -log_kept
        return torch.where(counts, losses, 0.0).clamp_min(0)

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        f, positives = self._against_rest(logits)
        if logits.shape[1] == 2:
            return torch.where(codes == positives, self._positive(f[:, 0]), self._negative(f[:, 0]))
        others = self._negative(f).scatter(1, codes[:, None], 0.0).sum(dim=1)
        return finite(self._positive(of_true_class(f, codes)) + others)

    def expected_losses(self, logits: torch.Tensor, proba: torch.Tensor) -> torch.Tensor:
        f, positives = self._against_rest(logits)
        true = proba[:, positives]
        rest = proba.sum(dim=1, keepdim=True) - true
        return finite((true * self._positive(f) + rest * self._negative(f)).sum(dim=1))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        if self.clip:
            raise ValueError(
                f"AsymmetricLoss(clip={self.clip}) has no probabilities: many share one least loss. Set clip=0, or "
                "use decision_function and predict alone."
            )
        f, positives = self._against_rest(logits)
        log_p, log_rest = logsigmoid(f), logsigmoid(-f)
        # odds = slope of the negative part / -slope of the positive part, both in f
        up = self._log_slope(self.gamma_negative, log_p, log_rest)
        down = self._log_slope(self.gamma_positive, log_rest, log_p)
        if logits.shape[1] == 2:
            return torch.where(positives == 1, torch.cat([down, up], dim=1), torch.cat([up, down], dim=1))
        # odds / (1 + odds), up to a constant in each row: where all are tiny, their logs might be beyond the dtype
        relative = self._log_slope(self.gamma_negative, log_p, log_rest, log_p.amax(dim=1, keepdim=True))
        return relative - torch.logaddexp(up, down)

    @staticmethod
    def _log_slope(
        gamma: float, log_u: torch.Tensor, log_v: torch.Tensor, base: torch.Tensor | float = 0.0
    ) -> torch.Tensor:
        """Return the log of d/df of u^gamma * -log v, u = sigmoid(f), v = 1 - u: u^gamma (u - gamma v log v).

        u is counted in e^base where it is a power.
        """
        gamma = within_dtype(gamma, log_u)
        return finite(within_dtype(gamma + 1, log_u) * (log_u - base) + log1p(gamma * entropy_part(log_v, log_u)))

    def _log_clipped_slope(self, f: torch.Tensor) -> torch.Tensor:
        """Return the log of d/df of s^gamma * -log(1 - s), s = max(sigmoid(f) - clip, 0), in double precision."""
        limits, gamma = torch.finfo(f.dtype), self.gamma_negative
        shifted = f.sigmoid() - self.clip
        s = shifted.clamp_min(limits.tiny)
        parts = gamma * -(-s).log1p() / s + 1 / (1 - s)
        slope = finite(logsigmoid(f) + logsigmoid(-f) + gamma * s.log() + parts.log())
        return torch.where(shifted > 0, slope, limits.min)

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        _, positives = self._against_rest(log_prior[None])
        log_p, log_rest = log_prior[positives], log_others(log_prior[None])[0, positives]

        def surplus(f: torch.Tensor) -> torch.Tensor:
            up = (
                self._log_clipped_slope(f)
                if self.clip
                else self._log_slope(self.gamma_negative, logsigmoid(f), logsigmoid(-f))
            )
            down = self._log_slope(self.gamma_positive, logsigmoid(-f), logsigmoid(f))
            return up - down - (log_p - log_rest)

        bound = torch.full_like(log_p, FAR)
        # With a clip, whose negative side is bounded, the least loss of a frequent class may lie at infinity.
        upper = bound.clamp_max(5 + max(0.0, np.log(self.clip / (1 - self.clip)))) if self.clip else bound
        f = root_of(surplus, -bound, upper)
        return f if len(log_prior) > 2 else to_class_logits((2 * positives - 1) * f)[0]
