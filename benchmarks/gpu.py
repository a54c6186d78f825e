"""Seconds of a fit on a GPU and on the CPU of one machine, in turn.

    python benchmarks/gpu.py

Data lie on the GPU as a whole where they take less than half of what is free there.
"""

import os
import time

import numpy as np
import torch
from sklearn.datasets import make_classification

from imbalanced_torch import MLP, ImbalancedNetClassifier

#: What is fitted, by its name: rows, columns and parameters.
FITS = {
    "the default net": (4000, 30, {}),
    "the default net, 20 epochs": (100_000, 30, {"max_epochs": 20}),
    "MLP 64-64, batches of 64, 3 epochs": (100_000, 30, {"module__hidden_sizes": (64, 64), "batch_size": 64}),
    "MLP 256-256, batches of 8192, 3 epochs": (1_000_000, 50, {"module__hidden_sizes": (256, 256), "batch_size": 8192}),
}
PLAIN = {"module": MLP, "max_epochs": 3, "early_stopping": False, "sampling": "weighted"}


def seconds(device, threads, X, y, parameters):
    """Return the time of one fit, without what a process does once."""
    torch.set_num_threads(threads)
    model = ImbalancedNetClassifier(device=device, dtype=torch.float32, random_state=0, **parameters)
    began = time.perf_counter()
    model.fit(X, y)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main():
    """Print a table."""
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a GPU")
    cores = os.cpu_count() or 1
    ways = [("cuda", 1), ("cpu", 1), ("cpu", min(8, cores))]
    print(f"{torch.cuda.get_device_name()}, {cores} cores, torch {torch.__version__}")
    print("fit", "rows", *(f"{device}, {threads} threads" for device, threads in ways), sep=" | ")
    for name, (n, n_features, parameters) in FITS.items():
        parameters = {**PLAIN, **parameters} if name.startswith("MLP") else parameters
        X, y = make_classification(n, n_features=n_features, n_informative=8, weights=[0.95], random_state=0)
        X = X.astype(np.float32)
        seconds("cuda", 1, X[:1000], y[:1000], {**parameters, "max_epochs": 1})  # what a process does once
        print(name, f"{n:,} x {n_features}", *(f"{seconds(*way, X, y, parameters):.2f}" for way in ways), sep=" | ")


if __name__ == "__main__":
    main()
