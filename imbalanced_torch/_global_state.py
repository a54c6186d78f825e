"""torch's global state, as we need it and as it was found: random numbers, and threads in worker processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_lock = threading.RLock()
_running = 0
_found: tuple[torch.Tensor, list[torch.Tensor], int] | None = None


@contextmanager
def own_global_state() -> Iterator[None]:
    """Leave torch's global state as it was found; of several threads inside, the last one out restores it.

    Initial weights and dropout masks come from the global generator. In a worker process torch gets one thread, unless
    OMP_NUM_THREADS says otherwise: small nets want no more, workers would fight for the processors, and a process that
    was forked after its parent used several threads waits for them for ever.
    """
    global _running, _found
    with _lock:
        if _running == 0:
            cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
            _found = torch.get_rng_state(), cuda, torch.get_num_threads()
            if _is_worker():
                torch.set_num_threads(1)
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running = max(0, _running - 1)  # 0 where this process was forked inside
            if _running == 0 and _found is not None:
                random, cuda, threads = _found
                torch.set_rng_state(random)
                if cuda:
                    torch.cuda.set_rng_state_all(cuda)
                if _is_worker():
                    torch.set_num_threads(threads)
                _found = None


def _begin_anew() -> None:
    """Forget, in a process that was forked, what threads of its parent were doing."""
    global _lock, _running, _found
    _lock, _running, _found = threading.RLock(), 0, None


if hasattr(os, "register_at_fork"):  # there is none on Windows
    os.register_at_fork(after_in_child=_begin_anew)


def _is_worker() -> bool:
    return multiprocessing.parent_process() is not None and "OMP_NUM_THREADS" not in os.environ


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator and keep other threads from it until the end of the block."""
    with _lock:
        # torch.manual_seed also asks for every kind of device that is not there, which takes as long as a small net.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed)
        if torch.backends.mps.is_available():
            torch.mps.manual_seed(seed)
        yield


def reseed(seed: int) -> None:
    """Seed torch's global generator, which threads then share."""
    with seeded(seed):
        pass


def sub_seed(seed: int, *keys: int) -> int:
    """Return a seed for one purpose, independent of the seeds for others."""
    return int(np.random.SeedSequence([seed, *keys]).generate_state(1)[0])
