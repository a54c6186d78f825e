"""The estimator: labels outside, codes inside; what the net learns from, and what is made of its logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch

from imbalanced_torch._data.checks import check_classes
from imbalanced_torch._data.training_data import COLUMNS, TrainingData, read_training_data
from imbalanced_torch._ensemble.members import Members
from imbalanced_torch._fit.agreement import check_same_net
from imbalanced_torch._fit.nets import build_net, continue_net
from imbalanced_torch._fit.scikit_learn_callbacks import CallbackSupportMixin, managed_callbacks
from imbalanced_torch._fit.seeds import HOLDOUT, SAMPLING, TRAINING, choose_seed, draws_globally, random_stream
from imbalanced_torch._fit.settings import Settings, choose_settings
from imbalanced_torch._fit.training_parts import (
    check_same_rows,
    deal_folds,
    held_out_of_all,
    held_out_rows,
    make_callbacks,
    make_members,
    make_plan,
    make_scores,
)
from imbalanced_torch._fitted_classifier import FittedClassifier
from imbalanced_torch._group.processes import Group, joined
from imbalanced_torch._net.global_state import reseed, sub_seed, worker_threads
from imbalanced_torch._net.skorch_net import ImbalancedNet
from imbalanced_torch._parameters.checks import check_parameters
from imbalanced_torch._parameters.constraints import check_constraints
from imbalanced_torch._parameters.protocol import KeywordParameters
from imbalanced_torch._parameters.values import listed
from imbalanced_torch._prediction.prediction import resolve_prediction, uncorrected, warn_uncorrected, while_training
from imbalanced_torch._remedies.plan import TrainingPlan


@contextmanager
def _gradients() -> Iterator[None]:
    """Train with gradients, also where the caller has switched them off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


