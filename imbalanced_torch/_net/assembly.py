"""From the estimator's parameters and the rows of a fit to a net, new or one that goes on."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import DataLoader, Dataset

from imbalanced_torch._data.rows import Rows, ints_in, row_shape, shape_of_rows
from imbalanced_torch._data.training_data import TrainingData, holds_out_folds, warn_of_scales
from imbalanced_torch._ensemble.column_encoder import ColumnEncoder
from imbalanced_torch._ensemble.ensemble import MLPEnsemble
from imbalanced_torch._ensemble.folds import FEW, deal
from imbalanced_torch._ensemble.learning_rate import RisingRate
from imbalanced_torch._ensemble.members import Members
from imbalanced_torch._ensemble.sizes import choose_sizes
from imbalanced_torch._ensemble.stopping import StopOutOfFold
from imbalanced_torch._losses.weighted import resolve_criterion
from imbalanced_torch._net.callbacks import EarlyStopping, copy_callbacks
from imbalanced_torch._net.global_state import global_stream, seeded, sub_seed
from imbalanced_torch._net.module import MLP, last_layer, sizes_asked_for
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._parameters.checks import advice, user_sampler_parameter
from imbalanced_torch._parameters.constraints import warn_of_few_rows
from imbalanced_torch._parameters.names import check_keywords
from imbalanced_torch._parameters.protocol import OBJECTS
from imbalanced_torch._parameters.sizes import check_size
from imbalanced_torch._parameters.values import equal_values, plain
from imbalanced_torch._persistence.training_checkpoint import TrainingFile, open_checkpoint
from imbalanced_torch._remedies.class_priors import ClassPriors
from imbalanced_torch._remedies.plan import Remedies, TrainingPlan
from imbalanced_torch._remedies.schedule import resolve_schedule

#: What each random stream of a fit is keyed by.
INIT, TRAINING, SAMPLING, HOLDOUT, COLUMNS = range(5)
#: What a plain module is trained with where the user leaves it open: so many epochs, but not more than so many steps
#: where nothing is held out to stop on.
_LR, _MAX_EPOCHS, _BATCH_SIZE, _MOST_STEPS = 1e-3, 50, 64, 5000
#: AdamW's for the default net.
_ENSEMBLE_OPTIMIZER = {"betas": (0.9, 0.99), "weight_decay": 0.1}
#: Parameters that a trained net can't change.
_FIXED = ("module", "criterion", "optimizer", "dtype", "device")
#: Settings of the net that may change between fits that go on.
_MAY_CHANGE = ("lr", "batch_size", "verbose")


def choose_seed(
    estimator: Any, X: Any, net: ImbalancedNet | None, *, single_epoch: bool
) -> tuple[int, TrainingFile | None]:
    """Return the seed of a fit, and the file that it goes on from and saves to, if the estimator has a checkpoint."""
    seed = check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max) if net is None else net.seed
    goes_on, draws = net is not None or single_epoch, draws_globally(estimator, X)
    checkpoint = open_checkpoint(estimator, seed, goes_on=goes_on, draws_globally=draws)
    return (seed if checkpoint is None else checkpoint.seed), checkpoint


def check_same_rows(checkpoint: TrainingFile | None, data: TrainingData) -> None:
    """Raise ValueError if a fit would go on from a file that was saved from other rows."""
    if checkpoint is not None:
        checkpoint.is_of(data.named())


@dataclass(frozen=True)
class Settings:
    """What a fit is trained with, where the user leaves it open too.

    Parameters
    ----------
    module : module class, instance or factory
    optimizer : torch optimizer class
    lr : float or tensor
    max_epochs, batch_size : int
    epoch_rows : int or None
        Rows of each member in an epoch of an ensemble, unless `epoch_size` says; None for one net.
    inferred : mapping
        Parameters of the module.
    optimizer_parameters : mapping
    falls_from : float or None
        Share of the epochs after which the learning rate, which has risen before, falls; None leaves it as it is.
    one_batch : bool
        Whether all rows of a member are one batch.
    n_iter_no_change : int
    """

    module: Any
    optimizer: Any
    lr: Any
    max_epochs: int
    batch_size: int
    epoch_rows: int | None
    inferred: Mapping[str, Any]
    optimizer_parameters: Mapping[str, Any]
    falls_from: float | None = None
    one_batch: bool = False
    n_iter_no_change: int = 10

    @property
    def n_members(self) -> int | None:
        """Members of an ensemble; None for one net."""
        return self.inferred.get("n_members")

    def __str__(self) -> str:
        """Return one line for those who watch."""
        return ", ".join(f"{name}={value}" for name, value in self.chosen().items())

    def chosen(self) -> dict[str, Any]:
        """Return what was chosen, by the names of parameters, for users to look at."""
        sizes = ("n_members", "hidden_sizes", "dropout", "dtype")
        return {
            "module": getattr(self.module, "__name__", type(self.module).__name__),
            **{f"module__{name}": self.inferred[name] for name in sizes if name in self.inferred},
            "optimizer": getattr(self.optimizer, "__name__", repr(self.optimizer)),
            **{f"optimizer__{name}": value for name, value in self.optimizer_parameters.items()},
            "lr": f"{RisingRate().first} rising to {RisingRate().last}" if self.falls_from is not None else self.lr,
            "max_epochs": self.max_epochs,
            "batch_size": self.batch_size,
            **({} if self.epoch_rows is None else {"epoch_size": self.epoch_rows}),
        }


def choose_settings(estimator: Any, data: TrainingData, seed: int, net: ImbalancedNet | None) -> Settings:
    """Return the estimator's settings, and what suits the data where they are left open.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    data : TrainingData
    seed : int
        Of the fit.
    net : ImbalancedNet or None
        The net that goes on, whose module stays.
    """
    if holds_out_folds(estimator, data.training):
        return _for_ensemble(estimator, data, seed, net)
    if net is None and estimator._finite() is True:
        warn_of_scales(data.training, data.columns.get("feature_names_in_"), stacklevel=4)
    module = MLP if estimator.module is None else estimator.module
    inferred = _inferred_parameters(module, estimator._part("module"), data.training, len(data.classes))
    if module is MLP and "seed" not in estimator._part("module"):
        inferred["seed"] = sub_seed(seed, INIT)
    batch_size = estimator._number("batch_size") or _BATCH_SIZE
    steps = max(1, len(data.training) // (batch_size if batch_size > 0 else len(data.training)))
    bounded = _MAX_EPOCHS if data.stops_early else min(_MAX_EPOCHS, max(1, _MOST_STEPS // steps))
    return Settings(
        module=module,
        optimizer=torch.optim.Adam if estimator.optimizer is None else estimator.optimizer,
        lr=_LR if estimator.lr is None else estimator._learning_rate(),
        max_epochs=estimator._number("max_epochs") or bounded,
        batch_size=batch_size,
        epoch_rows=None,
        inferred=inferred,
        optimizer_parameters={},
    )


def _for_ensemble(estimator: Any, data: TrainingData, seed: int, net: ImbalancedNet | None) -> Settings:
    rows, given = data.training, estimator._part("module")
    loader = sorted(name for name in estimator._kwargs if name.startswith("iterator_train"))
    foreign = [name for name in loader if name not in ("iterator_train__batch_size", "iterator_train__drop_last")]
    if foreign:
        raise ValueError(
            f"{foreign[0]} can't be set for the default net, whose members draw rows of their own. Pass a module, such "
            "as imbalanced_torch.MLP."
        )
    check_keywords("module", MLPEnsemble, given)
    for name, least in (("n_members", 2), ("n_bins", 0)):  # rows and columns are dealt with before the module is made
        check_size(f"module__{name}", given.get(name, least), least)
    one_batch = len(rows) <= FEW and estimator.sampling is None and estimator.epoch_size is None
    encoder = ColumnEncoder(rows.shape[1])
    encoder = (
        encoder.fit(rows.X, data.n_levels, rows.sample_weight, given.get("n_bins", 12), sub_seed(seed, COLUMNS))
        if net is None
        else net.module_.encoder
    )
    n_outputs = 1 if len(data.classes) == 2 else len(data.classes)
    sizes = choose_sizes(len(rows), encoder.n_inputs, n_outputs, one_batch=one_batch)
    ours: dict[str, Any] = {
        "n_features": rows.shape[1],
        "n_outputs": n_outputs,
        "n_members": sizes.n_members if net is None else net.module_.n_members,
        "hidden_sizes": sizes.hidden_sizes,
        "dropout": sizes.dropout,
        "encoder": encoder,
        "seed": sub_seed(seed, INIT),
        "dtype": _dtype_of_weights(estimator.dtype, rows, one_batch),
    }
    # An epoch is some steps: of more rows than there are, it would not end.
    batch_size = min(estimator._number("batch_size") or sizes.batch_size, max(sizes.batch_size, len(rows)))
    chosen = {name: value for name, value in _ENSEMBLE_OPTIMIZER.items() if name not in estimator._part("optimizer")}
    return Settings(
        module=MLPEnsemble if estimator.module is None else estimator.module,
        optimizer=torch.optim.AdamW if estimator.optimizer is None else estimator.optimizer,
        lr=RisingRate().first if estimator.lr is None else estimator._learning_rate(),
        max_epochs=estimator._number("max_epochs") or sizes.max_epochs,
        batch_size=batch_size,
        epoch_rows=None if batch_size == -1 else sizes.steps * batch_size,
        inferred={**ours, **given},
        optimizer_parameters=chosen if estimator.optimizer is None else {},
        # Groups of the user's have rates of their own.
        falls_from=sizes.falls_from
        if estimator.lr is None and "param_groups" not in estimator._part("optimizer")
        else None,
        one_batch=one_batch,
        n_iter_no_change=5,
    )


def _dtype_of_weights(dtype: Any, rows: Rows, one_batch: bool) -> torch.dtype:
    """Return single precision, unless the user wants double, or rows are so few that it costs nothing."""
    if isinstance(dtype, str):
        return torch.float64 if one_batch and rows.dtype == torch.float64 else torch.float32
    return torch.float64 if rows.dtype == torch.float64 else torch.float32


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
    module, priors = settings.module, plan.epoch(0).priors
    criterion = resolve_criterion(estimator.criterion, len(classes), estimator._part("criterion"))
    criterion.set_classes(priors.class_weight, priors.counts_seen)
    given = estimator._part("module")
    inferred = {name: value for name, value in settings.inferred.items() if name not in given}
    X, codes = rows.first_batch()
    net = estimator.net_class(
        **_net_parameters(estimator, settings),
        **{f"module__{name}": value for name, value in {**given, **inferred}.items()},
        module=copy.deepcopy(module) if isinstance(module, nn.Module) else module,
        criterion=criterion,
        optimizer=settings.optimizer,
        train_split=None,
        callbacks=_callbacks(estimator, settings),
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


def deal_folds(settings: Settings, data: TrainingData, seed: int) -> np.ndarray | None:
    """Return which member of an ensemble holds out which training row; None where none holds one out."""
    if settings.n_members is None or data.validation is not None:
        return None
    rows: Any = data.training
    X = rows.inputs(slice(None)).numpy() if settings.one_batch else None
    return deal(rows.codes, settings.n_members, seed, X)


def make_plan(
    estimator: Any,
    settings: Settings,
    data: TrainingData,
    folds: np.ndarray | None,
    seed: int,
    previous: ClassPriors | None,
    *,
    goes_on: bool,
    single_epoch: bool,
) -> TrainingPlan:
    """Return what each epoch of a fit learns from.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    settings : Settings
    data : TrainingData
    folds : int array of shape (n,) or None
        Which member of an ensemble holds out which row; None where none does.
    seed : int
        Of the draw of rows.
    previous : ClassPriors or None
        What earlier calls of `partial_fit` have shown the net.
    goes_on : bool
        Whether training goes on from an earlier call, or may go on after this one.
    single_epoch : bool
        Whether this is a call of `partial_fit`, whose epoch is all rows.
    """
    loader, epoch_size = estimator._part("iterator_train"), estimator._number("epoch_size")
    warn_of_few_rows(epoch_size, settings.batch_size, len(data.classes))
    schedule = resolve_schedule(
        estimator._with_parameters("schedule"),
        has_remedy=estimator.class_weight is not None or estimator.sampling is not None,
        continues=goes_on,
        max_epochs=settings.max_epochs,
    )
    remedies = Remedies(
        class_weight=estimator._with_parameters("class_weight"),
        sampling=estimator._with_parameters("sampling"),
        schedule=schedule,
        epoch_size=settings.epoch_rows if epoch_size is None and not single_epoch else epoch_size,
        max_epochs=settings.max_epochs,
        batch_size=loader.get("batch_size", settings.batch_size),
        drop_last=loader.get("drop_last", False),
        draw_is_known=not user_sampler_parameter(loader),
    )
    rows: Any = data.training
    generator = torch.Generator().manual_seed(seed)
    own = _rows_of_members(folds, settings.n_members, len(rows))
    return TrainingPlan(remedies, rows.codes, rows.sample_weight, data.classes, generator, previous, own)


def _rows_of_members(folds: np.ndarray | None, n_members: int | None, n_rows: int) -> list[np.ndarray] | None:
    """Return the rows that each member of an ensemble trains on; None for one net."""
    if n_members is None:
        return None
    if folds is None:
        return [np.arange(n_rows)] * n_members
    return [np.flatnonzero(folds != member) for member in range(n_members)]


def make_stopping(estimator: Any, settings: Settings, plan: TrainingPlan) -> EarlyStopping | StopOutOfFold:
    """Return the callback that stops training early, once a schedule's plain epochs are over."""
    schedule, patience = plan.remedies.schedule, estimator._number("n_iter_no_change") or settings.n_iter_no_change
    plain_epochs = 0 if schedule is None else schedule.first_to_keep(settings.max_epochs)
    if settings.n_members is not None:
        return StopOutOfFold(patience, after=plain_epochs, blends=not settings.one_batch)
    return EarlyStopping(patience, float(estimator.tol), after=plain_epochs)


