"""The estimator's own behaviour: fitted attributes, one remedy at a time, going on, stopping, repeating."""

import copy
import pickle
import re
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.utils.multiclass import check_classification_targets
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from skorch.history import History
from torch import nn
from torch.utils.data import TensorDataset

from imbalanced_torch import MLP, CombinedRemedyWarning, ImbalancedNet, ImbalancedNetClassifier, UnderSampling
from imbalanced_torch._data.training_data import read_training_data
from imbalanced_torch._fit.settings import choose_settings
from imbalanced_torch._net.callbacks import EarlyStopping as BestEpoch


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 3, "lr": 0.01, "random_state": 0, **kwargs})


def test_the_plain_net_is_the_default():
    fresh = ImbalancedNetClassifier()
    assert (fresh.class_weight, fresh.sampling, fresh.criterion, fresh.epoch_size) == (None,) * 4


def test_init_only_stores():
    given = object()
    assert ImbalancedNetClassifier(module=given, class_weight=given, optimzer__lr=3).class_weight is given


@pytest.mark.parametrize(
    ("remedy", "sampled", "effective"),
    [
        ({}, "class", "class"),
        ({"class_weight": "balanced"}, "class", 0.5),
        ({"class_weight": "sqrt"}, "class", "sqrt"),
        ({"sampling": "weighted"}, 0.5, 0.5),
        ({"sampling": "over"}, 0.5, 0.5),
        ({"sampling": "under"}, 0.5, 0.5),
        ({"sampling": "batch"}, 0.5, 0.5),
        ({"sampling": "over", "class_weight": "balanced"}, 0.5, 0.5),
        ({"sampling": "batch", "class_weight": "sqrt"}, 0.5, 0.5),
        ({"sampling": "under", "class_weight": "effective"}, 0.5, 0.5),
        ({"sampling": UnderSampling(0.5), "class_weight": "balanced"}, 1 / 3, 0.5),
        ({"epoch_size": 0.5}, "class", "class"),
    ],
)
def test_priors_say_what_each_stage_makes_of_the_classes(data, remedy, sampled, effective):
    X, y = data
    prior = y.mean()
    named = {"class": prior, "sqrt": prior**0.5 / (prior**0.5 + (1 - prior) ** 0.5)}
    fitted = net(**remedy, max_epochs=1).fit(X, y)
    assert fitted.class_prior_[1] == pytest.approx(prior)
    assert fitted.sampled_prior_[1] == pytest.approx(named.get(sampled, sampled))
    assert fitted.effective_prior_[1] == pytest.approx(named.get(effective, effective))
    assert fitted.class_weight_ @ fitted.sampled_prior_ == pytest.approx(1)


def test_a_tiny_weight_is_not_0(data):
    fitted = net(class_weight={0: 1e-20, 1: 1}, prior_correction=True).fit(*data)
    assert fitted.class_weight_[0] / fitted.class_weight_[1] == pytest.approx(1e-20)
    assert np.isfinite(fitted.predict_proba(data[0])).all()


@pytest.mark.parametrize("remedy", [{"class_weight": "balanced"}, {"sampling": "over"}, {"sampling": "batch"}])
def test_each_remedy_raises_recall_on_fresh_rows(remedy):
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.1).astype(int)
    X = rng.normal(size=(3000, 3)) + y[:, None]
    plain, treated = (net(**r).fit(X[:1000], y[:1000]) for r in ({}, remedy))
    recall, treated_recall = (fitted.predict(X[1000:])[y[1000:] == 1].mean() for fitted in (plain, treated))
    assert treated_recall > recall + 0.25


@pytest.mark.filterwarnings("ignore:columns of X should have about unit scale")
@pytest.mark.parametrize("sampling", [None, "weighted", "over", "under", "batch"])
def test_the_net_sees_only_training_rows_in_the_shares_of_the_sampler(data, sampling):
    X, y = data
    X = np.c_[X, np.arange(300)]  # each row carries its number

    class Recorder(ImbalancedNet):
        def train_step_single(self, batch, **kwargs):
            self.seen_ = [*getattr(self, "seen_", []), *batch[0][:, 5].int().tolist()]
            return super().train_step_single(batch, **kwargs)

        def validation_step(self, batch, **kwargs):
            self.held_out_ = [*getattr(self, "held_out_", []), *batch[0][:, 5].int().tolist()]
            return super().validation_step(batch, **kwargs)

    class Recording(ImbalancedNetClassifier):
        net_class = Recorder

    fitted = Recording(MLP, sampling=sampling, early_stopping=True, max_epochs=4, random_state=0).fit(X, y)
    seen, held_out = fitted.net_.seen_, set(fitted.net_.held_out_)
    assert not held_out & set(seen)
    assert len(held_out) == round(0.1 * (y == 0).sum()) + round(0.1 * (y == 1).sum())
    share = y[seen].mean()
    assert share == pytest.approx(fitted.sampled_prior_[1], abs=5 * np.sqrt(share * (1 - share) / len(seen)))
    fitted.net_.forward(X, training=True)  # in training mode, and yet every row
    assert len(fitted.predict(X)) == 300


