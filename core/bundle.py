"""The served form of a model: one zip object, named by its own SHA-256, that holds what a server needs and how to prove it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

from core.errors import UserError
from core.fields import DIALECT, Dialect
from core.trusted_types import TRUSTED

if TYPE_CHECKING:
    import pandas as pd

Datatype = Literal["FP64", "INT64", "BOOL", "BYTES"]
Label = bool | int | float | str
Value = bool | int | float | str | None

MANIFEST, GOLDEN, MODEL, ONNX, FOREST = "manifest.json", "golden.json", "model.skops", "model.onnx", "forest.onnx"
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Input:
    """A column that the model reads: FP64 for numbers, BYTES for text."""

    name: str
    datatype: Datatype


@dataclass(frozen=True)
class Output:
    """A tensor that the model answers with: `predict`, and `predict_proba` of a classifier."""

    name: str
    datatype: Datatype


@dataclass(frozen=True)
class Manifest:
    """What the model is called, reads and answers.

    The order of `inputs` is the order of training. `example` is a typical row that belongs to nobody. `positive` is the positive class of
    a binary model. Models of earlier versions of this template have neither.
    """

    name: str
    task: Literal["binary", "multiclass", "regression"]
    target: str
    engine: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    classes: tuple[Label, ...] | None
    versions: dict[str, str]
    example: dict[str, Value] = field(default_factory=dict)
    positive: Label | None = None
    dialect: Dialect = DIALECT  # how requests in CSV write their values


@dataclass(frozen=True)
class Golden:
    """Rows and the answers of training to them; None is a missing value, `predict_proba` is None for regression."""

    rows: list[dict[str, Value]]
    predict: list[Label]
    predict_proba: list[list[float]] | None


@dataclass(frozen=True)
class Bundle:
    """Everything that travels to the server.

    Attributes:
        manifest: What the model is.
        golden: How to prove it.
        model: What `dump_model` returns.
        onnx: The same as ONNX; empty where scikit-learn serves.
        forest: What ONNX Runtime makes of a forest's scores, and the tables of `core.forest`; empty where the model is no small forest.
    """

    manifest: Manifest
    golden: Golden
    model: bytes
    onnx: bytes = b""
    forest: bytes = b""


def pack(bundle: Bundle) -> bytes:
    """Write the bundle as a zip whose bytes depend on its content alone."""
    files = {MANIFEST: _json(asdict(bundle.manifest)), GOLDEN: _json(asdict(bundle.golden)), MODEL: bundle.model}
    graphs = {ONNX: bundle.onnx, FOREST: bundle.forest}
    return _zip(files | {name: data for name, data in graphs.items() if data})


def digest(data: bytes) -> str:
    """Return the name of these bytes: `sha256:` and 64 hex digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def unpack(data: bytes, expected_digest: str) -> Bundle:
    """Read a bundle that is known by its digest.

    Raises:
        UserError: The bytes are others than those that were registered, or not a bundle.
    """
    if digest(data) != expected_digest:
        raise UserError(f"the model's digest is {digest(data)}, not {expected_digest}: this is not the version that was registered; deploy it again")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            manifest, golden = json.loads(archive.read(MANIFEST)), json.loads(archive.read(GOLDEN))
            onnx, forest = (archive.read(name) if name in archive.namelist() else b"" for name in (ONNX, FOREST))
            return Bundle(_manifest(manifest), Golden(**golden), archive.read(MODEL), onnx, forest)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{expected_digest} is not a model bundle ({error}): register the model again") from error


def dump_model(pipeline: object) -> bytes:
    """Write a fitted scikit-learn pipeline in skops' format, which is safe to load."""
    import skops.io

    return _repeatable(skops.io.dumps(pipeline))


def load_model(data: bytes) -> Any:
    """Restore a pipeline written by `dump_model`. Nothing is built but skops' safe types and those of `core.trusted_types`.

    Raises:
        UserError: The bytes hold another type, one that is not installed, or no model.
    """
    import skops.io

    try:
        types = skops.io.get_untrusted_types(data=data)
        refused = [name for name in types if name not in TRUSTED]
        if not refused:
            return skops.io.loads(data, trusted=types)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        cure = f"build the image with EXTRAS={package}, or `make add EXTRAS={package}`"
        raise UserError(f"the model needs {package}, which is not installed: {cure}") from error
    except Exception as error:  # skops lets through what zipfile, json and the constructors raise
        raise UserError(f"the model file cannot be read ({type(error).__name__}: {error}): register the model again") from error
    raise UserError(
        f"the model holds {', '.join(refused)}, which is not loaded: build it of scikit-learn's estimators, or add the type "
        "to core/trusted_types.py if it has no side effects"
    )


