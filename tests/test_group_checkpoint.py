"""A fit of a process group that was cut short and is started again ends bit by bit as one that was not."""

import os
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch
from processes import GROUP, Processes, RaisedError
from sklearn.datasets import make_classification
from skorch.callbacks import Callback
from torch import distributed, nn

from imbalanced_torch import MLP, DeferredSchedule, ImbalancedNetClassifier, TrainingCheckpoint

X, y = make_classification(400, n_features=5, n_informative=3, weights=[0.85], class_sep=1.5, random_state=0)
TABLE = pd.DataFrame({"amount": X[:, 0], "kind": np.array(list("abc"))[(X[:, 1] > 0) + 0], "old": X[:, 2] > 0})


@pytest.fixture(scope="module")
def two():
    """Two processes of one group."""
    processes = Processes()
    yield processes
    processes.close()


class Normed(nn.Module):
    """A module with batch norm and dropout by torch's generator."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(n_features), nn.Linear(n_features, 8), nn.ReLU(), nn.Dropout(0.3))
        self.output = nn.Linear(8, n_outputs)

    def forward(self, X):
        return self.output(self.layers(X))


class Counts(Callback):
    """Change the weights by how often it was called."""

    def on_train_begin(self, net, **kwargs):
        self.calls_ = 0

    def on_epoch_end(self, net, **kwargs):
        self.calls_ += 1
        with torch.no_grad():
            net.module_.output.bias.add_(self.calls_ * 0.01)


class Ends(Callback):
    """End a process when an epoch, counted from 1, begins: by an error, or as if its machine was gone."""

    only_watches = True
    epoch: int | None = None
    rank = 1
    kills = False

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == Ends.epoch and distributed.get_rank() == Ends.rank:
            if Ends.kills:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ArithmeticError("cut short")


#: The epochs that the last fit of this process has trained.
TRAINED = []


class Notes(Callback):
    """Note each epoch that is trained."""

    only_watches = True

    def on_epoch_end(self, net, **kwargs):
        TRAINED.append(len(net.history))


def fit(rank, parameters, ends=None, kills=False, rows=(0, 150, 400)):
    """Return what a fit of this process's shard has learned, and how many epochs it has trained."""
    Ends.epoch, Ends.kills = ends, kills
    own = slice(rows[rank], rows[rank + 1])
    data = TABLE[own] if parameters.get("table") else X[own]
    TRAINED.clear()
    parameters = {name: value for name, value in parameters.items() if name != "table"}
    watching = [Ends(), *parameters.pop("callbacks", [])]
    model = ImbalancedNetClassifier(max_epochs=6, random_state=0, callbacks=[*watching, Notes()], **parameters)
    model.fit(data, y[own])
    history = [{name: value for name, value in row.items() if name != "dur"} for row in model.history_.to_list()]
    weights = {name: value.tolist() for name, value in model.module_.state_dict().items()}
    optimizer = str(model.net_.optimizer_.state_dict())
    own_rows = getattr(model, "oof_proba_", np.zeros(0)).tolist()
    return {"weights": weights, "history": history, "optimizer": optimizer, "oof_proba": own_rows}, len(TRAINED)


