"""What is shown of a fit: a bar in a terminal, a few lines elsewhere, scikit-learn's bars, and nothing by default."""

import io
import os
import re
import select
import struct
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from imbalanced_torch import MLP, ImbalancedNetClassifier


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(400, weights=[0.8], random_state=0)
    return X.astype(np.float32), y


def net(module=MLP, **kwargs):
    return ImbalancedNetClassifier(module, **{"max_epochs": 5, "random_state": 0, **kwargs})


@pytest.mark.parametrize("module", [MLP, None], ids=["MLP", "default"])
def test_where_there_is_no_terminal_a_few_lines_without_codes_are_printed(data, capsys, module):
    net(module, verbose=1, early_stopping=True).fit(*data)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("module=")
    assert re.fullmatch(
        r"epoch 1 of at most 5: [\d,]+ rows/s, held-out log loss \d\.\d{4}, balanced accuracy \d\.\d{3}, "
        r"average precision \d\.\d{3}",
        lines[1],
    )
    assert lines[-1].startswith("ended after epoch ")
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)


def test_without_held_out_rows_the_training_loss_is_shown(data, capsys):
    net(verbose=1, early_stopping=False).fit(*data)
    assert re.search(r"rows/s, training loss \d\.\d{4}$", capsys.readouterr().out.splitlines()[1])


def test_nothing_is_shown_by_default(data, capsys):
    net().fit(*data)
    net(None).fit(*data)
    found = capsys.readouterr()
    assert found.out == found.err == ""


class Interrupts(Callback):
    """Interrupt as Ctrl-C does, in the third epoch."""

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_in_a_terminal_there_is_one_bar_and_nothing_is_left_of_it_after_an_interrupt(data, monkeypatch):
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    net(verbose=1, early_stopping=True, max_epochs=3).fit(*data)
    last = shown.getvalue().rstrip("\n").split("\r")[-1]
    assert "3/3" in last
    assert "held-out log loss" in last
    assert shown.getvalue().count("\n") == 2  # the settings, and the bar as it was at the end
    interrupted = Terminal()
    monkeypatch.setattr(sys, "stdout", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net(verbose=1, callbacks=[Interrupts()]).fit(*data)
    assert interrupted.getvalue().split("\r")[-1].strip() == ""
    assert interrupted.getvalue().count("\n") == 1


SCRIPT = """
from sklearn.datasets import make_classification
from imbalanced_torch import MLP, ImbalancedNetClassifier
ImbalancedNetClassifier(MLP, max_epochs=4, random_state=0, verbose=1).fit(*make_classification(300, random_state=0))
"""


def test_a_real_terminal_shows_the_bar():
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))  # not on Windows
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=follower)
    os.close(follower)
    shown = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 60)
        try:
            part = os.read(leader, 4096) if ready else b""
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(leader)
    assert process.wait() == 0
    assert b"4/4" in shown


def test_the_bar_does_not_change_the_fit(data):
    plain, shown = net(max_epochs=3).fit(*data), net(max_epochs=3, verbose=1).fit(*data)
    np.testing.assert_array_equal(plain.predict_proba(data[0]), shown.predict_proba(data[0]))


# scikit-learn's callbacks

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")


class Log:
    """A callback of scikit-learn's protocol, which writes down what it is told."""

    def __init__(self, stop_after=None):
        self.told, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        self.told.append(("setup", context.task_name, 0))

    def teardown(self, estimator, context):
        self.told.append(("teardown", context.task_name, 0))

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.told.append(("end", context.task_name, context.task_id))
        self.seen = X, y, metadata, fitted_estimator.predict_proba(X)
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


@pytest.mark.parametrize("module", [MLP, None], ids=["MLP", "default"])
def test_each_epoch_is_a_task_of_the_fit(data, module):
    log, weights = Log(), np.linspace(1, 2, 400)
    fitted = net(module, max_epochs=3, n_iter_no_change=99).set_callbacks(log).fit(*data, sample_weight=weights)
    epochs = [(what, "epoch", i) for i in range(3) for what in ("begin", "end")]
    assert log.told == [
        *[("setup", "fit", 0), ("begin", "fit", 0)],
        *epochs,
        *[("end", "fit", 0), ("teardown", "fit", 0)],
    ]
    X, y, metadata, proba = log.seen
    assert X is data[0]
    assert y is data[1]
    np.testing.assert_array_equal(metadata["sample_weight"], weights)
    np.testing.assert_array_equal(proba, fitted.predict_proba(X))
    assert not hasattr(fitted, "_callback_fit_ctx")


def test_a_callback_ends_training_and_early_stopping_closes_its_epoch(data):
    fitted = net(early_stopping=False).set_callbacks(Log(stop_after=2)).fit(*data)
    assert fitted.n_iter_ == 2
    log = Log()
    stopped = net(max_epochs=40, lr=0.1, n_iter_no_change=1, early_stopping=True).set_callbacks(log).fit(*data)
    assert stopped.n_iter_ < 40
    assert log.told[-3:-2] == [("end", "epoch", stopped.n_iter_ - 1)]


def test_a_fit_that_fails_tears_down_and_leaves_the_estimator_as_it_was(data):
    log = Log()
    estimator = net(callbacks=[Interrupts()]).set_callbacks(log)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(*data)
    assert log.told[-1] == ("teardown", "fit", 0)
    assert not hasattr(estimator, "net_")
    assert not hasattr(estimator, "_callback_fit_ctx")


def test_scores_of_each_epoch_are_monitored(data):
    monitor = callback.ScoringMonitor(scoring=["average_precision"])
    net(max_epochs=3, decision={"recall": 0.8}, early_stopping=True, validation_fraction=0.4).set_callbacks(
        monitor
    ).fit(*data)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 3
    assert all(0 < row["average_precision"] <= 1 for row in rows)


@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV])
def test_bars_are_nested_in_a_search_over_a_pipeline(data, capsys, kind):
    pytest.importorskip("rich")
    pipeline = make_pipeline(StandardScaler(), net(max_epochs=2))
    search = kind(pipeline, {"imbalancednetclassifier__lr": [0.01, 0.001]}, cv=2)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(*data)
    shown = capsys.readouterr().out
    for name in (kind.__name__, "Pipeline", "ImbalancedNetClassifier"):
        assert name in shown


def test_callbacks_outlive_a_clone_and_no_callback_costs_nothing(data):
    from sklearn.base import clone

    log = Log()
    clone(net(max_epochs=1).set_callbacks(log)).fit(*data)
    assert ("end", "epoch", 0) in log.told
    assert "scikit_learn" not in dict(net(max_epochs=1).fit(*data).net_.callbacks_)
