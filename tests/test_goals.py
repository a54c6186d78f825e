"""Goals are settled on held-out rows: by brute force over thresholds, floors by simulation, answers in words."""

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    fbeta_score,
    make_scorer,
    matthews_corrcoef,
    precision_score,
    recall_score,
)
from sklearn.model_selection import GridSearchCV

from imbalanced_torch import (
    MLP,
    ImbalancedNetClassifier,
    PrecisionFloor,
    RecallFloor,
    UncertainDecisionWarning,
    UncorrectedDecisionWarning,
)
from imbalanced_torch._prediction.goals import resolve_goal
from imbalanced_torch._prediction.held_out import Evidence, boundary, interval, reached

TWO, THREE = np.array(["fraud", "ok"]), np.array(["a", "b", "c"])


def evidence(log_odds, codes, weights=None):
    """Return held-out rows of two classes, by the log-odds of "fraud" (code 0)."""
    log_odds, codes = np.asarray(log_odds, float), np.asarray(codes)
    log_proba = -np.logaddexp(0, np.stack([-log_odds, log_odds], axis=1))
    weights = np.ones(len(codes)) if weights is None else np.asarray(weights, float)
    return Evidence(log_proba, codes, weights / weights.mean(), TWO)


def drawn(n, seed=0, share=0.1, shift=1.5):
    rng = np.random.default_rng(seed)
    codes = (rng.random(n) >= share).astype(int)
    return rng.normal(size=n) + shift * (codes == 0) - 2, codes


def called(goal, rows, code=0, rarest=0):
    offsets = resolve_goal(goal, rows.classes).settle(rows, rarest).offsets
    return (rows.log_proba + offsets).argmax(axis=1) == code


def rates(log_odds, codes):
    """Return recall, precision and share of every set of rows above a threshold, the smallest first."""
    sets = [log_odds >= value for value in np.unique(log_odds)[::-1]]
    own = codes == 0
    return [((s & own).sum() / own.sum(), (s & own).sum() / s.sum(), s.mean(), s) for s in sets]


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "tied"])
@pytest.mark.parametrize("seed", range(3))
def test_levels_are_those_of_brute_force_over_all_thresholds(seed, ties):
    log_odds, codes = drawn(400, seed)
    log_odds = log_odds.round(1) if ties else log_odds
    rows, every = evidence(log_odds, codes), rates(log_odds, codes)
    for level in (0.2, 0.5, 0.8, 0.95):
        fewest = next(s for recall, _, _, s in every if recall >= level)
        np.testing.assert_array_equal(called({"recall": level}, rows), fewest)
    for level in (0.15, 0.2, 0.25):
        most = [s for _, precision, _, s in every if precision >= level]
        np.testing.assert_array_equal(called({"precision": level}, rows), most[-1])
    for level in (0.05, 0.1, 0.3):
        most = [s for _, _, share, s in every if share <= level]
        np.testing.assert_array_equal(called({"share": level}, rows), most[-1])


def test_a_goal_for_a_named_class_is_for_that_class():
    log_odds, codes = drawn(400)
    rows = evidence(log_odds, codes)
    ok = called({"recall": {"ok": 0.99}}, rows, code=1)
    assert 0.99 <= ok[codes == 1].mean() < 0.995
    assert called({"recall": {"fraud": 0.8}}, rows).tolist() == called({"recall": 0.8}, rows).tolist()


def test_rows_count_by_their_weight():
    log_odds, codes = drawn(300)
    weights = np.random.default_rng(1).integers(1, 4, 300)
    weighted = called({"recall": 0.8}, evidence(log_odds, codes, weights))
    repeated = evidence(np.repeat(log_odds, weights), np.repeat(codes, weights))
    np.testing.assert_array_equal(np.repeat(weighted, weights), called({"recall": 0.8}, repeated))


