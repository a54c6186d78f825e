"""What each class weighs in the loss: from class counts to weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from imbalanced_torch._parameters.values import by_label, listed, lookup, number, pass_instead

Scheme = Callable[[np.ndarray], np.ndarray]


def _mean_one(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Scale weights to mean 1 over the rows, so that the learning rate means the same for every scheme."""
    return weights * counts.sum() / (weights @ counts)


def balanced(counts: np.ndarray) -> np.ndarray:
    """n / (K n_c): every class has the same share of the loss."""
    return _mean_one(1 / counts, counts)


def inverse_sqrt(counts: np.ndarray) -> np.ndarray:
    """Proportional to n_c^-1/2: half of the way, in logits, to equal shares."""
    return _mean_one(counts**-0.5, counts)


@dataclass(repr=False)
class EffectiveNumber(BaseEstimator):
    """Weights proportional to (1 - beta) / (1 - beta^n_c), the inverse effective number of rows.

    Parameters
    ----------
    beta : float in [0, 1) or None, default=None
        0 gives equal weights and 1 - beta << 1 / n gives "balanced". None takes (n - 1) / n from the n rows in
        training.

    Raises
    ------
    ValueError
        When called: if beta is outside [0, 1), or is None and the rows' weights sum to less than 1.

    References
    ----------
    Cui, Jia, Lin, Song, Belongie. Class-Balanced Loss Based on Effective Number of Samples. CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> EffectiveNumber(beta=0.0)(np.array([90.0, 10.0]))
    array([1., 1.])
    """

    beta: float | None = None

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return weights of mean 1, shape (K,), for (weighted) class counts, shape (K,)."""
        n = counts.sum()
        if self.beta is None and n < 1 - 1e-9:  # weights that sum to 1 may do so with an error of rounding
            raise ValueError(
                'class_weight="effective" takes beta = (n - 1) / n, so the weighted row count n must be at least 1; '
                f"it is {n:.4g}. "
                "Scale sample_weight up, or pass EffectiveNumber(beta=...)."
            )
        beta = number(self.beta)
        if self.beta is not None and (beta is None or not 0 <= beta < 1):
            raise ValueError(f"beta must be in [0, 1); it is {self.beta!r}.")
        with np.errstate(divide="ignore"):  # beta = 0: log(0) = -inf, and 1 - 0^n = 1 as it should be
            # By 1 / n, as (n - 1) / n is 1 from n = 9e15 on.
            log_beta = np.log1p(-min(1.0, 1 / n)) if beta is None else np.log(beta)
            effective = -np.expm1(counts * log_beta)
        return _mean_one(1 / effective, counts)


SCHEMES: dict[str, Scheme] = {
    "balanced": balanced,
    "sqrt": inverse_sqrt,
    "effective": EffectiveNumber(),
}

# Words that other packages use for one of ours.
_ALIASES = {"auto": "balanced", "balance": "balanced", "inverse": "balanced", "balanced_subsample": "balanced"}


class ClassWeighting(NamedTuple):
    """A resolved `class_weight`."""

    scheme: Scheme
    #: True for numbers that the user gave. They are costs and multiply with whatever else weighs; words are
    #: computed on what the loss sees without them, so they never correct twice.
    costs: bool


def resolve_class_weight(class_weight: Any, classes: np.ndarray) -> ClassWeighting:
    """Turn the hyperparameter into one scheme, from class counts to weights in the order of `classes`."""
    if class_weight is None:
        return ClassWeighting(np.ones_like, costs=False)
    if isinstance(class_weight, str):
        return ClassWeighting(lookup("class_weight", class_weight, SCHEMES, _ALIASES), costs=False)
    if isinstance(class_weight, EffectiveNumber):
        return ClassWeighting(class_weight, costs=False)
    if isinstance(class_weight, Mapping):
        weights = by_label("class_weight", class_weight, classes, missing=[1.0] * len(classes))
        return ClassWeighting(partial(_given, np.asarray(weights)), costs=True)
    if isinstance(class_weight, Sequence | np.ndarray):
        return ClassWeighting(partial(_given, np.asarray(class_weight)), costs=True)
    if callable(class_weight) and not isinstance(class_weight, type):
        return ClassWeighting(class_weight, costs=True)
    raise TypeError(
        f"class_weight must be None, one of the words {sorted(SCHEMES)}, EffectiveNumber(...), a dict from label to "
        "weight, "
        f"an array in the order of classes_ or a callable from counts to weights; it is {listed(class_weight)}."
        f"{pass_instead(class_weight)}"
    )


def _given(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return weights


def class_weights(
    weighting: ClassWeighting, class_counts: np.ndarray, seen_counts: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """Return the weights, shape (K,), scaled to mean 1 over what the loss sees.

    Parameters
    ----------
    weighting : ClassWeighting
    class_counts : array of shape (K,)
        Weighted rows of each class in the training data. 0 for a class that no call of `partial_fit` has brought yet.
    seen_counts : array of shape (K,)
        The same as the loss sees them: after sampling, times sample weight.
    classes : array of shape (K,)
        The labels, for messages.
    """
    present = seen_counts > 0
    weights = np.ones(len(classes))  # a class that is not there yet weighs 1
    if weighting.costs:
        with np.errstate(divide="ignore"):  # a callable may divide by the count of such a class
            weights[present] = _numbers(weighting.scheme(class_counts.astype(float)), classes)[present]
    else:
        weights[present] = _numbers(weighting.scheme(seen_counts[present].astype(float)), classes[present])
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        by_class = dict(zip(classes[bad].tolist(), weights[bad].tolist(), strict=True))
        raise ValueError(f"class_weight must be finite and not negative; it is {listed(by_class)}.")
    if not weights[present].any():
        raise ValueError(
            f"class_weight must be positive for some class of y; for the classes {listed(classes[present])} all are 0."
        )
    weights[present] = _mean_one(weights[present], seen_counts[present])
    return weights


def _numbers(weights: Any, classes: np.ndarray) -> np.ndarray:
    numbers = np.asarray(weights)
    if numbers.dtype.kind not in "iufb":
        raise TypeError(f"class_weight must hold a number for each class; it holds {listed(weights)}.")
    if numbers.shape != classes.shape:
        raise ValueError(
            f"class_weight must have one weight for each of the {len(classes)} classes {listed(classes)}; it has "
            f"shape {numbers.shape}. "
            "Where a fold may lack a class, pass a dict from label to weight."
        )
    return numbers.astype(float)
