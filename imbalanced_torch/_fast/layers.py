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
        self.first: list[Any] = list(module.first)
        self.later: list[Any] = [*module.hidden, module.output]
        #: What the units of each hidden layer give, and gradients by them: room for one batch after the other.
        self.units: list[torch.Tensor] = []
        self.gradients: list[torch.Tensor] = []
        #: Room for the gradients of parameters.
        self.of_parameters = [torch.empty_like(p) for layer in module.layers() for p in (layer.weight, layer.bias)]

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
        module, n_members = self.module, self.module.n_members
        if module.training:
            module.track()
        inputs = module.encoder.expand(X)
        logits = self._forward(inputs)
        loss, gradient = loss_and_gradient(criterion, *one_after_the_other(logits, codes, sample_weight))
        gradient = gradient.view(logits.shape)
        scale = 1 / (1 - module.dropout.p) if module.training else 1.0
        of_parameters = self.of_parameters
        for place, layer in reversed(list(enumerate(self.later))):
            units = self.units[place]
            self._set(layer, of_parameters[2 * place + 4 : 2 * place + 6], units, gradient)
            gradient = torch.bmm(gradient, layer.weight.transpose(1, 2), out=self.gradients[place])
            gradient.mul_(units.sign_())  # 1 where the unit was active and not dropped, else 0
            if scale != 1:
                gradient.mul_(scale)
        for place, layer in enumerate(self.first):
            own = gradient[place * n_members : (place + 1) * n_members]
            self._set(layer, of_parameters[2 * place : 2 * place + 2], inputs[place], own)
        return logits, loss

    @staticmethod
    def _set(layer: Any, room: list[torch.Tensor], inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        layer.weight.grad = torch.bmm(inputs.transpose(1, 2), gradient, out=room[0])
        layer.bias.grad = torch.sum(gradient, 1, keepdim=True, out=room[1])

    def _forward(self, inputs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        n_members, n = self.module.n_members, inputs[0].shape[1]
        if not self.units or self.units[0].shape[1] != n:
            sizes = [layer.weight.shape[1] for layer in self.later]
            self.units = [inputs[0].new_empty(2 * n_members, n, size) for size in sizes]
            self.gradients = [torch.empty_like(units) for units in self.units]
        for place, layer in enumerate(self.first):
            own = self.units[0][place * n_members : (place + 1) * n_members]
            torch.baddbmm(layer.bias, inputs[place], layer.weight, out=own)
        for place, layer in enumerate(self.later[:-1]):
            torch.baddbmm(layer.bias, self._active(place), layer.weight, out=self.units[place + 1])
        output = self.later[-1]
        return torch.baddbmm(output.bias, self._active(len(self.later) - 1), output.weight)

    def _active(self, place: int) -> torch.Tensor:
        units, dropout = self.units[place].relu_(), self.module.dropout
        return units.mul_(dropout.mask(units)) if self.module.training and dropout.p else units


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
