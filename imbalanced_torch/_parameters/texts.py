"""Hyperparameters as they are written on a command line: words, numbers, and numbers by label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from imbalanced_torch._parameters.values import labels_of, listed

_GOALS = ("recall", "precision", "share")


def decision_of(text: str, classes: np.ndarray) -> Any:
    """Return a decision: a word, a threshold (`0.3`, `fraud=0.3`) or a goal (`recall=0.8`, `recall:fraud=0.8`)."""
    left, equals, right = text.rpartition("=")
    if not equals:
        try:
            return float(text)
        except ValueError:
            return text
    value = _number("--decision", text, right, float)
    goal, colon, label = left.partition(":")
    if goal in _GOALS:
        return {goal: {_label("--decision", label, classes): value} if colon else value}
    return {_label("--decision", left, classes, f", or a goal, one of {list(_GOALS)}"): value}


def by_label(option: str, text: str, classes: np.ndarray, kind: Callable[[str], Any]) -> Any:
    """Return a word, or numbers by label from `fraud=5,legit=1`."""
    if "=" not in text:
        return text
    found = {}
    for part in text.split(","):
        left, equals, right = part.rpartition("=")
        if not equals:
            raise ValueError(f"{option} must be a word or label=number, with commas between; it is {text!r}.")
        found[_label(option, left.strip(), classes)] = _number(option, text, right, kind)
    return found


def _number(option: str, text: str, value: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(value)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"{option} must have {what} after =; it is {text!r}.") from None


def _label(option: str, text: str, classes: np.ndarray, other: str = "") -> Any:
    labels = labels_of(classes)
    for label in labels:
        if str(label) == text:
            return label
    raise ValueError(f"{option} must name a class{other}; {text!r} is none. The classes are {listed(labels)}.")
