"""scikit-learn's own checks, and its tools on top."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from scipy.stats import uniform
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from imbalanced_torch import (
    MLP,
    BalancedBatches,
    CombinedRemedyWarning,
    DeferredSchedule,
    EffectiveNumber,
    ImbalancedNetClassifier,
    OverSampling,
    TemperedSampling,
    UnderSampling,
)


class Narrow(torch.nn.Module):
    """A module of a user's."""

    def __init__(self, input_dim, n_classes, width=10):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(input_dim, width), torch.nn.Tanh(), torch.nn.Linear(width, n_classes)
        )

    def forward(self, X):
        return self.layers(X)


# Every label that the checks use, so that a dict weight fits them all.
WEIGHTS = {**{label: 1.0 + label / 10 for label in range(-1, 11)}, "one": 1.0, "two": 1.5, "three": 2.0, "other": 1.0}

#: What is checked beside the default net and MLP as they are, which go through check_estimator.
CHECKED = [
    ImbalancedNetClassifier(class_weight="balanced", module__n_members=3, max_epochs=15),
    ImbalancedNetClassifier(MLP, class_weight="balanced"),
    ImbalancedNetClassifier(MLP, class_weight=WEIGHTS),
    ImbalancedNetClassifier(
        Narrow, module__width=16, optimizer=torch.optim.AdamW, optimizer__weight_decay=1e-4, lr=0.01
    ),
    ImbalancedNetClassifier(MLP, sampling="weighted"),
    ImbalancedNetClassifier(MLP, sampling="over"),
    ImbalancedNetClassifier(MLP, sampling="under"),
    ImbalancedNetClassifier(MLP, sampling="batch"),
]


def expected_failures(estimator):
    if estimator.sampling is None:
        return {}
    why = "a random draw of rows differs from a random draw of duplicated rows: the equivalence is impossible"
    return dict.fromkeys(
        ["check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"], why
    )


@pytest.mark.filterwarnings("ignore:sample_weight is positive in rows of one class only")
@pytest.mark.filterwarnings("ignore::imbalanced_torch.CombinedRemedyWarning")  # a check sets a dict weight
@parametrize_with_checks(CHECKED, expected_failed_checks=expected_failures)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:sample_weight is positive in rows of one class only")
@pytest.mark.parametrize("module", [None, MLP])
def test_check_estimator_passes_whole_with_no_check_skipped(module):
    results = check_estimator(ImbalancedNetClassifier(module), on_skip=None, on_fail=None)
    assert {result["check_name"] for result in results if result["status"] != "passed"} == set()
    assert len(results) > 50


FAST = {"max_epochs": 5, "lr": 0.01, "random_state": 0}


def net(**kwargs):
    return ImbalancedNetClassifier(**{"module": MLP, **FAST, **kwargs})


def test_pipeline_with_a_scaler_learns(data):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), net(class_weight="balanced", max_epochs=20)).fit(X * 1000, y)
    assert pipeline.score(X * 1000, y) > 0.8


@pytest.mark.parametrize("sparse", [True, False])
def test_column_transformer_with_categories_and_missing_values(data, sparse):
    X, y = data
    table = pd.DataFrame(X[:, :3], columns=["a", "b", "c"])
    table.loc[::7, "b"] = np.nan
    table["colour"] = np.where(y == 1, "red", np.where(X[:, 3] > 0, "blue", "green"))
    table.loc[::9, "colour"] = None
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b", "c"]),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=sparse), ["colour"]),
        ],
        sparse_threshold=1.0 if sparse else 0.0,
    )
    scores = cross_validate(make_pipeline(columns, net(sampling="batch")), table, y, cv=3, scoring="roc_auc")
    assert scores["test_score"].mean() > 0.9


def test_cross_validate_with_several_scorers(data):
    names = ["balanced_accuracy", "average_precision", "roc_auc", "f1", "neg_log_loss", "neg_brier_score"]
    scores = cross_validate(net(class_weight="balanced"), *data, cv=3, scoring=names)
    assert all(np.isfinite(scores[f"test_{name}"]).all() for name in names)


