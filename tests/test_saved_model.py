"""A fitted estimator as one file without pickle: what comes back, what must be handed over, what is refused."""

import datetime
import decimal
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from skorch.callbacks import EpochScoring, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn

import imbalanced_torch
from imbalanced_torch import (
    MLP,
    DeferredSchedule,
    EffectiveNumber,
    FocalLoss,
    ImbalancedNet,
    ImbalancedNetClassifier,
    LogitAdjustedLoss,
    MLPEnsemble,
    OverSampling,
    RecallFloor,
    SamplingStrategy,
)
from imbalanced_torch._export import saved_model
from imbalanced_torch._export.parameters_as_json import NotPlainError, class_named, decode, encode
from imbalanced_torch._persistence import files

KEY = "imbalanced_torch_estimator"


class TwoLayers(nn.Module):
    def __init__(self, n_features, n_outputs, width=4, activation=nn.ReLU):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, width), activation(), nn.Linear(width, n_outputs))

    def forward(self, X):
        return self.layers(X)


class OtherLayers(TwoLayers):
    pass


class WithNorm(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.norm, self.output = nn.BatchNorm1d(n_features), nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return self.output(self.norm(X))


class Lazy(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(n_outputs))

    def forward(self, X):
        return self.layers(X)


class TakesDict(nn.Module):
    def __init__(self):
        super().__init__()
        self.levels, self.output = nn.Embedding(2, 3), nn.Linear(8, 1)

    def forward(self, codes, X):
        return self.output(torch.cat([self.levels(codes), X], dim=1))


class OwnEnsemble(MLPEnsemble):
    pass


class Swish(nn.Module):
    def forward(self, X):
        return X * torch.sigmoid(X)


class OwnLoss(nn.Module):
    def __init__(self, sharpness=1.0, reduction="none"):
        super().__init__()
        self.register_buffer("sharpness", torch.tensor(sharpness))

    def forward(self, f, targets):
        return nn.functional.binary_cross_entropy_with_logits(f * self.sharpness, targets, reduction="none")

    def probabilities(self, f):
        return torch.sigmoid(f * self.sharpness)


class EveryOther(SamplingStrategy):
    def stream(self, rows, batch_size):
        return OverSampling().stream(rows, batch_size)


class Named(ImbalancedNetClassifier):
    """A derived class with a parameter of its own, that fixes one of its base's."""

    def __init__(self, name="a", **kwargs):
        super().__init__(class_weight="sqrt", **kwargs)
        self.name = name


def make_two_layers(n_features, n_outputs):
    return TwoLayers(n_features, n_outputs, width=3)


def net(*args, **kwargs):
    return ImbalancedNetClassifier(*args, **{"module": MLP, "max_epochs": 2, "random_state": 0, **kwargs})


def rows(n_classes=2, labels=None, n=200):
    X, y = make_classification(
        n,
        n_features=5,
        n_informative=4,
        n_redundant=0,
        n_classes=n_classes,
        weights=[0.7, 0.2][: n_classes - 1],
        random_state=0,
    )
    return X, y if labels is None else np.asarray(labels)[y]


def table(n=200):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "amount": rng.normal(size=n),
            "kind": rng.choice(["a", "b", None], n),
            "seen": rng.random(n) < 0.5,
            "shop": pd.Categorical(rng.choice([3, 7], n)),
            "rate": pd.Categorical(rng.choice([0.5, 1.5], n)),
            "flag": pd.Categorical(rng.choice([True, False], n)),
            "nothing": np.full(n, None, dtype=object),
        }
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def again(fitted, path, **parts):
    fitted.save(path)
    return type(fitted).load(path, **parts)


