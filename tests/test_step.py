"""The shortcut through skorch's loops does what they do, to rounding, and leaves them to nets that need them."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EpochScoring, GradientNormClipping, LRScheduler
from tolerances import assert_close_to_rounding
from torch import nn
from torch.utils.data import DataLoader

from imbalanced_torch import MLP, ImbalancedNet, ImbalancedNetClassifier, MLPEnsemble
from imbalanced_torch._fast import layers as fast_layers
from imbalanced_torch._fast.layers import Layers
from imbalanced_torch._net import skorch_net
from imbalanced_torch._net.callbacks import BatchMean
from imbalanced_torch._remedies.row_streams import Draws, RowsByClass


class Ordinary(ImbalancedNet):
    """Overrides a step, if only to do the same, and so goes skorch's way."""

    def train_step(self, batch, **kwargs):
        return super().train_step(batch, **kwargs)

    def evaluation_step(self, batch, training=False):
        return super().evaluation_step(batch, training=training)


class OrdinaryClassifier(ImbalancedNetClassifier):
    net_class = Ordinary


@pytest.fixture
def taken(monkeypatch):
    """Count the epochs and predictions that take the shortcut."""
    counts = {"epochs": 0, "predictions": 0}

    choose, direct = skorch_net.fast.choose_step, skorch_net.direct_logits

    def counted_choice(*args):
        step, why = choose(*args)
        counts["epochs"] += step is not None
        return step, why

    def counted_logits(*args):
        counts["predictions"] += 1
        return direct(*args)

    monkeypatch.setattr(skorch_net.fast, "choose_step", counted_choice)
    monkeypatch.setattr(skorch_net, "direct_logits", counted_logits)
    return counts


class Log(Callback):
    """Writes down every call."""

    def __init__(self):
        self.calls = []

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.calls.append(("begin", training, batch[0].sum().item()))

    def on_grad_computed(self, net, named_parameters=None, batch=None, **kwargs):
        self.calls.append(("gradient", [(name, p.grad.clone()) for name, p in named_parameters]))

    def on_batch_end(self, net, batch=None, training=None, loss=None, y_pred=None, **kwargs):
        written = net.history[-1, "batches", -1]
        self.calls.append(("end", training, loss.item(), y_pred.detach().clone(), dict(written)))


OPTIMIZERS = {
    "adam": {"optimizer": torch.optim.Adam},
    "adamw": {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1},
    "sgd": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
    "not fused": {"optimizer__fused": False},
}


class Mine(MLPEnsemble):
    """A module of the user's own, for which torch builds its graph."""


def fitted_both_ways(data, optimizer, module=None, listeners=()):
    """Fit by the shortcut and by skorch's loop."""
    X, y = data
    made = {
        EpochScoring: lambda: EpochScoring("f1", on_train=True),
        GradientNormClipping: lambda: GradientNormClipping(1),
    }
    nets = []
    for classifier in (ImbalancedNetClassifier, OrdinaryClassifier):
        callbacks = [made.get(kind, kind)() for kind in listeners]
        kwargs = {"class_weight": "balanced", "module__dropout": 0.2, "max_epochs": 4, "random_state": 0, "lr": 1e-3}
        if module is not MLP:
            kwargs |= {"module__hidden_sizes": (16, 8), "module__dtype": torch.float64}
        net = classifier(module, **kwargs, **OPTIMIZERS[optimizer], callbacks=callbacks, early_stopping=True)
        nets.append(net.fit(X, y, sample_weight=np.linspace(0.5, 2, 300)))
    return nets


def assert_trained_alike(ours, theirs):
    """Compare what two fits have learned, and what they have written down meanwhile."""
    histories = [[{k: v for k, v in row.items() if k != "dur"} for row in net.history_] for net in (ours, theirs)]
    assert_close_to_rounding(*histories)
    assert_close_to_rounding(dict(ours.module_.state_dict()), dict(theirs.module_.state_dict()))


@pytest.mark.parametrize("listeners", [[], [Log], [GradientNormClipping], [EpochScoring], [LRScheduler]], ids=str)
@pytest.mark.parametrize("module", [None, MLP, Mine])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_trains_as_skorch_does(data, taken, optimizer, module, listeners):
    ours, theirs = fitted_both_ways(data, optimizer, module, listeners)
    assert taken["epochs"] == 4
    assert_trained_alike(ours, theirs)
    if listeners == [Log]:
        logs = [dict(net.net_.callbacks_)["Log"].calls for net in (ours, theirs)]
        assert_close_to_rounding(*logs)
        assert len(logs[0]) > 40
    assert_close_to_rounding(ours.predict_proba(data[0]), theirs.predict_proba(data[0]))


