"""The net's architecture: the plain module, the sizes that a module asks for by name, and what it must return."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from imbalanced_torch._data.values import named
from imbalanced_torch._ensemble.ensemble import MaskPool, dropout_mask
from imbalanced_torch._losses.logits import at_least_single
from imbalanced_torch._losses.weighted import WeightedCriterion, check_row_losses
from imbalanced_torch._net.global_state import seeded
from imbalanced_torch._parameters.sizes import check_share, check_size, check_sizes
from imbalanced_torch._parameters.values import listed

INPUTS = ("n_features", "in_features", "input_dim", "input_size", "d_in")
_OUTPUTS = ("n_outputs", "out_features", "output_dim", "output_size", "d_out")
_CLASSES = ("n_classes", "num_classes")


class Dropout(nn.Dropout):
    """torch's Dropout, whose masks come from a generator of the fit's own while there is one."""

    generator: torch.Generator | None = None

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return X with units dropped at random in training, the others scaled up."""
        if self.generator is None or not self.training or not 0 < self.p < 1:
            return super().forward(X)
        return X * dropout_mask(X, self.p, self.generator)


@contextmanager
def own_masks(module: nn.Module, seed: int) -> Iterator[None]:
    """Let the module's `Dropout` layers draw from a generator of their own: fits in several threads then agree."""
    layers = [layer for layer in module.modules() if isinstance(layer, Dropout | MaskPool)]
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    generator = torch.Generator(device).manual_seed(seed) if layers else None
    try:
        for layer in layers:
            layer.generator = generator
        yield
    finally:
        for layer in layers:
            layer.generator = None
            if isinstance(layer, MaskPool):
                layer.pool = layer.drawn_from = None


