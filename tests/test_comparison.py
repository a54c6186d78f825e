"""Strategies are compared on the same folds, the finding claims nothing within noise, and the page stands by itself."""

import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import average_precision_score, f1_score, make_scorer, recall_score
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from imbalanced_torch import MLP, ImbalancedNetClassifier, OverSampling, StrategyComparison, compare_strategies
from imbalanced_torch._comparison.paired_tests import corrected_t_test, holm, paired_tests
from imbalanced_torch._comparison.scores import resolve_scores
from imbalanced_torch._comparison.strategies import DEFAULT, PLAIN, resolve_strategies

BALANCED = [{"class_weight": "balanced"}]
MOVED = 'plain, decision="balanced"'


def small(**params):
    given = {"max_epochs": 3, "early_stopping": True, "validation_fraction": 0.4, "random_state": 0}
    return ImbalancedNetClassifier(MLP, **{**given, **params})


def made(scores, strategies=BALANCED, scoring=("balanced_accuracy",), estimator="small", random_state=None):
    """Return a comparison whose scores by fold, shape (n_scores, n_strategies, n_folds), are given."""
    estimator = small() if estimator == "small" else estimator
    net = ImbalancedNetClassifier() if estimator is None else estimator
    of = resolve_scores(list(scoring), net, np.array(["ok", "rare"]), "rare")
    compared = resolve_strategies(strategies, net, of)
    cv_results = {
        f"split{fold}_test_{score.name}": np.asarray(own)[:, fold]
        for score, own in zip(of, scores, strict=True)
        for fold in range(np.shape(own)[1])
    }
    rows = {"n_rows": 100, "n_columns": 3, "classes": {"ok": 90, "rare": 10}}
    return StrategyComparison(compared, of, cv_results, 0.25, rows, estimator=estimator, random_state=random_state)


