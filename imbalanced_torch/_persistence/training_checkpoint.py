"""Where training stands, in a file: written whole or not at all, and read by a fit of the same data and parameters.

A file begins with a line that says what it is. Then comes, for each process of the fit, a line of JSON that says what
it was saved from, and two pickles, which are looked at once these lines have been found to be right. The first process
writes and reads the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any, BinaryIO

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback

from imbalanced_torch._group.processes import Group
from imbalanced_torch._parameters.values import listed
from imbalanced_torch._persistence.files import check_targets, write
from imbalanced_torch._persistence.fingerprint import fingerprint
from imbalanced_torch._persistence.training_state import TrainingState
from imbalanced_torch._version import __version__

#: The first line of a file, which ends in the version of what follows.
_FIRST_LINE = b"imbalanced_torch training checkpoint 2\n"
_ENTRIES = {"processes", "versions", "estimator", "parameters", "data", "seed", "bytes", "sha256"}
#: What a file has of one process: what it says of itself, and what processes have in common and what is this one's own.
Record = tuple[dict[str, Any], tuple[bytes, bytes]]
#: Parameters that say nothing of what is trained; the state of a RandomState says nothing either.
_NO_MATTER = ("checkpoint", "checkpoint__path", "checkpoint__every", "random_state", "verbose", "warm_start")
#: Characters of a parameter that a message shows.
_SHOWN = 60
_WHAT_TO_DO = (
    "Delete the file to train from the start, or set another path. A path is for one fit: in a grid search or a "
    "cross-validation leave checkpoint=None."
)


@dataclass(repr=False)
class TrainingCheckpoint(BaseEstimator):
    """Save where training stands every so many epochs, so that a fit that was cut short goes on from there.

    The file is written beside, reaches the disk and only then takes the place of the last one: whatever ends the
    process, a whole file is there, and no more is lost than the epochs since. It holds the net, the optimizer, the
    callbacks, the history and the streams of random numbers. What can't be pickled of a callback, such as an open file,
    is as a new fit makes it. It is a pickle itself: only use files of your own.

    In a process group the first process writes one file for all, and reads it when as many processes fit again, each
    with the rows that it had.

    Parameters
    ----------
    path : str or path
        The file; in a process group of the first process alone, in a folder that is there wherever it starts again. It
        stays when training has ended; a second fit of the same data and parameters then ends at once. What the end of a
        process leaves beside it has a name that ends in ".new", and goes after an hour.
    every : int, default=1
        Epochs from one save to the next. To save takes about a third of the time of an epoch of 4000 rows, and as long
        for shorter epochs: save fewer of those. The end of training is always saved.

    Raises
    ------
    ValueError, TypeError
        In `fit`, if a parameter is not what it must be, or if the file is of other data, parameters or versions, or of
        another number of processes.

    Examples
    --------
    >>> TrainingCheckpoint("fraud.checkpoint", every=5)
    TrainingCheckpoint(every=5, path='fraud.checkpoint')
    """

    path: str | os.PathLike[str]
    every: int = 1


def open_checkpoint(
    estimator: Any, seed: int, group: Group, *, goes_on: bool, draws_globally: bool
) -> TrainingFile | None:
    """Return the file that a fit goes on from and saves to; None where the estimator has no checkpoint.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    seed : int
        Of a fit that begins.
    group : Group
        The processes that fit.
    goes_on : bool
        Whether the fit trains a net that is there on, or may be trained on by another call.
    draws_globally : bool
        Whether something draws from torch's global generator.

    Raises
    ------
    ValueError, TypeError
        If the hyperparameter is not what it must be, or if the file is of another estimator.
    """
    checkpoint = _resolved(estimator._with_parameters("checkpoint"), writes=group.rank == 0)
    if checkpoint is None:
        return None
    if goes_on or estimator.warm_start:
        raise ValueError(
            "checkpoint is for a fit that begins anew, which it can begin again; partial_fit and warm_start=True go on "
            "with what is in memory. Set checkpoint=None, and use save_params or pickle between calls."
        )
    file = TrainingFile(checkpoint, draws_globally, group)
    own = isinstance(estimator.random_state, Integral)
    parameters = {
        **{name: value for name, value in estimator.get_params(deep=False).items() if name not in _NO_MATTER},
        "random_state": int(estimator.random_state) if own else None,
        "net_class": estimator.net_class,
    }
    file.belongs_to(type(estimator), parameters, seed)
    return file


def _resolved(checkpoint: Any, writes: bool) -> TrainingCheckpoint | None:
    if checkpoint is None:
        return None
    if isinstance(checkpoint, str | os.PathLike):
        checkpoint = TrainingCheckpoint(checkpoint)
    if not isinstance(checkpoint, TrainingCheckpoint) or not isinstance(checkpoint.path, str | os.PathLike):
        shown = checkpoint.path if isinstance(checkpoint, TrainingCheckpoint) else checkpoint
        raise TypeError(f"checkpoint must be None, a path or a TrainingCheckpoint(path); it is {listed(shown)}.")
    every = checkpoint.every
    if not isinstance(every, Integral) or isinstance(every, bool | np.bool_):
        raise TypeError(f"checkpoint__every must be an int of at least 1; it is {listed(every)}.")
    if every < 1:
        raise ValueError(f"checkpoint__every must be an int of at least 1; it is {every}.")
    path = os.fspath(checkpoint.path)
    if writes and not _may_be_a_file(path):
        raise ValueError(f"checkpoint must be the path of a file, in a folder that is there; it is {path!r}.")
    if writes:
        check_targets({"checkpoint": path})
    return TrainingCheckpoint(path, int(every))


def _may_be_a_file(path: str | bytes) -> bool:
    """Whether there is a file of this name, or may be one."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return bool(path) and os.path.isdir(os.path.dirname(os.path.realpath(path)))
    except (OSError, ValueError):  # no file can have this name
        return False


