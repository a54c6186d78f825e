"""A fitted estimator as one ONNX graph: rows as the user has them go in, labels and probabilities come out."""

from __future__ import annotations

import copy
import json
import logging
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from imbalanced_torch._data.checks import check_X
from imbalanced_torch._data.rows import Rows
from imbalanced_torch._export.onnx_columns import ML, OUTPUTS, Inputs, array_inputs, column_inputs
from imbalanced_torch._export.onnx_operators import InOperatorsOfONNX
from imbalanced_torch._net.module import unpack_logits
from imbalanced_torch._parameters.values import listed
from imbalanced_torch._prediction.prediction import Prediction
from imbalanced_torch._version import __version__

#: The lowest version of operators that torch's exporter writes, and those of the format and of operators for words that
#: came with it.
_OPSET, _IR_VERSION, _ML_VERSION = 18, 8, 3
#: torch 2.6 fails on the largest int.
_MOST_ROWS = 2**40
#: What the net's inputs are called, before a number.
_INPUT = "in_"
#: Loggers of the exporter, which say what is no matter of the user's.
_LOGGERS = ("torch.fx", "torch.onnx", "onnxscript", "onnx_ir")
#: The exporter changes things of torch's while it works: one thread at a time.
_lock = threading.RLock()


def onnx_bytes(estimator: Any, X: Any = None) -> bytes:
    """Return the graph of a fitted estimator as a file holds it.

    Parameters
    ----------
    estimator : ImbalancedNetClassifier
    X : what the estimator predicts, or None
        Rows, of which two are looked at; needed where only they tell what the net takes.
    """
    _check_packages()
    classes = _labels(estimator.classes_)
    example = _zeros(estimator) if X is None else _rows_of(estimator, X)
    prefix = _prefix(estimator, example)
    inputs = _inputs(estimator, example, prefix)
    return _around(_traced(estimator, example), inputs, prefix, estimator, classes).SerializeToString()


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"to_onnx needs the packages onnx and onnxscript ({error}): pip install 'imbalanced-torch[onnx]'"
        ) from error


def _labels(classes: np.ndarray) -> np.ndarray:
    """Return the labels in a type that a graph can hold."""
    kind = classes.dtype.kind
    if kind in "OU" and all(isinstance(label, str) for label in classes.tolist()):
        return classes.astype(object)
    if kind == "b" or classes.dtype == np.float32:
        return classes
    if kind == "f":
        return classes.astype(np.float64)
    if kind in "iu" and (classes <= np.iinfo(np.int64).max).all():
        return classes.astype(np.int64)
    raise ValueError(
        "the labels in an ONNX graph must be strings, bools, floats or ints of at most 63 bits; those of this "
        f"estimator are {listed(classes)}, of the type {classes.dtype}."
    )


# What the net takes


def _zeros(estimator: Any) -> Any:
    """Return two rows of zeros, as the net takes them: a tensor or a dict of tensors."""
    shape, dtype = estimator.row_shape_, estimator.net_.dtype
    if dtype is None or shape is None:
        why = (
            "dtype=None lets values reach the net as they come"
            if dtype is None
            else "rows of a Dataset may be anything"
        )
        raise ValueError(f"to_onnx must be given X, a few rows as in fit: {why}.")
    if isinstance(shape, Mapping):
        return {name: torch.zeros(2, *each, dtype=dtype) for name, each in shape.items()}
    return torch.zeros(2, *shape, dtype=dtype)


def _rows_of(estimator: Any, X: Any) -> Any:
    """Return two rows of X as the net takes them: a tensor or a dict of tensors."""
    net = estimator.net_
    checked = check_X(estimator, X, reset=False, finite=estimator._finite())
    rows = Rows(checked, dtype=net.dtype, collate=net.collate_for_prediction).first_batch()[0]
    found = rows.values() if isinstance(rows, Mapping) else [rows]
    if not all(isinstance(part, torch.Tensor) for part in found):
        raise TypeError(f"rows of X must become a tensor or a dict of tensors; they become a {type(rows).__name__}.")
    if all(len(part) > 1 for part in found):
        return rows
    # One row would be taken for a number of rows that is fixed.
    return {name: _twice(part) for name, part in rows.items()} if isinstance(rows, Mapping) else _twice(rows)


def _twice(values: torch.Tensor) -> torch.Tensor:
    return torch.cat([values, values])


def _by_name(example: Any) -> dict[str, torch.Tensor]:
    return dict(example) if isinstance(example, Mapping) else {"X": example}


def _prefix(estimator: Any, example: Any) -> str:
    """Return how all names begin that are not the user's."""
    columns = getattr(estimator, "columns_", None)
    names = [*_by_name(example), *(() if columns is None else map(str, columns.names))]
    prefix = "net/"
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    return prefix


def _inputs(estimator: Any, example: Any, prefix: str) -> Inputs:
    """Return the graph's inputs, with the nodes that lead to those of the net."""
    from onnx import TensorProto, helper

    parts, columns = _by_name(example), getattr(estimator, "columns_", None)
    types = [helper.np_dtype_to_tensor_dtype(values.numpy().dtype) for values in parts.values()]
    of_net = [(f"{prefix}{_INPUT}{place}", dtype) for place, dtype in enumerate(types)]
    if columns is not None:
        return column_inputs(columns, of_net[0])
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE) if estimator.net_.dtype is not None else ()
    given = [TensorProto.FLOAT if dtype in floats else dtype for dtype in types]
    shapes = [values.shape[1:] for values in parts.values()]
    return array_inputs(list(zip(parts, shapes, given, strict=True)), of_net)


# The graph from there to codes and probabilities, by torch


