"""What runs on a GPU: these tests skip themselves where there is none."""

import copy
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from processes import Processes
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import InputShapeSetter
from test_rows import Wide
from torch import distributed

from imbalanced_torch import (
    MLP,
    DeferredSchedule,
    HeadRetraining,
    ImbalancedNetClassifier,
    RecallFloor,
    TemperedSampling,
)
from imbalanced_torch._losses.weighted import LOSSES
from imbalanced_torch._persistence.training_checkpoint import _read

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

X, y = make_classification(600, n_features=5, n_informative=3, weights=[0.85], class_sep=1.5, random_state=0)
PLAIN = {"module": MLP, "early_stopping": False}


def net(**settings):
    return ImbalancedNetClassifier(**{"device": "cuda", "max_epochs": 5, "random_state": 0, **settings})


def table(n=300):
    rng = np.random.default_rng(0)
    amount, kind = rng.normal(size=n), rng.choice(["a", "b", None], n)
    label = np.where(amount + (kind == "a") + rng.normal(size=n) > 1.5, "fraud", "ok")
    return pd.DataFrame({"amount": amount, "kind": kind, "old": rng.random(n) < 0.5}), label


def device_of(fitted):
    return next(fitted.module_.parameters()).device.type


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"class_weight": "balanced", "sampling": "weighted"},
        *({**PLAIN, "sampling": sampling} for sampling in (None, "weighted", "over", "under", "batch")),
        {**PLAIN, "sampling": TemperedSampling(0.5), "class_weight": "sqrt"},
        {**PLAIN, "sampling": "weighted", "schedule": DeferredSchedule(2)},
        {**PLAIN, "class_weight": "balanced", "schedule": HeadRetraining(2)},
        {**PLAIN, "class_weight": "balanced", "early_stopping": True, "max_epochs": 20},
        {**PLAIN, "batch_size": -1, "optimizer": torch.optim.LBFGS, "max_epochs": 3},
        *({**PLAIN, "criterion": word} for word in LOSSES),
    ],
    ids=str,
)
def test_it_learns_there_what_it_learns_on_the_cpu(settings):
    there, here = net(**settings).fit(X, y), net(**settings, device="cpu", dtype=torch.float32).fit(X, y)
    assert (device_of(there), device_of(here)) == ("cuda", "cpu")
    assert {parameter.dtype for parameter in there.module_.parameters()} == {torch.float32}
    np.testing.assert_allclose(there.effective_prior_, here.effective_prior_, atol=0.02)
    np.testing.assert_allclose(there.predict_proba(X).mean(axis=0), here.predict_proba(X).mean(axis=0), atol=0.1)
    scores = [average_precision_score(y, fitted.decision_function(X)) for fitted in (there, here)]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)
    assert there.predict(X).dtype == y.dtype


@pytest.mark.parametrize("settings", [{}, PLAIN, {**PLAIN, "sampling": "weighted", "module__dropout": 0.3}], ids=str)
def test_a_seed_makes_fits_equal_bit_by_bit(settings):
    one, other = net(**settings).fit(X, y), net(**settings).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("n", [40, 300])
def test_the_default_net_takes_a_table(n):
    X, y = table(n)
    there, here = (net(device=device).fit(X, y) for device in ("cuda", "cpu"))
    assert device_of(there) == "cuda"
    np.testing.assert_allclose(there.oof_proba_.mean(axis=0), here.oof_proba_.mean(axis=0), atol=0.05)
    assert there.predict_proba(X).shape == here.predict_proba(X).shape


@pytest.mark.parametrize("use_safetensors", [False, True])
def test_parameters_in_files_bring_the_encoding(tmp_path, use_safetensors):
    X, y = table()
    one, other = net().fit(X, y), net(random_state=1, max_epochs=1).fit(X, y)
    one.save_params(f_params=tmp_path / "params", use_safetensors=use_safetensors)
    other.load_params(f_params=tmp_path / "params", use_safetensors=use_safetensors)
    np.testing.assert_array_equal(other.predict_proba(X), one.predict_proba(X))


def test_sizes_that_a_callback_sets_are_tried_where_the_module_is():
    fitted = net(module=Wide, callbacks=[InputShapeSetter(param_name="width_in")]).fit(X, y)
    assert fitted.module_.layer.in_features == 5
    with pytest.raises(ValueError, match=r"can't take a batch of float.. of shape .* shapes cannot be multiplied"):
        net(module=Wide, callbacks=[InputShapeSetter(param_name="width_in", input_dim_fn=lambda X: 3)]).fit(X, y)


def test_goals_sets_and_costs_are_settled_there():
    fitted = net(decision=RecallFloor(0.7)).fit(X, y)
    assert np.mean(fitted.predict(X)[y == 1]) > 0.6
    assert fitted.predict_set(X, 0.9).shape == (600, 2)
    assert fitted.predict(X, costs=np.ones((600, 2, 2)) - np.eye(2)).shape == (600,)
    assert fitted.decision_report()


# Elsewhere


