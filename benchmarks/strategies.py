"""What strategies do to decisions, to ranking and to probabilities, on real sets and at equal optimiser steps.

Every strategy trains one net a fold, which is then read in four ways: raw and corrected probabilities, the decision as
trained and the balanced one. Scores are of held-out rows, averaged over folds, then over sets.

    python benchmarks/strategies.py             # 14 sets of two classes and 5 of more, 5 folds: half an hour
    python benchmarks/strategies.py --quick     # 4 and 2 sets, 3 folds once: two minutes
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import friedmanchisquare, rankdata, studentized_range
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from public_sets import load, make_encoder

from imbalanced_torch import MLP, ImbalancedNetClassifier

TWO_CLASSES = [
    "page-blocks0",
    "segment0",
    "poker-8-9_vs_5",
    "shuttle-2_vs_5",
    "car-good",
    "winequality-red-4",
    "yeast3",
    "yeast4",
    "flare-F",
    "vehicle1",
    "abalone9-18",
    "ecoli3",
    "haberman",
    "glass2",
]
MORE_CLASSES = ["page-blocks", "car", "dermatology", "flare", "nursery"]
QUICK = ["segment0", "yeast4", "abalone9-18", "car-good"], ["car", "dermatology"]
STRATEGIES = {
    "plain": {},
    "class_weight='balanced'": {"class_weight": "balanced"},
    "class_weight='sqrt'": {"class_weight": "sqrt"},
    "class_weight='effective'": {"class_weight": "effective"},
    "sampling='weighted'": {"sampling": "weighted"},
    "sampling='over'": {"sampling": "over"},
    "sampling='under'": {"sampling": "under"},
    "sampling='batch'": {"sampling": "batch"},
    "criterion='focal'": {"criterion": "focal"},
    "criterion='logit_adjusted'": {"criterion": "logit_adjusted"},
    "criterion='ldam'": {"criterion": "ldam"},
    "criterion='vs'": {"criterion": "vs"},
    "criterion='asymmetric'": {"criterion": "asymmetric"},
    "criterion='label_smoothing'": {"criterion": "label_smoothing"},
    "LDAM, deferred weights": {"criterion": "ldam", "class_weight": "effective", "schedule": "deferred"},
    "progressively balanced": {"sampling": "weighted", "schedule": "progressive"},
    "head retrained (cRT)": {"sampling": "batch", "schedule": "retrain_head"},
}


def calibration_error(y, proba, bins=10):
    """Return the expected calibration error, averaged over classes: |mean probability - share| over equal-width bins.

    Naeini, Cooper, Hauskrecht. Obtaining Well Calibrated Probabilities Using Bayesian Binning. AAAI 2015.
    """
    columns = range(1, 2) if proba.shape[1] == 2 else range(proba.shape[1])
    errors = []
    for column in columns:
        p, hit = proba[:, column], y == column
        bin_of = np.minimum((p * bins).astype(int), bins - 1)
        errors.append(np.abs(np.bincount(bin_of, p - hit, minlength=bins)).sum() / len(y))
    return np.mean(errors)


def score(model, X, y):
    """Return the scores of one fitted pipeline, read in each way."""
    net, Z = model[-1], model[:-1].transform(X)
    codes = np.searchsorted(net.classes_, y)
    two = len(net.classes_) == 2
    read = {}
    for correction in (False, True):
        proba = net.set_params(prior_correction=correction).predict_proba(Z)
        read[correction] = proba
    target = codes if two else np.eye(len(net.classes_))[codes]
    ranked = read[False][:, 1] if two else read[False]
    trained = net.set_params(decision="trained").predict(Z)
    balanced = net.set_params(decision="balanced").predict(Z)
    rare = {"pos_label": "positive"} if two else {"average": "macro"}
    return {
        "bal. acc. trained": balanced_accuracy_score(y, trained),
        "bal. acc. balanced": balanced_accuracy_score(y, balanced),
        "F1 trained": f1_score(y, trained, zero_division=0, **rare),
        "AP": average_precision_score(target, ranked),
        "ROC AUC": roc_auc_score(target, ranked),
        "log loss raw": log_loss(codes, read[False], labels=range(len(net.classes_))),
        "log loss corrected": log_loss(codes, read[True], labels=range(len(net.classes_))),
        "ECE raw": calibration_error(codes, read[False]),
        "ECE corrected": calibration_error(codes, read[True]),
    }


def run(name, strategy, fold, n_folds):
    """Train one strategy on one fold of one set; return its scores."""
    X, y = load(name, rows_per_class=5)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=0)
    train, test = list(folds.split(X, y))[fold]
    net = ImbalancedNetClassifier(MLP, epoch_size=1.0, max_epochs=50, early_stopping=False, random_state=fold)
    model = make_pipeline(make_encoder(), net.set_params(**STRATEGIES[strategy])).fit(X.iloc[train], y.iloc[train])
    return {"set": name, "strategy": strategy, "fold": fold, **score(model, X.iloc[test], y.iloc[test].to_numpy())}


def ranks(scores, column):
    """Return the mean rank of each strategy over the sets (1 is best), and a statement on the differences.

    Friedman's test, and Nemenyi's critical difference at the 5 % level: Demsar, JMLR 7 (2006).
    """
    table = scores.groupby(["set", "strategy"], sort=False)[column].mean().unstack()[list(scores.strategy.unique())]
    sign = 1 if column.startswith(("log loss", "ECE")) else -1
    mean_ranks = pd.Series(rankdata(sign * table, axis=1).mean(axis=0), index=table.columns)
    n, k = table.shape
    p = friedmanchisquare(*table.to_numpy().T).pvalue
    critical = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    best = mean_ranks.idxmin()
    worse = mean_ranks.index[mean_ranks > mean_ranks.min() + critical].tolist()
    text = f"{column}: Friedman p = {p:.2g} over {n} sets; best mean rank {best}; critical difference {critical:.2f}; "
    return mean_ranks, text + (f"worse than the best by more: {', '.join(worse)}" if worse else "none is worse by more")


def main():
    """Run, print a table for two classes and one for more, and write every score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", default="strategies.json", help="where to write the score of every fold")
    arguments = parser.parse_args()
    groups = QUICK if arguments.quick else (TWO_CLASSES, MORE_CLASSES)
    n_folds = 3 if arguments.quick else 5
    cells = [
        (name, strategy, fold)
        for names in groups
        for name in names
        for strategy in STRATEGIES
        for fold in range(n_folds)
    ]
    scores = pd.DataFrame(Parallel(n_jobs=2)(delayed(run)(*cell, n_folds) for cell in cells))
    scores.to_json(arguments.json, orient="records", indent=1)
    for names in groups:
        group = scores[scores["set"].isin(names)]
        by_set = group.groupby(["strategy", "set"], sort=False).mean(numeric_only=True).drop(columns="fold")
        print(
            f"\n## {'Two classes' if names is groups[0] else 'More classes'}\n\n{len(names)} sets: {', '.join(names)}\n"
        )
        print(by_set.groupby(level=0, sort=False).mean().to_markdown(floatfmt=".3f"))
        if len(names) > 2:
            columns = ["bal. acc. trained", "bal. acc. balanced", "AP", "ROC AUC", "log loss corrected"]
            ranked = {column: ranks(group, column) for column in columns}
            print("\nMean rank over the sets:\n")
            print(pd.DataFrame({column: rank for column, (rank, _) in ranked.items()}).to_markdown(floatfmt=".1f"))
            print("\n" + "\n".join(f"- {text}" for _, text in ranked.values()))


if __name__ == "__main__":
    main()
