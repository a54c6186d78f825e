"""What a fitted classifier does: it predicts, and shows the class priors that it has learned under."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from imbalanced_torch._data.checks import check_X
from imbalanced_torch._data.rows import Rows, check_fits
from imbalanced_torch._ensemble.ensemble import MLPEnsemble
from imbalanced_torch._export.exported_estimator import Exports
from imbalanced_torch._net.forward import checked_logits
from imbalanced_torch._net.global_state import worker_threads
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._persistence.saved_estimator import SavesParams
from imbalanced_torch._prediction.prediction import (
    Prediction,
    raw_scores,
    remembered,
    resolve_prediction,
    uncorrected,
    warn_uncorrected,
)

#: Parameters that act on what a trained net predicts.
_AT_PREDICTION = ("prior_correction", "decision")


class FittedClassifier(Exports, SavesParams, ClassifierMixin):
    """A classifier around a net that it has trained: labels outside, codes inside."""

    module: Any
    prior_correction: Any
    decision: Any
    net_: ImbalancedNet

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        `prior_correction` and `decision` take effect at once, in `net_` too, the others in the next `fit`. An object
        whose parameter is set, as by `sampling__ratio`, is copied first.

        Parameters
        ----------
        **params
            Parameters of the estimator, of objects that are parameters, and of the net's parts.

        Returns
        -------
        Self
            The classifier.

        Raises
        ------
        ValueError
            If a name is no parameter.

        Warns
        -----
        UncorrectedDecisionWarning
            If costs or a threshold now read probabilities at another prior than the data's.
        """
        matters = self.__sklearn_is_fitted__() and not params.keys().isdisjoint(_AT_PREDICTION)
        before = self._valid_prediction() if matters else None
        super().set_params(**params)
        after = self._valid_prediction() if matters else None
        if after is not None and uncorrected(after) and not uncorrected(before):
            warn_uncorrected(after, self.decision, self.classes_, stacklevel=2)
        return self

    def _module_class(self) -> Any:
        """Return the module, behind a functools.partial too; None is the default net."""
        module = self.module
        while isinstance(module, partial):
            module = module.func
        return MLPEnsemble if module is None else module

    def _takes_tables(self) -> bool:
        """Whether the net takes raw tables: categories and missing values become numbers on the way to it."""
        module = self._module_class()
        return isinstance(module, type) and issubclass(module, MLPEnsemble)

    def _finite(self) -> bool | str:
        """Return whether X must be finite, or "allow-nan": a module may declare that it takes NaN and inf."""
        if self._takes_tables():
            return "allow-nan"
        return not getattr(self._module_class(), "allow_nan", False)

    def _prediction(self) -> Prediction:
        """Return what is made of logits, resolved anew where a parameter has changed; `net_` makes the same of them."""
        if "net_" not in vars(self):
            check_is_fitted(self)  # raises
        net, priors, classes = self.net_, self.class_priors_, self.classes_

        def resolve() -> Prediction:
            prior, effective = priors.class_prior, priors.effective_prior
            return resolve_prediction(self.prior_correction, self.decision, net.criterion_, prior, effective, classes)

        prediction = remembered(
            self, (self.prior_correction, self.decision), (net.criterion_, priors, classes), resolve
        )
        if net.prediction_ is not prediction:
            net.predict_with(prediction)
        return prediction

    def _valid_prediction(self) -> Prediction | None:
        """As `_prediction`, but None if the parameters are invalid; `predict` raises then."""
        with suppress(ValueError, TypeError):
            return self._prediction()
        return None

    def _logits(self, X: Any) -> torch.Tensor:
        """Return the module's output for rows of X, shape (n,), (n, 1) or (n, K), where the criterion is."""
        check_is_fitted(self)
        X = check_X(self, X, reset=False, finite=self._finite())
        check_fits(X, self.net_.dtype, getattr(self, "feature_names_in_", None))
        rows = Rows(X, dtype=self.net_.dtype, collate=self.net_.collate_for_prediction)
        return checked_logits(self.net_, rows, type(self).__name__, self._finite() is not True)

    @worker_threads()
    @torch.no_grad()
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits, whatever `decision` and `prior_correction` are.

        `predict` takes their sign (two classes) or argmax where `decision` is "trained", as it is by default. Other
        decisions move `predict` alone, as scikit-learn's FixedThresholdClassifier does: what ranks rows, draws curves
        or calibrates with this method is the same under each of them.

        Parameters
        ----------
        X : array, table, CSR matrix, dict of arrays or torch Dataset
            Rows, as in `fit`.

        Returns
        -------
        array of shape (n,) for two classes, else (n, K)
            Logits; for two classes that of `classes_[1]` less that of `classes_[0]`.
        """
        return raw_scores(self._logits(X)).cpu().numpy()

    @worker_threads()
    @torch.no_grad()
    def predict(self, X: Any) -> np.ndarray:
        """Return the label that the `decision` chooses for each row.

        Parameters
        ----------
        X : array, table, CSR matrix, dict of arrays or torch Dataset
            Rows, as in `fit`.

        Returns
        -------
        array of shape (n,)
            Labels.

        Raises
        ------
        ValueError, TypeError
            If `decision` or `prior_correction` are not what they must be.
        """
        scores = self._prediction().scores(self._logits(X)).cpu().numpy()
        return self.classes_[scores.argmax(axis=1)]

    @worker_threads()
    @torch.no_grad()
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`, without the loss of digits where that is near 0.

        Parameters
        ----------
        X : array, table, CSR matrix, dict of arrays or torch Dataset
            Rows, as in `fit`.

        Returns
        -------
        array of shape (n, K)
            Log probabilities, columns in the order of `classes_`.

        Raises
        ------
        ValueError, TypeError
            If `decision` or `prior_correction` are not what they must be.
        """
        return self._prediction().log_proba(self._logits(X)).cpu().numpy()

    @worker_threads()
    @torch.no_grad()
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities at `effective_prior_`, or at the prior that `prior_correction` carries them to.

        Parameters
        ----------
        X : array, table, CSR matrix, dict of arrays or torch Dataset
            Rows, as in `fit`.

        Returns
        -------
        array of shape (n, K)
            Probabilities, columns in the order of `classes_`.

        Raises
        ------
        ValueError, TypeError
            If `decision` or `prior_correction` are not what they must be.
        """
        return self._prediction().proba(self._logits(X)).cpu().numpy()

    # What is known after `fit`

    @property
    def class_weight_(self) -> np.ndarray:
        """Weights in the loss, of mean 1 over what it sees, in the order of `classes_`."""
        return self.class_priors_.class_weight

    @property
    def class_prior_(self) -> np.ndarray:
        """Class shares in the training rows, weighted by `sample_weight`."""
        return self.class_priors_.class_prior

    @property
    def sampled_prior_(self) -> np.ndarray:
        """Class shares of the rows that the net was shown."""
        return self.class_priors_.sampled_prior

    @property
    def effective_prior_(self) -> np.ndarray:
        """Class shares that the net learned under."""
        return self.class_priors_.effective_prior

    @property
    def module_(self) -> nn.Module:
        """The trained module."""
        return self.net_.module_

    @property
    def history_(self) -> Any:
        """The history of the training, as skorch keeps it."""
        return self.net_.history

    def __sklearn_is_fitted__(self) -> bool:
        return "net_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._finite() is not True
        return tags
