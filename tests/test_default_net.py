"""`ImbalancedNetClassifier()` end to end: raw tables in, labels out, what a net does in between, and hard cases."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_validate
from skorch.callbacks import Callback, EpochScoring, LRScheduler

from imbalanced_torch import (
    MLP,
    DeferredSchedule,
    HeadRetraining,
    ImbalancedNetClassifier,
    MLPEnsemble,
    ProgressiveSchedule,
)
from imbalanced_torch._losses.weighted import LOSSES


def net(*args, **kwargs):
    return ImbalancedNetClassifier(*args, **{"max_epochs": 3, "random_state": 0, **kwargs})


def frame(n=200, seed=0):
    """Return a table of pandas with every kind of column, and labels that depend on three of them."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "amount": rng.lognormal(3, 2, n),
            "visits": rng.integers(0, 9, n),
            "member": rng.random(n) < 0.3,
            "colour": rng.choice(["red", "green", "blue"], n),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n), ["S", "M", "L"], ordered=True),
        }
    )
    score = np.log(table["amount"]) + 2 * (table["colour"] == "red") + table["member"] + rng.normal(size=n)
    table.loc[::7, "amount"] = np.nan
    table.loc[::11, "colour"] = None
    return table, np.where(score > np.quantile(score, 0.8), "fraud", "ok")


def as_polars(table):
    return pl.DataFrame({name: [None if pd.isna(v) else v for v in table[name].tolist()] for name in table})


LIBRARIES = pytest.mark.parametrize("library", [pd.DataFrame, as_polars], ids=["pandas", "polars"])


# Tables


@LIBRARIES
def test_a_raw_table_is_learned_from(library):
    (X, y), (X_new, y_new) = frame(600), frame(400, seed=1)
    fitted = net(max_epochs=20).fit(library(X), y)
    assert type(fitted.module_) is MLPEnsemble
    assert fitted.feature_names_in_.tolist() == list(X)
    assert roc_auc_score(y_new == "ok", fitted.predict_proba(library(X_new))[:, 1]) > 0.85
    assert set(fitted.predict(library(X_new))) == {"fraud", "ok"}


def test_pandas_and_polars_give_the_same_net():
    X, y = frame()
    np.testing.assert_allclose(
        net().fit(X, y).predict_proba(X), net().fit(as_polars(X), y).predict_proba(as_polars(X)), rtol=1e-6
    )


@LIBRARIES
def test_unseen_levels_new_missing_values_and_another_order_of_columns_are_taken(library):
    X, y = frame()
    fitted = net().fit(library(X), y)
    new = X.head(20).copy()
    new["visits"] = new["visits"].astype(float)
    new.loc[0, "visits"] = np.nan
    new.loc[1, "colour"] = "violet"
    new["member"] = new["member"].astype(object)
    new.loc[2, "member"] = None
    new.loc[3, "size"] = None
    proba = fitted.predict_proba(library(new))
    assert np.isfinite(proba).all()
    np.testing.assert_array_equal(proba[4:], fitted.predict_proba(library(X.head(20)))[4:])
    np.testing.assert_array_equal(proba, fitted.predict_proba(library(new[list(X)[::-1]])))


def test_the_index_of_a_table_does_not_matter():
    X, y = frame()
    expected = net().fit(X, y).predict_proba(X)
    moved = X.set_index(np.arange(200)[::-1] + 5)
    np.testing.assert_array_equal(net().fit(moved, pd.Series(y, index=moved.index)).predict_proba(moved), expected)


def test_a_list_of_numpy_rows_with_nan_is_taken(data):
    X, y = data
    X = X.copy()
    X[::5, 2] = np.nan
    proba = net().fit(X, y).predict_proba(X)
    assert np.isfinite(proba).all()
    with pytest.raises(ValueError, match="infinity"):
        net().fit(np.where(np.isnan(X), np.inf, X), y)


