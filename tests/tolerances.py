"""How close two computations of one thing must be where another kernel, or another order of a sum, rounds it.

Two fits of one seed are equal bit by bit, for the same kernels run on the same shapes. Autograd, skorch's loop, another
batch split or another number of threads need not round alike: there the difference may be rounding, and nothing more.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

#: The greatest difference, relative to the largest value of the array.
ROUNDING = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}


def assert_close_to_rounding(actual, expected, dtype=np.float64):
    """Compare arrays, tensors, numbers, and lists and dicts of them; what is no float must be equal.

    Arrays and tensors say themselves what they were computed in; `dtype` does for plain numbers.
    """
    if isinstance(expected, Mapping):
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            assert_close_to_rounding(actual[key], value, dtype)
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_close_to_rounding(one, other, dtype)
    elif isinstance(expected, torch.Tensor | np.ndarray | float):
        (found, own), (wanted, other) = _array(actual, dtype), _array(expected, dtype)
        assert found.shape == wanted.shape
        if found.dtype.kind in "biu":
            np.testing.assert_array_equal(found, wanted)
            return
        largest = np.abs(wanted).max(initial=0, where=np.isfinite(wanted))
        tolerance = max(ROUNDING[own], ROUNDING[other])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * largest)
    else:
        assert actual == expected


def _array(values, dtype):
    """Return values as an array, and what they were computed in."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
        return values, values.dtype
    array = np.asarray(values)
    return array, array.dtype if array.ndim else np.dtype(dtype)
