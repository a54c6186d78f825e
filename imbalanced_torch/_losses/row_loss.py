"""What losses of one loss a row have in common: from logits and codes to losses, and back to probabilities.

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

from imbalanced_torch._losses.logits import below_greatest, finite, log_softmax, to_class_logits
from imbalanced_torch._losses.targets import check_logits_of_rows, read_targets

#: Classes up to which the start of training is sought in all K x K losses.
_DENSE = 256
#: Log-odds beyond those of any prior in double precision.
FAR = 800.0


class RowLoss(nn.Module, ABC):
    """A criterion of one loss a row: the common part of those below.

    Parameters
    ----------
    class_counts : array of shape (K,), default=None
        Rows of each class, where the loss needs them; may hold fractions. A class of 0 counts as one row.
    reduction : "mean", "sum" or "none", default="mean"
        What is made of the losses of a batch; "none" returns one for each row.

    Raises
    ------
    ValueError
        If a parameter is not what it must be.
    """

    class_counts: torch.Tensor | None

    def __init__(self, class_counts: Any = None, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; it is {reduction!r}.")
        self.reduction = reduction
        counts = None if class_counts is None else vector_of(class_counts)
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
        tensor
            A scalar, or the losses of the rows, shape (n,), if reduction="none".

        Raises
        ------
        ValueError
            If targets are neither.
        """
        check_logits_of_rows(logits)
        codes, proba = read_targets(targets, logits)
        every = to_class_logits(logits)
        losses = self.row_losses(every, codes) if proba is None else self.expected_losses(every, proba)
        return losses if self.reduction == "none" else getattr(losses, self.reduction)()

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the class probabilities whose loss these logits minimise.

        Parameters
        ----------
        logits : tensor of shape (n,), (n, 1) or (n, K)
            One logit f, for two classes, is the two logits (0, f).

        Returns
        -------
        tensor of shape (n, K)
            Probabilities in the order of codes.
        """
        return self.log_probabilities(logits).exp()

    def log_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of `probabilities`.

        Parameters
        ----------
        logits : tensor of shape (n,), (n, 1) or (n, K)
            One logit f, for two classes, is the two logits (0, f).

        Returns
        -------
        tensor of shape (n, K)
            Log probabilities in the order of codes.
        """
        return log_softmax(finite(self.scores(to_class_logits(logits))))

    def expected_losses(self, logits: torch.Tensor, proba: torch.Tensor) -> torch.Tensor:
        """Return sum_c p_c loss_c, the loss for targets that are class probabilities.

        Parameters
        ----------
        logits : tensor of shape (n, K)
            One logit for each class.
        proba : tensor of shape (n, K)
            Class probabilities.

        Returns
        -------
        tensor of shape (n,)
            The expected loss of each row.
        """
        codes = torch.arange(logits.shape[1], device=logits.device)
        return torch.stack(
            [p * self.row_losses(logits, code.expand(len(logits))) for p, code in zip(proba.T, codes, strict=True)]
        ).sum(dim=0)

    def start_logits(self, log_prior: torch.Tensor) -> torch.Tensor:
        """Return the logits of least loss where nothing is known but the class prior.

        Here they are sought by descent from the log prior, which takes all K x K losses at each step. With more than
        256 classes that would cost more than training, and the log prior itself is returned.

        Parameters
        ----------
        log_prior : tensor of shape (K,)
            Logarithm of the class prior.

        Returns
        -------
        tensor of shape (K,)
            The logits that training starts at.
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
        """Return the losses of rows.

        Parameters
        ----------
        logits : tensor of shape (n, K)
            One logit for each class.
        codes : tensor of shape (n,)
            Class codes 0..K-1.

        Returns
        -------
        tensor of shape (n,)
            The loss of each row.
        """

    @abstractmethod
    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Return log probabilities up to a constant in each row.

        Parameters
        ----------
        logits : tensor of shape (n, K)
            One logit for each class.

        Returns
        -------
        tensor of shape (n, K)
            Log probabilities up to a constant.
        """

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


