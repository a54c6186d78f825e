"""X of every kind, labels of every kind, sample weights; nothing of the caller's is changed."""

import copy
import datetime
import pickle
import tempfile
import tracemalloc
import unittest.mock
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import OneHotEncoder
from skorch.helper import SliceDataset, SliceDict
from tolerances import assert_close_to_rounding
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._data.rows import Rows


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 3, "lr": 0.01, "random_state": 0, **kwargs})


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


def test_a_dataset_that_draws_random_numbers_leaves_the_global_random_state_alone_in_a_fit(data):
    class Noisy(XOnly):
        def __getitem__(self, i):
            return torch.from_numpy(self.X[i]) + torch.randn(5)

    before = torch.get_rng_state()
    fitted = net().fit(Noisy(data[0], None), data[1])
    assert torch.equal(before, torch.get_rng_state())
    one, other = (fitted.predict_proba(Noisy(data[0], None)) for _ in range(2))
    assert not np.array_equal(one, other)  # each prediction sees pictures augmented anew
    again = net().fit(Noisy(data[0], None), data[1])
    np.testing.assert_array_equal(again.predict_proba(data[0]), fitted.predict_proba(data[0]))


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


@pytest.mark.filterwarnings("ignore:columns of X should have about unit scale")
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
    assert part.source is X
    np.testing.assert_array_equal(part.batch([0, 1])[0], X[[4, 1]])
    np.testing.assert_array_equal(part[1][0], X[1])


# Any layout of memory


def _field_of_records(X):
    """Return a view whose strides are no multiple of the size of a value, at odd addresses."""
    records = np.zeros(X.shape, dtype=[("flag", "u1"), ("value", "f8")])
    records["value"] = X
    return records["value"]


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def _mapped(X):
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, X)
        return np.load(file.name, mmap_mode="r")


LAYOUTS = {
    "columns backwards": lambda X: X[:, ::-1].copy()[:, ::-1],
    "rows backwards": lambda X: X[::-1].copy()[::-1],
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "fortran": np.asfortranarray,
    "other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
    "field of records": _field_of_records,
    "read-only": _read_only,
    "read-only, backwards": lambda X: _read_only(X[:, ::-1])[:, ::-1],
    "read-only map": _mapped,
    "long doubles": lambda X: X.astype(np.longdouble),
}


