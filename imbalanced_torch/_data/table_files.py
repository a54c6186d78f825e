"""Tables as files, CSV and Parquet: read by pandas, or by polars where only that can, and written back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from imbalanced_torch._parameters.values import did_you_mean, listed

_CSV, _PARQUET = (".csv", ".csv.gz", ".tsv", ".tsv.gz"), (".parquet", ".pq")
#: Rows from which on a column of whole numbers that differ in each row is taken for names of rows.
_MANY = 100


def check_ending(path: Path) -> str:
    """Return "csv" or "parquet" by how the name of a file ends."""
    name = path.name.lower()
    if name.endswith(_CSV):
        return "csv"
    if name.endswith(_PARQUET):
        return "parquet"
    raise ValueError(f"the name of a table must end in one of {[*_CSV, *_PARQUET]}; it is {path.name!r}.")


def read_table(path: Path, separator: str | None = None) -> Any:
    """Return the table in a file; None as separator is a tab for .tsv, else a comma."""
    kind = check_ending(path)
    if separator is None:
        separator = "\t" if ".tsv" in path.name.lower() else ","
    try:
        table = _first(_WAYS[kind], path, separator)
    except (OSError, ImportError):
        raise
    except Exception as error:  # pandas and polars have their own kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} can't be read as {kind}: {reason}") from error
    columns = nw.from_native(table, eager_only=True).columns
    marks = [mark for mark in ";\t|," if mark in columns[0]] if len(columns) == 1 else []
    if kind == "csv" and marks:
        raise ValueError(
            f"{path.name} must have {separator!r} between its columns; it seems to have {marks[0]!r}. Another "
            "separator is given by --separator."
        )
    return table


def _first(ways: list[Callable[[Path, str], Any]], path: Path, separator: str) -> Any:
    """Return the table by the first way whose packages are there."""
    for read in ways:
        try:
            return read(path, separator)
        except ImportError:
            continue
    raise ImportError(
        f"{path.name} needs pandas (with pyarrow for Parquet) or polars, and neither is installed. Run: "
        'pip install "imbalanced-torch[cli]".'
    )


def _pandas_csv(path: Path, separator: str) -> Any:
    import pandas as pd

    return pd.read_csv(path, sep=separator, skipinitialspace=True)


def _polars_csv(path: Path, separator: str) -> Any:
    import polars as pl

    return pl.read_csv(path, separator=separator, infer_schema_length=None, null_values=["", "NA", "NaN", "nan"])


def _pandas_parquet(path: Path, separator: str) -> Any:
    import pandas as pd

    return pd.read_parquet(path)


def _polars_parquet(path: Path, separator: str) -> Any:
    import polars as pl

    return pl.read_parquet(path)


#: Ways to read a file: the first whose packages are there is taken.
_WAYS: dict[str, list[Callable[[Path, str], Any]]] = {
    "csv": [_pandas_csv, _polars_csv],
    "parquet": [_pandas_parquet, _polars_parquet],
}


def split_target(table: Any, target: str, drop: tuple[str, ...], name: str) -> tuple[Any, np.ndarray]:
    """Return a table without its target and what is dropped, and the target."""
    frame = nw.from_native(table, eager_only=True)
    for column in (target, *drop):
        check_column(column, frame.columns, name)
    X = frame.drop([target, *(column for column in drop if column != target)])
    if not X.columns:
        raise ValueError(f"{name} must have a column beside {target!r}; it has none.")
    return X.to_native(), frame[target].to_numpy()


def check_column(column: str, columns: list[str], name: str) -> None:
    """Raise if a table has no such column."""
    if column not in columns:
        raise ValueError(
            f"{name} has no column {column!r}.{did_you_mean(column, columns)} Its columns are {listed(columns)}."
        )


def select_columns(table: Any, wanted: list[str], name: str) -> tuple[Any, list[str]]:
    """Return the columns that a model was fitted on, in its order, and the names of the others."""
    frame = nw.from_native(table, eager_only=True)
    missing = [column for column in wanted if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{name} must have the columns that the model was fitted on; {listed(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Its columns are {listed(frame.columns)}."
        )
    return frame.select(wanted).to_native(), [column for column in frame.columns if column not in wanted]


def columns_of(table: Any, names: tuple[str, ...], name: str) -> dict[str, np.ndarray]:
    """Return some columns of a table."""
    frame = nw.from_native(table, eager_only=True)
    for column in names:
        check_column(column, frame.columns, name)
    return {column: frame[column].to_numpy() for column in names}


def names_of_rows(table: Any) -> list[str]:
    """Return the columns that look like names of rows: whole numbers, close together, another one in each row."""
    frame = nw.from_native(table, eager_only=True)
    found = []
    for column in frame.columns:
        series = frame[column]
        if series.dtype.is_integer() and len(series) >= _MANY and series.n_unique() == len(series):
            spread = int(series.max()) - int(series.min())
            found += [column] if spread < 10 * len(series) else []
    return found


def write_table(columns: dict[str, Any], path: Path) -> None:
    """Write columns as a table in the format that the name of the file says."""
    if check_ending(path) == "csv":
        import pandas as pd

        separator = "\t" if ".tsv" in path.name.lower() else ","
        pd.DataFrame(columns).to_csv(path, index=False, sep=separator)
        return
    try:
        import pandas as pd

        pd.DataFrame(columns).to_parquet(path, index=False)
    except ImportError:
        try:
            import polars as pl
        except ImportError:
            raise ImportError(
                f'{path.name} needs pyarrow or polars to be written. Run: pip install "imbalanced-torch[cli]".'
            ) from None
        pl.DataFrame({name: _known(np.asarray(values)) for name, values in columns.items()}).write_parquet(path)


def _known(values: np.ndarray) -> np.ndarray | list[Any]:
    """Return values with None for what is missing among strings, where pandas has NaN."""
    return values if values.dtype.kind in "biuf" else [None if x != x else x for x in values.tolist()]
