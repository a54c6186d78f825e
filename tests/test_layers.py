"""The layers of the default module give what the module and autograd give, and are left to them where they must be."""

import numpy as np
import pytest
import torch
from imbalanced_torch._fast.mlp import Layers
from skorch.callbacks import Callback
from tolerances import assert_close_to_rounding
from torch import nn
from torch.nn.utils import parameters_to_vector, parametrizations

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._losses.weighted import resolve_criterion


class Squares(nn.Module):
    """Half the squared error: a criterion that is no cross-entropy, with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.ones(1))

    def forward(self, f, target):
        return (f + self.shift - target) ** 2 / 2

    def probabilities(self, f):
        return f.clamp(0, 1)


class Mine(MLP):
    """A module of the user's own."""


def criterion_of(kind, n_classes, weights):
    criterion = resolve_criterion(kind, n_classes, {})
    criterion.set_classes(weights, np.arange(1, n_classes + 1))
    return criterion


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden_sizes", [(), (7,), (16, 8), (5, 9, 3)])
@pytest.mark.parametrize("weighted", ["", "class", "row", "class, row"])
@pytest.mark.parametrize(
    ("n_classes", "n_outputs", "kind"),
    [
        *[(2, 1, None), (2, 2, None), (2, 2, nn.CrossEntropyLoss), (2, 1, nn.CrossEntropyLoss), (5, 5, None)],
        *[(2, 1, "focal"), (5, 5, "ldam"), (2, 1, Squares), (3, 3, nn.CrossEntropyLoss(label_smoothing=0.1))],
    ],
)
def test_loss_and_gradients_are_autograds(n_classes, n_outputs, kind, weighted, hidden_sizes, dtype):
    torch.manual_seed(0)
    module = MLP(6, n_outputs, hidden_sizes).to(dtype)
    weights = np.linspace(0.5, 3, n_classes) if "class" in weighted else np.ones(n_classes)
    criterion = criterion_of(kind, n_classes, weights).to(dtype)
    layers, parameters = Layers.of(module), [*module.parameters(), *criterion.parameters()]
    for n in (33, 33, 1, 40):  # the room is used again, or made anew
        X, codes = torch.randn(n, 2, 3, dtype=dtype), torch.arange(n) % n_classes
        row_weights = torch.rand(n, dtype=dtype) if "row" in weighted else None
        X_before = X.clone()
        logits = module(X)
        loss = criterion(logits, codes, row_weights)
        expected = torch.autograd.grad(loss, parameters)
        for parameter in parameters:
            parameter.grad = None
        found_logits, found_loss = layers.backpropagate(criterion, X, codes, row_weights)
        assert_close_to_rounding(found_logits, logits)
        assert_close_to_rounding(found_loss, loss)
        found = [parameter.grad for parameter in parameters]
        # As one vector: the terms of a bias's gradient may cancel, and leave little but rounding.
        assert_close_to_rounding(parameters_to_vector(found), parameters_to_vector(expected))
        assert torch.equal(X, X_before)


@pytest.mark.parametrize("training", [True, False])
def test_units_are_dropped_as_torch_does(training):
    module, criterion = MLP(6, hidden_sizes=(16, 8), dropout=0.3).train(training), criterion_of(None, 2, np.ones(2))
    X, codes = torch.randn(50, 6), torch.arange(50) % 2
    torch.manual_seed(1)
    expected = torch.autograd.grad(criterion(module(X), codes), list(module.parameters()))
    torch.manual_seed(1)
    Layers.of(module).backpropagate(criterion, X, codes, None)
    assert_close_to_rounding([parameter.grad for parameter in module.parameters()], expected)


def nothing(*args):
    return None


SPECIAL = {
    "a frozen parameter": lambda module: module.hidden[0].bias.requires_grad_(False),
    "a shared layer": lambda module: setattr(module.hidden, "2", module.hidden[0]),
    "no bias": lambda module: setattr(module.hidden[0], "bias", None),
    "another activation": lambda module: setattr(module.hidden, "1", nn.Tanh()),
    "a layer without dropout": lambda module: module.hidden.insert(2, nn.Dropout(0.1)),
    "another layer": lambda module: module.hidden.append(nn.BatchNorm1d(4)),
    "a parametrization": lambda module: parametrizations.weight_norm(module.hidden[0]),
    "a forward of its own": lambda module: setattr(module, "forward", module.forward),
    "a forward hook": lambda module: module.hidden[1].register_forward_hook(nothing),
    "a forward hook before": lambda module: module.register_forward_pre_hook(nothing),
    "a backward hook": lambda module: module.output.register_full_backward_hook(nothing),
    "a backward hook before": lambda module: module.hidden.register_full_backward_pre_hook(nothing),
    "a parameter's hook": lambda module: module.output.weight.register_hook(nothing),
    "a parameter's hook after": lambda module: module.output.weight.register_post_accumulate_grad_hook(nothing),
}


