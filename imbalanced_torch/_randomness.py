"""A global random state of our own: torch draws initial weights and dropout masks from it and finds it as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_lock = threading.RLock()
_running = 0
_found: tuple[torch.Tensor, list[torch.Tensor]] | None = None


@contextmanager
def own_random_state() -> Iterator[None]:
    """Leave torch's global random state as it was found; of several threads inside, the last one out restores it."""
    global _running, _found
    with _lock:
        if _running == 0:
            cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
            _found = torch.get_rng_state(), cuda
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if _running == 0 and _found is not None:
                torch.set_rng_state(_found[0])
                if _found[1]:
                    torch.cuda.set_rng_state_all(_found[1])
                _found = None


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
