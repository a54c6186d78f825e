"""How the learning rate of the default net changes in training."""

from types import SimpleNamespace

import numpy as np
import pytest
from skorch.callbacks import LRScheduler

from imbalanced_torch._ensemble.learning_rate import RisingRate


def rates(steps, epochs=None, max_epochs=100, callbacks=(), **parameters):
    """Return the rate at the beginning of epochs, each after so many steps."""
    rate, group = RisingRate(**parameters), {"lr": 7.0}
    net = SimpleNamespace(
        callbacks_=[("other", callback) for callback in callbacks],
        history=[],
        max_epochs=max_epochs,
        optimizer_=SimpleNamespace(param_groups=[group]),
    )
    rate.on_train_begin(net)
    seen = []
    for epoch, n_steps in enumerate(steps) if epochs is None else zip(epochs, steps, strict=True):
        net.history = [{}] * (epoch + 1)
        net.module_ = SimpleNamespace(n_steps=n_steps)
        rate.on_epoch_begin(net)
        seen.append(group["lr"])
    return seen


def test_it_rises_to_8e3_at_step_500_and_stays():
    np.testing.assert_allclose(rates([0, 20, 250, 500, 1300]), [1e-3, 2.24e-3, 5e-3, 8e-3, 8e-3])


def test_it_falls_along_a_cosine_to_a_hundredth_at_the_end_of_a_long_training():
    found = rates([5000] * 4, epochs=[30, 65, 90, 100], falls_from=0.3)
    assert found[0] == 8e-3
    assert found[1] == pytest.approx(8e-3 * (0.01 + 0.99 / 2))
    assert found[0] > found[1] > found[2] > found[3] == pytest.approx(8e-5)


def test_a_scheduler_of_the_users_alone_sets_it():
    assert rates([0, 500], callbacks=[LRScheduler()]) == [7.0, 7.0]
