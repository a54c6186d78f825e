"""The table of numbers and switches: each error names the parameter, what it must be and what it is."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._parameters.constraints import CONSTRAINTS, Number


def net(**kwargs):
    return ImbalancedNetClassifier(**{"module": MLP, "max_epochs": 1, "random_state": 0, **kwargs})


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("value", ["", "many", [], {}, 1j, np.ones(2), object(), print, b"1"])
def test_another_kind_of_value_raises(data, name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be .*; it is "):
        net(**{name: value}).fit(*data)


NUMBERS = {name: constraint for name, constraint in CONSTRAINTS.items() if isinstance(constraint, Number)}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), -2, -0.5, float("-inf"), None, True, np.True_], ids=repr)
def test_a_number_that_is_none_or_out_of_bounds_raises(data, name, value):
    if any(value is other for other in NUMBERS[name].besides):
        net(**{name: value}).fit(*data)
        return
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
        net(**{name: value}).fit(*data)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"tol": float("nan")}, ValueError, "tol must be a finite number of at least 0; it is nan."),
        ({"tol": np.inf}, ValueError, "tol must be a finite number of at least 0; it is inf."),
        ({"lr": True}, TypeError, "lr must be a number; it is True."),
        ({"lr": float("nan")}, ValueError, "lr must be a number of at least 0; it is nan."),
        ({"lr": "adaptive"}, TypeError, "lr must be a number; it is 'adaptive'. Pass a number, and callbacks="),
        ({"warm_start": 1}, TypeError, "warm_start must be True or False; it is 1."),
        ({"max_epochs": True}, TypeError, "max_epochs must be None or an int of at least 1; it is True."),
        ({"max_epochs": 3.0}, TypeError, "max_epochs must be None or an int of at least 1; it is 3.0."),
        ({"verbose": -1}, ValueError, "verbose must be an int of at least 0; it is -1."),
        (
            {"early_stopping": "no"},
            ValueError,
            'early_stopping must be True, False, "auto" or a scorer of scikit-learn',
        ),
        ({"callbacks": ""}, TypeError, "callbacks must be None, a list of skorch callbacks"),
        ({"module": ""}, TypeError, "module must be None, a torch.nn.Module class"),
        ({"train_split": ""}, TypeError, "train_split must be None, a tuple (X, y) of rows to hold out, or a callable"),
        ({"random_state": "zero"}, ValueError, "random_state must be None, an int in [0, 2**32)"),
        ({"random_state": -1}, ValueError, "random_state must be None, an int in [0, 2**32)"),
        ({"device": "auto"}, ValueError, "device must be one that this torch has, such as \"cpu\"; it is 'auto'. Pass"),
        ({"device": "meta"}, ValueError, "device must be one that this torch has"),
        ({"iterator_train": "DataLoader"}, TypeError, "iterator_train must be a class such as"),
        ({"epoch_size": 1e308}, ValueError, "epoch_size must be positive: an int (rows) or a float (share of the "),
        ({"epoch_size": 10**400}, ValueError, "epoch_size must be positive: an int (rows) or a float (share of the "),
        ({"epoch_size": float("nan")}, ValueError, "epoch_size must be positive"),
    ],
)
def test_the_error_says_what_the_value_must_be(data, parameters, error, message):
    with pytest.raises(error) as raised:
        net(**parameters).fit(*data)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("lr", [Fraction(1, 100), np.float32(0.01), np.float16(0.01), torch.tensor(0.01)])
def test_any_real_number_is_a_learning_rate(data, lr):
    fitted = net(lr=lr).fit(*data)
    expected = net(lr=lr if isinstance(lr, torch.Tensor) else float(lr)).fit(*data)
    np.testing.assert_array_equal(fitted.predict_proba(data[0]), expected.predict_proba(data[0]))
    assert fitted.lr is lr


@pytest.mark.parametrize(
    ("epoch_size", "rest", "than"),
    [
        (1, "has 1 row, fewer", "batch_size=64"),
        (np.int64(63), "has 63 rows, fewer", "batch_size=64"),
        (2, "has 2 rows, fewer", "the 3 classes"),
    ],
)
def test_an_int_epoch_size_that_looks_like_a_share_warns(three_classes, epoch_size, rest, than):
    batch_size = 2 if "classes" in than else 64
    with pytest.warns(UserWarning, match=f"^epoch_size={epoch_size} is an int, so .* {rest} than {than}") as caught:
        net(epoch_size=epoch_size, batch_size=batch_size).fit(*three_classes)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("epoch_size", [1.0, 0.01, 64, 300, None])
def test_a_share_and_a_number_of_rows_do_not_warn(three_classes, epoch_size):
    net(epoch_size=epoch_size).fit(*three_classes)