class LossByClass(RowLoss):
    """A loss that is worked for all classes at once in O(K)."""

    @abstractmethod
    def class_losses(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row for each class that might be true.

        Parameters
        ----------
        logits : tensor of shape (n, K)
            One logit for each class.

        Returns
        -------
        tensor of shape (n, K)
            Losses, true classes in columns.
        """

    def row_losses(self, logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return of_true_class(self.class_losses(logits), codes)

    def expected_losses(self, logits: torch.Tensor, proba: torch.Tensor) -> torch.Tensor:
        return (proba * self.class_losses(logits)).sum(dim=1)

    def _start_of_two(self, log_prior: torch.Tensor) -> torch.Tensor:
        """Return the two logits, one of them 0, whose probabilities are the prior."""

        def surplus(odds: torch.Tensor) -> torch.Tensor:
            scores = finite(self.scores(to_class_logits(odds)))
            return finite(scores[:, 1] - scores[:, 0] - (log_prior[1] - log_prior[0]))

        bound = log_prior.new_full((1,), 1e9)
        return to_class_logits(root_of(surplus, -bound, bound))[0]


def of_true_class(values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the value of the true class in each row, shape (n,)."""
    return values.gather(1, codes[:, None])[:, 0]


def log_others(logits: torch.Tensor) -> torch.Tensor:
    """Return log(1 - p_c) for p = softmax(logits), shape (n, K), without cancellation where p_c is near 1."""
    logits = below_greatest(logits)
    top = logits.argmax(dim=1, keepdim=True)
    p = torch.softmax(logits, dim=1).scatter(1, top, 0.0)
    others = logits.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)
    return (-p).log1p().scatter(1, top, finite(others - logits.logsumexp(dim=1, keepdim=True)))


def log_share_and_rest(logits: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log p_c and log(1 - p_c) for the class c of each row alone, shape (n,)."""
    logits = below_greatest(logits)
    total = logits.logsumexp(dim=1)
    rest = logits.scatter(1, codes[:, None], -torch.inf).logsumexp(dim=1)
    return finite(of_true_class(logits, codes) - total), finite(rest - total).clamp_max(0)


def power(log_u: torch.Tensor, exponent: float) -> torch.Tensor:
    """Return u^exponent for u in [0, 1], without a gradient where u is 1 to the last digit."""
    # There the gradient is 0 times a loss, which may be so great that its product with the exponent is infinite.
    return (within_dtype(exponent, log_u) * log_u.clamp_max(-torch.finfo(log_u.dtype).tiny)).exp()


def log1p(values: torch.Tensor) -> torch.Tensor:
    """Return log(1 + x) for x of at least 0, to the dtype's largest, near which torch 2.6 has nan."""
    return torch.where(values < 1, values.log1p(), (1 + values).log())


def entropy_part(log_v: torch.Tensor, log_rest: torch.Tensor) -> torch.Tensor:
    """Return -v log v / (1 - v), in [0, 1], from log v and log(1 - v)."""
    v, rest = log_v.exp(), log_rest.exp()
    small = rest.clamp(torch.finfo(rest.dtype).tiny, 0.5)
    return torch.where(rest <= 0.5, v * -(-small).log1p() / small, -v * log_v / rest.clamp_min(0.5)).clamp(0, 1)


def root_of(
    increasing: Callable[[torch.Tensor], torch.Tensor], lower: torch.Tensor, upper: torch.Tensor
) -> torch.Tensor:
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


def vector_of(values: Any) -> torch.Tensor | None:
    """Return finite numbers as a tensor of shape (K,), or None if they are none."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    try:
        numbers = np.array(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return None
    return torch.from_numpy(numbers) if numbers.ndim == 1 and np.isfinite(numbers).all() else None


def within_dtype(number: float, like: torch.Tensor) -> float:
    """Return a number of at least 0, or the greatest of a dtype that does not reach so far."""
    return min(number, torch.finfo(like.dtype).max)


def log_weighed(weight: float, logs: torch.Tensor) -> torch.Tensor:
    """Return weight * logs up to a constant, the greatest being 0, shape (K,)."""
    sign = -1 if weight < 0 else 1
    weighed = within_dtype(abs(weight), logs) * (sign * logs - (sign * logs).max())
    return weighed.clamp_min(torch.finfo(torch.float32).min)  # any more would be the same


def first_and_rest(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the position of the greatest value, and the others."""
    top = values.argmax()
    return top, torch.arange(len(values), device=values.device) != top


def sum_to_1(others: Callable[[torch.Tensor], torch.Tensor], bound: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log probabilities that sum to 1: of one class, and of the others, which follow from its log-odds."""
    odds = root_of(lambda odds: others(odds).logsumexp(dim=0) - logsigmoid(-odds), -bound, bound)
    return logsigmoid(odds), others(odds)


def joined(top: torch.Tensor, rest: torch.Tensor, one: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the values of one class and of the others in their places, shape (K,)."""
    values = one.repeat(len(rest))
    values[rest] = others
    return values


def finite_number(name: str, value: Any) -> float:
    number = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    if not (number and abs(value) <= float(np.finfo(float).max)):
        raise ValueError(f"{name} must be a finite number; it is {value!r}.")
    return float(value)


def number_of_at_least_0(name: str, value: Any) -> float:
    if finite_number(name, value) < 0:
        raise ValueError(f"{name} must not be negative; it is {value!r}.")
    return float(value)


def positive_number(name: str, value: Any) -> float:
    if finite_number(name, value) <= 0:
        raise ValueError(f"{name} must be positive; it is {value!r}.")
    return float(value)
