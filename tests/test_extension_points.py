"""Strategies, schedules, losses and weighting schemes of others, from public names alone: in about ten lines each."""

import ast
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from imbalanced_torch import (
    MLP,
    Cycle,
    Draws,
    ImbalancedNetClassifier,
    Passes,
    RowLoss,
    RowsByClass,
    RowStream,
    SamplingStrategy,
    Schedule,
)


@dataclass(repr=False)
class RaisedTo(SamplingStrategy):
    """Give every class at least so many rows in an epoch."""

    least: int = 20

    def stream(self, rows, batch_size):
        return Passes(np.maximum(rows.counts, self.least), rows)


@dataclass(repr=False)
class RareShare(SamplingStrategy):
    """Draw the rarest class with a probability, and the others as often as they come."""

    share: float = 0.3

    def stream(self, rows, batch_size):
        rarest = np.arange(len(rows.counts)) == rows.counts.argmin()
        others = np.where(rarest, 0, rows.counts)
        return Draws(np.where(rarest, self.share, (1 - self.share) * others / others.sum()), rows)


class InPairs(RowStream):
    """Rows of the first and of the last class by turns, an even number in a batch."""

    def __init__(self, rows, batch_size):
        self.cycles = [Cycle(rows.of(0), rows.generator), Cycle(rows.of(len(rows.counts) - 1), rows.generator)]
        self.length = 2 * int(rows.counts[0])
        self.shares = np.eye(len(rows.counts))[[0, -1]].mean(axis=0)
        self.batch_size = batch_size // 2 * 2

    def take(self, n):
        pairs = torch.stack([cycle.take(n // 2) for cycle in self.cycles], dim=1)
        return pairs.flatten().long()  # of any ints


class Pairs(SamplingStrategy):
    """Every row of the first class with one of the last."""

    def stream(self, rows, batch_size):
        return InPairs(rows, batch_size)


@dataclass(repr=False)
class Every(Schedule):
    """Let the remedies act in every so manieth epoch."""

    period: int = 2

    def strength(self, epoch, n_epochs):
        return float(epoch % self.period == self.period - 1)


class Scaled(RowLoss):
    """Cross-entropy of logits at a temperature."""

    def __init__(self, temperature=1.0, reduction="mean"):
        super().__init__(reduction=reduction)
        self.temperature = temperature

    def row_losses(self, logits, codes):
        return -self.scores(logits).gather(1, codes[:, None])[:, 0]

    def scores(self, logits):
        return torch.log_softmax(logits / self.temperature, dim=1)


class Adjusted(RowLoss):
    """Cross-entropy with half of the log counts added to the logits; the probabilities keep them."""

    def row_losses(self, logits, codes):
        return -torch.log_softmax(self.scores(logits), dim=1).gather(1, codes[:, None])[:, 0]

    def scores(self, logits):
        return logits + 0.5 * torch.log(self.class_counts.to(logits))


@dataclass
class Power:
    """Weights proportional to n_c^-power."""

    power: float = 0.5

    def __call__(self, counts):
        return counts**-self.power


def net(**kwargs):
    return ImbalancedNetClassifier(**{"module": MLP, "max_epochs": 4, "lr": 0.01, "random_state": 0, **kwargs})


def counts_of(y):
    return np.unique(y, return_counts=True)[1]


def assert_is_a_parameter(estimator, data, text):
    """Clones, shows, pickles and repeats itself."""
    copied = clone(estimator)
    assert text in repr(copied)
    first, second = estimator.fit(*data), copied.fit(*data)
    np.testing.assert_array_equal(first.predict_proba(data[0]), second.predict_proba(data[0]))
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict_proba(data[0]), first.predict_proba(data[0]))


def searched(estimator, name, values, data):
    """Return the values of a parameter that a grid search has fitted, after it has refitted one of them."""
    search = GridSearchCV(estimator, {name: values}, cv=2, error_score="raise").fit(*data)
    assert search.best_estimator_.get_params()[name] == search.best_params_[name]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    return [params[name] for params in search.cv_results_["params"]]


@pytest.mark.parametrize(
    ("strategy", "text", "name", "values"),
    [
        (RaisedTo(least=80), "sampling=RaisedTo(least=80)", "sampling__least", [40, 90]),
        (RareShare(0.5), "sampling=RareShare(share=0.5)", "sampling__share", [0.2, 0.4]),
        (Pairs(), "sampling=Pairs()", "sampling", [Pairs(), RaisedTo()]),
    ],
)
def test_a_sampling_strategy_of_others_is_a_hyperparameter(three_classes, strategy, text, name, values):
    assert_is_a_parameter(net(sampling=strategy), three_classes, text)
    assert searched(net(sampling=strategy), name, values, three_classes) == values


def test_the_shares_of_a_strategy_of_others_are_those_of_the_priors(three_classes):
    counts = counts_of(three_classes[1])
    raised = np.maximum(counts, 80)
    for strategy, expected in [
        (RaisedTo(80), raised / raised.sum()),
        (RareShare(0.5), np.r_[0.5, 0.5 * counts[1:] / counts[1:].sum()]),
        (Pairs(), [0.5, 0.0, 0.5]),
    ]:
        fitted = net(sampling=strategy).fit(*three_classes)
        np.testing.assert_allclose(fitted.sampled_prior_, expected)
        np.testing.assert_allclose(fitted.effective_prior_, expected)
        np.testing.assert_allclose(fitted.class_prior_, counts / 300)


@pytest.mark.parametrize("schedule", [None, "progressive", Every()], ids=["always", "progressive", "own"])
def test_a_net_sees_the_rows_of_a_strategy_of_others(three_classes, schedule):
    seen = []

    class Watched(torch.nn.Linear):
        def forward(self, X):
            if self.training:
                seen.append(X[:, 0].tolist())
            return super().forward(X)

    X, y = three_classes
    fitted = net(module=Watched(5, 3), sampling=Pairs(), schedule=schedule, max_epochs=2).fit(X, y)
    label = dict(zip(X[:, 0].tolist(), y, strict=True))
    n_batches = len(fitted.history_[-1, "batches"])
    for batch in seen[-n_batches:]:
        labels = [label[value] for value in batch]
        assert labels[::2] == ["fail"] * (len(batch) // 2)
        assert labels[1::2] == ["warn"] * (len(batch) // 2)


def test_rows_by_class_tell_a_strategy_what_there_is():
    rows = RowsByClass(np.array([1, 0, 1, 2, 1]), 3, torch.Generator().manual_seed(0))
    assert len(rows) == 5
    assert rows.counts.tolist() == [1, 3, 1]
    assert [rows.of(code).tolist() for code in range(3)] == [[1], [0, 2, 4], [3]]


def test_a_schedule_of_others_is_a_hyperparameter(data):
    estimator = net(class_weight="balanced", schedule=Every(3), max_epochs=6)
    assert_is_a_parameter(estimator, data, "schedule=Every(period=3)")
    assert estimator.history_[:, "remedy_strength"] == [0, 0, 1, 0, 0, 1]
    np.testing.assert_allclose(estimator.effective_prior_, 0.5)
    assert searched(estimator, "schedule__period", [2, 3], data) == [2, 3]


def test_after_a_schedule_of_others_the_prior_is_that_of_its_last_epoch(data):
    fitted = net(class_weight="balanced", schedule=Every(3), max_epochs=5).fit(*data)
    np.testing.assert_allclose(fitted.effective_prior_, fitted.class_prior_)


@pytest.mark.parametrize("labels", [2, 3])
def test_a_loss_of_others_is_a_hyperparameter(data, three_classes, labels):
    data = data if labels == 2 else three_classes
    estimator = net(criterion=Scaled, criterion__temperature=2.0, class_weight="balanced")
    assert_is_a_parameter(estimator, data, "criterion__temperature=2.0")
    proba = estimator.predict_proba(data[0])
    scores = estimator.decision_function(data[0]) / 2
    scores = np.c_[np.zeros(300), scores] if labels == 2 else scores
    np.testing.assert_allclose(proba, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(estimator.effective_prior_, 1 / labels)
    assert searched(estimator, "criterion__temperature", [0.5, 2.0], data) == [0.5, 2.0]


@pytest.mark.parametrize("sampling", [None, RaisedTo(80)], ids=["as they are", "sampled"])
def test_a_loss_of_others_is_given_the_rows_of_each_class_that_are_sampled(three_classes, sampling):
    fitted = net(criterion=Adjusted, sampling=sampling).fit(*three_classes)
    counts = counts_of(three_classes[1])
    sampled = counts if sampling is None else np.maximum(counts, 80)
    held = fitted.net_.criterion_.criterion.class_counts.numpy()
    np.testing.assert_allclose(held, 300 * sampled / sampled.sum())  # as many in all as there are
    odds = np.exp(fitted.decision_function(three_classes[0])) * np.sqrt(held)
    np.testing.assert_allclose(fitted.predict_proba(three_classes[0]), odds / odds.sum(axis=1, keepdims=True))


def test_a_weighting_scheme_of_others_is_a_hyperparameter(three_classes):
    estimator = net(class_weight=Power(0.5))
    assert_is_a_parameter(estimator, three_classes, "class_weight=Power(power=0.5)")
    values = [Power(0.25), Power(1.0)]
    assert searched(estimator, "class_weight", values, three_classes) == values


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_weights_of_a_scheme_of_others_have_mean_1_over_the_rows(three_classes, power):
    prior = counts_of(three_classes[1]) / 300
    fitted = net(class_weight=Power(power)).fit(*three_classes)
    np.testing.assert_allclose(fitted.class_weight_, prior**-power / (prior ** (1 - power)).sum())
    np.testing.assert_allclose(fitted.effective_prior_, prior ** (1 - power) / (prior ** (1 - power)).sum())


def test_public_names_are_all_that_these_use():
    tree = ast.parse(Path(__file__).read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [module for module in modules if module.startswith("imbalanced_torch")] == ["imbalanced_torch"]
