"""How much each of the two kinds of nets counts, by held-out rows."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from imbalanced_torch._ensemble.stopping import StopOutOfFold

CODES = torch.tensor([0, 1, 0, 1, 1, 0])


def share(first, second, row_counts=(50, 50)):
    """Return the share of the first kind, for probabilities of the truth that each kind gives."""
    truth = torch.tensor([first, second])[:, None].expand(2, len(CODES))
    nets = torch.stack([1 - truth, truth], dim=-1)
    nets = torch.where(CODES[:, None].bool(), nets, nets.flip(-1)).log()
    members = SimpleNamespace(rows=range(100), loss=lambda log_proba: -log_proba.gather(-1, CODES[:, None]).mean())
    plan = SimpleNamespace(row_counts=np.array(row_counts))
    net = SimpleNamespace(run_=SimpleNamespace(plan=plan), carried=lambda log_proba: log_proba)
    return StopOutOfFold(5)._best_share(net, nets, members)


@pytest.mark.parametrize(("first", "second", "expected"), [(0.95, 0.55, 1.0), (0.55, 0.95, 0.0), (0.8, 0.8, 0.5)])
def test_the_kind_that_is_better_counts_and_equals_share(first, second, expected):
    assert share(first, second) == expected


def test_a_slight_difference_moves_the_blend_but_a_little():
    assert 0.5 <= share(0.801, 0.8) < 0.7


def test_with_few_rows_of_a_class_both_count_a_half():
    assert share(0.95, 0.55, row_counts=(500, 9)) == 0.5
