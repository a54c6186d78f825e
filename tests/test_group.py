"""One fit over the processes of a torch process group: what one process would make of the rows of all."""

import os
import pickle
import threading
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from processes import Processes, RaisedError
from scipy import sparse
from scipy.stats import chi2
from sklearn.datasets import make_classification
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import distributed

from imbalanced_torch import (
    MLP,
    DeferredSchedule,
    Draws,
    ImbalancedNetClassifier,
    OverSampling,
    RowStream,
    SamplingStrategy,
    TemperedSampling,
    UnderSampling,
)
from imbalanced_torch._remedies.row_streams import RowsByClass
from imbalanced_torch._remedies.sampling import resolve_sampling
from imbalanced_torch._remedies.shared_streams import AllRows, natural, shared

X, y = make_classification(600, n_features=5, n_informative=3, weights=[0.85], class_sep=1.5, random_state=0)
#: Which rows a process of two has, by the name of a way to share them out.
SHARDS = {
    "every second row": [np.arange(0, 600, 2), np.arange(1, 600, 2)],
    "unequal": [np.arange(150), np.arange(150, 600)],
    "one lacks a class": [np.flatnonzero(y == 0)[:200], np.setdiff1d(np.arange(600), np.flatnonzero(y == 0)[:200])],
}


@pytest.fixture(scope="module")
def two():
    """Two processes of one group."""
    processes = Processes()
    yield processes
    processes.close()


def weights_of(classifier):
    return {name: value.numpy().copy() for name, value in classifier.module_.state_dict().items()}


def seen(classifier):
    """Return what must be the same on all processes."""
    priors = classifier.class_priors_
    history = [
        {name: value for name, value in epoch.items() if name not in ("batches", "dur")}
        for epoch in classifier.history_.to_list()
    ]
    return {
        "weights": {name: value.tolist() for name, value in weights_of(classifier).items()},
        "classes": classifier.classes_.tolist(),
        "class_weight": classifier.class_weight_.tolist(),
        "priors": [p.tolist() for p in (priors.population, priors.drawn, priors.seen, priors.effective_prior)],
        "epochs": (classifier.n_iter_, classifier.best_epoch_),
        "steps": [len(epoch["batches"]) - epoch.get("valid_batch_count", 0) for epoch in classifier.history_.to_list()],
        "history": [{k: v for k, v in epoch.items() if k != "valid_batch_count"} for epoch in history],
        "settings": {name: str(value) for name, value in classifier.settings_.items()},
        "oof_log_loss": getattr(classifier, "oof_log_loss_", None),
    }


def fitted(rank, shards, parameters, sample_weight=None, labels=y):
    own = SHARDS[shards][rank]
    weights = None if sample_weight is None else sample_weight[own]
    return ImbalancedNetClassifier(**parameters).fit(X[own], labels[own], weights)


def fit_and_see(rank, shards, parameters, sample_weight=None, labels=y):
    classifier = fitted(rank, shards, parameters, sample_weight, labels)
    return seen(classifier), classifier.predict_proba(X)


