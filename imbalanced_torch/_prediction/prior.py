"""Which share each class has: in the data, under the sampler, in the loss, and in the probabilities that come out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from imbalanced_torch._parameters.values import by_label, listed, pass_instead


def resolve_prior_correction(prior_correction: Any, class_prior: np.ndarray, classes: np.ndarray) -> np.ndarray | None:
    """Turn the hyperparameter into the prior to carry probabilities to, shape (K,); None leaves them where they are."""
    if isinstance(prior_correction, bool | np.bool_):
        return class_prior if prior_correction else None
    labels = classes.tolist()
    if isinstance(prior_correction, Mapping):
        given: Any = by_label("prior_correction", prior_correction, classes, missing=[None] * len(labels))
        without = [label for label, share in zip(labels, given, strict=True) if share is None]
        if without:
            raise ValueError(
                f"prior_correction must have a prior for each of the classes {listed(labels)}; it has none for "
                f"{listed(without)}."
            )
        shares: Any = list(prior_correction.values())  # those of classes that this fold lacks too
    elif isinstance(prior_correction, Sequence | np.ndarray) and not isinstance(prior_correction, str):
        given = shares = prior_correction
    else:
        raise TypeError(
            "prior_correction must be False, True (the class shares of the training rows), a dict from label to prior "
            f"or an array in the order of classes_; it is {listed(prior_correction)}."
            f"{pass_instead(prior_correction)}"
        )
    try:
        target, total = np.asarray(given, dtype=float), float(np.sum(np.asarray(shares, dtype=float)))
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"prior_correction must hold a number for each class; it is {listed(prior_correction)}."
        ) from None
    if target.shape != classes.shape:
        raise ValueError(
            f"prior_correction must have one prior for each of the {len(labels)} classes {listed(labels)}; it has "
            f"shape {target.shape}. Where a fold may lack a class, pass a dict from label to prior."
        )
    if not np.isfinite(target).all() or (np.asarray(shares, dtype=float) < 0).any():
        raise ValueError(f"prior_correction must be finite and not negative; it is {listed(prior_correction)}.")
    if not np.isclose(total, 1, rtol=0, atol=1e-4) or not target.any():
        raise ValueError(
            f"prior_correction must sum to 1; it is {listed(prior_correction)}, which sums to {total:.6g}."
        )
    return target / target.sum()


def correct_prior(log_proba: torch.Tensor, trained: np.ndarray, target: np.ndarray) -> torch.Tensor:
    """Carry log probabilities from the prior that a net was trained under to another: p'_c ~ p_c target_c / trained_c.

    Parameters
    ----------
    log_proba : tensor of shape (n, K)
    trained, target : arrays of shape (K,)
        Class priors. A class of target 0 gets probability 0; every other needs a positive share of `trained`.

    References
    ----------
    Saerens, Latinne, Decaestecker. Adjusting the Outputs of a Classifier to New a Priori Probabilities. Neural
    Computation 14 (2002).
    """
    ratio = torch.as_tensor(log_ratio(trained, target)).to(log_proba)
    corrected = torch.log_softmax(log_proba + ratio, dim=1)
    return torch.where(ratio > -torch.inf, corrected.clamp_min(torch.finfo(corrected.dtype).min), corrected)


def log_ratio(trained: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return log target_c / trained_c, shape (K,), -inf where the target is 0."""
    ratio = np.full(len(target), -np.inf)
    there = target > 0
    ratio[there] = np.log(target[there]) - np.log(trained[there])
    return ratio


def correctable(trained: np.ndarray, target: np.ndarray) -> bool:
    """Whether `correct_prior` can carry probabilities from one prior to the other."""
    return bool((trained[target > 0] > 0).all())


def estimate_prior(proba: Any, prior: Any, *, tol: float = 1e-8, max_iter: int = 10_000) -> np.ndarray:
    """Estimate the class prior where unlabelled rows come from, to pass as `prior_correction`.

    The rows must differ from the training rows in class shares only. Probabilities are taken as they are, so they
    should be calibrated.

    Parameters
    ----------
    proba : array of shape (n, K)
        Class probabilities of the unlabelled rows.
    prior : array of shape (K,)
        The prior that `proba` is at: `effective_prior_` of the estimator, or what its `prior_correction` carries them
        to (`class_prior_` for True).
    tol : float, default=1e-8
        Iterations end when no share changes by more.
    max_iter : int, default=10_000
        Iterations at most.

    Returns
    -------
    array of shape (K,)
        Class shares in the order of the columns.

    Raises
    ------
    ValueError, TypeError
        If `proba` or `prior` do not hold probabilities, a class has a prior of 0, or `tol` or `max_iter` are not what
        they must be.

    Warns
    -----
    UserWarning
        If the iterations have not converged.

    Notes
    -----
    Expectation and maximisation in turn: pi_c becomes the mean over the rows of p_c pi_c / prior_c, made to sum to 1
    in each row, until pi no longer changes.

    References
    ----------
    Saerens, Latinne, Decaestecker. Adjusting the Outputs of a Classifier to New a Priori Probabilities. Neural
    Computation 14 (2002).

    Examples
    --------
    >>> import numpy as np
    >>> proba = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> estimate_prior(proba, [0.5, 0.5])
    array([0.75, 0.25])
    """
    try:
        rows, start = np.asarray(proba, dtype=float), np.asarray(prior, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"proba and prior must be arrays of numbers: {error}.") from error
    if rows.ndim != 2 or not len(rows) or not (rows >= 0).all() or not np.allclose(rows.sum(axis=1), 1, atol=1e-3):
        raise ValueError(
            f"proba must hold the class probabilities of at least one row: no number below 0 and none missing, rows "
            f"that sum to 1; its shape is {rows.shape}."
        )
    if start.shape != rows.shape[1:] or not (start > 1e-12).all() or not np.isclose(start.sum(), 1, atol=1e-3):
        raise ValueError(
            f"prior must hold a positive share for each of the {rows.shape[1]} columns of proba and sum to 1; it is "
            f"{listed(start)}."
        )
    if not isinstance(tol, Real) or isinstance(tol, bool | np.bool_):
        raise TypeError(f"tol must be a number of at least 0; it is {tol!r}.")
    if not 0 <= tol < np.inf:
        raise ValueError(f"tol must be a finite number of at least 0; it is {tol!r}.")
    if not isinstance(max_iter, Integral) or isinstance(max_iter, bool | np.bool_):
        raise TypeError(f"max_iter must be an int of at least 1; it is {max_iter!r}.")
    if max_iter < 1:
        raise ValueError(f"max_iter must be an int of at least 1; it is {max_iter!r}.")
    likelihoods = rows / start
    shares = start / start.sum()
    for _ in range(max_iter):
        before = shares
        shares = before * (likelihoods / (likelihoods @ before)[:, None]).mean(axis=0)
        if np.abs(shares - before).max() <= tol:
            break
    else:
        warnings.warn(f"estimate_prior has not converged in max_iter={max_iter} iterations.", stacklevel=2)
    return shares / shares.sum()