@pytest.mark.parametrize("dtype", ["auto", None, "float32"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_any_layout_of_memory_serves_in_fit_and_in_predict(data, layout, dtype):
    X, y = data
    module = nn.Linear(5, 1).double()
    parameters = {"max_epochs": 1, "dtype": dtype, "early_stopping": True}
    given = layout(X)
    expected, fitted = (net(module, **parameters).fit(values, y) for values in (X, given))
    np.testing.assert_allclose(fitted.predict_proba(given), expected.predict_proba(X), rtol=1e-5)
    np.testing.assert_allclose(fitted.predict_proba(given[:1]), expected.predict_proba(X[:1]), rtol=1e-5)
    np.testing.assert_array_equal(given, X)


def test_one_row_that_all_rows_share_is_an_array_too(data):
    X, y = data
    shared = np.broadcast_to(X[:1], X.shape)
    assert len(np.unique(net(max_epochs=1).fit(shared, y).predict_proba(shared)[:, 1].round(9))) == 1


@pytest.mark.parametrize("dtype", [torch.float64, None])
@pytest.mark.parametrize("index", [None, np.arange(4)])
def test_torch_is_never_given_memory_that_is_read_only(data, dtype, index):
    X = _read_only(data[0])
    rows = Rows(X, index, dtype=dtype)
    for values in (rows.inputs(slice(0, 3)), rows.batch([0, 1])[0]):
        assert not np.shares_memory(values.numpy(), X)


def test_rows_of_a_dataset_may_have_any_layout(data):
    X, y = data
    backwards, expected = (net(max_epochs=1).fit(XOnly(values, None), y) for values in (X[:, ::-1], X[:, ::-1].copy()))
    np.testing.assert_allclose(backwards.predict_proba(XOnly(X[:, ::-1], None)), expected.predict_proba(X[:, ::-1]))


# Memory


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sparse_rows_are_made_dense_in_chunks_of_so_many_bytes_and_one_at_a_time(dtype, monkeypatch):
    monkeypatch.setattr("imbalanced_torch._data.rows._CHUNK_BYTES", 1 << 20)
    X = sparse.random(3000, 5000, density=1e-3, format="csr", random_state=0)
    y = np.arange(3000) % 2

    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.output = nn.Linear(2, 1)

        def forward(self, X):
            return self.output(X[:, :2])

    fitted = net(Narrow, max_epochs=1, batch_size=8, dtype=dtype, early_stopping=True)
    tracemalloc.start()
    try:
        fitted.fit(X, y)  # 300 rows are held out
        learning = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        fitted.predict(X)
        predicting = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert predicting < 1.5 * (1 << 20)
    assert learning < 3 * (1 << 20)  # skorch's loop holds a batch while it asks for the next


# What is no number, no label or no weight

ROWS = 30
NUMBERS = np.random.default_rng(0).normal(size=(ROWS, 4))
CODES = np.arange(ROWS) % 2
DAYS = np.datetime64("2020-01-01", "D") + np.arange(ROWS)


def _tensor(**kwargs):
    return torch.tensor(NUMBERS, **kwargs)


def _with(value):
    values = NUMBERS.astype(object)
    values[3, 2] = value
    return values


def _masked(values):
    masked = np.ma.array(values, mask=np.zeros_like(values, dtype=bool))
    masked.mask[3] = True
    return masked


def _corrupt(kind, attribute, value):
    """Return a sparse matrix with one index that points out of it."""
    X = getattr(sparse, kind)(NUMBERS)
    values = getattr(X, attribute).copy()
    values[5] = value
    setattr(X, attribute, values)
    return X


NO_NUMBERS = {
    "dates": (np.repeat(DAYS[:, None], 4, axis=1), "{} must hold numbers; it holds dates."),
    "durations": (np.repeat((DAYS - DAYS[0])[:, None], 4, axis=1), "{} must hold numbers; it holds durations."),
    "a date among objects": (_with(datetime.date(2020, 1, 1)), "{} must hold numbers; it holds dates."),
    "numpy's date among objects": (_with(np.datetime64("2020-01-01")), "{} must hold numbers; it holds dates."),
    "a duration among objects": (_with(pd.Timedelta(1)), "{} must hold numbers; it holds durations."),
    "a dict among objects": (
        _with({}),
        "{} must be an array of numbers: float() argument must be a string or a real number",
    ),
    "complex": (NUMBERS * 1j, "{} must hold numbers; it holds complex numbers."),
    "complex objects": (_with(1j), "{} must hold numbers; it holds complex numbers."),
    "records": (np.zeros((ROWS, 4), dtype=[("a", "f8")]), "{} must hold numbers; it holds records."),
    "words": (np.full((ROWS, 4), "a"), "{} must hold numbers"),
    "numpy's other strings": (np.full((ROWS, 4), "a", dtype=np.dtypes.StringDType()), "{} must hold numbers"),
    "masked": (_masked(NUMBERS), "{} must have a value everywhere; it is a masked array, and 4 of its 120 values are"),
    "huge ints": (
        [[10**400] * 4] * ROWS,
        "{} must hold ints of at most 64 bits, or floats; it holds one of 401 digits",
    ),
    "ragged": ([[1, 2]] * 29 + [[1]], "{} must be an array of one shape and type; it can't be made one"),
    "None": (None, "{} must be an array; it is None."),
    "a set": ({1, 2}, "{} must be an array; it is a set."),
    "a function": (len, "{} must be an array; it is a builtin_function_or_method."),
    "meta tensor": (_tensor(device="meta"), "{} must be a dense tensor of real numbers; it is on the meta device"),
    "conjugate": (torch.tensor(NUMBERS * 1j).conj(), "{} must be a dense tensor of real numbers; it is complex."),
    "sparse tensor": (_tensor().to_sparse(), "{} must be a dense tensor of real numbers; it is sparse."),
    "masked in a list": ([*_masked(NUMBERS)], "{}[3] must have a value everywhere; it is a masked array"),
}


def refuses(fragment, call, *args, **kwargs):
    with pytest.raises((ValueError, TypeError)) as raised:
        call(*args, **kwargs)
    assert fragment in str(raised.value)


@pytest.mark.parametrize(("values", "fragment"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_array_of_numbers_is_refused_by_name_as_X_entry_of_a_dict_or_sample_weight(values, fragment):
    fitted = net(max_epochs=1).fit(NUMBERS, CODES)
    refuses(fragment.format("X"), net().fit, values, CODES)
    refuses(fragment.format("X"), fitted.predict, values)
    refuses(fragment.format("X['a']"), net(TwoInputs).fit, {"a": values}, CODES)
    if values is not None:
        refuses(fragment.format("sample_weight"), net().fit, NUMBERS, CODES, sample_weight=values)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_and_quantized_tensors_say_what_to_pass():
    refuses("it is nested. Pad its rows", net().fit, torch.nested.nested_tensor([*_tensor()]), CODES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer torch moves quantization out
        quantized = torch.quantize_per_tensor(_tensor(dtype=torch.float32), 0.1, 0, torch.qint8)
    refuses("it is quantized. Pass X.dequantize().", net().fit, quantized, CODES)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"size": 1.0, "when": DAYS}),
        pd.DataFrame({"size": 1.0, "when": pd.date_range("2020", periods=ROWS, tz="UTC")}),
        pd.DataFrame({"size": 1.0, "when": [datetime.date(2020, 1, 1)] * ROWS}),
        pl.DataFrame({"size": NUMBERS[:, 0], "when": DAYS}),
        pl.DataFrame({"size": NUMBERS[:, 0], "when": [datetime.time(1)] * ROWS}),
    ],
    ids=["pandas", "pandas with a time zone", "objects", "polars", "times of day"],
)
def test_columns_of_dates_are_named(table):
    refuses("X must hold numbers; the columns ['when'] hold dates. Turn them into", net().fit, table, CODES)


@pytest.mark.parametrize(
    "values", [pd.period_range("2020", periods=ROWS), pd.interval_range(0, ROWS), [{"a": 1}] * ROWS]
)
def test_columns_of_objects_are_named(values):
    table = pd.DataFrame({"size": 1.0, "what": values})
    refuses("X must hold numbers; the columns ['what'] hold objects that are no numbers.", net().fit, table, CODES)


CORRUPT = {
    "beyond": _corrupt("csr_matrix", "indices", 10**6),
    "negative": _corrupt("csr_array", "indices", -(10**6)),
    "pointer": _corrupt("csr_matrix", "indptr", 10**6),
    "csc": _corrupt("csc_matrix", "indices", 10**6),
    "bsr": _corrupt("bsr_matrix", "indices", 10**6),
    "coo": _corrupt("coo_matrix", "row", 10**6),
    "lil": _corrupt("lil_matrix", "rows", [0, 10**6, 2, 3]),
}


@pytest.mark.parametrize("X", CORRUPT.values(), ids=CORRUPT)
def test_indices_that_point_out_of_a_sparse_matrix_raise_before_anything_follows_them(X):
    must = "X must be a sparse matrix whose indices lie within its shape"
    fitted = net(max_epochs=1).fit(NUMBERS, CODES)
    refuses(must, net().fit, X, CODES)
    refuses(must, fitted.predict, X)


def test_a_sparse_matrix_is_checked_without_a_change_to_it():
    X = sparse.csr_matrix(NUMBERS)
    X.indices, X.data = np.r_[X.indices, 3], np.r_[X.data, 7.0]  # room that is not used, which scipy would cut off
    parts = X.indices, X.indptr, X.data
    net(max_epochs=1).fit(X, CODES)
    assert all(now is then for now, then in zip((X.indices, X.indptr, X.data), parts, strict=True))


@pytest.mark.filterwarnings("ignore:columns of X should have about unit scale")
@pytest.mark.parametrize(
    "X",
    [
        _tensor().requires_grad_(),
        nn.Parameter(_tensor()),
        torch.complex(_tensor(), _tensor()).conj().imag,  # its minus sign is not in memory yet
        _tensor(dtype=torch.bfloat16),
        np.ma.array(NUMBERS),
        [*_tensor().requires_grad_()],
        NUMBERS.astype(object),
        (NUMBERS > 0).astype(np.uint64) + 2**63,
    ],
    ids=["requires grad", "parameter", "negated", "bfloat16", "nothing masked", "list", "objects", "large ints"],
)
def test_what_can_be_read_as_numbers_is(X):
    assert net(max_epochs=1).fit(X, CODES).predict_proba(X).shape == (ROWS, 2)


@pytest.mark.parametrize(
    "X", [np.zeros((ROWS, 4, 0)), {"X": np.zeros((ROWS, 4, 0))}, XOnly(np.zeros((ROWS, 4, 0)), None)]
)
def test_rows_without_a_value_raise(X):
    refuses("must have at least one value in each row; its rows are of shape", net(nn.Linear).fit, X, CODES)


def test_a_scalar_in_a_dict_is_no_row():
    refuses("X['a'] must hold a value for each row; it is one value.", net(TwoInputs).fit, {"a": 1.0}, CODES)


def test_a_data_loader_is_not_X():
    loader = DataLoader(TensorDataset(_tensor()))
    refuses("X must be an array, a table, a dict of arrays or a Dataset; it is a DataLoader", net().fit, loader, CODES)


DATASETS = {
    "strings": (["a"] * ROWS, "row 0 is a str. Set iterator_train__collate_fn"),
    "nothing": ([()] * ROWS, "X as a Dataset must have rows x or (x, y); row 0 is empty."),
    "None": ([None] * ROWS, "row 0 is a NoneType"),
    "pairs": ([((x, x), 0) for x in NUMBERS], "row 0 is a tuple"),
    "dates": ([np.repeat(day, 4) for day in DAYS], "row 0 has shape (4,): can't convert"),
    "objects": ([*NUMBERS.astype(object)], "row 0 has shape (4,)"),
    "masked": ([*_masked(NUMBERS)], "X of row 3 must have a value everywhere"),
    "complex": ([*torch.tensor(NUMBERS * 1j)], "X must be a dense tensor of real numbers; it is complex"),
    "meta": ([*_tensor(device="meta")], "X must be a dense tensor of real numbers; it is on the meta device"),
}


@pytest.mark.parametrize(("rows", "fragment"), DATASETS.values(), ids=DATASETS)
def test_rows_of_a_dataset_that_make_no_batch_of_numbers_say_which_and_why(rows, fragment):
    fitted = net(max_epochs=1).fit(NUMBERS, CODES)
    refuses(fragment, net().fit, XOnly(rows, None), CODES)
    refuses(fragment, fitted.predict, XOnly(rows, None))


def test_rows_of_other_lengths_in_a_dataset_raise_in_fit_and_predict():
    ragged = XOnly([x if i != 20 else x[:3] for i, x in enumerate(NUMBERS)], None)
    narrow = XOnly(NUMBERS[:, :3], None)
    refuses("has shape (4,), and row 20 has shape (3,)", net(batch_size=-1).fit, ragged, CODES)
    for X in (NUMBERS, XOnly(NUMBERS, None)):
        fitted = net(max_epochs=1).fit(X, CODES)
        other = "X has rows of shape (3,), but ImbalancedNetClassifier was fitted on rows of shape (4,)."
        refuses(other, fitted.predict, narrow)
        refuses(other, fitted.predict, ragged)


def test_an_error_of_the_users_dataset_is_the_users_at_predict():
    class Broken(XOnly):
        def __getitem__(self, i):
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        net(max_epochs=1).fit(NUMBERS, CODES).predict(Broken(NUMBERS, None))


@pytest.mark.parametrize("row", [0, 20])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_nan_in_a_dataset_is_blamed_on_its_row(row, early_stopping):
    X = NUMBERS.copy()
    X[row, 1] = np.nan
    fitted = net(max_epochs=1).fit(NUMBERS, CODES)
    refuses("X must be finite", net(early_stopping=early_stopping).fit, XOnly(X, None), CODES)
    refuses(f"X must be finite in float64; row {row} of the Dataset holds nan.", fitted.predict, XOnly(X, None))


def test_nan_among_the_rows_held_out_is_blamed_on_them():
    X = XOnly(NUMBERS.copy(), None)
    X.X[7, 1] = np.nan
    seven_held_out = lambda dataset, y: (Subset(dataset, [*range(7), *range(8, ROWS)]), Subset(dataset, [6, 7]))  # noqa: E731
    split = net(train_split=seven_held_out, early_stopping=True)
    refuses("X must be finite in float64; row 7 of the Dataset holds nan.", split.fit, X, CODES)


def test_gradients_stop_at_the_rows_of_a_dataset():
    X = _tensor().requires_grad_()
    net(max_epochs=1).fit(XOnly(X, None), CODES)
    assert X.grad is None


@pytest.mark.parametrize(
    ("values", "dtype", "fragment"),
    [
        (
            1e39,
            "float32",
            "X must fit in float32, the dtype that it is converted to; it holds 1e+39 in the columns [2].",
        ),
        (-1e39, "float32", "it holds -1e+39 in the columns [2]."),
        (1e19, "int64", "X must fit in int64, the dtype that it is converted to; it holds 1e+19 in the columns [2]."),
        (2.0**63, "int64", "X must fit in int64"),
    ],
)
def test_numbers_beyond_the_dtype_are_named(values, dtype, fragment):
    X = NUMBERS.copy()
    X[3, 2] = values
    refuses(fragment, net(dtype=dtype).fit, X, CODES)
    refuses(fragment.replace("[2]", "['c']"), net(dtype=dtype).fit, pd.DataFrame(X, columns=list("abcd")), CODES)
    refuses(fragment, net(dtype=dtype).fit, sparse.csr_matrix(X), CODES)
    refuses("must fit in", net(TwoInputs, dtype=dtype).fit, {"numbers": X, "category": X}, CODES)
    if dtype == "float32":
        refuses(fragment, net(dtype=dtype, max_epochs=1).fit(NUMBERS, CODES).predict, X)


def test_numbers_beyond_the_dtype_are_found_among_nan():
    class FillsNan(nn.Linear):
        allow_nan = True

        def forward(self, X):
            return super().forward(torch.nan_to_num(X, posinf=1.0))

    X = NUMBERS.copy()
    X[0] = np.nan
    X[1] = np.inf
    module = FillsNan(4, 1)
    net(module, dtype="float32", max_epochs=1).fit(X[2:], CODES[2:]).predict(X)
    X[3, 2] = 1e39
    refuses("it holds 1e+39 in the columns [2]", net(module, dtype="float32").fit, X, CODES)


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 1)

    def forward(self, X):
        return self.embedding(X).sum(dim=1)


