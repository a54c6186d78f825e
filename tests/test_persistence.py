"""Files of parameters: a save that is cut short, files that don't fit, and what comes with the weights."""

import copy
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from skorch import NeuralNet
from skorch.callbacks import Checkpoint, LoadInitState
from torch import nn

import imbalanced_torch._persistence.files as persistence_files
from imbalanced_torch import MLP, FocalLoss, ImbalancedNet, ImbalancedNetClassifier
from imbalanced_torch._persistence.files import digest

ALL = ("f_params", "f_optimizer", "f_criterion", "f_history")


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 3, "lr": 0.01, "random_state": 0, **kwargs})


def files(folder, arguments=ALL):
    return {argument: folder / argument.removeprefix("f_") for argument in arguments}


def known(fitted):
    """Return all that saving and loading is about, to compare."""
    inner = fitted.net_
    states = {name: digest(getattr(inner, name).state_dict()) for name in ("module_", "optimizer_", "criterion_")}
    shares = [fitted.class_weight_.tolist(), fitted.class_prior_.tolist(), fitted.effective_prior_.tolist()]
    epochs = (fitted.n_iter_, fitted.best_epoch_, json.dumps(fitted.history_.to_list()))
    return states, shares, epochs, fitted.classes_.tolist(), fitted.net_.prediction_.effective_prior.tolist()


FITS = {}


def fit_once(data, **kwargs):
    """Return a fit on the fixture's rows that the caller may change."""
    if str(kwargs) not in FITS:
        FITS[str(kwargs)] = net(**kwargs).fit(*data)
    return copy.deepcopy(FITS[str(kwargs)])


@pytest.fixture
def fitted(data):
    return fit_once(data)


@pytest.fixture
def other(data):
    """Another fit, of other weights and one epoch less."""
    return fit_once(data, random_state=1, max_epochs=2)


def raises(kind, text, call, *args, **kwargs):
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    assert str(caught.value) == text


# A save that is cut short


class CutShortError(BaseException):
    """What stands for the end of the process."""


def cut_short(monkeypatch, step, error, killed):
    """Let the call number `step` of those that touch the disk raise; a killed process tidies nothing up."""
    calls = iter(range(10**6))

    def failing(function):
        def wrapped(*args, **kwargs):
            if next(calls) != step:
                return function(*args, **kwargs)
            if function is os.fsync:  # half of it has reached the disk
                os.truncate(args[0], 100)
            raise error

        return wrapped

    for owner, name in [(os, "replace"), (os, "fsync"), (torch, "save"), (shutil, "copymode"), (json, "dumps")]:
        monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
    if killed:
        monkeypatch.setattr(os, "unlink", lambda path: None)
    return calls


@pytest.mark.parametrize("arguments", [ALL, ("f_history", "f_params"), ("f_optimizer",)])
@pytest.mark.parametrize("killed", [False, True])
def test_a_save_that_ends_anywhere_leaves_the_old_unit_or_the_new_one(
    tmp_path, monkeypatch, fitted, other, arguments, killed
):
    target, again = files(tmp_path, arguments), copy.deepcopy(fitted)
    outcomes = set()
    for step in range(100):
        for path in tmp_path.iterdir():
            path.unlink()
        fitted.save_params(**target)
        with monkeypatch.context() as patched:
            calls = cut_short(patched, step, CutShortError(), killed)
            try:
                other.save_params(**target)
            except CutShortError:
                pass
            else:
                break
            finally:
                done = next(calls)
        assert done >= step
        again.load_params(**target)
        parts = [persistence_files._part(again.net_, argument) for argument in arguments]
        whole = {
            name: all(
                json.dumps(getattr(again.net_, part).to_list()) == json.dumps(getattr(of.net_, part).to_list())
                if part == "history_"
                else digest(getattr(again.net_, part).state_dict()) == digest(getattr(of.net_, part).state_dict())
                for part in parts
            )
            for name, of in (("old", fitted), ("new", other))
        }
        assert any(whole.values()), step
        outcomes.update(name for name, it_is in whole.items() if it_is)
        if not killed and whole["old"]:
            assert {path.name for path in tmp_path.iterdir()} == {path.name for path in target.values()}
    assert step > 3
    assert outcomes == {"old", "new"}


