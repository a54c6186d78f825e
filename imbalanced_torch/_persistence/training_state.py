"""Where a net's training stands, as bytes: all that later epochs depend on and that a fit does not make anew by itself.

The net that goes on is made and begun as in any fit of the same data and parameters. What training has changed is then
put into it, in place: values of parameters and buffers, attributes of the net, of its modules, callbacks, optimizers
and samplers, the history, and the streams of random numbers. Draws of rows are taken again instead, as they are many.
"""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from skorch.history import History
from torch import nn

#: Attributes that each module has, and that no training changes but by its parameters and buffers.
_OF_EVERY_MODULE = frozenset(vars(nn.Module())) - {"training"}
#: Attributes of a net that a fit makes anew, or that are saved by themselves.
_OF_THE_FIT = (
    *("run_", "members_", "callbacks_", "history_", "prediction_", "priors_", "verbose", "max_epochs"),
    *("average_", "buffers_", "row_share_", "stop_is_told_"),
)
_PLAIN = (bool, int, float, str, type(None))
_NUMPY_STREAMS = (np.random.Generator, np.random.RandomState, random.Random)
#: A thing with attributes, by where it is in the net.
Place = tuple[Any, ...]


class TrainingState:
    """Save where a net's training stands, and bring another net there.

    Parameters
    ----------
    draws_globally : bool
        Whether something draws from torch's global generator.
    """

    def __init__(self, draws_globally: bool) -> None:
        self.draws_globally = draws_globally
        #: Generators of loaders that were made before the first epoch, and where the next ones are to stand.
        self.generators: list[torch.Generator] = []
        self.waiting: list[Any] = []
        self.begun = False
        #: Attributes that can't be saved, such as an open file: they are as a new fit makes them.
        self.unsaved: set[tuple[Place, str]] = set()
        #: Attributes with a state of their own, such as a scheduler's, which is put into what a new fit makes.
        self.in_place: dict[tuple[Place, str], Any] = {}

    def begin(self, net: Any) -> None:
        """Look at a net that is about to train."""
        self.streams = _streams_of_python()
        for place, owner, names in _owners(net):
            for name in names:
                value = vars(owner)[name]
                if _has_state(value):
                    self.in_place[place, name] = value

    def follow(self, generator: torch.Generator) -> None:
        """Save where a loader's generator stands, or let it stand where it stood."""
        if self.begun:
            return
        self.generators.append(generator)
        if len(self.generators) <= len(self.waiting):
            generator.set_state(self.waiting[len(self.generators) - 1])

    # To bytes

    def dump(self, net: Any, ended: bool) -> tuple[bytes, bytes]:
        """Return where a net's training stands, and whether it has ended.

        Returns
        -------
        tuple of (bytes, bytes)
            Parameters, buffers and optimizers, which the processes of a group have in common; and all else.
        """
        streams = _streams_of_python()
        common = {
            "tensors": {name: _tensors(part) for name, part in _parts(net)},
            "optimizers": {name: _state_of(getattr(net, f"{name}_")) for name in net._optimizers},
        }
        own = {
            "ended": ended,
            "history": pickle.dumps(net.history.to_list(), protocol=5),
            "rows": net.run_.plan.taken,
            "gradients": _gradients(net),
            "generators": [generator.get_state() for generator in self.generators],
            "torch": _streams_of_torch() if self.draws_globally else None,
            # Of numpy and Python, where something of the user's has drawn from these since training began.
            "python": None if _same_streams(streams, self.streams) else streams,
            "attributes": self._attributes(net),
        }
        keys = {id(thing): key for key, thing in _known(net).items()}
        learned = _pickled(common, keys)
        try:
            return learned, _pickled(own, keys)
        except Exception:  # a class or a function that has no name, or something that is open
            self._leave_out_what_can_not_be_pickled(own["attributes"], keys)
            return learned, _pickled(own, keys)

    def _attributes(self, net: Any) -> dict[Place, dict[str, Any]]:
        found: dict[Place, dict[str, Any]] = {}
        for place, owner, names in _owners(net):
            values = {name: vars(owner)[name] for name in names if (place, name) not in self.unsaved}
            found[place] = {
                name: _State(value.state_dict()) if self.in_place.get((place, name), self) is value else value
                for name, value in values.items()
            }
            if _goes_on(owner):
                found[place][_OWN] = owner.state_in_training()
        return found

    def _leave_out_what_can_not_be_pickled(
        self, attributes: dict[Place, dict[str, Any]], keys: Mapping[int, Any]
    ) -> None:
        for place, values in attributes.items():
            for name in list(values):
                try:
                    _pickled(values[name], keys)
                except Exception:
                    self.unsaved.add((place, name))
                    del values[name]

    # From bytes

    def load(self, net: Any, content: tuple[bytes, bytes]) -> bool:
        """Bring a net to where training stood; return whether it had ended."""
        known = _known(net)
        state = {name: value for part in content for name, value in _Unpickler(io.BytesIO(part), known).load().items()}
        net.history.extend(History(pickle.loads(state["history"])))
        plan = net.run_.plan
        plan.take_again(state["rows"])
        if net.history:
            net.learned_under(plan.epoch(len(net.history) - 1).priors)
        for name, part in _parts(net):
            _put_tensors(part, state["tensors"][name])
        for name, optimizer in state["optimizers"].items():
            getattr(net, f"{name}_").load_state_dict(optimizer)
        for parameter, gradient in zip(_parameters(net), state["gradients"], strict=False):
            parameter.grad = gradient
        for place, owner, names in list(_owners(net)):
            self._put_attributes(place, owner, names, state["attributes"].get(place, {}))
        self.waiting = state["generators"]
        if state["torch"] is not None:
            _set_streams_of_torch(state["torch"])
        if state["python"] is not None:
            self.streams = ()  # they are drawn from
            np.random.set_state(state["python"][0])  # noqa: NPY002
            random.setstate(state["python"][1])
        return bool(state["ended"])

    def _put_attributes(self, place: Place, owner: Any, names: Iterable[str], values: dict[str, Any]) -> None:
        for name, value in values.items():
            there = vars(owner).get(name)
            if name == _OWN:
                owner.go_on_from(value)
            elif isinstance(value, _State):
                there.load_state_dict(value.value)  # type: ignore[union-attr]
            elif isinstance(there, torch.Generator) and isinstance(value, torch.Generator):
                there.set_state(value.get_state())  # layers may share it
            else:
                vars(owner)[name] = value


