"""The decision that a bank has to make: goals, a guarantee, and amounts that differ, from one fit.

Of 1000 credits in Germany (Hofmann 1994) three in ten went bad. A look at a credit by a person costs 200 marks; a bad
one that is not looked at loses 40 % of its amount. The net is trained once on half of them. Which credits are looked at
is settled afterwards: by a recall to reach, by a recall that is guaranteed, by a budget of looks, by the best F1, or by
what each credit may cost. The report says beforehand what each decision reaches, from out-of-fold predictions; the
other half of the credits says what came of it.

    python examples/goals.py
"""

import pandas as pd
import torch
from matplotlib import pyplot as plt
from public_sets import load
from sklearn.model_selection import train_test_split

from imbalanced_torch import ImbalancedNetClassifier, RecallFloor

LOOK, LOSS = 200, 0.4
DECISIONS = {
    "argmax": "argmax",
    "balanced": "balanced",
    "recall .8": {"recall": 0.8},
    "recall floor .8": RecallFloor(at_least=0.8, confidence=0.95),
    "share .2": {"share": 0.2},
    "F1": "f1",
}


def costs_of(amounts):
    """Return what each mistake, and each look, costs for credits of these amounts."""
    return {"bad": {"good": LOSS * amounts, "bad": LOOK}, "good": {"bad": LOOK}}


def train():
    """Return the fitted net, and credits that it has not seen."""
    X, y = load("german")
    y = y.map({"1": "good", "2": "bad"})
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    return ImbalancedNetClassifier(random_state=0).fit(X, y), X_test, y_test


def price(X, y, looked_at):
    """Return what looks and bad credits cost, in marks per credit."""
    lost = LOSS * X["amount"][(y == "bad") & ~looked_at].sum()
    return (LOOK * looked_at.sum() + lost) / len(y)


def compare(net, X, y):
    """Return what the report says of each decision, and what came of it on other credits."""
    rows = {}
    reports = net.decision_report(list(DECISIONS.values()))
    for (name, decision), report in zip(DECISIONS.items(), reports, strict=True):
        looked_at = net.set_params(decision=decision).predict(X) == "bad"
        rows[name] = {
            "threshold": report["threshold"],
            "recall": report["recall"],
            "low": report["recall_low"],
            "high": report["recall_high"],
            "recall, new": looked_at[y == "bad"].mean(),
            "share": report["share"],
            "share, new": looked_at.mean(),
            "marks per credit": price(X, y, looked_at),
        }
    for name, amounts in (("costs, mean amount", X["amount"].mean()), ("costs, each amount", X["amount"])):
        looked_at = net.predict(X, costs=costs_of(amounts)) == "bad"
        rows[name] = {
            "recall, new": looked_at[y == "bad"].mean(),
            "share, new": looked_at.mean(),
            "marks per credit": price(X, y, looked_at),
        }
    return pd.DataFrame(rows).T


def picture(found, path):
    """Draw the recalls that were announced and those that came, and what each decision costs."""
    canvas, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    announced = found.dropna()
    places = range(len(announced))
    below, above = announced["recall"] - announced["low"], announced["high"] - announced["recall"]
    left.errorbar(announced["recall"], places, xerr=[below, above], fmt="o", capsize=4, label="out of fold, 95 %")
    left.plot(announced["recall, new"], places, "D", color="tab:orange", label="on new credits")
    left.axvline(0.8, color="0.7", linewidth=0.8, zorder=0)
    left.set(yticks=places, yticklabels=announced.index, xlabel="recall of bad credits", title="What was announced")
    left.invert_yaxis()
    left.legend(frameon=False, loc="lower left")
    colors = ["0.6"] * len(announced) + ["tab:blue"] * (len(found) - len(announced))
    found["marks per credit"].plot.barh(ax=right, color=colors)
    right.invert_yaxis()
    right.set(xlabel="marks per credit, looks and losses", title="What each decision costs")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    canvas.suptitle("Decisions of one net, trained once")
    canvas.savefig(path, dpi=120)
    plt.close(canvas)


def main(path="goals.png"):
    """Train once; print what each decision announces and reaches; draw both."""
    net, X, y = train()
    found = compare(net, X, y)
    print(found.round(3).to_string(na_rep=""))
    sets = net.predict_set(X, coverage=0.9)
    covered = {label: sets[y == label, code].mean() for code, label in enumerate(net.classes_)}
    both = sets.all(axis=1).mean()
    print(
        f"\nSets of labels at coverage .9 hold {covered['bad']:.3f} of the bad credits and {covered['good']:.3f} of "
        f"the good ones;\n{both:.0%} of the credits can't be told apart. The picture is in {path}."
    )
    picture(found, path)


if __name__ == "__main__":
    torch.set_num_threads(1)  # small nets want one
    main()