def assert_same(one, other, X):
    """Hold that two estimators predict the same, bit by bit, in every way."""
    for method in ("predict_proba", "predict_log_proba", "decision_function", "predict"):
        np.testing.assert_array_equal(getattr(one, method)(X), getattr(other, method)(X), strict=True)
    assert repr(one.get_params()) == repr(other.get_params())
    for name in ("classes_", "class_weight_", "class_prior_", "sampled_prior_", "effective_prior_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
    assert vars(one).keys() == vars(other).keys()


# What comes back

SETTINGS = [
    {"module": None},
    {"module": None, "class_weight": "balanced", "prior_correction": True, "sampling": OverSampling(ratio=0.5)},
    {"module": None, "dtype": torch.float64, "module__hidden_sizes": (8,), "module__n_members": 3},
    {},
    {"dtype": np.float32, "module__hidden_sizes": [8, 4], "module__activation": nn.Tanh, "module__dropout": 0.1},
    {"module": partial(MLP, hidden_sizes=(3,)), "class_weight": {0: 1.0, 1: 5}, "early_stopping": True},
    {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "lr": torch.tensor(0.1), "device": torch.device("cpu")},
    {"criterion": "focal", "criterion__gamma": 1.0, "criterion__alpha": [0.2, 0.8], "decision": 0.3},
    {"criterion": FocalLoss(gamma=1.0), "decision": {0: {1: 2.0}, 1: {0: 9.0}}},
    {"criterion": LogitAdjustedLoss(class_counts=[30, 3], tau=0.5), "prior_correction": [0.9, 0.1]},
    {"criterion": nn.CrossEntropyLoss, "prior_correction": {0: 0.5, 1: 0.5}, "decision": "balanced"},
    {"schedule": DeferredSchedule(start=1), "class_weight": EffectiveNumber(beta=0.9), "epoch_size": np.float32(0.5)},
    {"class_weight": np.array([1.0, 3.0]), "batch_size": np.int8(32), "callbacks__print_log": None, "verbose": 0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: ",".join(settings) or "plain")
@pytest.mark.filterwarnings("ignore::imbalanced_torch.UncorrectedDecisionWarning")
def test_a_loaded_estimator_predicts_the_same_bit_by_bit_and_is_fitted_in_every_way(settings, path):
    X, y = rows()
    fitted = net(**settings).fit(X, y)
    loaded = again(fitted, path)
    assert_same(fitted, loaded, X)
    rows_of_net = torch.as_tensor(X, dtype=fitted.net_.dtype).numpy()
    np.testing.assert_array_equal(loaded.net_.predict_proba(rows_of_net), fitted.net_.predict_proba(rows_of_net))
    assert loaded.settings_ == fitted.settings_
    assert (loaded.n_iter_, loaded.best_epoch_) == (fitted.n_iter_, fitted.best_epoch_)
    assert len(loaded.history_) == len(fitted.history_)
    assert loaded.history_[:, "train_loss"] == fitted.history_[:, "train_loss"]
    # It saves, pickles, clones, and trains on and anew.
    content = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == content
    assert_same(fitted, again(loaded, path), X)
    assert_same(fitted, pickle.loads(pickle.dumps(loaded)), X)
    assert clone(loaded).get_params().keys() == clone(fitted).get_params().keys()
    np.testing.assert_array_equal(clone(loaded).fit(X, y).predict_proba(X), clone(fitted).fit(X, y).predict_proba(X))
    loaded.set_params(early_stopping=False, schedule=None).partial_fit(X, y)
    loaded.set_params(warm_start=True).fit(X, y)


def test_a_table_comes_back_with_its_columns_and_out_of_fold_probabilities(path):
    X, y = table(), rows()[1]
    fitted = net(module=None).fit(X, y)
    loaded = again(fitted, path)
    assert loaded.columns_ == fitted.columns_
    assert [list(map(type, levels or ())) for levels in loaded.columns_.levels] == [
        list(map(type, levels or ())) for levels in fitted.columns_.levels
    ]
    assert_same(fitted, loaded, X)
    np.testing.assert_array_equal(loaded.predict_proba(X[X.columns[::-1]]), fitted.predict_proba(X))
    np.testing.assert_array_equal(loaded.oof_proba_, fitted.oof_proba_, strict=True)
    assert loaded.oof_log_loss_ == fitted.oof_log_loss_
    assert list(loaded.feature_names_in_) == list(X.columns)


@pytest.mark.parametrize("decision", [{"recall": 0.6}, "mcc", RecallFloor(0.5, confidence=0.8)], ids=str)
@pytest.mark.parametrize("settings", [{"module": None}, {"early_stopping": True}], ids=["members", "one net"])
@pytest.mark.filterwarnings("ignore::imbalanced_torch.UncertainDecisionWarning")
def test_goals_are_settled_as_before_on_the_rows_that_were_held_out(decision, settings, path):
    X, y = rows(n=600)
    fitted = net(**settings, decision=decision, class_weight="balanced").fit(X, y)
    loaded = again(fitted, path)
    assert_same(fitted, loaded, X)
    assert repr(loaded.decision_report()) == repr(fitted.decision_report())
    np.testing.assert_array_equal(loaded.predict_set(X), fitted.predict_set(X))
    for estimator in (fitted, loaded):
        estimator.set_params(decision="f1")
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))


