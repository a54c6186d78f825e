"""The skorch net inside: tensors and class codes in, logits out; it knows the remedies and no labels but for scores."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer
from skorch.helper import SliceDict
from skorch.utils import _check_f_arguments, to_numpy, to_tensor
from torch.utils.data import DataLoader

from imbalanced_torch._callbacks import Print, Stopping, score_in_labels
from imbalanced_torch._criterion import WeightedCriterion, check_row_losses
from imbalanced_torch._global_state import noted_interrupts, seeded, sub_seed
from imbalanced_torch._hyperparameters import accepted_by, listed
from imbalanced_torch._keywords import blamed_on
from imbalanced_torch._module import INPUTS, check_logits, first, last_layer, reset_linear
from imbalanced_torch._persistence import Loaded, load, read_history, restored_on_error, save
from imbalanced_torch._pickles import Versioned
from imbalanced_torch._prediction import Prediction
from imbalanced_torch._remedy import Stage
from imbalanced_torch._rows import Collate, OneByOne, Rows, TrainingRows, codes_and_weights, shape_of_rows
from imbalanced_torch._shortcut import (
    CHUNK,
    BatchMean,
    Loader,
    logits_of,
    serves_loading,
    serves_prediction,
    serves_training,
    train_epoch,
)
from imbalanced_torch._streams import Batches
from imbalanced_torch._values import named


class ImbalancedNet(Versioned, NeuralNet):
    """The skorch net that `ImbalancedNetClassifier` trains; derive from it to override skorch's methods.

    Name the derived class in the `net_class` attribute of a class derived from `ImbalancedNetClassifier`. Targets in
    batches are class codes 0..K-1, or a pair of codes and sample weights where the user gave weights.

    Parameters
    ----------
    *args, **kwargs
        As for skorch.NeuralNet; the criterion is a `WeightedCriterion`.
    classes : array of shape (K,)
        Labels in the order of codes: scoring callbacks see them.
    positive : label or None
        What scoring callbacks of two classes count as positive unless told otherwise.
    dtype : torch.dtype or None
        The module's floating dtype; None leaves it as the module made it.
    seed : int
        Seeds what a data loader draws.
    example : tuple of (X, codes) or (X, codes, hint), or None
        A few rows, on which module and criterion are tried before training; the hint, a function, returns what ends the
        error where the module can't take them.
    start_prior : array of shape (K,) or None
        The class shares at which a module that exposes `output_bias` starts; that bias has no weight decay.
    """

    module_: Any
    callbacks_: list[tuple[str, Any]]
    #: What `predict_proba` and `predict` make of logits: the estimator's `prior_correction` and `decision` in `fit`.
    prediction_: Prediction
    #: What the net learned from last, the epoch whose weights it has if that is not the last one, and the files that it
    #: was loaded from.
    stage_: Stage | None = None
    best_epoch_: int | None = None
    loaded_: Loaded | None = None

    def __init__(
        self,
        *args: Any,
        classes: np.ndarray,
        positive: Any = None,
        dtype: torch.dtype | None = None,
        seed: int = 0,
        example: tuple[Any, ...] | None = None,
        start_prior: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.classes = classes
        self.positive = positive
        self.dtype = dtype
        self.seed = seed
        self.example = example
        self.start_prior = start_prior
        #: Parts of the module and parameters that rest while the last layer is trained alone.
        self.resting_: list[torch.nn.Module] = []
        self.frozen_: list[torch.nn.Parameter] = []
        #: Sizes that the module asks for by name, and that nobody has set.
        self.inferred_: dict[str, int] = {}
        #: The estimator's parameters that the net was made from.
        self.origin_: dict[str, Any] = {}
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

    def initialize_callbacks(self) -> ImbalancedNet:
        for name, value in self._given("callbacks").items():
            if name.count("__") == 1 and not (value is None or isinstance(value, Callback | type)):
                raise TypeError(f"{name} must be a skorch callback, or None for none; it is {value!r}.")
        with blamed_on("callbacks", self._given("callbacks"), "the callbacks"):
            super().initialize_callbacks()
        self._check_callback_parameters()
        for _, callback in self.callbacks_:
            score_in_labels(callback, self.classes, self.positive)
        return self

    def _check_callback_parameters(self) -> None:
        """Raise for parameters of a callback that is not there, which skorch passes over."""
        given = [name.split("__")[1] for name in vars(self) if name.startswith("callbacks__")]
        names = {*dict(self.callbacks_), *dict(self.get_default_callbacks())}
        for name in given:
            if name not in names and getattr(self, f"callbacks__{name}", ...) is not None:
                raise ValueError(
                    f"callbacks__{name} can't be set: there is no callback {name!r}. There are {sorted(names)}."
                )

    def _given(self, prefix: str) -> dict[str, Any]:
        """Return the parameters that were given for a part of the net, by their whole names."""
        inferred = {f"module__{name}" for name in self.inferred_}
        return {
            name: vars(self)[name] for name in vars(self) if name.startswith(f"{prefix}__") and name not in inferred
        }

    def initialize_criterion(self) -> ImbalancedNet:
        super().initialize_criterion()
        floating = self.dtype is not None and self.dtype.is_floating_point
        self.criterion_.to(self.dtype if floating else torch.float32)  # some devices have no float64
        return self

    def initialize_module(self) -> ImbalancedNet:
        with blamed_on("module", self._given("module"), f"module {getattr(self.module, '__name__', self.module)}"):
            super().initialize_module()
        if not isinstance(self.module_, torch.nn.Module):
            raise TypeError(f"module must make a torch.nn.Module; it makes a {type(self.module_).__name__}.")
        if not isinstance(self.module, torch.nn.Module | type):
            self.module_ = copy.deepcopy(self.module_)  # a function may return the same module each time
        if self.dtype is not None and self.dtype.is_floating_point:
            self.module_.to(self.dtype)
        self._try_example(may_be_mended=any(self._listen("on_train_begin")))  # lazy layers get their parameters here
        if self.start_prior is not None:
            self._start_at(self.criterion, self.start_prior)
        return self

    def _start_at(self, criterion: WeightedCriterion, prior: np.ndarray) -> None:
        """Let the logits begin with a class prior, shape (K,)."""
        bias = self._output_bias()
        if bias is not None:
            start = criterion.start_logits(prior)
            with torch.no_grad():
                bias.copy_(start if len(bias) > 1 else start[1:] - start[:1])

    def _output_bias(self) -> torch.nn.Parameter | None:
        """Return the bias of the logits where it starts at the log prior."""
        bias = getattr(self.module_, "output_bias", None)
        if self.start_prior is None or not isinstance(bias, torch.nn.Parameter):
            return None
        return bias if bias.shape in ((1,), (len(self.start_prior),)) else None

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> tuple[Any, dict[str, Any]]:
        args, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        if _can_be_fused(self.optimizer, kwargs, args[0], self.device):
            kwargs["fused"] = True
        bias = self._output_bias()
        if bias is None or not self._decays(kwargs) or "optimizer__param_groups" in vars(self):
            return args, kwargs
        groups = [{**group, "params": [p for p in group["params"] if p is not bias]} for group in args[0]]
        return ([*groups, {"params": [bias], "weight_decay": 0.0}], *args[1:]), kwargs

    def _decays(self, kwargs: Mapping[str, Any]) -> bool:
        """Whether the optimizer decays weights, also where that is what it does unless told otherwise."""
        if "weight_decay" in kwargs or self.optimizer is torch.optim.Adam:
            return bool(kwargs.get("weight_decay", 0))
        parameters = accepted_by(self.optimizer)
        return "weight_decay" in parameters and bool(parameters["weight_decay"].default)

    def _listen(self, method: str) -> list[str]:
        """Return the names of the user's callbacks that do something there."""
        own = {name for name, _ in self.get_default_callbacks()}
        idle = getattr(Callback, method)
        return [name for name, call in self.callbacks_ if name not in own and getattr(type(call), method) is not idle]

    def _try_example(self, may_be_mended: bool) -> None:
        """Try module and criterion on a few rows; a callback such as skorch's InputShapeSetter may mend sizes yet."""
        if self.example is None:
            return
        try:
            self._try_module(*self.example)
        except ValueError:
            if not may_be_mended:
                raise
        else:
            self.example = None

    def _try_module(self, X: Any, codes: torch.Tensor, hint: Callable[[], str] = str) -> None:
        name = type(self.module_).__name__
        self.row_shape_ = shape_of_rows(X)
        if not getattr(self.module_, "allow_nan", False):
            for what, values in named(X).items():
                if isinstance(values, torch.Tensor) and not torch.isfinite(values).all():
                    raise ValueError(f"{what} must be finite; its first rows hold nan or infinity.")
        self.module_.eval()
        try:
            output = self.module_(**X) if isinstance(X, dict) else self.module_(X)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            values = X.values() if isinstance(X, dict) else [X]
            given = ", ".join(f"{str(v.dtype).removeprefix('torch.')} of shape {tuple(v.shape)}" for v in values)
            raise ValueError(
                f"module {name} can't take a batch of {given}: {error}{hint()}{self._who_set_what(X)}"
            ) from error
        logits = check_logits(output, len(codes), len(self.classes), name)
        check_row_losses(self.criterion, logits.detach(), codes)

    def _made_with(self, part: str) -> str:
        """Return a sentence on the parameters that were given for a part of the net, or nothing."""
        values = [f"{name}={listed(value)}" for name, value in self._given(part).items()]
        return f" The {part} was made with {', '.join(values)}." if values else ""

    def _who_set_what(self, X: Any) -> str:
        """Return what ends the error where the module can't take the rows."""
        said = self._made_with("module")
        sizes = [name for name in self.inferred_ if name in INPUTS]
        if sizes and isinstance(X, torch.Tensor) and X.ndim > 2:  # a row has more than one size
            name = sizes[0]
            said += (
                f" {name}={self.inferred_[name]} was inferred from X, whose rows have shape {tuple(X.shape[1:])}; set "
                f"module__{name}."
            )
        return f".{said}" if said else ""

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> ImbalancedNet:
        given = self._given("optimizer")
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

    # What it learns from

    def learn_with(self, stage: Stage, prediction: Prediction, stopping: Stopping | None) -> None:
        """Set what the next call of `partial_fit` trains with."""
        self.prediction_ = prediction
        self.best_epoch_ = None
        self.be_at(stage)
        if stopping is not None:
            self.callbacks_.append(("stop_at_the_best_epoch", stopping))

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> ImbalancedNet:
        """Train on as skorch does, but raise KeyboardInterrupt where the user interrupts.

        A callback ends training, as in skorch, by raising KeyboardInterrupt at the end of an epoch.
        """
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=y)
        self._try_example(may_be_mended=False)
        with noted_interrupts() as interrupt:
            try:
                self.fit_loop(X, y, **fit_params)
            except KeyboardInterrupt:
                if interrupt.came or not self.epoch_is_whole_:
                    raise
            except KeyError as error:
                self._check_monitored(error)
                raise
        self.notify("on_train_end", X=X, y=y)
        return self

    def _check_monitored(self, error: KeyError) -> None:
        """Raise with the reason if a callback asks for a score of held-out rows and there are none."""
        monitored = re.search(r"\bvalid\w*", str(error))  # skorch's History puts the key into a sentence
        if monitored and self.history and "valid_batch_count" not in self.history[-1]:
            raise ValueError(
                f"a callback reads {monitored.group()!r}, but nothing is held out: set early_stopping=True or "
                "train_split."
            ) from error

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        self.epoch_is_whole_ = False
        schedule = getattr(dataset_train, "schedule", None)
        if schedule is None:
            return
        strength = schedule.strength(len(self.history) - 1, self.max_epochs)
        self.history.record("remedy_strength", strength)
        stage = dataset_train.remedy.at(strength)
        dataset_train.weight_scale = stage.weight_scale
        self.be_at(stage)
        if schedule.retrains_head and strength == 1 and not self.resting_:
            self._train_head_anew(stage)

    def be_at(self, stage: Stage) -> None:
        """Set what the loss makes of classes, and the prior that probabilities are at."""
        self.stage_ = stage
        self.criterion_.set_classes(stage.class_weight, stage.class_counts)
        self.prediction_ = replace(self.prediction_, effective_prior=stage.effective_prior)

    def _train_head_anew(self, stage: Stage) -> None:
        head: Any = last_layer(self.module_)
        self.resting_ = [part for part in self.module_.modules() if all(layer is not head for layer in part.modules())]
        own = set(head.parameters())
        self.frozen_ = [p for p in self.module_.parameters() if p.requires_grad and p not in own]
        for parameter in self.frozen_:
            parameter.requires_grad_(False)
        seed = sub_seed(self.seed, len(self.history))
        if type(head) is torch.nn.Linear:
            reset_linear(head, torch.Generator().manual_seed(seed))
        else:
            with seeded(seed):
                head.reset_parameters()
        if stage.start_prior is not None:
            self._start_at(self.criterion_, stage.start_prior)
        for parameter in own:
            self.optimizer_.state.pop(parameter, None)

    def _set_training(self, training: bool = True) -> None:
        super()._set_training(training)
        for part in self.resting_:
            part.eval()

    # The loss

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> torch.Tensor:
        codes, sample_weight = codes_and_weights(to_tensor(y_true, self.device))
        return self.criterion_(first(y_pred), codes, sample_weight)

    @property
    def monitored(self) -> str:
        """The loss that early stopping goes by: the corrected log loss where the correction exists."""
        return "valid_log_loss_corrected" if self._correctable else "valid_loss"

    @property
    def _correctable(self) -> bool:
        return self.prediction_.correctable_to_data(self.criterion_)

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        step = super().validation_step(batch, **fit_params)
        codes, sample_weight = codes_and_weights(to_tensor(batch[1], self.device))
        if not self.criterion_.has_probabilities:
            return step
        raw = self.criterion_.log_proba(first(step["y_pred"]))
        losses = {"valid_log_loss": raw}
        if self._correctable:
            losses["valid_log_loss_corrected"] = self.prediction_.corrected_to_data(raw)
        for name, log_proba in losses.items():
            row_losses = -log_proba.gather(1, codes[:, None])[:, 0]
            if sample_weight is not None:
                row_losses = row_losses * sample_weight
            self.history.record_batch(name, row_losses.mean().item())
        return step

    def run_single_epoch(self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any) -> None:
        if training and not fit_params and serves_training(self, ImbalancedNet, iterator):
            train_epoch(self, iterator)
        else:
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        self.epoch_is_whole_ = True
        losses = [batch["train_loss"] for batch in self.history[-1]["batches"] if "train_loss" in batch]
        if self.history[-1].get("train_batch_count") == 0:
            raise ValueError(
                f"epoch {len(self.history)} had no batch to train on. Look at the length of the sampler or iterator "
                "that iterator_train or its parameters bring."
            )
        if not np.isfinite(
            [batch["valid_loss"] for batch in self.history[-1]["batches"] if "valid_loss" in batch]
        ).all():
            self._blame(dataset_valid)
        # Parameters that are not finite show in the next epoch's loss, or in the validation.
        self._check_finite(losses, dataset_train, with_parameters=dataset_valid is not None)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        self._check_finite([], X, with_parameters=True)

    def _check_finite(self, losses: list[float], rows: Any, with_parameters: bool) -> None:
        parameters = self.module_.parameters() if with_parameters else ()
        if not (np.isfinite(losses).all() and all(torch.isfinite(p).all() for p in parameters)):
            self._blame(rows)
            raise ValueError(
                f"the training loss became nan or infinite in epoch {len(self.history)}. Try a smaller lr (it is "
                f"{self.lr}), features scaled "
                "to unit variance (StandardScaler) or gradient clipping (skorch.callbacks.GradientNormClipping)."
                f"{self._made_with('optimizer')}"
            )

    def _blame(self, rows: Any) -> None:
        """Raise if rows of a Dataset are why a loss is not finite."""
        if isinstance(rows, Rows) and not getattr(self.module_, "allow_nan", False) and (fault := rows.not_finite()):
            raise ValueError(fault)

    # Batches

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        if isinstance(X, TrainingRows):  # the estimator has split the rows already, before it looked at the classes
            return X, X.validation
        return super().get_split_datasets(X, y, **fit_params)

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Return arrays as rows, which the module sees as those that it was trained on."""
        arrays = isinstance(X, np.ndarray) or issparse(X) or (isinstance(X, Mapping) and not isinstance(X, SliceDict))
        if not arrays or not (y is None or isinstance(y, np.ndarray)):
            return super().get_dataset(X, y)
        return Rows(X, codes=y, dtype=self.dtype)

    def loader_parameters(self, training: bool) -> dict[str, Any]:
        """Return what the user set for a loader; a collate function for training serves wherever there is no other."""
        kwargs = self.get_params_for("iterator_train" if training else "iterator_valid")
        if not training and "iterator_train__collate_fn" in vars(self):
            kwargs.setdefault("collate_fn", vars(self)["iterator_train__collate_fn"])
        return kwargs

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        if not isinstance(dataset, Rows):
            return super().get_iterator(dataset, training)
        # skorch also asks for the training iterator to predict in training mode; only training rows are sampled.
        iterator = self.iterator_train if training else self.iterator_valid
        kwargs = self.loader_parameters(training)
        shortcut = self.device is not None and serves_loading(iterator, kwargs)  # None: accelerate places the batches
        batch_size = kwargs.pop("batch_size", self.batch_size if training or not shortcut else dataset.at_once(CHUNK))
        batch_size = len(dataset) if batch_size == -1 else batch_size
        accepted = {} if shortcut else accepted_by(iterator)  # a signature takes as long as a few batches
        # In a fit: without one, a loader would draw from the global generator, as it does to predict.
        if "generator" in accepted and dataset.codes is not None:
            seed = sub_seed(self.seed, len(self.history))
            kwargs.setdefault("generator", torch.Generator().manual_seed(seed))
        if kwargs.get("collate_fn") is not None:
            kwargs["collate_fn"] = Collate(kwargs["collate_fn"])
        part = "iterator_train" if training else "iterator_valid"

        def made(*args: Any, **parameters: Any) -> Any:
            given = self._given(part) if iterator is DataLoader else {part: iterator, **self._given(part)}
            with blamed_on(part, given, part):
                return iterator(*args, **parameters)

        if training and isinstance(dataset, TrainingRows):
            batches = dataset.remedy.batches
        else:
            batches = Batches(torch.arange, len(dataset), batch_size)
        if shortcut:
            return Loader(dataset, batches, self.device)
        if orders_rows(kwargs):  # the user's own order
            size = {} if kwargs.get("batch_sampler") else {"batch_size": batch_size}
            return made(OneByOne(dataset), **size, **kwargs)
        kwargs = {name: value for name, value in kwargs.items() if name not in (*OWN_ORDER, "drop_last")}
        if iterator is DataLoader and "collate_fn" not in kwargs:
            return made(dataset, batch_sampler=batches, collate_fn=_as_they_are, **kwargs)
        if "batch_sampler" in accepted:
            return made(OneByOne(dataset), batch_sampler=batches, **kwargs)
        return made(OneByOne(dataset), batch_size=batch_size, **kwargs)

    # Prediction, in codes

    def logits(self, rows: Rows, ordinary: bool = False) -> torch.Tensor:
        """Return the module's logits for rows, on the CPU; `ordinary` goes through the iterator."""
        ordinary = ordinary or not serves_prediction(self, ImbalancedNet)
        return first(self.forward(rows)) if ordinary else logits_of(self, rows)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the estimator's probabilities, corrected as they were to be in `fit`, shape (n, K)."""
        proba = (self.prediction_.proba(self.criterion_, first(y)) for y in self.forward_iter(X))
        return np.concatenate([to_numpy(part) for part in proba])

    def predict(self, X: Any) -> np.ndarray:
        """Return the codes that the estimator's decision in `fit` chooses, shape (n,)."""
        scores = (self.prediction_.scores(self.criterion_, first(y)) for y in self.forward_iter(X))
        return np.concatenate([to_numpy(part.argmax(dim=1)) for part in scores])

    # Saving

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__({"resting_": [], "frozen_": [], "origin_": {}, **state})

    def save_params(
        self,
        f_params: Any = None,
        f_optimizer: Any = None,
        f_criterion: Any = None,
        f_history: Any = None,
        use_safetensors: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save parts of the net as skorch does, but as one unit: see `ImbalancedNetClassifier.save_params`."""
        own = {"f_params": f_params, "f_optimizer": f_optimizer, "f_criterion": f_criterion, "f_history": f_history}
        targets = _given("save_params", **own, **kwargs)
        if not targets or not self.initialized_:  # which skorch has words for
            super().save_params(**own, use_safetensors=use_safetensors, **kwargs)
        else:
            save(self, targets, use_safetensors)

    def load_params(
        self,
        f_params: Any = None,
        f_optimizer: Any = None,
        f_criterion: Any = None,
        f_history: Any = None,
        checkpoint: Any = None,
        use_safetensors: bool = False,
        **kwargs: Any,
    ) -> None:
        """Load parts of the net as skorch does, but all files or none, and none of different saves.

        Classes and their priors are compared by `ImbalancedNetClassifier.load_params` alone.
        """
        own = {"f_params": f_params, "f_optimizer": f_optimizer, "f_criterion": f_criterion, "f_history": f_history}
        sources = _given("load_params", **own, **kwargs)
        if checkpoint is None and (not sources or not self.initialized_):  # which skorch has words for
            super().load_params(**own, use_safetensors=use_safetensors, **kwargs)
            return
        if not self.initialized_:
            self.initialize()
        with restored_on_error(self):
            if checkpoint is not None:
                if f_history is None and checkpoint.f_history is not None:
                    self.history = read_history(self, checkpoint.f_history_)  # its events are in names of files
                sources = {**_given("load_params", **checkpoint.get_formatted_files(self)), **sources}
            load(self, sources, use_safetensors)

    @contextmanager
    def unchanged_on_error(self) -> Iterator[None]:
        """Bring everything back if further training raises; in either case wake what rests and end early stopping."""
        before = dict(vars(self))
        parts = [self.module_, self.criterion_, self.optimizer_] if self.history else []  # a new net is thrown away
        states, epochs = [copy.deepcopy(part.state_dict()) for part in parts], len(self.history)
        try:
            yield
        except BaseException:
            for part, state in zip(parts, states, strict=True):
                part.load_state_dict(state)
            del self.history[epochs:]
            if parts:
                self.__dict__.clear()
                self.__dict__.update(before)
            raise
        finally:
            for parameter in self.frozen_:
                parameter.requires_grad_(True)
            self.resting_, self.frozen_ = [], []
            self.callbacks_ = [item for item in self.callbacks_ if not isinstance(item[1], Stopping)]


def _given(caller: str, **files: Any) -> dict[str, Any]:
    """Return the files that skorch's arguments name, without a checkpoint's pickle."""
    _check_f_arguments(caller, **files)
    return {name: file for name, file in files.items() if file is not None and name != "f_pickle"}


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


#: Loader parameters by which users order rows themselves.
OWN_ORDER = ("sampler", "batch_sampler", "shuffle")


def orders_rows(loader_parameters: Mapping[str, Any]) -> str | None:
    """Return the parameter by which the user orders rows, if any; shuffling is what happens anyway."""
    for name in OWN_ORDER:
        value = loader_parameters.get(name)
        if value is not None and value is not True:
            return name
    return None


def _as_they_are(batch: Any) -> Any:
    return batch
