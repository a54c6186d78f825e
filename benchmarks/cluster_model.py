"""What a fit on many machines would take, by a model of its cost, and what slow and lost machines add, by simulation.

    python benchmarks/cluster_model.py

A step takes b c + 2 (P - 1) / P G / B + 2 L log2 P: b rows of a process's batch at c seconds each, and a message of G
bytes between P processes through a network of B bytes a second and L seconds. `benchmarks/cluster.py` measures these.
"""

import argparse
import math

import numpy as np

#: Rows and processes.
SIZES = [(1e9, 8), (1e9, 64), (1e11, 512)]
BATCH = 8192


def step_seconds(n_processes, row_us, gradient_bytes, bandwidth, latency_ms):
    """Return seconds of computing and of messages of one step."""
    volume = 2 * (n_processes - 1) / n_processes * gradient_bytes / bandwidth
    return BATCH * row_us * 1e-6, volume + 2e-3 * latency_ms * math.log2(n_processes)


def straggling(random, n_processes, spread):
    """Return how much longer a step is than the mean process's, where their times vary by a share of it."""
    return 1 + spread * random.standard_normal((20_000, n_processes)).max(axis=1).mean()


def with_losses(random, epochs, epoch, restart, mean_between, checkpoint):
    """Return the mean time of a fit in which machines are lost at random, all in one unit of time.

    Parameters
    ----------
    epochs : int
    epoch, restart : float
        How long an epoch takes, and how long it takes until training goes on after a loss.
    mean_between : float
        Mean time between two losses in the whole cluster.
    checkpoint : bool
        Whether training goes on from the last epoch that had ended, or from the start.
    """
    times = []
    for _ in range(2000):
        clock, done, lost = 0.0, 0, random.exponential(mean_between)
        while done < epochs:
            if lost < clock + epoch:
                clock, done = lost + restart, done if checkpoint else 0
                lost = clock + random.exponential(mean_between)
                if clock > 100 * epochs * epoch:
                    return math.inf
            else:
                clock, done = clock + epoch, done + 1
        times.append(clock)
    return float(np.mean(times))


def main():
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row-us", type=float, default=7.8, help="microseconds of a row on one thread")
    parser.add_argument("--gradient-bytes", type=float, default=316_448)
    parser.add_argument("--bandwidth", type=float, default=1.2e9, help="bytes a second")
    parser.add_argument("--latency-ms", type=float, default=0.1)
    costs = vars(parser.parse_args())
    random = np.random.default_rng(0)
    print("rows | processes | steps | computing, min | messages, min | slowest of a step, at a spread of 10 %")
    epochs = []
    for rows, n_processes in SIZES:
        steps = rows / n_processes / BATCH
        computing, messages = (steps * part / 60 for part in step_seconds(n_processes, **costs))
        slowest = straggling(random, n_processes, 0.1)
        epochs.append((n_processes, computing * slowest + messages))
        print(f"{rows:.0e} | {n_processes} | {steps:,.0f} | {computing:.1f} | {messages:.2f} | x {slowest:.2f}")
    print("\nprocesses | 20 epochs, h | with losses, from the last epoch | from the start")
    for n_processes, epoch in epochs:
        losses = {"epochs": 20, "epoch": epoch, "restart": 5, "mean_between": 30 * 24 * 60 / n_processes}
        kept, anew = (with_losses(random, checkpoint=checkpoint, **losses) for checkpoint in (True, False))
        anew = "more than 100 times that" if math.isinf(anew) else f"{anew / 60:.1f}"
        print(f"{n_processes} | {20 * epoch / 60:.1f} | {kept / 60:.1f} | {anew}")


if __name__ == "__main__":
    main()
