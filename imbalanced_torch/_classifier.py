"""The estimator: labels outside, codes inside; what the net learns from, and what is made of its logits."""

from __future__ import annotations

import copy
import math
import numbers
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import DataLoader, Dataset

from imbalanced_torch._callbacks import Stopping, copied
from imbalanced_torch._constraints import check_constraints, warn_of_few_rows
from imbalanced_torch._criterion import resolve_criterion
from imbalanced_torch._foreign_words import VALUES
from imbalanced_torch._global_state import global_stream, reseed, seeded, sub_seed, worker_threads
from imbalanced_torch._holdout import by_user, stratified
from imbalanced_torch._hyperparameters import accepted_by, labels_of, listed, plain, same
from imbalanced_torch._input import check_classes, check_sample_weight, check_X, check_y, encode
from imbalanced_torch._keywords import (
    PREFIXES,
    check_keywords,
    check_names,
    constructor_parameters,
    nested_parameters,
)
from imbalanced_torch._module import MLP, last_layer, own_masks, sizes_asked_for
from imbalanced_torch._net import ImbalancedNet, orders_rows
from imbalanced_torch._persistence import Loaded, as_in_a_file, described, restored_on_error, stage_of
from imbalanced_torch._pickles import Versioned
from imbalanced_torch._prediction import (
    Prediction,
    raw_scores,
    remembered,
    resolve_prediction,
    uncorrected,
    warn_uncorrected,
)
from imbalanced_torch._prior import Exposure, shown
from imbalanced_torch._remedy import Remedy
from imbalanced_torch._rows import (
    Rows,
    TrainingRows,
    check_fits,
    ints_in,
    resolve_dtype,
    row_shape,
    shape_of_rows,
)
from imbalanced_torch._schedule import Schedule, resolve_schedule
from imbalanced_torch._streams import class_counts

#: Above so many rows "auto" stops early, as HistGradientBoostingClassifier does.
_EARLY_STOPPING_ROWS = 10_000
#: Hyperparameters that may be objects with parameters of their own.
_MAY_BE_OBJECTS = ("class_weight", "sampling", "schedule")
#: Parameters that act on what a trained net predicts.
_AT_PREDICTION = ("prior_correction", "decision")
#: What each random stream of a fit is keyed by.
_INIT, _TRAINING, _SAMPLING, _HOLDOUT = range(4)