class ImbalancedNetClassifier(FittedClassifier, CallbackSupportMixin, KeywordParameters):
    """A neural net for imbalanced classes, with `class_weight` and `sampling` as scikit-learn hyperparameters.

    Weights, samplers and thresholds mostly move the decision point; how well the net ranks hardly moves. The plain net,
    with both left at None, is the baseline of every comparison.

    Parameters
    ----------
    module : torch.nn.Module class, instance or factory, default=None
        Returns logits of shape (n, 1) or (n, 2) for two classes, (n, K) for more. None is `MLPEnsemble`, which takes
        arrays and tables as they are, with categories and missing values, and chooses its size and training by the
        data; for X of more dimensions, dicts and Datasets it is `MLP`, a plain net. A class is given the sizes that it
        asks for by name, in parameters without a default or with None, unless `module__*` sets them. Values in a row
        are asked for as `n_features`, `in_features`, `input_dim`, `input_size` or `d_in`; logits (1 for two classes) as
        `n_outputs`, `out_features`, `output_dim`, `output_size` or `d_out`; classes as `n_classes` or `num_classes`. An
        instance is copied. A module with `allow_nan = True` takes NaN and inf.
    class_weight : None, "balanced", "sqrt", "effective", dict, array, callable or EffectiveNumber, default=None
        Weights of the classes in the loss, scaled to mean 1 over what the loss sees. "balanced" is n / (K n_c), "sqrt"
        is proportional to n_c^-1/2, "effective" to the inverse effective number of rows; these words take `sampling`
        and `sample_weight` into account and never correct twice. A dict from label to weight (1 where it has none), an
        array in the order of `classes_` and a callable of counts are costs, which multiply with `sampling`.
    sampling : None, "weighted", "over", "under", "batch", dict, callable or strategy, default=None
        Which training rows each epoch sees. "weighted" draws as many rows as there are, classes equally likely, with
        replacement, as WeightedRandomSampler does; "over" raises every class to the largest; "under" cuts every class
        to the smallest, afresh each epoch (each member of an ensemble by itself: EasyEnsemble, Liu, Wu and Zhou 2009,
        inside one net); "batch" fills each batch with as many rows of each class. A dict from label to count or a
        callable from counts to counts gives the rows of each class in an epoch. Strategies with parameters:
        OverSampling, UnderSampling, TemperedSampling, BalancedBatches.
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
        The class prior that probabilities are carried to: p'_c is proportional to p_c target_c / q_c, q being
        `effective_prior_`, at which False leaves them. True takes `class_prior_`. A dict from label to prior, or an
        array in the order of `classes_`, is the prior where the model will work (`estimate_prior` finds it from
        unlabelled rows). May be set after `fit`.
    decision : word, goal, float, dict, array or callable, default="trained"
        How `predict` chooses. "trained" takes the class of the greatest logit, so that `class_weight` and `sampling`
        act as trained even where probabilities are corrected. "argmax" takes the greatest probability of
        `predict_proba`; a float is a threshold on that of `classes_[1]`, and {label: number} one on that of the class
        named; costs, as an array of shape (K, K) with true classes in rows, as a nested dict {true: {predicted: cost}}
        or as a function of (proba, X) that returns expected costs of shape (n, K), take the class that costs least in
        expectation. "balanced" takes the greatest p_c / prior_c, which is optimal for balanced accuracy and needs no
        remedy in training. Goals are settled on the rows that were held out of training: {"recall": 0.8} and
        {"precision": 0.9} of the rarest class or of one named, {"recall": {label: 0.8}}; {"share": 0.01} of rows to
        call so; RecallFloor and PrecisionFloor with a stated confidence; "f1", "mcc", "gmean" or a scorer of
        scikit-learn, at its best. May be set after `fit`; `decision_function` stays the logits. Costs of more than 100
        classes that are changed in place must be set again.
    epoch_size : int, float or None, default=None
        Rows in an epoch (int), or their share of the training rows (float, may exceed 1). None leaves it to `sampling`,
        and in an ensemble is a few steps, after which the held-out rows are looked at. 1.0 gives every strategy as many
        rows, and so as many steps.
    optimizer : torch optimizer class, default=None
        Steps with the gradients of the weighted loss. None is Adam, and AdamW for an ensemble.
    lr : float, default=None
        Learning rate. None is 1e-3, and for an ensemble rises from 2e-3 to 8e-3.
    max_epochs : int, default=None
        Epochs of a fit, unless it stops earlier. None is 50, but at most 5000 steps where nothing is held out; for an
        ensemble it is chosen by the data.
    batch_size : int, default=None
        Rows in a batch; -1 takes those of an epoch in one. A last batch of one row joins the one before. None is 64,
        and for an ensemble 64 or more of each member.
    early_stopping : bool, "auto" or scorer, default="auto"
        Whether to hold out rows and stop on the log loss of the prior-corrected probabilities, with the best epoch's
        weights restored. "auto" does wherever both parts have about ten rows of the rarest class, and in an ensemble
        always: each member holds out a fold, and all of them train on all rows. A scorer of scikit-learn, such as
        "average_precision", is stopped on in place of the log loss; the rarest of two classes is positive.
    validation_fraction : float in (0, 1), default=0.1
        Share of each class that is held out when stopping early.
    n_iter_no_change : int, default=None
        Epochs without improvement before stopping. None is 10, and 5 for an ensemble, which besides waits for .3 of the
        epochs before the best one.
    tol : float, default=1e-4
        What counts as improvement of a plain net, in nats per row.
    scoring : None, "imbalance", scorer, list or dict of scorers, default=None
        Scores of the held-out rows that `history_` has of each epoch, as `valid_NAME`. "imbalance" is the balanced
        accuracy, the average precision of the rarest class and the recall of each. No row is predicted again for them.
    train_split : tuple of (X, y) or callable, default=None
        The rows to hold out, or what replaces how they are chosen, and always holds some out: skorch's ValidSplit or
        predefined_split, or a callable of (dataset, labels).
    callbacks : list of skorch callbacks, default=None
        Copied for each fit. Scoring callbacks see labels, and count the rarest of two classes as positive.
    checkpoint : None, path or TrainingCheckpoint, default=None
        The file in which a fit saves where it stands after each epoch, or after so many. A fit that was cut short and
        is started again with the same parameters and data goes on from there, and ends bit by bit as one that was not.
        The file stays: one more fit ends at once, with the same result. Other data, parameters or versions raise.
    warm_start : bool, default=False
        Whether `fit` goes on from the last one for `max_epochs` more.
    dtype : "auto", None, torch or numpy dtype, default="auto"
        What values and the module become. "auto": float64 stays (float32 on CUDA and MPS), float32 stays, float16
        becomes float32, ints and bools become float64; weights of an ensemble are float32 unless float64 is asked for.
        None passes arrays through as they are, such as ints for embeddings.
    device : str or torch.device, default="cpu"
        Where the module is.
    random_state : int, RandomState instance or None, default=None
        Seeds initial weights, shuffling, sampling and the split. An int makes two fits equal bit by bit on one machine
        with the same versions and number of torch threads, and elsewhere to rounding. torch's global random state stays
        as it was. None takes the seed from numpy's global generator.
    verbose : int, default=0
        1 prints what was chosen where it was left open, and shows a bar, or a few lines where there is no terminal. 2
        prints skorch's table, a line for each epoch.
    **kwargs
        Parameters of the net's parts, as in skorch: those under Other Parameters, and any of a `net_class` of your own.

    Attributes
    ----------
    classes_ : array of shape (K,)
        Labels, sorted.
    class_weight_ : array of shape (K,)
        Weights in the loss, of mean 1 over what it sees.
    class_prior_ : array of shape (K,)
        Class shares of the training rows by `sample_weight`, which describes your population: no correction undoes it.
    sampled_prior_ : array of shape (K,)
        Class shares of the rows that the net is shown.
    effective_prior_ : array of shape (K,)
        Class shares that the net learns under, and that its probabilities are at unless `prior_correction` moves them.
    class_priors_ : ClassPriors
        The class counts behind the three priors, and the class weights.
    net_ : ImbalancedNet
        The skorch net: `net_.module_`, `net_.history`, `net_.callbacks_`.
    module_ : torch.nn.Module
        The trained module.
    history_ : skorch History
        Losses of each epoch, and under a schedule `remedy_strength`, 0 to 1. With rows held out: `valid_loss`
        (weighted), `valid_log_loss` and `valid_log_loss_corrected` (of probabilities, the net's own and
        prior-corrected).
    n_iter_, best_epoch_ : int
        Epochs trained, and the one, from 1, whose weights the net has; of an ensemble the later one of its two kinds of
        nets, 0 where the class prior is not beaten.
    oof_proba_ : array of shape (n, K)
        Probabilities of the rows of X by the members that have not seen them, at `class_prior_` if the criterion has an
        exact way back. Only where the members of an ensemble hold out folds. Pickles and files hold them.
    oof_log_loss_ : float
        The log loss of these, weighted as the rows are.
    settings_ : dict
        What the fit was trained with, where that was left open too.
    columns_ : Columns
        Names, kinds and levels of the columns of a table that the net encodes.
    n_features_in_, feature_names_in_ : int, array of shape (`n_features_in_`,)
        Columns of X, where X is an array, a table or a CSR matrix, and their names, where these are strings.
    row_shape_ : tuple, dict of tuples or None
        Shape of a row.

    Other Parameters
    ----------------
    module__*, criterion__*, optimizer__* : object
        Parameters of the module (of `MLPEnsemble` where that is None), the criterion and the optimizer. `weight`,
        `pos_weight` and `reduction` of the criterion are not for users.
    iterator_train__*, iterator_valid__* : object
        Parameters of the loaders, such as `num_workers`. The collate function of training serves validation and
        prediction too, unless `iterator_valid__collate_fn` is set.
    callbacks__* : object
        Parameters of callbacks, as `callbacks__NAME__PARAMETER`; `callbacks__NAME=None` leaves a callback out.
    compile__*, compile : object
        Arguments of torch.compile, and whether the module goes through it.
    iterator_train, iterator_valid : type
        Classes of loaders in place of torch's DataLoader.
    torch_load_kwargs, use_caching : dict, bool or "auto"
        Arguments of torch.load in `load_params`; whether scoring callbacks share one prediction.

    Notes
    -----
    The loss of a batch is the mean of w_i class_weight_[y_i] loss_i over its rows, w being `sample_weight` of mean 1.
    The net learns under the prior q_c, proportional to the sampled share, the mean w and the weight of class c.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> X, y = make_classification(weights=[0.9], random_state=0)
    >>> ImbalancedNetClassifier(class_weight="balanced", random_state=0).fit(X, y).effective_prior_
    array([0.5, 0.5])
    """

    #: The net's class; set it to a class derived from `ImbalancedNet` to override skorch's methods.
    net_class: type[ImbalancedNet] = ImbalancedNet

    class_priors_: Any

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
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        lr: float | None = None,
        max_epochs: int | None = None,
        batch_size: int | None = None,
        early_stopping: Any = "auto",
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        scoring: Any = None,
        train_split: Any = None,
        callbacks: Any = None,
        checkpoint: Any = None,
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
        self.scoring = scoring
        self.train_split = train_split
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self._kwargs = kwargs

    def _learning_rate(self) -> Any:
        """Return `lr` as a float, or the tensor that it is."""
        return self.lr if isinstance(self.lr, torch.Tensor) else float(self.lr)  # type: ignore[arg-type]

    # Training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the net; in a torch process group, one net on the rows that all processes pass.

        Parameters
        ----------
        X : array of shape (n, ...), DataFrame, CSR matrix, dict of arrays or torch Dataset
            Rows.
        y : array of shape (n,)
            Labels of any type that can be sorted.
        sample_weight : array of shape (n,), default=None
            Weights of the rows in the loss, not in the draw. Rows of weight 0 are left out.

        Returns
        -------
        Self
            The classifier, trained.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not what they must be, or if the loss becomes NaN.
        OSError
            If the `checkpoint` can't be written; the last one stays, and the classifier is as it was.
        RuntimeError
            In a process group, if another process has raised an error, is gone, or does not fit with this one.

        Warns
        -----
        CombinedRemedyWarning
            If `sampling` and numbers of the user's, by class or by row, both balance the classes.
        UncorrectedDecisionWarning
            If costs or a threshold read probabilities at another prior than the data's.
        UncertainDecisionWarning
            If a goal is settled on few rows, or to a decision for one class.
        UserWarning
            If an epoch has very few rows, or if rows of one class only have weight.
        """
        check_constraints({"warm_start": self.warm_start})
        net = self.net_ if self.warm_start and hasattr(self, "net_") else None
        classes, seeded, shown = None if net is None else self.classes_, random_stream(self, X), managed_callbacks(self)
        with joined(self.device) as group, worker_threads(), seeded, _gradients(), shown:
            return self._train(X, y, sample_weight, classes=classes, net=net, group=group)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train the net for one epoch on these rows, from where the last call left it.

        Word weights are computed on the class counts of all calls so far, and a class that has not come yet weighs 1;
        `sampling` acts on the classes in these rows.

        Parameters
        ----------
        X, y : array
            As in `fit`.
        classes : array of shape (K,), default=None
            All labels there will be; needed in the first call.
        sample_weight : array of shape (n,), default=None
            As in `fit`.

        Returns
        -------
        Self
            The classifier, trained further.

        Raises
        ------
        ValueError, TypeError
            If `classes` is missing in the first call or other than before in a later one, if early_stopping=True, or as
            in `fit`.

        Warns
        -----
        CombinedRemedyWarning, UncorrectedDecisionWarning, UserWarning
            As in `fit`, in the first call.
        """
        if not (isinstance(self.early_stopping, str) and self.early_stopping == "auto") and self.early_stopping:
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
        with joined(self.device) as group, worker_threads(), random_stream(self, X), _gradients():
            return self._train(X, y, sample_weight, classes=classes, net=net, group=group, single_epoch=True)

    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        classes: np.ndarray | None,
        net: ImbalancedNet | None,
        group: Group,
        single_epoch: bool = False,
    ) -> Self:
        """Train a new net, or a copy of one that goes on, and assign what was learned once all has gone well."""
        # 1. Parameters: wrong ones raise before the data are read.
        check_parameters(self)
        seed, checkpoint = choose_seed(self, X, net, group, single_epoch=single_epoch)
        n_before = 0 if net is None else len(net.history)

        # 2. Data: checked, labels become codes, and some rows are held out; nothing below sees those.
        split_seed = sub_seed(seed, HOLDOUT)
        data = read_training_data(self, X, y, sample_weight, classes, net, split_seed, group, single_epoch=single_epoch)
        check_same_rows(checkpoint, data)

        # 3. Settings: what the user leaves open, by the data; in an ensemble each member holds out a fold.
        settings = choose_settings(self, data, seed, net)
        folds = deal_folds(settings, data, split_seed) if data.stops_early else None

        # 4. Remedies: which rows each epoch sees and what each class weighs, from the training rows alone.
        previous = self.class_priors_ if single_epoch and net is not None else None
        stream = sub_seed(seed, SAMPLING, n_before)
        goes_on = net is not None or single_epoch
        plan = make_plan(self, settings, data, folds, stream, previous, goes_on=goes_on, single_epoch=single_epoch)
        plan.warn_if_combined(stacklevel=3)
        scores = make_scores(self, data, plan)

        # 5. The net: new, started at the plan's first prior, or a copy of the one that goes on.
        new = (
            build_net(self, settings, data.training, plan, data.classes, seed)
            if net is None
            else continue_net(self, settings, net)
        )
        self._decide(new, plan, data.classes, holds_out=data.validation is not None or folds is not None)

        # 6. Training: epoch by epoch, each as plan.epoch(i) says.
        stream = group.own(sub_seed(seed, TRAINING, n_before))
        if draws_globally(self, X):
            reseed(stream)
        members = make_members(new, settings, data, folds, seed)
        given = None if single_epoch else (X, y, sample_weight)
        new.train(
            data.training,
            data.validation if members is None or members.held_out is None else members.held_out_rows,
            plan,
            epochs=1 if single_epoch else settings.max_epochs,
            seed=stream,
            callbacks=make_callbacks(self, settings, data, plan, scores, given),
            members=members,
            checkpoint=checkpoint,
        )

        # 7. Fitted attributes: nothing above has written to self, so that a fit that fails leaves it as it was.
        return self._assign(new, data, settings, members)

    def _decide(self, net: ImbalancedNet, plan: TrainingPlan, classes: np.ndarray, *, holds_out: bool) -> None:
        """Let the net make of logits what `prior_correction` and `decision` say."""
        priors = plan.last.priors
        # Before every class has come, nothing can be corrected, and what is asked for matters at prediction only.
        every = priors.class_prior.all()
        decision = while_training(self._with_parameters("decision"), classes, holds_out) if every else "trained"
        prediction = resolve_prediction(
            self.prior_correction if every else False,
            decision,
            net.criterion_,
            priors.class_prior,
            priors.effective_prior,
            classes,
        )
        first = plan.previous is None or plan.previous.n_classes_seen < 2
        if first and uncorrected(prediction):
            warn_uncorrected(prediction, self.decision, classes, stacklevel=4)
        net.predict_with(prediction)

    def _assign(self, net: ImbalancedNet, data: TrainingData, settings: Settings, members: Members | None) -> Self:
        check_same_net(net, data.group)
        for name in COLUMNS:
            self.__dict__.pop(name, None)
        self._forget_held_out()
        self.__dict__.update(data.columns)
        held_out = held_out_rows(net, data, members)
        if held_out is not None:
            self._held_out = held_out_of_all(held_out, data, net.seed)
        if held_out is not None and held_out.members is not None:
            self.oof_proba_ = members.out_of_fold_proba(net, held_out.logits)  # type: ignore[union-attr]
            self.oof_log_loss_ = data.log_loss(self.oof_proba_)
        self.settings_ = settings.chosen()
        self.net_ = net
        self.classes_ = data.classes
        self.class_priors_ = net.priors_
        self.n_iter_ = len(net.history)
        self.best_epoch_ = net.best_epoch_
        self._valid_prediction()  # settles a goal, which may warn
        return self

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__({"_kwargs": {}, **state})