def test_predict_follows_the_decision_function_and_the_probabilities(data, three_classes):
    for X, y in (data, three_classes):
        fitted = net(class_weight="balanced").fit(X, y)
        scores, proba = fitted.decision_function(X), fitted.predict_proba(X)
        codes = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        assert scores.shape == ((300,) if len(fitted.classes_) == 2 else (300, 3))
        np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[codes])
        np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[proba.argmax(1)])
        np.testing.assert_allclose(proba.sum(1), 1)
        np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), proba)


def test_log_probabilities_are_finite_far_out(data):
    X, y = data
    fitted = net(max_epochs=20).fit(X, y)
    assert np.isfinite(fitted.predict_log_proba(X * 1e4)).all()


# The same result again


@pytest.mark.parametrize("remedy", [{}, {"sampling": "over"}, {"sampling": "under"}, {"early_stopping": True}])
def test_a_random_state_makes_two_fits_equal_bit_by_bit(data, remedy):
    X, y = data
    nets = [net(**remedy, random_state=seed, module__dropout=0.2).fit(X, y) for seed in (0, 0, 1)]
    first, second, other = (fitted.predict_proba(X) for fitted in nets)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_global_random_states_are_left_alone(data):
    before = torch.get_rng_state(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    net(module__dropout=0.3, sampling="over", early_stopping=True).fit(*data).predict(data[0])
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == pickle.dumps(np.random.get_state())  # noqa: NPY002


def test_the_global_random_state_does_not_matter(data):
    X, y = data
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(net(module__dropout=0.3, sampling="over").fit(X, y).predict_proba(X))
    np.testing.assert_array_equal(*results)


class SlowToMake(nn.Module):
    """Another thread has time to draw between its two layers."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        hidden = nn.Linear(n_features, 4)
        time.sleep(0.02)
        self.layers = nn.Sequential(hidden, nn.ReLU(), nn.Linear(4, n_outputs))

    def forward(self, X):
        return self.layers(X)


def test_threads_agree_and_leave_the_global_random_state_alone(data):
    X, y = data

    def proba(seed):
        return net(SlowToMake, random_state=seed, sampling="over").fit(X, y).predict_proba(X)

    expected, before = [proba(seed) for seed in range(4)], torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(proba, range(4)))
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, wanted)
    assert torch.equal(before, torch.get_rng_state())


def test_a_default_module_with_dropout_is_fitted_alike_in_threads_and_never_touches_the_global_generator(data):
    def proba(seed):
        return net(random_state=seed, module__dropout=0.5, sampling="over").fit(*data).predict_proba(data[0])

    expected, before = [proba(seed) for seed in range(4)], torch.get_rng_state()
    drawn = []
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(proba, seed) for seed in range(4)]
        while not all(result.done() for result in results):
            drawn.append(torch.rand(()).item())
            time.sleep(1e-3)
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.result(), wanted)
    torch.set_rng_state(before)
    assert drawn == [torch.rand(()).item() for _ in drawn]  # the stream of this thread went on undisturbed


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.LBFGS])  # LBFGS goes skorch's way
def test_dropout_draws_from_the_fit_whichever_way_a_batch_takes(data, optimizer):
    def proba():
        torch.rand(3)
        return net(module__dropout=0.5, optimizer=optimizer).fit(*data).predict_proba(data[0])

    np.testing.assert_array_equal(proba(), proba())


class NoisyAlways(nn.Module):
    """Monte-Carlo dropout: it drops units in prediction too."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.layer = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return self.layer(nn.functional.dropout(X, 0.5, training=True))


@pytest.mark.parametrize("iterator", [{}, {"iterator_valid__num_workers": 0}], ids=["ours", "torch's"])
def test_every_prediction_draws_other_random_numbers_as_torch_does(data, iterator):
    X, y = data
    fitted = net(NoisyAlways, **iterator).fit(X, y)
    passes = np.stack([fitted.predict_proba(X)[:, 1] for _ in range(10)])
    assert passes.std(axis=0).mean() > 0.01
    torch.manual_seed(0)
    first = fitted.predict_proba(X)
    torch.manual_seed(0)
    np.testing.assert_array_equal(fitted.predict_proba(X), first)
    np.testing.assert_array_equal(
        net(NoisyAlways).fit(X, y).module_.layer.weight.detach(), fitted.module_.layer.weight.detach()
    )


class WritesIntoInput(nn.Module):
    """It changes its input in place."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(n_features, n_outputs))

    def forward(self, X):
        X[X > 1] = 1
        return self.layers(X)


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def in_a_dict(X):
    return {"X": X.copy()}


@pytest.mark.parametrize(
    "container", [np.array, np.asfortranarray, read_only, torch.tensor, pd.DataFrame, csr_matrix, in_a_dict]
)
def test_a_module_that_writes_into_its_input_never_changes_the_callers(data, container):
    X, y = data
    X = np.float32(X)
    given, module = container(X), WritesIntoInput
    fitted = net(module, module__n_features=5, early_stopping=True).fit(given, y)
    for few in (given, given[:1]) if isinstance(given, np.ndarray) else (given,):
        fitted.predict(few)
        fitted.predict_proba(few)
    now = given["X"] if isinstance(given, dict) else given.toarray() if isinstance(given, csr_matrix) else given
    np.testing.assert_array_equal(np.asarray(now), X)


def test_a_hook_that_writes_into_the_input_of_the_default_module_changes_nothing_of_the_callers(data):
    X, y = data
    fitted, before = net().fit(X, y), X.copy()
    fitted.module_.register_forward_pre_hook(lambda module, args: args[0].zero_())
    fitted.predict(X)
    np.testing.assert_array_equal(X, before)


def test_each_call_of_partial_fit_drops_other_units(data):
    class Recording(nn.Linear):
        drawn = ()

        def forward(self, X):
            if self.training:
                self.drawn = (*self.drawn, torch.rand(()).item())
            return super().forward(X)

    def drawn():
        fitted = net(Recording).partial_fit(*data, classes=[0, 1]).partial_fit(*data)
        return fitted.module_.drawn

    assert len(set(drawn())) == len(drawn())
    assert drawn() == drawn()


@pytest.mark.parametrize("label", [int, str, np.uint8])
def test_labels_that_may_be_a_regressions_warn_as_scikit_learn_does_once(label):
    X, y = np.random.default_rng(0).standard_normal((30, 4)), np.array([label(i % 20) for i in range(30)])
    with warnings.catch_warnings(record=True) as expected:
        warnings.simplefilter("always")
        check_classification_targets(y)  # scikit-learn 1.6 does not warn yet
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        net(max_epochs=1).fit(X, y)
    assert [str(warning.message) for warning in warned] == [str(warning.message) for warning in expected]


def test_the_number_of_torch_threads_is_left_alone(data):
    before = torch.get_num_threads()
    net().fit(*data)
    assert torch.get_num_threads() == before


def test_a_random_state_instance_moves_on(data):
    X, y = data
    rng = np.random.RandomState(0)
    first, second = (net(random_state=rng).fit(X, y).predict_proba(X) for _ in range(2))
    assert not np.array_equal(first, second)


# Early stopping


def test_early_stopping_restores_the_epoch_with_the_lowest_corrected_loss():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 20)), (rng.random(400) < 0.2).astype(int)  # nothing to learn: over-fits at once
    fitted = net(
        class_weight="balanced",
        early_stopping=True,
        validation_fraction=0.4,
        max_epochs=200,
        n_iter_no_change=5,
        callbacks=[("split", KeepSplit())],
    ).fit(X, y)
    losses = fitted.history_[:, "valid_log_loss_corrected"]
    assert fitted.n_iter_ == len(losses) < 200
    assert fitted.best_epoch_ == np.argmin(losses) + 1 < fitted.n_iter_
    until_best = net(
        class_weight="balanced",
        train_split=_same_split(fitted, X, y),
        max_epochs=fitted.best_epoch_,
        early_stopping=False,
    ).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), until_best.predict_proba(X))


class KeepSplit(Callback):
    """Keep which rows were trained on and held out."""

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.positions = dataset_train.index, dataset_valid.index


def _same_split(fitted, X, y):
    (train, held_out) = dict(fitted.net_.callbacks_)["split"].positions
    assert sorted([*train, *held_out]) == list(range(len(y)))
    return lambda dataset, y: (torch.utils.data.Subset(dataset, train), torch.utils.data.Subset(dataset, held_out))


def test_the_rows_that_are_held_out_are_random_in_each_class(data):
    X, y = data
    order = np.argsort(y, kind="stable")  # sorted data
    fitted = net(early_stopping=True, validation_fraction=0.3, callbacks=[("split", KeepSplit())]).fit(
        X[order], y[order]
    )
    _, held_out = dict(fitted.net_.callbacks_)["split"].positions
    for code in (0, 1):
        places, n = np.flatnonzero(y[order] == code), (y == code).sum()
        chosen = np.searchsorted(places, held_out[y[order][held_out] == code])
        assert len(chosen) == round(0.3 * n)
        assert abs(chosen.mean() - (n - 1) / 2) < 3 * n / np.sqrt(12 * len(chosen))  # neither the first nor the last


def test_history_shows_raw_weighted_and_corrected_validation_loss(data):
    X, y = data
    split = [("split", KeepSplit())]
    fitted = net(class_weight="balanced", early_stopping=True, max_epochs=15, callbacks=split).fit(X, y)
    held_out = _same_split(fitted, X, y)(np.arange(300), y)[1].indices
    fitted_at_last = net(class_weight="balanced", train_split=_same_split(fitted, X, y), max_epochs=15).fit(X, y)
    proba, codes = fitted_at_last.predict_proba(X[held_out]), y[held_out]
    last = fitted_at_last.history_[-1]
    own = proba[np.arange(len(codes)), codes]
    assert last["valid_log_loss"] == pytest.approx(-np.log(own).mean())
    assert last["valid_loss"] == pytest.approx((-np.log(own) * fitted_at_last.class_weight_[codes]).mean())
    corrected = proba * fitted_at_last.class_prior_ / fitted_at_last.effective_prior_
    corrected /= corrected.sum(1, keepdims=True)
    expected = -np.log(corrected[np.arange(len(codes)), codes]).mean()
    assert last["valid_log_loss_corrected"] == pytest.approx(expected)


def test_without_a_remedy_the_corrected_loss_is_the_raw_one(data):
    history = net(early_stopping=True).fit(*data).history_
    np.testing.assert_allclose(history[:, "valid_log_loss"], history[:, "valid_log_loss_corrected"], rtol=1e-12)


def test_validation_loss_is_weighted_by_sample_weight_only(data):
    X, y = data
    kwargs = {"train_split": ValidSplit(3, stratified=True), "max_epochs": 1}
    weights = np.where(y == 1, 1e-9, 1.0)
    weighted = net(**kwargs).fit(X, y, sample_weight=weights)
    rows = next(iter(ValidSplit(3, stratified=True).check_cv(y).split(X, y)))[1]
    rows = rows[y[rows] == 0]
    expected = -np.log(weighted.predict_proba(X[rows])[:, 0]).mean()
    assert weighted.history_[-1, "valid_log_loss"] == pytest.approx(expected, rel=1e-3)


def test_a_weight_of_0_has_no_correction_and_stops_on_the_weighted_loss(data):
    fitted = net(class_weight={0: 0, 1: 1}, early_stopping=True).fit(*data)
    assert fitted.net_.monitored == "valid_loss"
    assert "valid_log_loss_corrected" not in fitted.history_[-1]


@pytest.mark.parametrize(("fraction", "rare"), [(0.1, 95), (0.5, 19), (0.9, 96)])
def test_auto_stops_early_where_both_parts_hold_about_ten_rows_of_the_rarest_class(fraction, rare):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 2)), np.arange(400) < rare
    enough = net(max_epochs=1, validation_fraction=fraction).fit(X, y)
    too_few = net(max_epochs=1, validation_fraction=fraction).fit(X[1:], y[1:])
    assert "valid_loss" in enough.history_[-1]
    assert "valid_loss" not in too_few.history_[-1]


@pytest.mark.parametrize(("n", "epochs"), [(64, 50), (6400, 50), (9600, 33), (64 * 6000, 1)])
def test_a_plain_net_that_holds_nothing_out_takes_at_most_5000_steps(n, epochs):
    X, y = np.zeros((n, 1), dtype=np.float32), np.arange(n) % 2

    def chosen(stops):
        estimator = net(max_epochs=None, early_stopping=stops)
        data = read_training_data(estimator, X, y, None, None, None, 0, single_epoch=False)
        return choose_settings(estimator, data, 0, None).max_epochs

    assert [chosen(False), chosen(True)] == [epochs, 50]


def test_a_class_too_rare_to_split_stays_in_training():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(101, 2)), np.repeat([0, 1, 2, 3], [80, 18, 1, 2])
    half = net(early_stopping=True, validation_fraction=0.5).fit(X, y)
    np.testing.assert_allclose(half.class_prior_ * 51, [40, 9, 1, 1])
    most = net(early_stopping=True, validation_fraction=0.99).fit(X, y)
    np.testing.assert_allclose(most.class_prior_ * 4, [1, 1, 1, 1])


class Scripted:
    """A net whose monitored loss is given."""

    monitored = "loss"

    def __init__(self, losses):
        self.module_, self.losses, self.history = nn.Linear(1, 1), losses, History()

    def stops_at(self, stopping):
        stopping.on_train_begin(self)
        for loss in self.losses:
            self.history.new_epoch()
            self.history.record("epoch", len(self.history))
            self.history.record("loss", loss)
            try:
                stopping.on_epoch_end(self)
            except KeyboardInterrupt:
                break
        stopping.on_train_end(self)
        return len(self.history), stopping.best_epoch_


@pytest.mark.parametrize(
    ("losses", "patience", "tol", "stop_and_best"),
    [
        ([3, 2, 2.5, 2.6, 2.7, 1], 3, 0.0, (5, 2)),
        ([3, 2, 2.5, 2.6, 1.9, 2, 2, 2], 3, 0.0, (8, 5)),
        ([3, 2.95, 2.9, 2.85, 2.8], 3, 0.3, (4, 4)),  # falls, but by less than tol
        ([3, 2.8, 2.6, 2.4, 2.2], 2, 0.3, (5, 5)),  # by more than tol within the patience
    ],
)
def test_stopping_waits_for_patience_epochs_without_an_improvement_of_tol(losses, patience, tol, stop_and_best):
    assert Scripted(losses).stops_at(BestEpoch(patience, tol)) == stop_and_best


def test_a_validation_loss_that_is_nan_raises(data):
    class NanInEvaluation(nn.Linear):
        def forward(self, X):
            return super().forward(X) if self.training or len(X) == 2 else super().forward(X) * np.nan

    with pytest.raises(ValueError, match="the validation loss became nan or infinite in epoch 1"):
        net(NanInEvaluation, early_stopping=True).fit(*data)


def test_train_split_and_predefined_split_choose_the_held_out_rows(data):
    X, y = data
    labels = np.array(["no", "yes"])[y]
    tensors = TensorDataset(torch.from_numpy(X[:50]), torch.from_numpy(y[:50]))
    for split, target, n_train in [
        (ValidSplit(4, stratified=True), labels, 225),
        (predefined_split(Dataset(X[:50], labels[:50])), labels, 300),
        (predefined_split(tensors), y, 300),
    ]:
        fitted = net(train_split=split, early_stopping=True).fit(X, target)
        assert "valid_log_loss_corrected" in fitted.history_[-1]
        assert fitted.class_priors_.drawn.sum() == n_train


# Going on


def test_warm_start_goes_on(data):
    X, y = data
    once = net(max_epochs=3, warm_start=True).fit(X, y)
    weights = copy.deepcopy(once.module_.state_dict())
    losses = once.history_[:, "train_loss"]
    twice = once.fit(X, y)
    assert twice.n_iter_ == 6
    assert twice.history_[:3, "train_loss"] == losses
    assert twice.history_[-1, "train_loss"] < losses[-1]
    assert any(not torch.equal(weights[k], v) for k, v in twice.module_.state_dict().items())


def test_warm_start_of_two_short_fits_is_as_good_as_one_long_fit(data):
    """Adam's state goes on too: the loss falls as in one fit."""
    X, y = data
    long = net(max_epochs=6, batch_size=-1).fit(X, y)
    short = net(max_epochs=3, batch_size=-1, warm_start=True).fit(X, y).fit(X, y)
    assert short.history_[-1, "train_loss"] == pytest.approx(long.history_[-1, "train_loss"], rel=1e-6)


def test_warm_start_takes_over_a_new_learning_rate_and_new_weights(data):
    fitted = net(warm_start=True).fit(*data).set_params(lr=0.5, class_weight="balanced").fit(*data)
    assert fitted.net_.optimizer_.param_groups[0]["lr"] == 0.5
    np.testing.assert_allclose(fitted.effective_prior_, 0.5)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"module__hidden_sizes": (3,)}, "module__hidden_sizes"),
        ({"module": nn.Linear}, "module"),
        ({"criterion": nn.CrossEntropyLoss}, "criterion"),
        ({"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}, "optimizer, optimizer__momentum"),
        ({"dtype": torch.float32}, "dtype"),
    ],
)
def test_warm_start_with_another_net_raises(data, change, what):
    fitted = net(warm_start=True).fit(*data).set_params(**change)
    message = f"{what} can't change once the net is trained; set warm_start=False and call fit to start anew."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fitted.fit(*data)


