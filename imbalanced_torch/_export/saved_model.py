"""A fitted estimator as one file without pickle: tensors in safetensors, and all else as JSON in its header.

One file is whole or it is not there. What is in it is data: classes are looked up in lists of those known here, and
what is of the user's own must be handed over when the file is read.
"""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from sklearn import config_context
from skorch.history import History
from torch import nn

from imbalanced_torch._ensemble.column_encoder import ColumnEncoder
from imbalanced_torch._ensemble.ensemble import MLPEnsemble
from imbalanced_torch._ensemble.learning_rate import RisingRate
from imbalanced_torch._export.parameters_as_json import NotPlainError, decode, encode, path_to, same_path
from imbalanced_torch._fit.nets import fixed_parameters, new_net
from imbalanced_torch._fit.settings import Settings
from imbalanced_torch._net.global_state import global_stream
from imbalanced_torch._net.module import MLP
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._parameters.values import listed
from imbalanced_torch._persistence.files import check_targets, digest, write
from imbalanced_torch._persistence.pickles import VERSION_KEY
from imbalanced_torch._prediction.prediction import resolve_prediction
from imbalanced_torch._version import __version__

#: Where the header holds the checksum and, after a space, the JSON: in one, for entries have no order there.
_KEY = "imbalanced_torch_estimator"
_FORMAT, _VERSION = "a fitted imbalanced_torch estimator", 1
_CONTENT = {"class", "attributes", "kwargs", "requests", "trained_with", "net", "layers", "history", "left_out"}
#: Methods that may ask for metadata.
_METHODS = ("fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "decision_function", "score")
#: What a prediction needs of the parameters, so that the reader must hand over what a file can't hold.
_FOR_PREDICTION = ("module", "criterion", "prior_correction", "decision")
#: Parts whose own parameters make no sense without them.
_PARTS = ("callbacks", "optimizer", "iterator_train", "iterator_valid")
#: Attributes that are kept in a way of their own, or in none.
_APART = ("net_", "_kwargs", "_metadata_request", "_skl_callbacks", "_written_by", VERSION_KEY)


# Writing


def save_model(estimator: Any, path: Any, stacklevel: int) -> None:
    """Write a fitted estimator to a path: beside it first, and then in its place."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or an os.PathLike; it is {path!r}.")
    check_targets({"path": path})
    text, tensors, left_out = _as_text(estimator)
    if left_out:
        warnings.warn(
            f"a file without pickle can't hold {', '.join(left_out)}, which act in training alone: an estimator that "
            "is loaded has their defaults, unless load is handed them by name.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
    content = _as_bytes(text, tensors)
    write({"path": path}, lambda _: content)


def _as_bytes(text: str, tensors: Mapping[str, torch.Tensor]) -> bytes:
    from safetensors.torch import save as to_bytes  # which takes its time to import

    return to_bytes(dict(tensors), metadata={_KEY: f"{_checksum(text, tensors)} {text}"})


def _checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    return digest({"text": text, "tensors": dict(tensors)})


def _as_text(estimator: Any) -> tuple[str, dict[str, torch.Tensor], list[str]]:
    """Return the JSON, the tensors, and the names of what a file can't hold and prediction does not need."""
    net = estimator.net_
    tensors: dict[str, torch.Tensor] = {}
    for part in (*net._modules, *net._criteria):  # a net of the user's may have more than one of each
        tensors |= _state(part, getattr(net, f"{part}_"))
    keeper = _Keeper(tensors)
    content = {
        "format": _FORMAT,
        "format_version": _VERSION,
        "version": __version__,
        "class": path_to(type(estimator)),
        "attributes": keeper.kept({n: v for n, v in sorted(vars(estimator).items()) if n not in _APART}),
        "kwargs": keeper.kept(estimator._kwargs),
        "requests": _requests(estimator),
        # Parameters may have been set otherwise since the fit.
        "trained_with": keeper.kept(net.made_from or fixed_parameters(estimator)),
        "net": {name: keeper.coded(value) for name, value in sorted(_of_net(net).items())},
        "layers": _layers(net.module_),
        "history": [keeper.records({n: v for n, v in epoch.items() if n != "batches"}) for epoch in net.history],
        "left_out": keeper.left_out,
    }
    return json.dumps(content, allow_nan=False), tensors, keeper.left_out


def _state(part: str, module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a module, each in memory of its own on the CPU."""
    state = getattr(module, "_orig_mod", module).state_dict()  # of one that goes through torch.compile
    others = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ValueError(
            f"the state of the {part} must be tensors alone for a file without pickle; {listed(others)} are none. "
            "Pickle the estimator instead."
        )
    return {f"{part}.{name}": value.detach().cpu().contiguous().clone() for name, value in state.items()}


def _layers(module: nn.Module) -> list[list[str]]:
    """Return names and classes of a module's layers: what has no parameters is told apart by these alone."""
    module = getattr(module, "_orig_mod", module)
    return [[name, type(layer).__name__.removeprefix("Lazy")] for name, layer in module.named_modules()]


class _Keeper:
    """Encodes values, one object as one, and notes the names of those that a file can't hold."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.tensors = tensors
        self.left_out: list[str] = []
        self.known: dict[int, tuple[Any, Any]] = {}

    def coded(self, value: Any) -> Any:
        """Return the value as JSON can hold it."""
        if id(value) not in self.known:  # which keeps the value, so that its id stays its own
            self.known[id(value)] = value, encode(value, self.tensors)
        return self.known[id(value)][1]

    def kept(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters and attributes; what JSON can't hold is the path to it."""
        found = {}
        for name, value in values.items():
            try:
                found[name] = self.coded(value)
            except NotPlainError as error:
                if name in ("classes_", "columns_"):
                    raise ValueError(
                        f"{name} must hold labels and levels that JSON can for a file without pickle; it holds "
                        f"{error}. Pickle the estimator instead."
                    ) from error
                needed = name.partition("__")[0] in _FOR_PREDICTION
                found[name] = {"needed" if needed else "left out": path_to(value)}
                if not needed and name not in self.left_out:
                    self.left_out.append(name)
        return found

    def records(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what can be kept of the records of an epoch, to which callbacks may write anything."""
        found = {}
        for name, value in values.items():
            with suppress(NotPlainError):
                found[name] = encode(value, self.tensors)
        return found


def parts_to_hand_over(estimator: Any) -> dict[str, str]:
    """Return by name the paths to what a file of this estimator can't hold, and `load` must be handed."""
    parameters = {**estimator.get_params(deep=False), **(estimator.net_.made_from or {})}
    kept = _Keeper({}).kept({n: v for n, v in parameters.items() if n.partition("__")[0] in _FOR_PREDICTION})
    return {name: value["needed"] for name, value in kept.items() if _kind(value) == "needed"}


def _of_net(net: Any) -> dict[str, Any]:
    """Return what the net has beside the parameters that it was trained with."""
    given = {name for name in net.made_from or {} if name.startswith("optimizer__")}
    chosen = {name: value for name, value in vars(net).items() if name.startswith("optimizer__") and name not in given}
    callbacks = [pair for pair in net.callbacks or () if isinstance(pair, tuple) and pair[0] == "learning_rate"]
    return {
        "module": net.module if net.module in (MLP, MLPEnsemble) else None,
        "inferred": dict(net.inferred or {}),
        "optimizer_parameters": {name.removeprefix("optimizer__"): value for name, value in chosen.items()},
        "falls_from": next((own.falls_from for _, own in callbacks if isinstance(own, RisingRate)), None),
        **{name: getattr(net, name) for name in {*_SETTINGS, *_OF_NET, *_AFTER}},
    }


#: What the net is trained with, what it is made with besides, and what it has once it is trained.
_SETTINGS = ("lr", "max_epochs", "batch_size")
_OF_NET = ("positive", "dtype", "start_prior")
_AFTER = ("max_epochs", "seed", "priors_", "best_epoch_", "row_shape_", "fast_path_")


def _requests(estimator: Any) -> dict[str, Any]:
    """Return which metadata methods ask for, where the user has said so: `set_fit_request` and the like."""
    if "_metadata_request" not in vars(estimator):
        return {}
    routing = estimator.get_metadata_routing()
    asked = {method: getattr(routing, method).requests for method in _METHODS}
    return {method: requests for method, requests in asked.items() if any(v is not None for v in requests.values())}


def _set_requests(estimator: Any, requests: Mapping[str, Any]) -> None:
    with config_context(enable_metadata_routing=True):
        for method, asked in requests.items():
            if method in _METHODS:
                getattr(estimator, f"set_{method}_request")(**asked)


# Reading


@dataclass(frozen=True)
class _File:
    """What a file holds, before anything is made of it."""

    where: str
    content: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Let an error say that the file is to blame."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RuntimeError, OverflowError) as error:
            raise ValueError(
                f"path must be a file that save wrote; {self.where!r} can't be read so: {error}"
            ) from error

    def state(self, part: str) -> dict[str, torch.Tensor]:
        """Return the tensors of a part of the net."""
        return _under(part, self.tensors)


def _under(part: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    own = f"{part}."
    return {name.removeprefix(own): tensor for name, tensor in tensors.items() if name.startswith(own)}


def load_model(cls: Any, path: Any, device: Any, given: Mapping[str, Any]) -> Any:
    """Return the fitted estimator that `save_model` wrote, an object of the class `cls`."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or an os.PathLike; it is {path!r}.")
    file = _read(os.fspath(path))
    saved, asked = file.content["class"], path_to(cls)
    if not same_path(saved, asked):
        raise ValueError(
            f"the class that loads must be the one that was saved: {file.where!r} is of {saved}, not of {asked}. Call "
            f"{saved.rpartition('.')[2]}.load."
        )
    values = _Values(file, given)
    values.check_given()
    with file.readable():
        attributes, kwargs = values.of("attributes"), values.of("kwargs")
        trained_with = values.of("trained_with")
        of_net = values.decoded(file.content["net"])
        history = [{**values.decoded(epoch), "batches": []} for epoch in file.content["history"]]
    where = {"device": _device(attributes["device"], device)}
    estimator = cls.__new__(cls)
    estimator.__setstate__({**attributes, **where, "_kwargs": kwargs, VERSION_KEY: __version__})
    with file.readable():
        _set_requests(estimator, file.content["requests"])
    estimator.net_ = _net(file, estimator, {**trained_with, **where}, of_net)
    estimator.net_.history = History(history)
    _let_predict(estimator)
    return estimator


#: What is one object wherever it stands in a file, as it was before.
_SHARED = ("object", "partial", "tensor", "tensor of numpy")


class _Values:
    """Values of a file, with what its reader hands over."""

    def __init__(self, file: _File, given: Mapping[str, Any]) -> None:
        self.file, self.given = file, given
        self.known: dict[str, Any] = {}
        self.left_out = set(file.content["left_out"])

    def decoded(self, coded: Any) -> Any:
        """Return the values of a dict, what was one object as one."""
        found = {}
        for name, value in coded.items():
            text = json.dumps(value) if _kind(value) in _SHARED else None
            if text is None:
                found[name] = decode(value, self.file.tensors)
            else:
                self.known[text] = self.known[text] if text in self.known else decode(value, self.file.tensors)
                found[name] = self.known[text]
        return found

    def of(self, group: str) -> dict[str, Any]:
        """Return the parameters or attributes of a group."""
        coded = self.file.content[group]
        absent = [part for part in _PARTS if part in self.left_out and part not in self.given]
        handed = {name for name, value in coded.items() if _kind(value) in ("needed", "left out")}
        plain = {name: value for name, value in coded.items() if name not in handed}
        plain = {name: value for name, value in plain.items() if name.partition("__")[0] not in absent}
        return {**self.decoded(plain), **{name: self.given[name] for name in handed if name in self.given}}

    def check_given(self) -> None:
        """Raise unless what the file lacks is given, and nothing else."""
        needed = {
            name: value["needed"]
            for group in ("attributes", "kwargs", "trained_with")
            for name, value in self.file.content[group].items()
            if _kind(value) == "needed"
        }
        where = self.file.where
        for name, path in needed.items():
            if name not in self.given:
                short = path.rpartition(".")[2] if path.replace(".", "").isidentifier() else "..."
                raise ValueError(
                    f"{name} must be handed to load, for a file holds no code: the {name} of {where!r} is {path}; pass "
                    f"{name}={short}."
                )
            if not same_path(path, path_to(self.given[name])):
                raise ValueError(f"{name} must be {path}, as in {where!r}; it is {path_to(self.given[name])}.")
        unknown = sorted(self.given.keys() - needed.keys() - self.left_out)
        if unknown:
            raise ValueError(
                f"load takes what a file can't hold, which is {sorted({*needed, *self.left_out})} for {where!r}; "
                f"{listed(unknown)} is not among it. Use set_params once it is loaded."
            )


def _kind(coded: Any) -> str | None:
    return next(iter(coded)) if isinstance(coded, dict) else None


def _device(saved: Any, wanted: Any) -> Any:
    """Return the device to go to: that which the reader names, else the saved one if it is there, else the CPU."""
    if wanted is not None or saved is None:
        return wanted
    try:
        torch.empty(1, device=saved)
    except (RuntimeError, AssertionError, NotImplementedError):
        return "cpu"
    return saved


def _net(file: _File, estimator: Any, trained_with: Mapping[str, Any], of_net: Mapping[str, Any]) -> ImbalancedNet:
    """Return the net, made as one for a fit is made but with the weights of the file."""
    maker, inferred = _as_it_was(estimator, trained_with), dict(of_net["inferred"])
    state = file.state("module")
    try:
        for name, value in inferred.items():
            if isinstance(value, ColumnEncoder):  # the sizes of the layers follow from it
                value.load_state_dict(_under(name, state))
        settings = _settings(maker, of_net, inferred)
        made_with = {name: of_net[name] for name in _OF_NET}
        net = new_net(
            maker, settings, estimator.classes_, of_net["priors_"], of_net["seed"], **made_with, weights=state
        )
        with torch.inference_mode(False), global_stream():
            net.initialize()
        for part in (*net._modules, *net._criteria):
            if part != "module":  # which has its weights
                own = getattr(net, f"{part}_")
                getattr(own, "_orig_mod", own).load_state_dict(file.state(part))
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"the net of {file.where!r} can't be made as it was when it was saved: {error}") from error
    layers = _layers(net.module_)
    if layers != file.content["layers"]:
        was, now = next((a, b) for a, b in zip_longest(file.content["layers"], layers) if a != b)
        raise ValueError(f"module must have the layers that were saved in {file.where!r}: {was}, not {now}.")
    net.learned_under(of_net["priors_"])
    for name in _AFTER:
        setattr(net, name, of_net[name])
    return net


def _as_it_was(estimator: Any, trained_with: Mapping[str, Any]) -> Any:
    """Return a copy of the estimator with the parameters that the net was trained with."""
    maker = copy.copy(estimator)
    loaders = {name: value for name, value in estimator._kwargs.items() if name.startswith("iterator_")}
    named = {name: value for name, value in trained_with.items() if name in vars(estimator)}
    maker._kwargs = {**loaders, **{name: value for name, value in trained_with.items() if name not in named}}
    vars(maker).update(named)
    return maker


def _settings(maker: Any, of_net: Mapping[str, Any], inferred: Mapping[str, Any]) -> Settings:
    module = of_net["module"] if maker.module is None else maker.module
    adam = torch.optim.AdamW if "n_members" in inferred else torch.optim.Adam
    return Settings(
        module=module,
        optimizer=adam if maker.optimizer is None else maker.optimizer,
        **{name: of_net[name] for name in (*_SETTINGS, "optimizer_parameters", "falls_from")},
        epoch_rows=None,
        inferred=inferred,
    )


def _let_predict(estimator: Any) -> None:
    """Let the net make of logits what the estimator's parameters say, or the plain thing where these are wrong."""
    net, priors = estimator.net_, estimator.class_priors_
    prior, effective = priors.class_prior, priors.effective_prior
    net.predict_with(resolve_prediction(False, "trained", net.criterion_, prior, effective, estimator.classes_))
    estimator._valid_prediction()


def _read(path: str) -> _File:
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    with open(path, "rb") as opened:
        content = opened.read()
    try:
        tensors = from_bytes(content)
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(
            f"path must be a file that save wrote; {path!r} is none, or it is damaged: {type(error).__name__}: {error}"
        ) from error
    if _KEY not in metadata:
        by = (
            " save_params wrote it; load_params of a fitted estimator reads it."
            if "imbalanced_torch" in metadata
            else ""
        )
        raise ValueError(f"path must be a file that save wrote; {path!r} holds tensors alone.{by}")
    return _File(path, _checked(path, metadata, tensors), tensors)


def _checked(path: str, metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> Any:
    """Return the JSON; raise if it is of a format to come, or if a byte of the file is not what it was."""
    checksum, _, text = metadata[_KEY].partition(" ")
    whole = checksum == _checksum(text, tensors)
    try:
        content = json.loads(text)
        version = int(content["format_version"])
        whole = whole and (version != _VERSION or content.keys() >= _CONTENT)
    except (ValueError, KeyError, TypeError, RecursionError):
        content, version, whole = {}, _VERSION, False
    if version != _VERSION and (whole or version > _VERSION):
        raise ValueError(
            f"the format of {path!r} must be {_VERSION}, which imbalanced-torch {__version__} reads; it is {version}, "
            f"of imbalanced-torch {content.get('version')}. Load it with that version."
        )
    if not whole:
        raise ValueError(f"path must be a file as save wrote it; {path!r} has changed since: its checksum differs.")
    return content
