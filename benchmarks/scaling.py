"""Whether time is linear: per row from 1e5 to 1e7 rows, and per batch from 2 to 1000 classes and 5 to 2000 features.

    python benchmarks/scaling.py                # one thread, 7 rounds: three minutes
    python benchmarks/scaling.py --quick        # fewer rows, 3 rounds

An MLP with two hidden layers of 64, fused Adam, balanced sampling, batches of 1024, early_stopping=False. A batch of a
fit is compared with forward, backward and step on batches that are there already, taken in turn in one run. A fit of 64
rows is compared with scikit-learn's MLPClassifier, for as many epochs and with the defaults of each.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from imbalanced_torch import MLP, ImbalancedNetClassifier

BATCH = 1024


def data(n, n_features=20, n_classes=2):
    """Return n rows, the classes in unequal shares."""
    rng = np.random.default_rng(0)
    shares = np.geomspace(1, 20, n_classes)
    y = rng.choice(n_classes, n, p=shares / shares.sum())
    y[:n_classes] = np.arange(n_classes)
    X = np.empty((n, n_features), dtype=np.float32)
    for part in np.array_split(X, 10):
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    return X, y


def seconds(function, *arguments):
    """Return the time of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def fit(X, y, epochs):
    """Fit the estimator."""
    ImbalancedNetClassifier(MLP, sampling="weighted", batch_size=BATCH, max_epochs=epochs, early_stopping=False).fit(
        X, y
    )


class Resident:
    """Forward, backward and step on a few batches that are there already."""

    def __init__(self, X, y):
        n_classes = len(np.unique(y))
        self.net = MLP(X.shape[1], 1 if n_classes == 2 else n_classes)
        self.optimizer = torch.optim.Adam(self.net.parameters(), fused=True)
        rows = np.random.default_rng(0).choice(len(X), (8, BATCH))
        self.batches = [(torch.from_numpy(X[part]), torch.from_numpy(y[part])) for part in rows]

    def __call__(self, steps):
        """Make so many steps."""
        for step in range(steps):
            X, y = self.batches[step % len(self.batches)]
            self.optimizer.zero_grad()
            logits = self.net(X)
            if logits.shape[1] == 1:
                loss = binary_cross_entropy_with_logits(logits[:, 0], y.float())
            else:
                loss = cross_entropy(logits, y)
            loss.backward()
            self.optimizer.step()
            loss.item()


def by_rows(sizes, rounds):
    """Print the time per row of fits of one epoch."""
    print("\n| rows | ns a row | of that at the fewest |\n|---|---|---|")
    sets = {n: data(n) for n in sizes}
    times = {n: [] for n in sizes}
    fit(*sets[sizes[0]], 1)
    for _ in range(rounds):
        for n in sizes:  # as many rows, whatever their number
            times[n].append(seconds(fit, *sets[n], max(1, 1_000_000 // n)) / max(n, 1_000_000))
    for n in sizes:
        ratio = np.median(np.array(times[n]) / times[sizes[0]])
        print(f"| {n:.0e} | {np.median(times[n]) * 1e9:.0f} | {ratio:.2f} |", flush=True)


def by_shape(shapes, rounds, n):
    """Print the time per batch of fits, and its ratio to that on resident batches."""
    print("\n| features | classes | us a batch | of forward, backward and step |\n|---|---|---|---|")
    for n_features, n_classes in shapes:
        rows = min(n, 100_000_000 // n_features // 4)
        X, y = data(rows, n_features, n_classes)
        resident, epochs = Resident(X, y), max(1, 300_000 // rows)
        steps = epochs * -(-rows // BATCH)
        fit(X, y, 1)
        resident(10)
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(seconds(fit, X, y, epochs))
            theirs.append(seconds(resident, steps))
        ratio = np.median(np.array(ours) / theirs)
        print(f"| {n_features} | {n_classes} | {np.median(ours) / steps * 1e6:.0f} | {ratio:.2f} |", flush=True)


def of_64_rows(rounds):
    """Print the time of a fit of 64 rows against MLPClassifier's."""
    X, y = data(64)
    fits = {
        f"{epochs} epochs each": (
            ImbalancedNetClassifier(MLP, max_epochs=epochs),
            MLPClassifier((64, 64), batch_size=64, max_iter=epochs, n_iter_no_change=epochs + 1),
        )
        for epochs in (1, 50)
    }
    fits["defaults of each (50 and 200 epochs)"] = ImbalancedNetClassifier(MLP), MLPClassifier()
    print("\n| a fit of 64 rows | ms | of MLPClassifier |\n|---|---|---|")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, (ours, theirs) in fits.items():
            ours.fit(X, y)
            times = np.array([[seconds(net.fit, X, y) for net in (ours, theirs)] for _ in range(3 * rounds)])
            print(f"| {name} | {np.median(times[:, 0]) * 1e3:.1f} | {np.median(times[:, 0] / times[:, 1]):.2f} |")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    rounds = 3 if quick else 7
    with threadpool_limits(1):
        of_64_rows(rounds)
        by_shape([(20, 2), (20, 10), (20, 100), (20, 1000), (5, 2), (200, 2), (2000, 2)], rounds, 50_000)
        by_rows([100_000, 1_000_000] if quick else [100_000, 1_000_000, 10_000_000], rounds)


if __name__ == "__main__":
    main()