def test_warm_start_with_another_instance_raises_and_with_the_same_goes_on(data):
    fitted = net(nn.Linear(5, 1), warm_start=True).fit(*data).fit(*data)
    fitted = pickle.loads(pickle.dumps(fitted)).fit(*data)
    with pytest.raises(ValueError, match="module can't change once the net is trained"):
        fitted.set_params(module=nn.Linear(5, 1)).fit(*data)


def test_warm_start_compares_arrays_by_value(data):
    class Shifted(nn.Linear):
        def __init__(self, in_features, out_features, shift):
            super().__init__(in_features, out_features)

    fitted = net(Shifted, module__shift=np.zeros(3), warm_start=True).fit(*data)
    fitted.set_params(module__shift=np.zeros(3)).fit(*data)
    with pytest.raises(ValueError, match="module__shift can't change"):
        fitted.set_params(module__shift=np.ones(3)).fit(*data)


def test_warm_start_takes_over_new_callbacks(data):
    fitted = net(warm_start=True).fit(*data).set_params(callbacks=[EpochScoring("f1", on_train=True)]).fit(*data)
    assert "f1" in fitted.history_[-1]
    assert "f1" not in fitted.history_[0]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_going_on_that_fails_leaves_the_net_as_it_was(data, method):
    X, y = data
    fitted = net(warm_start=True, optimizer=torch.optim.SGD).fit(X, y)
    before, weights = fitted.predict_proba(X), copy.deepcopy(fitted.net_.criterion_.class_weight)
    fitted.set_params(class_weight="balanced")
    with pytest.raises(ValueError, match="the training loss became nan or infinite in epoch 4"):
        getattr(fitted, method)(X * 1e200, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    assert torch.equal(fitted.net_.criterion_.class_weight, weights)
    assert fitted.n_iter_ == len(fitted.history_) == 3


class Raising(Callback):
    """Do something, such as an interrupt, at one event of one epoch."""

    def __init__(self, event, act, epoch=3):
        self.event, self.act, self.epoch = event, act, epoch

    def _at(self, event, net):
        if event == self.event and len(net.history) == self.epoch:
            self.act()

    def on_batch_end(self, net, **kwargs):
        self._at("batch", net)

    def on_epoch_end(self, net, **kwargs):
        self._at("epoch", net)


@pytest.fixture
def foreground():
    """A process in the background ignores Ctrl-C; the tests of it run as if in the foreground."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def ctrl_c():
    """What Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


def raised():
    raise KeyboardInterrupt


@pytest.mark.usefixtures("foreground")
@pytest.mark.parametrize(("event", "act"), [("batch", ctrl_c), ("epoch", ctrl_c), ("batch", raised)])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_an_interrupt_comes_out_of_fit_and_leaves_the_estimator_as_it_was(data, method, event, act):
    fitted, handler = net(warm_start=True).fit(*data), signal.getsignal(signal.SIGINT)
    before, attributes = fitted.predict_proba(data[0]), dict(vars(fitted))
    fitted.set_params(callbacks=[Raising(event, act, epoch=4)])
    with pytest.raises(KeyboardInterrupt):
        getattr(fitted, method)(*data)
    np.testing.assert_array_equal(fitted.predict_proba(data[0]), before)
    assert vars(fitted).keys() == attributes.keys()
    assert fitted.n_iter_ == len(fitted.history_) == attributes["n_iter_"]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.usefixtures("foreground")
def test_an_interrupt_of_the_first_fit_leaves_an_unfitted_estimator(data):
    interrupted = net(callbacks=[Raising("batch", ctrl_c)], max_epochs=9)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(*data)
    assert not hasattr(interrupted, "net_")
    assert not hasattr(interrupted, "n_features_in_")


@pytest.mark.usefixtures("foreground")
def test_an_interrupt_ends_a_grid_search_and_a_loop(data):
    search = GridSearchCV(net(callbacks=[Raising("batch", ctrl_c)]), {"lr": [0.1, 0.2]}, cv=2, error_score=np.nan)
    with pytest.raises(KeyboardInterrupt):
        search.fit(*data)


@pytest.mark.usefixtures("foreground")
def test_an_interrupt_during_early_stopping_is_not_taken_for_its_signal(data):
    impatient = net(early_stopping=True, tol=1e3, n_iter_no_change=2, callbacks=[Raising("epoch", ctrl_c)])
    assert net(early_stopping=True, tol=1e3, n_iter_no_change=2, max_epochs=9).fit(*data).n_iter_ == 3
    with pytest.raises(KeyboardInterrupt):
        impatient.fit(*data)


def test_a_callback_ends_training_at_the_end_of_an_epoch_as_in_skorch(data):
    assert net(callbacks=[Raising("epoch", raised)], max_epochs=9).fit(*data).n_iter_ == 3
    stopping = EarlyStopping(patience=2, threshold=10.0)
    assert net(callbacks=[stopping], early_stopping=True, max_epochs=9).fit(*data).n_iter_ == 3


@pytest.mark.parametrize("callback", [EarlyStopping(), EarlyStopping(monitor="valid_log_loss")])
def test_a_callback_that_monitors_held_out_rows_where_there_are_none_says_so(data, callback):
    message = f"a callback reads '{callback.monitor}', but nothing is held out: set early_stopping=True or train_split"
    with pytest.raises(ValueError, match=message):
        net(callbacks=[callback], early_stopping=False).fit(*data)


@pytest.mark.parametrize(
    "callbacks",
    [
        [EpochScoring("roc_auc", name="auc", lower_is_better=False), EarlyStopping("auc", lower_is_better=False)],
        [LRScheduler(policy="ReduceLROnPlateau", monitor="valid_loss")],
        [Checkpoint()],
    ],
    ids=["a score", "a scheduler", "a checkpoint"],
)
def test_whatever_reads_a_score_of_rows_that_are_not_held_out_says_so(data, callbacks, tmp_path):
    for callback in callbacks:
        if isinstance(callback, Checkpoint):
            callback.dirname = str(tmp_path)
    with pytest.raises(ValueError, match="but nothing is held out: set early_stopping=True or train_split"):
        net(callbacks=callbacks, early_stopping=False).fit(*data)


def test_a_score_that_no_epoch_has_is_named_with_those_that_there_are(data):
    with pytest.raises(
        ValueError, match=r"a callback reads 'nonsense', which no epoch has\. There are \['dur', 'epoch'"
    ):
        net(callbacks=[EarlyStopping(monitor="nonsense")], early_stopping=True).fit(*data)


class Scaled(nn.Module):
    """A criterion with a temperature that is trained too."""

    def __init__(self, reduction="none"):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, f, targets):
        return nn.functional.binary_cross_entropy_with_logits(f * self.log_scale.exp(), targets, reduction="none")

    def probabilities(self, f):
        return torch.sigmoid(f * self.log_scale.exp())


