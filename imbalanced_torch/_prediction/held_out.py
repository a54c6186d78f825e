"""What a fitted net says of rows that it has not trained on, and what a decision reaches on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import beta, rankdata

from imbalanced_torch._parameters.values import labels_of
from imbalanced_torch._prediction.decision import Offsets


@dataclass(frozen=True)
class HeldOutRows:
    """Logits of the rows that were held out of training.

    Parameters
    ----------
    logits : array of shape (n, n_outputs)
        By the whole net, or of each row by the member of an ensemble that holds it out.
    codes : int array of shape (n,)
    sample_weight : array of shape (n,) or None
    members : int array of shape (n,) or None
        Which member holds out which row; None where the whole net has seen none of them.
    """

    logits: np.ndarray
    codes: np.ndarray
    sample_weight: np.ndarray | None = None
    members: np.ndarray | None = None

    @property
    def tensor(self) -> torch.Tensor:
        """The logits, for what is made of logits."""
        return torch.from_numpy(self.logits)

    def evidence(self, log_proba: torch.Tensor, ratio: np.ndarray | None, classes: np.ndarray) -> Evidence:
        """Return what a goal is settled on: log probabilities of these rows, which may count otherwise by class.

        Parameters
        ----------
        log_proba : tensor of shape (n, K)
        ratio : array of shape (K,) or None
            What rows of each class count, where the model will work at another prior.
        classes : array of shape (K,)
        """
        weights = np.ones(len(self.codes)) if self.sample_weight is None else self.sample_weight.astype(float)
        if ratio is not None:
            weights = weights * ratio[self.codes]
        values = log_proba.cpu().double().numpy()
        return Evidence(values, self.codes, weights / weights.mean(), classes, self.members is not None)


@dataclass(frozen=True)
class Evidence:
    """Held-out rows as a goal sees them: log probabilities of shape (n, K), codes, and weights of mean 1."""

    log_proba: np.ndarray
    codes: np.ndarray
    weights: np.ndarray
    classes: np.ndarray
    #: Whether each row is by one member, where new rows will be by the average of all.
    by_members: bool = False

    @property
    def equal(self) -> bool:
        """Whether every row counts as much."""
        return bool(np.ptp(self.weights) <= 1e-6)

    def label(self, code: int) -> Any:
        """Return the label of a class, for messages."""
        return labels_of(self.classes)[code]

    def auc(self, code: int) -> tuple[float, float]:
        """Return how well margins rank a class above the others (ROC AUC), and its standard deviation were it chance.

        Both are of Mann and Whitney (1947), without weights.
        """
        own = self.codes == code
        n, others = int(own.sum()), int((~own).sum())
        if not n or not others:
            return 1.0, 0.0
        ranks = rankdata(self.margins(code))
        return (ranks[own].sum() / n - (n + 1) / 2) / others, float(np.sqrt((n + others + 1) / (12 * n * others)))

    def margins(self, code: int) -> np.ndarray:
        """Return by how much the log probability of a class is above the greatest of the others, shape (n,)."""
        others = np.delete(self.log_proba, code, axis=1).max(axis=1)
        return self.log_proba[:, code] - others


class Steps:
    """The sets of held-out rows that are called so as the threshold falls: one step for each distinct margin."""

    def __init__(self, evidence: Evidence, code: int) -> None:
        self.code, self.n_classes, self.label = code, len(evidence.classes), evidence.label(code)
        margins, own = evidence.margins(code), evidence.codes == code
        order = np.argsort(-margins, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(margins[order]) != 0, True))
        #: Descending, shape (m,), as are the others.
        self.margins = margins[order][ends]
        weights = evidence.weights[order]
        hits, called = np.cumsum(weights * own[order])[ends], np.cumsum(weights)[ends]
        self.recall = hits / max(hits[-1], np.finfo(float).tiny)
        self.precision, self.share = hits / called, called / called[-1]
        #: In rows.
        self.hits, self.called = np.cumsum(own[order])[ends], ends + 1

    def step_at(self, margin: float) -> int:
        """Return the step whose last rows have this margin."""
        return int(np.searchsorted(-self.margins, -margin))

    def rate_of(self, kind: str, step: int) -> tuple[float, int]:
        """Return the recall or precision, and of how many rows it is a share."""
        if kind == "recall":
            return float(self.recall[step]), int(self.hits[-1])
        return float(self.precision[step]), int(self.called[step])

    def offsets(self, step: int, goal: str) -> Offsets:
        """Return the offsets under which the rows of a step are called so, halfway to the next row's."""
        if step == len(self.margins) - 1:
            raise ValueError(
                f"{goal} is reached only where every row is called {self.label!r}: on held-out rows no threshold "
                "leaves any out. Ask for less."
            )
        offsets = np.zeros(self.n_classes)
        offsets[self.code] = -(self.margins[step] + self.margins[step + 1]) / 2
        return Offsets(offsets)


def interval(rate: float, n: float, confidence: float) -> tuple[float, float]:
    """Return the exact interval of a rate that was seen in n rows (Clopper and Pearson 1934)."""
    if n <= 0:
        return 0.0, 1.0
    tail, hits = (1 - confidence) / 2, rate * n
    low = 0.0 if hits <= 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits >= n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high


def reached(codes: np.ndarray, evidence: Evidence, code: int, confidence: float) -> dict[str, Any]:
    """Return recall, precision and share of a class under a decision, with intervals.

    Parameters
    ----------
    codes : int array of shape (n,)
        What the decision chooses for the held-out rows.
    evidence : Evidence
    code : int
        The class.
    confidence : float
    """
    own, called = evidence.codes == code, codes == code
    found: dict[str, Any] = {"label": evidence.label(code), "n_rows": len(codes), "n_of_label": int(own.sum())}
    for name, among, hit in (
        ("recall", own, called),
        ("precision", called, own),
        ("share", np.full_like(own, True), called),
    ):
        weights = evidence.weights[among]
        total = weights.sum()
        rate = float(weights[hit[among]].sum() / total) if total > 0 else float("nan")
        # Rows of unequal weight say as much as so many of equal weight (Kish 1965).
        n = float(total**2 / np.square(weights).sum()) if total > 0 else 0.0
        low, high = interval(rate, n, confidence)
        found |= {name: rate, f"{name}_low": low, f"{name}_high": high}
    return found


def boundary(log_odds: np.ndarray, called: np.ndarray) -> float:
    """Return the log-odds between those of rows that are called so and of those that are not; NaN if all are one."""
    if called.all() or not called.any():
        return float("nan")
    return float((log_odds[called].min() + log_odds[~called].max()) / 2)