def test_a_first_save_that_ends_anywhere_is_whole_or_missing(tmp_path, monkeypatch, fitted, other):
    found = set()
    for step in range(100):
        for path in tmp_path.iterdir():
            path.unlink()
        with monkeypatch.context() as patched:
            cut_short(patched, step, CutShortError(), killed=True)
            try:
                fitted.save_params(**files(tmp_path))
            except CutShortError:
                pass
            else:
                break
        before = known(other)
        again = copy.deepcopy(other)
        try:
            again.load_params(**files(tmp_path))
        except FileNotFoundError:
            found.add("missing")
            assert known(again) == before
        else:
            found.add("whole")
            assert known(again) == known(fitted)
    assert found == {"missing", "whole"}


def test_a_full_disk_is_an_oserror_that_names_the_file_and_leaves_nothing(tmp_path, monkeypatch, fitted, other):
    fitted.save_params(**files(tmp_path))
    with monkeypatch.context() as patched:
        cut_short(patched, 8, OSError(28, "No space left on device"), killed=False)
        with pytest.raises(OSError, match="No space left on device: '" + str(tmp_path)):
            other.save_params(**files(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"params", "optimizer", "criterion", "history"}
    other.load_params(**files(tmp_path))
    assert known(other) == known(fitted)


def test_what_is_on_the_disk_is_synced_before_anything_is_replaced(tmp_path, monkeypatch, fitted):
    done = []

    def noted(name, call):
        return lambda *args: [done.append(name), call(*args)]

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    fitted.save_params(**files(tmp_path))
    assert done == ["fsync"] * 5 + ["replace"] * 4 + ["fsync"]


def test_what_was_left_beside_goes_when_no_process_can_still_want_it(tmp_path, fitted):
    for name, age in (("params.0.new", 7200), ("params.1.new", 60), ("other.0.new", 7200)):
        (tmp_path / name).write_bytes(b"")
        then = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (then, then))
    fitted.save_params(f_params=tmp_path / "params")
    assert {path.name for path in tmp_path.iterdir()} == {"params", "params.1.new", "other.0.new"}


@pytest.mark.parametrize("safetensors", [False, True])
def test_files_of_different_saves_do_not_load_together(tmp_path, fitted, other, safetensors):
    target = files(tmp_path, ("f_params", "f_criterion", "f_history"))
    fitted.save_params(**target, use_safetensors=safetensors)
    for argument in ("f_params", "f_history"):
        third = copy.deepcopy(other)
        (tmp_path / "mixed").mkdir()
        mixed = {**target, argument: tmp_path / "mixed" / argument}
        third.save_params(**{argument: mixed[argument]}, use_safetensors=safetensors)
        with pytest.raises(ValueError, match=r"must come from one save; '.*' and '.*' come from different ones"):
            third.load_params(**mixed, use_safetensors=safetensors)
        assert known(third) == known(other)
        shutil.rmtree(tmp_path / "mixed")


def test_a_mixture_is_told_by_its_arguments_and_files(tmp_path, fitted, other):
    fitted.save_params(f_params=tmp_path / "params", f_optimizer=tmp_path / "optimizer")
    other.save_params(f_optimizer=tmp_path / "optimizer")
    raises(
        ValueError,
        f"f_params and f_optimizer must come from one save; '{tmp_path}/params' and '{tmp_path}/optimizer' come from "
        "different ones, as a save that was cut short may leave them. Load files of one save, or one file alone.",
        other.load_params,
        f_params=tmp_path / "params",
        f_optimizer=tmp_path / "optimizer",
    )


def test_saving_one_state_in_several_calls_is_one_unit(tmp_path, fitted, other):
    for argument, path in files(tmp_path).items():
        fitted.save_params(**{argument: path})
    other.load_params(**files(tmp_path))
    assert known(other) == known(fitted)


# Where files go


def test_links_stay_links_and_permissions_stay(tmp_path, fitted):
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    real.write_bytes(b"")
    real.chmod(0o640)
    link.symlink_to(real)
    fitted.save_params(f_params=link)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert real.stat().st_size


def test_a_new_file_has_the_permissions_that_open_gives(tmp_path, fitted):
    (tmp_path / "plain").write_bytes(b"")
    fitted.save_params(f_params=tmp_path / "params")
    assert (tmp_path / "params").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_pipe_is_written_to_and_not_replaced(tmp_path, fitted):
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    fitted.save_params(f_params=tmp_path / "pipe")
    assert os.read(reading, 4) == b"PK\x03\x04"
    os.close(reading)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("kind", [str, Path, os.fsencode, "bytes", "text"])
