"""Probabilities at a prior and decisions apart from training: formulas, Bayes posteriors, errors word for word."""

import copy
import gc
import itertools
import math
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    RocCurveDisplay,
    balanced_accuracy_score,
    get_scorer,
    roc_auc_score,
)
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from skorch.callbacks import EpochScoring, LRScheduler
from tolerances import assert_close_to_rounding
from torch import nn

from imbalanced_torch import (
    MLP,
    CombinedRemedyWarning,
    ImbalancedNetClassifier,
    TemperedSampling,
    UncorrectedDecisionWarning,
    UnderSampling,
    _fitted_classifier,
    estimate_prior,
)
from imbalanced_torch._losses.weighted import resolve_criterion
from imbalanced_torch._prediction.prediction import _REMEMBERED, raw_scores, resolve_prediction
from imbalanced_torch._prediction.prior import correct_prior, resolve_prior_correction

REMEDIES = [
    {},
    {"class_weight": "balanced"},
    {"class_weight": "sqrt"},
    {"class_weight": {1: 3}},
    {"sampling": "weighted"},
    {"sampling": "over"},
    {"sampling": "under"},
    {"sampling": "batch"},
    {"sampling": "over", "class_weight": "balanced"},
    {"sampling": TemperedSampling(0.5), "class_weight": {1: 3}},
]
#: Losses, with their exact way back to probabilities.
LOSSES = [
    {"criterion": "focal", "class_weight": "balanced"},
    {"criterion": "logit_adjusted"},
    {"criterion": "logit_adjusted", "sampling": "over", "class_weight": {1: 2}},
    {"criterion": "ldam", "class_weight": "balanced"},
    {"criterion": "vs"},
    {"criterion": "asymmetric", "criterion__gamma_negative": 2.0},
    {"criterion": "label_smoothing", "class_weight": "balanced"},
]
#: Those that make all classes equally frequent.
FULL = [{"class_weight": "balanced"}, *REMEDIES[4:9]]


def net(*args, **kwargs):
    return ImbalancedNetClassifier(*(args or [MLP]), **{"max_epochs": 5, "lr": 0.01, "random_state": 0, **kwargs})


# Against the Bayes posterior of Gaussian mixtures: linear where covariances are equal, else not

MEANS = np.array([[0.0, 0.0, 0.0], [1.2, -0.8, 0.5], [-1.0, 0.8, 1.0]])
SPREADS = np.array([[1.0, 1.0, 1.0], [0.6, 1.5, 1.0], [1.4, 0.7, 0.8]])
PRIORS = {2: np.array([0.95, 0.05]), 3: np.array([0.8, 0.15, 0.05])}


def mixture(n_classes, linear, seed, n=20_000, prior=None):
    """Return rows, codes, and the posterior at the prior of the training."""
    rng = np.random.default_rng(seed)
    means, spreads = MEANS[:n_classes], np.ones((n_classes, 3)) if linear else SPREADS[:n_classes]
    y = rng.choice(n_classes, n, p=PRIORS[n_classes] if prior is None else prior)
    X = means[y] + spreads[y] * rng.standard_normal((n, 3))
    log_density = -(((X[:, None] - means) / spreads) ** 2).sum(2) / 2 - np.log(spreads).sum(1)
    joint = np.exp(log_density) * PRIORS[n_classes]
    return X.astype(np.float32), y, joint / joint.sum(1, keepdims=True)


def converged(linear, seed, **remedy):
    epochs = 8 if linear else 12
    module = nn.Linear if linear else MLP
    shape = {"lr": 0.05} if linear else {"module__hidden_sizes": (32,), "lr": 0.02}
    if not linear:
        shape["module__activation"] = nn.Tanh
    decay = LRScheduler(torch.optim.lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.02, total_iters=epochs - 1)
    return ImbalancedNetClassifier(
        module,
        **shape,
        batch_size=128 if linear else 256,
        max_epochs=epochs,
        epoch_size=1.0,
        early_stopping=False,
        callbacks=[decay],
        random_state=seed,
        **remedy,
    )


@pytest.mark.filterwarnings("ignore::imbalanced_torch.CombinedRemedyWarning")
@pytest.mark.parametrize(
    ("n_classes", "linear", "tolerance", "remedy"),
    [
        *((n_classes, True, 0.01, remedy) for n_classes in (2, 3) for remedy in REMEDIES),
        # The logits of least loss of the other criteria are not linear in X. Three classes: the plain net's is .012.
        *((2, False, 0.015, remedy) for remedy in REMEDIES + LOSSES),
        *((3, False, 0.02, remedy) for remedy in REMEDIES + LOSSES),
    ],
)
def test_corrected_probabilities_are_the_bayes_posterior(n_classes, linear, tolerance, remedy):
    X, y, _ = mixture(n_classes, linear, seed=0)
    X_new, _, posterior = mixture(n_classes, linear, seed=100)
    fitted = converged(linear, seed=0, **remedy).fit(X, y)
    raw = np.abs(fitted.predict_proba(X_new) - posterior).mean()
    corrected = np.abs(fitted.set_params(prior_correction=True).predict_proba(X_new) - posterior).mean()
    assert corrected <= tolerance
    if remedy in FULL:
        assert raw > 0.2


# The formula


def test_the_correction_is_worked_by_hand():
    corrected = correct_prior(torch.log(torch.tensor([[0.5, 0.5]])), np.array([0.5, 0.5]), np.array([0.9, 0.1]))
    np.testing.assert_allclose(corrected.exp(), [[0.9, 0.1]], rtol=1e-6)
    corrected = correct_prior(
        torch.log(torch.tensor([[0.2, 0.3, 0.5]])), np.array([0.25, 0.25, 0.5]), np.array([0.5, 0.5, 0.0])
    )
    np.testing.assert_allclose(corrected.exp(), [[0.4, 0.6, 0.0]], rtol=1e-6)


