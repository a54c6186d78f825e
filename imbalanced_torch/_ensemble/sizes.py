"""How large the default net is and how long it trains, by the rows, inputs and classes of a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Multiplications of a step's inputs with weights, forward and back, that a fit may take at most, and steps that it may
#: take whatever they cost.
_MOST_WORK, _FEWEST_STEPS = 2e12, 100
#: Weights of all members.
_MOST_WEIGHTS = 4e7


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
    """

    n_members: int
    hidden_sizes: tuple[int, ...]
    dropout: float
    batch_size: int
    steps: int
    max_epochs: int


def choose_sizes(n_rows: int, n_inputs: tuple[int, int], n_outputs: int, *, one_batch: bool) -> Sizes:
    """Return what suits a table.

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
    width = 64
    weights = width * (sum(n_inputs) + 2 * width + 2 * n_outputs)  # of a member
    n_members = int(min(8, max(2, _MOST_WEIGHTS // weights)))
    growth = max(0.0, math.log2(n_rows / 8000))
    batch_size = 128 * 2 ** min(2, round(growth / 2))
    work = 3 * n_members * batch_size * weights
    most_steps = 1000 * min(3.0, 2 ** (growth / 2))
    n_steps = max(_FEWEST_STEPS, min(most_steps, _MOST_WORK / work))
    steps = min(50, max(20, n_rows // 800))
    return Sizes(
        n_members=n_members,
        hidden_sizes=(width, width),
        dropout=0.0 if one_batch else 0.2,
        batch_size=batch_size,
        steps=steps,
        max_epochs=math.ceil(n_steps / steps),
    )
