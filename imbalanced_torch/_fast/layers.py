"""The layers of the default module, one after the other: what its forward and autograd compute, with less around it.

For small nets and batches, the calls of modules and the graph of autograd cost more than the arithmetic.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, nll_loss

from imbalanced_torch._ensemble.column_encoder import ColumnEncoder
from imbalanced_torch._ensemble.ensemble import BatchedLinear, MaskPool, MLPEnsemble
from imbalanced_torch._ensemble.members import one_after_the_other
from imbalanced_torch._fast.hooks import call_is_hooked, every_call_is_hooked, gradient_is_hooked
from imbalanced_torch._losses.weighted import WeightedCriterion, weighted_mean

#: What an ensemble is made of; anything else has a forward that these layers do not know.
_PARTS = (MLPEnsemble, ColumnEncoder, nn.ModuleList, BatchedLinear, MaskPool)


class Layers:
    """The batched layers of an ensemble, with ReLU's and dropout between them.

    Parameters
    ----------
    module : MLPEnsemble
    """

    def __init__(self, module: MLPEnsemble) -> None:
        self.module = module
        self.hidden: list[list[Any]] = [module.hidden_layers(kind) for kind in range(2)]
        #: What the units of each hidden layer give, by kind of nets, and the gradients by them: room for one batch
        #: after the other. Those of the last layers of both kinds are side by side.
        self.units: list[list[torch.Tensor]] = []
        self.gradients: list[list[torch.Tensor]] = []
        self.last_units = self.last_gradients = module.output.weight[:0]
        #: Room for the gradients of parameters.
        self.room = {layer: [torch.empty_like(p) for p in (layer.weight, layer.bias)] for layer in module.layers()}

    @staticmethod
    def why_not(module: nn.Module) -> str:
        """Return why the layers of a module can't be gone through one by one, or nothing."""
        if type(module) is not MLPEnsemble:
            return f"the module is {type(module).__name__}, not MLPEnsemble"
        parts = list(module.modules())
        if any(type(part) not in _PARTS for part in parts):
            return "a part of the module is not its own"
        parameters = list(module.parameters())
        if len(parameters) != 2 * len(module.layers()) or not all(p.requires_grad for p in parameters):
            return "some parameters are shared or frozen"
        if parameters[0].dtype.itemsize < 4:  # logits of half precision become single on their way
            return "the module has half precision"
        if any(map(call_is_hooked, parts)) or any(map(gradient_is_hooked, parameters)) or every_call_is_hooked():
            return "there are hooks"
        if torch.is_anomaly_enabled() or torch.is_autocast_enabled(parameters[0].device.type):
            return "torch detects anomalies or autocasts"
        return ""

    @classmethod
    def of(cls, module: nn.Module) -> Layers | None:
        """Return the layers of a module that has no others, all of them learning and none hooked; else None."""
        return None if cls.why_not(module) else cls(cast(MLPEnsemble, module))

    @torch.no_grad()
    def backpropagate(
        self, criterion: WeightedCriterion, X: torch.Tensor, codes: torch.Tensor, sample_weight: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Set the gradients of all parameters, and return logits and the batch's loss, a scalar.

        X, of shape (members, n, n_encoded), and targets of shape (members, n) are those of each member's own.
        """
        module, output = self.module, self.module.output
        if module.training:
            module.track()
        inputs = module.encoder.expand(X)
        logits = self._forward(inputs)
        loss, gradient = loss_and_gradient(criterion, *one_after_the_other(logits, codes, sample_weight))
        gradient = gradient.view(logits.shape)
        self._set(output, self.last_units, gradient)
        torch.bmm(gradient, output.weight.transpose(1, 2), out=self.last_gradients)
        for hidden, value, units, gradients in zip(self.hidden, inputs, self.units, self.gradients, strict=True):
            for place in reversed(range(len(hidden))):
                self._through(units[place], gradients[place])
                self._set(hidden[place], units[place - 1] if place else value, gradients[place])
                if place:
                    torch.bmm(gradients[place], hidden[place].weight.transpose(1, 2), out=gradients[place - 1])
        return logits, loss

    def _set(self, layer: Any, inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        of_weight, of_bias = self.room[layer]
        layer.weight.grad = torch.bmm(inputs.transpose(1, 2), gradient, out=of_weight)
        layer.bias.grad = torch.sum(gradient, 1, keepdim=True, out=of_bias)

    def _through(self, units: torch.Tensor, gradient: torch.Tensor) -> None:
        """Take a gradient back through dropout and ReLU; the units are needed no more."""
        gradient.mul_(units.sign_())  # 1 where the unit was active and not dropped, else 0
        if self.module.training and self.module.dropout.p:
            gradient.mul_(1 / (1 - self.module.dropout.p))

    def _forward(self, inputs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        dropout, drops = self.module.dropout, self.module.training and self.module.dropout.p
        self._make_room(inputs[0])
        for hidden, value, units in zip(self.hidden, inputs, self.units, strict=True):
            for layer, room in zip(hidden, units, strict=True):
                value = torch.baddbmm(layer.bias, value, layer.weight, out=room).relu_()
                if drops:
                    value.mul_(dropout.mask(value))
        return torch.baddbmm(self.module.output.bias, self.last_units, self.module.output.weight)

    def _make_room(self, inputs: torch.Tensor) -> None:
        n_members, n = inputs.shape[:2]
        if self.last_units.shape[1:2] == (n,) and len(self.last_units):
            return
        self.last_units = inputs.new_empty(2 * n_members, n, self.module.output.weight.shape[1])
        self.last_gradients = torch.empty_like(self.last_units)
        both = zip(
            self.hidden, *(torch.split(t, n_members) for t in (self.last_units, self.last_gradients)), strict=True
        )
        self.units, self.gradients = [], []
        for hidden, last, last_gradient in both:
            rooms = [inputs.new_empty(n_members, n, layer.weight.shape[2]) for layer in hidden[:-1]]
            self.units.append([*rooms, last])
            self.gradients.append([*map(torch.empty_like, rooms), last_gradient])


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
