"""Files of what a net has learned: written as one unit, and read as one unit or not at all.

Several files can't be replaced at once. So all are written beside the old ones first and put in place one by one, and
each holds the digests of all parts of the net that it was saved from: files of different saves are told apart, and
where a save was cut short while they were put in place, those still beside are found.
"""

from __future__ import annotations

import copy
import errno
import glob
import hashlib
import io
import json
import os
import shutil
import stat
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from skorch.history import History
from skorch.utils import get_map_location

from imbalanced_torch._parameters.values import accepted_by, labels_of
from imbalanced_torch._remedies.class_priors import ClassPriors
from imbalanced_torch._version import __version__

#: Where a file holds its mark: an attribute of the state dict, an entry of the metadata in safetensors.
_MARK = "imbalanced_torch"
_HISTORY = "history_"
#: Seconds after which no process can still be about to put a file in place that lies beside.
_LEFT_BEHIND = 3600


# What a file says of the net that it was saved from


def _mark(net: Any, parts: Iterable[str]) -> str:
    """Return the mark as JSON: digests of all parts, and what probabilities depend on beside them."""
    priors: ClassPriors | None = net.priors_
    names = {*(f"{name}_" for name in (*net._modules, *net._criteria, *net._optimizers)), *parts} - {_HISTORY}
    digests = {name: digest(getattr(net, name).state_dict()) for name in sorted(names)}
    mark = {
        "version": __version__,
        "digests": {**digests, _HISTORY: _digest_of_history(net.history.to_list())},
        "classes": labels_of(net.classes),
        "criterion": described(net.criterion_.criterion),
        "best_epoch": net.best_epoch_ or len(net.history),
        "priors": None if priors is None else asdict(priors),
    }
    return json.dumps(mark, default=_as_json)


def _as_json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf" else repr(value)


def as_in_a_file(value: Any) -> Any:
    """Return a value as it comes back from a mark, to compare them."""
    return json.loads(json.dumps(value, default=_as_json))


def described(criterion: torch.nn.Module) -> list[Any]:
    """Return a criterion's class and the parameters that it was made with, numbers and words."""
    maker: Any = type(criterion)
    parameters = {name: getattr(criterion, name, None) for name in accepted_by(maker)}
    return [type(criterion).__name__, {k: v for k, v in parameters.items() if isinstance(v, bool | int | float | str)}]


def priors_of(mark: Mapping[str, Any]) -> ClassPriors | None:
    """Return what the saved net learned from last, if its file says so."""
    if mark["priors"] is None:
        return None
    arrays = {name: np.asarray(value, dtype=float) for name, value in mark["priors"].items() if isinstance(value, list)}
    return ClassPriors(**{**mark["priors"], **arrays})


def digest(state: Any) -> str:
    """Return a checksum of a state dict, the same before and after a file."""
    sha = hashlib.sha256()
    for piece in _pieces(state):
        sha.update(piece)
    return sha.hexdigest()


def _pieces(value: Any) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        if value.layout == torch.strided and not value.is_quantized and value.device.type != "meta" and value.numel():
            flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
            yield flat.view(torch.uint8).numpy()
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):  # safetensors has an order of its own
            yield repr(key).encode()
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        yield f"[{len(value)}".encode()
        for item in value:
            yield from _pieces(item)
    else:
        plain = isinstance(value, bool | int | float | str | bytes | None)
        yield (repr(value) if plain else type(value).__name__).encode()


def _digest_of_history(epochs: list[dict[str, Any]]) -> str:
    """Digest what is recorded of epochs; the batches in them are many and tell nothing more."""
    rows = [{name: value for name, value in epoch.items() if name != "batches"} for epoch in epochs]
    return hashlib.sha256(json.dumps(as_in_a_file(rows)).encode()).hexdigest()


# Writing


def save(net: Any, targets: Mapping[str, Any], use_safetensors: bool) -> None:
    """Save the parts of a net that arguments such as `f_params` name, to paths or to open files."""
    parts = {argument: _part(net, argument) for argument in targets}
    check_targets(targets)
    mark = _mark(net, parts.values())

    def content(argument: str) -> bytes:
        if parts[argument] == _HISTORY:
            return json.dumps(net.history.to_list()).encode()
        state = getattr(net, parts[argument]).state_dict()
        return _as_safetensors(argument, state, mark) if use_safetensors else _as_torch(state, mark)

    # The history holds no mark, so it is put in place last: the others then tell where it is.
    arguments = sorted(targets, key=lambda argument: parts[argument] == _HISTORY)
    write({argument: targets[argument] for argument in arguments}, content)


