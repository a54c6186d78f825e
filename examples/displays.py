"""What did the net see, what do its probabilities mean, and what does each decision cost? Five pictures of one set.

The patients of the hypothyroid set, one in twenty ill. A net with class weights is looked at by four displays, each a
line: what it learned under, whether its probabilities are right, what a threshold gains, how training went. A fifth
compares strategies over the same folds. The rows behind the pictures are those that the fits held out.

    python examples/displays.py
"""

import sys
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from public_sets import load, make_encoder
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from imbalanced_torch import (
    MLP,
    CalibrationComparisonDisplay,
    ClassBalanceDisplay,
    DecisionTradeoffDisplay,
    ImbalancedNetClassifier,
    RecallFloor,
    StrategyComparisonDisplay,
    TrainingCurveDisplay,
)

#: A test for the disease costs 1; a patient who is missed costs 25.
COSTS = {"hypothyroid": {"negative": 25, "hypothyroid": 1}, "negative": {"hypothyroid": 1}}
DECISIONS = {
    "argmax": "argmax",
    "balanced": "balanced",
    "recall .9": {"recall": 0.9},
    "recall floor .8": RecallFloor(0.8),
    "costs": COSTS,
}
GRID = [
    {"net__decision": ["trained", "balanced"]},
    {"net__class_weight": ["sqrt", "balanced"]},
    {"net__sampling": ["over", "under", "batch"]},
]
SCORES = ["balanced_accuracy", "average_precision", "neg_log_loss"]


def fit(X, y):
    """Return the default net with weights, and a plain module whose remedy sets in late."""
    net = ImbalancedNetClassifier(class_weight="balanced", prior_correction=True, random_state=0).fit(X, y)
    late = ImbalancedNetClassifier(MLP, class_weight="balanced", schedule="deferred", max_epochs=40, random_state=0)
    return net, Pipeline([("encoder", make_encoder()), ("net", late)]).fit(X, y)


def search(X, y):
    """Return the results of strategies over the same folds."""
    pipeline = Pipeline([("encoder", make_encoder()), ("net", ImbalancedNetClassifier(MLP, random_state=0))])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    ill = (y == "hypothyroid").astype(int)
    return GridSearchCV(pipeline, GRID, scoring=SCORES, refit=False, cv=folds).fit(X, ill).cv_results_


def draw(net, late, results):
    """Return the displays by name."""
    decisions, names = list(DECISIONS.values()), list(DECISIONS)
    return {
        "class_balance": ClassBalanceDisplay.from_estimator(net),
        "calibration": CalibrationComparisonDisplay.from_estimator(net),
        "decisions": DecisionTradeoffDisplay.from_estimator(
            net, decisions=decisions, decision_names=names, costs=COSTS
        ),
        "strategies": StrategyComparisonDisplay.from_cv_results(results),
        "training": TrainingCurveDisplay.from_estimator(late),
    }


def main(folder="."):
    """Fit, search, and save the pictures."""
    X, y = load("hypothyroid")
    net, late = fit(X, y)
    for name, display in draw(net, late, search(X, y)).items():
        path = Path(folder) / f"display_{name}.png"
        display.figure_.savefig(path, dpi=110)
        plt.close(display.figure_)
        print(path)
    return net


if __name__ == "__main__":
    torch.set_num_threads(1)  # small nets want one
    main(*sys.argv[1:])