def test_a_table_of_polars_comes_back(path):
    X = pl.DataFrame({"a": np.arange(100.0), "b": ["x", "y"] * 50})
    fitted = net(module=None).fit(X, np.arange(100) % 5 == 0)
    assert_same(fitted, again(fitted, path), X)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["ok", "fraud", "lost"]),
        np.array(["ok", "fraud", "lost"], dtype=object),
        np.array([-1, 7, 3], dtype=np.int8),
        np.array([5.0, 1.0, -2.0], dtype=np.float32),
        np.array(["2020-01-01", "2021-01-01", "2019-01-01"], dtype="M8[D]"),
        np.array([2, 1, 0], dtype=">i4"),
    ],
    ids=lambda labels: labels.dtype.str,
)
def test_labels_of_any_type_come_back(labels, path):
    X, y = rows(3, labels)
    fitted = net().fit(X, y)
    assert_same(fitted, again(fitted, path), X)


@pytest.mark.parametrize("labels", [[False, True], ["no", "yes"], [-1, 1]], ids=str)
def test_two_labels_of_any_type_come_back_as_keys_too(labels, path):
    X, y = rows(2, labels)
    fitted = net(class_weight={labels[1]: 3}, decision={labels[1]: 0.3}, prior_correction=True).fit(X, y)
    assert_same(fitted, again(fitted, path), X)


DAYS = pd.date_range("2020-01-01 03:04:05.6", periods=3)


@pytest.mark.parametrize(
    "levels",
    [
        pd.interval_range(0, 3),
        pd.interval_range(DAYS[0], DAYS[2], freq="12h"),
        DAYS,
        DAYS.tz_localize("Europe/Rome"),
        DAYS - DAYS[0],
        DAYS.to_period("M").append(pd.period_range("2021-01", periods=1, freq="M")).unique(),
        DAYS.date,
        [decimal.Decimal("0.1"), decimal.Decimal("2")],
        [datetime.time(1, 2), datetime.time(3)],
    ],
    ids=lambda levels: type(levels[0]).__name__,
)
def test_levels_of_a_category_may_be_of_any_type_that_pandas_has(levels, path):
    X = pd.DataFrame({"a": np.arange(120.0), "level": pd.Categorical.from_codes(np.arange(120) % len(levels), levels)})
    fitted = net(module=None, max_epochs=1).fit(X, np.arange(120) % 3 == 0)
    loaded = again(fitted, path)
    assert loaded.columns_ == fitted.columns_
    assert_same(fitted, loaded, X)


def test_levels_that_json_can_not_hold_are_refused(path):
    X = pd.DataFrame({"level": pd.Categorical.from_codes(np.arange(40) % 2, [Path("a"), Path("b")])})
    fitted = net(module=None, max_epochs=1).fit(X, np.arange(40) % 3 == 0)
    with pytest.raises(
        ValueError, match=r"^columns_ must hold labels and levels that JSON can for a file without pickle"
    ):
        fitted.save(path)
    assert not path.exists()


def test_an_estimator_that_was_loaded_where_gradients_are_off_trains_on(path):
    X, y = rows()
    fitted = net().fit(X, y)
    fitted.save(path)
    with torch.inference_mode():
        loaded = ImbalancedNetClassifier.load(path)
    assert not any(parameter.is_inference() for parameter in loaded.module_.parameters())
    loaded.partial_fit(X, y)


def test_values_that_are_equal_are_no_one_object_once_loaded(path):
    X, y = rows()
    loaded = again(net(module__hidden_sizes=[], callbacks=[]).fit(X, y), path)
    loaded.callbacks.append(LRScheduler())
    assert loaded.get_params()["module__hidden_sizes"] == []


def test_loading_prints_nothing(path, capsys):
    X, y = rows()
    fitted = net(verbose=1).fit(X, y)
    capsys.readouterr()
    again(fitted, path)
    assert capsys.readouterr().out == ""