def test_a_correction_and_its_inverse_give_the_same_probabilities_far_out():
    log_proba = torch.log_softmax(torch.tensor([[200.0, 0.0, -300.0], [0.1, 0.2, 0.3]], dtype=torch.float64), dim=1)
    one, other = np.array([0.98, 0.01, 0.01]), np.array([0.2, 0.3, 0.5])
    there_and_back = correct_prior(correct_prior(log_proba, one, other), other, one)
    np.testing.assert_allclose(there_and_back, log_proba, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore::imbalanced_torch.CombinedRemedyWarning")
@pytest.mark.parametrize("remedy", [*REMEDIES, {"sampling": UnderSampling(0.3)}, {"epoch_size": 0.3}])
def test_true_carries_probabilities_from_the_effective_prior_to_that_of_the_data(data, remedy):
    X, y = data
    fitted = net(**remedy).fit(X, y)
    raw = fitted.predict_proba(X)
    expected = raw * fitted.class_prior_ / fitted.effective_prior_
    corrected = fitted.set_params(prior_correction=True).predict_proba(X)
    np.testing.assert_allclose(corrected, expected / expected.sum(1, keepdims=True), rtol=1e-9)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), corrected)


@pytest.mark.parametrize("target", [{"no": 0.999, "yes": 0.001}, [0.999, 0.001], np.array([0.999, 0.001])])
def test_a_target_is_the_prior_where_the_model_will_work(data, target):
    X, y = data[0], np.array(["no", "yes"])[data[1]]
    fitted = net(class_weight="balanced").fit(X, y)
    odds = np.divide(*fitted.predict_proba(X).T)
    corrected = np.divide(*fitted.set_params(prior_correction=target).predict_proba(X).T)
    np.testing.assert_allclose(corrected, odds * 999, rtol=1e-9)


def test_sample_weight_describes_the_population_and_is_not_undone(data):
    X, y = data
    fitted = net().fit(X, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    raw = fitted.predict_proba(X)
    np.testing.assert_allclose(fitted.set_params(prior_correction=True).predict_proba(X), raw, rtol=1e-9)


def test_a_target_of_0_gives_probability_0(three_classes):
    X, y = three_classes
    fitted = net(prior_correction={"ok": 0.5, "warn": 0.5, "fail": 0.0}, decision="argmax").fit(X, y)
    proba = fitted.predict_proba(X)
    assert (proba[:, fitted.classes_ == "fail"] == 0).all()
    np.testing.assert_allclose(proba.sum(1), 1)
    assert "fail" not in fitted.predict(X)


def test_the_prior_of_a_class_that_a_fold_lacks_is_left_out():
    target = resolve_prior_correction({"a": 0.5, "b": 0.3, "c": 0.2}, np.ones(2) / 2, np.array(["a", "b"]))
    np.testing.assert_allclose(target, [0.625, 0.375])


def test_a_prior_works_in_partial_fit_before_every_class_has_come(data):
    X, y = data
    order = np.argsort(y)
    fitted = net(prior_correction=True, decision="balanced", class_weight="balanced")
    fitted.partial_fit(X[order[:100]], y[order[:100]], classes=[0, 1])
    assert fitted.predict_proba(X).tolist() == [[1, 0]] * 300
    assert set(fitted.predict(X)) == {0}
    fitted.partial_fit(X[order[100:]], y[order[100:]])
    assert fitted.predict_proba(X)[:, 1].min() > 0
    np.testing.assert_allclose(fitted.predict_proba(X).sum(1), 1)


def test_correction_takes_effect_without_a_refit_and_in_a_fit_alike(data):
    X, y = data
    after = net(class_weight="balanced").fit(X, y).set_params(prior_correction=True, decision="argmax")
    before = net(class_weight="balanced", prior_correction=True, decision="argmax").fit(X, y)
    np.testing.assert_array_equal(before.predict_proba(X), after.predict_proba(X))
    np.testing.assert_array_equal(before.predict(X), after.predict(X))
    np.testing.assert_array_equal(before.predict(X), pickle.loads(pickle.dumps(before)).predict(X))


# Decisions

DECISIONS = ["trained", "argmax", "balanced", 0.3, [[0, 1], [5, 0]]]


THREE_DECISIONS = ["trained", "argmax", "balanced", [[0, 1, 2], [3, 0, 4], [9, 5, 0]]]


@pytest.mark.parametrize("prior_correction", [False, True])
def test_trained_is_the_sign_of_the_decision_function_which_ranks_as_the_probabilities_do(data, prior_correction):
    X, y = data
    fitted = net(class_weight="balanced", prior_correction=prior_correction).fit(X, y)
    scores = fitted.decision_function(X)
    assert scores.shape == (300,)
    np.testing.assert_array_equal(fitted.predict(X), (scores > 0).astype(int))
    assert roc_auc_score(y, scores) == pytest.approx(roc_auc_score(y, fitted.predict_proba(X)[:, 1]))


def test_trained_is_the_greatest_score_of_three_classes(three_classes):
    X, y = three_classes
    fitted = net(sampling="batch", prior_correction=True).fit(X, y)
    scores = fitted.decision_function(X)
    assert scores.shape == (300, 3)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[scores.argmax(1)])


class TwoLogits(nn.Linear):
    """One logit for each of two classes."""

    def __init__(self, n_features):
        super().__init__(n_features, 2)


