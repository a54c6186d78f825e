"""What a hyperparameter may be: a word from a list, numbers keyed by label, or a small object with parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Self, TypeVar

import numpy as np

Choice = TypeVar("Choice")


class Parameters:
    """The scikit-learn protocol for a dataclass, so that its fields can be searched as ``sampling__ratio``."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def set_params(self, **params: Any) -> Self:
        """Set fields by name; an unknown name raises ValueError."""
        names = list(self.get_params())
        for name in params:
            if name not in names:
                raise ValueError(f"{name!r} is not a parameter of {type(self).__name__}, which has {names}.")
        for name, value in params.items():
            setattr(self, name, value)
        return self


def parameters_of(thing: Any) -> dict[str, Any]:
    """Return the parameters of an object that may have some."""
    return thing.get_params() if hasattr(thing, "get_params") and not isinstance(thing, type) else {}


@lru_cache(maxsize=128)
def accepted_by(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or function; raise TypeError or ValueError where nothing is known about it."""
    return inspect.signature(target).parameters


def same(one: Any, other: Any) -> bool:
    """Whether two values of a hyperparameter are one, arrays included."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(np.array_equal(one, other, equal_nan=isinstance(one, float)))
    except (TypeError, ValueError, RuntimeError):  # things that do not compare
        return False


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return a sentence that names the closest choice, or nothing."""
    close = get_close_matches(word.lower(), list(choices), n=1, cutoff=0.7)
    return f" Did you mean {close[0]!r}?" if close else ""


def choose(name: str, word: str, choices: Mapping[str, Choice], meant: Mapping[str, str] | None = None) -> Choice:
    """Return what `word` names; `meant` maps words of other packages to ours, for the error's suggestion."""
    if word in choices:
        return choices[word]
    other = (meant or {}).get(word.lower())
    hint = f" Did you mean {other!r}?" if other else did_you_mean(word, choices)
    raise ValueError(f"{name} must be one of the words {sorted(choices)}; it is {word!r}.{hint}")


def labels_of(classes: np.ndarray) -> list[Any]:
    """Return the labels as Python objects that equal the user's; dates stay numpy's."""
    return list(classes) if classes.dtype.kind == "M" else classes.tolist()


#: Stands for a number that a dict does not have.
_MISSING = object()


def by_label(name: str, numbers: Mapping[Any, Any], classes: np.ndarray, missing: Iterable[Any]) -> list[Any]:
    """Return the numbers of a dict keyed by label in the order of `classes`, with `missing` where a class has no entry.

    A key that is no class is an error only if some class has no entry: a fold may lack a class.
    """
    labels = labels_of(classes)
    numbers_of = [numbers.get(label, _MISSING) for label in labels]
    without = [position for position, number in enumerate(numbers_of) if number is _MISSING]
    if without:
        known = set(labels)
        rest = [key for key in numbers if key not in known]
        # By equality where hashes have found nothing: a date of pandas and one of numpy are equal but hash apart.
        for position in without:
            for key in rest:
                if labels[position] == key:
                    numbers_of[position] = numbers[key]
        if any(number is _MISSING for number in numbers_of):
            unknown = [key for key in rest if key not in labels]
            if unknown:
                raise ValueError(f"{name} has keys that are not classes of y: {unknown}. The classes are {labels}.")
    return [default if number is _MISSING else number for number, default in zip(numbers_of, missing, strict=True)]