def make_members(net: ImbalancedNet, settings: Settings, data: TrainingData, folds: Any, seed: int) -> Members | None:
    """Return the rows of each member of an ensemble; None for one net."""
    if settings.n_members is None:
        return None
    device = torch.device("cpu" if net.device is None else net.device)
    members = Members(
        net.module_,
        data.training,
        folds,
        data.validation,
        len(data.classes),
        one_batch=settings.one_batch,
        seed=sub_seed(seed, HOLDOUT),
        device=device,
    )
    if not int(net.module_.n_steps):
        some = torch.arange(min(len(data.training), 4096))
        net.module_.scale_to(members.encoded.take(some), None if members.weights is None else members.weights[some])
    return members


def _callbacks(estimator: Any, settings: Settings) -> Any:
    """Return copies of the user's callbacks, with what lets the learning rate rise before them."""
    callbacks = copy_callbacks(estimator.callbacks)
    if settings.falls_from is None or isinstance(callbacks, str):
        return callbacks
    return [("learning_rate", RisingRate(falls_from=settings.falls_from)), *(callbacks or [])]


def continue_net(estimator: Any, settings: Settings, net: ImbalancedNet) -> ImbalancedNet:
    """Return a copy of a net that goes on with the estimator's settings; raise if the net would have to be another."""
    before, now = net.made_from or {}, _fixed(estimator)
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


