"""What hyperparameters share: plain numbers, lists in messages, and nothing of the user's kept alive."""

import gc
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from imbalanced_torch import MLP, CombinedRemedyWarning, ImbalancedNetClassifier, OverSampling
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._parameters.values import listed, number, plain


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 2, "random_state": 0, **kwargs})


# Messages


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "[]"),
        (["a", "b"], "['a', 'b']"),
        ((1,), "(1,)"),
        ({0: 0.5}, "{0: 0.5}"),
        (np.array([1, 2]), "[1, 2]"),
        ([np.int64(1), np.str_("a")], "[1, np.str_('a')]"),
        (list(range(10)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"),
        (list(range(11)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (11 in all)]"),
        (tuple("abcdefghijkl"), "('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', ... (12 in all))"),
        (dict.fromkeys(range(99), 1), "{0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1, ... (99 in all)}"),
        (np.zeros((99, 99)), "an array of shape (99, 99)"),
        ("a word", "'a word'"),
        (3.5, "3.5"),
    ],
)
def test_a_message_shows_the_first_entries_of_a_long_list(values, text):
    assert listed(values) == text


MANY = 300


def many_classes():
    y = np.repeat(np.arange(MANY), 2)
    return np.random.default_rng(0).normal(size=(len(y), 2)), y


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_weight": np.ones(MANY - 1)},
        {"class_weight": [-1.0] * MANY},
        {"class_weight": ["a"] * MANY},
        {"class_weight": np.zeros(MANY)},
        {"sampling": lambda counts: counts * 0},
        {"sampling": lambda counts: counts[1:]},
        {"prior_correction": [0.1] * MANY},
        {"prior_correction": {0: 1.0}},
        {"prior_correction": ["a"] * MANY},
        {"decision": 0.5},
        {"decision": np.ones((3, 3))},
        {"decision": np.zeros((MANY, MANY))},
        {"decision": {label: {} for label in range(MANY)}},
        {"decision": {0: 0.5, 1: 0.5}},
    ],
    ids=lambda wrong: f"{next(iter(wrong))} of {type(next(iter(wrong.values()))).__name__}",
)
def test_an_error_about_many_classes_is_short(wrong):
    with pytest.raises((ValueError, TypeError)) as raised:
        net(**wrong).fit(*many_classes())
    assert next(iter(wrong)) in str(raised.value)
    assert len(str(raised.value)) < 2500


def test_a_warning_about_many_classes_is_short():
    X, y = many_classes()
    with pytest.warns(CombinedRemedyWarning, match=r"\(300 in all\)") as caught:
        net(class_weight={0: 5}, sampling="over", max_epochs=1).fit(X, y)
    assert len(str(caught[0].message)) < 1000


def test_other_classes_in_partial_fit_are_listed_in_short():
    X, y = many_classes()
    fitted = net().partial_fit(X, y, classes=np.unique(y))
    for call in (lambda: fitted.partial_fit(X, y, classes=np.arange(400)), lambda: fitted.partial_fit(X, y + MANY)):
        with pytest.raises(ValueError, match=r"in all\)") as raised:
            call()
        assert len(str(raised.value)) < 500


# Numbers


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.int8(100), 100),
        (np.uint16(7), 7),
        (np.float32(0.5), 0.5),
        (np.True_, True),
        ((np.int8(3), 4), (3, 4)),
        ([np.int16(3), [np.uint8(4)]], [3, [4]]),
        ("word", "word"),
        (None, None),
    ],
)
def test_numbers_of_numpy_become_pythons(given, expected):
    found = plain(given)
    assert found == expected
    assert type(found) is type(expected)


def test_a_number_is_no_bool_word_or_int_beyond_floats():
    assert [number(value) for value in (True, np.True_, "1", None, 10**400)] == [None] * 5
    assert number(np.float16(0.5)) == number(0.5) == 0.5


class Wide(nn.Module):
    """A module that computes with the size it is given."""

    def __init__(self, n_features, n_outputs, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, width * 3), nn.Linear(width * 3, n_outputs))

    def forward(self, X):
        return self.layers(X)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int64])
def test_small_ints_of_numpy_serve_as_sizes(data, kind):
    numbers = {"batch_size": kind(100), "max_epochs": kind(3), "n_iter_no_change": kind(2), "epoch_size": kind(120)}
    numbers |= {"module__width": kind(100), "early_stopping": True}
    fitted = net(Wide, **numbers).fit(*data)
    expected = net(Wide, **{name: value if value is True else int(value) for name, value in numbers.items()}).fit(*data)
    np.testing.assert_array_equal(fitted.predict_proba(data[0]), expected.predict_proba(data[0]))
    assert all(fitted.get_params()[name] is value for name, value in numbers.items())
    hidden = {"module__hidden_sizes": np.array([100, 100], dtype=kind), "iterator_train__batch_size": kind(100)}
    assert net(**hidden).fit(*data).module_.hidden[0].weight.shape == (100, 5)


@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64])
def test_a_share_of_the_rows_may_be_any_float(data, kind):
    assert net(epoch_size=kind(0.5)).fit(*data).history_[-1, "train_batch_count"] == 3


# Life


def factory_of(optimizer=torch.optim.Adam):
    return lambda params, lr: optimizer(params, lr=lr)


class Factory:
    """An optimizer factory that can't be hashed."""

    __hash__ = None

    def __eq__(self, other):
        return self is other

    def __call__(self, params, lr):
        return torch.optim.SGD(params, lr=lr)


class LocalLoader(DataLoader):
    """A base of loaders."""


PIECES = {
    "partial module": lambda: {"module": partial(MLP, hidden_sizes=(4,))},
    "module factory": lambda: {"module": lambda n_features, n_outputs: nn.Linear(n_features, n_outputs)},
    "local module": lambda: {"module": type("Local", (Wide,), {})},
    "partial optimizer": lambda: {"optimizer": partial(torch.optim.SGD, momentum=0.9), "optimizer__weight_decay": 0.1},
    "optimizer factory": lambda: {"optimizer": factory_of()},
    "unhashable optimizer factory": lambda: {"optimizer": Factory()},
    "local optimizer": lambda: {"optimizer": type("Local", (torch.optim.SGD,), {}), "optimizer__momentum": 0.9},
    "local criterion": lambda: {"criterion": type("Local", (nn.BCEWithLogitsLoss,), {})},
    "local loader": lambda: {"iterator_train": type("Local", (LocalLoader,), {})},
    "callable of counts": lambda: {"sampling": lambda counts: counts},
    "strategy": lambda: {"sampling": OverSampling(0.5)},
}


@pytest.fixture
def quick_gc():
    """Let the collector look at what the test makes only."""
    gc.collect(0)
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("quick_gc")
@pytest.mark.parametrize("piece", PIECES)
def test_what_the_user_passes_lives_no_longer_than_the_estimator(data, piece):
    parameters = PIECES[piece]()
    alive = weakref.ref(next(iter(parameters.values())))
    net(**parameters).fit(*data).predict(data[0])
    del parameters
    gc.collect()
    assert alive() is None


@pytest.mark.usefixtures("quick_gc")
def test_a_class_of_nets_lives_no_longer_than_its_estimator(data):
    mine = type("Mine", (ImbalancedNet,), {})
    estimator = type("Estimator", (ImbalancedNetClassifier,), {"net_class": mine})
    alive = weakref.ref(mine), weakref.ref(estimator)
    estimator(max_epochs=1, random_state=0, optimizer__weight_decay=0.1).fit(*data).predict(data[0])
    del mine, estimator
    gc.collect()
    assert [one() for one in alive] == [None, None]
