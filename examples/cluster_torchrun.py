"""One net over many processes, each with its own rows: which start command, and what each process does.

On one machine, with two processes: torchrun --nproc-per-node 2 examples/cluster_torchrun.py
Where a process may be lost, add --max-restarts 3 before the script and --checkpoint FILE after it, and set
TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1: the fit goes on.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import distributed

from imbalanced_torch import ImbalancedNetClassifier

#: Rows of each process.
ROWS = 4000


def rows_of(place: int, n_rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Return a shard: in practice files of its own, such as sorted(folder.glob("*.npz"))[place::n_processes]."""
    random = np.random.default_rng(place)
    y = random.random(n_rows) < 0.02 + 0.01 * place  # shards need not be alike
    X = random.standard_normal((n_rows, 8)) + y[:, None] * np.linspace(0, 1.2, 8)
    return X, np.where(y, "fraud", "ok")


def main() -> None:
    """Fit on the rows of all processes, and let the first one save and score the net."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="of each process")
    parser.add_argument("--epochs", type=int, default=None, help="at most")
    parser.add_argument("--checkpoint", help="a file to go on from after a restart")
    parser.add_argument("--save", help="a file for the net, such as model.safetensors")
    arguments = parser.parse_args()

    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    rank, size = distributed.get_rank(), distributed.get_world_size()
    device = f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu"

    X, y = rows_of(rank, arguments.rows)
    model = ImbalancedNetClassifier(
        class_weight="balanced", max_epochs=arguments.epochs, device=device, checkpoint=arguments.checkpoint,
        verbose=int(rank == 0), random_state=0,
    )  # fmt: skip
    model.fit(X, y)  # one fit: the same net on every process

    if rank == 0:
        if arguments.save:
            model.save(arguments.save)
        new_X, new_y = rows_of(size, 20_000)
        fraud = model.predict_proba(new_X)[:, list(model.classes_).index("fraud")]
        print(f"{model.class_priors_.n_rows:,} rows on {size} processes, {len(X):,} of them here")
        print(f"class prior {model.class_prior_.round(4)}, class weights {model.class_weight_.round(3)}")
        print(f"average precision on new rows {average_precision_score(new_y == 'fraud', fraud):.3f}")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