class TrainingFile(Callback):
    """Read where a net's training stood, bring a net there, and save where it stands after each so many epochs.

    It is the last of a net's callbacks.

    Parameters
    ----------
    checkpoint : TrainingCheckpoint
    draws_globally : bool
        Whether the net or something around it draws from torch's global generator.
    group : Group
        The processes that train.
    """

    def __init__(self, checkpoint: TrainingCheckpoint, draws_globally: bool, group: Group) -> None:
        self.path = os.fspath(checkpoint.path)
        self.every = checkpoint.every
        self.group = group
        self.state = TrainingState(draws_globally)
        common, records = b"", list[Record]([({}, (b"", b""))] * group.size)
        if group.rank == 0 and (found := _read(self.path, group.size)):
            common, records = found[0][1][0], [(found[0][0], (b"", found[0][1][1])), *found[1:]]
        common = group.first(common)
        self.header: dict[str, Any]
        self.header, (own_common, own) = group.dealt(records)
        self.content: tuple[bytes, bytes] | None = (own_common or common, own) if own else None
        #: Whether training had ended before this fit.
        self.ended = False

    # What it belongs to

    @property
    def seed(self) -> int:
        """The seed of the fit that began."""
        return int(self.header["seed"])

    def belongs_to(self, cls: type, parameters: Mapping[str, Any], seed: int) -> None:
        """Raise ValueError if the file is another estimator's; where there is none, it will be of this one.

        Parameters
        ----------
        cls : type
            The estimator's.
        parameters : mapping
            Its parameters by name.
        seed : int
            Of a fit that begins.
        """
        now: dict[str, Any] = {
            "processes": self.group.size,
            "versions": {"imbalanced-torch": __version__, "torch": torch.__version__},
            "estimator": f"{cls.__module__}.{cls.__qualname__}",
            "parameters": {name: [_text(value), fingerprint(value)] for name, value in parameters.items()},
        }
        if self.content is None:
            self.header = {**now, "seed": seed}
            return
        before = self.header
        self._refuse_others(_pairs(before["versions"], now["versions"]))
        self._refuse_others(_pairs({"class": before["estimator"]}, {"class": now["estimator"]}))
        there, here = before["parameters"], now["parameters"]
        names = [name for name in {**there, **here} if there.get(name, [""])[-1] != here.get(name, [""])[-1]]
        missing = ["at its default", ""]
        self._refuse_others([(name, there.get(name, missing)[0], here.get(name, missing)[0]) for name in sorted(names)])

    def is_of(self, data: Mapping[str, Any] | None) -> None:
        """Raise ValueError if the file was saved by a fit of other data; where there is none, it will be of these.

        Parameters
        ----------
        data : mapping or None
            What a fit learns from, by the names that an error gives it, the split, which follows from the others, last;
            None of a Dataset.
        """
        if data is None:
            raise ValueError(
                "checkpoint needs X as an array, a table, a CSR matrix or a dict of arrays, to tell whether a fit that "
                "is started again has the same rows; a torch Dataset may make them anew. Set checkpoint=None."
            )
        now = {name: fingerprint(value) for name, value in data.items()}
        if self.content is None:
            self.header["data"] = now
            return
        other = [name for name in now if now[name] != self.header["data"].get(name)]
        self._refuse_others([(name, "", "") for name in other[: max(1, len(other) - ("train_split" in other))]])

    def _refuse_others(self, other: list[tuple[str, str, str]]) -> None:
        if not other:
            return
        shown = [name if there == here else f"{name} {there} (now {here})" for name, there, here in other]
        raise ValueError(
            "checkpoint must be of the same data, parameters and versions as this fit; that of "
            f"{self.path!r} has another {', '.join(shown)}. {_WHAT_TO_DO}"
        )

    # Training

    def resume(self, net: Any) -> dict[str, Any]:
        """Bring a net that is about to train to where the file says; return how many epochs there are left to train.

        Parameters
        ----------
        net : ImbalancedNet
            Made and begun as in any fit.

        Returns
        -------
        dict
            An argument of skorch's fit_loop.
        """
        self.state.begin(net)
        if self.content is None:
            self._save(net, ended=False)
            return {"epochs": net.max_epochs}
        try:
            self.ended = self.state.load(net, self.content)
        except Exception as error:  # what is unpickled is the user's too, and may raise anything
            raise ValueError(
                f"checkpoint must be a file that can be read again; {self.path!r} can't: {type(error).__name__}: "
                f"{error}. {_WHAT_TO_DO}"
            ) from error
        self.content = b"", b""
        if net.verbose:
            print(f"goes on from {self.path}, after epoch {len(net.history)}")
        return {"epochs": 0 if self.ended else max(0, net.max_epochs - len(net.history))}

    def follow(self, generator: torch.Generator) -> None:
        """Save where a generator stands that one of the net's loaders draws from.

        Parameters
        ----------
        generator : torch.Generator
            Of a loader that may serve more than one epoch.
        """
        self.state.follow(generator)

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        self.state.begun = True

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        if len(net.history) % self.every == 0:
            self._save(net, ended=False)

    def end(self, net: Any) -> None:
        """Save that all epochs are over."""
        if not self.ended:
            self._save(net, ended=True)

    def _save(self, net: Any, ended: bool) -> None:
        common, own = self.state.dump(net, ended)
        digest = hashlib.sha256(common).hexdigest()
        digests = self.group.gathered(digest)
        if ended and len(set(digests)) > 1:
            return  # nets that differ are an error, which comes next: the last file stays
        kept = b"" if self.group.rank and digest == digests[0] else common  # the first process's is there
        header = {
            **self.header,
            "epochs": len(net.history),
            "bytes": [len(kept), len(own)],
            "sha256": hashlib.sha256(kept + own).hexdigest(),
        }
        line = json.dumps(header).encode() + b"\n"
        # The first process's need not be sent: messages are as long as the longest of them.
        records = self.group.collected(line + kept + own if self.group.rank else b"")
        if records:
            data = b"".join([_FIRST_LINE, line, kept, own, *records[1:]])
            write({"checkpoint": self.path}, lambda argument: data)