class Normed(torch.nn.Module):
    """A module with batch norm, and a layer that no row goes through."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.BatchNorm1d(n_features), torch.nn.Linear(n_features, 8), torch.nn.ReLU(), torch.nn.Dropout(0.2)
        )
        self.output = torch.nn.Linear(8, n_outputs)
        self.idle = torch.nn.Linear(2, 2)

    def forward(self, X):
        return self.output(self.layers(X))


PLAIN = {"module": MLP, "early_stopping": False, "max_epochs": 5, "batch_size": 32, "random_state": 0}


# Equal to one process on all rows


@pytest.mark.parametrize(
    "optimizer",
    [
        {"optimizer": torch.optim.SGD},
        {"optimizer": torch.optim.Adam},
        # A line search may magnify rounding where there are valleys.
        {"optimizer": torch.optim.LBFGS, "module__hidden_sizes": (), "max_epochs": 2},
    ],
    ids=["SGD", "Adam", "LBFGS"],
)
@pytest.mark.parametrize("shards", [*SHARDS])
def test_a_full_batch_with_class_weights_is_the_fit_of_one_process_on_all_rows(two, shards, optimizer):
    parameters = {**PLAIN, "class_weight": "balanced", "batch_size": -1, "max_epochs": 20, "lr": 0.05, **optimizer}
    found = two.run(fit_and_see, shards, parameters)
    alone = ImbalancedNetClassifier(**parameters).fit(X, y)
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], alone.predict_proba(X), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found[0][0]["class_weight"], alone.class_weight_, rtol=1e-12)
    losses = [epoch["train_loss"] for epoch in found[0][0]["history"]]
    np.testing.assert_allclose(losses, [epoch["train_loss"] for epoch in alone.history_.to_list()], rtol=0, atol=1e-10)


@pytest.mark.parametrize("labels", [y, np.array(["ok", "warn", "fail"])[y + (X[:, 0] > 1.5)]], ids=["two", "three"])
def test_a_full_batch_with_sample_weights_is_the_fit_of_one_process(two, labels):
    weights = np.random.RandomState(0).rand(600) + 0.1
    weights[:40] = 0
    parameters = {**PLAIN, "class_weight": "sqrt", "batch_size": -1, "optimizer": torch.optim.SGD, "lr": 0.5}
    found = two.run(fit_and_see, "unequal", parameters, weights, labels)
    alone = ImbalancedNetClassifier(**parameters).fit(X, labels, weights)
    assert len(alone.classes_) == len(np.unique(labels))
    np.testing.assert_allclose(found[1][1], alone.predict_proba(X), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found[0][0]["priors"][0], alone.class_priors_.population, rtol=1e-12)


def test_early_stopping_looks_at_the_held_out_rows_of_all(two):
    """The same rows are held out of both fits, by the user."""
    parameters = {**PLAIN, "class_weight": "balanced", "batch_size": -1, "max_epochs": 60, "lr": 0.1}
    parameters |= {"early_stopping": True, "n_iter_no_change": 3, "scoring": "imbalance"}
    found = two.run(_fit_with_own_validation, parameters)
    alone = ImbalancedNetClassifier(**parameters, train_split=(X[400:], y[400:])).fit(X[:400], y[:400])
    assert found[0] == found[1]
    assert found[0]["epochs"] == (alone.n_iter_, alone.best_epoch_)
    for name in ("valid_loss", "valid_log_loss_corrected", "valid_average_precision", "valid_recall_1"):
        values = [epoch[name] for epoch in found[0]["history"]]
        np.testing.assert_allclose(values, alone.history_[:, name], rtol=0, atol=1e-8)


def _fit_with_own_validation(rank, parameters):
    own, held_out = (slice(0, 100), slice(400, 560)) if rank == 0 else (slice(100, 400), slice(560, 600))
    split = (X[held_out], y[held_out])
    # The rows that are held out differ by process, and are data.
    return seen(ImbalancedNetClassifier(**parameters, train_split=split).fit(X[own], y[own]))


def test_minibatches_give_the_scores_of_one_process_within_noise(two):
    parameters = {**PLAIN, "max_epochs": 10, "sampling": "weighted", "lr": 0.01}
    found = np.array(two.run(_scores_of_ten_seeds, {**parameters, "batch_size": 16})[0])
    alone = [_score(ImbalancedNetClassifier(**{**parameters, "random_state": s}).fit(X[:400], y[:400])) for s in _SEEDS]
    noise = np.sqrt((np.var(found, ddof=1) + np.var(alone, ddof=1)) / len(_SEEDS))
    assert abs(found.mean() - np.mean(alone)) < 3 * noise
    assert found.mean() > 0.85


_SEEDS = range(10)


def _scores_of_ten_seeds(rank, parameters):
    own = slice(0, 150) if rank == 0 else slice(150, 400)
    return [_score(ImbalancedNetClassifier(**{**parameters, "random_state": s}).fit(X[own], y[own])) for s in _SEEDS]


def _score(classifier):
    return roc_auc_score(y[400:], classifier.predict_proba(X[400:])[:, 1])


# The same on all processes

REMEDIES = [
    {},
    {"class_weight": "effective"},
    *({"sampling": word} for word in ("weighted", "over", "under", "batch")),
    {"sampling": {0: 100, 1: 80}},
    {"sampling": TemperedSampling(0.5, replacement=False)},
    {"sampling": "weighted", "schedule": "progressive"},
    {"sampling": UnderSampling(0.5), "schedule": DeferredSchedule(0.5), "epoch_size": 1.0},
    {"class_weight": "balanced", "schedule": "retrain_head"},
]


@pytest.mark.parametrize("remedy", REMEDIES, ids=str)
def test_processes_end_with_the_same_net_and_the_priors_of_all_rows(two, remedy):
    found = two.run(fit_and_see, "one lacks a class", {**PLAIN, "max_epochs": 3, **remedy})
    assert found[0][0] == found[1][0]
    alone = ImbalancedNetClassifier(**PLAIN | {"max_epochs": 3} | remedy).fit(X, y)
    np.testing.assert_allclose(found[0][0]["priors"][3], alone.effective_prior_, rtol=1e-12)
    np.testing.assert_allclose(found[0][0]["priors"][0], alone.class_priors_.population)
    np.testing.assert_allclose(found[0][0]["class_weight"], alone.class_weight_, rtol=1e-12)


@pytest.mark.parametrize(
    "parameters",
    [
        {"module": Normed, "sampling": "weighted"},
        {"module": Normed, "early_stopping": True, "max_epochs": 3},
        {"dtype": torch.float32, "criterion": "ldam", "sampling": "over"},
        {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "criterion": "focal"},
        {"iterator_train__num_workers": 0, "iterator_train__drop_last": True},
    ],
    ids=["batch norm", "batch norm, held out", "float32 and margins", "focal", "a loader"],
)
def test_modules_losses_and_loaders_of_any_kind_end_the_same(two, parameters):
    found = two.run(fit_and_see, "unequal", {**PLAIN, **parameters})
    assert found[0][0] == found[1][0]


class Named(torch.nn.Module):
    """A module that takes rows as a dict."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(5, 2)

    def forward(self, a, b):
        return self.layer(torch.cat([a, b], dim=1))