def test_rows_of_more_dimensions_and_dicts_and_ints_come_back(path):
    X, y = rows()
    images = np.tile(X[:, None], (1, 3, 1)).astype(np.float32)
    fitted = net(module=None).fit(images, y)
    loaded = again(fitted, path)
    assert_same(fitted, loaded, images)
    assert loaded.row_shape_ == (3, 5)
    fitted = net(module=TakesDict, dtype=None).fit({"codes": y, "X": X.astype(np.float32)}, y)
    fitted.save(path)
    loaded = ImbalancedNetClassifier.load(path, module=TakesDict)
    assert_same(fitted, loaded, {"codes": y, "X": X.astype(np.float32)})


def test_a_net_that_retrains_its_head_or_learns_class_by_class_comes_back(path):
    X, y = rows(3)
    fitted = net(schedule="retrain_head", class_weight="balanced", max_epochs=4).fit(X, y)
    assert_same(fitted, again(fitted, path), X)
    partly = net().partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    loaded = again(partly, path)
    assert_same(partly, loaded, X)
    for estimator in (partly, loaded):  # with optimizers of their own
        estimator.partial_fit(X, y)
    np.testing.assert_array_equal(partly.class_prior_, loaded.class_prior_)


def test_parameters_set_after_the_fit_come_back_and_the_net_stays_the_one_that_was_trained(path):
    X, y = rows()
    fitted = net(module__hidden_sizes=(5,), criterion="focal").fit(X, y)
    fitted.set_params(module__hidden_sizes=(9, 9), module__dropout=0.5, criterion=None, dtype=np.float32, lr=0.5)
    fitted.set_params(prior_correction={1: 0.4, 0: 0.6}, decision="argmax")
    loaded = again(fitted, path)
    assert_same(fitted, loaded, X)
    assert loaded.get_params()["module__hidden_sizes"] == (9, 9)
    assert [layer.out_features for layer in loaded.module_.hidden if isinstance(layer, nn.Linear)] == [5]


def test_a_path_may_be_of_any_kind_and_the_device_chosen(path):
    X, y = rows()
    fitted = net().fit(X, y)
    fitted.save(str(path))
    assert_same(fitted, ImbalancedNetClassifier.load(str(path), device="cpu"), X)
    fitted.set_params(device="cuda:7")  # as if it had been there
    fitted.net_.made_from = {**fitted.net_.made_from, "device": "cuda:7"}
    if torch.cuda.device_count() < 8:
        loaded = again(fitted, path)
        assert loaded.device == "cpu"
        loaded.set_params(warm_start=True).fit(X, y)


def test_the_file_holds_no_pickle_and_no_rows(path):
    X, y = rows(n=2000)
    net(callbacks__print_log=None).fit(X, y).save(path)
    content = path.read_bytes()
    assert b"pickle" not in content.lower()
    assert len(content) < X.nbytes
    assert all(isinstance(tensor, torch.Tensor) for tensor in load_file(path).values())


def test_torchs_random_state_stays_as_it_was(path):
    X, y = rows()
    fitted = net(module=TwoLayers).fit(X, y)
    state = torch.get_rng_state()
    again(fitted, path, module=TwoLayers)
    assert torch.equal(torch.get_rng_state(), state)


# What is handed over


HANDED = [
    ({"module": TwoLayers}, {"module": TwoLayers}),
    ({"module": TwoLayers, "module__width": 7, "module__activation": nn.Tanh}, {"module": TwoLayers}),
    ({"module": WithNorm}, {"module": WithNorm}),
    ({"module": Lazy}, {"module": Lazy}),
    ({"module": OwnEnsemble}, {"module": OwnEnsemble}),
    ({"module": make_two_layers}, {"module": make_two_layers}),
    ({"module": partial(TwoLayers, width=2)}, {"module": partial(TwoLayers, width=2)}),
    (
        {"module": nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1))},
        {"module": nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1))},
    ),
    ({"module": TwoLayers(5, 1)}, {"module": TwoLayers(5, 1)}),
    ({"criterion": OwnLoss, "criterion__sharpness": 2.0}, {"criterion": OwnLoss}),
    ({"criterion": OwnLoss(3.0)}, {"criterion": OwnLoss()}),
    ({"criterion": FocalLoss(alpha=0.3)}, {"criterion": FocalLoss(alpha=0.3)}),
    ({"module__activation": Swish}, {"module__activation": Swish}),
]


