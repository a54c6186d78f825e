"""How large the default net is and how long it trains, by the rows, inputs and classes of a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Multiplications of inputs with weights, forward and back, that a fit may take at most, and steps that it may take
#: whatever they cost.
_MOST_WORK, _FEWEST_STEPS = 2e12, 100
#: What is spent on a table of more rows than the small ones, times as much as its steps are more.
_WORK = 1e11
#: Weights of all members.
_MOST_WEIGHTS = 4e7
#: Steps of a small table, and of so few rows that they are one batch.
_SMALL_STEPS, _ONE_BATCH_STEPS = 1300, 400
#: Rows up to which sizes are those of small tables.
_SMALL = 8000


@dataclass(frozen=True)
class Sizes:
    """What is chosen where the user leaves it open.

    Parameters
    ----------
    n_members : int
    hidden_sizes : tuple of int
    dropout : float
    batch_size : int
        Rows of each member in a step.
    steps : int
        In an epoch: between two looks at the held-out rows.
    max_epochs : int
    falls_from : float
        Share of the epochs after which the learning rate falls.
    """

    n_members: int
    hidden_sizes: tuple[int, ...]
    dropout: float
    batch_size: int
    steps: int
    max_epochs: int
    falls_from: float


def choose_sizes(n_rows: int, n_inputs: tuple[int, int], n_outputs: int, *, one_batch: bool) -> Sizes:
    """Return what suits a table.

    Small tables are learned before they run out of steps, and members are what helps. Large ones want steps and width,
    and fewer members.

    Parameters
    ----------
    n_rows : int
        Training rows.
    n_inputs : tuple of two ints
        Inputs of the two nets of a member.
    n_outputs : int
        Logits.
    one_batch : bool
        Whether all rows are one batch, of which none is left out at random: a row of weight 2 is then as two rows.
    """
    if n_rows <= _SMALL:
        return _of_a_small_table(n_inputs, n_outputs, one_batch)
    doublings = math.log2(n_rows / _SMALL)
    width, n_members, batch_size = 128, 4, 128 * 2 ** min(3, int(doublings / 2.3))
    weights = _weights(width, n_inputs, n_outputs)
    n_members = _as_many_as_fit(n_members, weights)
    work = 3 * n_members * batch_size * weights
    longer = min(5.0, 2 ** (doublings / 2))
    n_steps = 570 * longer
    # Where inputs are few, steps cost little, and a large table has much to learn.
    n_steps = _bounded(max(n_steps, min(4 * n_steps, _WORK * longer / work)), work)
    steps = min(50, max(20, n_rows // 1600))
    return Sizes(
        n_members=n_members,
        hidden_sizes=(width, width),
        dropout=0.1,
        batch_size=batch_size,
        steps=steps,
        max_epochs=math.ceil(n_steps / steps),
        falls_from=0.3,
    )


def _of_a_small_table(n_inputs: tuple[int, int], n_outputs: int, one_batch: bool) -> Sizes:
    width, batch_size, steps = 64, 64, 20
    weights = _weights(width, n_inputs, n_outputs)
    n_members = _as_many_as_fit(8, weights)
    n_steps = _bounded(_ONE_BATCH_STEPS if one_batch else _SMALL_STEPS, 3 * n_members * batch_size * weights)
    return Sizes(
        n_members=n_members,
        hidden_sizes=(width, width),
        dropout=0.0 if one_batch else 0.2,
        batch_size=batch_size,
        steps=steps,
        max_epochs=math.ceil(n_steps / steps),
        falls_from=1.0,
    )


def _weights(width: int, n_inputs: tuple[int, int], n_outputs: int) -> int:
    """Return the weights of a member: of its two nets."""
    return width * (sum(n_inputs) + width + 2 * n_outputs)


def _as_many_as_fit(n_members: int, weights: int) -> int:
    return int(min(n_members, max(2, _MOST_WEIGHTS // weights)))


def _bounded(n_steps: float, work: float) -> float:
    """Return steps that do not take more than the most work, unless there would be hardly any."""
    return max(_FEWEST_STEPS, min(n_steps, _MOST_WORK / work))
