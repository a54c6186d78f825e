"""The claims that the strategies rest on, held against formulas, against scikit-learn and against torch."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import LRScheduler
from tolerances import assert_close_to_rounding
from torch import nn

from imbalanced_torch import MLP, ImbalancedNetClassifier, TemperedSampling, UnderSampling
from imbalanced_torch._losses.logits import to_class_logits
from imbalanced_torch._losses.weighted import WeightedCriterion, resolve_criterion
from imbalanced_torch._remedies.class_weight import balanced

# Full-batch LBFGS on a linear module: converges to the optimum.
LBFGS = {
    "module": nn.Linear,
    "optimizer": torch.optim.LBFGS,
    "optimizer__max_iter": 500,
    "optimizer__line_search_fn": "strong_wolfe",
    "optimizer__tolerance_grad": 1e-12,
    "optimizer__tolerance_change": 1e-15,
    "lr": 1.0,
    "max_epochs": 3,
    "batch_size": -1,
    "early_stopping": False,
    "random_state": 0,
}


def overlapping(n=600, share=0.2, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    return rng.normal(size=(n, 3)) + y[:, None] * np.array([1.0, 0.5, 0.0]), y


def criterion(n_classes, class_weight, dtype=torch.float64, base=None):
    weighted = resolve_criterion(base, n_classes, {}).to(dtype)
    weighted.set_classes(np.asarray(class_weight, dtype=float), np.ones(n_classes))
    return weighted


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_integer_weights_are_duplicated_rows(n_classes, dtype):
    torch.manual_seed(0)
    weights = np.arange(1, n_classes + 1)
    logits = torch.randn(50, 1 if n_classes == 2 else n_classes, dtype=dtype)
    codes = torch.randint(n_classes, (50,))
    repeats = torch.from_numpy(weights)[codes]
    weighted = criterion(n_classes, weights, dtype)(logits, codes) * 50 / repeats.sum()
    plain = criterion(n_classes, np.ones(n_classes), dtype)(
        logits.repeat_interleave(repeats, 0), codes.repeat_interleave(repeats)
    )
    assert_close_to_rounding(weighted, plain)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fitting_with_integer_sample_weights_is_fitting_duplicated_rows(data, dtype):
    X, y = data[0].astype(dtype), data[1]
    repeats = np.random.default_rng(0).integers(0, 4, len(y))
    net = ImbalancedNetClassifier(MLP, batch_size=-1, max_epochs=5, class_weight="balanced", random_state=0)
    weighted = net.fit(X, y, sample_weight=repeats).predict_proba(X)
    duplicated = net.fit(X.repeat(repeats, 0), y.repeat(repeats)).predict_proba(X)
    assert_close_to_rounding(weighted, duplicated)


def test_two_logit_cross_entropy_is_one_logit_binary_cross_entropy():
    torch.manual_seed(0)
    logits, codes = torch.randn(100, 2, dtype=torch.float64) * 5, torch.randint(2, (100,))
    weighted = criterion(2, [0.3, 1.7])
    one = weighted(logits[:, 1] - logits[:, 0], codes)
    assert abs(weighted(logits, codes) - one) <= 1e-12
    cross_entropy = criterion(2, [0.3, 1.7], base=nn.CrossEntropyLoss)
    assert abs(cross_entropy(logits, codes) - one) <= 1e-12
    assert abs(cross_entropy((logits[:, 1] - logits[:, 0])[:, None], codes) - one) <= 1e-12


def test_expected_gradient_of_sampling_is_that_of_weighting():
    """Drawing class c with s_c times its share is weighting it by s_c: the same expected gradient."""
    torch.manual_seed(0)
    logits = torch.randn(200, 3, dtype=torch.float64, requires_grad=True)
    codes = torch.from_numpy(np.repeat([0, 1, 2], [150, 40, 10]))
    counts = np.array([150.0, 40.0, 10.0])
    weighted = criterion(3, balanced(counts))(logits, codes)
    probability = torch.from_numpy(np.full(3, 1 / 3) / counts)[codes]  # of each row under "weighted"
    sampled = (probability * criterion(3, np.ones(3)).row_losses(logits, codes)).sum()
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (weighted, sampled)]
    assert (gradients[0] - gradients[1]).abs().max() <= 1e-12


def minority_share(loss_of, positives, batch_size, seed=0, batches=2000):
    """The minority's share of the summed gradient at logits 0, over random batches."""
    rng = np.random.default_rng(seed)
    shares = np.zeros(2)
    for _ in range(batches):
        codes = torch.from_numpy((rng.random(batch_size) < positives).astype(np.int64))
        logits = torch.zeros(batch_size, 2, dtype=torch.float64, requires_grad=True)
        loss_of(logits, codes).backward()
        size = logits.grad.abs().sum(1)
        shares += [float(size[codes == c].sum()) for c in (0, 1)]
    return shares[1] / shares.sum()


def test_a_minibatch_gives_the_minority_its_full_share_of_the_gradient():
    weights = balanced(np.array([99.0, 1.0]))
    assert minority_share(criterion(2, weights), 0.01, 128) == pytest.approx(0.5, abs=0.02)


def test_torchs_weighted_mean_gives_the_minority_less():
    """The contrast: torch divides by the batch's own weight, so a batch with more positives counts less."""
    weights = torch.from_numpy(balanced(np.array([99.0, 1.0])))
    assert minority_share(nn.CrossEntropyLoss(weights), 0.01, 128) == pytest.approx(0.396, abs=0.03)


