"""When remedies act, and where training starts: deferred and progressive remedies, cRT, the prior-aware start."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from imbalanced_torch import (
    MLP,
    DeferredSchedule,
    HeadRetraining,
    ImbalancedNet,
    ImbalancedNetClassifier,
    ProgressiveSchedule,
)
from imbalanced_torch._remedies.row_streams import EqualBatches, RowsByClass
from imbalanced_torch._remedies.sampling import STRATEGIES
from imbalanced_torch._remedies.schedule import SCHEDULES, resolve_schedule


def net(*args, **kwargs):
    return ImbalancedNetClassifier(*(args or [MLP]), **{"max_epochs": 10, "lr": 0.01, "random_state": 0, **kwargs})


class Recorder(ImbalancedNet):
    """Keeps, for each epoch, the codes and the class weights that the net learns from."""

    def train_step_single(self, batch, **kwargs):
        epoch = len(self.history)
        self.seen_ = getattr(self, "seen_", {})
        self.seen_.setdefault(epoch, []).extend(batch[1].tolist())
        self.weights_ = {**getattr(self, "weights_", {}), epoch: self.criterion_.class_weight.tolist()}
        return super().train_step_single(batch, **kwargs)


class Recording(ImbalancedNetClassifier):
    net_class = Recorder


def record(data, **kwargs):
    return Recording(**{"module": MLP, "max_epochs": 10, "random_state": 0, **kwargs}).fit(*data)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("deferred", [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]),
        (DeferredSchedule(0.25), [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]),
        (DeferredSchedule(3), [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]),
        (DeferredSchedule(0.001), [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("progressive", [0, 1 / 9, 2 / 9, 3 / 9, 4 / 9, 5 / 9, 6 / 9, 7 / 9, 8 / 9, 1]),
        ("retrain_head", [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]),
    ],
    ids=str,
)
def test_strengths_are_worked_by_hand_and_stand_in_the_history(data, schedule, expected):
    resolved = resolve_schedule(schedule, has_remedy=True, continues=False, max_epochs=10)
    np.testing.assert_allclose([resolved.strength(epoch, 10) for epoch in range(10)], expected)
    fitted = net(class_weight="balanced", schedule=schedule).fit(*data)
    np.testing.assert_allclose(fitted.history_[:, "remedy_strength"], expected)


def test_without_a_schedule_the_history_has_no_strength(data):
    assert "remedy_strength" not in net(class_weight="balanced").fit(*data).history_[-1]


def test_a_deferred_weight_is_1_and_then_the_remedys(data):
    fitted = record(data, class_weight="balanced", schedule=DeferredSchedule(4))
    full = net(class_weight="balanced", max_epochs=1).fit(*data).class_weight_
    weights = fitted.net_.weights_
    assert all(weights[epoch] == [1, 1] for epoch in range(1, 5))
    for epoch in range(5, 11):
        np.testing.assert_allclose(weights[epoch], full)
    np.testing.assert_allclose(fitted.class_weight_, full)
    np.testing.assert_allclose(fitted.effective_prior_, 0.5)


@pytest.mark.parametrize("sampling", ["weighted", "over", "under", "batch"])
def test_deferred_sampling_shows_the_rows_as_they_are_and_then_the_strategys(data, sampling):
    fitted = record(data, sampling=sampling, schedule=DeferredSchedule(4))
    counts = {epoch: np.bincount(codes, minlength=2) for epoch, codes in fitted.net_.seen_.items()}
    plain = np.bincount(data[1])
    assert all(counts[epoch].tolist() == plain.tolist() for epoch in range(1, 5))
    full = np.sum([counts[epoch] for epoch in range(5, 11)], axis=0)
    n = full.sum()
    assert abs(full[1] / n - 0.5) <= (5 * np.sqrt(0.25 / n) if sampling == "weighted" else 0)
    np.testing.assert_allclose(fitted.sampled_prior_, 0.5)


def test_progressive_sampling_goes_from_the_shares_of_the_data_to_equal_ones():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 2)), (rng.random(4000) < 0.1).astype(int)
    fitted = record((X, y), sampling="weighted", schedule="progressive", max_epochs=5, batch_size=500)
    shares = [np.mean(codes) for codes in fitted.net_.seen_.values()]
    expected = y.mean() + np.linspace(0, 1, 5) * (0.5 - y.mean())
    np.testing.assert_allclose(shares, expected, atol=5 * np.sqrt(0.25 / 4000))
    np.testing.assert_allclose(fitted.effective_prior_, 0.5)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampling", STRATEGIES)
def test_every_schedule_serves_every_strategy(data, sampling, schedule):
    fitted = net(sampling=sampling, schedule=schedule, max_epochs=6).fit(*data)
    np.testing.assert_allclose(fitted.effective_prior_, 0.5)


def test_equal_batches_lose_no_row_between_takes():
    rows = RowsByClass(np.repeat([0, 1], [9, 3]), 2, torch.Generator().manual_seed(0))
    stream = EqualBatches(rows, 6)
    taken = torch.cat([stream.take(n) for n in (4, 1, 7, 6)])
    assert (np.bincount(taken[:18:1] < 9) == [9, 9]).all()


def test_a_progressive_schedule_of_one_epoch_is_at_full_strength(data):
    np.testing.assert_allclose(
        net(sampling="over", schedule="progressive", max_epochs=1).fit(*data).effective_prior_, 0.5
    )


@pytest.mark.filterwarnings("ignore:sample_weight balances the classes")
def test_sample_weights_make_the_plain_phase_no_slower(data):
    X, y = data
    weights = np.where(y == 1, 50.0, 1.0)
    first = [
        net(sampling=sampling, schedule=schedule, optimizer=torch.optim.SGD)
        .fit(X, y, sample_weight=weights)
        .history_[0, "train_loss"]
        for sampling, schedule in ((None, None), ("over", DeferredSchedule(3)))
    ]
    assert first[1] == pytest.approx(first[0], rel=0.2)


def test_words_correct_what_the_sampler_leaves_at_every_strength(data):
    fitted = record(data, class_weight="balanced", sampling="over", schedule=DeferredSchedule(5))
    np.testing.assert_allclose(fitted.net_.weights_[10], 1)  # no double correction


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_early_stopping_keeps_nothing_from_before_the_switch(schedule):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 20)), (rng.random(400) < 0.2).astype(int)  # over-fits at once: epoch 1 is best
    fitted = net(
        class_weight="balanced",
        schedule=schedule,
        early_stopping=True,
        validation_fraction=0.4,
        n_iter_no_change=2,
        max_epochs=20,
    ).fit(X, y)
    losses = np.array(fitted.history_[:, "valid_log_loss_corrected"])
    first = SCHEDULES[schedule].first_to_keep(20)
    assert fitted.best_epoch_ == first + 1 + losses[first:].argmin()
    if schedule != "progressive":
        assert losses.argmin() < first == 16
    # The prior is that of the best epoch, for the net too.
    np.testing.assert_allclose(fitted.net_.prediction_.effective_prior, fitted.effective_prior_)
    np.testing.assert_allclose(fitted.net_.criterion_.class_weight, fitted.class_weight_, rtol=1e-6)
    strength = fitted.history_[fitted.best_epoch_ - 1, "remedy_strength"]
    balanced = net(class_weight="balanced", max_epochs=1, early_stopping=True, validation_fraction=0.4).fit(X, y)
    expected = 1 + strength * (balanced.class_weight_ - 1)
    np.testing.assert_allclose(fitted.class_weight_, expected, rtol=1e-6)


class BodyAndHead(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_features, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(8, n_outputs)
        self.modes = []

    def forward(self, X):
        self.modes = [*self.modes, (self.body.training, self.head.training)]
        return self.head(self.body(X))


class AtTheSwitch(Recorder):
    def on_epoch_begin(self, *args, **kwargs):
        if len(self.history) == 6:
            self.body_ = pickle.dumps(self.module_.body.state_dict())
            self.head_ = self.module_.head.weight.clone()
        super().on_epoch_begin(*args, **kwargs)
        if len(self.history) == 7:
            self.moved_ = (self.module_.head.weight - self.head_).norm()


def test_the_head_is_retrained_on_a_body_at_rest(data):
    class Switching(ImbalancedNetClassifier):
        net_class = AtTheSwitch

    kwargs = {"sampling": "batch", "max_epochs": 10, "lr": 0.01, "random_state": 0, "optimizer": torch.optim.AdamW}
    fitted = Switching(BodyAndHead, schedule=HeadRetraining(6), **kwargs).fit(*data)
    module, before = fitted.module_, pickle.loads(fitted.net_.body_)
    assert all(torch.equal(value, before[name]) for name, value in module.body.state_dict().items())
    deferred = Switching(BodyAndHead, schedule=DeferredSchedule(6), **kwargs).fit(*data)
    assert fitted.net_.moved_ > 0.3  # made anew
    assert deferred.net_.moved_ == 0
    assert set(module.modes) == {(True, True), (False, True), (False, False)}
    # And all may learn again.
    assert all(parameter.requires_grad for parameter in module.parameters())
    fitted.set_params(schedule=None).partial_fit(*data)
    now = fitted.module_.body.state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in now.items())


def test_retraining_that_fails_lets_every_part_learn_again(data):
    X, y = data

    class Failing(ImbalancedNet):
        def on_epoch_end(self, net, **kwargs):
            super().on_epoch_end(net, **kwargs)
            if len(self.history) == 8:
                Failing.last = self
                raise RuntimeError("stop")

    class Classifier(ImbalancedNetClassifier):
        net_class = Failing

    with pytest.raises(RuntimeError, match="stop"):
        Classifier(MLP, sampling="batch", schedule=HeadRetraining(6), max_epochs=10).fit(X, y)
    assert all(parameter.requires_grad for parameter in Failing.last.module_.parameters())


@pytest.mark.parametrize("schedule", [*SCHEDULES, DeferredSchedule(0.5)], ids=str)
def test_a_scheduled_net_learns_pickles_and_repeats_itself(data, schedule):
    X, y = data
    estimator = net(sampling="weighted", class_weight={1: 1}, schedule=schedule, max_epochs=20)
    first, second = clone(estimator).fit(X, y), clone(estimator).fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).predict_proba(X), first.predict_proba(X))
    assert first.predict(X)[y == 1].mean() > 0.7


def test_schedules_and_their_parameters_are_searched(data):
    grid = [
        {"schedule": [None, "progressive", "retrain_head"]},
        {"schedule": [DeferredSchedule()], "schedule__start": [0.3, 0.7]},
    ]
    search = GridSearchCV(net(class_weight="balanced"), grid, scoring="neg_log_loss", cv=2).fit(*data)
    assert len(set(search.cv_results_["mean_test_score"].round(6))) == 5


def test_ldam_with_deferred_weights_is_one_line(data):
    X, y = data
    fitted = net(criterion="ldam", class_weight="effective", schedule="deferred", early_stopping=True, max_epochs=20)
    assert fitted.fit(X, y).score(X, y) > 0.7


OBJECTS = "Pass an object: DeferredSchedule(start=...) or HeadRetraining(start=...)."


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"schedule": "defered"},
            ValueError,
            "schedule must be one of the words ['deferred', 'progressive', 'retrain_head']; it is 'defered'. Did you "
            "mean 'deferred'?",
        ),
        (
            {"schedule": "crt"},
            ValueError,
            "schedule must be one of the words ['deferred', 'progressive', 'retrain_head']; it is 'crt'. Did you mean "
            "'retrain_head'?",
        ),
        (
            {"schedule": 0.8},
            TypeError,
            "schedule must be None, one of the words ['deferred', 'progressive', 'retrain_head'], "
            "DeferredSchedule(...), ProgressiveSchedule() or HeadRetraining(...); it is 0.8.",
        ),
        (
            {"schedule": DeferredSchedule(1.5)},
            ValueError,
            "start must be a share of max_epochs, in (0, 1), or an int of at least 1; it is 1.5.",
        ),
        (
            {"schedule": DeferredSchedule(0)},
            ValueError,
            "start must be a share of max_epochs, in (0, 1), or an int of at least 1; it is 0.",
        ),
        (
            {"schedule": DeferredSchedule(10)},
            ValueError,
            "start=10 leaves no epoch after the switch: max_epochs is 10. Lower start or raise max_epochs.",
        ),
        (
            {"schedule": "deferred", "class_weight": None},
            ValueError,
            "schedule='deferred' says when class_weight and sampling act, and both are None. Set one of them, or leave "
            "schedule at None.",
        ),
        (
            {"schedule": "deferred", "schedule__start": 0.5},
            ValueError,
            f"schedule__start can't be set: schedule is 'deferred', which has no parameter 'start'. {OBJECTS}",
        ),
    ],
)
def test_error_says_what_must_hold_what_came_and_the_choices(data, parameters, error, message):
    with pytest.raises(error) as raised:
        net(**{"class_weight": "balanced", **parameters}).fit(*data)
    assert str(raised.value) == message


def test_a_schedule_can_not_go_on(data):
    message = "plans the epochs of one fit; partial_fit and warm_start can't go on with it. Set schedule=None."
    fitted = net(class_weight="balanced", schedule="deferred", warm_start=True).fit(*data)
    with pytest.raises(ValueError, match=message):
        fitted.fit(*data)
    with pytest.raises(ValueError, match=message):
        net(class_weight="balanced", schedule="deferred").partial_fit(*data, classes=[0, 1])


def test_retraining_a_head_repeats_itself_in_threads(data):
    def proba(seed):
        fitted = net(random_state=seed, sampling="over", schedule="retrain_head").fit(*data)
        return fitted.predict_proba(data[0])

    expected = [proba(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(proba, range(4))), expected)


def test_a_head_starts_anew_at_the_log_prior(data):
    fitted = net(class_weight={1: 3}, schedule=HeadRetraining(1), max_epochs=2, lr=1e-12).fit(*data)
    counts = 300 * fitted.effective_prior_ + 0.5
    assert fitted.module_.output.bias.item() == pytest.approx(np.log(counts[1] / counts[0]), abs=1e-9)


def test_a_head_that_can_not_be_made_anew_raises_before_training(data, capsys):
    class Raw(nn.Module):
        def __init__(self, n_features):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(n_features))

        def forward(self, X):
            return X @ self.weight

    with pytest.raises(ValueError, match=r"needs a last layer with reset_parameters, .*; that of Raw is Raw"):
        net(Raw, class_weight="balanced", schedule="retrain_head", verbose=1).fit(*data)
    assert capsys.readouterr().out == ""


# Where training starts

STILL = {"lr": 1e-12, "max_epochs": 1}


@pytest.mark.parametrize("remedy", [{}, {"class_weight": "balanced"}, {"class_weight": {1: 3}}, {"sampling": "over"}])
def test_the_default_module_starts_at_the_log_effective_prior(data, remedy):
    fitted = net(**STILL, **remedy).fit(*data)
    counts = 300 * fitted.effective_prior_ + 0.5
    assert fitted.module_.output.bias.item() == pytest.approx(np.log(counts[1] / counts[0]), abs=1e-9)


def test_it_starts_at_the_log_prior_of_three_classes(three_classes):
    fitted = net(**STILL).fit(*three_classes)
    counts = 300 * fitted.class_prior_ + 0.5
    np.testing.assert_allclose(fitted.module_.output.bias.detach(), np.log(counts / counts.sum()), atol=1e-9)


def test_a_deferred_remedy_starts_plain(data):
    X, y = data
    fitted = net(lr=1e-12, class_weight="balanced", schedule="deferred").fit(X, y)
    expected = np.log((y.sum() + 0.5) / (300 - y.sum() + 0.5))
    assert fitted.module_.output.bias.item() == pytest.approx(expected, abs=1e-9)


class ShowsItsBias(nn.Linear):
    @property
    def output_bias(self):
        return self.bias


def test_any_module_that_exposes_output_bias_starts_there_and_others_do_not(data):
    X, y = data
    expected = np.log((y.sum() + 0.5) / (300 - y.sum() + 0.5))
    assert net(ShowsItsBias, **STILL).fit(X, y).module_.bias.item() == pytest.approx(expected, abs=1e-9)
    assert net(nn.Linear, **STILL).fit(X, y).module_.bias.item() != pytest.approx(expected, abs=1e-3)
    two = net(ShowsItsBias, module__out_features=2, **STILL).fit(X, y).module_.bias
    assert (two[1] - two[0]).item() == pytest.approx(expected, abs=1e-9)


def test_a_ready_instance_keeps_its_bias(data):
    instance = ShowsItsBias(5, 1)
    fitted = net(instance, **STILL).fit(*data)
    assert fitted.module_.bias.item() == pytest.approx(instance.bias.item(), abs=1e-6)


def test_going_on_keeps_the_bias(data):
    X, y = data
    fitted = net(warm_start=True, max_epochs=30).fit(X, y)
    before = fitted.module_.output.bias.item()
    fitted.set_params(lr=1e-12, max_epochs=1, class_weight={1: 100}).fit(X, y).partial_fit(X, y)
    assert fitted.module_.output.bias.item() == pytest.approx(before, abs=1e-6)


def decays(fitted):
    return {
        parameter.shape.numel() == 1: group["weight_decay"]
        for group in fitted.net_.optimizer_.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_the_bias_that_starts_at_the_prior_has_no_weight_decay(data, optimizer):
    assert decays(net(optimizer=optimizer, optimizer__weight_decay=0.1).fit(*data)) == {True: 0, False: 0.1}
    assert decays(net(nn.Linear, optimizer=optimizer, optimizer__weight_decay=0.1).fit(*data)) == {
        True: 0.1,
        False: 0.1,
    }


def test_adamw_has_weight_decay_by_default(data):
    assert decays(net(optimizer=torch.optim.AdamW).fit(*data)) == {True: 0, False: 0.01}


def test_the_users_parameter_groups_win(data):
    groups = [("output.bias", {"weight_decay": 0.7})]
    fitted = net(optimizer__weight_decay=0.1, optimizer__param_groups=groups).fit(*data)
    assert decays(fitted) == {True: 0.7, False: 0.1}


class StartsAt(nn.Linear):
    """A linear module whose bias starts where it is told, away from what the estimator knows of."""

    def __init__(self, in_features, out_features, start):
        super().__init__(in_features, out_features)
        with torch.no_grad():
            self.bias.fill_(start)


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_logit_adjusted_training_is_the_plain_net_with_its_bias_at_tau_log_prior(data, tau):
    X, y = data
    log_odds = tau * np.log(y.mean() / (1 - y.mean()))
    kwargs = {"max_epochs": 30, "lr": 0.05, "optimizer": torch.optim.AdamW, "optimizer__weight_decay": 0.5}
    kwargs |= {"optimizer__param_groups": [("bias", {"weight_decay": 0.0})], "random_state": 0}
    adjusted = ImbalancedNetClassifier(
        StartsAt, criterion="logit_adjusted", criterion__tau=tau, module__start=0.0, **kwargs
    ).fit(X, y)
    plain = ImbalancedNetClassifier(StartsAt, module__start=log_odds, **kwargs).fit(X, y)
    shift = plain.decision_function(X) - adjusted.decision_function(X)
    np.testing.assert_allclose(shift, log_odds, atol=1e-9)
    kwargs["optimizer__param_groups"] = []
    decayed = [
        ImbalancedNetClassifier(
            StartsAt, criterion="logit_adjusted", criterion__tau=tau, module__start=0.0, **kwargs
        ).fit(X, y),
        ImbalancedNetClassifier(StartsAt, module__start=log_odds, **kwargs).fit(X, y),
    ]
    shift = decayed[1].decision_function(X) - decayed[0].decision_function(X)
    assert np.abs(shift - log_odds).max() > 0.1


def test_the_start_makes_logit_adjustment_and_the_plain_net_one(data):
    X, y = data
    kwargs = {"max_epochs": 10, "optimizer": torch.optim.AdamW, "random_state": 0}
    plain = ImbalancedNetClassifier(MLP, **kwargs).fit(X, y)
    adjusted = ImbalancedNetClassifier(MLP, criterion="logit_adjusted", **kwargs).fit(X, y)
    shift = plain.decision_function(X) - adjusted.decision_function(X)
    np.testing.assert_allclose(shift, np.log(y.mean() / (1 - y.mean())), atol=1e-9)
    np.testing.assert_allclose(adjusted.predict_proba(X), plain.predict_proba(X), atol=1e-9)


def test_progressive_schedule_has_no_parameters():
    assert ProgressiveSchedule().get_params() == {}


class StopAfter(Callback):
    """End training at the end of an epoch, as skorch's callbacks do."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [1, 3, 5, 11], ids=lambda epoch: f"after epoch {epoch} of 11")
