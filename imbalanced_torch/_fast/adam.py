"""The step of a fused Adam through torch's functional form: the same kernel on the same state, with less Python around.

An `Adam.step` spends more time in collecting its state anew than a small net's gradients take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from imbalanced_torch._fast.hooks import step_is_hooked


def step_of(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """Return a callable for one optimizer step; invalid once hooks or state change."""
    return FusedStep(optimizer) if _is_fused_adam(optimizer) and not step_is_hooked(optimizer) else optimizer.step


def _is_fused_adam(optimizer: torch.optim.Optimizer) -> bool:
    return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW) and all(
        group["fused"] and not group["differentiable"] for group in optimizer.param_groups
    )


@dataclass
class Group:
    """A parameter group with its state, as the functional form takes them."""

    function: Callable[..., None]
    parameters: list[torch.nn.Parameter]
    state: list[list[torch.Tensor]]
    options: dict[str, Any]


class FusedStep:
    """Make steps of a fused Adam; the optimizer itself makes the first, and any in which a gradient is missing."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.groups = self._groups()

    def _groups(self) -> list[Group] | None:
        """Return the groups, or None before each parameter has a state."""
        groups = []
        for group in self.optimizer.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.requires_grad]
            states = [self.optimizer.state.get(parameter, {}) for parameter in parameters]
            if not all(states):
                return None
            names = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"]
            state = [[s[name] for s in states if name in s] for name in names]  # no maximum without amsgrad
            decoupled = type(self.optimizer) is torch.optim.AdamW or group.get("decoupled_weight_decay")
            names = ["amsgrad", "lr", "weight_decay", "eps", "maximize", "capturable", "foreach", "fused"]
            options = {name: group[name] for name in names}
            options["beta1"], options["beta2"] = group["betas"]
            groups.append(Group(adamw if decoupled else adam, parameters, state, options))
        return groups

    @torch.no_grad()
    def __call__(self) -> None:
        """Make one step."""
        gradients = [[parameter.grad for parameter in group.parameters] for group in self.groups or ()]
        if self.groups is None or any(gradient is None for part in gradients for gradient in part):
            with torch.enable_grad():
                self.optimizer.step()
            self.groups = self._groups()
            return
        for group, part in zip(self.groups, gradients, strict=True):
            group.function(group.parameters, part, *group.state, **group.options)
