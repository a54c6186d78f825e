"""A fit that was cut short and is started again ends bit by bit as one that was not."""

import errno
import functools
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EpochScoring, Freezer, LRScheduler, Unfreezer
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from imbalanced_torch import (
    MLP,
    DeferredSchedule,
    HeadRetraining,
    ImbalancedNet,
    ImbalancedNetClassifier,
    MLPEnsemble,
    RowStream,
    SamplingStrategy,
    TrainingCheckpoint,
)
from imbalanced_torch._persistence.fingerprint import fingerprint
from imbalanced_torch._persistence.training_state import TrainingState


class EndsError(Exception):
    """What stands for the end of the process."""


class Ends(Callback):
    """End training at the beginning of an epoch, or of a batch of it."""

    epoch: int | None = None
    batch: int | None = None

    def on_train_begin(self, net, **kwargs):
        self.batches_ = 0

    def on_epoch_begin(self, net, **kwargs):
        self.batches_ = 0
        if Ends.batch is None:
            self._end(net)

    def on_batch_begin(self, net, training=None, **kwargs):
        self.batches_ += 1
        if self.batches_ == Ends.batch:
            self._end(net)

    def _end(self, net):
        if len(net.history) == Ends.epoch:
            raise EndsError


def cut_short(monkeypatch, estimator, X, y, epoch, batch=None, **kwargs):
    """Fit until an epoch, counted from 1, begins."""
    with monkeypatch.context() as patched:
        patched.setattr(Ends, "epoch", epoch)
        patched.setattr(Ends, "batch", batch)
        with pytest.raises(EndsError):
            estimator.fit(X, y, **kwargs)
    assert not hasattr(estimator, "net_")


def history(estimator):
    return [{name: value for name, value in epoch.items() if name != "dur"} for epoch in estimator.history_.to_list()]


def assert_equal(one, other, X):
    """Assert that two fits have ended the same, bit by bit."""
    ours, theirs = one.module_.state_dict(), other.module_.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert history(one) == history(other)
    assert (one.n_iter_, one.best_epoch_) == (other.n_iter_, other.best_epoch_)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    assert hasattr(one, "oof_proba_") == hasattr(other, "oof_proba_")
    np.testing.assert_array_equal(getattr(one, "oof_proba_", 0), getattr(other, "oof_proba_", 0))
    np.testing.assert_array_equal(one.effective_prior_, other.effective_prior_)
    optimizers = [str(fitted.net_.optimizer_.state_dict()) for fitted in (one, other)]
    assert optimizers[0] == optimizers[1]


def net(**kwargs):
    small = {"module__n_members": 3, "module__hidden_sizes": (8, 8), "epoch_size": 320}
    ours = small if kwargs.get("module", MLPEnsemble) is MLPEnsemble else {}
    return ImbalancedNetClassifier(**{"callbacks": [Ends()], "max_epochs": 6, "random_state": 0, **ours, **kwargs})


class Dropped(nn.Module):
    """A module that drops by torch's global generator, counts its calls and has a buffer that state dicts leave out."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
        self.output = nn.Linear(8, n_outputs)
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.calls = 0

    def forward(self, X):
        if self.training:
            self.calls += 1
            self.seen += X.sum().float()
        return self.output(self.layers(X)) * (1 + self.calls / 100) + self.seen.tanh() / 100


class Noisy(Callback):
    """Change the weights by numpy's global stream, and by how often it was called."""

    def on_train_begin(self, net, **kwargs):
        self.calls_ = 0

    def on_epoch_end(self, net, **kwargs):
        self.calls_ += 1
        self.lock_ = threading.Lock()  # which can't be pickled
        with torch.no_grad():
            net.module_.output.bias.add_(self.calls_ * 0.01 * np.random.normal())  # noqa: NPY002


class Blurred(DataLoader):
    """A loader that draws from its generator."""

    def __iter__(self):
        for X, y in super().__iter__():
            yield X + 0.1 * torch.randn(X.shape, generator=self.generator), y


