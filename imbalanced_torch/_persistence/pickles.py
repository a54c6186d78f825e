"""Pickles that know the version that wrote them, and that serve a later one as far as they can."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError

from imbalanced_torch._version import __version__

#: Where a pickle holds the version that wrote it.
VERSION_KEY = "_imbalanced_torch_version"


class Versioned:
    """Note the version in pickles; in those of another version fill parameters that it did not have, and warn.

    What can't be filled, such as what `fit` learned, raises NotFittedError, a ValueError and an AttributeError, with
    both versions when it is asked for.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return without_torch({**(state or {}), VERSION_KEY: __version__})

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        attributes = {**defaults_of(type(self)), **with_torch(dict(state))}
        written_by = attributes.pop(VERSION_KEY, "unknown")
        super().__setstate__(attributes)  # type: ignore[misc]
        if written_by != __version__:
            vars(self)["_written_by"] = written_by
            warnings.warn(_OtherVersionWarning(type(self).__name__, written_by), stacklevel=2)

    def __getattr__(self, name: str) -> Any:
        written_by = vars(self).get("_written_by")
        if written_by is None or name.startswith("_"):
            return super().__getattribute__(name)  # raises Python's own error
        raise NotFittedError(
            f"this {type(self).__name__} has no {name}: it was pickled by {_named(written_by)}, and this is "
            f"{_named(__version__)}. Fit it anew, or use it with the version that pickled it."
        )


#: Dtypes of tensors that numpy has too.
_OF_NUMPY = (torch.float16, torch.float32, torch.float64, torch.int32, torch.int64, torch.bool)


class OfTorch:
    """A dtype, a device or a tensor of torch's, in a form that skops too takes apart and puts together.

    A tensor comes back on its device where there is one, else on the CPU.
    """

    def __init__(self, kind: str, content: Any) -> None:
        self.kind = kind
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.content)

    def value(self) -> Any:
        """Return what torch has."""
        if self.kind == "tensor":
            content, device = self.content
            tensor = torch.from_numpy(content)
            with suppress(RuntimeError, AssertionError, NotImplementedError):  # there is no such device
                return tensor.to(device)
            return tensor
        return torch.device(self.content) if self.kind == "device" else getattr(torch, self.content)


def without_torch(value: Any) -> Any:
    """Return a value in whose dicts, lists and tuples nothing of torch's is left but modules and odd tensors."""
    if isinstance(value, torch.dtype):
        return OfTorch("dtype", str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return OfTorch("device", str(value))
    if type(value) is torch.Tensor and value.dtype in _OF_NUMPY and value.layout == torch.strided:
        if value.requires_grad or value.device.type == "meta":
            return value
        return OfTorch("tensor", (value.cpu().numpy(), str(value.device)))
    return _in_parts(without_torch, value)


def with_torch(value: Any) -> Any:
    """Return what `without_torch` was given."""
    return value.value() if isinstance(value, OfTorch) else _in_parts(with_torch, value)


def _in_parts(change: Callable[[Any], Any], value: Any) -> Any:
    """Return the same object unless a part of it changes, so that what is shared stays shared."""
    if type(value) is dict:
        parts: Any = {key: change(part) for key, part in value.items()}
        return parts if any(parts[key] is not value[key] for key in value) else value
    if type(value) in (list, tuple):
        parts = type(value)(map(change, value))
        return parts if any(one is not other for one, other in zip(parts, value, strict=True)) else value
    return value


def defaults_of(cls: type) -> dict[str, Any]:
    """Return the parameters that have a default, in the class and in those it is derived from."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found = {p.name: p.default for p in parameters if p.default is not p.empty} | found
    return found


def _named(version: str) -> str:
    return "an unknown version of imbalanced-torch" if version == "unknown" else f"imbalanced-torch {version}"


class _OtherVersionWarning(InconsistentVersionWarning):
    """scikit-learn's warning, which names scikit-learn's version, with ours."""

    def __init__(self, name: str, written_by: str) -> None:
        super().__init__(estimator_name=name, current_sklearn_version=__version__, original_sklearn_version=written_by)

    def __str__(self) -> str:
        return (
            f"this {self.estimator_name} was pickled by {_named(self.original_sklearn_version)}, and this is "
            f"{_named(self.current_sklearn_version)}: parameters that it lacked are at their defaults, and it may fail "
            "or predict otherwise. Fit it anew, or use it with the version that pickled it."
        )
