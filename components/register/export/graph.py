"""An ONNX graph in the making: nodes in the order of their computation, the same model always as the same bytes."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from components.register.export.bitvectors import Tables

OPSET, TREES_OPSET, IR_VERSION = 21, 5, 10  # the newest that hold what is used: servers of some age read them, too
TREES = "ai.onnx.ml"
ROWS, SCORES = "rows", "scores"


class Graph:
    """Nodes and constants; what is asked for twice is there once."""

    def __init__(self, width: int) -> None:
        self.width = width  # how many columns the rows have
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.forests: dict[str, Callable[[], Tables | None]] = {}  # what builds a forest's tables, by the value that holds its scores
        self._known: dict[tuple[Any, ...], str] = {}

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node of one output and return that output's name."""
        key = (operator, inputs, domain, json.dumps(attributes, default=str, sort_keys=True)) if domain == "" else (len(self.nodes),)
        if key not in self._known:
            self._known[key] = f"v{len(self.nodes)}"
            self.nodes.append(helper.make_node(operator, list(inputs), [self._known[key]], domain=domain, **attributes))
        return self._known[key]

    def constant(self, values: Any, dtype: Any = np.float64) -> str:
        """Return the name of a constant."""
        array: NDArray[Any] = np.ascontiguousarray(values, dtype=dtype)
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"c{len(self.constants)}"
            self.constants[self._known[key]] = numpy_helper.from_array(array, self._known[key])
        return self._known[key]

    def merge(self, other: onnx.GraphProto, rows: str) -> dict[str, str]:
        """Take over the nodes and constants of another graph that reads these rows; return what its values are called here."""
        prefix = f"m{len(self.nodes)}"
        names = {other.input[0].name: rows, "": ""}
        names |= {one.name: f"{prefix}c{number}" for number, one in enumerate(other.initializer)}
        for one in other.initializer:
            self.constants[names[one.name]] = onnx.TensorProto()
            self.constants[names[one.name]].CopyFrom(one)
            self.constants[names[one.name]].name = names[one.name]
        for node in other.node:
            names |= {output: f"{prefix}v{len(names) + number}" for number, output in enumerate(node.output) if output}
            self.nodes.append(onnx.NodeProto())
            self.nodes[-1].CopyFrom(node)
            self.nodes[-1].name = ""
            for side in ("input", "output"):
                called = [names[name] for name in getattr(node, side)]
                self.nodes[-1].ClearField(side)
                getattr(self.nodes[-1], side).extend(called)
        return names

    def finish(self, answers: Mapping[str, str], classes: int | None, metadata: Mapping[str, Any]) -> bytes:
        """Write the model.

        Args:
            answers: The values that are the answers, by `predict` and `predict_proba`.
            classes: How many a classifier knows, None for a regression.
            metadata: What the engine needs besides, by name.
        """
        nodes, _ = self._needed(answers, ROWS)
        return self._model(nodes, (ROWS, ROWS, self.width), answers, classes, metadata)

    def finish_forest(self, answers: Mapping[str, str], classes: int | None) -> bytes:
        """Write the model that makes the answers of a forest's scores, and has the forest's tables as further outputs.

        Returns:
            Nothing where the answers are not made of one forest's scores alone, or its trees have no tables.
        """
        if len(self.forests) != 1:
            return b""
        ((value, build),) = self.forests.items()
        nodes, wanted = self._needed(answers, value)
        if ROWS in wanted or value in answers.values() or (tables := build()) is None:
            return b""
        metadata = {"columns": tables.columns, "trees": tables.trees}
        return self._model(nodes, (value, SCORES, len(tables.trees)), answers, classes, metadata, tables.arrays)

    def _needed(self, answers: Mapping[str, str], given: str) -> tuple[list[onnx.NodeProto], set[str]]:
        """Return the nodes that make the answers of what is given, and all values that they need."""
        kept, wanted = [], set(answers.values())
        for node in reversed(self.nodes):
            if wanted & set(node.output) and given not in node.output:
                kept.append(node)
                wanted |= set(node.input)
        return kept[::-1], wanted

    def _model(
        self,
        nodes: Sequence[onnx.NodeProto],
        given: tuple[str, str, int],
        answers: Mapping[str, str],
        classes: int | None,
        metadata: Mapping[str, Any],
        tables: Mapping[str, NDArray[Any]] | None = None,
    ) -> bytes:
        """Write nodes that read one matrix: its value here, its name there, and its width."""
        names = {value: name for name, value in answers.items()} | {given[0]: given[1]}
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        for node in copies:
            for side in (node.input, node.output):
                side[:] = [names.get(name, name) for name in side]
        used = {name for node in copies for name in node.input}
        constants = [value for name, value in self.constants.items() if name in used]
        constants += [numpy_helper.from_array(np.ascontiguousarray(values), name) for name, values in (tables or {}).items()]
        numbers = onnx.TensorProto.DOUBLE
        shapes: dict[str, tuple[int, list[int | None]]] = {
            "predict": (numbers if classes is None else onnx.TensorProto.INT64, [None]),
            "predict_proba": (numbers, [None, classes]),
        }
        outputs = [helper.make_tensor_value_info(name, *shapes[name]) for name in answers]
        outputs += [helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)) for one in constants if one.name in (tables or {})]
        matrix = helper.make_tensor_value_info(given[1], numbers, [None, given[2]])
        graph = helper.make_graph(copies, "model", [matrix], outputs, constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(TREES, TREES_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="")
        helper.set_model_props(model, {name: json.dumps(value, ensure_ascii=False) for name, value in metadata.items()})
        return bytes(model.SerializeToString(deterministic=True))
