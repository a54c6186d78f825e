"""What a comparison has found, in one sentence with numbers that claims nothing within noise; and what to choose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imbalanced_torch._comparison.paired_tests import LEVEL, PairedTests
from imbalanced_torch._comparison.scores import Score
from imbalanced_torch._comparison.strategies import Strategy, same


def number(value: float, sign: bool = False) -> str:
    """Return a score or a difference, with three decimals."""
    if 0 < abs(value) < 0.0005:
        return "less than 0.001"
    return f"{value:{'+' if sign and value else ''}.3f}"


def p_text(p: float) -> str:
    """Return a p-value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def reference_of(score: Score, strategies: Sequence[Strategy]) -> int:
    """Return the plain net that a score is compared with, whose decision is the one that the score asks for."""
    own = {} if score.decision == "trained" else {"decision": score.decision}
    return next(i for i, strategy in enumerate(strategies) if same(strategy.own, own))


def choose(scores: Sequence[Score], strategies: Sequence[Strategy], tests: Sequence[PairedTests]) -> int:
    """Return the position of the strategy to take.

    It is the plain net, with the decision that the first score of labels asks for, unless a strategy is better beyond
    noise in one score and worse beyond noise in none: then the one that gains most in the first score in which one is.
    """
    sound = ~np.any([test.worse for test in tests], axis=0)
    remedies = np.array([not strategy.is_plain for strategy in strategies])
    for test in tests:
        eligible = test.better & sound & remedies
        if eligible.any():
            return int(np.argmax(np.where(eligible, test.difference, -np.inf)))
    of_labels = [score for score in scores if score.of_labels]
    return reference_of(of_labels[0], strategies) if of_labels else 0


def sentence(
    scores: Sequence[Score], strategies: Sequence[Strategy], tests: Sequence[PairedTests], n_folds: int
) -> str:
    """Return the finding over all scores, those of labels first."""
    order = sorted(range(len(scores)), key=lambda i: not scores[i].of_labels)
    clauses = [clause(scores[i], strategies, tests[i]) for i in order]
    return f"Over {n_folds} folds, {'; '.join(clauses)}."


def clause(score: Score, strategies: Sequence[Strategy], test: PairedTests) -> str:
    """Return what is found of one score."""
    reference = reference_of(score, strategies)
    parts = []
    if reference != 0:
        parts.append(_of_moving(score, -test.difference[0], test.p_value[0]))
    remedies = [i for i, strategy in enumerate(strategies) if not strategy.is_plain]
    known = [i for i in remedies if np.isfinite(test.difference[i])]
    if known:
        parts.append(_of_remedies(score, strategies, test, known, further=reference != 0))
    elif not parts:
        parts.append(f"{score.noun} has nothing to compare")
    return ", and ".join(parts)


def _of_moving(score: Score, gain: float, p: float) -> str:
    """Return what the moved threshold does to a plain net; the test is of the plain net against it."""
    if np.isfinite(p) and p < LEVEL:
        verb = "gains" if gain > 0 else "loses"
        return f"moving the threshold of the plain net {verb} {number(abs(gain))} of {score.noun} ({p_text(p)})"
    return f"moving the threshold of the plain net changes {score.noun} by {number(gain, sign=True)}, within noise"


def _of_remedies(
    score: Score, strategies: Sequence[Strategy], test: PairedTests, known: list[int], further: bool
) -> str:
    best = max(known, key=lambda i: test.difference[i])
    gain, name = float(test.difference[best]), strategies[best].name
    than = "it" if further else "the plain net"
    if test.better[best]:
        size, p = number(abs(gain)), p_text(test.p_value[best])
        if score.is_loss:
            return f"{name} lowers {score.noun} by {size} below {than} ({p})"
        return f"{name} gains {'another ' if further else ''}{size}{'' if further else f' of {score.noun}'} ({p})"
    change = number(-gain if score.is_loss else gain, sign=True)
    worse = [i for i in known if test.worse[i]]
    if len(worse) == len(known):
        every = "every remedy is" if len(known) > 1 else f"{strategies[best].name} is"
        nearest = f"the nearest, {name}: {change}" if len(known) > 1 else change
        return f"{every} worse than {than}{'' if further else f' in {score.noun}'} ({nearest})"
    what = f"better{'' if further else f' in {score.noun}'} than {than}"
    if len(known) == 1:
        return f"{name} is not {what} beyond noise ({change})"
    return f"no remedy is {what} beyond noise (the best, {name}: {change})"
