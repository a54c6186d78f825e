"""Losses that move or scale logits by how rare the classes are: logit adjustment, margins, vector scaling."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import logsigmoid

from imbalanced_torch._losses.logits import below_greatest, finite, log_odds, log_softmax
from imbalanced_torch._losses.row_loss import (
    FAR,
    LossByClass,
    finite_number,
    first_and_rest,
    joined,
    log_others,
    log_share_and_rest,
    log_weighed,
    number_of_at_least_0,
    positive_number,
    sum_to_1,
    within_dtype,
)


class LogitAdjustedLoss(LossByClass):
    """Cross-entropy of logits + tau log prior, also known as balanced softmax (tau=1): the logits learn to be balanced.

    The greatest logit is then the decision for balanced accuracy; the prior is that of the rows that are sampled.

    Parameters
    ----------
    class_counts : array of shape (K,), default=None
        Rows of each class, which the loss needs; the estimator passes those that are sampled.
    tau : float, default=1.0
        0 is cross-entropy.
    reduction : "mean", "sum" or "none", default="mean"
        What is made of the losses of a batch; "none" returns one for each row.

    Raises
    ------
    ValueError
        If a parameter is not what it must be.

    Notes
    -----
    The loss is -log softmax(f + tau log prior)_y, f being the logits. `probabilities` is softmax(f + tau log prior).

    References
    ----------
    Menon, Jayasumana, Rawat, Jain, Veit, Kumar. Long-tail Learning via Logit Adjustment. ICLR 2021. Ren, Yu, Sheng, Ma,
    Zhao, Yi, Li. Balanced Meta-Softmax for Long-Tailed Visual Recognition. NeurIPS 2020.

    Examples
    --------
    >>> loss = LogitAdjustedLoss([90, 10])(torch.zeros(1, 2), torch.tensor([1]))  # -log .1
    >>> round(loss.item(), 4)
    2.3026
    """

    def __init__(self, class_counts: Any = None, tau: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(class_counts, reduction)
        self.tau = finite_number("tau", tau)

    def adjustment(self, like: torch.Tensor) -> torch.Tensor:
        """Return what is added to the logits.

        Parameters
        ----------
        like : tensor of shape (n, K)
            Logits, whose dtype and device are taken.

        Returns
        -------
        tensor of shape (K,)
            The adjustment of each class; the greatest is 0.
        """
        return log_weighed(self.tau, self._log_shares(like)).to(like)

    def class_losses(self, logits: torch.Tensor) -> torch.Tensor:
        return -log_softmax(finite(self.scores(logits)))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        return below_greatest(logits) + self.adjustment(logits)

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        return log_prior - self.adjustment(log_prior[None])


class LDAMLoss(LossByClass):
    """Cross-entropy of scale * (logits - margin_y at the true class): rare classes get a wider margin.

    Parameters
    ----------
    class_counts : array of shape (K,), default=None
        Rows of each class, which the loss needs; the estimator passes those that are sampled.
        Margins are proportional to n_c^-1/4.
    max_margin : float >= 0, default=0.5
        Margin of the rarest class.
    scale : float > 0, default=1.0
        1.0 suits logits of any size. The paper takes 30 for logits that are cosines, in [-1, 1].
    reduction : "mean", "sum" or "none", default="mean"
        What is made of the losses of a batch; "none" returns one for each row.

    Raises
    ------
    ValueError
        If a parameter is not what it must be.

    Notes
    -----
    The loss is -log of the softmax of scale (f - margin_y at y), f being the logits, and margin_c = max_margin (n_c /
    n_min)^-1/4. With q = softmax(scale f), `probabilities` is proportional to q_c (1 - q_c (1 - e^(-scale margin_c))).

    References
    ----------
    Cao, Wei, Gaidon, Arechiga, Ma. Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss. NeurIPS
    2019.

    Examples
    --------
    >>> loss = LDAMLoss([160, 10], max_margin=1.0)(torch.zeros(2, 2), torch.tensor([0, 1]))
    >>> round(loss.item(), 4)  # margins .5 and 1: the mean of log(1 + e^.5) and log(1 + e)
    1.1437
    """

    def __init__(
        self, class_counts: Any = None, max_margin: float = 0.5, scale: float = 1.0, reduction: str = "mean"
    ) -> None:
        super().__init__(class_counts, reduction)
        self.max_margin = number_of_at_least_0("max_margin", max_margin)
        self.scale = positive_number("scale", scale)

    def _margins(self, like: torch.Tensor) -> torch.Tensor:
        """Return scale * margins, shape (K,)."""
        counts = self._counts(like)
        margins = within_dtype(self.max_margin, counts) * (counts / counts.min()) ** -0.25
        return finite((within_dtype(self.scale, counts) * margins).to(like))

    def _scaled(self, logits: torch.Tensor) -> torch.Tensor:
        return finite(within_dtype(self.scale, logits) * below_greatest(logits))

    def class_losses(self, logits: torch.Tensor) -> torch.Tensor:
        scaled = self._scaled(logits)  # the log-odds of each class, less its margin, are those of its probability
        return -logsigmoid(finite(log_softmax(scaled) - log_others(scaled) - self._margins(logits)))

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        log_q, log_rest = log_share_and_rest(self._scaled(logits), codes)
        return -logsigmoid(finite(log_q - log_rest - self._margins(logits)[codes]))

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        # The minimiser's p is the stationary distribution of Q, whose row c is the softmax with the margin at c. Solved
        # by hand: p_c is proportional to q_c (1 - q_c (1 - e^(-scale margin_c))), q being the softmax with no margin.
        scaled = self._scaled(logits)
        log_q, log_rest = log_softmax(scaled), log_others(scaled)
        return log_q + torch.logaddexp(log_rest, finite(log_q - self._margins(logits)))

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        margins = self._margins(log_prior[None])
        short = -(-margins).expm1()
        # p_c is proportional to q_c (1 - short_c q_c), two q's for each p; only `top` can have the greater one.
        top, rest = first_and_rest(log_prior + short.log())

        def others(odds: torch.Tensor) -> torch.Tensor:
            log_q, log_rest = logsigmoid(odds), logsigmoid(-odds)
            common = log_q + torch.logaddexp(log_rest, log_q - margins[top]) - log_prior[top]
            wanted = common + log_prior[rest]
            root = (1 - 4 * short[rest] * wanted.exp()).clamp_min(0).sqrt()
            return wanted - ((1 + root) / 2).log()

        scaled = joined(top, rest, *sum_to_1(others, finite(FAR + margins[top])))
        return finite(scaled / self.scale)


class VSLoss(LossByClass):
    """Vector scaling: cross-entropy of logits times (n_c / n_max)^gamma, plus tau log prior.

    For two classes the paper's binary form, log(1 + exp(-+(Delta_y f + iota))), f the log-odds and iota = tau log(n_1 /
    n_0). tau=0 is CDT, gamma=0 logit adjustment.

    Parameters
    ----------
    class_counts : array of shape (K,), default=None
        Rows of each class, which the loss needs; the estimator passes those that are sampled.
    gamma : float >= 0, default=0.15
        Power of n_c / n_max by which logits are scaled. The default is the paper's for CIFAR-10.
    tau : float, default=1.25
        Factor of the log prior. The default is the paper's for CIFAR-10.
    reduction : "mean", "sum" or "none", default="mean"
        What is made of the losses of a batch; "none" returns one for each row.

    Raises
    ------
    ValueError
        If a parameter is not what it must be.

    Notes
    -----
    For more than two classes the loss is -log softmax(Delta f + tau log prior)_y, f being the logits and Delta_c =
    (n_c / n_max)^gamma.

    References
    ----------
    Kini, Paraskevas, Oymak, Thrampoulidis. Label-Imbalanced and Group-Sensitive Classification under
    Overparameterization. NeurIPS 2021. CDT: Ye, Chen, Zhan, Chao. Identifying and Compensating for Feature Deviation in
    Imbalanced Deep Learning. 2020.

    Examples
    --------
    >>> loss = VSLoss([75, 25], gamma=0.0, tau=1.0)(torch.zeros(1, 2), torch.tensor([1]))  # -log .25
    >>> round(loss.item(), 4)
    1.3863
    """

    def __init__(
        self, class_counts: Any = None, gamma: float = 0.15, tau: float = 1.25, reduction: str = "mean"
    ) -> None:
        super().__init__(class_counts, reduction)
        self.gamma = number_of_at_least_0("gamma", gamma)
        self.tau = finite_number("tau", tau)

    def _log_factors(self, like: torch.Tensor) -> torch.Tensor:
        return log_weighed(self.gamma, self._counts(like).log()).to(like)

    def adjustment(self, like: torch.Tensor) -> torch.Tensor:
        """Return what is added to the scaled logits.

        Parameters
        ----------
        like : tensor of shape (n, K)
            Logits, whose dtype and device are taken.

        Returns
        -------
        tensor of shape (K,)
            The adjustment of each class; the greatest is 0.
        """
        return log_weighed(self.tau, self._log_shares(like)).to(like)

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