def test_a_linear_net_is_logistic_regression_with_balanced_weights():
    X, y = overlapping()
    net = ImbalancedNetClassifier(**LBFGS, class_weight="balanced").fit(X, y)
    exact = LogisticRegression(class_weight="balanced", C=np.inf, solver="newton-cholesky", tol=1e-12).fit(X, y)
    np.testing.assert_allclose(net.module_.weight.detach().numpy(), exact.coef_, atol=1e-6)
    np.testing.assert_allclose(net.module_.bias.detach().numpy(), exact.intercept_, atol=1e-6)


def test_a_linear_net_in_float32_is_logistic_regression_with_balanced_weights():
    X, y = overlapping()
    net = ImbalancedNetClassifier(**LBFGS, class_weight="balanced").fit(X.astype(np.float32), y)
    exact = LogisticRegression(class_weight="balanced", C=np.inf, tol=1e-8).fit(X, y)
    np.testing.assert_allclose(net.predict_proba(X.astype(np.float32)), exact.predict_proba(X), atol=1e-3)


def test_a_multiclass_linear_net_is_logistic_regression_with_balanced_weights():
    rng = np.random.default_rng(0)
    y = rng.choice(3, 600, p=[0.7, 0.2, 0.1])
    X = rng.normal(size=(600, 2)) + np.array([[0, 0], [1, 0], [0, 1]])[y]
    net = ImbalancedNetClassifier(**LBFGS, class_weight="balanced").fit(X, y)
    exact = LogisticRegression(class_weight="balanced", C=np.inf, solver="newton-cg", tol=1e-10).fit(X, y)
    np.testing.assert_allclose(net.predict_proba(X), exact.predict_proba(X), atol=1e-5)


# A mixture of two Gaussians with unit covariance: the log-odds are linear, x @ delta - |delta|^2 / 2 + log prior odds,
# and each remedy shifts the intercept by the logarithm of how much it raises class 1 against class 0.
DELTA = np.array([1.2, -0.8, 0.5])
PRIOR = 0.05


def mixture(seed, n=20_000):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < PRIOR).astype(int)
    return rng.normal(size=(n, 3)) + y[:, None] * DELTA, y


@pytest.mark.filterwarnings("ignore::imbalanced_torch.CombinedRemedyWarning")
@pytest.mark.parametrize(
    ("remedy", "odds"),
    [
        ({}, 1 / 19),
        ({"class_weight": "balanced"}, 1),
        ({"class_weight": "sqrt"}, 19**-0.5),
        ({"class_weight": {1: 3}}, 3 / 19),
        ({"sampling": "weighted"}, 1),
        ({"sampling": "over"}, 1),
        ({"sampling": "batch"}, 1),
        ({"sampling": "under"}, 1),
        ({"sampling": UnderSampling(0.3)}, 0.3),
        ({"sampling": "over", "class_weight": "balanced"}, 1),
        ({"sampling": TemperedSampling(0.5), "class_weight": {1: 3}}, 3 * 19**-0.5),
    ],
)
def test_each_remedy_shifts_the_intercept_by_the_odds_of_its_effective_prior(remedy, odds):
    errors = []
    for seed in range(3):
        X, y = mixture(seed)
        decay = LRScheduler(torch.optim.lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.02, total_iters=7)
        net = ImbalancedNetClassifier(
            nn.Linear,
            epoch_size=1.0,
            lr=0.05,
            max_epochs=8,
            batch_size=128,
            early_stopping=False,
            callbacks=[decay],
            random_state=seed,
            **remedy,
        ).fit(X, y)
        assert net.effective_prior_[1] / net.effective_prior_[0] == pytest.approx(odds, rel=0.1)
        errors.append(net.module_.bias.item() - (np.log(odds) - DELTA @ DELTA / 2))
    assert abs(np.mean(errors)) <= 0.15


def test_logits_of_one_and_two_outputs_train_to_the_same_function(data):
    X, y = data
    one = ImbalancedNetClassifier(**LBFGS, class_weight="balanced", module__out_features=1).fit(X, y)
    two = ImbalancedNetClassifier(**LBFGS, class_weight="balanced", module__out_features=2).fit(X, y)
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), atol=1e-4)


def test_every_logit_keeps_the_log_odds():
    assert torch.equal(to_class_logits(torch.tensor([2.0])), torch.tensor([[0.0, 2.0]]))


def test_the_batch_loss_is_the_weighted_sum_over_the_batch_size():
    weighted = WeightedCriterion(nn.BCEWithLogitsLoss(reduction="none"), 2)
    weighted.set_classes(np.array([0.5, 5.0]), np.ones(2))
    loss = weighted(torch.zeros(4, 1), torch.tensor([0, 0, 0, 1]), torch.tensor([1.0, 1.0, 2.0, 1.0]))
    assert loss.item() == pytest.approx((0.5 + 0.5 + 1.0 + 5.0) * np.log(2) / 4)


def test_features_of_pure_noise_give_recall_and_false_positives_alike():
    rng = np.random.default_rng(0)
    y = (rng.random(4000) < 0.1).astype(int)
    X, X_new = rng.normal(size=(4000, 10)), rng.normal(size=(20_000, 10))
    y_new = (rng.random(20_000) < 0.1).astype(int)
    net = ImbalancedNetClassifier(**LBFGS, class_weight="balanced").fit(X, y)
    predicted = net.predict(X_new)
    recall, false_positives = predicted[y_new == 1].mean(), predicted[y_new == 0].mean()
    assert recall > 0.3
    assert abs(recall - false_positives) <= 0.03


def test_scaled_features_are_not_needed_for_the_statistics_of_a_fit(data):
    X, y = data
    net = ImbalancedNetClassifier(MLP, class_weight="balanced", max_epochs=1, random_state=0)
    raw, scaled = (net.fit(Z, y).effective_prior_ for Z in (X, StandardScaler().fit_transform(X)))
    np.testing.assert_array_equal(raw, scaled)
