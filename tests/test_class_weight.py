import numpy as np
import pytest

from imbalanced_torch import EffectiveNumber
from imbalanced_torch._class_weight import SCHEMES, class_weights, resolve_class_weight

CLASSES = np.array(["fraud", "legit"])
COUNTS = np.array([10.0, 90.0])


def weights(class_weight, counts=COUNTS, seen=None, classes=CLASSES):
    return class_weights(resolve_class_weight(class_weight, classes), counts, counts if seen is None else seen, classes)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("balanced", [5.0, 0.5556]),
        ("sqrt", [2.5, 0.8333]),  # proportional to 3 : 1, and (3 * 10 + 90) / 100 = 1.2
        ("effective", [4.0889, 0.6568]),  # 1 - .99^10 = .0956 and 1 - .99^90 = .5953, inverted, over their mean
    ],
)
def test_word_gives_weights_worked_by_hand(word, expected):
    np.testing.assert_allclose(weights(word), expected, atol=6e-4)


@pytest.mark.parametrize("word", SCHEMES)
def test_every_scheme_is_positive_and_permutes_with_the_classes(word):
    counts = np.array([700.0, 20.0, 3.0])
    order = [2, 0, 1]
    scheme = SCHEMES[word]
    assert (scheme(counts) > 0).all()
    np.testing.assert_allclose(scheme(counts)[order], scheme(counts[order]), rtol=1e-12)


@pytest.mark.parametrize("word", SCHEMES)
def test_every_scheme_gives_equal_weights_to_equal_classes(word):
    np.testing.assert_allclose(SCHEMES[word](np.full(4, 25.0)), 1, rtol=1e-12)


@pytest.mark.parametrize(
    "class_weight", [None, *SCHEMES, {"fraud": 7}, [3, 1], lambda counts: counts**-0.3, EffectiveNumber(0.9)]
)
def test_weights_have_mean_one_over_what_the_loss_sees(class_weight):
    seen = np.array([40.0, 60.0])
    assert weights(class_weight, seen=seen) @ seen == pytest.approx(100, rel=1e-12)


def test_effective_number_of_beta_0_is_equal_weights():
    np.testing.assert_allclose(EffectiveNumber(0.0)(COUNTS), 1, rtol=1e-12)


def test_effective_number_tends_to_inverse_frequency_as_beta_tends_to_1():
    np.testing.assert_allclose(EffectiveNumber(1 - 1e-9)(COUNTS), SCHEMES["balanced"](COUNTS), rtol=1e-4)


def test_effective_number_takes_beta_from_the_data():
    np.testing.assert_allclose(EffectiveNumber()(COUNTS), EffectiveNumber(0.99)(COUNTS), rtol=1e-12)


def test_dict_weighs_a_missing_label_1():
    np.testing.assert_allclose(weights({"fraud": 9}), np.array([9, 1]) / 1.8)


def test_array_is_in_the_order_of_classes():
    np.testing.assert_allclose(weights(np.array([9, 1])), np.array([9, 1]) / 1.8)


def test_callable_gets_the_class_counts():
    np.testing.assert_allclose(weights(lambda counts: 1 / counts, seen=np.array([50.0, 50.0])), [1.8, 0.2])


def test_words_are_computed_on_what_the_loss_sees():
    np.testing.assert_allclose(weights("balanced", seen=np.array([50.0, 50.0])), 1)


def test_label_unknown_to_this_fold_is_ignored_if_every_class_has_an_entry():
    np.testing.assert_allclose(weights({"fraud": 9, "legit": 1, "absent": 3}), np.array([9, 1]) / 1.8)


def test_a_class_that_has_not_come_yet_weighs_1():
    seen = np.array([0.0, 90.0, 10.0])
    result = weights("balanced", counts=seen, seen=seen, classes=np.array(["a", "b", "c"]))
    np.testing.assert_allclose(result, [1, 0.5556, 5.0], atol=1e-4)


def test_what_a_callable_says_of_a_class_that_has_not_come_yet_does_not_matter():
    seen = np.array([0.0, 90.0, 10.0])
    result = weights(lambda counts: 1 / counts, counts=seen, seen=seen, classes=np.array(["a", "b", "c"]))
    np.testing.assert_allclose(result, [1, 0.5556, 5.0], atol=1e-4)


def test_scheme_objects_have_parameters_that_can_be_searched():
    assert EffectiveNumber().set_params(beta=0.5).get_params() == {"beta": 0.5}


@pytest.mark.parametrize(
    ("class_weight", "error", "message"),
    [
        (
            "balancd",
            ValueError,
            "class_weight must be one of the words ['balanced', 'effective', 'sqrt']; it is 'balancd'. "
            "Did you mean 'balanced'?",
        ),
        (
            {"fruad": 2},
            ValueError,
            "class_weight has keys that are not classes of y: ['fruad']. The classes are ['fraud', 'legit'].",
        ),
        ({"fraud": -1}, ValueError, "class_weight must be finite and not negative; it is {'fraud': -1.0}."),
        ({"fraud": np.nan}, ValueError, "class_weight must be finite and not negative; it is {'fraud': nan}."),
        ([np.inf, 1], ValueError, "class_weight must be finite and not negative; it is {'fraud': inf}."),
        (
            [0, 0],
            ValueError,
            "class_weight must be positive for some class of y; for the classes ['fraud', 'legit'] all are 0.",
        ),
        (
            [1, 2, 3],
            ValueError,
            "class_weight must have one weight for each of the 2 classes ['fraud', 'legit']; it has shape (3,). "
            "Where a fold may lack a class, pass a dict from label to weight.",
        ),
        (
            {"fraud": "much"},
            TypeError,
            "class_weight must hold a number for each class; it holds ['much', '1.0'].",
        ),
        (
            3.5,
            TypeError,
            "class_weight must be None, one of the words ['balanced', 'effective', 'sqrt'], EffectiveNumber(...), a "
            "dict "
            "from label to weight, an array in the order of classes_ or a callable from counts to weights; it is 3.5.",
        ),
        (EffectiveNumber(1.0), ValueError, "beta must be in [0, 1); it is 1.0."),
    ],
)
def test_error_says_what_must_hold_what_came_and_the_choices(class_weight, error, message):
    with pytest.raises(error) as raised:
        weights(class_weight)
    assert str(raised.value) == message


def test_effective_needs_a_weighted_count_of_at_least_1():
    with pytest.raises(
        ValueError, match=r"the weighted row count n must be at least 1; it is 0\.5\. Scale sample_weight up"
    ):
        weights("effective", counts=np.array([0.1, 0.4]))


def test_the_callers_dict_and_array_are_unchanged():
    given, array = {"fraud": 3}, np.array([3.0, 1.0])
    weights(given)
    weights(array)
    assert given == {"fraud": 3}
    assert array.tolist() == [3, 1]


@pytest.mark.parametrize("total", [1.0, 100.0, 9e15, 1e17, 1e300])
def test_the_effective_number_serves_any_sum_of_weights(total):
    counts = np.array([0.9, 0.1]) * total
    found = SCHEMES["effective"](counts)
    assert np.isfinite(found).all()
    assert found @ counts == pytest.approx(total)
    if total > 1e3:  # beta -> 1
        expected = 1 / -np.expm1(-counts / total)
        np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-9)


@pytest.mark.parametrize("beta", [True, 10**400, float("nan"), "0.5"])
def test_beta_is_a_number_and_the_error_shows_it(beta):
    with pytest.raises(ValueError, match=rf"^beta must be in \[0, 1\); it is {beta!r}\.$"):
        EffectiveNumber(beta)(np.array([90.0, 10.0]))
