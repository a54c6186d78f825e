"""Prediction sets hold the label in every class: against MAPIE, by hand, and over many draws."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from imbalanced_torch import MLP, ImbalancedNetClassifier
from imbalanced_torch._prediction.prediction_sets import prediction_sets

TWO = np.array(["fraud", "ok"])


def test_a_label_is_left_out_where_too_few_rows_of_its_class_are_as_low():
    """Of 9 rows of a class, a coverage of .8 leaves out what at most one of them is as low as."""
    calibration = np.zeros((9, 2))
    calibration[:, 0] = np.arange(9)
    codes = np.zeros(9, dtype=int)
    rows = np.zeros((4, 1, 2))
    rows[:, 0, 0] = [-1, 0, 1, 8]
    with pytest.warns(UserWarning, match=r"coverage=0.8 needs at least 4 held-out rows of a class .*: 'ok' \(0\)\."):
        sets = prediction_sets(calibration, codes, None, rows, 0.8, TWO)
    assert sets[:, 0].tolist() == [False, False, True, True]
    assert sets[:, 1].all()


def test_a_row_is_compared_with_the_fold_of_each_member_by_what_that_member_says():
    calibration = np.array([[0.0], [1.0], [10.0], [11.0]]) * [1, 1]
    codes, members = np.array([0, 0, 0, 0]), np.array([0, 0, 1, 1])
    rows = np.array([[[0.5, 0], [10.5, 0]], [[-1.0, 0], [10.5, 0]], [[-1.0, 0], [9.0, 0]]])
    with pytest.warns(UserWarning, match="in every set"):
        sets = prediction_sets(calibration, codes, members, rows, 0.6, TWO)
    # At least floor(.4 * 5) = 2 of the 4 rows are to be as low: they are 1 + 1, 0 + 1 and 0.
    assert sets[:, 0].tolist() == [True, False, False]


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_every_class_is_covered_by_scores_of_one_net(n_classes, coverage):
    """Over 300 draws of calibration rows the mean coverage of each class is as stated, and no more than 1 / n above."""
    rng = np.random.default_rng(0)
    n = 60
    found = []
    for _ in range(300):
        codes = np.repeat(np.arange(n_classes), n)
        held, new = (rng.normal(size=(len(codes), n_classes)) + 1.5 * np.eye(n_classes)[codes] for _ in range(2))
        sets = prediction_sets(held, codes, None, new[:, None], coverage, np.arange(n_classes))
        found.append([sets[codes == c, c].mean() for c in range(n_classes)])
    mean, sd = np.mean(found, axis=0), np.std(found, axis=0).max() / np.sqrt(300)
    assert (mean >= coverage - 3 * sd).all()
    assert (mean <= coverage + 1 / (n + 1) + 3 * sd).all()


@pytest.mark.filterwarnings("ignore:.*your conformalization dataset has less labels:UserWarning")
def test_sets_are_those_of_mapie_on_rows_of_each_class():
    mapie = pytest.importorskip("mapie.classification")
    X, y = make_classification(1500, n_informative=5, weights=[0.85], flip_y=0.05, random_state=0)
    X = X.astype(np.float32)
    train, held, new = X[:700], X[700:1100], X[1100:]
    labels = y[700:1100]
    split = predefined_split(Dataset(held, labels))
    net = ImbalancedNetClassifier(MLP, max_epochs=5, train_split=split, random_state=0).fit(train, y[:700])
    ours = net.predict_set(new, coverage=0.9)
    for code in (0, 1):
        own = labels == code
        theirs = mapie.SplitConformalClassifier(net, confidence_level=0.9, conformity_score="lac", prefit=True)
        theirs.conformalize(held[own], labels[own])
        _, sets = theirs.predict_set(new)
        np.testing.assert_array_equal(ours[:, code], sets[:, code, 0])


def drawn(n, seed, n_classes=2):
    rng = np.random.default_rng(seed)
    prior = [0.85, 0.15] if n_classes == 2 else [0.4, 0.3, 0.15, 0.1, 0.05]
    y = rng.choice(n_classes, n, p=prior)
    X = rng.normal(size=(n, 8)).astype(np.float32)
    X[:, :5] += 1.2 * np.eye(5)[y]
    return X, y


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("module", [None, MLP], ids=["default", "MLP"])
def test_fitted_nets_cover_every_class_of_new_rows(module, n_classes):
    """Over draws of the training rows; the default net's members share rows, which keeps its coverage near."""
    new, labels = drawn(4000, 99, n_classes)
    found = []
    for seed in range(12):
        net = ImbalancedNetClassifier(
            module, max_epochs=8, early_stopping=True, validation_fraction=0.4, n_iter_no_change=4, random_state=seed
        )
        sets = net.fit(*drawn(1000, seed, n_classes)).predict_set(new, coverage=0.9)
        found.append([sets[labels == c, c].mean() for c in range(n_classes)])
    mean, sd = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    assert (mean >= 0.9 - 3 * sd - 0.01).all()
    assert (mean <= 0.96).all()


def test_more_coverage_makes_larger_sets_whatever_the_prior():
    X, y = drawn(900, 0, 5)
    net = ImbalancedNetClassifier(max_epochs=5, class_weight="balanced", random_state=0).fit(X, y)
    sizes = [net.predict_set(X, coverage=c).sum() for c in (0.7, 0.8, 0.9)]
    assert sizes == sorted(sizes)
    assert net.predict_set(X[:3]).shape == (3, 5)
    assert net.predict_set(X).dtype == bool


@pytest.mark.parametrize(
    ("coverage", "error"),
    [(1, ValueError), (0, ValueError), (-0.5, ValueError), ("high", TypeError), (True, TypeError)],
)
def test_coverage_must_be_a_share(coverage, error):
    net = ImbalancedNetClassifier(max_epochs=1, random_state=0).fit(*drawn(200, 0))
    with pytest.raises(error, match=r"coverage must be (a number )?in \(0, 1\)"):
        net.predict_set(drawn(3, 0)[0], coverage=coverage)
