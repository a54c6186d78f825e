"""Hooks: whether there is one on a call of a module, a gradient or a step, so that torch itself has to do it.

Torch has no public way to ask. If a private attribute disappears in a later torch, a hook is reported, so that torch's
own path is taken.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as every_module
from torch.optim import optimizer as every_optimizer

_MODULE = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_EVERY_MODULE = tuple(f"_global{name}" for name in _MODULE)
_PARAMETER = ("_backward_hooks", "_post_accumulate_grad_hooks")
_OPTIMIZER = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
_EVERY_OPTIMIZER = ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")


def call_is_hooked(module: nn.Module) -> bool:
    """Whether there is a hook on this module, or a forward of its own in place of its class's."""
    return "forward" in vars(module) or _any(module, _MODULE)


def every_call_is_hooked() -> bool:
    """Whether there is a hook on all modules."""
    return _any(every_module, _EVERY_MODULE)


def gradient_is_hooked(parameter: nn.Parameter) -> bool:
    """Whether there is a hook on the parameter's gradient."""
    return _any(parameter, _PARAMETER)


def step_is_hooked(optimizer: torch.optim.Optimizer) -> bool:
    """Whether there is a hook on this optimizer or on all, or the step is wrapped, as torch's schedulers do."""
    return "step" in vars(optimizer) or _any(optimizer, _OPTIMIZER) or _any(every_optimizer, _EVERY_OPTIMIZER)


def _any(place: Any, names: tuple[str, ...]) -> bool:
    return any(getattr(place, name, True) for name in names)
