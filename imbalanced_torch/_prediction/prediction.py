"""What is made of logits: probabilities at a prior, and the scores that choose a label."""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from imbalanced_torch._losses.logits import log_odds, to_class_logits
from imbalanced_torch._losses.weighted import WeightedCriterion
from imbalanced_torch._parameters.values import format_prior
from imbalanced_torch._prediction.decision import Decision, Greatest, RowCosts, Threshold, Unreached, resolve_decision
from imbalanced_torch._prediction.goals import Goal, resolve_goal
from imbalanced_torch._prediction.held_out import Evidence, HeldOutRows, boundary, reached
from imbalanced_torch._prediction.prior import correct_prior, correctable, log_ratio, resolve_prior_correction

#: Numbers in a hyperparameter that may have been changed in place are compared up to so many: in .2 ms.
_COMPARED = 10_000
_TOO_MANY = object()
#: Of the log-odds, for the classes 0 and 1.
_SIGNS = torch.tensor([-1.0, 1.0])


class UncorrectedDecisionWarning(UserWarning):
    """Costs or a threshold read probabilities that are at another prior than the data."""


@dataclass(frozen=True)
class Prediction:
    """`prior_correction` and `decision`, resolved against what a fit found; the priors have shape (K,)."""

    criterion: WeightedCriterion
    class_prior: np.ndarray
    #: The prior that the net was trained under.
    effective_prior: np.ndarray
    #: The prior that probabilities are carried to; None leaves them at the effective one.
    target: np.ndarray | None
    decision: Decision

    def log_proba(self, logits: torch.Tensor) -> torch.Tensor:
        """Return log probabilities, shape (n, K), for logits of shape (n,), (n, 1) or (n, K)."""
        return self._at(self.target, self.criterion.log_proba(logits))

    def proba(self, logits: torch.Tensor) -> torch.Tensor:
        """Return probabilities, shape (n, K)."""
        if len(self.class_prior) == 2 and self.criterion.logits_are_log_odds:  # two sigmoids take a fifth of a softmax
            odds = _finite(log_odds(logits))
            if self.target is not None:
                ratio = log_ratio(self.effective_prior, self.target)
                odds = odds + (ratio[1] - ratio[0])
            return torch.outer(odds, _SIGNS.to(odds)).sigmoid_()
        return self.log_proba(logits).exp()

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Return a score for each class, shape (n, K), the greatest of which wins: the first where several are."""
        if isinstance(self.decision, Threshold):
            return self.decision.scores(self.log_proba(logits), self.proba(logits))
        if self.decision.reads == "logits":
            values = to_class_logits(logits)
        elif self.decision.reads == "probabilities":
            values = self.log_proba(logits)
        elif self.decision.reads == "data_prior":
            values = self.at_data_prior(logits)
        else:
            values = self._at(self._equal, self.criterion.log_proba(logits))
        return self.decision.scores(values)

    def at_data_prior(self, logits: torch.Tensor) -> torch.Tensor:
        """Return log probabilities at the prior of the data if it is known how, else as they are; shape (n, K)."""
        return self._at(self.class_prior if self.correctable_to_data() else None, self.criterion.log_proba(logits))

    def corrected_to_data(self, log_proba: torch.Tensor) -> torch.Tensor:
        """Carry log probabilities from the effective prior to that of the data."""
        return self._at(self.class_prior, log_proba)

    def correctable_to_data(self) -> bool:
        """Whether log probabilities are known well enough for that."""
        return self.criterion.exact and correctable(self.effective_prior, self.class_prior)

    @property
    def _equal(self) -> np.ndarray:
        """Equal shares of the classes that have come."""
        return (self.class_prior > 0) / (self.class_prior > 0).sum()

    def _at(self, prior: np.ndarray | None, log_proba: torch.Tensor) -> torch.Tensor:
        log_proba = _finite(log_proba)
        return log_proba if prior is None else correct_prior(log_proba, self.effective_prior, prior)


def raw_scores(logits: torch.Tensor) -> torch.Tensor:
    """Return what `decision_function` gives: the logits, shape (n, K), or for two classes their difference, (n,)."""
    return logits if logits.ndim == 2 and logits.shape[1] > 2 else _finite(log_odds(logits))


def _finite(values: torch.Tensor) -> torch.Tensor:
    """Return differences of finite logits, which may be beyond the largest number, as the largest there is."""
    largest = torch.finfo(values.dtype).max
    return values.clamp(-largest, largest)


@dataclass(frozen=True)
class _Remembered:
    """A prediction, and what it was resolved from."""

    owner: weakref.ref[Any]
    prediction: Prediction
    given: tuple[Any, ...]
    snapshots: tuple[Any, ...]
    found: tuple[Any, ...]

    def serves(self, owner: Any, given: tuple[Any, ...], found: tuple[Any, ...]) -> bool:
        """Whether nothing has changed since: neither which objects these are, nor what is in them."""
        return (
            self.owner() is owner
            and all(one is other for one, other in zip(self.found, found, strict=True))
            and all(one is other for one, other in zip(self.given, given, strict=True))
            and all(_holds(value, snapshot) for value, snapshot in zip(given, self.snapshots, strict=True))
        )


#: By the id of the owner, whose death takes its entry along. Apart from the owner, so that pickles, copies and clones
#: of it hold nothing but what they need.
_REMEMBERED: dict[int, _Remembered] = {}


def remembered(
    owner: Any, given: tuple[Any, ...], found: tuple[Any, ...], resolve: Callable[[], Prediction]
) -> Prediction:
    """Return what `resolve` makes of hyperparameters that were given and of what a fit found; from memory if it can.

    A change in place of what was given is seen up to 10 000 numbers. More, which are costs of over 100 classes and take
    up to a second to resolve, are taken to be what they were as long as they are the same object.
    """
    last = _REMEMBERED.get(id(owner))
    if last is not None and last.serves(owner, given, found):
        return last.prediction
    prediction = resolve()
    key = id(owner)

    def forget(reference: weakref.ref[Any]) -> None:
        entry = _REMEMBERED.get(key)
        if entry is not None and entry.owner is reference:
            del _REMEMBERED[key]

    snapshots = tuple(_snapshot(value) for value in given)
    _REMEMBERED[key] = _Remembered(weakref.ref(owner, forget), prediction, given, snapshots, found)
    return prediction


def _snapshot(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy() if value.size <= _COMPARED else _TOO_MANY
    if isinstance(value, Mapping | list | tuple):
        rows = value.values() if isinstance(value, Mapping) else value
        n = sum(len(row) if isinstance(row, Sized) else 1 for row in rows)
        return copy.deepcopy(value) if n <= _COMPARED else _TOO_MANY
    return value


def _holds(value: Any, snapshot: Any) -> bool:
    """Whether a value is still what it was; one that can't be compared may not be."""
    if snapshot is _TOO_MANY:
        return True
    if isinstance(value, np.ndarray):
        return value.dtype == snapshot.dtype and np.array_equal(value, snapshot)
    try:
        return (value == snapshot) is True
    except (ValueError, TypeError, RuntimeError):
        return False


