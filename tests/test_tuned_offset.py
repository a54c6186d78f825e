"""Offsets tuned out of fold: hand-made cases, scikit-learn's own tuner and checks, errors word for word."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from threading import Barrier, Lock

import numpy as np
import pytest
from joblib import parallel_config
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    fbeta_score,
    get_scorer,
    make_scorer,
)
from sklearn.model_selection import GridSearchCV, StratifiedKFold, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from imbalanced_torch import MLP, ImbalancedNetClassifier, TunedOffsetClassifierCV
from imbalanced_torch._prediction.label_scores import Metric
from imbalanced_torch._prediction.offset_search import _between

SCORERS = {
    "balanced_accuracy": balanced_accuracy_score,
    "f1_macro": lambda y, predicted: f1_score(y, predicted, average="macro"),
}


def tuned(estimator=None, **kwargs):
    return TunedOffsetClassifierCV(LogisticRegression() if estimator is None else estimator, **kwargs)


def skewed(n, n_classes, seed=0):
    return make_classification(
        n,
        n_features=6,
        n_informative=5,
        n_redundant=0,
        n_classes=n_classes,
        n_clusters_per_class=1,
        weights=[0.85, 0.12] if n_classes == 3 else [0.95],
        class_sep=0.7,
        random_state=seed,
    )


WHY = "a tuned decision is not the greatest probability; scikit-learn's TunedThresholdClassifierCV fails this check too"


@parametrize_with_checks(
    [tuned(cv=3, n_candidates=20), tuned(cv=3, n_candidates=20, scoring="accuracy")],
    expected_failed_checks=lambda estimator: {"check_classifiers_train": WHY},
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("scoring", SCORERS)
def test_three_classes_score_better_on_fresh_rows(scoring):
    X, y = skewed(6000, 3)
    train, fresh = np.arange(3000), np.arange(3000, 6000)
    model = tuned(scoring=scoring).fit(X[train], y[train])
    plain = LogisticRegression().fit(X[train], y[train])
    score, plain_score = (SCORERS[scoring](y[fresh], one.predict(X[fresh])) for one in (model, plain))
    assert score > plain_score + 0.03
    assert score == pytest.approx(model.best_score_, abs=0.03)
    assert model.class_offsets_.shape == (3,)
    assert model.class_offsets_[0] == 0


@pytest.mark.parametrize("scoring", ["balanced_accuracy", "f1", "accuracy"])
def test_two_classes_agree_with_scikit_learns_threshold(scoring):
    X, y = skewed(12_000, 2)
    train, fresh = np.arange(6000), np.arange(6000, 12_000)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    ours = tuned(scoring=scoring, cv=folds).fit(X[train], y[train])
    theirs = TunedThresholdClassifierCV(LogisticRegression(), scoring=scoring, cv=folds).fit(X[train], y[train])
    assert ours.best_score_ == pytest.approx(theirs.best_score_, abs=0.01)
    metric = {"balanced_accuracy": balanced_accuracy_score, "f1": f1_score, "accuracy": accuracy_score}[scoring]
    scores = [metric(y[fresh], model.predict(X[fresh])) for model in (ours, theirs)]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_the_offset_of_two_classes_is_a_threshold():
    X, y = skewed(2000, 2)
    model = tuned().fit(X, y)
    threshold = 1 / (1 + np.exp(model.class_offsets_[1]))
    np.testing.assert_array_equal(model.predict(X), (model.predict_proba(X)[:, 1] > threshold).astype(int))


def test_balanced_accuracy_is_tuned_to_about_minus_log_prior():
    X, y = skewed(20_000, 3)
    offsets = tuned().fit(X, y).class_offsets_
    expected = -np.log(np.bincount(y) / len(y))
    np.testing.assert_allclose(offsets, expected - expected[0], atol=0.7)


def long_tail(n, n_classes, seed):
    weights = 1 / np.arange(1, n_classes + 1)
    return make_classification(
        n,
        n_features=12,
        n_informative=8,
        n_classes=n_classes,
        n_clusters_per_class=1,
        weights=weights / weights.sum(),
        flip_y=0.1,
        random_state=seed,
    )


# The metrics by hand, in a tenth of the time


def confusion(y, predicted):
    n = max(y.max(), predicted.max()) + 1
    return np.bincount(y * n + predicted, minlength=n * n).reshape(n, n)


def hit(y, predicted):
    return (y == predicted).mean()


def recall(y, predicted):
    table = confusion(y, predicted)
    there = table.sum(1) > 0
    return (np.diag(table)[there] / table.sum(1)[there]).mean()


def f1(y, predicted):
    table = confusion(y, predicted)
    size = table.sum(0) + table.sum(1)
    return (2 * np.diag(table)[size > 0] / size[size > 0]).mean()


def matthews(y, predicted):
    table = confusion(y, predicted)
    true, called, n = table.sum(1), table.sum(0), len(y)
    spread = (n**2 - true @ true) * (n**2 - called @ called)
    return (np.trace(table) * n - true @ called) / np.sqrt(spread) if spread else 0.0


def score_by_calls(log_proba, y, metric, n_candidates=100, rounds=10):
    """Search as documented, one call of the metric for each candidate: the score that counts have to reach."""
    n_classes = log_proba.shape[1]
    moving = [1] if n_classes == 2 else range(n_classes)
    start = -np.log(np.bincount(y) / len(y))

    def score(offsets):
        return metric(y, (log_proba + offsets).argmax(1))

    offsets = max(np.zeros(n_classes), start - start[0], key=score)
    best, still = score(offsets), 0
    for code in islice(cycle(moving), rounds * len(moving)):
        others = np.delete(log_proba + offsets, code, axis=1).max(axis=1)
        tried = []
        for candidate in _between(others - log_proba[:, code], y == code, n_candidates):
            moved = offsets.copy()
            moved[code] = candidate
            tried.append(moved - moved[0])
        values = [score(one) for one in tried]
        still = 0 if max(values) > best else still + 1
        if max(values) > best:
            best, offsets = max(values), tried[int(np.argmax(values))]
        if still == len(moving):
            break
    return best


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("scoring", ["balanced_accuracy", "accuracy", "f1_macro", "matthews_corrcoef"])
def test_the_score_is_that_of_a_search_by_calls_or_better(scoring, n_classes, seed):
    X, y = long_tail(400, n_classes, seed)
    fitted = GaussianNB().fit(X[:200], y[:200])
    X, y = X[200:], y[200:]
    model = tuned(fitted, scoring=scoring, cv="prefit", refit=False, n_candidates=20).fit(X, y)
    metric = {"balanced_accuracy": recall, "accuracy": hit, "f1_macro": f1, "matthews_corrcoef": matthews}[scoring]
    log_proba = np.log(np.maximum(fitted.predict_proba(X), np.finfo(float).tiny))
    assert model.best_score_ >= score_by_calls(log_proba, y, metric, n_candidates=20) - 1e-3
    assert model.best_score_ == pytest.approx(get_scorer(scoring)(model, X, y), abs=1e-12)


@pytest.mark.parametrize(
    "scoring", ["f1_macro", "balanced_accuracy", make_scorer(fbeta_score, beta=2, average="macro")]
)
def test_a_score_of_counts_needs_no_call_for_a_candidate(monkeypatch, scoring):
    calls = []
    call = Metric.__call__
    monkeypatch.setattr(Metric, "__call__", lambda *args: calls.append(1) or call(*args))
    X, y = long_tail(600, 10, seed=0)
    tuned(GaussianNB(), scoring=scoring).fit(X, y)
    assert len(calls) == 5 * (2 + 1)  # folds, times two starts and the end


def test_the_calls_of_a_callable_are_bounded():
    X, y = long_tail(600, 10, seed=0)
    calls = []

    def scorer(estimator, X, y):
        calls.append(1)
        return -len(calls) if len(calls) % 2 else len(calls)  # always better somewhere

    tuned(GaussianNB(), scoring=scorer, cv=[(np.arange(300), np.arange(300, 600))], refit=False).fit(X, y)
    full, few = 102, 21 + 8
    assert len(calls) <= 3 * 10 * (full + 1) + 2 * 3 * 10 * (few + 3) + 100


@pytest.mark.parametrize("scoring", ["f1_macro", "balanced_accuracy", make_scorer(cohen_kappa_score)])
def test_a_callable_is_tuned_as_the_scorer_that_it_calls(scoring):
    X, y = long_tail(300, 3, seed=1)
    scorer = get_scorer(scoring)

    def by_call(estimator, X, y):
        return scorer._score_func(y, estimator.predict(X), **scorer._kwargs)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a callable's own warnings are shown
        called = tuned(GaussianNB(), scoring=by_call, cv=2, n_candidates=10).fit(X, y)
    counted = tuned(GaussianNB(), scoring=scoring, cv=2, n_candidates=10).fit(X, y)
    assert called.best_score_ == pytest.approx(counted.best_score_, abs=0.02)


@pytest.mark.parametrize("scoring", [accuracy_score, f1_score], ids=["accuracy", "f1"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_weighted_scores_are_those_of_weighted_rows(scoring, n_classes):
    X, y = long_tail(600, n_classes, seed=0)
    weights = np.random.default_rng(0).uniform(0.0, 3.0, 600) * (np.arange(600) % 5 > 0)
    average = {} if scoring is accuracy_score else {"average": "macro"}
    with config_context(enable_metadata_routing=True):
        fitted = GaussianNB().set_fit_request(sample_weight=False).fit(X[:300], y[:300])
        scorer = make_scorer(scoring, **average).set_score_request(sample_weight=True)
        model = tuned(fitted, scoring=scorer, cv="prefit", refit=False)
        model.fit(X[300:], y[300:], sample_weight=weights[300:])
    value = scoring(y[300:], model.predict(X[300:]), sample_weight=weights[300:], **average)
    assert model.best_score_ == pytest.approx(value, abs=1e-12)
    plain = scoring(y[300:], fitted.predict(X[300:]), sample_weight=weights[300:], **average)
    assert model.best_score_ > plain


def test_rows_of_one_label_and_prediction_are_scored_together():
    X, y = long_tail(2000, 3, seed=0)
    scorer = make_scorer(cohen_kappa_score, weights="linear")
    fitted = GaussianNB().fit(X[:1000], y[:1000])
    model = tuned(fitted, scoring=scorer, cv="prefit", refit=False, n_candidates=10).fit(X[1000:], y[1000:])
    assert model.best_score_ == pytest.approx(scorer(model, X[1000:], y[1000:]), abs=1e-12)


class Watcher(GaussianNB):
    """Notes the warning filters and scikit-learn's configuration that its `fit` runs under."""

    seen = []
    lock = Lock()  # scikit-learn's own checks set filters of theirs for a moment

    def fit(self, X, y, sample_weight=None):
        with Watcher.lock:
            Watcher.seen.append((list(warnings.filters), get_config()["enable_metadata_routing"]))
            return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_folds_and_scorers_run_under_the_callers_warning_filters_and_configuration(n_jobs):
    X, y = long_tail(300, 3, seed=0)
    filters, before = warnings.filters, list(warnings.filters)
    seen = Watcher.seen = []

    def watch(estimator, X, y):
        seen.append((list(warnings.filters), get_config()["enable_metadata_routing"]))
        return (y == estimator.predict(X)).mean()

    with config_context(enable_metadata_routing=True), parallel_config("sequential" if n_jobs is None else "threading"):
        tuned(Watcher(), scoring=watch, cv=2, n_candidates=5, n_jobs=n_jobs).fit(X, y)
    assert warnings.filters is filters
    assert all(each == before and routing for each, routing in seen)


