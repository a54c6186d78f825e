"""torch's global state, as we need it and as it was found: random numbers, threads in worker processes, interrupts."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_lock = threading.RLock()
#: Blocks of `worker_threads` and `global_stream` that are running, and what each found.
_thread_blocks, _found_threads = 0, 1
_stream_blocks, _found_stream = 0, None  # type: tuple[int, Any]


@contextmanager
def worker_threads() -> Iterator[None]:
    """Give torch one thread in a worker process, unless OMP_NUM_THREADS says otherwise; else change nothing.

    Small nets want no more, workers would fight for the processors, and a process that was forked after its parent
    used several threads waits for them for ever. Of several threads inside, the last one out restores the number.
    """
    global _thread_blocks, _found_threads
    if not _is_worker():
        yield
        return
    with _lock:
        if _thread_blocks == 0:
            _found_threads = torch.get_num_threads()
            torch.set_num_threads(1)
        _thread_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _thread_blocks = max(0, _thread_blocks - 1)  # 0 where this process was forked inside
            if _thread_blocks == 0:
                torch.set_num_threads(_found_threads)


@contextmanager
def global_stream() -> Iterator[None]:
    """Put torch's global generator back after a fit in which something of the user's may draw from it.

    Threads that fit at once share the generator; the last one out restores it.
    """
    global _stream_blocks, _found_stream
    with _lock:
        if _stream_blocks == 0:
            _found_stream = _random_state()
        _stream_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _stream_blocks = max(0, _stream_blocks - 1)
            if _stream_blocks == 0 and _found_stream is not None:
                _restore(_found_stream)
                _found_stream = None


def reseed(seed: int) -> None:
    """Seed torch's global generator, inside `global_stream`."""
    with _lock:
        _seed_all(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, keep other fits from it until the end of the block, and put it back.

    `torch.random.fork_rng` does not keep other threads out.
    """
    with _lock:
        found = _random_state()
        _seed_all(seed)
        try:
            yield
        finally:
            _restore(found)


def sub_seed(seed: int, *keys: int) -> int:
    """Return a seed for one purpose, independent of the seeds for others."""
    return int(np.random.SeedSequence([seed, *keys]).generate_state(1)[0])


class Interrupt:
    """Whether the user has interrupted the block, by Ctrl-C or a notebook's stop button."""

    came = False


@contextmanager
def noted_interrupts() -> Iterator[Interrupt]:
    """Note SIGINT inside the block, before Python's own handler raises KeyboardInterrupt.

    skorch's callbacks end training by raising KeyboardInterrupt themselves, which must not be taken for the user's.
    Python runs signal handlers in the main thread only, so that elsewhere there is nothing to note.
    """
    interrupt = Interrupt()
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield interrupt
        return

    def note(number: int, frame: Any) -> None:
        interrupt.came = True
        handler(number, frame)

    try:
        signal.signal(signal.SIGINT, note)
    except ValueError:  # a sub-interpreter
        yield interrupt
        return
    try:
        yield interrupt
    finally:
        if signal.getsignal(signal.SIGINT) is note:  # else the user's code has set another meanwhile
            signal.signal(signal.SIGINT, handler)


def _begin_anew() -> None:
    """Forget, in a process that was forked, what threads of its parent were doing."""
    global _lock, _thread_blocks, _stream_blocks, _found_stream
    _lock, _thread_blocks, _stream_blocks, _found_stream = threading.RLock(), 0, 0, None


if hasattr(os, "register_at_fork"):  # there is none on Windows
    os.register_at_fork(after_in_child=_begin_anew)


def _is_worker() -> bool:
    return multiprocessing.parent_process() is not None and "OMP_NUM_THREADS" not in os.environ


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _restore(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def _seed_all(seed: int) -> None:
    # torch.manual_seed also asks for every kind of device that is not there, which takes as long as a small net.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
