"""How much memory a body becomes at most, by a look at its bytes: as Python objects it takes up to fifty times its size.

The numbers were measured: 16 MB of each shape, the peak divided by the count. An estimate may be too large, never too small.
"""

from __future__ import annotations

from core.csvtext import DELIMITERS
from core.engines import Engine
from core.fields import DIALECT, Dialect
from serving.body import NAN, Body
from serving.model import Model

VALUE, TEXT, KEY, LIST, OBJECT = 64, 96, 72, 100, 200  # bytes of each in JSON, with its share of what the parser and the columns take
LINE, FIELD, NUMBER, POINTER = 96, 64, 32, 8  # of CSV, with a field that is a text first and then a number
CSV_BYTE = 5  # its text is decoded, and buffered as letters of four bytes
SHORT = 2  # characters of a field that is shared by all of its value
WIDE = 3  # a letter that is not ASCII makes all of its text up to four times as large
NAN_BYTE = 4  # of JSON with a NaN: three copies of the body, while null is written in its place
MESSAGE_BYTE = 22  # of Protobuf that is not raw: an empty parameter of two bytes becomes an object, and lists double while they grow
TEXT_BYTES, NUMBER_BYTES = 88, 8  # of a value that waits for the engine
ANSWER_BYTES = 48  # of a number on its way out: the array, its part, its digits
TENSOR_BYTES = ((b"INT8", 18), (b"BOOL", 18), (b"BYTES", 16), (b"16", 12))  # for each byte of binary tensors, by their datatypes


def json_weight(body: Body) -> int:
    """Return the most bytes that a JSON document takes, from parsing to the engine's matrix."""
    lists, objects, texts = body.count(b"["), body.count(b"{"), body.count(b'"') // 2
    values = body.count(b",") + lists + objects + 1
    numbers = max(0, values - texts)
    wide = 0 if body.isascii() else WIDE * len(body)
    if NAN in body:
        wide += NAN_BYTE * len(body)
    return lists * LIST + objects * OBJECT + texts * TEXT + body.count(b":") * KEY + numbers * VALUE + wide + len(body)


def csv_weight(body: Body, dialect: Dialect = DIALECT) -> int:
    """Return the most bytes that a table in CSV takes: while its text is parted, or while the fields become values.

    Args:
        body: The table.
        dialect: How it is written. Without a delimiter, or by a first line that names one, it may be any of the usual ones.
    """
    lines = max(body.count(b"\n"), body.count(b"\r")) + 1
    own = {dialect.delimiter.encode(), dialect.delimiter.encode(dialect.encoding, "replace")} if dialect.delimiter else set[bytes]()
    fields = sum(map(body.count, own.union(sign.encode() for sign in DELIMITERS))) + lines
    long = max(0, min(fields, (len(body) - fields) // SHORT))
    parted = (CSV_BYTE if body.isascii() else CSV_BYTE + WIDE) * len(body) + fields * POINTER + long * FIELD
    return len(body) + lines * LINE + max(parted, fields * 3 * POINTER + long * (FIELD + NUMBER))


def tensor_weight(head: Body, size: int) -> int:
    """Return the most bytes that binary tensors take.

    Args:
        head: The JSON that describes them.
        size: How many bytes they are.
    """
    return size * next((factor for datatype, factor in TENSOR_BYTES if datatype in head), 6)


def message_weight(body: Body, raw: int) -> int:
    """Return the most bytes that a message of gRPC takes.

    Args:
        body: The message.
        raw: How many bytes of it are raw tensors.
    """
    return MESSAGE_BYTE * (len(body) - raw) + tensor_weight(body, raw)


def row_weight(model: Model, *, is_logged: bool) -> int:
    """Return the bytes of a row that waits for its answer, and of the answer until it is sent."""
    texts = sum(item.datatype == "BYTES" for item in model.manifest.inputs)
    kept = TEXT_BYTES if is_logged or not is_matrix(model.engine) else NUMBER_BYTES
    answers = 1 + (len(model.manifest.classes or ()) if len(model.outputs) > 1 else 0)
    return len(model.manifest.inputs) * NUMBER_BYTES + texts * kept + answers * ANSWER_BYTES


def is_matrix(engine: Engine) -> bool:
    """Whether an engine's table holds numbers alone."""
    return engine.name == "onnx"