@pytest.mark.parametrize(("settings", "parts"), HANDED, ids=[f"{i}-{','.join(s)}" for i, (s, _) in enumerate(HANDED)])
def test_parts_of_the_users_own_are_handed_over(settings, parts, path):
    X, y = rows()
    fitted = net(**settings).fit(X, y)
    fitted.save(path)
    loaded = ImbalancedNetClassifier.load(path, **parts)
    for method in ("predict_proba", "decision_function", "predict"):
        np.testing.assert_array_equal(getattr(loaded, method)(X), getattr(fitted, method)(X), strict=True)
    for name, part in parts.items():
        assert loaded.get_params()[name] is part
        with pytest.raises(ValueError, match=f"^{name} must be handed to load, for a file holds no code: "):
            ImbalancedNetClassifier.load(path)
    loaded.set_params(warm_start=True, early_stopping=False).fit(X, y).partial_fit(X, y)


def test_an_error_says_which_part_is_needed_and_which_one_was_handed(path):
    X, y = rows()
    net(module=TwoLayers).fit(X, y).save(path)
    here = TwoLayers.__module__
    with pytest.raises(ValueError, match="handed") as caught:
        ImbalancedNetClassifier.load(path)
    assert str(caught.value) == (
        f"module must be handed to load, for a file holds no code: the module of {str(path)!r} is {here}.TwoLayers; "
        "pass module=TwoLayers."
    )
    with pytest.raises(ValueError, match=r"^module must be") as caught:
        ImbalancedNetClassifier.load(path, module=OtherLayers)
    assert str(caught.value) == f"module must be {here}.TwoLayers, as in {str(path)!r}; it is {here}.OtherLayers."
    with pytest.raises(ValueError, match="load takes what a file can't hold") as caught:
        ImbalancedNetClassifier.load(path, module=TwoLayers, lr=0.1)
    assert str(caught.value) == (
        f"load takes what a file can't hold, which is ['module'] for {str(path)!r}; ['lr'] is not among it. Use "
        "set_params once it is loaded."
    )
    net(module=nn.Sequential(nn.Linear(5, 1))).fit(X, y).save(path)
    with pytest.raises(ValueError, match=re.escape("is an instance of torch.nn.Sequential; pass module=...")):
        ImbalancedNetClassifier.load(path)


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1)), r"module must have the layers .*'ReLU'.*'Tanh'"),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1)), r"can't be made as it was(.|\n)*size mismatch"),
        (nn.Sequential(nn.Linear(5, 3), nn.ReLU()), r"can't be made as it was(.|\n)*Unexpected key"),
    ],
    ids=["other activation", "other sizes", "a layer less"],
)
def test_a_module_that_is_made_otherwise_is_refused(other, match, path):
    X, y = rows()
    net(module=nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1))).fit(X, y).save(path)
    with pytest.raises(ValueError, match=match):
        ImbalancedNetClassifier.load(path, module=other)


def test_what_acts_in_training_alone_is_left_out_with_one_warning(path):
    X, y = rows()
    fitted = net(
        callbacks=[("scores", EpochScoring("f1", on_train=True)), LRScheduler()],
        callbacks__scores__lower_is_better=False,
        train_split=ValidSplit(3, stratified=True),
        sampling=EveryOther(),
        class_weight=lambda counts: counts**0.0,
        random_state=np.random.RandomState(0),
    ).fit(X, y)
    with pytest.warns(UserWarning, match="can't hold") as caught:
        fitted.save(path)
    assert [str(warning.message) for warning in caught] == [
        "a file without pickle can't hold callbacks, class_weight, random_state, sampling, train_split, which act in "
        "training alone: an estimator that is loaded has their defaults, unless load is handed them by name."
    ]
    assert caught[0].filename == __file__
    loaded = ImbalancedNetClassifier.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert loaded.callbacks is loaded.sampling is loaded.train_split is loaded.class_weight is None
    np.testing.assert_array_equal(loaded.class_weight_, fitted.class_weight_)
    assert loaded.history_[:, "f1"] == fitted.history_[:, "f1"]
    loaded.fit(X, y)
    callbacks = [("scores", EpochScoring("f1", on_train=True))]
    loaded = ImbalancedNetClassifier.load(path, callbacks=callbacks, sampling=fitted.sampling)
    assert loaded.callbacks is callbacks
    assert loaded.get_params()["callbacks__scores__lower_is_better"] is False
    loaded.set_params(warm_start=True).fit(X, y)
    assert "f1" in loaded.history_[-1]