def test_a_plain_module_says_what_it_needs_of_missing_values(data):
    X, y = data
    X = X.copy()
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        net(MLP).fit(X, y)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))])
def test_a_copy_predicts_the_same(again):
    X, y = frame()
    fitted = net().fit(X, y)
    np.testing.assert_array_equal(again(fitted).predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(clone(fitted).fit(X, y).predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("use_safetensors", [False, True])
def test_parameters_in_files_bring_the_encoding(tmp_path, use_safetensors):
    X, y = frame()
    one, other = net().fit(X, y), net(random_state=1, max_epochs=1).fit(X, y)
    one.save_params(f_params=tmp_path / "params", use_safetensors=use_safetensors)
    other.load_params(f_params=tmp_path / "params", use_safetensors=use_safetensors)
    np.testing.assert_array_equal(other.predict_proba(X), one.predict_proba(X))


def test_two_jobs_are_one_job_bit_by_bit():
    X, y = frame(150)
    scores = [
        cross_validate(net(max_epochs=2), X, y, cv=3, scoring="neg_log_loss", n_jobs=n_jobs)["test_score"]
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)
    grid = {"class_weight": [None, "balanced"], "sampling": [None, "under"]}
    searches = [
        GridSearchCV(net(max_epochs=2), grid, cv=2, scoring="neg_log_loss", n_jobs=n_jobs).fit(X, y)
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*(search.cv_results_["mean_test_score"] for search in searches))
    np.testing.assert_array_equal(*(search.predict_proba(X) for search in searches))


def test_the_global_random_state_is_left_alone(data):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fitted = net().fit(*data)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(4)
    np.testing.assert_array_equal(net().fit(*data).predict_proba(data[0]), fitted.predict_proba(data[0]))


# Going on


def test_warm_start_goes_on():
    X, y = frame()
    fitted = net(warm_start=True).fit(X, y)
    steps = int(fitted.module_.n_steps)
    first = fitted.module_
    fitted.fit(X, y)
    assert fitted.n_iter_ == 6
    assert int(fitted.module_.n_steps) == 2 * steps
    assert int(first.n_steps) == steps  # the copy went on
    with pytest.raises(ValueError, match="module__n_members can't change once the net is trained"):
        fitted.set_params(module__n_members=3).fit(X, y)


@LIBRARIES
def test_partial_fit_goes_on_with_the_columns_of_the_first_call(library):
    X, y = frame()
    fitted = net().partial_fit(library(X.head(100)), y[:100], classes=["fraud", "ok"])
    more = X.tail(100)
    more = more.assign(colour=more["colour"].replace("red", "violet"))
    fitted.partial_fit(library(more), y[100:])
    assert fitted.n_iter_ == 2
    assert np.isfinite(fitted.predict_proba(library(X))).all()
    np.testing.assert_allclose(fitted.class_prior_, [(y == "fraud").mean(), (y == "ok").mean()])


def test_a_fit_that_fails_leaves_everything_as_it_was(data):
    X, y = data
    fitted = net().fit(X, y)
    before, proba = dict(vars(fitted)), fitted.predict_proba(X)
    fails = type("Fails", (Callback,), {"on_epoch_end": lambda self, net, **kwargs: 1 / 0})
    fitted.callbacks = [fails()]
    with pytest.raises(ZeroDivisionError):
        fitted.fit(X, y)
    fitted.callbacks = None
    assert vars(fitted).keys() == before.keys()
    np.testing.assert_array_equal(fitted.predict_proba(X), proba)


# Remedies, decisions and the net


@pytest.mark.parametrize(
    "schedule",
    ["deferred", "progressive", "retrain_head", DeferredSchedule(2), ProgressiveSchedule(), HeadRetraining(3)],
)
@pytest.mark.parametrize("remedy", [{"class_weight": "balanced"}, {"sampling": "weighted"}], ids=str)
def test_a_schedule_acts_on_members_too(data, schedule, remedy):
    X, y = data
    fitted = net(schedule=schedule, max_epochs=5, **remedy).fit(X, y)
    strength = fitted.history_[:, "remedy_strength"]
    assert strength[0] == 0
    assert strength[-1] == 1
    np.testing.assert_allclose(fitted.effective_prior_, 0.5)
    assert np.isfinite(fitted.predict_proba(X)).all()
    assert fitted.best_epoch_ > (2 if isinstance(schedule, DeferredSchedule) else 0)


@pytest.mark.parametrize("criterion", [None, *LOSSES])
@pytest.mark.parametrize("sizes", ["two", "three"])
def test_every_criterion_trains_it(data, three_classes, criterion, sizes):
    X, y = data if sizes == "two" else three_classes
    fitted = net(criterion=criterion, class_weight="balanced").fit(X, y)
    assert np.isfinite(fitted.history_[:, "train_loss"]).all()
    assert fitted.predict(X).shape == (300,)


def test_a_criterion_without_probabilities_stops_on_its_own_loss(data):
    fitted = net(criterion=torch.nn.CrossEntropyLoss, criterion__label_smoothing=0.1).fit(*data)
    assert np.isfinite(fitted.history_[:, "valid_loss"]).all()
    assert np.isfinite(fitted.oof_proba_).all()


@pytest.mark.parametrize("remedy", [{"class_weight": "balanced"}, {"sampling": "over"}, {"sampling": "under"}], ids=str)
def test_corrected_probabilities_are_at_the_prior_asked_for(remedy):
    X, y = frame(1000)
    fitted = net(max_epochs=15, prior_correction=True, **remedy).fit(X, y)
    assert fitted.predict_proba(X)[:, 0].mean() == pytest.approx(0.2, abs=0.05)
    fitted.set_params(prior_correction=False)
    assert fitted.predict_proba(X)[:, 0].mean() > 0.3


def test_decisions_read_one_net(data):
    X, y = data
    fitted = net(max_epochs=10).fit(X, y)
    proba = fitted.predict_proba(X)
    expected = {
        "trained": proba.argmax(1),
        "argmax": proba.argmax(1),
        "balanced": (proba / fitted.class_prior_).argmax(1),
    }
    for decision, codes in expected.items():
        np.testing.assert_array_equal(fitted.set_params(decision=decision).predict(X), codes)
    np.testing.assert_array_equal(fitted.set_params(decision={1: 0.3}).predict(X), proba[:, 1] >= 0.3)
    np.testing.assert_array_equal(
        fitted.set_params(decision=[[0, 1], [5, 0]]).predict(X), proba[:, 1] * 5 > proba[:, 0]
    )


def test_verbose_2_prints_a_line_for_each_epoch(data, capsys):
    net(verbose=2).fit(*data)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len([line for line in lines if line.split()[0].isdigit()]) == 3
    assert lines[0].startswith("module=MLPEnsemble, module__n_members=8, ")
    assert "valid_log_loss" in lines[1]


@pytest.mark.parametrize("on_train", [False, True])
@pytest.mark.parametrize("use_caching", [False, True])
@pytest.mark.parametrize("scoring", ["f1", "neg_log_loss"])
def test_scoring_callbacks_see_labels_of_rows(on_train, use_caching, scoring):
    X, y = frame(300)
    score = EpochScoring(scoring, lower_is_better=False, on_train=on_train, use_caching=use_caching, name="score")
    fitted = net(max_epochs=15, callbacks=[score]).fit(X, y)
    scores = fitted.history_[:, "score"]
    assert np.isfinite(scores).all()
    if scoring == "f1":
        assert scores[-1] > 0.4  # of "fraud", the rarer one
    elif not on_train:  # members' own, on the rows that they hold out
        np.testing.assert_allclose(-np.array(scores), fitted.history_[:, "valid_log_loss"], rtol=1e-4)


def test_a_callback_sees_one_row_for_each_of_a_members(data):
    class Shapes(Callback):
        seen = ()

        def on_batch_end(self, net, batch=None, training=None, y_pred=None, **kwargs):
            self.seen = (*self.seen, (training, tuple(y_pred.shape)))

    fitted = net(callbacks=[Shapes()], batch_size=32).fit(*data)
    assert set(dict(fitted.net_.callbacks_)["Shapes"].seen) == {(True, (8 * 32, 1)), (False, (300, 1))}
    assert fitted.history_[0]["batches"][0]["train_batch_size"] == 32


def test_the_learning_rate_rises_and_a_users_rate_stays(data):
    class Rates(Callback):
        seen = ()

        def on_epoch_end(self, net, **kwargs):
            self.seen = (*self.seen, net.optimizer_.param_groups[0]["lr"])

    def rates(**kwargs):
        fitted = net(max_epochs=4, callbacks=[Rates()], n_iter_no_change=99, **kwargs).fit(*data)
        return list(dict(fitted.net_.callbacks_)["Rates"].seen)

    np.testing.assert_allclose(rates(), [1e-3, 2.24e-3, 2.48e-3, 2.72e-3])  # twenty steps each: half at first
    assert rates(lr=0.01) == [0.01] * 4


@pytest.mark.parametrize(("lr", "last"), [(0.01, 1e-6), (None, 2e-7)])
def test_a_learning_rate_schedule_of_the_users_is_followed(data, lr, last):
    fitted = net(max_epochs=4, lr=lr, n_iter_no_change=99, callbacks=[LRScheduler("StepLR", step_size=1)]).fit(*data)
    assert fitted.net_.optimizer_.param_groups[0]["lr"] == pytest.approx(last)


@pytest.mark.parametrize("dtype", ["auto", torch.float32, np.float64])
@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")], ids=["word", "device"])
def test_devices_and_dtypes(data, dtype, device):
    X, y = data
    fitted = net(dtype=dtype, device=device).fit(X, y)
    assert fitted.module_.output.weight.dtype == (torch.float64 if dtype is np.float64 else torch.float32)
    assert fitted.module_.encoder.center.dtype == torch.float64
    assert np.isfinite(fitted.predict_proba(X)).all()


def test_rows_of_more_dimensions_train_a_plain_net(data):
    X, y = data
    assert type(net().fit(X[:, None, :], y).module_) is MLP


@pytest.mark.parametrize("setting", [{"iterator_train__shuffle": False}, {"iterator_train__num_workers": 1}], ids=str)
def test_a_loader_of_the_users_is_refused(data, setting):
    with pytest.raises(ValueError, match="can't be set for the default net, whose members draw rows of their own"):
        net(**setting).fit(*data)


def test_it_exports_with_torch(data):
    X, y = data
    fitted = net().fit(X, y)
    rows = torch.from_numpy(X)
    exported = torch.export.export(fitted.module_.eval(), (rows,)).module()
    np.testing.assert_allclose(exported(rows).detach(), fitted.module_(rows).detach(), rtol=1e-6)


# Hard cases


def finite(fitted, X):
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)
    return np.isfinite(proba).all()


@pytest.mark.parametrize("positives", [1, 2, 5, 10])
@pytest.mark.parametrize(
    "remedy", [{}, {"class_weight": "balanced"}, {"sampling": "under"}, {"sampling": "batch"}], ids=str
)
def test_few_positives(positives, remedy):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 4)), np.arange(200) < positives
    fitted = net(**remedy, max_epochs=10).fit(X, y)
    assert finite(fitted, X)
    assert np.isfinite(fitted.oof_proba_).all()