def test_paths_and_open_files_are_taken(tmp_path, fitted, other, kind):
    if kind is os.fsencode:
        raises(
            TypeError,
            "f_params must be a path or a file open for writing; it is b'params'.",
            fitted.save_params,
            f_params=b"params",
        )
    elif isinstance(kind, type):
        target = {argument: kind(path) for argument, path in files(tmp_path).items()}
        fitted.save_params(**target)
        other.load_params(**target)
        assert known(other) == known(fitted)
    else:
        target = {argument: io.BytesIO() for argument in ALL}
        if kind == "text":
            target["f_history"] = io.StringIO()
        fitted.save_params(**target)
        for file in target.values():
            file.seek(0)
        other.load_params(**target)
        assert known(other) == known(fitted)


def test_an_open_file_that_fails_leaves_the_paths_as_they_were(tmp_path, fitted, other):
    fitted.save_params(f_params=tmp_path / "params")
    with (tmp_path / "reads only").open("wb") as file:
        pass
    with (
        (tmp_path / "reads only").open("rb") as file,
        pytest.raises(OSError, match=r"f_optimizer: (not writable|write)"),
    ):
        other.save_params(f_params=tmp_path / "params", f_optimizer=file)
    other.load_params(f_params=tmp_path / "params")
    assert known(other)[0]["module_"] == known(fitted)[0]["module_"]


@pytest.mark.parametrize("method", ["save_params", "load_params"])
def test_arguments_that_name_nothing_raise(tmp_path, fitted, method):
    call = getattr(fitted, method)
    raises(
        TypeError,
        "f_modul names no part of the net. There are ['f_criterion', 'f_history', 'f_optimizer', 'f_params'].",
        call,
        f_modul=tmp_path / "file",
    )
    with pytest.raises(TypeError, match="did you mean 'f_params'"):
        call(params=tmp_path / "file")
    with pytest.raises(TypeError, match=r"f_params must be a path or a file open for (writing|reading); it is 3\."):
        call(f_params=3)


def test_two_arguments_can_not_share_a_file(tmp_path, fitted):
    raises(
        ValueError,
        f"f_params and f_optimizer must be different files; both are '{tmp_path}/one'.",
        fitted.save_params,
        f_params=f"{tmp_path}/one",
        f_optimizer=f"{tmp_path}/one",
    )


def test_a_folder_or_a_missing_one_raises_before_anything_is_written(tmp_path, fitted, other):
    fitted.save_params(f_params=tmp_path / "params")
    before = (tmp_path / "params").read_bytes()
    with pytest.raises(IsADirectoryError, match=f"f_optimizer: Is a directory: '{tmp_path}'"):
        other.save_params(f_params=tmp_path / "params", f_optimizer=tmp_path)
    with pytest.raises(FileNotFoundError, match=f"f_optimizer: No such file or directory: '{tmp_path}/no/file'"):
        other.save_params(f_params=tmp_path / "params", f_optimizer=tmp_path / "no" / "file")
    assert (tmp_path / "params").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_safetensors_hold_no_optimizer(tmp_path, fitted):
    raises(
        ValueError,
        "f_optimizer can't be saved with use_safetensors=True: safetensors holds tensors alone, and the state has "
        "other things. Set use_safetensors=False.",
        fitted.save_params,
        f_params=tmp_path / "params",
        f_optimizer=tmp_path / "optimizer",
        use_safetensors=True,
    )
    assert not list(tmp_path.iterdir())


# Files that can't be loaded


def refused(loader, text, kind=ValueError, **arguments):
    """Check that loading raises, and changes nothing."""
    before = known(loader)
    with pytest.raises(kind, match=text):
        loader.load_params(**arguments)
    assert known(loader) == before