def test_threads_leave_no_warning_ignored(monkeypatch):
    X, y = long_tail(300, 3, seed=0)
    before = list(warnings.filters)
    monkeypatch.setattr(warnings, "filters", list(before))  # scikit-learn's own checks may leave one of theirs
    together = Barrier(4)

    def fit(n):
        def scorer(estimator, X, y):
            if not calls:
                together.wait()  # all are in the middle of it
            calls.append(1)
            return (y == estimator.predict(X)).mean()

        calls = []
        try:
            tuned(Watcher(), scoring=scorer, cv=2, n_candidates=5 + 10 * n).fit(X, y)
        except BaseException:
            together.abort()  # else the others would wait for ever
            raise

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(fit, range(4)))
    assert [one for one in warnings.filters if one[0] == "ignore" and one not in before] == []


class Memory(ClassifierMixin, BaseEstimator):
    """Knows the rows it was trained on by heart, and nothing of others."""

    def fit(self, X, y):
        self.classes_, self.known_ = np.unique(y), {tuple(row): label for row, label in zip(X, y, strict=True)}
        return self

    def predict_proba(self, X):
        known = np.array([self.known_.get(tuple(row), -1) for row in X])
        return np.where((known == -1)[:, None], 1 / len(self.classes_), self.classes_ == known[:, None])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_offsets_are_tuned_on_rows_that_the_estimator_has_not_seen():
    X, y = skewed(300, 3)
    assert Memory().fit(X, y).score(X, y) == 1
    assert tuned(Memory(), scoring="balanced_accuracy").fit(X, y).best_score_ == pytest.approx(1 / 3)


