"""The default module, and which sizes a module is given: those it asks for and has not chosen itself."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from imbalanced_torch import MLP, ImbalancedNetClassifier


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 1, "random_state": 0, **kwargs})


class Chosen(nn.Module):
    """An LSTM's input_size and an embedding's output_size are no columns of X and no logits."""

    def __init__(self, input_size=5, output_size=16, n_classes=None, num_classes=7):
        super().__init__()
        self.sizes = input_size, output_size, n_classes, num_classes
        self.lstm = nn.LSTM(input_size, output_size, batch_first=True)
        self.output = nn.Linear(output_size, n_classes)

    def forward(self, X):
        return self.output(self.lstm(X)[0][:, -1])


@pytest.fixture
def series():
    """60 rows of 6 steps of 5 values, three classes."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 6, 5)), np.arange(60) % 3


def test_a_default_is_the_users_choice_unless_it_is_none(series):
    assert net(Chosen).fit(*series).module_.sizes == (5, 16, 3, 7)
    assert net(partial(Chosen, output_size=4)).fit(*series).module_.sizes == (5, 4, 3, 7)
    assert net(Chosen, module__output_size=3, module__n_classes=3).fit(*series).module_.sizes == (5, 3, 3, 7)
    assert net(lambda n_classes=None, size=9: Chosen(5, size, n_classes)).fit(*series).module_.sizes == (5, 9, 3, 7)


def test_a_size_without_a_default_is_filled_in(series):
    seen = {}

    def flat(n_features, n_outputs, d_in=None, num_classes=None):
        seen.update(n_features=n_features, n_outputs=n_outputs, d_in=d_in, num_classes=num_classes)
        return nn.Sequential(nn.Flatten(), nn.Linear(n_features, n_outputs))

    net(flat).fit(*series)
    assert seen == {"n_features": 30, "n_outputs": 3, "d_in": 30, "num_classes": 3}


def test_the_mlp_has_as_many_logits_as_the_classes_need(data, three_classes):
    for module in (MLP, partial(MLP, hidden_sizes=(4,))):
        assert net(module).fit(*data).module_.output.out_features == 1
        assert net(module).fit(*three_classes).module_.output.out_features == 3
    assert MLP(3).output.out_features == 1
    assert net(module__n_outputs=2).fit(*data).module_.output.out_features == 2


def recurrent(input_size, n_outputs):
    return nn.Sequential(nn.Flatten(0, 1), nn.Linear(input_size, n_outputs))


def test_the_error_says_who_put_which_size_there(series):
    with pytest.raises(ValueError, match="module Sequential can't take a batch of float64 of shape") as raised:
        net(recurrent).fit(*series)
    assert str(raised.value).endswith(
        ". input_size=30 was inferred from X, whose rows have shape (6, 5); set module__input_size."
    )
    with pytest.raises(ValueError, match=r"\. The module was made with module__input_size=4\.$"):
        net(recurrent, module__input_size=4).fit(*series)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_features": 2.0}, TypeError, "n_features must be an int; it is 2.0."),
        ({"n_features": 0}, ValueError, "n_features must be at least 1; it is 0."),
        ({"n_outputs": True}, TypeError, "n_outputs must be an int; it is True."),
        (
            {"hidden_sizes": "64"},
            TypeError,
            "hidden_sizes must be a sequence of ints, one for each hidden layer, such ",
        ),
        ({"hidden_sizes": [8, None]}, TypeError, "each of hidden_sizes must be an int; it is None."),
        ({"hidden_sizes": [-1]}, ValueError, "each of hidden_sizes must be at least 1; it is -1."),
        ({"activation": nn.ReLU()}, TypeError, "activation must be a class of torch.nn.Module such as torch.nn.ReLU;"),
        ({"activation": torch.relu}, TypeError, "..."),
        ({"activation": lambda: 3}, TypeError, "activation must be a class of torch.nn.Module such as torch.nn.ReLU;"),
        ({"dropout": 1}, ValueError, "dropout must be in [0, 1); it is 1."),
        ({"dropout": float("nan")}, ValueError, "dropout must be in [0, 1); it is nan."),
        ({"dropout": ""}, TypeError, "dropout must be a number in [0, 1); it is ''."),
    ],
)
def test_the_default_module_says_what_its_parameters_must_be(parameters, error, message):
    with pytest.raises(error) as raised:
        MLP(**{"n_features": 3, **parameters})
    assert str(raised.value).startswith(message.removesuffix("..."))


