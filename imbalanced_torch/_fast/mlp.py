"""The layers of the default module, one after the other: what its forward and autograd compute, with less around it.

For small nets and batches, the calls of modules and the graph of autograd cost more than the arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from imbalanced_torch._fast.hooks import call_is_hooked, every_call_is_hooked, gradient_is_hooked
from imbalanced_torch._losses.weighted import WeightedCriterion
from imbalanced_torch._net.module import MLP, Dropout, dropout_mask


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

    @classmethod
    def of(cls, module: nn.Module) -> Layers | None:
        """Return the layers of a module that has no others, all of them learning and none hooked; else None."""
        if type(module) is not MLP:
            return None
        layers: list[Any] = [*module.hidden, module.output]
        kinds = [type(layer) for layer in layers]
        hidden = [nn.Linear, nn.ReLU, Dropout] if Dropout in kinds else [nn.Linear, nn.ReLU]
        if kinds != hidden * (len(layers) // len(hidden)) + [nn.Linear]:
            return None
        linear = layers[:: len(hidden)]
        dropouts = [layer for layer in layers if isinstance(layer, Dropout)]
        dropped = [layer.p if layer.training else 0.0 for layer in dropouts]
        parameters = [parameter for layer in linear for parameter in (layer.weight, layer.bias)]
        served = (
            len({id(parameter) for parameter in parameters if parameter is not None}) == len(parameters)
            and all(parameter.requires_grad for parameter in parameters)
            and max(dropped, default=0) < 1
            and parameters[0].dtype.itemsize >= 4  # logits of half precision go through `first`
            and not any(map(call_is_hooked, (module, module.hidden, *layers)))
            and not any(map(gradient_is_hooked, parameters))
            and not every_call_is_hooked()
            and not torch.is_anomaly_enabled()
            and not torch.is_autocast_enabled(parameters[0].device.type)
        )
        generator = dropouts[0].generator if dropouts else None
        return cls(linear, dropped or [0.0] * (len(linear) - 1), generator) if served else None

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
        loss, gradient = criterion.with_gradient(logits, codes, sample_weight)
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
        """A gradient takes the place of the units of the layer above, which have served by then."""
        sizes = [n * len(bias) for bias in self.biases[:-1]]
        rooms = [self.biases[0].new_empty(max(sizes, default=0)) for _ in range(len(sizes) + 1)]
        self.units = [room[:size].view(n, -1) for room, size in zip(rooms, sizes, strict=False)]
        self.gradients = [room[:size].view(n, -1) for room, size in zip(rooms[1:], sizes, strict=True)]
