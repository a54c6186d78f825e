"""How large the default net is, by the rows, inputs and classes."""

from itertools import pairwise

import pytest

from imbalanced_torch._ensemble.sizes import choose_sizes


def sizes(n_rows, n_inputs=(30, 270), n_outputs=1, one_batch=False):
    return choose_sizes(n_rows, n_inputs, n_outputs, one_batch=one_batch)


def steps(found):
    return found.steps * found.max_epochs


def test_small_tables_have_eight_members_and_1300_steps():
    for n_rows in (100, 1000, 8000):
        found = sizes(n_rows)
        assert (found.n_members, found.hidden_sizes, found.batch_size, steps(found)) == (8, (64, 64), 64, 1300)


def test_rows_of_one_batch_have_no_dropout_and_fewer_steps():
    found = sizes(30, one_batch=True)
    assert found.dropout == 0
    assert steps(found) == 400


def test_steps_batches_and_width_grow_with_the_rows():
    found = [sizes(n_rows) for n_rows in (8000, 20_000, 100_000, 1_000_000)]
    for before, after in pairwise(found):
        assert steps(after) > steps(before)
        assert after.batch_size >= before.batch_size
        assert after.hidden_sizes >= before.hidden_sizes
    assert all(one.falls_from == 0.3 for one in found[1:])


def test_few_inputs_are_trained_longer_on_a_large_table():
    assert steps(sizes(30_000, (40, 40))) > 1.5 * steps(sizes(30_000, (400, 600)))


@pytest.mark.parametrize("n_rows", [200, 100_000])
def test_many_inputs_leave_few_members_and_steps(n_rows):
    found = sizes(n_rows, (100_000, 100_000))
    assert found.n_members in (2, 3)
    assert steps(found) < 400