class Descent(torch.optim.SGD):
    pass


def test_an_optimizer_of_the_users_own_is_left_out_and_may_be_handed_over(path):
    X, y = rows()
    fitted = net(optimizer=Descent, optimizer__momentum=0.5).fit(X, y)
    with pytest.warns(UserWarning, match="can't hold optimizer, which"):
        fitted.save(path)
    loaded = ImbalancedNetClassifier.load(path)
    assert (loaded.optimizer, type(loaded.net_.optimizer_)) == (None, torch.optim.Adam)
    loaded.partial_fit(X, y)
    loaded = ImbalancedNetClassifier.load(path, optimizer=Descent)
    assert isinstance(loaded.net_.optimizer_, Descent)
    assert loaded.net_.optimizer_.param_groups[0]["momentum"] == 0.5


# Derived classes


def test_a_derived_class_loads_its_own_files_and_no_others(path):
    X, y = rows()
    fitted = Named("b", module=MLP, max_epochs=1, random_state=0).fit(X, y)
    loaded = again(fitted, path)
    assert type(loaded) is Named
    assert loaded.name == "b"
    assert_same(fitted, loaded, X)
    with pytest.raises(ValueError, match="the class that loads") as caught:
        ImbalancedNetClassifier.load(path)
    assert str(caught.value) == (
        f"the class that loads must be the one that was saved: {str(path)!r} is of {Named.__module__}.Named, not of "
        "imbalanced_torch.ImbalancedNetClassifier. Call Named.load."
    )
    net().fit(X, y).save(path)
    with pytest.raises(ValueError, match=r"Call ImbalancedNetClassifier\.load\.$"):
        Named.load(path)


def test_what_metadata_methods_ask_for_comes_back(path):
    X, y = rows()
    with config_context(enable_metadata_routing=True):
        fitted = net().set_fit_request(sample_weight=True).set_score_request(sample_weight="weights").fit(X, y)
        loaded = again(fitted, path)
        for method in ("fit", "score", "partial_fit"):
            asked = [getattr(model.get_metadata_routing(), method).requests for model in (fitted, loaded)]
            assert asked[0] == asked[1]
    assert "_metadata_request" not in vars(again(net().fit(X, y), path))


class TwoNets(ImbalancedNet):
    """A net with a second module, which scales what the first one returns."""

    def initialize_module(self):
        super().initialize_module()
        self.scale_ = nn.Linear(1, 1, dtype=self.dtype)
        return self

    def infer(self, x, **fit_params):
        return self.scale_(super().infer(x, **fit_params))


class WithTwoNets(ImbalancedNetClassifier):
    net_class = TwoNets


def test_a_net_with_modules_of_its_own_comes_back_with_all_of_them(path):
    X, y = rows()
    fitted = WithTwoNets(MLP, max_epochs=2, random_state=0).fit(X, y)
    assert_same(fitted, again(fitted, path), X)


def test_a_class_of_a_script_may_have_moved_to_a_module_since(path, monkeypatch):
    X, y = rows()
    monkeypatch.setattr(TwoLayers, "__module__", "__main__")
    fitted = net(module=TwoLayers).fit(X, y)
    fitted.save(path)
    monkeypatch.setattr(TwoLayers, "__module__", "mypackage.nets")
    np.testing.assert_array_equal(ImbalancedNetClassifier.load(path, module=TwoLayers).predict(X), fitted.predict(X))


# Files that are something else


def test_an_estimator_that_is_not_fitted_and_a_path_that_is_none_are_refused(path, tmp_path):
    with pytest.raises(NotFittedError):
        net().save(path)
    fitted = net().fit(*rows())
    for wrong in (3, None, b"x"):
        with pytest.raises(TypeError, match=re.escape(f"path must be a str or an os.PathLike; it is {wrong!r}.")):
            fitted.save(wrong)
        with pytest.raises(TypeError, match=r"path must be a str or an os\.PathLike"):
            ImbalancedNetClassifier.load(wrong)
    with pytest.raises(IsADirectoryError):
        fitted.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        fitted.save(tmp_path / "no" / "model.safetensors")
    with pytest.raises(FileNotFoundError):
        ImbalancedNetClassifier.load(tmp_path / "no.safetensors")


