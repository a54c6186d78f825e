"""How long a fit of the default net, an epoch, a prediction and a balanced draw take, as ratios to rivals in turn.

    python benchmarks/speed.py                  # n = 1e5 and 1e6, 1 and 2 threads, 7 rounds: an hour
    python benchmarks/speed.py --quick          # n = 1e5, 1 thread, 3 rounds: two minutes
    python benchmarks/speed.py --default-net    # the default net alone: 4e3, 1e5 and 1e6 rows, one thread

The default net is compared with trees at their defaults, whole fits from a table of 30 columns.

Workload of the other parts: 20 features in float32, 5 % positives, an MLP 20-64-64-1, Adam, balanced sampling,
early_stopping=False and skorch's callbacks at their defaults (epoch timer, losses, log to print). Each run makes a new
net and trains it, from arrays to weights. The prediction goes through the public method, with all its checks.
"""

import argparse
import json
import time
import warnings

import numpy as np
import torch
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetBinaryClassifier
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._remedies.row_streams import Draws, RowsByClass


def data(n, dtype=np.float32):
    """Return n rows, 5 % of them in class 1."""
    rng = np.random.default_rng(0)
    y = (rng.random(n) < 0.05).astype(np.int64)
    return (rng.standard_normal((n, 20)) + 0.5 * y[:, None]).astype(dtype), y


class Net(nn.Module):
    """The MLP 20-64-64-1, for those that take a module."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, X):
        """Return logits of shape (n,)."""
        return self.layers(X)[:, 0]


def row_weights(y):
    """Return the weights of a WeightedRandomSampler that makes the classes equally likely."""
    return 1 / np.bincount(y)[y]


# One function a contestant: from arrays to a trained net.


def ours(X, y, batch_size, epochs, module=MLP):
    """Train the estimator."""
    net = ImbalancedNetClassifier(
        module, sampling="weighted", batch_size=batch_size, max_epochs=epochs, early_stopping=False, dtype="float32"
    )
    return net.fit(X, y)


def own_module(X, y, batch_size, epochs):
    """Train the estimator with a module of one's own, through autograd."""
    return ours(X, y, batch_size, epochs, Net)


def skorch(X, y, batch_size, epochs):
    """Train skorch's net, with torch's sampler."""
    net = NeuralNetBinaryClassifier(
        Net,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=batch_size,
        max_epochs=epochs,
        train_split=None,
        iterator_train__sampler=WeightedRandomSampler(row_weights(y), len(y)),
        verbose=0,
    )
    return net.fit(X.astype(np.float32, copy=False), y.astype(np.float32))


def data_loader(X, y, batch_size, epochs):
    """Train in the loop of the textbook."""
    dataset = TensorDataset(torch.from_numpy(X).float(), torch.from_numpy(y).float())
    loader = DataLoader(dataset, batch_size, sampler=WeightedRandomSampler(row_weights(y), len(y)))
    net = Net()
    optimizer, criterion = torch.optim.Adam(net.parameters()), nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        for X_batch, y_batch in loader:
            optimizer.zero_grad()
            criterion(net(X_batch), y_batch).backward()
            optimizer.step()
    return net


def resident(X, y, batch_size, epochs):
    """Train in a loop over tensors that is written by hand, with the optimizer that ours has."""
    X, target, net = torch.from_numpy(X).float(), torch.from_numpy(y).float(), Net()
    optimizer, criterion = torch.optim.Adam(net.parameters(), fused=True), nn.BCEWithLogitsLoss()
    weights = torch.from_numpy(row_weights(y))
    for _ in range(epochs):
        for rows in torch.multinomial(weights, len(y), replacement=True).split(batch_size):
            optimizer.zero_grad()
            criterion(net(X[rows]), target[rows]).backward()
            optimizer.step()
    return net


def mlp_classifier(X, y, batch_size, epochs):
    """Train scikit-learn's, which does not balance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net = MLPClassifier((64, 64), batch_size=batch_size, max_iter=epochs, n_iter_no_change=epochs + 1)
        return net.fit(X, y)


TRAINERS = {
    "skorch + WeightedRandomSampler": skorch,
    "DataLoader + WeightedRandomSampler": data_loader,
    "loop on resident tensors": resident,
    "MLPClassifier": mlp_classifier,
    "ours with a module of one's own": own_module,
}


def direct(net, X):
    """Predict with a module in chunks."""
    X = torch.from_numpy(X)
    with torch.no_grad():
        return torch.cat([torch.sigmoid(net(part)) for part in X.split(8192)]).numpy()


def seconds(function, *arguments):
    """Return the time of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def ratios(us, rivals, rounds):
    """Return median, least and greatest ratio of our time to each rival's, all taken in turn."""
    us()  # the first calls pay for imports
    times = {name: [] for name in ("ours", *rivals)}
    for _ in range(rounds):
        times["ours"].append(seconds(us))
        for name, rival in rivals.items():
            times[name].append(seconds(rival))
    own = np.array(times["ours"])
    return {
        name: {
            "ratio": float(np.median(own / times[name])),
            "least": float((own / times[name]).min()),
            "greatest": float((own / times[name]).max()),
            "ours": float(np.median(own)),
            "theirs": float(np.median(times[name])),
        }
        for name in rivals
    }


def training(n, batch_size, rounds, epochs, dtype=np.float32):
    """Compare the training."""
    X, y = data(n, dtype)
    rivals = {name: (lambda train=train: train(X, y, batch_size, epochs)) for name, train in TRAINERS.items()}
    return ratios(lambda: ours(X, y, batch_size, epochs), rivals, rounds)


def table(n):
    """Return n rows of 30 columns in float64 and their labels, 5 % of them in class 1."""
    shape = {"n_features": 30, "n_informative": 12, "n_redundant": 6, "n_clusters_per_class": 8}
    return make_classification(n, **shape, weights=[0.95], flip_y=0.02, class_sep=0.8, random_state=0)


