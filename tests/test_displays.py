"""Displays draw what scikit-learn's metrics say, in the axes that they are given, and say what they need."""

import ast
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy.stats import beta
from sklearn.base import clone
from sklearn.calibration import calibration_curve
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_score, recall_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import imbalanced_torch
from imbalanced_torch import (
    MLP,
    CalibrationComparisonDisplay,
    ClassBalanceDisplay,
    DecisionTradeoffDisplay,
    FocalLoss,
    ImbalancedNetClassifier,
    RecallFloor,
    StrategyComparisonDisplay,
    TrainingCurveDisplay,
)
from imbalanced_torch._displays import canvas
from imbalanced_torch._displays.decision_tradeoff import _apart
from imbalanced_torch._displays.thresholds import intervals_of
from imbalanced_torch._prediction.held_out import interval

mpl.use("Agg")
COSTS = {"fraud": {"legit": 20.0}, "legit": {"fraud": 1.0}}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    """600 rows with string labels, of which the rare one sorts first."""
    X, y = make_classification(600, n_features=5, weights=[0.9], class_sep=1.0, random_state=0)
    return X, np.where(y == 1, "fraud", "legit")


@pytest.fixture(scope="module")
def net(rows):
    """A small net with a remedy and rows held out."""
    return small(class_weight="balanced").fit(*rows)


@pytest.fixture(scope="module")
def many_classes():
    rng = np.random.default_rng(0)
    y = rng.choice(4, 400, p=[0.55, 0.25, 0.15, 0.05])
    X = rng.standard_normal((400, 3)) + y[:, None]
    return X, y, small(sampling="over").fit(X, y)


@pytest.fixture(scope="module")
def search(rows):
    grid = [{"decision": ["trained", "balanced"]}, {"class_weight": ["balanced"]}, {"sampling": ["over"]}]
    scoring = {"balanced_accuracy": "balanced_accuracy", "log loss": "neg_log_loss"}
    return GridSearchCV(small(), grid, scoring=scoring, refit=False, cv=StratifiedKFold(3)).fit(*rows).cv_results_


def small(**params):
    given = {"max_epochs": 4, "early_stopping": True, "validation_fraction": 0.4, "random_state": 0}
    return ImbalancedNetClassifier(MLP, **{**given, **params})


# One contract for all


def drawn(name, net, search, **where):
    display = getattr(imbalanced_torch, name)
    return (
        display.from_cv_results(search, scores=["log loss"], **where)
        if display is StrategyComparisonDisplay
        else display.from_estimator(net, **where)
    )


DISPLAYS = sorted(name for name in imbalanced_torch.__all__ if name.endswith("Display"))


def test_there_are_five_displays_and_scikit_learn_has_none_of_their_names():
    import sklearn.calibration
    import sklearn.inspection
    import sklearn.metrics
    import sklearn.model_selection

    modules = (sklearn.calibration, sklearn.inspection, sklearn.metrics, sklearn.model_selection)
    assert len(DISPLAYS) == 5
    assert not [name for name in DISPLAYS for module in modules if hasattr(module, name)]