def resolve_prediction(
    prior_correction: Any,
    decision: Any,
    criterion: WeightedCriterion,
    class_prior: np.ndarray,
    effective_prior: np.ndarray,
    classes: np.ndarray,
    held_out: HeldOutRows | None = None,
) -> Prediction:
    """Resolve the hyperparameters; raise where they need a correction of the prior that does not exist.

    A goal is settled on `held_out`; where it can't be reached there, to choose a label raises.
    """
    target = resolve_prior_correction(prior_correction, class_prior, classes)
    goal = resolve_goal(decision, classes)
    rule = Greatest("probabilities") if goal is not None else resolve_decision(decision, classes)
    prediction = Prediction(criterion, class_prior, effective_prior, target, rule)
    if goal is not None:
        return replace(prediction, decision=_settled(goal, held_out, prediction, classes))
    if target is not None:
        _check_correctable("prior_correction", prior_correction, criterion, effective_prior, target, classes)
    if prediction.decision.reads == "prior_scaled":
        _check_correctable("decision", decision, criterion, effective_prior, prediction._equal, classes)
    return prediction


def while_training(decision: Any, classes: np.ndarray, holds_out: bool) -> Any:
    """Return the decision for scores during training, where a goal is not settled yet and a function has no X.

    Raise ValueError for a goal where no rows will be held out.
    """
    goal = resolve_goal(decision, classes)
    if goal is not None:
        if not holds_out:
            raise ValueError(_nothing_held_out(goal))
        return "argmax"
    return "argmax" if isinstance(resolve_decision(decision, classes), RowCosts) else decision


def _settled(goal: Goal, held_out: HeldOutRows | None, prediction: Prediction, classes: np.ndarray) -> Decision:
    if held_out is None:
        return Unreached(_nothing_held_out(goal))
    try:
        return goal.settle(evidence_of(held_out, prediction, classes), rarest_of(prediction.class_prior))
    except ValueError as error:
        return Unreached(str(error))