GRID = [
    {"class_weight": [None, "balanced", {0: 1, 1: 4}, EffectiveNumber(0.9)]},
    {"sampling": [None, "weighted", "over", "under", "batch", {1: 60}, TemperedSampling(), BalancedBatches()]},
    {"sampling": [OverSampling()], "sampling__ratio": [0.3, 1.0]},
    {"module__hidden_sizes": [(8,), (4, 4)], "optimizer__weight_decay": [0, 0.1], "lr": [1e-3, 1e-2]},
]


def test_grid_search_over_everything_with_two_jobs_equals_one_job_bit_by_bit(data):
    searches = [
        GridSearchCV(net(max_epochs=2), GRID, scoring="neg_log_loss", cv=2, n_jobs=n_jobs).fit(*data)
        for n_jobs in (1, 2)
    ]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    np.testing.assert_array_equal(*scores)
    assert np.isfinite(scores[0]).all()
    assert len(set(scores[0])) > len(scores[0]) / 2  # the cells are not all the same
    np.testing.assert_array_equal(*(search.predict_proba(data[0]) for search in searches))


def test_grid_search_in_threads_equals_one_job_bit_by_bit(data):
    from joblib import parallel_backend

    with parallel_backend("threading"):
        threads = GridSearchCV(net(max_epochs=2), GRID[1], scoring="neg_log_loss", cv=2, n_jobs=2).fit(*data)
    one = GridSearchCV(net(max_epochs=2), GRID[1], scoring="neg_log_loss", cv=2).fit(*data)
    np.testing.assert_array_equal(threads.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"])


def test_grid_search_leaves_the_grid_and_the_estimator_as_they_were(data):
    sampling, estimator = OverSampling(), net(max_epochs=1)
    before = repr(estimator.get_params())
    GridSearchCV(estimator, {"sampling": [sampling], "sampling__ratio": [0.3, 0.5]}, cv=2).fit(*data)
    assert sampling.ratio == 1.0
    assert repr(estimator.get_params()) == before


def test_sampling_ratio_reaches_the_fit(data):
    search = GridSearchCV(net(max_epochs=1), {"sampling": [UnderSampling()], "sampling__ratio": [0.5]}, cv=2).fit(*data)
    np.testing.assert_allclose(search.best_estimator_.sampled_prior_, [2 / 3, 1 / 3], atol=1e-12)


def test_randomized_search(data):
    search = RandomizedSearchCV(
        net(), {"lr": uniform(1e-3, 1e-2), "sampling": [None, "over"]}, n_iter=3, cv=2, random_state=0
    ).fit(*data)
    assert search.best_score_ > 0.8


def test_halving_search_with_max_epochs_as_resource(data):
    search = HalvingGridSearchCV(
        net(),
        {"class_weight": [None, "sqrt", "balanced"]},
        resource="max_epochs",
        max_resources=9,
        min_resources="exhaust",
        cv=2,
    ).fit(*data)
    assert search.best_estimator_.n_iter_ == 9


def test_calibrated_classifier(data):
    X, y = data
    calibrated = CalibratedClassifierCV(net(class_weight="balanced", max_epochs=20), cv=3).fit(X, y)
    raw = net(class_weight="balanced", max_epochs=20).fit(X, y)
    prior = y.mean()
    assert abs(calibrated.predict_proba(X)[:, 1].mean() - prior) < abs(raw.predict_proba(X)[:, 1].mean() - prior) / 2


def test_tuned_and_fixed_thresholds(data):
    X, y = data
    tuned = TunedThresholdClassifierCV(net(), scoring="balanced_accuracy", cv=3).fit(X, y)
    assert 0 < tuned.best_threshold_ < 1
    fixed = FixedThresholdClassifier(net(), threshold=0.05, response_method="predict_proba").fit(X, y)
    assert fixed.predict(X).mean() > net().fit(X, y).predict(X).mean()


def test_frozen_estimator(data):
    X, y = data
    fitted = net().fit(X, y)
    frozen = FrozenEstimator(fitted)
    frozen.fit(X[:10], y[:10])
    np.testing.assert_array_equal(frozen.predict_proba(X), fitted.predict_proba(X))


def test_permutation_importance_finds_the_feature_that_matters():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = (X[:, 1] > 1).astype(int)
    importance = permutation_importance(net(class_weight="balanced", max_epochs=20).fit(X, y), X, y, random_state=0)
    assert importance.importances_mean.argmax() == 1


def test_learning_curve(data):
    _, _, scores = learning_curve(net(), *data, cv=2, train_sizes=[0.3, 1.0], shuffle=True, random_state=0)
    assert scores.shape == (2, 2)
    assert np.isfinite(scores).all()


def test_voting_and_bagging(data):
    X, y = data
    voting = VotingClassifier([("net", net()), ("line", LogisticRegression())], voting="soft").fit(X, y)
    bag = BaggingClassifier(net(sampling="batch"), n_estimators=3, random_state=0).fit(X, y)
    assert voting.score(X, y) > 0.8
    assert bag.score(X, y) > 0.6


def test_imblearns_pipeline_and_its_sampler_before_the_net(data):
    X, y = data
    pipeline = make_imblearn_pipeline(RandomOverSampler(random_state=0), net(class_weight="balanced")).fit(X, y)
    np.testing.assert_allclose(pipeline[-1].class_weight_, 1)  # balanced already: no double correction


@pytest.mark.parametrize(
    "remedy",
    [
        {"class_weight": "balanced"},
        {"class_weight": {"common": 1, "rare": 2, "rarest": 9}},
        {"sampling": {"common": 20, "rare": 20, "rarest": 20}},
        {"sampling": "batch"},
    ],
)
def test_a_fold_may_lack_the_rarest_class(remedy):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.repeat(["common", "rare", "rarest"], [40, 18, 2])
    folds = [(np.arange(58), np.arange(50, 60)), (np.r_[0:30, 40:60], np.arange(58))]
    scores = cross_validate(net(**remedy), X, y, cv=folds, return_estimator=True, error_score="raise")
    lacking, whole = scores["estimator"]
    assert lacking.classes_.tolist() == ["common", "rare"]
    assert whole.classes_.tolist() == ["common", "rare", "rarest"]


@pytest.mark.filterwarnings("ignore:Number of classes in training fold:RuntimeWarning")
def test_cross_val_predict_gives_probability_0_to_a_class_that_the_fold_lacks():
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.repeat([0, 1, 2], [40, 18, 2])
    folds = [(np.arange(58), np.r_[58:60]), (np.r_[0:30, 40:60], np.r_[0:58])]
    proba = cross_val_predict(net(class_weight="balanced"), X, y, cv=folds, method="predict_proba")
    assert (proba[58:, 2] == 0).all()
    assert (proba[:58, 2] > 0).all()


def test_an_array_weight_in_a_fold_that_lacks_a_class_says_to_pass_a_dict():
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.repeat([0, 1], 10)
    with pytest.raises(ValueError, match="Where a fold may lack a class, pass a dict from label to weight"):
        net(class_weight=[1, 2, 3]).fit(X, y)


def test_metadata_routing_carries_sample_weight_to_the_net_and_the_scorer(data):
    X, y = data
    weights = np.where(y == 1, 7.0, 1.0)
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(recall_score).set_score_request(sample_weight=True)
        routed = cross_validate(
            make_pipeline(
                StandardScaler().set_fit_request(sample_weight=False), net().set_fit_request(sample_weight=True)
            ),
            X,
            y,
            cv=StratifiedKFold(3),
            scoring=scorer,
            params={"sample_weight": weights},
            return_estimator=True,
        )
    prior = routed["estimator"][0][-1].class_prior_
    assert prior[1] == pytest.approx(7 * y.mean() / (7 * y.mean() + 1 - y.mean()), abs=0.01)


def test_clone_repr_and_html_repr_show_the_parameters_of_the_parts():
    estimator = net(sampling=OverSampling(0.5), module__hidden_sizes=(8,), optimizer__weight_decay=0.1)
    copy = clone(estimator)
    assert repr(copy) == repr(estimator)
    assert "module__hidden_sizes=(8,)" in repr(estimator)
    assert "OverSampling(ratio=0.5)" in repr(estimator)
    assert "optimizer__weight_decay" in estimator._repr_html_()


def test_get_params_after_set_params_gives_what_was_set():
    estimator = net().set_params(sampling=OverSampling(), sampling__ratio=0.25, module__hidden_sizes=(3,), lr=0.5)
    params = estimator.get_params()
    assert (params["sampling__ratio"], params["module__hidden_sizes"], params["lr"]) == (0.25, (3,), 0.5)


def test_two_remedies_by_number_warn_with_the_effective_prior(data):
    X, y = data
    with pytest.warns(CombinedRemedyWarning) as caught:
        fitted = net(class_weight={1: 9}, sampling="batch", max_epochs=1).fit(X, y)
    assert len(caught) == 1
    assert str(caught[0].message) == (
        "class_weight gives numbers and sampling='batch' changes the class shares too, so both act: the net learns "
        "under "
        f"the prior {{0: 0.1, 1: 0.9}}, and the data have {{0: {1 - y.mean():.4g}, 1: {y.mean():.4g}}}. Use one of "
        "them, "
        'or a word such as class_weight="balanced", which takes sampling and sample_weight into account.'
    )
    assert caught[0].filename == __file__
    np.testing.assert_allclose(fitted.effective_prior_, [0.1, 0.9])


def test_several_labels_a_row_go_through_multi_output_classifier(data):
    """Multi-label data are as many problems of two classes, each with its own weights, sampler and priors."""
    X, y = data
    labels = np.c_[y, X[:, 0] > 1]
    several = MultiOutputClassifier(
        net(class_weight="balanced", sampling="over", max_epochs=20, early_stopping=False)
    ).fit(X, labels)
    assert several.predict(X).shape == (300, 2)
    for label, one in zip(labels.T, several.estimators_, strict=True):
        assert one.class_prior_[1] == pytest.approx(label.mean())
        assert (one.predict(X) == label).mean() > 0.8


def test_soft_targets_are_rows_of_both_classes_with_sample_weights(data):
    """A row that is of class 1 with probability p is two rows, with weights p and 1 - p."""
    X, _ = data
    soft = 1 / (1 + np.exp(-X[:, 0] - 1))
    both, labels = np.r_[X, X], np.repeat([1, 0], 300)
    fitted = net(module=torch.nn.Linear, max_epochs=200, batch_size=-1, lr=0.05, early_stopping=False)
    fitted.fit(both, labels, sample_weight=np.r_[soft, 1 - soft])
    np.testing.assert_allclose(fitted.predict_proba(X)[:, 1], soft, atol=0.02)


# Classes derived from the estimator


class Wider(ImbalancedNetClassifier):
    """skorch's idiom: parameters of its own, and all others through **kwargs."""

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width


class AnyArguments(ImbalancedNetClassifier):
    def __init__(self, *args, width=8, **kwargs):
        super().__init__(*args, **kwargs)
        self.width = width


class Deeper(Wider):
    def __init__(self, depth=2, **kwargs):
        super().__init__(**kwargs)
        self.depth = depth


class Naming(ImbalancedNetClassifier):
    """Names some of the base's parameters, with other defaults and one of the module's."""

    def __init__(self, width=8, class_weight="sqrt", module__hidden_sizes=(4,), **kwargs):
        super().__init__(class_weight=class_weight, module__hidden_sizes=module__hidden_sizes, **kwargs)
        self.width = width


class Fixing(ImbalancedNetClassifier):
    """Fixes some of the base's parameters, one of them by its own."""

    def __init__(self, width=8, **kwargs):
        super().__init__(sampling="over", module__hidden_sizes=(width,), **kwargs)
        self.width = width


class Mixin:
    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width


class Mixed(Mixin, ImbalancedNetClassifier):
    pass


class Unchanged(Wider):
    pass


OPEN = [Wider, AnyArguments, Deeper, Naming, Fixing, Mixed, Unchanged]


@pytest.mark.parametrize("kind", OPEN)
def test_a_derived_class_keeps_its_parameters_and_those_that_it_passes_on(kind, data):
    settings = {"class_weight": "balanced", "width": 3, "optimizer__weight_decay": 0.1, "max_epochs": 1}
    estimator = kind(**settings)
    for copied in (
        estimator,
        clone(estimator),
        clone(clone(estimator)),
        pickle.loads(pickle.dumps(estimator)),
        clone(estimator.fit(*data)),
        kind().set_params(**settings),
        clone(kind().set_params(**settings)),
    ):
        params = copied.get_params()
        assert {name: params[name] for name in settings} == settings
        assert type(copied) is kind
        assert repr(copied) == repr(estimator) or kind is Fixing  # whose constructor computes one from another
        assert all(f"{name}={value!r}" in repr(copied).replace("\n", "") for name, value in settings.items())
    assert params.keys() >= ImbalancedNetClassifier().get_params().keys()
    assert not hasattr(copied, "net_")
    assert "optimizer__weight_decay" in estimator._repr_html_()


@pytest.mark.parametrize("kind", OPEN)
def test_a_derived_class_goes_through_a_grid_search(kind, data):
    grid = {"class_weight": [None, "balanced"], "width": [3], "module__hidden_sizes": [(2,), (3,)], "lr": [0.1]}
    search = GridSearchCV(kind(max_epochs=1, random_state=0), grid, cv=2, scoring="neg_log_loss").fit(*data)
    best = search.best_estimator_
    assert {name: best.get_params()[name] for name in search.best_params_} == search.best_params_
    assert (best.module_.output.weight.shape[1],) == search.best_params_["module__hidden_sizes"]
    assert len(set(search.cv_results_["mean_test_score"])) >= (2 if kind is Fixing else 3)


@pytest.mark.parametrize("kind", OPEN)
def test_a_derived_class_refuses_names_that_it_does_not_have(kind, data):
    with pytest.raises(ValueError, match=r"'widht' is not a parameter of the classifier. Did you mean 'width'\?"):
        kind().set_params(widht=3)
    with pytest.raises(ValueError, match=r"'class_wieght' is not .* Did you mean 'class_weight'\?"):
        kind(class_wieght=3).fit(*data)


def test_a_clone_has_what_was_set_where_the_derived_class_fixes_it(data):
    estimator = Fixing(width=5)
    assert clone(estimator).get_params()["module__hidden_sizes"] == (5,)
    assert clone(estimator).sampling == "over"
    changed = clone(estimator.set_params(sampling=None, module__hidden_sizes=(2,), lr=0.5))
    assert (changed.sampling, changed.width, changed.lr) == (None, 5, 0.5)
    assert changed.fit(*data).module_.output.weight.shape[1] == 2
    with config_context(enable_metadata_routing=True):
        routed = clone(Fixing().set_fit_request(sample_weight=True))
        assert routed.get_metadata_routing().fit.requests == {"sample_weight": True}


class Closed(ImbalancedNetClassifier):
    """Takes parameters of its own only."""

    def __init__(self, width=8, class_weight=None):
        super().__init__(class_weight=class_weight, module__hidden_sizes=(width,), max_epochs=1, random_state=0)
        self.width = width


def test_a_derived_class_without_keywords_has_its_own_parameters_only(data):
    estimator = clone(Closed(3, "balanced").fit(*data))
    assert estimator.get_params() == {"width": 3, "class_weight": "balanced"}
    assert repr(estimator) == "Closed(class_weight='balanced', width=3)"
    assert estimator.fit(*data).module_.output.weight.shape[1] == 3
    for name in ("lr", "module__dropout", "sampling"):
        with pytest.raises(
            ValueError, match=f"'{name}' is not a parameter .* There are \\['class_weight', 'width'\\]."
        ):
            estimator.set_params(**{name: 1})
    search = GridSearchCV(Closed(), {"class_weight": [None, "sqrt"], "width": [2]}, cv=2).fit(*data)
    assert search.best_estimator_.width == 2


class Outer(ImbalancedNetClassifier):
    """Has an estimator as a parameter."""

    def __init__(self, inner=None, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner


def test_an_estimator_that_is_a_parameter_has_its_own():
    inner = LogisticRegression()
    estimator = Outer(inner).set_params(inner__C=3, lr=0.5)
    assert (estimator.get_params()["inner__C"], clone(estimator).inner.C, inner.C) == (3, 3, 1)
    with pytest.raises(ValueError, match="'inner__D' is not a parameter"):
        estimator.set_params(inner__D=3)


# Names of parameters of objects


NESTED = [
    ({"sampling": OverSampling(), "sampling__ratio": 0.5}, lambda fitted: fitted.sampled_prior_[1], 1 / 3),
    (
        {"class_weight": EffectiveNumber(), "class_weight__beta": 0.0},
        lambda fitted: fitted.class_weight_[1],
        1,
    ),
    (
        {"schedule": DeferredSchedule(), "schedule__start": 1, "class_weight": "balanced"},
        lambda fitted: [epoch["remedy_strength"] for epoch in fitted.history_],
        [0, 1, 1],
    ),
]


@pytest.mark.parametrize(("settings", "seen", "expected"), NESTED, ids=["sampling", "class_weight", "schedule"])
def test_the_constructor_takes_nested_names_as_set_params_does(data, settings, seen, expected):
    before = repr(settings)
    made = ImbalancedNetClassifier(MLP, **settings, max_epochs=3, random_state=0)
    for estimator in (
        made,
        clone(made),
        pickle.loads(pickle.dumps(made)),
        ImbalancedNetClassifier(MLP, max_epochs=3, random_state=0).set_params(**settings),
        ImbalancedNetClassifier(**made.get_params()),
        ImbalancedNetClassifier(**made.get_params(deep=False)),
        Wider(**settings, max_epochs=3, random_state=0),
        clone(Wider(**settings, max_epochs=3, random_state=0)),
    ):
        nested = {name: value for name, value in settings.items() if "__" in name}
        assert {name: estimator.get_params()[name] for name in nested} == nested
        np.testing.assert_allclose(seen(estimator.fit(*data)), expected, atol=2e-3)
    assert all(made.get_params(deep=False)[name] is value for name, value in settings.items())
    assert repr(settings) == before  # the objects are the caller's


def test_best_params_of_a_search_go_into_the_constructor(data):
    grid = {"sampling": [UnderSampling()], "sampling__ratio": [0.25, 0.5], "module__hidden_sizes": [(3,)]}
    search = GridSearchCV(net(max_epochs=1), grid, cv=2).fit(*data)
    fitted = net(max_epochs=1, **search.best_params_).fit(*data)
    np.testing.assert_array_equal(fitted.predict_proba(data[0]), search.predict_proba(data[0]))
    assert grid["sampling"][0].ratio == 1.0


def test_another_object_takes_the_place_of_the_first_and_of_what_was_set_of_it():
    estimator = net(sampling=OverSampling(), sampling__ratio=0.5, schedule="deferred")
    estimator.set_params(sampling__ratio=0.25)
    assert (estimator.get_params()["sampling__ratio"], estimator.sampling.ratio) == (0.25, 0.25)
    estimator = net(sampling=OverSampling(), sampling__ratio=0.5)
    assert estimator.set_params(sampling=TemperedSampling()).get_params()["sampling"] == TemperedSampling()
    assert "sampling__ratio" not in estimator.get_params()
    estimator = net(sampling=TemperedSampling(), sampling__power=0.1).set_params(sampling__replacement=False)
    assert estimator.sampling == TemperedSampling(power=0.1, replacement=False)


def test_set_params_leaves_the_callers_object_as_it_was(data):
    mine = OverSampling()
    estimator = net(sampling=mine).set_params(sampling__ratio=0.5)
    assert (estimator.sampling.ratio, mine.ratio) == (0.5, 1.0)
    net().set_params(sampling=mine, sampling__ratio=0.5).fit(*data)
    assert mine.ratio == 1.0


@pytest.mark.parametrize("settings", [{"sampling": "over"}, {}, {"sampling": UnderSampling(), "sampling__rati": 0.5}])
def test_a_nested_name_that_belongs_to_nothing_raises_at_fit(data, settings):
    with pytest.raises(ValueError, match=r"^sampling__rati(o)? can't be set: sampling is "):
        net(**{"sampling__ratio": 0.5, **settings}).fit(*data)
