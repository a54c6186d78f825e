"""How the learning rate of the default net changes in training."""

from __future__ import annotations

import math
from typing import Any

from skorch.callbacks import Callback, LRScheduler


class RisingRate(Callback):
    """Let the learning rate rise, and at the end of a long training fall.

    Over the first 20 steps it comes to 2e-3, then it rises linearly to 8e-3 at step 500. Where the user brings a
    scheduler, that alone sets it.

    Parameters
    ----------
    falls_from : float, default=1.0
        Share of the epochs after which it falls along a cosine to a hundredth.
    """

    def __init__(
        self, warm_up: int = 20, first: float = 2e-3, last: float = 8e-3, until: int = 500, falls_from: float = 1.0
    ) -> None:
        self.warm_up = warm_up
        self.first = first
        self.last = last
        self.until = until
        self.falls_from = falls_from

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        self.epochs_before_ = len(net.history)

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        if any(isinstance(callback, LRScheduler) for _, callback in net.callbacks_):
            return
        step, epoch = int(net.module_.n_steps), len(net.history) - 1 - self.epochs_before_
        rate = self.first + (self.last - self.first) * min(1.0, step / self.until)
        rate *= 0.5 if step < self.warm_up / 2 else 1.0
        done = epoch / net.max_epochs
        if done > self.falls_from:
            rate *= 0.01 + 0.99 * (1 + math.cos(math.pi * (done - self.falls_from) / (1 - self.falls_from))) / 2
        for group in net.optimizer_.param_groups:
            group["lr"] = rate