def test_files_of_other_kinds_are_refused(path, tmp_path):
    fitted = net().fit(*rows())
    for content in (b"", b"hello", pickle.dumps(fitted), b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^path must be a file that save wrote; '.*' is none, or it is damaged: "):
            ImbalancedNetClassifier.load(path)
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=re.escape(f"{str(path)!r} holds tensors alone.") + "$"):
        ImbalancedNetClassifier.load(path)
    fitted.save_params(f_params=path, use_safetensors=True)
    with pytest.raises(ValueError, match="save_params wrote it; load_params of a fitted estimator reads it"):
        ImbalancedNetClassifier.load(path)


def test_a_file_that_is_cut_or_changed_anywhere_is_refused(path):
    net(module__hidden_sizes=(2,)).fit(*rows()).save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in rng.integers(0, len(content), 20):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"^path must be a file"):
            ImbalancedNetClassifier.load(path)
    for place in [*rng.integers(0, len(content), 150), *range(len(content) - 20, len(content))]:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        with pytest.raises(ValueError, match=r"must be (a file|1, which)"):
            ImbalancedNetClassifier.load(path)


def rewritten(path, change):
    """Write the file anew with another JSON, under a checksum that is right."""
    content, tensors = path.read_bytes(), load_file(path)
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    head = json.loads(metadata[KEY].partition(" ")[2])
    change(head)
    path.write_bytes(saved_model._as_bytes(json.dumps(head), tensors))


def test_a_format_to_come_is_refused(path):
    net().fit(*rows()).save(path)
    rewritten(path, lambda head: head.update(format_version=2, version="9.1"))
    with pytest.raises(ValueError, match=r"^the format") as caught:
        ImbalancedNetClassifier.load(path)
    assert str(caught.value) == (
        f"the format of {str(path)!r} must be 1, which imbalanced-torch {imbalanced_torch.__version__} reads; it is 2, "
        "of imbalanced-torch 9.1. Load it with that version."
    )


HOSTILE = [
    {"class": "os.system"},
    {"class": "torch.nn.functional.relu"},
    {"class": "torch.nn.Module.__init__"},
    {"class": "torch.nn.modules.os"},
    {"class": "imbalanced_torch.show_versions"},
    {"object": ["subprocess.Popen", {"dict": [["args", "ls"]]}]},
    {"object": ["torch.nn.Linear", {"dict": [["in_features", 1], ["out_features", 1]]}]},
    {"partial": ["eval", ["1"], {"dict": []}]},
    {"torch.dtype": "save"},
    {"numpy.dtype": "nonsense"},
    {"exec": "print(1)"},
    {"tensor": "no"},
    {"tuple": [1], "list": [2]},
]


@pytest.mark.parametrize("coded", HOSTILE, ids=str)
def test_a_file_names_no_class_beyond_the_known_ones(coded, path):
    net().fit(*rows()).save(path)
    rewritten(path, lambda head: head["attributes"].update(verbose=coded))
    with pytest.raises(ValueError, match=r"^path must be a file that save wrote; "):
        ImbalancedNetClassifier.load(path)


# Parameters as JSON


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            3,
            2**70,
            -0.0,
            1e-300,
            float("nan"),
            float("-inf"),
            "a\ud800",
            b"\x00\xff",
            [],
            (),
            {},
            [(1,), {2: 3}],
        ),
        *({1, 2}, frozenset({"a"}), {(1, "a"): [True], None: {"x": 1.5}}, bool, float),
        *(np.float32(0.1), np.int8(3), np.bool_(True), np.str_("a"), np.datetime64("2020-01-01T12", "h")),
        *(np.arange(3), np.array([0.1, np.nan], np.float16), np.zeros((0, 2)), np.array(3), np.arange(4).reshape(2, 2)),
        *(np.array(["a", 1, None, True], object), np.array([1, 2], ">i8"), np.array(["NaT", "2020"], "M8[Y]")),
        *(np.arange(1000.0).reshape(2, 500), np.arange(1000, dtype=np.uint16), np.arange(300) % 2 == 0),
        *(np.float32, np.dtype("f8"), torch.float64, torch.bfloat16, torch.device("cpu"), torch.device("cuda", 1)),
        *(nn.ReLU, nn.CrossEntropyLoss, torch.optim.AdamW, MLP, FocalLoss, partial(MLP, hidden_sizes=(2,))),
    ],
    ids=lambda value: f"{type(value).__name__}-{str(value)[:20]!r}",
)
def test_a_value_comes_back_as_it_was(value):
    arrays = {}
    back = decode(json.loads(json.dumps(encode(value, arrays), allow_nan=False)), arrays)
    assert type(back) is type(value)
    if isinstance(value, partial):
        assert (back.func, back.args, back.keywords) == (value.func, value.args, value.keywords)
    elif isinstance(value, np.ndarray):
        np.testing.assert_array_equal(back, value, strict=True)
        assert back.dtype == value.dtype
        assert not np.shares_memory(back, value)
    else:
        assert repr(back) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        len,
        lambda: 0,
        object(),
        np.random.RandomState(0),
        np.zeros(2, "i4,f4"),
        1j,
        np.array([1j]),
        np.longdouble(1),
        Swish,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_is_not_plain_is_refused(value):
    with pytest.raises(NotPlainError):
        encode(value, {})