class Stepping(SamplingStrategy):
    """Rows at random, a step further at each take."""

    def stream(self, rows, batch_size):
        return Steps(rows)


class Steps(RowStream):
    length, shares = 90, np.array([0.5, 0.5])

    def __init__(self, rows):
        self.rows = rows
        self.step = 0

    def take(self, n):
        self.step += 1
        drawn = torch.randint(len(self.rows), (n,), generator=self.rows.generator, dtype=torch.int32)
        return (drawn + self.step) % len(self.rows)


class Accumulating(ImbalancedNet):
    """Steps of two batches each, which do not end where an epoch does."""

    def train_step(self, batch, **fit_params):
        self.n_batches_ = getattr(self, "n_batches_", 0) + 1
        step = self.train_step_single(batch, **fit_params)
        if self.n_batches_ % 2 == 0:
            self.optimizer_.step()
            self.optimizer_.zero_grad()
        return step


class AccumulatingClassifier(ImbalancedNetClassifier):
    net_class = Accumulating


def numbers(n=240, **kwargs):
    settings = {"n_features": 5, "n_informative": 4, "n_redundant": 0, "weights": [0.8], **kwargs}
    return make_classification(n, random_state=0, **settings)


def three_classes():
    X, y = numbers(n_classes=3, n_clusters_per_class=1, weights=[0.6, 0.25])
    return X, np.array(["ok", "warn", "fail"])[y]


def table():
    X, y = numbers()
    return pd.DataFrame({"amount": X[:, 0], "kind": np.array(list("abc"))[(X[:, 1] > 0) + 0], "old": X[:, 2] > 0}), y


def few():
    return numbers(50)


def rows_of_zeros():
    X, y = numbers()
    return sparse.csr_matrix(np.where(np.abs(X) > 1, X, 0)), y


PLAIN = {"module": MLP, "early_stopping": False}
LAYERS = {"module": Dropped, "optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "lr": 0.05}
SCHEDULES = {
    "deferred": DeferredSchedule(2),
    "progressive": "progressive",
    "retrained": HeadRetraining(2),
    "retrained at the end": "retrain_head",
}
CASES = {
    "numbers": (numbers, {}),
    "a table": (table, {"class_weight": "balanced"}),
    "few rows": (few, {"epoch_size": None}),
    "three classes": (three_classes, {}),
    "no member holds out": (numbers, {"early_stopping": False}),
    "until it stops": (numbers, {"max_epochs": None, "lr": 0.02}),
    "sparse rows": (rows_of_zeros, {}),
    **{f"members draw {word}": (numbers, {"sampling": word}) for word in ("under", "over", "batch", "weighted")},
    **{f"members are {name}": (numbers, {"schedule": s, "class_weight": "balanced"}) for name, s in SCHEDULES.items()},
    "a plain net": (numbers, {**PLAIN, "module__dropout": 0.2}),
    "a plain net that stops": (three_classes, {"module": MLP, "early_stopping": True, "n_iter_no_change": 2}),
    "a plain net on a dict": (lambda: ({"X": numbers()[0]}, numbers()[1]), {**LAYERS, "early_stopping": False}),
    **{
        f"a plain net is {name}": (numbers, {**PLAIN, "schedule": s, "sampling": "under", "module__dropout": 0.2})
        for name, s in SCHEDULES.items()
    },
    "sgd, a scheduler and scores": (
        numbers,
        {
            **LAYERS,
            "early_stopping": True,
            "callbacks": [
                Ends(),
                LRScheduler("StepLR", step_size=2, gamma=0.5),
                EpochScoring("f1", lower_is_better=False),
                EpochScoring("accuracy", name="train_acc", on_train=True),
            ],
        },
    ),
    "a scheduler by lambda": (
        numbers,
        {**LAYERS, "callbacks": [Ends(), LRScheduler("LambdaLR", lr_lambda=lambda epoch: 0.8**epoch)]},
    ),
    "layers that freeze and thaw": (
        numbers,
        {**PLAIN, "callbacks": [Ends(), Freezer("hidden*"), Unfreezer("hidden*", at=4)]},
    ),
    "no callbacks": (numbers, {**PLAIN, "callbacks__print_log": None, "callbacks__epoch_timer": None}),
    "a noisy callback": (numbers, {**PLAIN, "callbacks": [Noisy(), Ends()]}),
    "torch's loader": (numbers, {**PLAIN, "iterator_train__pin_memory": False, "module__dropout": 0.1}),
    "a loader that draws": (numbers, {**PLAIN, "iterator_train": Blurred}),
    "a sampler": (
        numbers,
        {**PLAIN, "iterator_train__sampler": RandomSampler(range(240), generator=torch.Generator())},
    ),
    "rows of a strategy of one's own": (numbers, {**PLAIN, "sampling": Stepping(), "schedule": "progressive"}),
    "instances": (
        numbers,
        {
            "module": nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.3), nn.Linear(4, 1)),
            "criterion": nn.BCEWithLogitsLoss(),
        },
    ),
    "lbfgs": (few, {**PLAIN, "optimizer": torch.optim.LBFGS, "batch_size": -1}),
}