def default_net(n, rounds):
    """Compare whole fits of the default net and of trees, and predictions of as many rows and of one."""
    X, y = table(n)
    iterations = {"verbose": 0, "thread_count": 1, "allow_writing_files": False}
    trees = {
        "CatBoost, 300 trees": lambda: CatBoostClassifier(iterations=300, **iterations).fit(X, y),
        "CatBoost, 1000 trees": lambda: CatBoostClassifier(iterations=1000, **iterations).fit(X, y),
        "LightGBM": lambda: LGBMClassifier(n_jobs=1, verbose=-1).fit(X, y),
    }
    net = ImbalancedNetClassifier(random_state=0)
    found = {f"default net, fit of {n} rows": ratios(lambda: net.fit(X, y), trees, rounds)}
    fitted = {name: fit() for name, fit in trees.items()}
    for rows, times in ((X, 1), (X[:1], 200)):
        models = {name: _predicting(model, rows, times) for name, model in fitted.items()}
        title = f"default net, predict_proba, {len(rows)} row{'s' * (len(rows) > 1)}, {times} times"
        found[title] = ratios(_predicting(net, rows, times), models, rounds)
    return found


def _predicting(model, rows, times):
    return lambda: [model.predict_proba(rows) for _ in range(times)]


def predicting(n, rounds):
    """Compare the prediction of n rows, and of one."""
    X, y = data(20_000)
    fitted, theirs = ours(X, y, 128, 1), {"skorch": skorch(X, y, 128, 1), "MLPClassifier": mlp_classifier(X, y, 128, 1)}
    theirs["LightGBM (100 trees of 31 leaves)"] = LGBMClassifier(
        n_estimators=100, num_leaves=31, n_jobs=torch.get_num_threads(), verbose=-1
    ).fit(X, y)
    net = data_loader(X, y, 128, 1).eval()
    many = data(n)[0]
    rivals = {name: (lambda model=model: model.predict_proba(many)) for name, model in theirs.items()}
    rivals["direct torch in chunks"] = lambda: direct(net, many)
    one = X[:1]

    def repeated(model):
        return lambda: [model.predict_proba(one) for _ in range(200)]

    return {
        f"predict_proba, {n} rows": ratios(lambda: fitted.predict_proba(many), rivals, rounds),
        "predict_proba, 1 row": ratios(repeated(fitted), {"MLPClassifier": repeated(theirs["MLPClassifier"])}, rounds),
    }


def drawing(n, rounds):
    """Compare one epoch's balanced draw."""
    y = data(n)[1]
    weights = torch.from_numpy(row_weights(y))
    stream = Draws(np.array([0.5, 0.5]), RowsByClass(y.astype(np.uint8), 2, torch.Generator()))
    return ratios(
        lambda: stream.take(n), {"torch.multinomial": lambda: torch.multinomial(weights, n, replacement=True)}, rounds
    )


def main():
    """Run and print each comparison as it comes, and write them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", default="speed.json")
    parser.add_argument("--default-net", action="store_true", help="only the default net")
    parser.add_argument("--rows", type=int, nargs="*", default=None, help="default: 1e5 and 1e6")
    parser.add_argument("--threads", type=int, nargs="*", default=None, help="default: 1 and 2")
    arguments = parser.parse_args()
    rounds, sizes = (3, [100_000]) if arguments.quick else (7, [100_000, 1_000_000])
    sizes = arguments.rows or sizes
    threads = arguments.threads or ([1] if arguments.quick else [1, 2])
    results = {}

    def epochs(n):
        return 3 if n <= 100_000 and not arguments.quick else 1

    def report(title, compared):
        results[title] = compared
        print(f"\n{title}: ours takes {next(iter(compared.values()))['ours']:.4g} s")
        for name, found in compared.items():
            spread = f"{found['least']:.3f} to {found['greatest']:.3f}"
            print(f"  {found['ratio']:.3f} of {name} ({spread}; {found['theirs']:.4g} s)", flush=True)

    torch.set_num_threads(1)
    threadpool_limits(1)
    for n in sizes if arguments.rows else [4000, 100_000] if arguments.quick else [4000, 100_000, 1_000_000]:
        for title, compared in default_net(n, rounds if n < 10_000 else 1).items():
            report(title, compared)
    if arguments.default_net:
        write(results, arguments.json)
        return

    callbacks = [name for name, _ in ours(*data(1000), 128, 1).net_.callbacks_]
    print(f"MLP 20-64-64-1, Adam, balanced sampling, early_stopping=False, callbacks {callbacks}")
    for n_threads in threads:
        torch.set_num_threads(n_threads)
        threadpool_limits(n_threads)  # the BLAS that MLPClassifier uses
        for n in sizes:
            for batch_size in (128, 1024, 8192):
                report(f"{n_threads} thread, n={n}, batch {batch_size}", training(n, batch_size, rounds, epochs(n)))
        if not arguments.quick:
            for batch_size in (128, 1024, 8192):
                found = training(sizes[0], batch_size, rounds, epochs(sizes[0]), np.float64)
                report(f"{n_threads} thread, n={sizes[0]}, batch {batch_size}, X in float64", found)
        for title, compared in predicting(200_000 if arguments.quick else 1_000_000, rounds).items():
            report(f"{n_threads} thread, {title}", compared)
    torch.set_num_threads(1)
    for n in [1_000_000] if arguments.quick else [1_000_000, 10_000_000]:
        report(f"balanced draw of {n} rows", drawing(n, rounds))
    write(results, arguments.json)


def write(results, path):
    """Write the ratios."""
    with open(path, "w") as file:
        json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