@pytest.mark.parametrize("module", [None, TwoLogits])
def test_the_decision_function_is_the_logit_of_the_second_class_less_that_of_the_first(data, module):
    fitted = net(module, class_weight="balanced", prior_correction=True, decision="argmax").fit(*data)
    logits = fitted.net_.forward(data[0]).numpy()
    logits = logits[:, 1] - logits[:, 0] if module else logits[:, 0]
    np.testing.assert_allclose(fitted.decision_function(data[0]), logits, rtol=1e-10)


@pytest.mark.filterwarnings("ignore::imbalanced_torch.UncorrectedDecisionWarning")
@pytest.mark.parametrize(
    ("n_classes", "decision"), [*((2, one) for one in DECISIONS), *((3, one) for one in THREE_DECISIONS)], ids=str
)
def test_a_decision_moves_predict_alone(data, three_classes, n_classes, decision):
    X, y = data if n_classes == 2 else three_classes
    fitted = net(class_weight="sqrt").fit(X, y)
    scores, proba, log_proba = fitted.decision_function(X), fitted.predict_proba(X), fitted.predict_log_proba(X)
    labels = fitted.predict(X)
    fitted.set_params(decision=decision)
    np.testing.assert_array_equal(fitted.decision_function(X), scores)
    np.testing.assert_array_equal(fitted.predict_proba(X), proba)
    np.testing.assert_array_equal(fitted.predict_log_proba(X), log_proba)
    moved = [fitted.predict(X), fitted.set_params(prior_correction=True).predict(X)]
    np.testing.assert_array_equal(fitted.decision_function(X), scores)
    assert (moved != labels).any() == (decision != "trained")


# What scikit-learn's own tools make of it: their rule is FixedThresholdClassifier, which moves predict alone


@pytest.mark.parametrize(("label", "threshold"), [(1, 0.1), (1, 0.6), (0, 0.9)])
def test_a_threshold_is_fixed_threshold_classifier_in_every_method(data, label, threshold):
    X, y = data
    plain = net().fit(X, y)
    theirs = FixedThresholdClassifier(FrozenEstimator(plain), threshold=threshold, pos_label=label).fit(X, y)
    ours = copy.deepcopy(plain).set_params(decision={label: threshold})
    for method in ("predict", "predict_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(ours, method)(X), getattr(theirs, method)(X))
    for name in ("roc_auc", "average_precision", "neg_log_loss", "neg_brier_score", "balanced_accuracy", "f1"):
        assert get_scorer(name)(ours, X, y) == get_scorer(name)(theirs, X, y)


def made_of(fitted, X, y):
    """Return what scikit-learn's meta-estimators make of a fitted classifier."""
    frozen = FrozenEstimator(fitted)
    stack = StackingClassifier([("net", frozen)], cv="prefit").fit(X, y)
    values = [CalibratedClassifierCV(frozen, method="sigmoid").fit(X, y).predict_proba(X), stack.transform(X)]
    if len(fitted.classes_) == 2:
        return [*values, TunedThresholdClassifierCV(frozen, cv="prefit", refit=False).fit(X, y).predict(X)]
    return [*values, VotingClassifier([("net", frozen)], voting="soft").fit(X, y).predict_proba(X)]


def shown_of(fitted, X, y):
    """Return what scikit-learn's displays show of it."""
    pytest.importorskip("matplotlib").use("Agg")
    grid = DecisionBoundaryDisplay.from_estimator(fitted, X, response_method="auto", grid_resolution=5).response
    if len(fitted.classes_) == 2:
        return [grid, RocCurveDisplay.from_estimator(fitted, X, y).roc_auc]
    if grid.ndim == 2:
        pytest.skip("scikit-learn 1.6 shows the labels of more than two classes")
    return [grid]


@pytest.mark.parametrize("look", [made_of, shown_of])
@pytest.mark.parametrize(("n_classes", "decision"), [(2, {1: 0.9}), (2, [[0, 1], [1, 90]]), (3, "balanced")], ids=str)
def test_meta_estimators_and_displays_see_the_same_under_every_decision(data, three_classes, n_classes, decision, look):
    X, y = data if n_classes == 2 else three_classes
    decision = [[0, 1], [90, 0]] if isinstance(decision, list) else decision
    fitted = net().fit(X[:, :2], y)
    before, labels = look(fitted, X[:, :2], y), fitted.predict(X[:, :2])
    fitted.set_params(decision=decision)
    for was, now in zip(before, look(fitted, X[:, :2], y), strict=True):
        np.testing.assert_array_equal(was, now)
    assert (fitted.predict(X[:, :2]) != labels).any()


def test_a_display_of_labels_shows_the_decision(data):
    pytest.importorskip("matplotlib").use("Agg")
    X, y = data[0][:, :2], data[1]
    fitted = net(decision=0.05).fit(X, y)
    shown = DecisionBoundaryDisplay.from_estimator(fitted, X, response_method="predict", grid_resolution=5)
    rows = np.c_[shown.xx0.ravel(), shown.xx1.ravel()]
    np.testing.assert_array_equal(shown.response.ravel(), fitted.predict(rows))


# What is resolved is remembered, as long as nothing changes


@pytest.fixture
def resolutions(monkeypatch):
    """The arguments of every resolution."""
    calls = []

    def resolve(*args):
        calls.append(args[:2])
        return resolve_prediction(*args)

    monkeypatch.setattr(_fitted_classifier, "resolve_prediction", resolve)
    return calls


COSTS = {"ok": {"warn": 1, "fail": 2}, "warn": {"ok": 3, "fail": 1}, "fail": {"ok": 9, "warn": 5}}


def test_parameters_are_resolved_once_for_any_number_of_predictions(three_classes, resolutions):
    X, y = three_classes
    fitted = net().fit(X, y)
    fitted.set_params(prior_correction={"ok": 0.2, "warn": 0.3, "fail": 0.5}, decision=COSTS)
    del resolutions[:]
    for _ in range(3):
        fitted.predict(X), fitted.predict_proba(X), fitted.predict_log_proba(X)
    assert not resolutions
    fitted.decision = "balanced"
    fitted.predict(X), fitted.predict(X)
    assert len(resolutions) == 1


def test_every_change_of_a_parameter_is_seen(three_classes):
    X, y = three_classes
    fitted = net().fit(X, y)
    prior, costs = {"ok": 0.2, "warn": 0.3, "fail": 0.5}, copy.deepcopy(COSTS)
    array, matrix = np.array([0.5, 0.3, 0.2]), np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])

    def afresh():
        return copy.deepcopy(fitted).predict(X).tolist(), copy.deepcopy(fitted).predict_proba(X).tolist()

    def change(action):
        action()
        assert (fitted.predict(X).tolist(), fitted.predict_proba(X).tolist()) == afresh()

    change(lambda: fitted.set_params(prior_correction=prior, decision=costs))
    change(lambda: prior.update(ok=0.6, fail=0.1))
    change(lambda: costs["ok"].update(warn=90))
    change(lambda: setattr(fitted, "prior_correction", array))
    change(lambda: array.__setitem__(slice(None), [0.1, 0.1, 0.8]))
    change(lambda: setattr(fitted, "decision", matrix))
    change(lambda: matrix.__setitem__((0, 1), 80.0))
    change(lambda: setattr(fitted, "decision", matrix.tolist()))
    change(lambda: fitted.decision[2].__setitem__(0, 70.0))
    change(lambda: fitted.set_params(class_weight="balanced").fit(X, y))
    change(lambda: fitted.set_params(early_stopping=False).partial_fit(X[:150], y[:150]))
    change(lambda: fitted.set_params(decision="balanced"))
    change(lambda: vars(fitted).update(decision="argmax"))


