"""What do class weights and a weighted sampler really do? The three ways of the textbook, on noise and on signal.

The usual demonstration draws 1000 rows of 10 standard-normal features, calls 900 of them 0 and 100 of them 1, and
trains one linear layer in three ways: plain, with class weights, with a WeightedRandomSampler. Recall rises, and that
is all it shows: nothing in those features tells the classes apart. Here each way is one parameter, the nets are scored
on fresh rows, and the plain net with its threshold moved to the prior stands beside them.

    python examples/textbook.py
"""

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from sklearn.metrics import balanced_accuracy_score, precision_score, recall_score, roc_auc_score

from imbalanced_torch import ImbalancedNetClassifier

SEEDS = range(10)
PRIOR = 0.1
#: Distance between the class means. 2 gives a Bayes AUC of .921.
SIGNAL = {"noise": 0.0, "signal": 2.0}
#: Full batches move slowly: after 100 of them the mean probability is still .32. These are enough to converge.
WAYS = {
    "plain": {"lr": 0.1, "batch_size": -1, "max_epochs": 300},
    'class_weight="balanced"': {"lr": 0.1, "batch_size": -1, "max_epochs": 300, "class_weight": "balanced"},
    'sampling="weighted"': {"lr": 0.01, "batch_size": 32, "max_epochs": 40, "sampling": "weighted"},
}
MOVED = "plain, threshold = prior"


def draw(n, distance, rng):
    """Return n rows, a tenth of them in class 1, whose mean is `distance` away in the first feature."""
    y = np.repeat([0, 1], [n - round(PRIOR * n), round(PRIOR * n)])
    X = rng.standard_normal((n, 10))
    X[:, 0] += distance * y
    return X, y


def scores(y, predicted, probability):
    """Return the scores of one net on fresh rows."""
    return {
        "recall": recall_score(y, predicted),
        "false-positive rate": 1 - recall_score(y, predicted, pos_label=0),
        "precision": precision_score(y, predicted, zero_division=np.nan),
        "balanced accuracy": balanced_accuracy_score(y, predicted),
        "ROC AUC": roc_auc_score(y, probability),
        "mean probability": probability.mean(),
    }


def compare(distance, seed):
    """Train the three ways on 1000 rows; return the scores of each, and of the moved threshold, on fresh ones."""
    rng = np.random.default_rng(seed)
    X, y = draw(1000, distance, rng)
    X_new, y_new = draw(20_000, distance, rng)
    rows = {}
    for way, parameters in WAYS.items():
        net = ImbalancedNetClassifier(torch.nn.Linear, random_state=seed, **parameters).fit(X, y)
        probability = net.predict_proba(X_new)[:, 1]
        rows[way] = scores(y_new, net.predict(X_new), probability)
        if way == "plain":
            rows[MOVED] = scores(y_new, (probability > PRIOR).astype(int), probability)
    return pd.DataFrame(rows).T


def table(distance):
    """Return the scores of every way, averaged over the seeds."""
    runs = pd.concat([compare(distance, seed) for seed in SEEDS], keys=SEEDS)
    return runs.groupby(level=1, sort=False).mean()


def picture(tables, path):
    """Draw recall, false positives, balanced accuracy, AUC and mean probability of every way, one panel a data set."""
    columns = ["recall", "false-positive rate", "balanced accuracy", "ROC AUC", "mean probability"]
    figure, axes = plt.subplots(1, len(tables), figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, (name, scored) in zip(axes, tables.items(), strict=True):
        scored[columns].T.plot.bar(ax=axis, width=0.8, legend=False, color=["0.75", "0.45", "tab:blue", "tab:orange"])
        means = "the same mean in both classes" if name == "noise" else "class means 2 apart"
        axis.set(title=f"{name}: {means}", ylim=(0, 1))
        axis.tick_params(axis="x", rotation=20)
        axis.axhline(0.5, color="0.9", zorder=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Weights and samplers move the threshold (mean over {len(SEEDS)} seeds, 20 000 fresh rows each)")
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    torch.set_num_threads(1)  # small nets want one
    tables = {name: table(distance) for name, distance in SIGNAL.items()}
    for name, scored in tables.items():
        print(f"\n{name}\n{scored.round(3).to_string()}")
    picture(tables, "textbook.png")
    print(
        "\nOn noise, recall rises exactly as the false-positive rate does. On signal it is bought at the same price "
        "as by"
    )
    print("moving the plain net's threshold; ranking does not move. The picture is in textbook.png.")
