"""The skorch net inside the estimator: class codes in, logits out; labels appear only in scoring callbacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.dataset import get_len
from skorch.exceptions import SkorchException
from skorch.helper import SliceDict
from skorch.utils import to_numpy, to_tensor
from torch.utils.data import DataLoader

from imbalanced_torch._data.rows import Rows, codes_and_weights
from imbalanced_torch._ensemble.members import Members, one_after_the_other
from imbalanced_torch._net.forward import direct_logits
from imbalanced_torch._net.global_state import noted_interrupts, sub_seed
from imbalanced_torch._net.initialized_net import InitializedNet
from imbalanced_torch._net.loading import PlannedBatches, make_loader
from imbalanced_torch._net.module import (
    last_layer,
    own_masks,
    reset_layer,
    set_start,
    unpack_logits,
)
from imbalanced_torch._net.validation import ScoresValidation
from imbalanced_torch._persistence.training_checkpoint import TrainingFile
from imbalanced_torch._prediction.prediction import Prediction
from imbalanced_torch._remedies.class_priors import ClassPriors
from imbalanced_torch._remedies.plan import Epoch, TrainingPlan

try:  # what is there for speed alone
    from imbalanced_torch._fast import step as fast
except ImportError:
    fast = None  # type: ignore[assignment]


#: The name of the callback that stops training.
STOPPING = "stop_at_the_best_epoch"


@dataclass(frozen=True)
class TrainingRun:
    """What the net is trained with until the end of one call of `train`."""

    rows: Rows
    #: Rows that are held out.
    validation: Rows | None
    plan: TrainingPlan
    #: What saves where training stands, and brings the net there.
    checkpoint: TrainingFile | None = None


class ImbalancedNet(ScoresValidation, InitializedNet):
    """The skorch net that `ImbalancedNetClassifier` trains; derive from it to override skorch's methods.

    Name the derived class in the `net_class` attribute of a class derived from `ImbalancedNetClassifier`. Targets in
    batches are class codes 0..K-1, or a pair of codes and sample weights where the user gave weights.

    Parameters
    ----------
    *args
        As for skorch.NeuralNet; the criterion is a `WeightedCriterion`.
    classes : array of shape (K,)
        Labels in the order of codes: scoring callbacks see them.
    positive : label or None, default=None
        What scoring callbacks of two classes count as positive unless told otherwise.
    dtype : torch.dtype or None, default=None
        The module's floating dtype; None leaves it as the module made it.
    seed : int, default=0
        Seeds what a data loader draws.
    example : tuple of (X, codes) or (X, codes, hint), or None, default=None
        A few rows to try module and criterion on; the hint, a function, returns what ends the error if that fails.
    start_prior : array of shape (K,) or None, default=None
        The class shares at which a module that exposes `output_bias` starts; that bias has no weight decay.
    inferred : mapping from str to int or None, default=None
        Parameters of the module that the user has not set: errors do not name them as the user's.
    made_from : mapping or None, default=None
        The estimator's parameters that a trained net can't change.
    weights : mapping or None, default=None
        The state that the module begins with, of a net that has learned before.
    **kwargs
        As for skorch.NeuralNet.

    Attributes
    ----------
    prediction_ : object
        What `predict_proba` and `predict` make of logits: the estimator's `prior_correction` and `decision`.
    priors_ : ClassPriors
        Which shares the classes had in what the net learned from last.
    fast_path_ : str
        Which way the last epoch's batches took, and why.
    """

    prediction_: Prediction
    priors_: ClassPriors | None
    fast_path_: str = ""
    weight_scale_: float = 1.0
    run_: TrainingRun | None = None  # what `train` is training with

    # Training

    def train(
        self,
        rows: Rows,
        validation: Rows | None,
        plan: TrainingPlan,
        *,
        epochs: int,
        seed: int,
        callbacks: Sequence[tuple[str, Callback]] = (),
        members: Members | None = None,
        checkpoint: TrainingFile | None = None,
    ) -> ImbalancedNet:
        """Train for some epochs, each as `plan.epoch(i)` says.

        Parameters
        ----------
        rows, validation : Rows
            The training rows, and those that are held out or None.
        plan : TrainingPlan
            What each epoch is trained with.
        epochs, seed : int
            How many, and what seeds the default module's masks.
        callbacks : sequence of (name, callback), default=()
            Of this call alone: what scores and shows epochs, and what stops training and keeps the best of them.
        members : Members or None, default=None
            The rows of each member of an ensemble.
        checkpoint : TrainingFile or None, default=None
            Where training goes on from, and is saved to.

        Returns
        -------
        ImbalancedNet
            The net itself.
        """
        self.run_, self.members_ = TrainingRun(rows, validation, plan, checkpoint), members
        self.max_epochs, self.best_epoch_ = epochs, None
        self.seen_logits_ = [] if callbacks else None
        saving = [] if checkpoint is None else [("checkpoint", checkpoint)]
        own, self.callbacks_ = self.callbacks_, [*self.callbacks_, *self.join(), *callbacks, *saving]
        try:
            with own_masks(self.module_, seed):
                self.partial_fit(rows, rows.codes)
        finally:
            self.run_, self.members_, self.callbacks_, self.seen_logits_ = None, None, own, None
            self.stop_score_, self.member_scores_ = None, None
            self.leave()
            for _, callback in callbacks:
                if hasattr(callback, "close"):
                    callback.close()
            for parameter in self.frozen_parameters_:
                parameter.requires_grad_(True)
            self.eval_submodules_, self.frozen_parameters_ = [], []
        stopping = dict(callbacks).get(STOPPING)
        best = len(self.history) if stopping is None else stopping.best_epoch_
        self.best_epoch_ = len(self.history) if best is None else best
        if plan.remedies.schedule is not None:
            self.learned_under(plan.epoch(max(0, self.best_epoch_ - 1)).priors)
        return self

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, **fit_params: Any) -> ImbalancedNet:
        """Train on as skorch does, where a callback may raise KeyboardInterrupt at the end of an epoch to end training.

        The user's own KeyboardInterrupt comes out.
        """
        if not self.initialized_:
            self.initialize()
        self.notify("on_train_begin", X=X, y=y)
        self._try_example(may_be_mended=False)
        checkpoint = None if self.run_ is None else self.run_.checkpoint
        left = {} if checkpoint is None else checkpoint.resume(self)
        self.follow_buffers()
        with noted_interrupts() as interrupt:
            try:
                self.fit_loop(X, y, **left, **fit_params)
            except KeyboardInterrupt:
                if interrupt.came or not self.epoch_is_whole_:
                    raise
                self.stop_together()
            except StopIteration as error:  # which would end a loop around `fit` without a word
                raise RuntimeError("module, criterion, optimizer or a callback raised StopIteration.") from error
            except (KeyError, ValueError, SkorchException) as error:
                self._check_monitored(error)
                raise
        if checkpoint is not None:
            checkpoint.end(self)
        self.notify("on_train_end", X=X, y=y)
        return self

    def _check_monitored(self, error: Exception) -> None:
        """Raise with the reason if a callback asks for a score that skorch's history does not have."""
        missing = re.search(r"'(\w+)'.* not found in history", str(error))
        if missing is None or not self.history:
            return
        if "valid_batch_count" not in self.history[-1]:
            raise ValueError(
                f"a callback reads {missing.group(1)!r}, but nothing is held out: set early_stopping=True or "
                "train_split."
            ) from error
        scores = sorted(name for name in self.history[-1] if name != "batches")
        raise ValueError(f"a callback reads {missing.group(1)!r}, which no epoch has. There are {scores}.") from error

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Let the loss and the probabilities be as the plan says for this epoch."""
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        self.epoch_is_whole_ = False
        if self.run_ is None:
            return
        schedule, epoch = self.run_.plan.remedies.schedule, self.run_.plan.epoch(len(self.history) - 1)
        self.learned_under(epoch.priors)
        self.row_share_ = epoch.row_share
        if schedule is not None:
            self.history.record("remedy_strength", epoch.strength)
            if schedule.retrains_head and epoch.strength == 1 and not self.frozen_parameters_:
                self._retrain_head(epoch)

    def learned_under(self, priors: ClassPriors) -> None:
        """Let the loss weigh classes, and probabilities be, as these class priors say.

        Parameters
        ----------
        priors : ClassPriors
            Those of an epoch or of a file.
        """
        self.priors_, self.weight_scale_ = priors, priors.weight_scale
        self.criterion_.set_classes(priors.class_weight, priors.counts_seen)
        if hasattr(self, "prediction_"):
            self.prediction_ = replace(self.prediction_, effective_prior=priors.effective_prior)

    def predict_with(self, prediction: Prediction) -> None:
        """Let `predict_proba` and `predict` make this of logits.

        Parameters
        ----------
        prediction : Prediction
            The estimator's `prior_correction` and `decision`, resolved.
        """
        self.prediction_ = prediction

    def _retrain_head(self, epoch: Epoch) -> None:
        """Freeze all but the last layer, and make that anew."""
        head: Any = last_layer(self.module_)
        body = [part for part in self.module_.modules() if all(layer is not head for layer in part.modules())]
        own = set(head.parameters())
        self.eval_submodules_ = body
        self.frozen_parameters_ = [p for p in self.module_.parameters() if p.requires_grad and p not in own]
        for parameter in self.frozen_parameters_:
            parameter.requires_grad_(False)
        reset_layer(head, sub_seed(self.seed, len(self.history)))
        if epoch.priors.start_prior is not None and self.start_prior is not None:
            set_start(self.module_, self.criterion_, epoch.priors.start_prior)
        for parameter in own:
            self.optimizer_.state.pop(parameter, None)

    def _set_training(self, training: bool = True) -> None:
        super()._set_training(training)
        for part in self.eval_submodules_:
            part.eval()

    def run_single_epoch(self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any) -> None:
        """Keep skorch's books of an epoch, without calls to callbacks that define nothing for a batch.

        Which step training takes is chosen here, once; `fast_path_` says which and why.
        """
        if iterator is None:
            return
        if training and fast is not None:
            direct, self.fast_path_ = fast.choose_step(self, ImbalancedNet, fit_params)
            step_fn = direct or step_fn
        begin, end = self._notifier("on_batch_begin"), self._notifier("on_batch_end")
        losses, count, at_once = [], 0, bool(self.listeners("on_batch_end"))
        for batch in iterator:
            begin(batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            loss = step["loss"]
            if at_once or loss.is_cpu:
                self.history.record_batch(f"{prefix}_loss", loss.item())
            else:  # read once an epoch, so that a GPU need not wait at each batch
                losses.append(loss.detach())
            self.history.record_batch(f"{prefix}_batch_size", _size_of(batch, self.members_ is not None))
            if at_once and training and self.members_ is not None:
                step = {**step, "y_pred": self.members_.one_row_each(step["y_pred"])}
            end(batch=batch, training=training, **step)
            count += 1
            del batch, step, loss  # their memory serves the next batch, while it is in the cache
        if training:
            self.average_buffers()
        if losses:
            records = self.history[-1, "batches"][-count:]
            for record, value in zip(records, torch.stack(losses).tolist(), strict=True):
                record[f"{prefix}_loss"] = value
        self.history.record(f"{prefix}_batch_count", count)

    def _notifier(self, method: str) -> Callable[..., None]:
        """Return what notifies of an event, as `notify` does, without callbacks that define nothing for it."""
        if "notify" in vars(self) or type(self).notify is not NeuralNet.notify:
            return partial(self.notify, method)
        idle = method == "on_batch_end" and getattr(type(self), method) is getattr(NeuralNet, method)
        calls = [] if idle else [getattr(self, method)]
        calls += [getattr(callback, method) for callback in self.listeners(method)]

        def notify(**kwargs: Any) -> None:
            for call in calls:
                call(self, **kwargs)

        return notify

    # The loss

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> torch.Tensor:
        codes, sample_weight = codes_and_weights(to_tensor(y_true, self.device))
        sample_weight = self.scaled(sample_weight, codes) if training else sample_weight
        return self.criterion_(*one_after_the_other(unpack_logits(y_pred), codes, sample_weight))

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Raise if the epoch had no batch, or if its losses are not finite."""
        self.epoch_is_whole_ = True
        losses = [batch["train_loss"] for batch in self.history[-1]["batches"] if "train_loss" in batch]
        if self.history[-1].get("train_batch_count") == 0:
            raise ValueError(
                f"epoch {len(self.history)} had no batch to train on. Look at the length of the sampler or iterator "
                "that iterator_train or its parameters bring."
            )
        if not np.isfinite(
            [batch["valid_loss"] for batch in self.history[-1]["batches"] if "valid_loss" in batch]
        ).all():
            self._blame(dataset_valid)
        # Parameters that are not finite show in the next epoch's loss, or in the validation.
        self._check_finite(losses, dataset_train, with_parameters=dataset_valid is not None)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Raise if the parameters of the module are not finite."""
        self._check_finite([], X, with_parameters=True)

    def _check_finite(self, losses: list[float], rows: Any, with_parameters: bool) -> None:
        parameters = self.module_.parameters() if with_parameters else ()
        if not (np.isfinite(losses).all() and all(torch.isfinite(p).all() for p in parameters)):
            self._blame(rows)
            raise ValueError(
                f"the training loss became nan or infinite in epoch {len(self.history)}. Try a smaller lr (it is "
                f"{self.lr}), features scaled "
                "to unit variance (StandardScaler) or gradient clipping (skorch.callbacks.GradientNormClipping)."
                f"{self.made_with('optimizer')}"
            )

    def _blame(self, rows: Any) -> None:
        """Raise if rows of a Dataset are why a loss is not finite."""
        if isinstance(rows, Rows) and not getattr(self.module_, "allow_nan", False) and (fault := rows.not_finite()):
            raise ValueError(fault)

    # Batches

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        if self.run_ is not None and X is self.run_.rows:  # the estimator has split the rows already
            return X, self.run_.validation
        return super().get_split_datasets(X, y, **fit_params)

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Return arrays as rows, which the module sees as those that it was trained on."""
        arrays = isinstance(X, np.ndarray) or issparse(X) or (isinstance(X, Mapping) and not isinstance(X, SliceDict))
        if not arrays or not (y is None or isinstance(y, np.ndarray)):
            return super().get_dataset(X, y)
        return Rows(X, codes=y, dtype=self.dtype)

    def loader_parameters(self, training: bool) -> dict[str, Any]:
        """Return what the user set for a loader; a collate function for training serves wherever there is no other.

        Parameters
        ----------
        training : bool
            Whether it loads rows to train on.

        Returns
        -------
        dict
            The parameters by name.
        """
        kwargs = self.get_params_for("iterator_train" if training else "iterator_valid")
        if not training and self.collate_for_prediction is not None:
            kwargs["collate_fn"] = self.collate_for_prediction
        return kwargs

    @property
    def collate_for_prediction(self) -> Callable[[list[Any]], Any] | None:
        """The collate function for validation and prediction: that for training where there is no other."""
        settings = vars(self)
        return settings.get("iterator_valid__collate_fn", settings.get("iterator_train__collate_fn"))

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        if not isinstance(dataset, Rows):
            return super().get_iterator(dataset, training)
        if self.run_ is not None and self.members_ is not None:
            if training and dataset is self.run_.rows:
                return self.members_.batches(PlannedBatches(self.run_.plan, self.history))
            if dataset is self.run_.validation:
                return [self.members_.held_out_batch()]
        # skorch also asks for the training iterator to predict in training mode; only training rows are sampled.
        planned = training and self.run_ is not None and dataset is self.run_.rows
        return make_loader(self, dataset, self.run_.plan if planned and self.run_ else None, training)

    # Prediction, in codes

    def logits(self, rows: Rows) -> torch.Tensor:
        """Return the module's logits for rows, on the CPU, in evaluation mode.

        They go through `forward` where a derived net or the user says how: by an iterator, its parameters, or a method.

        Parameters
        ----------
        rows : Rows
            Rows to predict.

        Returns
        -------
        tensor of shape (n,), (n, 1) or (n, K)
            What the module returns.
        """
        names = " ".join(vars(self))  # searched in one, for a row alone is predicted in microseconds
        loaded = "iterator_valid__" in names or "iterator_train__collate_fn" in names
        if loaded or not self._predicts_directly():
            return unpack_logits(self.forward(rows))
        return direct_logits(self, rows, fast)

    def member_logits(self, rows: Rows) -> torch.Tensor:
        """Return the logits of each member of an ensemble for rows, on the CPU, in evaluation mode.

        Parameters
        ----------
        rows : Rows
            Rows to predict.

        Returns
        -------
        tensor of shape (n, n_members, n_outputs)
            The logits.
        """
        return direct_logits(self, rows, fast, self.module_.member_logits)

    def _predicts_directly(self) -> bool:
        methods = ("forward", "forward_iter", "evaluation_step", "infer", "get_dataset", "get_iterator")
        theirs, loader = type(self), self.iterator_valid is DataLoader
        inherited = theirs is ImbalancedNet or all(getattr(theirs, m) is getattr(ImbalancedNet, m) for m in methods)
        return loader and inherited and vars(self).keys().isdisjoint(methods)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the estimator's probabilities, shape (n, K)."""
        proba = (self.prediction_.proba(unpack_logits(y)) for y in self.forward_iter(X))
        return np.concatenate([to_numpy(part) for part in proba])

    def predict(self, X: Any) -> np.ndarray:
        """Return the codes that the estimator's decision chooses, shape (n,)."""
        scores = (self.prediction_.scores(unpack_logits(y)) for y in self.forward_iter(X))
        return np.concatenate([to_numpy(part.argmax(dim=1)) for part in scores])


def _size_of(batch: Any, side_by_side: bool) -> int:
    """Return the rows of a batch; of each member, where they have rows of their own."""
    X = batch[0] if isinstance(batch, tuple | list) else batch
    if side_by_side:
        return int(X.shape[1])
    return len(X) if isinstance(X, torch.Tensor) else get_len(X)
