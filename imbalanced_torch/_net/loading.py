"""How rows reach the module, a batch at a time: our own loader, torch's, or one that the user brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from skorch.history import History
from torch.utils.data import BatchSampler, DataLoader

from imbalanced_torch._data.rows import Collate, RowDataset, Rows
from imbalanced_torch._net.global_state import sub_seed
from imbalanced_torch._parameters.checks import SAMPLER_PARAMETERS, user_sampler_parameter
from imbalanced_torch._parameters.names import blamed_on
from imbalanced_torch._parameters.values import accepted_by
from imbalanced_torch._remedies.plan import TrainingPlan
from imbalanced_torch._remedies.row_streams import Batches

#: Rows that are predicted, or validated, at once.
CHUNK = 2048


class PlannedBatches(BatchSampler):
    """The batches of a plan: each iteration is the epoch that a net's history has begun."""

    def __init__(self, plan: TrainingPlan, history: History) -> None:
        self.plan = plan
        self.history = history

    @property
    def _batches(self) -> Batches:
        return self.plan.epoch(len(self.history) - 1).batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


class Loader:
    """Batches of rows, gathered at once and moved to the device; one at a time is prefetched where that is a GPU."""

    def __init__(self, rows: Rows, batches: BatchSampler, device: str | torch.device | None) -> None:
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
            batch = moved(self.rows.batch(positions), self.device)
            if ahead is not None:
                yield ahead
            ahead = batch
        if ahead is not None:
            yield ahead


def moved(values: Any, device: torch.device) -> Any:
    """Return tensors, tuples and dicts of them on a device."""
    if isinstance(values, dict):
        return {key: moved(value, device) for key, value in values.items()}
    if isinstance(values, tuple):
        return tuple(moved(value, device) for value in values)
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def make_loader(net: Any, rows: Rows, plan: TrainingPlan | None, training: bool) -> Any:
    """Return what gives the batches of rows: as the plan says, or, without one, in their order.

    Parameters
    ----------
    net : ImbalancedNet
    rows : Rows
    plan : TrainingPlan or None
    training : bool
        Whether the iterator for training is meant.
    """
    part = "iterator_train" if training else "iterator_valid"
    iterator, kwargs = getattr(net, part), net.loader_parameters(training)
    # Without a device accelerate places the batches.
    ours = net.device is not None and iterator is DataLoader and not kwargs.keys() - {"batch_size", "drop_last"}
    batch_size = kwargs.pop("batch_size", net.batch_size if training or not ours else rows.at_once(CHUNK))
    batch_size = len(rows) if batch_size == -1 else batch_size
    order = Batches(torch.arange, len(rows), batch_size) if plan is None else PlannedBatches(plan, net.history)
    if ours:
        return Loader(rows, order, net.device)
    accepted = accepted_by(iterator)
    # In a fit: without one, a loader would draw from the global generator, as it does to predict.
    if "generator" in accepted and rows.codes is not None:
        kwargs.setdefault("generator", torch.Generator().manual_seed(sub_seed(net.seed, len(net.history))))
        if net.run_ is not None and net.run_.checkpoint is not None:
            net.run_.checkpoint.follow(kwargs["generator"])
    if kwargs.get("collate_fn") is not None:
        kwargs["collate_fn"] = Collate(kwargs["collate_fn"])
    given = {**({} if iterator is DataLoader else {part: iterator}), **net.given(part)}
    with blamed_on(part, given, part):
        return _foreign(iterator, accepted, rows, order, batch_size, kwargs)


def _foreign(
    iterator: Callable[..., Any],
    accepted: Mapping[str, Any],
    rows: Rows,
    order: BatchSampler,
    batch_size: int,
    kwargs: dict[str, Any],
) -> Any:
    """Return torch's loader or the user's, with the order of rows where it takes one."""
    if user_sampler_parameter(kwargs):
        size = {} if kwargs.get("batch_sampler") else {"batch_size": batch_size}
        return iterator(RowDataset(rows), **size, **kwargs)
    kwargs = {name: value for name, value in kwargs.items() if name not in (*SAMPLER_PARAMETERS, "drop_last")}
    if iterator is DataLoader and "collate_fn" not in kwargs:
        return iterator(rows, batch_sampler=order, collate_fn=_as_they_are, **kwargs)
    if "batch_sampler" in accepted:
        return iterator(RowDataset(rows), batch_sampler=order, **kwargs)
    return iterator(RowDataset(rows), batch_size=batch_size, **kwargs)


def _as_they_are(batch: Any) -> Any:
    return batch
