"""Which parameters there are beyond the signature (``module__*`` and the like), and what is wrong with others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from imbalanced_torch._hyperparameters import accepted_by, did_you_mean

#: Parts of the net that take parameters after a double underscore.
PREFIXES = ("module", "criterion", "optimizer", "iterator_train", "iterator_valid", "callbacks", "compile")
#: Parameters of the net that the estimator sets itself.
_OURS = {
    *("self", "args", "kwargs", "module", "criterion", "optimizer", "lr", "max_epochs", "batch_size", "dataset"),
    *("train_split", "callbacks", "predict_nonlinearity", "warm_start", "verbose", "device"),
    *("classes", "positive", "dtype", "seed", "example", "start_prior"),
}
#: Hyperparameters that may be objects with parameters, and which object has what a word may have wanted.
_OBJECTS = {
    "sampling": "OverSampling(ratio=...), UnderSampling(ratio=...) or TemperedSampling(power=...)",
    "class_weight": "EffectiveNumber(beta=...)",
    "schedule": "DeferredSchedule(start=...) or HeadRetraining(start=...)",
}


@lru_cache(maxsize=16)
def net_parameters(net_class: type) -> set[str]:
    """Return the names of the net's own parameters that users may set."""
    inits = [vars(cls)["__init__"] for cls in net_class.__mro__ if "__init__" in vars(cls)]
    return {name for init in inits[:-1] for name in accepted_by(init)} - _OURS


def check_names(names: Collection[str], known: Iterable[str], net_class: type, values: Mapping[str, Any]) -> None:
    """Raise ValueError for a name that is no parameter, with the closest one.

    Parameters
    ----------
    names : names to check
    known : names in the estimator's signature
    net_class : the net's class, which may have parameters of its own
    values : the values of the parameters in the signature
    """
    known = sorted(known)
    plain = net_parameters(net_class)
    for name in names:
        prefix, dunder, rest = name.partition("__")
        if name in known or name in plain or (dunder and rest and prefix in (*PREFIXES, *plain)):
            continue
        if dunder and prefix in _OBJECTS:
            raise ValueError(
                f"{name} can't be set: {prefix} is {values[prefix]!r}, which has no parameter {rest!r}. Pass an "
                f"object: {_OBJECTS[prefix]}."
            )
        if dunder and rest:
            close = did_you_mean(prefix, [*PREFIXES, *_OBJECTS])
            hint = close.replace("'?", f"__{rest}'?") if close else ""
        else:
            underscore = next(
                (f" Did you mean '{p}__{name[len(p) + 1 :]}'?" for p in PREFIXES if name.startswith(p + "_")), ""
            )
            hint = did_you_mean(name, [*known, *plain]) or underscore
        raise ValueError(
            f"{name!r} is not a parameter of the classifier.{hint} There are {known}, and "
            f"{', '.join(p + '__*' for p in PREFIXES)} "
            "for the parameters of the net's parts."
        )


def check_keywords(prefix: str, target: Any, names: Iterable[str], extra: Iterable[str] = ()) -> None:
    """Raise ValueError if a class or factory has no parameter of one of these names."""
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
