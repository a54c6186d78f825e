"""Parameters and fitted attributes as JSON, from which nothing but known classes comes back.

JSON's null, booleans, ints, finite floats, strings and lists stand for themselves. All else is an object of one key,
which says what it is: `{"tuple": [...]}`. A class is kept by its name and looked up in a list: torch's layers and
optimizers, and this package's. What is of the user's own is kept as the path to it, and whoever reads the file must
hand it over: nothing is imported because a file says so.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import functools
import math
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import numpy as np
import torch
from torch import nn

from imbalanced_torch._data.columns import Columns
from imbalanced_torch._ensemble.column_encoder import ColumnEncoder
from imbalanced_torch._losses.row_loss import RowLoss
from imbalanced_torch._parameters.values import accepted_by
from imbalanced_torch._persistence.files import digest
from imbalanced_torch._prediction.held_out import HeldOutRows

#: Classes that users do not meet by name, but that a fitted estimator has.
_PRIVATE = (Columns, HeldOutRows)
#: Numpy's types that are kept as tensors where there are many values, and that torch has too.
_AS_TENSORS = tuple(map(np.dtype, ("f4", "f8", "f2", "i8", "i4", "i2", "i1", "u1", "?")))
#: Values of an array that stand in the JSON.
_FEW = 256
_INSTANCE = "an instance of "


class NotPlainError(TypeError):
    """A value can't be kept as JSON."""


# Names of classes and of what is the user's own


def known_classes() -> dict[str, type]:
    """Return the classes of this package that may stand in a file, by name."""
    import imbalanced_torch as package  # which imports this module

    public = {name: getattr(package, name) for name in package.__all__}
    every = {**public, **{cls.__name__: cls for cls in _PRIVATE}}
    return {f"imbalanced_torch.{name}": thing for name, thing in every.items() if isinstance(thing, type)}


def class_named(name: str) -> type:
    """Return the class of this name, if it is one of those that may stand in a file."""
    known = known_classes()
    if name in known:
        return known[name]
    for prefix, place, base in _OF_TORCH:
        found = getattr(place, name.removeprefix(prefix), None) if name.startswith(prefix) else None
        if isinstance(found, type) and issubclass(found, base):
            return found
    raise ValueError(f"it names a class that is not known here: {name!r}")


#: Where torch has classes that may stand in a file.
_OF_TORCH: tuple[tuple[str, Any, type], ...] = (
    ("torch.nn.", nn, nn.Module),
    ("torch.optim.", torch.optim, torch.optim.Optimizer),
)


def _known_name(cls: type) -> str | None:
    """Return the name under which a class may stand in a file, if it may."""
    names = [name for name, known in known_classes().items() if known is cls]
    names += [prefix + cls.__name__ for prefix, place, _ in _OF_TORCH if getattr(place, cls.__name__, None) is cls]
    return names[0] if names else None


def path_to(thing: Any) -> str:
    """Return where a class, a function or the class of an object is imported from."""
    if isinstance(thing, functools.partial):
        return f"functools.partial({path_to(thing.func)})"
    if isinstance(thing, type):
        return _known_name(thing) or f"{thing.__module__}.{thing.__qualname__}"
    if not hasattr(thing, "__qualname__"):
        return f"{_INSTANCE}{path_to(type(thing))}"
    return f"{thing.__module__}.{thing.__qualname__}"


def same_path(one: str, other: str) -> bool:
    """Whether two paths lead to one thing; what a script defines may have been moved to a module since."""
    if "__main__" in one + other and one.startswith(_INSTANCE) == other.startswith(_INSTANCE):
        return one.rpartition(".")[2] == other.rpartition(".")[2]
    return one == other


# Encoding