def after(original, change):
    """Return a method that changes what the original returns."""
    return lambda *args: change(args[0], original(*args))


def forgetting_a_row(criterion, loss_and_gradient):
    loss_and_gradient[1][-1] = 0
    return loss_and_gradient


def of_one_row_less(criterion, loss_and_gradient):
    loss, gradient = loss_and_gradient
    return loss, gradient.mul_(len(gradient) / (len(gradient) - 1))


def losing_a_millionth(criterion, loss_and_gradient):
    loss, gradient = loss_and_gradient
    return loss, gradient.mul_(1 - 1e-6)


def dropping_the_class_weights(criterion, logits, codes, sample_weight=None):
    equal, criterion.equal = criterion.equal, True
    found = WITH_GRADIENT(criterion, logits, codes, sample_weight)
    criterion.equal = equal
    return found


def dropping_the_row_weights(criterion, logits, codes, sample_weight=None):
    return WITH_GRADIENT(criterion, logits, codes)


def without_the_scale_of_dropout(layers, inputs):
    """Units are dropped, and the gradient goes back as if the others had not been scaled by 1 / (1 - p)."""
    layers.module.dropout.p = 0.2
    logits = FORWARD(layers, inputs)
    layers.module.dropout.p = 0.0
    return logits


def forgetting_a_bias(layers, logits_and_loss):
    layers.module.first[0].bias.grad.zero_()
    return logits_and_loss


