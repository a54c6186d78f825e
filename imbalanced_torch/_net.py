"""The skorch net inside: tensors and class codes in, logits out; it knows the remedies and no labels but for scores."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, PassthroughScoring, PrintLog
from skorch.utils import to_numpy, to_tensor
from torch.utils.data import DataLoader

from imbalanced_torch._callbacks import score_in_labels
from imbalanced_torch._criterion import check_row_losses
from imbalanced_torch._module import check_logits, first
from imbalanced_torch._prior import correct_prior
from imbalanced_torch._rows import OneByOne, Rows, TrainingRows, codes_and_weights
from imbalanced_torch._sampling import Batches


class ImbalancedNet(NeuralNet):
    """The skorch net that `ImbalancedNetClassifier` trains; derive from it to override skorch's methods.

    Name the derived class in the `net_class` attribute of a class derived from `ImbalancedNetClassifier`. Targets in
    batches are class codes 0..K-1, or a pair of codes and sample weights where the user gave weights.

    Parameters
    ----------
    *args, **kwargs
        As for skorch.NeuralNet; the criterion is a `WeightedCriterion`.
    classes : array of shape (K,)
        Labels in the order of codes: scoring callbacks see them.
    positive : label or None
        What scoring callbacks of two classes count as positive unless told otherwise.
    dtype : torch.dtype or None
        The module's floating dtype; None leaves it as the module made it.
    seed : int
        Seeds what a data loader draws.
    example : tuple of (X, codes) or None
        A few rows, on which module and criterion are tried before training.
    """

    def __init__(
        self,
        *args: Any,
        classes: np.ndarray,
        positive: Any = None,
        dtype: torch.dtype | None = None,
        seed: int = 0,
        example: tuple[Any, torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.classes = classes
        self.positive = positive
        self.dtype = dtype
        self.seed = seed
        self.example = example
        #: Class shares in the training data and those that the net's probabilities are at; None before training.
        self.class_prior_: np.ndarray | None = None
        self.effective_prior_: np.ndarray | None = None

    # What skorch initialises

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [
            ("epoch_timer", EpochTimer()),
            ("train_loss", PassthroughScoring("train_loss", on_train=True)),
            ("valid_loss", PassthroughScoring("valid_loss")),
            ("valid_log_loss", PassthroughScoring("valid_log_loss")),
            ("valid_log_loss_corrected", PassthroughScoring("valid_log_loss_corrected")),
            ("print_log", PrintLog()),
        ]

    def initialize_callbacks(self) -> ImbalancedNet:
        super().initialize_callbacks()
        for _, callback in self.callbacks_:
            score_in_labels(callback, self.classes, self.positive)
        return self

    def initialize_module(self) -> ImbalancedNet:
        super().initialize_module()
        if self.dtype is not None and self.dtype.is_floating_point:
            self.module_.to(self.dtype)
        if self.example is not None:  # before the optimizer, which needs the parameters of lazy layers
            self._try_module(*self.example)
        return self

    def _try_module(self, X: Any, codes: torch.Tensor) -> None:
        name = type(self.module_).__name__
        self.module_.eval()
        try:
            output = self.module_(**X) if isinstance(X, dict) else self.module_(X)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            values = X.values() if isinstance(X, dict) else [X]
            given = ", ".join(f"{str(v.dtype).removeprefix('torch.')} of shape {tuple(v.shape)}" for v in values)
            raise ValueError(f"module {name} can't take a batch of {given}: {error}") from error
        logits = check_logits(output, len(codes), len(self.classes), name)
        check_row_losses(self.criterion, logits.detach(), codes)

    # The loss

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> torch.Tensor:
        codes, sample_weight = codes_and_weights(to_tensor(y_true, self.device))
        return self.criterion_(first(y_pred), codes, sample_weight)

    @property
    def monitored(self) -> str:
        """The loss that early stopping goes by: the corrected log loss where the correction exists."""
        return "valid_log_loss_corrected" if self._correctable else "valid_loss"

    @property
    def _correctable(self) -> bool:
        return self.effective_prior_ is not None and bool((self.effective_prior_ > 0).all())

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        step = super().validation_step(batch, **fit_params)
        codes, sample_weight = codes_and_weights(to_tensor(batch[1], self.device))
        raw = self.criterion_.log_proba(first(step["y_pred"]))
        losses = {"valid_log_loss": raw}
        if self.effective_prior_ is not None and self.class_prior_ is not None and self._correctable:
            losses["valid_log_loss_corrected"] = correct_prior(raw, self.effective_prior_, self.class_prior_)
        for name, log_proba in losses.items():
            row_losses = -log_proba.gather(1, codes[:, None])[:, 0]
            if sample_weight is not None:
                row_losses = row_losses * sample_weight
            self.history.record_batch(name, row_losses.mean().item())
        return step

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        losses = self.history[-1, "batches", :, "train_loss"]
        if not (np.isfinite(losses).all() and all(torch.isfinite(p).all() for p in self.module_.parameters())):
            raise ValueError(
                f"the training loss became nan or infinite in epoch {len(self.history)}. Try a smaller lr (it is "
                f"{self.lr}), features scaled "
                "to unit variance (StandardScaler) or gradient clipping (skorch.callbacks.GradientNormClipping)."
            )

    # Batches

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        if isinstance(X, TrainingRows):  # the estimator has split the rows already, before it looked at the classes
            return X, X.validation
        return super().get_split_datasets(X, y, **fit_params)

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        if not isinstance(dataset, Rows):
            return super().get_iterator(dataset, training)
        # skorch also asks for the training iterator to predict in training mode; only training rows are sampled.
        iterator = self.iterator_train if training else self.iterator_valid
        kwargs = self.get_params_for("iterator_train" if training else "iterator_valid")
        batch_size = kwargs.pop("batch_size", self.batch_size)
        batch_size = len(dataset) if batch_size == -1 else batch_size
        loader = isinstance(iterator, type) and issubclass(iterator, DataLoader)
        if loader:  # without a generator, a loader would draw from the global one
            kwargs.setdefault("generator", torch.Generator().manual_seed(self.seed))
        own_order = {"sampler", "batch_sampler", "shuffle"} & kwargs.keys()
        batches: Any = None
        if training and isinstance(dataset, TrainingRows) and not own_order:
            batches = dataset.batches
            kwargs.pop("drop_last", None)  # the batches know
        elif iterator is DataLoader and not own_order:
            batches = Batches(torch.arange, len(dataset), batch_size)
        if iterator is DataLoader and batches is not None and "collate_fn" not in kwargs:
            return iterator(dataset, batch_sampler=batches, collate_fn=_as_they_are, **kwargs)
        if batches is not None and (loader or "batch_sampler" in inspect.signature(iterator).parameters):
            return iterator(OneByOne(dataset), batch_sampler=batches, **kwargs)
        if "batch_sampler" not in kwargs:
            kwargs["batch_size"] = batch_size
        return iterator(OneByOne(dataset), **kwargs)

    # Prediction, in codes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities at the prior that the net is trained under, shape (n, K)."""
        return np.concatenate([to_numpy(self.criterion_.log_proba(first(y)).exp()) for y in self.forward_iter(X)])

    def predict(self, X: Any) -> np.ndarray:
        """Return the codes of the most probable classes, shape (n,)."""
        return self.predict_proba(X).argmax(axis=1)


def _as_they_are(batch: Any) -> Any:
    return batch