@pytest.mark.parametrize("settings", [{}, {**PLAIN, "dtype": torch.float32, "early_stopping": True}], ids=str)
def test_files_are_read_where_there_is_no_gpu(tmp_path, settings):
    import skops.io as skops

    fitted = net(**settings, class_weight="balanced", prior_correction=True, decision=0.3).fit(X, y)
    (tmp_path / "fit.pickle").write_bytes(pickle.dumps(fitted))
    fitted.save(tmp_path / "fit.safetensors")
    skops.dump(fitted, tmp_path / "fit.skops")
    np.save(tmp_path / "proba.npy", fitted.predict_proba(X))
    np.save(tmp_path / "X.npy", X)
    code = """
import pickle, sys, warnings
import numpy as np, skops.io as skops, torch
from imbalanced_torch import ImbalancedNetClassifier
warnings.simplefilter("ignore")
assert not torch.cuda.is_available()
X, expected = np.load("X.npy"), np.load("proba.npy")
types = skops.get_untrusted_types(file="fit.skops")
for fitted in (
    pickle.load(open("fit.pickle", "rb")),
    ImbalancedNetClassifier.load("fit.safetensors"),
    skops.load("fit.skops", trusted=types),
):
    np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=1e-5)
    fitted.predict(X)
"""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_a_copy_stays_there():
    fitted = net().fit(X, y)
    for again in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        assert device_of(again) == "cuda"
        np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_a_saved_estimator_goes_where_it_is_told(tmp_path):
    fitted = net().fit(X, y)
    fitted.save(tmp_path / "net")
    assert device_of(ImbalancedNetClassifier.load(tmp_path / "net")) == "cuda"
    here = ImbalancedNetClassifier.load(tmp_path / "net", device="cpu")
    assert device_of(here) == "cpu"
    np.testing.assert_allclose(here.predict_proba(X), fitted.predict_proba(X), atol=1e-5)


def test_it_is_exported_as_a_graph(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    fitted = net().fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter
        fitted.to_onnx(tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    values = X.astype(np.float32 if given.type == "tensor(float)" else np.float64)
    _, proba = session.run(["label", "probabilities"], {given.name: values})
    np.testing.assert_allclose(proba, fitted.predict_proba(X), atol=1e-4)


# Cut short, searched, in a group


@pytest.mark.parametrize("settings", [{}, PLAIN, {**PLAIN, "module__dropout": 0.3, "sampling": "weighted"}], ids=str)
def test_a_fit_that_was_cut_short_ends_as_one_that_was_not(tmp_path, settings):
    from skorch.callbacks import Callback

    class Ends(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == Ends.at:
                raise ArithmeticError

    def estimator():
        return net(**settings, callbacks=[Ends()], checkpoint=tmp_path / "training")

    Ends.at = 3
    with pytest.raises(ArithmeticError):
        estimator().fit(X, y)
    ((_, (common, _)),) = _read(tmp_path / "training", 1)
    assert b"cuda" not in common  # else it would differ between processes with a GPU each
    Ends.at = -1
    again = estimator().fit(X, y)
    (tmp_path / "training").unlink()
    np.testing.assert_array_equal(again.predict_proba(X), estimator().fit(X, y).predict_proba(X))


def test_a_search_of_two_jobs_is_one_of_one():
    scores = [
        GridSearchCV(net(**PLAIN), {"class_weight": [None, "balanced"]}, cv=2, n_jobs=n_jobs, error_score="raise")
        .fit(X, y)
        .cv_results_["mean_test_score"]
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)


def test_a_compiled_module_trains():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = net(**PLAIN, compile=True).fit(X, y)
    assert np.isfinite(fitted.predict_proba(X)).all()


def fit_in_group(rank, settings):
    own = slice(rank, None, 2)
    fitted = ImbalancedNetClassifier(device="cuda", random_state=0, **settings).fit(X[own], y[own])
    return device_of(fitted), [value.tolist() for value in fitted.module_.state_dict().values()]


@pytest.mark.parametrize(
    "settings", [{"max_epochs": 3}, {**PLAIN, "max_epochs": 5, "class_weight": "balanced"}], ids=str
)
def test_processes_of_a_group_end_with_one_net(settings):
    processes = Processes()  # gloo, which serves the CPU and the GPU, so that both may use the same one
    try:
        (device, one), (_, other) = processes.run(fit_in_group, settings)
    finally:
        processes.close()
    assert device == "cuda"
    assert one == other


def fit_over_nccl(rank, size, settings, store, queue):
    torch.cuda.set_device(rank)
    distributed.init_process_group("cpu:gloo,cuda:nccl", init_method=f"file://{store}", rank=rank, world_size=size)
    own = slice(rank, None, size)
    fitted = ImbalancedNetClassifier(device=f"cuda:{rank}", random_state=0, **settings).fit(X[own], y[own])
    queue.put([value.tolist() for value in fitted.module_.state_dict().values()])
    distributed.destroy_process_group()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize(
    "settings", [{"max_epochs": 3}, {**PLAIN, "max_epochs": 5, "class_weight": "balanced"}], ids=str
)
def test_processes_with_a_gpu_each_speak_over_nccl(tmp_path, settings):
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    torch.multiprocessing.spawn(fit_over_nccl, args=(2, settings, tmp_path / "store", queue), nprocs=2)
    assert queue.get() == queue.get()