def test_a_change_that_makes_a_parameter_wrong_raises(three_classes):
    X, y = three_classes
    prior = {"ok": 0.2, "warn": 0.3, "fail": 0.5}
    fitted = net(prior_correction=prior).fit(X, y)
    fitted.predict(X)
    del prior["ok"]
    for _ in range(2):
        with pytest.raises(ValueError, match="it has none for"):
            fitted.predict(X)


def test_costs_of_many_classes_are_what_they_were_until_set_again(resolutions):
    classes = np.arange(120)
    rng = np.random.default_rng(0)
    fitted = net(max_epochs=1).fit(rng.normal(size=(240, 3)), np.r_[classes, classes])
    costs = {c: {k: 1.0 for k in range(120) if k != c} for c in range(120)}
    fitted.set_params(decision=costs).predict(np.zeros((1, 3)))
    del resolutions[:]
    fitted.predict(np.zeros((1, 3)))
    assert not resolutions
    costs[0][1] = 50.0
    fitted.set_params(decision=dict(costs)).predict(np.zeros((1, 3)))
    assert len(resolutions) == 1


def test_what_is_remembered_is_in_no_pickle_copy_or_attribute(three_classes):
    X, y = three_classes
    fitted = net(prior_correction=True, decision=copy.deepcopy(COSTS)).fit(X, y)
    fitted.decision_function(X)  # the module is in its mode of prediction
    names, state = set(vars(fitted)), pickle.dumps(fitted)
    labels = fitted.predict(X)
    assert set(vars(fitted)) == names
    assert pickle.dumps(fitted) == state
    other = copy.copy(fitted).set_params(decision="balanced")
    np.testing.assert_array_equal(pickle.loads(state).predict(X), labels)
    assert (other.predict(X) != labels).any()
    np.testing.assert_array_equal(fitted.predict(X), labels)


class Owned(dict):
    """A dict that can be watched."""


def test_what_is_remembered_dies_with_the_estimator(three_classes):
    X, y = three_classes
    costs = Owned(copy.deepcopy(COSTS))
    fitted = net(decision=costs).fit(X, y)
    fitted.predict(X)
    key, watched = id(fitted), weakref.ref(costs)
    assert key in _REMEMBERED
    del fitted, costs
    gc.collect()
    assert watched() is None
    assert key not in _REMEMBERED


def test_threads_predict_with_their_own_parameters(three_classes):
    X, y = three_classes
    fitted = net().fit(X, y)
    each = [copy.deepcopy(fitted).set_params(decision=decision) for decision in THREE_DECISIONS] * 3
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda one: [one.predict(X).tolist() for _ in range(5)], each))
    for one, labels in zip(each, found, strict=True):
        assert labels == [one.predict(X).tolist()] * 5


# Logits of any size


