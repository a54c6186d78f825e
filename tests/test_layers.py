"""The layers of the default net give what the module and autograd give, and are left to them where they must be."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from tolerances import assert_close_to_rounding
from torch import nn
from torch.nn.utils import parameters_to_vector, parametrizations

from imbalanced_torch import MLP, ImbalancedNetClassifier, MLPEnsemble
from imbalanced_torch._ensemble.column_encoder import ColumnEncoder
from imbalanced_torch._ensemble.members import one_after_the_other
from imbalanced_torch._fast.layers import Layers
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


class Mine(MLPEnsemble):
    """A module of the user's own."""


def criterion_of(kind, n_classes, weights):
    criterion = resolve_criterion(kind, n_classes, {})
    criterion.set_classes(weights, np.arange(1, n_classes + 1))
    return criterion


def ensemble(n_outputs=1, hidden_sizes=(4, 4), dropout=0.0, dtype=torch.float32):
    """Three members on numbers with bins and missing values, and a category: the two first layers differ in inputs."""
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=(50, 3)), rng.integers(0, 3, 50)]
    X[::7, 1] = np.nan
    encoder = ColumnEncoder(4).fit(X, np.array([0, 0, 0, 3]), None, 0)
    module = MLPEnsemble(4, n_outputs, 3, hidden_sizes, dropout, encoder=encoder, seed=0, dtype=dtype)
    rows = module.encode(torch.from_numpy(rng.permutation(np.tile(X, (3, 1)))))
    return module.train(), rows.view(3, 50, -1)


def autograds(module, criterion, X, codes, row_weights):
    """Return logits, loss and gradients as the module and autograd find them."""
    parameters = [*module.parameters(), *criterion.parameters()]
    logits = module(X)
    loss = criterion(*one_after_the_other(logits, codes, row_weights))
    gradients = torch.autograd.grad(loss, parameters)
    for parameter in parameters:
        parameter.grad = None
    return logits, loss, gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden_sizes", [(7,), (16, 8), (5, 9, 3)])
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
    module, rows = ensemble(n_outputs, hidden_sizes, dtype=dtype)
    weights = np.linspace(0.5, 3, n_classes) if "class" in weighted else np.ones(n_classes)
    criterion = criterion_of(kind, n_classes, weights).to(dtype)
    layers = Layers.of(module)
    for n in (33, 33, 1, 40):  # the room is used again, or made anew
        X, codes = rows[:, :n], torch.randint(n_classes, (3, n))
        row_weights = torch.rand(3, n, dtype=dtype) if "row" in weighted else None
        X_before = X.clone()
        logits, loss, expected = autograds(module, criterion, X, codes, row_weights)
        found_logits, found_loss = layers.backpropagate(criterion, X, codes, row_weights)
        assert_close_to_rounding(found_logits, logits)
        assert_close_to_rounding(found_loss, loss)
        found = [parameter.grad for parameter in (*module.parameters(), *criterion.parameters())]
        # As one vector: the terms of a bias's gradient may cancel, and leave little but rounding.
        assert_close_to_rounding(parameters_to_vector(found), parameters_to_vector(expected))
        np.testing.assert_array_equal(X, X_before)  # NaN among them


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("in_a_fit", [True, False])
def test_units_are_dropped_as_the_module_does(training, in_a_fit):
    """Without a fit's generator masks come from torch's global one, with it from slices of a pool."""
    module, X = ensemble(hidden_sizes=(16, 8), dropout=0.3)
    module.train(training)
    criterion, codes = criterion_of(None, 2, np.ones(2)), torch.arange(150).view(3, 50) % 2

    def seeded():
        torch.manual_seed(1)
        module.dropout.generator = torch.Generator().manual_seed(1) if in_a_fit else None
        module.dropout.pool = None

    seeded()
    _, loss, expected = autograds(module, criterion, X, codes, None)
    seeded()
    _, found = Layers.of(module).backpropagate(criterion, X, codes, None)
    assert_close_to_rounding(found, loss)
    assert_close_to_rounding([parameter.grad for parameter in module.parameters()], list(expected))