@pytest.fixture(autouse=True)
def numpys_stream():
    np.random.seed(0)  # noqa: NPY002


QUICK = [
    *("a table", "few rows", "members draw under", "members are retrained", "a plain net", "a plain net that stops"),
    *("sgd, a scheduler and scores", "a noisy callback"),
]


@pytest.mark.parametrize("case", QUICK)
def test_a_fit_that_was_cut_short_ends_as_one_that_was_not(tmp_path, monkeypatch, case):
    check_case(tmp_path, monkeypatch, case, 5)


@pytest.mark.parametrize("epoch", [2, 4, 6])
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_fit_that_was_cut_short_ends_as_one_that_was_not(tmp_path, monkeypatch, case, epoch):
    check_case(tmp_path, monkeypatch, case, epoch)


def check_case(tmp_path, monkeypatch, case, epoch):
    make, settings = CASES[case]
    X, y = make()
    settings = {name: _anew(value) for name, value in settings.items()}
    whole = net(**settings).fit(X, y)
    np.random.seed(0)  # noqa: NPY002
    settings = {name: _anew(value) for name, value in settings.items()}
    estimator = net(**settings, checkpoint=tmp_path / "checkpoint")
    cut_short(monkeypatch, estimator, X, y, epoch)
    np.random.seed(0)  # noqa: NPY002
    assert_equal(whole, estimator.fit(X, y), X)
    np.random.seed(0)  # noqa: NPY002
    with monkeypatch.context() as patched:
        patched.setattr(Ends, "epoch", whole.n_iter_)
        patched.setattr(ImbalancedNet, "run_single_epoch", None)
        assert_equal(whole, estimator.fit(X, y), X)


def _anew(value):
    """Return a sampler as a new process has it; other things do not change in a fit."""
    return RandomSampler(range(240), generator=torch.Generator()) if isinstance(value, RandomSampler) else value


@pytest.mark.parametrize("module", [MLP, MLPEnsemble])
def test_sample_weights_and_a_crash_inside_an_epoch(tmp_path, monkeypatch, module):
    X, y = numbers()
    weights = np.where(np.arange(len(y)) % 7, 1 + np.arange(len(y)) % 3, 0)
    settings = {"module": module, "module__dropout": 0.2, "callbacks": [Ends()]}
    whole = net(**settings).fit(X, y, sample_weight=weights)
    estimator = net(**settings, checkpoint=str(tmp_path / "checkpoint"))
    for epoch, batch in [(1, 2), (3, 2), (3, 1), (6, 2)]:
        cut_short(monkeypatch, estimator, X, y, epoch, batch, sample_weight=weights)
    assert_equal(whole, estimator.fit(X, y, sample_weight=weights), X)


