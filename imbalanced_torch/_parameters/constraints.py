"""What numbers and switches the classifier's parameters may be: one table."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imbalanced_torch._parameters.foreign_words import VALUES
from imbalanced_torch._parameters.values import listed


@dataclass(frozen=True)
class Number:
    """An int, or a real number, within bounds."""

    #: What it must be, for the error.
    text: str
    whole: bool
    low: float
    high: float = math.inf
    #: Whether the bounds themselves are allowed.
    low_in: bool = True
    high_in: bool = True
    #: Values that are allowed besides.
    besides: tuple[Any, ...] = ()

    def check(self, name: str, value: Any) -> None:
        """Raise TypeError for another kind of value and ValueError for a number out of bounds."""
        if any(value is other or (type(value) is type(other) and value == other) for other in self.besides):
            return
        kind = numbers.Integral if self.whole else numbers.Real
        if not isinstance(value, kind) or isinstance(value, bool | np.bool_):
            raise TypeError(_must(name, self.text, value))
        number: Any = value
        above = number >= self.low if self.low_in else number > self.low
        below = number <= self.high if self.high_in else number < self.high
        if not (above and below):  # nan is neither
            raise ValueError(_must(name, self.text, value))


@dataclass(frozen=True)
class Switch:
    """True or False, and perhaps a word or ints."""

    text: str = "True or False"
    words: tuple[str, ...] = ()
    none: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise TypeError for another kind of value and ValueError for another word."""
        if isinstance(value, bool | np.bool_) or (isinstance(value, str) and value in self.words):
            return
        if value is None and self.none:
            return
        raise (ValueError if self.words else TypeError)(_must(name, self.text, value))


def _must(name: str, text: str, value: Any) -> str:
    hint = VALUES.get(name, {}).get(value.lower(), "") if isinstance(value, str) else ""
    return f"{name} must be {text}; it is {listed(value)}." + (f" {hint}" if hint else "")


_ROWS = Number("an int of at least 1, or -1 for all rows in one batch", True, 1, besides=(-1,))
_FROM_ONE = Number("an int of at least 1", True, 1)
_LEFT_OPEN = Number("None or an int of at least 1", True, 1, besides=(None,))

#: Parameter -> what it must be. Those that are not here are checked where they are resolved.
CONSTRAINTS: dict[str, Number | Switch] = {
    "max_epochs": _LEFT_OPEN,
    "batch_size": Number("None, an int of at least 1, or -1 for all rows in one batch", True, 1, besides=(None, -1)),
    "iterator_train__batch_size": _ROWS,
    "iterator_valid__batch_size": _ROWS,
    "iterator_train__drop_last": Switch(),
    "iterator_valid__drop_last": Switch(),
    "iterator_train__shuffle": Switch("None, True or False", none=True),
    "iterator_valid__shuffle": Switch("None, True or False", none=True),
    "validation_fraction": Number("a number in (0, 1)", False, 0, 1, low_in=False, high_in=False),
    "n_iter_no_change": _LEFT_OPEN,
    "tol": Number("a finite number of at least 0", False, 0, math.inf, high_in=False),
    "warm_start": Switch(),
    "verbose": Number("an int of at least 0", True, 0, besides=(False, True, np.False_, np.True_)),
    "callbacks__train_loss__on_train": Switch(),
    "callbacks__valid_loss__on_train": Switch(),
    "compile": Switch(),
    "use_caching": Switch('True, False or "auto"', words=("auto",)),
}


def check_constraints(values: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError for a value that its parameter can't have."""
    for name, constraint in CONSTRAINTS.items():
        if name in values:
            constraint.check(name, values[name])


def warn_of_few_rows(epoch_size: Any, batch_size: int, n_classes: int) -> None:
    """Warn if `epoch_size` is so small an int that a share may have been meant: 1 is one row, 1.0 is all of them."""
    if type(epoch_size) is not int or not 0 < epoch_size < max(batch_size, n_classes):
        return
    than = f"batch_size={batch_size}" if epoch_size < batch_size else f"the {n_classes} classes"
    warnings.warn(
        f"epoch_size={epoch_size} is an int, so an epoch has {epoch_size} row{'s' * (epoch_size != 1)}, fewer than "
        f"{than}. A float is a share of the training rows: 1.0 is as many as there are.",
        UserWarning,
        stacklevel=5,
    )
