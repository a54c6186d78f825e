"""The default module: small nets side by side in batched matrix products, and the average of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from imbalanced_torch._ensemble.column_encoder import ColumnEncoder
from imbalanced_torch._group.processes import Group
from imbalanced_torch._parameters.sizes import check_share, check_size, check_sizes

#: Standard deviation of the first logits, about the class prior.
_FIRST_LOGITS = 0.05
#: Draws of a pool of dropout masks.
_POOL = 1 << 20


class MLPEnsemble(nn.Module):
    """An ensemble of small multi-layer perceptrons, each with its own held-out fold: the default module.

    A member is a pair of nets, a shallow one on smooth values of the columns, and a deep one on these and on bins of
    the numbers. In training each member sees rows of its own, so that in a fit each holds out its own fold of the
    training rows: a cross-validated ensemble (Krogh and Vedelsby 1995), in which every row trains and every row has an
    out-of-fold prediction. With `sampling="under"` each has its own undersamples, which is EasyEnsemble (Liu, Wu and
    Zhou 2009) inside one net. In evaluation mode all members see all rows, with running means of their weights, as
    batch norm has them of its statistics; their probabilities are averaged, and what comes back are logits as of one
    net.

    Parameters
    ----------
    n_features : int
        Values in a row.
    n_outputs : int or None, default=None
        Logits in a row; None is one, and lets the estimator choose as many as the classes need.
    n_members : int, default=8
        Members, at least two, each with a fold of its own.
    hidden_sizes : sequence of int, default=(64, 64)
        Units of each hidden layer of the second net of a member, at least one layer; the first net has one layer, of
        the last of these sizes. ReLU's come after each.
    dropout : float in [0, 1), default=0.2
        Share of units dropped after each hidden layer in training.
    n_bins : int, default=12
        Bins of a column of numbers at most, in the second net of each member; fewer where there are many columns, 0 for
        none.
    blend : float in [0, 1] or None, default=None
        Share of the first net of each member in its probability. None is a half until a fit settles it on held-out
        rows.
    memory : float in [0, 1), default=0.97
        How much of the running mean of the weights remains after a step, at most; 0 is no mean.
    encoder : ColumnEncoder or None, default=None
        What has learned scales and levels of the columns; None leaves numbers of unit scale as they are but for
        outliers. The estimator fits it on training rows.
    seed : int or None, default=None
        Seeds the initial weights; None draws them from torch's global generator.
    dtype : torch.dtype, default=torch.float32
        Of weights. Columns are encoded in double precision before.

    Raises
    ------
    ValueError, TypeError
        If a parameter is not what it must be.

    References
    ----------
    Krogh, Vedelsby: Neural network ensembles, cross validation, and active learning (1995).
    Liu, Wu, Zhou: Exploratory undersampling for class-imbalance learning (2009).

    Examples
    --------
    >>> MLPEnsemble(3, n_members=2)(torch.zeros(5, 3)).shape
    torch.Size([5, 1])
    """

    #: NaN is a missing value; infinity is refused.
    allow_nan = True
    #: Buffers are the same wherever parameters are: running means of these, and what was learned of columns before.
    buffers_follow = True
    #: The estimator's dtype is that of rows; weights have their own.
    keeps_dtype = True
    #: Rows to predict at once: what units give then stays in the processor's cache.
    rows_at_once = 256

    def __init__(
        self,
        n_features: int,
        n_outputs: int | None = None,
        n_members: int = 8,
        hidden_sizes: Sequence[int] = (64, 64),
        dropout: float = 0.2,
        n_bins: int = 12,
        blend: float | None = None,
        memory: float = 0.97,
        encoder: ColumnEncoder | None = None,
        seed: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.n_members = check_size("n_members", n_members, 2)
        sizes = check_sizes("hidden_sizes", hidden_sizes)
        if not sizes:
            raise ValueError("hidden_sizes must have at least one layer; it is empty. MLP may have none.")
        n_outputs = 1 if n_outputs is None else check_size("n_outputs", n_outputs)
        check_share("dropout", dropout)
        check_share("memory", memory)
        check_size("n_bins", n_bins, 0)
        self.memory = float(memory)
        #: Whether a fit settles the blend.
        self.blend_is_open = blend is None
        if not (encoder is None or isinstance(encoder, ColumnEncoder)):
            raise TypeError(f"encoder must be None or a ColumnEncoder; it is {encoder!r}.")
        share = 0.5 if blend is None else check_share("blend", blend, ends="[]")
        self.encoder = ColumnEncoder(check_size("n_features", n_features)) if encoder is None else encoder
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.first = nn.ModuleList(
            BatchedLinear(n_members, n_inputs, size, generator, bias=0.5, dtype=dtype)
            for n_inputs, size in zip(self.encoder.n_inputs, (sizes[-1], sizes[0]), strict=True)
        )
        self.hidden = nn.ModuleList(BatchedLinear(n_members, a, b, generator, dtype=dtype) for a, b in pairwise(sizes))
        self.output = BatchedLinear(
            2 * n_members, sizes[-1], n_outputs, generator, gain=_FIRST_LOGITS / math.sqrt(2), dtype=dtype
        )
        self.dropout = MaskPool(dropout)
        #: Weights of the two nets of a member in its probability.
        self.register_buffer("blend", torch.tensor([share, 1 - share], dtype=dtype))
        self.register_buffer("n_steps", torch.tensor(0))
        self.has_means = False  # whether there were steps: known without a look at the device, and to exports

    blend: torch.Tensor
    n_steps: torch.Tensor

    @property
    def output_bias(self) -> nn.Parameter:
        """The bias of the logits, shape (2 n_members, 1, n_outputs): training starts it at the log odds."""
        return self.output.bias

    def hidden_layers(self, kind: int) -> list[BatchedLinear]:
        """Return the hidden layers of one kind of nets.

        Parameters
        ----------
        kind : {0, 1}
            0 has one layer, on plain columns; 1 has all, on bins too.

        Returns
        -------
        list of BatchedLinear
            The layers in their order.
        """
        return [self.first[kind], *(self.hidden if kind == 1 else ())]  # type: ignore[list-item]

    def layers(self) -> list[BatchedLinear]:
        """Return all layers, the two first ones first.

        Returns
        -------
        list of BatchedLinear
            Each of all members.
        """
        return [*self.first, *self.hidden, self.output]  # type: ignore[list-item]

    def undecayed_parameters(self) -> list[nn.Parameter]:
        """Return the parameters on which there is no weight decay unless the user says so: all biases.

        Returns
        -------
        list of torch.nn.Parameter
            One of each layer.
        """
        return [layer.bias for layer in self.layers()]

    def scale_to(self, encoded: torch.Tensor, sample_weight: torch.Tensor | None, group: Group | None = None) -> None:
        """Scale the first weights so that what units of the first layer see has unit variance on these rows.

        Parameters
        ----------
        encoded : tensor of shape (n, encoder.n_encoded)
            Rows.
        sample_weight : tensor of shape (n,) or None
            Their weights.
        group : Group or None, default=None
            The processes whose rows these are a part of; None is this one alone.
        """
        for layer, inputs in zip(self.first, self.encoder.expand(encoded), strict=True):
            sizes = inputs.square().sum(-1)
            if sample_weight is not None:
                sizes = sizes * (sample_weight / sample_weight.mean()).to(sizes.dtype)
            mean = float(sizes.mean())
            if group is not None and not group.alone:
                mean = group.total(mean * len(sizes)) / group.total(len(sizes))
            with torch.no_grad():
                layer.weight.mul_(math.sqrt(inputs.shape[-1] / 2 / max(mean, 0.1)))  # type: ignore[operator]

    def encode(self, X: torch.Tensor) -> torch.Tensor:
        """Return what is kept of rows of X: a tensor of shape (n, encoder.n_encoded) in the dtype of the weights.

        Parameters
        ----------
        X : tensor of shape (n, n_features)
            Rows, in which NaN is missing.

        Returns
        -------
        tensor of shape (n, encoder.n_encoded)
            What `forward` takes as rows of each member.
        """
        return self.encoder.encode(X.flatten(1), self.output.weight.dtype)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits.

        Parameters
        ----------
        X : tensor of shape (n, n_features) or (n_members, n, encoder.n_encoded)
            Rows for all members, or encoded rows of each member's own.

        Returns
        -------
        tensor of shape (n, n_outputs) or (2 n_members, n, n_outputs)
            The logits of the average of all members' probabilities, or those of each net.
        """
        if X.ndim == 3:
            if self.training:
                self.track()
            return self.logits_of_nets(self.encoder.expand(X))
        shared = self.encoder.expand(self.encode(X))
        return self.averaged(self.logits_of_nets(tuple(part.expand(self.n_members, *part.shape) for part in shared)))

    def logits_of_nets(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return the logits of each net, shape (2 n_members, n, n_outputs).

        Parameters
        ----------
        inputs : two tensors of shape (n_members, n, n_inputs)
            What the first and the second nets of all members see, as `encoder.expand` returns it.

        Returns
        -------
        tensor of shape (2 n_members, n, n_outputs)
            The first nets' logits, then the second nets'.
        """
        use_mean = not self.training and self.has_means
        logits = []
        for kind, units in enumerate(inputs):
            for layer in self.hidden_layers(kind):
                units = layer(units, use_mean).relu_()
                units = units * self.dropout.mask(units) if self.training and self.dropout.p else units
            own = slice(kind * self.n_members, (kind + 1) * self.n_members)
            logits.append(self.output(units, use_mean, own))
        return torch.cat(logits)

    def member_logits(self, X: torch.Tensor) -> torch.Tensor:
        """Return the logits of each member, the average of its two nets' probabilities.

        Parameters
        ----------
        X : tensor of shape (n, n_features)
            Rows for all members.

        Returns
        -------
        tensor of shape (n, n_members, n_outputs)
            The logits.
        """
        shared = self.encoder.expand(self.encode(X))
        logits = self.logits_of_nets(tuple(part.expand(self.n_members, *part.shape) for part in shared))
        return self.pairs(logits).transpose(0, 1)

    def pairs(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits of each member: the average of its two nets' probabilities.

        Parameters
        ----------
        logits : tensor of shape (2 n_members, n, n_outputs)
            Those of each net.

        Returns
        -------
        tensor of shape (n_members, n, n_outputs)
            The logits.
        """
        nets = logits.view(2, self.n_members, *logits.shape[1:])
        return average(nets, self.blend.log().to(nets.dtype).view(2, 1, 1, 1))

    def averaged(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits of the average of the nets' probabilities.

        Parameters
        ----------
        logits : tensor of shape (2 n_members, n, n_outputs)
            Those of each net.

        Returns
        -------
        tensor of shape (n, n_outputs)
            The logits.
        """
        weights = (self.blend / self.n_members).log()[:, None].expand(-1, self.n_members).flatten()
        return average(logits, weights.to(logits.dtype)[:, None, None])

    @torch.no_grad()
    def track(self, step: int | None = None) -> None:
        """Take the weights as they are now into their running means, those of step 0 as they are.

        Parameters
        ----------
        step : int or None, default=None
            None is the next step; 0 lets the means begin where the weights are, without a step.
        """
        counts = step is None
        step = int(self.n_steps) if step is None else step
        memory = 0.0 if step == 0 else min(self.memory, (1 + step) / (10 + step))
        for layer in self.layers():
            layer.mean_weight.lerp_(layer.weight, 1 - memory)
            layer.mean_bias.lerp_(layer.bias, 1 - memory)
        self.n_steps += counts
        self.has_means = self.has_means or counts

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.has_means = bool(self.n_steps)


def average(logits: torch.Tensor, log_weights: torch.Tensor) -> torch.Tensor:
    """Return the logits of the weighted average of probabilities, over the first dimension of logits (..., n_outputs).

    One logit is the log-odds of two classes.
    """
    if logits.shape[-1] > 1:
        return torch.logsumexp(torch.log_softmax(logits, dim=-1) + log_weights, dim=0)
    return torch.logsumexp(logsigmoid(logits) + log_weights, 0) - torch.logsumexp(logsigmoid(-logits) + log_weights, 0)


class BatchedLinear(nn.Module):
    """Linear layers side by side: inputs of shape (nets, n, n_inputs) become outputs of shape (nets, n, n_outputs).

    Initial weights are normal, of variance gain^2 2 / n_inputs (He et al. 2015), and biases uniform between -`bias` and
    `bias`.
    """

    def __init__(
        self,
        n_nets: int,
        n_inputs: int,
        n_outputs: int,
        generator: torch.Generator | None = None,
        gain: float = 1.0,
        bias: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.gain = gain
        self.bias_bound = bias
        self.weight = nn.Parameter(torch.empty(n_nets, n_inputs, n_outputs, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(n_nets, 1, n_outputs, dtype=dtype))
        self.reset_parameters(generator)
        self.register_buffer("mean_weight", self.weight.detach().clone())
        self.register_buffer("mean_bias", self.bias.detach().clone())

    mean_weight: torch.Tensor
    mean_bias: torch.Tensor

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw weights and biases anew; a generator of the CPU makes them the same on every device."""
        shape = self.weight.shape
        std = self.gain * math.sqrt(2 / max(1, shape[1]))
        self.weight.copy_(torch.randn(shape, generator=generator) * std)
        self.bias.copy_((2 * torch.rand(self.bias.shape, generator=generator) - 1) * self.bias_bound)

    def forward(self, X: torch.Tensor, use_mean: bool = False, own: slice | None = None) -> torch.Tensor:
        """Return outputs, by the running means of the weights where `use_mean`, of some of the nets or all."""
        weight, bias = (self.mean_weight, self.mean_bias) if use_mean else (self.weight, self.bias)
        return torch.baddbmm(bias, X, weight) if own is None else torch.baddbmm(bias[own], X, weight[own])


def dropout_mask(like: torch.Tensor, share: float, generator: torch.Generator | None) -> torch.Tensor:
    """Return what multiplies units: 0 for the share that is dropped, 1 / (1 - share) for the others."""
    return torch.empty_like(like).bernoulli_(1 - share, generator=generator).div_(1 - share)


class MaskPool(nn.Module):
    """Dropout whose masks are slices of a pool of draws: to draw them afresh is half of the time of a small net.

    The pool, and where a slice begins, come from `generator` while a fit sets one, else from torch's global generator.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None
        self.pool: torch.Tensor | None = None
        #: Where the generator stood before the pool was drawn.
        self.drawn_from: torch.Tensor | None = None

    def mask(self, like: torch.Tensor) -> torch.Tensor:
        """Return what multiplies units of this shape: 0 for the share that is dropped, 1 / (1 - p) for the others."""
        if self.generator is None:
            return dropout_mask(like, self.p, None)
        n = like.numel()
        if self.pool is None or len(self.pool) < n + _POOL or self.pool.dtype != like.dtype:
            self.drawn_from = self.generator.get_state()
            self.pool = dropout_mask(like.new_empty(n + _POOL), self.p, self.generator)
        start = int(torch.randint(_POOL, (), generator=self.generator, device=self.generator.device))
        return self.pool[start : start + n].view_as(like)

    def state_in_training(self) -> Any:
        """Return where the masks of a fit stand; a pool is drawn again from where it was drawn."""
        pool = None if self.pool is None else (self.drawn_from, len(self.pool), self.pool.dtype)
        return pool, None if self.generator is None else self.generator.get_state()

    def go_on_from(self, state: Any) -> None:
        """Let the masks of a fit stand where those of another one stood."""
        pool, stream = state
        if self.generator is None or stream is None:
            return
        if pool is not None:
            self.drawn_from, n, dtype = pool
            self.generator.set_state(self.drawn_from)
            self.pool = dropout_mask(torch.empty(n, dtype=dtype, device=self.generator.device), self.p, self.generator)
        self.generator.set_state(stream)