def test_a_derived_net_keeps_its_gradients_and_its_attributes(tmp_path, monkeypatch):
    X, y = numbers()
    settings = {**PLAIN, "max_epochs": 5, "callbacks": [Ends()], "random_state": 0, "batch_size": 50}
    whole = AccumulatingClassifier(**settings).fit(X, y)
    estimator = AccumulatingClassifier(**settings, checkpoint=tmp_path / "checkpoint")
    cut_short(monkeypatch, estimator, X, y, 4)
    assert_equal(whole, estimator.fit(X, y), X)
    assert whole.net_.n_batches_ == estimator.net_.n_batches_ == 25


@pytest.mark.parametrize("random_state", [None, 1])
def test_the_seed_is_the_checkpoints_where_the_random_state_is_no_int(tmp_path, monkeypatch, random_state):
    def state():
        return random_state and np.random.RandomState(random_state)

    X, y = numbers()
    np.random.seed(3)  # noqa: NPY002
    whole = net(random_state=state()).fit(X, y)
    np.random.seed(3)  # noqa: NPY002
    estimator = net(random_state=state(), checkpoint=tmp_path / "checkpoint")
    cut_short(monkeypatch, estimator, X, y, 3)
    np.random.seed(4)  # noqa: NPY002
    assert_equal(whole, estimator.fit(X, y), X)


def test_only_so_many_epochs_are_saved_and_the_end(tmp_path, monkeypatch):
    X, y = numbers()
    path, begun = tmp_path / "checkpoint", []
    monkeypatch.setattr(Ends, "on_epoch_begin", lambda self, net, **kwargs: begun.append(len(net.history)))
    saved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *args: [saved.append(len(begun)), replace(*args)])
    net(checkpoint=TrainingCheckpoint(path), checkpoint__every=4).fit(X, y)
    assert saved == [0, 4, 6]
    assert begun == [1, 2, 3, 4, 5, 6]


def test_what_is_cut_short_goes_on_after_the_last_epoch_that_was_saved(tmp_path, monkeypatch):
    X, y = numbers()
    estimator = net(checkpoint=TrainingCheckpoint(tmp_path / "checkpoint", every=2))
    cut_short(monkeypatch, estimator, X, y, 4)
    begun = []
    monkeypatch.setattr(Ends, "on_epoch_begin", lambda self, net, **kwargs: begun.append(len(net.history)))
    estimator.set_params(checkpoint__every=1, verbose=0).fit(X, y)
    assert begun == [3, 4, 5, 6]
    assert clone(estimator).get_params()["checkpoint__every"] == 1


def test_a_fit_that_has_ended_writes_no_more(tmp_path, monkeypatch):
    X, y = numbers()
    estimator = net(module=MLP, checkpoint=tmp_path / "checkpoint").fit(X, y)
    monkeypatch.setattr(os, "replace", None)
    assert estimator.fit(X, y).n_iter_ == 6


def test_a_net_without_callbacks_is_saved_too(tmp_path, monkeypatch):
    X, y = numbers()
    settings = {**PLAIN, "callbacks": "disable", "max_epochs": 3}
    whole = net(**settings).fit(X, y)
    estimator = net(**settings, checkpoint=tmp_path / "checkpoint")
    with monkeypatch.context() as patched:
        patched.setattr(ImbalancedNet, "on_epoch_begin", _end_in_epoch_3)
        with pytest.raises(EndsError):
            estimator.fit(X, y)
    assert_equal(whole, estimator.fit(X, y), X)


_on_epoch_begin = ImbalancedNet.on_epoch_begin


def _end_in_epoch_3(self, net, **kwargs):
    if len(net.history) == 2:
        raise EndsError
    _on_epoch_begin(self, net, **kwargs)


def test_it_says_from_where_it_goes_on(tmp_path, monkeypatch, capsys):
    X, y = numbers()
    path = str(tmp_path / "checkpoint")
    cut_short(monkeypatch, net(checkpoint=path), X, y, 4)
    net(checkpoint=path, verbose=1).fit(X, y)
    assert f"goes on from {path}, after epoch 3" in capsys.readouterr().out