def _pairs(there: Mapping[str, str], here: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [(name, str(there.get(name)), here[name]) for name in here if there.get(name) != here[name]]


def _text(value: Any) -> str:
    """Return a parameter for a message, or nothing where its text says where it is in memory."""
    with contextlib.suppress(Exception):  # of a repr of the user's
        text = " ".join((value.__qualname__ if isinstance(value, type) else listed(value)).split())
        return "" if " at 0x" in text else text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return ""


def _read(path: str, n_processes: int) -> list[Record]:
    """Return what a file has of each process, not looked at; nothing where there is no file.

    What a process has in common with the first one stands in the first record alone.
    """
    try:
        with open(path, "rb") as file:
            records = _records(file) if file.readline(len(_FIRST_LINE)) == _FIRST_LINE else []
    except FileNotFoundError:
        return []
    if not records or len(records) != records[0][0]["processes"]:
        raise ValueError(
            f"checkpoint must be a file that a fit with this path has written, or none yet; {path!r} is another, or "
            f"was cut short or changed. {_WHAT_TO_DO}"
        )
    if len(records) != n_processes:
        raise ValueError(
            f"checkpoint must be of a fit of as many processes; that of {path!r} had {len(records)} (now "
            f"{n_processes}). {_WHAT_TO_DO}"
        )
    return records


def _records(file: BinaryIO) -> list[Record]:
    """Return the records of all processes; nothing if one is not whole."""
    found: list[Record] = []
    while line := file.readline():
        try:
            header = json.loads(line)
            common, own = map(file.read, header["bytes"])
        except (ValueError, TypeError, KeyError, OverflowError):  # the line is another
            return []
        if not header.keys() >= _ENTRIES or hashlib.sha256(common + own).hexdigest() != header["sha256"]:
            return []
        found.append((header, (common, own)))
    return found