DAMAGES = {
    "empty": lambda content: b"",
    "a word": lambda content: b"hello",
    "a number": lambda content: b"3",
    "half": lambda content: content[: len(content) // 2],
    "nearly all": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "an object": lambda content: b"{}",
    "a pickle": lambda content: b"\x80\x02K\x01.",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("argument", ALL)
def test_damaged_files_name_the_argument_and_the_path(tmp_path, fitted, other, argument, damage):
    target = files(tmp_path)
    fitted.save_params(**target)
    target[argument].write_bytes(damage(target[argument].read_bytes()))
    refused(other, f"{argument} must be a file to which save_params wrote .*{target[argument]}", **target)
    refused(other, f"{argument} must be a file to which save_params", **{argument: target[argument]})
    with target[argument].open("rb") as file:
        refused(other, f"{argument} must be a file to which save_params", **{argument: file})


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_safetensors_do_so_too(tmp_path, fitted, other, damage):
    target = files(tmp_path, ["f_params", "f_history"])
    fitted.save_params(**target, use_safetensors=True)
    target["f_params"].write_bytes(damage(target["f_params"].read_bytes()))
    refused(other, "f_params must be a file to which save_params", **target, use_safetensors=True)


def test_what_a_file_must_be_is_said_in_full(tmp_path, fitted):
    (tmp_path / "params").write_bytes(b"")
    raises(
        ValueError,
        "f_params must be a file to which save_params wrote the state of module_ with use_safetensors=False; "
        f"'{tmp_path}/params' can't be read so: EOFError: it ends too early",
        fitted.load_params,
        f_params=tmp_path / "params",
    )


@pytest.mark.parametrize("safetensors", [False, True])
def test_a_flipped_bit_is_seen(tmp_path, fitted, other, safetensors):
    fitted.save_params(f_params=tmp_path / "params", use_safetensors=safetensors)
    content = bytearray((tmp_path / "params").read_bytes())
    weights = next(fitted.module_.parameters()).detach().numpy().tobytes()
    content[content.index(weights) + 9] ^= 1
    (tmp_path / "params").write_bytes(content)
    refused(
        other,
        f"f_params must be as it was saved, and '{tmp_path}/params' has changed since: its checksum differs",
        f_params=tmp_path / "params",
        use_safetensors=safetensors,
    )


@pytest.mark.parametrize("argument", ALL)
def test_missing_files_name_the_argument_and_the_path(tmp_path, fitted, other, argument):
    target = files(tmp_path)
    fitted.save_params(**target)
    target[argument].unlink()
    text = f"{argument}: No such file or directory: '{target[argument]}'"
    refused(other, text, FileNotFoundError, **target)
    refused(other, text, FileNotFoundError, **{argument: target[argument]})
    refused(other, "Is a directory", IsADirectoryError, **{argument: tmp_path})


@pytest.mark.parametrize("argument", ALL)
@pytest.mark.parametrize("given", ALL)
def test_files_of_other_arguments_are_refused(tmp_path, fitted, other, argument, given):
    if argument != given:
        target = files(tmp_path)
        fitted.save_params(**target)
        refused(other, f"^{argument} must .*{target[given]}", **{argument: target[given]})


@pytest.mark.parametrize("argument", ["f_params", "f_optimizer"])
def test_files_of_another_shape_are_refused(tmp_path, data, fitted, argument):
    X, y = data
    narrow, wide = net(module__hidden_sizes=[7]).fit(X, y), net().fit(X[:, :4], y)
    for stranger in (narrow, wide):
        stranger.save_params(**{argument: tmp_path / "file"})
        refused(
            fitted,
            f"{argument} must hold a state that fits this net's (MLP|Adam); that in",
            **{argument: tmp_path / "file"},
        )


def test_the_state_of_another_optimizer_is_refused(tmp_path, data, fitted):
    stranger = net(optimizer=torch.optim.SGD, optimizer__momentum=0.9).fit(*data)
    stranger.save_params(f_optimizer=tmp_path / "sgd")
    fitted.save_params(f_optimizer=tmp_path / "adam")
    refused(
        fitted,
        "f_optimizer must hold a state that fits this net's Adam; .*sgd' does not: it has no",
        f_optimizer=tmp_path / "sgd",
    )
    refused(stranger, r"f_optimizer must .* SGD; .* it has no \['dampening'", f_optimizer=tmp_path / "adam")


@pytest.mark.parametrize("failing", ["module_", "optimizer_", "criterion_", "history"])
def test_an_error_at_any_step_of_loading_changes_nothing(tmp_path, monkeypatch, fitted, other, failing):
    fitted.save_params(**files(tmp_path))
    owner = persistence_files if failing == "history" else type(getattr(other.net_, failing))
    name = "History" if failing == "history" else "load_state_dict"
    real, calls = getattr(owner, name), []

    def broken(*args, **kwargs):
        calls.append(1)
        result = real(*args, **kwargs)
        if len(calls) == 1:  # restoring works
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, name, broken)
    refused(other, None, KeyboardInterrupt, **files(tmp_path))
    assert calls


# What belongs to the weights


@pytest.mark.parametrize("argument", ALL[:3])
def test_other_classes_are_refused(tmp_path, data, fitted, argument):
    X, y = data
    named = net().fit(X, np.array(["ok", "bad"])[y])
    named.save_params(**{argument: tmp_path / "file"})
    raises(
        ValueError,
        f"{argument} must come from an estimator of the classes [0, 1]; '{tmp_path}/file' has ['bad', 'ok'].",
        fitted.load_params,
        **{argument: tmp_path / "file"},
    )
    refused(fitted, "of the classes", **{argument: tmp_path / "file"})


@pytest.mark.parametrize(
    "labels", [np.array([False, True]), np.array([0.0, 1.0]), np.array(["2020-01-01", "2021-01-01"], "M8[D]")]
)
def test_labels_of_any_type_are_compared_by_value(tmp_path, data, labels):
    X, y = data
    one, two = net().fit(X, labels[y]), net(random_state=1).fit(X, labels[y])
    one.save_params(**files(tmp_path))
    two.load_params(**files(tmp_path))
    assert known(two)[0] == known(one)[0]


@pytest.mark.parametrize("remedy", [{}, {"class_weight": "balanced"}, {"sampling": "over"}])
@pytest.mark.parametrize("argument", ALL[:3])
def test_other_class_priors_are_refused(tmp_path, data, fitted, remedy, argument):
    X, y = data
    rare = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:15]]
    stranger = net(**remedy).fit(X[rare], y[rare])
    stranger.save_params(**{argument: tmp_path / "file"})
    refused(
        fitted,
        r"must come from an estimator with the class prior \{0: 0\.\d+, 1: 0\.15\d*\}, which probabilities are "
        r"corrected to; '.*file' has \{0: 0\.9\d+, 1: 0\.0\d+\}\. Fit on the same rows",
        **{argument: tmp_path / "file"},
    )