def _nothing_held_out(what: Any) -> str:
    return (
        f"{what} needs rows that the net has not trained on, and none are held out (early_stopping=False, partial_fit "
        "and load_params have none). Set early_stopping=True or train_split, or use TunedOffsetClassifierCV."
    )


def evidence_of(held_out: HeldOutRows, prediction: Prediction, classes: np.ndarray) -> Evidence:
    """Return held-out rows as goals and reports see them: at the data's prior, and counted as where the net works."""
    ratio, prior = None, prediction.class_prior
    if prediction.target is not None and not np.allclose(prediction.target, prior, rtol=1e-6, atol=0):
        ratio = np.divide(prediction.target, prior, out=np.zeros_like(prior), where=prior > 0)
    logits = held_out.tensor.to(prediction.criterion.class_weight.device)
    return held_out.evidence(prediction.at_data_prior(logits), ratio, classes)


def check_held_out(held_out: HeldOutRows | None, what: str) -> HeldOutRows:
    """Return held-out rows; raise ValueError if there are none."""
    if held_out is None:
        raise ValueError(_nothing_held_out(what))
    return held_out


def report_of(
    prediction: Prediction, held_out: HeldOutRows, classes: np.ndarray, codes: list[int], confidence: float
) -> list[dict[str, Any]]:
    """Return what a decision reaches on held-out rows for these classes; NaN where its goal is not reached."""
    evidence = evidence_of(held_out, prediction, classes)
    logits = held_out.tensor.to(prediction.criterion.class_weight.device)
    if isinstance(prediction.decision, Unreached):
        chosen, note = np.full(len(evidence.codes), -1), prediction.decision.message
    else:
        chosen, note = prediction.scores(logits).argmax(dim=1).cpu().numpy(), ""
    found = []
    for code in codes:
        row = reached(chosen, evidence, code, confidence)
        if note:
            row |= {name: float("nan") for name, value in row.items() if isinstance(value, float)}
        threshold = float("nan")
        if len(classes) == 2 and not note:
            log_proba = prediction.log_proba(logits).double().cpu().numpy()
            odds = boundary(log_proba[:, code] - log_proba[:, 1 - code], chosen == code)
            threshold = float(1 / (1 + np.exp(-odds)))
        found.append({**row, "threshold": threshold, "note": note})
    return found


def rarest_of(prior: np.ndarray) -> int:
    """Return the code of the rarest class; of several, the last."""
    return len(prior) - 1 - int(np.argmin(prior[::-1]))


def _check_correctable(
    name: str, value: Any, criterion: WeightedCriterion, trained: np.ndarray, target: np.ndarray, classes: np.ndarray
) -> None:
    if not criterion.exact:
        raise ValueError(
            f"{name}={value!r} needs a criterion whose logits give exact probabilities; "
            f"{type(criterion.criterion).__name__} has none. Declare probabilities(logits) on it, or leave {name} at "
            "its default."
        )
    if np.isnan(trained).any():
        raise ValueError(
            f"{name}={value!r} needs the prior that the net was trained under, and a sampler of your own leaves it "
            f"unknown. Use sampling, or leave {name} at its default."
        )
    if not correctable(trained, target):
        never = classes[(trained == 0) & (target > 0)].tolist()
        raise ValueError(
            f"{name}={value!r} needs every class to have had a share in training; the classes {never} had none (a "
            "class_weight of 0, or no row yet in partial_fit)."
        )


def uncorrected(prediction: Prediction | None) -> bool:
    """Whether costs or a threshold read probabilities that are known to be at another prior than the data's."""
    if prediction is None or prediction.decision.reads != "probabilities" or prediction.target is not None:
        return False
    if isinstance(prediction.decision, Greatest):
        return False
    if np.isnan(prediction.effective_prior).any():
        return False
    return not np.allclose(prediction.effective_prior, prediction.class_prior, rtol=1e-3, atol=0)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 1000 else f"{text[:1000]}..."


def warn_uncorrected(
    prediction: Prediction, decision: Any, classes: np.ndarray, stacklevel: int, subject: str | None = None
) -> None:
    """Warn that they do, with the numbers."""
    remedy = "Set prior_correction=True, or leave" if prediction.correctable_to_data() else "Leave"
    warnings.warn(
        f"{subject or f'decision={_short(decision)}'} reads probabilities at the prior of the training, "
        f"{format_prior(prediction.effective_prior, classes)}; the data have "
        f"{format_prior(prediction.class_prior, classes)}. {remedy} class_weight and sampling at None.",
        UncorrectedDecisionWarning,
        stacklevel=stacklevel + 1,
    )
