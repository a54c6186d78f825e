"""What a net makes of the rows that are held out of training, epoch by epoch: losses, and scores."""

from __future__ import annotations

from typing import Any

import torch
from skorch.utils import to_tensor

from imbalanced_torch._data.rows import codes_and_weights
from imbalanced_torch._ensemble.held_out_scores import ScoresHeldOutRows
from imbalanced_torch._group.shared_training import TrainsInGroup
from imbalanced_torch._net.module import unpack_logits


class ScoresValidation(TrainsInGroup, ScoresHeldOutRows):
    """A net that records losses of held-out rows, and can be asked for other scores of these after each epoch."""

    #: Logits of the batches of held-out rows in this epoch, while a score may be asked for.
    seen_logits_: list[torch.Tensor] | None = None
    run_: Any

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        super().on_epoch_begin(net, dataset_train=dataset_train, dataset_valid=dataset_valid, **kwargs)
        if self.seen_logits_ is not None:
            self.seen_logits_ = []

    def score_held_out(self, score: Any) -> float:
        """Return a score of the rows that are held out, as they were predicted in this epoch.

        Parameters
        ----------
        score : HeldOutScore
            The score.

        Returns
        -------
        float
            Its value; NaN where nothing is held out.
        """
        rows = self.run_.validation
        if rows is None or (self.group.alone and not self.seen_logits_):
            return float("nan")
        parts = [unpack_logits(part) for part in self.seen_logits_ or ()]
        logits = torch.cat(parts) if parts else torch.empty(0, 1)
        weights = rows.sample_weight if self.members_ is None else self.members_.held_out_row_weights
        if not self.group.alone:
            joined = [None if v is None else self.group.joined(v) for v in (logits.cpu().numpy(), rows.codes, weights)]
            return score.of(self.prediction_, torch.from_numpy(joined[0]), joined[1], joined[2])
        return score.of(self.prediction_, logits, rows.codes, weights)

    @property
    def monitored(self) -> str:
        """The loss that early stopping goes by: the corrected log loss where the correction exists."""
        return "valid_log_loss_corrected" if self._correctable else "valid_loss"

    @property
    def _correctable(self) -> bool:
        return self.prediction_.correctable_to_data()

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        own = self.members_ is not None
        step = self.held_out_step(batch, **fit_params) if own else super().validation_step(batch, **fit_params)
        if self.seen_logits_ is not None:
            self.seen_logits_.append(step["y_pred"])
        if own:
            return step
        codes, sample_weight = codes_and_weights(to_tensor(batch[1], self.device))
        if not self.criterion_.has_probabilities:
            return step
        raw = self.criterion_.log_proba(unpack_logits(step["y_pred"]))
        losses = {"valid_log_loss": raw}
        if self._correctable:
            losses["valid_log_loss_corrected"] = self.prediction_.corrected_to_data(raw)
        for name, log_proba in losses.items():
            row_losses = -log_proba.gather(1, codes[:, None])[:, 0]
            if sample_weight is not None:
                row_losses = row_losses * sample_weight
            self.history.record_batch(name, row_losses.mean().item())
        return step