def encode(value: Any, arrays: MutableMapping[str, torch.Tensor]) -> Any:
    """Return a value as JSON can hold it; large arrays go to `arrays`.

    Raises
    ------
    NotPlainError
        If that is not possible.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind is list:
        return [encode(item, arrays) for item in value]
    for cls, encoder in _ENCODERS.items():
        if isinstance(value, cls):
            return encoder(value, arrays)
    if kind.__module__.partition(".")[0] == "pandas":
        return _encode_of_pandas(value, arrays)
    return _encode_object(value, arrays)


def _encode_items(name: str) -> Callable[..., Any]:
    def encoder(values: Any, arrays: Any) -> Any:
        kinds = {"tuple": tuple, "set": set, "frozenset": frozenset}
        if type(values) is not kinds[name]:
            raise NotPlainError(f"a {type(values).__name__}")
        return {name: [encode(item, arrays) for item in values]}

    return encoder


def _encode_dict(value: Mapping[Any, Any], arrays: Any) -> Any:
    if type(value) is not dict:
        raise NotPlainError(f"a {type(value).__name__}")
    return {"dict": [[encode(key, arrays), encode(item, arrays)] for key, item in value.items()]}


def _encode_array(value: np.ndarray, arrays: Any) -> Any:
    if type(value) is not np.ndarray or value.dtype.fields is not None or value.dtype == np.longdouble:
        raise NotPlainError(f"an array of {value.dtype}")
    if value.dtype in _AS_TENSORS and value.dtype.isnative and value.size > _FEW:
        name = f"array.{len(arrays)}"
        arrays[name] = torch.from_numpy(np.array(value, order="C"))
        return {"tensor of numpy": name}
    flat = value.ravel()
    items = flat.astype(value.dtype.newbyteorder("=")).view("i8") if value.dtype.kind in "mM" else flat
    return {"array": [value.dtype.str, list(value.shape), [encode(item, arrays) for item in items.tolist()]]}


def _encode_scalar(value: np.generic, arrays: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "biufUSmM" or array.dtype == np.longdouble:
        raise NotPlainError(f"a {array.dtype}")
    return {"scalar": _encode_array(array, {})["array"]}


def _encode_tensor(value: torch.Tensor, arrays: Any) -> Any:
    name = f"array.{len(arrays)}"
    arrays[name] = value.detach().clone()
    return {"tensor": name}


def _encode_type(value: type, arrays: Any) -> Any:
    name = _known_name(value)
    if name is not None:
        return {"class": name}
    if issubclass(value, np.generic):
        return {"numpy type": np.dtype(value).str}
    if value in (bool, int, float):
        return {"python type": value.__name__}
    raise NotPlainError(path_to(value))


def _encode_partial(value: functools.partial[Any], arrays: Any) -> Any:
    return {"partial": [encode(part, arrays) for part in (value.func, list(value.args), dict(value.keywords))]}


def _encode_bytes(value: bytes, arrays: Any) -> Any:
    return {"bytes": value.decode("latin-1")}


def _encode_object(value: Any, arrays: Any) -> Any:
    """Return an object of this package's, or a criterion, as its class and parameters."""
    name, parameters = _known_name(type(value)), None
    if name is not None and name.startswith("imbalanced_torch."):
        parameters = _parameters_of_ours(value)
    if name is not None and isinstance(value, RowLoss | nn.modules.loss._Loss):
        parameters = _parameters_of_criterion(value)
    if name is None or parameters is None:
        raise NotPlainError(path_to(value))
    return {"object": [name, encode(parameters, arrays)]}


def _parameters_of_ours(value: Any) -> dict[str, Any] | None:
    if hasattr(value, "get_params"):
        return dict(value.get_params(deep=False))
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    return None


def _parameters_of_criterion(value: nn.Module) -> dict[str, Any] | None:
    """Return what a criterion was made with, if another one that is made with this is the same."""
    kind: Any = type(value)
    parameters = {name: getattr(value, name) for name in accepted_by(kind) if hasattr(value, name)}
    parameters = {
        name: item.tolist() if isinstance(item, torch.Tensor) else item
        for name, item in parameters.items()
        if item is not None
    }
    try:
        again = kind(**parameters)
    except (TypeError, ValueError, RuntimeError):
        return None
    return parameters if digest(_state(again)) == digest(_state(value)) else None


def _state(module: nn.Module) -> dict[str, Any]:
    own = {name: item for name, item in vars(module).items() if not name.startswith("_")}
    return {"attributes": own, "tensors": dict(module.named_buffers())}


def _encode_datetime(value: datetime.datetime, arrays: Any) -> Any:
    if type(value) is datetime.datetime:
        return {"datetime": value.isoformat()}
    if type(value).__name__ != "Timestamp":
        raise NotPlainError(path_to(value))
    timestamp: Any = value
    if timestamp.tz is None:
        return {"pandas.Timestamp": [timestamp.isoformat(), timestamp.unit, None]}
    return {"pandas.Timestamp": [timestamp.tz_convert(None).isoformat(), timestamp.unit, str(timestamp.tz)]}


def _encode_timedelta(value: datetime.timedelta, arrays: Any) -> Any:
    if type(value) is datetime.timedelta:
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    return {"pandas.Timedelta": encode(value.to_timedelta64(), arrays)}  # type: ignore[attr-defined]


def _encode_of_pandas(value: Any, arrays: Any) -> Any:
    """Return a level of a category, such as pandas.cut makes them."""
    kind = type(value).__name__
    if kind == "Interval":
        return {"pandas.Interval": [encode(value.left, arrays), encode(value.right, arrays), value.closed]}
    if kind == "Period":
        return {"pandas.Period": [value.ordinal, value.freqstr]}
    raise NotPlainError(path_to(value))


_ENCODERS: dict[type, Callable[..., Any]] = {
    datetime.datetime: _encode_datetime,  # before date, which it is too
    datetime.date: lambda value, arrays: {"date": value.isoformat()},
    datetime.time: lambda value, arrays: {"time": value.isoformat()},
    datetime.timedelta: _encode_timedelta,
    decimal.Decimal: lambda value, arrays: {"decimal": str(value)},
    tuple: _encode_items("tuple"),
    set: _encode_items("set"),
    frozenset: _encode_items("frozenset"),
    dict: _encode_dict,
    np.ndarray: _encode_array,
    np.generic: _encode_scalar,  # before float and str, which some of numpy's are
    torch.Tensor: _encode_tensor,
    torch.dtype: lambda value, arrays: {"torch.dtype": str(value).removeprefix("torch.")},
    torch.device: lambda value, arrays: {"torch.device": str(value)},
    np.dtype: lambda value, arrays: {"numpy.dtype": value.str},
    type: _encode_type,
    functools.partial: _encode_partial,
    bytes: _encode_bytes,
    ColumnEncoder: lambda value, arrays: {"column encoder": len(value.numbers) + len(value.categories)},
}


