"""What happens around an epoch: stopping at the best one, and scores in the user's labels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer
from skorch.callbacks import BatchScoring, Callback, EpochScoring, PassthroughScoring, PrintLog
from torch import nn

from imbalanced_torch._data.rows import Rows, codes_and_weights
from imbalanced_torch._prediction.label_scores import with_positive


class EarlyStopping(Callback):
    """Stop when the monitored loss has not fallen by `tol` for `patience` epochs; restore the best epoch's weights.

    skorch's EarlyStopping keeps weights only of epochs that beat the threshold; here the best epoch is the best one.
    Epochs up to number `after` do not count. With a score, what is monitored is minus that.
    """

    def __init__(self, patience: int, tol: float, after: int = 0, score: Any = None) -> None:
        self.score = score
        self.patience = patience
        self.tol = tol
        self.after = after

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        self.best_loss_ = self.reference_ = np.inf
        self.best_epoch_ = self.misses_ = 0
        self.best_weights_: dict[str, Any] | None = None

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        loss = net.history[-1, net.monitored] if self.score is None else -net.history[-1, f"valid_{self.score.name}"]
        if self.score is not None:
            self.score.check_finite([loss])
        if not np.isfinite(loss):
            raise ValueError(
                f"the validation loss became nan or infinite in epoch {len(net.history)}. Look at what the module "
                "returns "
                "in evaluation mode for the held-out rows, or set early_stopping=False."
            )
        if len(net.history) <= self.after:
            return
        self.misses_ += 1
        if loss < self.reference_ - self.tol:
            self.reference_, self.misses_ = loss, 0
        if loss < self.best_loss_:
            self.best_loss_, self.best_epoch_ = loss, net.history[-1, "epoch"]
            self.best_weights_ = {name: copy.deepcopy(part.state_dict()) for name, part in _trained_parts(net)}
        if self.misses_ >= self.patience:
            raise KeyboardInterrupt  # skorch's way to end training early

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        if self.best_weights_ is not None and self.best_epoch_ != net.history[-1, "epoch"]:
            for name, part in _trained_parts(net):
                part.load_state_dict(self.best_weights_[name])
        self.best_weights_ = None


def _trained_parts(net: Any) -> list[tuple[str, nn.Module]]:
    """Return what the optimizers may train, by name: the module, the criterion, and what a derived net adds."""
    return [(name, part) for name, part in vars(net).items() if isinstance(part, nn.Module) and name.endswith("_")]


class BatchMean(PassthroughScoring):
    """skorch's PassthroughScoring, read from the batches at once: its way costs as much as a tenth of a small net."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        batches = net.history[-1]["batches"]
        size = "train_batch_size" if self.on_train else "valid_batch_size"
        pairs = [(batch[self.name], batch[size]) for batch in batches if self.name in batch and size in batch]
        if net.group.alone:
            if not pairs:
                return
            values, sizes = np.array(pairs).T
            score = np.average(values, weights=sizes)
        else:  # of the rows of all processes, where this one may have none
            values, sizes = np.array(pairs or [(0, 0)], dtype=float).T
            total, n = net.group.sum(np.array([values @ sizes, sizes.sum()]))
            if not n:
                return
            score = total / n
        is_best = self._is_best_score(score)
        if is_best:
            self.best_score_ = score
        net.history.record(self.name, score)
        if is_best is not None:
            net.history.record(self.name + "_best", bool(is_best))


class Print(PrintLog):
    """skorch's PrintLog, which skips its table where `verbose` is 0 or 1."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if net.verbose > 1 or self.sink is not print:
            super().on_epoch_end(net, **kwargs)


def copy_callbacks(callbacks: Any) -> Any:
    """Copy the user's callbacks, which training changes: a list of callbacks or pairs (name, callback), or one."""
    if isinstance(callbacks, list | tuple):
        return type(callbacks)(copy_callbacks(item) for item in callbacks)
    return callbacks if isinstance(callbacks, type | str) or callbacks is None else copy_callback(callbacks, {})


def copy_callback(callback: Any, memo: dict[int, Any]) -> Any:
    """Copy a callback; `memo` maps what it refers to, by id, to copies that there are already."""
    try:
        return copy.deepcopy(callback, memo)
    except (TypeError, RuntimeError):  # it holds something that can't be copied, such as an open writer
        return copy.copy(callback)


def score_in_labels(callback: Any, classes: np.ndarray, positive: Any) -> None:
    """Let an initialised scoring callback see the user's labels, and count `positive` as the positive class."""
    if isinstance(callback, BatchScoring | EpochScoring) and not isinstance(callback.scoring_, LabelScoring):
        callback.scoring_ = LabelScoring(callback.scoring_, classes, positive)
        callback.target_extractor = CodesOf(callback.target_extractor)


@dataclass
class CodesOf:
    """Extract class codes from a batch's target, which may hold sample weights too."""

    extractor: Callable[[Any], Any]

    def __call__(self, target: Any) -> Any:
        codes = codes_and_weights(target)[0]
        return self.extractor(codes.flatten() if isinstance(codes, torch.Tensor) else codes)


@dataclass
class LabelScoring:
    """A scorer of nets that shows the user's scorer labels where the net has codes."""

    scoring: Any
    classes: np.ndarray
    positive: Any

    def __call__(self, net: Any, X: Any, y: Any) -> float:
        """Score the net on X and codes y."""
        labelled = LabelledNet(net, self.classes)
        if y is None and isinstance(X, Rows):
            y = X.codes
        labels = self.classes[np.asarray(y)]
        if self.scoring is None:
            return float(labelled.score(X, labels))
        scorer = get_scorer(self.scoring) if isinstance(self.scoring, str) else self.scoring
        return float(with_positive(scorer, self.positive)(labelled, X, labels))


class LabelledNet(ClassifierMixin, BaseEstimator):
    """A view of a net that predicts the user's labels; everything else is the net's."""

    def __init__(self, net: Any, classes: np.ndarray) -> None:
        self.net = net
        self.classes = classes

    @property
    def classes_(self) -> np.ndarray:
        return self.classes

    def predict(self, X: Any) -> np.ndarray:
        return self.classes[self.net.predict(X)]

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name in ("net", "classes"):  # not set yet, in a copy
            raise AttributeError(name)
        return getattr(self.net, name)
