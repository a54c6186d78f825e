"""scikit-learn's protocol of parameters, with those of the net's parts (``module__*`` and the like) as **kwargs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

from sklearn.base import BaseEstimator, clone

from imbalanced_torch._parameters.names import PREFIXES, check_names, constructor_parameters, nested_parameters
from imbalanced_torch._parameters.values import accepted_by, plain

#: Hyperparameters that may be objects with parameters of their own.
OBJECTS = ("class_weight", "sampling", "schedule", "decision", "checkpoint")


class KeywordParameters(BaseEstimator):
    """An estimator whose constructor takes parameters by name and, as **kwargs, those of the net's parts."""

    net_class: type
    _kwargs: dict[str, Any]

    @classmethod
    def _base(cls) -> type:
        """Return the class whose constructor keeps the **kwargs: derived ones pass theirs on to it."""
        return next(base for base in cls.__mro__ if KeywordParameters in base.__bases__)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(constructor_parameters(cls, cls._base())[0])

    @classmethod
    def _takes_keywords(cls) -> bool:
        """Whether `module__*` and the like can be given: a derived class may take no **kwargs."""
        return constructor_parameters(cls, cls._base())[1]

    def _named(self) -> dict[str, Any]:
        """Return the values of the parameters that the constructors of the class and its bases name."""
        kwargs = self._kwargs  # a derived class may name one of them, and pass it on
        return {name: kwargs[name] if name in kwargs else getattr(self, name) for name in self._get_param_names()}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, with those of the net's parts that were set.

        Of a derived class whose constructor passes `**kwargs` on these are its own and those of this class.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return the parameters of objects too, such as `sampling__ratio`.

        Returns
        -------
        dict
            The values by name.
        """
        named = self._named()
        params = {**(self._kwargs if self._takes_keywords() else {}), **named}
        if deep:
            for name, (_, _, value) in nested_parameters(named).items():
                params.setdefault(name, value)
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name. An unknown name raises ValueError.

        An object whose parameter is set, as by `sampling__ratio`, is copied first.
        """
        named, parts = self._named(), PREFIXES if self._takes_keywords() else ()
        # The objects that `sampling__ratio` and the like will belong to, which may come in this very call.
        values = {name: params.get(name, value) for name, value in named.items()}
        nested = {name: owner for name, owner in nested_parameters(values).items() if name not in named}
        settled = {name for name in self._kwargs if parts and name.partition("__")[0] not in OBJECTS}
        check_names(params.keys() - settled, {*named, *nested}, self.net_class, values, parts)
        changed = {name: value for name, value in params.items() if name in named}
        for owner in {nested[name][0] for name in params if name in nested}:
            own = {} if owner in params else self._part(owner)
            own |= {nested[name][1]: params[name] for name in params if name in nested and nested[name][0] == owner}
            changed[owner] = copy.deepcopy(values[owner]).set_params(**own)

        self._kwargs = {
            name: value
            for name, value in self._kwargs.items()
            if not name.startswith(tuple(f"{other}__" for other in changed if other in OBJECTS))
        }
        self._set(changed)
        self._kwargs.update({name: params[name] for name in params if name not in named and name not in nested})
        return self

    def _set(self, named: Mapping[str, Any]) -> None:
        for name, value in named.items():
            if name in self._kwargs:
                self._kwargs[name] = value
            if name not in self._kwargs or hasattr(self, name):
                setattr(self, name, value)

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted copy with the same parameters, also where a derived class fixes some of its base's."""
        base: Any = self._base()
        if type(self).__init__ is base.__init__:
            return super().__sklearn_clone__()
        params = {name: clone(value, safe=False) for name, value in self.get_params(deep=False).items()}
        own = accepted_by(type(self).__init__)
        copied_self = type(self)(**{name: value for name, value in params.items() if name in own})
        named = self._get_param_names()
        if self._takes_keywords():
            copied_self._kwargs = {name: params[name] for name in self._kwargs}
        copied_self._set({name: params[name] for name in named})
        for name in ("_metadata_request", "_skl_callbacks"):  # of scikit-learn's own, which clones have too
            if name in vars(self):
                setattr(copied_self, name, copy.deepcopy(getattr(self, name)))
        return copied_self

    def _with_parameters(self, name: str) -> Any:
        """Return a hyperparameter, with the parameters that the constructor was given for it: `sampling__ratio`."""
        value, own = getattr(self, name), self._part(name)
        return copy.deepcopy(value).set_params(**own) if own else value

    def _number(self, name: str) -> Any:
        """Return a number that is a parameter as Python's, whose sums do not overflow as those of numpy's int8."""
        return plain(getattr(self, name))

    def _part(self, prefix: str) -> dict[str, Any]:
        """Return the parameters that were set for one part of the net."""
        return {
            name.removeprefix(prefix + "__"): plain(value)
            for name, value in self._kwargs.items()
            if name.startswith(prefix + "__")
        }
