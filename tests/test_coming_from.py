"""docs/coming_from.md: what it calls the same is the same."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.utils.class_weight import compute_class_weight
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from tolerances import assert_close_to_rounding
from torch import nn

from imbalanced_torch import (
    MLP,
    FocalLoss,
    ImbalancedNetClassifier,
    LabelSmoothingLoss,
    OverSampling,
    UnderSampling,
)

COUNTS = np.array([180, 20])
TOTAL = COUNTS.sum()
y = np.repeat([0, 1], COUNTS)
X = np.random.default_rng(0).normal(size=(TOTAL, 3)) + y[:, None]


def fitted(module=MLP, **kwargs):
    return ImbalancedNetClassifier(module, **{"max_epochs": 1, "random_state": 0, **kwargs}).fit(X, y)


@pytest.mark.parametrize(
    ("theirs", "class_weight"),
    [
        pytest.param([1, COUNTS[0] / COUNTS[1]], "balanced", id="pos_weight = n_neg / n_pos"),
        pytest.param([1, 20], {1: 20}, id="scale_pos_weight"),
        pytest.param(
            compute_class_weight("balanced", classes=np.array([0, 1]), y=y), "balanced", id="scikit-learn's balanced"
        ),
        pytest.param(TOTAL / 2 / COUNTS, "balanced", id="the guide of Keras"),
        pytest.param(1 / COUNTS, "balanced", id="CrossEntropyLoss(weight=1 / counts)"),
        pytest.param([0.55, 5.0], {0: 0.55, 1: 5.0}, id="class_weight of Keras"),
        pytest.param(COUNTS.max() / COUNTS, "balanced", id="auto_class_weights=Balanced"),
        pytest.param(np.sqrt(COUNTS.max() / COUNTS), "sqrt", id="auto_class_weights=SqrtBalanced"),
    ],
)
def test_their_class_weights_are_ours_up_to_scale(theirs, class_weight):
    theirs = np.asarray(theirs, float)
    np.testing.assert_allclose(fitted(class_weight=class_weight).class_weight_, theirs * TOTAL / (theirs @ COUNTS))


def weights_of(net):
    return torch.cat([parameter.detach().ravel() for parameter in net.module_.parameters()]).numpy()


def trained(net_class, layer, **kwargs):
    """Train one linear layer by gradient descent, from where it is."""
    defaults = {"optimizer": torch.optim.SGD, "lr": 0.5, "max_epochs": 5, "batch_size": -1, "train_split": None}
    return net_class(copy.deepcopy(layer), **{**defaults, **kwargs})


@pytest.mark.parametrize(
    ("pos_weight", "class_weight"), [(COUNTS[0] / COUNTS[1], "balanced"), (20.0, {1: 20}), (1.0, None)], ids=str
)
def test_a_training_with_pos_weight_is_one_with_class_weight_at_another_learning_rate(pos_weight, class_weight):
    layer = nn.Linear(3, 1, dtype=torch.float64)
    scale = (COUNTS @ [1, pos_weight]) / TOTAL
    theirs = trained(NeuralNetBinaryClassifier, layer, criterion__pos_weight=torch.tensor(pos_weight), verbose=0)
    theirs.fit(X, y.astype(float))
    ours = trained(ImbalancedNetClassifier, layer, class_weight=class_weight, lr=0.5 * scale, early_stopping=False)
    assert_close_to_rounding(weights_of(ours.fit(X, y)), weights_of(theirs))
    assert not np.allclose(weights_of(theirs), torch.cat([layer.weight[0], layer.bias]).detach().numpy())


@pytest.mark.parametrize("weight", [[1.0, 1.0], [0.2, 3.0]], ids=str)
def test_a_full_batch_of_cross_entropy_with_weights_is_one_with_class_weight(weight):
    layer = nn.Linear(3, 2, dtype=torch.float64)
    criterion = {"criterion": nn.CrossEntropyLoss, "criterion__weight": torch.tensor(weight, dtype=torch.float64)}
    theirs = trained(NeuralNetClassifier, layer, verbose=0, **criterion).fit(X, y)
    ours = trained(ImbalancedNetClassifier, layer, class_weight=weight, early_stopping=False).fit(X, y)
    assert_close_to_rounding(weights_of(ours), weights_of(theirs))


def focal(logits, codes):
    """Lin et al. as torchvision and Keras write it, without alpha."""
    entropy = nn.functional.cross_entropy(logits, codes, reduction="none")
    return (1 - torch.exp(-entropy)) ** 2 * entropy


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        pytest.param(nn.CrossEntropyLoss(label_smoothing=0.1, reduction="none"), LabelSmoothingLoss, id="smoothing"),
        pytest.param(focal, FocalLoss, id="focal"),
    ],
)
def test_their_losses_of_a_row_are_ours(theirs, ours):
    logits = torch.linspace(-3, 3, 14, dtype=torch.float64).reshape(7, 2).cos() * 4
    codes = torch.tensor([0, 1, 0, 1, 1, 0, 0])
    assert_close_to_rounding(ours(reduction="none")(logits, codes), theirs(logits, codes))


@pytest.mark.parametrize(
    ("theirs", "sampling"),
    [
        pytest.param(RandomOverSampler(), "over", id="RandomOverSampler()"),
        pytest.param(RandomOverSampler(sampling_strategy=0.5), OverSampling(ratio=0.5), id="RandomOverSampler(0.5)"),
        pytest.param(RandomOverSampler(sampling_strategy={1: 50}), {1: 50}, id="RandomOverSampler({1: 50})"),
        pytest.param(RandomUnderSampler(), "under", id="RandomUnderSampler()"),
        pytest.param(RandomUnderSampler(sampling_strategy=0.5), UnderSampling(ratio=0.5), id="RandomUnderSampler(0.5)"),
    ],
)
def test_an_epoch_has_as_many_rows_of_each_class_as_their_sampler_gives(theirs, sampling):
    counts = Counter(theirs.fit_resample(X, y)[1].tolist())
    net = fitted(sampling=sampling, early_stopping=False)
    rows = sum(net.history_[-1, "batches", :, "train_batch_size"])
    np.testing.assert_allclose(rows * net.sampled_prior_, [counts[0], counts[1]])


def test_a_weighted_random_sampler_draws_by_the_law_of_weighted():
    sampler = torch.utils.data.WeightedRandomSampler((1 / COUNTS)[y], len(y))
    law = np.bincount(y, sampler.weights)
    np.testing.assert_allclose(fitted(sampling="weighted").sampled_prior_, law / law.sum())


def test_a_fixed_threshold_is_a_decision():
    net = fitted(max_epochs=10)
    theirs = FixedThresholdClassifier(net, threshold=0.2, response_method="predict_proba").fit(X, y)
    predicted = net.set_params(decision=0.2).predict(X)
    np.testing.assert_array_equal(predicted, theirs.predict(X))
    assert 0 < predicted.mean() < 1