@pytest.mark.parametrize(
    ("word", "score"),
    [
        ("f1", lambda y, p: f1_score(y, p, pos_label="fraud")),
        ("mcc", matthews_corrcoef),
        ("gmean", lambda y, p: np.sqrt(recall_score(y, p, average=None).prod())),
        ("balanced_accuracy", balanced_accuracy_score),
        ("jaccard", lambda y, p: ((y == "fraud") & (p == "fraud")).sum() / ((y == "fraud") | (p == "fraud")).sum()),
        (
            make_scorer(fbeta_score, beta=2, pos_label="fraud"),
            lambda y, p: fbeta_score(y, p, beta=2, pos_label="fraud"),
        ),
        (make_scorer(fbeta_score, beta=0.5), lambda y, p: fbeta_score(y, p, beta=0.5, pos_label="fraud")),
        (lambda net, X, y: (net.predict(X) == y).mean(), lambda y, p: (y == p).mean()),
    ],
    ids=["f1", "mcc", "gmean", "balanced accuracy", "jaccard", "F2", "F.5 of the rarer class", "a function"],
)
def test_a_score_is_as_high_as_at_the_best_threshold(word, score):
    log_odds, codes = drawn(300, share=0.2)
    rows = evidence(log_odds, codes)
    y = TWO[codes]
    best = max(score(y, np.where(s, "fraud", "ok")) for *_, s in rates(log_odds, codes))
    found = score(y, np.where(called(word, rows), "fraud", "ok"))
    assert found == pytest.approx(best, abs=0.005)


@pytest.mark.parametrize("word", ["f1", "mcc", "gmean", "recall_macro", "accuracy"])
def test_scores_of_three_classes_gain_by_offsets(word):
    rng = np.random.default_rng(0)
    codes = rng.choice(3, 600, p=[0.8, 0.15, 0.05])
    log_proba = np.log(
        rng.dirichlet(np.ones(3), 600) * 0.5 + 0.5 * np.array([0.8, 0.15, 0.05]) + 0.3 * np.eye(3)[codes]
    )
    rows = Evidence(log_proba, codes, np.ones(600), THREE)
    scores = {
        "f1": lambda y, p: f1_score(y, p, average="macro"),
        "mcc": matthews_corrcoef,
        "gmean": lambda y, p: recall_score(y, p, average=None).prod() ** (1 / 3),
        "recall_macro": balanced_accuracy_score,
        "accuracy": lambda y, p: (y == p).mean(),
    }
    offsets = resolve_goal(word, THREE).settle(rows, 2).offsets
    found = scores[word](codes, (log_proba + offsets).argmax(axis=1))
    prior = np.log(np.bincount(codes) / 600)
    assert found >= max(scores[word](codes, (log_proba - shift).argmax(axis=1)) for shift in (0, prior, prior / 2))


@pytest.mark.parametrize("goal", [{"recall": {"c": 0.8}}, {"precision": {"b": 0.5}}, {"share": {"a": 0.3}}])
def test_levels_of_one_of_three_classes_move_that_class_alone(goal):
    rng = np.random.default_rng(0)
    codes = rng.choice(3, 900, p=[0.7, 0.2, 0.1])
    log_proba = np.log(rng.dirichlet(np.ones(3), 900) + 0.7 * np.eye(3)[codes])
    ((kind, named),) = goal.items()
    ((label, level),) = named.items()
    code = THREE.tolist().index(label)
    rows = Evidence(log_proba, codes, np.ones(900), THREE)
    chosen = (log_proba + resolve_goal(goal, THREE).settle(rows, 2).offsets).argmax(axis=1)
    found = reached(chosen, rows, code, 0.95)
    assert found[kind] <= level if kind == "share" else found[kind] >= level
    assert abs(found[kind] - level) < 0.03
    others = np.delete(log_proba, code, axis=1).argmax(axis=1)
    np.testing.assert_array_equal(np.delete(np.arange(3), code)[others][chosen != code], chosen[chosen != code])


# What can't be had


def test_an_unreachable_precision_says_what_is_the_highest_and_where():
    with pytest.raises(
        ValueError, match=r"decision=\{'precision': 0.9\} is reached at no threshold: the highest"
    ) as info:
        called({"precision": 0.9}, evidence([3, 2, 1, 0, -1], [1, 0, 0, 1, 1]))
    assert "is 0.667, where 0.6 of the rows are called so and its recall is 1" in str(info.value)


def test_a_share_that_a_tie_exceeds_is_refused_with_its_size():
    rows = evidence([1.0] * 30 + list(np.linspace(-1, 0, 70)), [0] * 10 + [1] * 90)
    with pytest.raises(ValueError, match=r"share one score, and are 0.3 of the 100 held-out rows"):
        called({"share": 0.05}, rows)
    assert called({"share": 0.3}, rows).mean() == 0.3


@pytest.mark.parametrize("goal", [{"recall": 0.8}, {"precision": 0.05}, RecallFloor(0.3, confidence=0.6)])
def test_where_every_row_would_be_called_so_nothing_is_chosen(goal):
    rows = evidence(np.zeros(200), [0] * 30 + [1] * 170)
    with pytest.raises(ValueError, match="is reached only where every row is called 'fraud'"):
        called(goal, rows)