@pytest.mark.parametrize("n", [4, 10, 30, 64, 65])
@pytest.mark.parametrize("early_stopping", ["auto", True, False])
def test_few_rows(n, early_stopping):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 3)), np.arange(n) % 3 == 0
    assert finite(net(early_stopping=early_stopping).fit(X, y), X)


COLUMNS = {
    "constant": lambda x: np.full_like(x, 7.0),
    "all missing": lambda x: np.full_like(x, np.nan),
    "nearly all missing": lambda x: np.where(np.arange(len(x)) == 3, x, np.nan),
    "duplicated": lambda x: np.column_stack([x] * 20),
    "of infinite variance": lambda x: np.sign(x) * np.exp(300 * np.abs(x) / np.abs(x).max()),
    "tiny": lambda x: x * 1e-300,
    "huge": lambda x: x * 1e300,
    "one in a thousand": lambda x: (np.arange(len(x)) == 5).astype(float),
}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_says_nothing_or_too_much(data, column):
    X, y = data
    X = np.column_stack([X, COLUMNS[column](X[:, 0].copy())])
    fitted = net(max_epochs=15).fit(X, y)
    assert finite(fitted, X)
    assert roc_auc_score(y, fitted.predict_proba(X)[:, 1]) > 0.9


def test_only_columns_that_say_nothing_give_the_prior():
    y = np.arange(200) % 5 == 0
    X = np.column_stack([np.ones(200), np.full(200, np.nan)])
    proba = net(max_epochs=20).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(proba[:, 1], 0.2, atol=0.03)


