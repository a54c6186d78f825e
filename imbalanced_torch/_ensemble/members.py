"""The rows of each member in one fit: batches of its own to train on, and what it makes of the fold it holds out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from imbalanced_torch._data.rows import Rows, class_counts, n_rows
from imbalanced_torch._ensemble.ensemble import MLPEnsemble, average
from imbalanced_torch._group.processes import ALONE, Group

#: Held-out rows that a look is taken at, of all classes; every row of a class with fewer than its part of these.
_LOOKED_AT = 20_000
#: Rows that are encoded, or predicted by each member, at once.
_AT_ONCE = 4096
#: Bytes up to which the encoded rows of a sparse matrix are kept.
_KEPT = 1 << 27


class EncodedRows:
    """Rows as the module keeps them: encoded once where X is an array or small, else batch by batch."""

    def __init__(self, rows: Rows, module: MLPEnsemble, device: torch.device) -> None:
        self.rows = rows
        self.module = module
        self.device = device
        self.table: torch.Tensor | None = None
        n = len(rows)
        size = n * module.encoder.n_encoded * module.blend.element_size()
        if isinstance(rows.source, np.ndarray) or size <= _KEPT:
            self.table = module.blend.new_empty((n, module.encoder.n_encoded))
            at_once = _AT_ONCE if isinstance(rows.source, np.ndarray) else 64  # dense, and in double precision
            for start in range(0, n, at_once):
                part = slice(start, min(start + at_once, n))
                self.table[part] = module.encode(rows.inputs(part).to(device))

    def take(self, positions: torch.Tensor) -> torch.Tensor:
        """Return encoded rows, shape (*positions.shape, n_encoded)."""
        flat = positions.flatten()
        if self.table is not None:
            taken = self.table.index_select(0, flat.to(self.table.device))
        else:
            taken = self.module.encode(self.rows.batch(flat)[0].to(self.device))
        return taken.view(*positions.shape, -1)


@dataclass
class MemberBatches:
    """Batches of rows of each member's own, side by side."""

    members: Members
    planned: Any  # a BatchSampler of tensors

    def __iter__(self) -> Iterator[Any]:
        if self.members.one_batch:  # of all rows, whichever are planned
            return iter([self.members.all_rows] * len(self.planned))
        return map(self.members.batch, self.planned)


class HeldOut:
    """Rows that members hold out, side by side: shape (members, rows), shorter folds filled up by rows of weight 0."""

    def __init__(
        self, positions: list[np.ndarray], weights: np.ndarray, shared: bool = False, group: Group = ALONE
    ) -> None:
        #: Whether all members hold out the same rows.
        self.shared = shared
        self.length = max(1, *map(len, positions))
        self.positions = torch.zeros(len(positions), self.length, dtype=torch.int64)
        self.weights = torch.zeros(len(positions), self.length)
        for member, rows in enumerate(positions):
            self.positions[member, : len(rows)] = torch.from_numpy(rows)
            self.weights[member, : len(rows)] = torch.from_numpy(weights[rows])
        mean = self.weights.mean()
        if not group.alone:
            sums = group.sum(np.array([float(self.weights.sum(dtype=torch.float64)), self.weights.numel()]))
            mean = torch.tensor(sums[0] / sums[1], dtype=torch.float32)
        self.weights /= mean.clamp_min(torch.finfo(torch.float32).tiny)