def test_a_score_that_is_best_at_one_class_warns():
    rows = evidence(np.zeros(300), [0] * 120 + [1] * 180)
    with pytest.warns(UncertainDecisionWarning, match="is best where every row is called 'fraud'"):
        assert called("f1", rows).all()


@pytest.mark.parametrize("goal", [{"recall": 0.8}, "f1", {"precision": 0.9}], ids=str)
def test_fewer_than_20_rows_warn_with_the_interval(goal):
    log_odds, codes = drawn(200, share=0.05, shift=4)
    with pytest.warns(UncertainDecisionWarning, match=r"is settled on \d+ held-out rows (of|called) 'fraud'") as caught:
        called(goal, evidence(log_odds, codes))
    if goal == {"recall": 0.8}:
        n = (codes == 0).sum()
        low, high = interval(np.ceil(0.8 * n) / n, n, 0.95)
        assert f"on new rows may be {low:.3g} to {high:.3g}" in str(caught[0].message)


# Floors


def test_a_recall_floor_takes_the_order_statistic_of_the_beta_law():
    log_odds, codes = drawn(2000)
    own = np.sort(log_odds[codes == 0])
    n = len(own)
    below = n - called(RecallFloor(0.8, confidence=0.95), evidence(log_odds, codes))[codes == 0].sum()
    # below + 1 is the rank k of the lowest that is called: F(s_k) ~ Beta(k, n - k + 1).
    assert beta.cdf(0.2, below + 1, n - below) >= 0.95
    assert beta.cdf(0.2, below + 2, n - below - 1) < 0.95


@pytest.mark.parametrize(("at_least", "confidence", "needed"), [(0.8, 0.95, 14), (0.9, 0.95, 29), (0.5, 0.99, 7)])
def test_a_recall_floor_says_how_many_rows_it_needs(at_least, confidence, needed):
    floor = RecallFloor(at_least, confidence)
    few = evidence(np.arange(100.0), [0] * (needed - 1) + [1] * (101 - needed))
    with pytest.raises(
        ValueError, match=f"needs at least {needed} held-out rows of 'fraud' for any bound; there are {needed - 1}"
    ):
        called(floor, few)
    enough = evidence(np.arange(100.0)[::-1], [0] * needed + [1] * (100 - needed))
    assert called(floor, enough)[:needed].all()


def test_floors_hold_in_500_draws_at_their_confidence():
    """The scores of a fixed net: true recall and precision by the normal law."""
    from scipy.stats import norm

    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)
    violated, imprecise, unmet = [], [], 0
    for seed in range(500):
        log_odds, codes = drawn(600, seed)
        rows = evidence(log_odds, codes)
        threshold = np.diff(resolve_goal(RecallFloor(0.8), TWO).settle(rows, 0).offsets)[0]
        violated.append(norm.sf(threshold, loc=-0.5) < 0.8)
        try:
            threshold = np.diff(resolve_goal(PrecisionFloor(0.3), TWO).settle(rows, 0).offsets)[0]
        except ValueError:
            unmet += 1
            continue
        fraud, ok = 0.1 * norm.sf(threshold, loc=-0.5), 0.9 * norm.sf(threshold, loc=-2)
        imprecise.append(fraud / (fraud + ok) < 0.3)
    assert 0.005 < np.mean(violated) <= most
    assert np.mean(imprecise) <= most
    assert unmet < 250


def test_a_precision_floor_tests_each_of_20_sets_at_a_20th_of_the_error():
    from scipy.stats import binom

    for seed in range(5):
        log_odds, codes = drawn(3000, seed)
        flagged = called(PrecisionFloor(0.3), evidence(log_odds, codes))
        assert binom.sf(codes[flagged].tolist().count(0) - 1, flagged.sum(), 0.3) <= 0.05 / 20
        larger = [s for *_, s in rates(log_odds, codes) if s.sum() > flagged.sum()]
        assert any(binom.sf((s & (codes == 0)).sum() - 1, s.sum(), 0.3) <= 0.05 for s in larger)


def test_floors_refuse_rows_that_count_otherwise():
    log_odds, codes = drawn(600)
    rows = evidence(log_odds, codes, np.linspace(1, 2, 600))
    for floor in (RecallFloor(0.8), PrecisionFloor(0.3)):
        with pytest.raises(ValueError, match="needs rows that count equally"):
            called(floor, rows)


