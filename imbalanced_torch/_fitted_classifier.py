"""What a fitted classifier does: it predicts, and shows the class priors that it has learned under."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
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
from imbalanced_torch._parameters.sizes import check_share
from imbalanced_torch._parameters.values import listed
from imbalanced_torch._persistence.saved_estimator import SavesParams
from imbalanced_torch._prediction.decision import RowCosts, expected_costs
from imbalanced_torch._prediction.held_out import HeldOutRows
from imbalanced_torch._prediction.prediction import (
    Prediction,
    check_held_out,
    evidence_of,
    rarest_of,
    raw_scores,
    remembered,
    report_of,
    resolve_prediction,
    uncorrected,
    warn_uncorrected,
)
from imbalanced_torch._prediction.prediction_sets import prediction_sets
from imbalanced_torch._repr import HTMLRepr

#: Parameters that act on what a trained net predicts.
_AT_PREDICTION = ("prior_correction", "decision")


class FittedClassifier(Exports, SavesParams, ClassifierMixin, HTMLRepr):
    """A classifier around a net that it has trained: labels outside, codes inside."""

    module: Any
    prior_correction: Any
    decision: Any
    net_: ImbalancedNet
    _kwargs: dict[str, Any]
    _with_parameters: Any
    #: What the net says of rows that it has not trained on.
    _held_out: HeldOutRows | None = None

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
        UncertainDecisionWarning
            If a goal is settled on few rows, or to a decision for one class.
        """
        matters = self.__sklearn_is_fitted__() and any(name.partition("__")[0] in _AT_PREDICTION for name in params)
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
        net, decision = self.net_, self._with_parameters("decision") if self._kwargs else self.decision
        prediction = remembered(
            self,
            (self.prior_correction, decision),
            (net.criterion_, self.class_priors_, self.classes_, self._held_out),
            partial(self._resolved, decision),
        )
        if net.prediction_ is not prediction:
            net.predict_with(prediction)
        return prediction

    def _resolved(self, decision: Any) -> Prediction:
        """Return what a decision makes of logits, resolved against what the fit found."""
        priors, criterion = self.class_priors_, self.net_.criterion_
        return resolve_prediction(
            self.prior_correction,
            decision,
            criterion,
            priors.class_prior,
            priors.effective_prior,
            self.classes_,
            self._held_out,
        )

    def _valid_prediction(self) -> Prediction | None:
        """As `_prediction`, but None if the parameters are invalid; `predict` raises then."""
        with suppress(ValueError, TypeError):
            return self._prediction()
        return None

    def _logits(self, X: Any, by_members: bool = False) -> torch.Tensor:
        """Return the module's output for rows of X, shape (n,), (n, 1) or (n, K), where the criterion is.

        By members, it is that of each member of an ensemble, shape (n, n_members, n_outputs).
        """
        check_is_fitted(self)
        X = check_X(self, X, reset=False, finite=self._finite())
        check_fits(X, self.net_.dtype, getattr(self, "feature_names_in_", None))
        rows = Rows(X, dtype=self.net_.dtype, collate=self.net_.collate_for_prediction)
        forward = self.net_.member_logits if by_members else self.net_.logits
        return checked_logits(self.net_, rows, type(self).__name__, self._finite() is not True, forward)

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
    def predict(self, X: Any, costs: Any = None) -> np.ndarray:
        """Return the label that the `decision`, or the least expected cost, chooses for each row.

        Parameters
        ----------
        X : array, table, CSR matrix, dict of arrays or torch Dataset
            Rows, as in `fit`.
        costs : array, dict or callable, default=None
            What mistakes cost in these rows, in place of `decision`: an array of shape (n, K, K), true classes before
            predicted ones; a nested dict {true: {predicted: cost}} whose entries are numbers or arrays of shape (n,);
            or a function of (proba, X), proba being `predict_proba` of these rows, that returns such an array, or the
            expected cost of each prediction, shape (n, K). It can be requested as metadata.

        Returns
        -------
        array of shape (n,)
            Labels.

        Raises
        ------
        ValueError, TypeError
            If `decision`, `prior_correction` or `costs` are not what they must be, or if the goal that `decision` names
            can't be reached.

        Warns
        -----
        UncorrectedDecisionWarning
            If `costs` read probabilities at another prior than the data's.
        """
        prediction, logits = self._prediction(), self._logits(X)
        if costs is not None:
            priced = replace(prediction, decision=RowCosts(costs))
            if uncorrected(priced):
                warn_uncorrected(priced, costs, self.classes_, stacklevel=3, subject="predict with costs")
        elif isinstance(prediction.decision, RowCosts):
            costs = prediction.decision.function
        if costs is not None:
            proba = prediction.proba(logits).double().cpu().numpy()
            return self.classes_[expected_costs(costs, proba, X, self.classes_).argmin(axis=1)]
        return self.classes_[prediction.scores(logits).argmax(dim=1).cpu().numpy()]

    @worker_threads()
    @torch.no_grad()
    def predict_set(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Return the labels that can't be ruled out: sets that hold the true one in at least `coverage` of each class.

        These are class-conditional conformal sets (Mondrian; Vovk, Gammerman and Shafer 2005) from the rows that were
        held out of training: the rare class is covered as well as the frequent one. A set may be empty, which says that
        the row is unlike any class.

        Parameters
        ----------
        X : array, table, CSR matrix, dict of arrays or torch Dataset
            Rows, as in `fit`.
        coverage : float in (0, 1), default=0.9
            The share of the rows of each class whose set holds their label.

        Returns
        -------
        bool array of shape (n, K)
            Whether a label is in the set, columns in the order of `classes_`.

        Raises
        ------
        ValueError, TypeError
            If `coverage` is not what it must be, or if no rows were held out.

        Warns
        -----
        UserWarning
            If a class has too few held-out rows to be left out of any set.

        Notes
        -----
        Where one net has been fitted with rows set aside (`early_stopping`, `train_split`) the coverage is exact for
        exchangeable rows, but for the choice of the epoch by the same rows. The default net compares a row with the
        fold of each member by what that member says (cross-conformal, Vovk 2015): its coverage is near `coverage`, and
        proven to be at least 2 coverage - 1, less a term of the order of members / rows of the class (Vovk et al. 2018;
        Barber, Candes, Ramdas and Tibshirani 2021). Rows count equally, whatever their `sample_weight`.

        References
        ----------
        Vovk, Gammerman, Shafer. Algorithmic Learning in a Random World (2005).

        Barber, Candes, Ramdas, Tibshirani. Predictive inference with the jackknife+. Annals of Statistics 49 (2021).
        """
        value = check_share("coverage", coverage, ends="()")
        prediction = self._prediction()
        held_out = check_held_out(self._held_out, "predict_set")
        logits = self._logits(X, by_members=held_out.members is not None)
        nets = logits if held_out.members is not None else logits.reshape(len(logits), 1, -1)
        new = prediction.log_proba(nets.flatten(0, 1)).view(*nets.shape[:2], -1)
        known = prediction.log_proba(held_out.tensor.to(logits))
        return prediction_sets(
            known.cpu().numpy(), held_out.codes, held_out.members, new.cpu().numpy(), value, self.classes_
        )

    @torch.no_grad()
    def out_of_fold_proba(self) -> np.ndarray | None:
        """Return `predict_proba` of the training rows, each by the member that has not seen it.

        They are at the prior that `predict_proba` is at, whereas `oof_proba_` is at `class_prior_` always.

        Returns
        -------
        array of shape (n, K) or None
            Probabilities of the rows of X in their order; None where there are no out-of-fold probabilities of all.
        """
        check_is_fitted(self)
        held_out = self._held_out
        if held_out is None or held_out.members is None or len(held_out.codes) != len(self.oof_proba_):
            return None
        prediction = self._prediction()
        return prediction.proba(held_out.tensor.to(prediction.criterion.class_weight.device)).cpu().numpy()

    @torch.no_grad()
    def held_out_predictions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels, probabilities and weights of the rows that goals and `decision_report` are settled on.

        These are the rows that were held out of training: of the default net all of them, each by the member that has
        not seen it; of one net those that `early_stopping` or `train_split` set aside.

        Returns
        -------
        y : array of shape (n,)
            Labels.
        proba : array of shape (n, K)
            `predict_proba` of the rows, at the prior that it is at.
        weights : array of shape (n,)
            What the rows count, of mean 1: their `sample_weight`, and as in the place where the model will work where
            `prior_correction` names its prior.

        Raises
        ------
        ValueError
            If no rows were held out.
        """
        check_is_fitted(self)
        held_out, prediction = check_held_out(self._held_out, "held_out_predictions"), self._prediction()
        proba = prediction.proba(held_out.tensor.to(prediction.criterion.class_weight.device)).cpu().numpy()
        weights = evidence_of(held_out, prediction, self.classes_).weights
        return self.classes_[held_out.codes], proba, weights

    @torch.no_grad()
    def decision_report(self, decisions: Any = None, *, confidence: float = 0.95) -> list[dict[str, Any]]:
        """Return what decisions reach on the rows that were held out of training, with intervals.

        Parameters
        ----------
        decisions : list, default=None
            Values of `decision`; None is the estimator's own.
        confidence : float in (0, 1), default=0.95
            Of the intervals, which are exact (Clopper and Pearson 1934) for rows that count equally. A decision that
            was tuned on the same rows, as for "f1", reaches a little less on new ones.

        Returns
        -------
        list of dict
            One for each decision and class, of two classes for the rarer one alone; a DataFrame can be made of it. Its
            keys are `decision`, `label`, `n_rows` and `n_of_label` (held-out rows), `recall`, `precision` and `share`
            (of rows that are called so), each with `_low` and `_high`, `threshold` (on `predict_proba` of the label;
            NaN for more classes) and `note`, which says why a goal is not reached; its rates are NaN then.

        Raises
        ------
        ValueError, TypeError
            If a decision or `confidence` are not what they must be, or if no rows were held out.
        """
        check_is_fitted(self)
        value = check_share("confidence", confidence, ends="()")
        held_out = check_held_out(self._held_out, "decision_report")
        if decisions is None:
            decisions = [self._with_parameters("decision")]
        if not isinstance(decisions, list | tuple):
            raise TypeError(f"decisions must be a list of values of decision; it is {listed(decisions)}.")
        n_classes = len(self.classes_)
        codes = [rarest_of(self.class_prior_)] if n_classes == 2 else list(range(n_classes))
        return [
            {"decision": decision, **row}
            for decision in decisions
            for row in report_of(self._resolved(decision), held_out, self.classes_, codes, value)
        ]

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
        """Class shares of the training rows, weighted by `sample_weight`.

        The weights describe your population, so no correction undoes them.
        """
        return self.class_priors_.class_prior

    @property
    def sampled_prior_(self) -> np.ndarray:
        """Class shares of the rows that the net was shown."""
        return self.class_priors_.sampled_prior

    @property
    def effective_prior_(self) -> np.ndarray:
        """Class shares that the net learned under, and that its probabilities are at.

        `prior_correction` moves the probabilities to other shares, and leaves these.
        """
        return self.class_priors_.effective_prior

    @property
    def module_(self) -> nn.Module:
        """The trained module."""
        return self.net_.module_

    @property
    def history_(self) -> Any:
        """Losses of each epoch, as skorch keeps them.

        With rows held out `valid_loss` (weighted), `valid_log_loss` and `valid_log_loss_corrected` (of probabilities,
        the net's own and prior-corrected), and under a schedule `remedy_strength`, 0 to 1.
        """
        return self.net_.history

    def __sklearn_is_fitted__(self) -> bool:
        return "net_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._finite() is not True
        return tags