def test_any_scorer_of_labels_serves():
    X, y = skewed(600, 3)
    names = np.array(["fine", "odd", "bad"])[y]

    def share_of_bad_found(estimator, X, y):
        return (estimator.predict(X) == "bad")[y == "bad"].mean()

    assert (tuned(scoring=share_of_bad_found).fit(X, names).predict(X)[names == "bad"] == "bad").all()
    assert tuned(scoring=make_scorer(cohen_kappa_score)).fit(X, names).best_score_ > 0
    assert set(tuned(scoring="f1_macro").fit(X, names).predict(X)) == set(names)


def test_a_net_in_a_pipeline_is_tuned_and_searched():
    X, y = skewed(600, 3)
    net = ImbalancedNetClassifier(MLP, max_epochs=10, lr=0.01, random_state=0)
    model = tuned(make_pipeline(StandardScaler(), net), cv=3, n_candidates=20)
    grid = {"estimator__imbalancednetclassifier__class_weight": [None, "balanced"]}
    search = GridSearchCV(model, grid, cv=2, scoring="balanced_accuracy").fit(X, y)
    assert search.best_score_ > 0.5
    assert search.best_estimator_.n_features_in_ == 6


def test_two_jobs_find_what_one_job_finds():
    X, y = skewed(400, 3)
    one, two = (tuned(n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one.class_offsets_, two.class_offsets_)


def test_a_fold_may_lack_a_class():
    X, y = skewed(300, 3)
    y[y == 2] = 1
    y[:3] = 2
    folds = [(np.arange(100, 300), np.arange(100)), (np.arange(200), np.arange(200, 300))]
    model = tuned(cv=folds).fit(X, y)
    assert model.classes_.tolist() == [0, 1, 2]
    assert np.isfinite(model.class_offsets_).all()


def test_prefit_and_a_single_split_keep_the_estimator():
    X, y = skewed(900, 3)
    fitted = LogisticRegression().fit(X[:300], y[:300])
    model = tuned(fitted, cv="prefit", refit=False).fit(X[300:], y[300:])
    assert model.estimator_ is fitted
    single = tuned(cv=[(np.arange(300), np.arange(300, 900))], refit=False).fit(X, y)
    np.testing.assert_array_equal(single.estimator_.coef_, fitted.coef_)
    np.testing.assert_array_equal(single.class_offsets_, model.class_offsets_)
    with pytest.raises(NotFittedError):
        tuned(cv="prefit", refit=False).fit(X, y)


def test_metadata_routing_carries_weights_to_the_estimator_and_the_scorer():
    X, y = skewed(600, 2)
    weights = np.where(y == 1, 50.0, 1.0)
    with config_context(enable_metadata_routing=True):
        scorer = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        estimator = LogisticRegression().set_fit_request(sample_weight=True)
        model = tuned(estimator, scoring=scorer).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model.estimator_.coef_, LogisticRegression().fit(X, y, sample_weight=weights).coef_)
    assert model.predict(X)[y == 1].mean() > 0.7  # of which 50 times as many are said to be there


