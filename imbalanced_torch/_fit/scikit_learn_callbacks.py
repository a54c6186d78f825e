"""scikit-learn's callbacks, such as its ProgressBar: each epoch of a fit is a task of the estimator's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from skorch.callbacks import Callback

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback._callback_support import callback_management_context as managed_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""

    def managed_callbacks(estimator: Any) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()


__all__ = ["CallbackSupportMixin", "EpochTasks", "epoch_tasks", "managed_callbacks"]


class EpochTasks(Callback):
    """Tell scikit-learn's callbacks when a fit and each of its epochs begin and end; end training if one says so.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    X, y, sample_weight : as in `fit`
    n_epochs : int
        At most.
    fitted : mapping
        Attributes with which, and with the net, a copy of the estimator predicts before training ends.
    """

    only_watches = True

    def __init__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any, n_epochs: int, fitted: Mapping[str, Any]
    ) -> None:
        self.estimator = estimator
        self.fitted = fitted
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.of_fit = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.fit = estimator._init_callback_context(max_subtasks=n_epochs)
        self.fit.call_on_fit_task_begin(**self.of_fit)
        self.epoch: Any = None

    def _attributes(self, net: Any) -> dict[str, Any]:
        return {"net_": net, "class_priors_": net.priors_, **self.fitted}

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        self.epoch = self.fit.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self.of_fit)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        if self._end_epoch(net):
            raise KeyboardInterrupt  # skorch's way to end training early

    def _end_epoch(self, net: Any) -> bool:
        epoch, self.epoch = self.epoch, None
        attributes = self._attributes(net)
        return epoch.call_on_fit_task_end(**self.of_fit, reconstruction_attributes=lambda: attributes)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        if self.epoch is not None:  # in which another callback has ended training
            self._end_epoch(net)
        attributes = self._attributes(net)
        self.fit.call_on_fit_task_end(**self.of_fit, reconstruction_attributes=lambda: attributes)


def epoch_tasks(
    estimator: Any, X: Any, y: Any, sample_weight: Any, n_epochs: int, fitted: Mapping[str, Any]
) -> list[tuple[str, Callback]]:
    """Return the callback that tells scikit-learn's, where the estimator or one around it has some."""
    if not (getattr(estimator, "_skl_callbacks", None) or hasattr(estimator, "_parent_callback_ctx")):
        return []
    return [("scikit_learn", EpochTasks(estimator, X, y, sample_weight, n_epochs, fitted))]
