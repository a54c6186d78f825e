"""Sets of labels that hold the true one with a stated probability in every class: class-conditional conformal sets."""

from __future__ import annotations

import warnings

import numpy as np

from imbalanced_torch._parameters.values import labels_of


def prediction_sets(
    calibration: np.ndarray,
    codes: np.ndarray,
    members: np.ndarray | None,
    rows: np.ndarray,
    coverage: float,
    classes: np.ndarray,
) -> np.ndarray:
    """Return which labels are in the set of each row, bool of shape (n, K).

    A label is left out where its log probability is so low that among the held-out rows of the class at most a share
    1 - coverage, less what the number of rows takes, have one as low; each of these is compared with what the net that
    has not seen it says of the new row.

    Parameters
    ----------
    calibration : array of shape (m, K)
        Log probabilities of held-out rows.
    codes : int array of shape (m,)
    members : int array of shape (m,) or None
        Which net each of these is by; None where all are by one.
    rows : array of shape (n, n_nets, K)
        Log probabilities of new rows, by each net.
    coverage : float
    classes : array of shape (K,)
        The labels, for messages.
    """
    n, n_nets, n_classes = rows.shape
    members = np.zeros(len(codes), dtype=int) if members is None else members
    sets = np.empty((n, n_classes), dtype=bool)
    always = []
    for code in range(n_classes):
        own = codes == code
        as_low = np.zeros(n, dtype=int)
        for net in range(n_nets):
            values = np.sort(calibration[own & (members == net), code])
            as_low += np.searchsorted(values, rows[:, net, code], side="right")
        least = int(np.floor((1 - coverage) * (own.sum() + 1) + 1e-9))
        sets[:, code] = as_low >= least
        if least == 0:
            always.append((labels_of(classes)[code], int(own.sum())))
    if always:
        needed = int(np.ceil(1 / (1 - coverage) - 1 - 1e-9))
        named = ", ".join(f"{label!r} ({count})" for label, count in always)
        warnings.warn(
            f"coverage={coverage:g} needs at least {needed} held-out rows of a class to leave it out of any set; these "
            f"have fewer and are in every set: {named}.",
            UserWarning,
            stacklevel=3,
        )
    return sets