def test_a_tree_with_probabilities_of_0_and_1_is_tuned():
    X, y = skewed(300, 3)
    model = tuned(DecisionTreeClassifier(random_state=0)).fit(X, y)
    assert np.isfinite(model.decision_function(X)).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_predict_delivers_the_best_score_where_probabilities_are_tied(n_classes, seed):
    X, y = make_classification(400, n_informative=6, n_classes=n_classes, random_state=seed, flip_y=0.15)
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X[:200], y[:200])
    model = tuned(tree, cv="prefit", refit=False).fit(X[200:], y[200:])
    assert balanced_accuracy_score(y[200:], model.predict(X[200:])) == pytest.approx(model.best_score_, abs=1e-12)


def test_an_offset_beyond_every_probability_is_found():
    X = np.repeat([[0.0], [1.0], [2.0]], 50, axis=0)
    y = np.concatenate([np.repeat([0, 1], [n, 50 - n]) for n in (45, 35, 25)])
    model = tuned(DecisionTreeClassifier().fit(X, y), cv="prefit", refit=False, scoring="recall").fit(X, y)
    assert model.best_score_ == 1
    assert (model.predict(X) == 1).all()


def test_without_a_scoring_it_is_the_estimators_accuracy():
    X, y = skewed(300, 3)
    assert tuned(scoring=None).fit(X, y).best_score_ == tuned(scoring="accuracy").fit(X, y).best_score_