@pytest.mark.parametrize(
    "name", [name for name in imbalanced_torch.__all__ if hasattr(getattr(imbalanced_torch, name), "get_params")]
)
def test_every_public_class_with_parameters_is_known(name):
    cls = getattr(imbalanced_torch, name)
    assert class_named(f"imbalanced_torch.{name}") is cls


@pytest.mark.parametrize("value", [OverSampling(0.3), EffectiveNumber(beta=0.5), DeferredSchedule(start=3)], ids=str)
def test_objects_with_parameters_come_back(value):
    back = decode(json.loads(json.dumps(encode(value, {}))), {})
    assert type(back) is type(value)
    assert back.get_params() == value.get_params()


# Whole or not at all


def test_a_full_disk_leaves_the_old_file_and_no_litter(path, monkeypatch):
    X, y = rows()
    first, second = net().fit(X, y), net(random_state=1).fit(X, y)
    first.save(path)
    before = path.read_bytes()

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

        def write(self, data):
            self.file.write(data[:100])
            raise OSError(28, "No space left on device")

    def full(name, mode="r", **kwargs):
        file = open(name, mode, **kwargs)  # noqa: SIM115
        return Full(file) if "x" in mode else file

    with monkeypatch.context() as patched:
        patched.setattr(files, "open", full, raising=False)
        with pytest.raises(OSError, match="No space left on device") as caught:
            second.save(path)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    second.save(path)
    assert_same(second, ImbalancedNetClassifier.load(path), X)


def test_a_link_stays_one_and_the_mode_too(path, tmp_path):
    fitted = net().fit(*rows())
    fitted.save(path)
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    fitted.set_params(decision="argmax").save(link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert ImbalancedNetClassifier.load(path).decision == "argmax"


#: Forks a process for each line that it reads, which saves one model after the other until it is killed.
SAVES_ON = """
import os, sys, torch
from imbalanced_torch import ImbalancedNetClassifier
torch.set_num_threads(1)
path, *kept = sys.argv[1:]
models = [ImbalancedNetClassifier.load(name) for name in kept]
models[0].save(path)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    while not child:
        for model in models:
            model.save(path)
    print(child, flush=True)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and kill -9")
def test_a_process_killed_while_it_saves_leaves_the_old_file_or_the_new_one(path, tmp_path):
    X, y = rows()
    models = [net(random_state=seed).fit(X, y) for seed in range(2)]
    kept = [tmp_path / f"kept{seed}" for seed in range(2)]
    for model, name in zip(models, kept, strict=True):
        model.save(name)
    known = [name.read_bytes() for name in kept]
    script = tmp_path / "saves_on.py"
    script.write_text(SAVES_ON)
    environment = {**os.environ, "PYTHONPATH": str(Path(imbalanced_torch.__file__).parent.parent)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, script, path, *kept], env=environment, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        rng, found = np.random.default_rng(0), set()
        for _ in range(20):
            process.stdin.write("\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.08))
            os.kill(child, signal.SIGKILL)
            content = path.read_bytes()
            assert content in known
            found.add(known.index(content))
        process.stdin.close()
    assert found == {0, 1}
    np.testing.assert_array_equal(ImbalancedNetClassifier.load(path).classes_, models[0].classes_)
