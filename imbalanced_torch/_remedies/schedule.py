"""When remedies act: from the epoch to their strength, 0 (the plain net) to 1 (`class_weight`, `sampling` in full)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from imbalanced_torch._parameters.values import lookup


class Schedule(BaseEstimator, ABC):
    """What `schedule` may be."""

    #: Whether, when the strength first becomes 1, all but the module's last layer is frozen and that layer made anew.
    retrains_head = False

    @abstractmethod
    def strength(self, epoch: int, n_epochs: int) -> float:
        """Return the strength of the remedies in an epoch.

        Parameters
        ----------
        epoch : int
            The epoch, counted from 0.
        n_epochs : int
            Epochs of the fit: `max_epochs`.

        Returns
        -------
        float
            The strength: 0 is the plain net, 1 the remedies in full.
        """

    def first_to_keep(self, n_epochs: int) -> int:
        """Return the first epoch whose weights early stopping may restore.

        Parameters
        ----------
        n_epochs : int
            Epochs of the fit: `max_epochs`.

        Returns
        -------
        int
            The epoch, counted from 0.
        """
        return 0


@dataclass(repr=False)
class DeferredSchedule(Schedule):
    """Train plain, then switch the remedies on: deferred re-weighting (DRW) and re-sampling (DRS).

    Parameters
    ----------
    start : float in (0, 1) or int >= 1, default=0.8
        When: a share of `max_epochs`, or a number of plain epochs before.

    Raises
    ------
    ValueError
        In `fit`, if start is neither, or not below `max_epochs`.

    References
    ----------
    Cao, Wei, Gaidon, Arechiga, Ma. Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss. NeurIPS
    2019.

    Examples
    --------
    >>> [DeferredSchedule(start=0.5).strength(epoch, 4) for epoch in range(4)]
    [0.0, 0.0, 1.0, 1.0]
    """

    start: float = 0.8

    def first_to_keep(self, n_epochs: int) -> int:
        """Return the epoch of the switch.

        Parameters
        ----------
        n_epochs : int
            Epochs of the fit: `max_epochs`.

        Returns
        -------
        int
            The epoch, counted from 0.

        Raises
        ------
        ValueError
            If `start` is not what it must be, or not below `n_epochs`.
        """
        whole = isinstance(self.start, int | np.integer) and not isinstance(self.start, bool)
        share = isinstance(self.start, float | np.floating) and 0 < float(self.start) < 1
        if not (share or (whole and self.start >= 1)):
            raise ValueError(
                f"start must be a share of max_epochs, in (0, 1), or an int of at least 1; it is {self.start!r}."
            )
        switch = int(self.start) if whole else max(1, round(float(self.start) * n_epochs))
        if switch >= n_epochs:
            raise ValueError(
                f"start={self.start!r} leaves no epoch after the switch: max_epochs is {n_epochs}. Lower start or "
                "raise max_epochs."
            )
        return switch

    def strength(self, epoch: int, n_epochs: int) -> float:
        """Return 0 before the switch and 1 from it on.

        Parameters
        ----------
        epoch : int
            The epoch, counted from 0.
        n_epochs : int
            Epochs of the fit: `max_epochs`.

        Returns
        -------
        float
            The strength, 0 or 1.
        """
        return float(epoch >= self.first_to_keep(n_epochs))


@dataclass(repr=False)
class ProgressiveSchedule(Schedule):
    """Go from the plain net to the remedies in equal steps over the epochs: progressively balanced sampling.

    Early stopping would cut this short, so it keeps the last epoch, the only one at full strength.

    References
    ----------
    Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis. Decoupling Representation and Classifier for Long-Tailed
    Recognition. ICLR 2020.

    Examples
    --------
    >>> [ProgressiveSchedule().strength(epoch, 5) for epoch in range(5)]
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """

    def strength(self, epoch: int, n_epochs: int) -> float:
        """Return a strength that rises linearly from 0 in the first epoch to 1 in the last.

        Parameters
        ----------
        epoch : int
            The epoch, counted from 0.
        n_epochs : int
            Epochs of the fit: `max_epochs`.

        Returns
        -------
        float
            The strength, in [0, 1].
        """
        return epoch / (n_epochs - 1) if n_epochs > 1 else 1.0

    def first_to_keep(self, n_epochs: int) -> int:
        """Return the last epoch.

        Parameters
        ----------
        n_epochs : int
            Epochs of the fit: `max_epochs`.

        Returns
        -------
        int
            The epoch, counted from 0.
        """
        return n_epochs - 1


@dataclass(repr=False)
class HeadRetraining(DeferredSchedule):
    """Train plain, then freeze all but the last layer and train that anew with the remedies: cRT.

    The last layer is the last part of the module that has parameters of its own; it must have `reset_parameters`, as
    torch's layers do. Batch norm and dropout in the frozen body stay in evaluation mode.

    Parameters
    ----------
    start : float in (0, 1) or int >= 1, default=0.8
        When: a share of `max_epochs`, or a number of plain epochs before.

    Raises
    ------
    ValueError
        In `fit`, if start is not what it must be, or the last layer has no `reset_parameters`.

    References
    ----------
    Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis. Decoupling Representation and Classifier for Long-Tailed
    Recognition. ICLR 2020.

    Examples
    --------
    >>> [HeadRetraining(start=1).strength(epoch, 3) for epoch in range(3)]
    [0.0, 1.0, 1.0]
    """

    retrains_head = True


SCHEDULES: dict[str, Schedule] = {
    "deferred": DeferredSchedule(),
    "progressive": ProgressiveSchedule(),
    "retrain_head": HeadRetraining(),
}

# Words that are used elsewhere for one of ours.
_ALIASES = {"drw": "deferred", "drs": "deferred", "crt": "retrain_head", "progressively_balanced": "progressive"}


def resolve_schedule(given: Any, *, has_remedy: bool, continues: bool, max_epochs: int) -> Schedule | None:
    """Turn the hyperparameter into a schedule; None has the remedies act from the first epoch to the last.

    Parameters
    ----------
    given : None, str or Schedule
    has_remedy : bool
        Whether there are class weights or sampling to be scheduled.
    continues : bool
        Whether training goes on from an earlier call.
    max_epochs : int
    """
    schedule = _as_schedule(given)
    if schedule is None:
        return None
    if not has_remedy:
        raise ValueError(
            f"schedule={given!r} says when class_weight and sampling act, and both are None. Set one of them, or leave "
            "schedule at None."
        )
    if continues:
        raise ValueError(
            f"schedule={given!r} plans the epochs of one fit; partial_fit and warm_start can't go on with it. Set "
            "schedule=None."
        )
    schedule.first_to_keep(max_epochs)  # raises if it does not fit
    return schedule


def _as_schedule(schedule: Any) -> Schedule | None:
    if schedule is None or isinstance(schedule, Schedule):
        return schedule
    if isinstance(schedule, str):
        return lookup("schedule", schedule, SCHEDULES, _ALIASES)
    raise TypeError(
        f"schedule must be None, one of the words {sorted(SCHEDULES)}, DeferredSchedule(...), ProgressiveSchedule() or "
        f"HeadRetraining(...); it is {schedule!r}."
    )
