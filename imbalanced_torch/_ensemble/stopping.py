"""When the default net has learned enough, which weights it keeps, and how it blends its nets: by held-out rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

from imbalanced_torch._ensemble.members import blended

#: Epochs to wait for a better one, as a share of those before it, beside `patience`.
_LONGER = 0.3
#: With fewer rows of a class the two nets of a member share equally: so few can't tell which is better.
_FEW = 10


class StopOutOfFold(Callback):
    """Keep of each kind of nets the epoch with the least held-out loss, the class prior before training included.

    Training ends when neither has been better for `patience` epochs and .3 of the best one's number.

    Parameters
    ----------
    patience : int
    after : int, default=0
        Epochs up to this number do not count, nor does the start before them.
    blends : bool, default=True
        Whether held-out rows say how much each of the two kinds of nets counts.
    score : HeldOutScore or None, default=None
        What is to be high in place of the log loss, which is to be low.
    """

    def __init__(self, patience: int, after: int = 0, blends: bool = True, score: Any = None) -> None:
        self.score = score
        self.patience = patience
        self.after = after
        self.blends = blends

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        self.best_losses_, self.best_epochs_ = [math.inf, math.inf], [len(net.history), len(net.history)]
        self.best_weights_: list[Any] = [None, None]
        self.best_log_proba_: list[Any] = [None, None]
        self.first_ = len(net.history)
        net.stop_score_ = self.score
        if self.after == 0:
            if not int(net.module_.n_steps):
                net.module_.track(step=0)
            net.module_.eval()
            with torch.no_grad():
                net.score_members(net.module_(net.members_.held_out_X))
            self._compare(net, self.first_)

    @property
    def best_epoch_(self) -> int:
        """The later of the best epochs of the two kinds of nets; 0 is the class prior."""
        return max(self.best_epochs_)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        epoch = len(net.history)
        if epoch <= self.after:
            return
        self._compare(net, epoch)
        waited = [epoch - best >= self.patience + _LONGER * (best - self.first_) for best in self.best_epochs_]
        if all(waited):
            raise KeyboardInterrupt  # skorch's way to end training early

    def _compare(self, net: Any, epoch: int) -> None:
        losses, log_proba = net.member_scores_
        if self.score is not None:
            self.score.check_finite(losses)
        if not np.isfinite(losses).all():
            raise ValueError(
                f"the out-of-fold loss became nan or infinite in epoch {epoch}. Try a smaller lr, or set "
                "early_stopping=False."
            )
        for kind, loss in enumerate(losses):
            if loss < self.best_losses_[kind]:
                self.best_losses_[kind], self.best_epochs_[kind] = loss, epoch
                self.best_log_proba_[kind] = None if log_proba is None else log_proba[kind].clone()
                self.best_weights_[kind] = [part.clone() for part in _means(net.module_, kind)]

    @torch.no_grad()
    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        module, members = net.module_, net.members_
        if None in self.best_weights_:
            return
        for kind, kept in enumerate(self.best_weights_):
            for mean, trained, values in zip(_means(module, kind), _trained(module, kind), kept, strict=True):
                mean.copy_(values)
                trained.copy_(values)
        if self.blends and module.blend_is_open and net.prediction_.correctable_to_data():
            share = self._best_share(net, torch.stack(self.best_log_proba_), members)
            module.blend.copy_(torch.tensor([share, 1 - share]))
        self.best_weights_, self.best_log_proba_ = [None, None], [None, None]

    def _best_share(self, net: Any, nets: torch.Tensor, members: Any) -> float:
        """Return the share of the nets without bins that has the least held-out loss; a half unless that is worse."""
        if min(count for count in net.run_.plan.row_counts if count) < _FEW:
            return 0.5
        n = int(sum(net.run_.plan.row_counts))

        def loss(share: float) -> float:
            blend = nets.new_tensor([share, 1 - share])
            return float(members.loss(net.carried(blended(nets, blend)))) + 2 * (2 * share - 1) ** 2 / n

        return min(np.linspace(0, 1, 21).tolist(), key=loss)


def _means(module: Any, kind: int) -> list[torch.Tensor]:
    """Return the running means of the weights of one kind of nets, as views."""
    return _parts(module, kind, "mean_weight", "mean_bias")


def _trained(module: Any, kind: int) -> list[torch.Tensor]:
    return [part.detach() for part in _parts(module, kind, "weight", "bias")]


def _parts(module: Any, kind: int, *names: str) -> list[torch.Tensor]:
    own = slice(kind * module.n_members, (kind + 1) * module.n_members)
    hidden = [getattr(layer, name) for layer in module.hidden_layers(kind) for name in names]
    return [*hidden, *(getattr(module.output, name)[own] for name in names)]
