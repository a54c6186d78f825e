"""Losses for skewed classes: from logits and class codes to one loss a row, and from logits back to probabilities.

Each is a torch criterion, alone or behind a word of `criterion`. It is not weighted by class: `class_weight` multiplies
it, row by row, outside. So its modulator or margin never sees a weight, and `log_probabilities` is the exact inverse of
what it minimises: log P(class | row) at the prior that the rows come from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from imbalanced_torch._logits import below_greatest, every_logit, finite, log_odds, log_softmax
from imbalanced_torch._targets import check_logits_of_rows, read_targets

#: Classes up to which the start of training is sought in all K x K losses.
_DENSE = 256
#: Log-odds beyond those of any prior in double precision.
_FAR = 800.0


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
        counts = None if class_counts is None else _vector(class_counts)
        if class_counts is not None and (counts is None or bool((counts < 0).any())):
            raise ValueError(f"class_counts must hold a count of at least 0 for each class; it is {class_counts!r}.")
        self.register_buffer("class_counts", counts)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss.

        Parameters
        ----------
        logits : tensor of shape (n,), (n, 1) or (n, K)
            One logit f, for two classes, is the two logits (0, f).
        targets : tensor of shape (n,), (n, 1) or (n, K)
            Class codes 0..K-1, shape (n,), int or float; or class probabilities, shape (n, K), whose expected loss is
            returned. Beside one logit, also the probability of class 1, of the shape (n,) or (n, 1) that it has.

        Returns
        -------
        scalar, or tensor of shape (n,) if reduction="none"

        Raises
        ------
        ValueError
            If targets are neither.
        """
        check_logits_of_rows(logits)
        codes, proba = read_targets(targets, logits)
        every = every_logit(logits)
        losses = self.row_losses(every, codes) if proba is None else self.expected_losses(every, proba)
        return losses if self.reduction == "none" else getattr(losses, self.reduction)()

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the class probabilities whose loss these logits minimise, shape (n, K)."""
        return self.log_probabilities(logits).exp()

    def log_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return their logarithm, shape (n, K)."""
        return log_softmax(finite(self.scores(every_logit(logits))))

    def expected_losses(self, logits: torch.Tensor, proba: torch.Tensor) -> torch.Tensor:
        """Return sum_c p_c loss_c, shape (n,), for logits and class probabilities of shape (n, K)."""
        codes = torch.arange(logits.shape[1], device=logits.device)
        return torch.stack(
            [p * self.row_losses(logits, code.expand(len(logits))) for p, code in zip(proba.T, codes, strict=True)]
        ).sum(dim=0)

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (K,), of least loss where nothing is known but the class prior.

        Here they are sought by descent from the log prior, which takes all K x K losses at each step. With more than
        256 classes that would cost more than training, and the log prior itself is returned.
        """
        if len(log_prior) > _DENSE:
            return log_prior
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
        counts = self.class_counts.clamp_max(torch.finfo(self.class_counts.dtype).max)  # inf after a cast to single
        return torch.where(counts > 0, counts, 1.0)

    def _log_shares(self, like: torch.Tensor) -> torch.Tensor:
        """Return the log shares of the classes, shape (K,)."""
        return self._counts(like).log().log_softmax(dim=0)


class _ByClass(RowLoss):
    """A loss that is worked for all classes at once in O(K)."""

    @abstractmethod
    def class_losses(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row for each class that might be true, shape (n, K), for logits of shape (n, K)."""

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return _true(self.class_losses(logits), codes)

    def expected_losses(self, logits: torch.Tensor, proba: torch.Tensor) -> torch.Tensor:
        return (proba * self.class_losses(logits)).sum(dim=1)

    def _start_of_two(self, log_prior: torch.Tensor) -> torch.Tensor:
        """Return the two logits, one of them 0, whose probabilities are the prior."""

        def surplus(odds: torch.Tensor) -> torch.Tensor:
            scores = finite(self.scores(every_logit(odds)))
            return finite(scores[:, 1] - scores[:, 0] - (log_prior[1] - log_prior[0]))

        bound = log_prior.new_full((1,), 1e9)
        return every_logit(_root(surplus, -bound, bound))[0]