def linear(n_inputs: int, n_outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """Return a torch.nn.Linear whose initial weights come from this generator."""
    layer = nn.Linear(n_inputs, n_outputs, device="meta").to_empty(device="cpu")  # torch's own start is skipped
    reset_linear(layer, generator)
    return layer


def reset_linear(layer: nn.Linear, generator: torch.Generator | None) -> None:
    """Draw the weights of a torch.nn.Linear anew as its `reset_parameters` does, from a generator on the CPU."""
    bound = 1 / math.sqrt(layer.in_features) if layer.in_features else 0.0
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            if parameter is not None:
                parameter.copy_(
                    parameter.new_empty(parameter.shape, device="cpu").uniform_(-bound, bound, generator=generator)
                )


class MLP(nn.Module):
    """A multi-layer perceptron that returns logits: the plain module.

    Parameters
    ----------
    n_features : int
        Values in a row; rows of more dimensions are flattened.
    n_outputs : int or None, default=None
        Logits in a row; None is one, and lets the estimator choose as many as the classes need.
    hidden_sizes : sequence of int, default=(64, 64)
        Units of each hidden layer; empty for a linear model.
    activation : type of torch.nn.Module, default=torch.nn.ReLU
        Made anew after each hidden layer.
    dropout : float in [0, 1), default=0.0
        Share of units dropped after each hidden layer in training.
    seed : int or None, default=None
        Seeds the initial weights; None draws them from torch's global generator.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not what it must be.

    Examples
    --------
    >>> MLP(3, hidden_sizes=[8])(torch.zeros(5, 3)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int | None = None,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        sizes = [check_size("n_features", n_features), *check_sizes("hidden_sizes", hidden_sizes)]
        n_outputs = 1 if n_outputs is None else check_size("n_outputs", n_outputs)
        check_share("dropout", dropout)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes):
            layers += [linear(size_in, size_out, generator), _made("activation", activation)]
            if dropout:
                layers.append(Dropout(dropout))
        self.hidden = nn.Sequential(*layers)
        self.output = linear(sizes[-1], n_outputs, generator)

    @property
    def output_bias(self) -> nn.Parameter:
        """The bias of the logits, shape (n_outputs,): training starts it at the log odds of the classes."""
        return self.output.bias

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits of rows.

        Parameters
        ----------
        X : tensor of shape (n, ...)
            A batch of rows.

        Returns
        -------
        tensor of shape (n, n_outputs)
            The logits.
        """
        return self.output(self.hidden(X.flatten(1) if X.ndim > 2 else X))


def _made(name: str, factory: Any) -> nn.Module:
    layer = factory() if callable(factory) and not isinstance(factory, nn.Module) else None
    if not isinstance(layer, nn.Module):
        raise TypeError(f"{name} must be a class of torch.nn.Module such as torch.nn.ReLU; it is {factory!r}.")
    return layer


def sizes_asked_for(
    module: Callable[..., nn.Module], n_features: int | None, n_classes: int, given: Mapping[str, Any]
) -> dict[str, int]:
    """Return the sizes that a module class or factory has parameters for and that are not given.

    A parameter with a default other than None is the user's choice.

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
    wanted = dict.fromkeys(INPUTS, n_features)
    wanted |= dict.fromkeys(_OUTPUTS, 1 if n_classes == 2 else n_classes)
    wanted |= dict.fromkeys(_CLASSES, n_classes)
    sizes = {}
    for name, size in wanted.items():
        if name not in accepted or name in given or not _left_open(accepted[name].default):
            continue
        if size is not None:
            sizes[name] = size
        elif accepted[name].default is inspect.Parameter.empty:
            raise ValueError(
                f"{getattr(module, '__name__', module)} asks for {name}, which this X does not tell; set "
                f"module__{name}."
            )
    return sizes


def _left_open(default: Any) -> bool:
    return default is None or default is inspect.Parameter.empty


def unpack_logits(output: Any) -> torch.Tensor:
    """Return the logits of a module that may return a tuple, logits first, as in skorch; in single precision at least.

    Loss, validation and prediction all take logits from here, so that a module under autocast may return half of it.
    """
    logits = output[0] if isinstance(output, tuple) and output else output
    return at_least_single(logits) if isinstance(logits, torch.Tensor) else logits


def check_logits(output: Any, n_rows: int, n_classes: int, name: str) -> torch.Tensor:
    """Return the logits; raise unless they are logits, as many as the classes need."""
    logits = unpack_logits(output)
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


def output_bias(module: nn.Module, n_classes: int) -> nn.Parameter | None:
    """Return the bias of the logits, where the module exposes it as `output_bias`."""
    bias = getattr(module, "output_bias", None)
    fits = isinstance(bias, nn.Parameter) and bias.ndim and bias.numel() and bias.shape[-1] in (1, n_classes)
    return bias if fits else None


def undecayed_parameters(module: nn.Module, prior: np.ndarray | None) -> dict[int, nn.Parameter]:
    """Return by id what weight decay leaves alone: what the module names, or the bias that starts at a prior."""
    if hasattr(module, "undecayed_parameters"):
        return {id(parameter): parameter for parameter in module.undecayed_parameters()}  # type: ignore[operator]
    bias = None if prior is None else output_bias(module, len(prior))
    return {} if bias is None else {id(bias): bias}


def set_start(module: nn.Module, criterion: WeightedCriterion, prior: np.ndarray) -> None:
    """Let the logits of a module that exposes their bias begin with a class prior, shape (K,)."""
    bias = output_bias(module, len(prior))
    if bias is not None:
        start = criterion.start_logits(prior)
        with torch.no_grad():
            bias.copy_(start if bias.shape[-1] > 1 else start[1:] - start[:1])


def reset_layer(layer: Any, seed: int) -> None:
    """Draw the parameters of a layer anew."""
    if type(layer) is nn.Linear:
        reset_linear(layer, torch.Generator().manual_seed(seed))
    else:
        with seeded(seed):
            layer.reset_parameters()


def try_module(
    module: nn.Module,
    criterion: WeightedCriterion,
    n_classes: int,
    X: Any,
    codes: torch.Tensor,
    hint: Callable[[], str] = str,
    *,
    given: Mapping[str, Any],
    inferred: Mapping[str, int] | None,
) -> None:
    """Raise ValueError unless module and criterion take a few rows and return what they must.

    Parameters
    ----------
    hint : callable
        Returns what ends the error where the module can't take the rows.
    given, inferred : mapping
        The module's parameters that the user set, by whole names, and those that were inferred.
    """
    name = type(module).__name__
    if not getattr(module, "allow_nan", False):
        for what, values in named(X).items():
            if isinstance(values, torch.Tensor) and not torch.isfinite(values).all():
                raise ValueError(f"{what} must be finite; its first rows hold nan or infinity.")
    module.eval()
    try:
        output = module(**X) if isinstance(X, dict) else module(X)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        values = X.values() if isinstance(X, dict) else [X]
        batch = ", ".join(f"{str(v.dtype).removeprefix('torch.')} of shape {tuple(v.shape)}" for v in values)
        who = _who_set_what(X, given, inferred or {}) + _own_sizes(module, given, inferred or {}, INPUTS)
        raise ValueError(f"module {name} can't take a batch of {batch}: {error}{hint()}{who}") from error
    try:
        logits = check_logits(output, len(codes), n_classes, name)
    except ValueError as error:
        own = _own_sizes(module, given, inferred or {}, (*_OUTPUTS, *_CLASSES))
        raise ValueError(f"{error}{own}") from error if own else None
    check_row_losses(criterion, logits.detach(), codes)


def _own_sizes(module: nn.Module, given: Mapping[str, Any], inferred: Mapping[str, int], names: Iterable[str]) -> str:
    """Return a sentence on sizes that the module's own defaults have set, or nothing."""
    try:
        parameters = inspect.signature(type(module)).parameters
    except (TypeError, ValueError):  # nothing is known about it
        return ""
    own = [
        name
        for name in names
        if name in parameters and f"module__{name}" not in given and name not in inferred
        if isinstance(parameters[name].default, int)
    ]
    if not own:
        return ""
    sizes = ", ".join(f"{name}={parameters[name].default}" for name in own)
    wanted = " or ".join(f"module__{name}" for name in own)
    return f" Its own default is {sizes}; set {wanted}, or let the default be None to have it inferred."


def _who_set_what(X: Any, given: Mapping[str, Any], inferred: Mapping[str, int]) -> str:
    """Return what ends the error where the module can't take the rows."""
    values = [f"{name}={listed(value)}" for name, value in given.items()]
    said = f" The module was made with {', '.join(values)}." if values else ""
    sizes = [name for name in inferred if name in INPUTS]
    if sizes and isinstance(X, torch.Tensor) and X.ndim > 2:  # a row has more than one size
        name = sizes[0]
        said += (
            f" {name}={inferred[name]} was inferred from X, whose rows have shape {tuple(X.shape[1:])}; set "
            f"module__{name}."
        )
    return f".{said}" if said else ""
