"""What processes cost: rows a second with one and two processes of one thread, what messages take, bytes a step.

    python benchmarks/cluster.py             # some minutes
    python benchmarks/cluster.py --quick     # fewer steps

Processes are of this machine and speak through its loopback (gloo). Each has rows of its own, so that twice as many
processes train on twice as many rows in a step: the efficiency is rows a second of two, over twice those of one. Cores
share caches and memory, and other work takes some: two processes that do not know of each other, at the same time, show
what is lost so without any message.
"""

import argparse
import datetime
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import distributed

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._group.processes import Processes

FEATURES = 50
NETS = {
    "MLP, 2 layers of 256": {"module": MLP, "module__hidden_sizes": (256, 256), "dtype": torch.float32},
    "the default net": {},
}


#: What messages have taken in this process, and the bytes of the largest.
SENT = {"seconds": 0.0, "bytes": 0}


class Clock(Callback):
    """Where clocks stand at the end of each epoch: of the wall, and of messages."""

    def on_epoch_end(self, net, **kwargs):
        """Note them in the history."""
        net.history.record("ends", np.array([time.perf_counter(), SENT["seconds"]]))


def measured(rank, size, apart, net, batch, steps, store):
    """Return rows a second of all processes, the share of messages, their bytes, and seconds a step."""
    torch.set_num_threads(1)
    if size > 1 and not apart:
        distributed.init_process_group(
            "gloo", init_method=f"file://{store}", rank=rank, world_size=size, timeout=datetime.timedelta(seconds=300)
        )
    send = Processes.add_

    def timed(self, tensor):
        began = time.perf_counter()
        send(self, tensor)
        SENT["seconds"] += time.perf_counter() - began
        SENT["bytes"] = max(SENT["bytes"], tensor.numel() * tensor.element_size())

    Processes.add_ = timed
    rows = batch * (1 if apart else size) * steps  # of an epoch: of all processes of a group
    random = np.random.default_rng(rank)
    X = random.standard_normal((max(20_000, 2 * batch), FEATURES), dtype=np.float32)
    y = random.random(len(X)) < 0.05
    model = ImbalancedNetClassifier(
        **NETS[net], class_weight="balanced", batch_size=batch, epoch_size=rows, max_epochs=5,
        early_stopping=False, random_state=0, callbacks=[Clock()],
    )  # fmt: skip
    model.fit(X, y)
    ends = model.history_[:, "ends"]
    wall, sending = np.diff(ends[1:], axis=0).min(axis=0)  # epochs after the first: other work only adds
    members = getattr(model.module_, "n_members", 1)
    if size > 1 and not apart:
        distributed.destroy_process_group()
    return batch * size * steps * members / wall, sending / wall, SENT["bytes"], wall / steps


def _work(queue, *arguments):
    queue.put(measured(*arguments))


def run(size, net, batch, steps, apart=False):
    """Return what the slowest of the processes has measured, each in a group or by itself."""
    context = multiprocessing.get_context("spawn")
    queue, store = context.Queue(), Path(tempfile.mkdtemp()) / "store"
    processes = [
        context.Process(target=_work, args=(queue, rank, size, apart, net, batch, steps, store)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    found = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return min(found)


def all_reduced(rank, store, queue):
    """Put seconds of a message of one number, and of one of 10 MB, between two processes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    medians = []
    for n in (1, 2_500_000):
        tensor, taken = torch.zeros(n), []
        for _ in range(100):
            began = time.perf_counter()
            distributed.all_reduce(tensor)
            taken.append(time.perf_counter() - began)
        medians.append(float(np.median(taken)))
    queue.put(medians)
    distributed.destroy_process_group()


def message_costs():
    """Return seconds L for a message and bytes B a second, where it takes 2 L + bytes / B between two processes."""
    context = multiprocessing.get_context("spawn")
    queue, store = context.Queue(), Path(tempfile.mkdtemp()) / "store"
    processes = [context.Process(target=all_reduced, args=(rank, store, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    short, long = max(queue.get() for _ in processes)
    for process in processes:
        process.join()
    return short / 2, 1e7 / (long - short)


COLUMNS = (
    *("net", "batch of a process", "rows/s, 1 process", "rows/s, 2 apart", "rows/s, 2", "efficiency", "beside 2 apart"),
    *("in messages", "bytes a step", "ms a step, 1 process", "ms, 2"),
)


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rounds = 1 if quick else 3
    print(*COLUMNS, sep=" | ")
    print("|".join(["---"] * len(COLUMNS)))
    for net in NETS:
        for batch in (1024, 8192):
            steps = max(2, (4096 if quick else 65_536) // batch // (1 if net.startswith("MLP") else 4))
            best = [run(1, net, batch, steps), run(2, net, batch, steps, apart=True), run(2, net, batch, steps)]
            for _ in range(rounds - 1):  # in turn; other work only takes time
                again = run(1, net, batch, steps), run(2, net, batch, steps, apart=True), run(2, net, batch, steps)
                best = [max(pair) for pair in zip(best, again, strict=True)]
            one, apart, two = best
            cells = (
                *(net, batch, f"{one[0]:,.0f}", f"{apart[0]:,.0f}", f"{two[0]:,.0f}"),
                *(f"{two[0] / one[0] / 2:.2f}", f"{two[0] / apart[0]:.2f}"),
                *(f"{two[1]:.0%}", f"{two[2]:,}", f"{1000 * one[3]:.1f}", f"{1000 * two[3]:.1f}"),
            )
            print(*cells, sep=" | ", flush=True)
    latency, bandwidth = message_costs()
    print(f"\na message: {1000 * latency:.2f} ms, {bandwidth / 1e9:.2f} GB/s")


if __name__ == "__main__":
    main()
