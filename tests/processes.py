"""Two processes of a torch process group for tests, which stay for the tests of a file: to start them takes seconds."""

import datetime
import multiprocessing
import tempfile
import traceback
import warnings
from pathlib import Path

#: Seconds that a process of the group waits for the others, and that a test waits for all of them.
GROUP, TEST = 60, 120


class RaisedError(Exception):
    """A function raised in a process: the name of the type, what it says, and where it was raised."""

    def __init__(self, kind, text, where):
        super().__init__(kind, text, where)
        self.kind, self.text, self.where = kind, text, where

    def __str__(self):
        return f"{self.kind}: {self.text}\n{self.where}"


class Processes:
    """Processes that run functions at the same time, each with its rank and arguments."""

    def __init__(self, size=2, timeout=GROUP):
        context = multiprocessing.get_context("spawn")
        store = Path(tempfile.mkdtemp()) / "store"
        self.ends, self.processes = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, rank, size, str(store), timeout), daemon=True)
            process.start()
            theirs.close()
            self.ends.append(ours)
            self.processes.append(process)

    def outcomes(self, function, *arguments):
        """Return what function(rank, *arguments) gives in each process: a value, or a RaisedError; None if it died."""
        for end in self.ends:
            end.send((function, arguments))
        return [self._outcome(end) for end in self.ends]

    def _outcome(self, end):
        try:
            if not end.poll(TEST):
                raise TimeoutError("a process of the group does not answer")
            return end.recv()
        except (EOFError, ConnectionError):
            return None

    def run(self, function, *arguments):
        """Return the values of all processes; raise what one raised."""
        found = self.outcomes(function, *arguments)
        for outcome in found:
            if isinstance(outcome, RaisedError):
                raise outcome
        return found

    def close(self):
        """End the processes."""
        for end, process in zip(self.ends, self.processes, strict=True):
            end.close()
            process.join(10)
            process.kill()


def _serve(pipe, rank, size, store, timeout):
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=size, timeout=datetime.timedelta(seconds=timeout)
    )
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, ConnectionError):
            break
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                outcome = function(rank, *arguments)
        except BaseException as error:
            outcome = RaisedError(type(error).__name__, str(error), traceback.format_exc())
        pipe.send(outcome)
    distributed.destroy_process_group()
