"""What the examples claim."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import strategies  # noqa: E402
import textbook  # noqa: E402
from hypothyroid import NUMBERS, load_hypothyroid  # noqa: E402

PLAIN, MOVED, WEIGHTS, SAMPLER = "plain", textbook.MOVED, 'class_weight="balanced"', 'sampling="weighted"'


@pytest.fixture(scope="module", params=[*textbook.SIGNAL])
def scored(request):
    return request.param, textbook.table(textbook.SIGNAL[request.param])


def test_the_three_ways_of_the_textbook(scored, tmp_path):
    name, table = scored
    plain, moved = table.loc[PLAIN], table.loc[MOVED]
    assert len(textbook.SEEDS) >= 10
    for way in (WEIGHTS, SAMPLER):
        remedy = table.loc[way]
        assert abs(remedy["ROC AUC"] - plain["ROC AUC"]) <= 0.02
        assert abs(remedy["balanced accuracy"] - moved["balanced accuracy"]) <= 0.02
        assert remedy["recall"] - plain["recall"] >= 0.25
        assert remedy["mean probability"] > plain["mean probability"] + 0.15
        if name == "noise":
            assert abs(remedy["recall"] - remedy["false-positive rate"]) <= 0.03
            assert abs(remedy["recall"] - 0.45) <= 0.05
            assert abs(remedy["balanced accuracy"] - 0.5) <= 0.02
            assert abs(remedy["ROC AUC"] - 0.5) <= 0.03
        else:
            assert remedy["recall"] - plain["recall"] > 2 * (
                remedy["false-positive rate"] - plain["false-positive rate"]
            )
            assert remedy["precision"] < plain["precision"]
    assert abs(plain["mean probability"] - textbook.PRIOR) <= 0.01
    if name == "noise":
        assert plain["recall"] < 0.01
    textbook.picture({name: table, "again": table}, tmp_path / "textbook.png")
    assert (tmp_path / "textbook.png").stat().st_size > 10_000


def test_the_reader_gives_the_patients_as_described():
    X, y = load_hypothyroid()
    assert X.shape == (3086, 25)
    assert y.value_counts().to_dict() == {"negative": 2945, "hypothyroid": 141}
    assert not pd.concat([X, y], axis=1).duplicated().any()
    assert X[NUMBERS].dtypes.map(pd.api.types.is_numeric_dtype).all()
    assert X.drop(columns=NUMBERS).dtypes.map(pd.api.types.is_string_dtype).all()
    assert (X.isna().sum() > 0).sum() == 8


def test_the_main_example_prints_its_table_draws_its_picture_and_reports(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(strategies, "GRID", [{"net__class_weight": [None, "balanced"]}, {"net__sampling": ["batch"]}])
    X, y = load_hypothyroid()
    some = np.r_[np.flatnonzero(y == "hypothyroid"), np.flatnonzero(y == "negative")[:600]]
    monkeypatch.setattr(strategies, "load_hypothyroid", lambda: (X.iloc[some], y.iloc[some]))
    strategies.main(tmp_path / "strategies.png")
    out = capsys.readouterr().out
    rows = re.findall(
        r"^(plain|plain, threshold = prior|class_weight=balanced|sampling=batch)  +[.\d ]+$", out, re.MULTILINE
    )
    assert len(rows) == 4
    assert "macro avg" in out
    assert (tmp_path / "strategies.png").stat().st_size > 10_000