def test_global_streams_that_nothing_draws_from_stay(tmp_path, monkeypatch):
    X, y = numbers()
    estimator = net(module=MLP, module__dropout=0.5, callbacks=[Ends()], checkpoint=tmp_path / "checkpoint")
    cut_short(monkeypatch, estimator, X, y, 3)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    estimator.fit(X, y)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


# What is refused

X, Y = numbers()
PATH = "{path!r}"
WHAT_TO_DO = (
    "Delete the file to train from the start, or set another path. A path is for one fit: in a grid search or a "
    "cross-validation leave checkpoint=None."
)


def changed(values, place, value):
    values = values.copy()
    values[place] = value
    return values


OTHER = {
    "a value of X": ({}, (changed(X, (3, 2), 0.5), Y, None), "X"),
    "the order of rows": ({}, (X[::-1], Y[::-1], None), "X, y"),
    "fewer rows": ({}, (X[:-1], Y[:-1], None), "X, y"),
    "the dtype": ({}, (X.astype(np.float32), Y, None), "X"),
    "names of columns": ({}, (pd.DataFrame(X, columns=list("abcde")), Y, None), "X"),
    "y": ({}, (X, changed(Y, 3, 1 - Y[3]), None), "y"),
    "labels": ({}, (X, np.array(["a", "b"])[Y], None), "y"),
    "weights": ({}, (X, Y, np.arange(1, len(Y) + 1)), "sample_weight"),
    "weights of zero": ({}, (X, Y, (np.arange(len(Y)) > 9) + 0), "y, sample_weight"),
    "batch_size": ({"batch_size": 7}, (X, Y, None), "batch_size None (now 7)"),
    "the seed": ({"random_state": 1}, (X, Y, None), "random_state 0 (now 1)"),
    "no seed": ({"random_state": None}, (X, Y, None), "random_state 0 (now None)"),
    "two parameters": (
        {"max_epochs": 9, "sampling": "over"},
        (X, Y, None),
        "max_epochs 6 (now 9), sampling None (now 'over')",
    ),
    "a parameter of the module": (
        {"module__dropout": 0.5},
        (X, Y, None),
        "module__dropout at its default (now 0.5)",
    ),
    "callbacks": ({"callbacks": [Ends(), Noisy()]}, (X, Y, None), "callbacks"),
}


@pytest.mark.parametrize("module", [MLP, MLPEnsemble])
@pytest.mark.parametrize("what", OTHER)
def test_another_fit_is_refused_and_the_file_stays(tmp_path, monkeypatch, what, module):
    settings, (X_other, y_other, weights), differs = OTHER[what]
    path = str(tmp_path / "checkpoint")
    first = {"module": module, "lr": 0.01, "checkpoint": path}
    cut_short(monkeypatch, net(**first), X, Y, 2)
    before = (tmp_path / "checkpoint").read_bytes()
    monkeypatch.setattr(TrainingState, "load", None)  # nothing is unpickled
    with pytest.raises(ValueError, match="checkpoint must be") as raised:
        net(**first, **settings).fit(X_other, y_other, sample_weight=weights)
    assert str(raised.value) == (
        "checkpoint must be of the same data, parameters and versions as this fit; that of "
        f"{path!r} has another {differs}. {WHAT_TO_DO}"
    )
    assert (tmp_path / "checkpoint").read_bytes() == before


def test_another_lr_is_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "checkpoint")
    cut_short(monkeypatch, net(lr=0.01, checkpoint=path), X, Y, 2)
    with pytest.raises(ValueError, match=r"another lr 0\.01 \(now 0\.02\)\. Delete the file"):
        net(lr=0.02, checkpoint=path).fit(X, Y)


class Derived(ImbalancedNetClassifier):
    pass


