"""Which share each class has on the way from the data to the loss: in the rows, under the sampler, and weighted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassPriors:
    """Class counts from the data to the loss, each of shape (K,), and the class priors that follow from them.

    `+` adds up the calls of `partial_fit`; the class weights of a sum are those of its second part.

    Parameters
    ----------
    population : array of shape (K,)
        Sample weight of each class in the training rows.
    drawn : array of shape (K,)
        Rows that the sampler draws in an epoch.
    seen : array of shape (K,)
        Drawn rows times the mean sample weight in the class: what the loss sees before class weights.
    class_weight : array of shape (K,)
        Weights in the loss, of mean 1 over what it sees.
    n_rows : int
        Training rows.
    draw_is_known : bool, default=True
        Whether the rows come as the sampler says; a sampler of the user's leaves it unknown which come.

    Notes
    -----
    The prior that the net learns under is q_c, proportional to seen_c class_weight_c.
    """

    population: np.ndarray
    drawn: np.ndarray
    seen: np.ndarray
    class_weight: np.ndarray
    n_rows: int
    draw_is_known: bool = True

    @classmethod
    def of(
        cls, counts: np.ndarray, weight_sums: np.ndarray, shares: np.ndarray, n_drawn: int, draw_is_known: bool = True
    ) -> ClassPriors:
        """Make them from what the data and the sampler bring.

        Parameters
        ----------
        counts : array of shape (K,)
            Training rows.
        weight_sums : array of shape (K,)
            Sums of their sample weights.
        shares : array of shape (K,)
            Class shares under the sampler.
        n_drawn : int
            Rows that the sampler draws in an epoch.
        draw_is_known : bool, default=True
            Whether the rows come as the sampler says.

        Returns
        -------
        ClassPriors
            With class weights of 1.
        """
        drawn = n_drawn * shares
        mean_weight = np.divide(weight_sums, counts, out=np.zeros(len(counts)), where=counts > 0)
        return cls(weight_sums, drawn, drawn * mean_weight, np.ones(len(counts)), int(counts.sum()), draw_is_known)

    def __add__(self, other: ClassPriors) -> ClassPriors:
        return ClassPriors(
            self.population + other.population,
            self.drawn + other.drawn,
            self.seen + other.seen,
            other.class_weight,
            self.n_rows + other.n_rows,
            self.draw_is_known and other.draw_is_known,
        )

    @property
    def n_classes_seen(self) -> int:
        """Classes that have come with a row."""
        return int((self.population > 0).sum())

    @property
    def counts_seen(self) -> np.ndarray:
        """What the loss sees of each class, in training rows: an epoch of another length changes nothing."""
        return self.seen * self.n_rows / self.drawn.sum()

    @property
    def weight_scale(self) -> float:
        """What brings sample weights to mean 1 over what the loss sees."""
        return float(self.n_rows / self.counts_seen.sum())

    @property
    def class_prior(self) -> np.ndarray:
        """Class shares in the training rows, weighted by sample weight."""
        return self.population / self.population.sum()

    @property
    def sampled_prior(self) -> np.ndarray:
        """Class shares of the rows that the net is shown; NaN where they are not known."""
        return self._if_known(self.drawn / self.drawn.sum())

    @property
    def effective_prior(self) -> np.ndarray:
        """Shares q_c, proportional to sampled share x mean sample weight x class weight; NaN where it is not known."""
        weighted = self.seen * self.class_weight
        return self._if_known(weighted / weighted.sum())

    @property
    def start_prior(self) -> np.ndarray | None:
        """The effective prior with half a row more of each class; None where it is not known."""
        if not self.draw_is_known:
            return None
        counts = self.population.sum() * self.effective_prior + 0.5
        return counts / counts.sum()

    def _if_known(self, prior: np.ndarray) -> np.ndarray:
        return prior if self.draw_is_known else np.full(len(prior), np.nan)
