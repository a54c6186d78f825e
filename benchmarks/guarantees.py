"""How often floors are missed on new rows, and whether sets hold the label, over many draws of the training rows.

A tenth of the rows are of the rarer class. Each draw is a fit on fresh rows, and 10 000 new ones say what its decisions
reach. At a confidence of .95 a floor may be missed in 5 % of the draws.

    python benchmarks/guarantees.py            # a quarter of an hour
    python benchmarks/guarantees.py --quick
"""

import argparse
import warnings

import numpy as np
import torch

from imbalanced_torch import MLP, ImbalancedNetClassifier, PrecisionFloor, RecallFloor

FLOORS = {
    "recall .8": (RecallFloor(0.8), 0.8),
    "recall .3": (RecallFloor(0.3), 0.3),
    "precision .2": (PrecisionFloor(0.2), 0.2),
}
#: Net, kind of columns, rows to train on, draws.
CASES = [
    ("default", "signal", 500, 500),
    ("default", "signal", 2000, 200),
    ("default", "noise", 500, 200),
    ("MLP, 30 % held out", "signal", 1000, 500),
    ("MLP, 30 % held out", "noise", 1000, 200),
]


def draw(columns, n, rng):
    """Return rows of ten columns, three of which tell something unless they are noise, and labels."""
    y = (rng.random(n) < 0.1).astype(int)
    X = rng.normal(size=(n, 10)).astype(np.float32)
    if columns == "signal":
        X[:, :3] += 0.7 * y[:, None]
    return X, y


def one(net, columns, n, seed):
    """Return what the decisions of one fit reach on new rows."""
    rng = np.random.default_rng(seed)
    X, y = draw(columns, n, rng)
    new, labels = draw(columns, 10_000, rng)
    plain = {"module": MLP, "early_stopping": True, "validation_fraction": 0.3}
    model = ImbalancedNetClassifier(**({} if net == "default" else plain), random_state=seed).fit(X, y)
    found = {}
    for name, (floor, _) in FLOORS.items():
        (report,) = model.decision_report([floor])
        if report["note"]:
            found[name] = np.nan
            continue
        called = model.set_params(decision=floor).predict(new) == 1
        found[name] = called[labels == 1].mean() if "recall" in name else labels[called].mean()
    found["share .05"] = model.set_params(decision={"share": 0.05}).predict(new).mean()
    sets = model.predict_set(new, coverage=0.9)
    return found | {f"coverage of {c}": sets[labels == c, c].mean() for c in (0, 1)}


def main():
    """Print a row of Markdown for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 draws")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(
        "| net | columns | rows | draws | "
        + " | ".join(f"{name} missed" for name in FLOORS)
        + " | share .05 is | sets hold |"
    )
    print("|" + "---|" * (4 + len(FLOORS) + 2))
    for net, columns, n, draws in CASES:
        draws = 10 if quick else draws
        found = [one(net, columns, n, seed) for seed in range(draws)]
        cells = [net, columns, str(n), str(draws)]
        for name, (_, level) in FLOORS.items():
            values = np.array([row[name] for row in found])
            kept = values[~np.isnan(values)]
            cells.append(f"{(kept < level).mean():.3f} of {len(kept)}" if len(kept) else "no bound")
        cells.append(f"{np.mean([row['share .05'] for row in found]):.3f}")
        cells.append(", ".join(f"{np.mean([row[f'coverage of {c}'] for row in found]):.3f}" for c in (0, 1)))
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