def test_another_class_another_version_and_another_split_are_refused(tmp_path, monkeypatch):
    path = str(tmp_path / "checkpoint")
    cut_short(monkeypatch, net(module=MLP, checkpoint=path), X, Y, 2)
    ours = "imbalanced_torch._classifier.ImbalancedNetClassifier"
    with pytest.raises(ValueError, match=rf"another class {ours} \(now test_checkpoint.Derived\)\."):
        Derived(module=MLP, callbacks=[Ends()], max_epochs=6, random_state=0, checkpoint=path).fit(X, Y)
    with monkeypatch.context() as patched:
        patched.setattr("imbalanced_torch._persistence.training_checkpoint.__version__", "9")
        with pytest.raises(ValueError, match=r"another imbalanced-torch .* \(now 9\)\. Delete"):
            net(module=MLP, checkpoint=path).fit(X, Y)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "__version__", "9")
        with pytest.raises(ValueError, match=r"another torch .* \(now 9\)\. Delete"):
            net(module=MLP, checkpoint=path).fit(X, Y)


def random_split(dataset, y):
    order = np.random.permutation(len(y))  # noqa: NPY002
    return torch.utils.data.Subset(dataset, order[50:]), torch.utils.data.Subset(dataset, order[:50])


def test_a_split_at_random_is_told(tmp_path, monkeypatch):
    path = str(tmp_path / "checkpoint")
    estimator = net(module=MLP, train_split=random_split, checkpoint=path)
    cut_short(monkeypatch, estimator, X, Y, 2)
    with pytest.raises(ValueError, match=r"has another y, train_split|has another y\."):
        estimator.fit(X, Y)


def test_a_grid_search_over_one_path_is_refused(tmp_path):
    search = GridSearchCV(
        net(module=MLP, checkpoint=str(tmp_path / "checkpoint")), {"lr": [0.1, 0.2]}, cv=2, error_score="raise"
    )
    with pytest.raises(ValueError, match="in a grid search or a cross-validation leave checkpoint=None"):
        search.fit(X, Y)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:100],
        lambda content: content[:10],
        lambda content: b"",
        lambda content: b"something else",
        lambda content: b"\x80\x04K\x01.",
        lambda content: content.replace(b'"seed"', b'"need"'),
        lambda content: content.replace(b'{"processes"', b'["processes"'),
        lambda content: content.replace(b'"processes": 1', b'"processes": 2'),
        lambda content: content + content[content.index(b"{") :],
        lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    ],
    ids=[
        "its last byte",
        "its header",
        "its first line",
        "empty",
        "text",
        "a pickle",
        "a key",
        "no JSON",
        "a number",
        "twice",
        "a bit",
    ],
)
def test_a_file_that_is_cut_short_or_something_else_is_refused_and_stays(tmp_path, monkeypatch, damage):
    path = tmp_path / "checkpoint"
    cut_short(monkeypatch, net(module=MLP, checkpoint=path), X, Y, 2)
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="checkpoint must be") as raised:
        net(module=MLP, checkpoint=path).fit(X, Y)
    assert str(raised.value) == (
        f"checkpoint must be a file that a fit with this path has written, or none yet; {str(path)!r} is another, or "
        f"was cut short or changed. {WHAT_TO_DO}"
    )
    assert path.read_bytes() == before


def test_what_can_not_be_unpickled_is_told(tmp_path, monkeypatch):
    path = str(tmp_path / "checkpoint")
    cut_short(monkeypatch, net(module=Dropped, checkpoint=path), X, Y, 2)
    monkeypatch.setattr(Dropped, "__init__", _with_another_part)
    with pytest.raises(
        ValueError, match=r"can be read again; .* the module has other parts than when it was saved: more"
    ):
        net(module=Dropped, checkpoint=path).fit(X, Y)


_first_init = Dropped.__init__


def _with_another_part(self, n_features, n_outputs):
    _first_init(self, n_features, n_outputs)
    self.more = nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize("module", [MLP, MLPEnsemble])
