"""The net of a fit: a new one, or a copy of one that goes on."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import DataLoader

from imbalanced_torch._data.rows import Rows, ints_in
from imbalanced_torch._ensemble.learning_rate import RisingRate
from imbalanced_torch._fit.agreement import share_start
from imbalanced_torch._fit.seeds import INIT, draws_globally
from imbalanced_torch._fit.settings import Settings
from imbalanced_torch._losses.weighted import resolve_criterion
from imbalanced_torch._net.callbacks import copy_callbacks
from imbalanced_torch._net.global_state import seeded, sub_seed
from imbalanced_torch._net.module import last_layer
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._parameters.protocol import OBJECTS
from imbalanced_torch._parameters.values import equal_values, plain
from imbalanced_torch._remedies.class_priors import ClassPriors
from imbalanced_torch._remedies.plan import TrainingPlan

#: Parameters that a trained net can't change.
_FIXED = ("module", "criterion", "optimizer", "dtype", "device")
#: Settings of the net that may change between fits that go on.
_MAY_CHANGE = ("lr", "batch_size", "verbose")


def build_net(
    estimator: Any, settings: Settings, rows: Rows, plan: TrainingPlan, classes: np.ndarray, seed: int
) -> ImbalancedNet:
    """Return an initialised net that starts at the class prior of the plan's first epoch.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    settings : Settings
    rows : Rows
        The training rows.
    plan : TrainingPlan
    classes : array of shape (K,)
    seed : int
    """
    priors = plan.epoch(0).priors
    X, codes = rows.first_batch()
    net = new_net(
        estimator,
        settings,
        classes,
        priors,
        seed,
        # The rarer class.
        positive=None if len(classes) > 2 else classes[int(plan.row_counts[1] <= plan.row_counts[0])],
        dtype=rows.dtype,
        example=(X, codes, partial(_hint_of_ints, rows, estimator.dtype)),
        start_prior=None if isinstance(settings.module, nn.Module) else priors.start_prior,
    )
    with seeded(sub_seed(seed, INIT)) if draws_globally(estimator, rows.source) else nullcontext():
        net.initialize()
    schedule = plan.remedies.schedule
    if schedule is not None and schedule.retrains_head:
        last_layer(net.module_)  # raises now rather than at the switch
    share_start(net, plan.group)
    return net


def new_net(
    estimator: Any, settings: Settings, classes: np.ndarray, priors: ClassPriors, seed: int, **own: Any
) -> ImbalancedNet:
    """Return a net that is not initialised yet, with other parameters of its own such as `dtype`."""
    module = settings.module
    criterion = resolve_criterion(estimator.criterion, len(classes), estimator._part("criterion"))
    criterion.set_classes(priors.class_weight, priors.counts_seen)
    given = estimator._part("module")
    inferred = {name: value for name, value in settings.inferred.items() if name not in given}
    return estimator.net_class(
        **_net_parameters(estimator, settings),
        **{f"module__{name}": value for name, value in {**given, **inferred}.items()},
        module=copy.deepcopy(module) if isinstance(module, nn.Module) else module,
        criterion=criterion,
        optimizer=settings.optimizer,
        train_split=None,
        callbacks=_callbacks(estimator, settings),
        device=estimator.device,
        classes=classes,
        seed=seed,
        inferred=inferred,
        made_from=fixed_parameters(estimator),
        **own,
    )


def continue_net(estimator: Any, settings: Settings, net: ImbalancedNet) -> ImbalancedNet:
    """Return a copy of a net that goes on with the estimator's settings; raise if the net would have to be another."""
    before, now = net.made_from or {}, fixed_parameters(estimator)
    changed = {name for name in before.keys() | now.keys() if not equal_values(before.get(name), now.get(name))}
    if changed - {"callbacks"}:
        raise ValueError(
            f"{', '.join(sorted(changed - {'callbacks'}))} can't change once the net is trained; set "
            "warm_start=False and call fit to start anew."
        )
    loaders = {"iterator_train": DataLoader, "iterator_valid": DataLoader, **_net_parameters(estimator, settings)}
    changes = {name: value for name, value in loaders.items() if name.startswith("iterator_") or name in _MAY_CHANGE}
    if settings.falls_from is not None:
        changes["lr"] = net.lr
    return net.continued({**changes, "made_from": now}, _callbacks(estimator, settings) if changed else ...)


def fixed_parameters(estimator: Any) -> dict[str, Any]:
    """Return the estimator's parameters that a trained net can't change."""
    parts = {name: value for name, value in estimator._kwargs.items() if not name.startswith("iterator_")}
    return {**{name: getattr(estimator, name) for name in _FIXED}, **parts, "callbacks": estimator.callbacks}


def _net_parameters(estimator: Any, settings: Settings) -> dict[str, Any]:
    """Return the net's own parameters and those of its loaders, optimizer and callbacks."""
    others = ("module__", "criterion__", *(f"{name}__" for name in OBJECTS))
    parts = {name: value for name, value in estimator._kwargs.items() if not name.startswith(others)}
    return {
        **{
            name: copy_callbacks(value) if name.startswith("callbacks") else plain(value)
            for name, value in parts.items()
        },
        **{f"optimizer__{name}": value for name, value in settings.optimizer_parameters.items()},
        "lr": settings.lr,
        "batch_size": settings.batch_size,
        "verbose": estimator.verbose,
    }


def _callbacks(estimator: Any, settings: Settings) -> Any:
    """Return copies of the user's callbacks, with what lets the learning rate rise before them."""
    callbacks = copy_callbacks(estimator.callbacks)
    if settings.falls_from is None or isinstance(callbacks, str):
        return callbacks
    return [("learning_rate", RisingRate(falls_from=settings.falls_from)), *(callbacks or [])]


def _hint_of_ints(rows: Rows, dtype: Any) -> str:
    """Return what to say of ints that became floats, as the module can't take those."""
    if rows.dtype is not None and not rows.dtype.is_floating_point:
        return f". dtype={dtype!r} makes ints of X, which only layers such as Embedding take"
    ints = [] if rows.dtype is None or not rows.dtype.is_floating_point else ints_in(rows.source)
    into = (
        f"ints, which dtype={dtype!r} turns into {str(rows.dtype).removeprefix('torch.')}; dtype=None passes them on."
    )
    return f". {', '.join(ints)} {'holds' if len(ints) == 1 else 'hold'} {into}" if ints else ""