class Shifts(nn.Module):
    """A module that needs ints for another reason than an Embedding."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(4, 1)

    def forward(self, X):
        return self.output((X >> 1).float())


@pytest.mark.parametrize("module", [Embeds, Shifts])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix, lambda X: XOnly(X, None)])
def test_ints_that_became_floats_are_told_of_where_the_module_can_not_take_them(module, container):
    X = container(np.full((ROWS, 4), 3))
    hint = "X holds ints, which dtype='auto' turns into float64; dtype=None passes them on."
    refuses(hint, net(module).fit, X, CODES)
    net(module, dtype=None, max_epochs=1).fit(X, CODES).predict(X)


def test_ints_in_a_dict_are_told_of_by_name():
    X = {"numbers": NUMBERS[:, :2], "category": CODES}
    refuses("X['category'] holds ints, which dtype='auto' turns into float64", net(TwoInputs).fit, X, CODES)


LABELS_REFUSED = {
    "complex": (
        CODES * 1j,
        "{} must hold labels: strings, ints, bools or dates. It holds complex numbers. Complex data not supported.",
    ),
    "records": (np.zeros(ROWS, dtype=[("a", "f8")]), "{} must hold labels"),
    "bytes": (np.array([b"a", b"b"])[CODES], "{} must hold labels: strings, ints, bools or dates. It holds bytes."),
    "nan": (np.where(CODES, np.nan, 1), "{} must have a label in every"),
    "None": ([None, 1] * 15, "{} must have a label in every"),
    "NaT": (np.where(CODES, np.datetime64("NaT", "D"), DAYS), "{} must have a label in every"),
    "masked": (_masked(CODES), "{} must have a value everywhere; it is a masked array"),
    "mixed": (["a", 1] * 15, "{} must hold labels of one type"),
    "ints of 70 bits": ([2**70, 1] * 15, "{} must hold ints of at most 64 bits as labels"),
    "lists": (np.array([[1], [1, 2]] * 15, dtype=object), "{} must hold labels of one type"),
    "meta": (torch.tensor(CODES, device="meta"), "{} must be a dense tensor of real numbers; it is on the meta device"),
    "a dict": ({0: 1}, "{} must be an array; it is a dict."),
    "infinite": (np.where(CODES, np.inf, 1), "Input {} contains infinity"),
    "three axes": (CODES[:, None, None], "{} must be a 1-d array of labels; it has shape (30, 1, 1)."),
    "two axes": (np.c_[CODES, CODES], "{} "),
    "one value": (1, "{} "),
}


@pytest.mark.parametrize(("values", "fragment"), LABELS_REFUSED.values(), ids=LABELS_REFUSED)
def test_what_can_be_no_labels_is_refused_by_name_as_y_or_classes(values, fragment):
    refuses(fragment.format("y"), net().fit, NUMBERS, values)
    refuses(fragment.format("classes"), net().partial_fit, NUMBERS, CODES, classes=values)


def test_classes_of_another_type_than_y_name_the_labels():
    refuses("y has labels that are not in classes: [0, 1]", net().partial_fit, NUMBERS, CODES, classes=DAYS[:2])


@pytest.mark.parametrize(
    "container", [torch.tensor, pl.Series, lambda y: pd.Series(y, dtype=object), lambda y: pd.Series(y).astype("Int64")]
)
def test_labels_and_weights_come_as_tensors_and_series(container):
    y, weights = container(CODES), container(CODES + 1)
    fitted = net(max_epochs=1).fit(NUMBERS, y, sample_weight=weights)
    expected = net(max_epochs=1).fit(NUMBERS, CODES, sample_weight=CODES + 1)
    np.testing.assert_array_equal(fitted.predict_proba(NUMBERS), expected.predict_proba(NUMBERS))
    first = net().partial_fit(NUMBERS, y, classes=container(np.arange(2)), sample_weight=weights)
    assert first.classes_.tolist() == [0, 1]


def test_a_dataset_without_y_says_that_its_labels_are_not_read():
    refuses("Labels in the rows of a Dataset are not read: pass them as y too.", net().fit, XAndY(NUMBERS, CODES), None)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sign", [1, -1])
def test_weights_at_the_end_of_the_range_are_weights(dtype, sign):
    weights = np.ldexp((CODES + 1).astype(dtype), sign * (np.finfo(dtype).maxexp - 3))
    parameters = {"max_epochs": 2, "early_stopping": True, "class_weight": "balanced"}
    expected = net(**parameters).fit(NUMBERS, CODES, sample_weight=(CODES + 1).astype(dtype))
    fitted = net(**parameters).fit(NUMBERS, CODES, sample_weight=weights)
    np.testing.assert_array_equal(fitted.predict_proba(NUMBERS), expected.predict_proba(NUMBERS))
    np.testing.assert_allclose(fitted.class_prior_, [1 / 3, 2 / 3])


@pytest.mark.parametrize("weight", [1e308, 5e-324])
def test_one_extreme_weight_for_all_rows_is_no_weight(weight):
    expected = net(max_epochs=1).fit(NUMBERS, CODES).predict_proba(NUMBERS)
    for weights in (weight, np.full(ROWS, weight)):
        fitted = net(max_epochs=1).fit(NUMBERS, CODES, sample_weight=weights)
        np.testing.assert_allclose(fitted.predict_proba(NUMBERS), expected, rtol=1e-10)


def test_what_is_refused_is_left_as_it_was():
    given = {"X": _masked(NUMBERS), "y": _masked(CODES), "sample_weight": _with(1j)[:, 2]}
    before = copy.deepcopy(given)
    for name, values in given.items():
        refuses(name, net().fit, **{"X": NUMBERS, "y": CODES, name: values})
        np.testing.assert_array_equal(np.asarray(values), np.asarray(before[name]))
        np.testing.assert_array_equal(np.ma.getmaskarray(values), np.ma.getmaskarray(before[name]))


def test_words_for_classes_where_a_meta_estimator_encoded_them_say_so(data):
    X, codes = data
    y = np.array(["ok", "fraud"])[codes]
    voting = VotingClassifier([("net", net(class_weight={"fraud": 5, "ok": 1}))])
    refuses("A meta-estimator such as VotingClassifier encodes y as these", voting.fit, X, y)
    with pytest.raises(ValueError, match=r"The classes are \[0, 1\]\.$"):
        net(class_weight={7: 5}).fit(X, codes)


def test_tensors_serve_under_the_array_api():
    pytest.importorskip("sklearn.externals.array_api_compat", reason="scikit-learn 1.6 brings none")
    with sklearn.config_context(array_api_dispatch=True):
        X, y = _tensor(), torch.tensor(CODES)
        fitted = net(max_epochs=1, early_stopping=True).fit(X, y, sample_weight=torch.ones(ROWS))
        probabilities = fitted.predict_proba(X)
        assert 0 <= fitted.score(X, y) <= 1
    np.testing.assert_array_equal(probabilities, fitted.predict_proba(NUMBERS))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_an_array_after_a_table_warns_that_it_names_no_columns_as_scikit_learn_does(data, method):
    X, y = data
    fitted = net().fit(pd.DataFrame(X, columns=list("abcde")), y)
    with pytest.warns(UserWarning, match="^X does not have valid feature names, but ImbalancedNetClassifier was"):
        getattr(fitted, method)(X)