WITH_GRADIENT, FORWARD, BACKPROPAGATE = fast_layers.loss_and_gradient, Layers._forward, Layers.backpropagate
#: What may go wrong on the way of the layers, which skorch's loop does not go.
MISTAKES = {
    "a row is missing": (fast_layers, "loss_and_gradient", after(WITH_GRADIENT, forgetting_a_row)),
    "the mean is of a row less": (fast_layers, "loss_and_gradient", after(WITH_GRADIENT, of_one_row_less)),
    "a millionth is lost": (fast_layers, "loss_and_gradient", after(WITH_GRADIENT, losing_a_millionth)),
    "class weights are dropped": (fast_layers, "loss_and_gradient", dropping_the_class_weights),
    "row weights are dropped": (fast_layers, "loss_and_gradient", dropping_the_row_weights),
    "dropout is not scaled": (Layers, "_forward", without_the_scale_of_dropout),
    "a bias does not learn": (Layers, "backpropagate", after(BACKPROPAGATE, forgetting_a_bias)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_comparison_rejects_a_mistake_larger_than_rounding(data, monkeypatch, optimizer, mistake):
    monkeypatch.setattr(*MISTAKES[mistake])
    ours, theirs = fitted_both_ways(data, optimizer)
    with pytest.raises(AssertionError):
        assert_trained_alike(ours, theirs)


class NeedsItsClosure(torch.optim.SGD):
    """As some optimizers outside torch: the closure is optional in the signature only."""

    def step(self, closure=None):
        assert closure is not None
        return super().step(closure)


@pytest.mark.parametrize(
    "needs",
    [
        {"optimizer": NeedsItsClosure},
        {"optimizer": torch.optim.LBFGS, "lr": 0.1},
    ],
    ids=["closure in truth", "closure"],
)
def test_an_optimizer_that_needs_skorchs_step_gets_it(data, taken, needs):
    fitted = ImbalancedNetClassifier(MLP, max_epochs=2, random_state=0, **needs).fit(*data)
    assert taken["epochs"] == 0
    assert fitted.n_iter_ == 2
    assert "may need a closure" in fitted.net_.fast_path_


@pytest.mark.parametrize(
    "setting",
    [
        {"iterator_train": type("MyLoader", (DataLoader,), {})},
        {"iterator_train__num_workers": 0},
        {"iterator_train__shuffle": False},
    ],
    ids=["iterator", "loader parameter", "own order"],
)
def test_a_loader_of_the_users_gets_the_fast_step_too(data, taken, setting):
    ours, theirs = (
        c(MLP, max_epochs=2, random_state=0, **setting).fit(*data)
        for c in (ImbalancedNetClassifier, OrdinaryClassifier)
    )
    assert taken["epochs"] == 2
    assert_trained_alike(ours, theirs)
    assert ours.net_.fast_path_ == "autograd: the module is MLP, not MLPEnsemble"
    assert theirs.net_.fast_path_ == "skorch's train_step: Ordinary overrides train_step"


@pytest.mark.parametrize(
    ("method", "fast"),
    [
        *((name, False) for name in ("train_step", "train_step_single", "get_loss", "infer")),
        *((name, True) for name in ("on_batch_begin", "on_batch_end", "notify", "run_single_epoch")),
    ],
)
def test_a_method_that_is_overridden_is_called(data, taken, method, fast):
    called = []

    def override(self, *args, **kwargs):
        called.append(method)
        return getattr(super(derived, self), method)(*args, **kwargs)

    derived = type("Derived", (ImbalancedNet,), {method: override})
    classifier = type("Classifier", (ImbalancedNetClassifier,), {"net_class": derived})
    fitted = classifier(max_epochs=1, random_state=0).fit(*data)
    assert fitted.net_.fast_path_ == "layer by layer" or not fast
    assert len(called) >= (1 if method == "run_single_epoch" else 5)  # batches
    assert taken["epochs"] == fast


def test_predictions_of_many_rows_are_those_of_the_ordinary_route(data, taken):
    X, y = data
    many = np.tile(X, (60, 1))  # more than one chunk
    ours, theirs = (c(max_epochs=2, random_state=0).fit(X, y) for c in (ImbalancedNetClassifier, OrdinaryClassifier))
    assert_close_to_rounding(ours.predict_proba(many), theirs.predict_proba(many))
    assert taken["predictions"] == 1
    assert ours.predict_proba(X[:1]).shape == (1, 2)


@pytest.mark.parametrize(
    "setting", [{"iterator_valid__batch_size": 7}, {"iterator_valid": type("L", (DataLoader,), {})}]
)
def test_predictions_go_through_an_iterator_of_the_users(data, taken, setting):
    fitted = ImbalancedNetClassifier(MLP, max_epochs=1, random_state=0, **setting).fit(*data)
    fitted.predict_proba(data[0])
    assert taken["predictions"] == 0


def test_predicting_puts_the_module_in_evaluation_mode(data):
    fitted = ImbalancedNetClassifier(MLP, max_epochs=1, module__dropout=0.5, random_state=0).fit(*data)
    fitted.module_.train()
    np.testing.assert_array_equal(fitted.predict_proba(data[0]), fitted.predict_proba(data[0]))
    assert not fitted.module_.training


@pytest.mark.parametrize("moment", ["on_batch_begin", "on_grad_computed", "on_batch_end"])
def test_a_callback_may_predict_between_batches(data, moment):
    predicts = type("Predicts", (Callback,), {moment: lambda self, net, **kwargs: net.forward(data[0])})

    class Modes(nn.Linear):
        modes = ()

        def forward(self, X):
            self.modes = (*self.modes, (self.training, torch.is_grad_enabled()))
            return super().forward(X)

    fitted = ImbalancedNetClassifier(Modes, callbacks=[predicts()], max_epochs=1, random_state=0).fit(*data)
    assert {mode for mode in fitted.module_.modes if mode[1]} == {(False, True), (True, True)}  # the trial; training
    assert sum(mode == (True, True) for mode in fitted.module_.modes) == 5


def test_the_step_is_fused_where_it_can_be(data):
    def fused(**kwargs):
        return (
            ImbalancedNetClassifier(MLP, max_epochs=1, **kwargs).fit(*data).net_.optimizer_.param_groups[0].get("fused")
        )

    assert fused() is True
    assert fused(optimizer=torch.optim.AdamW) is True
    assert not fused(optimizer__fused=False)
    assert not fused(optimizer__foreach=True)
    assert not fused(optimizer=torch.optim.SGD)


def test_a_mean_over_batches_is_weighted_by_their_size(data):
    fitted = ImbalancedNetClassifier(MLP, max_epochs=1, random_state=0).fit(*data)
    batches = fitted.history_[-1]["batches"]
    sizes = [batch["train_batch_size"] for batch in batches]
    expected = np.average([batch["train_loss"] for batch in batches], weights=sizes)
    assert len(set(sizes)) == 2
    assert_close_to_rounding(fitted.history_[-1, "train_loss"], expected)
    assert any(isinstance(callback, BatchMean) for _, callback in fitted.net_.callbacks_)


def test_more_rows_than_multinomial_takes_are_drawn():
    n = 2**24 + 10
    codes = np.zeros(n, dtype=np.uint8)
    codes[:5] = 1
    rows = RowsByClass(codes, 2, torch.Generator().manual_seed(0))
    drawn = Draws(np.array([0.5, 0.5]), rows).take(1000).numpy()
    assert 400 < (drawn < 5).sum() < 600
    assert drawn.max() > 2**23
