"""The comparison that other tests make where kernels may round differently."""

import numpy as np
import pytest
import torch
from tolerances import assert_close_to_rounding

VALUES = np.linspace(-3, 3, 50)


@pytest.mark.parametrize(("dtype", "rounding"), [(np.float64, 1e-10), (np.float32, 1e-5)])
@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor, lambda v: {"a": [v]}, lambda v: torch.as_tensor(v)[-1]])
def test_it_bears_rounding_and_nothing_more(form, dtype, rounding):
    expected = VALUES.astype(dtype)
    assert_close_to_rounding(form(expected * dtype(1 + rounding / 2)), form(expected))
    with pytest.raises(AssertionError):
        assert_close_to_rounding(form(expected * dtype(1 + rounding * 2)), form(expected))


def test_the_largest_value_sets_the_scale():
    assert_close_to_rounding(np.array([1e-12, 1.0]), np.array([0.0, 1.0]))
    with pytest.raises(AssertionError):
        assert_close_to_rounding(np.array([1e-12]), np.array([0.0]))


def test_the_coarser_of_two_dtypes_counts():
    assert_close_to_rounding(VALUES.astype(np.float32), VALUES)
    assert_close_to_rounding(np.float64(1 + 1e-6), 1.0, dtype=np.float32)
    with pytest.raises(AssertionError):
        assert_close_to_rounding(np.float64(1 + 1e-6), 1.0)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (VALUES[:-1], VALUES),
        ([1.0, 2.0], [1.0]),
        ({"a": 1.0}, {"a": 1.0, "b": 1.0}),
        (np.array([np.nan, 1]), np.array([1, 1.0])),
        (np.array([np.inf, 1]), np.array([1, 1.0])),
        ({"epoch": 2}, {"epoch": 1}),
        ("adam", "sgd"),
        (True, False),
    ],
    ids=["a row is missing", "a number more", "a key is missing", "nan", "inf", "an int", "a word", "a bool"],
)
def test_another_shape_and_another_thing_are_rejected(actual, expected):
    with pytest.raises(AssertionError):
        assert_close_to_rounding(actual, expected)