def test_a_step_counts_and_is_taken_into_the_running_means_in_training_alone():
    (ours, X), (theirs, _) = ensemble(), ensemble()
    criterion, codes = criterion_of(None, 2, np.ones(2)), torch.zeros(3, 50, dtype=torch.long)
    for module in (ours, theirs):
        module.track()
        with torch.no_grad():
            module.output.bias += 1.0
    Layers.of(ours).backpropagate(criterion, X, codes, None)
    theirs(X)
    assert int(ours.n_steps) == int(theirs.n_steps) == 2
    for name in ("mean_weight", "mean_bias"):
        means = [[getattr(layer, name) for layer in module.layers()] for module in (ours, theirs)]
        assert_close_to_rounding(*means)
    assert not torch.equal(ours.output.mean_bias, ours.output.bias)
    ours.eval()
    Layers.of(ours).backpropagate(criterion, X, codes, None)
    assert int(ours.n_steps) == 2


def nothing(*args):
    return None


SPECIAL = {
    "a frozen parameter": lambda module: module.hidden[0].bias.requires_grad_(False),
    "a shared layer": lambda module: setattr(module.hidden, "0", module.output),
    "a parametrization": lambda module: parametrizations.weight_norm(module.hidden[0]),
    "half precision": lambda module: module.half(),
    "a forward of its own": lambda module: setattr(module, "forward", module.forward),
    "a forward hook": lambda module: module.first[1].register_forward_hook(nothing),
    "a forward hook before": lambda module: module.register_forward_pre_hook(nothing),
    "a hook on the encoder": lambda module: module.encoder.register_forward_hook(nothing),
    "a hook on the masks": lambda module: module.dropout.register_forward_hook(nothing),
    "a backward hook": lambda module: module.output.register_full_backward_hook(nothing),
    "a backward hook before": lambda module: module.hidden.register_full_backward_pre_hook(nothing),
    "a parameter's hook": lambda module: module.output.weight.register_hook(nothing),
    "a parameter's hook after": lambda module: module.output.weight.register_post_accumulate_grad_hook(nothing),
}


@pytest.mark.parametrize("change", SPECIAL.values(), ids=SPECIAL)
def test_a_module_with_more_to_it_is_left_to_torch(change):
    module, _ = ensemble()
    assert Layers.of(module) is not None
    change(module)
    assert Layers.of(module) is None


OTHERS = {
    "another layer": lambda module: module.hidden.append(nn.BatchNorm1d(4)),
    "another kind of layer": lambda module: setattr(module, "output", nn.Linear(4, 1)),
    "another dropout": lambda module: setattr(module, "dropout", nn.Dropout(0.1)),
    "a parameter of the encoder": lambda module: setattr(module.encoder, "own", nn.Parameter(torch.zeros(1))),
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_part_that_was_replaced_is_left_to_torch(change):
    module, _ = ensemble()
    change(module)
    assert Layers.of(module) is None


@pytest.mark.parametrize("module", [MLP(4), nn.Linear(4, 1), Mine(4)])
def test_another_module_is_left_to_torch(module):
    assert Layers.of(module) is None


def test_torchs_contexts_are_heeded():
    module, _ = ensemble()
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
    """Freezes the first layers before the batch of that number, and thaws them before the next."""

    def __init__(self, at):
        self.at = at

    def on_batch_begin(self, net, training=None, **kwargs):
        layers = net.module_.first
        if training:
            self.count = getattr(self, "count", -1) + 1
            layers.requires_grad_(self.count != self.at)
            self.before = layers[0].weight.detach().clone()

    def on_batch_end(self, net, training=None, **kwargs):
        if training:
            assert torch.equal(self.before, net.module_.first[0].weight) == (self.count == self.at)


def test_a_callback_may_change_the_module_between_batches(data, backpropagated):
    ImbalancedNetClassifier(
        max_epochs=1, epoch_size=300, batch_size=100, callbacks=[Freezing(1)], random_state=0, early_stopping=False
    ).fit(*data)
    assert len(backpropagated) == 2


@pytest.mark.parametrize("kwargs", [{}, {"sampling": "weighted"}, {"class_weight": "balanced", "criterion": "focal"}])
def test_the_default_net_is_trained_by_its_layers(data, backpropagated, kwargs):
    X, y = data
    settings = {"max_epochs": 2, "random_state": 0, "module__hidden_sizes": (16, 8), **kwargs}
    ours = ImbalancedNetClassifier(**settings).fit(X, y)
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
    module, X = ensemble(n_outputs=2)
    Layers.of(module).backpropagate(criterion, X, torch.zeros(3, 50, dtype=torch.long), None)
    assert calls == [part]