def test_500_classes():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(500), 4)
    X = rng.normal(size=(2000, 3)) + y[:, None] / 50
    fitted = net(max_epochs=2).fit(X, y)
    assert fitted.predict_proba(X[:50]).shape == (50, 500)
    assert finite(fitted, X[:50])


def test_sparse_rows_of_many_columns():
    rng = np.random.default_rng(0)
    X = sparse.random_array((300, 2000), density=0.01, format="csr", rng=rng)
    y = (np.asarray(X[:, [0, 1, 2]].sum(axis=1)).ravel() > 0).astype(int)
    fitted = net().fit(X, y)
    assert finite(fitted, X)
    np.testing.assert_allclose(fitted.predict_proba(X.toarray()), fitted.predict_proba(X), rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "share"), [(100, 0.5), (300, 0.1)])
def test_pure_noise_costs_at_most_five_hundredths_over_the_prior(seed, n, share):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 10)), (np.arange(n) < share * n).astype(int)
    X_new, y_new = rng.normal(size=(4000, 10)), (np.arange(4000) < share * 4000).astype(int)
    fitted = ImbalancedNetClassifier(random_state=seed).fit(X, y)
    prior = log_loss(y_new, np.full(4000, share))
    assert log_loss(y_new, fitted.predict_proba(X_new)) <= prior + 0.05