@pytest.mark.parametrize("name", DISPLAYS)
def test_a_display_draws_in_axes_that_it_is_given_and_makes_a_figure_without(name, net, search):
    figure, ax = plt.subplots()
    display = drawn(name, net, search, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    other = drawn(name, net, search)
    assert other.figure_ is not figure
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("name", DISPLAYS)
def test_a_display_is_drawn_twice_and_renders(name, net, search, tmp_path):
    display = drawn(name, net, search)
    first = display.figure_
    assert display.plot() is display
    assert display.figure_ is not first
    display.figure_.savefig(tmp_path / "figure.png")
    assert display.plot(ax=first.axes[0]).figure_ is first
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", DISPLAYS)
def test_a_display_needs_matplotlib_and_says_what_to_install(name, net, search, monkeypatch):
    display = drawn(name, net, search)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = r'needs matplotlib, which is not installed\. Run: pip install "imbalanced-torch\[plots\]"\.'
    with pytest.raises(ImportError, match=rf"{name}\.plot {text}"):
        display.plot()
    with pytest.raises(ImportError, match=rf"{name}\.from_\w+ {text}"):
        drawn(name, net, search)
    if hasattr(getattr(imbalanced_torch, name), "from_predictions"):
        with pytest.raises(ImportError, match=rf"{name}\.from_predictions {text}"):
            getattr(imbalanced_torch, name).from_predictions([0, 1], [0.2, 0.8])


@pytest.mark.parametrize("name", sorted(set(DISPLAYS) - {"StrategyComparisonDisplay"}))
def test_a_display_takes_a_pipeline_and_refuses_what_is_not_fitted(name, rows):
    display = getattr(imbalanced_torch, name)
    pipeline = make_pipeline(StandardScaler(), small())
    for estimator in (small(), pipeline):
        with pytest.raises(NotFittedError):
            display.from_estimator(estimator)
    assert display.from_estimator(pipeline.fit(*rows)).ax_.has_data()
    assert not plt.get_fignums()[1:]


@pytest.mark.parametrize("name", ["ClassBalanceDisplay", "CalibrationComparisonDisplay", "TrainingCurveDisplay"])
def test_a_display_of_a_nets_own_refuses_other_classifiers(name, rows):
    with pytest.raises(TypeError, match=f"{name} needs a fitted ImbalancedNetClassifier.*it is LogisticRegression"):
        getattr(imbalanced_torch, name).from_estimator(LogisticRegression().fit(*rows))


@pytest.mark.parametrize("path", sorted(Path(canvas.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_matplotlib_is_imported_where_it_is_asked_for_and_pandas_never(path):
    tree = ast.parse(path.read_text())
    first = ast.unparse([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)])
    assert "matplotlib" not in first
    assert "pandas" not in path.read_text()


def test_an_alias_of_a_style_replaces_the_default(net):
    display = DecisionTradeoffDisplay.from_estimator(net, lw=4, c="red")
    assert display.recall_line_.get_linewidth() == 4
    assert display.recall_line_.get_color() == "red"


# Class balance


def test_class_balance_has_the_priors_and_counts_of_the_fit(net):
    display = ClassBalanceDisplay.from_estimator(net)
    assert display.class_prior.tolist() == net.class_prior_.tolist()
    assert display.sampled_prior.tolist() == net.sampled_prior_.tolist()
    np.testing.assert_allclose(display.effective_prior, [0.5, 0.5])
    np.testing.assert_allclose(display.target_prior, [0.5, 0.5])
    assert display.counts.tolist() == net.class_priors_.population.tolist()
    assert [label.get_text() for label in display.ax_.get_yticklabels()][1].endswith(f"n = {display.counts[1]:.0f}")
    assert [line.get_xdata().tolist() for line in display.points_][2] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("correction", "target"),
    [(True, None), ({"fraud": 0.3, "legit": 0.7}, [0.3, 0.7]), ([0.2, 0.8], [0.2, 0.8])],
    ids=["true", "dict", "array"],
)
def test_class_balance_shows_the_prior_that_probabilities_are_carried_to(net, rows, correction, target):
    corrected = clone(net).set_params(prior_correction=correction).fit(*rows)
    found = ClassBalanceDisplay.from_estimator(corrected).target_prior
    np.testing.assert_allclose(found, corrected.class_prior_ if target is None else target)


@pytest.mark.parametrize(("shares", "scale"), [([0.9, 0.1], "linear"), ([0.995, 0.005], "log"), ([1.0, 0.0], "linear")])
def test_shares_that_differ_a_hundredfold_have_a_log_scale(shares, scale):
    display = ClassBalanceDisplay(shares, shares, shares, shares, classes=["a", "b"]).plot()
    assert display.ax_.get_xscale() == scale
    assert display.plot(scale="linear").ax_.get_xscale() == "linear"


def test_the_most_frequent_of_thirty_classes_is_on_top_and_each_is_named():
    shares = np.geomspace(1, 1e-3, 30)[::-1] / np.geomspace(1, 1e-3, 30).sum()
    equal = np.full(30, 1 / 30)
    display = ClassBalanceDisplay(shares, equal, equal, shares, classes=np.arange(30), counts=1000 * shares).plot()
    places = dict(zip(np.arange(30), display.points_[0].get_ydata().round(), strict=True))
    assert places[29] < places[0]
    assert len(display.ax_.get_yticklabels()) == 30
    display.figure_.canvas.draw()
    heights = sorted(label.get_window_extent().y0 for label in display.ax_.get_yticklabels())
    assert np.diff(heights).min() > display.ax_.get_yticklabels()[0].get_window_extent().height * 0.9


def test_a_prior_that_is_not_known_is_said_to_be_so():
    unknown = np.full(2, np.nan)
    display = ClassBalanceDisplay([0.9, 0.1], unknown, unknown, unknown, classes=["a", "b"]).plot()
    labels = [line.get_label() for line in display.points_]
    assert labels == [
        "in the data",
        "shown to the net (unknown)",
        "learned under (unknown)",
        "of predict_proba (unknown)",
    ]


# Calibration


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_a_reliability_curve_is_scikit_learns(strategy):
    rng = np.random.default_rng(0)
    proba = rng.random(300) ** 2
    y = (rng.random(300) < proba).astype(int)
    display = CalibrationComparisonDisplay.from_predictions(y, {"one": proba}, n_bins=7, strategy=strategy)
    true, predicted = calibration_curve(y, proba, n_bins=7, strategy=strategy)
    np.testing.assert_allclose(display.prob_true[0], true)
    np.testing.assert_allclose(display.prob_pred[0], predicted)
    assert display.counts[0].sum() == 300
    np.testing.assert_allclose(display.lines_[0].get_ydata(), true)
    low, high = display.intervals[0].T
    assert ((low <= true) & (true <= high)).all()


def test_integer_weights_of_a_reliability_curve_are_repeated_rows():
    rng = np.random.default_rng(0)
    proba, weights = rng.random(100), rng.integers(0, 4, 100)
    y = (rng.random(100) < proba).astype(int)
    weighted = CalibrationComparisonDisplay.from_predictions(y, {"one": proba}, sample_weight=weights)
    again = CalibrationComparisonDisplay.from_predictions(np.repeat(y, weights), {"one": np.repeat(proba, weights)})
    np.testing.assert_allclose(weighted.prob_true[0], again.prob_true[0])
    np.testing.assert_allclose(weighted.prob_pred[0], again.prob_pred[0])


@pytest.mark.parametrize("correction", [False, True, {"fraud": 0.3, "legit": 0.7}], ids=["false", "true", "elsewhere"])
def test_calibration_is_compared_before_and_after_the_correction(net, rows, correction):
    """Whatever the estimator does by itself, the two curves are those at both priors."""
    fitted = clone(net).set_params(prior_correction=correction).fit(*rows)
    display = CalibrationComparisonDisplay.from_estimator(fitted, *rows)
    fitted.set_params(prior_correction=False)
    raw = fitted.predict_proba(rows[0])[:, 0]
    fitted.set_params(prior_correction=correction or True)
    corrected = fitted.predict_proba(rows[0])[:, 0]
    for index, proba in enumerate((raw, corrected)):
        true, predicted = calibration_curve(rows[1] == "fraud", proba, n_bins=10)
        np.testing.assert_allclose(display.prob_true[index], true)
        np.testing.assert_allclose(display.prob_pred[index], predicted, rtol=1e-6)
    assert display.pos_label == "fraud"
    assert display.names == ["as trained", "prior-corrected"]


def test_calibration_of_held_out_rows_leaves_the_estimator_as_it_was(net, rows):
    before, prediction = net.predict_proba(rows[0]), net.net_.prediction_
    display = CalibrationComparisonDisplay.from_estimator(net, name="net")
    assert display.counts[0].sum() == len(net.held_out_predictions()[0])
    assert display.names == ["net, as trained", "net, prior-corrected"]
    assert net.net_.prediction_ is prediction
    assert (net.predict_proba(rows[0]) == before).all()


def test_each_of_several_classes_is_judged_against_the_rest(many_classes):
    X, y, net = many_classes
    for label in range(4):
        display = CalibrationComparisonDisplay.from_estimator(net, X, y, pos_label=label)
        true, _ = calibration_curve(y == label, net.predict_proba(X)[:, label], n_bins=10)
        np.testing.assert_allclose(display.prob_true[0], true)
    assert CalibrationComparisonDisplay.from_estimator(net).pos_label == 3  # the rarest


def test_curves_and_counts_may_have_axes_of_their_own(net):
    _, pair = plt.subplots(2, 1)
    display = CalibrationComparisonDisplay.from_estimator(net, ax=pair)
    assert (display.ax_, display.counts_ax_) == tuple(pair)
    free = plt.figure().add_axes((0.1, 0.1, 0.8, 0.8))
    display.plot(ax=free)
    assert display.counts_ax_.get_position().y1 < free.get_position().y0


def test_nothing_is_corrected_that_has_no_exact_way_back(rows):
    class Unknown(FocalLoss):
        exact = False

    net = small(criterion=Unknown, class_weight="balanced", early_stopping=False).fit(*rows)
    assert not net.net_.criterion_.exact
    with pytest.raises(ValueError, match=r"needs a criterion whose logits give exact probabilities"):
        CalibrationComparisonDisplay.from_estimator(net, *rows)


# The trade-off


def check_rates(display, y, proba, pos_label, weights=None):
    for i in np.linspace(0, len(display.thresholds) - 1, 12).astype(int):
        called = proba >= display.thresholds[i]
        given = {"pos_label": True, "sample_weight": weights}
        assert display.recall[i] == pytest.approx(recall_score(y == pos_label, called, **given))
        assert display.precision[i] == pytest.approx(precision_score(y == pos_label, called, **given))
        assert display.share[i] == pytest.approx(np.average(called, weights=weights))


@pytest.mark.parametrize("pos_label", [None, "legit"])
def test_rates_at_a_threshold_are_scikit_learns(net, rows, pos_label):
    X, y = rows
    display = DecisionTradeoffDisplay.from_estimator(net, X, y, pos_label=pos_label)
    label = pos_label or "fraud"
    check_rates(display, y, net.predict_proba(X)[:, list(net.classes_).index(label)], label)
    assert display.recall_line_.get_ydata().tolist() == display.recall.tolist()
    assert (display.n_rows, display.n_positives) == (600, (y == label).sum())


def test_rates_without_rows_are_of_those_that_the_fit_held_out(net):
    y, proba, weights = net.held_out_predictions()
    display = DecisionTradeoffDisplay.from_estimator(net)
    assert (weights == 1).all()
    assert len(y) == 240
    check_rates(display, y, proba[:, 0], "fraud")


def test_rates_of_the_default_net_are_out_of_fold(rows):
    X, y = rows
    net = ImbalancedNetClassifier(max_epochs=2, random_state=0).fit(X, y)
    display = DecisionTradeoffDisplay.from_estimator(net)
    assert display.n_rows == 600
    check_rates(display, y, net.out_of_fold_proba()[:, 0], "fraud")


def test_weights_count_in_rates_and_widen_bands(net, rows):
    X, y = rows
    weights = np.random.default_rng(0).integers(0, 5, len(y)).astype(float)
    display = DecisionTradeoffDisplay.from_estimator(net, X, y, sample_weight=weights)
    check_rates(display, y, net.predict_proba(X)[:, 0], "fraud", weights)


def test_bands_are_exact_intervals_at_each_threshold(net):
    display = DecisionTradeoffDisplay.from_estimator(net, confidence=0.9)
    n = display.n_positives
    hits = np.round(display.recall * n)
    low = np.where(hits > 0, beta.ppf(0.05, np.maximum(hits, 1), n - hits + 1), 0)
    np.testing.assert_allclose(display.intervals["recall"][:, 0], low, atol=1e-9)
    for rate in ("recall", "precision", "share"):
        assert getattr(display, f"{rate}_band_").get_paths()
    rates, sizes = np.array([0.0, 0.25, 1.0]), np.array([5, 8, 3])
    expected = [interval(rate, n, 0.95) for rate, n in zip(rates, sizes, strict=True)]
    np.testing.assert_allclose(intervals_of(rates, sizes, 0.95), expected, atol=1e-9)


DECISIONS = ["trained", "balanced", 0.7, {"recall": 0.8}, RecallFloor(0.5), {"precision": 0.9999}, COSTS]


@pytest.mark.filterwarnings("ignore::imbalanced_torch.UncertainDecisionWarning", "ignore:.*settled on")
def test_every_decision_stands_where_the_report_has_it(net):
    names = [f"number {i}" for i in range(len(DECISIONS))]
    display = DecisionTradeoffDisplay.from_estimator(net, decisions=DECISIONS, decision_names=names)
    report = dict(zip(names, net.decision_report(DECISIONS), strict=True))
    assert {name: row["threshold"] for name, row in report.items()} == pytest.approx(display.decisions, nan_ok=True)
    for name, row in report.items():
        if np.isnan(row["threshold"]):
            assert name not in display.decision_lines_
            assert f"no threshold: {name}" in [text.get_text() for text in display.ax_.get_legend().get_texts()]
            continue
        assert display.decision_lines_[name].get_xdata()[0] == row["threshold"]
        at = np.searchsorted(display.thresholds, row["threshold"])
        assert display.recall[at] == pytest.approx(row["recall"])
        assert display.precision[at] == pytest.approx(row["precision"])
    other = DecisionTradeoffDisplay.from_estimator(net, decisions=["trained"], pos_label="legit")
    assert other.decisions == pytest.approx({"trained": 1 - report["number 0"]["threshold"]})


def test_decisions_are_named_after_their_values(net):
    floor = RecallFloor(0.5)
    display = DecisionTradeoffDisplay.from_estimator(net, decisions=["argmax", 0.7, floor, COSTS, "argmax"])
    assert list(display.decisions) == ["argmax", "legit ≥ 0.7", repr(floor), "costs", "argmax (2)"]
    assert list(DecisionTradeoffDisplay.from_estimator(net).decisions) == ["trained"]


def test_the_cost_at_a_threshold_is_the_mean_over_rows(net, rows):
    X, y = rows
    proba = net.predict_proba(X)[:, 0]
    display = DecisionTradeoffDisplay.from_estimator(net, X, y, costs=COSTS)
    for i in (0, len(display.cost) // 2, -1):
        called = proba >= display.thresholds[i]
        cost = 20 * ((y == "fraud") & ~called) + 1 * ((y == "legit") & called)
        assert display.cost[i] == pytest.approx(cost.mean())
    assert display.cost_ax_ is not display.ax_
    assert display.cost_line_.axes is display.cost_ax_
    amounts = np.arange(len(y))
    display = DecisionTradeoffDisplay.from_estimator(
        net, X, y, costs={"fraud": {"legit": amounts, "fraud": 2}, "legit": {"fraud": 2}}
    )
    called = proba >= display.thresholds[5]
    assert display.cost[5] == pytest.approx((amounts * ((y == "fraud") & ~called) + 2 * called).mean())


def test_a_cost_function_of_the_estimators_own_stands_at_no_threshold(net, rows):
    priced = clone(net).set_params(decision=lambda proba, X: 1 - proba).fit(*rows)
    assert DecisionTradeoffDisplay.from_estimator(priced).decisions == {}
    assert DecisionTradeoffDisplay.from_estimator(priced, costs=COSTS).cost is not None


def test_rows_may_be_a_dict_of_arrays(rows):
    class Named(MLP):
        def forward(self, values):
            return super().forward(values)

    X, y = rows
    net = ImbalancedNetClassifier(Named, max_epochs=1, module__n_features=5, random_state=0).fit({"values": X}, y)
    assert DecisionTradeoffDisplay.from_estimator(net, {"values": X}, y).n_rows == 600


def test_a_search_shows_its_best(rows):
    search = GridSearchCV(small(), {"lr": [1e-3]}, cv=2).fit(*rows)
    assert ClassBalanceDisplay.from_estimator(search).counts is search.best_estimator_.class_priors_.population
    assert DecisionTradeoffDisplay.from_estimator(search).n_rows == 240


def test_another_classifier_stands_where_its_labels_part(rows):
    X, y = rows
    display = DecisionTradeoffDisplay.from_estimator(LogisticRegression().fit(X, y), X, y, name="logistic")
    assert display.pos_label == "legit"  # as in scikit-learn, which knows of no rare class
    assert display.decisions["predict"] == pytest.approx(0.5, abs=0.1)
    assert "logistic: 600 rows" in display.ax_.get_xlabel()


@pytest.mark.parametrize("labels", [(0, 1), (-1, 1), (False, True), ("no", "yes")], ids=["01", "-11", "bool", "str"])
def test_labels_are_handled_as_in_scikit_learn(labels):
    y = np.array(labels)[[0, 0, 1, 1]]
    proba = [0.1, 0.6, 0.4, 0.9]
    if isinstance(labels[0], str):
        with pytest.raises(ValueError, match="pos_label is not specified"):
            DecisionTradeoffDisplay.from_predictions(y, proba)
        display = DecisionTradeoffDisplay.from_predictions(y, proba, pos_label="yes", decisions={"half": 0.5})
    else:
        display = DecisionTradeoffDisplay.from_predictions(y, proba, decisions={"half": 0.5})
        assert display.pos_label == 1
    assert display.thresholds.tolist() == [0.1, 0.4, 0.6, 0.9]
    assert display.recall.tolist() == [1, 1, 0.5, 0.5]
    assert display.precision.tolist() == [0.5, 2 / 3, 0.5, 1]
    assert display.share.tolist() == [1, 0.75, 0.5, 0.25]
    assert display.decision_lines_["half"].get_xdata()[0] == 0.5


def test_rows_of_one_probability_are_flagged_together():
    display = DecisionTradeoffDisplay.from_predictions([0, 1, 0, 1], [0.5, 0.5, 0.2, 0.5])
    assert display.thresholds.tolist() == [0.2, 0.5]
    assert display.precision.tolist() == [0.5, pytest.approx(2 / 3)]


def test_one_of_several_classes_is_flagged_against_the_rest(many_classes):
    X, y, net = many_classes
    display = DecisionTradeoffDisplay.from_estimator(net, X, y, pos_label=1)
    check_rates(display, y, net.predict_proba(X)[:, 1], 1)
    assert display.decisions == {}
    with pytest.raises(ValueError, match="decisions are thresholds on one probability for two classes only; y has 4"):
        DecisionTradeoffDisplay.from_estimator(net, decisions=["argmax"])
    with pytest.raises(ValueError, match="costs serve two classes: with 4"):
        DecisionTradeoffDisplay.from_estimator(net, costs=np.ones((4, 4)) - np.eye(4))


def test_many_rows_are_drawn_at_a_thousand_thresholds_each_exact():
    rng = np.random.default_rng(0)
    proba = rng.random(5000) ** 4
    y = (rng.random(5000) < proba).astype(int)
    display = DecisionTradeoffDisplay.from_predictions(y, proba)
    assert len(display.thresholds) == 1000
    check_rates(display, y, proba, 1)
    assert display.thresholds[[0, -1]].tolist() == [proba.min(), proba.max()]


def test_thresholds_near_0_have_a_log_scale():
    proba = np.r_[np.geomspace(1e-4, 1e-2, 90), np.linspace(0.1, 0.9, 10)]
    y = np.r_[np.zeros(90), np.ones(10)].astype(int)
    assert DecisionTradeoffDisplay.from_predictions(y, proba).ax_.get_xscale() == "log"
    assert DecisionTradeoffDisplay.from_predictions(y, proba, xscale="linear").ax_.get_xscale() == "linear"
    assert DecisionTradeoffDisplay.from_predictions(y, np.sqrt(np.sqrt(proba))).ax_.get_xscale() == "linear"


@pytest.mark.parametrize("at", [[0.5] * 6, [0.98, 0.99, 1.0], [0.0, 0.01, 0.9], []], ids=str)
def test_names_of_decisions_stand_apart_and_in_order(at):
    places = _apart(np.array(at))
    assert (np.diff(places) >= 0.05).all()
    assert (places <= 1 + 1e-9).all()


WRONG = [
    ({"y": None}, ValueError, "X and y must be given together"),
    ({"pos_label": "fruad"}, ValueError, r"pos_label must be one of the classes \['fraud', 'legit'\]; it is 'fruad'"),
    ({"y": np.full(600, "legit")}, ValueError, "of its 600 rows 0 are of 'fraud'"),
    ({"y": np.full(600, "other")}, ValueError, r"y must have labels that the estimator knows.*\['other'\]"),
    ({"sample_weight": np.full(600, -1.0)}, ValueError, "sample_weight must be finite and not negative"),
    ({"confidence": 1.5}, ValueError, "confidence must be"),
    ({"decisions": {"recall": 0.8}}, TypeError, "decisions must be a list of values of decision"),
    ({"decisions": ["argmax"], "decision_names": []}, ValueError, "decision_names must have a name for each decision"),
    ({"X": None, "y": None, "sample_weight": np.ones(600)}, ValueError, "sample_weight belongs to X and y"),
    ({"X": None, "y": None, "costs": lambda proba, X: X}, ValueError, "costs as a function of .* need X and y"),
]


@pytest.mark.parametrize(("given", "kind", "text"), WRONG, ids=[text for _, _, text in WRONG])
def test_what_is_wrong_is_said(net, rows, given, kind, text):
    with pytest.raises(kind, match=text):
        DecisionTradeoffDisplay.from_estimator(net, **{"X": rows[0], "y": rows[1], **given})
    assert plt.get_fignums() == []


@pytest.mark.parametrize("display", [CalibrationComparisonDisplay, DecisionTradeoffDisplay], ids=lambda d: d.__name__)
def test_rows_are_asked_for_where_none_were_held_out(display, rows):
    net = small(early_stopping=False).fit(*rows)
    with pytest.raises(ValueError, match="held_out_predictions needs rows that the net has not trained on"):
        display.from_estimator(net)
    assert display.from_estimator(net, *rows).ax_.has_data()


def test_the_decision_is_where_labels_part_where_no_rows_were_held_out(rows):
    net = small(early_stopping=False).fit(*rows)
    display = DecisionTradeoffDisplay.from_estimator(net, *rows)
    called = net.predict_proba(rows[0])[:, 0] >= display.decisions["predict"]
    assert (called == (net.predict(rows[0]) == "fraud")).all()


@pytest.mark.parametrize(
    ("proba", "kind", "text"),
    [
        ([0.1, 0.9], TypeError, "y_prob must be a dict"),
        ({"one": [0.1, 1.9]}, ValueError, r"y_prob\['one'\] must be in \[0, 1\]; it goes from 0.1 to 1.9"),
        ({"one": [0.1]}, ValueError, r"must have a probability for each of the 2 labels; it has 1"),
    ],
)
def test_probabilities_that_are_none_are_refused(proba, kind, text):
    with pytest.raises(kind, match=text):
        CalibrationComparisonDisplay.from_predictions([0, 1], proba)


@pytest.mark.parametrize(
    ("given", "text"), [({"strategy": "equal"}, "strategy must be one of"), ({"n_bins": 0}, "n_bins must be an int")]
)
def test_bins_that_are_none_are_refused(given, text):
    with pytest.raises(ValueError, match=text):
        CalibrationComparisonDisplay.from_predictions([0, 1], {"one": [0.1, 0.9]}, **given)


# Strategies


def test_strategies_are_compared_fold_by_fold_with_the_plain_net(search):
    display = StrategyComparisonDisplay.from_cv_results(search)
    assert display.names == ["plain", "plain, decision=balanced", "class_weight=balanced", "sampling=over"]
    assert (display.reference, display.moved) == (0, 1)
    for score in ("balanced_accuracy", "log loss"):
        folds = np.column_stack([search[f"split{i}_test_{score}"] for i in range(3)])
        np.testing.assert_array_equal(display.scores[score], folds)
        np.testing.assert_array_equal(display.differences[score], folds - folds[0])
    means = display.means_[0].get_xdata()
    np.testing.assert_allclose(means, search["mean_test_balanced_accuracy"] - search["mean_test_balanced_accuracy"][0])
    assert display.reference_lines_[0].get_xdata()[0] == 0
    assert display.moved_lines_[0].get_xdata()[0] == pytest.approx(means[1])
    assert len(display.axes_) == len(display.folds_) == 2


def test_scores_themselves_are_shown_without_a_reference(search):
    display = StrategyComparisonDisplay.from_cv_results(search, scores=["log loss"], reference=None, moved=2)
    np.testing.assert_allclose(display.means_[0].get_xdata(), search["mean_test_log loss"])
    assert display.reference_lines_ == []
    assert display.moved == 2


def test_the_references_are_found_in_a_pipelines_search_and_by_their_parameters(search):
    renamed = dict(search)
    renamed["params"] = [{f"net__{name}": value for name, value in given.items()} for given in search["params"]]
    display = StrategyComparisonDisplay.from_cv_results(renamed)
    assert (display.reference, display.moved) == (0, 1)
    assert display.names[2] == "class_weight=balanced"
    display = StrategyComparisonDisplay.from_cv_results(search, reference={"sampling": "over"}, moved=None)
    assert (display.reference, display.moved) == (3, None)


def test_a_plain_net_is_one_with_every_remedy_at_none_and_others_are_not_compared_by_themselves(search):
    results = {"params": [{"lr": 0.1}, {"lr": 0.2}], "mean_test_score": [0.1, 0.2], "split0_test_score": [0.1, 0.2]}
    assert StrategyComparisonDisplay.from_cv_results(results).reference is None
    results["params"] = [{"class_weight": "balanced", "decision": "trained"}, {"class_weight": None, "sampling": None}]
    display = StrategyComparisonDisplay.from_cv_results(results)
    assert (display.reference, display.moved) == (1, None)
    results["params"] = [{"sampling__ratio": 0.5, "decision": "trained"}, {"decision": "argmax"}]
    assert StrategyComparisonDisplay.from_cv_results(results).reference == 1


def test_strategies_take_axes_for_each_score_and_names(search):
    _, axes = plt.subplots(1, 2)
    display = StrategyComparisonDisplay.from_cv_results(search, ax=axes, names=lambda given: str(given))
    assert list(display.axes_) == list(axes)
    assert display.names[3] == "{'sampling': 'over'}"
    shared = StrategyComparisonDisplay.from_cv_results(search, ax=plt.subplots()[1], names=list("abcd"))
    assert len(shared.axes_) == len(shared.means_) == 2


def test_a_fold_that_failed_is_left_out():
    scores = {"f1": np.array([[0.4, np.nan], [0.5, 0.6], [np.nan, np.nan]])}
    display = StrategyComparisonDisplay(scores, ["a", "b", "c"]).plot()
    np.testing.assert_allclose(display.means_[0].get_xdata(), [0.4, 0.55, np.nan])


@pytest.mark.parametrize(
    ("change", "given", "kind", "text"),
    [
        ({}, {"scores": ["log_loss"]}, ValueError, "scores must be in cv_results.*'log_loss' is not. Did you mean"),
        ({}, {"names": ["a"]}, ValueError, "names must have one for each of the 4 candidates; it has 1"),
        ({}, {"reference": 4}, ValueError, r"reference must be a position in \[0, 4\); it is 4"),
        ({}, {"moved": {"lr": 1}}, ValueError, "moved must be the parameters of a candidate"),
        ({}, {"reference": 0.5}, TypeError, "reference must be"),
        ({"params": None}, {}, TypeError, "cv_results must be the cv_results_ of a search"),
        ({"n_resources": [10, 20]}, {}, ValueError, "cv_results must have every candidate on the same folds"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(search, change, given, kind, text):
    results = {name: value for name, value in {**search, **change}.items() if value is not None}
    with pytest.raises(kind, match=text):
        StrategyComparisonDisplay.from_cv_results(results, **given)


# Training


def test_a_training_curve_has_the_history_and_the_best_epoch(net):
    display = TrainingCurveDisplay.from_estimator(net)
    assert display.epochs.tolist() == list(range(1, len(net.history_) + 1))
    assert display.train_loss.tolist() == net.history_[:, "train_loss"]
    assert display.valid_loss.tolist() == net.history_[:, "valid_loss"]
    assert display.valid_log_loss.tolist() == net.history_[:, "valid_log_loss_corrected"]
    assert [line.get_label() for line in display.lines_] == [
        *("training loss", "held-out loss", "held-out log loss, prior-corrected")
    ]
    assert display.best_epoch_line_.get_xdata()[0] == net.best_epoch_
    assert (display.switch_line_, display.strength_) == (None, None)


def test_a_training_curve_marks_the_switch_of_a_schedule(rows):
    net = small(class_weight="balanced", schedule="deferred").fit(*rows)
    display = TrainingCurveDisplay.from_estimator(net)
    first = 1 + net.history_[:, "remedy_strength"].index(1)
    assert display.remedy_strength.tolist() == net.history_[:, "remedy_strength"]
    assert display.switch_line_.get_xdata()[0] == first - 0.5
    assert display.strength_ is not None


def test_a_training_curve_without_rows_held_out_has_one_line(rows):
    net = small(early_stopping=False, max_epochs=1).fit(*rows)
    display = TrainingCurveDisplay.from_estimator(net)
    assert [line.get_label() for line in display.lines_] == ["training loss"]
    assert display.lines_[0].get_marker() == "o"
    assert (display.best_epoch, display.valid_loss) == (None, None)


# What an estimator says of the rows that it has held out


def test_held_out_predictions_are_those_of_the_report(net):
    y, proba, weights = net.held_out_predictions()
    (row,) = net.decision_report(["argmax"])
    called = proba[:, 0] > proba[:, 1]
    assert (row["n_rows"], row["n_of_label"]) == (len(y), (y == "fraud").sum())
    assert row["recall"] == pytest.approx(called[y == "fraud"].mean())
    assert row["share"] == pytest.approx(called.mean())
    assert (weights == 1).all()


def test_held_out_rows_count_as_where_the_model_will_work(rows):
    net = small(prior_correction={"fraud": 0.5, "legit": 0.5}).fit(*rows)
    y, proba, weights = net.held_out_predictions()
    assert np.average(y == "fraud", weights=weights) == pytest.approx(0.5, abs=0.02)
    (row,) = net.decision_report(["argmax"])
    called = proba[:, 0] > proba[:, 1]
    assert row["precision"] == pytest.approx(np.average((y == "fraud")[called], weights=weights[called]))


def test_a_long_name_loses_its_middle():
    assert canvas.shortened("class_weight=3", 10) == "class…ht=3"
    assert canvas.shortened("short", 10) == "short"
