"""What a fit learns from: columns far from unit scale, and when rows are held out."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from imbalanced_torch import MLP, ImbalancedNetClassifier


def table(n=300, share=0.2):
    rng = np.random.default_rng(0)
    y = (np.arange(n) < share * n).astype(int)
    X = pd.DataFrame({"amount": rng.exponential(200, n), "rate": rng.normal(size=n), "time": rng.normal(1e5, 9, n)})
    return X, y


def test_columns_far_from_unit_scale_warn_once_by_name():
    X, y = table()
    with pytest.warns(UserWarning, match="unit scale") as found:
        ImbalancedNetClassifier(MLP, max_epochs=1, random_state=0).fit(X, y)
    (warning,) = found
    assert str(warning.message) == (
        "columns of X should have about unit scale, and these are far from it: ['amount', 'time'] (standard deviations "
        "up to 225, means up to 1e+05). Put StandardScaler before the net, or use the default net (module=None), which "
        "scales by itself."
    )
    assert warning.filename == __file__


@pytest.mark.parametrize("module", [None, MLP])
def test_scaled_columns_and_the_default_net_do_not_warn(module):
    X, y = table()
    X = X if module is None else StandardScaler().fit_transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImbalancedNetClassifier(module, max_epochs=1, random_state=0).fit(X, y)


def test_a_net_that_goes_on_does_not_warn_again():
    X, y = table()
    net = ImbalancedNetClassifier(MLP, random_state=0)
    with pytest.warns(UserWarning, match="unit scale"):
        net.partial_fit(X, y, classes=[0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.partial_fit(X, y)


@pytest.mark.parametrize(
    ("n", "share", "settings", "stops"),
    [
        (1000, 0.1, {}, True),  # 10 rows of the rarest class are held out
        (1000, 0.09, {}, False),
        (20_000, 0.002, {}, False),  # so many rows and so few of a class
        (300, 0.1, {"validation_fraction": 0.4}, True),
    ],
)
def test_a_plain_net_stops_where_both_parts_have_ten_rows_of_the_rarest_class(n, share, settings, stops):
    _, y = table(n, share)
    X = np.random.default_rng(0).normal(size=(n, 2))
    fitted = ImbalancedNetClassifier(MLP, max_epochs=1, random_state=0, **settings).fit(X, y)
    assert ("valid_loss" in fitted.history_[-1]) == stops


def test_a_plain_net_that_holds_nothing_out_makes_5000_steps_at_most():
    X, y = np.random.default_rng(0).normal(size=(2000, 2)), np.arange(2000) == 0
    settings = {"batch_size": 4, "random_state": 0}
    assert ImbalancedNetClassifier(MLP, **settings).fit(X, y).n_iter_ == 10
    assert ImbalancedNetClassifier(MLP, max_epochs=11, **settings).fit(X, y).n_iter_ == 11