# skrub's trade


def test_the_line_for_dates_and_text_works():
    skrub = pytest.importorskip("skrub")
    rng = np.random.default_rng(0)
    X, y = frame(200)
    X["since"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1000, 200), unit="D")
    X["comment"] = [f"word{i} of {i % 90}" for i in rng.integers(0, 150, 200)]
    with pytest.raises(ValueError, match=r"'since' \(dates\), 'comment' \(text"):
        net().fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = skrub.tabular_pipeline(net()).fit(X, y)
        proba = pipeline.predict_proba(X)
    assert type(pipeline[-1].module_) is MLPEnsemble
    assert np.isfinite(proba).all()


def test_an_array_after_a_table_of_categories_is_refused_by_its_type():
    table = pd.DataFrame({"kind": ["a", "b"] * 20})
    model = ImbalancedNetClassifier(max_epochs=1).fit(table, [0, 1] * 20)
    with pytest.raises(ValueError, match=r"by name: \['kind'\]. It is of the type ndarray."):
        model.predict(np.zeros((2, 1)))


def test_a_lazy_table_is_to_be_collected():
    lazy = pl.DataFrame({"a": [1.0, 2.0] * 20}).lazy()
    with pytest.raises(TypeError, match=r"it is a LazyFrame, whose rows are not computed yet. Pass X.collect\(\)."):
        ImbalancedNetClassifier().fit(lazy, [0, 1] * 20)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("n_members", 1, ValueError, "must be at least 2; it is 1"),
        ("n_members", 0, ValueError, "must be at least 2; it is 0"),
        ("n_members", 3.5, TypeError, "must be an int; it is 3.5"),
        ("n_members", "many", TypeError, "must be an int; it is 'many'"),
        ("n_bins", -1, ValueError, "must be at least 0; it is -1"),
        ("n_bins", 2.5, TypeError, "must be an int; it is 2.5"),
        ("n_bins", None, TypeError, "must be an int; it is None"),
    ],
)
def test_wrong_numbers_of_members_and_bins_are_refused_before_anything_is_made_of_them(data, name, value, error, words):
    with pytest.raises(error, match=f"module__{name} {words}"):
        ImbalancedNetClassifier(**{f"module__{name}": value}).fit(*data)


def test_a_batch_size_beyond_the_rows_is_all_of_them_in_each_step(data):
    fitted = [ImbalancedNetClassifier(batch_size=n, max_epochs=2, random_state=0).fit(*data) for n in (300, 10**9)]
    assert fitted[1].settings_["batch_size"] == 300
    np.testing.assert_array_equal(*(model.predict_proba(data[0]) for model in fitted))


def test_what_was_chosen_is_seen(data):
    fitted = net(lr=0.003).fit(*data)
    expected = {"module": "MLPEnsemble", "module__n_members": 8, "lr": 0.003, "max_epochs": 3, "batch_size": 64}
    assert expected.items() <= fitted.settings_.items()
    assert ImbalancedNetClassifier(max_epochs=1).fit(*data).settings_["lr"] == "0.002 rising to 0.008"


def test_the_out_of_fold_log_loss_is_that_of_the_probabilities_weighted_as_rows_are():
    X, y = frame(300)
    weights = np.arange(300) % 4  # some weigh nothing
    fitted = net(class_weight="balanced").fit(X, y, sample_weight=weights)
    of_truth = fitted.oof_proba_[np.arange(300), np.searchsorted(fitted.classes_, y)]
    assert fitted.oof_log_loss_ == pytest.approx(-np.average(np.log(of_truth), weights=weights), rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_blend_that_is_given_is_not_settled(data, share):
    fitted = net(module__blend=share).fit(*data)
    np.testing.assert_allclose(fitted.module_.blend, [share, 1 - share])


def test_without_bins_both_nets_of_a_member_see_the_same(data):
    plain, binned = net(module__n_bins=0).fit(*data).module_.encoder.n_inputs
    assert plain == binned == 5