@pytest.mark.parametrize("hidden_sizes", [[], (), range(2, 4), np.array([8, 4], dtype=np.int8), iter([3])])
def test_hidden_sizes_are_any_sequence(hidden_sizes):
    expected = list(hidden_sizes) if not hasattr(hidden_sizes, "__next__") else [3]
    given = iter([3]) if hasattr(hidden_sizes, "__next__") else hidden_sizes
    assert [layer.out_features for layer in MLP(5, 1, given).hidden[::2]] == expected


@pytest.mark.parametrize("training", [True, False])
def test_every_layer_takes_a_full_backward_hook(training):
    """Explainers such as shap's DeepExplainer hook layers; an operation in place would break that."""
    module, seen = MLP(4, 2, (8, 6), dropout=0.1).train(training), []
    for layer in module.modules():
        layer.register_full_backward_hook(lambda layer, grad_input, grad_output: seen.append(layer))
        layer.register_forward_hook(lambda layer, inputs, output: None)
    X = torch.randn(5, 4, requires_grad=True)
    hidden = [module.hidden[0](X)]
    before = hidden[0].detach().clone()
    module.hidden[1](hidden[0])
    assert torch.equal(hidden[0], before)
    module(X).sum().backward()
    assert set(seen) == set(module.modules())
    assert X.grad is not None


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")  # X needs no gradient
def test_a_fitted_default_module_can_be_hooked_and_trained_on(data):
    X, y = data
    fitted = net(warm_start=True).fit(X, y)
    for layer in fitted.module_.modules():
        layer.register_full_backward_hook(lambda layer, grad_input, grad_output: None)
    assert np.isfinite(fitted.fit(X, y).predict_proba(X)).all()


class TakesNaN(nn.Module):
    """A module that fills in missing values."""

    allow_nan = True

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return self.linear(X.nan_to_num())


def factory(n_features, n_outputs):
    return TakesNaN(n_features, n_outputs)


factory.allow_nan = True


@pytest.mark.parametrize(
    "module", [TakesNaN, TakesNaN(5, 1), partial(TakesNaN, n_outputs=1), partial(partial(TakesNaN)), factory,
               partial(factory, n_outputs=1)],
    ids=["class", "instance", "partial", "partial of partial", "factory", "partial of factory"],
)  # fmt: skip
def test_nan_is_allowed_by_the_module_behind_a_partial_or_a_factory(data, module):
    X, y = data[0].copy(), data[1]
    X[::7, 1] = np.nan
    fitted = net(module).fit(X, y)
    assert np.isfinite(fitted.predict_proba(X)).all()
    assert fitted.__sklearn_tags__().input_tags.allow_nan


def test_a_module_that_a_factory_returns_each_time_is_trained_in_a_copy(data):
    shared = nn.Linear(5, 1)
    before = {name: value.clone() for name, value in shared.state_dict().items()}
    first, second = (net(lambda: shared, lr=0.1).fit(*data) for _ in range(2))
    assert all(torch.equal(shared.state_dict()[name], value) for name, value in before.items())
    assert first.module_ is not shared
    assert not torch.equal(first.module_.weight, before["weight"])
    assert torch.equal(first.module_.weight, second.module_.weight)


class OwnSizes(nn.Module):
    """Its sizes have defaults of its own."""

    def __init__(self, n_features=9, n_outputs=1):
        super().__init__()
        self.layer = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return self.layer(X)


def test_a_default_of_the_modules_own_that_does_not_fit_is_named(data):
    X, y = data
    own = "Its own default is {}; set module__{}, or let the default be None to have it inferred"
    with pytest.raises(ValueError, match=own.format("n_features=9", "n_features")):
        ImbalancedNetClassifier(OwnSizes).fit(X, y)
    with pytest.raises(ValueError, match=own.format("n_outputs=1", "n_outputs")):
        ImbalancedNetClassifier(OwnSizes, module__n_features=5).fit(X, np.arange(300) % 3)
    with pytest.raises(ValueError, match="can't take a batch") as raised:
        ImbalancedNetClassifier(OwnSizes, module__n_features=4).fit(X, y)
    assert "Its own default" not in str(raised.value)


@pytest.mark.parametrize("maker", [partial(OwnSizes, 5), lambda n_features: OwnSizes(n_features)])
def test_nan_before_a_module_that_does_not_declare_it_names_allow_nan(data, maker):
    X, y = data
    X = np.where(np.arange(5) == 2, np.nan, X)
    with pytest.raises(ValueError, match=r"contains NaN\. Impute them, .* or declare allow_nan = True on the module"):
        ImbalancedNetClassifier(maker).fit(X, y)