#: The entry of what a module says itself of where it stands.
_OWN = ""


class _State:
    """What the state_dict of an attribute is."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _has_state(value: Any) -> bool:
    methods = (getattr(value, name, None) for name in ("state_dict", "load_state_dict"))
    return not isinstance(value, type) and all(map(callable, methods))


def _goes_on(owner: Any) -> bool:
    return isinstance(owner, nn.Module) and hasattr(owner, "state_in_training") and hasattr(owner, "go_on_from")


# What there is in a net


def _parts(net: Any) -> list[tuple[str, nn.Module]]:
    """Return the module, the criterion and what a derived net adds, by name."""
    return [(name, part) for name, part in vars(net).items() if isinstance(part, nn.Module) and name.endswith("_")]


def _parameters(net: Any) -> Iterator[nn.Parameter]:
    for _, part in _parts(net):
        yield from part.parameters()


def _owners(net: Any) -> Iterator[tuple[Place, Any, list[str]]]:
    """Give what has attributes that training may change, with the names of these."""
    parts = {*dict(_parts(net)), *(f"{name}_" for name in net._optimizers)}
    parameters = {*net._get_param_names(), *_OF_THE_FIT}
    own = [
        name
        for name, value in vars(net).items()
        if not (name in parts or name in _OF_THE_FIT or name.startswith("_") or "__" in name)
        and (name not in parameters or isinstance(value, _PLAIN))
    ]
    yield ("net",), net, own
    for part, module in _parts(net):
        for path, inner in module.named_modules():
            if not type(inner).__module__.startswith("torch._dynamo"):
                left = {"generator", "pool", "drawn_from"} if _goes_on(inner) else ()
                yield (
                    (part, path),
                    inner,
                    [name for name in vars(inner) if name not in _OF_EVERY_MODULE and name not in left],
                )
    for name in net._optimizers:
        optimizer = getattr(net, f"{name}_")
        left = {"state", "param_groups", "defaults", "step"}
        yield (name,), optimizer, [own for own in vars(optimizer) if own not in left and not own.startswith("_")]
    for i, (name, callback) in enumerate(_callbacks(net)):
        yield ("callback", i, name), callback, list(vars(callback))
    for name, value in vars(net).items():  # samplers and the like
        if name.startswith(("iterator_train__", "iterator_valid__")) and hasattr(value, "__dict__"):
            streams = (torch.Generator, *_NUMPY_STREAMS, *_PLAIN)
            if not isinstance(value, type):
                yield (name,), value, [own for own, stream in vars(value).items() if isinstance(stream, streams)]


def _callbacks(net: Any) -> list[tuple[str, Any]]:
    """Return the callbacks that training depends on, without those that only watch it and the one that saves."""
    return [(name, one) for name, one in net.callbacks_[:-1] if not getattr(one, "only_watches", False)]


def _known(net: Any) -> dict[Place, Any]:
    """Return what is there in any fit of the same data and parameters, by names: it is not pickled but referred to."""
    run = net.run_
    known: dict[Place, Any] = {("net",): net, ("run",): run, ("plan",): run.plan, ("history",): net.history}
    known |= {("members",): net.members_, ("group",): run.plan.group}
    for name in ("rows", "validation"):
        rows = getattr(run, name)
        source = getattr(rows, "source", None)
        whole = {"": source, **(source if isinstance(source, Mapping) else {})}
        known[(name,)] = rows
        known |= {(name, "X", key): value for key, value in whole.items()}
        known |= {(name, own): getattr(rows, own, None) for own in ("codes", "index", "sample_weight")}
    for name, part in _parts(net):
        known |= {(name, path): inner for path, inner in part.named_modules()}
        known |= {(name, "parameter", path): value for path, value in part.named_parameters()}
        known |= {(name, "buffer", path): value for path, value in part.named_buffers()}
    known |= {("optimizer", name): getattr(net, f"{name}_") for name in net._optimizers}
    known |= {("callback", i): callback for i, (_, callback) in enumerate(_callbacks(net))}
    known[("saves",)] = net.callbacks_[-1][1]
    return {key: thing for key, thing in known.items() if thing is not None}


def _tensors(part: nn.Module) -> dict[str, tuple[torch.Tensor | None, bool]]:
    """Return parameters and buffers by name, those that state dicts leave out too, and whether they are trained."""
    own = {**dict(part.named_parameters()), **dict(part.named_buffers())}
    return {name: (value.detach().cpu(), value.requires_grad) for name, value in own.items()}


def _state_of(optimizer: Any) -> dict[str, Any]:
    state: dict[str, Any] = optimizer.state_dict()
    return {**state, "state": _on_cpu(state["state"])} if "state" in state else state


def _on_cpu(value: Any) -> Any:
    """Return a state whose tensors are on the CPU: those of processes with a GPU each are the same so."""
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(part) for key, part in value.items()}
    return type(value)(map(_on_cpu, value)) if type(value) in (list, tuple) else value


@torch.no_grad()
def _put_tensors(part: nn.Module, tensors: Mapping[str, tuple[torch.Tensor, bool]]) -> None:
    there = {**dict(part.named_parameters()), **dict(part.named_buffers())}
    if missing := sorted(there.keys() ^ tensors.keys()):
        raise ValueError(f"the module has other parts than when it was saved: {', '.join(missing)}")
    for name, (value, trained) in tensors.items():
        old = there[name]
        if old.shape == value.shape and old.dtype == value.dtype:
            old.copy_(value)
        elif isinstance(old, nn.Parameter):
            old.data = value.to(old.device)
        else:
            path, _, own = name.rpartition(".")
            part.get_submodule(path)._buffers[own] = value.to(old.device)
        if isinstance(old, nn.Parameter):
            old.requires_grad_(trained)


def _gradients(net: Any) -> list[torch.Tensor | None]:
    """Return gradients that a net may add to in the next epoch; ours makes them anew at each step."""
    theirs = not type(net).__module__.startswith("imbalanced_torch.")
    return [parameter.grad for parameter in _parameters(net)] if theirs else []


# Random numbers


def _streams_of_torch() -> tuple[torch.Tensor, list[torch.Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_streams_of_torch(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def _streams_of_python() -> tuple[Any, ...]:
    return np.random.get_state(), random.getstate()  # noqa: NPY002


def _same_streams(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return bool(other) and one[1] == other[1] and all(map(np.array_equal, one[0], other[0]))


# Pickles


class _Pickler(pickle.Pickler):
    """Pickle what a net has learned, and refer to what it is made of."""

    def __init__(self, file: Any, keys: Mapping[int, Place]) -> None:
        super().__init__(file, protocol=5)
        self.keys = keys

    def persistent_id(self, value: Any) -> Place | None:
        return self.keys.get(id(value))

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Generator):
            return _generator, (str(value.device), value.get_state())
        plain = type(value) is torch.Tensor and value.device.type == "cpu" and value.layout == torch.strided
        if plain and value.is_contiguous() and not (value.requires_grad or value.is_quantized or value.is_conj()):
            flat = value.reshape(-1).view(torch.uint8).numpy() if value.numel() else b""
            return _tensor, (pickle.PickleBuffer(flat), value.dtype, tuple(value.shape))
        return NotImplemented  # as torch does, which takes its time


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, known: Mapping[Place, Any]) -> None:
        super().__init__(file)
        self.known = known

    def persistent_load(self, key: Place) -> Any:
        return self.known[key]


def _pickled(value: Any, keys: Mapping[int, Place]) -> bytes:
    file = io.BytesIO()
    _Pickler(file, keys).dump(value)
    return file.getvalue()


def _tensor(content: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    if not len(content):
        return torch.empty(shape, dtype=dtype)
    content = content if isinstance(content, bytearray) else bytearray(content)  # which may be written to
    return torch.frombuffer(content, dtype=dtype).view(shape)


def _generator(device: str, state: torch.Tensor) -> torch.Generator:
    return torch.Generator(device).set_state(state)
