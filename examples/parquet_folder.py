"""Train on more rows than memory holds: a folder of Parquet files becomes one memory-mapped array, read as it is drawn.

pip install pyarrow; python examples/parquet_folder.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from imbalanced_torch import MLP, ImbalancedNetClassifier


def batches(table: Any) -> Iterator[Any]:
    """Give the rows of a dataset, some at a time; of a Parquet file pyarrow would hold all that it reads ahead."""
    from pyarrow import dataset

    for fragment in table.get_fragments():
        if isinstance(fragment, dataset.ParquetFileFragment):
            options = dataset.ParquetFragmentScanOptions(pre_buffer=False)
            for group in fragment.split_by_row_group():
                yield from group.to_batches(schema=table.schema, batch_size=1 << 16, fragment_scan_options=options)
        else:
            yield from fragment.to_batches(schema=table.schema, batch_size=1 << 16, batch_readahead=1)


def mapped(source: Any, label: str, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return X, mapped from a file that is written part by part, and y, of a table of numbers.

    Parameters
    ----------
    source : path or pyarrow.dataset.Dataset
        A Parquet file, a folder of them, or a dataset of pyarrow's.
    label : str
        The column that is y.
    file : path
        Where X is written, as float32.
    """
    from pyarrow import dataset

    table = source if isinstance(source, dataset.Dataset) else dataset.dataset(source)
    names = [name for name in table.schema.names if name != label]
    X = np.lib.format.open_memmap(file, "w+", np.float32, (table.count_rows(), len(names)))
    labels, start = [], 0
    for batch in batches(table):
        for place, name in enumerate(names):
            X[start : start + len(batch), place] = batch[name].to_numpy(zero_copy_only=False)
        labels.append(batch[label].to_numpy(zero_copy_only=False))
        start += len(batch)
    X.flush()
    return np.load(file, mmap_mode="r"), np.concatenate(labels)


def main() -> None:
    """Write a folder, map it, and train with balanced draws."""
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "rows"
        folder.mkdir()
        for place in range(4):
            y = random.random(50_000) < 0.02
            columns = {f"x{j}": random.standard_normal(50_000, dtype=np.float32) + y * 0.3 * j for j in range(8)}
            parquet.write_table(pa.table({**columns, "fraud": y.astype(np.int8)}), folder / f"{place}.parquet")
        X, y = mapped(folder, "fraud", Path(name) / "X.npy")
        model = ImbalancedNetClassifier(MLP, sampling="weighted", max_epochs=2, batch_size=4096, random_state=0)
        model.fit(X, y)
        print(f"{len(X):,} rows, {model.sampled_prior_} drawn of {model.class_prior_.round(3)}")


if __name__ == "__main__":
    main()