@pytest.mark.filterwarnings("error")
def test_scores_of_offsets_on_the_way_do_not_warn():
    X, y = skewed(300, 3)
    tuned(scoring="precision_macro").fit(X, y)


def sees_probabilities(estimator, X, y):
    return estimator.predict_proba(X).mean()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scoring": ["f1", "accuracy"]}, "scoring must be one name or callable; it is ['f1', 'accuracy']."),
        (
            {"scoring": sees_probabilities},
            "scoring must look at predicted labels, which offsets change; it looks at predict_proba.",
        ),
        ({"cv": []}, "cv must give at least one split; it gives none."),
    ],
    ids=["list", "of probabilities", "no split"],
)
def test_a_scoring_or_cv_that_can_not_be_tuned_on_raises(parameters, message):
    X, y = skewed(300, 3)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        tuned(**parameters).fit(X, y)
    assert str(raised.value) == message


def test_a_scoring_that_is_nan_raises():
    X, y = skewed(300, 3)
    with pytest.raises(ValueError, match=r"scoring must give a finite score; .* gives nan"):
        tuned(scoring=lambda estimator, X, y: np.nan).fit(X, y)


def test_labels_that_a_prefit_estimator_does_not_know_raise():
    X, y = skewed(300, 3)
    for known in (y > 0, y < 2):
        fitted = LogisticRegression().fit(X[known], y[known])
        with pytest.raises(ValueError, match=r"y has labels that are not in the estimator's classes_: \[[02]\]"):
            tuned(fitted, cv="prefit", refit=False).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"scoring": "roc_auc_ovr"},
            ValueError,
            "scoring must look at predicted labels, which offsets change; 'roc_auc_ovr' looks at predict_proba.",
        ),
        ({"n_candidates": 1}, ValueError, "n_candidates must be an int of at least 2; it is 1."),
        ({"n_candidates": True}, TypeError, "n_candidates must be an int of at least 2; it is True."),
        ({"n_candidates": 20.0}, TypeError, "n_candidates must be an int of at least 2; it is 20.0."),
        ({"n_candidates": None}, TypeError, "n_candidates must be an int of at least 2; it is None."),
        ({"refit": 1}, TypeError, "refit must be True or False; it is 1."),
        ({"refit": "no"}, TypeError, "refit must be True or False; it is 'no'."),
        ({"refit": None}, TypeError, "refit must be True or False; it is None."),
        ({"n_jobs": 0}, ValueError, "n_jobs must be None or an int other than 0; it is 0."),
        ({"n_jobs": True}, TypeError, "n_jobs must be None or an int other than 0; it is True."),
        ({"n_jobs": 1.5}, TypeError, "n_jobs must be None or an int other than 0; it is 1.5."),
        ({"n_jobs": "all"}, TypeError, "n_jobs must be None or an int other than 0; it is 'all'."),
        (
            {"cv": "prefitted"},
            ValueError,
            "cv must be None, an int, a splitter, an iterable of splits or \"prefit\"; it is 'prefitted'.",
        ),
        ({"cv": True}, ValueError, "cv as a number of folds must be an int of at least 2; it is True."),
        ({"cv": 1}, ValueError, "cv as a number of folds must be an int of at least 2; it is 1."),
        (
            {"estimator": LogisticRegression},
            TypeError,
            "estimator must be a classifier with predict_proba; it is <class "
            "'sklearn.linear_model._logistic.LogisticRegression'>.",
        ),
        ({"cv": "prefit"}, ValueError, 'cv="prefit" keeps the estimator as it is; set refit=False.'),
        ({"refit": False}, ValueError, "refit=False needs a single split, whose estimator it keeps; cv has 5."),
        (
            {"estimator": StandardScaler()},
            TypeError,
            "estimator must be a classifier with predict_proba; it is StandardScaler().",
        ),
    ],
)
def test_error_says_what_must_hold_what_came_and_the_choices(parameters, error, message):
    X, y = skewed(300, 3)
    with pytest.raises(error) as raised:
        tuned(**parameters).fit(X, y)
    assert str(raised.value) == message


