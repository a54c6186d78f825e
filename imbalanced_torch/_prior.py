"""Which share each class has: in the data, under the sampler, in the loss, and in the probabilities that come out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Exposure:
    """Class counts on the way from the data to the loss, each of shape (K,); `+` adds up calls of `partial_fit`."""

    #: Sample weight of each class in the training rows.
    population: np.ndarray
    #: The training rows, shared out among the classes as the sampler draws them.
    drawn: np.ndarray
    #: Drawn rows times the mean sample weight in the class: what the loss sees before class weights.
    seen: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray, weight_sums: np.ndarray, sampled_shares: np.ndarray) -> Exposure:
        """Make it from row counts, sums of sample weights and the sampler's class shares, each of shape (K,)."""
        drawn = counts.sum() * sampled_shares
        mean_weight = np.divide(weight_sums, counts, out=np.zeros(len(counts)), where=counts > 0)
        return cls(population=weight_sums, drawn=drawn, seen=drawn * mean_weight)

    def __add__(self, other: Exposure) -> Exposure:
        return Exposure(self.population + other.population, self.drawn + other.drawn, self.seen + other.seen)

    @property
    def class_prior(self) -> np.ndarray:
        return self.population / self.population.sum()

    @property
    def sampled_prior(self) -> np.ndarray:
        return self.drawn / self.drawn.sum()

    def effective_prior(self, class_weight: np.ndarray) -> np.ndarray:
        """q_c, proportional to sampled share x mean sample weight x class weight."""
        weighted = self.seen * class_weight
        return weighted / weighted.sum()


def correctable(prior: np.ndarray) -> bool:
    """Whether probabilities at a prior can be carried to another: every class must have a known, positive share."""
    return bool((prior > 0).all())


def correct_prior(log_proba: torch.Tensor, trained: np.ndarray, target: np.ndarray) -> torch.Tensor:
    """Carry log probabilities from the prior that a net was trained under to another: p'_c ~ p_c target_c / trained_c.

    Parameters
    ----------
    log_proba : tensor of shape (n, K)
    trained, target : arrays of shape (K,)
        Class priors; `trained` must be `correctable`.

    References
    ----------
    Saerens, Latinne, Decaestecker. Adjusting the Outputs of a Classifier to New a Priori Probabilities. Neural
    Computation 14 (2002).
    """
    with np.errstate(divide="ignore"):  # a target of 0 is a legitimate prior
        shift = np.log(target) - np.log(trained)
    return torch.log_softmax(log_proba + torch.as_tensor(shift, dtype=log_proba.dtype, device=log_proba.device), dim=1)
