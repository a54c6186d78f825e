"""A shortcut through skorch's loops: the same steps, history and callback calls, without what nobody listens to.

It serves rows in batches of ours, an optimizer of torch's that needs no closure, and a net whose methods are those of
`ImbalancedNet`. Whoever overrides a step, or brings an iterator, a loader's settings or another optimizer, takes
skorch's way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback, PassthroughScoring
from skorch.history import History
from skorch.utils import TeeGenerator
from torch.utils.data import DataLoader

from imbalanced_torch._layers import Layers
from imbalanced_torch._module import first, leaves_inputs_alone
from imbalanced_torch._optimizer_step import step_of
from imbalanced_torch._rows import Rows, codes_and_weights
from imbalanced_torch._streams import Batches

#: Rows that are predicted, or validated, at once.
CHUNK = 2048
#: Methods of skorch's whose work is done here, or that are called from what is.
_TRAINING = frozenset(
    (
        *("run_single_epoch", "train_step", "train_step_single", "infer", "get_loss", "on_batch_begin", "on_batch_end"),
        *("on_grad_computed", "get_train_step_accumulator", "notify", "get_all_learnable_params"),
        *("_step_optimizer", "_zero_grad_optimizer"),
    )
)
_PREDICTION = frozenset(("forward", "forward_iter", "evaluation_step", "infer", "get_dataset", "get_iterator"))


class Loader:
    """Batches of rows, gathered at once and moved to the device; one at a time is prefetched where that is a GPU."""

    def __init__(self, rows: Rows, batches: Batches, device: str | torch.device | None) -> None:
        self.rows = rows
        self.batches = batches
        self.device = torch.device("cpu" if device is None else device)
        if self.device.type == "cuda":
            rows.stay_on(self.device)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        if self.device.type == "cpu" or self.rows.resident is not None:
            for positions in self.batches:
                yield self.rows.batch(positions)
            return
        ahead = None
        for positions in self.batches:
            batch = _moved(self.rows.batch(positions), self.device)
            if ahead is not None:
                yield ahead
            ahead = batch
        if ahead is not None:
            yield ahead


def _moved(values: Any, device: torch.device) -> Any:
    if isinstance(values, dict):
        return {key: _moved(value, device) for key, value in values.items()}
    if isinstance(values, tuple):
        return tuple(_moved(value, device) for value in values)
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def serves_loading(iterator: type, parameters: dict[str, Any]) -> bool:
    """Whether `Loader` does what a loader with these parameters would: torch's own, with nothing set but the sizes."""
    return iterator is DataLoader and not parameters.keys() - {"batch_size", "drop_last"}


def serves_training(net: Any, ours: type, iterator: Any) -> bool:
    """Whether the shortcut does what skorch's loop would."""
    optimizer = type(net.optimizer_)
    return (
        isinstance(iterator, Loader)
        and _as_in(ours, net, _TRAINING)
        and net._optimizers == ["optimizer"]
        and net._modules == ["module"]
        and net._criteria == ["criterion"]
        and type(net.history) is History
        and optimizer.__module__.startswith("torch.optim")  # others may need the closure that they say is optional
        and optimizer is not torch.optim.LBFGS
    )


def serves_prediction(net: Any, ours: type) -> bool:
    """Whether it does what skorch's `forward` would."""
    return net.iterator_valid is DataLoader and _as_in(ours, net, _PREDICTION)


def _as_in(ours: type, net: Any, methods: frozenset[str]) -> bool:
    theirs = type(net)
    inherited = theirs is ours or all(getattr(theirs, method) is getattr(ours, method) for method in methods)
    return inherited and vars(net).keys().isdisjoint(methods)


