"""Which strategies are compared: the plain net, the plain net with its threshold moved, and remedies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imbalanced_torch._classifier import ImbalancedNetClassifier
from imbalanced_torch._comparison.scores import Score
from imbalanced_torch._parameters.values import did_you_mean, equal_values, listed, plain

#: What the plain net is.
PLAIN = {"class_weight": None, "sampling": None, "criterion": None, "schedule": None, "decision": "trained"}
DEFAULT = (
    {"class_weight": "balanced"},
    {"class_weight": "sqrt"},
    {"sampling": "over"},
    {"sampling": "under"},
    {"sampling": "batch"},
    {"criterion": "logit_adjusted"},
    {"criterion": "focal"},
)


@dataclass(frozen=True)
class Strategy:
    """A strategy: its name, what differs from the plain net, and all that is set, by the estimator's own names."""

    name: str
    own: dict[str, Any]
    candidate: dict[str, Any]

    @property
    def is_plain(self) -> bool:
        """Whether this is the plain net, with whatever decision."""
        return not set(self.own) - {"decision"}


def net_of(estimator: Any) -> tuple[Any, str]:
    """Return the ImbalancedNetClassifier that an estimator is or ends in, and the prefix of its parameters."""
    prefix, net = "", estimator
    while hasattr(net, "steps"):
        name, net = net.steps[-1]
        prefix += f"{name}__"
    if not isinstance(net, ImbalancedNetClassifier):
        raise TypeError(
            "estimator must be None, an ImbalancedNetClassifier or a Pipeline that ends in one; it is "
            f"{f'the class {net.__name__}' if isinstance(net, type) else type(net).__name__}."
        )
    return net, prefix


def resolve_strategies(strategies: Any, estimator: Any, scores: list[Score]) -> list[Strategy]:
    """Return the plain net, its moved thresholds, the estimator as it is if that is another one, and the remedies."""
    net, prefix = net_of(estimator)
    params = net.get_params()
    beside = sorted(name for name in params if name.startswith("criterion__"))
    if beside:
        raise ValueError(
            f"estimator must have no parameters of its criterion, for the plain net has none; it has {beside}. Pass "
            "them in strategies."
        )
    found: dict[str, dict[str, Any]] = {"plain": {}}
    found |= {_named({"decision": word}, True): {"decision": word} for word in _decisions(scores)}
    given = {name: params[name] for name, value in PLAIN.items() if not equal_values(params[name], value)}
    found |= {"as given": given} if given and not _there(given, found) else {}
    names = {name.partition("__")[0] for name in params}
    for name, own in _as_dict(strategies).items():
        if not isinstance(own, Mapping):
            raise TypeError(f"strategies must have dicts of parameters; {name!r} is {listed(own)}.")
        own = {key.removeprefix(prefix): value for key, value in own.items()}
        _check_names(name, own, names, estimator.get_params())
        if _there(own, found):
            continue
        if name in found:
            raise ValueError(f"strategies must not call another one {name!r}; that is {listed(found[name])}.")
        found[name] = own
    if len(found) < 2:
        raise ValueError(
            "strategies must have at least one that differs from the plain net where no score asks for a moved "
            f"threshold; there is {listed(list(found))}."
        )
    return [Strategy(name, own, _candidate(own, net, names, prefix)) for name, own in found.items()]


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether parameters are equal, arrays included."""
    return one.keys() == other.keys() and all(equal_values(one[name], other[name]) for name in one)


def _there(own: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return any(same(own, other) for other in found.values())


def _decisions(scores: list[Score]) -> list[str]:
    """Return the decisions that the scores ask for, each once."""
    return list(dict.fromkeys(score.decision for score in scores if score.decision != "trained"))


def _as_dict(strategies: Any) -> dict[str, Any]:
    if strategies is None:
        strategies = DEFAULT
    if isinstance(strategies, Mapping):
        return {str(name): own for name, own in strategies.items()}
    if not isinstance(strategies, list | tuple):
        raise TypeError(
            "strategies must be None, a dict from a name to parameters or a list of parameters; it is "
            f"{listed(strategies)}."
        )
    wrong = [own for own in strategies if not isinstance(own, Mapping)]
    if wrong:
        raise TypeError(f"strategies must be dicts of parameters; one is {listed(wrong[0])}.")
    return {_named(own, False): own for own in strategies}


def _named(own: Mapping[str, Any], of_plain: bool) -> str:
    """Return the name of a strategy: its parameters as they are written."""
    text = shown(own)
    return f"plain, {text}" if of_plain else text or "plain"


def shown(params: Mapping[str, Any]) -> str:
    """Return parameters as they are written in a call."""
    return ", ".join(f"{name}={_text(value)}" for name, value in params.items())


def _text(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # with double quotes
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {_text(own)}" for key, own in value.items()) + "}"
    if isinstance(value, np.ndarray):
        return repr(value.tolist())
    return getattr(value, "__name__", None) or repr(plain(value))


def _check_names(name: str, own: Mapping[str, Any], names: set[str], others: Mapping[str, Any]) -> None:
    for key in own:
        if key not in others and key.partition("__")[0] not in names:
            raise ValueError(
                f"strategies[{name!r}] must have parameters of the estimator; {key!r} is none."
                f"{did_you_mean(key, sorted(names))}"
            )


def _candidate(own: dict[str, Any], net: Any, names: set[str], prefix: str) -> dict[str, Any]:
    """Return all that is set for a strategy, so that none has a remedy of another's or of the estimator's.

    Weights and samplers move the prior that probabilities are at. Corrected ones are compared, so that the log loss
    judges nets and not priors.
    """
    full = {**PLAIN, **own}
    moves = full["class_weight"] is not None or full["sampling"] is not None
    if moves and full["criterion"] is None and net.prior_correction is False and "prior_correction" not in own:
        full["prior_correction"] = True
    return {f"{prefix}{key}" if key.partition("__")[0] in names else key: value for key, value in full.items()}