@contextmanager
def _gradients() -> Iterator[None]:
    """Train with gradients, also where the caller has switched them off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


class ImbalancedNetClassifier(Versioned, ClassifierMixin, BaseEstimator):
    """A neural net for imbalanced classes, with `class_weight` and `sampling` as scikit-learn hyperparameters.

    Weights, samplers and thresholds mostly move the decision point; how well the net ranks hardly moves. The plain net,
    with both left at None, is the baseline of every comparison.

    Parameters
    ----------
    module : torch.nn.Module class, instance or factory, default=None
        Returns logits: of shape (n, 1) or (n, 2) for two classes, (n, K) for K > 2. None is `MLP`. A class is given the
        sizes it asks for by name, in parameters without a default or with None, unless `module__*` sets them; another
        default is its own choice. Values in a row are asked for as `n_features`, `in_features`,
        `input_dim`, `input_size` or `d_in`; logits (1 for two classes) as `n_outputs`, `out_features`, `output_dim`,
        `output_size` or `d_out`; classes as `n_classes` or `num_classes`. An instance is copied. A module with
        `allow_nan = True` takes NaN and inf.
    class_weight : None, "balanced", "sqrt", "effective", dict, array, callable or EffectiveNumber, default=None
        Weights of the classes in the loss, scaled to mean 1 over what the loss sees. "balanced" is n / (K n_c), "sqrt"
        is proportional to n_c^-1/2, "effective" to the inverse effective number of rows; these words take `sampling`
        and `sample_weight` into account and never correct twice. A dict from label to weight (1 where it has none), an
        array in the order of `classes_` and a callable from counts to weights are costs, which multiply with
        `sampling`.
    sampling : None, "weighted", "over", "under", "batch", dict, callable or strategy, default=None
        Which training rows each epoch sees. "weighted" draws as many rows as there are, classes equally likely, with
        replacement, as WeightedRandomSampler does; "over" raises every class to the largest; "under" cuts every class
        to the smallest, afresh each epoch; "batch" fills each batch with as many rows of each class. A dict from label
        to count or a callable from counts to counts gives the rows of each class in an epoch. Strategies with
        parameters: OverSampling, UnderSampling, TemperedSampling, BalancedBatches.
    criterion : None, word, torch criterion class or instance, default=None
        None is binary cross-entropy for two classes and cross-entropy for more, through logits. "focal",
        "logit_adjusted" (balanced softmax), "ldam", "vs", "asymmetric" and "label_smoothing" are FocalLoss,
        LogitAdjustedLoss and so on, with `criterion__gamma` and the like. Others return one loss per row under
        reduction="none" and are of the (B)CE-with-logits family or declare `probabilities(logits)`; one with a
        parameter `class_counts` is given the rows of each class that are sampled.
    schedule : None, "deferred", "progressive", "retrain_head" or schedule, default=None
        When `class_weight` and `sampling` act. None: in every epoch. "deferred" switches them on after 0.8 of
        `max_epochs`, "progressive" raises them to full strength epoch by epoch, "retrain_head" then trains the last
        layer alone, anew. With parameters: DeferredSchedule, ProgressiveSchedule, HeadRetraining.
    prior_correction : bool, dict or array, default=False
        The class prior that probabilities are carried to after training: p'_c is proportional to p_c target_c / q_c, q
        being `effective_prior_`. False leaves them at q. True takes `class_prior_` as the target. A dict from label to
        prior, or an array in the order of `classes_`, is the prior where the model will work (`estimate_prior` finds it
        from unlabelled rows). May be set after `fit`.
    decision : "trained", "argmax", "balanced", float, dict or array, default="trained"
        How `predict` chooses. "trained" takes the class of the greatest logit, so that `class_weight` and `sampling`
        act as trained even where probabilities are corrected. "argmax" takes the greatest probability of
        `predict_proba`; a float is a threshold on the probability of `classes_[1]` there, and {label: number} one on
        that of the class named; costs, as an array of shape (K, K) with true classes in rows or as a nested dict {true:
        {predicted: cost}}, take the class that costs least in expectation. "balanced" takes the greatest p_c / prior_c,
        which is optimal for balanced accuracy and needs no remedy in training. May be set after `fit`. It moves
        `predict` alone: `decision_function` stays the logits. Costs of more than 100 classes that are changed in place
        must be set again.
    epoch_size : int, float or None, default=None
        Rows in an epoch (int), or their share of the training rows (float, may exceed 1). None leaves it to `sampling`.
        1.0 gives every strategy as many rows, and so as many steps.
    optimizer : torch optimizer class, default=torch.optim.Adam
    lr : float, default=1e-3
    max_epochs : int, default=50
    batch_size : int, default=64
        Rows in a batch; -1 takes those of an epoch in one. A last batch of one row joins the one before.
    early_stopping : bool or "auto", default="auto"
        Whether to hold out rows and stop on the log loss of the prior-corrected probabilities, with the best epoch's
        weights restored. "auto" does above 10 000 rows.
    validation_fraction : float in (0, 1), default=0.1
        Share of each class that is held out when stopping early.
    n_iter_no_change : int, default=10
        Epochs without improvement before stopping.
    tol : float, default=1e-4
        What counts as improvement, in nats per row.
    train_split : callable, default=None
        Replaces how rows are held out: skorch's ValidSplit or predefined_split, or a callable of (dataset, labels).
        Rows are then held out whether or not training stops on them.
    callbacks : list of skorch callbacks, default=None
        Copied for each fit. Scoring callbacks see labels, and count the rarest of two classes as positive.
    warm_start : bool, default=False
        Whether `fit` goes on from the last one for `max_epochs` more.
    dtype : "auto", None, torch or numpy dtype, default="auto"
        What values and the module become. "auto": float64 stays (float32 on CUDA and MPS), float32 stays, float16
        becomes float32, ints and bools become float64. None passes arrays through as they are, such as ints for
        embeddings.
    device : str or torch.device, default="cpu"
    random_state : int, RandomState instance or None, default=None
        Seeds initial weights, shuffling, sampling and the split. An int makes two fits equal bit by bit on the same
        machine, with the same number of torch threads and the same versions; elsewhere they are equal to rounding.
        torch's global random state is left as it was. None takes the seed from numpy's global generator, as in
        scikit-learn.
    verbose : int, default=0
        1 prints a line for each epoch.
    **kwargs
        Parameters of the net's parts, as in skorch: `module__*`, `criterion__*`, `optimizer__*`, `iterator_train__*`,
        `iterator_valid__*`, `callbacks__*`, `compile` and others of the net's class. A collate function in
        `iterator_train__collate_fn` makes the batches of validation and prediction too, unless
        `iterator_valid__collate_fn` does. `criterion__weight`,
        `criterion__pos_weight` and `criterion__reduction` are not for users.

    Attributes
    ----------
    classes_ : array of shape (K,)
        Labels, sorted.
    class_weight_ : array of shape (K,)
        Weights in the loss, of mean 1 over what it sees.
    class_prior_ : array of shape (K,)
        Class shares in the training rows, weighted by `sample_weight`, which describes your population: its effect is
        not a remedy, and no correction undoes it.
    sampled_prior_ : array of shape (K,)
        Class shares of the rows that the net is shown.
    effective_prior_ : array of shape (K,)
        Class shares that the net learns under, and that its probabilities are at unless `prior_correction` carries them
        elsewhere.
    exposure_ : object
        The class counts behind the three priors.
    net_ : ImbalancedNet
        The skorch net: `net_.module_`, `net_.history`, `net_.callbacks_`.
    module_ : torch.nn.Module
    history_ : skorch History
        Each epoch's losses, and under a schedule `remedy_strength`, 0 to 1. With rows held out: `valid_loss` (the
        weighted criterion), `valid_log_loss` (of the net's own probabilities) and `valid_log_loss_corrected` (of the
        prior-corrected ones).
    n_iter_ : int
        Epochs trained.
    best_epoch_ : int
        The epoch, from 1, whose weights the net has.
    n_features_in_ : int
        Columns of X, where X is an array, a table or a CSR matrix.
    feature_names_in_ : array of shape (n_features_in_,)
        Where X has string column names.
    row_shape_ : tuple, dict of tuples or None

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> ImbalancedNetClassifier(class_weight="balanced", random_state=0).fit(X, y).effective_prior_
    array([0.5, 0.5])
    """

    #: The net's class; set it to a class derived from `ImbalancedNet` to override skorch's methods.
    net_class: type[ImbalancedNet] = ImbalancedNet

    exposure_: Exposure

    def __init__(
        self,
        module: Any = None,
        *,
        class_weight: Any = None,
        sampling: Any = None,
        criterion: Any = None,
        schedule: Any = None,
        prior_correction: Any = False,
        decision: Any = "trained",
        epoch_size: float | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        lr: float = 1e-3,
        max_epochs: int = 50,
        batch_size: int = 64,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        train_split: Callable[..., Any] | None = None,
        callbacks: Any = None,
        warm_start: bool = False,
        dtype: Any = "auto",
        device: Any = "cpu",
        random_state: Any = None,
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        self.module = module
        self.class_weight = class_weight
        self.sampling = sampling
        self.criterion = criterion
        self.schedule = schedule
        self.prior_correction = prior_correction
        self.decision = decision
        self.epoch_size = epoch_size
        self.optimizer = optimizer
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.train_split = train_split
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self._kwargs = kwargs

    # Parameters

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(constructor_parameters(cls, ImbalancedNetClassifier)[0])

    @classmethod
    def _takes_keywords(cls) -> bool:
        """Whether `module__*` and the like can be given: a derived class may take no **kwargs."""
        return constructor_parameters(cls, ImbalancedNetClassifier)[1]

    def _named(self) -> dict[str, Any]:
        """Return the values of the parameters that the constructors of the class and its bases name."""
        kwargs = self._kwargs  # a derived class may name one of them, and pass it on
        return {name: kwargs[name] if name in kwargs else getattr(self, name) for name in self._get_param_names()}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name, with those of the net's parts that were set.

        Of a derived class whose constructor passes **kwargs on these are its own and those of this class.
        """
        named = self._named()
        params = {**(self._kwargs if self._takes_keywords() else {}), **named}
        if deep:
            for name, (_, _, value) in nested_parameters(named).items():
                params.setdefault(name, value)
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name. An unknown name raises ValueError.

        `prior_correction` and `decision` take effect at once, the others in the next `fit`. An object whose parameter
        is set, as by `sampling__ratio`, is copied first.
        """
        named, parts = self._named(), PREFIXES if self._takes_keywords() else ()
        # The objects that `sampling__ratio` and the like will belong to, which may come in this very call.
        values = {name: params.get(name, value) for name, value in named.items()}
        nested = {name: owner for name, owner in nested_parameters(values).items() if name not in named}
        settled = {name for name in self._kwargs if parts and name.partition("__")[0] not in _MAY_BE_OBJECTS}
        check_names(params.keys() - settled, {*named, *nested}, self.net_class, values, parts)
        changed = {name: value for name, value in params.items() if name in named}
        for owner in {nested[name][0] for name in params if name in nested}:
            own = {} if owner in params else self._part(owner)
            own |= {nested[name][1]: params[name] for name in params if name in nested and nested[name][0] == owner}
            changed[owner] = copy.deepcopy(values[owner]).set_params(**own)

        matters = self.__sklearn_is_fitted__() and not params.keys().isdisjoint(_AT_PREDICTION)
        before = self._resolved_prediction() if matters else None
        self._kwargs = {
            name: value
            for name, value in self._kwargs.items()
            if not name.startswith(tuple(f"{other}__" for other in changed if other in _MAY_BE_OBJECTS))
        }
        self._set(changed)
        self._kwargs.update({name: params[name] for name in params if name not in named and name not in nested})
        after = self._resolved_prediction() if matters else None
        if after is not None and uncorrected(after) and not uncorrected(before):
            warn_uncorrected(after, self.decision, self.net_.criterion_, self.classes_, stacklevel=2)
        return self

    def _set(self, named: Mapping[str, Any]) -> None:
        for name, value in named.items():
            if name in self._kwargs:
                self._kwargs[name] = value
            if name not in self._kwargs or hasattr(self, name):
                setattr(self, name, value)

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted copy with the same parameters, also where a derived class fixes some of its base's."""
        if type(self).__init__ is ImbalancedNetClassifier.__init__:
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

    def _check_parameters(self) -> None:
        if self._kwargs:
            objects = {name: getattr(self, name) for name in _MAY_BE_OBJECTS}
            known = {*self._get_param_names(), *nested_parameters(objects)}
            check_names(self._kwargs, known, self.net_class, vars(self))
        check_constraints({**vars(self), **self._kwargs})
        self._check_lr()
        try:
            check_random_state(self.random_state)
        except (ValueError, TypeError) as error:  # scikit-learn 1.6 formats a tuple into its message
            raise ValueError(
                f"random_state must be None, an int in [0, 2**32) or a numpy RandomState; it is "
                f"{listed(self.random_state)}: {error}"
            ) from error
        if not callable(self.optimizer):
            raise TypeError(
                f"optimizer must be a torch optimizer class such as torch.optim.Adam; it is {self.optimizer!r}."
                f"{_advice('optimizer', self.optimizer)}"
            )
        if self.train_split is not None and not callable(self.train_split):
            raise TypeError(
                "train_split must be None or a callable of (dataset, labels), such as skorch's ValidSplit; it is "
                f"{self.train_split!r}."
            )
        items = self.callbacks if isinstance(self.callbacks, list) else []
        callbacks = [item[1] if isinstance(item, tuple) and len(item) == 2 else item for item in items]
        fits = isinstance(self.callbacks, list) and all(isinstance(item, Callback | type) for item in callbacks)
        if not (self.callbacks is None or fits or (isinstance(self.callbacks, str) and self.callbacks == "disable")):
            raise TypeError(
                'callbacks must be None, a list of skorch callbacks or pairs (name, callback), or "disable"; it is '
                f"{self.callbacks!r}."
            )
        self._check_device()
        check_keywords("optimizer", self.optimizer, self._part("optimizer"), extra=["param_groups"])
        for prefix in ("iterator_train", "iterator_valid"):
            iterator = self._kwargs.get(prefix, DataLoader)
            if not callable(iterator):
                raise TypeError(f"{prefix} must be a class such as torch.utils.data.DataLoader; it is {iterator!r}.")
            check_keywords(prefix, iterator, self._part(prefix))
            if np.any(self._part(prefix).get("timeout", 0)) and not self._part(prefix).get("num_workers"):
                raise ValueError(
                    f"{prefix}__timeout is how long to wait for workers; it needs {prefix}__num_workers of at least 1."
                )
            for name in ("sampler", "batch_sampler"):
                sampler = self._part(prefix).get(name)
                if not (sampler is None or hasattr(sampler, "__iter__")):
                    raise TypeError(
                        f"{prefix}__{name} must be None or an iterable of positions, such as a torch Sampler; it is "
                        f"{listed(sampler)}."
                    )
        own_order = orders_rows(self._part("iterator_train"))
        if own_order and (self.sampling is not None or self.epoch_size is not None):
            other = "sampling" if self.sampling is not None else "epoch_size"
            raise ValueError(
                f"iterator_train__{own_order} can't go together with {other}={getattr(self, other)!r}: both choose the "
                "rows. Leave one of them out."
            )

    def _learning_rate(self) -> Any:
        return self.lr if isinstance(self.lr, torch.Tensor) else float(self.lr)

    def _check_lr(self) -> None:
        lr = self.lr
        if isinstance(lr, torch.Tensor) and lr.numel() == 1 and lr.is_floating_point():
            lr = lr.item()
        if not isinstance(lr, numbers.Real) or isinstance(lr, bool | np.bool_):
            raise TypeError(f"lr must be a number; it is {listed(self.lr)}.{_advice('lr', lr)}")
        if not lr >= 0:
            raise ValueError(f"lr must be a number of at least 0; it is {self.lr!r}.")

    def _check_device(self) -> None:
        if self.device is None:  # where skorch's accelerate mix-in decides
            return
        try:
            if torch.empty(0, device=self.device).is_meta:
                raise ValueError("tensors there have no values")
        except (RuntimeError, TypeError, AssertionError, ValueError, OverflowError) as error:
            advice = _advice("device", self.device)
            raise ValueError(
                f'device must be one that this torch has, such as "cpu"; it is {self.device!r}'
                f"{'.' + advice if advice else f': {error}'}"
            ) from error

    # Training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the net.

        Parameters
        ----------
        X : array of shape (n, ...), DataFrame, CSR matrix, dict of arrays or torch Dataset
        y : array of shape (n,)
            Labels of any type that can be sorted.
        sample_weight : array of shape (n,), default=None
            Weights of the rows in the loss, not in the draw. Rows of weight 0 are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not what they must be, or if the loss becomes NaN.
        """
        check_constraints({"warm_start": self.warm_start})
        net = self.net_ if self.warm_start and hasattr(self, "net_") else None
        with self._unchanged_on_error(), worker_threads(), self._random_stream(X), _gradients():
            return self._train(X, y, sample_weight, net, classes=None if net is None else self.classes_)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train the net for one epoch on these rows, from where the last call left it.

        Word weights are computed on the class counts of all calls so far, and a class that has not come yet weighs 1;
        `sampling` acts on the classes in these rows.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array of shape (K,)
            All labels there will be; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `classes` is missing in the first call or other than before in a later one, if early_stopping=True, or as
            in `fit`.
        """
        if self.early_stopping not in (False, "auto"):
            raise ValueError(
                'partial_fit can\'t stop early: it makes one epoch. Set early_stopping to False or "auto".'
            )
        net = getattr(self, "net_", None)
        if net is None:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            classes = check_classes(classes)
        elif classes is not None and not np.array_equal(check_classes(classes), self.classes_):
            raise ValueError(
                f"classes must be the same in every call to partial_fit; they were {listed(self.classes_)}, now "
                f"{listed(check_classes(classes))}."
            )
        else:
            classes = self.classes_
        with self._unchanged_on_error(), worker_threads(), self._random_stream(X), _gradients():
            return self._train(X, y, sample_weight, net, classes, chunk=True)

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        """Leave the fitted attributes as they were if training raises."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        net: ImbalancedNet | None,
        classes: np.ndarray | None,
        chunk: bool = False,
    ) -> Self:
        # What came in: rows of weight 0 leave the loss and the draw, but their classes stay.
        self._check_parameters()
        X = check_X(self, X, reset=net is None, allow_nan=self._allow_nan())
        y = check_y(self, y, X)
        weights = check_sample_weight(sample_weight, len(y))
        classes = self._check_classes(y, classes, continues=net is not None and not chunk)
        kept = None
        if weights is not None and not weights.all():
            kept = np.flatnonzero(weights)
            y, weights = y[kept], weights[kept]
        collate = self._kwargs.get("iterator_train__collate_fn")
        rows = Rows(X, kept, encode(y, classes, "classes"), weights, collate=collate)
        dtype = rows.dtype = resolve_dtype(self.dtype, rows, self.device) if net is None else net.dtype
        check_fits(X, dtype, getattr(self, "feature_names_in_", None))
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max) if net is None else net.seed
        epochs_before = 0 if net is None else len(net.history)

        # Which rows to learn from: nothing below sees the held-out rows.
        stop = not chunk and self._stops_early(len(rows))
        positions, validation = (None, None) if chunk else self._split(rows, y, classes, seed, stop)
        training = TrainingRows(X, *rows.select(positions), dtype, collate)
        codes: Any = training.codes
        counts = class_counts(codes, len(classes))
        if not chunk:
            self._check_counts(counts, class_counts(rows.codes, len(classes)), classes)  # type: ignore[arg-type]

        # Which of them each epoch sees, what they weigh, and when.
        schedule = self._schedule(continues=chunk or net is not None)
        warn_of_few_rows(self._number("epoch_size"), self._number("batch_size"), len(classes))
        remedy = Remedy(
            self._with_parameters("class_weight"),
            self._with_parameters("sampling"),
            codes,
            training.sample_weight,
            classes,
            epoch_size=self._number("epoch_size"),
            batch_size=self._part("iterator_train").get("batch_size", self._number("batch_size")),
            drop_last=self._part("iterator_train").get("drop_last", False),
            known=not orders_rows(self._part("iterator_train")),
            scheduled=schedule is not None,
            generator=torch.Generator().manual_seed(sub_seed(seed, _SAMPLING, epochs_before)),
            before=self.exposure_ if chunk and net is not None else None,
        )
        training.remedy, training.schedule, training.validation = remedy, schedule, validation
        if validation is not None and validation.sample_weight is not None:
            validation.sample_weight = validation.sample_weight / validation.sample_weight.mean()

        # The net, and its training.
        continues = net is not None
        if net is None:
            net = self._make_net(training, classes, seed)
        stopping = None
        if stop:
            plain_epochs = 0 if schedule is None else schedule.first_to_keep(self._number("max_epochs"))
            stopping = Stopping(self._number("n_iter_no_change"), float(self.tol), after=plain_epochs)
        stage = remedy.at(1.0)
        training.weight_scale = stage.weight_scale
        class_prior = stage.exposure.class_prior
        # Before every class has come, nothing can be corrected, and what is asked for matters at prediction only.
        all_came = class_prior.all()
        prediction = resolve_prediction(
            self.prior_correction if all_came else False,
            self.decision if all_came else "trained",
            net.criterion_,
            class_prior,
            stage.effective_prior,
            classes,
        )
        if uncorrected(prediction) and not (chunk and hasattr(self, "net_") and self.exposure_.n_classes_come > 1):
            warn_uncorrected(prediction, self.decision, net.criterion_, classes, stacklevel=3)
        with net.unchanged_on_error():
            if continues:
                self._check_continues(net)
            net.learn_with(stage, prediction, stopping)
            net.max_epochs = 1 if chunk else self._number("max_epochs")
            stream = sub_seed(seed, _TRAINING, epochs_before)
            if self._draws_globally(X):
                reseed(stream)
            with own_masks(net.module_, stream):
                net.partial_fit(training, codes)

        # What is known now.
        self.net_ = net
        self.classes_ = classes
        self.n_iter_ = len(net.history)
        self.best_epoch_ = stopping.best_epoch_ if stopping is not None and stopping.best_epoch_ else self.n_iter_
        net.best_epoch_ = self.best_epoch_
        if schedule is not None:
            stage = remedy.at(net.history[self.best_epoch_ - 1, "remedy_strength"])
            net.be_at(stage)
        self.exposure_ = stage.exposure
        self.class_weight_ = stage.class_weight
        return self

    def _schedule(self, continues: bool) -> Schedule | None:
        schedule = resolve_schedule(self._with_parameters("schedule"))
        if schedule is None:
            return None
        if self.class_weight is None and self.sampling is None:
            raise ValueError(
                f"schedule={self.schedule!r} says when class_weight and sampling act, and both are None. Set one of "
                "them, or leave schedule at None."
            )
        if continues:
            raise ValueError(
                f"schedule={self.schedule!r} plans the epochs of one fit; partial_fit and warm_start can't go on with "
                "it. Set schedule=None."
            )
        schedule.first_to_keep(self._number("max_epochs"))  # raises if it does not fit
        return schedule

    @staticmethod
    def _check_classes(y: np.ndarray, classes: np.ndarray | None, continues: bool) -> np.ndarray:
        """Return the labels, sorted: those of y, or those given before."""
        if classes is None or continues:
            found = np.unique(y)
            if y.dtype.kind in "iu" and len(found) > len(y) / 2:  # other labels were looked at before
                check_classification_targets(y)  # warns that y may be a regression's
            if classes is not None and not np.array_equal(found, classes):
                raise ValueError(
                    f"warm_start needs the classes of the first fit, {listed(classes)}; y has {listed(found)}."
                )
            classes = found
        if len(classes) < 2:
            raise ValueError(f"y must have at least two classes to tell apart; it has one class: {listed(classes)}.")
        return classes

    @staticmethod
    def _check_counts(training: np.ndarray, weighted: np.ndarray, classes: np.ndarray) -> None:
        """Check the rows of each class to train on, shape (K,), against those of positive weight."""
        lost = (training == 0) & (weighted > 0)
        if lost.any():
            raise ValueError(f"train_split leaves no row to train on for the classes {listed(classes[lost])}.")
        if (weighted > 0).sum() == 1:
            warnings.warn(
                f"sample_weight is positive in rows of one class only, {listed(classes[weighted > 0])} of "
                f"{listed(classes)}: the net learns to predict that class for every row.",
                UserWarning,
                stacklevel=4,
            )

    def _random_stream(self, X: Any) -> AbstractContextManager[None]:
        return global_stream() if self._draws_globally(X) else nullcontext()

    def _draws_globally(self, X: Any) -> bool:
        """Whether something of the user's may draw from torch's global generator in training."""
        ours = self.module is None or self.module is MLP
        given = [self.callbacks, self.train_split, *(name for name in self._kwargs if name.startswith("iterator_"))]
        return not (
            ours
            and (self.criterion is None or isinstance(self.criterion, str))
            and self.net_class is ImbalancedNet
            and "module__activation" not in self._kwargs
            and not isinstance(X, Dataset | SliceDataset)
            and not any(given)
        )

    def _allow_nan(self) -> bool:
        module = self.module
        while isinstance(module, partial):
            module = module.func
        return bool(getattr(module, "allow_nan", False))

    def _stops_early(self, n: int) -> bool:
        if isinstance(self.callbacks, str) and self.callbacks == "disable":
            if self.early_stopping is True:
                raise ValueError(
                    'early_stopping=True needs callbacks, but callbacks="disable". Pass callbacks=None or '
                    "early_stopping=False."
                )
            return False
        return n > _EARLY_STOPPING_ROWS if isinstance(self.early_stopping, str) else bool(self.early_stopping)

    def _split(
        self, rows: Rows, y: np.ndarray, classes: np.ndarray, seed: int, stop: bool
    ) -> tuple[np.ndarray | None, Rows | None]:
        """Return positions to train on, None for all, and the held-out rows."""
        if self.train_split is not None:

            def make_rows(X: Any, labels: Any) -> Rows:
                X = check_X(self, X, reset=False, allow_nan=self._allow_nan())
                check_fits(X, rows.dtype, getattr(self, "feature_names_in_", None))
                return Rows(X, codes=encode(check_y(self, labels, X), classes, "the training data"), dtype=rows.dtype)

            positions, validation = by_user(self.train_split, rows, y, make_rows)
            if stop and validation is None:
                raise ValueError(
                    "train_split holds out no rows, but early stopping needs some; set early_stopping=False."
                )
            return positions, validation
        if not stop:
            return None, None
        rng = np.random.RandomState(sub_seed(seed, _HOLDOUT))
        positions, held_out = stratified(rows.codes, self.validation_fraction, rng)  # type: ignore[arg-type]
        return positions, rows.part(held_out)

    def _module_parameters(self, training: TrainingRows, n_classes: int) -> dict[str, Any]:
        """Return the parameters of the module, given and inferred."""
        given = self._part("module")
        if isinstance(self.module, nn.Module):
            if given:
                raise ValueError(
                    "module is an instance, whose parameters are set already; pass its class "
                    f"{type(self.module).__name__} to set {sorted(given)}."
                )
            return {}
        module = MLP if self.module is None else self.module
        if not callable(module):
            raise TypeError(
                "module must be None, a torch.nn.Module class or instance, or a callable that returns one; it is "
                f"{module!r}.{_advice('module', module)}"
            )
        shape = row_shape(training.source)
        if shape is None:  # a Dataset tells by its first rows
            shape = shape_of_rows(training.first_batch()[0])
        if isinstance(shape, Mapping):
            if self.module is None:
                raise ValueError(
                    f"the default module takes one array, and X holds {sorted(shape)}. Pass a module whose forward "
                    "takes these names."
                )
            shape = next(iter(shape.values())) if len(shape) == 1 else None
        check_keywords("module", module, given)
        return {**given, **sizes_asked_for(module, None if shape is None else math.prod(shape), n_classes, given)}

    def _make_net(self, training: TrainingRows, classes: np.ndarray, seed: int) -> ImbalancedNet:
        module: Any = MLP if self.module is None else self.module
        schedule, counts = training.schedule, training.remedy.row_counts
        stage = training.remedy.at(1.0 if schedule is None else schedule.strength(0, self._number("max_epochs")))
        criterion = resolve_criterion(self.criterion, len(classes), self._part("criterion"))
        criterion.set_classes(stage.class_weight, stage.class_counts)
        parts = {
            name: value
            for name, value in self._kwargs.items()
            if not name.startswith(("module__", "criterion__", *(f"{name}__" for name in _MAY_BE_OBJECTS)))
        }
        parameters = self._module_parameters(training, len(classes))
        if module is MLP:
            parameters.setdefault("seed", sub_seed(seed, _INIT))
        parts |= {f"module__{name}": value for name, value in parameters.items()}
        X, codes = training.first_batch()
        net = self.net_class(
            **{name: copied(value) if name.startswith("callbacks") else plain(value) for name, value in parts.items()},
            module=copy.deepcopy(module) if isinstance(module, nn.Module) else module,
            criterion=criterion,
            optimizer=self.optimizer,
            lr=self._learning_rate(),
            batch_size=self._number("batch_size"),
            train_split=None,
            callbacks=copied(self.callbacks),
            verbose=self.verbose,
            device=self.device,
            classes=classes,
            positive=None if len(classes) > 2 else classes[int(counts[1] <= counts[0])],  # the rarer
            dtype=training.dtype,
            seed=seed,
            example=(X, codes, partial(self._hint_of_ints, training)),
            start_prior=None if isinstance(module, nn.Module) else stage.start_prior,
        )
        net.inferred_ = {name: size for name, size in parameters.items() if f"module__{name}" not in self._kwargs}
        with nullcontext() if not self._draws_globally(training.source) else seeded(sub_seed(seed, _INIT)):
            net.initialize()
        if schedule is not None and schedule.retrains_head:
            last_layer(net.module_)  # raises now rather than at the switch
        net.origin_ = self._origin()
        return net

    def _hint_of_ints(self, training: TrainingRows) -> str:
        """Return what to say of ints that became floats, as the module can't take those."""
        ints = [] if training.dtype is None or not training.dtype.is_floating_point else ints_in(training.source)
        dtype = str(training.dtype).removeprefix("torch.")
        into = f"ints, which dtype={self.dtype!r} turns into {dtype}; dtype=None passes them on."
        return f". {', '.join(ints)} {'holds' if len(ints) == 1 else 'hold'} {into}" if ints else ""

    def _origin(self) -> dict[str, Any]:
        """Return the parameters that a trained net can't change."""
        names = ("module", "criterion", "optimizer", "dtype", "device")
        parts = {name: value for name, value in self._kwargs.items() if not name.startswith("iterator_")}
        return {**{name: getattr(self, name) for name in names}, **parts, "callbacks": self.callbacks}

    def _check_continues(self, net: ImbalancedNet) -> None:
        """Raise if the net would have to be another; take over the parameters that may change."""
        before, now = net.origin_, self._origin()
        changed = {name for name in before.keys() | now.keys() if not same(before.get(name), now.get(name))}
        if changed - {"callbacks"}:
            raise ValueError(
                f"{', '.join(sorted(changed - {'callbacks'}))} can't change once the net is trained; set "
                "warm_start=False and call fit to start anew."
            )
        if changed:
            net.callbacks = copied(self.callbacks)
            net.initialize_callbacks()
            net.origin_ = now
        for name in [name for name in vars(net) if name.startswith("iterator_") and "__" in name]:
            delattr(net, name)
        iterators = {"iterator_train": DataLoader, "iterator_valid": DataLoader, **self._kwargs}
        net.__dict__.update({name: plain(value) for name, value in iterators.items() if name.startswith("iterator_")})
        net.batch_size, net.verbose = self._number("batch_size"), self.verbose
        lr = self._learning_rate()
        if net.lr != lr:
            net.set_params(lr=lr)
            net.lr = lr

    # Prediction

    def _prediction(self) -> Prediction:
        if "net_" not in vars(self):
            check_is_fitted(self)  # raises
        criterion = self.net_.criterion_

        def resolve() -> Prediction:
            return resolve_prediction(
                self.prior_correction, self.decision, criterion, self.class_prior_, self.effective_prior_, self.classes_
            )

        given = (self.prior_correction, self.decision)
        return remembered(self, given, (criterion, self.exposure_, self.class_weight_, self.classes_), resolve)

    def _resolved_prediction(self) -> Prediction | None:
        """Return the same, or None where it would raise, which it will do at prediction."""
        with suppress(ValueError, TypeError):
            return self._prediction()
        return None

    def _logits(self, X: Any) -> torch.Tensor:
        """Return the module's output for rows of X, shape (n,), (n, 1) or (n, K), where the criterion is."""
        X = check_X(self, X, reset=False, allow_nan=self._allow_nan())
        check_fits(X, self.net_.dtype, getattr(self, "feature_names_in_", None))
        collates = [name for name in self._kwargs if name.startswith("iterator_") and name.endswith("__collate_fn")]
        rows = Rows(X, dtype=self.net_.dtype, collate=self._kwargs[collates[-1]] if collates else None)
        try:
            logits = self.net_.logits(rows, ordinary=bool(collates or self._part("iterator_valid")))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            shape = None if collates else getattr(self.net_, "row_shape_", None)  # a collate function takes any shape
            other = rows.other_than(shape)
            if other is None:
                raise
            raise ValueError(
                f"X has rows of shape {other}, but {type(self).__name__} was fitted on rows of shape {shape}."
            ) from error
        if not math.isfinite(logits.sum().item()) and not torch.isfinite(logits).all():
            bad = ~torch.isfinite(logits)
            if not self._allow_nan() and (fault := rows.not_finite()):
                raise ValueError(fault)
            raise ValueError(
                f"the module returns nan or infinite logits for {int(bad.reshape(len(bad), -1).any(dim=1).sum())} of "
                f"{len(bad)} rows; X may be far out of the range of training."
            )
        return logits.to(self.net_.criterion_.class_weight.device)

    @worker_threads()
    @torch.no_grad()
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits, whatever `decision` and `prior_correction` are.

        `predict` takes their sign (two classes) or argmax where `decision` is "trained", as it is by default. Other
        decisions move `predict` alone, as scikit-learn's FixedThresholdClassifier does: what ranks rows, draws curves
        or calibrates with this method is the same under each of them.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        array of shape (n,) for two classes, the logit of `classes_[1]` less that of `classes_[0]`, or (n, K)
        """
        check_is_fitted(self)
        return raw_scores(self._logits(X)).cpu().numpy()

    @worker_threads()
    @torch.no_grad()
    def predict(self, X: Any) -> np.ndarray:
        """Return the label that the `decision` chooses for each row, shape (n,).

        Parameters
        ----------
        X : as in `fit`

        Raises
        ------
        ValueError, TypeError
            If `decision` or `prior_correction` are not what they must be.
        """
        prediction = self._prediction()
        scores = prediction.scores(self.net_.criterion_, self._logits(X)).cpu().numpy()
        return self.classes_[scores.argmax(axis=1)]

    @worker_threads()
    @torch.no_grad()
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`, shape (n, K)."""
        prediction = self._prediction()
        return prediction.log_proba(self.net_.criterion_, self._logits(X)).cpu().numpy()

    @worker_threads()
    @torch.no_grad()
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities at `effective_prior_`, or at the prior that `prior_correction` carries them to.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        array of shape (n, K), columns in the order of `classes_`
        """
        prediction = self._prediction()
        return prediction.proba(self.net_.criterion_, self._logits(X)).cpu().numpy()

    # What is known after `fit`

    @property
    def class_prior_(self) -> np.ndarray:
        """Class shares in the training rows, weighted by `sample_weight`."""
        return self.exposure_.class_prior

    @property
    def sampled_prior_(self) -> np.ndarray:
        """Class shares of the rows that the net was shown."""
        return self.exposure_.sampled_prior

    @property
    def effective_prior_(self) -> np.ndarray:
        """Class shares that the net learned under."""
        return self.exposure_.effective_prior(self.class_weight_)

    @property
    def module_(self) -> nn.Module:
        """The trained module."""
        return self.net_.module_

    @property
    def history_(self) -> Any:
        """skorch's history of the training."""
        return self.net_.history

    def save_params(self, *args: Any, **kwargs: Any) -> None:
        """Save weights, optimizer or history of the fitted net.

        The files of one call are one unit. They are written beside the old ones and reach the disk before the first of
        these is replaced. So a full disk or the end of the process leaves either the old files, or files with which
        `load_params` finds the whole new unit; at worst (another call for each file, as skorch's Checkpoint makes) it
        says that they come from different saves. What could not be put in place then stays beside, under names that end
        in ".new"; a save to the same path removes it after an hour. Open files, pipes and devices are written to as
        they are, before the others are put in place.

        Parameters
        ----------
        f_params, f_optimizer, f_criterion, f_history : path or file open for writing, default=None
            As in skorch; `f_criterion` is needed for a criterion with parameters of its own.
        use_safetensors : bool, default=False
            Whether to write safetensors, which hold tensors alone and so no optimizer.
        **kwargs
            `f_*` for other modules of the net.

        Raises
        ------
        OSError, TypeError, ValueError
            If an argument is not what it must be or can't be written.
        """
        check_is_fitted(self)
        self.net_.save_params(*args, **kwargs)

    def load_params(self, *args: Any, **kwargs: Any) -> None:
        """Load what `save_params` saved; predictions are then those of the estimator that was saved.

        This estimator must be fitted, with a module of the same shape and the same `criterion`, on the same classes in
        the same shares (`classes_`, `class_prior_`), for it is these that probabilities are corrected to.
        `class_weight_`, `sampled_prior_` and `effective_prior_` come with the weights; `n_iter_` and `best_epoch_` come
        with the history. On any error the estimator is as it was. To carry over a whole estimator, pickle it; to load
        weights into another one without these checks, use `net_.load_params`.

        Parameters
        ----------
        f_params, f_optimizer, f_criterion, f_history : path or file open for reading, default=None
            Of one call of `save_params`, all or some. Files that skorch wrote are not checked for classes and priors.
        checkpoint : skorch's Checkpoint, default=None
            Names the files that are not given.
        use_safetensors : bool, default=False
            Whether the files are safetensors.
        **kwargs
            `f_*` for other modules of the net.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If a file is damaged or something else, if files come from different saves, or if they don't fit.
        """
        check_is_fitted(self)
        net, history = self.net_, self.net_.history
        with restored_on_error(net), self._unchanged_on_error():
            net.loaded_ = None
            net.load_params(*args, **kwargs)
            loaded, net.loaded_ = net.loaded_, None
            best_epoch = None
            if loaded is not None:
                self._check_loaded(loaded)
                if any(part.removesuffix("_") in net._modules for part in loaded.parts):
                    self._learned_as(loaded)
                    best_epoch = loaded.mark["best_epoch"]
            if net.history is not history:
                self.n_iter_ = len(net.history)
                self.best_epoch_ = net.best_epoch_ = min(best_epoch or self.n_iter_, self.n_iter_)

    def _check_loaded(self, loaded: Loaded) -> None:
        """Raise for files of an estimator whose probabilities mean something else."""
        must = f"{loaded.argument} must come from an estimator"
        classes, criterion = labels_of(self.classes_), described(self.net_.criterion_.criterion)
        stage = stage_of(loaded.mark)
        if loaded.mark["classes"] != as_in_a_file(classes):
            raise ValueError(f"{must} of the classes {classes}; {loaded.where!r} has {loaded.mark['classes']}.")
        if loaded.mark["criterion"] != as_in_a_file(criterion):
            raise ValueError(
                f"{must} with the criterion {_called(criterion)}; {loaded.where!r} has "
                f"{_called(loaded.mark['criterion'])}."
            )
        if stage is None:
            return
        prior = stage.exposure.class_prior
        # Rows that are held out of the same data may change a class by one.
        off = np.abs(prior - self.class_prior_).max() * min(stage.exposure.n_rows, self.exposure_.n_rows)
        if off > 1:
            raise ValueError(
                f"{must} with the class prior {shown(self.class_prior_, self.classes_)}, which probabilities are "
                f"corrected to; {loaded.where!r} has {shown(prior, self.classes_)}. Fit on the same rows, or pickle "
                "the estimator instead."
            )

    def _learned_as(self, loaded: Loaded) -> None:
        """Take over under which weights and shares of classes the net has learned."""
        stage = stage_of(loaded.mark)
        if stage is not None:
            self.net_.be_at(stage)
            self.exposure_, self.class_weight_ = stage.exposure, stage.class_weight

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__({"_kwargs": {}, **state})

    def __sklearn_is_fitted__(self) -> bool:
        return "net_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._allow_nan()
        return tags


def _called(criterion: list[Any]) -> str:
    name, parameters = criterion
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in parameters.items() if key != 'reduction')})"


def _advice(name: str, value: Any) -> str:
    """Return what to pass instead of a word of another package, or nothing."""
    sentence = VALUES.get(name, {}).get(value.lower()) if isinstance(value, str) else None
    return f" {sentence}" if sentence else ""