class Members:
    """What the members of an ensemble train on and hold out in one fit.

    Parameters
    ----------
    module : MLPEnsemble
    rows : Rows
        All training rows.
    folds : int array of shape (n,) or None
        Which member holds out which row; None where none does.
    validation : Rows or None
        Rows that the user has set aside, which all members hold out.
    n_classes : int
    one_batch : bool
        Whether all rows of a member are one batch.
    seed : int
        Of the held-out rows that are looked at, where there are many.
    device : torch.device
    group : Group
        The processes whose rows these are a part of.
    """

    def __init__(
        self,
        module: MLPEnsemble,
        rows: Rows,
        folds: np.ndarray | None,
        validation: Rows | None,
        n_classes: int,
        *,
        one_batch: bool,
        seed: int,
        device: torch.device,
        group: Group = ALONE,
    ) -> None:
        self.module = module
        self.group = group
        self.rows = rows
        self.folds = folds
        self.n_classes = n_classes
        self.one_batch = one_batch
        self.device = device
        self.encoded = EncodedRows(rows, module, device)
        self.codes = torch.from_numpy(rows.codes).to(device)  # type: ignore[arg-type]
        self.weights = _tensor(rows.sample_weight, device)
        self.held_out: HeldOut | None = None
        if validation is not None:
            weights = np.ones(len(validation)) if validation.sample_weight is None else validation.sample_weight
            every = [np.arange(len(validation))] * module.n_members
            self.held_out_row_weights = weights
            self._hold_out(HeldOut(every, weights, True, group), validation, EncodedRows(validation, module, device))
        elif folds is not None:
            seen, weights = _looked_at(rows, folds, n_classes, seed, group)
            self.seen, self.held_out_row_weights = seen, weights[seen]
            parts = [seen[folds[seen] == member] for member in range(module.n_members)]
            self._hold_out(HeldOut(parts, weights, group=group), rows.part(seen), self.encoded)

    def _hold_out(self, held_out: HeldOut, rows: Rows, encoded: EncodedRows) -> None:
        self.held_out = held_out
        self.held_out_rows = rows
        self.held_out_X = encoded.take(held_out.positions)
        self.held_out_codes = self._codes_at(held_out.positions)
        self.held_out_weights = held_out.weights.to(self.held_out_X)

    def _codes_at(self, positions: torch.Tensor) -> torch.Tensor:
        codes: Any = self.held_out_rows.codes if self.held_out is not None and self.held_out.shared else self.rows.codes
        return torch.from_numpy(codes).long()[positions].to(self.device)

    # Training

    def batches(self, planned: Any) -> MemberBatches:
        """Return the batches at positions of shape (members, n); each iteration is one epoch."""
        return MemberBatches(self, planned)

    def batch(self, positions: torch.Tensor) -> Any:
        """Return encoded rows of shape (members, n, n_encoded), and their targets."""
        target: Any = self.codes[positions.long()].long()
        if self.weights is not None:
            target = (target, self.weights[positions.long()])
        return self.encoded.take(positions), target

    @cached_property
    def all_rows(self) -> Any:
        """All rows for each member; those that it holds out weigh nothing."""
        n, n_members = len(self.rows), self.module.n_members
        X = self.encoded.take(torch.arange(n)).expand(n_members, -1, -1)
        weights = torch.ones(n, device=self.device) if self.weights is None else self.weights
        weights = weights.to(X.dtype).expand(n_members, -1)
        if self.folds is not None:
            weights = weights * (
                torch.from_numpy(self.folds).to(self.device) != torch.arange(n_members, device=self.device)[:, None]
            )
        # As heavy in all as the rows are, for the estimator brings sample weights to mean 1.
        scale = 1.0 if self.weights is None else float(self.weights.mean())
        return X, (self.codes.long().expand(n_members, -1), scale * weights / weights.mean(dim=1, keepdim=True))

    # Held-out rows

    def held_out_batch(self) -> Any:
        """Return the encoded rows that each member holds out, shape (members, n, n_encoded), and their codes in order.

        Scorers read the codes; the loss takes `held_out_target`.
        """
        return self.held_out_X, torch.from_numpy(self.held_out_rows.codes).long()  # type: ignore[arg-type]

    def held_out_target(self) -> Any:
        """Return codes and weights of the rows that each member holds out, shape (members, n)."""
        return self.held_out_codes, self.held_out_weights

    def in_order(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits of held-out rows, shape (n, n_outputs), in the order of `held_out_rows`.

        Parameters
        ----------
        logits : tensor of shape (2 n_members, n, n_outputs)
            Of the rows that each member holds out.
        """
        held_out: Any = self.held_out
        if held_out.shared:
            return self.module.averaged(logits)
        pairs = self.module.pairs(logits)
        there = held_out.weights > 0
        places = torch.from_numpy(np.searchsorted(self.seen, held_out.positions[there].numpy()))
        ordered = pairs.new_empty(len(self.seen), logits.shape[-1])
        ordered[places.to(pairs.device)] = pairs[there.to(pairs.device)]
        return ordered

    def one_row_each(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits of members, shape (n_members n, n_outputs), for scorers, which know rows alone.

        Parameters
        ----------
        logits : tensor of shape (2 n_members, n, n_outputs)
            Of rows of each member's own.
        """
        return self.module.pairs(logits.detach()).flatten(0, 1)

    def by_net(self, log_proba: torch.Tensor) -> torch.Tensor:
        """Return log probabilities of the two kinds of nets, shape (2, members, n, K), or (2, 1, n, K) if shared."""
        by_net = log_proba.view(2, self.module.n_members, -1, log_proba.shape[-1])
        if self.held_out is None or not self.held_out.shared:
            return by_net
        return torch.logsumexp(by_net, dim=1, keepdim=True) - math.log(self.module.n_members)

    def rows_by_kind(self, logits: torch.Tensor) -> list[tuple[torch.Tensor, np.ndarray, np.ndarray]]:
        """Return logits, shape (n, n_outputs), codes and weights of held-out rows by each of the two kinds of nets."""
        held_out: Any = self.held_out
        found = []
        for part in logits.view(2, self.module.n_members, *logits.shape[1:]):
            if held_out.shared:
                even = part.new_full((len(part), 1, 1), -math.log(len(part)))
                part = average(part, even)[None]
            there = self.held_out_weights[: len(part)] > 0
            codes, weights = self.held_out_codes[: len(part)][there], self.held_out_weights[: len(part)][there]
            found.append((part[there], codes.cpu().numpy(), weights.cpu().numpy().astype(float)))
        return found if self.group.alone else [self._of_all(*rows) for rows in found]

    def _of_all(
        self, logits: torch.Tensor, codes: np.ndarray, weights: np.ndarray
    ) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
        parts = [self.group.joined(values) for values in (logits.cpu().numpy(), codes, weights)]
        return torch.from_numpy(parts[0]).to(logits.device), parts[1], parts[2]

    def criterion_losses(self, criterion: Any, logits: torch.Tensor) -> list[float]:
        """Return the criterion's loss of the two kinds of nets, with its class weights."""
        losses = []
        for part in logits.view(2, self.module.n_members, -1, logits.shape[-1]):
            target = one_after_the_other(part, self.held_out_codes, self.held_out_weights)
            losses.append(criterion(*target))
        return self.over_group(torch.stack(losses)).tolist()

    def loss(self, log_proba: torch.Tensor) -> torch.Tensor:
        """Return the log loss of held-out rows by log probabilities of shape (..., members or 1, n, K)."""
        n_members = log_proba.shape[-3]
        codes, weights = self.held_out_codes[:n_members], self.held_out_weights[:n_members]
        codes = codes.expand(log_proba.shape[:-1])[..., None]
        return self.over_group(-(log_proba.gather(-1, codes)[..., 0] * weights).mean(dim=(-2, -1)))

    def over_group(self, losses: torch.Tensor) -> torch.Tensor:
        """Return mean losses of the rows that are held out on all processes, from those of this one's."""
        if self.group.alone:
            return losses
        length = self.held_out_X.shape[1]
        sums = self.group.sum(np.append(losses.double().cpu().numpy() * length, length))
        return torch.from_numpy(sums[:-1] / sums[-1]).to(losses).view(losses.shape)

    @torch.no_grad()
    def out_of_fold_logits(self) -> np.ndarray:
        """Return logits of each training row by the member that holds it out, shape (n, n_outputs)."""
        folds, module = self.folds, self.module
        assert folds is not None
        module.eval()
        found: Any = None
        every = HeldOut([np.flatnonzero(folds == m) for m in range(module.n_members)], np.ones(len(folds)))
        parts = (torch.split(part, _AT_ONCE, dim=1) for part in (every.positions, every.weights > 0))
        for positions, there in zip(*parts, strict=True):
            logits = module.pairs(module(self.encoded.take(positions))).cpu()
            found = logits.new_empty(len(self.rows), logits.shape[-1]) if found is None else found
            found[positions[there]] = logits[there]
        return found.numpy()

    @torch.no_grad()
    def out_of_fold_proba(self, net: Any, logits: np.ndarray) -> np.ndarray:
        """Return probabilities of all rows of X at the class prior, shape (n, K).

        Rows that weigh nothing, which no member has trained on, are predicted by all of them.

        Parameters
        ----------
        net : ImbalancedNet
        logits : array of shape (n, n_outputs)
            The out-of-fold logits of the rows that train.
        """
        rows = self.rows

        def proba_of(values: torch.Tensor) -> np.ndarray:
            values = values.to(net.criterion_.class_weight.device)
            return net.carried(net.criterion_.log_proba(values)).exp().cpu().numpy().astype(np.float32)

        found = proba_of(torch.from_numpy(logits))
        if rows.index is None:
            return found
        others = np.setdiff1d(np.arange(n_rows(rows.source)), rows.index)
        proba = np.empty((len(rows) + len(others), self.n_classes), dtype=np.float32)
        proba[rows.index] = found
        if len(others):
            proba[others] = proba_of(net.logits(Rows(rows.source, others, dtype=rows.dtype)))
        return proba


def one_after_the_other(
    logits: torch.Tensor, codes: torch.Tensor, sample_weight: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return logits of nets side by side, of shape (nets, n, K), and the targets of their members as those of one net.

    A member has as many nets as come to it, and its targets serve each of them.
    """
    if logits.ndim < 3:
        return logits, codes, sample_weight
    times = len(logits) // len(codes)
    codes = codes.repeat(times, 1).flatten()
    sample_weight = None if sample_weight is None else sample_weight.repeat(times, 1).flatten()
    return logits.flatten(0, 1), codes, sample_weight


def blended(nets: torch.Tensor, blend: torch.Tensor) -> torch.Tensor:
    """Return the log of the average probability of two kinds of nets, of shape (2, ...)."""
    return torch.logaddexp(nets[0] + blend[0].log(), nets[1] + blend[1].log())


def _looked_at(
    rows: Rows, folds: np.ndarray, n_classes: int, seed: int, group: Group = ALONE
) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows are looked at, and weights by which they stand for all. Classes of many rows are thinned.

    A class that one member alone holds out says nothing: that member has never seen it.
    """
    codes: Any = rows.codes
    random = np.random.RandomState(seed)
    weights = np.ones(len(codes)) if rows.sample_weight is None else rows.sample_weight.astype(float)
    most = len(codes) if len(codes) <= _LOOKED_AT else max(1, _LOOKED_AT // n_classes)
    parts = []
    # Folds are dealt over the processes of a group, so that there only a class of one row is one member's.
    counts = None if group.alone else group.sum(class_counts(codes, n_classes))
    for code in np.unique(codes):
        of_class = np.flatnonzero(codes == code)
        if (folds[of_class] == folds[of_class[0]]).all() if counts is None else counts[code] == 1:
            continue
        if len(of_class) > most:
            weights[of_class] *= len(of_class) / most
            of_class = random.permutation(of_class)[:most]
        parts.append(of_class)
    if not parts:
        parts = [np.arange(0 if counts is not None and counts.max() > 1 else len(codes))]
    return np.sort(np.concatenate(parts)), weights


def _tensor(values: np.ndarray | None, device: torch.device) -> torch.Tensor | None:
    return None if values is None else torch.from_numpy(values).to(device)
