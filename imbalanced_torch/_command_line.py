"""The command line: report, fit, predict and export, for tables in CSV and Parquet files."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from imbalanced_torch._classifier import ImbalancedNetClassifier
from imbalanced_torch._comparison.comparison import run_comparison
from imbalanced_torch._data.table_files import (
    check_ending,
    columns_of,
    names_of_rows,
    read_table,
    select_columns,
    split_target,
    write_table,
)
from imbalanced_torch._parameters.texts import by_label, decision_of
from imbalanced_torch._parameters.values import labels_of, listed
from imbalanced_torch._version import __version__


class _Commands(click.Group):
    """Commands whose errors are one message on stderr, and whose warnings are notes there."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _notes():
                return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (ValueError, TypeError, OSError, ImportError) as error:
            raise click.ClickException(str(error)) from error


@contextmanager
def _notes() -> Iterator[None]:
    """Say warnings as notes, each once."""
    said: set[str] = set()

    def note(message: Any, *args: Any, **kwargs: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            click.echo(f"Note: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = note
        yield


@contextmanager
def _progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show a line on stderr while something goes on, where stderr is a terminal, and take it away after that."""
    shown = sys.stderr.isatty()

    def say(more: str) -> None:
        if shown:
            click.echo(f"\r\033[K{text}{more}", nl=False, err=True)

    say(" ...")
    try:
        yield say
    finally:
        if shown:
            click.echo("\r\033[K", nl=False, err=True)


def _writable(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Say before the work that a file can't be written."""
    if value is not None and not os.access(value.parent, os.W_OK):
        raise click.BadParameter(f"the folder {str(value.parent)!r} is not there or can't be written to.")
    return value


def _table_name(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    try:
        check_ending(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


def _table_out(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    _writable(ctx, param, value)
    return _table_name(ctx, param, value)


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUT = click.Path(dir_okay=False, writable=True, path_type=Path)
_data = click.argument("data", type=_FILE, callback=_table_name)
_target = click.option("--target", required=True, metavar="COLUMN", help="The column that holds the labels.")
_drop = click.option(
    "--drop", multiple=True, metavar="COLUMN", help="A column to leave out, such as an id. May be given several times."
)
_separator = click.option(
    "--separator",
    metavar="TEXT",
    callback=lambda ctx, param, value: value and value.replace("\\t", "\t"),
    help="Between the columns of a CSV file.  [default: a comma]",
)
_seed = click.option("--random-state", type=int, default=0, show_default=True, help="Seeds all that is drawn.")
_epochs = click.option(
    "--max-epochs", type=click.IntRange(min=1), help="Epochs of a fit.  [default: chosen by the data]"
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="imbalanced-torch")
def commands() -> None:
    """Neural nets for tables with a rare class.

    Tables are CSV or Parquet files with names of columns; numbers, categories and missing values are taken as they are.
    `report` compares ways to treat the imbalance, `fit` trains a net, `predict` uses it.
    """


@commands.command(short_help="Compare strategies on DATA, and write an HTML page.")
@_data
@_target
@click.option("--out", required=True, type=_OUT, callback=_writable, help="The page to write, such as report.html.")
@_drop
@click.option("--folds", type=click.IntRange(min=2), help="Folds, once.  [default: 5 folds, twice]")
@click.option("--jobs", type=int, help="Processes that train; -1 is one for each processor.  [default: 1]")
@_epochs
@_seed
@_separator
def report(
    data: Path,
    target: str,
    out: Path,
    drop: tuple[str, ...],
    folds: int | None,
    jobs: int | None,
    max_epochs: int | None,
    random_state: int,
    separator: str | None,
) -> None:
    """Compare strategies against imbalance on DATA, and write an HTML page.

    The plain net, the plain net with its threshold moved, weights, samplings and losses are compared on the same folds.
    The page says what is beyond noise, and what to take.

    \b
        imbalanced-torch report data.csv --target y --out report.html
    """
    X, y = _read(data, target, drop, separator)
    estimator = ImbalancedNetClassifier(max_epochs=max_epochs, random_state=random_state)
    with _progress(f"Comparing strategies on {len(y):,} rows") as say, _columns_explained():

        def after_fit(done: int, total: int) -> None:
            say(f": {done} of {total} fits")

        found = run_comparison(X, y, estimator, cv=folds, n_jobs=jobs, random_state=random_state, after_fit=after_fit)
        found.to_html(out)
    click.echo(found.finding)
    click.echo(f"Take: {_command(found.chosen.candidate, data, target, drop, max_epochs, random_state)}")
    click.echo(f"{out} has the tables and pictures.")


@commands.command(short_help="Train a net on DATA, and write it to a file.")
@_data
@_target
@click.option("--out", required=True, type=_OUT, callback=_writable, help="The model to write: model.safetensors.")
@click.option(
    "--decision",
    default="trained",
    show_default=True,
    help="How a label is chosen: trained, argmax, balanced, f1, mcc, a threshold (0.3, fraud=0.3) or a goal "
    "(recall=0.8, precision=0.9, share=0.01, recall:fraud=0.8).",
)
@click.option("--class-weight", help="balanced, sqrt, effective, or numbers: fraud=5,legit=1.")
@click.option("--sampling", help="weighted, over, under, batch, or rows in an epoch: fraud=500,legit=1000.")
@click.option("--criterion", help="focal, logit_adjusted, ldam, vs, asymmetric or label_smoothing.")
@click.option("--prior-correction", is_flag=True, help="Correct probabilities to the classes' shares in DATA.")
@_drop
@_epochs
@_seed
@_separator
def fit(
    data: Path,
    target: str,
    out: Path,
    decision: str,
    class_weight: str | None,
    sampling: str | None,
    criterion: str | None,
    prior_correction: bool,
    drop: tuple[str, ...],
    max_epochs: int | None,
    random_state: int,
    separator: str | None,
) -> None:
    """Train a net on DATA, and write it to a file.

    What is printed of its decision is of rows that were held out of training.

    \b
        imbalanced-torch fit data.csv --target y --decision recall=0.8 --out model.safetensors
    """
    X, y = _read(data, target, drop, separator)
    classes = np.unique(np.asarray(y.tolist()))
    model = ImbalancedNetClassifier(
        class_weight=class_weight and by_label("--class-weight", class_weight, classes, float),
        sampling=sampling and by_label("--sampling", sampling, classes, int),
        criterion=criterion,
        prior_correction=prior_correction,
        decision=decision_of(decision, classes),
        max_epochs=max_epochs,
        random_state=random_state,
    )
    with _progress(f"Training on {len(y):,} rows"), _columns_explained():
        model.fit(X, y)
        model.save(out)
    click.echo(f"{out}: a net trained on {len(y):,} rows of {model.n_features_in_} columns.")
    for line in _summary(model):
        click.echo(line)


@commands.command(short_help="Predict the rows of DATA with MODEL.")
@click.argument("model", type=_FILE)
@click.argument("data", type=_FILE, callback=_table_name)
@click.option("--out", required=True, type=_OUT, callback=_table_out, help="The table to write, .csv or .parquet.")
@click.option("--decision", help="Another decision than that of the fit, as in `fit`; nothing is trained again.")
@click.option(
    "--keep", multiple=True, metavar="COLUMN", help="A column of DATA to write too. May be given several times."
)
@_separator
def predict(
    model: Path, data: Path, out: Path, decision: str | None, keep: tuple[str, ...], separator: str | None
) -> None:
    """Predict the rows of DATA with MODEL, which `fit` has written.

    The table has a row for each row of DATA: the label, and a probability for each class. Columns that the model does
    not know are left aside.

    \b
        imbalanced-torch predict model.safetensors new.csv --out predictions.csv
    """
    net = ImbalancedNetClassifier.load(model)
    table = read_table(data, separator)
    kept = columns_of(table, keep, data.name)
    if hasattr(net, "feature_names_in_"):
        table, others = select_columns(table, list(net.feature_names_in_), data.name)
        others = [name for name in others if name not in keep]
        if others:
            click.echo(f"Note: the model does not know these columns of {data.name}: {listed(others)}.", err=True)
    if decision is not None:
        net.set_params(decision=decision_of(decision, net.classes_))
    with _progress(f"Predicting {len(table):,} rows"):
        labels, proba = net.predict(table), net.predict_proba(table)
    own = {"prediction": labels}
    own |= {f"probability_{label}": proba[:, code] for code, label in enumerate(labels_of(net.classes_))}
    write_table({**kept, **own}, out)
    shares = [f"{label} {np.mean(labels == label):.1%}" for label in net.classes_]
    click.echo(f"{out}: {len(labels):,} rows: {', '.join(shares)}.")


@commands.command(short_help="Write MODEL as an ONNX graph.")
@click.argument("model", type=_FILE)
@click.option("--onnx", required=True, type=_OUT, callback=_writable, help="The graph to write, such as model.onnx.")
def export(model: Path, onnx: Path) -> None:
    """Write MODEL, which `fit` has written, as an ONNX graph.

    \b
        imbalanced-torch export model.safetensors --onnx model.onnx
    """
    net: Any = ImbalancedNetClassifier.load(model)
    if not hasattr(net, "to_onnx"):
        raise ValueError(f"imbalanced-torch {__version__} has no export to ONNX.")
    net.to_onnx(onnx)
    click.echo(f"{onnx}: a graph from rows to labels and probabilities.")


def _command(
    candidate: dict[str, Any], data: Path, target: str, drop: tuple[str, ...], max_epochs: int | None, seed: int
) -> str:
    """Return the command that fits what a report recommends."""
    words = ["imbalanced-torch", "fit", str(data), "--target", target, *(x for name in drop for x in ("--drop", name))]
    for name, value in candidate.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, str) and (name, value) != ("decision", "trained"):
            words += [option, value]
    words += [] if max_epochs is None else ["--max-epochs", str(max_epochs)]
    words += [] if seed == 0 else ["--random-state", str(seed)]
    return shlex.join([*words, "--out", "model.safetensors"])


@contextmanager
def _columns_explained() -> Iterator[None]:
    """Say what to do here about columns that are no numbers or categories: the error speaks to those who program."""
    try:
        yield
    except ValueError as error:
        what, pipeline, _ = str(error).partition(" Let skrub")
        if pipeline and what.startswith("the columns"):
            raise ValueError(f"{what} Leave them out with --drop, or make numbers of them before.") from error
        raise


def _read(data: Path, target: str, drop: tuple[str, ...], separator: str | None) -> tuple[Any, np.ndarray]:
    """Return the rows and labels of a file; say which columns look like names of rows."""
    X, y = split_target(read_table(data, separator), target, drop, data.name)
    _check_labels(y, target, data.name)
    for column in names_of_rows(X):
        click.echo(
            f"Note: {column!r} has another whole number in each row, like a name of the row. If it is one, a net "
            f"learns what new rows can't have: leave it out with --drop {column!r}.",
            err=True,
        )
    return X, y


def _check_labels(y: np.ndarray, target: str, name: str) -> None:
    labels = [label for label in y.tolist() if label is not None and label == label]
    if len(labels) < len(y):
        raise ValueError(
            f"{name} must have a label in every row of {target!r}; it is missing in {len(y) - len(labels)} of {len(y)} "
            "rows."
        )
    if len(set(labels)) < 2:
        raise ValueError(
            f"{target!r} must have at least two classes to tell apart; in {name} it has {listed(sorted(set(labels)))}."
        )


def _summary(model: ImbalancedNetClassifier) -> list[str]:
    """Return what a fitted net knows of itself, from rows that were held out of training."""
    population = model.class_priors_.population
    lines = [
        f"  {label}: {count:,.0f} rows" for label, count in zip(labels_of(model.classes_), population, strict=True)
    ]
    try:
        rows = model.decision_report()
    except ValueError:
        return [*lines, "No rows were held out of training, so that nothing is known of new rows."]
    for row in rows:
        if row["note"]:
            lines.append(f"On held-out rows: {row['note']}")
            continue
        parts = [f"{rate} {row[rate]:.3f} ({row[f'{rate}_low']:.3f} to {row[f'{rate}_high']:.3f})" for rate in _RATES]
        lines.append(f"On held-out rows, {row['label']}: {', '.join(parts)}.")
    return lines


_RATES = ("recall", "precision", "share")
