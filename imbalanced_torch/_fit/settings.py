"""What a fit is trained with where the user leaves it open: by the data, and by what the module asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from imbalanced_torch._data.rows import Rows, row_shape, shape_of_rows
from imbalanced_torch._data.training_data import TrainingData, holds_out_folds, warn_of_scales
from imbalanced_torch._ensemble.column_encoder import ColumnEncoder
from imbalanced_torch._ensemble.ensemble import MLPEnsemble
from imbalanced_torch._ensemble.folds import FEW
from imbalanced_torch._ensemble.learning_rate import RisingRate
from imbalanced_torch._ensemble.sizes import choose_sizes
from imbalanced_torch._fit.seeds import COLUMNS, INIT
from imbalanced_torch._net.global_state import sub_seed
from imbalanced_torch._net.module import MLP, sizes_asked_for
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._parameters.checks import advice
from imbalanced_torch._parameters.names import check_keywords
from imbalanced_torch._parameters.sizes import check_size

#: What a plain module is trained with where the user leaves it open: so many epochs, but not more than so many steps
#: where nothing is held out to stop on.
_LR, _MAX_EPOCHS, _BATCH_SIZE, _MOST_STEPS = 1e-3, 50, 64, 5000
#: Rows that each process of a group has in a batch at least, where that is left open.
_FEWEST_IN_BATCH = 16
#: AdamW's for the default net.
_ENSEMBLE_OPTIMIZER = {"betas": (0.9, 0.99), "weight_decay": 0.1}


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
    n_rows, size = data.group.total(len(data.training)), data.group.size
    # The processes of a group make one batch together.
    batch_size = estimator._number("batch_size") or max(_FEWEST_IN_BATCH, math.ceil(_BATCH_SIZE / size))
    steps = max(1, n_rows // (batch_size * size if batch_size > 0 else n_rows))
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
    _check_loader(estimator)
    check_keywords("module", MLPEnsemble, given)
    for name, least in (("n_members", 2), ("n_bins", 0)):  # rows and columns are dealt with before the module is made
        check_size(f"module__{name}", given.get(name, least), least)
    group, n_rows = data.group, data.group.total(len(rows))
    one_batch = n_rows <= FEW and group.alone and estimator.sampling is None and estimator.epoch_size is None
    encoder = ColumnEncoder(rows.shape[1])
    encoder = (
        encoder.fit(rows.X, data.n_levels, rows.sample_weight, given.get("n_bins", 12), sub_seed(seed, COLUMNS), group)
        if net is None
        else net.module_.encoder
    )
    n_outputs = 1 if len(data.classes) == 2 else len(data.classes)
    sizes = choose_sizes(n_rows, encoder.n_inputs, n_outputs, one_batch=one_batch)
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
    of_one = max(_FEWEST_IN_BATCH, math.ceil(sizes.batch_size / group.size))
    batch_size = min(estimator._number("batch_size") or of_one, max(of_one, math.ceil(n_rows / group.size)))
    chosen = {name: value for name, value in _ENSEMBLE_OPTIMIZER.items() if name not in estimator._part("optimizer")}
    return Settings(
        module=MLPEnsemble if estimator.module is None else estimator.module,
        optimizer=torch.optim.AdamW if estimator.optimizer is None else estimator.optimizer,
        lr=RisingRate().first if estimator.lr is None else estimator._learning_rate(),
        max_epochs=estimator._number("max_epochs") or sizes.max_epochs,
        batch_size=batch_size,
        epoch_rows=None if batch_size == -1 else sizes.steps * batch_size * group.size,
        inferred={**ours, **given},
        optimizer_parameters=chosen if estimator.optimizer is None else {},
        # Groups of the user's have rates of their own.
        falls_from=sizes.falls_from
        if estimator.lr is None and "param_groups" not in estimator._part("optimizer")
        else None,
        one_batch=one_batch,
        n_iter_no_change=5,
    )


def _check_loader(estimator: Any) -> None:
    """Raise for parameters of a loader, which members do without."""
    loader = sorted(name for name in estimator._kwargs if name.startswith("iterator_train"))
    foreign = [name for name in loader if name not in ("iterator_train__batch_size", "iterator_train__drop_last")]
    if foreign:
        raise ValueError(
            f"{foreign[0]} can't be set for the default net, whose members draw rows of their own. Pass a module, such "
            "as imbalanced_torch.MLP."
        )


def _dtype_of_weights(dtype: Any, rows: Rows, one_batch: bool) -> torch.dtype:
    """Return single precision, unless the user wants double, or rows are so few that it costs nothing."""
    if isinstance(dtype, str):
        return torch.float64 if one_batch and rows.dtype == torch.float64 else torch.float32
    return torch.float64 if rows.dtype == torch.float64 else torch.float32


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
