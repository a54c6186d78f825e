"""The layers of the default module, one after the other: what its forward and autograd compute, with less around it.

For small nets and batches, the calls of modules and the graph of autograd cost more than the arithmetic.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, nll_loss

from imbalanced_torch._fast.hooks import call_is_hooked, every_call_is_hooked, gradient_is_hooked
from imbalanced_torch._losses.weighted import WeightedCriterion, weighted_mean
from imbalanced_torch._net.module import MLP, Dropout, dropout_mask


def _pattern(kinds: list[type]) -> list[type]:
    """Return the kinds of a hidden layer's parts."""
    return [nn.Linear, nn.ReLU, Dropout] if Dropout in kinds else [nn.Linear, nn.ReLU]


class Layers:
    """Linear layers with ReLU's, and perhaps dropout, between them.

    Parameters
    ----------
    linear : list of torch.nn.Linear
    shares_dropped : list of float
        Of the units of each hidden layer.
    generator : torch.Generator or None
        What masks are drawn from; None is torch's global one.
    """

    def __init__(
        self, linear: list[nn.Linear], shares_dropped: list[float], generator: torch.Generator | None = None
    ) -> None:
        self.weights = [layer.weight for layer in linear]
        self.biases = [layer.bias for layer in linear]
        self.shares_dropped = shares_dropped
        self.generator = generator
        self._transposed = [weight.detach().t() for weight in self.weights]
        #: What the units of each hidden layer give, and gradients by them: room for one batch after the other.
        self.units: list[torch.Tensor] = []
        self.gradients: list[torch.Tensor] = []

    @staticmethod
    def why_not(module: nn.Module) -> str:
        """Return why the layers of a module can't be gone through one by one, or nothing."""
        if type(module) is not MLP:
            return f"the module is {type(module).__name__}, not MLP"
        layers: list[Any] = [*module.hidden, module.output]
        kinds = [type(layer) for layer in layers]
        hidden = _pattern(kinds)
        if kinds != hidden * (len(layers) // len(hidden)) + [nn.Linear]:
            return "MLP has layers other than Linear, ReLU and its own Dropout"
        parameters = [p for layer in layers[:: len(hidden)] for p in (layer.weight, layer.bias)]
        if len({id(p) for p in parameters if p is not None}) < len(parameters):
            return "MLP shares parameters between layers, or lacks a bias"
        if not all(p.requires_grad for p in parameters):
            return "some parameters are frozen"
        if any(layer.training and layer.p >= 1 for layer in layers if isinstance(layer, Dropout)):
            return "all units are dropped"
        if parameters[0].dtype.itemsize < 4:  # logits of half precision become single on their way
            return "MLP has half precision"
        hooked = any(map(call_is_hooked, (module, module.hidden, *layers))) or any(map(gradient_is_hooked, parameters))
        if hooked or every_call_is_hooked():
            return "there are hooks"
        if torch.is_anomaly_enabled() or torch.is_autocast_enabled(parameters[0].device.type):
            return "torch detects anomalies or autocasts"
        return ""

    @classmethod
    def of(cls, module: nn.Module) -> Layers | None:
        """Return the layers of a module that has no others, all of them learning and none hooked; else None."""
        if cls.why_not(module):
            return None
        layers: list[Any] = [*module.hidden, module.output]  # type: ignore[misc]
        linear = layers[:: len(_pattern([type(layer) for layer in layers]))]
        dropouts = [layer for layer in layers if isinstance(layer, Dropout)]
        dropped = [layer.p if layer.training else 0.0 for layer in dropouts]
        return cls(linear, dropped or [0.0] * (len(linear) - 1), dropouts[0].generator if dropouts else None)

    def logits(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (n, n_outputs) for rows of shape (n, ...); under `torch.no_grad`."""
        value = X.flatten(1) if X.ndim > 2 else X
        if not self.units or len(self.units[0]) != len(value):
            self._make_room(len(value))
        hidden = zip(self._transposed, self.biases, self.units, self.shares_dropped, strict=False)
        for weight, bias, units, share in hidden:
            value = torch.mm(value, weight, out=units).add_(bias).relu_()  # faster than addmm
            if share:
                value.mul_(dropout_mask(value, share, self.generator))
        return torch.addmm(self.biases[-1], value, self._transposed[-1])

    @torch.no_grad()
    def backpropagate(
        self, criterion: WeightedCriterion, X: torch.Tensor, codes: torch.Tensor, sample_weight: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Set the gradients of all parameters, and return logits and the batch's loss, a scalar."""
        logits = self.logits(X)
        loss, gradient = loss_and_gradient(criterion, logits, codes, sample_weight)
        values = [X.flatten(1) if X.ndim > 2 else X, *self.units]
        for layer in reversed(range(len(values))):
            self.weights[layer].grad = gradient.t().mm(values[layer])
            self.biases[layer].grad = gradient.sum(0)
            if layer:
                gradient = torch.mm(gradient, self.weights[layer], out=self.gradients[layer - 1])
                active = values[layer].sign_()  # 1 where the unit was active and not dropped, else 0
                share = self.shares_dropped[layer - 1]
                gradient.mul_(active.div_(1 - share) if share else active)
        return logits, loss

    def _make_room(self, n: int) -> None:
        """Reuse buffers: the gradient of layer l overwrites the activations of layer l + 1."""
        sizes = [n * len(bias) for bias in self.biases[:-1]]
        rooms = [self.biases[0].new_empty(max(sizes, default=0)) for _ in range(len(sizes) + 1)]
        self.units = [room[:size].view(n, -1) for room, size in zip(rooms, sizes, strict=False)]
        self.gradients = [room[:size].view(n, -1) for room, size in zip(rooms[1:], sizes, strict=True)]


def loss_and_gradient(
    criterion: WeightedCriterion, logits: torch.Tensor, codes: torch.Tensor, sample_weight: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the batch's loss, and its gradient by logits of shape (n, 1) or (n, K)."""
    binary, one = isinstance(criterion.criterion, nn.BCEWithLogitsLoss), logits.shape[1] == 1
    hooked = call_is_hooked(criterion) or call_is_hooked(criterion.criterion)
    if not criterion.is_cross_entropy or binary != one or hooked:
        with torch.enable_grad():
            logits.requires_grad_()
            loss = criterion(logits, codes, sample_weight)
            loss.backward()
        return loss.detach(), cast(torch.Tensor, logits.grad)
    # In closed form: probabilities less the truth, 1 or 0.
    weights = criterion.row_weights(logits, codes, sample_weight)
    if binary:
        loss = binary_cross_entropy_with_logits(logits[:, 0], codes.to(logits.dtype), weights)
        gradient = torch.sigmoid(logits).sub_(codes[:, None])
    else:
        log_proba = torch.log_softmax(logits, dim=1)
        loss = weighted_mean(nll_loss(log_proba, codes, reduction="none"), weights)
        gradient = log_proba.exp_()
        gradient.scatter_add_(1, codes[:, None], gradient.new_full((len(codes), 1), -1))
    if weights is not None:
        gradient.mul_(weights[:, None])
    return loss, gradient.div_(len(codes))