def test_other_sample_weights_are_other_priors(tmp_path, data, fitted):
    X, y = data
    net().fit(X, y, sample_weight=np.where(y, 5.0, 1.0)).save_params(f_params=tmp_path / "params")
    refused(fitted, "with the class prior", f_params=tmp_path / "params")


@pytest.mark.parametrize("criterion", [FocalLoss, "logit_adjusted"])
def test_another_criterion_is_refused(tmp_path, data, fitted, criterion):
    stranger = net(criterion=criterion).fit(*data)
    stranger.save_params(f_params=tmp_path / "params")
    refused(
        fitted,
        r"with the criterion BCEWithLogitsLoss\(\); .* has (Focal|LogitAdjusted)Loss",
        f_params=tmp_path / "params",
    )


def test_a_criterion_of_other_parameters_is_refused(tmp_path, data):
    one, two = (net(criterion="focal", criterion__gamma=gamma).fit(*data) for gamma in (1.0, 4.0))
    one.save_params(f_params=tmp_path / "params")
    refused(two, r"FocalLoss\(gamma=4\.0\); .*FocalLoss\(gamma=1\.0\)", f_params=tmp_path / "params")


REMEDIES = [
    {"class_weight": "balanced"},
    {"class_weight": {1: 3}},
    {"sampling": "over"},
    {"sampling": "under", "class_weight": "sqrt"},
    {"sampling": "over", "schedule": "progressive", "max_epochs": 4},
]


@pytest.mark.parametrize("remedy", REMEDIES)
@pytest.mark.parametrize("criterion", [None, "logit_adjusted", "ldam"])
@pytest.mark.parametrize("arguments", [["f_params"], ALL])
def test_the_remedy_that_weights_were_trained_under_comes_with_them(tmp_path, data, remedy, criterion, arguments):
    X, _ = data
    given = {"criterion": criterion, "prior_correction": True, "decision": "balanced"}
    saved, plain = fit_once(data, **remedy, **given), fit_once(data, random_state=1, **given)
    saved.save_params(**files(tmp_path, arguments))
    plain.load_params(**files(tmp_path, arguments))
    np.testing.assert_array_equal(plain.predict_proba(X), saved.predict_proba(X))
    np.testing.assert_array_equal(plain.decision_function(X), saved.decision_function(X))
    for name in ("class_weight_", "class_prior_", "sampled_prior_", "effective_prior_"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(saved, name))


