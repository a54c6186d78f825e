"""What a skorch net does so that the processes of a group train one net: the same steps, with averaged gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from imbalanced_torch._group.processes import ALONE, Group


class GradientAverage:
    """Average the gradients of all processes, and their losses, in one message a step.

    Rows weigh so that the average is what one process would find on the rows of all.

    Parameters
    ----------
    group : Processes
    parameters : sequence of torch.nn.Parameter
        In the same order on all processes.
    """

    def __init__(self, group: Group, parameters: Sequence[torch.nn.Parameter]) -> None:
        self.group = group
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.flats: list[tuple[torch.Tensor, list[int], list[torch.Tensor]]] = []
        kinds = [(torch.promote_types(p.dtype, torch.float32), p.device) for p in self.parameters]
        for kind in dict.fromkeys(kinds):
            places = [place for place, other in enumerate(kinds) if other == kind]
            sizes = [self.parameters[place].numel() for place in places]
            # Beside the gradients: which of them there are, and the loss.
            flat = torch.zeros(sum(sizes) + len(places) + 1, dtype=kind[0], device=kind[1])
            parts = torch.split(flat, [*sizes, len(places), 1])
            views = [part.view_as(self.parameters[place]) for part, place in zip(parts, places, strict=False)]
            self.flats.append((flat, places, [*views, *parts[-2:]]))

    @torch.no_grad()
    def __call__(self, loss: torch.Tensor) -> torch.Tensor:
        """Average the gradients in place, and return the average loss."""
        mean = loss
        for flat, places, (*views, present, own_loss) in self.flats:
            parameters = [self.parameters[place] for place in places]
            found = [parameter.grad for parameter in parameters]
            if any(gradient is not None and gradient.layout != torch.strided for gradient in found):
                raise ValueError("in a process group gradients must be dense; set sparse=False in Embedding layers.")
            there = [gradient is not None for gradient in found]
            for view, gradient in zip(views, found, strict=True):
                if gradient is None:
                    view.zero_()
                else:
                    view.copy_(gradient)
            present.copy_(torch.tensor(there, dtype=flat.dtype))
            own_loss.fill_(loss)
            self.group.add_(flat)
            flat.div_(self.group.size)
            # A layer that no row of this process went through may have a gradient elsewhere.
            somewhere = there if all(there) else [count > 0 for count in present.tolist()]
            for parameter, view, has in zip(parameters, views, somewhere, strict=True):
                parameter.grad = view.to(parameter.dtype) if has else None
            mean = own_loss[0].to(loss.dtype, copy=True)
        return mean


class TrainsInGroup(NeuralNet):
    """A net that trains as one with those of the other processes, where there are any."""

    run_: Any
    history: Any
    criterion_: Any
    weight_scale_: float
    #: What averages gradients until the end of training; None alone.
    average_: Callable[[torch.Tensor], torch.Tensor] | None = None
    #: What a row counts beside those of other processes: a number, or one for each member, shape (members, 1).
    row_share_: Any = 1.0
    stop_is_told_: bool = False
    buffers_: Sequence[Any] = ()
    module_: Any

    @property
    def group(self) -> Group:
        """The processes that train this net."""
        return ALONE if self.run_ is None else self.run_.plan.group

    def join(self) -> list[tuple[str, Callback]]:
        """Make ready for training, and return what must be called after the user's callbacks at the end of each epoch.

        Returns
        -------
        list of (name, callback)
            None where this process is alone.
        """
        if self.group.alone:
            return []
        self.average_ = GradientAverage(self.group, [p for _, p in self.get_all_learnable_params()])
        return [("stop_together", StopTogether())]

    def follow_buffers(self) -> None:
        """Note where the module's buffers stand before the first epoch."""
        self.buffers_ = [] if self.group.alone else [_Buffers(self.group, alike) for alike in _by_kind(self.module_)]

    def leave(self) -> None:
        """Forget the group."""
        self.average_, self.row_share_, self.buffers_ = None, 1.0, []

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        step: dict[str, Any] = super().train_step_single(batch, **fit_params)
        return step if self.average_ is None else {**step, "loss": self.average_(step["loss"])}

    def scaled(self, sample_weight: torch.Tensor | None, codes: torch.Tensor) -> torch.Tensor | None:
        """Return a batch's sample weights, of mean 1 over what the loss sees in training.

        Parameters
        ----------
        sample_weight : tensor of shape (n,) or (members, n), or None
            Weights of the rows.
        codes : tensor of the same shape
            Their classes.

        Returns
        -------
        tensor of the same shape, or None
            The weights, scaled; in a group, by what a row of this process counts.
        """
        weights = None if sample_weight is None else sample_weight * self.weight_scale_
        if isinstance(self.row_share_, float) and self.row_share_ == 1:
            return weights
        share = self.row_share_
        if isinstance(share, torch.Tensor):
            share = share.to(device=codes.device, dtype=torch.float64 if weights is None else weights.dtype)
        if weights is None:
            weights = torch.ones(codes.shape, dtype=torch.float64, device=codes.device)
        return weights * share

    def stop_together(self) -> None:
        """Let the other processes stop after this epoch, if they do not know."""
        if not self.group.alone and not self.stop_is_told_:
            self.group.total(1)

    def average_buffers(self) -> None:
        """Give buffers such as batch norm's statistics the averages over the processes, at the end of an epoch."""
        for buffers in self.buffers_:
            buffers.average()


class _Buffers:
    """Buffers of one kind, which begin an epoch equal on all processes, and get the average of how they changed."""

    def __init__(self, group: Group, buffers: list[torch.Tensor]) -> None:
        self.group = group
        self.buffers = buffers
        self.start = self._flat()

    def _flat(self) -> torch.Tensor:
        return torch.cat([buffer.detach().flatten() for buffer in self.buffers])

    @torch.no_grad()
    def average(self) -> None:
        change = self._flat().sub_(self.start)  # 0 stays 0, where an average of equal numbers may be rounded
        self.group.add_(change)
        self.start.add_(change.div_(self.group.size))
        for buffer, part in zip(self.buffers, torch.split(self.start, [b.numel() for b in self.buffers]), strict=True):
            buffer.copy_(part.view_as(buffer))


def _by_kind(module: Any) -> list[list[torch.Tensor]]:
    """Return floating buffers by dtype and device; none of a module whose buffers follow from its parameters."""
    if getattr(module, "buffers_follow", False):
        return []
    kinds: dict[Any, list[torch.Tensor]] = {}
    for buffer in module.buffers():
        if buffer.is_floating_point():
            kinds.setdefault((buffer.dtype, buffer.device), []).append(buffer)
    return list(kinds.values())


class StopTogether(Callback):
    """End training where a callback of the user's ends it on another process, before ours look at the epoch."""

    only_watches = True

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        net.stop_is_told_ = False

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        if net.group.total(0):
            net.stop_is_told_ = True
            raise KeyboardInterrupt  # skorch's way to end training early
