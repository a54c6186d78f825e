"""The processes of one fit: this one alone, or those of torch's process group, which call the same in the same order.

Fits have a group of their own, made from the default one. A process that fails closes its connections, so that the
others, wherever they wait, end with an error at once; the next fit begins with new ones.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed

Value = TypeVar("Value")

#: Whether this process was forked from one that had a group, whose connections are its parent's.
_forked = False
#: Held by the thread that fits: messages of two fits at once would mix.
_fits = threading.RLock()
_fit_count = 0
#: Seconds in which what was sent last comes to its end.
_PAUSE = 0.1
#: The connections of the last fit, where it went well, and torch's group that they were made from: torch holds both.
_kept: tuple[Any, Any] = (lambda: None, lambda: None)
_EACH_WITH_ITS_OWN = "Start processes that each call torch.distributed.init_process_group, as torchrun does."


class Group:
    """The processes of a fit; this one is what a process alone is to itself: what it has is what all have.

    Attributes
    ----------
    size, rank : int
        How many processes there are, and the place of this one, from 0.
    """

    size = 1
    rank = 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def gathered(self, value: Value) -> list[Value]:
        """Return the values that the processes pass, in their order."""
        return [value]

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the processes of arrays of one shape."""
        return values

    def total(self, value: Any) -> Any:
        """Return the sum over the processes of a number."""
        return value

    def largest(self, values: np.ndarray) -> np.ndarray:
        """Return the greatest of all processes' values, place by place."""
        return values

    def before(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of the arrays of the processes before this one."""
        return np.zeros_like(values)

    def joined(self, values: np.ndarray) -> np.ndarray:
        """Return the arrays of all processes one after the other, without those that have no rows."""
        return values

    def collected(self, value: Value) -> list[Value]:
        """Return the values that the processes pass, in their order, on the first one; nothing on the others."""
        return [value]

    def dealt(self, values: Sequence[Value]) -> Value:
        """Return this process's of the values that the first one passes, one for each; the others may pass any."""
        return values[0]

    def first(self, content: bytes) -> bytes:
        """Return the bytes that the first process passes; the others may pass any."""
        return content

    def share_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Give tensors the values that those of the first process have, in place."""

    def add_(self, tensor: torch.Tensor) -> None:
        """Give a tensor the sum of those of all processes, in place."""

    def own(self, seed: int) -> int:
        """Return a seed of this process's own."""
        return seed


#: No group, or one of a single process.
ALONE = Group()


class Processes(Group):
    """The processes of torch's default group, with connections of their own: those of the last fit, if it went well.

    Parameters
    ----------
    number : int
        The fit's, from 1: the same on all processes.
    """

    def __init__(self, number: int) -> None:
        world: Any = distributed.group.WORLD
        self.size, self.rank = distributed.get_world_size(), distributed.get_rank()
        self.store = distributed.distributed_c10d._get_default_store()
        self.key = f"imbalanced_torch/{number}/failed"
        made_from, kept = _kept[0](), _kept[1]()
        self.connections: Any = kept if made_from is world else None
        if self.connections is None:
            options = getattr(world._get_backend(torch.device("cpu")), "options", None)
            self.connections = distributed.new_group(timeout=getattr(options, "_timeout", None))

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Say which process is why, if one is, where a message does not come."""
        try:
            yield
        except RuntimeError as error:  # DistBackendError among them
            if reason := self._reason():
                raise RuntimeError(f"the fit has ended on all processes of the group, because {reason}") from error
            raise RuntimeError(
                f"the fit has ended on process {self.rank} of the group of {self.size}, because another one is gone or "
                f"has not come to the same place within the group's timeout: {str(error).splitlines()[0]}"
            ) from error

    def _reason(self) -> str:
        try:
            return self.store.get(self.key).decode() if self.store.check([self.key]) else ""
        except RuntimeError:  # the process that keeps the store is gone
            return ""

    def gathered(self, value: Value) -> list[Value]:
        found: list[Any] = [None] * self.size
        with self._speaking():
            distributed.all_gather_object(found, value, group=self.connections)
        return found

    def collected(self, value: Value) -> list[Value]:
        found: list[Any] = [None] * self.size if self.rank == 0 else []
        with self._speaking():
            distributed.gather_object(value, found or None, dst=0, group=self.connections)
        return found

    def dealt(self, values: Sequence[Value]) -> Value:
        own: list[Any] = [None]
        with self._speaking():
            distributed.scatter_object_list(own, list(values) if self.rank == 0 else None, 0, group=self.connections)
        return own[0]

    def first(self, content: bytes) -> bytes:
        n = self.gathered(len(content))[0]
        tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8) if self.rank == 0 and n else None
        tensor = torch.empty(n, dtype=torch.uint8) if tensor is None else tensor
        if n:
            self.share_([tensor])
        return tensor.numpy().tobytes()

    def sum(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values)
        dtype = np.float64 if values.dtype.kind == "f" else np.int64
        tensor = torch.from_numpy(np.array(values, dtype=dtype))
        self.add_(tensor)
        return tensor.numpy()

    def total(self, value: Any) -> Any:
        return self.sum(np.array([value]))[0].item()

    def largest(self, values: np.ndarray) -> np.ndarray:
        return np.max(self.gathered(values), axis=0)

    def before(self, values: np.ndarray) -> np.ndarray:
        return np.sum([np.zeros_like(values), *self.gathered(values)[: self.rank]], axis=0)

    def joined(self, values: np.ndarray) -> np.ndarray:
        parts = self.gathered(values)
        return np.concatenate([part for part in parts if len(part)] or parts[:1])

    def share_(self, tensors: Sequence[torch.Tensor]) -> None:
        with self._speaking():
            for tensor in tensors:
                same = tensor.detach().contiguous()  # parameters of some layouts are not in one piece
                distributed.broadcast(same, 0, group=self.connections)
                if same.data_ptr() != tensor.data_ptr():
                    tensor.detach().copy_(same)

    def add_(self, tensor: torch.Tensor) -> None:
        with self._speaking():
            distributed.all_reduce(tensor, group=self.connections)

    def own(self, seed: int) -> int:
        return int(np.random.SeedSequence([seed, self.size, self.rank]).generate_state(1)[0])

    # The end

    def end(self) -> None:
        """Wait until all have come to the end, and keep the connections for the next fit."""
        global _kept
        self.total(0)
        _kept = weakref.ref(distributed.group.WORLD), weakref.ref(self.connections)
        self.connections = None

    def fail(self, error: BaseException) -> None:
        """Close the connections, at which the other processes end too, and leave the reason for them to say."""
        global _kept
        if self.connections is None:
            return
        _kept = (lambda: None, lambda: None)
        text = str(error).strip()
        reason = f"process {self.rank} of {self.size} raised {type(error).__name__}{': ' if text else '.'}{text}"
        with suppress(RuntimeError):  # the store is gone with its process
            self.store.compare_set(self.key, "", reason)  # the first to fail is why
        with suppress(RuntimeError, ValueError, AssertionError):  # the user has ended the group meanwhile
            # torch 2.6 closes them while it holds Python's lock, which the threads that have sent need to end.
            time.sleep(_PAUSE)
            distributed.destroy_process_group(self.connections)
        self.connections = None


@contextmanager
def joined(device: Any) -> Iterator[Group]:
    """Return the processes of a fit: those of torch's group where there is one, else this one alone.

    Parameters
    ----------
    device : str, torch.device or None
        Where the net is, which the group must serve.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        _check_worker()
        yield ALONE
        return
    global _fit_count
    _check(device)
    if not _fits.acquire(blocking=False):
        raise RuntimeError(
            "fits of a process group must come one after the other; another thread of this process fits now. Set "
            "n_jobs=1: the processes of the group are what runs at once."
        )
    try:
        _fit_count += 1
        group = Processes(_fit_count)
        try:
            yield group
            group.end()
        except BaseException as error:
            group.fail(error)
            raise
    finally:
        _fits.release()


def _check_worker() -> None:
    """Raise in a worker process of joblib's that a process of a group has started: it would fit a part of the rows."""
    if os.environ.get("WORLD_SIZE", "1") != "1" and multiprocessing.current_process().name.startswith("LokyProcess"):
        raise RuntimeError(
            f"this is a worker process of joblib beside one of a process group of {os.environ['WORLD_SIZE']}, and "
            "has no rows but its. Set n_jobs=1, so that all processes of the group fit together; or unset WORLD_SIZE "
            "where there is no group and each process is to fit by itself."
        )


def _check(device: Any) -> None:
    """Raise unless this process can speak to the others, from the CPU and from a device."""
    if _forked:
        raise RuntimeError(
            "this process was forked from one of a process group, and can't speak for it, as with n_jobs and joblib's "
            f"multiprocessing backend. Set n_jobs=1. {_EACH_WITH_ITS_OWN}"
        )
    config = distributed.distributed_c10d.get_backend_config()
    backends = dict(part.split(":") for part in str(config).split(","))
    needed = ["cpu", torch.device("cpu" if device is None else device).type]
    missing = sorted({kind for kind in needed if kind not in backends})
    if missing:
        raise ValueError(
            f"the process group must have backends for {sorted(set(needed))}; it has {str(config)!r}, none for "
            f'{missing}. Start it with torch.distributed.init_process_group("cpu:gloo,cuda:nccl"), or with "gloo".'
        )


def same(group: Group, what: str, value: Any) -> None:
    """Raise the same ValueError on all processes unless they pass equal values.

    Parameters
    ----------
    group : Group
    what : str
        What it is, in the plural.
    value : object
        Is shown in the message.
    """
    if group.alone:
        return
    found = group.gathered(value)
    other = next((rank for rank, theirs in enumerate(found) if theirs != found[0]), None)
    if other is not None:
        raise ValueError(
            f"{what} must be the same on all processes of the group; process 0 has {found[0]}, process {other} has "
            f"{found[other]}."
        )


def _note_fork() -> None:
    global _forked, _fits
    _forked = distributed.is_available() and distributed.is_initialized()
    _fits = threading.RLock()


if hasattr(os, "register_at_fork"):  # there is none on Windows
    os.register_at_fork(after_in_child=_note_fork)
