"""Rows as the net sees them: skorch's face of a dataset, the user's collate functions, Datasets that fail."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from skorch.callbacks import Callback, InputShapeSetter
from skorch.utils import data_from_dataset
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Sampler

from imbalanced_torch import MLP, ImbalancedNetClassifier

Y = np.repeat([0, 1], [45, 15])


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 2, "random_state": 0, **kwargs})


class Seen(Callback):
    """Keep what skorch's users read of datasets."""

    def on_epoch_end(self, net, dataset_train, dataset_valid, **kwargs):
        self.parts = [(part.X, part.y, len(part), data_from_dataset(part)) for part in (dataset_train, dataset_valid)]


@pytest.mark.parametrize("container", [np.array, csr_matrix, pd.DataFrame, torch.tensor])
def test_the_datasets_of_the_net_have_x_and_y_of_their_very_rows(data, container):
    X, y = data
    fitted = net(callbacks=[("seen", Seen())], early_stopping=True).fit(container(X), y)
    train, valid = dict(fitted.net_.callbacks_)["seen"].parts
    assert [part[2] for part in (train, valid)] == [len(train[0 if container != csr_matrix else 1]), 30]
    rows = []
    for X_part, y_part, n, (X_again, y_again) in (train, valid):
        dense = X_part.toarray() if container is csr_matrix else np.asarray(X_part)
        assert dense.shape == (n, 5)
        np.testing.assert_array_equal(y_part, y_again)
        assert X_part.shape == X_again.shape
        for row, code in zip(dense, y_part, strict=True):
            (found,) = np.flatnonzero((row == X).all(axis=1))
            assert y[found] == code
            rows.append(found)
    assert sorted(rows) == list(range(300))


class Wide(nn.Module):
    """Its width has a default, which only a callback changes."""

    def __init__(self, width_in=7, n_outputs=1):
        super().__init__()
        self.layer = nn.Linear(width_in, n_outputs)

    def forward(self, X):
        return self.layer(X)


def test_skorchs_input_shape_setter_sets_sizes_before_the_module_is_tried(data):
    fitted = net(Wide, callbacks=[InputShapeSetter(param_name="width_in")], early_stopping=True).fit(*data)
    assert fitted.module_.layer.in_features == 5
    with pytest.raises(ValueError, match="module Wide can't take a batch of float64 of shape"):
        net(Wide, callbacks=[InputShapeSetter(param_name="width_in", input_dim_fn=lambda X: 3)]).fit(*data)


@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_the_net_itself_predicts_arrays_in_the_dtype_that_it_was_trained_in(data, dtype):
    X, y = data
    fitted = net(dtype=dtype).fit(X, y)
    np.testing.assert_allclose(fitted.net_.predict_proba(X), fitted.predict_proba(X), rtol=1e-5)


class Ragged(Dataset):
    """Sequences of different lengths."""

    def __init__(self, with_y=False):
        rng = np.random.default_rng(0)
        self.with_y = with_y
        self.rows = [
            torch.from_numpy(rng.normal(size=(int(n), 3)).astype("f")) + y
            for n, y in zip(rng.integers(2, 9, 60), Y, strict=True)
        ]

    def __len__(self):
        return 60

    def __getitem__(self, i):
        return (self.rows[i], Y[i]) if self.with_y else self.rows[i]


def padded(batch):
    rows, codes = zip(*batch, strict=True)
    return pad_sequence(rows, batch_first=True), torch.tensor(codes)


class MeanOfSteps(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.Linear(3, n_outputs)

    def forward(self, X):
        return self.layer(X).mean(dim=1)


@pytest.mark.parametrize("with_y", [False, True])
@pytest.mark.parametrize(
    "settings",
    [{}, {"early_stopping": True}, {"sampling": "over"}, {"iterator_valid__collate_fn": padded, "batch_size": 7}],
)
def test_a_collate_function_makes_batches_of_rows_of_different_lengths(settings, with_y):
    rows = Ragged(with_y)
    fitted = net(MeanOfSteps, iterator_train__collate_fn=padded, lr=0.1, max_epochs=20, **settings).fit(rows, Y)
    proba = fitted.predict_proba(rows)
    assert proba.shape == (60, 2)
    assert proba[Y == 1, 1].mean() > proba[Y == 0, 1].mean() + 0.2


class Words(Dataset):
    """Rows that only a tokenising collate function makes numbers of."""

    def __len__(self):
        return 60

    def __getitem__(self, i):
        return "bad bad day" if Y[i] else "fine day"


def tokens(batch):
    words, codes = zip(*batch, strict=True)
    rows = [torch.tensor([len(word) for word in text.split()]) for text in words]
    return {"tokens": pad_sequence(rows, batch_first=True)}, torch.tensor(codes, dtype=torch.float32)


class MeanOfEmbeddings(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.embedding, self.layer = nn.Embedding(9, 4), nn.Linear(4, n_outputs)

    def forward(self, tokens):
        return self.layer(self.embedding(tokens).mean(dim=1))


@pytest.mark.parametrize("weights", [None, np.ones(60)], ids=["unweighted", "weighted"])
def test_a_collate_function_makes_tokens_of_words(weights):
    fitted = net(
        MeanOfEmbeddings, iterator_train__collate_fn=tokens, early_stopping=True, lr=0.1, max_epochs=20, batch_size=8
    ).fit(Words(), Y, weights)
    np.testing.assert_array_equal(fitted.predict(Words()), Y)


class Stops(Dataset):
    """It ends like an iterator."""

    def __init__(self, after):
        self.after = after

    def __len__(self):
        return 60

    def __getitem__(self, i):
        if i >= self.after:
            raise StopIteration
        return torch.randn(3)


@pytest.mark.parametrize("iterator", [{}, {"iterator_train__num_workers": 0}], ids=["ours", "torch's"])
@pytest.mark.parametrize("after", [0, 20])
def test_a_dataset_that_raises_stop_iteration_is_an_error_and_no_short_epoch(after, iterator):
    message = r"X as a Dataset of length 60 must have a row for each index below that; row \d+ raises StopIteration"
    with pytest.raises(RuntimeError, match=message):
        net(**iterator).fit(Stops(after), Y)
    fitted = net(max_epochs=1).fit(Stops(60), Y)
    with pytest.raises(RuntimeError, match=message):
        fitted.predict(Stops(after))


def test_a_collate_function_that_raises_stop_iteration_is_an_error():
    def collate(batch):
        if len(batch) < 16:  # the last batch
            raise StopIteration
        return torch.utils.data.default_collate(batch)

    with pytest.raises(RuntimeError, match="the collate function raises StopIteration; it must return a batch"):
        net(iterator_train__collate_fn=collate, batch_size=16).fit(Stops(60), Y)


class Empty(Sampler):
    def __iter__(self):
        return iter(())

    def __len__(self):
        return 60


def test_an_epoch_without_a_batch_is_an_error(data):
    with pytest.raises(ValueError, match="epoch 1 had no batch to train on"):
        net(iterator_train__sampler=Empty()).fit(*data)
