"""What class weights, sample weights and sampling do together, and when the estimator says that they do it twice."""

import warnings

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from imbalanced_torch import (
    MLP,
    CombinedRemedyWarning,
    ImbalancedNetClassifier,
    OverSampling,
    TemperedSampling,
    UnderSampling,
)


def fitted(data, sample_weight, **remedy):
    return ImbalancedNetClassifier(MLP, max_epochs=1, random_state=0, **remedy).fit(*data, sample_weight)


def inverse_sqrt(y):
    return np.bincount(y)[y] ** -0.5


def balanced(y):
    return compute_sample_weight("balanced", y)


def beyond_balance(y):
    return np.where(y == 1, 50.0, 1.0)


@pytest.mark.parametrize("weight", [balanced, inverse_sqrt, beyond_balance])
@pytest.mark.parametrize("sampling", ["weighted", "over", "under", "batch", UnderSampling(0.8), {0: 40, 1: 40}])
def test_sample_weights_and_sampling_that_both_balance_the_classes_warn_with_numbers(data, weight, sampling):
    message = r"sample_weight balances the classes and sampling=.* learns under the prior \{0: .*\}, and the data have"
    with pytest.warns(CombinedRemedyWarning, match=message) as caught:
        fitted(data, weight(data[1]), sampling=sampling)
    assert caught[0].filename == __file__


def test_they_warn_in_three_classes_too_and_where_only_the_rare_ones_move(three_classes):
    weights = compute_sample_weight("balanced", three_classes[1])
    for sampling in ("over", {"fail": 200, "warn": 200}):
        with pytest.warns(CombinedRemedyWarning, match="sample_weight balances the classes"):
            fitted(three_classes, weights, sampling=sampling)


@pytest.mark.parametrize(
    ("weight", "remedy"),
    [
        (balanced, {}),
        (balanced, {"class_weight": "balanced"}),  # words take sample weights into account
        (balanced, {"sampling": "over", "class_weight": "balanced"}),
        (balanced, {"sampling": TemperedSampling(power=0.95)}),  # hardly moves anything
        (balanced, {"sampling": OverSampling(ratio=0.2)}),
        (inverse_sqrt, {"sampling": TemperedSampling(power=0.5)}),  # half and half: balanced, not more
        (lambda y: np.random.default_rng(0).uniform(0.1, 2, len(y)), {"sampling": "over"}),  # a population's
        (lambda y: np.where(y == 1, 0.5, 1.0), {"sampling": "over"}),  # against balance
        (balanced, {"epoch_size": 0.5}),
    ],
)
def test_one_remedy_alone_does_not_warn(data, weight, remedy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(data, weight(data[1]), **remedy)


def test_numbers_of_the_users_and_sampling_warn_at_the_caller_of_fit(data):
    with pytest.warns(CombinedRemedyWarning, match="class_weight gives numbers and sampling='over'") as caught:
        fitted(data, None, sampling="over", class_weight={1: 3})
    assert caught[0].filename == __file__
