"""From the estimator's parameters and the rows of a fit to a net, new or one that goes on."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import DataLoader, Dataset

from imbalanced_torch._data.rows import Rows, ints_in, row_shape, shape_of_rows
from imbalanced_torch._losses.weighted import resolve_criterion
from imbalanced_torch._net.callbacks import copy_callbacks
from imbalanced_torch._net.global_state import global_stream, seeded, sub_seed
from imbalanced_torch._net.module import MLP, last_layer, sizes_asked_for
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._parameters.checks import advice
from imbalanced_torch._parameters.names import check_keywords
from imbalanced_torch._parameters.protocol import OBJECTS
from imbalanced_torch._parameters.values import equal_values, plain
from imbalanced_torch._remedies.plan import TrainingPlan

#: What each random stream of a fit is keyed by.
INIT, TRAINING, SAMPLING, HOLDOUT = range(4)
#: Parameters that a trained net can't change.
_FIXED = ("module", "criterion", "optimizer", "dtype", "device")
#: Settings of the net that may change between fits that go on.
_MAY_CHANGE = ("lr", "batch_size", "verbose")


def build_net(estimator: Any, rows: Rows, plan: TrainingPlan, classes: np.ndarray, seed: int) -> ImbalancedNet:
    """Return an initialised net that starts at the class prior of the plan's first epoch.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    rows : Rows
        The training rows.
    plan : TrainingPlan
    classes : array of shape (K,)
    seed : int
    """
    module: Any = MLP if estimator.module is None else estimator.module
    priors = plan.epoch(0).priors
    criterion = resolve_criterion(estimator.criterion, len(classes), estimator._part("criterion"))
    criterion.set_classes(priors.class_weight, priors.counts_seen)
    given = estimator._part("module")
    inferred = _inferred_parameters(estimator.module, given, rows, len(classes))
    if module is MLP and "seed" not in given:
        inferred["seed"] = sub_seed(seed, INIT)
    X, codes = rows.first_batch()
    net = estimator.net_class(
        **_net_parameters(estimator),
        **{f"module__{name}": value for name, value in {**given, **inferred}.items()},
        module=copy.deepcopy(module) if isinstance(module, nn.Module) else module,
        criterion=criterion,
        optimizer=estimator.optimizer,
        train_split=None,
        callbacks=copy_callbacks(estimator.callbacks),
        device=estimator.device,
        classes=classes,
        # The rarer class.
        positive=None if len(classes) > 2 else classes[int(plan.row_counts[1] <= plan.row_counts[0])],
        dtype=rows.dtype,
        seed=seed,
        example=(X, codes, partial(_hint_of_ints, rows, estimator.dtype)),
        start_prior=None if isinstance(module, nn.Module) else priors.start_prior,
        inferred=inferred,
        made_from=_fixed(estimator),
    )
    with seeded(sub_seed(seed, INIT)) if draws_globally(estimator, rows.source) else nullcontext():
        net.initialize()
    schedule = plan.remedies.schedule
    if schedule is not None and schedule.retrains_head:
        last_layer(net.module_)  # raises now rather than at the switch
    return net


def continue_net(estimator: Any, net: ImbalancedNet) -> ImbalancedNet:
    """Return a copy of a net that goes on with the estimator's settings; raise if the net would have to be another."""
    before, now = net.made_from or {}, _fixed(estimator)
    changed = {name for name in before.keys() | now.keys() if not equal_values(before.get(name), now.get(name))}
    if changed - {"callbacks"}:
        raise ValueError(
            f"{', '.join(sorted(changed - {'callbacks'}))} can't change once the net is trained; set "
            "warm_start=False and call fit to start anew."
        )
    loaders = {"iterator_train": DataLoader, "iterator_valid": DataLoader, **_net_parameters(estimator)}
    settings = {name: value for name, value in loaders.items() if name.startswith("iterator_") or name in _MAY_CHANGE}
    return net.continued({**settings, "made_from": now}, copy_callbacks(estimator.callbacks) if changed else ...)


def random_stream(estimator: Any, X: Any) -> AbstractContextManager[None]:
    """Return what puts torch's global generator back after a fit, where something may draw from it."""
    return global_stream() if draws_globally(estimator, X) else nullcontext()


def draws_globally(estimator: Any, X: Any) -> bool:
    """Whether something of the user's may draw from torch's global generator in training."""
    loaders = any(name.startswith("iterator_") for name in estimator._kwargs)
    theirs = estimator.callbacks or estimator.train_split or loaders or "module__activation" in estimator._kwargs
    return bool(
        estimator.module not in (None, MLP)
        or not (estimator.criterion is None or isinstance(estimator.criterion, str))
        or estimator.net_class is not ImbalancedNet
        or isinstance(X, Dataset | SliceDataset)
        or theirs
    )


def _net_parameters(estimator: Any) -> dict[str, Any]:
    """Return the net's own parameters and those of its loaders, optimizer and callbacks."""
    others = ("module__", "criterion__", *(f"{name}__" for name in OBJECTS))
    parts = {name: value for name, value in estimator._kwargs.items() if not name.startswith(others)}
    return {
        **{
            name: copy_callbacks(value) if name.startswith("callbacks") else plain(value)
            for name, value in parts.items()
        },
        "lr": estimator._learning_rate(),
        "batch_size": estimator._number("batch_size"),
        "verbose": estimator.verbose,
    }


def _fixed(estimator: Any) -> dict[str, Any]:
    parts = {name: value for name, value in estimator._kwargs.items() if not name.startswith("iterator_")}
    return {**{name: getattr(estimator, name) for name in _FIXED}, **parts, "callbacks": estimator.callbacks}


def _inferred_parameters(module: Any, given: Mapping[str, Any], rows: Rows, n_classes: int) -> dict[str, Any]:
    """Return the sizes that the module asks for by name and that the user has not set."""
    if isinstance(module, nn.Module):
        if given:
            raise ValueError(
                "module is an instance, whose parameters are set already; pass its class "
                f"{type(module).__name__} to set {sorted(given)}."
            )
        return {}
    maker = MLP if module is None else module
    if not callable(maker):
        raise TypeError(
            "module must be None, a torch.nn.Module class or instance, or a callable that returns one; it is "
            f"{module!r}.{advice('module', module)}"
        )
    shape = row_shape(rows.source)
    if shape is None:  # a Dataset tells by its first rows
        shape = shape_of_rows(rows.first_batch()[0])
    if isinstance(shape, Mapping):
        if module is None:
            raise ValueError(
                f"the default module takes one array, and X holds {sorted(shape)}. Pass a module whose forward takes "
                "these names."
            )
        shape = next(iter(shape.values())) if len(shape) == 1 else None
    check_keywords("module", maker, given)
    return sizes_asked_for(maker, None if shape is None else math.prod(shape), n_classes, given)


def _hint_of_ints(rows: Rows, dtype: Any) -> str:
    """Return what to say of ints that became floats, as the module can't take those."""
    if rows.dtype is not None and not rows.dtype.is_floating_point:
        return f". dtype={dtype!r} makes ints of X, which only layers such as Embedding take"
    ints = [] if rows.dtype is None or not rows.dtype.is_floating_point else ints_in(rows.source)
    into = (
        f"ints, which dtype={dtype!r} turns into {str(rows.dtype).removeprefix('torch.')}; dtype=None passes them on."
    )
    return f". {', '.join(ints)} {'holds' if len(ints) == 1 else 'hold'} {into}" if ints else ""
