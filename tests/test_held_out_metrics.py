"""Scores of held-out rows after each epoch: those that scikit-learn would find, recorded, and stopped on."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score, balanced_accuracy_score, fbeta_score, make_scorer, recall_score
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from imbalanced_torch import MLP, ImbalancedNetClassifier

NAMES = ("valid_balanced_accuracy", "valid_average_precision", "valid_recall_fraud", "valid_recall_ok")


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(900, n_informative=5, weights=[0.85], flip_y=0.05, random_state=0)
    return X.astype(np.float32), np.where(y == 1, "fraud", "ok")


def net(module=MLP, **kwargs):
    return ImbalancedNetClassifier(module, **{"max_epochs": 6, "lr": 0.01, "random_state": 0, **kwargs})


@pytest.mark.parametrize("module", [MLP, None], ids=["MLP", "default"])
@pytest.mark.parametrize("remedy", [{}, {"class_weight": "balanced"}], ids=str)
def test_scores_of_each_epoch_are_those_of_the_net_as_it_was(data, module, remedy):
    """The same seed stopped after k epochs, without a choice of the best, predicts as the k-th epoch scored."""
    X, y = data
    new, labels = X[600:], y[600:]
    fits = [
        net(module, max_epochs=k, n_iter_no_change=100, train_split=(new, labels), scoring="imbalance", **remedy)
        for k in (1, 3)
    ]
    for fitted in fits:
        fitted.fit(X[:600], y[:600])
        if module is None:  # of which each kind of nets keeps an epoch of its own
            continue
        last = fitted.history_[fitted.best_epoch_ - 1]
        proba = fitted.set_params(prior_correction=True).predict_proba(new)[:, 0]
        assert last["valid_average_precision"] == pytest.approx(average_precision_score(labels == "fraud", proba))
        chosen = fitted.predict(new)
        assert last["valid_balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, chosen))
        for label in ("fraud", "ok"):
            recall = recall_score(labels, chosen, pos_label=label)
            assert last[f"valid_recall_{label}"] == pytest.approx(recall)
    every = fits[1].history_[:, NAMES]
    assert np.isfinite(every).all()
    np.testing.assert_allclose(every[0], fits[0].history_[0, NAMES], rtol=1e-6)


def test_out_of_fold_scores_of_the_default_net_are_those_of_its_probabilities(data):
    """But for the epoch of each kind of nets and their blend, which are settled at the end."""
    X, y = data
    fitted = net(None, max_epochs=8, scoring="average_precision", lr=None).fit(X, y)
    found = average_precision_score(y == "fraud", fitted.oof_proba_[:, 0])
    assert fitted.best_epoch_ > 0
    assert fitted.history_[fitted.best_epoch_ - 1, "valid_average_precision"] == pytest.approx(found, abs=0.05)
    assert found > 0.4


@pytest.mark.parametrize(
    ("scoring", "names"),
    [
        ("recall_macro", ["recall_macro"]),
        (["f1", "matthews_corrcoef"], ["f1", "matthews_corrcoef"]),
        ({"F2": make_scorer(fbeta_score, beta=2)}, ["F2"]),
        (make_scorer(fbeta_score, beta=2), ["fbeta_score"]),
        (lambda estimator, X, y: (estimator.predict(X) == y).mean(), ["<lambda>"]),
        (("imbalance", "neg_log_loss"), ["balanced_accuracy", "recall_ok", "neg_log_loss"]),
    ],
    ids=["name", "names", "dict", "scorer", "function", "imbalance"],
)
def test_scoring_takes_what_scikit_learn_takes(data, scoring, names):
    fitted = net(early_stopping=True, scoring=scoring, max_epochs=2).fit(*data)
    for name in names:
        assert np.isfinite(fitted.history_[:, f"valid_{name}"]).all()


def test_the_rarest_class_is_positive(data):
    X, y = data
    fitted = net(max_epochs=2, train_split=(X[600:], y[600:]), scoring="recall", n_iter_no_change=9).fit(
        X[:600], y[:600]
    )
    expected = recall_score(y[600:], fitted.predict(X[600:]), pos_label="fraud")
    assert fitted.history_[fitted.best_epoch_ - 1, "valid_recall"] == pytest.approx(expected)
    assert expected != recall_score(y[600:], fitted.predict(X[600:]), pos_label="ok")


@pytest.mark.parametrize("module", [MLP, None], ids=["MLP", "default"])
@pytest.mark.parametrize("score", ["average_precision", "recall", make_scorer(fbeta_score, beta=2)], ids=str)
def test_training_stops_on_a_score_and_keeps_its_best_epoch(data, module, score):
    fitted = net(module, early_stopping=score, max_epochs=12, n_iter_no_change=3).fit(*data)
    name = "valid_fbeta_score" if callable(score) else f"valid_{score}"
    found = fitted.history_[:, name]
    assert np.isfinite(found).all()
    if module is MLP:
        assert fitted.best_epoch_ == 1 + int(np.argmax(found))
        assert len(found) == min(12, next((i + 4 for i in range(len(found)) if i == np.argmax(found)), 12))
    else:
        assert 0 <= fitted.best_epoch_ <= len(found)


def test_the_default_net_keeps_weights_by_the_score_of_each_kind_of_nets(data):
    """What is best for recall alone is an early epoch of many positives; for the log loss it is a later one."""
    by_loss = net(None, class_weight="balanced", max_epochs=20).fit(*data)
    by_recall = net(None, class_weight="balanced", max_epochs=20, early_stopping="recall").fit(*data)
    assert by_loss.best_epoch_ != by_recall.best_epoch_
    differ = by_loss.predict_proba(data[0]) != by_recall.predict_proba(data[0])
    assert differ.any()


def test_a_score_that_is_not_defined_stops_training_with_its_name(data):
    with pytest.raises(ValueError, match="must give finite scores of held-out rows; it gives"):
        net(early_stopping=lambda estimator, X, y: np.nan).fit(*data)


def test_scores_take_the_weights_of_rows(data):
    X, y = data
    weights = np.where(np.arange(900) % 2, 3.0, 0.5)
    heavy, plain = (
        net(early_stopping=True, max_epochs=2, scoring="balanced_accuracy").fit(X, y, sample_weight=w)
        for w in (weights, None)
    )
    assert heavy.history_[0, "valid_balanced_accuracy"] != plain.history_[0, "valid_balanced_accuracy"]


def test_no_row_is_predicted_again_for_a_score(data):
    """The module sees as many rows with scores as without."""

    class Counting(torch.nn.Module):
        seen = 0

        def __init__(self, n_features):
            super().__init__()
            self.layer = torch.nn.Linear(n_features, 1)

        def forward(self, X):
            Counting.seen += len(X)
            return self.layer(X)

    counts = []
    for scoring in (None, "imbalance"):
        Counting.seen = 0
        net(Counting, early_stopping=True, max_epochs=3, scoring=scoring).fit(*data)
        counts.append(Counting.seen)
    assert counts[0] == counts[1]


def test_without_held_out_rows_scores_are_nan(data):
    fitted = net(early_stopping=False, scoring="balanced_accuracy", max_epochs=2).fit(*data)
    assert np.isnan(fitted.history_[:, "valid_balanced_accuracy"]).all()


@pytest.mark.parametrize("module", [MLP, None], ids=["MLP", "default"])
def test_rows_to_hold_out_are_given_as_a_pair(data, module):
    X, y = data
    rows = (X[600:], y[600:])
    pair = net(module, train_split=rows, max_epochs=3).fit(X[:600], y[:600])
    split = predefined_split(Dataset(*rows))
    same = net(module, train_split=split, max_epochs=3).fit(X[:600], y[:600])
    np.testing.assert_array_equal(pair.predict_proba(X), same.predict_proba(X))
    assert len(pair.held_out_predictions()[0]) == 300


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"scoring": "average_precison"}, ValueError, "it is 'average_precison'. Did you mean 'average_precision'"),
        ({"scoring": 3}, TypeError, "scoring must be scorers of scikit-learn, by name or from make_scorer; it is 3"),
        ({"scoring": {1: "f1"}}, TypeError, "scoring as a dict must have names as keys; it has 1"),
        ({"early_stopping": "average_precison"}, ValueError, "Did you mean 'average_precision'"),
        ({"early_stopping": 3}, TypeError, "early_stopping must be True, False"),
        ({"train_split": (1, 2, 3)}, TypeError, "train_split must be None, a tuple"),
        ({"train_split": (np.zeros((3, 4)), ["ok"] * 3)}, ValueError, "X has 4 features"),
        ({"train_split": (np.zeros((3, 20)), ["bad"] * 3)}, ValueError, "bad"),
    ],
    ids=str,
)
def test_wrong_values_say_what_must_hold_and_what_came(data, parameters, error, message):
    with pytest.raises(error, match=message):
        net(**parameters).fit(*data)


def test_partial_fit_refuses_to_stop_on_a_score(data):
    with pytest.raises(ValueError, match="partial_fit can't stop early"):
        net(early_stopping="average_precision").partial_fit(*data, classes=["fraud", "ok"])
