"""A step of training without skorch's and autograd's Python around it: the same numbers, gradients and calls.

This file is the door to the fast path; `ImbalancedNet` alone knows it. Without this folder only speed is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from skorch.utils import TeeGenerator, to_tensor
from torch import nn

from imbalanced_torch._data.rows import codes_and_weights
from imbalanced_torch._ensemble.ensemble import MLPEnsemble
from imbalanced_torch._ensemble.members import one_after_the_other
from imbalanced_torch._fast.adam import step_of
from imbalanced_torch._fast.hooks import call_is_hooked, every_call_is_hooked
from imbalanced_torch._fast.layers import Layers
from imbalanced_torch._net.module import MLP, unpack_logits

#: Methods of skorch's whose work the step does, or that are called from what it does.
_REPLACED = (
    *("train_step", "train_step_single", "infer", "get_loss", "get_train_step_accumulator", "get_all_learnable_params"),
    *("_step_optimizer", "_zero_grad_optimizer"),
)


def choose_step(net: Any, base: type, fit_params: dict[str, Any]) -> tuple[Callable[[Any], dict[str, Any]] | None, str]:
    """Return a step that does what the net's `train_step` would, or None, and a sentence on which and why.

    Parameters
    ----------
    net : ImbalancedNet
    base : type
        The class whose methods the step knows; a net that overrides one of them takes its own way.
    fit_params : dict
        What reaches the module's forward beside X.
    """
    why_not = _why_not(net, base, fit_params)
    if why_not:
        return None, f"skorch's train_step: {why_not}"
    watched = bool(net.listeners("on_batch_begin") + net.listeners("on_grad_computed") + net.listeners("on_batch_end"))
    layers = Layers.why_not(net.module_)
    return DirectStep(net, watched), f"autograd: {layers}" if layers else "layer by layer"


def _why_not(net: Any, base: type, fit_params: dict[str, Any]) -> str:
    """Return why the direct step can't serve, or nothing."""
    own = [name for name in _REPLACED if name in vars(net) or getattr(type(net), name) is not getattr(base, name)]
    optimizer = type(net.optimizer_)
    if own:
        return f"{type(net).__name__} overrides {', '.join(own)}"
    if fit_params:
        return f"the module's forward takes {sorted(fit_params)} too"
    if (net._optimizers, net._modules, net._criteria) != (["optimizer"], ["module"], ["criterion"]):
        return "the net has other modules, criteria or optimizers beside its own"
    # Others may need the closure that they say is optional.
    if not optimizer.__module__.startswith("torch.optim") or optimizer is torch.optim.LBFGS:
        return f"{optimizer.__name__} may need a closure"
    return ""


class DirectStep:
    """Zero gradients, go forward and back, step: what `train_step` does, for one optimizer without a closure.

    Parameters
    ----------
    net : ImbalancedNet
    watched : bool
        Whether callbacks look at batches; they may predict meanwhile, or change the module.
    """

    def __init__(self, net: Any, watched: bool) -> None:
        self.net = net
        self.watched = watched
        self.computed = net.listeners("on_grad_computed")
        self.parameters = [parameter for group in net.optimizer_.param_groups for parameter in group["params"]]
        self.device = torch.device("cpu" if net.device is None else net.device)
        self.step = net.optimizer_.step if watched else step_of(net.optimizer_)
        net._set_training(True)
        self.layers = Layers.of(net.module_)

    def __call__(self, batch: Any) -> dict[str, Any]:
        """Make a step on one batch; return its loss and logits by the names that callbacks know."""
        net = self.net
        if self.watched:
            net._set_training(True)
            self.layers = Layers.of(net.module_)
        X, target = batch
        if not (isinstance(X, torch.Tensor) and X.device.type == self.device.type):
            X, target = to_tensor(X, net.device), to_tensor(target, net.device)
        codes, sample_weight = codes_and_weights(target)
        sample_weight = net.scaled(sample_weight, codes)
        for parameter in self.parameters:  # what zero_grad does, without its profiling
            parameter.grad = None
        if self.layers is not None:
            y_pred, loss = self.layers.backpropagate(net.criterion_, X, codes, sample_weight)
        else:
            y_pred = net.module_(**X) if isinstance(X, dict) else net.module_(X)
            loss = net.criterion_(*one_after_the_other(unpack_logits(y_pred), codes, sample_weight))
            loss.backward()
        if net.average_ is not None:
            loss = net.average_(loss)
        for callback in self.computed:
            named = TeeGenerator(net.get_all_learnable_params())
            callback.on_grad_computed(net, named_parameters=named, batch=batch, training=True)
        self.step()
        return {"loss": loss, "y_pred": y_pred}


def leaves_inputs_alone(module: nn.Module) -> bool:
    """Whether the module is known not to write into its input: one of ours, without hooks."""
    if type(module) is MLPEnsemble:
        return not any(map(call_is_hooked, module.modules())) and not every_call_is_hooked()
    if type(module) is not MLP or every_call_is_hooked() or call_is_hooked(module) or call_is_hooked(module.hidden):
        return False
    first_layer = next(iter(module.hidden), module.output)
    return type(first_layer) is nn.Linear and not call_is_hooked(first_layer)
