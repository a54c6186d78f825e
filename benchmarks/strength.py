"""How strong the default is on raw tables, beside boosted trees, forests, other nets and logistic regression.

Everyone at its defaults on the same five stratified folds of public sets, one thread. Each result is a line of a file,
so that a run goes on where the last one stopped, and rivals need not run again. Scores are of held-out rows, averaged
over folds, then over sets.

    python benchmarks/strength.py --part choose        # the sets that choices are made on
    python benchmarks/strength.py --part confirm       # those that confirm them, run once all is chosen
    python benchmarks/strength.py --quick              # five small sets, five rivals: two minutes
    python benchmarks/strength.py --rivals ours --label trial --part choose     # run ours alone, under a name
    python benchmarks/strength.py --table --label trial --part choose           # only print what the file has
"""

import argparse
import json
import sys
import time
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import gmean, wilcoxon
from sklearn.metrics import average_precision_score, balanced_accuracy_score, recall_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from public_sets import load
from rivals import BALANCED, FIVE, OURS, RIVALS

from imbalanced_torch import __version__

#: Configurations of the default net were compared on these.
CHOOSE = [
    "hypothyroid",
    "page-blocks0",
    "page-blocks",
    "kc1",
    "poker-8-9_vs_5",
    "car-good",
    "car",
    "winequality-red-4",
    "dermatology",
    "ecoli3",
    "ecoli",
    "haberman",
    "sylva",
    "kr-vs-k",
    "shuttle-2_vs_5",
    "segment0",
    "yeast3",
    "yeast4",
    "yeast",
    "flare-F",
    "flare",
    "vehicle1",
    "abalone9-18",
    "glass2",
    "glass",
    "nursery",
    "fars",
]
#: Nothing is chosen on these, which share no rows with the others, and nothing is changed after they were run.
CONFIRM = [
    "abalone19",
    "ada",
    "splice",
    "contraceptive",
    "winequality-white-3-9_vs_5",
    "german",
    "kddcup-rootkit-imap_vs_back",
    "pc1",
    "balance",
    "saheart",
    "ionosphere",
    "cleveland",
    "hepatitis",
    "lymphography",
    "hiva",
]
PARTS = {"choose": CHOOSE, "confirm": CONFIRM, "all": CHOOSE + CONFIRM}
QUICK = ["car-good", "yeast4", "abalone9-18", "glass", "haberman"]
QUICK_RIVALS = [OURS, "CatBoost 300", "LightGBM", "LogisticRegression", "skorch MLP"]

#: What is better: more (1) or less (-1).
SIGNS = {"AP": 1, "ROC AUC": 1, "log loss": -1, "Brier": -1}
DECIDED = ["bal. acc.", "G-mean"]
SIGNS |= {f"{score} {decision}": 1 for decision in ("argmax", "balanced") for score in DECIDED}
SHOWN = [OURS, "CatBoost", "LightGBM"]
COSTS = ["fit CPU s", "predict CPU s"]


@cache
def read(name):
    """Return table and codes of a set, without classes that are too rare for five folds."""
    X, y = load(name, rows_per_class=5)
    return X, np.unique(y, return_inverse=True)[1]


def score(y, proba, decisions):
    """Return the scores of one fold: those of probabilities, of a class against the rest, and of decisions."""
    K = proba.shape[1]
    one_hot = np.eye(K)[y]
    rare = [np.bincount(y, minlength=K).argmin()] if K == 2 else list(range(K))
    found = {
        "AP": average_precision_score(one_hot[:, rare], proba[:, rare]),
        "ROC AUC": roc_auc_score(one_hot[:, rare], proba[:, rare]),
        "log loss": -np.log(np.clip(proba[np.arange(len(y)), y], 1e-15, 1)).mean(),
        "Brier": ((proba - one_hot)[:, rare] ** 2).sum(axis=1).mean(),
    }
    for name, decided in decisions.items():
        found[f"bal. acc. {name}"] = balanced_accuracy_score(y, decided)
        found[f"G-mean {name}"] = gmean(recall_score(y, decided, average=None, labels=range(K), zero_division=0))
    return found