EXTREMES = [0.0, 1.0, -5.0, 90.0, -200.0, 1e30, -1e38]
TARGETS = {2: [None, [0.5, 0.5], [1e-12, 1 - 1e-12], [0.0, 1.0]], 3: [None, [0.2, 0.3, 0.5], [0.0, 0.5, 0.5]]}
#: Shape of a row of logits; those without a dimension are (n,).
ROWS = {(): 2, (1,): 2, (2,): 2, (3,): 3}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("row", "target"), [(row, target) for row, k in ROWS.items() for target in TARGETS[k]], ids=str
)
def test_finite_logits_have_finite_log_probabilities_and_a_label(row, target, dtype):
    n_classes = ROWS[row]
    largest = torch.finfo(dtype).max
    values = [*EXTREMES, largest, -largest, largest / 3, torch.finfo(dtype).tiny]
    logits = torch.tensor(list(itertools.product(values, repeat=math.prod(row))), dtype=dtype).reshape(-1, *row)
    criterion = resolve_criterion(None, n_classes, {})
    prior = np.full(n_classes, 1 / n_classes)
    classes = np.arange(n_classes)
    there = np.array(prior if target is None else target) > 0
    for decision in THREE_DECISIONS if n_classes == 3 else DECISIONS:
        prediction = resolve_prediction(target or False, decision, criterion, prior, prior, classes)
        log_proba, proba = prediction.log_proba(logits), prediction.proba(logits)
        assert log_proba.shape == proba.shape == (len(logits), n_classes)
        assert torch.isfinite(log_proba[:, there]).all()
        assert (log_proba[:, ~there] == -torch.inf).all()
        assert (log_proba <= 0).all()
        assert torch.allclose(proba, log_proba.exp(), atol=1e-6)
        assert torch.allclose(proba.sum(dim=1), torch.ones((), dtype=dtype), atol=1e-6)
        assert not prediction.scores(logits).isnan().any()
    assert torch.isfinite(raw_scores(logits)).all()
    assert torch.isfinite(prediction.corrected_to_data(criterion.log_proba(logits))).all()


def test_decisions_of_enormous_logits_are_those_of_the_greater():
    criterion, half = resolve_criterion(None, 2, {}), np.array([0.5, 0.5])
    logits = torch.tensor([[-3e38, 3e38], [3e38, -3e38], [3e38, 2.9e38]])
    for decision in DECISIONS:
        prediction = resolve_prediction(True, decision, criterion, half, half, np.arange(2))
        assert prediction.scores(logits).argmax(dim=1).tolist() == [1, 0, 0]


def test_trained_keeps_the_decision_of_the_training_and_argmax_follows_the_correction(data):
    X, y = data
    fitted = net(class_weight="balanced").fit(X, y)
    as_trained = fitted.predict(X)
    fitted.set_params(prior_correction=True)
    np.testing.assert_array_equal(fitted.predict(X), as_trained)
    fitted.set_params(decision="argmax")
    np.testing.assert_array_equal(fitted.predict(X), fitted.predict_proba(X).argmax(1))
    assert fitted.predict(X).sum() < as_trained.sum()


@pytest.mark.parametrize("remedy", [{}, {"class_weight": "sqrt"}, {"sampling": "over"}])
def test_balanced_divides_by_the_prior_whatever_the_probabilities_are_at(three_classes, remedy):
    X, y = three_classes
    fitted = net(**remedy, decision="balanced").fit(X, y)
    expected = fitted.classes_[(fitted.predict_proba(X) / fitted.effective_prior_).argmax(1)]
    for prior_correction in (False, True, [0.1, 0.2, 0.7]):
        np.testing.assert_array_equal(fitted.set_params(prior_correction=prior_correction).predict(X), expected)


def test_balanced_on_a_plain_net_is_as_good_as_a_reweighted_one():
    X, y, _ = mixture(2, False, seed=0)
    X_new, y_new, _ = mixture(2, False, seed=100)
    plain = converged(False, 0, decision="balanced").fit(X, y)
    weighted = converged(False, 0, class_weight="balanced").fit(X, y)
    scores = [balanced_accuracy_score(y_new, fitted.predict(X_new)) for fitted in (plain, weighted)]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
    trained = balanced_accuracy_score(y_new, plain.set_params(decision="trained").predict(X_new))
    assert trained < scores[0] - 0.1


def test_costs_minimise_the_expected_cost_of_the_corrected_probabilities(three_classes):
    X, y = three_classes
    costs = np.array([[0, 4, 1], [9, 0, 3], [1, 2, 0]])
    fitted = net(class_weight="balanced", prior_correction=True, decision=costs).fit(X, y)
    brute = (fitted.predict_proba(X) @ costs).argmin(1)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[brute])
    assert len(set(brute)) == 3


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.9])
def test_a_threshold_is_scikit_learns_fixed_threshold(data, threshold):
    X, y = data
    ours = net(decision=threshold).fit(X, y)
    theirs = FixedThresholdClassifier(net(), threshold=threshold, response_method="predict_proba").fit(X, y)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_decisions_and_corrections_can_be_searched(data):
    grid = {"decision": ["trained", "balanced", 0.2, [[0, 1], [8, 0]]], "prior_correction": [True, [0.5, 0.5]]}
    search = GridSearchCV(net(), grid, scoring="balanced_accuracy", cv=2).fit(*data)
    assert len({round(score, 6) for score in search.cv_results_["mean_test_score"]}) > 3
    assert clone(search.best_estimator_).decision == search.best_params_["decision"]


@pytest.mark.parametrize("decision", ["balanced", 0.05])
def test_scoring_callbacks_see_the_decision_and_the_corrected_probabilities(data, decision):
    X, y = data
    scores = [EpochScoring(name, on_train=True, use_caching=False) for name in ("recall", "neg_log_loss")]
    fitted = net(sampling="over", prior_correction=True, decision=decision, callbacks=scores).fit(X, y)
    assert fitted.history_[-1, "recall"] == fitted.predict(X)[y == 1].mean()
    expected = np.log(fitted.predict_proba(X)[np.arange(300), y]).mean()
    assert fitted.history_[-1, "neg_log_loss"] == pytest.approx(expected)


# The prior of unlabelled rows


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_estimated_prior_is_that_of_a_shifted_mixture(n_classes):
    shifted = np.array([0.7, 0.3] if n_classes == 2 else [0.4, 0.2, 0.4])
    X, y, _ = mixture(n_classes, True, seed=0)
    X_new, y_new, _ = mixture(n_classes, True, seed=100, prior=shifted)
    fitted = converged(True, 0, class_weight="sqrt").fit(X, y)
    from_raw = estimate_prior(fitted.predict_proba(X_new), fitted.effective_prior_)
    fitted.set_params(prior_correction=True)
    from_corrected = estimate_prior(fitted.predict_proba(X_new), fitted.class_prior_)
    np.testing.assert_allclose(from_raw, shifted, atol=0.01)
    np.testing.assert_allclose(from_raw, from_corrected, atol=1e-4)
    fitted.set_params(prior_correction=from_raw, decision="argmax")
    assert fitted.score(X_new, y_new) > fitted.set_params(prior_correction=True).score(X_new, y_new)