@pytest.mark.parametrize("change", SPECIAL.values(), ids=SPECIAL)
def test_a_module_with_more_to_it_is_left_to_torch(change):
    module = MLP(4, hidden_sizes=(4, 4))
    assert Layers.of(module) is not None
    change(module)
    assert Layers.of(module) is None


ALL_DROPPED = MLP(4, dropout=0.5)
ALL_DROPPED.hidden[2].p = 1.0


@pytest.mark.parametrize("module", [ALL_DROPPED, MLP(4, activation=nn.Tanh), nn.Linear(4, 1), Mine(4)])
def test_another_module_is_left_to_torch(module):
    assert Layers.of(module) is None


def test_torchs_contexts_are_heeded():
    module = MLP(4)
    with torch.autocast("cpu"):
        assert Layers.of(module) is None
    with torch.autograd.set_detect_anomaly(True):
        assert Layers.of(module) is None
    handle = nn.modules.module.register_module_forward_hook(nothing)
    assert Layers.of(module) is None
    handle.remove()
    assert Layers.of(module) is not None


@pytest.fixture
def backpropagated(monkeypatch):
    """Count the batches whose gradients the layers find."""
    counts = []
    original = Layers.backpropagate
    monkeypatch.setattr(Layers, "backpropagate", lambda *args: counts.append(1) or original(*args))
    return counts


class Freezing(Callback):
    """Freezes the first layer before the batch of that number, and thaws it before the next."""

    def __init__(self, at):
        self.at = at

    def on_batch_begin(self, net, training=None, **kwargs):
        layer = net.module_.hidden[0]
        if training:
            self.count = getattr(self, "count", -1) + 1
            layer.requires_grad_(self.count != self.at)
            self.before = layer.weight.detach().clone()

    def on_batch_end(self, net, training=None, **kwargs):
        if training:
            assert torch.equal(self.before, net.module_.hidden[0].weight) == (self.count == self.at)


def test_a_callback_may_change_the_module_between_batches(data, backpropagated):
    ImbalancedNetClassifier(MLP, max_epochs=1, batch_size=100, callbacks=[Freezing(1)], random_state=0).fit(*data)
    assert len(backpropagated) == 2


@pytest.mark.parametrize("kwargs", [{}, {"sampling": "weighted"}, {"class_weight": "balanced", "early_stopping": True}])
def test_the_default_module_is_trained_by_its_layers(data, backpropagated, kwargs):
    X, y = data
    settings = {"max_epochs": 3, "random_state": 0, "module__hidden_sizes": (16, 8), **kwargs}
    ours = ImbalancedNetClassifier(MLP, **settings).fit(X, y)
    count = len(backpropagated)
    assert count >= 9
    theirs = ImbalancedNetClassifier(Mine, **settings).fit(X, y)
    assert len(backpropagated) == count
    assert_close_to_rounding(list(ours.module_.parameters()), list(theirs.module_.parameters()))
    many = np.tile(X, (20, 1))
    assert_close_to_rounding(ours.predict_proba(many), theirs.predict_proba(many))


@pytest.mark.parametrize("part", ["", "criterion"])
def test_a_hook_on_the_criterion_is_called(part):
    criterion, calls = criterion_of(nn.CrossEntropyLoss, 2, np.ones(2)), []
    criterion.get_submodule(part).register_forward_hook(lambda *args: calls.append(part))
    layers = Layers.of(MLP(4, 2))
    layers.backpropagate(criterion, torch.zeros(3, 4), torch.tensor([0, 1, 0]), None)
    assert calls == [part]


def test_a_deep_net_needs_room_for_its_units_and_one_gradient():
    layers = Layers.of(MLP(4, hidden_sizes=[8, 4, 8, 8, 2, 8]))
    with torch.no_grad():
        layers.logits(torch.zeros(5, 4))
    assert len({part.untyped_storage().data_ptr() for part in layers.units + layers.gradients}) == 7