# Decoding


def decode(coded: Any, arrays: Mapping[str, torch.Tensor]) -> Any:
    """Return the value that `encode` kept.

    Raises
    ------
    ValueError, TypeError, KeyError, AttributeError
        If it is none that `encode` keeps.
    """
    if isinstance(coded, list):
        return [decode(item, arrays) for item in coded]
    if not isinstance(coded, dict):
        return coded
    ((kind, content),) = coded.items()
    if kind not in _DECODERS:
        raise ValueError(f"it holds a {kind!r}, which is not known here")
    return _DECODERS[kind](content, arrays)


def _decode_array(content: Any, arrays: Any) -> np.ndarray:
    dtype, shape, items = content
    kind, values = np.dtype(dtype), decode(items, arrays)
    if kind.kind == "O":
        found = np.empty(len(values), dtype=object)
        found[:] = values
        return found.reshape(shape)
    if kind.kind in "mM":
        return np.array(values, dtype="i8").view(kind.newbyteorder("=")).astype(kind).reshape(shape)
    return np.array(values, dtype=kind).reshape(shape)


def _decode_object(content: Any, arrays: Any) -> Any:
    name, parameters = content
    cls = class_named(name)
    ours = name.startswith("imbalanced_torch.") and (hasattr(cls, "get_params") or dataclasses.is_dataclass(cls))
    if not (ours or issubclass(cls, RowLoss | nn.modules.loss._Loss)):
        raise ValueError(f"it holds an object of {name}, which is none that a file may hold")
    return cls(**decode(parameters, arrays))


def _decode_dtype(content: Any, arrays: Any) -> torch.dtype:
    found = getattr(torch, content)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"it holds a dtype that torch does not have: {content!r}")
    return found


def _decode_partial(content: Any, arrays: Any) -> Any:
    func, args, keywords = decode(content, arrays)
    if not isinstance(func, type):
        raise ValueError("it holds a partial of something that is no class")
    return functools.partial(func, *args, **keywords)


def _decode_timestamp(content: Any, arrays: Any) -> Any:
    import pandas as pd

    text, unit, where = content
    timestamp = pd.Timestamp(text).as_unit(unit)
    return timestamp if where is None else timestamp.tz_localize("UTC").tz_convert(where)


def _decode_timedelta(content: Any, arrays: Any) -> Any:
    import pandas as pd

    return pd.Timedelta(decode(content, arrays))


def _decode_interval(content: Any, arrays: Any) -> Any:
    import pandas as pd

    left, right, closed = content
    return pd.Interval(decode(left, arrays), decode(right, arrays), closed)


def _decode_period(content: Any, arrays: Any) -> Any:
    import pandas as pd

    ordinal, frequency = content
    return pd.Period(ordinal=ordinal, freq=frequency)


_DECODERS: dict[str, Callable[..., Any]] = {
    "datetime": lambda content, arrays: datetime.datetime.fromisoformat(content),
    "date": lambda content, arrays: datetime.date.fromisoformat(content),
    "time": lambda content, arrays: datetime.time.fromisoformat(content),
    "timedelta": lambda content, arrays: datetime.timedelta(*content),
    "decimal": lambda content, arrays: decimal.Decimal(content),
    "pandas.Timestamp": _decode_timestamp,
    "pandas.Timedelta": _decode_timedelta,
    "pandas.Interval": _decode_interval,
    "pandas.Period": _decode_period,
    "float": lambda content, arrays: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content],
    "tuple": lambda content, arrays: tuple(decode(content, arrays)),
    "set": lambda content, arrays: set(decode(content, arrays)),
    "frozenset": lambda content, arrays: frozenset(decode(content, arrays)),
    "dict": lambda content, arrays: {decode(key, arrays): decode(item, arrays) for key, item in content},
    "array": _decode_array,
    "tensor of numpy": lambda content, arrays: arrays[content].numpy().copy(),
    "scalar": lambda content, arrays: _decode_array(content, arrays)[()],
    "tensor": lambda content, arrays: arrays[content].clone(),
    "torch.dtype": _decode_dtype,
    "torch.device": lambda content, arrays: torch.device(content),
    "numpy.dtype": lambda content, arrays: np.dtype(content),
    "class": lambda content, arrays: class_named(content),
    "numpy type": lambda content, arrays: np.dtype(content).type,
    "python type": lambda content, arrays: {"bool": bool, "int": int, "float": float}[content],
    "partial": _decode_partial,
    "bytes": lambda content, arrays: content.encode("latin-1"),
    "object": _decode_object,
    "column encoder": lambda content, arrays: ColumnEncoder(content),
}