class Listed(torch.utils.data.Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, place):
        return X[self.rows[place]]


KINDS = {
    "sparse rows": (lambda own: sparse.csr_matrix(np.where(X > 0, X, 0)[own]), None),
    "a dict": (lambda own: {"a": X[own, :2], "b": X[own, 2:]}, Named),
    "a Dataset": (lambda own: Listed(own), torch.nn.Linear(5, 1, dtype=torch.float64)),
    "strings as labels": (lambda own: X[own].tolist(), MLP),
}


@pytest.mark.parametrize("kind", [*KINDS])
def test_rows_of_any_kind_are_fitted_together(two, kind):
    found = two.run(_fit_rows_of_a_kind, kind)
    assert found[0] == found[1]


def _fit_rows_of_a_kind(rank, kind):
    own = SHARDS["unequal"][rank]
    make, module = KINDS[kind]
    labels = np.where(y, "fraud", "legitimate" if rank else "legit")[own] if kind == "strings as labels" else y[own]
    classifier = ImbalancedNetClassifier(module, max_epochs=2, sampling="weighted", random_state=0)
    found = seen(classifier.fit(make(own), labels))
    assert len(found["classes"]) == (3 if kind == "strings as labels" else 2)
    return found


def test_the_rows_of_small_shards_are_held_out_as_those_of_one(two):
    """A class of which no shard has ten rows is held out nevertheless."""
    parameters = {**PLAIN, "early_stopping": True, "validation_fraction": 0.1, "max_epochs": 2}
    rows = two.run(_held_out_rows, parameters)
    alone = ImbalancedNetClassifier(**parameters).fit(X[:60], y[:60]).held_out_predictions()[0]
    assert len(rows[0]) == len(alone)
    assert rows[0] == rows[1]
    assert np.bincount(rows[0]).tolist() == np.bincount(alone).tolist()


def _held_out_rows(rank, parameters):
    own = slice(rank, 60, 2)
    return sorted(ImbalancedNetClassifier(**parameters).fit(X[own], y[own]).held_out_predictions()[0].tolist())


def test_processes_draw_rows_of_their_own(two):
    """On the same rows, the same draws would be the batches of one process."""
    parameters = {**PLAIN, "max_epochs": 1, "epoch_size": 64}
    both = two.run(_fit_the_same_rows_in_silence, {**parameters, "epoch_size": 128})
    alone = ImbalancedNetClassifier(**parameters).fit(X, y).history_[0, "train_loss"]
    assert both[0] == both[1]
    assert abs(both[0] - alone) > 1e-6