def run(rival, name, fold):
    """Fit a rival on the training rows of a fold; return its scores and what it cost."""
    X, y = read(name)
    train, test = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y))[fold]
    model = RIVALS[rival](X)
    start = time.process_time()
    model.fit(X.iloc[train], y[train])
    fitted = time.process_time()
    proba = np.asarray(model.predict_proba(X.iloc[test]), dtype=np.float64)
    costs = dict(zip(COSTS, (fitted - start, time.process_time() - fitted), strict=True))
    decisions = {"argmax": proba.argmax(axis=1), "balanced": (proba / np.bincount(y[train])).argmax(axis=1)}
    if rival in BALANCED:
        decisions["balanced"] = decisions["argmax"]
    if rival == OURS:
        decisions["balanced"] = model.set_params(decision="balanced").predict(X.iloc[test])
    return score(y[test], proba, decisions) | costs


@cache
def warm_up(rival):
    """Fit once on a few rows, so that no fold pays for imports."""
    X, y = read("haberman")
    RIVALS[rival](X).fit(X[:60], y[:60]).predict_proba(X[:5])


def cached_results(path):
    """Return the last result of each (set, fold, rival) in the file; errors count as none, and are tried again."""
    lines = path.read_text().splitlines() if path.exists() else []
    records = [record for record in map(json.loads, lines) if "error" not in record]
    columns = ["set", "fold", "rival", *SIGNS, *COSTS]
    return pd.DataFrame(records, columns=columns).drop_duplicates(columns[:3], keep="last", ignore_index=True)


def run_missing(path, sets, rivals, folds, label, refresh):
    """Run what the file does not have, a line each; a rival that raises leaves a line with its error."""
    results = cached_results(path)
    old = results["rival"].isin([cached_name(rival, label) for rival in refresh])
    done = set(results.loc[~old, ["set", "fold", "rival"]].itertuples(index=False, name=None))
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, fold, rival in ((name, fold, rival) for name in sets for fold in folds for rival in rivals):
        record = {"set": name, "fold": fold, "rival": cached_name(rival, label)}
        if rival not in RIVALS or tuple(record.values()) in done:
            continue
        try:
            warm_up(rival)
            record |= run(rival, name, fold)
            said = f"log loss {record['log loss']:.4f}, {record['fit CPU s']:.2f} s"
        except Exception as error:
            record["error"] = said = repr(error)[:300]
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{name}, fold {fold}, {record['rival']}: {said}", file=sys.stderr, flush=True)


def cached_name(rival, label):
    """Return what a rival is called in the file: ours by its version and label."""
    return f"{OURS} {__version__} {label}".strip() if rival == OURS else rival


def comparable(results, rivals):
    """Return the folds that all rivals have, averaged by set and rival, and a statement on what is left out."""
    results = results[results["rival"].isin(rivals)]
    kept = results[results.groupby(["set", "fold"])["rival"].transform("nunique") == len(rivals)]
    folds = kept.groupby("set", sort=False)["fold"].nunique()
    left_out = [name for name in results["set"].unique() if name not in folds]
    text = f"{len(folds)} sets ({', '.join(f'{name}: {n}' for name, n in folds.items())}), {folds.sum()} folds."
    if left_out:
        text += f" Left out, as no fold has all rivals: {', '.join(left_out)}."
    means = kept.groupby(["set", "rival"], sort=False)[[*SIGNS, *COSTS]].mean()
    return means.round(12), text  # so that equal scores are ties, whatever the order of their sums


def mean_ranks(by_set, rivals):
    """Return the mean rank over sets of each rival among `rivals`, for each score; 1 is best."""
    signed = by_set[list(SIGNS)] * pd.Series(SIGNS)
    among = signed[signed.index.get_level_values("rival").isin(rivals)]
    return among.groupby(level="set").rank(ascending=False).groupby(level="rival").mean().loc[rivals]