def _as_torch(state: Any, mark: str) -> bytes:
    if not isinstance(state, OrderedDict):
        state = OrderedDict(state)
    setattr(state, _MARK, mark)  # torch.load keeps attributes of an OrderedDict, and load_state_dict does not mind
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()  # no copy; a view of the buffer crashes the garbage collector of Python 3.12


def _as_safetensors(argument: str, state: Any, mark: str) -> bytes:
    from safetensors.torch import save as to_bytes

    if not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(
            f"{argument} can't be saved with use_safetensors=True: safetensors holds tensors alone, and the state has "
            "other things. Set use_safetensors=False."
        )
    return to_bytes(dict(state), metadata={_MARK: mark})


def check_targets(targets: Mapping[str, Any]) -> None:
    seen: dict[Any, str] = {}
    for argument, target in targets.items():
        if not (_is_path(target) or hasattr(target, "write")):
            raise TypeError(f"{argument} must be a path or a file open for writing; it is {target!r}.")
        place = os.path.realpath(target) if _is_path(target) else id(target)
        if place in seen:
            raise ValueError(f"{seen[place]} and {argument} must be different files; both are {target!r}.")
        seen[place] = argument
        if _is_path(target):
            with _naming(argument, target):
                if os.path.isdir(target):
                    raise IsADirectoryError(errno.EISDIR, "Is a directory")
                if os.path.exists(target) and not os.access(target, os.W_OK):
                    raise PermissionError(errno.EACCES, "Permission denied")


def _is_path(target: Any) -> bool:
    return isinstance(target, str | os.PathLike)


@contextmanager
def _naming(argument: str, target: Any) -> Iterator[None]:
    """Let errors of the file system name the argument and the user's path."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{argument}: {error.strerror or error}", _where(target)) from error


def _where(target: Any) -> str:
    return os.fspath(target) if _is_path(target) else repr(target)


def write(targets: Mapping[str, Any], content: Callable[[str], bytes]) -> None:
    """Write all paths beside, then what goes to open files, and only then put the new files in place."""
    beside: dict[str, tuple[str, str]] = {}  # argument -> the new file, and the one that it will be
    streams: dict[str, bytes] = {}
    try:
        for argument, target in targets.items():
            data = content(argument)
            if not _is_path(target) or _is_device(target):
                streams[argument] = data
                continue
            with _naming(argument, target):
                path = os.path.realpath(target)  # a link stays one
                new = f"{path}.{uuid.uuid4().hex[:12]}.new"
                _write_through(new, data, like=path)
                beside[argument] = new, path
        _sync_folders(path for _, path in beside.values())
        for argument, data in streams.items():
            with _naming(argument, targets[argument]):
                _write_stream(targets[argument], data, text=argument == "f_history")
        for argument, (new, path) in beside.items():
            with _naming(argument, targets[argument]):
                os.replace(new, path)
        _sync_folders(path for _, path in beside.values())
        _tidy(path for _, path in beside.values())
    except BaseException:
        first = next(iter(beside.values()), None)
        if first is not None and os.path.exists(first[0]):
            for new, _ in beside.values():
                with suppress(OSError):
                    os.unlink(new)
        # Else the first is in place: the unit is the new one, and reading finds the rest beside.
        raise


def _tidy(paths: Iterable[str]) -> None:
    """Remove what saves that were cut short have left beside, but nothing of another process that is saving now."""
    for path in paths:
        for left in _beside(path):
            with suppress(OSError):
                if time.time() - os.stat(left).st_mtime > _LEFT_BEHIND:
                    os.unlink(left)


def _is_device(target: Any) -> bool:
    """Whether a path is a pipe or a device such as /dev/null, which must not be replaced."""
    with suppress(OSError):
        return not stat.S_ISREG(os.stat(target).st_mode)
    return False


def _write_through(path: str, data: bytes, like: str) -> None:
    try:
        with open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(like):
            shutil.copymode(like, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


def _sync_folders(paths: Iterable[str]) -> None:
    for folder in {os.path.dirname(path) for path in paths}:
        with suppress(OSError):  # some file systems have no such thing
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _write_stream(target: Any, data: bytes, text: bool) -> None:
    if _is_path(target):
        with open(target, "wb") as file:
            file.write(data)
        return
    try:
        target.write(bytes(data).decode() if text else data)
    except TypeError:
        if not text:
            raise
        target.write(data)  # JSON goes into a file open for bytes too
    if hasattr(target, "flush"):
        target.flush()


# Reading


@dataclass
class _Read:
    """What one file holds."""

    argument: str
    part: str
    source: Any
    state: Any
    mark: dict[str, Any] | None

    @cached_property
    def digest(self) -> str:
        return _digest_of_history(self.state) if self.part == _HISTORY else digest(self.state)

    def is_of(self, mark: Mapping[str, Any]) -> bool:
        return mark["digests"].get(self.part, self.digest) == self.digest


def load(net: Any, sources: Mapping[str, Any], use_safetensors: bool) -> None:
    """Load files that `save` or skorch wrote into the parts of a net; leave all as it was if that fails."""
    parts = {argument: _part(net, argument) for argument in sources}
    with restored_on_error(net, parts.values()):
        unit = _read_unit(net, sources, parts, use_safetensors)
        for file in unit:
            if file.part == _HISTORY:
                net.history = History(file.state)
            else:
                _load_part(getattr(net, file.part), file)
        marked = next((file for file in unit if file.mark is not None), None)
        net.loaded_ = marked and Loaded(marked.argument, _where(marked.source), marked.mark or {}, list(parts.values()))


@dataclass(frozen=True)
class Loaded:
    """What was loaded last: an argument with its file, the mark of all files, and the parts that came."""

    argument: str
    where: str
    mark: Mapping[str, Any]
    parts: list[str]


def _part(net: Any, argument: str) -> str:
    """Return the net's attribute that an argument such as `f_params` names."""
    part = "module_" if argument == "f_params" else argument.removeprefix("f_") + "_"
    if part == _HISTORY:
        return part
    if not argument.startswith("f_") or not hasattr(getattr(net, part, None), "state_dict"):
        own = (*net._modules, *net._criteria, *net._optimizers)
        names = sorted({"f_params", "f_history", *(f"f_{name}" for name in own if name != "module")})
        raise TypeError(f"{argument} names no part of the net. There are {names}.")
    return part


