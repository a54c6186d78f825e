"""What a hyperparameter may be: a word from a list, numbers keyed by label, or a small object with parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from imbalanced_torch._parameters.foreign_words import VALUES

Choice = TypeVar("Choice")
#: Entries of a list that a message shows.
_SHOWN = 10


def parameters_of(thing: Any) -> dict[str, Any]:
    """Return the parameters of an object that may have some."""
    return thing.get_params() if hasattr(thing, "get_params") and not isinstance(thing, type) else {}


def accepted_by(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or function; raise TypeError or ValueError where nothing is known about it.

    Not cached: a cache would keep what users pass, and all that a partial or a closure holds, alive.
    """
    return inspect.signature(target).parameters


def plain(value: Any) -> Any:
    """Return a number of numpy's, or a list or tuple of them, as Python's: sums of int8's overflow."""
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, np.floating):
        return float(value)
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


def number(value: Any) -> float | None:
    """Return a real number as Python's float; None for anything else, bools and ints beyond floats included."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def listed(values: Any) -> str:
    """Return the text of a value for a message; of a long list, array, set or dict the beginning and the length."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            return repr(values) if values.size <= _SHOWN else f"an array of shape {values.shape}"
        values = labels_of(values)
    if not isinstance(values, list | tuple | set | frozenset | dict):
        return repr(values)
    if not values:
        return repr(values)
    first: list[Any] = list(islice(values.items() if isinstance(values, dict) else values, _SHOWN))
    if isinstance(values, dict):
        shown = [f"{listed(plain(key))}: {listed(plain(value))}" for key, value in first]
    else:
        shown = [listed(plain(value)) for value in first]
        shown[-1] += "," * (isinstance(values, tuple) and len(values) == 1)
    more = [f"... ({len(values)} in all)"] if len(values) > _SHOWN else []
    left, right = "()" if isinstance(values, tuple) else "[]" if isinstance(values, list) else "{}"
    return left + ", ".join(shown + more) + right


def equal_values(one: Any, other: Any) -> bool:
    """Whether two values of a hyperparameter are one, arrays included."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(np.array_equal(one, other, equal_nan=isinstance(one, float)))
    except (TypeError, ValueError, RuntimeError):  # things that do not compare
        return False


def pass_instead(value: Any) -> str:
    """Return what to pass instead of a tensor or a table, where an array or a dict is asked for, or nothing."""
    if hasattr(value, "detach"):
        return " Pass the tensor's .numpy()."
    if not hasattr(value, "to_numpy"):
        return ""
    name = type(value).__name__
    keyed = hasattr(value, "to_dict") and getattr(value, "ndim", 2) == 1
    return (
        f" Pass the {name}'s .to_dict(), keyed by label, or .to_numpy()."
        if keyed
        else f" Pass the {name}'s .to_numpy()."
    )


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return a sentence that names the closest choice, or nothing."""
    close = get_close_matches(word.lower(), list(choices), n=1, cutoff=0.7)
    return f" Did you mean {close[0]!r}?" if close else ""


def lookup(name: str, word: str, choices: Mapping[str, Choice], meant: Mapping[str, str] | None = None) -> Choice:
    """Return what `word` names; `meant` maps words of other packages to ours, for the error's suggestion."""
    if word in choices:
        return choices[word]
    other = (meant or {}).get(word.lower())
    foreign = VALUES.get(name, {}).get(word.lower())
    hint = f" {foreign}" if foreign else f" Did you mean {other!r}?" if other else did_you_mean(word, choices)
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
                raise ValueError(
                    f"{name} has keys that are not classes of y: {listed(unknown)}. The classes are "
                    f"{listed(labels)}.{hint_of_codes(numbers, classes)}"
                )
    return [default if number is _MISSING else number for number, default in zip(numbers_of, missing, strict=True)]


def hint_of_codes(numbers: Mapping[Any, Any], classes: np.ndarray) -> str:
    """Return what to say where classes are ints from 0 on and keys are words: a meta-estimator has encoded y."""
    encoded = classes.dtype.kind in "iu" and np.array_equal(classes, np.arange(len(classes)))
    if not encoded or not all(isinstance(key, str) for key in numbers):
        return ""
    return " A meta-estimator such as VotingClassifier encodes y as these: use them as keys inside of it."


def format_prior(prior: np.ndarray, classes: np.ndarray) -> str:
    """Return a prior as text, by label."""
    return listed({label: round(share, 4) for label, share in zip(classes.tolist(), prior.tolist(), strict=True)})
