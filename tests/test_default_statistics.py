"""The statistical truths that hold for the default net, within tolerances that are stated.

Plain linear nets reach the optimum, and test_statistics.py holds them to it. The default net stops early and averages,
so that it comes as near to the Bayes posterior as a smooth net does on this many rows.
"""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from imbalanced_torch import ImbalancedNetClassifier

#: Share of the rare class.
PRIOR = 0.05
MEANS, SCALES = ((0.0, 0.0), (1.5, 1.0)), (1.0, 0.7)
REMEDIES = {
    "plain": {},
    "weights": {"class_weight": "balanced"},
    "sqrt": {"class_weight": "sqrt"},
    "weighted": {"sampling": "weighted"},
    "over": {"sampling": "over"},
    "under": {"sampling": "under"},
    "batch": {"sampling": "batch"},
}
#: Mean absolute distance of corrected probabilities from the Bayes posterior, at most.
TOLERANCE = {"under": 0.015}


def mixture(n, seed):
    """Return rows of two Gaussians of unequal covariance, their classes and the Bayes posterior of the rare one."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < PRIOR).astype(int)
    X = np.array(MEANS)[y] + rng.normal(size=(n, 2)) * np.array(SCALES)[y, None]
    density = [multivariate_normal(mean, scale**2).pdf(X) for mean, scale in zip(MEANS, SCALES, strict=True)]
    odds = PRIOR * density[1] / ((1 - PRIOR) * density[0])
    return X, y, odds / (1 + odds)


@pytest.fixture(scope="module")
def fresh():
    return mixture(20_000, seed=1)


@pytest.fixture(scope="module", params=REMEDIES)
def fitted(request):
    X, y, _ = mixture(5000, seed=0)
    model = ImbalancedNetClassifier(prior_correction=True, random_state=0, **REMEDIES[request.param])
    return request.param, model.fit(X, y)


def test_corrected_probabilities_of_the_default_net_are_near_the_bayes_posterior(fitted, fresh):
    remedy, model = fitted
    X, y, bayes = fresh
    proba = model.predict_proba(X)[:, 1]
    assert np.abs(proba - bayes).mean() < TOLERANCE.get(remedy, 0.012)
    assert log_loss(y, proba) - log_loss(y, bayes) < 0.005
    assert abs(proba.mean() - PRIOR) < 0.01


def test_out_of_fold_probabilities_are_at_the_prior_and_as_good_as_on_fresh_rows(fitted, fresh):
    _, model = fitted
    X, y, _ = fresh
    assert abs(model.oof_proba_[:, 1].mean() - model.class_prior_[1]) < 0.01
    assert abs(model.oof_log_loss_ - log_loss(y, model.predict_proba(X))) < 0.025


def test_uncorrected_probabilities_are_far_from_it_under_a_remedy(fitted, fresh):
    remedy, model = fitted
    if remedy == "plain":
        pytest.skip("there is nothing to correct")
    X, _, bayes = fresh
    model.set_params(prior_correction=False)
    distance = np.abs(model.predict_proba(X)[:, 1] - bayes).mean()
    model.set_params(prior_correction=True)
    assert distance > {"sqrt": 0.05}.get(remedy, 0.15)


@pytest.mark.parametrize("remedy", ["plain", "weights", "under", "over"])
def test_on_noise_a_remedy_raises_recall_by_as_much_as_the_false_positive_rate(remedy):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(22_000, 5)), (rng.random(22_000) < 0.1).astype(int)
    model = ImbalancedNetClassifier(random_state=0, **REMEDIES[remedy]).fit(X[:2000], y[:2000])
    X, y = X[2000:], y[2000:]
    chosen = model.predict(X)
    assert abs(chosen[y == 1].mean() - chosen[y == 0].mean()) < 0.04
    assert abs(balanced_accuracy_score(y, chosen) - 0.5) < 0.02
    assert abs(roc_auc_score(y, model.predict_proba(X)[:, 1]) - 0.5) < 0.03
