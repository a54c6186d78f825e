"""What a skorch net whose module is an ensemble makes of the rows that members hold out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from skorch import NeuralNet

from imbalanced_torch._ensemble.members import Members, blended


class ScoresHeldOutRows(NeuralNet):
    """A net that scores each member of an ensemble on its own held-out rows while it trains."""

    #: The rows of each member, until the end of training.
    members_: Members | None = None
    #: Losses of the two kinds of nets on held-out rows, and their log probabilities, None where there are none; until
    #: the end of training.
    member_scores_: tuple[list[float], torch.Tensor | None] | None = None
    #: The score of held-out rows that training stops on; None is their log loss.
    stop_score_: Any = None

    prediction_: Any
    criterion_: Any

    def held_out_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Return what `validation_step` does, of the rows that members hold out, in their order.

        Parameters
        ----------
        batch : tuple
            Of `Members.held_out_batch`.
        **fit_params
            What reaches the module's forward beside X.

        Returns
        -------
        dict
            The loss, and the logits, shape (n, n_outputs), of each row by the member that holds it out.
        """
        members: Any = self.members_
        self._set_training(False)
        with torch.no_grad():
            logits = self.infer(batch[0], **fit_params)
            loss = self.get_loss(logits, members.held_out_target(), training=False)
            for name, value in self.score_members(logits).items():
                self.history.record_batch(name, value)
            return {"loss": loss, "y_pred": members.in_order(logits)}

    def forward_iter(self, X: Any, training: bool = False, device: Any = "cpu") -> Iterator[Any]:
        """Give the module's output for rows; that for rows which are held out right now comes from their members.

        Parameters
        ----------
        X : any input of skorch's
            Rows.
        training : bool, default=False
            Whether the module is in training mode.
        device : str or torch.device, default="cpu"
            Where the output goes.

        Yields
        ------
        tensor
            The output for one batch.
        """
        members, run = self.members_, getattr(self, "run_", None)
        if members is None or run is None or X is not run.validation:
            yield from super().forward_iter(X, training=training, device=device)
            return
        with torch.no_grad():
            self._set_training(False)
            yield members.in_order(self.infer(members.held_out_batch()[0])).to(device)

    def score_members(self, logits: torch.Tensor) -> dict[str, float]:
        """Return losses of members on the rows that they hold out, and keep those of each kind of nets.

        Parameters
        ----------
        logits : tensor of shape (2 n_members, n, n_outputs)
            Of the rows that each member holds out.

        Returns
        -------
        dict
            By the names that the history has.
        """
        members: Any = self.members_
        correctable = self.prediction_.correctable_to_data()
        nets = None
        if self.criterion_.has_probabilities:
            nets = members.by_net(self.criterion_.log_proba(logits.flatten(0, 1)))
        if nets is not None and correctable:
            losses = members.loss(self.carried(nets)).tolist()
        else:  # as a plain net does: by what it minimises
            losses = members.criterion_losses(self.criterion_, logits)
        if self.stop_score_ is not None:
            losses = [-self.stop_score_.of(self.prediction_, *rows) for rows in members.rows_by_kind(logits)]
        self.member_scores_ = losses, nets
        if nets is None:
            return {}
        average = blended(nets, members.module.blend.to(nets.dtype))
        seen = {"valid_log_loss": float(members.loss(average))}
        if correctable:
            seen["valid_log_loss_corrected"] = float(members.loss(self.carried(average)))
        return seen

    def carried(self, log_proba: torch.Tensor) -> torch.Tensor:
        """Return log probabilities carried to the prior of the data, where it is known how.

        Parameters
        ----------
        log_proba : tensor of shape (..., K)
            At the prior that the net is trained under.

        Returns
        -------
        tensor of shape (..., K)
            At the class prior.
        """
        if not self.prediction_.correctable_to_data():
            return log_proba
        return self.prediction_.corrected_to_data(log_proba.flatten(0, -2)).view(log_proba.shape)