def test_rows_held_out_are_no_other_prior(tmp_path, data):
    X, y = data
    saved = net(early_stopping=True, prior_correction=True).fit(X, y)
    other = net(prior_correction=True).fit(X, y)
    saved.save_params(f_params=tmp_path / "params")
    other.load_params(f_params=tmp_path / "params")
    np.testing.assert_array_equal(other.predict_proba(X), saved.predict_proba(X))


def test_training_goes_on_where_the_saved_one_was(tmp_path, data):
    saved, other = net(class_weight="balanced").fit(*data), net(class_weight="balanced", random_state=1).fit(*data)
    saved.save_params(**files(tmp_path))
    other.load_params(**files(tmp_path))
    other.net_.seed = saved.net_.seed
    one, two = saved.partial_fit(*data), other.partial_fit(*data)
    assert (one.n_iter_, two.n_iter_) == (4, 4)
    np.testing.assert_array_equal(one.predict_proba(data[0]), two.predict_proba(data[0]))


# Epochs


def test_epochs_come_with_the_history(tmp_path, data, other):
    saved = net(early_stopping=True, max_epochs=30, lr=0.3, n_iter_no_change=3).fit(*data)
    assert saved.best_epoch_ < saved.n_iter_
    saved.save_params(**files(tmp_path))
    other.load_params(**files(tmp_path))
    assert (other.n_iter_, other.best_epoch_) == (saved.n_iter_, saved.best_epoch_)
    assert other.n_iter_ == len(other.history_)
    other.save_params(**files(tmp_path))  # and again
    again = net(max_epochs=1).fit(*data)
    again.load_params(**files(tmp_path))
    assert (again.n_iter_, again.best_epoch_) == (saved.n_iter_, saved.best_epoch_)


@pytest.mark.parametrize("argument", ALL)
def test_epochs_agree_with_the_history_whatever_is_loaded(tmp_path, fitted, other, argument):
    fitted.save_params(**files(tmp_path))
    other.load_params(**{argument: files(tmp_path)[argument]})
    assert other.n_iter_ == len(other.history_) == (3 if argument == "f_history" else 2)
    assert 1 <= other.best_epoch_ <= other.n_iter_


# Together with skorch


def test_files_are_skorchs_and_torchs(tmp_path, fitted):
    fitted.save_params(**files(tmp_path))
    state = torch.load(tmp_path / "params", weights_only=True)
    copy.deepcopy(fitted.module_).load_state_dict(state)
    plain = copy.deepcopy(fitted)
    plain.partial_fit(np.zeros((4, 5)), [0, 1, 0, 1])
    NeuralNet.load_params(plain.net_, **files(tmp_path))
    assert known(plain)[0] == known(fitted)[0]
    assert len(plain.history_) == 3


@pytest.mark.parametrize("safetensors", [False, True])
def test_files_that_skorch_wrote_load(tmp_path, fitted, other, safetensors):
    target = files(tmp_path, ("f_params", "f_history") if safetensors else ALL)
    NeuralNet.save_params(fitted.net_, **{k: str(v) for k, v in target.items()}, use_safetensors=safetensors)
    other.load_params(**target, use_safetensors=safetensors)
    assert known(other)[0]["module_"] == known(fitted)[0]["module_"]
    assert (other.n_iter_, other.best_epoch_) == (3, 3)


def test_a_checkpoint_that_is_cut_short_is_told(tmp_path, data, fitted):
    checkpoint = Checkpoint(monitor=None, dirname=str(tmp_path))
    saved = net(callbacks=[checkpoint]).fit(*data)
    fitted.load_params(checkpoint=checkpoint)
    assert known(fitted)[0] == known(saved)[0]
    net(random_state=1).fit(*data).net_.save_params(f_params=tmp_path / "params.pt")
    refused(fitted, "must come from one save", checkpoint=checkpoint)
    before = known(fitted)
    with pytest.raises(ValueError, match="must come from one save"):
        fitted.net_.load_params(checkpoint=checkpoint)
    assert known(fitted) == before


