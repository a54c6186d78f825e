"""Costs that differ by row: against brute force, in every form, as metadata, and what is wrong with them."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.datasets import make_classification
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from imbalanced_torch import MLP, ImbalancedNetClassifier, UncorrectedDecisionWarning


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(600, weights=[0.85], random_state=0)
    return X.astype(np.float32), np.where(y == 1, "fraud", "ok")


@pytest.fixture(scope="module")
def fitted(data):
    return ImbalancedNetClassifier(MLP, max_epochs=4, lr=0.01, random_state=0).fit(*data)


@pytest.fixture(scope="module")
def amounts():
    return np.random.default_rng(0).exponential(50, 600)


def least(proba, costs):
    """Return the code of the least expected cost of each row, worked one by one."""
    K = proba.shape[1]
    return np.array(
        [min(range(K), key=lambda k: sum(p[c] * C[c, k] for c in range(K))) for p, C in zip(proba, costs, strict=True)]
    )


@pytest.mark.parametrize("n_classes", [2, 4])
def test_costs_of_each_row_choose_its_least_expected_cost(n_classes):
    X, y = make_classification(500, n_informative=6, n_classes=n_classes, random_state=0)
    net = ImbalancedNetClassifier(MLP, max_epochs=3, random_state=0).fit(X, y)
    costs = np.random.default_rng(0).normal(size=(500, n_classes, n_classes))
    expected = least(net.predict_proba(X), costs)
    np.testing.assert_array_equal(net.predict(X, costs=costs), expected)
    assert len(np.unique(expected)) == n_classes
    np.testing.assert_array_equal(net.predict(X, costs=lambda proba, X: costs), expected)
    of_each = np.einsum("nc,nck->nk", net.predict_proba(X), costs)
    np.testing.assert_array_equal(net.predict(X, costs=lambda proba, X: of_each), expected)


def test_amounts_flag_a_row_where_its_expected_loss_is_above_the_price_of_a_look(fitted, data, amounts):
    p = fitted.predict_proba(data[0])[:, 0]
    flagged = np.where(p * amounts > (1 - p) * 5, "fraud", "ok")
    for form in (amounts, amounts.tolist(), pd.Series(amounts, index=np.arange(600) + 7)):
        chosen = fitted.predict(data[0], costs={"fraud": {"ok": form}, "ok": {"fraud": 5}})
        np.testing.assert_array_equal(chosen, flagged)
    assert 0.05 < (flagged == "fraud").mean() < 0.5


def test_equal_costs_in_all_rows_are_the_decision_by_costs(data):
    X, y = data
    costs = np.array([[0, 12.0], [1, 0]])
    net = ImbalancedNetClassifier(MLP, max_epochs=3, random_state=0, decision=costs).fit(X, y)
    for same in (costs, np.broadcast_to(costs, (600, 2, 2)), {"fraud": {"ok": 12}, "ok": {"fraud": 1}}):
        np.testing.assert_array_equal(net.predict(X, costs=same), net.predict(X))


def test_gains_on_the_diagonal_count(fitted, data, amounts):
    costs = {"fraud": {"fraud": -amounts, "ok": 0}, "ok": {"fraud": 5}}
    p = fitted.predict_proba(data[0])
    expected = np.where(-p[:, 0] * amounts + 5 * p[:, 1] <= 0, "fraud", "ok")
    np.testing.assert_array_equal(fitted.predict(data[0], costs=costs), expected)


def test_a_function_as_decision_reads_the_columns_of_x():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"amount": rng.exponential(50, 500), "country": rng.choice(["a", "b", "c"], 500)})
    y = np.where(rng.random(500) < 0.1 + 0.3 * (table["country"] == "a"), "fraud", "ok")

    def loss(proba, X):
        look, miss = np.full(len(X), 5.0), X["amount"].to_numpy()
        return np.stack([proba[:, 1] * look, proba[:, 0] * miss], axis=1)

    net = ImbalancedNetClassifier(max_epochs=3, decision=loss, random_state=0).fit(table, y)
    p = net.predict_proba(table)
    by_hand = np.where(p[:, 1] * 5 <= p[:, 0] * table["amount"], "fraud", "ok")
    np.testing.assert_array_equal(net.predict(table), by_hand)
    assert np.isfinite(cross_val_score(net, table, y, cv=2)).all()
    np.testing.assert_array_equal(net.predict(table, costs=[[0, 1], [1, 0]]), net.classes_[p.argmax(axis=1)])


def test_costs_are_routed_through_a_pipeline_as_metadata(data, amounts):
    X, y = data
    with sklearn.config_context(enable_metadata_routing=True):
        net = ImbalancedNetClassifier(MLP, max_epochs=2, random_state=0).set_predict_request(costs=True)
        pipe = make_pipeline(StandardScaler(), net).fit(X, y)
        costs = np.zeros((600, 2, 2))
        costs[:, 0, 1], costs[:, 1, 0] = amounts, 5
        direct = pipe[-1].predict(pipe[0].transform(X), costs=costs)
        np.testing.assert_array_equal(pipe.predict(X, costs=costs), direct)
        assert (direct != pipe.predict(X)).any()


def test_costs_of_probabilities_at_another_prior_warn(data, amounts):
    X, y = data
    net = ImbalancedNetClassifier(MLP, class_weight="balanced", max_epochs=2, random_state=0).fit(X, y)
    with pytest.warns(
        UncorrectedDecisionWarning, match="predict with costs reads probabilities at the prior of the training"
    ):
        net.predict(X, costs={"fraud": {"ok": amounts}, "ok": {"fraud": 5}})
    net.set_params(prior_correction=True).predict(X, costs={"fraud": {"ok": amounts}, "ok": {"fraud": 5}})


def test_costs_leave_the_decision_and_what_the_caller_has_as_they_were(fitted, data, amounts):
    costs = np.random.default_rng(1).normal(size=(600, 2, 2))
    before, kept = fitted.predict(data[0]), costs.copy()

    def scribbles(proba, X):
        proba[:] = 0.5
        return costs

    fitted.predict(data[0], costs=scribbles)
    np.testing.assert_array_equal(costs, kept)
    np.testing.assert_array_equal(fitted.predict(data[0]), before)


@pytest.mark.parametrize(
    ("costs", "error", "message"),
    [
        (
            np.zeros((3, 2, 2)),
            ValueError,
            r"costs must have shape \(600, 2, 2\), .*, or \(2, 2\); they have shape \(3, 2, 2\)",
        ),
        (np.zeros(600), ValueError, r"they have shape \(600,\)"),
        (np.full((600, 2, 2), np.nan), ValueError, "costs must be finite; they are not in 2400 places"),
        ("high", TypeError, "costs must hold numbers"),
        (
            {"fraud": {"ok": [1, 2]}, "ok": {"fraud": 1}},
            TypeError,
            "costs must hold numbers, one for all rows or one for each of 600",
        ),
        ({"fruad": {"ok": 1}, "ok": {"fraud": 1}}, ValueError, "keys that are not classes of y"),
        (lambda proba, X: proba[:, 0], ValueError, r"or of expected costs, shape \(600, 2\); they have shape \(600,\)"),
    ],
    ids=["rows", "1-d", "nan", "word", "short", "label", "function"],
)
def test_wrong_costs_say_what_must_hold_and_what_came(fitted, data, costs, error, message):
    with pytest.raises(error, match=message):
        fitted.predict(data[0], costs=costs)


def test_what_has_no_x_says_so_of_a_function(data):
    net = ImbalancedNetClassifier(MLP, max_epochs=2, early_stopping=True, decision=lambda proba, X: 1 - proba)
    net.set_params(random_state=0).fit(*data)
    np.testing.assert_array_equal(net.predict(data[0]), net.classes_[net.predict_proba(data[0]).argmax(axis=1)])
    for ask in (net.decision_report, lambda: net.net_.predict(data[0])):
        with pytest.raises(ValueError, match=r"cost\(proba, X\) needs X"):
            ask()
