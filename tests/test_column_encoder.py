"""What the encoder learns of columns and makes of rows, worked by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import sparse

from imbalanced_torch._ensemble.column_encoder import ColumnEncoder

NAN = math.nan


def learned(*columns, n_levels=None, sample_weight=None):
    """Return an encoder that has seen these columns of numbers, or of codes where `n_levels` says so."""
    X = np.column_stack([np.asarray(column, dtype=float) for column in columns])
    n_levels = None if n_levels is None else np.array(n_levels)
    return ColumnEncoder(X.shape[1]).fit(X, n_levels, sample_weight, seed=0)


def inputs(encoder, *rows, dtype=torch.float64):
    """Return the inputs of a net without bins, and the bins of one with them."""
    plain, with_bins = encoder(torch.tensor(rows, dtype=dtype))
    assert torch.equal(plain, with_bins[:, : plain.shape[1]])
    return plain.numpy(), with_bins[:, plain.shape[1] :].numpy()


def smooth(z):
    return z / np.sqrt(1 + (z / 3) ** 2)


def test_a_column_of_two_values_goes_from_0_to_1_and_is_clipped():
    encoder = learned([2, 6, 6, 2, 6])
    plain, bins = inputs(encoder, [2.0], [6.0], [4.0], [100.0], [-100.0], [NAN])
    np.testing.assert_allclose(plain[:, 0], [0, 1, 0.5, 2, -1, 0])
    assert bins.shape == (6, 0)
    assert encoder.n_inputs == (1, 1)


def test_a_number_is_scaled_by_median_and_quartiles_and_never_beyond_3():
    encoder = learned(np.arange(101))  # the quartiles are 25, 50 and 75
    plain, _ = inputs(encoder, [50.0], [75.0], [25.0], [1e9], [-math.inf])
    np.testing.assert_allclose(plain[:, 0], [0, smooth(25 * 1.349 / 50), smooth(-25 * 1.349 / 50), 3, -3], atol=1e-6)


def test_the_range_stands_in_where_the_quartiles_are_one():
    encoder = learned([0, *[1] * 98, 2, 9])
    assert encoder.center.item() == 1
    assert encoder.scale.item() == 9 / 4


def test_weights_are_as_repeated_rows():
    values, weights = np.array([1, 2, 3, 10, 20, 30, 40.0]), np.array([1, 5, 2, 1, 1, 3, 1])
    weighted, repeated = learned(values, sample_weight=weights.astype(float)), learned(np.repeat(values, weights))
    for name, buffer in weighted.named_buffers():
        np.testing.assert_allclose(buffer, getattr(repeated, name), atol=1e-12)


def test_ranks_are_linear_between_the_points_of_the_grid_and_constant_beyond():
    encoder = learned(np.arange(101))
    encoded = encoder.encode(
        torch.tensor([[0.0], [0.5], [1.0], [100.0], [-50.0], [1e300], [NAN]]).double(), torch.float64
    )
    np.testing.assert_allclose(encoded[:, 1] * 101, [0.5, 1, 1.5, 100.5, 0.5, 100.5, NAN])


def test_bins_have_equal_ranks_and_fill_one_after_the_other():
    encoder = learned(np.r_[np.arange(100), 1e6])  # a heavy tail can't swallow the last bin
    _, bins = inputs(encoder, [0.0], [50.0], [1e6], [75.0], [NAN])
    np.testing.assert_allclose(bins[:3], [[-0.5] * 12, [0.5] * 6 + [-0.5] * 6, [0.5] * 12], atol=1e-5)
    np.testing.assert_allclose(bins[3], [0.5] * 9 + [-0.5] * 3, atol=1e-5)
    np.testing.assert_array_equal(bins[4], 0)


def test_few_distinct_values_have_a_bin_from_each_to_the_next():
    encoder = learned([1, 1, 1, 1, 2, 10])
    _, bins = inputs(encoder, [1.0], [2.0], [10.0], [6.0], [0.0], [99.0])
    expected = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [0.5, 0.0], [-0.5, -0.5], [0.5, 0.5]]
    np.testing.assert_allclose(bins[:, :2], expected)
    np.testing.assert_array_equal(bins[:, 2:], 0)


@pytest.mark.parametrize(("n_columns", "n_bins"), [(1, 12), (21, 12), (50, 5), (128, 2), (129, 0)])
def test_columns_share_256_bins(n_columns, n_bins):
    encoder = learned(*np.random.default_rng(0).normal(size=(n_columns, 30)))
    assert encoder.n_inputs == (n_columns, n_columns * (1 + n_bins))


def test_missing_values_are_0_and_told_only_where_training_rows_had_some():
    encoder = learned([1, 2, 3, NAN, 5], [1, 2, 3, 4, 5])
    plain, bins = inputs(encoder, [NAN, NAN], [3.0, 3.0])
    np.testing.assert_allclose(plain[0], [0, 0, 1])
    assert plain[1, 2] == 0
    np.testing.assert_array_equal(bins[0], 0)


def test_constant_and_all_missing_columns_say_nothing():
    encoder = learned([5, 5, 5], [NAN, NAN, NAN])
    plain, bins = inputs(encoder, [5.0, NAN], [7.0, 1.0], [5.0, 0.0])
    np.testing.assert_array_equal(plain[0], [0, 0, 1])
    np.testing.assert_array_equal(plain[2], [0, 0, 0])
    assert np.abs(plain[1]).max() <= 2
    assert bins.shape == (3, 0)


def test_rare_and_unseen_levels_share_a_column_and_missing_is_a_level():
    codes = [0] * 5 + [1] * 2 + [2] * 3 + [NAN] * 3
    encoder = learned(codes, n_levels=[3])
    plain, bins = inputs(encoder, [0.0], [1.0], [2.0], [NAN], [-1.0])
    shared, level_0, level_2, missing = np.eye(4)
    np.testing.assert_array_equal(plain, [level_0, shared, level_2, missing, shared])
    assert bins.shape == (5, 0)


def test_a_new_missing_level_is_as_a_rare_one():
    plain, _ = inputs(learned([0] * 3 + [1] * 4, n_levels=[2]), [NAN], [-1.0], [0.0])
    np.testing.assert_array_equal(plain, [[1, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_numbers_come_before_categories_wherever_these_stand():
    encoder = learned([0, 0, 0, 1, 1, 1], [3, 7, 3, 7, 3, 7], [1, 1, 1, 0, 0, 0], n_levels=[2, 0, 2])
    plain, _ = inputs(encoder, [0.0, 7.0, 1.0], [1.0, 3.0, 0.0])
    np.testing.assert_array_equal(plain, [[1, 0, 1, 0, 0, 0, 1], [0, 0, 0, 1, 0, 1, 0]])
    assert encoder.n_encoded == 3


@pytest.mark.parametrize("largest", [1e308, np.finfo(float).max, 5e-324])
def test_values_of_any_size_are_finite(largest):
    values = np.linspace(-1, 1, 31) * largest
    encoder = learned(values, values[::-1] / 2)
    plain, bins = inputs(encoder, [largest, -largest], [0.0, 0.0], [-largest, 1.0])
    assert np.isfinite(plain).all()
    assert np.isfinite(bins).all()
    assert np.abs(plain).max() <= 3


@pytest.mark.parametrize(
    "moved", [lambda encoder: encoder, torch.nn.Module.float, lambda e: e.to(torch.float32).half()]
)
def test_large_timestamps_keep_their_digits(moved):
    seconds = np.arange(0, 86_400, 600.0)
    late, early = moved(learned(1.7e9 + seconds)), learned(seconds)
    found = late.encode(torch.from_numpy(1.7e9 + seconds)[:, None], torch.float32)
    np.testing.assert_allclose(found, early.encode(torch.from_numpy(seconds)[:, None], torch.float32), atol=1e-5)
    # float32 rows are on a grid of 128 seconds, and lose nothing more.
    single = torch.from_numpy(1.7e9 + seconds)[:, None].float()
    np.testing.assert_array_equal(late.encode(single, torch.float64), late.encode(single.double(), torch.float64))


def test_a_change_of_dtype_keeps_doubles_and_whole_numbers():
    encoder = learned([1, 2, 3.5], [0, 1, 1], n_levels=[0, 2])
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    encoder.to(torch.float32)
    for name, buffer in encoder.named_buffers():
        assert buffer.dtype == before[name].dtype
        assert torch.equal(buffer, before[name])


def test_sparse_columns_are_scaled_by_their_largest_value_and_have_no_bins():
    X = sparse.csr_array([[0, 4.0, 0], [0, 0, 0], [-8.0, 1, 0]])
    encoder = ColumnEncoder(3).fit(X, None, None, seed=0)
    plain, bins = inputs(encoder, [-8.0, 4.0, 0.0], [0.0, 2.0, 0.0])
    np.testing.assert_allclose(plain, [[smooth(-2), smooth(2), 0], [0, smooth(1), 0]])
    assert bins.shape == (2, 0)


def test_quantiles_of_many_rows_come_from_some_of_them_but_reach_to_the_outermost():
    values = np.r_[np.random.default_rng(0).normal(size=100_000), -50.0, 50.0]
    encoder = learned(values)
    assert abs(encoder.center.item()) < 0.02
    assert encoder.scale.item() == pytest.approx(1, abs=0.03)
    assert encoder.grid.shape[1] <= 257
    assert (encoder.grid[0, 0].item(), encoder.grid[0, -1].item()) == (-50, 50)


def test_before_it_has_learned_columns_are_numbers_of_unit_scale():
    plain, bins = inputs(ColumnEncoder(2), [0.0, 1.5], [NAN, -1.5])
    np.testing.assert_allclose(plain, [[0, smooth(1.5)], [0, smooth(-1.5)]])
    assert bins.shape == (2, 0)


def test_a_state_dict_brings_all_that_was_learned():
    rows = [[2.0, 1.0], [NAN, NAN], [9.0, -1.0]]
    saved = learned([1, 2, NAN, 4, 5, 9], [0, 0, 0, 1, 1, 1], n_levels=[0, 2])
    loaded = ColumnEncoder(2)
    loaded.load_state_dict(saved.state_dict())
    for one, other in zip(inputs(saved, *rows), inputs(loaded, *rows), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.n_inputs == saved.n_inputs
    saved.center += 1  # what was loaded is a copy
    assert not torch.equal(loaded.center, saved.center)


@pytest.mark.filterwarnings("ignore:.*meta parameter")  # torch has nothing left to copy
def test_a_state_dict_of_another_device_goes_where_the_encoder_is():
    loaded = ColumnEncoder(2).to("meta")
    loaded.load_state_dict(learned([1, 2, NAN], [0, 0, 1], n_levels=[0, 2]).state_dict())
    assert {buffer.device.type for buffer in loaded.buffers()} == {"meta"}


@pytest.mark.filterwarnings("error")
def test_two_values_as_far_apart_as_floats_go_are_encoded_without_a_warning():
    X = np.array([[-1e308], [1e308]])
    plain, _ = ColumnEncoder(1).fit(X)(torch.from_numpy(X))
    assert torch.isfinite(plain).all()
    assert plain[0] < plain[1]
