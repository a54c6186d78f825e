"""The shortcut through skorch's loops does what they do, bit by bit, and leaves them whoever needs them."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EpochScoring, GradientNormClipping, LRScheduler
from torch import nn
from torch.utils.data import DataLoader

import imbalanced_torch._net.skorch_net
from imbalanced_torch import MLP, ImbalancedNet, ImbalancedNetClassifier
from imbalanced_torch._fast.step import BatchMean
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

    def counting(name, function):
        def counted(*args):
            counts[name] += 1
            return function(*args)

        return counted

    module = imbalanced_torch._net.skorch_net
    monkeypatch.setattr(module, "train_epoch", counting("epochs", module.train_epoch))
    monkeypatch.setattr(module, "logits_of", counting("predictions", module.logits_of))
    return counts


class Log(Callback):
    """Writes down every call."""

    def __init__(self):
        self.calls = []

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.calls.append(("begin", training, batch[0].sum().item()))

    def on_grad_computed(self, net, named_parameters=None, batch=None, **kwargs):
        self.calls.append(("gradient", [(name, p.grad.sum().item()) for name, p in named_parameters]))

    def on_batch_end(self, net, batch=None, training=None, loss=None, y_pred=None, **kwargs):
        written = net.history[-1, "batches", -1]
        self.calls.append(("end", training, loss.item(), y_pred.sum().item(), dict(written)))


OPTIMIZERS = {
    "adam": {"optimizer": torch.optim.Adam},
    "adamw": {"optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.1},
    "sgd": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
    "not fused": {"optimizer__fused": False},
}


class Mine(MLP):
    """A module of the user's own, for which torch builds its graph."""


@pytest.mark.parametrize("listeners", [[], [Log], [GradientNormClipping], [EpochScoring], [LRScheduler]], ids=str)
@pytest.mark.parametrize("module", [None, Mine])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_trains_as_skorch_does_bit_by_bit(data, taken, optimizer, module, listeners):
    X, y = data
    made = {
        EpochScoring: lambda: EpochScoring("f1", on_train=True),
        GradientNormClipping: lambda: GradientNormClipping(1),
    }
    nets = []
    for classifier in (ImbalancedNetClassifier, OrdinaryClassifier):
        callbacks = [made.get(kind, kind)() for kind in listeners]
        kwargs = {"class_weight": "balanced", "module__dropout": 0.2, "max_epochs": 4, "random_state": 0}
        net = classifier(module, **kwargs, **OPTIMIZERS[optimizer], callbacks=callbacks, early_stopping=True)
        nets.append(net.fit(X, y, sample_weight=np.linspace(0.5, 2, 300)))
    assert taken["epochs"] == 4
    ours, theirs = nets
    for one, other in zip(ours.module_.parameters(), theirs.module_.parameters(), strict=True):
        assert torch.equal(one, other)
    drop = {"dur"}
    for one, other in zip(ours.history_, theirs.history_, strict=True):
        assert {k: v for k, v in one.items() if k not in drop} == {k: v for k, v in other.items() if k not in drop}
    if listeners == [Log]:
        logs = [dict(net.net_.callbacks_)["Log"].calls for net in nets]
        assert logs[0] == logs[1]
        assert len(logs[0]) > 40
    np.testing.assert_array_equal(ours.predict_proba(X), theirs.predict_proba(X))


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
        {"iterator_train": type("MyLoader", (DataLoader,), {})},
        {"iterator_train__num_workers": 0},
        {"iterator_train__shuffle": False},
    ],
    ids=["closure in truth", "closure", "iterator", "loader parameter", "own order"],
)
def test_who_needs_skorchs_loop_gets_it(data, taken, needs):
    fitted = ImbalancedNetClassifier(max_epochs=2, random_state=0, **needs).fit(*data)
    assert taken["epochs"] == 0
    assert fitted.n_iter_ == 2


@pytest.mark.parametrize(
    "method", ["train_step_single", "get_loss", "infer", "on_batch_begin", "notify", "run_single_epoch"]
)
def test_a_method_that_is_overridden_is_called(data, taken, method):
    called = []

    def override(self, *args, **kwargs):
        called.append(method)
        return getattr(super(derived, self), method)(*args, **kwargs)

    derived = type("Derived", (ImbalancedNet,), {method: override})
    classifier = type("Classifier", (ImbalancedNetClassifier,), {"net_class": derived})
    classifier(max_epochs=1, random_state=0).fit(*data)
    assert called
    assert taken["epochs"] == 0


def test_predictions_of_many_rows_are_those_of_the_ordinary_route(data, taken):
    X, y = data
    many = np.tile(X, (60, 1))  # more than one chunk
    ours, theirs = (c(max_epochs=2, random_state=0).fit(X, y) for c in (ImbalancedNetClassifier, OrdinaryClassifier))
    np.testing.assert_allclose(ours.predict_proba(many), theirs.predict_proba(many), rtol=1e-12)
    assert taken["predictions"] == 1
    assert ours.predict_proba(X[:1]).shape == (1, 2)


@pytest.mark.parametrize(
    "setting", [{"iterator_valid__batch_size": 7}, {"iterator_valid": type("L", (DataLoader,), {})}]
)
def test_predictions_go_through_an_iterator_of_the_users(data, taken, setting):
    fitted = ImbalancedNetClassifier(max_epochs=1, random_state=0, **setting).fit(*data)
    fitted.predict_proba(data[0])
    assert taken["predictions"] == 0


def test_predicting_puts_the_module_in_evaluation_mode(data):
    fitted = ImbalancedNetClassifier(max_epochs=1, module__dropout=0.5, random_state=0).fit(*data)
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
        return ImbalancedNetClassifier(max_epochs=1, **kwargs).fit(*data).net_.optimizer_.param_groups[0].get("fused")

    assert fused() is True
    assert fused(optimizer=torch.optim.AdamW) is True
    assert not fused(optimizer__fused=False)
    assert not fused(optimizer__foreach=True)
    assert not fused(optimizer=torch.optim.SGD)


def test_a_mean_over_batches_is_weighted_by_their_size(data):
    fitted = ImbalancedNetClassifier(max_epochs=1, random_state=0).fit(*data)
    batches = fitted.history_[-1]["batches"]
    sizes = [batch["train_batch_size"] for batch in batches]
    expected = np.average([batch["train_loss"] for batch in batches], weights=sizes)
    assert len(set(sizes)) == 2
    assert fitted.history_[-1, "train_loss"] == expected
    assert any(isinstance(callback, BatchMean) for _, callback in fitted.net_.callbacks_)


def test_more_rows_than_multinomial_takes_are_drawn():
    n = 2**24 + 10
    codes = np.zeros(n, dtype=np.uint8)
    codes[:5] = 1
    rows = RowsByClass(codes, 2, torch.Generator().manual_seed(0))
    drawn = Draws(np.array([0.5, 0.5]), rows).take(1000).numpy()
    assert 400 < (drawn < 5).sum() < 600
    assert drawn.max() > 2**23