@pytest.mark.parametrize("remedy", [{"class_weight": "balanced"}, {"sampling": "weighted"}, {"class_weight": [1, 3]}])
def test_a_progressive_fit_that_a_callback_ends_is_at_the_prior_of_its_last_epoch(data, remedy, stop):
    fitted = net(schedule="progressive", max_epochs=11, callbacks=[StopAfter(stop)], **remedy).fit(*data)
    strength = (stop - 1) / 10
    prior = np.bincount(data[1]) / 300
    if "sampling" in remedy:
        expected = (1 - strength) * prior + strength / 2
    else:
        weights = 1 / prior if remedy["class_weight"] == "balanced" else np.array([1.0, 3.0])
        weights = (1 - strength) + strength * weights / (weights @ prior)
        expected = weights * prior / (weights @ prior)
    assert fitted.n_iter_ == fitted.best_epoch_ == stop
    assert fitted.history_[-1, "remedy_strength"] == strength
    np.testing.assert_allclose(fitted.effective_prior_, expected)
    np.testing.assert_allclose(fitted.net_.prediction_.effective_prior, expected)


def test_a_progressive_fit_that_stops_early_is_at_the_prior_of_its_best_epoch(data):
    class Restart(ProgressiveSchedule):
        """Lets early stopping keep any epoch."""

        def first_to_keep(self, n_epochs):
            return 0

    stopping = {"early_stopping": True, "n_iter_no_change": 2, "tol": 9.0, "lr": 1.0}  # the loss goes down and up
    fitted = net(class_weight="balanced", schedule=Restart(), max_epochs=11, **stopping).fit(*data)
    assert fitted.best_epoch_ < fitted.n_iter_ < 11
    weights = 1 + (fitted.best_epoch_ - 1) / 10 * (0.5 / fitted.class_prior_ - 1)
    np.testing.assert_allclose(fitted.class_weight_, weights)
    np.testing.assert_allclose(fitted.effective_prior_, weights * fitted.class_prior_)
