"""X of every kind, labels of every kind, sample weights; nothing of the caller's is changed."""

import copy
import pickle
import unittest.mock
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import OneHotEncoder
from skorch.helper import SliceDataset, SliceDict
from tolerances import assert_close_to_rounding
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from imbalanced_torch import ImbalancedNetClassifier
from imbalanced_torch._rows import Rows


def net(*args, **kwargs):
    return ImbalancedNetClassifier(*args, **{"max_epochs": 3, "lr": 0.01, "random_state": 0, **kwargs})


class TwoInputs(nn.Module):
    """Numbers and a category's code, by name."""

    def __init__(self, n_outputs):
        super().__init__()
        self.embedding = nn.Embedding(3, 2)
        self.output = nn.Linear(4, n_outputs)

    def forward(self, numbers, category):
        return self.output(torch.cat([numbers, self.embedding(category)], dim=1))


class XAndY(Dataset):
    """A dataset whose rows are (x, y)."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


class XOnly(XAndY):
    def __getitem__(self, i):
        return self.X[i]


X_KINDS = {
    "list": lambda X: X.tolist(),
    "pandas": lambda X: pd.DataFrame(X, columns=list("abcde")),
    "polars": lambda X: pl.DataFrame(X, schema=list("abcde")),
    "tensor": torch.from_numpy,
    "csr": sparse.csr_matrix,
    "csr array": sparse.csr_array,
    "coo": sparse.coo_matrix,
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "big-endian": lambda X: X.astype(">f8"),
    "dataset": lambda X: XOnly(X, None),
    "dataset with y": lambda X: XAndY(X, np.zeros(len(X))),
    "tensor dataset": lambda X: TensorDataset(torch.from_numpy(X)),
    "slice dataset": lambda X: SliceDataset(XAndY(X, np.zeros(len(X)))),
}


@pytest.mark.parametrize("kind", X_KINDS)
def test_every_kind_of_X_gives_the_probabilities_of_an_array(data, kind):
    X, y = data
    given = X_KINDS[kind](X)
    expected = net(sampling="batch", class_weight={1: 1}).fit(X, y).predict_proba(X)
    fitted = net(sampling="batch", class_weight={1: 1}).fit(given, y)
    assert_close_to_rounding(fitted.predict_proba(given), expected)


def test_a_net_fitted_on_a_dataset_predicts_an_array_and_forgets_earlier_columns(data):
    X, y = data
    fitted = net().fit(pd.DataFrame(X, columns=list("abcde")), y).fit(XOnly(X[:, :3], None), y)
    assert not hasattr(fitted, "n_features_in_")
    assert not hasattr(fitted, "feature_names_in_")
    np.testing.assert_array_equal(fitted.predict(X[:, :3]), fitted.predict(XOnly(X[:, :3], None)))


def test_a_dataset_that_draws_random_numbers_leaves_the_global_random_state_alone(data):
    class Noisy(XOnly):
        def __getitem__(self, i):
            return torch.from_numpy(self.X[i]) + torch.randn(5)

    before = torch.get_rng_state()
    net().fit(Noisy(data[0], None), data[1]).predict(Noisy(data[0], None))
    assert torch.equal(before, torch.get_rng_state())


def test_dates_are_labels_too(data):
    X, codes = data
    for unit in ("D", "ns"):
        y = np.array(["2020-01-01", "2021-01-01"], dtype=f"datetime64[{unit}]")[codes]
        fitted = net(class_weight={y.max(): 5}).fit(X, y)
        assert fitted.class_weight_[1] == pytest.approx(5 * fitted.class_weight_[0])


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_table_gives_feature_names_and_checks_them_at_predict(data, kind):
    X, y = data
    table = X_KINDS[kind](X)
    fitted = net().fit(table, y)
    assert fitted.feature_names_in_.tolist() == list("abcde")
    with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
        fitted.predict(table.rename({"a": "z"}) if kind == "polars" else table.rename(columns={"a": "z"}))


def test_one_hot_encoded_rows_stay_sparse_until_their_batch(data):
    y = data[1]
    X = OneHotEncoder().fit_transform(np.random.default_rng(0).integers(0, 50, (300, 3)).astype(str))
    rows = Rows(X, codes=y, dtype=torch.float64)
    assert sparse.issparse(rows.X)
    assert rows.batch([0, 299])[0].shape == (2, X.shape[1])
    dense = sparse.csr_matrix.toarray
    with unittest.mock.patch.object(type(X), "toarray", autospec=True, side_effect=dense) as toarray:
        net(batch_size=64).fit(X, y)
    assert max(call.args[0].shape[0] for call in toarray.call_args_list) <= 64
    fitted = net(class_weight="balanced").fit(X, y)
    assert_close_to_rounding(fitted.predict_proba(X), fitted.predict_proba(X.toarray()))


def test_images_are_rows_of_more_dimensions():
    rng = np.random.default_rng(0)
    y = (rng.random(120) < 0.3).astype(int)
    X = rng.normal(size=(120, 1, 6, 6)).astype(np.float32) + y[:, None, None, None]
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 1))
    for module in (None, conv):
        fitted = net(module, max_epochs=10, class_weight="balanced").fit(X, y)
        assert fitted.score(X, y) > 0.8
    with pytest.raises(ValueError, match=r"X has rows of shape \(1, 6, 5\), but .* on rows of shape \(1, 6, 6\)"):
        fitted.predict(X[..., :5])


def test_a_dict_of_arrays_goes_to_forward_by_name(data):
    X, y = data
    given = {"numbers": X[:, :2].astype(np.float32), "category": (X[:, 2] > 0).astype(np.int64) + 1}
    fitted = net(TwoInputs, dtype=None, sampling="over").fit(given, y)
    assert fitted.predict_proba(given).shape == (300, 2)
    with pytest.raises(ValueError, match=r"X has rows of shape .*'numbers': .* but .* was fitted on rows of shape"):
        fitted.predict({"numbers": given["numbers"]})


def test_a_slice_dict_goes_through_a_grid_search(data):
    X, y = data
    given = SliceDict(numbers=X[:, :2].astype(np.float32), category=(X[:, 2] > 0).astype(np.int64))
    search = GridSearchCV(net(TwoInputs, dtype=None), {"sampling": [None, "over"]}, cv=2).fit(given, y)
    assert search.predict(given).shape == (300,)


def test_a_slice_dataset_goes_through_a_grid_search(data):
    X, y = data
    search = GridSearchCV(net(), {"sampling": [None, "over"]}, cv=2).fit(SliceDataset(XAndY(X, y)), y)
    assert search.best_score_ > 0.7


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        (np.float64, "auto", torch.float64),
        (np.float32, "auto", torch.float32),
        (np.float16, "auto", torch.float32),
        (np.int64, "auto", torch.float64),
        (np.uint16, "auto", torch.float64),
        (np.bool_, "auto", torch.float64),
        (np.float64, torch.float32, torch.float32),
        (np.float64, np.float32, torch.float32),
        (np.float64, "float32", torch.float32),
        (np.float32, None, torch.float32),
    ],
)
def test_dtype_of_the_module_follows_the_data(data, given, dtype, expected):
    X, y = data
    fitted = net(dtype=dtype).fit((X * 3).astype(given), y)
    assert {p.dtype for p in fitted.module_.parameters()} == {expected}
    assert np.isfinite(fitted.predict_proba((X * 3).astype(given))).all()


def test_dtype_none_passes_ints_through_to_an_embedding():
    class Bag(nn.Module):
        def __init__(self, n_outputs):
            super().__init__()
            self.embedding = nn.EmbeddingBag(10, 3)
            self.output = nn.Linear(3, n_outputs)

        def forward(self, X):
            return self.output(self.embedding(X))

    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 10, (80, 4)), rng.integers(0, 2, 80)
    assert net(Bag, dtype=None).fit(X, y).predict_proba(X).dtype == np.float32


def test_nan_goes_in_where_the_module_declares_that_it_takes_it(data):
    class FillsNan(nn.Module):
        allow_nan = True

        def __init__(self, n_features):
            super().__init__()
            self.output = nn.Linear(n_features, 1)

        def forward(self, X):
            return self.output(torch.nan_to_num(X))

    X, y = data[0].copy(), data[1]
    X[::5, 0] = np.nan
    assert np.isfinite(net(FillsNan).fit(X, y).predict_proba(X)).all()
    assert net(FillsNan).__sklearn_tags__().input_tags.allow_nan
    assert not net().__sklearn_tags__().input_tags.allow_nan


LABELS = {
    "strings": ["ok", "fraud"],
    "bools": [False, True],
    "minus one and one": [-1, 1],
    "digits as strings": ["0", "1"],
    "floats": [0.0, 1.0],
    "far ints": [7, 4000],
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("container", [np.array, pd.Series, pl.Series, list])
def test_labels_of_every_kind_come_back(data, labels, container):
    X, codes = data
    y = container([labels[code] for code in codes])
    fitted = net(class_weight={labels[0]: 1, labels[1]: 5}, max_epochs=15).fit(X, y)
    assert fitted.classes_.tolist() == sorted(labels)
    predicted = fitted.predict(X)
    assert set(predicted.tolist()) <= set(labels)
    assert (predicted == np.array([labels[code] for code in codes])).mean() > 0.8
    rare = fitted.classes_.tolist().index(labels[1])
    assert fitted.class_weight_[rare] == pytest.approx(5 * fitted.class_weight_[1 - rare])


def test_string_labels_may_be_objects(data):
    X, codes = data
    y = np.array(["ok", "fraud"], dtype=object)[codes]
    assert set(net(class_weight={"fraud": 5}).fit(X, y).predict(X)) == {"ok", "fraud"}


def test_a_column_of_labels_warns_and_is_ravelled(data):
    X, y = data
    with pytest.warns(DataConversionWarning):
        column = net().fit(X, y[:, None])
    np.testing.assert_array_equal(column.predict_proba(X), net().fit(X, y).predict_proba(X))


def test_rows_of_weight_0_never_existed(data):
    X, y = data
    weights = np.random.default_rng(0).integers(0, 2, 300)
    for remedy in ({"class_weight": "balanced"}, {"sampling": "over"}, {"sampling": "batch"}):
        weighted = net(**remedy).fit(X, y, sample_weight=weights)
        without = net(**remedy).fit(X[weights > 0], y[weights > 0])
        assert_close_to_rounding(weighted.predict_proba(X), without.predict_proba(X))


def test_sample_weight_describes_the_population(data):
    X, y = data
    fitted = net().fit(X, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    prior = 3 * y.mean() / (3 * y.mean() + 1 - y.mean())
    np.testing.assert_allclose(fitted.class_prior_, [1 - prior, prior])
    np.testing.assert_allclose(fitted.sampled_prior_, [1 - y.mean(), y.mean()])
    np.testing.assert_allclose(fitted.effective_prior_, fitted.class_prior_)


def test_balanced_weights_take_sample_weight_into_account(data):
    X, y = data
    fitted = net(class_weight="balanced").fit(X, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    np.testing.assert_allclose(fitted.effective_prior_, 0.5)
    assert fitted.class_weight_[1] / fitted.class_weight_[0] == pytest.approx((1 - y.mean()) / (3 * y.mean()))


def test_the_scale_of_sample_weight_changes_nothing(data):
    X, y = data
    weights = np.random.default_rng(0).random(300) + 0.1
    small, large = (net(nn.Linear).fit(X, y, sample_weight=weights * s).predict_proba(X) for s in (1.0, 1e4))
    np.testing.assert_allclose(small, large, atol=1e-9)


def test_nothing_of_the_callers_is_changed(data):
    X, y = data[0].copy(), data[1].copy()
    weights, class_weight = np.random.default_rng(0).random(300), {0: 1, 1: 2}
    module = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    given = copy.deepcopy((X, y, weights, class_weight, module.state_dict()))
    fitted = net(module, class_weight=class_weight, early_stopping=True).fit(X, y, sample_weight=weights)
    fitted.predict_proba(X)
    assert pickle.dumps((X, y, weights, class_weight)) == pickle.dumps(given[:4])
    assert all(torch.equal(value, given[4][name]) for name, value in module.state_dict().items())
    assert module.training
    assert {p.dtype for p in module.parameters()} == {torch.float32}


def test_read_only_memory_is_read(tmp_path, data):
    X, y = data
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = net(early_stopping=True).fit(mapped, y)
        fitted.predict(mapped)


def test_a_split_and_a_sampler_copy_no_rows(data):
    X, _ = data
    rows = Rows(X, codes=np.zeros(300, int))
    part = rows.part(np.arange(5)).part(np.array([4, 1]))
    assert part.X is X
    np.testing.assert_array_equal(part.batch([0, 1])[0], X[[4, 1]])
    np.testing.assert_array_equal(part[1][0], X[1])