def test_early_stopping_restores_all_that_the_optimizer_trains(data):
    X, y = data
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(y)) < 0.3, 1 - y, y)  # so that it over-fits
    fitted = net(
        criterion=Scaled, early_stopping=True, lr=0.05, max_epochs=40, n_iter_no_change=20, validation_fraction=0.3
    ).fit(X, y)
    assert fitted.best_epoch_ < fitted.n_iter_
    validation = fitted.history_[fitted.best_epoch_ - 1, "valid_log_loss"]
    again = net(
        criterion=Scaled, early_stopping=True, lr=0.05, max_epochs=fitted.best_epoch_, validation_fraction=0.3
    ).fit(X, y)
    assert again.history_[-1, "valid_log_loss"] == pytest.approx(validation)
    np.testing.assert_allclose(fitted.predict_proba(X), again.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("remedy", [{}, {"class_weight": "balanced"}, {"sampling": "over"}, {"decision": "balanced"}])
@pytest.mark.parametrize("lost", ["fail", "ok"])
def test_rows_of_weight_0_leave_their_class_in_classes(three_classes, remedy, lost):
    X, y = three_classes
    weights = np.where(y == lost, 0.0, 1.0)
    fitted = net(**remedy).fit(X, y, weights)
    assert fitted.classes_.tolist() == ["fail", "ok", "warn"]
    assert fitted.predict_proba(X).shape == (300, 3)
    assert fitted.class_prior_[fitted.classes_ == lost] == 0
    assert lost not in fitted.predict(X)
    without = net(**remedy).fit(X[y != lost], y[y != lost])
    np.testing.assert_allclose(fitted.class_prior_[fitted.classes_ != lost], without.class_prior_)


def test_bagging_draws_of_a_rare_class_vote_softly(data):
    X, y = data
    rare = np.r_[np.flatnonzero(y == 0)[:40], np.flatnonzero(y == 1)[:2]]
    bag = BaggingClassifier(net(), n_estimators=10, random_state=0)
    with pytest.warns(UserWarning, match=r"sample_weight is positive in rows of one class only, \[0\] of \[0, 1\]"):
        bag.fit(X[rare], y[rare])
    assert all(member.classes_.tolist() == [0, 1] for member in bag.estimators_)
    assert bag.predict_proba(X).shape == (300, 2)


def test_one_class_with_weight_is_predicted_for_every_row(data):
    X, y = data
    with pytest.warns(UserWarning, match="the net learns to predict that class for every row"):
        fitted = net(max_epochs=10).fit(X, y, np.where(y == 1, 1.0, 0.0))
    assert set(fitted.predict(X)) == {1}
    assert np.isfinite(fitted.predict_log_proba(X)).all()


def test_it_trains_where_the_caller_has_switched_gradients_off(data):
    expected = net().fit(*data).predict_proba(data[0])
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            np.testing.assert_array_equal(net().fit(*data).predict_proba(data[0]), expected)


def test_warm_start_with_other_classes_or_columns_raises(data):
    X, y = data
    fitted = net(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"warm_start needs the classes of the first fit, \[0, 1\]; y has"):
        fitted.fit(X, np.r_[2, y[1:]])
    with pytest.raises(ValueError, match="X has 3 features, but ImbalancedNetClassifier is expecting 5 features"):
        fitted.fit(X[:, :3], y)


def test_warm_start_takes_over_the_settings_of_loaders(data):
    fitted = net(warm_start=True).fit(*data).set_params(iterator_train__batch_size=100, iterator_train__shuffle=False)
    fitted.fit(*data)
    assert fitted.history_[-1, "batches", :, "train_batch_size"] == [100, 100, 100]
    assert np.isnan(fitted.effective_prior_).all()
    fitted.set_params(iterator_train__shuffle=True).fit(*data)
    np.testing.assert_allclose(fitted.effective_prior_, fitted.class_prior_)


def test_going_on_that_fails_leaves_callbacks_and_prior_as_they_were(data):
    class Fails(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise RuntimeError("stop")

    fitted = net(warm_start=True, class_weight="balanced").fit(*data)
    callbacks = list(fitted.net_.callbacks_)
    with pytest.raises(RuntimeError, match="stop"):
        fitted.set_params(class_weight=None, callbacks=[Fails()], lr=0.5).fit(*data)
    assert fitted.net_.callbacks_ == callbacks
    np.testing.assert_allclose(fitted.net_.prediction_.effective_prior, 0.5)
    assert not fitted.net_.criterion_.equal
    assert fitted.net_.lr == 0.01


def test_the_net_of_an_early_stopped_fit_trains_on_by_itself(data):
    X, y = data
    fitted = net(early_stopping=True).fit(X, y)
    fitted.net_.partial_fit(X, torch.from_numpy(y))
    assert len(fitted.history_) == fitted.net_.max_epochs + 3


def test_a_batch_of_all_rows_is_all_rows_of_the_epoch(data):
    fitted = net(sampling="over", batch_size=-1, max_epochs=1).fit(*data)
    assert fitted.history_[-1, "batches", :, "train_batch_size"] == [2 * 255]


def test_partial_fit_makes_one_epoch_and_counts_over_all_calls(data):
    X, y = data
    fitted = net(class_weight="balanced", max_epochs=20)
    for part in np.array_split(np.arange(300), 3):
        fitted.partial_fit(X[part], y[part], classes=[0, 1])
    assert fitted.n_iter_ == 3
    np.testing.assert_allclose(fitted.class_prior_, [1 - y.mean(), y.mean()])
    np.testing.assert_allclose(fitted.effective_prior_, 0.5)
    assert fitted.class_weight_[1] == pytest.approx(1 / (2 * y.mean()))


@pytest.mark.parametrize(
    "remedy",
    [
        *({"class_weight": w} for w in ["balanced", "sqrt", "effective", {1: 3}, [1, 3], lambda counts: 1 / counts]),
        *({"sampling": s} for s in ["weighted", "over", "under", "batch", {0: 60}, {1: 60}, lambda counts: counts * 2]),
    ],
)
def test_partial_fit_of_a_chunk_without_a_class(data, remedy):
    X, y = data
    order = np.argsort(y)
    fitted = net(**remedy)
    fitted.partial_fit(X[order[:100]], y[order[:100]], classes=[0, 1])
    assert fitted.class_prior_.tolist() == [1, 0]
    assert np.isfinite(fitted.predict_proba(X)).all()
    fitted.partial_fit(X[order[100:]], y[order[100:]])
    np.testing.assert_allclose(fitted.class_prior_, [1 - y.mean(), y.mean()])


@pytest.mark.filterwarnings("ignore:columns of X should have about unit scale")
def test_each_call_of_partial_fit_samples_afresh(data):
    X, y = np.c_[data[0], np.arange(300)], data[1]

    class Recorder(ImbalancedNet):
        seen_ = ()

        def train_step_single(self, batch, **kwargs):
            self.seen_ = (*self.seen_, *batch[0][:, 5].int().tolist())
            return super().train_step_single(batch, **kwargs)

    class Recording(ImbalancedNetClassifier):
        net_class = Recorder

    def seen(random_state):
        fitted = Recording(nn.Linear, sampling="under", random_state=random_state).partial_fit(X, y, classes=[0, 1])
        first = fitted.net_.seen_
        return first, fitted.partial_fit(X, y).net_.seen_[len(first) :]

    first, second = seen(0)
    assert set(first) != set(second)
    assert seen(0) == (first, second)
    assert seen(1)[0] != first


def test_two_remedies_by_number_warn_once_over_many_chunks(data):
    fitted = net(class_weight={1: 3}, sampling="over")
    with pytest.warns(CombinedRemedyWarning):
        fitted.partial_fit(*data, classes=[0, 1])
    fitted.partial_fit(*data)  # a warning would be an error


def test_partial_fit_after_fit_goes_on(data):
    fitted = net().fit(*data).partial_fit(*data)
    assert fitted.n_iter_ == 4


def test_fit_after_partial_fit_starts_anew(data):
    X, y = data
    again = net().partial_fit(X, y, classes=[0, 1]).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), net().fit(X, y).predict_proba(X))


