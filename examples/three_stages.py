"""What the net learns, what its probabilities mean, how a label is chosen: three stages, one net, no retraining.

A net is trained with balanced class weights to find the figures (lines, graphics, pictures) among 5403 blocks of
scanned pages, a tenth of which are figures; the others are text. Its raw probabilities are those of a world with as
many figures as text blocks; corrected, they are those of this one. Then four decisions read the same net, and each has
its price: here a figure that is missed costs as much as five false alarms. ("trained" and "balanced" agree, since the
net was trained to be balanced.)

    python examples/three_stages.py
"""

import pandas as pd
import torch
from matplotlib import pyplot as plt
from public_sets import load
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss
from sklearn.model_selection import train_test_split

from imbalanced_torch import ImbalancedNetClassifier

COSTS = {"text": {"figure": 1}, "figure": {"text": 5}}
DECISIONS = {
    "trained": {"decision": "trained"},
    "argmax": {"decision": "argmax"},
    "balanced": {"decision": "balanced"},
    "costs": {"decision": COSTS},
}


def train():
    """Return the fitted net, and rows and labels that it has not seen."""
    X, y = load("page-blocks0")
    y = y.map({"negative": "text", "positive": "figure"})
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    return ImbalancedNetClassifier(class_weight="balanced", random_state=0).fit(X, y), X_test, y_test


def probabilities(net, X):
    """Return the probability of a figure for each row, raw and corrected."""
    figure = list(net.classes_).index("figure")
    return {
        "raw": net.set_params(prior_correction=False).predict_proba(X)[:, figure],
        "corrected": net.set_params(prior_correction=True).predict_proba(X)[:, figure],
    }


def meaning(y, proba):
    """Return what each kind of probability says against what happened."""
    hit = (y == "figure").astype(int)
    return pd.DataFrame(
        {
            name: {
                "mean probability": p.mean(),
                "share of figures": hit.mean(),
                "log loss": log_loss(hit, p),
                "Brier score": brier_score_loss(hit, p),
            }
            for name, p in proba.items()
        }
    ).T


def decide(net, X, y):
    """Return what each decision finds, what it raises falsely, and what it costs per 1000 blocks."""
    rows = {}
    for name, parameters in DECISIONS.items():
        predicted = net.set_params(prior_correction=True, **parameters).predict(X)
        (found, missed), (false_alarms, _) = confusion_matrix(y, predicted, labels=["figure", "text"])
        rows[name] = {
            "recall": found / (found + missed),
            "precision": found / (found + false_alarms),
            "missed": missed,
            "false alarms": false_alarms,
            "cost per 1000": 1000 * (COSTS["figure"]["text"] * missed + false_alarms) / len(y),
        }
    return pd.DataFrame(rows).T


def picture(y, proba, decided, path):
    """Draw the calibration curves of raw and corrected probabilities, and the costs of each decision."""
    canvas, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    for (name, p), color in zip(proba.items(), ["tab:orange", "tab:blue"], strict=True):
        share, mean = calibration_curve(y == "figure", p, n_bins=6)
        left.plot(mean, share, "o-", color=color, label=f"{name}: mean {p.mean():.2f}")
    left.plot([0, 1], [0, 1], color="0.7", linestyle=":", zorder=0)
    left.axhline((y == "figure").mean(), color="0.7", linewidth=0.8, zorder=0)
    left.annotate("share of figures", (1, (y == "figure").mean()), ha="right", va="bottom", color="0.4")
    left.set(
        xlabel="predicted probability of a figure", ylabel="share that are figures", title="What its probabilities mean"
    )
    left.legend(frameon=False)
    costs = pd.DataFrame(
        {
            "missed figures": 1000 * COSTS["figure"]["text"] * decided["missed"] / len(y),
            "false alarms": 1000 * decided["false alarms"] / len(y),
        }
    )
    costs.plot.bar(ax=right, stacked=True, rot=0, color=["tab:red", "0.6"], width=0.6)
    right.set(ylabel="cost per 1000 blocks", title="What each decision costs")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    canvas.suptitle("One net, trained once with balanced class weights")
    canvas.savefig(path, dpi=120)
    plt.close(canvas)


def main(path="three_stages.png"):
    """Train once; print what its probabilities mean and what four decisions cost; draw both."""
    net, X, y = train()
    proba = probabilities(net, X)
    print(meaning(y, proba).round(3).to_string(), "\n")
    decided = decide(net, X, y)
    print(decided.round(3).to_string())
    picture(y, proba, decided, path)
    print(f"\nThe net was trained once. The picture is in {path}.")


if __name__ == "__main__":
    torch.set_num_threads(1)  # small nets want one
    main()
