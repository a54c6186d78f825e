"""Losses for skewed classes: from logits and class codes to one loss a row, and from logits back to probabilities.

Each is a torch criterion, alone or behind a word of `criterion`. It is not weighted by class: `class_weight` multiplies
it, row by row, outside. So its modulator or margin never sees a weight, and `log_probabilities` is the exact inverse of
what it minimises: log P(class | row) at the prior that the rows come from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid, one_hot, softplus

from imbalanced_torch._losses.logits import every_logit, log_odds


class RowLoss(nn.Module, ABC):
    """A criterion of one loss a row: the common part of those below.

    Parameters
    ----------
    class_counts : array of shape (K,), default=None
        Rows of each class, where the loss needs them; may hold fractions. A class of 0 counts as one row.
    reduction : "mean", "sum" or "none", default="mean"
    """

    class_counts: torch.Tensor | None

    def __init__(self, class_counts: Any = None, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; it is {reduction!r}.")
        self.reduction = reduction
        counts = None if class_counts is None else torch.as_tensor(np.asarray(class_counts, dtype=float))
        if counts is not None and not (counts.ndim == 1 and torch.isfinite(counts).all() and (counts >= 0).all()):
            raise ValueError(f"class_counts must hold a count of at least 0 for each class; it is {class_counts!r}.")
        self.register_buffer("class_counts", counts)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss.

        Parameters
        ----------
        logits : tensor of shape (n,), (n, 1) or (n, K)
            One logit f, for two classes, is the two logits (0, f).
        targets : tensor of shape (n,)
            Class codes 0..K-1, int or float.

        Returns
        -------
        scalar, or tensor of shape (n,) if reduction="none"
        """
        losses = self.row_losses(every_logit(logits), targets.long())
        return losses if self.reduction == "none" else getattr(losses, self.reduction)()

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the class probabilities whose loss these logits minimise, shape (n, K)."""
        return self.log_probabilities(logits).exp()

    def log_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return their logarithm, shape (n, K)."""
        return torch.log_softmax(self.scores(every_logit(logits)), dim=1)

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (K,), of least loss where nothing is known but the class prior."""
        logits = log_prior.clone().requires_grad_()
        every = torch.arange(len(log_prior))
        optimizer: Any = torch.optim.LBFGS(
            [logits], max_iter=100, tolerance_grad=1e-8, tolerance_change=1e-12, line_search_fn="strong_wolfe"
        )

        def risk() -> torch.Tensor:
            optimizer.zero_grad()
            loss: Any = log_prior.exp() @ self.row_losses(logits.expand(len(every), -1), every)
            loss.backward()
            return loss

        optimizer.step(risk)
        return logits.detach()

    @abstractmethod
    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Return the losses, shape (n,), for logits of shape (n, K)."""

    @abstractmethod
    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Return log probabilities up to a constant in each row, shape (n, K), for logits of shape (n, K)."""

    @property
    def exact(self) -> bool:
        """Whether `probabilities` is the exact inverse everywhere."""
        return True

    def _counts(self, like: torch.Tensor) -> torch.Tensor:
        """Return the class counts, shape (K,), in the dtype and on the device of `like`."""
        if self.class_counts is None:
            raise ValueError(f"{type(self).__name__} needs class_counts, the rows of each class.")
        if len(self.class_counts) != like.shape[1]:
            raise ValueError(
                f"class_counts must have one count for each of {like.shape[1]} classes; it has "
                f"{len(self.class_counts)}."
            )
        return torch.where(self.class_counts > 0, self.class_counts, 1.0)


def _true(values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the value of the true class in each row, shape (n,)."""
    return values.gather(1, codes[:, None])[:, 0]


def _log_others(logits: torch.Tensor) -> torch.Tensor:
    """Return log(1 - p_c) for p = softmax(logits), shape (n, K), without cancellation where p_c is near 1."""
    log_rest = (-torch.softmax(logits, dim=1)).log1p()
    top = logits.argmax(dim=1, keepdim=True)
    others = logits.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)
    return log_rest.scatter(1, top, others - logits.logsumexp(dim=1, keepdim=True))