def test_estimated_prior_of_rows_from_the_same_place_is_the_old_one():
    X, y, _ = mixture(2, True, seed=0)
    model = LogisticRegression().fit(X, y)
    prior = estimate_prior(model.predict_proba(X), [1 - y.mean(), y.mean()])
    np.testing.assert_allclose(prior, [1 - y.mean(), y.mean()], atol=1e-3)


@pytest.mark.parametrize(
    ("proba", "prior", "message"),
    [
        (
            np.ones((3, 2)),
            [0.5, 0.5],
            "proba must hold the class probabilities of at least one row: no number below 0 and none missing, rows "
            "that sum to 1; its shape is (3, 2).",
        ),
        (
            np.ones(3),
            [0.5, 0.5],
            "proba must hold the class probabilities of at least one row: no number below 0 and none missing, rows "
            "that sum to 1; its shape is (3,).",
        ),
        (
            np.ones((0, 2)),
            [0.5, 0.5],
            "proba must hold the class probabilities of at least one row: no number below 0 and none missing, rows "
            "that sum to 1; its shape is (0, 2).",
        ),
        (
            np.full((3, 2), 0.5),
            [0.5, 0.2, 0.3],
            "prior must hold a positive share for each of the 2 columns of proba and sum to 1; it is [0.5, 0.2, 0.3].",
        ),
        (
            np.full((3, 2), 0.5),
            [0.0, 1.0],
            "prior must hold a positive share for each of the 2 columns of proba and sum to 1; it is [0.0, 1.0].",
        ),
    ],
    ids=["no probabilities", "one dimension", "no rows", "other length", "a prior of 0"],
)
def test_estimate_prior_says_what_it_needs(proba, prior, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        estimate_prior(proba, prior)
    assert str(raised.value) == message


def test_estimate_prior_takes_arrays_only():
    with pytest.raises(TypeError, match="proba and prior must be arrays of numbers"):
        estimate_prior(np.full((3, 2), 0.5), {"a": 0.5, "b": 0.5})


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"tol": np.nan}, ValueError, "tol must be a finite number of at least 0; it is nan."),
        ({"tol": np.inf}, ValueError, "tol must be a finite number of at least 0; it is inf."),
        ({"tol": -1e-9}, ValueError, "tol must be a finite number of at least 0; it is -1e-09."),
        ({"tol": True}, TypeError, "tol must be a number of at least 0; it is True."),
        ({"tol": "small"}, TypeError, "tol must be a number of at least 0; it is 'small'."),
        ({"tol": None}, TypeError, "tol must be a number of at least 0; it is None."),
        ({"max_iter": 0}, ValueError, "max_iter must be an int of at least 1; it is 0."),
        ({"max_iter": True}, TypeError, "max_iter must be an int of at least 1; it is True."),
        ({"max_iter": 10.0}, TypeError, "max_iter must be an int of at least 1; it is 10.0."),
        ({"max_iter": np.nan}, TypeError, "max_iter must be an int of at least 1; it is nan."),
    ],
)
def test_estimate_prior_says_what_its_numbers_must_be(parameters, error, message):
    with pytest.raises(error) as raised:
        estimate_prior(np.full((3, 2), 0.5), [0.5, 0.5], **parameters)
    assert str(raised.value) == message


def test_estimate_prior_warns_where_it_has_not_converged():
    proba = np.random.default_rng(0).dirichlet([1, 1], 50)
    with pytest.warns(UserWarning, match="estimate_prior has not converged in max_iter=1 iterations"):
        estimate_prior(proba, [0.9, 0.1], max_iter=1)


# Guard rails