def test_metadata_without_routing_raises():
    X, y = skewed(300, 3)
    with pytest.raises(ValueError, match=r"fit takes \['sample_weight'\] only with metadata routing"):
        tuned().fit(X, y, sample_weight=np.ones(300))


def counted(monkeypatch):
    """Return a list that every fit of our classifier is added to."""
    fits, fit = [], ImbalancedNetClassifier.fit
    monkeypatch.setattr(
        ImbalancedNetClassifier, "fit", lambda self, X, y, **kwargs: fits.append(len(y)) or fit(self, X, y, **kwargs)
    )
    return fits


@pytest.mark.parametrize("remedy", [{}, {"class_weight": "balanced"}, {"prior_correction": True, "sampling": "over"}])
def test_a_fit_with_out_of_fold_probabilities_is_the_only_one(monkeypatch, remedy):
    X, y = make_classification(400, n_informative=6, n_classes=3, weights=[0.7, 0.2, 0.1], random_state=0)
    fits = counted(monkeypatch)
    net = ImbalancedNetClassifier(max_epochs=4, random_state=0, **remedy)
    tuned = TunedOffsetClassifierCV(net).fit(X.astype(np.float32), y)
    assert fits == [400]
    proba = tuned.estimator_.out_of_fold_proba()
    chosen = tuned.classes_[(np.log(proba) + tuned.class_offsets_).argmax(axis=1)]
    assert tuned.best_score_ == pytest.approx(balanced_accuracy_score(y, chosen))
    assert tuned.best_score_ > balanced_accuracy_score(y, proba.argmax(axis=1))
    # Probabilities are at the prior that those of new rows will be at.
    np.testing.assert_allclose(proba.mean(axis=0), tuned.predict_proba(X.astype(np.float32)).mean(axis=0), atol=0.1)


@pytest.mark.parametrize(
    ("net", "cv", "expected"),
    [
        (ImbalancedNetClassifier(max_epochs=1, random_state=0), 2, [150, 150, 300]),
        (ImbalancedNetClassifier(MLP, max_epochs=1, random_state=0), None, [240] * 5 + [300]),
    ],
    ids=["folds that are asked for", "a net without out-of-fold probabilities"],
)
def test_where_folds_are_asked_for_or_needed_they_are_fitted(monkeypatch, net, cv, expected):
    X, y = make_classification(300, random_state=0)
    fits = counted(monkeypatch)
    TunedOffsetClassifierCV(net, cv=cv).fit(X.astype(np.float32), y)
    assert sorted(fits) == sorted(expected)
