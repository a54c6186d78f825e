"""Which targets a loss takes: class codes, or probabilities of the classes."""

from __future__ import annotations

import torch


def check_logits_of_rows(logits: torch.Tensor) -> None:
    """Raise unless logits are floats of shape (n,), (n, 1) or (n, K)."""
    if not isinstance(logits, torch.Tensor) or not logits.is_floating_point():
        given = f"of {logits.dtype}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise TypeError(f"logits must be a tensor of a floating dtype; they are {given}.")
    if logits.ndim not in (1, 2) or logits.shape[-1] == 0 < logits.ndim - 1:
        raise ValueError(f"logits must have shape (n,), (n, 1) or (n, K); they have shape {tuple(logits.shape)}.")


def read_targets(targets: torch.Tensor, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return class codes, shape (n,), or beside them class probabilities, shape (n, K), which then count.

    Parameters
    ----------
    targets : tensor of shape (n,), (n, 1) or (n, K)
    logits : tensor of shape (n,), (n, 1) or (n, K)
    """
    if not isinstance(targets, torch.Tensor) or targets.is_complex():
        given = f"of {targets.dtype}" if isinstance(targets, torch.Tensor) else f"a {type(targets).__name__}"
        raise TypeError(f"targets must be a tensor of class codes or of class probabilities; they are {given}.")
    n, one_logit = len(logits), logits.ndim == 1 or logits.shape[1] == 1
    n_classes = 2 if one_logit else logits.shape[1]
    if targets.shape == (n, n_classes):
        _check_distributions(targets)
        return targets, targets.to(logits)
    if targets.shape != (n,) and not (one_logit and targets.shape == (n, 1)):
        codes = f"class codes 0..{n_classes - 1} of shape ({n},)"
        more = f", probabilities of class 1 of shape ({n},) or ({n}, 1)" if one_logit else ""
        raise ValueError(
            f"targets for logits of shape {tuple(logits.shape)} must be {codes}{more}, or class probabilities of "
            f"shape ({n}, {n_classes}); they have shape {tuple(targets.shape)}."
        )
    targets = targets.reshape(n)
    if not targets.is_floating_point():
        _check_codes(targets, n_classes)
        return targets.long(), None
    if one_logit:
        _check_shares(targets)
        share = targets.to(logits)
        return targets, torch.stack([1 - share, share], dim=1)
    _check_codes(targets, n_classes)
    return targets.long(), None


def _check_codes(targets: torch.Tensor, n_classes: int) -> None:
    if targets.dtype == torch.bool or not _can_be_read(targets):
        return
    if targets.is_cuda and not targets.is_floating_point():  # to read would be to wait for it
        return
    lowest, greatest = (value.item() for value in targets.aminmax())
    whole = not targets.is_floating_point() or bool((targets == targets.floor()).all())
    if not (lowest >= 0 and greatest < n_classes and whole):
        good = (targets >= 0) & (targets < n_classes)
        good &= (targets == targets.floor()) if targets.is_floating_point() else True
        soft = "" if whole else f" Class probabilities have shape ({len(targets)}, {n_classes})."
        raise ValueError(f"targets must be class codes 0..{n_classes - 1}; they hold {_some(targets[~good])}.{soft}")


def _check_shares(targets: torch.Tensor) -> None:
    if not _can_be_read(targets):
        return
    good = (targets >= 0) & (targets <= 1)
    if not bool(good.all()):
        raise ValueError(
            "targets beside one logit must be 0, 1 or a probability of class 1 between them; they hold "
            f"{_some(targets[~good])}."
        )


def _check_distributions(targets: torch.Tensor) -> None:
    if not _can_be_read(targets):
        return
    good = (targets >= 0).all(dim=1) & ((targets.float().sum(dim=1) - 1).abs() <= 1e-2)
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        raise ValueError(
            f"targets of shape {tuple(targets.shape)} must be class probabilities, not negative and with a sum of 1 "
            f"in each row; row {row} is {targets[row].tolist()}."
        )


def _can_be_read(targets: torch.Tensor) -> bool:
    """Whether values can be looked at: not while a graph is made, and not where there are none."""
    return not (torch.compiler.is_compiling() or targets.is_meta or targets.numel() == 0)


def _some(values: torch.Tensor) -> str:
    found = sorted(set(values.tolist()), key=str)
    return ", ".join(map(str, found[:3])) + (", ..." if len(found) > 3 else "")