def test_a_checkpoint_without_files_names_them(tmp_path, fitted):
    refused(
        fitted,
        f"f_history: No such file or directory: '{tmp_path}/history.json'",
        FileNotFoundError,
        checkpoint=Checkpoint(dirname=str(tmp_path)),
    )


def test_the_best_checkpoint_is_loaded_at_the_end_and_resumed_from(tmp_path, data):
    X, y = data
    checkpoint = Checkpoint("valid_loss_best", dirname=str(tmp_path), load_best=True)
    given = {"early_stopping": True, "n_iter_no_change": 3, "lr": 0.3, "max_epochs": 20}
    saved = net(callbacks=[checkpoint], **given).fit(X, y)
    assert saved.n_iter_ == len(saved.history_) < 20
    resumed = net(callbacks=[LoadInitState(checkpoint)], max_epochs=1).fit(X, y)
    assert resumed.n_iter_ == saved.n_iter_ + 1


class WithTeacher(ImbalancedNet):
    """A net of two modules."""

    def initialize_module(self):
        super().initialize_module()
        self.teacher_ = nn.Linear(2, 2)
        return self


class WithTeacherClassifier(ImbalancedNetClassifier):
    net_class = WithTeacher


def test_modules_of_a_derived_net_are_part_of_the_unit(tmp_path, data):
    one, two = (WithTeacherClassifier(MLP, max_epochs=1, random_state=seed).fit(*data) for seed in (0, 1))
    target = {"f_params": tmp_path / "params", "f_teacher": tmp_path / "teacher"}
    one.save_params(**target)
    two.load_params(**target)
    assert digest(two.net_.teacher_.state_dict()) == digest(one.net_.teacher_.state_dict())
    with torch.no_grad():
        one.net_.teacher_.weight += 1
    one.save_params(f_teacher=target["f_teacher"])
    two.load_params(**target)  # which is the new unit, for the module has not changed
    assert digest(two.net_.teacher_.state_dict()) == digest(one.net_.teacher_.state_dict())
    one.partial_fit(*data).save_params(f_teacher=target["f_teacher"])
    before = digest(two.net_.teacher_.state_dict())
    refused(two, "f_params and f_teacher must come from one save", **target)
    assert digest(two.net_.teacher_.state_dict()) == before


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(()),
        torch.zeros(2, 0),
        torch.tensor([1 + 2j]),
        torch.tensor([1.5], dtype=torch.bfloat16),
        torch.tensor([True]),
        torch.arange(6).reshape(2, 3).t(),
    ],
)
def test_tensors_of_every_kind_have_a_checksum(tensor):
    assert digest({"a": tensor}) == digest({"a": tensor.clone()})
    assert digest({"a": tensor}) != digest({"a": torch.zeros(7)})
    assert digest({"a": tensor, "b": 1}) == digest({"b": 1, "a": tensor})


@pytest.mark.parametrize("safetensors", [False, True])
def test_save_and_load_params(data, safetensors):
    X, y = data
    fitted, other = net().fit(X, y), net(random_state=1).fit(X, y)
    file = io.BytesIO()
    fitted.save_params(f_params=file, use_safetensors=safetensors)
    file.seek(0)
    other.load_params(f_params=file, use_safetensors=safetensors)
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))


def test_weights_of_classes_are_saved_with_the_criterion(data):
    X, y = data
    weighted, plain = net(class_weight="balanced").fit(X, y), net().fit(X, y)
    file = io.BytesIO()
    weighted.save_params(f_criterion=file)
    file.seek(0)
    plain.load_params(f_criterion=file)
    logits, codes = torch.zeros(300, 1, dtype=torch.float64), torch.from_numpy(y)
    assert plain.net_.criterion_(logits, codes) == weighted.net_.criterion_(logits, codes)


def test_optimizer_and_history_are_saved_too(data, tmp_path):
    fitted, other = net().fit(*data), net(max_epochs=1).fit(*data)
    files = {"f_optimizer": tmp_path / "optimizer.pt", "f_history": tmp_path / "history.json"}
    fitted.save_params(**files)
    other.load_params(**files)
    assert len(other.history_) == 3
