"""Docstrings of public objects: their sections, by numpydoc, and the defaults that they state."""

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest
import torch
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import Validator, validate
from skorch import NeuralNet

import imbalanced_torch
from imbalanced_torch import ImbalancedNet, ImbalancedNetClassifier
from imbalanced_torch._parameters.names import PREFIXES, net_parameters

#: What numpydoc asks for beyond the house style.
IGNORED = {
    "GL01",  # text beside the opening quotes, which numpydoc allows from 1.9 on
    "ES01",  # no extended summary: one line is enough where it says all
    "SA01",  # no See Also: names stand in the text
    "EX01",  # no example: classes have them, not each method
}
#: Missing parameters and returned values. An override of a method of skorch's says what is other than there.
_OF_SKORCH = {"PR01", "RT01"}

_DOCUMENTED = (property, cached_property, classmethod, staticmethod)


def _owner(cls: type, name: str) -> type | None:
    """Return the class whose docstring `help` shows for a member: a member without one inherits that of its base."""
    return next((base for base in cls.__mro__ if getattr(vars(base).get(name), "__doc__", None)), None)


def _ours(cls: type | None) -> bool:
    return cls is not None and cls.__module__.startswith("imbalanced_torch")


def _members(cls: type) -> Iterator[tuple[str, type | None]]:
    """Yield the public methods and properties that our package defines, and where their docstrings are."""
    for name in dir(cls):
        definition = next((vars(base) for base in cls.__mro__ if name in vars(base) and _ours(base)), None)
        first = next((base for base in cls.__mro__ if name in vars(base)), None)
        if name.startswith("_") or definition is None or not _ours(first):
            continue
        if inspect.isfunction(definition[name]) or isinstance(definition[name], _DOCUMENTED):
            yield name, _owner(cls, name)


def _has_parameters(thing: Any) -> bool:
    return callable(thing) and not (inspect.isclass(thing) and issubclass(thing, Warning))


PUBLIC = {name: getattr(imbalanced_torch, name) for name in imbalanced_torch.__all__}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
#: Each docstring once, by the path to it.
PATHS = sorted(
    {f"imbalanced_torch.{name}" for name in PUBLIC}
    | {
        f"{owner.__module__}.{owner.__qualname__}.{member}"
        for cls in CLASSES.values()
        for member, owner in _members(cls)
        if owner is not None and _ours(owner)
    }
)
_FILES = ("f_params", "f_optimizer", "f_criterion", "f_history")
#: Those that have parameters: neither properties nor the classes of warnings.
WITH_PARAMETERS = [path for path in PATHS if _has_parameters(Validator._load_obj(path))]
#: What *args and **kwargs stand for, by the name of a callable: Other Parameters must list these, in this order.
_KEYWORDS = {
    "ImbalancedNetClassifier": (
        *(f"{part}__*" for part in PREFIXES),
        *sorted(net_parameters(ImbalancedNet)),  # which the estimator sets itself
    ),
    "SavesParams.save_params": (*_FILES, "use_safetensors"),
    "SavesParams.load_params": (*_FILES, "checkpoint", "use_safetensors"),
}


class _WithKeywords(Validator):
    """numpydoc's, which knows what *args and **kwargs stand for."""

    def __init__(self, obj_name: str) -> None:
        super().__init__(get_doc_object(Validator._load_obj(obj_name)))

    @property
    def signature_parameters(self) -> Any:
        own = tuple(super().signature_parameters)
        return (*own, *_KEYWORDS.get(getattr(self.obj, "__qualname__", ""), ()))


def _is_override_of_skorchs(path: str) -> bool:
    name = path.rpartition(".")[2]
    return hasattr(NeuralNet, name) and getattr(ImbalancedNet, name, None) is Validator._load_obj(path)


@pytest.mark.parametrize("path", PATHS)
def test_a_docstring_has_the_sections_that_numpydoc_asks_for(path):
    ignored = IGNORED | (_OF_SKORCH if _is_override_of_skorchs(path) else set())
    found = validate(path, validator_cls=_WithKeywords)["errors"]
    assert [error for error in found if error[0] not in ignored] == []


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_method_has_a_docstring_or_inherits_one(name):
    assert [member for member, owner in _members(CLASSES[name]) if owner is None] == []


@pytest.mark.parametrize("path", WITH_PARAMETERS)
def test_documented_defaults_are_those_of_the_signature(path):
    documented = Validator._load_obj(path)
    signature = inspect.signature(documented).parameters
    types = {name: type_ for name, (type_, _) in Validator(get_doc_object(documented)).doc_parameters.items()}
    for name in types.keys() & signature.keys():
        stated = re.search(r"default=(.*)$", types[name])
        default = signature[name].default
        assert (stated is None) == (default is inspect.Parameter.empty), (name, types[name])
        if stated:
            assert eval(stated[1], {"torch": torch}) == default, (name, types[name])


WARNERS = [
    (ImbalancedNetClassifier.fit, ("CombinedRemedyWarning", "UncorrectedDecisionWarning")),
    (ImbalancedNetClassifier.partial_fit, ("CombinedRemedyWarning", "UncorrectedDecisionWarning")),
    (ImbalancedNetClassifier.set_params, ("UncorrectedDecisionWarning",)),
]


@pytest.mark.parametrize(("method", "warnings"), WARNERS, ids=[method.__name__ for method, _ in WARNERS])
def test_a_method_lists_the_warnings_that_it_gives(method, warnings):
    text = " ".join(" ".join([entry.type, *entry.desc]) for entry in get_doc_object(method)["Warns"])
    assert [name for name in warnings if name not in text] == []
