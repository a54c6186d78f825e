"""Fitted estimators through skops, and through MLflow, which stores models with it."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from imbalanced_torch import MLP, FocalLoss, ImbalancedNetClassifier, OverSampling
from imbalanced_torch._persistence.pickles import with_torch, without_torch

skops = pytest.importorskip("skops.io")


def rows(n_classes=2):
    return make_classification(
        200,
        n_features=5,
        n_informative=4,
        n_redundant=0,
        n_classes=n_classes,
        weights=[0.6, 0.25][: n_classes - 1],
        random_state=0,
    )


def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "amount": rng.normal(size=200),
            "kind": rng.choice(["a", "b", None], 200),
            "nothing": np.full(200, None, dtype=object),
        }
    )


def net(**settings):
    return ImbalancedNetClassifier(**{"max_epochs": 2, "random_state": 0, **settings})


def again(fitted):
    content = skops.dumps(fitted)
    return skops.loads(content, trusted=skops.get_untrusted_types(data=content))


def assert_same(one, other, X):
    for method in ("predict_proba", "decision_function", "predict"):
        np.testing.assert_array_equal(getattr(one, method)(X), getattr(other, method)(X), strict=True)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"class_weight": "balanced", "prior_correction": True},
        {"dtype": torch.float64, "device": torch.device("cpu"), "sampling": OverSampling(ratio=0.5)},
        {"module": MLP},
        {"module": MLP, "criterion": "logit_adjusted", "dtype": torch.float32, "lr": torch.tensor(0.01)},
        {"module": MLP, "criterion": FocalLoss, "criterion__gamma": 1.0, "early_stopping": True},
    ],
    ids=lambda settings: ",".join(settings) or "default",
)
def test_a_fitted_estimator_comes_back_and_predicts_the_same_bit_by_bit(settings, n_classes):
    X, y = rows(n_classes)
    fitted = net(**settings).fit(X, y)
    loaded = again(fitted)
    assert_same(fitted, loaded, X)
    assert vars(loaded).keys() == vars(fitted).keys()
    assert repr(loaded.get_params()) == repr(fitted.get_params())
    assert loaded.net_.prediction_.criterion is loaded.net_.criterion_
    assert_same(fitted, pickle.loads(pickle.dumps(loaded)), X)
    loaded.set_params(warm_start=True).fit(X, y)


def test_a_table_comes_back():
    X, y = table(), np.array(["no", "yes"])[rows()[1]]
    fitted = net().fit(X, y)
    loaded = again(fitted)
    assert_same(fitted, loaded, X)
    assert loaded.columns_ == fitted.columns_
    np.testing.assert_array_equal(loaded.oof_proba_, fitted.oof_proba_)


def test_a_net_in_a_pipeline_comes_back():
    X, y = rows()
    fitted = make_pipeline(SimpleImputer(), net(module=MLP)).fit(X, y)
    assert_same(fitted, again(fitted), X)


def test_types_of_torch_are_asked_about_and_no_other_than_ours():
    X, y = rows()
    types = skops.get_untrusted_types(data=skops.dumps(net().fit(X, y)))
    assert {name.split(".")[0] for name in types} <= {"builtins", "functools", "imbalanced_torch", "skorch", "torch"}


@pytest.mark.filterwarnings("ignore")  # of MLflow's own
def test_mlflow_logs_and_loads_a_model_in_its_default_format(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    sklearn_flavour = pytest.importorskip("mlflow.sklearn")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    X, y = rows()
    fitted = net().fit(X, y)
    trusted = skops.get_untrusted_types(data=skops.dumps(fitted))
    with mlflow.start_run():
        logged = sklearn_flavour.log_model(fitted, name="model", skops_trusted_types=trusted, pip_requirements=[])
    assert_same(fitted, sklearn_flavour.load_model(logged.model_uri), X)


# What is pickled in another form


@pytest.mark.parametrize(
    "value",
    [torch.float64, torch.device("cuda", 1), {"a": [(torch.int64, 1)], "b": 2}, torch.arange(3.0)],
    ids=["dtype", "device", "nested", "tensor"],
)
def test_what_is_torchs_comes_back(value):
    stored = without_torch(value)
    assert "torch." not in repr(stored).replace("imbalanced_torch.", "")
    back = with_torch(pickle.loads(pickle.dumps(stored)))
    assert repr(back) == repr(value)


def test_what_holds_nothing_of_torchs_stays_the_same_object():
    value = {"a": [1, (2, {"b": np.arange(3)})]}
    assert without_torch(value) is value
    assert with_torch(value) is value
