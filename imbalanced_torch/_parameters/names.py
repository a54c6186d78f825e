"""Which parameters there are beyond the signature (``module__*`` and the like), and what is wrong with others."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from imbalanced_torch._parameters.foreign_words import NAMES
from imbalanced_torch._parameters.values import accepted_by, did_you_mean, listed, parameters_of

#: Parts of the net that take parameters after a double underscore.
PREFIXES = ("module", "criterion", "optimizer", "iterator_train", "iterator_valid", "callbacks", "compile")
#: Parameters of the net that the estimator sets itself.
_OURS = {
    *("self", "args", "kwargs", "module", "criterion", "optimizer", "lr", "max_epochs", "batch_size", "dataset"),
    *("train_split", "callbacks", "predict_nonlinearity", "warm_start", "verbose", "device"),
    *("classes", "positive", "dtype", "seed", "example", "start_prior", "inferred"),
    *("made_from", "weights"),
}
#: Hyperparameters that may be objects with parameters, and which object has what a word may have wanted.
_OBJECTS = {
    "sampling": "OverSampling(ratio=...), UnderSampling(ratio=...) or TemperedSampling(power=...)",
    "class_weight": "EffectiveNumber(beta=...)",
    "schedule": "DeferredSchedule(start=...) or HeadRetraining(start=...)",
    "decision": "RecallFloor(at_least=...) or PrecisionFloor(at_least=...)",
    "checkpoint": "TrainingCheckpoint(path, every=...)",
}


#: What Python and torch raise over an argument, and whose code it is that may raise it.
_OF_PYTHON = (
    *(TypeError, ValueError, RuntimeError, NotImplementedError, AttributeError, IndexError, KeyError),
    *(AssertionError, OverflowError, ZeroDivisionError),
)
_NOT_THE_USERS = ("imbalanced_torch", "torch", "skorch", "sklearn", "numpy")


def constructor_parameters(cls: type, base: type) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the parameters that the constructor of `cls` names or passes on as **kwargs, down to `base`.

    Also return whether `base` is reached, so that its own **kwargs can be given too.
    """
    names: dict[str, inspect.Parameter] = {}
    for owner in cls.__mro__:
        if "__init__" not in vars(owner):
            continue
        parameters = list(accepted_by(vars(owner)["__init__"]).values())[1:]
        named = {p.name: p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        names = {**named, **names}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return names, False
        if owner is base:
            break
    return names, True


def net_parameters(net_class: type) -> set[str]:
    """Return the names of the net's own parameters that users may set."""
    inits = [vars(cls)["__init__"] for cls in net_class.__mro__ if "__init__" in vars(cls)]
    return {name for init in inits[:-1] for name in accepted_by(init)} - _OURS


def nested_parameters(values: Mapping[str, Any]) -> dict[str, tuple[str, str, Any]]:
    """Return the parameters of those values that have some: ``sampling__ratio`` -> ("sampling", "ratio", 0.5)."""
    return {
        f"{name}__{key}": (name, key, own)
        for name, value in values.items()
        for key, own in parameters_of(value).items()
    }


def check_names(
    names: Collection[str],
    known: Collection[str],
    net_class: type,
    values: Mapping[str, Any],
    parts: Collection[str] = PREFIXES,
) -> None:
    """Raise ValueError for a name that is no parameter, with the closest one.

    Parameters
    ----------
    names : names to check
    known : names that the constructor has, and those of the parameters of objects, such as `sampling__ratio`
    net_class : the net's class, which may have parameters of its own
    values : the values of the parameters that the constructor has
    parts : the parts of the net whose parameters can be given; none where the constructor passes no keywords on
    """
    names = [name for name in names if name not in known]
    if not names:
        return
    plain = net_parameters(net_class) if parts else set()
    for name in names:
        prefix, dunder, rest = name.partition("__")
        if name in plain or (dunder and rest and prefix in (*parts, *plain)):
            continue
        if dunder and prefix in _OBJECTS and prefix in values:
            raise ValueError(
                f"{name} can't be set: {prefix} is {listed(values[prefix])}, which has no parameter {rest!r}. Pass an "
                f"object: {_OBJECTS[prefix]}."
            )
        ours = sorted(name for name in known if "__" not in name)
        beyond = f", and {', '.join(p + '__*' for p in parts)} for the parameters of the net's parts" if parts else ""
        hint = _hint(name, [*known, *plain], parts)
        raise ValueError(f"{name!r} is not a parameter of the classifier.{hint} There are {ours}{beyond}.")


def _hint(name: str, known: Collection[str], parts: Collection[str]) -> str:
    """Return a sentence on what a name may have meant, or nothing."""
    prefix, dunder, rest = name.partition("__")
    if name.lower() in NAMES:
        return f" {NAMES[name.lower()]}"
    if dunder and rest:
        close = did_you_mean(prefix, [*parts, *_OBJECTS])
        return close.replace("'?", f"__{rest}'?") if close else ""
    underscore = [f" Did you mean '{p}__{name[len(p) + 1 :]}'?" for p in parts if name.startswith(p + "_")]
    return did_you_mean(name, known) or next(iter(underscore), "")


def check_keywords(prefix: str, target: Any, names: Collection[str], extra: Iterable[str] = ()) -> None:
    """Raise ValueError if a class or factory has no parameter of one of these names."""
    if not names:
        return
    try:
        parameters = accepted_by(target).values()
    except (TypeError, ValueError):  # nothing is known about it
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    accepted = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL] + list(extra)
    for name in names:
        if name not in accepted:
            close = did_you_mean(name, accepted).replace("mean '", f"mean '{prefix}__")
            owner = getattr(target, "__name__", repr(target))
            raise ValueError(
                f"{prefix}__{name} can't be set: {owner} has no parameter {name!r}.{close} It has {accepted}."
            )


@contextmanager
def blamed_on(prefix: str, given: Mapping[str, Any], what: str) -> Iterator[None]:
    """Let an error of torch's or ours name the parameters that `what` is made with, if some were given.

    Errors that code of the user's raises come out as they are.
    """
    try:
        yield
    except _OF_PYTHON as error:
        if not given or type(error) not in _OF_PYTHON or str(error).startswith(prefix) or not _raised_by_ours(error):
            raise
        values = ", ".join(f"{name}={listed(value)}" for name, value in given.items())
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{what} can't be made with {values}: {_text_of(error)}") from error


def _raised_by_ours(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return module.split(".")[0] in _NOT_THE_USERS


def _text_of(error: BaseException) -> str:
    return str(error) or type(error).__name__
