"""Grid search with one worker and two, and what training all members of a grid in one batched pass would buy.

    python benchmarks/search.py                 # three minutes
    python benchmarks/search.py --quick         # shorter fits, fewer rounds

- GridSearchCV of 8 strategies x 5 folds, each fit half a second or more, one torch thread in each process, the two
  workers there already: the time of one worker as a ratio to that of two.
- 8 MLPs 20-64-64-1, as of a grid or a bag, each trained on batches of its own by plain SGD: one after the other, with
  stacked parameters and batched linear layers (torch.baddbmm), and through torch.func (vmap of grad).
"""

import argparse
import time

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import binary_cross_entropy_with_logits

from imbalanced_torch import MLP, ImbalancedNetClassifier, OverSampling, TemperedSampling, UnderSampling

STRATEGIES = [
    {
        "class_weight": [None, "balanced", "sqrt"],
        "sampling": [None],
    },
    {"sampling": ["weighted", "batch", OverSampling(0.5), UnderSampling(0.5), TemperedSampling(0.5)]},
]
MEMBERS, RATE = 8, 0.1


def data(n):
    """Return n rows, 5 % of them in class 1."""
    rng = np.random.default_rng(0)
    y = (rng.random(n) < 0.05).astype(np.int64)
    return (rng.standard_normal((n, 20)) + 0.5 * y[:, None]).astype(np.float32), y


def seconds(function, *arguments):
    """Return the time of one call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def search(n, epochs, rounds):
    """Print the ratio of one worker's time to that of two."""
    X, y = data(n)
    # As many steps for each strategy, so that the fits take as long as each other.
    net = ImbalancedNetClassifier(
        MLP, batch_size=256, max_epochs=epochs, epoch_size=1.0, early_stopping=False, random_state=0
    )
    print(f"one fit: {seconds(net.fit, X, y):.2f} s")
    Parallel(n_jobs=2)(delayed(net.fit)(X[:100], y[:100]) for _ in range(4))  # the workers start
    times = [
        [
            seconds(GridSearchCV(net, STRATEGIES, scoring="neg_log_loss", refit=False, n_jobs=jobs).fit, X, y)
            for jobs in (1, 2)
        ]
        for _ in range(rounds)
    ]
    one, two = np.array(times).T
    ratio = one / two
    print(
        f"8 strategies x 5 folds: 1 worker {np.median(one):.1f} s, 2 workers {np.median(two):.1f} s, "
        f"{np.median(ratio):.2f} times as fast ({ratio.min():.2f} to {ratio.max():.2f})",
        flush=True,
    )


def one_by_one(members, X, y):
    """Train each member by itself for a step on each of its batches."""
    for net, inputs, targets in zip(members, X.unbind(1), y.unbind(1), strict=True):
        optimizer = torch.optim.SGD(net.parameters(), RATE)
        for batch, target in zip(inputs, targets, strict=True):
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(net(batch)[:, 0], target).backward()
            optimizer.step()


def stacked(members, X, y):
    """Train all at once: batched linear layers over stacked parameters."""
    linear = [[layer for layer in net.modules() if isinstance(layer, nn.Linear)] for net in members]
    weights = [torch.stack([layer.weight.detach().T for layer in layers]) for layers in zip(*linear, strict=True)]
    biases = [torch.stack([layer.bias.detach()[None] for layer in layers]) for layers in zip(*linear, strict=True)]
    parameters = [values.contiguous().requires_grad_() for values in (*weights, *biases)]
    optimizer, depth = torch.optim.SGD(parameters, RATE), len(weights)
    for batch, target in zip(X, y, strict=True):
        optimizer.zero_grad()
        for i in range(depth):
            batch = torch.baddbmm(parameters[depth + i], batch, parameters[i])
            batch = batch.relu_() if i < depth - 1 else batch
        losses = binary_cross_entropy_with_logits(batch[..., 0], target, reduction="none")
        losses.mean(dim=1).sum().backward()
        optimizer.step()
    return parameters


def mapped(members, X, y):
    """Train all at once: vmap of torch.func's gradient."""
    parameters, buffers = stack_module_state(members)
    parameters = {name: values.detach() for name, values in parameters.items()}

    def loss(parameters, buffers, batch, target):
        logits = functional_call(members[0], (parameters, buffers), (batch,))
        return binary_cross_entropy_with_logits(logits[:, 0], target)

    gradients = vmap(grad(loss))
    for batch, target in zip(X, y, strict=True):
        found = gradients(parameters, buffers, batch, target)
        parameters = {name: values - RATE * found[name] for name, values in parameters.items()}
    return parameters


def check(X, y):
    """Assert that all three train to the same weights."""
    torch.manual_seed(0)
    members = [MLP(20) for _ in range(MEMBERS)]
    at_once, vmapped = stacked(members, X, y), mapped(members, X, y)
    one_by_one(members, X, y)
    for i, net in enumerate(members):
        torch.testing.assert_close(at_once[0][i].T, net.hidden[0].weight, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(vmapped["hidden.0.weight"][i], net.hidden[0].weight, rtol=1e-3, atol=1e-4)


def batched(threads, rounds):
    """Print the time of the members trained at once, as ratios to one by one."""
    torch.set_num_threads(threads)
    for batch_size, steps in ((64, 100), (256, 60), (1024, 30), (8192, 6)):
        X = torch.randn(steps, MEMBERS, batch_size, 20)
        y = (torch.rand(steps, MEMBERS, batch_size) < 0.5).float()
        check(X, y)
        times = []
        for _ in range(rounds + 1):
            torch.manual_seed(0)
            times.append(
                [seconds(train, [MLP(20) for _ in range(MEMBERS)], X, y) for train in (one_by_one, stacked, mapped)]
            )
        alone, at_once, vmapped = np.array(times[1:]).T
        print(
            f"{threads} threads, batch {batch_size}: one by one {np.median(alone) / steps / MEMBERS * 1e6:.0f} us a "
            f"batch, stacked {np.median(at_once / alone):.2f} of it, vmap {np.median(vmapped / alone):.2f}",
            flush=True,
        )


def main():
    """Print both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    if quick:
        search(5_000, 10, 1)
    else:
        search(20_000, 40, 3)
    for threads in (1, 2):
        batched(threads, 3 if quick else 7)


if __name__ == "__main__":
    main()
