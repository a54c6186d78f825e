"""Whether a difference over folds is more than noise: the corrected resampled t-test, and Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

#: What a difference by chance alone may pass as, over all strategies of a score.
LEVEL = 0.05


@dataclass(frozen=True)
class PairedTests:
    """Differences of strategies from a reference over the same folds, arrays of shape (n_strategies,).

    The reference has NaN. `p_value` is Holm's over the strategies of the family, and others' by itself.
    """

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray

    @property
    def better(self) -> np.ndarray:
        """Which strategies are better than the reference beyond noise."""
        return (self.p_value < LEVEL) & (self.difference > 0)

    @property
    def worse(self) -> np.ndarray:
        """Which strategies are worse than the reference beyond noise."""
        return (self.p_value < LEVEL) & (self.difference < 0)


def paired_tests(scores: np.ndarray, reference: int, test_share: float, family: np.ndarray) -> PairedTests:
    """Test scores of shape (n_strategies, n_folds) against those of a strategy; `test_share` is n_test / n_train.

    `family` says of which strategies the best is looked for, shape (n_strategies,).
    """
    found = np.array([corrected_t_test(own - scores[reference], test_share) for own in scores])
    found[reference] = np.nan
    difference, low, high, p = found.T
    return PairedTests(difference, low, high, np.where(family, holm(np.where(family, p, np.nan)), p))


def corrected_t_test(differences: np.ndarray, test_share: float) -> tuple[float, float, float, float]:
    """Return the mean of differences over folds, its interval at 95 % and the p-value of no difference.

    Folds share training rows, so that the variance of a mean over J folds is larger than s^2 / J: it is about
    (1 / J + n_test / n_train) s^2 (Nadeau and Bengio, Machine Learning 52, 2003).
    """
    n = len(differences)
    mean = float(differences.mean())
    error = float(np.sqrt((1 / n + test_share) * differences.var(ddof=1)))
    if not np.isfinite(mean):
        return mean, np.nan, np.nan, np.nan
    if error <= 1e-12 * max(1.0, abs(mean)):  # the same in every fold
        return mean, mean, mean, 1.0 if abs(mean) <= 1e-12 else 0.0
    reach = float(student.ppf(0.975, n - 1)) * error
    return mean, mean - reach, mean + reach, float(2 * student.sf(abs(mean) / error, n - 1))


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values that hold for all of them at once (Holm 1979); NaN stays."""
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted
