"""What skorch offers still works: callbacks, iterators, checkpoints, compiled modules, overridden methods."""

import numpy as np
import pytest
import skorch.callbacks as cb
import torch
from accelerate import Accelerator
from sklearn.metrics import f1_score, make_scorer
from skorch.hf import AccelerateMixin
from tolerances import assert_close_to_rounding
from torch import nn
from torch.utils.data import DataLoader, default_collate

from imbalanced_torch import MLP, ImbalancedNet, ImbalancedNetClassifier


def net(*args, **kwargs):
    module = {} if args else {"module": MLP}
    return ImbalancedNetClassifier(*args, **{**module, "max_epochs": 4, "lr": 0.01, "random_state": 0, **kwargs})


def labelled(data, rare, common):
    X, y = data
    return X, np.array([common, rare])[y]


def positive_score(net, X, y):
    """A user's own scorer: sees labels."""
    return float(np.mean(net.predict(X) == y))


SCORES = [
    "f1",
    "average_precision",
    "precision",
    "recall",
    "neg_brier_score",
    "roc_auc",
    "accuracy",
    "neg_log_loss",
    "f1_macro",
]


@pytest.mark.parametrize(("rare", "common"), [("fraud", "ok"), ("yes", "no"), (-1, 1), (1, -1), (1, 0), (0, 1)])
@pytest.mark.parametrize("scoring", SCORES)
def test_scoring_callbacks_count_the_rarest_class_as_positive(data, rare, common, scoring):
    """Whatever the labels are called, the score is that of the same data with the rare class coded 1."""
    kwargs = {"early_stopping": True, "class_weight": "balanced", "validation_fraction": 0.4}
    named = net(callbacks=[cb.EpochScoring(scoring, name="score")], **kwargs).fit(*labelled(data, rare, common))
    if named.classes_[1] == rare:
        coded = net(callbacks=[cb.EpochScoring(scoring, name="score")], **kwargs).fit(*data)
        assert named.history_[:, "score"] == coded.history_[:, "score"]
    else:  # the logit has the other sign, so another net: the value is checked against the definition
        assert_last_score(named, data, scoring, rare)
    assert np.isfinite(named.history_[:, "score"]).all()


def assert_last_score(fitted, data, scoring, rare):
    from sklearn.metrics import get_scorer

    X, y = data[0], np.where(data[1] == 1, fitted.classes_[0], fitted.classes_[1])
    again = net(
        callbacks=[cb.EpochScoring(scoring, name="score", on_train=True, use_caching=False)],
        class_weight="balanced",
    ).fit(X, y)

    class Coded:  # the same net with the rare class coded 1
        classes_ = np.array([0, 1])
        _estimator_type = "classifier"

        def fit(self): ...

        def __sklearn_tags__(self):
            return again.__sklearn_tags__()

        def predict(self, X):
            return (again.predict(X) == rare).astype(int)

        def predict_proba(self, X):
            return again.predict_proba(X)[:, ::-1]

    expected = get_scorer(scoring)(Coded(), X, (y == rare).astype(int))
    assert again.history_[-1, "score"] == pytest.approx(expected)


def test_a_scorer_that_names_its_positive_class_keeps_it(data):
    X, y = labelled(data, "fraud", "ok")
    scorers = [cb.EpochScoring(make_scorer(f1_score, pos_label=label), name=label) for label in ("ok", "fraud")]
    fitted = net(callbacks=[*scorers, cb.EpochScoring("f1")], early_stopping=True, class_weight="balanced").fit(X, y)
    assert fitted.history_[:, "fraud"] == fitted.history_[:, "f1"]
    assert fitted.history_[:, "ok"] != fitted.history_[:, "f1"]


@pytest.mark.parametrize(
    "callback",
    [
        cb.EpochScoring(positive_score, name="s"),
        cb.EpochScoring(None, name="s"),
        cb.EpochScoring("accuracy", name="s", use_caching=False),
        cb.BatchScoring("accuracy", name="s"),
        cb.EpochScoring(f1_score, name="s"),
    ],
    ids=["user's", "default", "uncached", "batch", "metric"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_way_of_scoring_sees_labels(data, callback, weighted):
    X, y = labelled(data, "fraud", "ok")
    weights = np.ones(300) if weighted else None
    fitted = net(callbacks=[callback], early_stopping=True, max_epochs=15).fit(X, y, sample_weight=weights)
    assert fitted.history_[-1, "s"] > 0.5


def test_the_callers_callbacks_stay_as_they_were(data):
    scoring, stopper = cb.EpochScoring("f1"), cb.EarlyStopping("train_loss", patience=2)
    before = dict(vars(scoring)), dict(vars(stopper))
    fitted = net(callbacks=[scoring, ("stop", stopper)], early_stopping=True).fit(*data)
    assert (vars(scoring), vars(stopper)) == before
    assert dict(fitted.net_.callbacks_)["stop"] is not stopper


def test_callback_classes_and_their_parameters_work(data):
    fitted = net(
        callbacks=[("f1", cb.EpochScoring)],
        callbacks__f1__scoring="f1",
        callbacks__f1__lower_is_better=False,
        callbacks__print_log=None,
        early_stopping=True,
    ).fit(*data)
    assert "f1_best" in fitted.history_[-1]
    assert "print_log" not in dict(fitted.net_.callbacks_)


def test_a_users_early_stopping_ends_training(data):
    fitted = net(callbacks=[cb.EarlyStopping("train_loss", patience=2, threshold=10)], max_epochs=50).fit(*data)
    assert fitted.n_iter_ == 3


def test_learning_rate_schedulers_step(data):
    schedule = cb.LRScheduler("StepLR", step_size=1, gamma=0.5)
    fitted = net(callbacks=[schedule]).fit(*data)
    assert fitted.history_[:, "event_lr"] == [0.01, 0.005, 0.0025, 0.00125]


def test_checkpoints_are_written_and_load(data, tmp_path):
    X, y = data
    checkpoint = cb.Checkpoint(monitor="valid_log_loss_corrected_best", dirname=tmp_path)
    fitted = net(callbacks=[checkpoint], early_stopping=True).fit(X, y)
    other = net(random_state=3).fit(X, y)
    other.load_params(checkpoint=cb.Checkpoint(dirname=tmp_path))
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))


def test_gradient_clipping_and_parameter_groups_reach_the_net(data):
    fitted = net(
        callbacks=[cb.GradientNormClipping(0.1)],
        optimizer__param_groups=[("output.bias", {"weight_decay": 0.5, "lr": 7.0})],
    ).fit(*data)
    assert sorted(group["lr"] for group in fitted.net_.optimizer_.param_groups) == [0.01, 7.0]


def test_verbose_2_prints_a_line_for_each_epoch(data, capsys):
    net(verbose=2).fit(*data)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[0] == "module=MLP, optimizer=Adam, lr=0.01, max_epochs=4, batch_size=64"
    assert "train_loss" in lines[1]
    net().fit(*data)
    assert capsys.readouterr().out == ""


class Counting(ImbalancedNet):
    """A user's net: overrides a method of skorch's and adds a parameter."""

    def __init__(self, *args, scale=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale = scale

    def get_loss(self, *args, **kwargs):
        return self.scale * super().get_loss(*args, **kwargs)


class ScaledClassifier(ImbalancedNetClassifier):
    net_class = Counting


def test_a_class_attribute_names_the_nets_class(data):
    plain = net(max_epochs=1, lr=1e-9).fit(*data).history_[0, "train_loss"]
    scaled = ScaledClassifier(MLP, scale=3.0, max_epochs=1, lr=1e-9, random_state=0).fit(*data)
    assert scaled.history_[0, "train_loss"] == pytest.approx(3 * plain)
    assert isinstance(scaled.net_, Counting)


class AcceleratedNet(AccelerateMixin, ImbalancedNet):
    pass


class AcceleratedClassifier(ImbalancedNetClassifier):
    net_class = AcceleratedNet


@pytest.mark.parametrize("sampling", [None, "weighted", "batch"])
def test_the_accelerate_mixin_trains_the_same_net(data, sampling):
    X, y = data
    kwargs = {"sampling": sampling, "max_epochs": 2, "random_state": 0, "early_stopping": True}
    accelerated = AcceleratedClassifier(MLP, accelerator=Accelerator(cpu=True), device=None, **kwargs).fit(X, y)
    plain = ImbalancedNetClassifier(MLP, **kwargs).fit(X, y)
    assert_close_to_rounding(accelerated.predict_proba(X), plain.predict_proba(X))


@pytest.mark.filterwarnings("ignore")  # torch compiles with warnings of its own
def test_a_compiled_module_trains(data):
    X, y = data
    kwargs = {"module": nn.Linear, "max_epochs": 1, "random_state": 0}
    compiled = ImbalancedNetClassifier(**kwargs, compile=True, compile__backend="eager").fit(X, y)
    assert_close_to_rounding(compiled.predict_proba(X), ImbalancedNetClassifier(**kwargs).fit(X, y).predict_proba(X))


# Iterators of the user's go by skorch's ordinary route


class MyLoader(DataLoader):
    pass


def my_collate(rows):
    return default_collate(rows)


@pytest.mark.parametrize(
    "ordinary",
    [
        {"iterator_train": MyLoader, "iterator_valid": MyLoader},
        {"iterator_train__collate_fn": my_collate, "iterator_valid__collate_fn": my_collate},
        {"iterator_train__num_workers": 1},
        {"iterator_valid__batch_size": 7},
    ],
    ids=["own iterator", "own collate_fn", "worker", "batch size"],
)
@pytest.mark.parametrize("sampling", [None, "over", "batch"])
def test_users_iterators_and_loader_settings_give_the_same_net(data, ordinary, sampling):
    X, y = data
    weights = np.random.default_rng(0).random(300)
    kwargs = {"sampling": sampling, "early_stopping": True, "max_epochs": 2, "random_state": 0}
    expected = ImbalancedNetClassifier(MLP, **kwargs).fit(X, y, sample_weight=weights)
    fitted = ImbalancedNetClassifier(MLP, **kwargs, **ordinary).fit(X, y, sample_weight=weights)
    assert_close_to_rounding(fitted.predict_proba(X), expected.predict_proba(X))


def test_batch_size_of_the_training_iterator_and_drop_last(data):
    def batches(**kwargs):
        history = net(max_epochs=1, **kwargs).fit(*data).history_
        return history[-1, "batches", :, "train_batch_size"]

    assert batches(batch_size=128) == [128, 128, 44]
    assert batches(iterator_train__batch_size=200) == [200, 100]
    assert batches(iterator_train__batch_size=200, iterator_train__drop_last=True) == [200]
    assert batches(batch_size=-1) == [300]
    assert batches(batch_size=23) == [23] * 12 + [24]
    assert batches(sampling="batch", batch_size=64, epoch_size=100) == [64, 64]


def test_a_users_own_sampler_is_used_where_sampling_is_none_and_its_prior_is_not_known(data):
    sampler = torch.utils.data.SubsetRandomSampler(range(40))
    fitted = net(iterator_train__sampler=sampler, max_epochs=1, early_stopping=True).fit(*data)
    assert sum(fitted.history_[-1, "batches", :, "train_batch_size"]) == 40
    assert np.isnan(fitted.sampled_prior_).all()
    assert np.isnan(fitted.effective_prior_).all()
    assert fitted.net_.monitored == "valid_loss"


def test_shuffling_is_what_happens_anyway(data):
    X, y = data
    expected = net(epoch_size=0.5, sampling="over").fit(X, y).predict_proba(X)
    for nothing_new in ({"iterator_train__shuffle": True}, {"iterator_train__sampler": None}):
        fitted = net(epoch_size=0.5, sampling="over", **nothing_new).fit(X, y)
        assert_close_to_rounding(fitted.predict_proba(X), expected)


def test_rows_come_in_their_own_order_without_shuffling(data):
    X, y = data
    first, second = (
        net(nn.Linear, iterator_train__shuffle=False, random_state=s, max_epochs=1, lr=1e-9) for s in (0, 0)
    )
    order = np.random.default_rng(0).permutation(300)
    losses = [
        fitted.history_[-1, "batches", :, "train_loss"] for fitted in (first.fit(X, y), second.fit(X[order], y[order]))
    ]
    assert losses[0] != losses[1]


def test_the_net_decides_as_the_estimator_does_where_probabilities_say_otherwise(data):
    class Shifted(nn.BCEWithLogitsLoss):
        def probabilities(self, logits):
            return torch.sigmoid(logits - 3)

    X, y = data
    scoring = cb.EpochScoring("recall", name="recall", on_train=True, use_caching=False)
    fitted = net(criterion=Shifted, class_weight="balanced", callbacks=[scoring], max_epochs=9).fit(X, y)
    np.testing.assert_array_equal(fitted.net_.predict(X), fitted.predict(X))
    assert fitted.history_[-1, "recall"] == fitted.predict(X)[y == 1].mean()
    assert (fitted.predict_proba(X).argmax(1) != fitted.predict(X)).any()


def test_a_users_callback_may_have_any_name(data):
    for name in ("stopping", "early_stopping"):
        stopper = cb.EarlyStopping("train_loss", patience=2, threshold=10)
        fitted = net(callbacks=[(name, stopper)], early_stopping=True, max_epochs=20).fit(*data)
        assert fitted.n_iter_ == 3


def test_a_callback_that_can_not_be_copied_is_used_as_it_is(data, tmp_path):
    class Writer(cb.Callback):
        def __init__(self, file):
            self.file = file

        def on_epoch_end(self, net, **kwargs):
            self.file.write("x")

    with open(tmp_path / "log", "w") as file:
        net(callbacks=[Writer(file)]).fit(*data)
    assert (tmp_path / "log").read_text() == "xxxx"


def test_the_net_predicts_codes_from_plain_arrays(data):
    X, y = labelled(data, "fraud", "ok")
    fitted = net().fit(X, y)
    assert_close_to_rounding(fitted.net_.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(fitted.classes_[fitted.net_.predict(X)], fitted.predict(X))


@pytest.mark.parametrize("by_chunk", [False, True], ids=["fit", "partial_fit"])
def test_a_users_iterator_that_shuffles_by_the_loaders_generator_draws_another_order_in_each_epoch(data, by_chunk):
    X, y = data
    orders = []

    class Order(nn.Linear):
        def forward(self, X):
            if self.training:
                orders.append(X[:, 0].tolist())
            return super().forward(X)

    def shuffled(dataset, batch_size, generator):
        return DataLoader(dataset, batch_size=batch_size, shuffle=True, generator=generator)

    module = Order(5, 1)
    for _ in range(2):
        estimator = net(module, iterator_train=shuffled, iterator_train__batch_size=300)
        for _ in range(4 if by_chunk else 0):
            estimator.partial_fit(X, y, classes=[0, 1])
        if not by_chunk:
            estimator.fit(X, y)
    assert len(orders) == 8
    assert [sorted(order) for order in orders] == [sorted(X[:, 0].tolist())] * 8
    assert len(set(map(tuple, orders[:4]))) == 4
    assert orders[4:] == orders[:4]  # of the same seed


class Diary(cb.Callback):
    """Writes into a list and a dict of its own, whichever depth they are at."""

    def __init__(self):
        self.losses = []
        self.seen = {"epochs": []}

    def on_epoch_end(self, net, **kwargs):
        self.losses.append(net.history[-1, "train_loss"])
        self.seen["epochs"].append(len(net.history))


@pytest.mark.parametrize("wrap", [lambda diary: [diary], lambda diary: [("diary", diary)]], ids=["bare", "named"])
def test_what_the_callers_callbacks_hold_stays_as_it_was(data, wrap):
    diary = Diary()
    fitted = net(callbacks=wrap(diary)).fit(*data)
    assert (diary.losses, diary.seen) == ([], {"epochs": []})
    (own,) = [callback for _, callback in fitted.net_.callbacks_ if isinstance(callback, Diary)]
    assert own.seen == {"epochs": [1, 2, 3, 4]}
    assert len(own.losses) == 4


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_an_averaged_score_has_no_positive_class(data, average):
    """scikit-learn warns, here with an error, of a positive class that an average has no use for."""
    X, y = labelled(data, -1, 1)  # words have no such scorer in scikit-learn either, as its pos_label is 1
    scorer = make_scorer(f1_score, average=average)
    scoring = cb.EpochScoring(scorer, name="score", on_train=True, use_caching=False)
    fitted = net(callbacks=[scoring], class_weight="balanced").fit(X, y)
    assert fitted.history_[-1, "score"] == f1_score(y, fitted.predict(X), average=average)
