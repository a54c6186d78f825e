"""What is checked of the classifier's parameters before it looks at data: one function for each of them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_random_state
from skorch.callbacks import Callback
from torch.utils.data import DataLoader

from imbalanced_torch._parameters.constraints import check_constraints
from imbalanced_torch._parameters.foreign_words import VALUES
from imbalanced_torch._parameters.names import check_keywords, check_names, nested_parameters
from imbalanced_torch._parameters.protocol import OBJECTS, KeywordParameters
from imbalanced_torch._parameters.values import did_you_mean, listed

#: Loader parameters by which users order rows themselves.
SAMPLER_PARAMETERS = ("sampler", "batch_sampler", "shuffle")


def check_parameters(estimator: Any) -> None:
    """Raise ValueError or TypeError, with the parameter's name, for what can be told without data."""
    check_known(estimator)
    check_constraints({**vars(estimator), **estimator._kwargs})
    _check_lr(estimator.lr)
    _check_random_state(estimator.random_state)
    _check_optimizer(estimator.optimizer)
    _check_train_split(estimator.train_split)
    _check_early_stopping(estimator.early_stopping)
    _check_callbacks(estimator.callbacks, estimator.early_stopping)
    _check_device(estimator.device)
    ours = torch.optim.AdamW if estimator._takes_tables() else torch.optim.Adam
    optimizer = ours if estimator.optimizer is None else estimator.optimizer
    check_keywords("optimizer", optimizer, estimator._part("optimizer"), extra=["param_groups"])
    for prefix in ("iterator_train", "iterator_valid"):
        _check_iterator(prefix, estimator._kwargs.get(prefix, DataLoader), estimator._part(prefix))
    _check_order(estimator)


def check_known(estimator: KeywordParameters) -> None:
    """Raise ValueError for a keyword that is no parameter."""
    if estimator._kwargs:
        objects = {name: getattr(estimator, name) for name in OBJECTS}
        known = {*estimator._get_param_names(), *nested_parameters(objects)}
        check_names(estimator._kwargs, known, estimator.net_class, vars(estimator))


def advice(name: str, value: Any) -> str:
    """Return what to pass instead of a word of another package, or nothing."""
    sentence = VALUES.get(name, {}).get(value.lower()) if isinstance(value, str) else None
    return f" {sentence}" if sentence else ""


def user_sampler_parameter(loader_parameters: Mapping[str, Any]) -> str | None:
    """Return the parameter by which the user orders rows, if any; shuffling is what happens anyway."""
    for name in SAMPLER_PARAMETERS:
        value = loader_parameters.get(name)
        if value is not None and value is not True:
            return name
    return None


def _check_lr(given: Any) -> None:
    lr = given
    if lr is None:
        return
    if isinstance(lr, torch.Tensor) and lr.numel() == 1 and lr.is_floating_point():
        lr = lr.item()
    if not isinstance(lr, numbers.Real) or isinstance(lr, bool | np.bool_):
        raise TypeError(f"lr must be a number; it is {listed(given)}.{advice('lr', lr)}")
    if not float(lr) >= 0:
        raise ValueError(f"lr must be a number of at least 0; it is {given!r}.")


def _check_random_state(random_state: Any) -> None:
    try:
        if isinstance(random_state, bool | np.bool_):
            raise ValueError("a bool is no seed")
        check_random_state(random_state)
    except (ValueError, TypeError) as error:  # scikit-learn 1.6 formats a tuple into its message
        raise ValueError(
            f"random_state must be None, an int in [0, 2**32) or a numpy RandomState; it is {listed(random_state)}: "
            f"{error}"
        ) from error


def _check_optimizer(optimizer: Any) -> None:
    if optimizer is not None and not callable(optimizer):
        raise TypeError(
            f"optimizer must be None or a torch optimizer class such as torch.optim.Adam; it is {optimizer!r}."
            f"{advice('optimizer', optimizer)}"
        )


def _check_train_split(train_split: Any) -> None:
    rows = isinstance(train_split, tuple) and len(train_split) == 2
    if not (train_split is None or rows or callable(train_split)):
        raise TypeError(
            "train_split must be None, a tuple (X, y) of rows to hold out, or a callable of (dataset, labels), such as "
            f"skorch's ValidSplit; it is {listed(train_split)}."
        )


def _check_early_stopping(early_stopping: Any) -> None:
    if isinstance(early_stopping, bool | np.bool_) or (
        callable(early_stopping) and not isinstance(early_stopping, type)
    ):
        return
    word = isinstance(early_stopping, str)
    if not word or (early_stopping != "auto" and early_stopping not in get_scorer_names()):
        close = did_you_mean(early_stopping, ["auto", *get_scorer_names()]) if word else ""
        raise (ValueError if word else TypeError)(
            'early_stopping must be True, False, "auto" or a scorer of scikit-learn, by name or from make_scorer; it '
            f"is {listed(early_stopping)}.{advice('early_stopping', early_stopping) or close}"
        )


def _check_callbacks(callbacks: Any, early_stopping: Any) -> None:
    disabled = isinstance(callbacks, str) and callbacks == "disable"
    items = callbacks if isinstance(callbacks, list) else []
    listed_ones = [item[1] if isinstance(item, tuple) and len(item) == 2 else item for item in items]
    fits = isinstance(callbacks, list) and all(isinstance(item, Callback | type) for item in listed_ones)
    if not (callbacks is None or fits or disabled):
        raise TypeError(
            'callbacks must be None, a list of skorch callbacks or pairs (name, callback), or "disable"; it is '
            f"{callbacks!r}."
        )
    if disabled and early_stopping is True:
        raise ValueError(
            'early_stopping=True needs callbacks, but callbacks="disable". Pass callbacks=None or early_stopping=False.'
        )


def _check_device(device: Any) -> None:
    if device is None:  # where skorch's accelerate mix-in decides
        return
    try:
        if torch.empty(0, device=device).is_meta:
            raise ValueError("tensors there have no values")
    except (RuntimeError, TypeError, AssertionError, ValueError, OverflowError) as error:
        hint = advice("device", device)
        raise ValueError(
            f'device must be one that this torch has, such as "cpu"; it is {device!r}'
            f"{'.' + hint if hint else f': {error}'}"
        ) from error


def _check_iterator(prefix: str, iterator: Any, given: Mapping[str, Any]) -> None:
    if not callable(iterator):
        raise TypeError(f"{prefix} must be a class such as torch.utils.data.DataLoader; it is {iterator!r}.")
    check_keywords(prefix, iterator, given)
    if np.any(given.get("timeout", 0)) and not given.get("num_workers"):
        raise ValueError(
            f"{prefix}__timeout is how long to wait for workers; it needs {prefix}__num_workers of at least 1."
        )
    for name in ("sampler", "batch_sampler"):
        sampler = given.get(name)
        if not (sampler is None or hasattr(sampler, "__iter__")):
            raise TypeError(
                f"{prefix}__{name} must be None or an iterable of positions, such as a torch Sampler; it is "
                f"{listed(sampler)}."
            )


def _check_order(estimator: Any) -> None:
    own_order = user_sampler_parameter(estimator._part("iterator_train"))
    if own_order and (estimator.sampling is not None or estimator.epoch_size is not None):
        other = "sampling" if estimator.sampling is not None else "epoch_size"
        raise ValueError(
            f"iterator_train__{own_order} can't go together with {other}={getattr(estimator, other)!r}: both choose "
            "the rows. Leave one of them out."
        )