def frame(columns: Mapping[str, Sequence[Any]], inputs: Sequence[Input]) -> pd.DataFrame:
    """Build the table that the pipeline reads, with the same dtypes in training and in serving.

    Args:
        columns: Values by column name; None and NaN are missing.
        inputs: The model's columns: FP64 becomes float64, BYTES becomes object (str, or NaN where missing).

    Raises:
        UserError: A text column holds something else.
    """
    import pandas as pd

    # An explicit Series: pandas turns a bare object array of strings into its own string type.
    series = {item.name: _series(item, columns[item.name]) for item in inputs}
    return pd.DataFrame(series, columns=[item.name for item in inputs])


def differences(golden: Golden, predict: Sequence[Any], predict_proba: Sequence[Sequence[float]] | None, tolerance: float = 1e-9) -> list[str]:
    """Compare answers with those of training.

    Args:
        golden: The answers of training.
        predict: Labels, which have to be equal, or a regression's numbers.
        predict_proba: A row of probabilities a label, None for regression.
        tolerance: How far numbers may be apart, relative to the larger where that is above 1.

    Returns:
        A line a row that differs; empty when all are the same.
    """
    proba = predict_proba if predict_proba is not None else [None] * len(predict)
    expected = golden.predict_proba if golden.predict_proba is not None else [None] * len(golden.predict)
    if len(predict) != len(golden.predict) or len(proba) != len(golden.predict):
        return [f"{len(predict)} answers (predict_proba: {len(proba)}) where training gave {len(golden.predict)}"]
    is_regression = golden.predict_proba is None
    rows = zip(golden.predict, predict, expected, proba, strict=True)
    return [f"row {number}: {line}" for number, row in enumerate(rows) for line in _row_differences(*row, is_regression, tolerance)]


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _row_differences(label: Any, answer: Any, expected: Any, proba: Any, is_regression: bool, tolerance: float) -> Iterator[str]:
    same = _close(label, answer, tolerance) if is_regression else bool(label == answer)
    if not same:
        yield f"predict {answer} where training gave {label}"
    pairs = zip_longest([] if expected is None else expected, [] if proba is None else proba, fillvalue=math.inf)
    if not all(_close(*pair, tolerance) for pair in pairs):
        yield f"predict_proba {_show(proba)} where training gave {_show(expected)}"


def _close(expected: Any, answer: Any, tolerance: float) -> bool:
    missing = [value is None or math.isnan(value) for value in (expected, answer)]
    return all(missing) if any(missing) else math.isclose(expected, answer, rel_tol=tolerance, abs_tol=tolerance)


def _show(values: Sequence[float] | None) -> str:
    return "missing" if values is None else ", ".join("missing" if value is None else f"{value:.12g}" for value in values)


def _series(item: Input, values: Sequence[Any]) -> pd.Series[Any]:
    import numpy as np
    import pandas as pd

    if item.datatype != "BYTES":
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan) if hasattr(values, "to_numpy") else np.array(values, dtype=np.float64)
        return pd.Series(numbers, dtype=np.float64)
    array = np.array(list(values), dtype=object)
    array[pd.isna(array)] = np.nan
    wrong = next((value for value in array if not isinstance(value, str) and value == value), None)
    if wrong is not None:
        raise UserError(f"column {item.name} holds {plain(wrong)!r}: a text column takes strings; convert it in features()")
    return pd.Series(array, dtype=object)


def _manifest(document: dict[str, Any]) -> Manifest:
    inputs = tuple(Input(**item) for item in document["inputs"])
    outputs = tuple(Output(**item) for item in document["outputs"])
    classes = None if document["classes"] is None else tuple(document["classes"])
    dialect = Dialect.of(document.get("dialect", {}))
    return Manifest(**{**document, "inputs": inputs, "outputs": outputs, "classes": classes, "dialect": dialect})


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(plain(document), indent=1, allow_nan=False, ensure_ascii=False).encode()


def plain(value: Any) -> Any:
    """Give NumPy's scalars and arrays as Python's, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and math.isinf(value):
        raise UserError("the golden rows hold an infinite number, which JSON cannot carry: let the contract refuse it or features() clip it")
    return None if isinstance(value, float) and math.isnan(value) else value


def _repeatable(data: bytes) -> bytes:
    """Write skops' zip again without times and memory addresses, so that the same model has the same digest."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema, names = json.loads(files.pop("schema.json")), dict[str, str]()
    _number(schema, {}, names)
    return _zip({"schema.json": json.dumps(schema).encode()} | {names[name]: content for name, content in files.items()})


def _number(node: Any, ids: dict[int, int], names: dict[str, str]) -> None:
    """Replace object ids and file names by their order of appearance."""
    if isinstance(node, list):
        for item in node:
            _number(item, ids, names)
    elif isinstance(node, dict):
        if isinstance(node.get("__id__"), int):
            node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
        if "__loader__" in node and isinstance(node.get("file"), str):
            node["file"] = names.setdefault(node["file"], f"{len(names) + 1}.{node['file'].rpartition('.')[2]}")
        for item in node.values():
            _number(item, ids, names)