# Modules


class AsksFor(nn.Module):
    def __init__(self, d_in, num_classes):
        super().__init__()
        self.sizes = d_in, num_classes
        self.linear = nn.Linear(d_in, num_classes)

    def forward(self, X):
        return self.linear(X), "and more that skorch's modules may return"


def test_a_module_gets_the_sizes_it_asks_for(data, three_classes):
    assert net(AsksFor).fit(*data).module_.sizes == (5, 2)
    assert net(AsksFor).fit(*three_classes).module_.sizes == (5, 3)
    assert net(nn.Linear).fit(*data).module_.out_features == 1
    assert net(nn.Linear).fit(*three_classes).module_.out_features == 3


def test_parameters_of_the_module_win_over_sizes(data):
    assert net(nn.Linear, module__out_features=2).fit(*data).module_.out_features == 2


def test_lazy_layers_and_factories_work(data):
    lazy = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(1))
    assert net(lazy).fit(*data).module_[0].in_features == 5
    assert isinstance(lazy[0], nn.LazyLinear)
    assert net(lambda n_features: nn.Linear(n_features, 1)).fit(*data).module_.in_features == 5


def test_an_instance_starts_from_its_own_weights_and_keeps_them(data):
    instance = nn.Linear(5, 1)
    fitted = net(instance, max_epochs=1, lr=1e-12).fit(*data)
    np.testing.assert_allclose(fitted.module_.weight.detach().numpy(), instance.weight.detach().numpy(), atol=1e-6)
    assert fitted.module_ is not instance


def test_batch_norm_survives_a_last_batch_of_one_row(data):
    X, y = data[0][:129], data[1][:129]
    module = nn.Sequential(nn.LazyLinear(4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    assert np.isfinite(net(module, batch_size=64).fit(X, y).predict_proba(X)).all()


def test_the_default_module_has_the_sizes_it_is_given():
    module = MLP(3, 2, hidden_sizes=[7, 5], activation=nn.Tanh, dropout=0.5)
    assert [tuple(p.shape) for p in module.parameters() if p.ndim == 2] == [(7, 3), (5, 7), (2, 5)]
    assert sum(isinstance(m, nn.Dropout) for m in module.modules()) == 2
    assert [tuple(p.shape) for p in MLP(3, hidden_sizes=[]).parameters() if p.ndim == 2] == [(1, 3)]


# Devices


def test_device_auto_dtype_is_float32_where_doubles_are_slow(data):
    from imbalanced_torch._data.rows import Rows, resolve_dtype

    assert resolve_dtype("auto", Rows(data[0]), "cuda:0") == torch.float32
    assert resolve_dtype("auto", Rows(data[0]), torch.device("mps")) == torch.float32
