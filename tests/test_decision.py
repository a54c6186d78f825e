"""How a label is chosen: rules worked by hand, costs against brute force, errors word for word."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from imbalanced_torch._losses.weighted import resolve_criterion
from imbalanced_torch._parameters.values import by_label
from imbalanced_torch._prediction.decision import DECISIONS, resolve_decision
from imbalanced_torch._prediction.prediction import resolve_prediction

TWO, THREE = np.array(["fraud", "legit"]), np.array(["a", "b", "c"])
COSTS = np.array([[0.0, 3.0, 1.0], [10.0, 0.0, 4.0], [2.0, 7.0, -1.0]])


def chosen(decision, proba, classes):
    """Return the labels that a decision chooses from log probabilities."""
    scores = resolve_decision(decision, classes).scores(torch.log(torch.as_tensor(proba, dtype=torch.float64)))
    return classes[scores.argmax(dim=1).numpy()].tolist()


def draw(k, n=500):
    return np.random.default_rng(0).dirichlet(np.ones(k), n)


#: What a net may have seen and says of one row: each way of reading it has its greatest in another class.
LOGITS = torch.tensor([[2.0, 1.5, 0.0]])
LEARNED_UNDER, WORKS_UNDER = np.array([0.25, 0.25, 0.5]), np.array([0.08, 0.9, 0.02])


@pytest.mark.parametrize(("word", "label"), [("trained", "a"), ("argmax", "b"), ("balanced", "c")])
def test_each_word_takes_the_greatest_of_what_it_reads(word, label):
    """Logits are greatest for a, probabilities at the target prior for b, and p / prior for c."""

    class Tilted(nn.CrossEntropyLoss):
        """Its probabilities are not the softmax of its logits: the third class is more likely than it looks."""

        def probabilities(self, logits):
            return torch.softmax(logits + torch.tensor([0.0, 0.0, 3.0]), dim=1)

    criterion = resolve_criterion(Tilted, 3, {})
    prediction = resolve_prediction(
        dict(zip("abc", WORKS_UNDER, strict=True)), word, criterion, LEARNED_UNDER, LEARNED_UNDER, THREE
    )
    proba = np.exp([2.0, 1.5, 3.0])
    by_hand = {"a": LOGITS.numpy()[0], "b": proba * WORKS_UNDER / LEARNED_UNDER, "c": proba / LEARNED_UNDER}
    assert THREE[by_hand[label].argmax()] == label
    assert THREE[prediction.scores(LOGITS).argmax(dim=1).item()] == label
    assert word in DECISIONS


@pytest.mark.parametrize(
    ("ours", "theirs"), {"trained": "default logits auto", "argmax": "MAP", "balanced": "prior"}.items()
)
def test_a_word_that_is_used_elsewhere_suggests_ours(ours, theirs):
    for word in theirs.split():
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            resolve_decision(word, TWO)
        assert str(raised.value) == (
            "decision must be one of the words ['argmax', 'balanced', 'f1', 'gmean', 'mcc', 'trained']; it is "
            f"{word!r}. Did you mean {ours!r}?"
        )


def test_costs_choose_the_least_expected_cost():
    proba = draw(3)
    brute = [min(range(3), key=lambda k: sum(COSTS[c, k] * p[c] for c in range(3))) for p in proba]
    assert chosen(COSTS, proba, THREE) == THREE[brute].tolist()
    assert len(set(brute)) == 3


def nested(costs, classes):
    return {
        true: {other: costs[c][k] for k, other in enumerate(classes.tolist()) if costs[c][k]}
        for c, true in enumerate(classes.tolist())
    }


def test_a_nested_dict_is_the_matrix_with_right_answers_at_0():
    assert chosen(nested(COSTS, THREE), draw(3), THREE) == chosen(COSTS, draw(3), THREE)


@pytest.mark.parametrize(
    "costs", [[[0, 1], [9, 0]], [[-1, 5], [2, 1]], [[0, 1], [-3, 0]], [[0, -1], [9, 5]], [[-1, 0], [0, -20]]]
)
def test_costs_of_two_classes_choose_the_least_expected_cost(costs):
    proba = draw(2)
    brute = (proba @ np.array(costs)).argmin(1)
    assert chosen(costs, proba, TWO) == TWO[brute].tolist()


def test_costs_of_two_classes_keep_their_precision_far_out():
    scores = resolve_decision([[0, 1], [9, 0]], TWO).scores(torch.tensor([[-80.0, 0.0], [-90.0, 0.0]]))
    assert scores[1, 1] - scores[1, 0] > scores[0, 1] - scores[0, 0]


@pytest.mark.parametrize("costs", [[[-1e308, 1e308], [1e308, -1e308]], [[0, 1.7e308], [1.7e308, 0]]])
def test_differences_of_the_largest_costs_decide(costs):
    assert chosen(costs, [[0.4, 0.6], [0.6, 0.4]], TWO) == ["legit", "fraud"]


@pytest.mark.parametrize("costs", [[[0, 1e300], [1, 0]], [[0, 1], [1e300, 0]], [[0, 1e308], [1e308, 0]]])
def test_costs_of_any_size_decide(costs):
    expected = {1e300: "fraud", 1.0: "legit", 1e308: "legit"}[np.max(costs[0])]
    assert chosen(costs, [[0.4, 0.6]], TWO) == [expected]


def test_small_differences_of_large_costs_decide_in_single_precision():
    level, proba = 1e6, draw(3)
    costs = COSTS / 100 + level
    log_proba = torch.log(torch.as_tensor(proba, dtype=torch.float32))
    found = resolve_decision(costs, THREE).scores(log_proba).argmax(1).numpy()
    np.testing.assert_array_equal(found, (log_proba.double().exp().numpy() @ (costs - level)).argmin(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("code", [0, 1])
def test_a_probability_at_the_threshold_is_above_it(dtype, code):
    """Thresholds of a ROC curve are probabilities of rows: rounding must not decide there."""
    log_proba = torch.log_softmax(torch.randn(300, 2, dtype=dtype, generator=torch.Generator().manual_seed(0)), dim=1)
    for row in log_proba:
        threshold = row.exp()[code].item()
        scores = resolve_decision({TWO[code]: threshold}, TWO).scores(row[None])
        assert scores.argmax(dim=1).item() == code


@pytest.mark.parametrize(
    "threshold", [np.float32(0.1), np.array(0.1), Fraction(1, 10), {"legit": np.array(0.1)}], ids=str
)
def test_a_threshold_may_be_any_kind_of_number(threshold):
    assert chosen(threshold, [[0.85, 0.15], [0.95, 0.05]], TWO) == ["legit", "fraud"]


def test_dates_name_classes():
    dates = np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[ns]")
    old, new = pd.Timestamp("2020-01-01"), pd.Timestamp("2021-01-01")
    proba = [[0.8, 0.2], [0.95, 0.05]]
    for decision in ({new: 0.1}, {old: {new: 1}, new: {old: 9}}, {dates[1]: 0.1}):
        assert chosen(decision, proba, dates) == dates[[1, 0]].tolist()


def test_a_threshold_is_on_the_probability_of_the_second_class():
    proba = np.array([[0.95, 0.05], [0.85, 0.15], [0.2, 0.8]])
    assert chosen(0.1, proba, TWO) == ["fraud", "legit", "legit"]
    assert chosen(0.9, proba, TWO) == ["fraud", "fraud", "fraud"]


def test_a_threshold_by_label_is_on_the_probability_of_that_class():
    proba = np.array([[0.05, 0.95], [0.15, 0.85], [0.8, 0.2]])
    assert chosen({"fraud": 0.1}, proba, TWO) == ["legit", "fraud", "fraud"]
    assert chosen({"legit": 0.9}, proba, TWO) == ["legit", "fraud", "fraud"]
    assert chosen({False: 0.1}, proba, np.array([False, True])) == [True, False, False]


def test_costs_of_classes_that_a_fold_lacks_are_left_out():
    proba = draw(2)
    both = {"a": {"b": 1}, "b": {"a": 9}}
    more = {"a": {"b": 1, "c": 5}, "b": {"a": 9, "c": 2}, "c": {"a": 1, "b": 1}}
    assert chosen(more, proba, THREE[:2]) == chosen(both, proba, THREE[:2])


@pytest.mark.parametrize(
    ("decision", "classes", "error", "message"),
    [
        (
            "balnced",
            TWO,
            ValueError,
            "decision must be one of the words ['argmax', 'balanced', 'f1', 'gmean', 'mcc', 'trained']; it is "
            "'balnced'. Did you mean 'balanced'?",
        ),
        (1.0, TWO, ValueError, "decision as a threshold must be in (0, 1); it is 1.0."),
        (-0.5, TWO, ValueError, "decision as a threshold must be in (0, 1); it is -0.5."),
        (float("nan"), TWO, ValueError, "decision as a threshold must be in (0, 1); it is nan."),
        ({"fraud": "low"}, TWO, ValueError, "decision as a threshold must be in (0, 1); it is 'low'."),
        (
            0.5,
            THREE,
            ValueError,
            "decision as a threshold serves two classes; y has 3: ['a', 'b', 'c']. Pass costs, \"balanced\", or tune "
            "an offset for each class with TunedOffsetClassifierCV.",
        ),
        (
            {"a": 0.5},
            THREE,
            ValueError,
            "decision as a threshold serves two classes; y has 3: ['a', 'b', 'c']. Pass costs, \"balanced\", or tune "
            "an offset for each class with TunedOffsetClassifierCV.",
        ),
        (
            {"fruad": 0.5},
            TWO,
            ValueError,
            "decision as a dict must be the threshold of one class, {label: number}, or costs, {true: {predicted: "
            "cost}}; it is {'fruad': 0.5}. The classes are ['fraud', 'legit'].",
        ),
        (
            {"fraud": 0.5, "legit": 0.5},
            TWO,
            ValueError,
            "decision as a dict must be the threshold of one class, {label: number}, or costs, {true: {predicted: "
            "cost}}; it is {'fraud': 0.5, 'legit': 0.5}. The classes are ['fraud', 'legit'].",
        ),
        (
            [[0, 1, 2], [3, 0, 4]],
            THREE,
            ValueError,
            "decision as costs must have a row for each true and a column for each predicted class of ['a', 'b', 'c'], "
            "shape (3, 3); it has shape (2, 3). Where a fold may lack a class, pass a nested dict "
            "{true: {predicted: cost}}.",
        ),
        (
            [0, 1],
            TWO,
            ValueError,
            "decision as costs must have a row for each true and a column for each predicted class of ['fraud', "
            "'legit'], shape (2, 2); it has shape (2,). Where a fold may lack a class, pass a nested dict "
            "{true: {predicted: cost}}.",
        ),
        (
            [[0, "much"], [1, 0]],
            TWO,
            TypeError,
            "decision as costs must hold numbers, as many in each row; it is [[0, 'much'], [1, 0]].",
        ),
        (
            [[0, 1], [1]],
            TWO,
            TypeError,
            "decision as costs must hold numbers, as many in each row; it is [[0, 1], [1]].",
        ),
        ([[0, np.inf], [1, 0]], TWO, ValueError, "decision as costs must be finite; it is [[0.0, inf], [1.0, 0.0]]."),
        (
            [[0, -1], [-9, 0]],
            TWO,
            ValueError,
            "decision as costs must have a mistake that costs more than the right answer in its row (gains are "
            "negative); it is [[0.0, -1.0], [-9.0, 0.0]].",
        ),
        (
            [[1, 0], [0, 20]],  # gains with the wrong sign
            TWO,
            ValueError,
            "decision as costs must have a mistake that costs more than the right answer in its row (gains are "
            "negative); it is [[1.0, 0.0], [0.0, 20.0]].",
        ),
        (
            {"fruad": {"legit": 9}, "legit": {"fraud": 1}},
            TWO,
            ValueError,
            "decision has keys that are not classes of y: ['fruad']. The classes are ['fraud', 'legit'].",
        ),
        (
            {"fraud": {"legti": 9}, "legit": {"fraud": 1}},
            TWO,
            ValueError,
            "decision['fraud'] has keys that are not classes of y: ['legti']. The classes are ['fraud', 'legit'].",
        ),
        (
            {"fraud": {"legit": 9}},
            TWO,
            ValueError,
            "decision as costs must have a cost for every mistake (true, predicted); it has none for "
            "[('legit', 'fraud')].",
        ),
        (
            {"fraud": {"legit": 9}, "legit": 1},
            TWO,
            TypeError,
            "decision as costs must be a nested dict {true: {predicted: cost}}; for 'legit' it is 1.",
        ),
        (
            True,
            TWO,
            TypeError,
            "decision must be one of the words ['argmax', 'balanced', 'trained'], a threshold in (0, 1) for two "
            "classes (a number, or {label: number}), costs: a (K, K) array, true classes in rows, a nested dict "
            "{true: {predicted: cost}} or a function of (proba, X), or a goal: {'recall': 0.8}, {'precision': 0.9}, "
            "{'share': 0.01}, RecallFloor(...), PrecisionFloor(...), 'f1', 'mcc', 'gmean' or a scorer of scikit-learn; "
            "it is True.",
        ),
    ],
)
def test_error_says_what_must_hold_what_came_and_the_choices(decision, classes, error, message):
    with pytest.raises(error) as raised:
        resolve_decision(decision, classes)
    assert str(raised.value) == message


class Name(str):
    """A label that counts how often one is compared with another."""

    __slots__ = ()
    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Name.compared += 1
        return str.__eq__(self, other)


@pytest.mark.parametrize("n_more", [0, 200], ids=["all come", "some do not come"])
def test_labels_are_found_by_hash(n_more):
    names = [Name(f"c{i:03}") for i in range(300)]
    numbers = {name: float(i) for i, name in enumerate(reversed(names))}
    classes = np.array(names[: 300 - n_more], dtype=object)
    Name.compared = 0
    found = by_label(
        "class_weight", {Name(name): number for name, number in numbers.items()}, classes, [1.0] * len(classes)
    )
    assert Name.compared <= 2 * 300
    assert found == [299.0 - i for i in range(300 - n_more)]


def test_right_answers_by_dates_of_another_kind_keep_their_cost():
    dates = np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[ns]")
    old, new = pd.Timestamp("2020-01-01"), pd.Timestamp("2021-01-01")
    costs = {old: {old: -5, new: 1}, new: {old: 2, new: -3}}
    found = resolve_decision(costs, dates)
    np.testing.assert_array_equal(found.costs, [[0, 6], [5, 0]])


def test_the_callers_costs_are_unchanged():
    given = {"fraud": {"legit": 9}, "legit": {"fraud": 1}}
    resolve_decision(given, TWO)
    assert given == {"fraud": {"legit": 9}, "legit": {"fraud": 1}}