class FocalLoss(RowLoss):
    """-alpha_y (1 - p_y)^gamma log p_y: rows that the net is sure of count less.

    Parameters
    ----------
    gamma : float >= 0, default=2.0
        0 is cross-entropy.
    alpha : float in (0, 1), array of shape (K,) or None, default=None
        Weights of the classes, which `probabilities` undoes; a float, for two classes, is that of code 1, and 1 - alpha
        that of code 0. `class_weight` is the remedy that knows about sampling.
    reduction : "mean", "sum" or "none", default="mean"

    Examples
    --------
    >>> loss = FocalLoss(gamma=2.0)(torch.zeros(1, 2), torch.tensor([1]))  # (1 - 1/2)^2 log 2
    >>> round(loss.item(), 4)
    0.1733

    References
    ----------
    Lin, Goyal, Girshick, He, Dollar. Focal Loss for Dense Object Detection. ICCV 2017. The inverse: Charoenphakdee,
    Vongkulbhisal, Chairatanakul, Sugiyama. On Focal Loss for Class-Posterior Probability Estimation. CVPR 2021.
    """

    alpha: torch.Tensor | None

    def __init__(self, gamma: float = 2.0, alpha: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.gamma = _at_least_0("gamma", gamma)
        each = [1 - alpha, alpha] if isinstance(alpha, float) else alpha
        weights = None if each is None else torch.as_tensor(np.asarray(each, dtype=float))
        if weights is not None and not (weights.ndim == 1 and torch.isfinite(weights).all() and (weights > 0).all()):
            raise ValueError(f"alpha must be positive for each class, or a float in (0, 1); it is {alpha!r}.")
        self.register_buffer("alpha", weights)

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        log_p = _true(torch.log_softmax(logits, dim=1), codes)
        losses = -log_p
        if self.gamma:
            true = one_hot(codes, logits.shape[1]).bool()
            log_rest = logits.masked_fill(true, -torch.inf).logsumexp(dim=1) - logits.logsumexp(dim=1)
            losses = (self.gamma * log_rest).exp() * losses
        return losses if self.alpha is None else self.alpha.to(losses)[codes] * losses

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        log_q = torch.log_softmax(logits, dim=1)
        scores = log_q
        if self.gamma:
            # log of (1 - q)^g - g (1 - q)^(g - 1) q log q
            log_rest = _log_others(logits)
            scores = log_q - (self.gamma - 1) * log_rest - (log_rest.exp() - self.gamma * log_q.exp() * log_q).log()
        return scores if self.alpha is None else scores - self.alpha.to(scores).log()


class LogitAdjustedLoss(RowLoss):
    """Cross-entropy of logits + tau log prior, also known as balanced softmax (tau=1): the logits learn to be balanced.

    The greatest logit is then the decision for balanced accuracy; the prior is that of the rows that are sampled.

    Parameters
    ----------
    class_counts : array of shape (K,)
        Rows of each class; the estimator passes those that are sampled.
    tau : float, default=1.0
        0 is cross-entropy.
    reduction : "mean", "sum" or "none", default="mean"

    Examples
    --------
    >>> loss = LogitAdjustedLoss([90, 10])(torch.zeros(1, 2), torch.tensor([1]))  # -log .1
    >>> round(loss.item(), 4)
    2.3026

    References
    ----------
    Menon, Jayasumana, Rawat, Jain, Veit, Kumar. Long-tail Learning via Logit Adjustment. ICLR 2021. Ren, Yu, Sheng, Ma,
    Zhao, Yi, Li. Balanced Meta-Softmax for Long-Tailed Visual Recognition. NeurIPS 2020.
    """

    def __init__(self, class_counts: Any = None, tau: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(class_counts, reduction)
        self.tau = _finite("tau", tau)

    def adjustment(self, like: torch.Tensor) -> torch.Tensor:
        """Return what is added to the logits, shape (K,)."""
        counts = self._counts(like)
        return (self.tau * (counts / counts.sum()).log()).to(like)

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return -_true(torch.log_softmax(self.scores(logits), dim=1), codes)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        return logits + self.adjustment(logits)

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        return log_prior - self.adjustment(log_prior[None])


class LDAMLoss(RowLoss):
    """Cross-entropy of scale * (logits - margin_y at the true class): rare classes get a wider margin.

    Parameters
    ----------
    class_counts : array of shape (K,)
        Rows of each class; the estimator passes those that are sampled. Margins are proportional to n_c^-1/4.
    max_margin : float >= 0, default=0.5
        Margin of the rarest class.
    scale : float > 0, default=1.0
        1.0 suits logits of any size. The paper takes 30 for logits that are cosines, in [-1, 1].
    reduction : "mean", "sum" or "none", default="mean"

    Examples
    --------
    >>> loss = LDAMLoss([160, 10], max_margin=1.0)(torch.zeros(2, 2), torch.tensor([0, 1]))
    >>> round(loss.item(), 4)  # margins .5 and 1: the mean of log(1 + e^.5) and log(1 + e)
    1.1437

    References
    ----------
    Cao, Wei, Gaidon, Arechiga, Ma. Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss. NeurIPS
    2019.
    """

    def __init__(
        self, class_counts: Any = None, max_margin: float = 0.5, scale: float = 1.0, reduction: str = "mean"
    ) -> None:
        super().__init__(class_counts, reduction)
        self.max_margin = _at_least_0("max_margin", max_margin)
        self.scale = _positive("scale", scale)

    def _margins(self, like: torch.Tensor) -> torch.Tensor:
        counts = self._counts(like)
        return (self.max_margin * (counts / counts.min()) ** -0.25).to(like)

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        margins = one_hot(codes, logits.shape[1]) * self._margins(logits)
        return -_true(torch.log_softmax(self.scale * (logits - margins), dim=1), codes)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        # The minimiser's p is the stationary distribution of Q, whose row c is the softmax with the margin at c. Solved
        # by hand: p_c is proportional to q_c (1 - q_c (1 - e^(-scale margin_c))), q being the softmax with no margin.
        log_q = torch.log_softmax(self.scale * logits, dim=1)
        short = (-self.scale * self._margins(logits)).expm1()  # e^(-scale margin) - 1
        rest = _log_others(self.scale * logits).exp()
        return log_q + (rest + log_q.exp() * (1 + short)).log()


class VSLoss(RowLoss):
    """Vector scaling: cross-entropy of logits times (n_c / n_max)^gamma, plus tau log prior.

    For two classes the paper's binary form, log(1 + exp(-+(Delta_y f + iota))), f the log-odds and iota = tau log(n_1 /
    n_0). tau=0 is CDT, gamma=0 logit adjustment.

    Parameters
    ----------
    class_counts : array of shape (K,)
        Rows of each class; the estimator passes those that are sampled.
    gamma : float >= 0, default=0.15
    tau : float, default=1.25
        Both defaults are the paper's for CIFAR-10.
    reduction : "mean", "sum" or "none", default="mean"

    Examples
    --------
    >>> loss = VSLoss([75, 25], gamma=0.0, tau=1.0)(torch.zeros(1, 2), torch.tensor([1]))  # -log .25
    >>> round(loss.item(), 4)
    1.3863

    References
    ----------
    Kini, Paraskevas, Oymak, Thrampoulidis. Label-Imbalanced and Group-Sensitive Classification under
    Overparameterization. NeurIPS 2021. CDT: Ye, Chen, Zhan, Chao. Identifying and Compensating for Feature Deviation in
    Imbalanced Deep Learning. 2020.
    """

    def __init__(
        self, class_counts: Any = None, gamma: float = 0.15, tau: float = 1.25, reduction: str = "mean"
    ) -> None:
        super().__init__(class_counts, reduction)
        self.gamma = _at_least_0("gamma", gamma)
        self.tau = _finite("tau", tau)

    def _factors(self, like: torch.Tensor) -> torch.Tensor:
        counts = self._counts(like)
        return ((counts / counts.max()) ** self.gamma).to(like)

    def adjustment(self, like: torch.Tensor) -> torch.Tensor:
        """Return what is added to the scaled logits, shape (K,)."""
        counts = self._counts(like)
        return (self.tau * (counts / counts.sum()).log()).to(like)

    def _binary(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Delta_c f + iota for c = 0 and 1, shape (n, 2), and the factors Delta, shape (2,)."""
        factors, (a0, a1) = self._factors(logits), self.adjustment(logits)
        return factors * log_odds(logits)[:, None] + (a1 - a0), factors

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        if logits.shape[1] == 2:
            margins = _true(self._binary(logits)[0], codes)
            return softplus(torch.where(codes == 1, -margins, margins))
        return -_true(torch.log_softmax(self.scores(logits), dim=1), codes)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        if logits.shape[1] == 2:
            # p Delta_1 sigmoid(-m_1) = (1 - p) Delta_0 sigmoid(m_0) where the loss is least
            margins, factors = self._binary(logits)
            return torch.stack(
                [factors[1].log() + logsigmoid(-margins[:, 1]), factors[0].log() + logsigmoid(margins[:, 0])], dim=1
            )
        return self._factors(logits) * logits + self.adjustment(logits)


class AsymmetricLoss(RowLoss):
    """Focal loss with a focus of its own for each side: rows of other classes that the net is sure of count far less.

    For two classes the rarer is the positive one. For more, the sum over classes of one class against the rest.

    Parameters
    ----------
    class_counts : array of shape (K,), default=None
        Tells which of two classes is the rarer; None takes code 1.
    gamma_positive : float >= 0, default=0.0
    gamma_negative : float >= 0, default=4.0
        With both at 0 (and clip at 0), binary cross-entropy.
    clip : float in [0, 1), default=0.0
        Probability by which negatives are shifted down, so that easy ones drop out; 0.05 in the paper. Above 0 many
        probabilities share one least loss, so that none can be told from the logits and `probabilities` raises.
    reduction : "mean", "sum" or "none", default="mean"

    Examples
    --------
    >>> loss = AsymmetricLoss(gamma_negative=1.0)(torch.zeros(1), torch.tensor([0]))  # (1/2) log 2
    >>> round(loss.item(), 4)
    0.3466

    References
    ----------
    Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter, Zelnik-Manor. Asymmetric Loss for Multi-Label Classification.
    ICCV 2021.
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
        self.gamma_positive = _at_least_0("gamma_positive", gamma_positive)
        self.gamma_negative = _at_least_0("gamma_negative", gamma_negative)
        self.clip = _at_least_0("clip", clip)
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

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        f, positives = self._against_rest(logits)
        log_p, log_rest = logsigmoid(f), logsigmoid(-f)
        positive = (self.gamma_positive * log_rest).exp() * -log_p
        if self.clip:
            shifted = (log_p.exp() - self.clip).clamp_min(0)
            negative = shifted**self.gamma_negative * -(-shifted).log1p()
        else:
            negative = (self.gamma_negative * log_p).exp() * -log_rest
        return torch.where(codes[:, None] == positives, positive, negative).sum(dim=1)

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
        return logsigmoid(up - down)

    @staticmethod
    def _log_slope(gamma: float, log_u: torch.Tensor, log_v: torch.Tensor) -> torch.Tensor:
        """Return the log of d/df of u^gamma * -log v, u = sigmoid(f), v = 1 - u: u^gamma (u - gamma v log v)."""
        return gamma * log_u + (log_u.exp() - gamma * log_v.exp() * log_v).log()


class LabelSmoothingLoss(RowLoss):
    """Cross-entropy against (1 - smoothing) * true class + smoothing / K.

    A row's weight multiplies its whole loss, unlike in torch's CrossEntropyLoss(weight, label_smoothing), which weights
    the smoothed parts by the classes that they stand for; so `probabilities` undoes the smoothing under any weights.

    Parameters
    ----------
    smoothing : float in [0, 1), default=0.1
        0 is cross-entropy.
    reduction : "mean", "sum" or "none", default="mean"

    Examples
    --------
    >>> LabelSmoothingLoss(0.2).probabilities(torch.tensor([[0.9, 0.1]]).log())  # (.9 - .1) / .8
    tensor([[1.0000e+00, 1.0000e-06]])

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna. Rethinking the Inception Architecture for Computer Vision. CVPR 2016.
    """

    def __init__(self, smoothing: float = 0.1, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.smoothing = _at_least_0("smoothing", smoothing)
        if smoothing >= 1:
            raise ValueError(f"smoothing must be in [0, 1); it is {smoothing!r}.")

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        log_q = torch.log_softmax(logits, dim=1)
        return -(1 - self.smoothing) * _true(log_q, codes) - self.smoothing * log_q.mean(dim=1)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        q = torch.softmax(logits, dim=1)
        p = (q - self.smoothing / logits.shape[1]) / (1 - self.smoothing)
        return p.clamp_min(1e-6 if self.smoothing else torch.finfo(p.dtype).tiny).log()


LOSSES: dict[str, type[RowLoss]] = {
    "asymmetric": AsymmetricLoss,
    "focal": FocalLoss,
    "label_smoothing": LabelSmoothingLoss,
    "ldam": LDAMLoss,
    "logit_adjusted": LogitAdjustedLoss,
    "vs": VSLoss,
}


def _finite(name: str, value: Any) -> float:
    if not isinstance(value, int | float | np.floating | np.integer) or not np.isfinite(value):
        raise ValueError(f"{name} must be a finite number; it is {value!r}.")
    return float(value)


def _at_least_0(name: str, value: Any) -> float:
    if _finite(name, value) < 0:
        raise ValueError(f"{name} must not be negative; it is {value!r}.")
    return float(value)


def _positive(name: str, value: Any) -> float:
    if _finite(name, value) <= 0:
        raise ValueError(f"{name} must be positive; it is {value!r}.")
    return float(value)