PLAIN = {"module": MLP, "early_stopping": False, "batch_size": 32}
FITS = {
    "the default net": {},
    "of a table": {"table": True, "class_weight": "balanced"},
    "MLP": {**PLAIN, "class_weight": "balanced"},
    "dropout": {**PLAIN, "module__dropout": 0.3, "sampling": "weighted"},
    "in turn": {**PLAIN, "sampling": "batch"},
    "passes": {**PLAIN, "sampling": "over", "schedule": DeferredSchedule(2)},
    "batch norm": {**PLAIN, "module": Normed, "optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "lr": 0.05},
    "early stopping": {**PLAIN, "early_stopping": True, "sampling": "under"},
    "a callback": {**PLAIN, "callbacks": [Counts()]},
}


@pytest.mark.parametrize("name", FITS)
def test_every_kind_of_fit_in_a_group_that_was_cut_short_ends_as_one_that_was_not(two, tmp_path, name):
    goes_on(two, tmp_path, name)


@pytest.mark.parametrize("name", ["of a table", "batch norm"])
def test_a_fit_that_was_cut_short_ends_as_one_that_was_not(two, tmp_path, name):
    goes_on(two, tmp_path, name)


def goes_on(two, tmp_path, name):
    """Cut a fit short, start it again, and assert that it ends as one that was not cut short."""
    whole = two.run(fit, FITS[name])
    parameters = {**FITS[name], "checkpoint": tmp_path / "training"}
    for failed in two.outcomes(fit, parameters, 4):
        assert isinstance(failed, RaisedError)
        assert "cut short" in failed.text
    again = two.run(fit, parameters)
    for (one, epochs), (other, all_epochs) in zip(again, whole, strict=True):
        assert one == other
        assert (epochs, all_epochs) == (3, 6)  # not one epoch is lost that had ended
    assert again[0][0]["weights"] == again[1][0]["weights"]
    ended = two.run(fit, parameters)
    assert [epochs for _, epochs in ended] == [0, 0]
    assert ended[0][0] == whole[0][0]


def test_a_process_that_is_gone_costs_the_epoch_that_it_was_in(tmp_path):
    parameters = {**FITS["dropout"], "checkpoint": tmp_path / "training"}
    processes = Processes()
    whole = processes.run(fit, FITS["dropout"])
    began = time.monotonic()
    failed, dead = processes.outcomes(fit, parameters, 4, True)
    assert time.monotonic() - began < GROUP  # it does not wait for the group's timeout
    processes.close()
    assert dead is None
    assert "another one is gone" in failed.text
    processes = Processes()
    again = processes.run(fit, parameters)
    processes.close()
    assert [epochs for _, epochs in again] == [3, 3]
    assert [learned for learned, _ in again] == [learned for learned, _ in whole]


def test_the_first_process_alone_reads_and_writes(two, tmp_path):
    paths = [str(tmp_path / "training"), str(tmp_path / "nowhere" / "training")]
    failed = two.outcomes(_fit_in_folders, paths, 3)
    assert all("cut short" in each.text for each in failed)
    assert [path.name for path in tmp_path.iterdir()] == ["training"]
    size = (tmp_path / "training").stat().st_size
    assert [epochs for _, epochs in two.run(_fit_in_folders, paths, None)] == [4, 4]
    alone = {**PLAIN, "module__hidden_sizes": (100, 100), "checkpoint": tmp_path / "alone"}
    ImbalancedNetClassifier(**alone, random_state=0, max_epochs=3).fit(X[:150], y[:150])
    assert size < 1.5 * (tmp_path / "alone").stat().st_size  # what processes have in common is there once


def _fit_in_folders(rank, paths, ends):
    """Fit in a folder that only the first process has."""
    before = os.getcwd()
    os.chdir(os.path.dirname(paths[0]) if rank == 0 else "/")
    try:
        return fit(rank, {**PLAIN, "module__hidden_sizes": (100, 100), "checkpoint": "training"}, ends)
    finally:
        os.chdir(before)


def test_weights_are_not_sent_to_be_saved(two, tmp_path):
    parameters = {**PLAIN, "module__hidden_sizes": (300, 300), "checkpoint": tmp_path / "training"}
    sent = two.run(_fit_and_note_what_is_sent, parameters)
    weights = 4 * 300 * 300
    assert (tmp_path / "training").stat().st_size > weights
    assert 0 < max(sent) < weights / 4


def _fit_and_note_what_is_sent(rank, parameters):
    """Return the bytes of the longest message that goes to the first process."""
    sizes, gather = [0], distributed.distributed_c10d.gather

    def noted(tensor, *arguments, **kwargs):
        sizes.append(tensor.numel() * tensor.element_size())
        return gather(tensor, *arguments, **kwargs)

    distributed.distributed_c10d.gather = noted
    try:
        fit(rank, parameters)
    finally:
        distributed.distributed_c10d.gather = gather
    return max(sizes)


class Differs(Callback):
    """Change the weights of one process, in the last epoch."""

    def on_epoch_end(self, net, **kwargs):
        if Differs.is_on and len(net.history) == 6 and distributed.get_rank() == 1:
            with torch.no_grad():
                net.module_.output.bias.add_(1)


def _fit_with_other_nets(rank, parameters, differ):
    Differs.is_on = differ
    return fit(rank, {**parameters, "callbacks": [Differs()]})


def test_nets_that_differ_are_not_saved_as_the_end(two, tmp_path):
    parameters = {**PLAIN, "checkpoint": TrainingCheckpoint(str(tmp_path / "training"), every=5)}
    for failed in two.outcomes(_fit_with_other_nets, parameters, True):
        assert "ended with other nets" in failed.text
    again = two.run(_fit_with_other_nets, parameters, False)
    assert [epochs for _, epochs in again] == [1, 1]
    assert again[0][0]["weights"] == again[1][0]["weights"]


def test_every_so_many_epochs_are_saved(two, tmp_path):
    parameters = {**PLAIN, "checkpoint": TrainingCheckpoint(str(tmp_path / "training"), every=3)}
    two.outcomes(fit, parameters, 5)
    assert [epochs for _, epochs in two.run(fit, parameters)] == [3, 3]


OTHERS = {
    "rows": ({}, (0, 160, 400), "another X, y"),
    "shards the other way round": ({}, (0, 250, 400), "another X, y"),
    "parameters": ({"lr": 0.5}, (0, 150, 400), "another lr"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_fit_is_refused_on_all(two, tmp_path, name):
    path = tmp_path / "training"
    parameters = {**PLAIN, "checkpoint": path}
    two.outcomes(fit, parameters, 3)
    before = path.read_bytes()
    changed, rows, words = OTHERS[name]
    failed = two.outcomes(fit, {**parameters, **changed}, None, False, rows)
    for each in failed:
        assert isinstance(each, RaisedError)
        assert words in each.text
    assert path.read_bytes() == before


def test_a_file_of_another_number_of_processes_is_refused(two, tmp_path):
    path = tmp_path / "training"
    two.outcomes(fit, {**PLAIN, "checkpoint": path}, 3)
    model = ImbalancedNetClassifier(**PLAIN, random_state=0, max_epochs=6, checkpoint=path)
    with pytest.raises(ValueError, match=r"of as many processes; that of .* had 2 \(now 1\)"):
        model.fit(X, y)
    path.unlink()
    model.fit(X, y)
    for failed in two.outcomes(fit, {**PLAIN, "checkpoint": path}):
        assert "had 1 (now 2)" in failed.text


def test_what_can_not_be_written_ends_all_and_the_last_file_stays(two, tmp_path):
    parameters = {**PLAIN, "checkpoint": tmp_path / "training"}
    two.outcomes(fit, parameters, 3)
    before = (tmp_path / "training").read_bytes()
    for failed in two.outcomes(_fit_on_a_full_disk, parameters):
        assert isinstance(failed, RaisedError)
        assert "No space left" in failed.text
    assert (tmp_path / "training").read_bytes() == before
    assert [epochs for _, epochs in two.run(fit, parameters)] == [4, 4]


def _fit_on_a_full_disk(rank, parameters):
    from imbalanced_torch._persistence import files

    def fail(*arguments, **kwargs):
        raise OSError(28, "No space left on device")

    through, files._write_through = files._write_through, fail
    try:
        return fit(rank, parameters)
    finally:
        files._write_through = through