def _true(values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the value of the true class in each row, shape (n,)."""
    return values.gather(1, codes[:, None])[:, 0]


def _log_others(logits: torch.Tensor) -> torch.Tensor:
    """Return log(1 - p_c) for p = softmax(logits), shape (n, K), without cancellation where p_c is near 1."""
    logits = below_greatest(logits)
    top = logits.argmax(dim=1, keepdim=True)
    p = torch.softmax(logits, dim=1).scatter(1, top, 0.0)
    others = logits.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)
    return (-p).log1p().scatter(1, top, finite(others - logits.logsumexp(dim=1, keepdim=True)))


def _log_share_and_rest(logits: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log p_c and log(1 - p_c) for the class c of each row alone, shape (n,)."""
    logits = below_greatest(logits)
    total = logits.logsumexp(dim=1)
    rest = logits.scatter(1, codes[:, None], -torch.inf).logsumexp(dim=1)
    return finite(_true(logits, codes) - total), finite(rest - total).clamp_max(0)


def _power(log_u: torch.Tensor, exponent: float) -> torch.Tensor:
    """Return u^exponent for u in [0, 1], without a gradient where u is 1 to the last digit."""
    # There the gradient is 0 times a loss, which may be so great that its product with the exponent is infinite.
    return (_within(exponent, log_u) * log_u.clamp_max(-torch.finfo(log_u.dtype).tiny)).exp()


def _entropy_part(log_v: torch.Tensor, log_rest: torch.Tensor) -> torch.Tensor:
    """Return -v log v / (1 - v), in [0, 1], from log v and log(1 - v)."""
    v, rest = log_v.exp(), log_rest.exp()
    small = rest.clamp(torch.finfo(rest.dtype).tiny, 0.5)
    return torch.where(rest <= 0.5, v * -(-small).log1p() / small, -v * log_v / rest.clamp_min(0.5)).clamp(0, 1)


def _root(increasing: Callable[[torch.Tensor], torch.Tensor], lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """Return where a function crosses 0 upwards between bounds, element by element; a bound where it does not.

    By Chandrupatla's method: inverse quadratic steps where these are safe, else the middle.
    """
    tiny = torch.finfo(lower.dtype).tiny
    x1, f1 = lower, increasing(lower).clamp_max(-tiny)
    x2, f2 = upper, increasing(upper).clamp_min(tiny)
    share: torch.Tensor = torch.full_like(lower, 0.5)
    for _ in range(200):
        x = x1 + share * (x2 - x1)
        f = increasing(x)
        same = (f < 0) == (f1 < 0)
        x3, f3 = torch.where(same, x1, x2), torch.where(same, f1, f2)
        x2, f2 = torch.where(same, x2, x1), torch.where(same, f2, f1)
        x1, f1 = x, f
        least = 1e-15 * (1 + x.abs()) / (x2 - x1).abs()
        if bool(((least > 0.5) | (f == 0)).all()):
            break
        xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
        step = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
        safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi) & step.isfinite()
        least = least.nan_to_num(0.5).clamp_max(0.5)
        share = torch.where(safe, step, 0.5).clamp(least, 1 - least)
    return x1


class FocalLoss(_ByClass):
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
        self.one_alpha = isinstance(alpha, float | np.floating)
        each = [1 - alpha, alpha] if self.one_alpha else alpha
        weights = None if each is None else _vector(each)
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
        losses = _power(_log_others(logits), self.gamma) * -log_softmax(logits)
        return losses if self.alpha is None else finite(self._alpha_of(logits) * losses)

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        log_q, log_rest = _log_share_and_rest(logits, codes)
        losses = _power(log_rest, self.gamma) * -log_q
        return losses if self.alpha is None else finite(self._alpha_of(logits)[codes] * losses)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        scores = logits
        if self.gamma:
            log_rest = _log_others(logits)
            scores = self._log_balance(log_softmax(logits), log_rest, log_rest.amin(dim=1, keepdim=True))
        return scores if self.alpha is None else scores - self._alpha_of(scores).log()

    def _log_balance(self, log_q: torch.Tensor, log_rest: torch.Tensor, base: torch.Tensor | float) -> torch.Tensor:
        """Return log q / phi(q), phi = (1 - q)^g - g (1 - q)^(g - 1) q log q, where 1 - q is counted in e^base."""
        gamma = _within(self.gamma, log_q)
        return finite(log_q - gamma * (log_rest - base) - (gamma * _entropy_part(log_q, log_rest)).log1p())

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
            bound = torch.full_like(wanted, _FAR)
            return logsigmoid(_root(lambda each: balance(each) - wanted, -3 * bound, bound))

        top, rest = _first_and_rest(target)
        return _joined(top, rest, *_sum_to_1(others, target.new_tensor(_FAR)))


class LogitAdjustedLoss(_ByClass):
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
        """Return what is added to the logits, shape (K,); the greatest is 0."""
        return _weighed(self.tau, self._log_shares(like)).to(like)

    def class_losses(self, logits: torch.Tensor) -> torch.Tensor:
        return -log_softmax(finite(self.scores(logits)))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        return below_greatest(logits) + self.adjustment(logits)

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        return log_prior - self.adjustment(log_prior[None])


class LDAMLoss(_ByClass):
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
        """Return scale * margins, shape (K,)."""
        counts = self._counts(like)
        margins = _within(self.max_margin, counts) * (counts / counts.min()) ** -0.25
        return finite((_within(self.scale, counts) * margins).to(like))

    def _scaled(self, logits: torch.Tensor) -> torch.Tensor:
        return finite(_within(self.scale, logits) * below_greatest(logits))

    def class_losses(self, logits: torch.Tensor) -> torch.Tensor:
        scaled = self._scaled(logits)  # the log-odds of each class, less its margin, are those of its probability
        return -logsigmoid(finite(log_softmax(scaled) - _log_others(scaled) - self._margins(logits)))

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        log_q, log_rest = _log_share_and_rest(self._scaled(logits), codes)
        return -logsigmoid(finite(log_q - log_rest - self._margins(logits)[codes]))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        # The minimiser's p is the stationary distribution of Q, whose row c is the softmax with the margin at c. Solved
        # by hand: p_c is proportional to q_c (1 - q_c (1 - e^(-scale margin_c))), q being the softmax with no margin.
        scaled = self._scaled(logits)
        log_q, log_rest = log_softmax(scaled), _log_others(scaled)
        return log_q + torch.logaddexp(log_rest, finite(log_q - self._margins(logits)))

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        margins = self._margins(log_prior[None])
        short = -(-margins).expm1()
        # p_c is proportional to q_c (1 - short_c q_c), two q's for each p; only `top` can have the greater one.
        top, rest = _first_and_rest(log_prior + short.log())

        def others(odds: torch.Tensor) -> torch.Tensor:
            log_q, log_rest = logsigmoid(odds), logsigmoid(-odds)
            common = log_q + torch.logaddexp(log_rest, log_q - margins[top]) - log_prior[top]
            wanted = common + log_prior[rest]
            root = (1 - 4 * short[rest] * wanted.exp()).clamp_min(0).sqrt()
            return wanted - ((1 + root) / 2).log()

        scaled = _joined(top, rest, *_sum_to_1(others, finite(_FAR + margins[top])))
        return finite(scaled / self.scale)


class VSLoss(_ByClass):
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

    def _log_factors(self, like: torch.Tensor) -> torch.Tensor:
        return _weighed(self.gamma, self._counts(like).log()).to(like)

    def adjustment(self, like: torch.Tensor) -> torch.Tensor:
        """Return what is added to the scaled logits, shape (K,); the greatest is 0."""
        return _weighed(self.tau, self._log_shares(like)).to(like)

    def _binary(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Delta_c f + iota for c = 0 and 1, shape (n, 2), and the log factors, log Delta, shape (2,)."""
        log_factors, (a0, a1) = self._log_factors(logits), self.adjustment(logits)
        return finite(log_factors.exp() * log_odds(logits)[:, None] + (a1 - a0)), log_factors

    def class_losses(self, logits: torch.Tensor) -> torch.Tensor:
        if logits.shape[1] == 2:
            return -logsigmoid(self._binary(logits)[0] * torch.tensor([-1, 1], device=logits.device))
        return -log_softmax(finite(self.scores(logits)))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        if logits.shape[1] == 2:
            # p Delta_1 sigmoid(-m_1) = (1 - p) Delta_0 sigmoid(m_0) where the loss is least
            margins, log_factors = self._binary(logits)
            return log_factors.flip(0) + logsigmoid(torch.stack([-margins[:, 1], margins[:, 0]], dim=1))
        return below_greatest(self._log_factors(logits).exp() * logits) + self.adjustment(logits)

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        log_factors = self._log_factors(log_prior[None])
        if len(log_prior) == 2:
            return self._start_of_two(log_prior)
        scores = log_prior - self.adjustment(log_prior[None])
        # Any constant may be added to the scores: this one makes the squares of the logits least.
        scores = scores - (-2 * log_factors).softmax(dim=0) @ scores
        return finite(scores * finite((-log_factors).exp()))


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

    def _positive(self, f: torch.Tensor) -> torch.Tensor:
        """Return the loss of log-odds f where the class is the true one."""
        losses = -logsigmoid(f)
        return _power(logsigmoid(-f), self.gamma_positive) * losses if self.gamma_positive else losses

    def _negative(self, f: torch.Tensor) -> torch.Tensor:
        """Return the loss of log-odds f where another class is the true one."""
        log_p, log_rest = logsigmoid(f), logsigmoid(-f)
        if not self.clip:
            return _power(log_p, self.gamma_negative) * -log_rest if self.gamma_negative else -log_rest
        log_clip = np.log(self.clip)
        counts = log_p > log_clip
        shifted = torch.where(counts, log_p.exp() - self.clip, 1.0).clamp_min(torch.finfo(f.dtype).tiny)
        log_kept = torch.logaddexp(log_rest, torch.full_like(f, log_clip))  # log(1 - shifted)
        losses = shifted ** _within(self.gamma_negative, f) * -log_kept
        return torch.where(counts, losses, 0.0).clamp_min(0)

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        f, positives = self._against_rest(logits)
        if logits.shape[1] == 2:
            return torch.where(codes == positives, self._positive(f[:, 0]), self._negative(f[:, 0]))
        others = self._negative(f).scatter(1, codes[:, None], 0.0).sum(dim=1)
        return finite(self._positive(_true(f, codes)) + others)

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
        gamma = _within(gamma, log_u)
        return finite(_within(gamma + 1, log_u) * (log_u - base) + (gamma * _entropy_part(log_v, log_u)).log1p())

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
        log_p, log_rest = log_prior[positives], _log_others(log_prior[None])[0, positives]

        def surplus(f: torch.Tensor) -> torch.Tensor:
            up = (
                self._log_clipped_slope(f)
                if self.clip
                else self._log_slope(self.gamma_negative, logsigmoid(f), logsigmoid(-f))
            )
            down = self._log_slope(self.gamma_positive, logsigmoid(-f), logsigmoid(f))
            return up - down - (log_p - log_rest)

        bound = torch.full_like(log_p, _FAR)
        # With a clip, whose negative side is bounded, the least loss of a frequent class may lie at infinity.
        upper = bound.clamp_max(5 + max(0.0, np.log(self.clip / (1 - self.clip)))) if self.clip else bound
        f = _root(surplus, -bound, upper)
        return f if len(log_prior) > 2 else every_logit((2 * positives - 1) * f)[0]


class LabelSmoothingLoss(_ByClass):
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


LOSSES: dict[str, type[RowLoss]] = {
    "asymmetric": AsymmetricLoss,
    "focal": FocalLoss,
    "label_smoothing": LabelSmoothingLoss,
    "ldam": LDAMLoss,
    "logit_adjusted": LogitAdjustedLoss,
    "vs": VSLoss,
}


def _vector(values: Any) -> torch.Tensor | None:
    """Return finite numbers as a tensor of shape (K,), or None if they are none."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    try:
        numbers = np.array(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return None
    return torch.from_numpy(numbers) if numbers.ndim == 1 and np.isfinite(numbers).all() else None


def _within(number: float, like: torch.Tensor) -> float:
    """Return a number of at least 0, or the greatest of a dtype that does not reach so far."""
    return min(number, torch.finfo(like.dtype).max)


def _weighed(weight: float, logs: torch.Tensor) -> torch.Tensor:
    """Return weight * logs up to a constant, the greatest being 0, shape (K,)."""
    sign = -1 if weight < 0 else 1
    weighed = _within(abs(weight), logs) * (sign * logs - (sign * logs).max())
    return weighed.clamp_min(torch.finfo(torch.float32).min)  # any more would be the same


def _first_and_rest(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the position of the greatest value, and the others."""
    top = values.argmax()
    return top, torch.arange(len(values), device=values.device) != top


def _sum_to_1(others: Callable[[torch.Tensor], torch.Tensor], bound: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log probabilities that sum to 1: of one class, and of the others, which follow from its log-odds."""
    odds = _root(lambda odds: others(odds).logsumexp(dim=0) - logsigmoid(-odds), -bound, bound)
    return logsigmoid(odds), others(odds)


def _joined(top: torch.Tensor, rest: torch.Tensor, one: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the values of one class and of the others in their places, shape (K,)."""
    values = one.repeat(len(rest))
    values[rest] = others
    return values


def _finite(name: str, value: Any) -> float:
    number = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    if not (number and abs(value) <= float(np.finfo(float).max)):
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
