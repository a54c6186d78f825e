"""What the processes of a group must have in common before they train, and have in common after."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch.utils.data import DataLoader

from imbalanced_torch._group.processes import Group, same
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._parameters.checks import user_sampler_parameter
from imbalanced_torch._persistence.fingerprint import fingerprint
from imbalanced_torch._version import __version__

#: Parameters that may differ: seeds are the first process's, one process alone may print and watch, and rows that are
#: set aside are each process's own.
_MAY_DIFFER = ("random_state", "verbose", "callbacks", "device", "train_split")
#: Characters of a parameter that a message shows.
_SHOWN = 60


def agree_on_parameters(estimator: Any, group: Group, seed: int, call: str) -> int:
    """Return the first process's seed; raise the same error on all processes if they fit with other parameters.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    group : Group
    seed : int
        What this process would take alone.
    call : str
        The method that the user has called, and from which epoch it goes on.
    """
    if group.alone:
        return seed
    same(group, "calls", call)
    parameters = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name.partition("__")[0] not in _MAY_DIFFER
    }
    texts = {name: f"{repr(value)[:_SHOWN]}" for name, value in parameters.items()}
    digests = {name: _digest(value) for name, value in parameters.items()}
    # What may differ in what it holds, but not in whether rows are set aside and epochs end early.
    split = estimator.train_split
    texts |= {"train_split": str(split if split is None else type(split).__name__)}
    texts |= {"callbacks": "'disable'" if isinstance(estimator.callbacks, str) else "callbacks or None"}
    digests |= {name: texts[name] for name in ("train_split", "callbacks")}
    versions = {"imbalanced_torch": __version__, "torch": torch.__version__}
    found = group.gathered((type(estimator).__name__, versions, digests, texts, seed))
    for rank, (name, its_versions, its_digests, its_texts, _) in enumerate(found):
        first = found[0]
        if (name, its_versions) != first[:2]:
            raise ValueError(
                f"the processes of a group must fit the same estimator with the same versions; process 0 has "
                f"{first[0]} and {first[1]}, process {rank} has {name} and {its_versions}."
            )
        other = sorted(key for key in its_digests | first[2] if its_digests.get(key) != first[2].get(key))
        if other:
            each = "; ".join(
                f"{key} is {first[3].get(key)} on process 0 and {its_texts.get(key)} on process {rank}" for key in other
            )
            raise ValueError(f"the processes of a group must fit with the same parameters: {each}.")
    _check_serves_a_group(estimator)
    return found[0][-1]


def _digest(value: Any) -> str:
    # Weights of a module that is ready are the first process's.
    return fingerprint(repr(value) if isinstance(value, torch.nn.Module) else value)


def _check_serves_a_group(estimator: Any) -> None:
    """Raise for parameters that mean something else on each process."""
    loader = estimator._part("iterator_train")
    own = estimator._kwargs.get("iterator_train", DataLoader)
    if own is not DataLoader or user_sampler_parameter(loader):
        raise ValueError(
            "in a process group batches are as `sampling` and `batch_size` say, so that each process makes as many "
            "steps; iterator_train, and a sampler in its parameters, can't be set."
        )
    if estimator.device is None:
        raise ValueError(
            "in a process group device=None, which leaves batches to accelerate, would share rows out once more; each "
            "process has its own already. Set device, such as accelerate.PartialState().device."
        )


def share_start(net: ImbalancedNet, group: Group) -> None:
    """Let the module and the criterion begin as they do on the first process."""
    if group.alone:
        return
    state = _state(net)
    same(group, "the parts of the module and their shapes", [(name, tuple(t.shape)) for name, t in state])
    group.share_([tensor for _, tensor in state])


def check_same_net(net: ImbalancedNet, group: Group) -> None:
    """Raise the same error on all processes if they have ended with other nets."""
    if group.alone:
        return
    sha = hashlib.sha256()
    for _, tensor in _state(net):
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    found = group.gathered(sha.hexdigest())
    if len(set(found)) > 1:
        raise RuntimeError(
            "the processes of the group have ended with other nets: something draws or decides on each by itself. Look "
            "at callbacks that change the net or the learning rate by what one process sees, and at the optimizer."
        )


def _state(net: ImbalancedNet) -> list[tuple[str, torch.Tensor]]:
    parts = (("module", net.module_), ("criterion", net.criterion_))
    return [(f"{part}.{name}", tensor) for part, owner in parts for name, tensor in owner.state_dict().items()]