def train_epoch(net: Any, loader: Loader) -> None:
    """Train one epoch: what `run_single_epoch` and `train_step` do."""
    begin, computed, end = (_listeners(net, m) for m in ("on_batch_begin", "on_grad_computed", "on_batch_end"))
    module, criterion, optimizer = net.module_, net.criterion_, net.optimizer_
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    batches = net.history[-1]["batches"]
    if not module.training or net.resting_:
        net._set_training(True)
    watched = bool(begin or computed or end)
    step = optimizer.step if watched else step_of(optimizer)
    layers = Layers.of(module)
    losses = None
    for batch in loader:
        batches.append({})
        for callback in begin:
            callback.on_batch_begin(net, batch=batch, training=True)
        if watched:  # by who may have predicted meanwhile, or have changed the module
            net._set_training(True)
            layers = Layers.of(module)
        X, target = batch
        codes, sample_weight = codes_and_weights(target)
        for parameter in parameters:  # what zero_grad does, without its profiling
            parameter.grad = None
        if layers is not None:
            y_pred, loss = layers.backpropagate(criterion, X, codes, sample_weight)
        else:
            y_pred = module(**X) if isinstance(X, dict) else module(X)
            loss = criterion(first(y_pred), codes, sample_weight)
            loss.backward()
        for callback in computed:
            named = TeeGenerator(net.get_all_learnable_params())
            callback.on_grad_computed(net, named_parameters=named, batch=batch, training=True)
        step()
        batches[-1]["train_batch_size"] = len(codes)
        if end or loss.is_cpu:
            batches[-1]["train_loss"] = loss.item()
        else:  # read once, so that the GPU need not wait at each batch
            losses = torch.empty(len(loader), device=loss.device) if losses is None else losses
            losses[len(batches) - 1] = loss.detach()
        for callback in end:
            callback.on_batch_end(net, batch=batch, training=True, loss=loss, y_pred=y_pred)
        del batch, X, target, codes, loss, y_pred  # their memory serves the next batch, while it is in the cache
    if losses is not None:
        for record, value in zip(batches, losses.tolist(), strict=True):
            record["train_loss"] = value
    net.history.record("train_batch_count", len(batches))


def _listeners(net: Any, method: str) -> list[Any]:
    """Return the callbacks that do something there."""
    idle = getattr(Callback, method)
    return [callback for _, callback in net.callbacks_ if getattr(type(callback), method, None) is not idle]


def logits_of(net: Any, rows: Rows) -> torch.Tensor:
    """Return the module's logits in evaluation mode, on the CPU: what `forward` does."""
    module, device, n = net.module_, torch.device("cpu" if net.device is None else net.device), len(rows)
    if module.training:
        module.eval()
    chunk = rows.at_once(CHUNK)
    layers = Layers.of(module) if n > chunk else None
    take = rows.inputs if layers is not None or leaves_inputs_alone(module) else rows.own_inputs
    logits: Any = None
    with torch.no_grad():
        for start in range(0, n, chunk):
            X = take(slice(start, min(start + chunk, n)))
            X = X if device.type == "cpu" else _moved(X, device)
            part = layers.logits(X) if layers is not None else first(module(**X) if isinstance(X, dict) else module(X))
            del X  # before there is another
            if n <= chunk:
                return part.cpu()
            if logits is None:  # one for all: many small arrays would fragment the heap
                logits = part.new_empty((n, *part.shape[1:]), device="cpu")
            logits[start : start + chunk] = part
    return logits


class BatchMean(PassthroughScoring):
    """skorch's PassthroughScoring, read from the batches at once: its way costs as much as a tenth of a small net."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        batches = net.history[-1]["batches"]
        size = "train_batch_size" if self.on_train else "valid_batch_size"
        pairs = [(batch[self.name], batch[size]) for batch in batches if self.name in batch and size in batch]
        if not pairs:
            return
        values, sizes = np.array(pairs).T
        score = np.average(values, weights=sizes)
        is_best = self._is_best_score(score)
        if is_best:
            self.best_score_ = score
        net.history.record(self.name, score)
        if is_best is not None:
            net.history.record(self.name + "_best", bool(is_best))
