"""Which remedy for a rare disease? One grid search over strategies, on real patients.

Their table has categories and missing values, and goes in as it is. Every cell of the grid is trained on the training
folds only, and no cell has two remedies at full strength. The plain net with decision="balanced", its threshold moved
to the prior, stands beside them: what a remedy gains over that row is what it is worth.

    python examples/strategies.py
"""

import pandas as pd
from matplotlib import pyplot as plt
from public_sets import load
from sklearn.metrics import classification_report
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split

from imbalanced_torch import ImbalancedNetClassifier, TemperedSampling

GRID = [
    {"decision": ["trained", "balanced"]},  # the plain net, as trained and with its threshold at the prior
    {"class_weight": ["sqrt", "effective", "balanced"]},
    {"sampling": [TemperedSampling(), "weighted", "over", "under", "batch"]},
]
SCORES = {
    "balanced accuracy": "balanced_accuracy",
    "F1": "f1",
    "average precision": "average_precision",
    "ROC AUC": "roc_auc",
    "log loss": "neg_log_loss",
}
PLAIN, MOVED = "plain", "plain, decision=balanced"


def name(parameters):
    """Return a row's name: `sampling=over`."""
    ((parameter, value),) = parameters.items()
    return {"trained": PLAIN, "balanced": MOVED}[value] if parameter == "decision" else f"{parameter}={value}"


def search(X, y, n_jobs=2):
    """Return the fitted search, and a table of a row a strategy: means and standard deviations of scores over folds."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    net = ImbalancedNetClassifier(random_state=0)
    grid = GridSearchCV(net, GRID, scoring=SCORES, refit="balanced accuracy", cv=folds, n_jobs=n_jobs)
    grid.fit(X, y)
    table = pd.DataFrame(
        {(score, part): grid.cv_results_[f"{part}_test_{score}"] for score in SCORES for part in ("mean", "std")},
        index=[name(parameters) for parameters in grid.cv_results_["params"]],
    )
    table["log loss", "mean"] *= -1  # scikit-learn's is negative
    return grid, table


def picture(table, path):
    """Draw each score's mean and standard deviation over the folds; the plain net's mean is dotted."""
    figure, axes = plt.subplots(1, len(SCORES), figsize=(13, 4.2), sharey=True, layout="constrained")
    colors = ["0.4" if row == PLAIN else "tab:red" if row == MOVED else "tab:blue" for row in table.index]
    for axis, score in zip(axes, SCORES, strict=True):
        mean, sd = table[score, "mean"], table[score, "std"]
        axis.hlines(table.index, mean - sd, mean + sd, color=colors, alpha=0.5)
        axis.scatter(mean, table.index, color=colors, zorder=3)
        axis.axvline(mean[PLAIN], color="0.6", linestyle=":", zorder=0)
        axis.set_title(score + (" (lower is better)" if score == "log loss" else ""), fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.suptitle("Strategies on the hypothyroid set: mean and standard deviation over 5 folds")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(path="strategies.png"):
    """Search, print the table, draw the picture, and report on rows that the search has not seen."""
    X, diagnosis = load("hypothyroid")
    y = (diagnosis == "hypothyroid").astype(int)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    print(f"{len(X_train)} patients to search on, {y_train.mean():.1%} of them ill; {len(X_test)} held out\n")
    grid, table = search(X_train, y_train)
    print(table.xs("mean", axis=1, level=1).round(3).to_string())
    picture(table, path)
    print(f"\nBest by balanced accuracy: {name(grid.best_params_)}. On the held-out patients:\n")
    print(classification_report(y_test, grid.predict(X_test), target_names=["negative", "hypothyroid"], digits=3))
    print(f"The picture is in {path}.")


if __name__ == "__main__":
    main()
