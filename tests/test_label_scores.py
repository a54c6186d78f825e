"""Scores from counts against scikit-learn's own functions on the same labels."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.metrics import get_scorer, make_scorer

from imbalanced_torch._prediction.label_scores import Counts, metric_of

AVERAGES = ["macro", "micro", "weighted"]
SCORERS = {
    "accuracy": get_scorer("accuracy"),
    "rows that are right": make_scorer(metrics.accuracy_score, normalize=False),
    "balanced accuracy": get_scorer("balanced_accuracy"),
    "balanced accuracy above chance": make_scorer(metrics.balanced_accuracy_score, adjusted=True),
    "errors": make_scorer(metrics.zero_one_loss, greater_is_better=False),
    "number of errors": make_scorer(metrics.zero_one_loss, greater_is_better=False, normalize=False),
    "hamming": make_scorer(metrics.hamming_loss, greater_is_better=False),
    "matthews": get_scorer("matthews_corrcoef"),
    "kappa": make_scorer(metrics.cohen_kappa_score),
    **{
        f"{name} {average}": get_scorer(f"{name}_{average}")
        for name in ("f1", "precision", "recall", "jaccard")
        for average in AVERAGES
    },
    **{f"F2 {average}": make_scorer(metrics.fbeta_score, beta=2, average=average) for average in AVERAGES},
    "precision, 1 for none": make_scorer(metrics.precision_score, average="macro", zero_division=1),
    "precision, without none": make_scorer(metrics.precision_score, average="weighted", zero_division=np.nan),
    "F1 of some": make_scorer(metrics.f1_score, average="micro", labels=["b", "c"]),
    "macro F1 of some": make_scorer(metrics.f1_score, average="macro", labels=["c", "a"]),
}
BINARY = {
    **{name: make_scorer(getattr(metrics, f"{name}_score"), pos_label="b") for name in ("f1", "precision", "recall")},
    "jaccard": make_scorer(metrics.jaccard_score, pos_label="a"),
}


def counts_of(y, predicted, classes, weights):
    """Return the counts of one prediction, by loops."""
    weights = np.ones(len(y)) if weights is None else weights
    each = [
        [weights[(y == label) & rows].sum() for label in classes] for rows in (np.ones(len(y), bool), y == predicted)
    ]
    called = [weights[predicted == label].sum() for label in classes]
    present = [label in y or label in predicted for label in classes]
    return Counts(np.array(each[0]), np.array([called]), np.array([each[1]]), np.array([present]))


def draws(labels):
    rng = np.random.default_rng(0)
    labels = np.array(labels)
    for n in (1, 3, 40):
        for _ in range(4):
            some = rng.choice(labels, rng.integers(1, len(labels) + 1), replace=False)  # not every label comes
            weights = rng.choice([0.0, 0.1, 2.5], n)
            yield rng.choice(some, n), rng.choice(labels, n), weights + (weights.sum() == 0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weights"])
@pytest.mark.parametrize(
    ("scorer", "labels"),
    [*((scorer, "abcd") for scorer in SCORERS.values()), *((scorer, "ab") for scorer in BINARY.values())],
    ids=[*SCORERS, *BINARY],
)
def test_a_score_from_counts_is_scikit_learns(scorer, labels, weighted):
    classes = np.array(list(labels))
    ours = metric_of(scorer).from_counts(classes)
    for y, predicted, weights in draws(list(labels)):
        weights = weights if weighted else None
        theirs = scorer._sign * scorer._score_func(y, predicted, sample_weight=weights, **scorer._kwargs)
        found = ours(counts_of(y, predicted, classes, weights))
        assert found.shape == (1,)
        np.testing.assert_allclose(found[0], theirs, atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scorer", [s for name, s in SCORERS.items() if name != "kappa"])
def test_classes_without_a_row_do_not_warn(scorer):
    y, predicted = np.array(["a", "a", "b", "b"]), np.array(["a", "c", "a", "b"])
    function = metric_of(scorer)
    value = function(y, predicted)
    np.testing.assert_allclose(
        function.from_counts(np.array(list("abcd")))(counts_of(y, predicted, "abcd", None)), value
    )


def own(y, predicted):
    return 0.0


@pytest.mark.parametrize(
    "scorer",
    [
        make_scorer(own),
        make_scorer(metrics.cohen_kappa_score, weights="quadratic"),
        make_scorer(metrics.f1_score, average="macro", labels=["a", "e"]),
        make_scorer(metrics.fbeta_score, beta=np.inf, average="macro"),
        make_scorer(metrics.f1_score),
        make_scorer(metrics.f1_score, average=None),
        get_scorer("r2"),
    ],
)
def test_other_functions_of_labels_are_no_scores_from_counts(scorer):
    assert metric_of(scorer).from_counts(np.array(list("abcd"))) is None


def test_a_callable_and_a_scorer_of_probabilities_are_no_functions_of_labels():
    assert metric_of(own) is None
    assert metric_of(get_scorer("roc_auc")) is None