class _FromRowsToCodes(nn.Module):
    """All that an estimator does between the net's input and the codes of labels, in evaluation mode on the CPU."""

    def __init__(self, module: nn.Module, prediction: Prediction, names: list[str] | None) -> None:
        super().__init__()
        self.module = module
        self.criterion = copy.deepcopy(prediction.criterion)
        self.prediction = replace(prediction, criterion=self.criterion)
        self.names = names
        self.cpu().eval()

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return codes, shape (n,), and probabilities, shape (n, K)."""
        own = [values.clone() for values in inputs]  # for modules that write into their input
        named = {} if self.names is None else dict(zip(self.names, own, strict=True))
        with InOperatorsOfONNX():
            logits = unpack_logits(self.module(**named) if named else self.module(*own))
            return self.prediction.scores(logits).argmax(dim=1), self.prediction.proba(logits).float()


def _traced(estimator: Any, example: Any) -> Any:
    """Return the graph from what the net takes to codes and probabilities."""
    net = estimator.net_
    found = net.prediction_
    prediction = estimator._prediction()
    net.predict_with(found)  # an export changes nothing
    module = copy.deepcopy(getattr(net.module_, "_orig_mod", net.module_))  # as it was before torch.compile
    whole = _FromRowsToCodes(module, prediction, list(example) if isinstance(example, Mapping) else None)
    parts, rows = _by_name(example), torch.export.Dim("n", max=_MOST_ROWS)
    with torch.no_grad():
        whole(*parts.values())  # a decision that needs more than logits says so itself
    try:
        with _quiet(), torch.no_grad():
            # By itself, for torch.onnx.export would let a number of rows be fixed.
            shapes = (tuple({0: rows} for _ in parts),)
            traced = torch.export.export(whole, tuple(parts.values()), dynamic_shapes=shapes, strict=False)
            program: Any = torch.onnx.export(
                traced,
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                optimize=False,  # some of its rewriting loses constants
                external_data=False,
                input_names=[f"{_INPUT}{place}" for place in range(len(parts))],
                output_names=["codes", "probabilities"],
            )
    except Exception as error:
        raise ValueError(
            f"this estimator can't become an ONNX graph: torch's exporter can't follow {type(module).__name__}, or "
            f"decision={listed(estimator.decision)}, for rows of any number. It says: {_root_of(error)}"
        ) from error
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Let torch's exporter work without a word, alone, and leave loggers and warnings as they were."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _root_of(error: BaseException) -> str:
    """Return what the first of a chain of errors says, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


# The graph around it, from the user's rows to labels


def _around(model: Any, inputs: Inputs, prefix: str, estimator: Any, classes: np.ndarray) -> Any:
    """Return the model with the user's inputs before the net's, and labels behind the codes."""
    from onnx import TensorProto, compose, helper, numpy_helper

    _forget_the_source(model)
    model = compose.add_prefix(_with_types(model), prefix)
    graph = model.graph
    codes, proba = (value.name for value in graph.output)
    labels = f"{prefix}labels"
    last = [
        helper.make_node("Gather", [labels, codes], OUTPUTS[:1], name=f"{prefix}label", axis=0),
        helper.make_node("Identity", [proba], OUTPUTS[1:], name=f"{prefix}probabilities/node"),
    ]
    held = numpy_helper.from_array(classes, labels)
    whole = helper.make_graph(
        [*inputs.nodes, *graph.node, *last],
        type(estimator).__name__,
        inputs.values,
        [
            helper.make_tensor_value_info(OUTPUTS[0], held.data_type, ["n"]),
            helper.make_tensor_value_info(OUTPUTS[1], TensorProto.FLOAT, ["n", len(classes)]),
        ],
        [*inputs.constants, held, *graph.initializer],
    )
    opsets = {opset.domain: opset.version for opset in model.opset_import} | {ML: _ML_VERSION}
    made = helper.make_model(
        whole,
        functions=list(model.functions),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=_IR_VERSION,
        producer_name="imbalanced-torch",
        producer_version=__version__,
    )
    helper.set_model_props(made, _described(estimator, inputs, classes))
    return made


def _forget_the_source(model: Any) -> None:
    """Remove what the exporter notes of each node: lines of Python, with the paths of this machine."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nodes:
            del node.metadata_props[:]
            node.doc_string = ""
    for values in (model.graph.input, model.graph.output, model.graph.initializer):
        for value in values:
            del value.metadata_props[:]
            value.doc_string = ""
    del model.graph.value_info[:]


def _with_types(model: Any) -> Any:
    """Return the model, casts to the type of another value made casts to that type: runtimes warn of the others."""
    from onnx import helper, shape_inference

    graph = shape_inference.infer_shapes(model).graph
    types = {held.name: held.data_type for held in graph.initializer}
    for values in (graph.input, graph.value_info, graph.output):
        types |= {value.name: value.type.tensor_type.elem_type for value in values}
    for node in model.graph.node:
        if node.op_type == "CastLike" and types.get(node.input[1]):
            node.op_type = "Cast"
            node.attribute.append(helper.make_attribute("to", types[node.input[1]]))
            del node.input[1:]
    return model


def _described(estimator: Any, inputs: Inputs, classes: np.ndarray) -> dict[str, str]:
    """Return what the model says of itself, each as JSON."""
    priors = estimator.class_priors_
    said = {
        "imbalanced_torch": __version__,
        "classes": classes.tolist(),
        "class_prior": priors.class_prior,
        "effective_prior": priors.effective_prior,
        "prior_correction": estimator.prior_correction,
        "decision": estimator.decision,
    }
    names = getattr(estimator, "feature_names_in_", None)
    if inputs.described:
        said["columns"] = inputs.described
    elif names is not None:
        said["columns"] = names
    return {name: json.dumps(_plain(value), allow_nan=False) for name, value in said.items()}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: keys as text, what is not finite as null, other things as Python writes them."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else repr(value)
