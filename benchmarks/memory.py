"""How much memory a fit, a draw and a file of rows take (Linux). Each is measured in a process of its own.

    python benchmarks/memory.py
    python benchmarks/memory.py --quick     # a tenth of the rows

- Fits of 1e7 rows of 20 columns in float32: the peak beyond X and y, as a share of X.
- A balanced draw of 1e8 rows from 1e8: the peak beyond the class codes, as a share of an index array of 8 bytes a row.
- An `np.memmap` of 4e6 rows of 250 columns, 4 GB, trained and predicted in random order: the greatest anonymous memory
  (RssAnon) beyond what was there before, and the throughput.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._remedies.row_streams import Batches, Draws, DrawsInTurn, RowsByClass

SPLIT = {"sampling": "weighted", "early_stopping": True}
FITS = {
    "sampling=None": {},
    'sampling="weighted"': {"sampling": "weighted"},
    'sampling="weighted", a validation split': SPLIT,
    'sampling="over"': {"sampling": "over"},
}
STREAMS = {"with replacement": Draws, "in turn": DrawsInTurn}


def kilobytes(field):
    """Return a field of the process's status, such as VmHWM, the peak, or VmRSS, the present size."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field))


def peak_of(function):
    """Return the bytes that a call adds at its peak."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = kilobytes("VmRSS")
    function()
    return (kilobytes("VmHWM") - before) * 1024


def labels(n):
    """Return labels of n rows, 5 % of them 1."""
    return (np.random.default_rng(0).random(n) < 0.05).astype(np.int64)


def fit(name, n):
    """Print what a fit adds."""
    rng = np.random.default_rng(0)
    X, y = np.empty((n, 20), dtype=np.float32), labels(n)
    for part in np.array_split(X, 10):
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    kwargs = {"early_stopping": False, "batch_size": 8192, "max_epochs": 1, **FITS[name]}
    net = ImbalancedNetClassifier(MLP, **kwargs)
    net.fit(X[:2000], y[:2000])  # pays for imports
    print(f"{peak_of(lambda: net.fit(X, y)) / X.nbytes:.2f} of X: fit, {name}", flush=True)


def draw(name, n):
    """Print what an epoch's draw adds, batch by batch."""
    codes = labels(n).astype(np.uint8)

    def epoch():
        rows = RowsByClass(codes, 2, torch.Generator())
        stream = STREAMS[name](np.array([0.5, 0.5]), rows)
        for _ in Batches(stream.take, n, 8192):
            pass

    start = time.perf_counter()
    share = peak_of(epoch) / (8 * n)
    print(f"{share:.2f} of an index array, {(time.perf_counter() - start) / n * 1e9:.0f} ns a row: draw, {name}")


class Watch:
    """The greatest anonymous memory while something runs, sampled 100 times a second."""

    def __enter__(self):
        self.before = self.most = kilobytes("RssAnon")
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        self.start = time.perf_counter()
        return self

    def look(self):
        """Look until it is done."""
        while not self.done.wait(0.01):
            self.most = max(self.most, kilobytes("RssAnon"))

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.start
        self.done.set()
        self.thread.join()
        self.added = (self.most - self.before) * 1024


def memory_map(name, n):
    """Print what training on a file, and predicting it, adds."""
    with tempfile.TemporaryDirectory() as folder:
        rng, shape, path = np.random.default_rng(0), (n, 250), Path(folder) / "rows"
        y = labels(n)
        written = np.memmap(path, np.float32, "w+", shape=shape)
        for start in range(0, n, 100_000):
            written[start : start + 100_000] = rng.standard_normal(written[start : start + 100_000].shape, np.float32)
        written.flush()
        del written
        X = np.memmap(path, np.float32, "r", shape=shape)
        net = ImbalancedNetClassifier(
            MLP, batch_size=1024, max_epochs=1, **({"early_stopping": False} if name == "every row" else SPLIT)
        )
        net.fit(np.array(X[:2000]), y[:2000])
        for what, run in {"train": lambda: net.fit(X, y), "predict": lambda: net.predict_proba(X)}.items():
            with Watch() as watch:
                run()
            print(
                f"{watch.added / X.nbytes:.3f} of a file of {X.nbytes / 1e9:.1f} GB ({watch.added / 1e6:.0f} MB): "
                f"{what}, {name}, {n / watch.seconds:.3g} rows/s",
                flush=True,
            )


MEASURES = {
    "fit": (fit, list(FITS), 10_000_000),
    "draw": (draw, list(STREAMS), 100_000_000),
    "memory map": (memory_map, ["every row", "weighted, a validation split"], 4_000_000),
}


def main():
    """Run each measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs=2, help="run only this measure, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        torch.set_num_threads(1)
        measure, _, n = MEASURES[arguments.only[0]]
        measure(arguments.only[1], n // 10 if arguments.quick else n)
        return
    for kind, (_, names, _) in MEASURES.items():
        for name in names:
            command = [sys.executable, __file__, "--only", kind, name, *(["--quick"] * arguments.quick)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
