"""The short step of a fused Adam is the optimizer's own, bit by bit, and is left to it where there are hooks."""

import pytest
import torch
from skorch.callbacks import Callback
from tolerances import assert_close_to_rounding
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._fast.adam import FusedStep, step_of


class WithUnused(nn.Module):
    """Has a parameter that gets no gradient, one that is frozen, and one that gets a gradient at every second call."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 1)
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
        self.at_times = nn.Parameter(torch.ones(1))
        self.calls = 0

    def forward(self, X):
        self.calls += 1
        extra = self.at_times if self.calls % 2 else 0
        return self.second(torch.tanh(self.first(X))) + extra + self.frozen


class Plain(WithUnused):
    """Every parameter gets a gradient."""

    def __init__(self):
        super().__init__()
        del self.unused

    def forward(self, X):
        return self.second(torch.tanh(self.first(X))) + self.at_times


def trained(module, optimizer, steps, short):
    torch.manual_seed(0)
    net = module()
    optimizer = optimizer(net)
    X = torch.randn(8, 4)
    step = step_of(optimizer) if short else optimizer.step
    assert isinstance(step, FusedStep) == short
    for _ in range(steps):
        for parameter in net.parameters():
            parameter.grad = None
        (net(X) ** 2).mean().backward()
        step()
    return net, optimizer


OPTIMIZERS = {
    "Adam": lambda net: torch.optim.Adam(net.parameters(), fused=True),
    "AdamW": lambda net: torch.optim.AdamW(net.parameters(), fused=True, weight_decay=0.3),
    "amsgrad, maximize": lambda net: torch.optim.Adam(net.parameters(), fused=True, amsgrad=True, maximize=True),
    "options": lambda net: torch.optim.Adam(net.parameters(), 0.1, (0.5, 0.6), 0.01, 0.2, fused=True),
    "groups": lambda net: torch.optim.AdamW(
        [{"params": net.first.parameters(), "lr": 0.1}, {"params": [*net.second.parameters(), net.at_times]}],
        fused=True,
    ),
}


@pytest.mark.parametrize("module", [Plain, WithUnused])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_it_is_the_optimizers_step_bit_by_bit(module, optimizer):
    (ours, our_optimizer), (theirs, their_optimizer) = (trained(module, optimizer, 6, short) for short in (True, False))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    states = [[s for p in o.state.values() for s in p.values()] for o in (our_optimizer, their_optimizer)]
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))
    assert len(states[0]) > 6


def test_decoupled_weight_decay_of_adam_is_kept():
    def optimizer(net):
        return torch.optim.Adam(net.parameters(), fused=True, weight_decay=0.3, decoupled_weight_decay=True)

    try:
        nets = [trained(Plain, optimizer, 4, short)[0] for short in (True, False)]
    except TypeError:
        pytest.skip("this torch has it in AdamW alone")
    assert all(torch.equal(one, other) for one, other in zip(*(net.parameters() for net in nets), strict=True))


def counted_collections(monkeypatch):
    """Count how often the state is collected."""
    counts = []
    monkeypatch.setattr(FusedStep, "_groups", lambda self, found=FusedStep._groups: (counts.append(1), found(self))[1])
    return counts


def test_it_is_taken_and_the_state_is_collected_once_an_epoch(data, monkeypatch):
    counts = counted_collections(monkeypatch)
    ImbalancedNetClassifier(MLP, max_epochs=3, random_state=0).fit(*data)
    assert len(counts) == 4  # also after the first step of all, which makes the state


@pytest.mark.parametrize("kind", ["own", "everybody's"])
def test_hooks_on_steps_are_called(data, kind):
    called = []

    def hook(optimizer, args, kwargs):
        called.append(type(optimizer))

    own = [AtTheBeginning(lambda optimizer: optimizer.register_step_post_hook(hook))] if kind == "own" else []
    net = ImbalancedNetClassifier(MLP, max_epochs=1, random_state=0, callbacks=own)
    handle = register_optimizer_step_post_hook(hook) if kind != "own" else None
    try:
        net.fit(*data)
    finally:
        if handle is not None:
            handle.remove()
    assert called == [torch.optim.Adam] * 5  # a batch each


class AtTheBeginning(Callback):
    """Do something with the optimizer before training."""

    def __init__(self, act):
        self.act = act

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.act(net.optimizer_)


def test_a_step_that_is_wrapped_is_called(data):
    called = []

    def wrap(optimizer):
        step = optimizer.step
        optimizer.step = lambda *args: (called.append(1), step(*args))[1]

    ImbalancedNetClassifier(MLP, max_epochs=1, random_state=0, callbacks=[AtTheBeginning(wrap)]).fit(*data)
    assert len(called) == 5


def test_an_optimizer_derived_from_adam_makes_its_own_steps(data):
    called = []

    class Mine(torch.optim.Adam):
        def step(self, closure=None):
            called.append(1)
            return super().step(closure)

    ImbalancedNetClassifier(MLP, optimizer=Mine, optimizer__fused=True, max_epochs=1, random_state=0).fit(*data)
    assert len(called) == 5


def test_a_learning_rate_set_between_epochs_acts(data):
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.optimizer_.param_groups[0]["lr"] = 0.0

    once = ImbalancedNetClassifier(MLP, max_epochs=1, random_state=0).fit(*data)
    still = ImbalancedNetClassifier(MLP, max_epochs=3, random_state=0, callbacks=[Stop()]).fit(*data)
    for one, other in zip(once.module_.parameters(), still.module_.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "parameters",
    [
        {"lr": torch.tensor(0.01)},
        {"optimizer__foreach": True},
        {"optimizer__foreach": False},
        {"optimizer__fused": False},
    ],
    ids=["a tensor as lr", "foreach", "not foreach", "not fused"],
)
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_an_optimizer_whose_step_the_user_chooses_is_not_fused(data, optimizer, parameters):
    fitted = ImbalancedNetClassifier(MLP, optimizer=optimizer, max_epochs=1, random_state=0, **parameters).fit(*data)
    assert [bool(group["fused"]) for group in fitted.net_.optimizer_.param_groups].count(True) == 0
    assert step_of(fitted.net_.optimizer_) == fitted.net_.optimizer_.step


def test_a_learning_rate_as_a_tensor_trains_as_the_number_does(data):
    nets = [
        ImbalancedNetClassifier(MLP, max_epochs=2, random_state=0, lr=lr, optimizer__fused=False).fit(*data)
        for lr in (0.01, torch.tensor(0.01, dtype=torch.float64))
    ]
    assert_close_to_rounding(nets[0].predict_proba(data[0]), nets[1].predict_proba(data[0]))


def test_a_differentiable_step_gets_torchs_own_answer_and_not_that_of_a_fused_one(data):
    with pytest.raises(ValueError, match=r"optimizer__differentiable=True") as raised:
        ImbalancedNetClassifier(MLP, max_epochs=1, optimizer__differentiable=True).fit(*data)
    assert "fused" not in str(raised.value)


def test_a_step_that_becomes_differentiable_is_the_optimizers_own():
    optimizer = torch.optim.Adam(Plain().parameters(), fused=True)
    assert isinstance(step_of(optimizer), FusedStep)
    optimizer.param_groups[0]["differentiable"] = True
    assert step_of(optimizer) == optimizer.step