def random_stream(estimator: Any, X: Any) -> AbstractContextManager[None]:
    """Return what puts torch's global generator back after a fit, where something may draw from it."""
    return global_stream() if draws_globally(estimator, X) else nullcontext()


def draws_globally(estimator: Any, X: Any) -> bool:
    """Whether something of the user's may draw from torch's global generator in training."""
    loaders = any(name.startswith("iterator_") for name in estimator._kwargs)
    theirs = estimator.callbacks or estimator.train_split or loaders or "module__activation" in estimator._kwargs
    return bool(
        estimator.module not in (None, MLP, MLPEnsemble)
        or not (estimator.criterion is None or isinstance(estimator.criterion, str))
        or estimator.net_class is not ImbalancedNet
        or isinstance(X, Dataset | SliceDataset)
        or theirs
    )


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
    maker = module
    if not callable(maker):
        raise TypeError(
            "module must be None, a torch.nn.Module class or instance, or a callable that returns one; it is "
            f"{module!r}.{advice('module', module)}"
        )
    shape = row_shape(rows.source)
    if shape is None:  # a Dataset tells by its first rows
        shape = shape_of_rows(rows.first_batch()[0])
    if isinstance(shape, Mapping):
        if module is MLP:
            raise ValueError(
                f"the plain module MLP takes one array, and X holds {sorted(shape)}. Pass a module whose forward takes "
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