@contextmanager
def restored_on_error(net: Any, parts: Iterable[str] = ()) -> Iterator[None]:
    """Bring back a net's attributes, and the states of its modules, criteria and optimizers."""
    before = dict(vars(net))
    names = {*(f"{name}_" for name in (*net._modules, *net._criteria, *net._optimizers)), *parts} - {_HISTORY}
    owners = [before[name] for name in names if hasattr(before.get(name), "state_dict")]
    states = [copy.deepcopy(owner.state_dict()) for owner in owners]
    try:
        yield
    except BaseException:
        vars(net).clear()
        vars(net).update(before)
        for owner, state in zip(owners, states, strict=True):
            owner.load_state_dict(state)
        raise


def _read_unit(net: Any, sources: Mapping[str, Any], parts: Mapping[str, str], use_safetensors: bool) -> list[_Read]:
    """Read the files that are there or, after a save that was cut short, those of its files that are still beside."""

    def read(argument: str, source: Any) -> _Read:
        return _read(net, argument, parts[argument], source, use_safetensors)

    found: dict[str, _Read] = {}
    missing: FileNotFoundError | None = None
    for argument, source in sources.items():
        try:
            found[argument] = read(argument, source)
        except FileNotFoundError as error:
            missing = missing or error
    marked = [file for file in found.values() if file.mark is not None]
    _check_whole(marked)
    strangers = [(one, file) for one in marked for file in found.values() if not file.is_of(one.mark or {})]
    if missing is None and not strangers:
        return list(found.values())
    for one in marked:
        unit = []
        for argument, source in sources.items():
            candidates = [found[argument]] if argument in found else []
            for path in _beside(source):
                with suppress(ValueError, OSError):  # cut short itself
                    candidates.append(read(argument, path))
            unit += [file for file in candidates if file.is_of(one.mark or {})][:1]
        if len(unit) == len(sources):
            return unit
    if missing is not None:
        raise missing
    one, other = strangers[0]
    raise ValueError(
        f"{one.argument} and {other.argument} must come from one save; {_where(one.source)!r} and "
        f"{_where(other.source)!r} come from different ones, as a save that was cut short may leave them. Load files "
        "of one save, or one file alone."
    )


