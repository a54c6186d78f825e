"""The net's architecture: the default module, the sizes that a module asks for by name, and what it must return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from imbalanced_torch._logits import at_least_single

_INPUTS = ("n_features", "in_features", "input_dim", "input_size", "d_in")
_OUTPUTS = ("n_outputs", "out_features", "output_dim", "output_size", "d_out")
_CLASSES = ("n_classes", "num_classes")


class MLP(nn.Module):
    """A multi-layer perceptron that returns logits: the default module.

    Parameters
    ----------
    n_features : int
        Values in a row; rows of more dimensions are flattened.
    n_outputs : int, default=1
        Logits in a row.
    hidden_sizes : sequence of int, default=(64, 64)
        Units of each hidden layer; empty for a linear model.
    activation : type of torch.nn.Module, default=torch.nn.ReLU
    dropout : float in [0, 1), default=0.0
        Share of units dropped after each hidden layer in training.

    Examples
    --------
    >>> MLP(3, hidden_sizes=[8])(torch.zeros(5, 3)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int = 1,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise([n_features, *hidden_sizes]):
            # In place, ReLU needs no memory of its own: a twentieth of the time of large batches.
            layers += [nn.Linear(size_in, size_out), nn.ReLU(inplace=True) if activation is nn.ReLU else activation()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear([n_features, *hidden_sizes][-1], n_outputs)

    @property
    def output_bias(self) -> nn.Parameter:
        """The bias of the logits, shape (n_outputs,): training starts it at the log odds of the classes."""
        return self.output.bias

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (n, n_outputs) for rows of shape (n, ...)."""
        return self.output(self.hidden(X.flatten(1) if X.ndim > 2 else X))


def sizes_asked_for(
    module: Callable[..., nn.Module], n_features: int | None, n_classes: int, given: Mapping[str, Any]
) -> dict[str, int]:
    """Return the sizes that a module class or factory has parameters for and that are not given.

    Parameters
    ----------
    module : callable
    n_features : int or None
        Values in a row; None where the input has no one size (a dict of several arrays, say).
    n_classes : int
        Two classes need one logit; a module that asks for the number of classes gets 2.
    given : mapping
        The module's parameters as the user set them.
    """
    try:
        accepted = inspect.signature(module).parameters
    except ValueError:  # nothing is known about it
        return {}
    given = {**getattr(module, "keywords", {}), **given}  # a functools.partial has some too
    wanted = dict.fromkeys(_INPUTS, n_features)
    wanted |= dict.fromkeys(_OUTPUTS, 1 if n_classes == 2 else n_classes)
    wanted |= dict.fromkeys(_CLASSES, n_classes)
    sizes = {}
    for name, size in wanted.items():
        if name not in accepted or name in given:
            continue
        if size is not None:
            sizes[name] = size
        elif accepted[name].default is inspect.Parameter.empty:
            raise ValueError(
                f"{getattr(module, '__name__', module)} asks for {name}, which this X does not tell; set "
                f"module__{name}."
            )
    return sizes


def first(output: Any) -> torch.Tensor:
    """Return the logits of a module that may return a tuple, logits first, as in skorch; in single precision at least.

    Loss, validation and prediction all take logits from here, so that a module under autocast may return half of it.
    """
    logits = output[0] if isinstance(output, tuple) and output else output
    return at_least_single(logits) if isinstance(logits, torch.Tensor) else logits


def check_logits(output: Any, n_rows: int, n_classes: int, name: str) -> torch.Tensor:
    """Return the logits; raise unless they are logits, as many as the classes need."""
    logits = first(output)
    wanted = f"({n_rows}, 1) or ({n_rows}, 2)" if n_classes == 2 else f"({n_rows}, {n_classes})"
    if not isinstance(logits, torch.Tensor):
        raise TypeError(
            f"module {name} must return a tensor of logits of shape {wanted}, or a tuple that starts with it; it "
            f"returns {type(logits).__name__}."
        )
    shape = tuple(logits.shape)
    good = [(n_rows,), (n_rows, 1), (n_rows, 2)] if n_classes == 2 else [(n_rows, n_classes)]
    if shape not in good:
        raise ValueError(
            f"module {name} must return logits of shape {wanted} for {n_rows} rows of {n_classes} classes; it "
            f"returns shape {shape}."
        )
    if not logits.is_floating_point():
        raise TypeError(f"module {name} must return logits of a floating dtype; it returns {logits.dtype}.")
    if not logits.requires_grad:
        raise ValueError(f"module {name} must have parameters to train; its logits depend on none.")
    last = _last_operation(logits)
    if last.startswith(("Sigmoid", "Softmax")) or (
        last.startswith(("LogSigmoid", "LogSoftmax")) and logits.numel() == n_rows
    ):
        raise ValueError(
            f"module {name} must return logits, not probabilities: its last operation is "
            f"{last.removesuffix('Backward0').lower()}. "
            "Leave that out; the criterion applies it."
        )
    return logits


def _last_operation(logits: torch.Tensor) -> str:
    """Return the autograd name of the operation that made the values, seen through changes of shape."""
    node = logits.grad_fn
    while node is not None and node.name().startswith(
        ("View", "UnsafeView", "Squeeze", "Unsqueeze", "Reshape", "Select", "Slice", "ToCopy", "Clone")
    ):
        node = node.next_functions[0][0]
    return node.name() if node is not None else ""


def last_layer(module: nn.Module) -> nn.Module:
    """Return the last part of a module that has parameters of its own; raise if it can't be made anew."""
    layers = [layer for layer in module.modules() if any(True for _ in layer.parameters(recurse=False))]
    head = layers[-1]
    if not callable(getattr(head, "reset_parameters", None)):
        raise ValueError(
            f"HeadRetraining needs a last layer with reset_parameters, such as torch.nn.Linear; that of "
            f"{type(module).__name__} is {type(head).__name__}."
        )
    return head