def test_partial_fit_and_warm_start_are_refused(tmp_path, module):
    said = "checkpoint is for a fit that begins anew"
    with pytest.raises(ValueError, match=said):
        net(module=module, checkpoint=tmp_path / "file").partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match=said):
        net(module=module, checkpoint=tmp_path / "file", warm_start=True).fit(X, Y)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="checkpoint needs X as an array, a table, a CSR matrix or a dict of arrays"):
        net(module=MLP, checkpoint=tmp_path / "file").fit(TensorDataset(torch.from_numpy(X)), Y)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        ({"checkpoint": 3}, TypeError, "checkpoint must be None, a path or a TrainingCheckpoint(path); it is 3."),
        (
            {"checkpoint": b"file"},
            TypeError,
            "checkpoint must be None, a path or a TrainingCheckpoint(path); it is b'file'.",
        ),
        (
            {"checkpoint": TrainingCheckpoint(None)},
            TypeError,
            "checkpoint must be None, a path or a TrainingCheckpoint(path); it is None.",
        ),
        (
            {"checkpoint": TrainingCheckpoint("file", every=0)},
            ValueError,
            "checkpoint__every must be an int of at least 1; it is 0.",
        ),
        (
            {"checkpoint": TrainingCheckpoint("file"), "checkpoint__every": 1.5},
            TypeError,
            "checkpoint__every must be an int of at least 1; it is 1.5.",
        ),
        (
            {"checkpoint": "file", "checkpoint__every": 2},
            ValueError,
            "checkpoint__every can't be set: checkpoint is 'file', which has no parameter 'every'. Pass an object: "
            "TrainingCheckpoint(path, every=...).",
        ),
        *(
            (
                {"checkpoint": path},
                ValueError,
                f"checkpoint must be the path of a file, in a folder that is there; it is {path!r}.",
            )
            for path in ("", "nowhere/file", "/", "f" * 300, "nul\0", os.devnull)
        ),
    ],
    ids=str,
)
def test_a_wrong_checkpoint_is_told_before_data_are_read(tmp_path, monkeypatch, settings, kind, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as raised:
        net(**settings).fit(None, None)
    assert str(raised.value) == said
    assert list(tmp_path.iterdir()) == []


# The disk, and the end of the process


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_names_the_path_and_leaves_the_last_file_and_the_estimator_as_they_were(
    tmp_path, monkeypatch, call
):
    path = tmp_path / "checkpoint"
    whole = net().fit(X, Y)
    fitted = net().fit(X[:99], Y[:99])
    before = dict(vars(fitted))
    fitted.checkpoint = str(path)
    content = []

    def full(*args):
        if path.exists() and len(content) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        content.append(1)
        return real(*args)

    real = getattr(os, call)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(OSError, match="checkpoint: No space left on device") as raised:
            fitted.fit(X, Y)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
    assert vars(fitted) == {**before, "checkpoint": str(path)}
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint"]
    begun = []
    monkeypatch.setattr(Ends, "on_epoch_begin", lambda self, net, **kwargs: begun.append(len(net.history)))
    assert_equal(whole, fitted.fit(X, Y), X)
    assert begun[0] == {"fsync": 2, "replace": 5}[call]


class Reports(Callback):
    """Tell the parent process how many epochs are over."""

    pipe = None

    def on_epoch_begin(self, net, **kwargs):
        if Reports.pipe is not None:
            Reports.pipe.send(len(net.history) - 1)


LONG = {"max_epochs": 80, "early_stopping": False, "callbacks": [Reports()], "random_state": 0, "batch_size": 60}


def fit_and_report(settings, path, pipe):
    torch.set_num_threads(1)
    Reports.pipe = pipe
    ImbalancedNetClassifier(**settings, checkpoint=path).fit(X, Y)
    pipe.send("the end")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks beside threads, which wait for nothing of ours
@pytest.mark.parametrize("module", [MLP, MLPEnsemble])
def test_killed_at_twenty_moments_it_loses_no_more_than_the_epoch_in_work(tmp_path, module):
    settings = {**LONG, "module": module, "module__dropout": 0.2}
    path = str(tmp_path / "checkpoint")
    processes = multiprocessing.get_context("fork")  # another import of torch for each would take a minute
    moments = random.Random(0)
    finished, kills, reported = 0, 0, []
    while finished != "the end":
        ours, theirs = processes.Pipe(duplex=False)
        process = processes.Process(target=fit_and_report, args=(settings, path, theirs))
        process.start()
        theirs.close()
        if kills < 20:
            if kills % 4:  # in training; else wherever it is
                assert ours.poll(60)
            time.sleep(moments.uniform(0, 0.02))
            process.kill()
            kills += 1
        reported = _all_of(ours)
        process.join()
        if reported:
            assert reported[0] >= finished
            finished = reported[-1]
    assert kills == 20
    whole = ImbalancedNetClassifier(**settings).fit(X, Y)
    assert_equal(whole, ImbalancedNetClassifier(**settings, checkpoint=path).fit(X, Y), X)


def _all_of(pipe):
    reported = []
    try:
        while True:
            reported.append(pipe.recv())
    except (EOFError, OSError):
        return reported


def in_another_process(path):
    """Return an estimator with parameters of many kinds, and its data."""
    X, y = table()
    parameters = {
        "class_weight": {"common": 1, "rare": 3},
        "callbacks": [Ends(), LRScheduler("LambdaLR", lr_lambda=lambda epoch: 0.9**epoch)],
        "iterator_train__drop_last": False,
        "optimizer": functools.partial(torch.optim.AdamW, betas=(0.8, 0.9)),
    }
    return net(**parameters, checkpoint=path), X, np.array(["common", "rare"])[y]


def test_another_process_with_other_hashes_goes_on(tmp_path):
    path, script = str(tmp_path / "checkpoint"), "import test_checkpoint as t; t.Ends.epoch = 4; "
    script += f"model, X, y = t.in_another_process({path!r}); model.fit(X, y)"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert "EndsError" in done.stderr
    estimator, X, y = in_another_process(path)
    whole = clone(estimator).set_params(checkpoint=None).fit(X, y)
    assert_equal(whole, in_another_process(path)[0].fit(X, y), X)


# Fingerprints


def test_a_fingerprint_tells_values_apart_and_not_their_places():
    class Thing:
        def __init__(self, value):
            self.value = value
            self.itself = self

    same = [
        ({"a": 1, "b": [2.0, None]}, {"b": [2.0, None], "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (np.arange(6).reshape(2, 3)[:, ::2], np.array([[0, 2], [3, 5]])),
        (sparse.csr_matrix(np.eye(3)), sparse.csr_array(np.eye(3))),
        (Thing(np.ones(2)), Thing(np.ones(2))),
        (lambda x: x + 1, lambda x: x + 1),
        (np.float64(0.5), 0.5),
        (nn.Linear, nn.Linear),
        (np.random.RandomState(0), np.random.RandomState(1)),
        (LRScheduler("StepLR", step_size=2), LRScheduler("StepLR", step_size=2)),
    ]
    other = [
        *(1, 1.5, True, None, "1", b"1", [1], (1,), {1}, {1: 1}, 1j, int, nn.Linear, nn.Bilinear),
        *(np.array([1]), np.array([1.0]), np.array([[1]]), np.array([1], dtype=object), torch.tensor([1])),
        *(np.arange(5.0), np.arange(5.0) + 1e-15, np.datetime64("2020-01-01"), pd.Timestamp("2020-01-01")),
        *(sparse.csr_matrix(np.eye(3)), sparse.csr_matrix(np.eye(3)[::-1]), Thing(1), Thing(2)),
        *((lambda x: x + 1), (lambda x: x + 2), (lambda x, y=1: x + 1), torch.float32, torch.float64),
        *(torch.device("cpu"), LRScheduler("StepLR", step_size=2), LRScheduler("StepLR", step_size=3)),
        *(nn.Linear(2, 1), nn.Linear(2, 1), TrainingCheckpoint("a"), TrainingCheckpoint("b")),
    ]
    assert [one for one, two in same if "lambda" not in str(one) and fingerprint(one) != fingerprint(two)] == []
    found = [fingerprint(value) for value in other]
    assert len(set(found)) == len(other)