class Unknown(nn.BCEWithLogitsLoss):
    """A criterion whose logits mean nothing that is known."""


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"prior_correction": {"ok": 0.5, "wran": 0.5}},
            ValueError,
            "prior_correction has keys that are not classes of y: ['wran']. The classes are ['fail', 'ok', 'warn'].",
        ),
        (
            {"prior_correction": {"ok": 0.5, "warn": 0.5}},
            ValueError,
            "prior_correction must have a prior for each of the classes ['fail', 'ok', 'warn']; it has none for "
            "['fail'].",
        ),
        (
            {"prior_correction": [0.5, 0.4, 0.3]},
            ValueError,
            "prior_correction must sum to 1; it is [0.5, 0.4, 0.3], which sums to 1.2.",
        ),
        (
            {"prior_correction": {"ok": 0.5, "warn": 0.1, "fail": 0.1}},
            ValueError,
            "prior_correction must sum to 1; it is {'ok': 0.5, 'warn': 0.1, 'fail': 0.1}, which sums to 0.7.",
        ),
        (
            {"prior_correction": [1.2, -0.2, 0.0]},
            ValueError,
            "prior_correction must be finite and not negative; it is [1.2, -0.2, 0.0].",
        ),
        (
            {"prior_correction": [np.nan, 0.5, 0.5]},
            ValueError,
            "prior_correction must be finite and not negative; it is [nan, 0.5, 0.5].",
        ),
        (
            {"prior_correction": [0.5, 0.5]},
            ValueError,
            "prior_correction must have one prior for each of the 3 classes ['fail', 'ok', 'warn']; it has shape (2,). "
            "Where a fold may lack a class, pass a dict from label to prior.",
        ),
        (
            {"prior_correction": ["much", 0.5, 0.5]},
            TypeError,
            "prior_correction must hold a number for each class; it is ['much', 0.5, 0.5].",
        ),
        (
            {"prior_correction": "yes"},
            TypeError,
            "prior_correction must be False, True (the class shares of the training rows), a dict from label to prior "
            "or an array in the order of classes_; it is 'yes'.",
        ),
        (
            {"prior_correction": True, "class_weight": {"fail": 0}},
            ValueError,
            "prior_correction=True needs every class to have had a share in training; the classes ['fail'] had none (a "
            "class_weight of 0, or no row yet in partial_fit).",
        ),
        (
            {"decision": "balanced", "class_weight": {"fail": 0}},
            ValueError,
            "decision='balanced' needs every class to have had a share in training; the classes ['fail'] had none (a "
            "class_weight of 0, or no row yet in partial_fit).",
        ),
        (
            {"prior_correction": True, "iterator_train__shuffle": False},
            ValueError,
            "prior_correction=True needs the prior that the net was trained under, and a sampler of your own leaves it "
            "unknown. Use sampling, or leave prior_correction at its default.",
        ),
        (
            {"decision": 0.5},
            ValueError,
            "decision as a threshold serves two classes; y has 3: ['fail', 'ok', 'warn']. Pass costs, \"balanced\", or "
            "tune an offset for each class with TunedOffsetClassifierCV.",
        ),
    ],
)
def test_error_says_what_must_hold_what_came_and_the_choices_in_fit_and_after_it(
    three_classes, parameters, error, message
):
    X, y = three_classes
    with pytest.raises(error) as raised:
        net(**parameters).fit(X, y)
    assert str(raised.value) == message
    late = {name: value for name, value in parameters.items() if name in ("prior_correction", "decision")}
    if late == parameters:
        fitted = net().fit(X, y).set_params(**late)
        for call in (fitted.predict, fitted.predict_proba):
            if call == fitted.predict or "decision" not in late:
                with pytest.raises(error) as raised:
                    call(X)
                assert str(raised.value) == message


@pytest.mark.parametrize("asked", [{"prior_correction": True}, {"decision": "balanced"}])
def test_a_criterion_without_exact_probabilities_raises_at_fit_where_a_correction_is_asked(data, asked):
    ((name, value),) = asked.items()
    net(criterion=Unknown).fit(*data)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        net(criterion=Unknown, **asked).fit(*data)
    assert str(raised.value) == (
        f"{name}={value!r} needs a criterion whose logits give exact probabilities; Unknown has none. Declare "
        f"probabilities(logits) on it, or leave {name} at its default."
    )


def test_correction_before_fit_raises(data):
    unfitted = net().set_params(prior_correction=True, decision="balanced")
    for method in ("predict_proba", "predict_log_proba", "predict", "decision_function"):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            getattr(unfitted, method)(data[0])


@pytest.mark.parametrize("decision", [0.2, {1: 0.2}, [[0, 1], [9, 0]], {0: {1: 1}, 1: {0: 9}}], ids=str)
def test_numbers_that_read_uncorrected_probabilities_warn_once(data, decision):
    X, y = data
    message = (
        f"decision={decision!r} reads probabilities at the prior of the training, {{0: 0.5, 1: 0.5}}; the data have "
        f"{{0: {1 - y.mean():.4g}, 1: {y.mean():.4g}}}. Set prior_correction=True, or leave class_weight and sampling "
        "at None."
    )
    with pytest.warns(UncorrectedDecisionWarning) as caught:
        fitted = net(class_weight="balanced", decision=decision).fit(X, y)
    assert [(str(w.message), w.filename) for w in caught] == [(message, __file__)]
    fitted.predict(X)  # a warning would be an error
    fitted.set_params(prior_correction=True)
    with pytest.warns(UncorrectedDecisionWarning) as caught:
        fitted.set_params(prior_correction=False)
    assert [(str(w.message), w.filename) for w in caught] == [(message, __file__)]


def test_setting_what_changes_nothing_does_not_warn_again(data):
    X, y = data
    fitted = net(class_weight="balanced").fit(X, y)
    with pytest.warns(UncorrectedDecisionWarning) as caught:
        fitted.set_params(decision=0.3).set_params(decision=0.4).set_params(prior_correction=False).predict(X)
    assert len(caught) == 1


def test_a_correction_that_does_not_exist_is_not_advised(data):
    with pytest.warns(UncorrectedDecisionWarning, match=r"\. Leave class_weight and sampling at None\.$"):
        net(criterion=Unknown, class_weight="balanced", decision=0.3).fit(*data)
    net(iterator_train__shuffle=False, decision=0.3).fit(*data)  # nothing is known, and nothing said


@pytest.mark.parametrize(
    ("parameters", "category"),
    [
        ({"class_weight": "balanced", "decision": 0.3}, UncorrectedDecisionWarning),
        ({"class_weight": {1: 5}, "sampling": "over"}, CombinedRemedyWarning),
    ],
)
def test_partial_fit_warns_when_a_second_class_comes(data, parameters, category):
    X, y = data
    fitted = net(**parameters).partial_fit(X[y == 0], y[y == 0], classes=[0, 1])
    with pytest.warns(category) as caught:
        fitted.partial_fit(X, y).partial_fit(X, y)
    assert len(caught) == 1


def test_a_given_prior_lets_partial_fit_begin_with_one_class(data):
    X, y = data
    fitted = net(prior_correction={0: 0.5, 1: 0.5}).partial_fit(X[y == 0], y[y == 0], classes=[0, 1])
    with pytest.raises(ValueError, match="needs every class to have had a share in training"):
        fitted.predict_proba(X)
    assert np.isfinite(fitted.partial_fit(X, y).predict_proba(X)).all()