@pytest.fixture(scope="module")
def found():
    """Three strategies on 300 rows with string labels, of which "fraud", the rare one, sorts first."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(300) < 0.2, "fraud", "ok")
    X = rng.normal(size=(300, 4)) + (y == "fraud")[:, None]
    splits = list(StratifiedKFold(3, shuffle=True, random_state=1).split(X, y))
    return X, y, splits, compare_strategies(X, y, small(), strategies=BALANCED, cv=splits)


# -- tests of differences


def test_the_corrected_test_is_that_of_nadeau_and_bengio():
    mean, low, high, p = corrected_t_test(np.array([0.1, 0.2, 0.3]), 0.25)
    error = np.sqrt((1 / 3 + 0.25) * 0.01)
    t = 0.2 / error
    assert mean == pytest.approx(0.2)
    assert p == pytest.approx(1 - t / np.sqrt(2 + t**2))  # Student's law with 2 degrees of freedom
    assert [low, high] == pytest.approx([0.2 - 4.302653 * error, 0.2 + 4.302653 * error], rel=1e-6)


def test_without_shared_rows_the_test_is_the_paired_one():
    one, other = np.random.default_rng(0).normal(size=(2, 8))
    assert corrected_t_test(one - other, 0.0)[3] == pytest.approx(ttest_rel(one, other).pvalue)


def test_no_difference_in_any_fold_is_no_evidence():
    assert corrected_t_test(np.zeros(5), 0.25) == (0, 0, 0, 1)


def test_holms_correction_by_hand():
    assert holm(np.array([0.01, 0.04, np.nan, 0.03])) == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)
    assert holm(np.array([0.5, 0.9])).tolist() == [1.0, 1.0]


def test_strategies_outside_the_family_are_tested_by_themselves():
    scores = np.random.default_rng(0).normal(size=(4, 10))
    alone = paired_tests(scores, 0, 0.2, np.zeros(4, dtype=bool)).p_value
    family = paired_tests(scores, 0, 0.2, np.array([False, False, True, True])).p_value
    assert family[1] == alone[1]
    assert family[2:].min() == pytest.approx(min(1, 2 * alone[2:].min()))


# -- the finding

STEADY = np.tile([0.0, 0.01, -0.01, 0.005, -0.005], 2)  # folds, of mean 0


def test_a_gain_of_the_threshold_alone_is_said_with_its_number():
    comparison = made([[0.6 + STEADY, 0.72 + STEADY[::-1], 0.721 + STEADY]])
    assert comparison.finding == (
        "Over 10 folds, moving the threshold of the plain net gains 0.120 of balanced accuracy (p < 0.001), and "
        'class_weight="balanced" is not better than it beyond noise (+0.001).'
    )
    assert comparison.recommended == MOVED


def test_a_threshold_that_gains_nothing_beyond_noise_is_called_so():
    comparison = made([[0.7 + STEADY, 0.702 + STEADY[::-1]]], [])
    assert comparison.finding == (
        "Over 10 folds, moving the threshold of the plain net changes balanced accuracy by +0.002, within noise."
    )


def test_a_remedy_that_is_better_beyond_noise_is_said_and_recommended():
    comparison = made([[0.6 + STEADY, 0.72 + STEADY[::-1], 0.8 + STEADY]])
    assert 'class_weight="balanced" gains another 0.080 (p < 0.001)' in comparison.finding
    assert comparison.recommended == 'class_weight="balanced"'
    assert 'class_weight="balanced", prior_correction=True' in comparison.code


def test_a_remedy_that_is_better_in_one_score_and_worse_in_another_is_not_recommended():
    labels = [0.6 + STEADY, 0.72 + STEADY, 0.8 + STEADY[::-1]]
    ranking = [0.5 + STEADY, 0.5 + STEADY, 0.4 + STEADY[::-1]]
    comparison = made([labels, ranking], scoring=["balanced_accuracy", "average_precision"])
    assert 'class_weight="balanced" is worse than the plain net in average precision (-0.100)' in comparison.finding
    assert comparison.recommended == MOVED


def test_a_loss_is_lowered_and_its_number_is_positive():
    losses = -np.array([0.5 + STEADY, 0.4 + STEADY[::-1]])
    comparison = made([losses], scoring=["neg_log_loss"])
    assert comparison.finding == (
        'Over 10 folds, class_weight="balanced" lowers log loss by 0.100 below the plain net (p < 0.001).'
    )
    worse = made([-np.array([0.4 + STEADY, 0.4004 + STEADY[::-1]])], scoring=["neg_log_loss"])
    assert 'class_weight="balanced" is not better in log loss than the plain net beyond noise' in worse.finding
    assert worse.recommended == "plain"


def test_of_many_remedies_the_best_is_named_and_all_worse_ones_are_called_so():
    two = [{"class_weight": "balanced"}, {"sampling": "under"}]
    comparison = made([[0.5 + STEADY, 0.4 + STEADY[::-1], 0.3 + STEADY[::-1]]], two, ["average_precision"])
    assert (
        'every remedy is worse than the plain net in average precision (the nearest, class_weight="balanced": -0.100)'
        in comparison.finding
    )


def test_the_finding_claims_a_remedy_in_few_cases_where_there_is_nothing_but_noise():
    rng, claims, n = np.random.default_rng(0), 0, 300
    for _ in range(n):
        comparison = made([rng.normal(0.7, 0.02, size=(9, 10))], list(DEFAULT))
        claims += "another" in comparison.finding
        assert ("another" in comparison.finding) == (not comparison.chosen.is_plain)
    assert claims <= 0.05 * n


# -- the comparison


def test_scores_are_those_of_a_cross_validation_of_each_strategy(found):
    X, y, splits, comparison = found
    for strategy, own in zip(comparison.strategies, comparison.by_fold[1], strict=True):
        model = clone(small()).set_params(**strategy.candidate)
        expected = cross_validate(model, X, y, cv=splits, scoring="balanced_accuracy")["test_score"]
        assert np.array_equal(own, expected), strategy.name


def test_the_plain_net_and_its_moved_threshold_are_always_there(found):
    comparison = found[3]
    assert list(comparison.table.index) == ["plain", MOVED, 'class_weight="balanced"']
    assert comparison.references == {
        "average_precision": "plain",
        "balanced_accuracy": MOVED,
        "neg_log_loss": "plain",
    }
    ranked = comparison.by_fold[0]
    assert np.array_equal(ranked[0], ranked[1])


def test_the_table_has_means_spread_and_tests_against_the_reference(found):
    comparison = found[3]
    table, own = comparison.table["balanced_accuracy"], comparison.by_fold[1]
    assert list(table.columns) == ["mean", "std", "difference", "low", "high", "p_value"]
    assert table["mean"].to_numpy() == pytest.approx(own.mean(axis=1))
    expected = [own[0].mean() - own[1].mean(), np.nan, own[2].mean() - own[1].mean()]
    assert table["difference"].to_numpy() == pytest.approx(expected, nan_ok=True)
    assert table.loc[MOVED, "difference":].isna().all()


def test_no_score_is_of_training_rows(found):
    assert not [name for name in found[3].cv_results if "train" in name]


def test_the_rarest_class_counts_as_positive(found):
    X, y, splits, comparison = found
    train, test = splits[0]
    model = small().set_params(**comparison.strategies[2].candidate).fit(X[train], y[train])
    expected = average_precision_score(y[test] == "fraud", model.predict_proba(X[test])[:, 0])
    assert comparison.by_fold[0][2, 0] == pytest.approx(expected)


def test_probabilities_of_remedies_are_compared_at_the_prior_of_the_data(found):
    plain, _, balanced = found[3].strategies
    assert balanced.candidate["prior_correction"] is True
    assert "prior_correction" not in plain.candidate
    own = [{"sampling": "over", "prior_correction": False}]
    strategies = resolve_strategies(own, small(), resolve_scores(["accuracy"], small(), np.array([0, 1]), 1))
    assert strategies[1].candidate["prior_correction"] is False


def test_the_recommended_strategy_is_fitted_on_all_rows(found):
    X, _, _, comparison = found
    best = comparison.best_estimator_
    assert best.class_priors_.population.sum() <= len(X)
    assert {name: best.get_params()[name] for name in comparison.chosen.candidate} == comparison.chosen.candidate


@pytest.mark.parametrize(
    ("estimator", "code"),
    [
        (None, 'ImbalancedNetClassifier(decision="balanced", random_state=3)'),
        (small(), 'ImbalancedNetClassifier(module=MLP, decision="balanced", max_epochs=3, '),
        (make_pipeline(StandardScaler(), small()), "estimator.set_params("),
    ],
    ids=["default", "net", "pipeline"],
)
def test_the_line_of_code_makes_the_recommended_estimator(estimator, code):
    comparison = made([[0.6 + STEADY, 0.7 + STEADY, 0.7 + STEADY]], estimator=estimator, random_state=3)
    assert comparison.code.startswith(code)
    names = {"ImbalancedNetClassifier": ImbalancedNetClassifier, "MLP": MLP, "estimator": estimator}
    params = eval(comparison.code, names).get_params()
    assert all(params[name] == value for name, value in comparison.chosen.candidate.items())


def test_numbers_of_numpys_are_written_as_pythons():
    own = [{"class_weight": {"ok": np.float64(1.0), "rare": np.float64(4.0)}, "max_epochs": np.int64(5)}]
    comparison = made([[0.6 + STEADY, 0.7 + STEADY, 0.9 + STEADY[::-1]]], own, random_state=np.int64(3), estimator=None)
    assert comparison.code == (
        'ImbalancedNetClassifier(class_weight={"ok": 1.0, "rare": 4.0}, prior_correction=True, max_epochs=5, '
        "random_state=3)"
    )


def test_a_score_that_is_undefined_is_not_judged():
    comparison = made([[0.6 + STEADY, 0.7 + STEADY, np.where(STEADY > 0, np.nan, 0.7)]])
    assert "nan" not in comparison.finding
    assert comparison.recommended == MOVED


def test_a_pipeline_is_compared_with_all_its_steps_fitted_in_the_folds(found):
    X, y, splits, _ = found
    model = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), small()))
    own = {"scaled weights": {"class_weight": "balanced", "pipeline__standardscaler__with_mean": False}}
    comparison = compare_strategies(X, y, model, strategies=own, scoring="balanced_accuracy", cv=splits)
    assert "pipeline__imbalancednetclassifier__class_weight" in comparison.strategies[2].candidate
    expected = clone(model).set_params(**comparison.strategies[2].candidate)
    scores = cross_validate(expected, X, y, cv=splits, scoring="balanced_accuracy")["test_score"]
    assert np.array_equal(comparison.by_fold[0][2], scores)


def test_an_estimator_with_a_remedy_is_compared_with_the_plain_net_and_left_as_it_is(found):
    X, y, splits, _ = found
    model = small(sampling=OverSampling(ratio=0.5), decision="argmax")
    before = model.get_params()
    comparison = compare_strategies(X, y, model, strategies=[], scoring="average_precision", cv=splits)
    assert [strategy.name for strategy in comparison.strategies] == ["plain", "as given"]
    assert comparison.strategies[0].candidate == PLAIN
    assert comparison.strategies[1].candidate["decision"] == "argmax"
    assert model.get_params() == before
    assert not hasattr(model, "net_")


@pytest.mark.filterwarnings("ignore::imbalanced_torch.UncertainDecisionWarning")
def test_a_score_of_labels_is_compared_with_the_threshold_moved_for_it(found):
    X, y, splits, _ = found
    comparison = compare_strategies(X, y, small(), strategies=[], scoring=["f1", "accuracy", "recall"], cv=splits)
    assert comparison.references == {"f1": 'plain, decision="f1"', "accuracy": "plain", "recall": MOVED}
    assert [strategy.name for strategy in comparison.strategies] == ["plain", 'plain, decision="f1"', MOVED]


@pytest.mark.filterwarnings("ignore::imbalanced_torch.UncertainDecisionWarning")
def test_three_classes_have_macro_scores(three_classes):
    scoring = ["average_precision", "f1", "roc_auc", "neg_log_loss"]
    comparison = compare_strategies(*three_classes, small(), strategies=BALANCED, scoring=scoring, cv=2)
    assert comparison.references["f1"] == 'plain, decision="f1_macro"'
    assert all(np.isfinite(own).all() for own in comparison.by_fold)


def test_scorers_of_ones_own_are_taken_by_name_or_as_they_are(found):
    X, y, splits, _ = found
    scoring = {"found": make_scorer(recall_score, pos_label="fraud")}
    comparison = compare_strategies(X, y, small(), strategies=BALANCED, scoring=scoring, cv=splits)
    assert comparison.references == {"found": MOVED}
    assert "found" in comparison.finding

    def rows(estimator, X, y):
        return float(len(X))

    assert compare_strategies(X, y, small(), strategies=BALANCED, scoring=rows, cv=splits).references == {"rows": MOVED}


def test_a_seed_makes_two_comparisons_equal_and_is_that_of_the_nets_too(found):
    X, y, _, _ = found
    given = {"strategies": BALANCED, "scoring": "average_precision", "cv": 2}
    one, other = (compare_strategies(X, y, small(random_state=None), random_state=5, **given) for _ in range(2))
    assert np.array_equal(one.by_fold[0], other.by_fold[0])
    assert one.best_estimator_.random_state == 5
    drawn = (compare_strategies(X, y, small(), random_state=np.random.RandomState(5), **given) for _ in range(2))
    assert np.array_equal(*(comparison.by_fold[0] for comparison in drawn))


def test_folds_are_five_twice_unless_they_are_given(found):
    X, y, _, _ = found
    given = {"strategies": [], "scoring": "balanced_accuracy", "random_state": 0}
    model = small(max_epochs=1)
    assert compare_strategies(X, y, model, **given).by_fold[0].shape == (2, 10)
    assert compare_strategies(X, y, model, cv=2, **given).by_fold[0].shape == (2, 2)
    assert compare_strategies(X, y, model, cv=StratifiedKFold(3), **given).by_fold[0].shape == (2, 3)


def test_a_pipeline_may_begin_with_texts():
    texts = ["good day", "fine good day", "bad night", "very bad night", "day", "night"] * 10
    y = ["day" in text for text in texts]
    comparison = compare_strategies(texts, y, make_pipeline(CountVectorizer(), small()), strategies=BALANCED, cv=2)
    assert comparison.rows == {"n_rows": 60, "n_columns": None, "classes": {False: 30, True: 30}}
    assert "pipeline" not in comparison.code


@pytest.mark.parametrize("kind", ["pandas", "polars", "csr"])
def test_tables_and_sparse_rows_are_compared(kind, found):
    X, y, splits, _ = found
    if kind == "csr":
        X = pytest.importorskip("scipy.sparse").csr_matrix(X)
    else:
        frame = pytest.importorskip(kind).DataFrame
        X = frame({f"x{i}": X[:, i] for i in range(X.shape[1])})
        y = pytest.importorskip(kind).Series(y.tolist())
    comparison = compare_strategies(X, y, small(), strategies=BALANCED, cv=splits)
    assert comparison.rows["n_columns"] == 4
    assert np.isfinite(comparison.by_fold[0]).all()


def test_the_default_strategies_train_on_a_raw_table():
    rng = np.random.default_rng(0)
    pd = pytest.importorskip("pandas")
    y = rng.random(120) < 0.3
    X = pd.DataFrame({"a": rng.normal(size=120) + y, "b": rng.choice(["u", "v"], 120)})
    comparison = compare_strategies(X, y, ImbalancedNetClassifier(max_epochs=1), cv=2, random_state=0)
    assert len(comparison.strategies) == 2 + len(DEFAULT)


def test_two_jobs_compare_as_one_job_does(found):
    X, y, splits, comparison = found
    torch.set_num_threads(1)
    other = compare_strategies(X, y, small(), strategies=BALANCED, cv=splits, n_jobs=2)
    assert all(np.array_equal(a, b) for a, b in zip(comparison.by_fold, other.by_fold, strict=True))


WRONG = [
    (
        {"strategies": [{"class_wieght": "balanced"}]},
        ValueError,
        "strategies['class_wieght=\"balanced\"'] must have parameters of the estimator; 'class_wieght' is none. "
        "Did you mean 'class_weight'?",
    ),
    ({"strategies": "over"}, TypeError, "strategies must be None, a dict from a name to parameters or a list of "),
    ({"strategies": ["over"]}, TypeError, "strategies must be dicts of parameters; one is 'over'."),
    ({"strategies": {"a": "over"}}, TypeError, "strategies must have dicts of parameters; 'a' is 'over'."),
    (
        {"strategies": {"plain": {"sampling": "over"}}},
        ValueError,
        "strategies must not call another one 'plain'; that is {}.",
    ),
    (
        {"strategies": [], "scoring": "average_precision"},
        ValueError,
        "strategies must have at least one that differs from the plain net where no score asks for a moved threshold",
    ),
    (
        {"scoring": 3},
        TypeError,
        "scoring must be a name or scorer of scikit-learn, a list of these or a dict; it is 3.",
    ),
    (
        {"scoring": []},
        TypeError,
        "scoring must be a name or scorer of scikit-learn, a list of these or a dict; it is {}.",
    ),
    (
        {"scoring": ["f1", make_scorer(f1_score)]},
        ValueError,
        "scoring must have scores of different names, as a dict has; there are ['f1', 'f1'].",
    ),
    ({"cv": 1}, ValueError, "cv as a number of folds must be an int of at least 2; it is 1."),
    (
        {"cv": 200},
        ValueError,
        "y must have at least 200 rows of each class for 200 folds; 'fraud' has ",
    ),
    (
        {"cv": [(np.arange(200), np.arange(200, 300))]},
        ValueError,
        "cv must give at least 2 splits, for a difference to have a spread; it gives 1.",
    ),
    (
        {"estimator": StandardScaler()},
        TypeError,
        "estimator must be None, an ImbalancedNetClassifier or a Pipeline that ends in one; it is StandardScaler.",
    ),
    (
        {"estimator": ImbalancedNetClassifier},
        TypeError,
        "estimator must be None, an ImbalancedNetClassifier or a Pipeline that ends in one; it is the class Imbalanced",
    ),
    (
        {"estimator": ImbalancedNetClassifier(criterion="focal", criterion__gamma=3)},
        ValueError,
        "estimator must have no parameters of its criterion, for the plain net has none; it has ['criterion__gamma'].",
    ),
]


@pytest.mark.parametrize(("given", "kind", "message"), WRONG, ids=[message[:40] for _, _, message in WRONG])
def test_a_wrong_argument_says_what_must_hold(given, kind, message, found):
    X, y, _, _ = found
    with pytest.raises(kind) as error:
        compare_strategies(X, y, **{"estimator": small(), **given})
    assert str(error.value).startswith(message)


def test_one_class_is_nothing_to_compare(found):
    with pytest.raises(
        ValueError, match=r"y must have at least two classes to tell apart; it has one class: \['ok'\]\."
    ):
        compare_strategies(found[0], np.full(300, "ok"))


@pytest.mark.parametrize(
    ("module", "use", "message"),
    [
        ("pandas", lambda found: found.table, "StrategyComparison.table needs pandas, which is not installed."),
        ("jinja2", StrategyComparison.to_html, "StrategyComparison.to_html needs Jinja2, which is not installed."),
        ("matplotlib", StrategyComparison.to_html, "StrategyComparison.to_html needs matplotlib, which is not"),
    ],
    ids=["pandas", "jinja2", "matplotlib"],
)
def test_a_missing_package_is_named_with_the_extra(module, use, message, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=re.escape(message) + r".*pip install \"imbalanced-torch\[\w+\]\""):
        use(made([[0.6 + STEADY, 0.7 + STEADY, 0.7 + STEADY]]))


# -- the page


class Reader(HTMLParser):
    """What a page holds: its tags in order, and whether each is closed."""

    VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}

    def __init__(self, page):
        super().__init__()
        self.open, self.ids, self.tags, self.attributes, self.text = [], [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(found):
    return found[3].to_html()


def test_the_page_is_whole_html_with_names_that_stand_once(page):
    reader = Reader(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', page)
    assert set(used) <= set(reader.ids)


def test_the_page_needs_no_network_and_runs_no_code(page):
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe"} & set(reader.tags)
    links = [value for name, value in reader.attributes if name in ("src", "href") and not value.startswith("#")]
    assert links == []
    assert not re.search(r"@import|url\((?!#)", page)


def test_the_page_has_the_finding_the_numbers_pictures_and_the_line_to_copy(page, found):
    comparison, text = found[3], "".join(Reader(page).text)
    assert comparison.finding in text
    assert f"model = {comparison.code}.fit(X, y)" in text
    for score, own in zip(comparison.scores, comparison.by_fold, strict=True):
        assert score.noun in text.lower()
        assert f"{abs(own[0].mean()):.3f}" in text
    assert page.count("<svg") == len(comparison.scores) + 2
    assert "train_score" not in page


def test_the_page_is_the_same_each_time_and_whatever_style_is_set(page, found):
    from matplotlib import style

    with style.context("ggplot"):
        assert found[3].to_html() == page


def test_the_page_is_written_to_a_file(tmp_path, page, found):
    assert found[3].to_html(tmp_path / "page.html") == page
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page


def test_labels_and_names_that_are_no_html_are_shown_as_they_are(found):
    X, y, splits, _ = found
    labels = np.where(y == "fraud", "<b>$5 & $6", "ok")
    own = {"<script>alert(1)</script>": {"class_weight": "balanced"}}
    page = compare_strategies(X, labels, small(), strategies=own, cv=splits).to_html()
    assert "<script" not in page
    assert html.escape("<b>$5 & $6") in page


def test_the_page_of_a_net_without_held_out_rows_and_of_three_classes(found, three_classes):
    X, y, splits, _ = found
    plain = compare_strategies(X, y, small(early_stopping=False), strategies=BALANCED, cv=splits)
    assert plain.to_html().count("<svg") == 3
    more = compare_strategies(*three_classes, small(), strategies=BALANCED, cv=2)
    assert Reader(more.to_html()).open == []


CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome", "chrome"])), None)
#: Looks at a page in a frame, as wide as a screen of its own, and says in the title what a reader would see.
FRAME = """<!DOCTYPE html><meta name="color-scheme" content="light dark"><title></title>
<iframe srcdoc="{page}" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>addEventListener("load", () => {{
  const view = frames[0], page = view.document, all = (x) => [...page.querySelectorAll(x)];
  const seen = (x) => view.getComputedStyle(page.querySelector(x));
  document.title = JSON.stringify({{
    window: view.innerWidth, page: page.documentElement.scrollWidth,
    cut: all(".wide, pre, section, table").filter((x) => x.scrollWidth > x.clientWidth + 1).map((x) => x.outerHTML),
    paper: seen("body").backgroundColor, ink: seen("svg").color,
    pictures: all("svg").map((x) => x.getBoundingClientRect().width),
  }});
}});</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_a_phone_and_a_desk_by_day_and_by_night(width, scheme, tmp_path, page):
    (tmp_path / "frame.html").write_text(FRAME.format(page=html.escape(page), width=width), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--window-size=1400,1000", f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"]
    command = [CHROMIUM, *options, "--dump-dom", (tmp_path / "frame.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    seen = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", shown)[1]))
    assert width - 20 <= seen["window"] <= width  # but for a bar to scroll
    assert seen["page"] <= seen["window"]
    assert seen["cut"] == []
    assert all(0.25 * width <= picture <= width for picture in seen["pictures"])
    light = [sum(map(int, re.findall(r"\d+", seen[name])[:3])) > 384 for name in ("paper", "ink")]
    assert light == [scheme == "light", scheme == "dark"]