@pytest.mark.parametrize("goal", [RecallFloor(0.3), {"share": 0.05}, {"recall": 0.8}], ids=str)
def test_members_that_rank_as_chance_does_warn(goal):
    """On noise averages spread less than single members: a share of .05 there is one of .01 on new rows."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(500, 6)).astype(np.float32), np.where(rng.random(500) < 0.2, "fraud", "ok")
    net = ImbalancedNetClassifier(max_epochs=5, random_state=0).fit(X, y)
    with pytest.warns(UncertainDecisionWarning, match=r"do not tell 'fraud' apart from chance \(ROC AUC 0\.\d\d\)"):
        net.set_params(decision=goal)


def test_a_precision_floor_that_no_set_keeps_says_what_is_reached():
    log_odds, codes = drawn(600)
    with pytest.raises(
        ValueError, match=r"can't be kept: the precision of 'fraud' on held-out rows is 0\.\d+ in the best of"
    ):
        called(PrecisionFloor(0.95), evidence(log_odds, codes))


# Values that are wrong


@pytest.mark.parametrize(
    ("decision", "error", "message"),
    [
        ({"recall": 1.5}, ValueError, r"the level of decision=\{'recall': 1.5\} must be in \(0, 1\]; it is 1.5"),
        ({"share": 1.0}, ValueError, r"must be in \(0, 1\); it is 1.0"),
        ({"recall": "high"}, TypeError, r"must be a number in \(0, 1\]; it is 'high'"),
        (
            {"recall": {"fruad": 0.8}},
            ValueError,
            r"names 'fruad', which is no class of y. The classes are \['fraud', 'ok'\]",
        ),
        ({"recall": {"fraud": 0.8, "ok": 0.8}}, ValueError, "must name one class; it names 2"),
        ({"recall": 0.8, "precision": 0.5}, ValueError, "must be one of .* with its level; it has"),
        (
            {"recal": 0.8},
            ValueError,
            r"must be one of \['precision', 'recall', 'share'\]; it is 'recal'. Did you mean 'recall'",
        ),
        ({"sensitivity": 0.8}, ValueError, r'it is .sensitivity.. It is called "recall" here'),
        ({"fpr": 0.01}, ValueError, r"It is 1 less the recall of the other class"),
        ({"budget": 0.01}, ValueError, r'A share of all rows is called "share" here'),
        ("recall", ValueError, r'decision="recall" needs a level, such as \{"recall": 0.8\}'),
        ("roc_auc", ValueError, "must be a score of predicted labels, .* looks at"),
        (make_scorer(precision_score), ValueError, "needs a level"),
        (
            lambda proba: proba,
            TypeError,
            r"must be cost\(proba, X\) or a scorer\(estimator, X, y\); .* takes 1 argument",
        ),
        (
            RecallFloor(at_least=0),
            ValueError,
            r"at_least of decision=RecallFloor\(at_least=0\) must be in \(0, 1\); it is 0",
        ),
        (PrecisionFloor(confidence=1), ValueError, r"confidence of .* must be in \(0, 1\); it is 1"),
        (RecallFloor(label="fruad"), ValueError, "names 'fruad', which is no class of y"),
    ],
)
def test_wrong_goals_say_what_must_hold_what_came_and_the_choices(decision, error, message):
    with pytest.raises(error, match=message):
        resolve_goal(decision, TWO)


def test_a_dict_whose_keys_are_labels_is_a_threshold_whatever_they_are_called():
    assert resolve_goal({"recall": 0.8}, np.array(["precision", "recall"])) is None
    assert resolve_goal({"fraud": 0.8}, TWO) is None


# The estimator


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(900, n_informative=6, weights=[0.85], flip_y=0.03, random_state=0)
    return X.astype(np.float32), np.where(y == 1, "fraud", "ok")


@pytest.fixture(scope="module", params=["default", "MLP"])
def fitted(data, request):
    module = None if request.param == "default" else MLP
    net = ImbalancedNetClassifier(module, max_epochs=15, early_stopping=True, validation_fraction=0.3, random_state=0)
    return net.fit(*data)


@pytest.mark.parametrize("goal", [{"recall": 0.8}, {"share": 0.05}, "f1", RecallFloor(0.6)], ids=str)
def test_a_goal_takes_effect_at_once_and_the_report_says_what_it_reaches(fitted, data, goal):
    before = fitted.set_params(decision="argmax").predict(data[0])
    proba = fitted.predict_proba(data[0])
    after = fitted.set_params(decision=goal).predict(data[0])
    assert (before != after).any()
    np.testing.assert_array_equal(fitted.predict_proba(data[0]), proba)
    (row,) = fitted.decision_report()
    assert row["decision"] is goal
    assert row["label"] == "fraud"
    np.testing.assert_array_equal(proba[:, 0] >= row["threshold"], after == "fraud")
    if isinstance(goal, dict):
        ((kind, level),) = goal.items()
        assert abs(row[kind] - level) < 0.05
        assert row[f"{kind}_low"] < row[kind] < row[f"{kind}_high"]


def test_the_threshold_of_the_report_is_at_the_prior_that_probabilities_are_at(fitted, data):
    fitted.set_params(decision={"recall": 0.8}, prior_correction={"fraud": 0.5, "ok": 0.5})
    try:
        (row,) = fitted.decision_report()
        chosen = fitted.predict(data[0]) == "fraud"
        np.testing.assert_array_equal(fitted.predict_proba(data[0])[:, 0] >= row["threshold"], chosen)
    finally:
        fitted.set_params(prior_correction=False)


def test_a_goal_is_for_the_prior_where_the_model_will_work(fitted):
    """At half the share of fraud there are fewer rows to flag, and fewer of them are right."""
    try:
        (here,) = fitted.set_params(decision={"recall": 0.8}).decision_report()
        (there,) = fitted.set_params(prior_correction={"fraud": 0.02, "ok": 0.98}).decision_report()
        assert there["recall"] == pytest.approx(here["recall"])
        assert there["share"] < here["share"]
        assert there["precision"] < here["precision"]
    finally:
        fitted.set_params(prior_correction=False)


@pytest.mark.parametrize(
    "remedy", [{"class_weight": "balanced"}, {"sampling": "over"}, {"criterion": "focal"}], ids=str
)
def test_goals_mean_the_same_under_a_remedy(data, remedy):
    """The share of flagged rows is that of the data, not that which the net was trained on."""
    X, y = data
    net = ImbalancedNetClassifier(max_epochs=10, random_state=0, decision={"share": 0.1}, **remedy).fit(
        X[:600], y[:600]
    )
    assert (net.predict(X[600:]) == "fraud").mean() == pytest.approx(0.1, abs=0.03)
    assert net.decision_report()[0]["share"] == pytest.approx(0.1, abs=0.005)


def test_an_unreachable_goal_leaves_the_fit_and_its_probabilities_whole(fitted, data):
    fitted.set_params(decision=RecallFloor(0.999))
    with pytest.raises(ValueError, match="needs at least 2995 held-out rows"):
        fitted.predict(data[0])
    assert fitted.predict_proba(data[0]).shape == (900, 2)
    row, other = fitted.decision_report([RecallFloor(0.999), "argmax"])
    assert np.isnan(row["recall"])
    assert "needs at least 2995" in row["note"]
    assert other["recall"] > 0
    assert clone(fitted).fit(*data).predict_proba(data[0]).shape == (900, 2)


def test_where_nothing_is_held_out_a_goal_is_refused_before_training(data):
    net = ImbalancedNetClassifier(MLP, early_stopping=False, decision={"recall": 0.8})
    with pytest.raises(ValueError, match=r"needs rows that the net has not trained on, and none are held out"):
        net.fit(*data)
    net.set_params(decision="argmax", max_epochs=1).fit(*data)
    with pytest.raises(ValueError, match="none are held out"):
        net.set_params(decision={"recall": 0.8}).predict(data[0])
    for method in (net.decision_report, lambda: net.predict_set(data[0])):
        with pytest.raises(ValueError, match="none are held out"):
            method()


def test_partial_fit_and_loaded_weights_forget_what_was_held_out(data, tmp_path):
    net = ImbalancedNetClassifier(MLP, max_epochs=2, early_stopping=True, random_state=0).fit(*data)
    net.decision_report()
    net.save_params(f_params=tmp_path / "weights.pt", f_history=tmp_path / "history.json")
    net.load_params(f_history=tmp_path / "history.json")
    net.decision_report()
    net.load_params(f_params=tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="none are held out"):
        net.decision_report()
    net.fit(*data).decision_report()
    net.set_params(early_stopping="auto").partial_fit(*data)
    with pytest.raises(ValueError, match="none are held out"):
        net.decision_report()


def test_goals_can_be_searched_with_the_parameters_of_their_objects(data):
    net = ImbalancedNetClassifier(MLP, max_epochs=4, early_stopping=True, validation_fraction=0.3, random_state=0)
    grid = [{"decision": ["argmax", {"recall": 0.9}]}, {"decision": [RecallFloor()], "decision__at_least": [0.5, 0.7]}]
    search = GridSearchCV(net, grid, scoring=make_scorer(recall_score, pos_label="fraud"), cv=2).fit(*data)
    scores = search.cv_results_["mean_test_score"]
    assert search.best_params_ == {"decision": {"recall": 0.9}}
    assert scores[3] > scores[2]


def test_parameters_of_a_floor_are_set_by_their_names(fitted, data):
    few = (fitted.set_params(decision=RecallFloor(0.3)).predict(data[0]) == "fraud").sum()
    floor = fitted.decision
    many = (fitted.set_params(decision__at_least=0.8).predict(data[0]) == "fraud").sum()
    assert few < many
    assert floor.at_least == 0.3
    net = ImbalancedNetClassifier(
        MLP, max_epochs=3, early_stopping=True, decision=RecallFloor(), decision__at_least=0.999
    )
    with pytest.raises(ValueError, match="needs at least 2995"):
        net.fit(*data).predict(data[0])


def test_a_goal_is_settled_anew_by_the_next_fit_and_travels_with_pickles(data):
    import pickle

    net = ImbalancedNetClassifier(max_epochs=3, decision="f1", random_state=0).fit(*data)
    there = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(there.predict(data[0]), net.predict(data[0]))
    shares = [(there.set_params(decision={"share": s}).predict(data[0]) == "fraud").mean() for s in (0.02, 0.2)]
    assert shares[0] < shares[1]


def test_reports_of_three_classes_have_a_row_for_each():
    X, y = make_classification(900, n_informative=6, n_classes=3, weights=[0.7, 0.2, 0.1], random_state=0)
    net = ImbalancedNetClassifier(max_epochs=5, random_state=0).fit(X.astype(np.float32), y)
    rows = net.decision_report(["argmax", "balanced", {"recall": {2: 0.9}}, "gmean"])
    assert [row["label"] for row in rows] == [0, 1, 2] * 4
    assert sum(row["share"] for row in rows[:3]) == pytest.approx(1)
    assert rows[8]["recall"] >= 0.9
    assert np.isnan(rows[0]["threshold"])


def test_a_report_takes_a_list_of_decisions_and_a_confidence(fitted):
    with pytest.raises(TypeError, match="decisions must be a list of values of decision; it is 'f1'"):
        fitted.decision_report("f1")
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\); it is 1"):
        fitted.decision_report(confidence=1)
    narrow, wide = (fitted.decision_report(["argmax"], confidence=c)[0] for c in (0.5, 0.99))
    assert wide["recall_low"] < narrow["recall_low"] < narrow["recall_high"] < wide["recall_high"]


def test_goals_are_no_probabilities_at_another_prior_and_do_not_warn(data):
    net = ImbalancedNetClassifier(class_weight="balanced", max_epochs=2, random_state=0)
    net.set_params(decision={"recall": 0.8}).fit(*data)
    with pytest.warns(UncorrectedDecisionWarning):
        net.set_params(decision=0.3)


# Intervals


def test_intervals_are_those_of_clopper_and_pearson():
    from scipy.stats import binomtest

    for hits, n in ((0, 10), (3, 17), (17, 17), (400, 1000)):
        expected = binomtest(hits, n).proportion_ci(0.9, method="exact")
        assert interval(hits / n, n, 0.9) == pytest.approx((expected.low, expected.high))
    assert interval(0.5, 0, 0.9) == (0.0, 1.0)


def test_the_auc_of_margins_is_scikit_learns():
    from sklearn.metrics import roc_auc_score

    log_odds, codes = drawn(300)
    rows = evidence(log_odds.round(1), codes)
    auc, sd = rows.auc(0)
    assert auc == pytest.approx(roc_auc_score(codes == 0, log_odds.round(1)))
    drawn_at_chance = [evidence(log_odds, np.random.default_rng(i).permutation(codes)).auc(0)[0] for i in range(200)]
    assert np.std(drawn_at_chance) == pytest.approx(sd, rel=0.15)


def test_the_boundary_lies_between_the_rows_that_are_called_so_and_the_others():
    assert boundary(np.array([1.0, 3.0, 2.0]), np.array([False, True, False])) == 2.5
    assert np.isnan(boundary(np.array([1.0, 2.0]), np.array([True, True])))
