"""The inputs of an ONNX graph: X as one array, a dict's arrays by name, or a table's columns, each by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imbalanced_torch._data.columns import UNSEEN, Columns

#: Names that outputs have, and columns may have too.
OUTPUTS = ["label", "probabilities"]
#: The operators of ONNX that know words.
ML = "ai.onnx.ml"


@dataclass
class Inputs:
    """Inputs of a graph, and the nodes that make of them what the net takes."""

    values: list[Any] = field(default_factory=list)
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    #: What is said of each column of a table, to be read by programs.
    described: list[dict[str, Any]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The names of the inputs."""
        return [value.name for value in self.values]


def array_inputs(arrays: Sequence[tuple[str, Sequence[int], int]], of_net: Sequence[tuple[str, int]]) -> Inputs:
    """Return one input for each array: its name, the shape of its rows, its type; what the net takes has others."""
    from onnx import helper

    inputs = Inputs()
    names = _input_names([name for name, _, _ in arrays])
    for name, (_, shape, dtype), (inner, wanted) in zip(names, arrays, of_net, strict=True):
        inputs.values.append(helper.make_tensor_value_info(name, dtype, ["n", *shape]))
        inputs.nodes.append(helper.make_node("Cast", [name], [inner], name=f"{inner}/cast", to=wanted))
    return inputs


def column_inputs(columns: Columns, of_net: tuple[str, int]) -> Inputs:
    """Return one input of shape (n, 1) for each column of a table; the net takes their values and codes side by side.

    Raises
    ------
    ValueError
        If a category has levels that are neither strings nor numbers that a float can hold.
    """
    from onnx import TensorProto, helper

    (inner, wanted), inputs = of_net, Inputs()
    parts: list[str] = []
    missing: str | None
    names = _input_names([str(name) for name in columns.names])
    for place, (name, levels) in enumerate(zip(names, columns.levels, strict=True)):
        dtype, missing, prefix = TensorProto.FLOAT, "NaN", f"{inner}/{place}"
        if levels is None:
            parts.append(name)
        elif isinstance(levels[0], str):
            dtype, missing = TensorProto.STRING, None if "" in levels else ""
            parts.append(_code_of_word(inputs, name, prefix, levels))
        else:
            numbers = _exact(columns.names[place], levels)
            dtype = helper.np_dtype_to_tensor_dtype(numbers.dtype)
            parts.append(_code_of_number(inputs, name, prefix, numbers))
        said: dict[str, Any] = {"name": columns.names[place], "input": name, "kind": columns.kinds[place]}
        said |= {} if levels is None else {"levels": list(levels)}
        inputs.described.append({**said, "missing": missing})
        inputs.values.append(helper.make_tensor_value_info(name, dtype, ["n", 1]))
    inputs.nodes.append(helper.make_node("Concat", parts, [f"{inner}/columns"], name=f"{inner}/concat", axis=1))
    inputs.nodes.append(helper.make_node("Cast", [f"{inner}/columns"], [inner], name=f"{inner}/cast", to=wanted))
    return inputs


def _input_names(names: Sequence[str]) -> list[str]:
    """Return names as a graph can have them: outputs are called otherwise, and each has a letter."""
    taken = {*names, *OUTPUTS}
    free = []
    for name in names:
        if name in ("", *OUTPUTS):
            while name in taken:
                name += "_column"
            taken.add(name)
        free.append(name)
    return free


def _code_of_word(inputs: Inputs, name: str, prefix: str, levels: Sequence[str]) -> str:
    """Let a node turn strings into codes: "" into NaN, unless it is a level."""
    from onnx import helper

    words, codes = list(levels), [float(code) for code in range(len(levels))]
    if "" not in words:
        words, codes = [*words, ""], [*codes, np.nan]
    code = f"{prefix}/code"
    to_codes: Any = {"keys_strings": words, "values_floats": codes, "default_float": UNSEEN}
    inputs.nodes.append(helper.make_node("LabelEncoder", [name], [code], f"{code}/node", domain=ML, **to_codes))
    return code


def _exact(name: Any, levels: Sequence[Any]) -> np.ndarray:
    """Return levels in single precision if that holds them exactly, else in double."""
    for dtype in (np.float32, np.float64):
        try:
            with np.errstate(over="ignore"):
                numbers = np.array([float(level) for level in levels]).astype(dtype)
            if all(number == level for number, level in zip(numbers.tolist(), levels, strict=True)):
                return numbers
        except (TypeError, ValueError, OverflowError):
            break
    raise ValueError(
        "the levels of a category must be strings, or numbers that a float holds exactly, to be in an ONNX graph; "
        f"those of {name!r} are of the type {type(levels[0]).__name__}: {levels[0]!r} and others. Make strings of them "
        "in the training table."
    )


def _code_of_number(inputs: Inputs, name: str, prefix: str, numbers: np.ndarray) -> str:
    """Let nodes turn numbers into codes, by comparison with each level; NaN stays NaN."""
    from onnx import TensorProto, helper, numpy_helper

    def node(operator: str, given: list[str], made: str, **settings: Any) -> str:
        made = f"{prefix}/{made}"
        inputs.nodes.append(helper.make_node(operator, given, [made], name=f"{made}/node", **settings))
        return made

    def constant(value: np.ndarray, made: str) -> str:
        inputs.constants.append(numpy_helper.from_array(value, f"{prefix}/{made}"))
        return f"{prefix}/{made}"

    equal = node("Equal", [name, constant(numbers[None], "levels")], "equal")
    one_hot = node("Cast", [equal], "one_hot", to=TensorProto.FLOAT)
    places = constant(np.arange(1, len(numbers) + 1, dtype=np.float32)[:, None], "places")
    place = node("MatMul", [one_hot, places], "place")  # from 1 on, and 0 where no level is equal
    code = node("Sub", [place, constant(np.array(1, np.float32), "one")], "code")
    missing = node("IsNaN", [name], "missing")
    return node("Where", [missing, constant(np.array(np.nan, np.float32), "nan"), code], "code_or_nan")
