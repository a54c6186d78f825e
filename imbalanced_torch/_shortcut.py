"""A shortcut through skorch's loops: the same steps, history and callback calls, without what nobody listens to.

It serves rows in batches of ours, one optimizer, and a net whose methods are those of `ImbalancedNet`. Whoever
overrides a step, or brings an iterator, settings of a loader or an optimizer that needs a closure, takes skorch's way.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback, PassthroughScoring
from skorch.history import History
from skorch.utils import TeeGenerator
from torch.utils.data import DataLoader

from imbalanced_torch._module import first
from imbalanced_torch._rows import Rows, codes_and_weights
from imbalanced_torch._streams import Batches

#: Rows that are predicted, or validated, at once.
CHUNK = 8192
#: Methods of skorch's whose work is done here, or that are called from what is.
_TRAINING = (
    *("run_single_epoch", "train_step", "train_step_single", "infer", "get_loss", "on_batch_begin", "on_batch_end"),
    *("on_grad_computed", "get_train_step_accumulator", "notify", "get_all_learnable_params"),
    *("_step_optimizer", "_zero_grad_optimizer"),
)
_PREDICTION = ("forward", "forward_iter", "evaluation_step", "infer", "get_dataset", "get_iterator")


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
            yield from map(self.rows.batch, self.batches)
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
    closure = inspect.signature(net.optimizer_.step).parameters.get("closure")
    return (
        isinstance(iterator, Loader)
        and _as_in(ours, net, _TRAINING)
        and net._optimizers == ["optimizer"]
        and net._modules == ["module"]
        and net._criteria == ["criterion"]
        and type(net.history) is History
        and (closure is None or closure.default is None)
    )


def _as_in(ours: type, net: Any, methods: tuple[str, ...]) -> bool:
    return not vars(net).keys() & set(methods) and all(getattr(type(net), m) is getattr(ours, m) for m in methods)


def train_epoch(net: Any, loader: Loader) -> None:
    """Train one epoch: what `run_single_epoch` and `train_step` do."""
    begin, computed, end = (_listeners(net, m) for m in ("on_batch_begin", "on_grad_computed", "on_batch_end"))
    module, criterion, optimizer = net.module_, net.criterion_, net.optimizer_
    batches = net.history[-1]["batches"]
    net._set_training(True)
    losses = []
    for batch in loader:
        batches.append({})
        for callback in begin:
            callback.on_batch_begin(net, batch=batch, training=True)
        if begin or end:  # who may have predicted meanwhile
            net._set_training(True)
        X, target = batch
        optimizer.zero_grad()
        y_pred = module(**X) if isinstance(X, dict) else module(X)
        codes, sample_weight = codes_and_weights(target)
        loss = criterion(first(y_pred), codes, sample_weight)
        loss.backward()
        for callback in computed:
            parameters = TeeGenerator(net.get_all_learnable_params())
            callback.on_grad_computed(net, named_parameters=parameters, batch=batch, training=True)
        optimizer.step()
        batches[-1]["train_batch_size"] = len(codes)
        losses.append(loss.detach())
        if end:
            batches[-1]["train_loss"] = loss.item()
            for callback in end:
                callback.on_batch_end(net, batch=batch, training=True, loss=loss, y_pred=y_pred)
    for record, value in zip(batches, torch.stack(losses).tolist() if losses else [], strict=True):
        record["train_loss"] = value  # read once, so that a GPU need not wait at each batch
    net.history.record("train_batch_count", len(losses))


def _listeners(net: Any, method: str) -> list[Any]:
    """Return the callbacks that do something there."""
    idle = getattr(Callback, method)
    return [callback for _, callback in net.callbacks_ if getattr(type(callback), method, None) is not idle]


def logits_of(net: Any, ours: type, rows: Rows) -> torch.Tensor:
    """Return the module's logits in evaluation mode, on the CPU: what `forward` does."""
    if not _as_in(ours, net, _PREDICTION) or net.get_params_for("iterator_valid"):
        return first(net.forward(rows))
    module, device = net.module_, torch.device("cpu" if net.device is None else net.device)
    module.eval()
    logits, n = None, len(rows)
    with torch.no_grad():
        for start in range(0, n, CHUNK):
            X = rows.inputs(slice(start, min(start + CHUNK, n)))
            X = X if device.type == "cpu" else _moved(X, device)
            part = first(module(**X) if isinstance(X, dict) else module(X))
            if n <= CHUNK:
                return part.cpu()
            if logits is None:  # one buffer: many small arrays would fragment the heap
                logits = part.new_empty((n, *part.shape[1:]), device="cpu")
            logits[start : start + len(part)] = part
    return logits if logits is not None else torch.empty(0)


class BatchMean(PassthroughScoring):
    """skorch's PassthroughScoring, read from the batches at once: its way costs as much as a tenth of a small net."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        batches = net.history[-1]["batches"]
        size = "train_batch_size" if self.on_train else "valid_batch_size"
        pairs = [(batch[self.name], batch[size]) for batch in batches if self.name in batch]
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
