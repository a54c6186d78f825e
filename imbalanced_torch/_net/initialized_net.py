"""What the skorch net does before training: callbacks, criterion, module and optimizer are made and tried."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from skorch.callbacks import Callback, EpochTimer
from skorch.history import History

from imbalanced_torch._data.rows import shape_of_rows
from imbalanced_torch._net.callbacks import BatchMean, Print, copy_callback, score_in_labels
from imbalanced_torch._net.loading import moved
from imbalanced_torch._net.module import (
    set_start,
    try_module,
    undecayed_parameters,
)
from imbalanced_torch._parameters.names import blamed_on
from imbalanced_torch._parameters.values import accepted_by, listed
from imbalanced_torch._persistence.saved_net import SavedAsOneUnit


class InitializedNet(SavedAsOneUnit):
    """A skorch net whose parts are checked as they are made, so that a wrong parameter is named."""

    module_: Any
    callbacks_: list[tuple[str, Any]]

    def __init__(
        self,
        *args: Any,
        classes: np.ndarray,
        positive: Any = None,
        dtype: torch.dtype | None = None,
        seed: int = 0,
        example: tuple[Any, ...] | None = None,
        start_prior: np.ndarray | None = None,
        inferred: Mapping[str, int] | None = None,
        made_from: Mapping[str, Any] | None = None,
        weights: Mapping[str, torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.classes = classes
        self.positive = positive
        self.dtype = dtype
        self.seed = seed
        self.example = example
        self.start_prior = start_prior
        self.inferred = inferred
        self.made_from = made_from
        self.weights = weights
        #: Submodules in evaluation mode, and frozen parameters, while the last layer is trained alone.
        self.eval_submodules_: list[torch.nn.Module] = []
        self.frozen_parameters_: list[torch.nn.Parameter] = []
        #: The shape of the rows that it was tried on.
        self.row_shape_: Any = None

    # What skorch initialises

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", BatchMean("train_loss", on_train=True)),
            ("valid_loss", BatchMean("valid_loss")),
            ("valid_log_loss", BatchMean("valid_log_loss")),
            ("valid_log_loss_corrected", BatchMean("valid_log_loss_corrected")),
            ("print_log", Print()),
        ]

    def initialize_callbacks(self) -> Self:
        for name, value in self.given("callbacks").items():
            if name.count("__") == 1 and not (value is None or isinstance(value, Callback | type)):
                raise TypeError(f"{name} must be a skorch callback, or None for none; it is {value!r}.")
        with blamed_on("callbacks", self.given("callbacks"), "the callbacks"):
            super().initialize_callbacks()
        self._check_callback_parameters()
        for _, callback in self.callbacks_:
            score_in_labels(callback, self.classes, self.positive)
        return self

    def _check_callback_parameters(self) -> None:
        """Raise for parameters of a callback that is not there, which skorch passes over."""
        given = [name.split("__")[1] for name in vars(self) if name.startswith("callbacks__")]
        listed_ones = self.callbacks if isinstance(self.callbacks, list) else []  # one may be switched off by None
        pairs = {item[0] if isinstance(item, tuple) else type(item).__name__ for item in listed_ones}
        names = {*dict(self.callbacks_), *dict(self.get_default_callbacks()), *pairs}
        for name in given:
            if name not in names:
                raise ValueError(
                    f"callbacks__{name} can't be set: there is no callback {name!r}. There are {sorted(names)}."
                )

    def given(self, prefix: str) -> dict[str, Any]:
        """Return the parameters that were given for a part of the net, by their whole names.

        Parameters
        ----------
        prefix : str
            The part, such as "module".

        Returns
        -------
        dict
            The values by name.
        """
        inferred = {f"module__{name}" for name in self.inferred or {}}
        return {
            name: vars(self)[name] for name in vars(self) if name.startswith(f"{prefix}__") and name not in inferred
        }

    def initialize_criterion(self) -> Self:
        super().initialize_criterion()
        floating = self.dtype is not None and self.dtype.is_floating_point
        self.criterion_.to(self.dtype if floating else torch.float32)  # some devices have no float64
        return self

    def initialize_module(self) -> Self:
        with blamed_on("module", self.given("module"), f"module {getattr(self.module, '__name__', self.module)}"):
            super().initialize_module()
        if not isinstance(self.module_, torch.nn.Module):
            raise TypeError(f"module must make a torch.nn.Module; it makes a {type(self.module_).__name__}.")
        if not isinstance(self.module, torch.nn.Module | type):
            self.module_ = copy.deepcopy(self.module_)  # a function may return the same module each time
        if self.dtype is not None and self.dtype.is_floating_point and not getattr(self.module_, "keeps_dtype", False):
            self.module_.to(self.dtype)
        # Lazy layers get their parameters here.
        self._try_example(may_be_mended=bool(self.listeners("on_train_begin", users=True)))
        if self.weights is not None:
            self.module_.load_state_dict(self.weights)
            self.weights = None
        elif self.start_prior is not None:
            set_start(self.module_, self.criterion, self.start_prior)
        return self

    def _try_example(self, may_be_mended: bool) -> None:
        """Try module and criterion on a few rows; a callback such as skorch's InputShapeSetter may mend sizes yet."""
        if self.example is None:
            return
        self.row_shape_ = shape_of_rows(self.example[0])
        X, codes, *hint = self.example
        weight = next(self.module_.parameters(), None)
        if weight is not None and weight.device.type != "cpu":  # it is where it will train by now
            X, codes = moved((X, codes), weight.device)
        try:
            given = self.given("module")
            try_module(
                self.module_, self.criterion, len(self.classes), X, codes, *hint, given=given, inferred=self.inferred
            )
        except ValueError:
            if not may_be_mended:
                raise
        else:
            self.example = None

    def listeners(self, method: str, users: bool = False) -> list[Any]:
        """Return the callbacks that define something for an event; with `users`, of those that the user brought.

        Parameters
        ----------
        method : str
            The event, such as "on_batch_end".
        users : bool, default=False
            Whether to leave out those that the net brings.

        Returns
        -------
        list of Callback
            The callbacks in their order.
        """
        idle = getattr(Callback, method)
        ours = {*dict(self.get_default_callbacks()), "learning_rate"} if users else ()
        return [cb for name, cb in self.callbacks_ if name not in ours and getattr(type(cb), method, None) is not idle]

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> tuple[Any, dict[str, Any]]:
        args, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        if _can_be_fused(self.optimizer, kwargs, args[0], self.device):
            kwargs["fused"] = True
        plain = undecayed_parameters(self.module_, self.start_prior)
        if not plain or not self._decays(kwargs) or "optimizer__param_groups" in vars(self):
            return args, kwargs
        groups = [{**group, "params": [p for p in group["params"] if id(p) not in plain]} for group in args[0]]
        return ([*groups, {"params": list(plain.values()), "weight_decay": 0.0}], *args[1:]), kwargs

    def _decays(self, kwargs: Mapping[str, Any]) -> bool:
        """Whether the optimizer decays weights, also where that is what it does unless told otherwise."""
        if "weight_decay" in kwargs or self.optimizer is torch.optim.Adam:
            return bool(kwargs.get("weight_decay", 0))
        parameters = accepted_by(self.optimizer)
        return "weight_decay" in parameters and bool(parameters["weight_decay"].default)

    def made_with(self, part: str) -> str:
        """Return a sentence on the parameters that were given for a part of the net, or nothing.

        Parameters
        ----------
        part : str
            The part, such as "optimizer".

        Returns
        -------
        str
            The sentence, with a space before it.
        """
        values = [f"{name}={listed(value)}" for name, value in self.given(part).items()]
        return f" The {part} was made with {', '.join(values)}." if values else ""

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> Self:
        given = self.given("optimizer")
        name = getattr(self.optimizer, "__name__", self.optimizer)
        with blamed_on("optimizer", {"lr": self.lr, **given}, f"optimizer {name}"):
            super().initialize_optimizer(*args, **kwargs)
            if given:
                self._try_optimizer()
        return self

    def _try_optimizer(self) -> None:
        """Make a step with an optimizer of torch's like ours: some parameters are looked at there only."""
        kind = type(self.optimizer_)
        if self.optimizer is not kind or not kind.__module__.startswith("torch.optim"):
            return
        if kind in (torch.optim.LBFGS, torch.optim.SparseAdam) or "optimizer__param_groups" in vars(self):
            return
        like = next((p for group in self.optimizer_.param_groups for p in group["params"]), torch.zeros(()))
        tried = torch.nn.Parameter(torch.zeros(2, 2, dtype=like.dtype, device=like.device))
        tried.grad = torch.zeros_like(tried)
        _, kwargs = self.get_params_for_optimizer("optimizer", [("tried", tried)])
        kind([tried], **kwargs).step()

    # Going on

    def copied(self) -> Self:
        """Return a net that trains on from here, and leaves this one as it is.

        Returns
        -------
        Self
            The copy.
        """
        memo: dict[int, Any] = {}
        new: Any = object.__new__(type(self))
        for name, value in vars(self).items():
            trained = isinstance(value, torch.nn.Module | torch.optim.Optimizer) and name.endswith("_")
            new.__dict__[name] = copy.deepcopy(value, memo) if trained else value
        new.history_ = History(self.history)  # past epochs do not change
        new.callbacks_ = [(name, copy_callback(callback, memo)) for name, callback in self.callbacks_]
        return new

    def continued(self, settings: Mapping[str, Any], callbacks: Any) -> Self:
        """Return a copy that trains on with these settings of loaders, batch size, learning rate and verbosity.

        Parameters
        ----------
        settings : mapping
            Parameters of skorch: `batch_size`, `verbose`, `lr`, `iterator_train`, `iterator_train__*` and so on.
        callbacks : list, "disable", None or Ellipsis
            The callbacks from now on; Ellipsis keeps those that there are.

        Returns
        -------
        Self
            The copy.
        """
        new: Any = self.copied()
        if callbacks is not ...:
            new.callbacks = callbacks
            new.initialize_callbacks()
        for name in [name for name in vars(new) if name.startswith("iterator_") and "__" in name]:
            delattr(new, name)
        new.__dict__.update({name: value for name, value in settings.items() if name != "lr"})
        if new.lr != settings["lr"]:
            new.set_params(lr=settings["lr"])
            new.lr = settings["lr"]
        return new


def _can_be_fused(optimizer: Any, kwargs: Mapping[str, Any], groups: Any, device: Any) -> bool:
    """Whether torch's fused step, a third of the time of a small net, is the same step and the user chose no other."""
    chosen = kwargs.keys() & {"fused", "foreach", "capturable", "differentiable"}
    return (
        optimizer in (torch.optim.Adam, torch.optim.AdamW)
        and not chosen
        and not isinstance(kwargs.get("lr"), torch.Tensor)
        and torch.device("cpu" if device is None else device).type in ("cpu", "cuda")
        and all(parameter.is_floating_point() for group in groups for parameter in group["params"])
    )