def _check_whole(marked: Iterable[_Read]) -> None:
    for file in marked:
        if not file.is_of(file.mark or {}):
            raise ValueError(
                f"{file.argument} must be as it was saved, and {_where(file.source)!r} has changed since: its checksum "
                "differs."
            )


def _beside(source: Any) -> list[str]:
    return glob.glob(glob.escape(os.path.realpath(source)) + ".*.new") if _is_path(source) else []


def _read(net: Any, argument: str, part: str, source: Any, use_safetensors: bool) -> _Read:
    if not (_is_path(source) or hasattr(source, "read")):
        raise TypeError(f"{argument} must be a path or a file open for reading; it is {source!r}.")
    try:
        with _naming(argument, source):
            if part == _HISTORY:
                return _Read(argument, part, source, _checked_history(json.loads(_content(source))), None)
            if use_safetensors:
                state, mark = _from_safetensors(_content(source))
            else:
                state, mark = _from_torch(net, source)
        return _Read(argument, part, source, state, None if mark is None else _checked_mark(json.loads(mark)))
    except (FileNotFoundError, PermissionError, IsADirectoryError, ImportError):
        raise
    except Exception as error:  # what a file that is something else, or is cut short, raises can be anything
        what = "the history" if part == _HISTORY else f"the state of {part}"
        how = f" with use_safetensors={use_safetensors}" if part != _HISTORY else ""
        raise ValueError(
            f"{argument} must be a file to which save_params wrote {what}{how}; {_where(source)!r} can't be read so: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'it ends too early'}"
        ) from error


def _content(source: Any) -> Any:
    if not _is_path(source):
        return source.read()
    with open(source, "rb") as file:
        return file.read()


def _from_torch(net: Any, source: Any) -> tuple[Any, str | None]:
    map_location = get_map_location(net.device)
    net.device = net._check_device(net.device, map_location)
    kwargs = net.torch_load_kwargs or {"weights_only": True}
    file = os.fspath(source) if _is_path(source) else io.BytesIO(source.read())
    state = torch.load(file, map_location=map_location, **kwargs)
    if not isinstance(state, Mapping):
        raise TypeError(f"it holds a {type(state).__name__}")
    return state, getattr(state, _MARK, None)


def _from_safetensors(content: bytes) -> tuple[Any, str | None]:
    from safetensors.torch import load as from_bytes

    state = from_bytes(content)
    size = int.from_bytes(content[:8], "little")
    return state, json.loads(content[8 : 8 + size]).get("__metadata__", {}).get(_MARK)


def _checked_mark(mark: Any) -> dict[str, Any]:
    if not {"digests", "classes", "criterion", "best_epoch", "priors"} <= mark.keys():
        raise ValueError("its mark is not one of save_params")
    return mark


def _checked_history(epochs: Any) -> list[dict[str, Any]]:
    if not isinstance(epochs, list) or not all(isinstance(epoch, dict) and "epoch" in epoch for epoch in epochs):
        raise ValueError("it holds no list of epochs")
    if not epochs:
        raise ValueError("it holds no epoch")
    return epochs


def _load_part(part: Any, file: _Read) -> None:
    try:
        before = dict(part.state) if isinstance(part, torch.optim.Optimizer) else {}
        part.load_state_dict(file.state)
        if isinstance(part, torch.optim.Optimizer):
            _check_optimizer(part, before)
    except Exception as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{file.argument} must hold a state that fits this net's {type(part).__name__}; that in "
            f"{_where(file.source)!r} does not: {reason}"
        ) from error


def _check_optimizer(optimizer: torch.optim.Optimizer, before: Mapping[Any, Any]) -> None:
    """Raise for the state of another optimizer or of other shapes, which torch takes and fails on when it steps."""
    for group in optimizer.param_groups:
        lacking = sorted(optimizer.defaults.keys() - group.keys())
        if lacking:
            raise ValueError(f"it has no {lacking}")
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            old = before.get(parameter, {}).get(name)
            both = isinstance(old, torch.Tensor) and isinstance(value, torch.Tensor)
            if both and value.shape != old.shape:
                raise ValueError(f"{name} has the shape {tuple(value.shape)}, and {tuple(old.shape)} is needed")
