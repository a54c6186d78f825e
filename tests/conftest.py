"""What all tests share: one torch thread, so that runs are equal bit by bit, and a small imbalanced set."""

import os
import re

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # else scikit-learn skips some of its checks

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification

torch.set_num_threads(1)
#: Files that look at the fast path itself.
OF_THE_FAST_PATH = {"test_adam.py", "test_mlp.py", "test_step.py"}
WITHOUT_FAST_PATH = "WITHOUT_FAST_PATH" in os.environ


@pytest.fixture(autouse=WITHOUT_FAST_PATH)
def no_fast_path(monkeypatch):
    """Run as if the folder of the fast path were not there: only speed may change."""
    monkeypatch.setattr("imbalanced_torch._net.skorch_net.fast", None)


def pytest_ignore_collect(collection_path):
    """Leave out what tests the fast path itself where it is switched off."""
    return True if WITHOUT_FAST_PATH and collection_path.name in OF_THE_FAST_PATH else None


@pytest.fixture
def data():
    """300 rows of 5 float64 features, 15 % in class 1."""
    X, y = make_classification(300, n_features=5, n_informative=3, weights=[0.85], class_sep=1.5, random_state=0)
    return X, y


@pytest.fixture
def three_classes():
    """300 rows of 5 features, three string labels with 210, 75 and 15 rows or so."""
    X, y = make_classification(
        300,
        n_features=5,
        n_informative=4,
        n_redundant=0,
        n_classes=3,
        weights=[0.7, 0.25],
        n_clusters_per_class=1,
        random_state=0,
    )
    return X, np.array(["ok", "warn", "fail"])[y]


#: What compares no numbers that kernels round: words, files, imports, processes.
NOT_NUMERICAL = {
    "test_any_value.py",
    "test_architecture.py",
    "test_constraints.py",
    "test_errors.py",
    "test_examples.py",
    "test_hyperparameters.py",
    "test_keywords.py",
    "test_matrix.py",
    "test_parallel.py",
    "test_readme.py",
}


def pytest_collection_modifyitems(items):
    """Mark what runs once more with other kernels, every file that is not said to need none; check the ids."""
    for item in items:
        if item.path.name not in NOT_NUMERICAL:
            item.add_marker(pytest.mark.numerical)
    addresses = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if addresses:  # and -n could not put the processes' tests together
        raise pytest.UsageError(f"ids of parameters must be the same in every process; this is none: {addresses[0]}")


def pytest_make_parametrize_id(val):
    """Give every parameter a readable id that is the same in every process."""
    text = getattr(val, "__name__", None) or str(val)
    return re.sub(r" at 0x\w+", "", text)[:60].replace("\n", " ")