def against(by_set, reference, rivals):
    """Return the ratio of log losses to the reference's (geometric mean over sets) and Wilcoxon's p for each score."""
    rows = {}
    for rival in rivals:
        differences = (by_set.xs(rival, level="rival") - by_set.xs(reference, level="rival"))[list(SIGNS)]
        ratios = by_set["log loss"].xs(rival, level="rival") / by_set["log loss"].xs(reference, level="rival")
        better = differences.mul(pd.Series(SIGNS)).gt(0).sum()
        rows[rival] = {"log loss ratio": f"{gmean(ratios):.3f}"}
        for name, found in differences.items():
            p = wilcoxon(found).pvalue if found.any() else 1.0
            rows[rival][name] = f"{better[name]}/{len(found)}, {p:.2g}"
    return pd.DataFrame(rows).T


def set_by_set(by_set, shown):
    """Return average precision and log loss a set: of some rivals, and of the best of the others."""
    columns = {}
    for metric in ("AP", "log loss"):
        table = by_set[metric].unstack("rival", sort=False)
        for rival in shown:
            columns[f"{metric}: {rival}"] = table.pop(rival).map("{:.4f}".format)
        if table.shape[1]:
            best = (table * SIGNS[metric]).idxmax(axis=1)
            columns[f"{metric}: best other"] = [f"{table.at[i, name]:.4f} ({name})" for i, name in best.items()]
    return pd.DataFrame(columns, index=by_set.index.unique("set"))


def report(results, rivals, five, reference, shown):
    """Return all tables as Markdown: of `rivals`, the ranks among `five` of them, and set by set those of `shown`."""
    by_set, text = comparable(results, rivals)
    if by_set.empty:
        return text
    means = by_set.groupby(level="rival").mean().loc[rivals]
    five, shown = ([rival for rival in some if rival in rivals] for some in (five, shown))
    parts = [f"{text}\n\nMeans over sets:", means.to_markdown(floatfmt=".3f")]
    parts += [f"Mean ranks of {len(rivals)}:", mean_ranks(by_set, rivals).to_markdown(floatfmt=".2f")]
    parts += [f"Mean ranks of {len(five)}:", mean_ranks(by_set, five).to_markdown(floatfmt=".2f")]
    if reference in rivals:
        others = [rival for rival in rivals if rival != reference]
        parts += [
            f"Against {reference}: ratio of log losses (geometric mean), sets on which it is better, Wilcoxon's p:",
            against(by_set, reference, others).to_markdown(disable_numparse=True),
        ]
    return "\n\n".join([*parts, "Set by set:", set_by_set(by_set, shown).to_markdown(disable_numparse=True)])


def main():
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, default="all")
    parser.add_argument("--sets", nargs="*", help="instead of a part")
    parser.add_argument("--rivals", nargs="*", help=f"of {', '.join(RIVALS)}, or any name that the file has")
    parser.add_argument("--folds", nargs="*", type=int, default=range(5), choices=range(5))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--refresh", nargs="*", default=[], metavar="RIVAL", help="run these again")
    parser.add_argument("--label", default="", help="a name for ours as it is now")
    parser.add_argument("--against", default="CatBoost", metavar="RIVAL")
    parser.add_argument("--cache", type=Path, default=Path(__file__).parent / ".cache" / "strength.jsonl")
    arguments = parser.parse_args()
    sets = arguments.sets or (QUICK if arguments.quick else PARTS[arguments.part])
    rivals = arguments.rivals or (QUICK_RIVALS if arguments.quick else list(RIVALS))
    if not arguments.table:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        with threadpool_limits(1):
            run_missing(arguments.cache, sets, rivals, arguments.folds, arguments.label, arguments.refresh)
    results = cached_results(arguments.cache)
    results = results[results["set"].isin(sets) & results["fold"].isin(arguments.folds)]
    results = results.sort_values("set", key=lambda names: names.map(sets.index), kind="stable")
    rivals, five, shown = ([cached_name(rival, arguments.label) for rival in some] for some in (rivals, FIVE, SHOWN))
    present = [rival for rival in rivals if rival in set(results["rival"])]
    for rival in rivals:
        if rival not in present:
            print(f"The file has nothing of {rival} on these sets.\n")
    if present:
        print(report(results, present, five, arguments.against, shown))


if __name__ == "__main__":
    main()