def _fit_the_same_rows_in_silence(rank, parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ImbalancedNetClassifier(**parameters).fit(X, y).history_[0, "train_loss"]


# The default net


def fit_default(rank, parameters):
    own = SHARDS["unequal"][rank]
    classifier = ImbalancedNetClassifier(max_epochs=6, random_state=0, **parameters).fit(X[own], y[own])
    return seen(classifier), classifier.oof_proba_, pickle.dumps(classifier), classifier.decision_report(["f1"])


@pytest.mark.parametrize(
    "parameters", [{}, {"sampling": "under"}, {"sampling": "batch", "early_stopping": "average_precision"}], ids=str
)
def test_the_default_net_is_one_net_with_out_of_fold_rows_on_each_process(two, parameters):
    found = two.run(fit_default, parameters)
    assert found[0][0] == found[1][0]
    assert [proba.shape for _, proba, _, _ in found] == [(150, 2), (450, 2)]
    assert str(found[0][3]) == str(found[1][3])  # NaN is not NaN
    proba, codes = np.concatenate([proba for _, proba, _, _ in found]), np.concatenate([y[:150], y[150:]])
    loss = -np.log(proba[np.arange(600), codes]).mean()
    assert found[0][0]["oof_log_loss"] == pytest.approx(loss, rel=1e-5)
    here = pickle.loads(found[0][2])  # in a process without a group
    assert here.score(X, y) > 0.8
    np.testing.assert_allclose(here.predict_proba(X), pickle.loads(found[1][2]).predict_proba(X), atol=0)


def table(rank):
    """Two shards of a table: one has a level that the other lacks, and a column that is empty in the other."""
    numbers = np.arange(120) + 120 * rank
    levels = np.where(numbers % 7 == 0, "rare" if rank else "common", np.where(numbers % 3 == 0, "a", "b"))
    odd = [None] * 120 if rank else np.where(numbers % 2 == 0, "x", "y")
    holes = np.where((numbers % 10 == 0) & (rank == 1), np.nan, numbers / 100)
    columns = pd.DataFrame({"n": holes, "level": levels, "odd": odd, "whole": numbers.astype(np.int16)})
    if rank:
        columns["whole"] = columns["whole"].astype(float)
    return columns, np.where(numbers % 6 == 0, "fraud", "ok")


def fit_table(rank):
    columns, labels = table(rank)
    classifier = ImbalancedNetClassifier(max_epochs=3, random_state=0).fit(columns, labels)
    encoder = {name: value.tolist() for name, value in classifier.module_.encoder.state_dict().items()}
    return classifier.columns_.levels, classifier.columns_.kinds, str(encoder), pickle.dumps(classifier)


def test_a_table_has_the_levels_of_all_shards_and_is_encoded_as_one(two):
    found = two.run(fit_table)
    parts = [table(rank) for rank in range(2)]
    whole, labels = pd.concat([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    alone = ImbalancedNetClassifier(max_epochs=3, random_state=0).fit(whole, labels)
    assert found[0][:3] == found[1][:3]
    assert found[0][:2] == (alone.columns_.levels, alone.columns_.kinds)
    encoder = {name: value.tolist() for name, value in alone.module_.encoder.state_dict().items()}
    assert found[0][2] == str(encoder)  # NaN is not NaN
    here = pickle.loads(found[1][3])
    assert here.predict(whole).shape == (240,)


# The law of the draw: each row of all, wherever it lies, is as likely as on one process

CODES = np.repeat([0, 1, 2], [700, 60, 12])
PLACES = np.random.RandomState(0).choice(3, len(CODES), p=[0.6, 0.3, 0.1])
PLACES[CODES == 2] = np.repeat([0, 1], [2, 10])  # the third process lacks a class
STRATEGIES = [
    None,
    *("weighted", "over", "under", "batch"),
    {0: 50, 1: 33, 2: 7},
    OverSampling(0.3),
    UnderSampling(0.2),
    TemperedSampling(0.5),
    TemperedSampling(0.2, replacement=False),
]


def part_of(strategy, place, seed=0):
    """Return the stream of one of three processes, the one of all rows, and the rows that the first one gives."""
    generator = torch.Generator().manual_seed(seed)
    here = np.flatnonzero(place == PLACES)
    own, every = RowsByClass(CODES[here], 3, generator), RowsByClass(CODES, 3, generator)
    rows = AllRows(own, every.counts, 3, own.counts)
    chosen = resolve_sampling(strategy, np.arange(3))
    if chosen is None:
        return natural(rows), every.counts / len(CODES), here
    return shared(chosen.stream(rows, 30), rows, chosen), chosen.stream(every, 30).shares, here


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_the_expected_gradient_of_the_processes_is_that_of_one_on_all_rows(strategy):
    gradients = np.random.RandomState(1).standard_normal((len(CODES), 4))
    expected = 0.0
    for place in range(3):
        stream, shares, here = part_of(strategy, place)
        np.testing.assert_allclose(stream.shares, shares)
        of_class = [gradients[here][CODES[here] == code] for code in range(3)]
        means = np.array([part.mean(axis=0) if len(part) else np.zeros(4) for part in of_class])
        expected = expected + stream.weight / 3 * (stream.own.shares @ means)
    one = shares @ np.array([gradients[code == CODES].mean(axis=0) for code in range(3)])
    np.testing.assert_allclose(expected, one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_rows_are_drawn_as_often_as_the_law_says(strategy):
    """Draws in turn vary less than independent ones, whose statistic is of the chi-square distribution."""
    for place in range(3):
        stream, _, here = part_of(strategy, place)
        codes, n = CODES[here], 30_000
        taken = np.concatenate([stream.take(part).numpy() for part in [30] * 200 + [n - 6000]])
        drawn = np.bincount(taken, minlength=len(here))
        expected = n * stream.own.shares[codes] / np.bincount(codes, minlength=3)[codes]
        statistic = ((drawn - expected) ** 2 / expected).sum()
        assert statistic < chi2.ppf(1 - 1e-6, len(here) - 1)
        by_class = np.bincount(codes, drawn, 3)
        assert np.abs(by_class / n - stream.own.shares).max() < 5 * np.sqrt(0.25 / n)


def test_batches_of_alike_shards_are_balanced_to_the_row():
    generator = torch.Generator().manual_seed(0)
    codes = np.repeat([0, 1, 2], [100, 20, 10])
    own = RowsByClass(codes, 3, generator)
    rows = AllRows(own, 2 * own.counts, 2, own.counts)
    stream = shared(resolve_sampling("batch", np.arange(3)).stream(rows, 32), rows, "batch")
    assert stream.weight == 1
    assert stream.batch_size == 30
    for _ in range(20):
        assert np.bincount(codes[stream.take(30).numpy()]).tolist() == [10, 10, 10]


def test_a_process_without_a_row_that_is_drawn_takes_part_and_counts_nothing():
    generator = torch.Generator().manual_seed(0)
    own = RowsByClass(np.zeros(5, dtype=int), 2, generator)
    rows = AllRows(own, np.array([50, 7]), 2, np.zeros(2, dtype=int))
    for word in ("weighted", "under", "batch"):
        stream = shared(resolve_sampling(word, np.arange(2)).stream(rows, 8), rows, word)
        assert stream.weight == 0
        assert len(stream.take(8)) == 8


class OwnStream(RowStream):
    length, shares = 10, np.array([0.5, 0.5])

    def take(self, n):
        return torch.zeros(n, dtype=torch.int64)


class OwnStrategy(SamplingStrategy):
    def stream(self, rows, batch_size):
        return OwnStream()


class RareTwice(SamplingStrategy):
    """A strategy of a user's, of public parts."""

    def stream(self, rows, batch_size):
        weights = rows.counts * np.array([1.0, 2.0])
        return Draws(weights / weights.sum(), rows)


def test_a_strategy_of_ones_own_that_is_made_of_public_streams_is_shared(two):
    found = two.run(fit_and_see, "unequal", {**PLAIN, "sampling": RareTwice()})
    alone = ImbalancedNetClassifier(**PLAIN, sampling=RareTwice()).fit(X, y)
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][0]["priors"][3], alone.effective_prior_, rtol=1e-12)


def test_a_stream_of_ones_own_is_refused_with_what_to_do(two):
    for failed in two.outcomes(fit_and_see, "unequal", {**PLAIN, "sampling": OwnStrategy()}):
        assert failed.kind in ("TypeError", "RuntimeError")
        assert "give one of Draws, DrawsInTurn, Passes and EqualBatches" in failed.text


# Errors


def test_other_parameters_raise_the_same_error_on_all(two):
    failed = two.outcomes(_fit_with, [{"lr": 0.1, "sampling": "over"}, {"lr": 0.2, "sampling": None}])
    assert failed[0].text == failed[1].text
    assert failed[0].text == (
        "the processes of a group must fit with the same parameters: lr is 0.1 on process 0 and 0.2 on process 1; "
        "sampling is 'over' on process 0 and None on process 1."
    )


def _fit_with(rank, parameters):
    return fitted(rank, "unequal", {**PLAIN, **parameters[rank]}).n_iter_


def test_fit_on_one_process_and_partial_fit_on_another_raise_the_same_error_on_all(two):
    failed = two.outcomes(_fit_or_partial_fit)
    assert failed[0].text == failed[1].text
    assert failed[0].text == (
        "calls must be the same on all processes of the group; process 0 has fit from epoch 0, process 1 has "
        "partial_fit from epoch 0."
    )


def _fit_or_partial_fit(rank):
    own, classifier = SHARDS["unequal"][rank], ImbalancedNetClassifier(MLP)
    return classifier.partial_fit(X[own], y[own], classes=[0, 1]) if rank else classifier.fit(X[own], y[own])


def test_what_says_nothing_of_the_fit_may_differ(two):
    assert two.run(_fit_with, [{"random_state": 1, "callbacks": [Watcher()]}, {"random_state": None}]) == [5, 5]


class Watcher(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("watched", 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((X, X.astype(np.float32)), "the dtypes of X must be the same"),
        ((X, X[:, :4]), "the shapes of the rows of X must be the same"),
        ((X, pd.DataFrame(X)), "the kinds of X must be the same"),
        ((pd.DataFrame(X, columns=list("abcde")), pd.DataFrame(X, columns=list("abcdf"))), "names of the columns"),
    ],
    ids=["dtypes", "shapes", "kinds", "names"],
)
def test_other_columns_raise_the_same_error_on_all(two, data, words):
    failed = two.outcomes(_fit_data, data, (y, y))
    assert failed[0].text == failed[1].text
    assert failed[0].kind == "ValueError"
    assert words in failed[0].text


def _fit_data(rank, data, labels, sample_weight=(None, None), module=MLP):
    own = SHARDS["every second row"][rank]
    part = data[rank].iloc[own] if hasattr(data[rank], "iloc") else data[rank][own]
    weights = None if sample_weight[rank] is None else sample_weight[rank][own]
    return ImbalancedNetClassifier(module, max_epochs=1).fit(part, labels[rank][own], weights).n_iter_


def test_columns_of_other_kinds_raise_the_same_error_on_all(two):
    tables = [pd.DataFrame({"a": X[:, 0], "b": values}) for values in (X[:, 1], np.where(y, "u", "v"))]
    failed = two.outcomes(_fit_data, tables, (y, y), (None, None), None)
    assert failed[0].text == failed[1].text
    assert "'b' holds ['category', 'number']" in failed[0].text


def test_labels_of_other_kinds_and_sample_weights_of_some_raise_the_same_error_on_all(two):
    failed = two.outcomes(_fit_data, (X, X), (y, y.astype(str)))
    assert failed[0].text == failed[1].text
    assert "the kinds of labels in y must be the same" in failed[0].text
    failed = two.outcomes(_fit_data, (X, X), (y, y), (None, np.ones(600)))
    assert "sample weights must be the same on all processes" in failed[0].text


def test_the_same_rows_on_two_processes_warn_on_both(two):
    for failed in two.outcomes(_fit_the_same_rows):
        assert failed.kind == "UserWarning"
        assert "processes 0 and 1 of the group begin with the same rows" in failed.text
        assert "X[1::2]" in failed.text


def _fit_the_same_rows(rank):
    ImbalancedNetClassifier(**PLAIN).fit(X, y)


class Fails(Callback):
    """Fail after some epochs, in one process."""

    def __init__(self, rank, error):
        self.rank, self.error = rank, error

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2 and distributed.get_rank() == self.rank:
            raise self.error


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("module", [MLP, None], ids=["MLP", "default"])
def test_a_process_that_raises_ends_the_others_with_its_reason_and_the_next_fit_works(two, rank, module):
    callbacks = [Fails(rank, ArithmeticError("too much"))]
    parameters = {**PLAIN, "module": module, "callbacks": callbacks, "max_epochs": 50, "early_stopping": "auto"}
    began = time.monotonic()
    failed = two.outcomes(_fit_with, [parameters, parameters])
    assert time.monotonic() - began < 30  # not the group's timeout
    assert failed[rank].kind == "ArithmeticError"
    assert failed[1 - rank].kind == "RuntimeError"
    assert f"because process {rank} of 2 raised ArithmeticError: too much" in failed[1 - rank].text
    assert two.run(_fit_with, [{}, {}]) == [5, 5]


def test_bad_data_on_one_process_end_the_others_with_the_reason(two):
    bad = X.copy()
    bad[1, 0] = np.inf
    failed = two.outcomes(_fit_data, (X, bad), (y, y))
    assert failed[1].kind == "ValueError"
    assert "because process 1 of 2 raised ValueError: Input X contains infinity" in failed[0].text


def test_a_module_that_is_ready_begins_with_the_weights_of_the_first_process(two):
    found = two.run(_fit_ready_module)
    assert found[0] == found[1]


def _fit_ready_module(rank):
    torch.manual_seed(rank)
    return seen(fitted(rank, "unequal", {**PLAIN, "module": torch.nn.Linear(5, 2)}))["weights"]


@pytest.mark.parametrize(
    "parameters",
    [({"train_split": None}, {"train_split": (X[:9], y[:9])}), ({"callbacks": None}, {"callbacks": "disable"})],
    ids=["train_split", "callbacks"],
)
def test_rows_set_aside_by_some_processes_only_raise_the_same_error_on_all(two, parameters):
    failed = two.outcomes(_fit_with, parameters)
    assert failed[0].text == failed[1].text
    assert "must fit with the same parameters: " in failed[0].text


@pytest.mark.parametrize("module", [MLP, None], ids=["MLP", "default"])
def test_an_invalid_parameter_raises_on_all(two, module):
    failed = two.outcomes(_fit_with, [{"module": module, "lr": -1.0}] * 2)
    assert [one.kind for one in failed] == ["ValueError", "ValueError"]


def test_worker_processes_of_joblib_are_refused(monkeypatch):
    """Each would fit the rows of the one process that has started it."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    get_reusable_executor().shutdown(wait=True)  # those that there are were started without that
    search = GridSearchCV(ImbalancedNetClassifier(**PLAIN), {"lr": [0.1]}, cv=2, n_jobs=2, error_score="raise")
    with pytest.raises(RuntimeError, match=r"this is a worker process of joblib .* Set n_jobs=1"):
        search.fit(X[:100], y[:100])
    get_reusable_executor().shutdown(wait=True)


class DrawsApart(Callback):
    def on_epoch_end(self, net, **kwargs):
        with torch.no_grad():
            next(net.module_.parameters()).add_(distributed.get_rank())


def test_nets_that_end_otherwise_raise_the_same_error_on_all(two):
    parameters = {"callbacks": [DrawsApart()], "max_epochs": 1}
    failed = two.outcomes(_fit_with, [parameters, parameters])
    assert failed[0].text == failed[1].text
    assert "have ended with other nets" in failed[0].text


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"iterator_train__sampler": torch.utils.data.SequentialSampler(range(3))}, "iterator_train, and a sampler"),
        ({"device": None}, "device=None, which leaves batches to accelerate"),
    ],
    ids=["sampler", "accelerate"],
)
def test_what_does_not_work_in_a_group_says_what_to_do(two, parameters, words, tmp_path, monkeypatch):
    failed = two.outcomes(_fit_with, [parameters, parameters])
    assert failed[0].text == failed[1].text
    assert words in failed[0].text


def test_a_device_that_the_group_does_not_serve_is_named(two):
    failed = two.outcomes(_fit_with, [{"device": "mps"}, {"device": "mps"}])
    assert failed[0].text == failed[1].text
    assert "none for ['mps']" in failed[0].text


def test_threads_of_a_process_fit_one_after_the_other(two):
    assert two.run(_fit_in_two_threads) == [True, True]


def _fit_in_two_threads(rank):
    """Fit in a thread, as Ray's workers do, and begin another fit meanwhile."""
    caught = []

    def fit_again():
        try:
            fitted(rank, "unequal", PLAIN)
        except RuntimeError as error:
            caught.append(str(error))

    class Begins(Callback):
        def on_epoch_end(self, net, **kwargs):
            thread = threading.Thread(target=fit_again)
            thread.start()
            thread.join()

    own = SHARDS["unequal"][rank]
    fit = ImbalancedNetClassifier(**PLAIN | {"max_epochs": 1, "callbacks": [Begins()]}).fit
    thread = threading.Thread(target=fit, args=(X[own], y[own]))
    thread.start()
    thread.join()
    return len(caught) == 1 and "must come one after the other" in caught[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_can_not_speak_for_the_group(two):
    assert two.run(_fit_in_a_fork) == [b"refused", b"refused"]


def _fit_in_a_fork(rank):
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forks of processes with threads
        child = os.fork()
    if child == 0:
        try:
            fitted(rank, "unequal", PLAIN)
        except RuntimeError as error:
            os.write(writes, b"refused" if "was forked" in str(error) else b"other")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return os.read(reads, 10)


def test_a_grid_search_in_each_process_fits_the_same_candidates(two):
    found = two.run(_search)
    assert found[0] == found[1]


def _search(rank):
    own = SHARDS["every second row"][rank]
    search = GridSearchCV(
        ImbalancedNetClassifier(**PLAIN), {"class_weight": [None, "balanced"]}, cv=2, refit=False, error_score="raise"
    ).fit(X[own], y[own])
    return [candidate["class_weight"] for candidate in search.cv_results_["params"]]


class Stops(Callback):
    """End training at the end of the third epoch, on one process."""

    def __init__(self, rank):
        self.rank = rank

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3 and distributed.get_rank() == self.rank:
            raise KeyboardInterrupt


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    "parameters", [{"module": None, "early_stopping": "auto"}, {"early_stopping": True}, {}], ids=str
)
def test_a_callback_that_ends_training_on_one_process_ends_it_on_all(two, parameters, rank):
    parameters = {**PLAIN, **parameters, "max_epochs": 8, "callbacks": [Stops(rank)]}
    found = two.run(fit_and_see, "unequal", parameters)
    assert found[0][0] == found[1][0]
    assert found[0][0]["epochs"][0] <= 3


# Going on


def go_on(rank, module):
    own = SHARDS["unequal"][rank]
    classifier = ImbalancedNetClassifier(module, max_epochs=2, warm_start=True, random_state=0, early_stopping=False)
    first = seen(classifier.fit(X[own], y[own]))
    return first, seen(classifier.fit(X[own], y[own]))


@pytest.mark.parametrize("module", [MLP, None], ids=["MLP", "default"])
def test_warm_start_goes_on_on_all(two, module):
    found = two.run(go_on, module)
    assert found[0] == found[1]
    assert [part["epochs"][0] for part in found[0]] == [2, 4]


def chunks(rank, module):
    classifier = ImbalancedNetClassifier(module, class_weight="balanced", random_state=0)
    for start in (0, 300):
        own = slice(start, start + 100) if rank == 0 else slice(start + 100, start + 300)
        classifier.partial_fit(X[own], y[own], classes=[0, 1])
    return seen(classifier)


@pytest.mark.parametrize("module", [MLP, None], ids=["MLP", "default"])
def test_partial_fit_counts_the_chunks_of_all(two, module):
    found = two.run(chunks, module)
    assert found[0] == found[1]
    assert found[0]["priors"][0] == np.bincount(y).tolist()


# More than two

SHARDS["three"] = [np.arange(37), np.arange(37, 400), np.arange(400, 600)]


def test_three_processes_are_one_fit_too():
    processes = Processes(3)
    parameters = {**PLAIN, "class_weight": "balanced", "batch_size": -1, "optimizer": torch.optim.SGD, "lr": 0.5}
    found = processes.run(fit_and_see, "three", parameters)
    alone = ImbalancedNetClassifier(**parameters).fit(X, y)
    assert found[0][0] == found[1][0] == found[2][0]
    np.testing.assert_allclose(found[0][1], alone.predict_proba(X), rtol=0, atol=1e-10)
    for remedy in ({"module": Normed, "sampling": "under"}, {"module": None, "early_stopping": "auto"}):
        found = processes.run(fit_and_see, "three", {**PLAIN, **remedy})
        assert found[0][0] == found[1][0] == found[2][0]
    processes.close()


# Processes that do not come; tests/test_group_checkpoint.py has those that die


def _only_the_first_fits(rank):
    return fitted(rank, "unequal", PLAIN).n_iter_ if rank == 0 else None


def test_a_process_that_does_not_come_ends_the_others_within_the_timeout():
    processes = Processes(timeout=8)
    began = time.monotonic()
    failed = processes.outcomes(_only_the_first_fits)[0]
    assert isinstance(failed, RaisedError)
    assert time.monotonic() - began < 50
    processes.close()


# Alone


def test_outside_a_group_no_message_is_passed(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("torch.distributed was asked")

    for name in ("new_group", "all_reduce", "all_gather_object", "broadcast"):
        monkeypatch.setattr(distributed, name, fail)
    ImbalancedNetClassifier(**PLAIN).fit(X, y)
    ImbalancedNetClassifier(max_epochs=1).fit(X, y)
