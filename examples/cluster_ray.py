"""One net over the workers of Ray Train, each of which reads its shard of a folder of Parquet files by Ray Data.

pip install "ray[data,train]"; python examples/cluster_ray.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from cluster_torchrun import rows_of

from imbalanced_torch import ImbalancedNetClassifier


def write_folder(folder: Path, n_files: int = 4, n_rows: int = 1000) -> None:
    """Write files of a table with a label in it."""
    for place in range(n_files):
        X, y = rows_of(place, n_rows)
        table = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])]).assign(label=y)
        table.to_parquet(folder / f"part_{place}.parquet")


def fit_on_worker(config: dict[str, Any]) -> None:
    """Fit on this worker's rows: Ray has made the process group, so that it is one fit over all workers."""
    from ray import train

    shard = train.get_dataset_shard("train")
    table = pd.concat(shard.iter_batches(batch_size=4096, batch_format="pandas"), ignore_index=True)
    y = table.pop("label").to_numpy()
    model = ImbalancedNetClassifier(class_weight="balanced", random_state=0, max_epochs=config["epochs"])
    model.fit(table, y)
    if train.get_context().get_world_rank() == 0:
        model.save(config["save"])
    train.report({"rows": model.class_priors_.n_rows, "fraud": float(model.class_prior_[0])})


def fit_over_workers(folder: Path, save: Path, n_workers: int = 2, epochs: int | None = None) -> Any:
    """Return Ray's result of a fit over all workers, whose net is in the file `save`."""
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        fit_on_worker,
        train_loop_config={"epochs": epochs, "save": str(save)},
        torch_config=TorchConfig(backend="gloo"),  # "cpu:gloo,cuda:nccl" for workers with GPUs
        scaling_config=ScalingConfig(num_workers=n_workers),
        run_config=RunConfig(storage_path=tempfile.mkdtemp()),
        datasets={"train": ray.data.read_parquet(str(folder))},
    )
    return trainer.fit()


def main() -> None:
    """Write a folder, and fit on it."""
    import ray

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=None, help="at most")
    arguments = parser.parse_args()
    ray.init(num_cpus=4)  # two for workers, and what reads files needs some too
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "table"
        folder.mkdir()
        write_folder(folder)
        print(fit_over_workers(folder, Path(name) / "model.safetensors", epochs=arguments.epochs).metrics)
        model = ImbalancedNetClassifier.load(Path(name) / "model.safetensors")
        print(model.class_prior_, model.class_weight_)


if __name__ == "__main__":
    main()