@pytest.mark.parametrize(("sampling", "drawn"), [("under", [10 + 40, 10]), ("over", [50 + 40, 50])])
def test_partial_fit_counts_the_rows_that_are_drawn(sampling, drawn):
    rng = np.random.default_rng(0)
    fitted = net(sampling=sampling)
    fitted.partial_fit(rng.normal(size=(60, 3)), np.repeat([0, 1], [50, 10]), classes=[0, 1])
    fitted.partial_fit(rng.normal(size=(40, 3)), np.zeros(40, dtype=int))
    np.testing.assert_allclose(fitted.sampled_prior_, np.array(drawn) / sum(drawn))
    np.testing.assert_allclose(fitted.class_prior_, [0.9, 0.1])


@pytest.mark.parametrize("value", [0.5, "curve"])
def test_a_threshold_decides_as_scikit_learn_does_at_every_probability(data, value):
    X, y = data
    fitted = net().fit(X, y)
    for threshold in fitted.predict_proba(X)[:20, 1] if value == "curve" else [value]:
        theirs = FixedThresholdClassifier(FrozenEstimator(fitted), threshold=float(threshold)).fit(X, y)
        ours = fitted.set_params(decision=float(threshold)).predict(X)
        np.testing.assert_array_equal(ours, theirs.predict(X))


@pytest.mark.parametrize(
    "harmless",
    [
        {"decision": 0.2},
        {"decision": 0.2, "class_weight": "balanced", "prior_correction": True},
        {"decision": 0.2, "class_weight": "balanced", "prior_correction": [0.99, 0.01]},
        {"decision": "balanced", "class_weight": "balanced"},
        {"decision": "argmax", "sampling": "over"},
    ],
)
def test_other_decisions_do_not_warn(data, harmless):
    net(**harmless).fit(*data)


class Halves(nn.BCEWithLogitsLoss):
    """Its probabilities are not the sigmoid of its logits."""

    def probabilities(self, logits):
        return torch.sigmoid(logits / 2)


#: Settings in turn, each after the one before, so that what is left over of one would show.
SETTINGS = [
    {"prior_correction": True},
    {"decision": "argmax"},
    {"prior_correction": False, "decision": "balanced"},
    {"decision": "trained", "prior_correction": {0: 0.3, 1: 0.7}},
    {"decision": 0.2},
    {"decision": {0: 0.9}, "prior_correction": [0.9, 0.1]},
    {"decision": [[0, 1], [9, 0]], "prior_correction": True},
    {"decision": {0: {1: 3}, 1: {0: 1}}},
    {"decision": "trained", "prior_correction": False},
]


def assert_net_and_estimator_agree(fitted, X):
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[fitted.net_.predict(X)])
    assert_close_to_rounding(fitted.predict_proba(X), fitted.net_.predict_proba(X))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"class_weight": "balanced"},
        {"sampling": "over"},
        {"criterion": "focal", "class_weight": [1, 3]},
        {"criterion": Halves, "sampling": "weighted"},
    ],
    ids=["plain", "balanced", "over", "focal", "own"],
)
@pytest.mark.filterwarnings("ignore::imbalanced_torch.UncorrectedDecisionWarning")
def test_there_is_one_truth_of_prediction_after_every_set_params(data, parameters):
    X, y = data
    fitted = ImbalancedNetClassifier(MLP, max_epochs=4, lr=0.01, random_state=0, **parameters).fit(X, y)
    seen = {fitted.predict_proba(X).tobytes(): {}}
    assert_net_and_estimator_agree(fitted, X)
    for settings in SETTINGS:
        fitted.set_params(**settings)
        proba = fitted.net_.predict_proba(X)  # the net's first: the estimator must not have to ask before
        labels = fitted.classes_[fitted.net_.predict(X)]
        assert_close_to_rounding(proba, fitted.predict_proba(X))
        np.testing.assert_array_equal(labels, fitted.predict(X))
        assert_net_and_estimator_agree(pickle.loads(pickle.dumps(fitted)), X)
        assert_net_and_estimator_agree(copy.deepcopy(fitted), X)
        seen[fitted.predict_proba(X).tobytes()] = settings
    assert len(seen) >= 3  # the settings do move probabilities


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("remedy", [{"class_weight": "balanced"}, {"sampling": "over", "criterion": Halves}], ids=str)
@pytest.mark.filterwarnings("ignore::imbalanced_torch.UncorrectedDecisionWarning")
def test_a_scoring_callback_sees_in_fit_what_the_estimator_predicts_after_it(data, settings, remedy):
    X, y = data
    truth = []

    def kept(net, X, y):
        truth.append((net.predict(X), net.predict_proba(X), y))
        return 0.0

    names = ["recall", "neg_log_loss", "balanced_accuracy"]
    scorings = [EpochScoring(name, name=name, on_train=True, use_caching=False) for name in names]
    scorings.append(EpochScoring(kept, name="kept", on_train=True, use_caching=False))
    fitted = ImbalancedNetClassifier(
        MLP, max_epochs=3, lr=0.01, random_state=0, callbacks=scorings, **remedy, **settings
    )
    fitted.fit(X, y)
    labels, proba, shown = truth[-1]
    np.testing.assert_array_equal(shown, y)
    np.testing.assert_array_equal(labels, fitted.predict(X))
    assert_close_to_rounding(proba, fitted.predict_proba(X))
    for name in names:
        assert fitted.history_[-1, name] == pytest.approx(get_scorer(name)(fitted, X, y), abs=1e-9)
